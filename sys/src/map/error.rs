//! Why a ring could not be mapped.

use core::fmt;

use rustix::io::Errno;

/// Why a ring could not be mapped. The text of each says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The kernel does not report `IORING_FEAT_SINGLE_MMAP`.
    NoSingleMmap,
    /// The ring lives in memory of its maker (`IORING_SETUP_NO_MMAP`) and cannot be mapped.
    UserMemory,
    /// The parameters name other memory than the one that was given.
    OtherMemory,
    /// The memory given is smaller than the ring.
    TooSmall {
        /// How many bytes the ring needs.
        needed: usize,
        /// How many there are.
        given: usize,
    },
    /// The memory given does not begin with a page.
    Unaligned {
        /// Where it begins.
        address: usize,
        /// The size of a page.
        page: u64,
    },
    /// A queue's size is not a power of two, or the sizes need more memory than there are addresses.
    BadEntries {
        /// The field of the parameters, or the argument.
        what: &'static str,
        /// Its value.
        entries: u32,
    },
    /// A part of the ring would not lie inside of the mapping.
    Offset {
        /// The part: a field of the offsets.
        what: &'static str,
        /// Where it would begin.
        offset: u64,
        /// Where it would end.
        end: u64,
        /// The size of the mapping.
        mapped: u64,
    },
    /// A part of the ring would lie at an address that its type cannot have.
    Misaligned {
        /// The part: a field of the offsets.
        what: &'static str,
        /// Where it would begin.
        offset: u64,
        /// What that should be a multiple of.
        align: u64,
    },
    /// Two parts of the ring would share bytes.
    Overlap {
        /// One part.
        what: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A word in the ring contradicts the parameters.
    BadWord {
        /// The word.
        what: &'static str,
        /// What it says.
        found: u32,
        /// What it should say.
        expected: u32,
    },
    /// A system call failed.
    Mmap {
        /// What for.
        step: &'static str,
        /// How.
        errno: Errno,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NOT_OURS: &str = "are these the parameters that io_uring_setup filled for this ring?";
        match *self {
            Self::NoSingleMmap => f.write_str(
                "the kernel does not map both rings at once (IORING_FEAT_SINGLE_MMAP), \
                 which any since Linux 5.4 does: use a newer kernel",
            ),
            Self::UserMemory => f.write_str(
                "a ring set up with IORING_SETUP_NO_MMAP has no memory of its own to map: \
                 use RingMap::from_memory with the RingMemory it was set up with",
            ),
            Self::OtherMemory => f.write_str(
                "the parameters name other memory than the RingMemory given: \
                 pass the parameters that RingMemory::new changed, as io_uring_setup left them",
            ),
            Self::TooSmall { needed, given } => write!(
                f,
                "a ring of this size needs {needed} bytes of memory, and {given} were given: \
                 give it more, or ask for fewer entries"
            ),
            Self::Unaligned { address, page } => write!(
                f,
                "the memory given begins at {address:#x}, inside of a page of {page} bytes: \
                 begin where a page does"
            ),
            Self::BadEntries { what, entries } => {
                write!(f, "{what} is {entries}: not a size that a queue can have; {NOT_OURS}")
            }
            Self::Offset { what, offset, end, mapped } => {
                write!(f, "{what} names bytes {offset} to {end} of a mapping of {mapped}; {NOT_OURS}")
            }
            Self::Misaligned { what, offset, align } => {
                write!(f, "{what} is {offset}, not a multiple of {align}; {NOT_OURS}")
            }
            Self::Overlap { what, other } => {
                write!(f, "{what} and {other} name the same bytes; {NOT_OURS}")
            }
            Self::BadWord { what, found, expected } => {
                write!(f, "{what} in the ring is {found}, but by the parameters it is {expected}; {NOT_OURS}")
            }
            Self::Mmap { step, errno } => write!(f, "{step}: {errno}"),
        }
    }
}

impl core::error::Error for MapError {}
