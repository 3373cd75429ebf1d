//! Asking the kernel for a ring, and mapping it.
//!
//! Invariant: whatever fails, nothing stays behind: the descriptor is closed, the place among the registered rings
//! freed. Only what this crate added on its own account (`single.rs`, `NO_SQARRAY`) is ever taken back to try again; what
//! the caller asked for is done or fails.

use core::ptr::NonNull;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::error::{Cause, SetupError, Step};
use super::rules::{self, Conflict};
use super::{Memory, Setup, Trust, diagnose};
use crate::flags::{Features, FlagInfo, SetupFlags};
use crate::handle::{Handle, Place};
use crate::kernel::{Entrance, Kernel};
use crate::ring::Ring;
use crate::version::Version;
use rawring_sys as sys;

/// What went wrong, before anybody asks why.
pub(super) enum Failure {
    /// The cause is plain.
    Plain(Step, Cause),
    /// `io_uring_setup` refused these parameters.
    Setup(Errno, Box<sys::io_uring_params>),
}

impl Setup<'_> {
    /// Makes the ring. The setup can be used again.
    ///
    /// # Errors
    ///
    /// [`SetupError`] names the step that failed and the cause, as far as that can be found out: looking for it takes
    /// a few more calls and reads from `/proc`.
    pub fn build(&self) -> Result<Ring, SetupError> {
        self.told(self.make())
    }

    /// Says why there is no ring.
    pub(super) fn told(&self, made: Result<Ring, Failure>) -> Result<Ring, SetupError> {
        made.map_err(|failure| match failure {
            Failure::Plain(step, cause) => {
                let errno = match cause {
                    Cause::Map(sys::MapError::Mmap { errno, .. }) => Some(errno),
                    _ => None,
                };
                SetupError { step, errno, cause }
            }
            Failure::Setup(errno, params) => {
                let cause = diagnose::cause(&self.kernel, errno, self.entries, &params);
                SetupError { step: Step::Setup, errno: Some(errno), cause }
            }
        })
    }

    /// The flags as they will be asked for first; `NO_SQARRAY` may come on top, and kernels that do not know what
    /// [`single_thread`](Self::single_thread) stands for get less.
    #[must_use]
    pub fn flags(&self) -> SetupFlags {
        self.asked() | self.wished()
    }

    /// The flags that the caller asked for.
    fn asked(&self) -> SetupFlags {
        let flags = SetupFlags::from_bits_retain(self.params.flags);
        match self.no_sqarray {
            Some(true) => flags.union(SetupFlags::NO_SQARRAY),
            Some(false) => flags.difference(SetupFlags::NO_SQARRAY),
            None if flags.contains(SetupFlags::SQ_REWIND) => flags.union(SetupFlags::NO_SQARRAY),
            None => flags,
        }
    }

    /// The rule that the flags break, if there is one. [`build`](Self::build) refuses them then, unless they are
    /// [raw](Self::raw_flags).
    #[must_use]
    pub fn conflict(&self) -> Option<Conflict> {
        rules::conflict(self.flags())
    }

    /// Makes the ring, without looking for causes.
    pub(super) fn make(&self) -> Result<Ring, Failure> {
        // SAFETY: no memory is given.
        unsafe { self.make_in(None) }
    }

    /// As [`make`](Self::make), in this memory if the flags say that a ring is not in the kernel's.
    ///
    /// # Safety
    ///
    /// As for [`build_at`](Self::build_at).
    pub(super) unsafe fn make_in(&self, given: Option<NonNull<[u8]>>) -> Result<Ring, Failure> {
        // SAFETY: the caller's promise.
        unsafe { self.make_with(&self.wishes(), given) }
    }

    /// Makes the ring, with the first of these flags of our own that the kernel takes, or with none.
    ///
    /// # Safety
    ///
    /// As for [`build_at`](Self::build_at).
    unsafe fn make_with(&self, wishes: &[SetupFlags], given: Option<NonNull<[u8]>>) -> Result<Ring, Failure> {
        self.check().map_err(|cause| Failure::Plain(Step::Check, cause))?;
        let flags = self.asked();
        let mut refused = None;
        // Given memory that the kernel was shown once is not untouched, even if a further try does not get so far.
        let told = |made, refused| match (made, refused) {
            (Err(Failure::Plain(Step::Memory, _)), Some(refused)) if given.is_some() => Err(refused),
            (made, _) => made,
        };
        for ours in wishes.iter().copied().filter(|ours| !flags.contains(*ours)) {
            // SAFETY: the caller's promise; what the kernel refused for its flags has touched no memory.
            match unsafe { self.create(flags | ours, given) } {
                // The kernel does not know ours, or one of the caller's is wrong: the next call will tell.
                Err(refusal @ Failure::Setup(Errno::INVAL, _)) => refused = Some(refusal),
                made => return told(made, refused),
            }
        }
        // SAFETY: as above.
        told(unsafe { self.create(flags, given) }, refused)
    }

    /// What can be known to fail.
    fn check(&self) -> Result<(), Cause> {
        if let Some(other) = self.attach {
            if other.fd().is_none() {
                return Err(Cause::AttachWithoutDescriptor);
            }
            let both = self.flags() & !other.setup_flags();
            if self.trust == Trust::Nothing && both.contains(SetupFlags::SQPOLL) {
                return Err(Cause::AttachWithoutPoller);
            }
        }
        if self.trust > Trust::Nothing {
            return Ok(());
        }
        if self.entries == 0 {
            return Err(Cause::Entries(0));
        }
        self.conflict().map_or(Ok(()), |conflict| Err(Cause::Conflict(conflict)))
    }

    /// One attempt.
    ///
    /// # Safety
    ///
    /// As for [`build_at`](Self::build_at).
    unsafe fn create(&self, flags: SetupFlags, given: Option<NonNull<[u8]>>) -> Result<Ring, Failure> {
        let mut params = sys::io_uring_params { flags: flags.bits(), ..self.params };
        if let Some(fd) = self.attach.and_then(Ring::fd) {
            params.wq_fd = fd.as_raw_fd() as u32;
        }
        let memory = if flags.contains(SetupFlags::NO_MMAP) {
            let memory = match (given, self.memory) {
                (Some(given), _) => {
                    let header = crate::probe::queues_of(&self.kernel);
                    // SAFETY: the caller's promise.
                    unsafe { sys::RingMemory::given(given, self.entries, &mut params, header.as_ref()) }
                }
                (None, Memory::OwnHuge) => sys::RingMemory::new_huge(self.entries, &mut params),
                (None, Memory::Own | Memory::Kernel) => sys::RingMemory::new(self.entries, &mut params),
            };
            Some(memory.map_err(|error| Failure::Plain(Step::Memory, self.without_memory(error)))?)
        } else {
            None
        };
        // SAFETY: `params` is valid for reads and writes. With NO_MMAP the addresses in it are those of `memory`, which
        // is nobody else's (if given, by the caller's promise); the kernel holds the pages themselves, whenever the memory is unmapped. `wq_fd` is that of
        // a ring borrowed until now, or vouched for in `raw_params`.
        let answer = unsafe { self.kernel.setup(self.entries, &mut params) };
        let answer = answer.map_err(|errno| Failure::Setup(errno, Box::new(params)))?;
        let entrance = Entrance::new(&self.kernel, answer as i32);
        let handle = if flags.contains(SetupFlags::REGISTERED_FD_ONLY) {
            Handle::Registered(Place::taken(answer))
        } else {
            // SAFETY: without that flag the answer is a new descriptor, which nobody else has.
            Handle::Fd(unsafe { OwnedFd::from_raw_fd(answer as i32) })
        };
        let map = self.map(&handle, memory, &params).map_err(|(step, cause)| Failure::Plain(step, cause))?;
        // SAFETY: the map was made from the descriptor or the memory of this very ring, by the parameters that the
        // kernel filled for it.
        let mut ring = unsafe { Ring::assemble(entrance, handle, map, params, self.fork) };
        if self.single_thread {
            // Without a slot for it, it is entered by its descriptor.
            let _no_slot = ring.register_ring_fd();
        }
        Ok(ring)
    }

    /// Why there is no memory for the ring.
    pub(super) fn without_memory(&self, error: sys::MapError) -> Cause {
        match error {
            sys::MapError::BadEntries { what: "cq_entries", entries } => {
                Cause::CqEntries { cq_entries: entries, entries: self.entries }
            }
            sys::MapError::BadEntries { entries, .. } => Cause::Entries(entries),
            error => Cause::Map(error),
        }
    }

    /// Looks at what the kernel made, and maps it.
    fn map(
        &self,
        handle: &Handle,
        memory: Option<sys::RingMemory>,
        params: &sys::io_uring_params,
    ) -> Result<sys::RingMap, (Step, Cause)> {
        accept(params, self.trust).map_err(|cause| (Step::Floor, cause))?;
        match (memory, handle) {
            (Some(memory), _) => sys::RingMap::from_memory(memory, params, self.fork),
            (None, Handle::Fd(fd)) => sys::RingMap::new(fd.as_fd(), params, self.fork),
            // No kernel takes REGISTERED_FD_ONLY without NO_MMAP. If one did, there would be no way to the ring.
            (None, Handle::Registered(_)) => Err(sys::MapError::UserMemory),
        }
        .map_err(|error| (Step::Map, Cause::Map(error)))
    }
}

/// Whether a ring with this answer is one that the crate can work with.
fn accept(params: &sys::io_uring_params, trust: Trust) -> Result<(), Cause> {
    let missing = Setup::FLOOR.difference(Features::from_bits_retain(params.features));
    if !missing.is_empty() {
        return Err(Cause::OldKernel { missing });
    }
    let named = SetupFlags::INFO.iter().fold(0, |bits, info| bits | info.bits as u32);
    let foreign = SetupFlags::from_bits_retain(params.flags & !named);
    if foreign.is_empty() || trust == Trust::Flags { Ok(()) } else { Err(Cause::ForeignFlags(foreign)) }
}

/// Whether this kernel knows a setup flag, found out by making a ring with it and what it needs.
///
/// Flags as old as the floor are not tried: some of them need a processor or a ring that there may not be.
pub(super) fn knows(kernel: &Kernel, flag: &FlagInfo) -> bool {
    if flag.since <= Version::new(5, 15) {
        return true;
    }
    let flags = rules::complete(SetupFlags::from_bits_retain(flag.bits as u32));
    let array = !flags.contains(SetupFlags::NO_SQARRAY);
    // Two entries, for queues with entries of two sizes.
    let tried = Setup::of(kernel.clone(), 2).no_sqarray(!array).raw_flags(flags).make();
    // The kernel looks at the flags before anything else can fail.
    !matches!(tried, Err(Failure::Setup(Errno::INVAL, _)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(features: Features, flags: SetupFlags) -> sys::io_uring_params {
        sys::io_uring_params { features: features.bits(), flags: flags.bits(), ..sys::io_uring_params::ZERO }
    }

    #[test]
    fn the_floor_names_each_feature_that_is_missing() {
        let none = SetupFlags::empty();
        assert_eq!(accept(&params(Setup::FLOOR, none), Trust::Nothing), Ok(()));
        for info in Features::INFO {
            let feature = Features::from_bits_retain(info.bits as u32);
            let answer = accept(&params(Features::all().difference(feature), none), Trust::Flags);
            if Setup::FLOOR.contains(feature) {
                let missing = answer.expect_err(info.name);
                assert_eq!(missing, Cause::OldKernel { missing: feature });
                let text = missing.to_string();
                assert!(text.contains(info.name) && text.contains(&format!("Linux {}", info.since)), "{text}");
            } else {
                assert_eq!(answer, Ok(()), "{}", info.name);
            }
        }
        // Linux 5.4: what came later is named, what it has is not.
        let answer = accept(&params(Features::SINGLE_MMAP, none), Trust::Nothing);
        let text = answer.expect_err("below the floor").to_string();
        assert!(text.contains("NODROP") && text.contains("RSRC_TAGS") && !text.contains("SINGLE_MMAP"), "{text}");
    }

    #[test]
    fn a_flag_that_nobody_here_knows_makes_no_ring_unless_vouched_for() {
        let foreign = SetupFlags::from_bits_retain(1 << 30);
        let answer = params(Setup::FLOOR, foreign | SetupFlags::CQSIZE);
        assert_eq!(accept(&answer, Trust::Nothing), Err(Cause::ForeignFlags(foreign)));
        assert_eq!(accept(&answer, Trust::Rules), Err(Cause::ForeignFlags(foreign)));
        assert_eq!(accept(&answer, Trust::Flags), Ok(()));
    }

    #[test]
    fn what_was_our_own_idea_is_taken_back() {
        let unknown = SetupFlags::from_bits_retain(1 << 31);
        // SAFETY: no memory is given.
        let make = |setup: Setup<'_>| unsafe { setup.make_with(&[unknown], None) };
        let ring = make(Setup::new(4).disabled()).ok().expect("a ring without the flag");
        assert_eq!(ring.setup_flags(), SetupFlags::R_DISABLED);
        // What the caller asked for is not.
        let asked = make(Setup::new(4).raw_flags(unknown));
        assert!(matches!(asked, Err(Failure::Setup(Errno::INVAL, params)) if params.flags == unknown.bits()));
    }

    #[test]
    fn memory_that_the_kernel_was_shown_does_not_come_back() {
        // Room for the ring without an array, as it is tried first, and not for the array, which is a page.
        let entries = rustix::param::page_size() / size_of::<u32>();
        let (unknown, plain) = (SetupFlags::from_bits_retain(1 << 31), Setup::new(entries as u32).no_mmap());
        let len = plain.clone().no_sqarray(true).memory_len().expect("a size");
        assert!(plain.memory_len().expect("a size") > len);
        let memory = crate::register::Memory::new(len).expect("memory");
        // SAFETY: nobody else uses the memory, which is unmapped at the end.
        let made = unsafe { plain.make_with(&[unknown | SetupFlags::NO_SQARRAY], Some(memory.place())) };
        assert!(matches!(made, Err(Failure::Setup(Errno::INVAL, _))), "in the other case it is handed back");
    }

    #[test]
    fn trying_finds_what_the_kernel_says_of_itself() {
        let Some(answer) = crate::probe::query_opcodes() else {
            // Not `eprintln!`, which the test harness swallows.
            let line = b"skipped: trying_finds_what_the_kernel_says_of_itself: no IORING_REGISTER_QUERY (Linux 6.18)\n";
            return std::io::Write::write_all(&mut std::io::stderr(), line).expect("standard error");
        };
        for flag in SetupFlags::INFO {
            assert_eq!(knows(&Kernel::default(), flag), answer.ring_setup_flags & flag.bits != 0, "{}", flag.name);
        }
        assert!(!knows(&Kernel::default(), &FlagInfo { name: "none", bits: 1 << 31, since: Version::new(99, 0) }));
    }
}
