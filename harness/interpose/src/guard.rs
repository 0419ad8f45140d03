//! What no simulation may do: it is refused on a thread that is armed, and kept to be told.

use std::ffi::{CStr, c_int, c_long, c_void};

use super::{
    Violation,
    kernel::{Real, call, returned},
    state,
};

const SYS_SOCKET: c_long = 41;
const SYS_PRCTL: c_long = 157;
/// `PR_GET_NAME`.
const GET_NAME: c_long = 16;
/// Bytes of a thread's name with the zero behind it.
const NAME_BYTES: usize = 16;
const EPERM: c_int = 1;

/// Keeps what this thread was to do if it is armed; whether it is.
pub(super) fn refuse(violation: Violation) -> bool {
    let Some(simulation) = state::simulation() else { return false };
    state::violated(simulation, violation);
    true
}

/// Keeps that this thread, if a simulation has started it, asks the machine for something.
pub(super) fn stray_asks(asked: &'static str) {
    if let Some(simulation) = state::strayed_from() {
        state::violated(simulation, Violation::StrayThread { thread: name(), asked });
    }
}

/// This thread's name as the kernel knows it.
fn name() -> String {
    let mut name = [0_u8; NAME_BYTES];
    // SAFETY: the kernel writes a text with its zero into so many bytes.
    unsafe { call(SYS_PRCTL, [GET_NAME, name.as_mut_ptr() as c_long, 0, 0, 0, 0]) };
    let text = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    text.to_string_lossy().into_owned()
}

/// # Safety
/// As of the function that it overrides.
#[unsafe(no_mangle)]
unsafe extern "C" fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int {
    if refuse(Violation::SocketOpened) {
        return returned(c_long::from(-EPERM)) as c_int;
    }
    // SAFETY: handed on as it came.
    unsafe {
        let args = [family.into(), kind.into(), protocol.into(), 0, 0, 0];
        returned(call(SYS_SOCKET, args)) as c_int
    }
}

type Start = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
type PthreadCreate = unsafe extern "C" fn(*mut c_void, *const c_void, Start, *mut c_void) -> c_int;

static REAL: Real = Real::new(c"pthread_create");

/// What a thread that a simulation starts is given.
struct Strays {
    simulation: u64,
    start: Start,
    given: *mut c_void,
}

/// # Safety
/// `strays` is a box that nobody else has.
unsafe extern "C" fn stray(strays: *mut c_void) -> *mut c_void {
    // SAFETY: by the caller; and `given` is what `start` is to be given.
    unsafe {
        let Strays { simulation, start, given } = *Box::from_raw(strays.cast::<Strays>());
        state::becomes_stray(simulation);
        start(given)
    }
}

/// # Safety
/// As of the function that it overrides.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut c_void,
    attributes: *const c_void,
    start: Start,
    given: *mut c_void,
) -> c_int {
    // SAFETY: handed on as it came, or wrapped so that `stray` starts it; what is found is the C library's function of
    // this name, which has this type.
    unsafe {
        let real = REAL.find();
        if real.is_null() {
            return EPERM;
        }
        let real = std::mem::transmute::<*mut c_void, PthreadCreate>(real);
        let Some(simulation) = state::simulation() else {
            return real(thread, attributes, start, given);
        };
        if !state::threads_may_start() {
            state::violated(simulation, Violation::ThreadStarted);
            return EPERM;
        }
        let strays = Box::into_raw(Box::new(Strays { simulation, start, given })).cast();
        let result = real(thread, attributes, stray, strays);
        if result != 0 {
            drop(Box::from_raw(strays.cast::<Strays>()));
        }
        result
    }
}
