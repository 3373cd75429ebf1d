//! Memory that the kernel is told about: the old way to provide buffers, and advice.
//!
//! Both have `unsafe` constructors, since no borrow can say for how long, or in what way, the memory is used. Buffer
//! rings, the newer way to provide buffers, are no operations.

use core::ffi::c_void;

use crate::operand::{GroupId, Length};
use rustix::mm::Advice;

ops! {
    /// Adds buffers of one size to a group, from which other operations pick; see `io_uring_enter(2)`.
    ///
    /// Each is picked once and has to be added again. The first add makes the group. `E2BIG` for a count of 0 or of
    /// more than 65,536, `EINVAL` for ids beyond 65,535, for a length of 0 or a group that is a buffer ring.
    ///
    /// They are picked in the order in which they were added. Linux 5.15 picks the last one first, gives the number of
    /// buffers as the result where the group exists, and refuses neither ids beyond 65,535 nor a length of 0.
    ///
    /// ```
    /// use rawring::{Ring, op::{ProvideBuffers, RecvProvided}, operand::Group};
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    ///
    /// const GROUP: Group = Group(3);
    /// let (mut left, right) = UnixStream::pair()?;
    /// let mut memory = vec![0u8; 4 * 64];
    /// let base = memory.as_mut_ptr();
    /// let mut ring = Ring::new(8)?;
    /// // SAFETY: nothing else touches the memory until the one operation that picks from it has completed, and no
    /// // other follows before the ring is dropped.
    /// unsafe { ring.push(ProvideBuffers::new(base, 64, 4, 10, GROUP))? };
    /// ring.submit_and_wait(1)?;
    /// assert_eq!(ring.completions().next().expect("waited for one").result(), Ok(0));
    ///
    /// left.write_all(b"hello")?;
    /// // SAFETY: the socket is open until the completion was reaped, below.
    /// unsafe { ring.push_unchecked(RecvProvided::new(&right, GROUP)).expect("there is room") };
    /// ring.submit_and_wait(1)?;
    /// let cqe = ring.completions().next().expect("waited for one");
    /// assert_eq!(cqe.result(), Ok(5));
    /// assert_eq!(cqe.buffer_id(), Some(10));
    /// drop(ring);
    /// assert_eq!(&memory[..5], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ProvideBuffers = IORING_OP_PROVIDE_BUFFERS, "5.7", Once {
        contract unsafe "1. `count` times `size` bytes from `memory` may be written.\n\
            2. From the submission on, nothing else accesses a buffer until it was given back: until the operation \
            that picked it has ended (its completion names the buffer), a [`RemoveBuffers`] took it out, or the ring \
            is gone *and* every operation that may have picked from the group has ended.\n\
            3. No [`BufRing`](crate::buf_ring::BufRing) gets the group's number before that.";
        new(
            val memory: *mut u8 => [ADDR] Completed out,
            val size: u32 => [LEN],
            val count: u32 => [FD],
            val first_id: u16 => [OFF],
            into group: GroupId => [BUF_GROUP],
        )
        result "0"
    }

    /// Takes buffers out of a group before any operation picks them; see `io_uring_enter(2)`.
    ///
    /// Fewer than `count` are taken out if there are fewer, those first that would be picked first. `ENOENT` if there
    /// is no such group, `EINVAL` for a count of 0 or a group that is a buffer ring.
    RemoveBuffers = IORING_OP_REMOVE_BUFFERS, "5.7", Once {
        new(val count: u32 => [FD], into group: GroupId => [BUF_GROUP])
        result "how many were taken out"
    }

    /// Tells the kernel how memory will be used, as `madvise(2)`.
    ///
    /// A length that 32 bits do not hold needs Linux 6.11 (`EINVAL` before).
    Madvise = IORING_OP_MADVISE, "5.6", Once {
        contract unsafe "`address` and the `len` bytes from it are mapped memory to which the advice may be given. \
            Some advice takes contents away ([`Advice::LinuxDontNeed`] leaves zeros, or what the file has), some takes \
            memory away from children or from access: whatever has a reference there has to be able to bear that, \
            until the operation has completed and after it.";
        new(
            val address: *mut c_void => [ADDR] Completed out,
            into len: Length => [LEN, OFF],
            val advice: Advice => [FADVISE_ADVICE],
        )
        result "0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sqe;
    use crate::operand::Group;
    use crate::sqe::At;
    use rawring_sys as sys;

    #[test]
    fn item_16_a_length_is_stored_where_every_kernel_finds_it() {
        let stored = |len: u64| {
            // SAFETY: the entry is never submitted.
            let op = unsafe { Madvise::new(core::ptr::null_mut(), len, Advice::Normal) };
            let sqe = Sqe::from(op);
            (sqe.get(At::LEN), sqe.get(At::OFF))
        };
        assert_eq!(stored(4096), (4096, 0), "kernels before 6.11 refuse an offset");
        assert_eq!(stored(u64::from(u32::MAX)), (u64::from(u32::MAX), 0));
        assert_eq!(stored(1 << 32), (0, 1 << 32), "and not cut to its lower half, which is 0");
    }

    #[test]
    fn advice_is_stored_as_the_kernels_number() {
        let numbers = [
            (Advice::Normal, libc::MADV_NORMAL),
            (Advice::Random, libc::MADV_RANDOM),
            (Advice::WillNeed, libc::MADV_WILLNEED),
            (Advice::DontNeed, libc::MADV_NORMAL),
            (Advice::LinuxDontNeed, libc::MADV_DONTNEED),
            (Advice::LinuxFree, libc::MADV_FREE),
        ];
        for (advice, number) in numbers {
            // SAFETY: the entry is never submitted.
            let op = unsafe { Madvise::new(core::ptr::null_mut(), 1u64, advice) };
            assert_eq!(Sqe::from(op).get(At::FADVISE_ADVICE), number as u64, "{advice:?}");
        }
    }

    #[test]
    fn filling_a_group_picks_nothing_from_it() {
        let sqe = Sqe::from(RemoveBuffers::new(3, Group(9)));
        assert_eq!((sqe.get(At::BUF_GROUP), sqe.get(At::FD)), (9, 3));
        assert_eq!(sqe.get(At::FLAGS) & u64::from(sys::IOSQE_BUFFER_SELECT), 0, "the kernel refuses the flag here");
    }
}
