//! Rings in memory that the caller gives: how much it takes, and handing it over.
//!
//! Who owns what, when: the memory is the caller's until the kernel is asked for the ring, and nobody's as of then: the
//! kernel holds the pages, and may write to them for some time after the ring was closed, which nothing tells. So memory
//! that was handed over as a value is never given back, but unmapped when the ring is done with it.
//!
//! Not here: memory that the crate allocates for a ring ([`Setup::no_mmap`]).

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use rustix::mm::{Advice, madvise};
use rustix::param::page_size;
use rustix::process::{Pid, getpid};

use super::error::{Cause, SetupError, Step};
use super::{Setup, Trust};
use crate::flags::SetupFlags;
use crate::register::Memory;
use crate::ring::Ring;
use rawring_sys as sys;

/// Why there is no ring in the memory that was handed over.
#[derive(Debug)]
pub struct Unbuilt {
    /// What is wrong.
    pub error: SetupError,
    /// The memory, if the kernel was not asked. Otherwise it may still write there, and the memory is gone.
    pub memory: Option<Memory>,
}

impl std::error::Error for Unbuilt {}

impl fmt::Display for Unbuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Memory that a ring is in, kept for as long as the ring is.
pub(crate) struct Given {
    memory: ManuallyDrop<Memory>,
    home: Pid,
}

impl Drop for Given {
    fn drop(&mut self) {
        // In a forked child there is no such memory, and at its address there may be other.
        if self.home != getpid() {
            return;
        }
        // The last piece of a mapping unmaps all of it, also in a child: from now on it has to be there as a whole.
        let place = self.memory.place();
        let pages = place.len() - place.len() % page_size();
        // SAFETY: whole pages of a mapping that `memory` holds, and the advice changes nothing in this process.
        if unsafe { madvise(place.as_ptr().cast(), pages, Advice::LinuxDoFork) }.is_ok() {
            // SAFETY: it is dropped here and nowhere else, and this value is not used again.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}

impl Setup<'_> {
    /// How many bytes of memory [`build_in`](Self::build_in) needs: a multiple of the size of a page.
    ///
    /// The kernel is asked for the size of what it puts before the completions (Linux 6.19); for kernels that cannot be
    /// asked, more than any of them needs is counted. Room for the array of indices is counted unless
    /// [`no_sqarray(true)`](Self::no_sqarray) rules it out. Sizes that [`clamp`](Self::clamp) would cut are counted as they
    /// are.
    ///
    /// # Errors
    ///
    /// [`Cause::Entries`] and [`Cause::CqEntries`] for sizes that no ring has.
    pub fn memory_len(&self) -> Result<usize, SetupError> {
        let params = sys::io_uring_params { flags: self.flags().bits(), ..self.params };
        let needed = sys::RingMemory::needed(self.entries, &params, crate::probe::queues_of(&self.kernel).as_ref());
        needed.map_err(|error| SetupError { step: Step::Memory, errno: None, cause: self.without_memory(error) })
    }

    /// Makes the ring in this memory, in place of [`build`](Self::build) and [`no_mmap`](Self::no_mmap).
    ///
    /// The memory has to begin with a page; [`memory_len`](Self::memory_len) says how large it has to be. Pieces of one
    /// mapping can have a ring each. It may be of [huge pages](Memory::huge), if it is all of them and no piece. Before
    /// Linux 6.10 only contiguous memory will do: huge pages, or a ring whose entries fit in a page, and all else too.
    /// Children of a fork do not get it, so [`inherit_on_fork`](Self::inherit_on_fork) is refused
    /// ([`Cause::PrivateMemory`]).
    ///
    /// `IORING_SETUP_NO_MMAP`, Linux 6.5.
    ///
    /// ```
    /// use rawring::Setup;
    /// use rawring::register::Memory;
    ///
    /// let setup = Setup::new(8);
    /// let len = setup.memory_len()?;
    /// // Two rings, side by side.
    /// let (left, right) = Memory::new(2 * len)?.split_at(len).expect("room for both");
    /// match (setup.build_in(left), setup.build_in(right)) {
    ///     (Ok(left), Ok(right)) => assert_eq!((left.sq_entries(), right.sq_entries()), (8, 8)),
    ///     (Err(before_6_5), _) | (_, Err(before_6_5)) => println!("{before_6_5}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and [`Cause::Map`] with [`TooSmall`](sys::MapError::TooSmall) or
    /// [`Unaligned`](sys::MapError::Unaligned). The memory comes back where the kernel was not asked.
    pub fn build_in(&self, memory: Memory) -> Result<Ring, Unbuilt> {
        if self.fork == sys::Fork::Keep && self.trust == Trust::Nothing {
            let error = SetupError { step: Step::Check, errno: None, cause: Cause::PrivateMemory };
            return Err(Unbuilt { error, memory: Some(memory) });
        }
        // SAFETY: the memory stays mapped for as long as the ring: it goes into it below. The value alone has the right
        // to touch it, and nobody gets the value again once the kernel was asked.
        match unsafe { self.build_at(memory.place()) } {
            Ok(mut ring) => {
                ring.given = Some(Given { memory: ManuallyDrop::new(memory), home: getpid() });
                Ok(ring)
            }
            Err(error) => {
                let untouched = matches!(error.step(), Step::Check | Step::Memory);
                Err(Unbuilt { error, memory: untouched.then_some(memory) })
            }
        }
    }

    /// As [`build_in`](Self::build_in), in memory that is mapped by the caller and stays the caller's to unmap.
    ///
    /// # Safety
    ///
    /// 1. `memory` is mapped for reading and writing, and stays so until the ring is dropped.
    /// 2. As of this call nobody else reads or writes it, nor has references to it: not while there is the ring, nor
    ///    after it is dropped, nor if this fails, unless in [`Step::Check`] or [`Step::Memory`]. The kernel holds the
    ///    pages, and may write to them for some time after. The memory may be unmapped when the ring is dropped, and is
    ///    of no other use.
    /// 3. With [`inherit_on_fork`](Self::inherit_on_fork) it is mapped as shared, or no child uses the ring. Without, the
    ///    whole pages in it are taken from children (`MADV_DONTFORK`), where nobody unmaps them or relies on them.
    ///
    /// # Errors
    ///
    /// As [`build_in`](Self::build_in).
    pub unsafe fn build_at(&self, memory: NonNull<[u8]>) -> Result<Ring, SetupError> {
        let setup = self.clone().with(SetupFlags::NO_MMAP);
        // SAFETY: the caller's promise.
        let made = unsafe { setup.make_in(Some(memory)) };
        setup.told(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_dropped_at_home_only() {
        let memory = Memory::new(1).expect("memory");
        let (at, page) = (memory.place().cast(), rustix::param::page_size());
        let mapped = || {
            // SAFETY: the advice changes nothing, and fails where there is no such mapping.
            unsafe { rustix::mm::madvise(at.as_ptr(), page, rustix::mm::Advice::Normal) }.is_ok()
        };
        drop(Given { memory: ManuallyDrop::new(memory), home: Pid::INIT });
        assert!(mapped(), "memory of another process was unmapped");
    }
}
