//! Where arbitrary entries come from: each row's builder is called by code that its row of `ops!` generates, with
//! operands drawn from a [`Source`]. A new row takes part without being named anywhere; a new *type* of operand needs
//! its lines in [`super::drawn`], and the compiler says so.
//!
//! The source is a string of bytes, so that proptest can make a failure smaller: what is left out draws zeros. It
//! watches every step: right after a setter has run, the bits that its operand brings have to be there, and no bit may
//! have changed but those that it declares.

use bumpalo::Bump;

use super::*;
use crate::flags::{FlagNames, SqeFlags};
use crate::operand::Operand;

/// An operand to draw, of type `T`, with what the entry has to say about it.
pub(crate) trait Drawn<'a>: Operand {
    /// Bits outside of the operand's places that its type changes.
    const SIDE: &'static [(At, u64)] = &[];
    /// An arbitrary value.
    fn draw(source: &mut Source<'a>) -> (Self, Said);
}

/// What decoding has to give back.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Said {
    /// Exactly this text.
    Text(String),
    /// Names and numbers of exactly these bits.
    Exactly(u64),
    /// These bits, among others that were stored before or belong to the row.
    Among(u64),
}

/// Bytes that decide, and the memory that operands borrow.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    pub(super) memory: &'a Bump,
    row: &'static OpInfo,
    /// The places of the operand that is being drawn.
    at: &'static [At],
    /// The bits that the current step may change.
    may: [u8; 64],
    /// The bits that it has to set.
    must: Vec<(At, u64)>,
    before: RawSqe,
    /// Setters left to call.
    steps: usize,
    /// The first change of a bit that was nobody's to change, or bit that should have changed.
    pub(super) wrong: Option<String>,
    /// The latest of each operand.
    pub(super) said: BTreeMap<&'static str, Said>,
}

/// What [`crate::sqe::common_setters`] makes, as operands: name, place, kind.
pub(super) const COMMON: [(&str, &[At], Kind); 3] = [
    ("user_data", &[At::USER_DATA], Kind::Bits),
    ("flags", &[At::FLAGS], Kind::Flags(FlagNames::Table(SqeFlags::INFO))),
    ("personality", &[At::PERSONALITY], Kind::Unsigned),
];

impl<'a> Source<'a> {
    pub(super) fn new(row: &'static OpInfo, bytes: &'a [u8], memory: &'a Bump) -> Self {
        let mut source = Source {
            bytes,
            memory,
            row,
            at: &[],
            may: [0; 64],
            must: Vec::new(),
            before: RawSqe::ZERO,
            steps: 0,
            wrong: None,
            said: BTreeMap::new(),
        };
        source.before.opcode = row.opcode.0;
        let marks = row.marks.iter().filter_map(|mark| match *mark {
            Mark::Has(at, _) | Mark::Is(at, _) => Some(at),
            Mark::NonZero(_) => None,
        });
        for at in row.defaults.iter().map(|&(at, _)| at).chain(marks) {
            source.before.set(at, row.initial(at));
        }
        source.steps = usize::from(source.byte()) % (3 * (row.operands.len() + COMMON.len()));
        source
    }

    /// The operand of this name, which the builder will store next.
    pub(crate) fn operand<T: Drawn<'a>>(&mut self, name: &'static str) -> T {
        let row = self.row.operands.iter().find(|operand| operand.name == name);
        let common = COMMON.iter().find(|common| common.0 == name).map(|common| common.1);
        self.at = row.map(|operand| operand.at).or(common).unwrap_or_else(|| panic!("{name} is no operand"));
        let (value, said) = T::draw(self);
        for &at in self.at {
            let bits = if let Said::Among(bits) = said { bits } else { u64::MAX };
            self.may_change(at, bits);
        }
        if let Kind::Command = T::KIND {
            self.may[bytes(At::CMD)].fill(0xff);
        }
        let sets = row.map_or(&[][..], |operand| operand.sets);
        sets.iter().chain(T::SIDE).for_each(|&(at, bits)| self.may_change(at, bits));
        self.must.extend(sets);
        self.said.insert(name, said);
        value
    }

    fn may_change(&mut self, at: At, bits: u64) {
        let mut mask = RawSqe::from_bytes(self.may);
        mask.set(at, mask.get(at) | bits);
        self.may = *mask.as_bytes();
    }

    /// A step is done, and this is the entry now: only what it may change has changed, and what it must.
    pub(crate) fn done(&mut self, entry: &RawSqe) {
        for (i, (old, new)) in self.before.as_bytes().iter().zip(entry.as_bytes()).enumerate() {
            if (old ^ new) & !self.may[i] != 0 && self.wrong.is_none() {
                let said = &self.said;
                self.wrong = Some(format!("byte {i} went from {old:#x} to {new:#x} with the last of {said:?}"));
            }
        }
        for (at, bits) in self.must.drain(..) {
            if entry.get(at) & bits != bits && self.wrong.is_none() {
                self.wrong = Some(format!("{bits:#x} is not in {} with the last of {:?}", at.name(), self.said));
            }
        }
        self.before = *entry;
        self.may = [0; 64];
    }

    /// The setter to call next, by name, or none any more.
    pub(crate) fn setter(&mut self) -> Option<&'static str> {
        self.steps = self.steps.checked_sub(1)?;
        let own = self.row.operands.iter().filter(|operand| !operand.required).map(|operand| operand.name);
        let all: Vec<_> = own.chain(COMMON.iter().map(|common| common.0)).collect();
        Some(all[usize::from(self.byte()) % all.len()])
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        first
    }

    /// One of `0..n`.
    pub(super) fn below(&mut self, n: u8) -> u8 {
        self.byte() % n
    }

    /// Any number, with a liking for edges.
    pub(super) fn any(&mut self) -> u64 {
        let shape = self.byte();
        match shape % 8 {
            0 => u64::from(self.byte()),
            1 => 1 << (self.byte() % 64),
            2 => !(1 << (self.byte() % 64)),
            3 => u64::MAX << (self.byte() % 64),
            4 => u64::MAX >> (self.byte() % 64),
            _ => u64::from_ne_bytes(core::array::from_fn(|_| self.byte())),
        }
    }

    /// Any number that leaves the entry one of its row: where another row is told by a value in this very field, not
    /// that value.
    pub(super) fn number(&mut self) -> u64 {
        let at = self.at[0];
        let mut value = self.any() & u64::MAX >> (64 - 8 * at.size().min(8));
        while self.others().any(|mark| matches!(mark, Mark::Is(place, is) if place == at && is == value)) {
            value = value.wrapping_add(1);
        }
        value
    }

    /// Any bits that leave the entry one of its row, and its descriptors what they are.
    pub(super) fn bits(&mut self) -> u64 {
        let at = self.at[0];
        let theirs = self.others().fold(0, |all, mark| match mark {
            Mark::Has(place, bits) if place == at => all | bits,
            _ => all,
        });
        let side = self.row.operands.iter().fold(0, |all, operand| match operand.kind {
            Kind::File if at == At::FLAGS => all | u64::from(sys::IOSQE_FIXED_FILE),
            Kind::FileIn if at == At::SPLICE_FLAGS => all | u64::from(sys::SPLICE_F_FD_IN_FIXED),
            _ => all,
        });
        self.any() & !theirs & !side
    }

    /// Marks of other rows of the opcode that this row lacks.
    fn others(&self) -> impl Iterator<Item = Mark> + use<> {
        let own = self.row;
        let rows = all().filter(move |row| row.opcode == own.opcode);
        rows.flat_map(|row| row.marks).copied().filter(move |mark| !own.marks.contains(mark))
    }
}

impl<'a> Drawn<'a> for SqeFlags {
    fn draw(source: &mut Source<'a>) -> (Self, Said) {
        let flags = SqeFlags::from_bits_retain(source.bits() as u8);
        (flags, Said::Among(flags.bits().into()))
    }
}
