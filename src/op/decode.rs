//! From bytes to words: how an entry prints.
//!
//! Nothing here can panic or fail for any bytes: operands are read at the places that their row states, unknown
//! opcodes print all their fields, and a field with a bit that no operand, mark or common field explains is shown raw.

use core::fmt;

use super::{Mark, OpInfo, Opcode, describe};
use crate::flags::{FlagNames, SqeFlags};
use crate::operand::Kind;
use crate::sqe::{At, RawSqe};
use rawring_sys as sys;
use rustix::io::Errno;

/// An errno by its name, where the standard library knows one.
pub(crate) struct ErrnoName(pub Errno);

impl fmt::Debug for ErrnoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.0.raw_os_error())
    }
}

/// A word of flags: known names joined by `|`, the rest in hex.
struct Names(u64, FlagNames);

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Names(bits, names) = *self;
        let mut left = bits;
        let mut first = true;
        let mut result = Ok(());
        names.for_each(&mut |name, flag| {
            if flag != 0 && left & flag == flag && result.is_ok() {
                left &= !flag;
                let separator = if first { "" } else { "|" };
                first = false;
                result = write!(f, "{separator}{name}");
            }
        });
        result?;
        match (left, first) {
            (0, false) => Ok(()),
            (_, true) => write!(f, "{left:#x}"),
            (_, false) => write!(f, "|{left:#x}"),
        }
    }
}

/// Sign-extends a field of `size` bytes.
fn signed(value: u64, size: usize) -> i64 {
    let unused = 64 - 8 * size.clamp(1, 8) as u32;
    ((value << unused) as i64) >> unused
}

/// One operand's value.
struct Value<'a>(&'a RawSqe, &'a [At], Kind);

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Value(sqe, places, kind) = *self;
        let Some((&at, more)) = places.split_first() else { return f.write_str("nothing") };
        let value = sqe.get(at);
        match kind {
            Kind::File if sqe.flags & sys::IOSQE_FIXED_FILE != 0 => write!(f, "fixed {value}"),
            Kind::FileIn if splice_in_is_fixed(sqe) => write!(f, "fixed {value}"),
            // A descriptor has 32 bits, also where its field has 64.
            Kind::File | Kind::FileIn | Kind::Fd => match u32::try_from(value).map(|bits| bits as i32) {
                // AT_FDCWD, the same number on every architecture.
                Ok(-100) => f.write_str("CWD"),
                Ok(fd) => write!(f, "{fd}"),
                Err(_) => write!(f, "{value:#x}"),
            },
            Kind::Signed => write!(f, "{}", signed(value, at.size())),
            Kind::Unsigned => write!(f, "{value}"),
            Kind::Octal => write!(f, "{value:#o}"),
            Kind::Flags(names) => Names(value, names).fmt(f),
            Kind::PollMask(names) => Names(u64::from(crate::operand::swap_poll(value as u32)), names).fmt(f),
            Kind::Slot => match value as u32 {
                0 => f.write_str("none"),
                sys::IORING_FILE_INDEX_ALLOC => f.write_str("alloc"),
                slot => write!(f, "{}", slot - 1),
            },
            Kind::Bits | Kind::Pointer | Kind::Buffer => write!(f, "{value:#x}"),
            Kind::Opcode => match u8::try_from(value) {
                Ok(number) => Opcode(number).fmt(f),
                Err(_) => write!(f, "{value:#x}"),
            },
            Kind::Length => match (value, more.first().map_or(0, |&wide| sqe.get(wide))) {
                (narrow, 0) => write!(f, "{narrow}"),
                (0, wide) => write!(f, "{wide}"),
                (narrow, wide) => write!(f, "{wide} (not {narrow})"),
            },
            Kind::Command => write!(f, "{:02x?}", sqe.cmd()),
        }?;
        match (kind, more) {
            (Kind::Length, _) => Ok(()),
            (Kind::Buffer, [len]) => write!(f, "[{}]", sqe.get(*len)),
            (Kind::Buffer, [len, index]) => write!(f, "[{}] of buffer {}", sqe.get(*len), sqe.get(*index)),
            (_, more) => more.iter().try_for_each(|&at| write!(f, ", {:#x}", sqe.get(at))),
        }
    }
}

fn splice_in_is_fixed(sqe: &RawSqe) -> bool {
    sqe.get(At::SPLICE_FLAGS) & u64::from(sys::SPLICE_F_FD_IN_FIXED) != 0
}

/// Which of the entry's bits something has explained.
struct Explained([u8; 64]);

impl Explained {
    fn field(&mut self, at: At) {
        let end = (at.offset() + at.size()).min(64);
        self.0[at.offset().min(end)..end].fill(0xff);
    }

    fn bits(&mut self, at: At, bits: u64) {
        let mut mask = RawSqe::from_bytes(self.0);
        mask.set(at, mask.get(at) | bits);
        self.0 = *mask.as_bytes();
    }
}

/// Prints an entry; `second` is the other half of a 128-byte one.
pub(crate) fn decode(sqe: &RawSqe, second: Option<&[u8; 64]>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut seen = Explained([0; 64]);
    let row = describe(sqe);
    let mut out = match row {
        Some(row) => f.debug_struct(row.name),
        None => f.debug_struct("Unknown"),
    };
    out.field("opcode", &Opcode(sqe.opcode));
    if let Some(row) = row {
        operands(row, sqe, &mut out, &mut seen);
    }
    common(sqe, &mut out, &mut seen);
    raw(sqe, &mut out, &seen);
    if let Some(second) = second.filter(|bytes| bytes.iter().any(|&byte| byte != 0)) {
        out.field("second", &format_args!("{second:02x?}"));
    }
    out.finish()
}

fn operands(row: &OpInfo, sqe: &RawSqe, out: &mut fmt::DebugStruct<'_, '_>, seen: &mut Explained) {
    for mark in row.marks {
        match *mark {
            Mark::Is(at, _) => seen.field(at),
            Mark::Has(at, bits) => seen.bits(at, bits),
            // What is not zero is an operand.
            Mark::NonZero(_) => {}
        }
    }
    for operand in row.operands {
        let changed = operand.at.iter().any(|&at| sqe.get(at) != row.initial(at));
        // An operand that brings flags along is there if they are, even with the value 0. Without them the kernel does
        // not look at it: then its bytes are none of its.
        let brought = operand.sets.iter().all(|&(at, bits)| sqe.get(at) & bits == bits);
        if operand.required || brought {
            operand.at.iter().for_each(|at| seen.field(*at));
            operand.sets.iter().for_each(|&(at, bits)| seen.bits(at, bits));
        }
        if operand.required || brought && (changed || !operand.sets.is_empty()) {
            out.field(operand.name, &Value(sqe, operand.at, operand.kind));
        }
    }
}

fn common(sqe: &RawSqe, out: &mut fmt::DebugStruct<'_, '_>, seen: &mut Explained) {
    for at in [At::OPCODE, At::FLAGS, At::USER_DATA, At::PERSONALITY] {
        seen.field(at);
    }
    if sqe.flags != 0 {
        out.field("flags", &Names(u64::from(sqe.flags), FlagNames::Table(SqeFlags::INFO)));
    }
    if sqe.personality != 0 {
        out.field("personality", &sqe.personality);
    }
    out.field("user_data", &crate::UserData(sqe.user_data));
}

/// The fields of the entry without overlap, under the names that fit an operation nobody knows.
const FIELDS: [At; 10] = [
    At::IOPRIO,
    At::FD,
    At::OFF,
    At::ADDR,
    At::LEN,
    At::RW_FLAGS,
    At::BUF_INDEX,
    At::FILE_INDEX,
    At::ADDR3,
    At::ATTR_TYPE_MASK,
];

fn raw(sqe: &RawSqe, out: &mut fmt::DebugStruct<'_, '_>, seen: &Explained) {
    for at in FIELDS {
        let bytes = &sqe.as_bytes()[at.offset()..at.offset() + at.size()];
        let unexplained = bytes.iter().zip(&seen.0[at.offset()..]).any(|(byte, explained)| byte & !explained != 0);
        if unexplained {
            out.field(at.name(), &format_args!("{:#x}", sqe.get(at)));
        }
    }
}
