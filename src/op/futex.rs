//! Waiting for other threads and processes: futexes, and children.

use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU32;

use crate::operand::{FutexFlags, FutexWaiter};
use rawring_sys as sys;
use rustix::process::{WaitId as WhichChild, WaitIdOptions};

ops! {
    /// Waits until a futex is woken, as `futex_wait(2)`.
    ///
    /// `EAGAIN` if the word does not hold the value when the operation starts. A wake-up says "look again", no more.
    ///
    /// ```
    /// use rawring::{Ring, op::{FutexWait, FutexWake}};
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let word = AtomicU32::new(0);
    /// let mut ring = Ring::new(8)?;
    /// // SAFETY: the word lives until both completions were reaped, below.
    /// unsafe { ring.push_unchecked(FutexWait::new(&word, 0).user_data(1)).expect("there is room") };
    /// ring.submit()?;
    /// word.store(1, Ordering::Release);
    /// // SAFETY: as above.
    /// unsafe { ring.push_unchecked(FutexWake::new(&word, 1).user_data(2)).expect("there is room") };
    /// ring.submit_and_wait(2)?;
    /// for cqe in ring.completions() {
    ///     let expected = if cqe.user_data().0 == 1 { 0 } else { 1 };
    ///     assert_eq!(cqe.result(), Ok(expected));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    FutexWait = IORING_OP_FUTEX_WAIT, "6.7", Once {
        new(val word: &'a AtomicU32 => [ADDR] Completed, val value: u32 => [ADDR2])
        with {
            /// Only wake-ups whose mask has a bit in common with this one count; 0 is refused (`EINVAL`).
            val mask: u32 => [ADDR3];
            /// Whether other processes use the word, too; without it, they do.
            val futex_flags: FutexFlags => [FD];
        }
        defaults [ADDR3 = sys::FUTEX_BITSET_MATCH_ANY, FD = libc::FUTEX2_SIZE_U32]
        result "0"
    }

    /// Wakes those who wait on a futex, as `futex_wake(2)`: threads and operations alike.
    FutexWake = IORING_OP_FUTEX_WAKE, "6.7", Once {
        new(val word: &'a AtomicU32 => [ADDR] Completed, val count: u32 => [ADDR2])
        with {
            /// Only those whose mask has a bit in common with this one.
            val mask: u32 => [ADDR3];
            /// Whether other processes use the word, too; without it, they do.
            val futex_flags: FutexFlags => [FD];
        }
        defaults [ADDR3 = sys::FUTEX_BITSET_MATCH_ANY, FD = libc::FUTEX2_SIZE_U32]
        result "how many were woken"
    }

    /// Waits until one of several futexes is woken, as `futex_waitv(2)`.
    ///
    /// The array is needed until submitted, the words until completed. At most 128 (`EINVAL`). `EAGAIN` as for
    /// [`FutexWait`].
    FutexWaitv = IORING_OP_FUTEX_WAITV, "6.7", Once {
        new(val waiters: &'a [FutexWaiter<'a>] => [ADDR, LEN] Completed)
        result "the index of one that was woken"
    }

    /// Waits for a child process, as `waitid(2)`.
    ///
    /// `ECHILD` if there is none to wait for. Once: to wait again, submit again.
    WaitId = IORING_OP_WAITID, "6.7", Once {
        new(val which: WhichChild<'a> => [LEN, FD], val options: WaitIdOptions => [FILE_INDEX])
        with {
            /// Where to put what became of the child. The kernel writes the fields that `waitid(2)` names and leaves
            /// all other bytes as they are, so a value is only there if all were zero before
            /// (`MaybeUninit::zeroed`).
            val info: &'a mut MaybeUninit<libc::siginfo_t> => [ADDR2] Completed out;
        }
        result "0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sqe;
    use crate::sqe::At;
    use rustix::process::Pid;

    #[test]
    fn a_futex_is_shared_unless_said_otherwise_and_always_32_bits_wide() {
        let word = AtomicU32::new(0);
        let size = libc::FUTEX2_SIZE_U32 as u64;
        let sqe = Sqe::from(FutexWait::new(&word, 0));
        assert_eq!((sqe.get(At::FD), sqe.get(At::ADDR3)), (size, 0xffff_ffff));
        let sqe = Sqe::from(FutexWake::new(&word, 1).futex_flags(FutexFlags::PRIVATE).mask(6));
        assert_eq!((sqe.get(At::FD), sqe.get(At::ADDR3)), (size | libc::FUTEX2_PRIVATE as u64, 6));
    }

    #[test]
    fn which_child_is_two_numbers() {
        let numbers = |which| {
            let sqe = Sqe::from(WaitId::new(which, WaitIdOptions::EXITED));
            (sqe.get(At::LEN) as u32, sqe.get(At::FD))
        };
        assert_eq!(numbers(WhichChild::All), (libc::P_ALL, 0));
        assert_eq!(numbers(WhichChild::Pid(Pid::INIT)), (libc::P_PID, 1));
        assert_eq!(numbers(WhichChild::Pgid(None)), (libc::P_PGID, 0));
    }
}
