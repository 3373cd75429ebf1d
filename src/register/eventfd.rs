//! Being told of completions by an eventfd.
//!
//! A signal says "look", no more: it may come without a completion, and one signal may stand for many. Whether there are
//! signals at all can be switched by a word of the completion queue, without a system call; only this side writes it.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::queue::signals;
use crate::ring::Ring;
use crate::sync::Word;
use rawring_sys as sys;

impl Ring {
    /// Has the kernel signal `eventfd` whenever it posts a completion. `None` undoes it.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_EVENTFD`, Linux 5.2.
    ///
    /// ```
    /// use rawring::{Ring, op::Nop};
    /// use rustix::event::{EventfdFlags, eventfd};
    ///
    /// let mut ring = Ring::new(8)?;
    /// let signal = eventfd(0, EventfdFlags::CLOEXEC)?;
    /// ring.register_eventfd(Some(std::os::fd::AsFd::as_fd(&signal)))?;
    /// ring.push(Nop::new())?;
    /// ring.submit()?;
    /// let mut count = [0; 8];
    /// rustix::io::read(&signal, &mut count)?;
    /// assert!(u64::from_ne_bytes(count) > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBUSY` | one is registered already |
    /// | `ENXIO` | there is none to undo |
    /// | `EINVAL` | it is no eventfd |
    /// | `EEXIST`, `EBADF`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn register_eventfd(&mut self, eventfd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        match eventfd {
            Some(fd) => self.signal(sys::IORING_REGISTER_EVENTFD, fd),
            None => {
                // SAFETY: the operation takes no argument and names no memory.
                unsafe { self.register_raw(sys::IORING_UNREGISTER_EVENTFD, core::ptr::null_mut(), 0) }.map(drop)
            }
        }
    }

    /// As [`register_eventfd`](Self::register_eventfd), for the completions that worker threads post: those that happen
    /// while entries are submitted, or in the task itself, give no signal.
    ///
    /// `IORING_REGISTER_EVENTFD_ASYNC`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// As for `register_eventfd`.
    pub fn register_eventfd_async(&mut self, eventfd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.signal(sys::IORING_REGISTER_EVENTFD_ASYNC, eventfd)
    }

    fn signal(&self, op: u32, eventfd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut raw = eventfd.as_raw_fd();
        // SAFETY: the argument is one descriptor, read during the call; the kernel takes a reference to it.
        unsafe { self.register_raw(op, (&raw mut raw).cast(), 1) }.map(drop)
    }

    /// Whether a registered eventfd gets signals. Makes no system call.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` where the kernel has no such switch (it came with Linux 5.8): it signals always.
    pub fn eventfd_enabled(&self) -> Result<bool, Errno> {
        Ok(signals::enabled(self.cq_flags()?))
    }

    /// Switches the signals of a registered eventfd off and on again. Makes no system call.
    ///
    /// Completions that are posted while it is off are not signalled later. What this returns is how many completions
    /// are in the queue after the switch: with one or more of them no signal can be relied upon, so reap them before
    /// waiting.
    ///
    /// # Errors
    ///
    /// As for [`eventfd_enabled`](Self::eventfd_enabled).
    pub fn enable_eventfd(&mut self, enabled: bool) -> Result<u32, Errno> {
        Ok(signals::switch(self.cq_flags()?, &self.cq, enabled))
    }

    fn cq_flags(&self) -> Result<Word, Errno> {
        let word = self.map.pointers().cq_flags.ok_or(Errno::OPNOTSUPP)?;
        // SAFETY: the word is in the mapping, which outlives the result: neither caller keeps it. The kernel accesses it
        // atomically.
        Ok(unsafe { Word::new(word.cast()) })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::op::Nop;

    #[test]
    fn item_37_without_a_word_of_flags_nothing_is_switched() {
        // No kernel that the crate runs on lacks the word; a layout without it is what older ones gave.
        let old;
        let mut ring = Ring::new(4).expect("a ring");
        let mut params = *ring.params();
        params.cq_off.flags = 0;
        let map = sys::RingMap::new(ring.fd().expect("a descriptor"), &params, ring.fork).expect("mapped");
        old = std::mem::replace(&mut ring.map, map);
        ring.push(Nop::new().user_data(1)).expect("room");
        ring.submit_and_wait(1).expect("submitted");
        // At offset 0 of the queues is the submission queue's head.
        let head = |map: &sys::RingMap| {
            // SAFETY: the word is in the mapping, which is borrowed; the kernel writes it only when it is entered.
            unsafe { map.pointers().sq_head.read_volatile() }
        };
        assert_eq!((params.sq_off.head, head(&old)), (0, 1));
        for enabled in [false, true] {
            assert_eq!(ring.enable_eventfd(enabled), Err(Errno::OPNOTSUPP));
            assert_eq!(ring.eventfd_enabled(), Err(Errno::OPNOTSUPP));
        }
        assert_eq!((head(&old), head(&ring.map)), (1, 1));
        assert_eq!((ring.ready(), ring.pending(), ring.room()), (1, 0, 4));
    }
}
