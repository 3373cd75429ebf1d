//! The 64 bits that travel with an operation: set in the entry, given back in each of its completions, and the key by
//! which the operation is cancelled or updated.
//!
//! Who may put a value into a completion: the entry (normal), the kernel (0 in the fillers of mixed rings), a
//! registered resource's tag, another ring through `MSG_RING`, and zero-copy receive events. So a value found in a
//! completion proves nothing about who started the operation. `Scope` and `InFlight`, whose soundness depends on
//! recognising their own completions, therefore use values with a reserved prefix ([`UserData::is_reserved`]), and the
//! safe ways to submit refuse entries that carry it. So do the [tags](crate::register::Tag) of registered resources,
//! with the prefix beside it. Everything else is free, 0 and `u64::MAX` included.

use core::fmt;

/// The value that identifies an operation, 64 bits on every target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct UserData(pub u64);

/// The upper 16 bits of the values that the safe doors use. Neither a user-space address (those have zeros there, or
/// are small on 32-bit targets) nor a sign-extended negative number.
const PREFIX: u64 = 0x5afe << 48;
const PREFIX_MASK: u64 = 0xffff << 48;

/// The upper 16 bits of tags: the prefix above with its lowest bit set, so that one comparison finds both.
const TAG_PREFIX: u64 = 0x5aff << 48;
const RESERVED_MASK: u64 = PREFIX_MASK & !(1 << 48);

/// Width of the slot number in a reserved value; the generation takes the 24 bits above it.
const SLOT_BITS: u32 = 24;

impl UserData {
    /// The address of `ptr`, zero-extended, with its provenance exposed so that [`UserData::as_ptr`] can recover it.
    pub fn from_ptr<T>(ptr: *const T) -> Self {
        UserData(ptr.expose_provenance() as u64)
    }

    /// The pointer that [`UserData::from_ptr`] was given.
    ///
    /// Whether it may be dereferenced is the caller's to know: anyone who holds the ring's descriptor can put any
    /// value into a completion.
    pub fn as_ptr<T>(self) -> *mut T {
        core::ptr::with_exposed_provenance_mut(self.0 as usize)
    }

    /// Whether this value belongs to `Scope` and `InFlight`, or is a [`Tag`](crate::register::Tag): its upper 16 bits
    /// are `0x5afe` or `0x5aff`.
    #[inline(always)]
    pub const fn is_reserved(self) -> bool {
        self.0 & RESERVED_MASK == PREFIX
    }

    /// The value of a tag, whose number is cut to 48 bits.
    pub(crate) const fn tag(number: u64) -> Self {
        UserData(TAG_PREFIX | (number & !PREFIX_MASK))
    }

    /// The number of a tag.
    pub(crate) const fn tag_number(self) -> Option<u64> {
        if self.0 & PREFIX_MASK == TAG_PREFIX { Some(self.0 & !PREFIX_MASK) } else { None }
    }

    /// The reserved value of an operation. Both numbers are cut to 24 bits.
    pub(crate) const fn token(slot: u32, generation: u32) -> Self {
        let mask = (1 << SLOT_BITS) - 1;
        UserData(PREFIX | (((generation & mask) as u64) << SLOT_BITS) | (slot & mask) as u64)
    }

    /// The slot number of a reserved value.
    pub(crate) const fn slot(self) -> Option<u32> {
        if self.0 & PREFIX_MASK == PREFIX { Some(self.lower()) } else { None }
    }

    /// What would be the slot number if this were a reserved value.
    #[inline(always)]
    pub(crate) const fn lower(self) -> u32 {
        self.0 as u32 & ((1 << SLOT_BITS) - 1)
    }

    /// The same value with another slot number, and with the first one again when it is asked again.
    #[inline(always)]
    pub(crate) const fn twin(self) -> Self {
        UserData(self.0 ^ ((1 << SLOT_BITS) - 1))
    }

    /// The largest slot number that a token can carry.
    pub(crate) const MAX_SLOT: u32 = (1 << SLOT_BITS) - 2;

    /// The value of the fillers in mixed submission queues, which are nobody's: that of a slot that there is not.
    pub(crate) const FILLER: UserData = UserData::token(Self::MAX_SLOT + 1, 0);

    /// The value of the messages by which wakers end waits, of that slot as well.
    pub(crate) const WAKE: UserData = UserData::token(Self::MAX_SLOT + 1, 1);

    /// Whether this is one of the two above.
    #[inline(always)]
    pub(crate) const fn is_hidden(self) -> bool {
        self.0 == Self::FILLER.0 || self.0 == Self::WAKE.0
    }
}

/// The reserved values of a ring's operations: no two of them are the same soon after another.
pub(crate) struct Keys(u64);

impl Keys {
    /// From generation 0 on.
    pub(crate) const fn new() -> Self {
        Keys(PREFIX)
    }

    /// The value of the next operation, in this slot, which is no larger than [`UserData::MAX_SLOT`].
    #[inline(always)]
    pub(crate) const fn key(&self, slot: u32) -> UserData {
        UserData(self.0 | slot as u64)
    }

    /// To be called when that was used.
    #[inline(always)]
    pub(crate) const fn advance(&mut self) {
        // The carry of the last generation goes into the lowest bit of the prefix, which is 0 otherwise.
        self.0 = (self.0 + (1 << SLOT_BITS)) & !(1 << 48);
    }
}

impl From<u64> for UserData {
    fn from(value: u64) -> Self {
        UserData(value)
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_01_user_data_is_64_bits_and_zero_extended() {
        let local = 7u32;
        let data = UserData::from_ptr(&local);
        assert_eq!(data.0, core::ptr::from_ref(&local).addr() as u64);
        assert_eq!(data.as_ptr::<u32>().cast_const(), core::ptr::from_ref(&local));
        assert!(!data.is_reserved());
        // An address in the upper half of a 32-bit space must not become a sign-extended one.
        let high = core::ptr::without_provenance::<u8>(0x8000_0000);
        assert_eq!(UserData::from_ptr(high).0, 0x8000_0000);
    }

    #[test]
    fn keys_are_tokens_of_one_generation_after_another() {
        let mut keys = Keys::new();
        for generation in 0..(1 << SLOT_BITS) + 2 {
            if generation % 0xffff < 2 {
                assert_eq!(keys.key(5), UserData::token(5, generation));
                assert_eq!(keys.key(UserData::MAX_SLOT), UserData::token(UserData::MAX_SLOT, generation));
            }
            keys.advance();
        }
        let key = keys.key(3);
        assert!(key.twin().lower() != 3 && key.twin().twin() == key);
    }

    #[test]
    fn only_the_prefix_is_reserved() {
        for free in [0, 1, u64::MAX, -2i64 as u64, i64::MIN as u64, 0x7fff_ffff_ffff] {
            assert!(!UserData(free).is_reserved(), "{free:#x}");
            assert_eq!(UserData(free).slot(), None);
        }
        let token = UserData::token(5, 9);
        assert!(token.is_reserved());
        assert_eq!(token.slot(), Some(5));
        assert_ne!(token, UserData::token(5, 10));
        assert_ne!(token, UserData::token(6, 9));
        let tag = UserData::tag(7);
        assert!(tag.is_reserved());
        assert_eq!((tag.slot(), tag.tag_number(), token.tag_number()), (None, Some(7), None));
        for beside in [0x5afd << 48, 0x5b00 << 48, 0x5bfe << 48] {
            assert!(!UserData(beside).is_reserved(), "{beside:#x}");
        }
    }
}
