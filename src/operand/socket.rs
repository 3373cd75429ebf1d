//! What socket operations take besides descriptors and memory: families, kinds, options, ways to send and receive.
//!
//! The invariant here is that a value which safe code can make never changes what an *address* in the entry means or
//! for how long the kernel needs it. `IORING_SEND_VECTORIZED` turns bytes into an array of pointers, `MSG_ZEROCOPY`
//! keeps pages past the completion, and some socket options carry pointers in their value. So bits that select a row
//! of the table are not values ([`RecvSendOptions`]), and options are named ones unless the caller vouches for them
//! ([`SocketOption`]).

use core::ops::BitOr;

use rustix::net::{AddressFamily, Protocol, SendFlags, Shutdown, SocketFlags, SocketType};

use super::{Kind, Operand};
use crate::flags::{FlagNames, RecvSendFlags};
use crate::sqe::{At, RawSqe};
use rawring_sys as sys;

/// The kind of a new socket: its type, with or without `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
///
/// The kernel takes both in one number, as `socket(2)` does. Made from a [`SocketType`], or from a type and flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketKind(u32);

impl From<SocketType> for SocketKind {
    fn from(kind: SocketType) -> Self {
        SocketKind(kind.as_raw())
    }
}

impl From<(SocketType, SocketFlags)> for SocketKind {
    fn from((kind, flags): (SocketType, SocketFlags)) -> Self {
        SocketKind(kind.as_raw() | flags.bits())
    }
}

/// How a send or a receive goes about it; in `ioprio`.
///
/// The other `IORING_*` bits of that field select an operation (multishot, bundle, registered buffer, vector) and are
/// set by the row that is named for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RecvSendOptions(u16);

impl RecvSendOptions {
    /// Wait until the socket is ready before the first attempt, which would only find it busy
    /// (`IORING_RECVSEND_POLL_FIRST`, Linux 5.19).
    pub const POLL_FIRST: Self = RecvSendOptions(sys::IORING_RECVSEND_POLL_FIRST);
    /// Say in the notification of a zero-copy send whether the data was copied after all
    /// (`IORING_SEND_ZC_REPORT_USAGE`, Linux 6.2); see [`Cqe::notification`](crate::Cqe::notification). Everything
    /// but a zero-copy send is refused with it (`EINVAL`).
    pub const REPORT_USAGE: Self = RecvSendOptions(sys::IORING_SEND_ZC_REPORT_USAGE);
}

impl BitOr for RecvSendOptions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        RecvSendOptions(self.0 | other.0)
    }
}

impl Operand for RecvSendOptions {
    const KIND: Kind = Kind::Flags(FlagNames::Table(RecvSendFlags::INFO));
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        // The row's own bits are in the same field.
        let bits = sqe.get(at[0]) | u64::from(self.0);
        sqe.set(at[0], bits);
    }
}

/// `MSG_ZEROCOPY` is left out: with it the kernel would go on reading the data after the completion, and say so only
/// in the socket's error queue. The zero-copy operations of the ring have a notification for that.
impl Operand for SendFlags {
    const KIND: Kind = Kind::Flags(FlagNames::Foreign(|each| {
        for flag in <SendFlags as bitflags::Flags>::FLAGS {
            each(flag.name(), u64::from(flag.value().bits()));
        }
    }));
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        let bits = sqe.get(at[0]) | u64::from(self.bits() & !(libc::MSG_ZEROCOPY as u32));
        sqe.set(at[0], bits);
    }
}

/// A socket option: its level and its number there.
///
/// The constants are options whose value is plain data. For all others there is [`SocketOption::from_raw`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketOption {
    level: u32,
    name: u32,
}

macro_rules! socket_options {
    ($($level:ident { $($option:ident = $name:ident $(, $note:literal)?;)* })*) => {
        impl SocketOption {
            $($(
                #[doc = concat!("`", stringify!($name), "` of `", stringify!($level), "`", $(", ", $note,)? ".")]
                pub const $option: SocketOption =
                    SocketOption { level: libc::$level as u32, name: libc::$name as u32 };
            )*)*
        }
    };
}

socket_options! {
    SOL_SOCKET {
        ACCEPT_CONNECTIONS = SO_ACCEPTCONN, "read-only";
        BROADCAST = SO_BROADCAST;
        BUSY_POLL = SO_BUSY_POLL;
        DOMAIN = SO_DOMAIN, "read-only";
        DONT_ROUTE = SO_DONTROUTE;
        ERROR = SO_ERROR, "read-only, and reading clears it";
        INCOMING_CPU = SO_INCOMING_CPU;
        KEEP_ALIVE = SO_KEEPALIVE;
        LINGER = SO_LINGER;
        MARK = SO_MARK;
        OOB_INLINE = SO_OOBINLINE;
        PRIORITY = SO_PRIORITY;
        PROTOCOL = SO_PROTOCOL, "read-only";
        RECEIVE_BUFFER = SO_RCVBUF;
        RECEIVE_LOW_WATER = SO_RCVLOWAT;
        RECEIVE_TIMEOUT = SO_RCVTIMEO;
        REUSE_ADDRESS = SO_REUSEADDR;
        REUSE_PORT = SO_REUSEPORT;
        SEND_BUFFER = SO_SNDBUF;
        SEND_TIMEOUT = SO_SNDTIMEO;
        TIMESTAMPING = SO_TIMESTAMPING;
        TYPE = SO_TYPE, "read-only";
        ZERO_COPY = SO_ZEROCOPY;
    }
    IPPROTO_TCP {
        TCP_CORK = TCP_CORK;
        TCP_DEFER_ACCEPT = TCP_DEFER_ACCEPT;
        TCP_KEEP_COUNT = TCP_KEEPCNT;
        TCP_KEEP_IDLE = TCP_KEEPIDLE;
        TCP_KEEP_INTERVAL = TCP_KEEPINTVL;
        TCP_NO_DELAY = TCP_NODELAY;
        TCP_QUICK_ACK = TCP_QUICKACK;
        TCP_USER_TIMEOUT = TCP_USER_TIMEOUT;
    }
    IPPROTO_IPV6 {
        IPV6_ONLY = IPV6_V6ONLY;
    }
}

impl SocketOption {
    /// Any option.
    ///
    /// # Safety
    ///
    /// 1. Getting it writes no more bytes than the value's buffer has, and nowhere else. Most options keep to that;
    ///    `SO_GET_FILTER` counts in instructions of 8 bytes.
    /// 2. For the values that it will be set to: addresses in the value (`SO_ATTACH_FILTER`, the tables of
    ///    netfilter) are valid for what the kernel does with them, and using the descriptors in it
    ///    (`SO_ATTACH_BPF`) breaks nobody's I/O safety.
    #[inline(always)]
    pub const unsafe fn from_raw(level: u32, name: u32) -> Self {
        SocketOption { level, name }
    }
}

impl Operand for SocketOption {
    const KIND: Kind = Kind::Unsigned;
    /// Takes two places: level and name.
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.level));
        sqe.set(at[1], u64::from(self.name));
    }
}

/// Operands that are a number under a type of rustix's or of ours.
macro_rules! named_number {
    ($($ty:ty => |$this:ident| $number:expr),* $(,)?) => { $(
        impl Operand for $ty {
            const KIND: Kind = Kind::Unsigned;
            #[inline(always)]
            fn put(self, sqe: &mut RawSqe, at: &[At]) {
                let $this = self;
                sqe.set(at[0], u64::from($number));
            }
        }
    )* };
}

named_number! {
    AddressFamily => |family| family.as_raw(),
    SocketKind => |kind| kind.0,
    Option<Protocol> => |protocol| protocol.map_or(0, |number| number.as_raw().get()),
    Shutdown => |how| how as u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_leave_the_bits_that_chose_the_row() {
        let mut sqe = RawSqe::ZERO;
        sqe.ioprio = sys::IORING_RECVSEND_BUNDLE;
        (RecvSendOptions::POLL_FIRST | RecvSendOptions::REPORT_USAGE).put(&mut sqe, &[At::IOPRIO]);
        let all = sys::IORING_RECVSEND_BUNDLE | sys::IORING_RECVSEND_POLL_FIRST | sys::IORING_SEND_ZC_REPORT_USAGE;
        assert_eq!(sqe.ioprio, all);
    }

    #[test]
    fn a_plain_send_cannot_keep_its_pages() {
        let mut sqe = RawSqe::ZERO;
        let flags = SendFlags::from_bits_retain(libc::MSG_ZEROCOPY as u32) | SendFlags::MORE;
        flags.put(&mut sqe, &[At::MSG_FLAGS]);
        assert_eq!(sqe.get(At::MSG_FLAGS), u64::from(SendFlags::MORE.bits()));
    }

    #[test]
    fn level_and_name_have_places_of_their_own() {
        let mut sqe = RawSqe::ZERO;
        SocketOption::TCP_NO_DELAY.put(&mut sqe, &[At::LEVEL, At::OPTNAME]);
        assert_eq!((sqe.get(At::LEVEL), sqe.get(At::OPTNAME)), (libc::IPPROTO_TCP as u64, libc::TCP_NODELAY as u64));
    }
}
