//! Why buffers were not registered, in words, with everything handed back.

use core::fmt;
use core::ops::Range;

use rustix::io::Errno;

use super::buffer::RegisteredBuffer;
use super::buffers::NewBuffer;
use crate::setup::counted_memlock;

/// Why [`Ring::register_buffers`](crate::Ring::register_buffers) or
/// [`Ring::update_buffers`](crate::Ring::update_buffers) failed. Nothing is lost: the memory is in it.
#[derive(Debug)]
pub struct BufferError {
    /// Buffers that an update registered before it failed.
    pub registered: Vec<RegisteredBuffer>,
    /// The others, the one that was refused first.
    pub refused: Vec<NewBuffer>,
    cause: BufferCause,
    errno: Errno,
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BufferCause {
    /// The ring has a table already.
    Exists,
    /// The ring has no table.
    NoTable,
    /// No table has this many slots.
    Count(usize),
    /// The table ends before these slots.
    Slots {
        /// The first of them.
        first: u32,
        /// How many.
        count: usize,
        /// How many the table has, as far as is known.
        table: usize,
    },
    /// Probably the limit on locked memory.
    Memlock {
        /// How many bytes these buffers need, at least.
        needed: u64,
        /// `RLIMIT_MEMLOCK`.
        limit: u64,
    },
    /// The kernel found no memory.
    Memory {
        /// How many bytes these buffers have the kernel keep, at least.
        needed: u64,
    },
    /// Something else; the errno says it.
    Other,
}

impl BufferCause {
    /// Why the kernel did not make a table of `count` buffers.
    pub(super) fn of_registering(errno: Errno, count: usize, needed: impl FnOnce() -> u64) -> Self {
        match errno {
            Errno::BUSY => BufferCause::Exists,
            Errno::INVAL => BufferCause::Count(count),
            _ => Self::of_memory(errno, needed),
        }
    }

    /// Why the kernel did not put `count` buffers into the slots from `first` on of a table of `table` slots.
    pub(super) fn of_updating(
        errno: Errno,
        first: u32,
        count: usize,
        table: usize,
        needed: impl FnOnce() -> u64,
    ) -> Self {
        match errno {
            Errno::NXIO => BufferCause::NoTable,
            Errno::INVAL | Errno::OVERFLOW => BufferCause::Slots { first, count, table },
            _ => Self::of_memory(errno, needed),
        }
    }

    fn of_memory(errno: Errno, needed: impl FnOnce() -> u64) -> Self {
        if errno != Errno::NOMEM {
            return BufferCause::Other;
        }
        let needed = needed();
        match counted_memlock() {
            Some(limit) => BufferCause::Memlock { needed, limit },
            None => BufferCause::Memory { needed },
        }
    }
}

impl BufferError {
    pub(super) fn new(
        cause: BufferCause,
        errno: Errno,
        registered: Vec<RegisteredBuffer>,
        refused: Vec<NewBuffer>,
    ) -> Self {
        BufferError { registered, refused, cause, errno }
    }

    /// What is wrong.
    #[must_use]
    pub fn cause(&self) -> &BufferCause {
        &self.cause
    }

    /// What the kernel answered.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl std::error::Error for BufferError {}

impl fmt::Display for BufferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [io_uring_register: {}]", self.cause, self.errno)
    }
}

impl fmt::Display for BufferCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            BufferCause::Exists => f.write_str(
                "the ring has a table of registered buffers already: put these into its slots with update_buffers(), or \
                 call unregister_buffers() first",
            ),
            BufferCause::NoTable => {
                f.write_str("the ring has no table of registered buffers: make one with register_sparse_buffers()")
            }
            BufferCause::Count(count) => {
                write!(f, "a table of {count} registered buffers cannot be: it has 1 slot at least and 16384 at most")
            }
            BufferCause::Slots { first, count, table } => write!(
                f,
                "{count} buffers from slot {first} on are not inside of the table, which has {table} slots: make a \
                 larger one, or register fewer"
            ),
            BufferCause::Memlock { needed, limit } => write!(
                f,
                "likely RLIMIT_MEMLOCK: these buffers need {needed} bytes of locked memory, and all of the user's rings \
                 and buffers together may have {limit}; raise the limit (ulimit -l), unregister others, or register \
                 less. Rings that were made with CAP_IPC_LOCK are not counted"
            ),
            BufferCause::Memory { needed } => write!(
                f,
                "the kernel found no memory to keep these buffers, {needed} bytes at least: register less, or look at \
                 the limit of the control group"
            ),
            BufferCause::Other => f.write_str("the buffers were not registered"),
        }
    }
}

/// Memory is not inside of the registered buffer that it was said to be in. See
/// [`FixedBuf::inside`](crate::operand::FixedBuf::inside).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotInside {
    pub(super) index: u16,
    pub(super) addr: usize,
    pub(super) len: usize,
    pub(super) buffer: Option<Range<usize>>,
}

impl NotInside {
    /// The addresses that are registered in the slot; `None` if it is empty, as far as is known.
    #[must_use]
    pub fn buffer(&self) -> Option<Range<usize>> {
        self.buffer.clone()
    }
}

impl std::error::Error for NotInside {}

impl fmt::Display for NotInside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotInside { index, addr, len, buffer } = self;
        write!(f, "{len} bytes at {addr:#x} are not inside of registered buffer {index}, ")?;
        match buffer {
            Some(Range { start, end }) => write!(f, "which is {start:#x} to {end:#x}"),
            None => f.write_str("which is empty: register memory there first"),
        }
    }
}
