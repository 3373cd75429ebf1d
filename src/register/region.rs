//! Memory that a ring and the kernel share for good, and waits that are written there once and then named by a number.
//!
//! Who owns what, when: a ring has at most one region, and keeps it until it goes; the kernel keeps the pages for itself.
//! The kernel reads the slot of a wait during the call that names it. Slots are written through `&mut Ring`, by which
//! those calls are made as well, so it never sees half of one.
//!
//! Layout of a region of waits: the slots, and behind them a signal mask for each. So no slot is the last that the
//! region has room for, which the kernel (seen in Linux 6.18) takes for the first.

use core::fmt;
use core::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::MapFlags;

use super::memory::Mapping;
use crate::handle::Handle;
use crate::ring::Ring;
use crate::wait::{SigSet, Wait};
use rawring_sys as sys;

/// Where the memory of a region comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionMemory {
    /// From the process, which hands it to the kernel.
    User,
    /// From the kernel, which hands it to the process. Not for rings without a descriptor (`EBADF`), by which alone it
    /// can be mapped.
    Kernel,
}

/// A ring's region.
pub(crate) struct Region {
    at: NonNull<u8>,
    len: usize,
    /// How many waits can be written; 0 for a region of another use.
    waits: u32,
    _mapping: Mapping,
}

// SAFETY: the pointer leads to the region's own memory, which belongs to no thread.
unsafe impl Send for Region {}
// SAFETY: through a shared reference only the address is to be had.
unsafe impl Sync for Region {}

/// A wait that was written into a ring's region; for [`Wait::registered`].
///
/// It is a number, and means what is written there when it is used; on another ring, what is written there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RegisteredWait {
    index: u32,
    /// Flags of the call that are no part of what is registered.
    pub(crate) flags: u32,
}

impl RegisteredWait {
    /// The slot.
    pub fn index(self) -> u32 {
        self.index
    }

    /// What the call takes in place of an address.
    pub(crate) fn offset(self) -> usize {
        self.index as usize * WAIT
    }
}

/// There is no slot of this number for a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSuchWait {
    index: u32,
    waits: u32,
}

impl std::error::Error for NoSuchWait {}

impl fmt::Display for NoSuchWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoSuchWait { index, waits } = self;
        match waits {
            0 => write!(f, "no wait {index}: the ring has no region for waits; register_waits() makes one"),
            _ => write!(f, "no wait {index}: the ring has room for {waits}, from 0 on"),
        }
    }
}

/// The size of a slot.
const WAIT: usize = size_of::<sys::io_uring_reg_wait>();

impl Ring {
    /// Gives the ring memory for `count` waits, each to be written once with [`set_wait`](Self::set_wait) and then used
    /// by its number: the kernel has nothing to copy or check when it is entered.
    ///
    /// On a [disabled](crate::Setup::disabled) ring only, once, and for good. Linux 6.13.
    ///
    /// ```
    /// use rawring::register::RegionMemory;
    /// use rawring::{Ring, Wait, WaitEnd};
    /// use std::time::Duration;
    ///
    /// let mut ring = Ring::setup(8).disabled().build()?;
    /// if ring.register_waits(2, RegionMemory::User).is_err() {
    ///     return Ok(()); // before Linux 6.13
    /// }
    /// ring.enable()?;
    /// let short = ring.set_wait(0, &Wait::new(0).timeout(Duration::from_millis(1)))?;
    /// let outcome = ring.submit_with(&Wait::registered(1, short))?;
    /// assert_eq!(outcome.wait, WaitEnd::TimedOut);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | the ring is enabled; `count` is 0; a kernel without this |
    /// | `EBUSY` | the ring has a region |
    /// | `ENOMEM` | no memory, or more locked memory than the user may have (`RLIMIT_MEMLOCK`): each wait takes 72 bytes, all together whole pages |
    /// | `EEXIST` | the ring belongs to another thread (`SINGLE_ISSUER`) |
    /// | `EBADF` | a ring without descriptor, for [`RegionMemory::Kernel`] or if another thread made it |
    pub fn register_waits(&mut self, count: u32, memory: RegionMemory) -> Result<(), Errno> {
        if count == 0 {
            return Err(Errno::INVAL);
        }
        let len = (count as usize).checked_mul(WAIT + size_of::<SigSet>()).ok_or(Errno::NOMEM)?;
        self.make_region(len, memory, sys::IORING_MEM_REGION_REG_WAIT_ARG, count)
    }

    /// Gives the ring memory that the kernel knows, for what else comes to use such: `len` bytes, rounded up to pages.
    /// Once, and for good; in all states of a ring. Linux 6.13.
    ///
    /// # Errors
    ///
    /// As [`register_waits`](Self::register_waits), but for the state of the ring.
    pub fn register_region(&mut self, len: usize, memory: RegionMemory) -> Result<(), Errno> {
        self.make_region(len, memory, 0, 0)
    }

    /// The region of the ring. It is shared with the kernel: there are no references to it, and it goes with the ring.
    pub fn region(&self) -> Option<NonNull<[u8]>> {
        self.region.as_ref().map(|region| NonNull::slice_from_raw_parts(region.at, region.len))
    }

    fn make_region(&mut self, len: usize, memory: RegionMemory, flags: u64, waits: u32) -> Result<(), Errno> {
        if self.region.is_some() {
            return Err(Errno::BUSY);
        }
        let page = rustix::param::page_size();
        let len = len.checked_next_multiple_of(page).ok_or(Errno::NOMEM)?;
        let mut desc = sys::io_uring_region_desc { size: len as u64, ..sys::io_uring_region_desc::ZERO };
        let mapping = match memory {
            RegionMemory::User => {
                let mapping = Mapping::anonymous(len, MapFlags::PRIVATE)?;
                desc.user_addr = mapping.at().as_ptr().expose_provenance() as u64;
                desc.flags = sys::IORING_MEM_REGION_TYPE_USER;
                self.register_region_desc(&mut desc, flags)?;
                mapping
            }
            RegionMemory::Kernel => {
                let Handle::Fd(fd) = &self.handle else { return Err(Errno::BADF) };
                self.register_region_desc(&mut desc, flags)?;
                Mapping::of(fd, desc.mmap_offset, len)?
            }
        };
        self.region = Some(Region { at: mapping.at(), len, waits, _mapping: mapping });
        Ok(())
    }

    fn register_region_desc(&self, desc: &mut sys::io_uring_region_desc, flags: u64) -> Result<(), Errno> {
        let region_uptr = core::ptr::from_mut(desc).expose_provenance() as u64;
        let mut arg = sys::io_uring_mem_region_reg { region_uptr, flags, ..sys::io_uring_mem_region_reg::ZERO };
        // SAFETY: both structs are valid, and read and written during the call. The memory that the description names, if
        // any, is a mapping which belongs to this call's region alone; the kernel holds its pages, and only reads them.
        unsafe { self.register_raw(sys::IORING_REGISTER_MEM_REGION, (&raw mut arg).cast(), 1) }.map(drop)
    }

    /// Writes a wait into the ring's region: its timeout or deadline, its minimum, and its signal mask. How many
    /// completions it waits for is said when it is used.
    ///
    /// # Errors
    ///
    /// [`NoSuchWait`] if the ring has no [region](Self::register_waits) with that slot.
    pub fn set_wait(&mut self, index: u32, wait: &Wait<'_>) -> Result<RegisteredWait, NoSuchWait> {
        let waits = self.region.as_ref().map_or(0, |region| region.waits);
        let Some(region) = self.region.as_ref().filter(|_| index < waits) else {
            return Err(NoSuchWait { index, waits });
        };
        let (mut content, mask) = wait.content();
        let masks = waits as usize * WAIT;
        let slot = RegisteredWait { index, flags: wait.flags(1) };
        // SAFETY: the region has a slot and a mask for each of `waits`, the masks behind the slots. Both
        // are aligned: the region is to a page, and the sizes are multiples of what they are aligned to. Nobody else
        // reads or writes them now: the kernel does during calls that are made through `&mut` of this ring.
        unsafe {
            let place = region.at.add(masks).cast::<SigSet>().add(index as usize);
            if let Some(mask) = mask {
                place.write_volatile(mask);
                content.sigmask = place.as_ptr().expose_provenance() as u64;
                content.sigmask_sz = size_of::<SigSet>() as u32;
            }
            region.at.cast::<sys::io_uring_reg_wait>().add(index as usize).write_volatile(content);
        }
        Ok(slot)
    }
}
