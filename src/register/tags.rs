//! Tags of registered resources: how the kernel tells that it is done with one.
//!
//! Replacing or unregistering a file or buffer does not wait: operations that use it keep it, and a tag that was
//! registered with it comes back as the `user_data` of a completion when the last of them has ended. The kernel marks
//! such a completion by nothing. Tags of this crate are therefore numbers with a prefix that no entry's `user_data` may
//! have ([`UserData::is_reserved`]): [`Cqe::tag`](crate::Cqe::tag) knows them, and cannot be deceived by safe code.

use core::fmt;
use core::num::NonZeroU64;

use crate::user_data::UserData;

/// What comes back in a completion when the kernel no longer uses a registered resource.
///
/// A number of 48 bits, the caller's choice. Two resources may have the same; each comes back.
///
/// ```
/// use std::os::fd::AsFd;
///
/// use rawring::{Ring, operand::FileSlot, register::Tag};
///
/// let mut ring = Ring::new(8)?;
/// let tag = Tag::new(7).expect("48 bits");
/// ring.register_files_tagged(&[std::io::stdin().as_fd().into()], &[Some(tag)])?;
/// ring.update_files(0, &[FileSlot::CLEAR])?;
/// ring.submit_and_wait(1)?;
/// let cqe = ring.completions().next().expect("waited for it");
/// assert_eq!(cqe.tag(), Some(tag));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Tag(NonZeroU64);

impl Tag {
    /// The tag with this number; `None` if it has more than 48 bits.
    #[must_use]
    pub const fn new(number: u64) -> Option<Tag> {
        if number >> 48 == 0 { Self::from_user_data(UserData::tag(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0.get() & (u64::MAX >> 16)
    }

    /// The value that the completion has.
    #[must_use]
    pub const fn user_data(self) -> UserData {
        UserData(self.0.get())
    }

    const fn from_user_data(UserData(value): UserData) -> Option<Tag> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Tag(value)),
            None => None,
        }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tag").field(&self.number()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cqe::Cqe;
    use crate::flags::CqeFlags;

    #[test]
    fn item_36_a_tag_is_told_from_every_other_completion() {
        for number in [0, 1, 7, (1 << 48) - 1] {
            let tag = Tag::new(number).expect("48 bits");
            assert_eq!(tag.number(), number);
            assert!(tag.user_data().is_reserved());
            let cqe = Cqe::new(tag.user_data(), 0, CqeFlags::empty());
            assert_eq!(cqe.tag(), Some(tag));
            assert!(format!("{cqe:?}").contains("Tag("), "{cqe:?}");
            // What an operation would post.
            assert_eq!(Cqe::new(tag.user_data(), 1, CqeFlags::empty()).tag(), None);
            assert_eq!(Cqe::new(tag.user_data(), 0, CqeFlags::MORE).tag(), None);
        }
        assert_eq!(Tag::new(1 << 48), None);
        for other in [UserData(0), UserData(7), UserData::token(0, 7), UserData(u64::MAX)] {
            assert_eq!(Cqe::new(other, 0, CqeFlags::empty()).tag(), None);
        }
    }

    #[test]
    fn no_tag_is_a_zero_to_the_kernel() {
        assert_eq!(size_of::<Option<Tag>>(), 8);
        // SAFETY: an optional transparent wrapper of a non-zero number is as large as that number, and `None` is its zero.
        let raw: [u64; 2] = unsafe { core::mem::transmute([None, Tag::new(3)]) };
        assert_eq!(raw, [0, Tag::new(3).expect("small").user_data().0]);
    }
}
