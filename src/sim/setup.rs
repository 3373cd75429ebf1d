//! `io_uring_setup`: what is refused, and what a ring begins with.

use std::os::fd::IntoRawFd;

use rustix::io::Errno;

use super::memory::Memory;
use super::release::MAX_ENTRIES;
use super::ring::Ring;
use super::world::World;
use crate::flags::SetupFlags;
use crate::setup::conflict;
use rawring_sys as sys;

/// Flags that are not simulated: devices that are polled, and rings without a descriptor.
const ABSENT: SetupFlags = SetupFlags::IOPOLL.union(SetupFlags::HYBRID_IOPOLL).union(SetupFlags::REGISTERED_FD_ONLY);

impl World {
    /// The setup flags that rings can have here.
    pub(super) fn setup_flags(&self) -> SetupFlags {
        self.config.release().setup_flags().difference(ABSENT)
    }

    /// Makes a ring and gives its descriptor away.
    pub(super) fn setup(&mut self, entries: u32, params: &mut sys::io_uring_params) -> Result<u32, Errno> {
        let flags = SetupFlags::from_bits_retain(params.flags);
        let unknown = !self.setup_flags().contains(flags);
        if params.resv != [0; 3] || unknown || conflict(flags).is_some() {
            return Err(Errno::INVAL);
        }
        (params.sq_entries, params.cq_entries) = sizes(entries, params.cq_entries, flags)?;
        if flags.contains(SetupFlags::ATTACH_WQ) && !self.numbers.contains_key(&(params.wq_fd as i32)) {
            return Err(Errno::INVAL);
        }
        let (sq_off, cq_off, ring_len) = self.config.release().offsets(params.sq_entries, params.cq_entries, flags);
        params.sq_off = sys::io_sqring_offsets { user_addr: params.sq_off.user_addr, ..sq_off };
        params.cq_off = sys::io_cqring_offsets { user_addr: params.cq_off.user_addr, ..cq_off };
        params.features = self.config.release().features().bits();
        let entries_len = sys::map::sqes_len(params).map_err(|_| Errno::OVERFLOW)?;
        let layout = sys::map::layout(params, ring_len as usize, entries_len).map_err(|_| Errno::OVERFLOW)?;
        let (memory, file) = Memory::new(params, ring_len as usize, entries_len)?;
        // The crate takes the descriptor over, as it would a kernel's.
        let fd = file.into_raw_fd();
        let ring = Ring::new(params, memory, layout, self.config.start);
        self.add_ring(fd, ring);
        self.distort_setup(self.numbers[&fd], params);
        Ok(fd as u32)
    }
}

/// The sizes of both queues.
pub(super) fn sizes(entries: u32, cq_entries: u32, flags: SetupFlags) -> Result<(u32, u32), Errno> {
    let size = |asked: u32, max: u32| match asked {
        0 => Err(Errno::INVAL),
        asked if asked <= max => Ok(asked.next_power_of_two()),
        _ if flags.contains(SetupFlags::CLAMP) => Ok(max),
        _ => Err(Errno::INVAL),
    };
    let sq = size(entries, MAX_ENTRIES)?;
    let cq = if flags.contains(SetupFlags::CQSIZE) { size(cq_entries, 2 * MAX_ENTRIES)? } else { 2 * sq };
    if cq < sq {
        return Err(Errno::INVAL);
    }
    let mixed = |flag: SetupFlags, size: u32| flags.contains(flag) && size < 2;
    if mixed(SetupFlags::CQE_MIXED, cq) || mixed(SetupFlags::SQE_MIXED, sq) {
        return Err(Errno::OVERFLOW);
    }
    Ok((sq, cq))
}
