//! The clock: the simulation's on a thread that is armed, which never sleeps.

use std::{
    ffi::{c_int, c_long},
    time::Duration,
};

use super::{
    Violation,
    guard::{refuse, stray_asks},
    kernel::{Real, call, returned},
    state,
};

const SYS_CLOCK_GETTIME: c_long = 228;
const SYS_NANOSLEEP: c_long = 35;
const SYS_CLOCK_NANOSLEEP: c_long = 230;
/// `TIMER_ABSTIME`: the time is a moment.
const UNTIL: c_int = 1;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: c_long,
}

impl Timespec {
    fn of(time: Duration) -> Self {
        Self {
            seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            nanos: c_long::from(time.subsec_nanos()),
        }
    }

    fn duration(&self) -> Duration {
        let nanos = u32::try_from(self.nanos).unwrap_or_default();
        Duration::new(u64::try_from(self.seconds).unwrap_or_default(), nanos)
    }
}

type ClockGettime = unsafe extern "C" fn(c_int, *mut Timespec) -> c_int;

static REAL: Real = Real::new(c"clock_gettime");

/// # Safety
/// As of the function that it overrides.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, into: *mut Timespec) -> c_int {
    stray_asks("the clock");
    // SAFETY: `into` is the caller's, by the function's contract; what is found is the C library's function of this name,
    // which has this type.
    unsafe {
        if let Some(time) = state::time() {
            into.write(Timespec::of(time));
            return 0;
        }
        let real = REAL.find();
        if real.is_null() {
            let args = [c_long::from(clock), into as c_long, 0, 0, 0, 0];
            return returned(call(SYS_CLOCK_GETTIME, args)) as c_int;
        }
        std::mem::transmute::<*mut std::ffi::c_void, ClockGettime>(real)(clock, into)
    }
}

/// Whether a sleep was refused because this thread is armed.
///
/// # Safety
/// `time` is valid.
unsafe fn refuses_sleep(time: *const Timespec, until: bool) -> bool {
    // SAFETY: by the caller.
    let time = unsafe { (*time).duration() };
    let since = if until { state::time().unwrap_or_default() } else { Duration::ZERO };
    refuse(Violation::Slept(time.saturating_sub(since)))
}

/// # Safety
/// As of the function that it overrides.
#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const Timespec, left: *mut Timespec) -> c_int {
    // SAFETY: handed on as it came.
    unsafe {
        if refuses_sleep(time, false) {
            return 0;
        }
        returned(call(SYS_NANOSLEEP, [time as c_long, left as c_long, 0, 0, 0, 0])) as c_int
    }
}

/// # Safety
/// As of the function that it overrides.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: c_int,
    flags: c_int,
    time: *const Timespec,
    left: *mut Timespec,
) -> c_int {
    // SAFETY: handed on as it came.
    unsafe {
        if refuses_sleep(time, flags & UNTIL != 0) {
            return 0;
        }
        let args = [clock.into(), flags.into(), time as c_long, left as c_long, 0, 0];
        // This one returns its error.
        (-call(SYS_CLOCK_NANOSLEEP, args)) as c_int
    }
}
