//! What can be wrong with a group of buffers, and with a completion that names one.

use core::fmt;

use rustix::io::Errno;

/// Why there is no ring of provided buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BufRingError {
    /// Not a number of buffers that a ring can have.
    Count(u16),
    /// Not a size that buffers can have: 0, or so large that all of them are more than can be addressed.
    Size(u32),
    /// A buffer would be used up before it is used: more bytes have to be left than it has.
    MinLeft {
        /// How many have to be left.
        min_left: u32,
        /// How many there are.
        size: u32,
    },
    /// A group to send from is not used bit by bit.
    SendsIncrementally,
    /// Entries in memory of the kernel are mapped by the number of the group, and this number is too high.
    Unmappable(u16),
    /// Mapping needs the ring's descriptor, and the ring was made with `REGISTERED_FD_ONLY`.
    NoDescriptor,
    /// Memory for the buffers or for the entries could not be had.
    Memory {
        /// How many bytes.
        bytes: usize,
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel did not register the group.
    Register {
        /// The group.
        group: u16,
        /// Bytes of entries, which count as locked memory where the kernel counts.
        bytes: usize,
        /// What the kernel said.
        errno: Errno,
    },
    /// The entries that the kernel allocated could not be mapped.
    Map(Errno),
}

impl fmt::Display for BufRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Count(count) => {
                write!(f, "a group of {count} buffers: a ring holds 1 to 32768; use several groups for more")
            }
            Self::Size(size) => {
                write!(f, "buffers of {size} bytes: 1 to as many as all of them together can be addressed")
            }
            Self::MinLeft { min_left, size } => write!(
                f,
                "min_left({min_left}) is more than the {size} bytes of a buffer: none of it would be used a second time"
            ),
            Self::SendsIncrementally => {
                f.write_str("sending() and incremental() exclude each other: leave one of them out")
            }
            Self::Unmappable(group) => write!(
                f,
                "group {group} cannot have its entries in memory of the kernel, which maps groups 0 to 2047 only: choose \
                 another number, or leave kernel_memory() out"
            ),
            Self::NoDescriptor => f.write_str(
                "entries in memory of the kernel are mapped by the ring's descriptor, and this ring has none \
                 (registered_fd_only()): leave kernel_memory() out",
            ),
            Self::Memory { bytes, errno } => write!(f, "no {bytes} bytes of memory for the buffers: {errno}"),
            Self::Register { group, bytes, errno: Errno::EXIST } => write!(
                f,
                "buffer group {group} ({bytes} bytes of entries): EEXIST: it has buffers already, or the ring belongs to \
                 another thread (SINGLE_ISSUER)"
            ),
            Self::Register { group, bytes, errno: Errno::INVAL } => write!(
                f,
                "buffer group {group} ({bytes} bytes of entries): EINVAL: this kernel lacks buffer rings (Linux 5.19), or \
                 those in kernel memory (6.4), incremental ones (6.12), or min_left (7.1 and late updates of 6.12)"
            ),
            Self::Register { group, bytes, errno: Errno::NOMEM } => write!(
                f,
                "buffer group {group}: ENOMEM: the {bytes} bytes of entries count as locked memory, see RLIMIT_MEMLOCK"
            ),
            Self::Register { group, bytes, errno } => {
                write!(f, "buffer group {group} ({bytes} bytes of entries) was not registered: {errno}")
            }
            Self::Map(errno) => write!(f, "mapping the entries that the kernel has allocated: {errno}"),
        }
    }
}

impl std::error::Error for BufRingError {}

/// What is wrong with the buffer that a completion names.
///
/// A sound kernel and a program that keeps its promises never cause one. The buffer, if there is one, stays where it was:
/// with the kernel, or with whoever has the lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadBuffer {
    /// The completion names no buffer.
    None,
    /// The group has no buffer of that number.
    NoSuchBuffer {
        /// The number.
        id: u16,
        /// How many there are.
        count: u16,
    },
    /// The kernel does not have that buffer: this completion was handed in before, or belongs to another group.
    NotLent {
        /// The buffer.
        id: u16,
    },
    /// The completion counts more bytes than its buffers have.
    TooLong {
        /// The buffer, the first if there are several.
        id: u16,
        /// How many bytes the completion counts.
        said: u32,
        /// How many there are.
        room: u32,
    },
}

impl fmt::Display for BadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => f.write_str("the completion names no buffer"),
            Self::NoSuchBuffer { id, count } => {
                write!(f, "the completion names buffer {id} of a group of {count}: is it another group's?")
            }
            Self::NotLent { id } => write!(
                f,
                "the completion names buffer {id}, which the kernel does not have: was it handed in before, or is it \
                 another group's?"
            ),
            Self::TooLong { id, said, room } => write!(
                f,
                "the completion counts {said} bytes from buffer {id} on, where the kernel has {room}: is it a bundle, or a \
                 receive with MSG_TRUNC, that was handed in as something else?"
            ),
        }
    }
}

impl std::error::Error for BadBuffer {}
