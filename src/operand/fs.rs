//! What file operations take beside files, paths and buffers: modes, advice, how to open, protection information.
//!
//! Flags are rustix's; here are only those that it lacks. [`ProtectionInfo`] names memory, so it is a place without a
//! lifetime that is filled for one operation at a time, as [`MsgHdr`](super::MsgHdr) is.

use core::marker::PhantomData;

use rustix::fs::{Advice, Mode, OFlags, ResolveFlags};

use super::{Buf, BufMut, Kind, Operand, flag_operand, len32};
use crate::flags::FlagNames;
use crate::sqe::{At, RawSqe};
use rawring_sys as sys;

// The kernel fills in all of its `struct statx`, whatever was asked for.
const _: () = assert!(size_of::<rustix::fs::Statx>() == 256);

impl Operand for Mode {
    const KIND: Kind = Kind::Octal;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.bits()));
    }
}

impl Operand for Advice {
    const KIND: Kind = Kind::Unsigned;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], self as u64);
    }
}

/// The argument of [`OpenAt2`](crate::op::OpenAt2): flags, mode, and how the path may be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct OpenHow(sys::open_how);

impl OpenHow {
    /// How to open. `mode` has to be empty, unless the flags can create a file (`CREATE`, `TMPFILE`).
    #[inline(always)]
    pub fn new(flags: OFlags, mode: Mode, resolve: ResolveFlags) -> Self {
        OpenHow(sys::open_how { flags: u64::from(flags.bits()), mode: u64::from(mode.bits()), resolve: resolve.bits() })
    }

    /// Any bits; those that the kernel does not know it refuses.
    #[inline(always)]
    pub const fn from_raw(how: sys::open_how) -> Self {
        OpenHow(how)
    }
}

impl Operand for &OpenHow {
    const KIND: Kind = Kind::Buffer;
    /// Takes two places: the address and the size, by which the kernel tells versions of the struct apart.
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], core::ptr::from_ref(self).expose_provenance() as u64);
        sqe.set(at[1], size_of::<OpenHow>() as u64);
    }
}

bitflags::bitflags! {
    /// What [`SyncFileRange`](crate::op::SyncFileRange) does, in the order in which it does it.
    #[repr(transparent)]
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct SyncRangeFlags: u32 {
        /// Waits for pages that are being written out.
        const WAIT_BEFORE = libc::SYNC_FILE_RANGE_WAIT_BEFORE;
        /// Starts writing out pages that changed.
        const WRITE = libc::SYNC_FILE_RANGE_WRITE;
        /// Waits for those.
        const WAIT_AFTER = libc::SYNC_FILE_RANGE_WAIT_AFTER;
        /// Bits of newer kernels pass through.
        const _ = !0;
    }
}

flag_operand!(
    SyncRangeFlags,
    FlagNames::Foreign(|each| {
        for flag in <SyncRangeFlags as bitflags::Flags>::FLAGS {
            each(flag.name(), u64::from(flag.value().bits()));
        }
    })
);

bitflags::bitflags! {
    /// What the device checks of the protection information of a transfer.
    #[repr(transparent)]
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct ProtectionFlags: u16 {
        /// The checksum.
        const GUARD = 1 << 0;
        /// The reference tag.
        const REFTAG = 1 << 1;
        /// The application tag.
        const APPTAG = 1 << 2;
        /// Bits of newer kernels pass through.
        const _ = !0;
    }
}

/// A stable place for the kernel's `struct io_uring_attr_pi`: protection information that travels with a direct
/// transfer to or from a block device that has room for it.
///
/// ```
/// use rawring::{Sqe, op::Read, operand::{Fixed, ProtectionFlags, ProtectionInfo}};
///
/// struct State { data: [u8; 4096], tuples: [u8; 8], info: ProtectionInfo }
///
/// fn entry(state: &mut State) -> Sqe<'_> {
///     let info = state.info.checks(ProtectionFlags::GUARD).read(&mut state.tuples);
///     Read::new(Fixed(0), &mut state.data).offset(0).attributes(info).into()
/// }
/// # let mut state = State { data: [0; 4096], tuples: [0; 8], info: ProtectionInfo::default() };
/// # assert!(format!("{:?}", entry(&mut state)).contains("attributes"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct ProtectionInfo(sys::io_uring_attr_pi);

/// Protection information of a read, borrowed for `'a` along with the memory that it names.
#[derive(Debug)]
pub struct ReadProtection<'a> {
    info: *const ProtectionInfo,
    names: PhantomData<&'a mut ProtectionInfo>,
}

/// Protection information of a write, borrowed for `'a` along with the memory that it names.
#[derive(Debug)]
pub struct WriteProtection<'a> {
    info: *const ProtectionInfo,
    names: PhantomData<&'a ProtectionInfo>,
}

impl ProtectionInfo {
    /// What the device checks.
    pub fn checks(&mut self, flags: ProtectionFlags) -> &mut Self {
        self.0.flags = flags.bits();
        self
    }

    /// The application tag to check.
    pub fn app_tag(&mut self, tag: u16) -> &mut Self {
        self.0.app_tag = tag;
        self
    }

    /// The reference tag of the first block.
    pub fn seed(&mut self, seed: u64) -> &mut Self {
        self.0.seed = seed;
        self
    }

    /// For a read, which fills `tuples`.
    pub fn read<'a>(&'a mut self, tuples: impl Into<BufMut<'a>>) -> ReadProtection<'a> {
        let tuples = tuples.into();
        self.name(tuples.addr, tuples.len);
        ReadProtection { info: self, names: PhantomData }
    }

    /// For a write, along with which `tuples` are written.
    pub fn write<'a>(&'a mut self, tuples: impl Into<Buf<'a>>) -> WriteProtection<'a> {
        let tuples = tuples.into();
        self.name(tuples.addr, tuples.len);
        WriteProtection { info: self, names: PhantomData }
    }

    fn name(&mut self, addr: usize, len: usize) {
        self.0.addr = addr as u64;
        self.0.len = len32(len);
    }
}

macro_rules! protection_operand {
    ($($ty:ident),*) => { $(
        impl Operand for $ty<'_> {
            const KIND: Kind = Kind::Pointer;
            /// Takes two places: the address, and the mask that says what is there.
            #[inline(always)]
            fn put(self, sqe: &mut RawSqe, at: &[At]) {
                sqe.set(at[0], self.info.expose_provenance() as u64);
                sqe.set(at[1], sys::IORING_RW_ATTR_FLAG_PI);
            }
        }
    )* };
}

protection_operand!(ReadProtection, WriteProtection);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_layouts() {
        let how = OpenHow::new(OFlags::CREATE, Mode::RUSR, ResolveFlags::BENEATH);
        let mut sqe = RawSqe::ZERO;
        (&how).put(&mut sqe, &[At::ADDR2, At::LEN]);
        assert_eq!((sqe.len, sqe.off), (24, core::ptr::from_ref(&how).addr() as u64));
        assert_eq!((how.0.flags, how.0.mode, how.0.resolve), (libc::O_CREAT as u64, 0o400, libc::RESOLVE_BENEATH));
    }

    #[test]
    fn protection_information_names_its_memory_and_says_so() {
        let mut tuples = [0u8; 24];
        let mut info = ProtectionInfo::default();
        let mut sqe = RawSqe::ZERO;
        info.app_tag(7).seed(9).checks(ProtectionFlags::APPTAG);
        info.read(&mut tuples).put(&mut sqe, &[At::ATTR_PTR, At::ATTR_TYPE_MASK]);
        let ProtectionInfo(pi) = info;
        assert_eq!((pi.flags, pi.app_tag, pi.seed, pi.len, pi.rsvd), (4, 7, 9, 24, 0));
        assert_eq!(pi.addr, tuples.as_ptr().addr() as u64);
        assert_eq!(sqe.attr_type_mask, sys::IORING_RW_ATTR_FLAG_PI);
        assert_eq!(sqe.addr3, core::ptr::from_ref(&info).addr() as u64);
    }
}
