//! Overrides entropy and clock in a simulation binary.
//!
//! Owns `getrandom`, `getentropy`, `syscall` and `clock_gettime` of the binary that links it. On a thread that is
//! armed they answer from a seed and from a fixed moment; on every other they do what the C library does. It is
//! what makes hash maps, IVs of tokens and whatever a dependency draws follow from the seed. Never linked
//! into anything but tests. x86-64 Linux only: elsewhere nothing is overridden, and [`arm`] says so.
#![allow(unsafe_code, reason = "overriding symbols of the C library is what this crate is for")]

/// Whether this thread's entropy and clock now follow from the seed; `unix_secs` is what its clock shows.
#[must_use]
pub fn arm(seed: u64, unix_secs: i64) -> bool {
    imp::arm(seed, unix_secs)
}

/// Gives this thread the machine's entropy and clock back.
pub fn disarm() {
    imp::disarm();
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod imp {
    use std::{
        arch::asm,
        cell::Cell,
        ffi::{c_char, c_int, c_long, c_uint, c_void},
        sync::atomic::{AtomicPtr, Ordering},
    };

    const SYS_CLOCK_GETTIME: c_long = 228;
    const SYS_GETRANDOM: c_long = 318;
    /// `RTLD_NEXT`: the definition behind ours.
    const NEXT: *mut c_void = usize::MAX as *mut c_void;

    #[derive(Clone, Copy)]
    struct Armed {
        state: u64,
        unix_secs: i64,
    }

    thread_local! {
        // Const and without a destructor, so that it can be read from anywhere.
        static ARMED: Cell<Option<Armed>> = const { Cell::new(None) };
    }

    pub(super) fn arm(seed: u64, unix_secs: i64) -> bool {
        ARMED.set(Some(Armed { state: seed, unix_secs }));
        true
    }

    pub(super) fn disarm() {
        ARMED.set(None);
    }

    /// Fills the buffer if this thread is armed.
    ///
    /// # Safety
    /// `buffer` is valid for `bytes` bytes.
    unsafe fn fill(buffer: *mut c_void, bytes: usize) -> bool {
        let Some(mut armed) = ARMED.get() else { return false };
        for at in 0..bytes {
            armed.state = armed.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = armed.state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            // SAFETY: `at` is below `bytes`.
            unsafe { buffer.cast::<u8>().add(at).write((mixed >> 56) as u8) };
        }
        ARMED.set(Some(armed));
        true
    }

    /// The kernel's own answer: not negative, or minus an error number.
    ///
    /// # Safety
    /// As the system call demands.
    unsafe fn kernel(number: c_long, args: [c_long; 6]) -> c_long {
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
    fn returned(result: c_long) -> c_long {
        if result >= 0 {
            return result;
        }
        // SAFETY: the location is this thread's own.
        unsafe { *__errno_location() = (-result) as c_int };
        -1
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
            returned(kernel(SYS_GETRANDOM, args)) as isize
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
            returned(kernel(number, [a, b, c, d, e, f]))
        }
    }

    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanos: c_long,
    }

    type ClockGettime = unsafe extern "C" fn(c_int, *mut Timespec) -> c_int;

    static REAL_CLOCK: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

    /// # Safety
    /// As of the function that it overrides.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn clock_gettime(clock: c_int, into: *mut Timespec) -> c_int {
        // SAFETY: `into` is the caller's, by the function's contract; what `dlsym` finds is the C library's
        // function of this name, which has this type.
        unsafe {
            if let Some(armed) = ARMED.get() {
                into.write(Timespec { seconds: armed.unix_secs, nanos: 0 });
                return 0;
            }
            let mut real = REAL_CLOCK.load(Ordering::Relaxed);
            if real.is_null() {
                real = dlsym(NEXT, c"clock_gettime".as_ptr());
                REAL_CLOCK.store(real, Ordering::Relaxed);
            }
            if real.is_null() {
                let args = [c_long::from(clock), into as c_long, 0, 0, 0, 0];
                return returned(kernel(SYS_CLOCK_GETTIME, args)) as c_int;
            }
            std::mem::transmute::<*mut c_void, ClockGettime>(real)(clock, into)
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod imp {
    pub(super) fn arm(_seed: u64, _unix_secs: i64) -> bool {
        false
    }

    pub(super) fn disarm() {}
}
