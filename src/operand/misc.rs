//! Times, poll masks, paths, futexes and other things that operations point at.

use core::ffi::CStr;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU32;
use core::time::Duration;
use std::os::fd::{AsRawFd, RawFd};

use rustix::event::{PollFlags, epoll};
use rustix::mm::Advice;
use rustix::net::SocketAddrAny;
use rustix::process::WaitId;

use super::{Group, Kind, Operand, put_slice};
use crate::flags::FlagNames;
use crate::sqe::{At, RawSqe};
use crate::user_data::UserData;

/// A span or a point of time as the kernel takes it: `struct __kernel_timespec`, 64 bits each on every target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: i64,
}

impl From<Duration> for Timespec {
    /// A span too long for the field becomes the longest one: some 292 thousand million years.
    fn from(span: Duration) -> Self {
        Timespec {
            seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(span.subsec_nanos()),
        }
    }
}

impl From<rustix::time::Timespec> for Timespec {
    #[allow(clippy::useless_conversion, reason = "the field has 32 bits on some targets")]
    fn from(time: rustix::time::Timespec) -> Self {
        Timespec { seconds: time.tv_sec, nanoseconds: i64::from(time.tv_nsec) }
    }
}

/// The events of a poll: the bits of `poll(2)` and those that only `epoll_ctl(2)` has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PollMask(pub u32);

impl From<PollFlags> for PollMask {
    #[allow(clippy::unnecessary_cast, reason = "the bits are signed on some targets")]
    fn from(flags: PollFlags) -> Self {
        PollMask(u32::from(flags.bits() as u16))
    }
}

impl From<epoll::EventFlags> for PollMask {
    fn from(flags: epoll::EventFlags) -> Self {
        PollMask(flags.bits())
    }
}

/// The kernel keeps the lower half of the mask where a 16-bit field used to be: the halves change places on
/// big-endian targets (the bytes in them do not).
#[inline(always)]
pub(crate) const fn swap_poll(mask: u32) -> u32 {
    if cfg!(target_endian = "big") { mask.rotate_left(16) } else { mask }
}

impl Operand for PollMask {
    const KIND: Kind = Kind::PollMask(FlagNames::Foreign(|each| {
        for flag in <epoll::EventFlags as bitflags::Flags>::FLAGS {
            each(flag.name(), u64::from(flag.value().bits()));
        }
    }));
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(swap_poll(self.0)));
    }
}

/// The value by which another operation is found.
impl Operand for UserData {
    const KIND: Kind = Kind::Bits;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], self.0);
    }
}

/// A time in the entry itself, in nanoseconds; one too long for the field becomes the longest one: 292 years.
impl Operand for Duration {
    const KIND: Kind = Kind::Unsigned;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        // The kernel's field is signed.
        let nanoseconds = i64::try_from(self.as_nanos()).unwrap_or(i64::MAX);
        sqe.set(at[0], nanoseconds as u64);
    }
}

/// A length of 64 bits, for advice.
///
/// The entry has a field of 32 bits for it that all kernels read, and since Linux 6.11 one of 64 bits that is read
/// first. A length is stored where every kernel finds it, if it fits there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Length(pub u64);

impl From<u64> for Length {
    fn from(len: u64) -> Self {
        Length(len)
    }
}

impl From<usize> for Length {
    fn from(len: usize) -> Self {
        Length(len as u64)
    }
}

impl Operand for Length {
    const KIND: Kind = Kind::Length;
    /// Takes two places: the field of 32 bits and the one of 64.
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        let fits = self.0 <= u64::from(u32::MAX);
        sqe.set(at[0], if fits { self.0 } else { 0 });
        sqe.set(at[1], if fits { 0 } else { self.0 });
    }
}

impl Operand for Advice {
    const KIND: Kind = Kind::Unsigned;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        // Where rustix goes through libc, as on s390x, its numbers are those of posix_madvise(3). `DontNeed` is there
        // what to the kernel is the other one, which destroys contents, and the other one is a number of rustix's own.
        let number = match self {
            Advice::LinuxDontNeed => libc::MADV_DONTNEED as u64,
            Advice::DontNeed => libc::MADV_NORMAL as u64,
            advice => advice as u64,
        };
        sqe.set(at[0], number);
    }
}

/// The number of a group of provided buffers, for operations that fill or empty it. To receive into its buffers an
/// operation takes the [`Group`] itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GroupId(pub u16);

impl From<Group> for GroupId {
    fn from(Group(number): Group) -> Self {
        GroupId(number)
    }
}

impl Operand for GroupId {
    const KIND: Kind = Kind::Unsigned;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.0));
    }
}

/// The bytes of a driver command, as far as an entry of 64 bytes has them.
impl Operand for [u8; 16] {
    const KIND: Kind = Kind::Command;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, _at: &[At]) {
        *sqe.cmd_mut() = self;
    }
}

/// Which children to wait for: two numbers, the kind and the id.
impl Operand for WaitId<'_> {
    const KIND: Kind = Kind::Unsigned;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        let (kind, id) = match self {
            WaitId::All => (libc::P_ALL, 0),
            WaitId::Pid(pid) => (libc::P_PID, pid.as_raw_nonzero().get()),
            WaitId::Pgid(group) => (libc::P_PGID, group.map_or(0, |pid| pid.as_raw_nonzero().get())),
            WaitId::PidFd(fd) => (libc::P_PIDFD, fd.as_raw_fd()),
            // A kind that rustix may learn one day: the kernel answers EINVAL, which is better than waiting for others.
            _ => (u32::MAX, 0),
        };
        sqe.set(at[0], u64::from(kind));
        sqe.set(at[1], u64::from(id as u32));
    }
}

/// What a futex is: 32 bits wide, and shared between processes or private to this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FutexFlags(u32);

impl FutexFlags {
    /// A word that other processes may map, too.
    pub const SHARED: Self = FutexFlags(libc::FUTEX2_SIZE_U32 as u32);
    /// A word that only this process uses, which is cheaper. Waiter and waker have to agree, and what the standard
    /// library and most locks do is this.
    pub const PRIVATE: Self = FutexFlags((libc::FUTEX2_SIZE_U32 | libc::FUTEX2_PRIVATE) as u32);

    /// Any `FUTEX2_*` bits.
    ///
    /// # Safety
    ///
    /// They describe the memory at the word's address: with `FUTEX2_NUMA` and `FUTEX2_MPOL` the kernel reads and
    /// writes the word after it as well, and other sizes are other lengths.
    pub const unsafe fn from_bits(bits: u32) -> Self {
        FutexFlags(bits)
    }
}

impl Operand for FutexFlags {
    const KIND: Kind = Kind::Bits;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.0));
    }
}

/// One of the words that [`FutexWaitv`](crate::op::FutexWaitv) waits on: `struct futex_waitv`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct FutexWaiter<'a> {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
    names: PhantomData<&'a AtomicU32>,
}

impl<'a> FutexWaiter<'a> {
    /// Waits on `word` for as long as it holds `value`.
    pub fn new(word: &'a AtomicU32, value: u32, flags: FutexFlags) -> Self {
        FutexWaiter {
            value: u64::from(value),
            address: word.as_ptr().expose_provenance() as u64,
            flags: flags.0,
            reserved: 0,
            names: PhantomData,
        }
    }
}

/// Operands that are a reference, stored as an address.
macro_rules! pointer_operand {
    ($($ty:ty => |$this:ident| $ptr:expr),* $(,)?) => { $(
        impl Operand for $ty {
            const KIND: Kind = Kind::Pointer;
            #[inline(always)]
            fn put(self, sqe: &mut RawSqe, at: &[At]) {
                let $this = self;
                sqe.set(at[0], $ptr.expose_provenance() as u64);
            }
        }
    )* };
}

pointer_operand! {
    &CStr => |path| path.as_ptr(),
    &Timespec => |time| core::ptr::from_ref(time),
    &AtomicU32 => |word| word.as_ptr(),
    &epoll::Event => |event| core::ptr::from_ref(event),
    &mut [RawFd; 2] => |fds| fds.as_mut_ptr(),
    &mut MaybeUninit<rustix::fs::Statx> => |stat| stat.as_mut_ptr(),
    &mut MaybeUninit<libc::siginfo_t> => |info| info.as_mut_ptr(),
    *mut u8 => |address| address,
    *const core::ffi::c_void => |address| address,
    *mut core::ffi::c_void => |address| address,
}

/// Operands that are a slice, stored as an address and a count.
macro_rules! slice_operand {
    ($($ty:ty => |$this:ident| $ptr:expr),* $(,)?) => { $(
        impl Operand for $ty {
            const KIND: Kind = Kind::Buffer;
            #[inline(always)]
            fn put(self, sqe: &mut RawSqe, at: &[At]) {
                let $this = self;
                let len = $this.len();
                put_slice(sqe, at, $ptr.expose_provenance(), len);
            }
        }
    )* };
}

slice_operand! {
    &[FutexWaiter<'_>] => |waiters| waiters.as_ptr(),
    &mut [MaybeUninit<epoll::Event>] => |events| events.as_mut_ptr(),
}

impl Operand for &SocketAddrAny {
    const KIND: Kind = Kind::Buffer;
    /// Takes two places: address and length, whose field may have 16 bits; no address is that long.
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        put_slice(sqe, at, self.as_ptr().expose_provenance(), self.addr_len() as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_28_poll_mask_halves_are_where_the_kernel_looks() {
        let mut sqe = RawSqe::ZERO;
        PollMask::from(PollFlags::IN).put(&mut sqe, &[At::POLL32_EVENTS]);
        // The 16-bit field that old programs use overlays the same bytes, and must see the same mask.
        assert_eq!(sqe.get(At::POLL_EVENTS), u64::from(PollMask::from(PollFlags::IN).0));
        assert_eq!(swap_poll(swap_poll(0x8000_0001)), 0x8000_0001);
    }

    #[test]
    fn kernel_layouts() {
        assert_eq!(size_of::<Timespec>(), 16);
        assert_eq!(size_of::<FutexWaiter<'_>>(), 24);
        assert_eq!(Timespec::from(Duration::MAX).seconds, i64::MAX);
    }
}
