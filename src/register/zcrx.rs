//! Zero-copy receive: the network card, or where there is none the kernel, puts what is received into memory of ours.
//!
//! Who owns what, when: the area is given to the kernel when the queue is registered, and nobody here has a reference to
//! it. A completion of [`RecvZc`](crate::op::RecvZc) hands a part of it over, as a [`Received`]; dropping that gives the
//! part back through the refill ring. A part is neither written nor handed over again before all that was handed over
//! of its buffer (a page, or `rx_buf_len`) came back. Area and refill ring live for as long as the queue, a part of it,
//! or an export of it does; to the kernel they are pages, which it keeps for as long as it needs them.
//!
//! The refill ring (`refill.rs`) is written under a lock.

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::mm::MapFlags;

use super::memory::{Mapping, Memory};
use super::refill::{Refill, RefillPlaces};
use crate::cqe::Cqe;
use crate::queue::Slots;
use crate::ring::Ring;
use crate::sync::Word;
use crate::user_data::UserData;
use rawring_sys as sys;

/// What a queue is to be: which network card's, with how much memory.
///
/// The area is memory of the process. Memory of a device (a dma-buf, `IORING_ZCRX_AREA_DMABUF`) is not offered: what is
/// received there is at no address of the process, so there are no bytes to hand out, and when the device is done with them
/// is its driver's affair. It takes [`Ring::register_raw`], and a refill ring of one's own.
///
/// ```no_run
/// use rawring::register::{Memory, ZcrxSetup};
/// use rawring::{Ring, op::RecvZc};
/// use std::net::TcpStream;
///
/// let socket = TcpStream::connect("192.0.2.1:80")?;
/// let mut ring = Ring::setup(64).single_issuer().defer_taskrun().cqe32().build()?;
/// let queue = ring.register_zcrx(ZcrxSetup::device(2, 0, Memory::new(1 << 24)?))?;
/// // SAFETY: the socket outlives the receive, whose last completion is waited for.
/// unsafe { ring.push_unchecked(RecvZc::new(&socket, queue.id())) }.expect("room");
/// loop {
///     ring.submit_and_wait(1)?;
///     let Some(cqe) = ring.completions().next() else { continue };
///     // SAFETY: nothing but the receive is in flight, each completion is met once, and the part is gone before the ring.
///     if let Some(part) = unsafe { queue.received(&cqe) } {
///         println!("{} bytes at {:p}", part.len(), part.as_ptr());
///     }
///     if !cqe.more() {
///         break;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a setup does nothing until it is registered"]
pub struct ZcrxSetup {
    device: Option<(u32, u32)>,
    area: Memory,
    refill_entries: u32,
    rx_buf_len: u32,
    events: Option<(UserData, u32)>,
}

impl ZcrxSetup {
    /// Of a network interface, by its index, and one of its receive queues, which the card must keep apart for this: with
    /// headers split from data, and flow steering.
    pub fn device(interface: u32, queue: u32, area: Memory) -> Self {
        ZcrxSetup { device: Some((interface, queue)), ..Self::without_device(area) }
    }

    /// Of no network card: all data is copied into the area. Linux 7.1.
    pub fn without_device(area: Memory) -> Self {
        let refill_entries = (area.len() / rustix::param::page_size()).clamp(1, 32_768) as u32;
        ZcrxSetup { device: None, area, refill_entries, rx_buf_len: 0, events: None }
    }

    /// How many parts the refill ring holds: a power of two (else the next), at most 32768. As many as the area has pages,
    /// if this is not said. More than fit wait here until there is room.
    pub fn refill_entries(mut self, entries: u32) -> Self {
        self.refill_entries = entries;
        self
    }

    /// The size of the buffers that the card fills, instead of a page: a power of two, at least a page. The area has to be
    /// contiguous in pieces of that size, as [huge pages](Memory::huge) are, and the card has to be able to: `EOPNOTSUPP` if
    /// not, and without a card; `EINVAL` for a size that cannot be. Whether the kernel knows this is
    /// `ZCRX_FEATURE_RX_PAGE_SIZE` among the features of [`io_uring_query_zcrx`](sys::io_uring_query_zcrx).
    pub fn rx_buf_len(mut self, len: u32) -> Self {
        self.rx_buf_len = len;
        self
    }

    /// Has the kernel post a completion with this `user_data` when one of `events` happens, once for each until it is
    /// [armed](Ring::arm_zcrx_event) again; its result is the [event](ZcrxEvent). Also has it keep
    /// [statistics](ZcrxQueue::stats). Linux 7.2.
    pub fn events(mut self, user_data: impl Into<UserData>, events: &[ZcrxEvent]) -> Self {
        let mask = events.iter().fold(0, |mask, event| mask | 1_u32.checked_shl(event.0).unwrap_or(0));
        self.events = Some((user_data.into(), mask));
        self
    }
}

/// Something that happened to a queue: the result of a completion of its [events](ZcrxSetup::events).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ZcrxEvent(pub u32);

impl ZcrxEvent {
    /// No buffer was free: too little was given back.
    pub const ALLOC_FAIL: ZcrxEvent = ZcrxEvent(sys::ZCRX_EVENT_ALLOC_FAIL);
    /// Data had to be copied into the area.
    pub const COPY: ZcrxEvent = ZcrxEvent(sys::ZCRX_EVENT_COPY);
}

/// What a queue did without the card.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ZcrxStats {
    /// How often data was copied.
    pub copies: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Why there is no queue. The memory is in it.
#[derive(Debug)]
pub struct ZcrxError {
    /// The setup, to be tried again.
    pub setup: ZcrxSetup,
    /// What the kernel said, or would say of what it was not asked.
    pub errno: Errno,
}

impl std::error::Error for ZcrxError {}

impl fmt::Display for ZcrxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = match self.errno {
            Errno::PERM => "zero-copy receive needs CAP_NET_ADMIN",
            Errno::INVAL => {
                "zero-copy receive needs a ring with defer_taskrun() and completions of 32 bytes (cqe32(), or \
                 cqe_mixed()), an area of whole pages, and a kernel that knows what was asked for: Linux 6.15, 7.1 for a \
                 queue without a network card, 7.2 for events"
            }
            Errno::OPNOTSUPP => {
                "this kernel was built without zero-copy receive, or the network card or its driver cannot do it"
            }
            Errno::NODEV => "there is no such network interface",
            Errno::NOMEM => "no memory, or more locked memory than the user may have (RLIMIT_MEMLOCK)",
            _ => "no queue for zero-copy receive",
        };
        write!(f, "{says} [io_uring_register: {}]", self.errno)
    }
}

/// Room for the words before the entries of a refill ring, and for what comes behind: two cache lines or three.
const HEADER: usize = 4096;

/// What queue, parts and exports share.
pub(crate) struct Shared {
    /// By their numbers.
    areas: Mutex<Vec<Memory>>,
    region: Region,
}

/// The memory that the kernel keeps for the refill ring, and our side of it.
struct Region {
    refill: Mutex<Refill>,
    stats: Option<usize>,
    /// Where all of that is.
    memory: Mapping,
}

/// Offsets in the region.
#[derive(Clone, Copy)]
struct Layout {
    head: usize,
    tail: usize,
    entries: usize,
}

impl Layout {
    fn of(offsets: &sys::io_uring_zcrx_offsets) -> Option<Self> {
        let sys::io_uring_zcrx_offsets { head, tail, rqes, .. } = *offsets;
        let [head, tail, entries] = [head, tail, rqes].map(|offset| offset as usize);
        let fits =
            head % 4 == 0 && tail % 4 == 0 && entries % 8 == 0 && head.max(tail) <= HEADER - 4 && entries <= HEADER;
        fits.then_some(Layout { head, tail, entries })
    }
}

impl Region {
    /// The refill ring is at this layout, with a mask of a power of two.
    fn new(memory: Mapping, layout: Option<Layout>, entries: u32, stats: Option<usize>) -> Self {
        let places = layout.map(|Layout { head, tail, entries: first }| {
            // SAFETY: offsets of a layout are inside of the region and aligned.
            let [head, tail, first] = [head, tail, first].map(|at| unsafe { memory.at().add(at) });
            // SAFETY: words and entries live as long as the region, which outlives `refill`; the kernel accesses the words
            // atomically. There is room for all entries. A cell is laid out as what it holds.
            unsafe {
                RefillPlaces {
                    head: Word::new(head.cast()),
                    tail: Word::new(tail.cast()),
                    entries: Slots::new(first.cast(), entries - 1, 0),
                }
            }
        });
        Region { refill: Mutex::new(Refill::new(places, 0)), stats, memory }
    }

    fn refill(&self) -> MutexGuard<'_, Refill> {
        // Nothing panics under this lock.
        self.refill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue of zero-copy receive, registered with a ring.
///
/// Dropping it takes nothing from the kernel: the queue goes with its ring.
pub struct ZcrxQueue {
    id: u32,
    rx_buf_len: u32,
    shared: Arc<Shared>,
}

/// A queue's handle for other rings, which is a descriptor.
#[derive(Debug)]
pub struct ZcrxExport {
    fd: OwnedFd,
    queue: ZcrxQueue,
}

impl AsFd for ZcrxExport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Bytes that were received, in the memory of their queue. They go back to the kernel when this is dropped.
pub struct Received {
    bytes: NonNull<[u8]>,
    /// With the number of the area.
    offset: u64,
    shared: Arc<Shared>,
}

// SAFETY: the bytes belong to this value, as a box's do, until it is dropped.
unsafe impl Send for Received {}
// SAFETY: through a shared reference the bytes are only read.
unsafe impl Sync for Received {}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range is inside of an area, which `shared` keeps; who took it promised that the kernel handed it
        // over, and so does not write there until it is given back.
        unsafe { self.bytes.as_ref() }
    }
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.shared.region.refill().push(self.offset, self.bytes.len() as u32);
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("offset", &self.offset).field("len", &self.len()).finish()
    }
}

impl ZcrxQueue {
    /// Its number with the ring, which [`RecvZc`](crate::op::RecvZc) takes.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The size of a buffer.
    #[must_use]
    pub fn rx_buf_len(&self) -> u32 {
        self.rx_buf_len
    }

    /// What a completion of [`RecvZc`](crate::op::RecvZc) delivered; `None` if it delivered nothing, or the kernel names
    /// memory that is not in the queue's areas.
    ///
    /// # Safety
    ///
    /// 1. The completion is one that a `RecvZc` of this queue caused, reaped from its ring.
    /// 2. It is used for this once.
    /// 3. The result is dropped before the rings of the queue are.
    #[must_use]
    pub unsafe fn received(&self, cqe: &Cqe) -> Option<Received> {
        let [offset, _] = cqe.big()?;
        let len = usize::try_from(cqe.res()).ok().filter(|&len| len > 0)?;
        let start = usize::try_from(offset & !sys::IORING_ZCRX_AREA_MASK).ok()?;
        let number = (offset >> sys::IORING_ZCRX_AREA_SHIFT) as usize;
        let areas = self.shared.areas.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = areas.get(number)?.part(start..start.checked_add(len)?)?;
        Some(Received { bytes, offset, shared: self.shared.clone() })
    }

    /// Parts that were given back and have no room in the refill ring yet. They go with the next that is given back, or
    /// with [`Ring::flush_zcrx`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.region.refill().waiting()
    }

    /// What was copied until now; `None` for a queue without [events](ZcrxSetup::events).
    #[must_use]
    pub fn stats(&self) -> Option<ZcrxStats> {
        let region = &self.shared.region;
        // SAFETY: the offset is that of a struct behind the entries, inside of the region, aligned; the kernel writes its
        // fields one by one, and this only reads.
        let stats = unsafe { region.memory.at().add(region.stats?).cast::<sys::zcrx_stats>().read_volatile() };
        Some(ZcrxStats { copies: stats.copy_count, bytes: stats.copy_bytes })
    }
}

impl fmt::Debug for ZcrxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZcrxQueue").field("id", &self.id).field("rx_buf_len", &self.rx_buf_len).finish_non_exhaustive()
    }
}

/// The area as the call takes it.
fn area_of(memory: &Memory) -> sys::io_uring_zcrx_area_reg {
    sys::io_uring_zcrx_area_reg {
        addr: memory.as_ptr().expose_provenance() as u64,
        len: memory.len() as u64,
        ..sys::io_uring_zcrx_area_reg::ZERO
    }
}

impl Ring {
    /// Registers a queue of zero-copy receive, with an area that what is received is put into. Linux 6.15.
    ///
    /// The ring needs `DEFER_TASKRUN`, and completions of 32 bytes (`CQE32` or `CQE_MIXED`).
    ///
    /// # Errors
    ///
    /// The setup comes back with the [error](ZcrxError).
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EPERM` | no `CAP_NET_ADMIN` |
    /// | `EINVAL` | another ring than that; an area or a number of entries that cannot be; a reserved `user_data` for events; a kernel that does not know this, or not what was asked for |
    /// | `ENODEV` | no such interface |
    /// | `EOPNOTSUPP` | a kernel without this, or a card that cannot do it |
    /// | `ENOMEM` | no memory, or more locked memory than the user may have (`RLIMIT_MEMLOCK`) |
    /// | `EEXIST` | the ring belongs to another thread (`SINGLE_ISSUER`) |
    /// | `EBADF` | a ring without descriptor that another thread made |
    pub fn register_zcrx(&self, setup: ZcrxSetup) -> Result<ZcrxQueue, ZcrxError> {
        match self.make_zcrx(&setup) {
            Ok((region, id, rx_buf_len)) => {
                let shared = Arc::new(Shared { areas: Mutex::new(vec![setup.area]), region });
                self.zcrx.add(id, &shared);
                Ok(ZcrxQueue { id, rx_buf_len, shared })
            }
            Err(errno) => Err(ZcrxError { setup, errno }),
        }
    }

    fn make_zcrx(&self, setup: &ZcrxSetup) -> Result<(Region, u32, u32), Errno> {
        let entries = setup.refill_entries.checked_next_power_of_two().filter(|entries| *entries <= 32_768);
        let entries = entries.filter(|_| setup.refill_entries > 0).ok_or(Errno::INVAL)?;
        let (user_data, type_mask) = setup.events.unwrap_or_default();
        if user_data.is_reserved() {
            return Err(Errno::INVAL);
        }
        let used = HEADER + entries as usize * size_of::<sys::io_uring_zcrx_rqe>();
        let len = (used + size_of::<sys::zcrx_stats>()).next_multiple_of(rustix::param::page_size());
        let region = Mapping::anonymous(len, MapFlags::PRIVATE)?;
        let stats = setup.events.map(|_| used);
        let mut desc = sys::io_uring_region_desc {
            user_addr: region.at().as_ptr().expose_provenance() as u64,
            size: len as u64,
            flags: sys::IORING_MEM_REGION_TYPE_USER,
            ..sys::io_uring_region_desc::ZERO
        };
        let mut area = area_of(&setup.area);
        let mut events = sys::zcrx_event_desc {
            user_data: user_data.0,
            type_mask,
            flags: sys::ZCRX_EVENT_DESC_FLAG_STATS,
            stats_offset: used as u64,
            ..sys::zcrx_event_desc::ZERO
        };
        let (if_idx, if_rxq) = setup.device.unwrap_or_default();
        let mut arg = sys::io_uring_zcrx_ifq_reg {
            if_idx,
            if_rxq,
            rq_entries: entries,
            flags: if setup.device.is_none() { sys::ZCRX_REG_NODEV } else { 0 },
            area_ptr: (&raw mut area).expose_provenance() as u64,
            region_ptr: (&raw mut desc).expose_provenance() as u64,
            rx_buf_len: setup.rx_buf_len,
            event_desc: stats.map_or(0, |_| (&raw mut events).expose_provenance() as u64),
            ..sys::io_uring_zcrx_ifq_reg::ZERO
        };
        // SAFETY: the structs are valid, and read and written during the call. The kernel keeps the pages of two mappings
        // for itself: of the region, which only `Region` accesses, and of the area, to which nobody has a reference: the
        // setup that owns it is borrowed until this returns, and on success moved into the queue for good.
        unsafe { self.register_raw(sys::IORING_REGISTER_ZCRX_IFQ, (&raw mut arg).cast(), 1) }?;
        let layout = Layout::of(&arg.offsets).filter(|_| arg.rq_entries == entries);
        Ok((Region::new(region, layout, entries, stats), arg.zcrx_id, arg.rx_buf_len))
    }

    /// Adds memory to a queue: what is received may be put there, too. Linux 7.3.
    ///
    /// # Errors
    ///
    /// The memory comes back. As for [`register_zcrx`](Self::register_zcrx); also `ENXIO` if the ring has no such queue,
    /// `EOPNOTSUPP` for a kernel without this, and `EINVAL` for one without any control of queues (before 6.19).
    pub fn add_zcrx_area(&self, queue: &ZcrxQueue, area: Memory) -> Result<(), (Memory, Errno)> {
        let mut areas = queue.shared.areas.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reg = area_of(&area);
        let area_ptr = (&raw mut reg).expose_provenance() as u64;
        let arg = sys::zcrx_ctrl_arg { zc_area: sys::zcrx_ctrl_add_area { area_ptr, ..sys::zcrx_ctrl_add_area::ZERO } };
        let added = self.zcrx_ctrl(queue, sys::ZCRX_CTRL_ADD_AREA, arg);
        match added {
            // The kernel numbers them in order. Were it to number them otherwise, no part of this one would be found.
            Ok(_) if reg.rq_area_token == (areas.len() as u64) << sys::IORING_ZCRX_AREA_SHIFT => areas.push(area),
            // It has the memory, and nobody else may.
            Ok(_) => std::mem::forget(area),
            Err(errno) => return Err((area, errno)),
        }
        Ok(())
    }

    /// Has the kernel take in the refill ring now, as a queue without a network card needs it. Linux 6.19.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the ring has no such queue; `EINVAL` for a kernel without this; `EEXIST` and `EBADF` as for
    /// [`register_zcrx`](Self::register_zcrx).
    pub fn flush_zcrx(&self, queue: &ZcrxQueue) -> Result<(), Errno> {
        loop {
            let flush = sys::zcrx_ctrl_arg { zc_flush: sys::zcrx_ctrl_flush_rq::ZERO };
            self.zcrx_ctrl(queue, sys::ZCRX_CTRL_FLUSH_RQ, flush)?;
            let mut refill = queue.shared.region.refill();
            let before = refill.waiting();
            refill.publish();
            if refill.waiting() == before {
                return Ok(());
            }
        }
    }

    /// Has the kernel report an event of a queue again that it has reported. Linux 7.2.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it has not; else as of [`flush_zcrx`](Self::flush_zcrx), and `EOPNOTSUPP` for a kernel without this.
    pub fn arm_zcrx_event(&self, queue: &ZcrxQueue, event: ZcrxEvent) -> Result<(), Errno> {
        let arm = sys::zcrx_ctrl_arm_event { event_type: event.0, ..sys::zcrx_ctrl_arm_event::ZERO };
        self.zcrx_ctrl(queue, sys::ZCRX_CTRL_ARM_EVENT, sys::zcrx_ctrl_arg { zc_arm_event: arm }).map(drop)
    }

    /// Makes a descriptor of a queue, by which other rings can [share](Self::import_zcrx) it. Linux 6.19.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the process has as many descriptors as it may have; else as of [`flush_zcrx`](Self::flush_zcrx).
    pub fn export_zcrx(&self, queue: &ZcrxQueue) -> Result<ZcrxExport, Errno> {
        let export = sys::zcrx_ctrl_arg { zc_export: sys::zcrx_ctrl_export::ZERO };
        let answer = self.zcrx_ctrl(queue, sys::ZCRX_CTRL_EXPORT, export)?;
        // SAFETY: the kernel filled this member; all of them are integers.
        let fd = unsafe { answer.zc_export.zcrx_fd };
        // SAFETY: the kernel has just made it, and nobody else knows of it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let ZcrxQueue { id, rx_buf_len, ref shared } = *queue;
        Ok(ZcrxExport { fd, queue: ZcrxQueue { id, rx_buf_len, shared: shared.clone() } })
    }

    /// Shares a queue of another ring: receives of this ring can name it. Area and refill ring are the same. Linux 6.19.
    ///
    /// # Errors
    ///
    /// As [`register_zcrx`](Self::register_zcrx), without a setup to come back.
    pub fn import_zcrx(&self, export: &ZcrxExport) -> Result<ZcrxQueue, Errno> {
        let mut arg = sys::io_uring_zcrx_ifq_reg {
            if_idx: export.fd.as_raw_fd() as u32,
            flags: sys::ZCRX_REG_IMPORT,
            ..sys::io_uring_zcrx_ifq_reg::ZERO
        };
        // SAFETY: the struct is read and written during the call, and names no memory.
        unsafe { self.register_raw(sys::IORING_REGISTER_ZCRX_IFQ, (&raw mut arg).cast(), 1) }?;
        let ZcrxQueue { rx_buf_len, ref shared, .. } = export.queue;
        self.zcrx.add(arg.zcrx_id, shared);
        Ok(ZcrxQueue { id: arg.zcrx_id, rx_buf_len, shared: shared.clone() })
    }

    /// Called with arguments whose pointers are valid for the call, and name memory that may be given to the kernel.
    fn zcrx_ctrl(&self, queue: &ZcrxQueue, op: u32, arg: sys::zcrx_ctrl_arg) -> Result<sys::zcrx_ctrl_arg, Errno> {
        if !self.zcrx.has(queue.id, &queue.shared) {
            // To the kernel, the number may be that of another queue.
            return Err(Errno::NXIO);
        }
        let mut ctrl = sys::zcrx_ctrl { zcrx_id: queue.id, op, arg, ..sys::zcrx_ctrl::ZERO };
        // SAFETY: the struct is read and written during the call. Only a new area names memory: a mapping that its only
        // owner has given for this, and gets back if the call fails.
        unsafe { self.register_raw(sys::IORING_REGISTER_ZCRX_CTRL, (&raw mut ctrl).cast(), 0) }?;
        Ok(ctrl.arg)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn item_38_a_queue_of_another_ring_is_not_taken_for_ones_own() {
        let shared = || {
            let memory = Mapping::anonymous(HEADER, MapFlags::PRIVATE).expect("memory");
            Arc::new(Shared { areas: Mutex::default(), region: Region::new(memory, None, 1, None) })
        };
        let ring = Ring::new(1).expect("a ring");
        // The kernel would not mind: it has the number 0 on each ring.
        ring.zcrx.add(0, &shared());
        let queue = ZcrxQueue { id: 0, rx_buf_len: 0, shared: shared() };
        assert_eq!(ring.flush_zcrx(&queue), Err(Errno::NXIO));
        assert_eq!(ring.export_zcrx(&queue).err(), Some(Errno::NXIO));
        let area = Memory::new(HEADER).expect("memory");
        let (area, errno) = ring.add_zcrx_area(&queue, area).expect_err("another ring's");
        assert_eq!((area.len(), errno), (HEADER, Errno::NXIO));
    }
}
