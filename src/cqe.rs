//! The completion queue entry: what became of an operation.
//!
//! A [`Cqe`] is a value, read from the ring straight into registers by the iterator that yields it; it stays valid
//! when the ring's head moves on. Its `res` means different things by operation and by kind: [`Cqe::result`] gives a
//! number or an [`Errno`] for results, and never reads the report of a zero-copy notification as an error.

use core::fmt;

use crate::flags::CqeFlags;
use crate::register::Tag;
use crate::user_data::UserData;
use rawring_sys as sys;
use rustix::io::Errno;

/// A completion.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Cqe {
    pub(crate) user_data: u64,
    pub(crate) res: i32,
    pub(crate) flags: u32,
    pub(crate) wide: bool,
    pub(crate) big: [u64; 2],
}

impl Cqe {
    /// Puts a 16-byte completion together, for decoders and tests; the kernel makes all others.
    pub const fn new(user_data: UserData, res: i32, flags: CqeFlags) -> Self {
        Cqe { user_data: user_data.0, res, flags: flags.bits(), wide: false, big: [0; 2] }
    }

    /// The same with the 16 bytes that a 32-byte completion has more.
    pub const fn with_big(mut self, big: [u64; 2]) -> Self {
        self.wide = true;
        self.big = big;
        self
    }

    /// The value that the entry carried; for who else may have put it there see [`UserData`].
    #[inline(always)]
    pub const fn user_data(&self) -> UserData {
        UserData(self.user_data)
    }

    /// `res` as the kernel wrote it: usually a count, a descriptor or a negated errno.
    #[inline(always)]
    pub const fn res(&self) -> i32 {
        self.res
    }

    /// The flags word without the buffer id; bits that the crate does not know are kept.
    #[inline(always)]
    pub const fn flags(&self) -> CqeFlags {
        CqeFlags::from_bits_retain(self.flags & 0xffff)
    }

    /// All 32 bits of the flags word.
    #[inline(always)]
    pub const fn raw_flags(&self) -> u32 {
        self.flags
    }

    /// What the operation returned.
    ///
    /// A notification has no result of its own and gives 0 here: its `res` is a word of flags whose top bit is not a
    /// sign (see [`notification`](Self::notification)). A negative number below the range of errnos reads as
    /// `Errno::RANGE`; [`res`](Self::res) still has it.
    #[inline(always)]
    pub const fn result(&self) -> Result<u32, Errno> {
        if self.is_notification() {
            Ok(0)
        } else if self.res >= 0 {
            Ok(self.res as u32)
        } else {
            Err(errno(self.res))
        }
    }

    /// Whether more completions of the same operation follow (`IORING_CQE_F_MORE`).
    ///
    /// Its absence is the only sign that an operation has ended: neither an error nor a zero says so.
    #[inline(always)]
    pub const fn more(&self) -> bool {
        self.flags & sys::IORING_CQE_F_MORE != 0
    }

    /// Whether this is the notification of a zero-copy send: the kernel no longer needs the data.
    #[inline(always)]
    pub const fn is_notification(&self) -> bool {
        self.flags & sys::IORING_CQE_F_NOTIF != 0
    }

    /// The report of a zero-copy notification; `None` for all other completions.
    pub const fn notification(&self) -> Option<Notification> {
        if self.is_notification() {
            Some(Notification { copied: self.res as u32 & sys::IORING_NOTIF_USAGE_ZC_COPIED != 0 })
        } else {
            None
        }
    }

    /// The id of the provided buffer that this completion used, also when the operation failed or read nothing:
    /// whoever ignores it there loses the buffer.
    #[inline(always)]
    pub const fn buffer_id(&self) -> Option<u16> {
        if self.flags & sys::IORING_CQE_F_BUFFER != 0 {
            Some((self.flags >> sys::IORING_CQE_BUFFER_SHIFT) as u16)
        } else {
            None
        }
    }

    /// The tag of a registered resource, if this says that the kernel no longer uses that resource: it was replaced or
    /// unregistered, and the last operation with it has ended.
    ///
    /// The safe ways to submit refuse entries whose completions would look like it.
    #[inline]
    pub const fn tag(&self) -> Option<Tag> {
        match self.user_data().tag_number() {
            Some(number) if self.res == 0 && self.flags == 0 => Tag::new(number),
            _ => None,
        }
    }

    /// Whether the kernel will use more of the same buffer (`IORING_CQE_F_BUF_MORE`, incremental buffer rings).
    #[inline(always)]
    pub const fn buffer_more(&self) -> bool {
        self.flags & sys::IORING_CQE_F_BUF_MORE != 0
    }

    /// Whether the socket held more to receive, or a connection more to accept (`IORING_CQE_F_SOCK_NONEMPTY`).
    #[inline(always)]
    pub const fn socket_nonempty(&self) -> bool {
        self.flags & sys::IORING_CQE_F_SOCK_NONEMPTY != 0
    }

    /// Whether this is the filler with which the kernel closes a gap at the end of a mixed ring
    /// (`IORING_CQE_F_SKIP`). Iteration passes over these; only raw access meets one.
    #[inline(always)]
    pub const fn is_filler(&self) -> bool {
        self.flags & sys::IORING_CQE_F_SKIP != 0
    }

    /// The 16 bytes beyond the first 16, on rings made with `CQE32`, and for wide completions of mixed rings.
    #[inline(always)]
    pub const fn big(&self) -> Option<[u64; 2]> {
        if self.wide { Some(self.big) } else { None }
    }
}

/// What a zero-copy send reports once the kernel no longer needs the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Notification {
    /// Whether the data was copied after all. Only known when the send asked for a report
    /// (`IORING_SEND_ZC_REPORT_USAGE`); false otherwise.
    pub copied: bool,
}

/// The errno in a negative result. A number outside the kernel's range of errnos cannot be one.
#[inline(always)]
pub(crate) const fn errno(res: i32) -> Errno {
    match res {
        -4095..=-1 => Errno::from_raw_os_error(-res),
        _ => Errno::RANGE,
    }
}

impl fmt::Debug for Cqe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Cqe");
        out.field("user_data", &self.user_data());
        match (self.notification(), self.result()) {
            _ if self.tag().is_some() => out.field("tag", &self.tag()),
            (Some(report), _) => out.field("notification", &report),
            (None, Ok(n)) => out.field("result", &n),
            (None, Err(e)) => out.field("errno", &crate::op::ErrnoName(e)),
        };
        if self.flags & 0xffff != 0 {
            out.field("flags", &self.flags());
        }
        if let Some(id) = self.buffer_id() {
            out.field("buffer_id", &id);
        } else if self.flags >> sys::IORING_CQE_BUFFER_SHIFT != 0 {
            out.field("flags_high", &(self.flags >> sys::IORING_CQE_BUFFER_SHIFT));
        }
        if let Some(big) = self.big() {
            out.field("big", &format_args!("[{:#x}, {:#x}]", big[0], big[1]));
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: UserData = UserData(3);

    #[test]
    fn item_17_the_report_of_a_notification_is_no_errno() {
        // Bit 31 says that the data was copied, which makes the number negative.
        let copied = Cqe::new(KEY, i32::MIN, CqeFlags::NOTIF);
        assert_eq!(copied.result(), Ok(0));
        assert_eq!(copied.notification(), Some(Notification { copied: true }));
        assert_eq!(Cqe::new(KEY, 0, CqeFlags::NOTIF).notification(), Some(Notification { copied: false }));
        assert_eq!(Cqe::new(KEY, 0, CqeFlags::MORE).notification(), None);
        assert!(!format!("{copied:?}").contains("errno"), "{copied:?}");
    }

    #[test]
    fn item_18_only_the_flag_says_that_more_follows() {
        assert!(Cqe::new(KEY, -libc::ENOBUFS, CqeFlags::MORE).more());
        assert!(!Cqe::new(KEY, 100, CqeFlags::empty()).more());
    }

    #[test]
    fn item_20_a_buffer_may_come_with_an_error_or_with_nothing() {
        let buffer = |id: u32| CqeFlags::from_bits_retain(CqeFlags::BUFFER.bits() | id << 16);
        assert_eq!(Cqe::new(KEY, -libc::ECANCELED, buffer(7)).buffer_id(), Some(7));
        assert_eq!(Cqe::new(KEY, 0, buffer(0)).buffer_id(), Some(0), "the first buffer is a buffer");
        assert_eq!(Cqe::new(KEY, 5, CqeFlags::from_bits_retain(7 << 16)).buffer_id(), None);
        let incremental = buffer(u32::from(u16::MAX)) | CqeFlags::BUF_MORE;
        assert!(Cqe::new(KEY, 5, incremental).buffer_more());
        assert_eq!(Cqe::new(KEY, 5, incremental).flags(), CqeFlags::BUFFER | CqeFlags::BUF_MORE, "without the id");
    }

    #[test]
    fn any_number_is_a_result_or_an_errno() {
        for (res, result) in [
            (0, Ok(0)),
            (i32::MAX, Ok(i32::MAX as u32)),
            (-1, Err(Errno::PERM)),
            (-libc::ETIME, Err(Errno::TIME)),
            (-4095, Err(Errno::from_raw_os_error(4095))),
            (-4096, Err(Errno::RANGE)),
            (i32::MIN, Err(Errno::RANGE)),
        ] {
            let cqe = Cqe::new(KEY, res, CqeFlags::from_bits_retain(0xffff & !CqeFlags::NOTIF.bits()));
            assert_eq!(cqe.result(), result, "{res}");
            assert!(!format!("{cqe:?}").is_empty());
        }
    }
}
