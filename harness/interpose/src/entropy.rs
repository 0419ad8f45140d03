//! Entropy: from the seed on a thread that is armed.

use std::ffi::{c_int, c_long, c_uint, c_void};

use super::{
    guard::stray_asks,
    kernel::{call, returned},
    state,
};

const SYS_GETRANDOM: c_long = 318;

/// Fills the buffer if this thread is armed.
///
/// # Safety
/// `buffer` is valid for `bytes` bytes.
unsafe fn fill(buffer: *mut c_void, bytes: usize) -> bool {
    stray_asks("entropy");
    // SAFETY: `at` is below `bytes`.
    state::draw(bytes, |at, byte| unsafe { buffer.cast::<u8>().add(at).write(byte) })
}

/// # Safety
/// As of the function that it overrides.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, bytes: usize, flags: c_uint) -> isize {
    // SAFETY: the caller's buffer, by the function's contract.
    unsafe {
        if fill(buffer, bytes) {
            return bytes as isize;
        }
        let args = [buffer as c_long, bytes as c_long, c_long::from(flags), 0, 0, 0];
        returned(call(SYS_GETRANDOM, args)) as isize
    }
}

/// # Safety
/// As of the function that it overrides.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, bytes: usize) -> c_int {
    // SAFETY: the caller's buffer, by the function's contract.
    let got = unsafe { getrandom(buffer, bytes, 0) };
    if got == bytes as isize { 0 } else { -1 }
}

/// # Safety
/// As of the function that it overrides.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // SAFETY: handed on as it came.
    unsafe {
        if number == SYS_GETRANDOM && fill(a as *mut c_void, b as usize) {
            return b;
        }
        returned(call(number, [a, b, c, d, e, f]))
    }
}
