//! What operations take: descriptors, slots, buffers, addresses, times, paths and flags.
//!
//! An operand knows how it is stored in an entry, *side bits included*: a registered file sets `IOSQE_FIXED_FILE`, a
//! buffer group sets `IOSQE_BUFFER_SELECT`, a direct slot is stored plus one. Each such rule stands here once and never
//! in a row of the table. Operands that point at memory are references with a lifetime, so that entries built from
//! them carry it.
//!
//! Lengths: the kernel's field has 32 bits. A longer slice is stored as `u32::MAX` and never cut to its lower bits. Reads
//! and writes move at most 2,147,479,552 bytes and report how many, as the system calls of the same name do; sends and
//! receives refuse more than 2,147,483,647 (`EINVAL`).

mod buf;
mod file;
mod fs;
mod misc;
mod msg;
mod socket;

pub use buf::{Buf, BufMut, FixedBuf, FixedBufMut, FixedIoVec, Group, IoVec, IoVecMut, IoVecs};
pub use file::{DirectSlot, File, FileIn, FileSlot, FilesToPlace, Fixed};
pub use fs::{OpenHow, ProtectionFlags, ProtectionInfo, ReadProtection, SyncRangeFlags, WriteProtection};
pub(crate) use misc::swap_poll;
pub use misc::{FutexFlags, FutexWaiter, GroupId, Length, PollMask, Timespec};
pub use msg::{MsgHdr, RecvHdr, SendHdr, SocketAddrBuf};
pub use socket::{RecvSendOptions, SocketKind, SocketOption};

use crate::flags::FlagNames;
use crate::sqe::{At, RawSqe};

/// What an operand is, for decoders and generators.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A descriptor, or a registered index when the entry has `IOSQE_FIXED_FILE`.
    File,
    /// The input of a splice: a registered index when the entry has `SPLICE_F_FD_IN_FIXED`.
    FileIn,
    /// A descriptor that cannot be a registered one, such as a directory that a path starts from.
    Fd,
    /// A direct descriptor slot: 0 for none, all ones for "allocate", else the slot plus one.
    Slot,
    /// An address, or two.
    Pointer,
    /// An address and a length, and for a registered buffer its index.
    Buffer,
    /// A length in the second place, of 64 bits, if it is not 0 there; else in the first.
    Length,
    /// The number of an operation.
    Opcode,
    /// A number.
    Unsigned,
    /// A number that may be negative.
    Signed,
    /// Bits without names of ours.
    Bits,
    /// A file mode.
    Octal,
    /// Named bits.
    Flags(FlagNames),
    /// Named bits of poll, whose halves are swapped on big-endian targets.
    PollMask(FlagNames),
    /// The bytes of a driver command.
    Command,
}

/// Something that can be stored in an entry.
pub(crate) trait Operand: Sized {
    /// What it is.
    const KIND: Kind;
    /// Stores it at `at`, along with its side bits.
    fn put(self, sqe: &mut RawSqe, at: &[At]);
}

/// A length as the kernel's 32 bits hold it; see the module's text.
#[inline(always)]
pub(crate) const fn len32(len: usize) -> u32 {
    if len > u32::MAX as usize { u32::MAX } else { len as u32 }
}

/// Stores an address and a length at the two places given.
#[inline(always)]
pub(crate) fn put_slice(sqe: &mut RawSqe, at: &[At], addr: usize, len: usize) {
    sqe.set(at[0], addr as u64);
    sqe.set(at[1], len32(len) as u64);
}

macro_rules! number_operand {
    ($($ty:ty => $kind:ident),* $(,)?) => { $(
        impl Operand for $ty {
            const KIND: Kind = Kind::$kind;
            #[inline(always)]
            fn put(self, sqe: &mut RawSqe, at: &[At]) {
                sqe.set(at[0], self as u64);
            }
        }
    )* };
}

number_operand! {
    u8 => Unsigned,
    u16 => Unsigned,
    u32 => Unsigned,
    u64 => Unsigned,
    i32 => Signed,
    i64 => Signed,
}

impl Operand for crate::Opcode {
    const KIND: Kind = Kind::Opcode;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.0));
    }
}

/// Makes a bit set an operand.
macro_rules! flag_operand {
    ($set:ty, $names:expr) => {
        impl $crate::operand::Operand for $set {
            const KIND: $crate::operand::Kind = $crate::operand::Kind::Flags($names);
            #[inline(always)]
            fn put(self, sqe: &mut $crate::sqe::RawSqe, at: &[$crate::sqe::At]) {
                // Several setters may share a word of flags.
                let bits = sqe.get(at[0]) | self.bits() as u64;
                sqe.set(at[0], bits);
            }
        }
    };
}
pub(crate) use flag_operand;

/// Makes rustix's bit sets operands, named by rustix's names.
macro_rules! rustix_flags {
    ($($set:ty),* $(,)?) => { $(
        flag_operand!($set, FlagNames::Foreign(|each| {
            for flag in <$set as bitflags::Flags>::FLAGS {
                each(flag.name(), flag.value().bits() as u64);
            }
        }));
    )* };
}

rustix_flags!(
    rustix::io::ReadWriteFlags,
    rustix::fs::OFlags,
    rustix::fs::AtFlags,
    rustix::fs::RenameFlags,
    rustix::fs::FallocateFlags,
    rustix::fs::StatxFlags,
    rustix::fs::XattrFlags,
    rustix::net::RecvFlags,
    rustix::net::SocketFlags,
    rustix::process::WaitIdOptions,
    rustix::pipe::PipeFlags,
    rustix::pipe::SpliceFlags,
);
