//! System calls through libc, for targets without stable inline assembly and for who wants it so
//! (to interpose on `syscall(3)`, say).

use super::{Call, Errno};

/// Makes a call. Returns as the kernel does: a negated error number or the result.
///
/// # Safety
///
/// That of the call.
pub(super) unsafe fn syscall6(call: Call, a: [usize; 6]) -> isize {
    // Not the numbers of `asm.rs`: Alpha, MIPS and x32 have their own.
    let number = match call {
        Call::Setup => libc::SYS_io_uring_setup,
        Call::Enter => libc::SYS_io_uring_enter,
        Call::Register => libc::SYS_io_uring_register,
    };
    // SAFETY: `syscall` takes its number and up to six registers; what the call does with them is the
    // caller's promise.
    let ret = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if ret == -1 { -(errno().raw_os_error() as isize) } else { ret as isize }
}

/// The error number of the last libc call of this thread.
fn errno() -> Errno {
    #[cfg(target_os = "android")]
    use libc::__errno as location;
    #[cfg(not(target_os = "android"))]
    use libc::__errno_location as location;
    // SAFETY: libc gives a pointer to the thread's own error number.
    Errno::from_raw_os_error(unsafe { *location() })
}
