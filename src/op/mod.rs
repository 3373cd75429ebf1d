//! Every operation of the kernel's table, declared once.
//!
//! A row of `ops!` states an operation's opcode, release, documentation, operands with their places in the entry,
//! defaults, the bits that tell it from other rows of the same opcode, and how long the kernel needs what each operand
//! points at. The macro makes types: a builder that writes straight into the 64 bytes, and its [`OpInfo`]. Everything
//! else (decoding, support checks, the printed table, generators for tests) is ordinary code over [`OpInfo`].
//!
//! A builder's required operands are the arguments of `new`; everything else is a setter of its own name. To add an
//! operation, add its row to the file of its family; nothing else lists operations.

use core::fmt;

use crate::operand::Kind;
use crate::sqe::{At, RawSqe};
use crate::version::Version;
use rawring_sys as sys;

#[macro_use]
mod macros;
mod decode;
pub(crate) use decode::{ErrnoName, decode};

/// An operation's number. Numbers that the crate does not know are as good as others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Opcode(pub u8);

impl Opcode {
    /// The kernel's name, `IORING_OP_…`.
    pub const fn name(self) -> Option<&'static str> {
        sys::op_name(self.0)
    }
}

impl fmt::Debug for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "IORING_OP_{}", self.0),
        }
    }
}

/// How long the kernel needs what an operand points at.
///
/// What an entry passes in (paths, arrays of buffers, times) is copied when the entry is taken. A descriptor is not:
/// the kernel looks it up when the operation *starts*, and a linked, drained or forced-async entry starts later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Life {
    /// The operand is a number; it points at nothing.
    Value,
    /// Until the entry was taken from the queue: a submission call without a polling thread has returned and counted
    /// it, or the queue's head has passed it.
    Submitted,
    /// Until the operation's last completion.
    Completed,
    /// Until the notification, for zero-copy sends.
    Notified,
}

/// Which completions an operation promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completes {
    /// Exactly one.
    Once,
    /// Any number with `MORE`, then one without.
    Multi,
    /// One result, followed by a notification if the result has `MORE`.
    Notif,
}

/// A condition on the bytes of an entry that tells a row from others of its opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// This bit is set. Several bits are several marks, since the row with most marks fits best.
    Has(At, u64),
    /// The field has this value.
    Is(At, u64),
    /// The field is not zero.
    NonZero(At),
}

/// One operand of a row.
#[derive(Clone, Copy, Debug)]
pub struct OperandInfo {
    /// The name of the argument or setter.
    pub name: &'static str,
    /// The fields of the entry that it fills.
    pub at: &'static [At],
    /// Flags elsewhere in the entry that come with it.
    pub sets: &'static [(At, u64)],
    /// What it is.
    pub kind: Kind,
    /// How long the kernel needs what it points at.
    pub life: Life,
    /// Whether the kernel writes there.
    pub output: bool,
    /// Whether it is an argument of `new`.
    pub required: bool,
    /// The release that brought it, where that is not the row's.
    pub since: Version,
}

/// A row of the table of operations.
#[derive(Debug)]
pub struct OpInfo {
    /// The builder's name.
    pub name: &'static str,
    /// The operation's number.
    pub opcode: Opcode,
    /// The release that brought this variant.
    pub since: Version,
    /// What a successful result means.
    pub result: &'static str,
    /// Which completions are promised.
    pub completes: Completes,
    /// Whether it needs 128 bytes.
    pub wide: bool,
    /// What tells it from other rows of the same opcode.
    pub marks: &'static [Mark],
    /// What a new entry has in fields that no operand has set.
    pub defaults: &'static [(At, u64)],
    /// Its operands, required ones first.
    pub operands: &'static [OperandInfo],
    /// Builds an entry with arbitrary operands.
    #[cfg(test)]
    pub(crate) arbitrary: for<'a> fn(&mut tests::Source<'a>) -> crate::sqe::Sqe128<'a>,
}

impl OpInfo {
    /// Whether the entry has all of this row's marks.
    pub fn matches(&self, sqe: &RawSqe) -> bool {
        self.opcode.0 == sqe.opcode
            && self.marks.iter().all(|mark| match *mark {
                Mark::Has(at, bits) => sqe.get(at) & bits == bits,
                Mark::Is(at, value) => sqe.get(at) == value,
                Mark::NonZero(at) => sqe.get(at) != 0,
            })
    }

    /// What a new entry has in a field before any operand is stored.
    pub(crate) fn initial(&self, at: At) -> u64 {
        let value = self.defaults.iter().find(|(place, _)| *place == at).map_or(0, |(_, value)| *value);
        self.marks.iter().fold(value, |value, mark| match *mark {
            Mark::Has(place, bits) if place == at => value | bits,
            Mark::Is(place, is) if place == at => is,
            _ => value,
        })
    }
}

/// The rows, by family.
const FAMILIES: &[&[&OpInfo]] = &[
    ring::ROWS,
    rw::ROWS,
    file::ROWS,
    dir::ROWS,
    net::connect::ROWS,
    net::send::ROWS,
    net::recv::ROWS,
    poll::ROWS,
    time::ROWS,
    futex::ROWS,
    buffer::ROWS,
    cmd::ROWS,
];

/// Every row of the table.
pub fn all() -> impl Iterator<Item = &'static OpInfo> {
    FAMILIES.iter().flat_map(|family| family.iter().copied())
}

/// The row that describes an entry best: of those that match, the one with most marks, and of several such the last.
pub fn describe(sqe: &RawSqe) -> Option<&'static OpInfo> {
    all().filter(|row| row.matches(sqe)).max_by_key(|row| row.marks.len())
}

/// Whether the operation's last completion is a notification ([`Completes::Notif`]), for those who have no time to look
/// for its row.
#[inline(always)]
pub(crate) const fn notifies(opcode: u8) -> bool {
    matches!(opcode, sys::IORING_OP_SEND_ZC | sys::IORING_OP_SENDMSG_ZC)
}

/// Whether the kernel keeps it in its list of timeouts.
pub(crate) const fn is_timeout(opcode: u8) -> bool {
    opcode == sys::IORING_OP_TIMEOUT
}

/// The release that brought an opcode: that of its first row.
pub fn since(opcode: Opcode) -> Option<Version> {
    all().filter(|row| row.opcode == opcode).map(|row| row.since).min()
}

mod buffer;
mod cmd;
mod dir;
mod file;
mod futex;
mod net;
mod poll;
mod ring;
mod rw;
#[cfg(test)]
mod tests;
mod time;

pub use {buffer::*, cmd::*, dir::*, file::*, futex::*, net::*, poll::*, ring::*, rw::*, time::*};
