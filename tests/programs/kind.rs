//! Which rings programs run on, and which groups of provided buffers they have.

use rawring::Version;
use rawring::flags::SetupFlags;

/// Which kind of ring.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Plain,
    SqArray,
    SubmitAll,
    Sqpoll,
    Coop,
    CoopFlag,
    Defer,
    DeferFlag,
    Cqe32,
    CqeMixed,
    Sqe128,
    SqeMixed,
    /// Two completions fit: everything else overflows.
    TinyCq,
    NoMmap,
    FdOnly,
    Rewind,
}

impl Kind {
    pub const ALL: [Kind; 16] = [
        Kind::Plain,
        Kind::SqArray,
        Kind::SubmitAll,
        Kind::Sqpoll,
        Kind::Coop,
        Kind::CoopFlag,
        Kind::Defer,
        Kind::DeferFlag,
        Kind::Cqe32,
        Kind::CqeMixed,
        Kind::Sqe128,
        Kind::SqeMixed,
        Kind::TinyCq,
        Kind::NoMmap,
        Kind::FdOnly,
        Kind::Rewind,
    ];

    /// The flags by which it differs; the kernel has to know them.
    pub fn flags(self) -> SetupFlags {
        use SetupFlags as F;
        match self {
            Kind::Plain | Kind::SqArray => F::empty(),
            Kind::SubmitAll => F::SUBMIT_ALL,
            Kind::Sqpoll => F::SQPOLL,
            Kind::Coop => F::COOP_TASKRUN,
            Kind::CoopFlag => F::COOP_TASKRUN | F::TASKRUN_FLAG,
            Kind::Defer => F::SINGLE_ISSUER | F::DEFER_TASKRUN,
            Kind::DeferFlag => F::SINGLE_ISSUER | F::DEFER_TASKRUN | F::TASKRUN_FLAG,
            Kind::Cqe32 => F::CQE32,
            Kind::CqeMixed => F::CQE_MIXED,
            Kind::Sqe128 => F::SQE128,
            Kind::SqeMixed => F::SQE_MIXED,
            Kind::TinyCq => F::CQSIZE,
            Kind::NoMmap => F::NO_MMAP,
            Kind::FdOnly => F::NO_MMAP | F::REGISTERED_FD_ONLY,
            Kind::Rewind => F::SQ_REWIND | F::NO_SQARRAY,
        }
    }
}

/// What the group of provided buffers is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bufs {
    /// A list, filled once.
    List,
    /// A ring. What is delivered stays with the program until it gives that back.
    Ring,
    /// A ring whose buffers are used bit by bit.
    Incremental,
}

impl Bufs {
    pub const ALL: [Bufs; 3] = [Bufs::List, Bufs::Ring, Bufs::Incremental];

    /// The release that brought it.
    pub fn since(self) -> Version {
        match self {
            Bufs::List => Version::new(5, 7),
            Bufs::Ring => Version::new(5, 19),
            Bufs::Incremental => Version::new(6, 12),
        }
    }

    pub fn count(self) -> u16 {
        if self == Bufs::List { 16 } else { 4 }
    }

    /// Bytes in each.
    pub fn size(self) -> u32 {
        if self == Bufs::List { 16 } else { 8 }
    }
}
