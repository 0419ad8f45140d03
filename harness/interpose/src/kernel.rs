//! The way past this crate: the kernel itself, and the C library's own functions.

use std::{
    arch::asm,
    ffi::{CStr, c_char, c_int, c_long, c_void},
    sync::atomic::{AtomicPtr, Ordering},
};

/// `RTLD_NEXT`: the definition behind ours.
const NEXT: *mut c_void = usize::MAX as *mut c_void;

/// The kernel's own answer: not negative, or minus an error number.
///
/// # Safety
/// As the system call demands.
pub(super) unsafe fn call(number: c_long, args: [c_long; 6]) -> c_long {
    let result: c_long;
    // SAFETY: the registers are those of the x86-64 system call convention.
    unsafe {
        asm!("syscall", inlateout("rax") number => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3],
            in("r8") args[4], in("r9") args[5], lateout("rcx") _, lateout("r11") _);
    }
    result
}

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
}

/// As the C library returns it: -1 with `errno`.
pub(super) fn returned(result: c_long) -> c_long {
    if result >= 0 {
        return result;
    }
    // SAFETY: the location is this thread's own.
    unsafe { *__errno_location() = (-result) as c_int };
    -1
}

/// The C library's own function of a name; null where there is none.
pub(super) struct Real {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Real {
    pub(super) const fn new(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(std::ptr::null_mut()) }
    }

    pub(super) fn find(&self) -> *mut c_void {
        let found = self.found.load(Ordering::Relaxed);
        if !found.is_null() {
            return found;
        }
        // SAFETY: the name ends with a zero.
        let found = unsafe { dlsym(NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Relaxed);
        found
    }
}
