//! Making rings: the builder, one method for each setup flag.
//!
//! What excludes or needs what is a table (`rules.rs`), checked before the kernel is asked. Asking, falling back and
//! mapping is `build.rs`, in memory of the caller `given.rs`, for one thread `single.rs`; what a failure means is found out by `diagnose.rs` and said by `error.rs`.
//!
//! Invariant: a [`Ring`] that comes out of here has the features of the floor ([`Setup::FLOOR`]) and no setup flag
//! whose meaning the crate does not know, unless the caller of [`Setup::raw_params`] vouches for it. Nothing is
//! decided by the kernel's version.

mod build;
mod diagnose;
mod error;
mod given;
mod rules;
mod single;

pub(crate) use diagnose::counted_memlock;
pub(crate) use diagnose::unknown as unknown_flags;
pub use error::{Cause, SetupError, Step};
pub(crate) use given::Given;
pub use given::Unbuilt;
pub use rules::Conflict;
#[cfg(feature = "sim")]
pub(crate) use rules::conflict;

use std::time::Duration;

use crate::flags::{Features, SetupFlags};
use crate::kernel::Kernel;
use crate::ring::Ring;
use rawring_sys as sys;

/// How a ring is to be made.
///
/// Without further calls: a ring with the kernel's own defaults, the same on every kernel from the floor on. The one
/// thing added is invisible: `NO_SQARRAY`, where the kernel has it. Every other flag changes what a program observes,
/// so each of them is a method here, and none is on by default. For a ring that one thread uses,
/// [`single_thread`](Self::single_thread) chooses the best that the kernel has.
///
/// ```
/// use rawring::Setup;
///
/// let mut ring = Setup::new(64).cq_entries(1024).submit_all().build()?;
/// assert_eq!(ring.cq_entries(), 1024);
/// # Ok::<(), rawring::SetupError>(())
/// ```
///
/// Flags that exclude or need each other are refused by [`build`](Self::build) with an error that names both; nothing
/// is switched on silently because something else needs it.
#[derive(Clone, Debug)]
pub struct Setup<'r> {
    kernel: Kernel,
    entries: u32,
    params: sys::io_uring_params,
    attach: Option<&'r Ring>,
    /// The caller's wish; without one, no array where the kernel can do without.
    no_sqarray: Option<bool>,
    /// Whether to add what suits a ring of one thread.
    single_thread: bool,
    memory: Memory,
    fork: sys::Fork,
    trust: Trust,
}

/// Where the memory of a ring comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Memory {
    Kernel,
    Own,
    OwnHuge,
}

/// What is left unchecked on the caller's word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Trust {
    /// The flags are checked against the rules.
    Nothing,
    /// The rules are the kernel's business.
    Rules,
    /// And so is the meaning of flags that the crate does not know.
    Flags,
}

impl Setup<'static> {
    /// A ring of `entries` submissions. The kernel rounds up to a power of two and takes at most 32,768
    /// ([`clamp`](Self::clamp) cuts what is larger); the completion queue is twice as large
    /// ([`cq_entries`](Self::cq_entries) changes that).
    #[must_use]
    pub fn new(entries: u32) -> Self {
        Self::of(Kernel::default(), entries)
    }

    /// As [`new`](Self::new), of this kernel.
    pub(crate) fn of(kernel: Kernel, entries: u32) -> Self {
        Setup {
            kernel,
            entries,
            params: sys::io_uring_params::ZERO,
            attach: None,
            no_sqarray: None,
            single_thread: false,
            memory: Memory::Kernel,
            fork: sys::Fork::DontFork,
            trust: Trust::Nothing,
        }
    }
}

impl<'r> Setup<'r> {
    /// What the crate needs of a kernel, and what Linux 5.15 reports. A kernel that lacks one of these gets no ring,
    /// but an error that names what is missing.
    pub const FLOOR: Features = Features::SINGLE_MMAP
        .union(Features::NODROP)
        .union(Features::SUBMIT_STABLE)
        .union(Features::EXT_ARG)
        .union(Features::NATIVE_WORKERS)
        .union(Features::RSRC_TAGS);

    fn with(mut self, flags: SetupFlags) -> Self {
        self.params.flags |= flags.bits();
        self
    }

    /// Gives the completion queue a size of its own. The kernel rounds it up to a power of two and refuses one smaller
    /// than the submission queue, or larger than 65,536 without [`clamp`](Self::clamp).
    ///
    /// `IORING_SETUP_CQSIZE`, Linux 5.5.
    #[must_use]
    pub fn cq_entries(mut self, entries: u32) -> Self {
        self.params.cq_entries = entries;
        self.with(SetupFlags::CQSIZE)
    }

    /// Cuts sizes above the kernel's limits to the limits, where setup would fail.
    ///
    /// `IORING_SETUP_CLAMP`, Linux 5.6.
    #[must_use]
    pub fn clamp(self) -> Self {
        self.with(SetupFlags::CLAMP)
    }

    /// Has a kernel thread take entries from the queue, so that submitting needs no system call while that thread is
    /// awake. It goes to sleep after `idle` without work, and waking it takes a call again.
    ///
    /// The kernel counts in milliseconds: less is rounded up, and zero stands for its own default of one second.
    /// "Submitted" then only means handed over: what an entry points at has to stay until it completed.
    ///
    /// `IORING_SETUP_SQPOLL`, Linux 5.1. Excludes [`coop_taskrun`](Self::coop_taskrun),
    /// [`taskrun_flag`](Self::taskrun_flag), [`defer_taskrun`](Self::defer_taskrun) and
    /// [`sq_rewind`](Self::sq_rewind).
    #[must_use]
    pub fn sqpoll(mut self, idle: Duration) -> Self {
        self.params.sq_thread_idle = u32::try_from(idle.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        self.with(SetupFlags::SQPOLL)
    }

    /// Binds the polling thread to a processor, which has to be online and in the caller's set.
    ///
    /// `IORING_SETUP_SQ_AFF`, Linux 5.1. Needs [`sqpoll`](Self::sqpoll). Has no effect on a ring that shares the
    /// thread of another.
    #[must_use]
    pub fn sqpoll_cpu(mut self, cpu: u32) -> Self {
        self.params.sq_thread_cpu = cpu;
        self.with(SetupFlags::SQ_AFF)
    }

    /// Shares the polling thread of `ring`, which has to poll as well. Without [`sqpoll`](Self::sqpoll) there is
    /// nothing left to share since Linux 5.12, where worker threads belong to tasks: the kernel only checks that `ring`
    /// is one.
    ///
    /// `IORING_SETUP_ATTACH_WQ`, Linux 5.6.
    #[must_use]
    pub fn attach(mut self, ring: &'r Ring) -> Self {
        self.attach = Some(ring);
        self.with(SetupFlags::ATTACH_WQ)
    }

    /// Makes the ring disabled: it takes registrations (restrictions only now), but no submission before
    /// [`Ring::enable`].
    ///
    /// `IORING_SETUP_R_DISABLED`, Linux 5.10.
    #[must_use]
    pub fn disabled(self) -> Self {
        self.with(SetupFlags::R_DISABLED)
    }

    /// Goes on with a submission past an entry that is malformed. Without it the rest stays queued, and the call
    /// returns early. Either way the malformed entry gets its completion.
    ///
    /// `IORING_SETUP_SUBMIT_ALL`, Linux 5.18.
    #[must_use]
    pub fn submit_all(self) -> Self {
        self.with(SetupFlags::SUBMIT_ALL)
    }

    /// Does not interrupt the task to post completions; that happens when it next enters the kernel, for whatever
    /// reason. For programs that enter often anyway.
    ///
    /// `IORING_SETUP_COOP_TASKRUN`, Linux 5.19. Excludes [`sqpoll`](Self::sqpoll).
    #[must_use]
    pub fn coop_taskrun(self) -> Self {
        self.with(SetupFlags::COOP_TASKRUN)
    }

    /// Has the kernel say in the queue's flags that completions wait for the task to enter it, so that
    /// [`Ring::peek`] can know.
    ///
    /// `IORING_SETUP_TASKRUN_FLAG`, Linux 5.19. Needs [`coop_taskrun`](Self::coop_taskrun) or
    /// [`defer_taskrun`](Self::defer_taskrun).
    #[must_use]
    pub fn taskrun_flag(self) -> Self {
        self.with(SetupFlags::TASKRUN_FLAG)
    }

    /// Posts completions only when the task waits for or asks for them. The best choice for a loop that submits and
    /// waits on one thread; [`single_thread`](Self::single_thread) asks for it where the kernel has it.
    ///
    /// `IORING_SETUP_DEFER_TASKRUN`, Linux 6.1. Needs [`single_issuer`](Self::single_issuer).
    #[must_use]
    pub fn defer_taskrun(self) -> Self {
        self.with(SetupFlags::DEFER_TASKRUN)
    }

    /// Promises that one thread does all submissions and registrations. It is the one that makes the ring, or that
    /// enables it if it is made [`disabled`](Self::disabled); the kernel answers `EEXIST` to others.
    ///
    /// `IORING_SETUP_SINGLE_ISSUER`, Linux 6.0.
    #[must_use]
    pub fn single_issuer(self) -> Self {
        self.with(SetupFlags::SINGLE_ISSUER)
    }

    /// Makes all entries 128 bytes long.
    ///
    /// `IORING_SETUP_SQE128`, Linux 5.19. Excludes [`sqe_mixed`](Self::sqe_mixed).
    #[must_use]
    pub fn sqe128(self) -> Self {
        self.with(SetupFlags::SQE128)
    }

    /// Makes all completions 32 bytes long.
    ///
    /// `IORING_SETUP_CQE32`, Linux 5.19. Excludes [`cqe_mixed`](Self::cqe_mixed).
    #[must_use]
    pub fn cqe32(self) -> Self {
        self.with(SetupFlags::CQE32)
    }

    /// Allows completions of 32 bytes among those of 16; each takes two slots. The queue needs two slots at least.
    ///
    /// `IORING_SETUP_CQE_MIXED`, Linux 6.18. Excludes [`cqe32`](Self::cqe32).
    #[must_use]
    pub fn cqe_mixed(self) -> Self {
        self.with(SetupFlags::CQE_MIXED)
    }

    /// Allows entries of 128 bytes among those of 64; each takes two slots. The queue needs two slots at least.
    ///
    /// `IORING_SETUP_SQE_MIXED`, Linux 6.19. Excludes [`sqe128`](Self::sqe128).
    #[must_use]
    pub fn sqe_mixed(self) -> Self {
        self.with(SetupFlags::SQE_MIXED)
    }

    /// Has the kernel take entries from the start of the queue with every submission, which keeps them in few cache
    /// lines. A submission call is needed for each batch, and the whole queue is free after it.
    ///
    /// `IORING_SETUP_SQ_REWIND`, Linux 7.0. Excludes [`sqpoll`](Self::sqpoll), and needs a ring without array: it is
    /// incompatible with [`no_sqarray(false)`](Self::no_sqarray).
    #[must_use]
    pub fn sq_rewind(self) -> Self {
        self.with(SetupFlags::SQ_REWIND)
    }

    /// Finds completions by polling the device. For files opened with `O_DIRECT` on devices with poll queues; most
    /// other operations fail on such a ring.
    ///
    /// `IORING_SETUP_IOPOLL`, Linux 5.1.
    #[must_use]
    pub fn iopoll(self) -> Self {
        self.with(SetupFlags::IOPOLL)
    }

    /// Sleeps through part of the expected time before polling the device.
    ///
    /// `IORING_SETUP_HYBRID_IOPOLL`, Linux 6.13. Needs [`iopoll`](Self::iopoll).
    #[must_use]
    pub fn hybrid_iopoll(self) -> Self {
        self.with(SetupFlags::HYBRID_IOPOLL)
    }

    /// Puts the queues into memory that this process allocates, instead of mapping the kernel's. Before Linux 6.10
    /// only small rings can be made so (a page for the entries, one for the rest); see
    /// [`no_mmap_huge`](Self::no_mmap_huge). For memory of the caller's see [`build_in`](Self::build_in).
    ///
    /// `IORING_SETUP_NO_MMAP`, Linux 6.5.
    #[must_use]
    pub fn no_mmap(mut self) -> Self {
        self.memory = Memory::Own;
        self.with(SetupFlags::NO_MMAP)
    }

    /// As [`no_mmap`](Self::no_mmap), in huge pages of 2 MiB, which must have been set aside (`vm.nr_hugepages`).
    #[must_use]
    pub fn no_mmap_huge(mut self) -> Self {
        self.memory = Memory::OwnHuge;
        self.with(SetupFlags::NO_MMAP)
    }

    /// Makes a ring that has no descriptor, only a place among the 16 registered rings of the calling thread. It
    /// cannot be used on another thread, polled, or attached to. Dropping it there leaves the place taken until the
    /// thread that made it ends.
    ///
    /// `IORING_SETUP_REGISTERED_FD_ONLY`, Linux 6.5. Needs [`no_mmap`](Self::no_mmap).
    #[must_use]
    pub fn registered_fd_only(self) -> Self {
        self.with(SetupFlags::REGISTERED_FD_ONLY)
    }

    /// Whether to do without the array of indices between the queue and its entries. This crate has no use for the
    /// array and omits it where the kernel can; `true` makes setup fail where it cannot, `false` keeps the array.
    ///
    /// `IORING_SETUP_NO_SQARRAY`, Linux 6.6.
    #[must_use]
    pub fn no_sqarray(mut self, wish: bool) -> Self {
        self.no_sqarray = Some(wish);
        self
    }

    /// Leaves the ring's memory to children of `fork`, who do not get it otherwise (`MADV_DONTFORK`).
    ///
    /// Parent and child then share the queues, but each keeps positions of its own, and the kernel takes the addresses in
    /// entries for those of the process that enters: with the ring in use in both, it would write to memory that nobody has
    /// lent it. Whoever calls `fork`, which is `unsafe`, answers for that: [`Ring`] says what is promised. This is for handing
    /// a ring over. A descriptor is closed by `exec`, a registered ring and the rights
    /// of a [`single_issuer`](Self::single_issuer) are never inherited.
    #[must_use]
    pub fn inherit_on_fork(mut self) -> Self {
        self.fork = sys::Fork::Keep;
        self
    }

    /// Adds flags as they are, and leaves it to the kernel to refuse combinations: the rules of this crate are not
    /// checked any more. For fuzzers, and for kernels that know better.
    ///
    /// With `NO_MMAP` among them the memory is still provided. A ring with flags that the crate does not know is
    /// closed again, for nobody can say how it works; see [`raw_params`](Self::raw_params).
    #[must_use]
    pub fn raw_flags(mut self, flags: SetupFlags) -> Self {
        self.trust = self.trust.max(Trust::Rules);
        self.with(flags)
    }

    /// Passes all the parameters as they are, reserved fields included. Only the two `user_addr` are replaced if
    /// `NO_MMAP` is among the flags, and `NO_SQARRAY` is not added unless [`no_sqarray`](Self::no_sqarray) says so
    /// afterwards.
    ///
    /// # Safety
    ///
    /// 1. With `ATTACH_WQ` among the flags, `wq_fd` is a descriptor that the caller may use so.
    /// 2. Flags that [`SetupFlags`] does not name change nothing about the layout and the protocol of the queues.
    #[must_use]
    pub unsafe fn raw_params(mut self, params: sys::io_uring_params) -> Self {
        self.trust = Trust::Flags;
        self.attach = None;
        self.no_sqarray = Some(params.flags & sys::IORING_SETUP_NO_SQARRAY != 0);
        self.params = params;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setup_flag_has_a_method() {
        let other = Setup::new(1).build().expect("a ring to attach to");
        let all = Setup::new(8)
            .cq_entries(32)
            .clamp()
            .sqpoll(Duration::ZERO)
            .sqpoll_cpu(0)
            .attach(&other)
            .disabled()
            .submit_all()
            .coop_taskrun()
            .taskrun_flag()
            .defer_taskrun()
            .single_issuer()
            .sqe128()
            .cqe32()
            .cqe_mixed()
            .sqe_mixed()
            .sq_rewind()
            .iopoll()
            .hybrid_iopoll()
            .no_mmap()
            .registered_fd_only()
            .no_sqarray(true);
        let missing: Vec<_> = SetupFlags::INFO
            .iter()
            .filter(|flag| u64::from(all.flags().bits()) & flag.bits == 0)
            .map(|flag| flag.name)
            .collect();
        assert_eq!(missing, [""; 0]);
        assert_eq!(SetupFlags::INFO.len(), 21);
    }

    #[test]
    fn idle_time_is_never_rounded_down_to_the_default() {
        let idle = |span| Setup::new(1).sqpoll(span).params.sq_thread_idle;
        assert_eq!(idle(Duration::ZERO), 0);
        assert_eq!(idle(Duration::from_nanos(1)), 1);
        assert_eq!(idle(Duration::from_millis(2000)), 2000);
        assert_eq!(idle(Duration::MAX), u32::MAX);
    }
}
