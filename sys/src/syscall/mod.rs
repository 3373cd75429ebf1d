//! The three system calls, as thin as they can be: registers in, a count or an [`Errno`] out.
//!
//! Where stable Rust has inline assembly they are a single instruction (`asm.rs`), and an error comes
//! back in the result without a detour through the thread's `errno`. Elsewhere, and with
//! `--cfg rawring_use_libc`, they are `libc::syscall` (`via_libc.rs`). Both have one function of the
//! same form: it returns what the kernel returns, a negated error number or the result.
//!
//! Not here: retrying, argument checks, policy. `EINTR` is an error like any other.

mod asm;
mod via_libc;

use core::ffi::c_void;

pub use rustix::io::Errno;

use crate::io_uring_params;

/// How this build makes system calls: `"asm"` or `"libc"`.
pub const SYSCALL_PATH: &str = if USE_LIBC { "libc" } else { "asm" };

const USE_LIBC: bool = cfg!(rawring_use_libc) || !asm::AVAILABLE;

/// The calls; each path knows their numbers.
#[derive(Clone, Copy, Debug)]
enum Call {
    Setup,
    Enter,
    Register,
}

/// Makes a call the way this build does.
///
/// # Safety
///
/// That of the call: whatever the arguments point at must be valid for what the kernel does with it.
#[inline(always)]
unsafe fn syscall6_raw(call: Call, args: [usize; 6]) -> isize {
    if USE_LIBC {
        // SAFETY: the caller's promise is the same.
        unsafe { via_libc::syscall6(call, args) }
    } else {
        // SAFETY: the caller's promise is the same.
        unsafe { asm::syscall6(call, args) }
    }
}

/// As [`syscall6_raw`], with the result taken apart.
///
/// # Safety
///
/// As for [`syscall6_raw`].
#[inline(always)]
unsafe fn syscall6(call: Call, args: [usize; 6]) -> Result<u32, Errno> {
    // SAFETY: the caller's promise is the same.
    result(unsafe { syscall6_raw(call, args) })
}

/// Takes apart what the kernel returned.
#[inline(always)]
const fn result(ret: isize) -> Result<u32, Errno> {
    if ret < 0 { Err(errno(ret)) } else { Ok(ret as u32) }
}

/// The error that a negative result is.
///
/// # Panics
///
/// If the kernel returned a number that is no error's (below -4095).
#[cold]
#[must_use]
pub const fn errno(ret: isize) -> Errno {
    Errno::from_raw_os_error(-(ret as i32))
}

/// `io_uring_setup(2)`: makes a ring and fills `p`. Returns its file descriptor, or with
/// `IORING_SETUP_REGISTERED_FD_ONLY` the index of its registration.
///
/// # Errors
///
/// What the kernel reports; [`Errno::NOSYS`] where there is no io_uring, [`Errno::PERM`] where it is
/// forbidden, [`Errno::INVAL`] for parameters it does not accept.
///
/// # Safety
///
/// `p` must be valid for reads and writes of an [`io_uring_params`], or null or otherwise unmapped (an
/// `EFAULT`). With `IORING_SETUP_NO_MMAP`, the memory that its two `user_addr` name must be the
/// caller's to give, until the ring is gone.
#[inline]
pub unsafe fn io_uring_setup(entries: u32, p: *mut io_uring_params) -> Result<u32, Errno> {
    let args = [entries as usize, p.expose_provenance(), 0, 0, 0, 0];
    // SAFETY: the kernel touches `*p` and the memory named in it, which the caller vouches for.
    unsafe { syscall6(Call::Setup, args) }
}

/// `io_uring_enter(2)`: submits entries, waits for completions, or both. Returns how many entries were
/// consumed. `fd` is a descriptor, or with `IORING_ENTER_REGISTERED_RING` the index of a registration.
///
/// # Errors
///
/// What the kernel reports. An error of the wait is reported only if nothing was submitted.
///
/// # Safety
///
/// `arg` and `argsz` must be what `flags` says: a signal mask or null, an
/// [`io_uring_getevents_arg`](crate::io_uring_getevents_arg) (`IORING_ENTER_EXT_ARG`) whose pointers are valid, or an
/// offset in registered memory (`IORING_ENTER_EXT_ARG_REG`).
///
/// The submitted entries are requests to the kernel to read and write memory, and to close and open
/// files: everything that an entry names must stay valid, and not be used otherwise, for as long as
/// its operation says.
#[inline]
pub unsafe fn io_uring_enter(
    fd: i32,
    to_submit: u32,
    min_complete: u32,
    flags: u32,
    arg: *const c_void,
    argsz: usize,
) -> Result<u32, Errno> {
    // SAFETY: the caller's promise is the same.
    result(unsafe { io_uring_enter_raw(fd, to_submit, min_complete, flags, arg, argsz) })
}

/// [`io_uring_enter`], with what the kernel returned: a count, or a negated error number. A plain number can stay in a
/// register on its way through a program, where a `Result` often does not.
///
/// # Safety
///
/// As for [`io_uring_enter`].
#[inline(always)]
pub unsafe fn io_uring_enter_raw(
    fd: i32,
    to_submit: u32,
    min_complete: u32,
    flags: u32,
    arg: *const c_void,
    argsz: usize,
) -> isize {
    let args = [fd_arg(fd), to_submit as usize, min_complete as usize, flags as usize, arg.expose_provenance(), argsz];
    // SAFETY: the kernel touches `*arg` and what the entries name, which the caller vouches for.
    unsafe { syscall6_raw(Call::Enter, args) }
}

/// `io_uring_register(2)`: whatever `opcode` says, see the `IORING_REGISTER_*`. `fd` is a descriptor,
/// with `IORING_REGISTER_USE_REGISTERED_RING` the index of a registration, or -1 for the few that need no ring.
///
/// # Errors
///
/// What the kernel reports.
///
/// # Safety
///
/// `arg` and `nr_args` must be what `opcode` takes, valid for what the kernel reads and writes there.
/// Memory that gets registered must stay valid until it is unregistered and the requests that use it are over.
#[inline]
pub unsafe fn io_uring_register(fd: i32, opcode: u32, arg: *mut c_void, nr_args: u32) -> Result<u32, Errno> {
    let args = [fd_arg(fd), opcode as usize, arg.expose_provenance(), nr_args as usize, 0, 0];
    // SAFETY: the kernel touches `*arg` and what it names, which the caller vouches for.
    unsafe { syscall6(Call::Register, args) }
}

/// A descriptor as a register; the kernel looks at the low 32 bits only.
#[inline(always)]
const fn fd_arg(fd: i32) -> usize {
    fd as isize as usize
}

#[cfg(test)]
mod tests {
    use core::ptr::{null, null_mut};

    use super::*;

    type Path = unsafe fn(Call, [usize; 6]) -> isize;

    /// Errors that the kernel gives to anyone, by both paths.
    fn errors(path: Path) {
        // SAFETY: no pointer among the arguments is valid, no descriptor open.
        let call = |call, args| result(unsafe { path(call, args) });
        // Null parameters, then none of the flags known.
        assert_eq!(call(Call::Setup, [1, 0, 0, 0, 0, 0]), Err(Errno::FAULT));
        let mut p = io_uring_params { flags: !0, ..io_uring_params::ZERO };
        let at = (&raw mut p).expose_provenance();
        assert_eq!(call(Call::Setup, [1, at, 0, 0, 0, 0]), Err(Errno::INVAL));
        let none = fd_arg(-1);
        assert_eq!(call(Call::Enter, [none, 0, 0, 0, 0, 0]), Err(Errno::BADF));
        assert_eq!(call(Call::Enter, [none, 0, 0, 1 << 30, 0, 0]), Err(Errno::INVAL));
        // No ring, to which only some registrations apply; to older kernels (6.12) just no descriptor.
        let blind = call(Call::Register, [none, 0, 0, 0, 0, 0]);
        assert!(matches!(blind, Err(Errno::INVAL | Errno::BADF)), "{blind:?}");
        assert_eq!(call(Call::Register, [i32::MAX as usize, 0, 0, 0, 0, 0]), Err(Errno::BADF));
    }

    /// A ring, of which every argument of `io_uring_enter` can be seen to arrive.
    fn arguments(path: Path) {
        let mut p = io_uring_params::ZERO;
        // SAFETY: `p` is valid for reads and writes.
        let fd = unsafe { path(Call::Setup, [3, (&raw mut p).expose_provenance(), 0, 0, 0, 0]) };
        let Ok(fd) = result(fd) else {
            return assert_eq!(result(fd), Err(Errno::PERM), "no ring for another reason");
        };
        assert_eq!(p.sq_entries, 4);
        let fd = fd as usize;

        // to_submit: nothing is in the queue. min_complete and flags: a wait with a timeout of zero
        // ends at once. arg and argsz: a size that is not the struct's is refused, the right one is not.
        let ts = crate::__kernel_timespec::ZERO;
        let arg =
            crate::io_uring_getevents_arg { ts: (&raw const ts).expose_provenance() as u64, ..Default::default() };
        let flags = (crate::IORING_ENTER_GETEVENTS | crate::IORING_ENTER_EXT_ARG) as usize;
        let at = (&raw const arg).expose_provenance();
        let size = size_of_val(&arg);
        // SAFETY: `arg` and `ts` are valid for reads; there is nothing to submit.
        let enter = |args| result(unsafe { path(Call::Enter, args) });
        assert_eq!(enter([fd, 0, 1, flags, at, size]), Err(Errno::TIME));
        assert_eq!(enter([fd, 0, 0, flags, at, size]), Ok(0));
        assert_eq!(enter([fd, 9, 0, flags, at, size]), Ok(0));
        assert_eq!(enter([fd, 0, 1, flags, at, size - 1]), Err(Errno::INVAL));
        assert_eq!(enter([fd, 0, 1, flags, 8, size]), Err(Errno::FAULT));

        // nr_args: an eventfd is one argument. A probe writes to memory.
        let mut probe = crate::io_uring_probe::ZERO;
        let at = (&raw mut probe).expose_provenance();
        // SAFETY: `probe` is valid for reads and writes, and has room for no operation.
        let register = |args| result(unsafe { path(Call::Register, args) });
        let op = crate::IORING_REGISTER_PROBE as usize;
        assert_eq!(register([fd, op, at, 0, 0, 0]), Ok(0));
        assert!(probe.last_op > 0);
        let op = crate::IORING_REGISTER_EVENTFD as usize;
        assert_eq!(register([fd, op, at, 2, 0, 0]), Err(Errno::INVAL));

        // SAFETY: this descriptor is ours and not used afterwards.
        unsafe { rustix::io::close(fd as i32) };
    }

    #[test]
    fn errors_are_the_kernels_on_this_builds_path() {
        errors(if USE_LIBC { via_libc::syscall6 } else { asm::syscall6 });
    }

    #[test]
    fn errors_are_the_kernels_through_libc() {
        errors(via_libc::syscall6);
    }

    #[test]
    fn arguments_arrive_on_this_builds_path() {
        arguments(if USE_LIBC { via_libc::syscall6 } else { asm::syscall6 });
    }

    #[test]
    fn arguments_arrive_through_libc() {
        arguments(via_libc::syscall6);
    }

    #[test]
    fn the_public_functions_order_their_arguments() {
        // SAFETY: no pointer is valid, no descriptor open.
        unsafe {
            assert_eq!(io_uring_setup(1, null_mut()), Err(Errno::FAULT));
            assert_eq!(io_uring_enter(-1, 0, 0, 0, null(), 0), Err(Errno::BADF));
            assert_eq!(io_uring_enter(-1, 0, 0, 1 << 30, null(), 0), Err(Errno::INVAL));
            assert_eq!(io_uring_register(i32::MAX, 0, null_mut(), 0), Err(Errno::BADF));
        }
    }

    #[test]
    fn the_path_is_named() {
        let expected = if cfg!(rawring_use_libc) || !asm::AVAILABLE { "libc" } else { "asm" };
        assert_eq!(SYSCALL_PATH, expected);
        #[cfg(all(target_arch = "x86_64", not(rawring_use_libc)))]
        assert_eq!(SYSCALL_PATH, "asm");
    }
}
