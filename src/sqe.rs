//! The submission queue entry: 64 bytes (128 for some commands) that tell the kernel what to do.
//!
//! [`Sqe<'a>`] carries the safety contract as a lifetime: **the kernel may touch what this entry names for all of
//! `'a`**. Building an entry is safe because its operands are references; what a caller has to promise, and to whom,
//! is decided by the door through which it is submitted (see the crate's front page). An entry is neither `Copy` nor
//! `Clone`: two entries that name one mutable buffer would be two writers.
//!
//! The bytes are [`RawSqe`], the kernel's struct. Its fields are unions in C; the one map of their names is
//! [`At`]. Reading is safe, writing ([`Sqe::raw_mut`]) is not.

use core::fmt;
use core::marker::PhantomData;

pub use rawring_sys::SqeField as At;
pub use rawring_sys::io_uring_sqe as RawSqe;

use crate::op::{self, OpInfo, Opcode};
use crate::user_data::UserData;

/// A 64-byte entry; the kernel may touch what it names for all of `'a`.
#[repr(transparent)]
#[must_use = "an entry does nothing until it is pushed to a ring"]
pub struct Sqe<'a> {
    raw: RawSqe,
    names: PhantomData<&'a mut [u8]>,
}

/// A 128-byte entry, for rings made with `SQE128` or `SQE_MIXED`. Every [`Sqe`] converts into one.
#[must_use = "an entry does nothing until it is pushed to a ring"]
pub struct Sqe128<'a> {
    pub(crate) first: Sqe<'a>,
    pub(crate) second: [u8; 64],
}

/// The setters that every entry has, whatever its operation. Stamped on [`Sqe`], [`Sqe128`] and every builder.
macro_rules! common_setters {
    () => {
        /// The value that identifies the operation in its completions, and the key for cancelling it.
        #[inline(always)]
        pub fn user_data(mut self, data: impl Into<$crate::UserData>) -> Self {
            self.entry_mut().user_data = data.into().0;
            self
        }

        /// Adds `IOSQE_*` flags; bits that the crate does not know are passed on.
        #[inline(always)]
        pub fn flags(mut self, flags: $crate::flags::SqeFlags) -> Self {
            self.entry_mut().flags |= flags.bits();
            self
        }

        /// Links the next entry of the same submission to this one (`IOSQE_IO_LINK`): it starts when this one
        /// succeeded, and is cancelled when this one failed or transferred less than asked.
        #[inline(always)]
        pub fn link(self) -> Self {
            self.flags($crate::flags::SqeFlags::IO_LINK)
        }

        /// As [`link`](Self::link), but the next entry starts whatever became of this one (`IOSQE_IO_HARDLINK`).
        #[inline(always)]
        pub fn hard_link(self) -> Self {
            self.flags($crate::flags::SqeFlags::IO_HARDLINK)
        }

        /// Starts only when all earlier entries have completed, and holds back all later ones (`IOSQE_IO_DRAIN`).
        #[inline(always)]
        pub fn drain(self) -> Self {
            self.flags($crate::flags::SqeFlags::IO_DRAIN)
        }

        /// Goes to a worker thread at once instead of first being tried without blocking (`IOSQE_ASYNC`).
        #[inline(always)]
        pub fn force_async(self) -> Self {
            self.flags($crate::flags::SqeFlags::ASYNC)
        }

        /// Posts no completion when the operation succeeds (`IOSQE_CQE_SKIP_SUCCESS`, Linux 5.17).
        ///
        /// `scope` and `InFlight` count completions and therefore refuse such an entry.
        #[inline(always)]
        pub fn skip_success(self) -> Self {
            self.flags($crate::flags::SqeFlags::CQE_SKIP_SUCCESS)
        }

        /// Runs with the credentials registered under this number; 0 means those of the ring's creator.
        #[inline(always)]
        pub fn personality(mut self, id: u16) -> Self {
            self.entry_mut().personality = id;
            self
        }
    };
}
pub(crate) use common_setters;

impl<'a> Sqe<'a> {
    common_setters!();

    #[inline(always)]
    fn entry_mut(&mut self) -> &mut RawSqe {
        &mut self.raw
    }

    /// An entry whose only operand is the opcode. For the builders; whatever they add borrows for `'a`.
    #[inline(always)]
    pub(crate) const fn empty(opcode: u8) -> Self {
        // Field by field, and not all of them over again, so that neighbours can be stored in one go.
        Sqe { raw: RawSqe { opcode, ..RawSqe::ZERO }, names: PhantomData }
    }

    /// The bytes, for the builders, which only store operands that live for `'a`.
    #[inline(always)]
    pub(crate) fn bytes_mut(&mut self) -> &mut RawSqe {
        &mut self.raw
    }

    /// Wraps an entry filled in by hand.
    ///
    /// # Safety
    ///
    /// 1. Every address in `raw` that its operation has the kernel read or write is valid for that access, and
    ///    aliased by nothing that Rust forbids, for all of `'a`.
    /// 2. Every descriptor in it is open for all of `'a`, and giving it to the operation breaks nobody's I/O safety.
    /// 3. None of the completions that it causes, on this ring or another, carries a `user_data` that
    ///    [`is_reserved`](UserData::is_reserved), unless the entry's own is and the door put it there.
    #[inline(always)]
    pub unsafe fn from_raw(raw: RawSqe) -> Self {
        Sqe { raw, names: PhantomData }
    }

    /// The entry as the kernel will read it.
    #[inline(always)]
    pub fn raw(&self) -> &RawSqe {
        &self.raw
    }

    /// The entry as the kernel will read it, for changing any field.
    ///
    /// # Safety
    ///
    /// When the borrow ends, what [`from_raw`](Self::from_raw) demands holds of the entry.
    #[inline(always)]
    pub unsafe fn raw_mut(&mut self) -> &mut RawSqe {
        &mut self.raw
    }

    /// The entry's bytes.
    #[inline(always)]
    pub fn into_raw(self) -> RawSqe {
        self.raw
    }

    /// The field at `at`, in its own width, zero-extended.
    #[inline(always)]
    pub fn get(&self, at: At) -> u64 {
        self.raw.get(at)
    }

    /// The operation's number.
    pub fn opcode(&self) -> Opcode {
        Opcode(self.raw.opcode)
    }

    /// The row of the table that describes this entry best; `None` for a number that the crate does not know.
    pub fn info(&self) -> Option<&'static OpInfo> {
        op::describe(&self.raw)
    }

    #[inline(always)]
    pub(crate) fn key(&self) -> UserData {
        UserData(self.raw.user_data)
    }
}

impl<'a> Sqe128<'a> {
    common_setters!();

    /// As [`Sqe::empty`].
    #[inline(always)]
    pub(crate) const fn empty(opcode: u8) -> Self {
        Sqe128 { first: Sqe::empty(opcode), second: [0; 64] }
    }

    /// As [`Sqe::bytes_mut`].
    #[inline(always)]
    pub(crate) fn bytes_mut(&mut self) -> &mut RawSqe {
        &mut self.first.raw
    }

    #[inline(always)]
    fn entry_mut(&mut self) -> &mut RawSqe {
        &mut self.first.raw
    }

    /// Wraps a 128-byte entry filled in by hand.
    ///
    /// # Safety
    ///
    /// As [`Sqe::from_raw`], for all 128 bytes.
    #[inline(always)]
    pub unsafe fn from_raw(first: RawSqe, second: [u8; 64]) -> Self {
        Sqe128 { first: Sqe { raw: first, names: PhantomData }, second }
    }

    /// The first 64 bytes, as the kernel will read them.
    #[inline(always)]
    pub fn raw(&self) -> &RawSqe {
        &self.first.raw
    }

    /// Bytes 64 to 127: the rest of an 80-byte command, or zeros.
    #[inline(always)]
    pub fn second(&self) -> &[u8; 64] {
        &self.second
    }

    /// Both halves, for changing any byte.
    ///
    /// # Safety
    ///
    /// When the borrow ends, what [`from_raw`](Self::from_raw) demands holds of the entry.
    #[inline(always)]
    pub unsafe fn raw_mut(&mut self) -> (&mut RawSqe, &mut [u8; 64]) {
        (&mut self.first.raw, &mut self.second)
    }
}

impl<'a> From<Sqe<'a>> for Sqe128<'a> {
    #[inline(always)]
    fn from(first: Sqe<'a>) -> Self {
        Sqe128 { first, second: [0; 64] }
    }
}

/// Bytes that may be an entry, to be decoded to words by `{:?}` as an [`Sqe`] is. They come from anywhere and go nowhere:
/// unlike an [`Sqe`] it cannot be submitted, so that making it takes no promise.
///
/// ```
/// # use rawring::{Decoded, RawSqe};
/// let nop = RawSqe::from_bytes([0; 64]);
/// assert_eq!(format!("{:?}", Decoded::new(&nop)), "Nop { opcode: IORING_OP_NOP, user_data: 0x0 }");
/// ```
#[derive(Clone, Copy)]
pub struct Decoded<'a> {
    first: &'a RawSqe,
    second: Option<&'a [u8; 64]>,
}

impl<'a> Decoded<'a> {
    /// The 64 bytes of an entry.
    pub const fn new(entry: &'a RawSqe) -> Self {
        Decoded { first: entry, second: None }
    }

    /// The 128 bytes of an entry.
    pub const fn wide(first: &'a RawSqe, second: &'a [u8; 64]) -> Self {
        Decoded { first, second: Some(second) }
    }
}

impl fmt::Debug for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        op::decode(self.first, self.second, f)
    }
}

/// Decodes the entry to words: the row of the table that it matches, its operands by name, and raw whatever the row
/// does not explain.
impl fmt::Debug for Sqe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        op::decode(&self.raw, None, f)
    }
}

impl fmt::Debug for Sqe128<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        op::decode(&self.first.raw, Some(&self.second), f)
    }
}
