//! The table of registered buffers: registering, updating, cloning and unregistering.
//!
//! Who owns what, when: the kernel looks the pages of a buffer up when it is registered, and from then on takes an
//! address for a place in those pages, whatever is mapped there. An operation that is in flight keeps the pages that
//! its slot had when it started. So the memory must keep its addresses for as long as it is in the table of any ring.
//! For memory of ours, each ring holds the mapping of every slot until the slot is emptied, and gives what it holds to
//! the rings that clone the slot; who uses the memory meanwhile is ruled by borrows, as for all other buffers. For memory
//! of others the caller promises it.
//!
//! Invariant: a ring's record of its slots is changed under its lock, together with the kernel's.

use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::buffer::RegisteredBuffer;
use super::buffer_error::{BufferCause, BufferError, NotInside};
use super::memory::{Mapping, Memory};
use super::tags::Tag;
use crate::handle::Handle;
use crate::ring::Ring;
use rawring_sys as sys;

/// What a ring's slots hold, as far as it was registered by the calls of this file.
#[derive(Default)]
pub(crate) struct BufferTable(Mutex<Vec<Option<Slot>>>);

#[derive(Clone)]
struct Slot {
    addresses: Range<usize>,
    /// Keeps the addresses from meaning anything else. `None` for memory of others.
    _held: Option<Arc<Mapping>>,
}

impl Slot {
    fn of(memory: &Memory) -> Self {
        Slot {
            addresses: memory.as_ptr_range().start.addr()..memory.as_ptr_range().end.addr(),
            _held: Some(memory.hold()),
        }
    }
}

impl BufferTable {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `len` bytes from `addr` are inside of the buffer `index`.
    pub(crate) fn check(&self, index: u16, addr: usize, len: usize) -> Result<(), NotInside> {
        let table = self.lock();
        let buffer = table.get(usize::from(index)).and_then(Option::as_ref).map(|slot| slot.addresses.clone());
        let inside =
            |buffer: &Range<usize>| buffer.start <= addr && addr.checked_add(len).is_some_and(|end| end <= buffer.end);
        if buffer.as_ref().is_some_and(inside) { Ok(()) } else { Err(NotInside { index, addr, len, buffer }) }
    }
}

/// A buffer to register: memory, and with a tag what to be told when the kernel is done with it.
#[derive(Debug)]
pub struct NewBuffer {
    /// The memory.
    pub memory: Memory,
    /// What comes back in a [completion](crate::Cqe::tag) when the slot let go of the memory *and* the last operation on
    /// it has ended. Before Linux 6.13 it is lost when the [whole table](Ring::unregister_buffers) goes.
    pub tag: Option<Tag>,
}

impl From<Memory> for NewBuffer {
    fn from(memory: Memory) -> Self {
        NewBuffer { memory, tag: None }
    }
}

impl Memory {
    /// For registering with a tag; see [`NewBuffer::tag`].
    pub fn tagged(self, tag: Tag) -> NewBuffer {
        NewBuffer { memory: self, tag: Some(tag) }
    }
}

/// Which slots to clone, and to where. See [`Ring::clone_buffers`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CloneBuffers {
    slots: Option<Range<u32>>,
    first: u32,
    replace: bool,
}

impl CloneBuffers {
    /// The whole table, to the same slots.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// These slots of the source, to those from 0 on. Linux 6.13.
    #[must_use]
    pub fn slots(slots: Range<u32>) -> Self {
        CloneBuffers { slots: Some(slots), ..Self::default() }
    }

    /// To the slots from `first` on; goes with [`slots`](Self::slots) only.
    #[must_use]
    pub fn to(mut self, first: u32) -> Self {
        self.first = first;
        self
    }

    /// Into the table that the ring has, replacing what is in those slots. Linux 6.13.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }
}

/// The entry of an array of buffers that leaves a slot empty.
const EMPTY: libc::iovec = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };

/// The kernel's array, and its array of tags where there is one.
struct Arrays {
    vecs: Vec<libc::iovec>,
    tags: Vec<Option<Tag>>,
}

impl Arrays {
    fn of(buffers: &[NewBuffer]) -> Self {
        let mut arrays = Arrays { vecs: Vec::with_capacity(buffers.len()), tags: Vec::new() };
        for NewBuffer { memory, .. } in buffers {
            let base = memory.as_ptr().expose_provenance();
            let iov_base = core::ptr::with_exposed_provenance_mut(base);
            arrays.vecs.push(libc::iovec { iov_base, iov_len: memory.len() });
        }
        if buffers.iter().any(|buffer| buffer.tag.is_some()) {
            arrays.tags = buffers.iter().map(|buffer| buffer.tag).collect();
        }
        arrays
    }

    /// Buffers of others.
    fn borrowed(buffers: &[NonNull<[u8]>], tags: &[Option<Tag>]) -> Result<Self, Errno> {
        if !(tags.is_empty() || tags.len() == buffers.len()) {
            return Err(Errno::INVAL);
        }
        let vec = |buffer: &NonNull<[u8]>| libc::iovec { iov_base: buffer.as_ptr().cast(), iov_len: buffer.len() };
        Ok(Arrays { vecs: buffers.iter().map(vec).collect(), tags: tags.to_vec() })
    }

    /// The addresses of the arrays from element `done` on: that of no tags is 0.
    fn from(&self, done: usize) -> (u64, u64) {
        let vecs = self.vecs[done..].as_ptr().expose_provenance() as u64;
        let tags = if self.tags.is_empty() { 0 } else { self.tags[done..].as_ptr().expose_provenance() as u64 };
        (vecs, tags)
    }
}

/// The bytes that the kernel counts as locked, at least: whole pages, and each buffer by itself.
fn needed<'b>(buffers: impl IntoIterator<Item = &'b NewBuffer>) -> u64 {
    let pages: u64 = buffers.into_iter().map(|buffer| buffer.memory.pages()).sum();
    pages * rustix::param::page_size() as u64
}

impl Ring {
    /// Makes the table of registered buffers: one slot for each of `buffers`, in their order.
    ///
    /// The kernel looks up and pins the pages now, once, instead of in every operation. Operations that name a slot
    /// ([`ReadFixed`](crate::op::ReadFixed) and its kin) take the buffers that this returns. Linux 5.1; in all states
    /// of a ring, also a disabled one.
    ///
    /// ```
    /// use rawring::{Ring, op::{ReadFixed, WriteFixed}, register::Memory};
    ///
    /// # let path = std::env::temp_dir().join(format!("rawring-buffers-{}", std::process::id()));
    /// # let file = std::fs::File::options().read(true).write(true).create(true).open(&path)?;
    /// # std::fs::remove_file(path)?;
    /// let mut ring = Ring::new(8)?;
    /// let mut buffers = ring.register_buffers([Memory::new(4096)?, Memory::new(4096)?])?;
    /// buffers[0][..5].copy_from_slice(b"hello");
    /// let [first, second] = &mut buffers[..] else { unreachable!() };
    /// ring.scope(|s| {
    ///     s.push(WriteFixed::new(&file, first.part(..5).expect("inside")).offset(0).link()).expect("room");
    ///     s.push(ReadFixed::new(&file, second).offset(0)).expect("room");
    ///     s.finish(|cqe| assert_eq!(cqe.result(), Ok(5)))
    /// })??;
    /// assert_eq!(&buffers[1][..5], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing was registered, and everything is in the [error](BufferError).
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBUSY` | the ring has a table: [update](Ring::update_buffers) it, or [unregister](Ring::unregister_buffers) it first |
    /// | `EINVAL` | no buffers, or more than 16384 |
    /// | `ENOMEM` | more locked memory than the user may have (`RLIMIT_MEMLOCK`), or no memory |
    /// | `EEXIST` | the ring belongs to another thread (`SINGLE_ISSUER`) |
    /// | `EBADF` | a ring without descriptor that another thread made |
    pub fn register_buffers<B: Into<NewBuffer>>(
        &self,
        buffers: impl IntoIterator<Item = B>,
    ) -> Result<Vec<RegisteredBuffer>, BufferError> {
        let buffers: Vec<NewBuffer> = buffers.into_iter().map(Into::into).collect();
        let arrays = Arrays::of(&buffers);
        let mut table = self.buffers.lock();
        // SAFETY: the mappings keep their addresses: `table` holds each until its slot is emptied.
        if let Err(errno) = unsafe { self.make_table(&arrays) } {
            let cause = BufferCause::of_registering(errno, buffers.len(), || needed(&buffers));
            return Err(BufferError::new(cause, errno, Vec::new(), buffers));
        }
        *table = buffers.iter().map(|buffer| Some(Slot::of(&buffer.memory))).collect();
        // The kernel took no more than 16384.
        let registered = |(index, buffer): (u16, NewBuffer)| RegisteredBuffer::new(buffer.memory, index);
        Ok((0..).zip(buffers).map(registered).collect())
    }

    /// Makes the table with memory of others.
    ///
    /// # Errors
    ///
    /// As [`register_buffers`](Self::register_buffers); also `EINVAL` for another number of tags than of
    /// buffers, and `EFAULT` for memory that cannot be written. Nothing was registered.
    ///
    /// # Safety
    ///
    /// 1. From now until the slot was emptied, replaced or unregistered, on this ring and on every ring that it was
    ///    cloned to, or those rings are gone, the addresses of each buffer mean the same memory as now. It is not
    ///    unmapped, not moved (as `realloc` and growing a `Vec` may do, by `mremap(2)`), and nothing else is mapped
    ///    there: the kernel would go on to use the pages that were there, wherever those are by then.
    pub unsafe fn register_borrowed_buffers(
        &self,
        buffers: &[NonNull<[u8]>],
        tags: &[Option<Tag>],
    ) -> Result<(), Errno> {
        let arrays = Arrays::borrowed(buffers, tags)?;
        let mut table = self.buffers.lock();
        // SAFETY: the caller's promise.
        unsafe { self.make_table(&arrays) }?;
        *table = buffers.iter().map(borrowed_slot).collect();
        Ok(())
    }

    /// Makes a table of `count` empty slots, to be filled by [`update_buffers`](Self::update_buffers). Operations on
    /// an empty slot fail with `EFAULT`.
    ///
    /// # Errors
    ///
    /// As [`register_buffers`](Self::register_buffers).
    pub fn register_sparse_buffers(&self, count: u32) -> Result<(), Errno> {
        // The kernel's own limit, before an array is made for a number that may be any.
        const MAX: u32 = 1 << 16;
        if count > MAX {
            return Err(Errno::INVAL);
        }
        // The flag for sparse tables came with Linux 5.19; an array of nothing does the same on all kernels.
        let arrays = Arrays { vecs: vec![EMPTY; count as usize], tags: Vec::new() };
        let mut table = self.buffers.lock();
        // SAFETY: no memory is registered.
        unsafe { self.make_table(&arrays) }?;
        *table = vec![None; count as usize];
        Ok(())
    }

    /// # Safety
    ///
    /// As for [`Ring::register_borrowed_buffers`].
    unsafe fn make_table(&self, arrays: &Arrays) -> Result<(), Errno> {
        let (data, tags) = arrays.from(0);
        let count = u32::try_from(arrays.vecs.len()).map_err(|_| Errno::INVAL)?;
        let result = if tags == 0 {
            let vecs = arrays.vecs.as_ptr().cast_mut().cast();
            // SAFETY: an array of as many elements, read during the call; what the kernel keeps is the caller's promise.
            unsafe { self.register_raw(sys::IORING_REGISTER_BUFFERS, vecs, count) }
        } else {
            let mut arg = sys::io_uring_rsrc_register { nr: count, data, tags, ..sys::io_uring_rsrc_register::ZERO };
            let size = size_of_val(&arg) as u32;
            // SAFETY: the struct and both arrays are read during the call; else as above.
            unsafe { self.register_raw(sys::IORING_REGISTER_BUFFERS2, (&raw mut arg).cast(), size) }
        };
        result.map(drop)
    }

    /// Puts buffers into the slots from `first` on. What was there goes when the operations on it have ended; its tag, if
    /// it has one, says when. Linux 5.13.
    ///
    /// # Errors
    ///
    /// The [error](BufferError) has the buffers that were registered before it, and the others back; the slots of those
    /// are as before.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `ENXIO` | the ring has no table: [make one](Ring::register_sparse_buffers) |
    /// | `EINVAL` | the table ends before |
    ///
    /// Others as of [`register_buffers`](Self::register_buffers).
    pub fn update_buffers<B: Into<NewBuffer>>(
        &self,
        first: u32,
        buffers: impl IntoIterator<Item = B>,
    ) -> Result<Vec<RegisteredBuffer>, BufferError> {
        let mut buffers: Vec<NewBuffer> = buffers.into_iter().map(Into::into).collect();
        let arrays = Arrays::of(&buffers);
        let mut table = self.buffers.lock();
        let mut registered = Vec::with_capacity(buffers.len());
        while !buffers.is_empty() {
            let at = first.saturating_add(registered.len() as u32);
            // SAFETY: the mappings keep their addresses: `table` holds each until its slot is emptied.
            match unsafe { self.update_table(at, &arrays, registered.len()) } {
                Ok(done) => {
                    for (index, NewBuffer { memory, tag: _ }) in (at..).zip(buffers.drain(..done as usize)) {
                        set(&mut table, index, Some(Slot::of(&memory)));
                        // Tables have at most 16384 slots.
                        registered.push(RegisteredBuffer::new(memory, index as u16));
                    }
                }
                Err(errno) => {
                    let cause = BufferCause::of_updating(errno, at, buffers.len(), table.len(), || needed(&buffers));
                    return Err(BufferError::new(cause, errno, registered, buffers));
                }
            }
        }
        Ok(registered)
    }

    /// As [`update_buffers`](Self::update_buffers), with memory of others. Returns how many were registered, which may be
    /// fewer: the next call says why.
    ///
    /// # Errors
    ///
    /// As [`update_buffers`](Self::update_buffers) and [`register_borrowed_buffers`](Self::register_borrowed_buffers).
    ///
    /// # Safety
    ///
    /// As for [`register_borrowed_buffers`](Self::register_borrowed_buffers).
    pub unsafe fn update_borrowed_buffers(
        &self,
        first: u32,
        buffers: &[NonNull<[u8]>],
        tags: &[Option<Tag>],
    ) -> Result<u32, Errno> {
        let arrays = Arrays::borrowed(buffers, tags)?;
        let mut table = self.buffers.lock();
        // SAFETY: the caller's promise.
        let done = unsafe { self.update_table(first, &arrays, 0) }?;
        for (index, buffer) in (first..).zip(&buffers[..done as usize]) {
            set(&mut table, index, borrowed_slot(buffer));
        }
        Ok(done)
    }

    /// Empties slots. Their memory goes when the operations on it have ended.
    ///
    /// # Errors
    ///
    /// As [`update_buffers`](Self::update_buffers); also `EINVAL` for a range that is empty.
    pub fn clear_buffers(&self, slots: Range<u32>) -> Result<(), Errno> {
        let mut table = self.buffers.lock();
        let arrays = Arrays { vecs: vec![EMPTY; slots.len().min(table.len() + 1)], tags: Vec::new() };
        // SAFETY: no memory is registered.
        let done = unsafe { self.update_table(slots.start, &arrays, 0) }?;
        for index in (slots.start..).take(done as usize) {
            set(&mut table, index, None);
        }
        Ok(())
    }

    /// Registers the elements from `done` on in the slots from `first` on.
    ///
    /// # Safety
    ///
    /// As for [`Ring::register_borrowed_buffers`].
    unsafe fn update_table(&self, first: u32, arrays: &Arrays, done: usize) -> Result<u32, Errno> {
        let (data, tags) = arrays.from(done);
        let nr = u32::try_from(arrays.vecs.len() - done).map_err(|_| Errno::INVAL)?;
        let mut arg = sys::io_uring_rsrc_update2 { offset: first, data, tags, nr, ..sys::io_uring_rsrc_update2::ZERO };
        let size = size_of_val(&arg) as u32;
        // SAFETY: the struct and both arrays are read during the call; what the kernel keeps is the caller's promise.
        let done = unsafe { self.register_raw(sys::IORING_REGISTER_BUFFERS_UPDATE, (&raw mut arg).cast(), size) }?;
        Ok(done.min(nr))
    }

    /// Registers what is in the slots of another ring here, too: the pages are shared, and neither looked up nor
    /// counted again. Tags stay behind. Linux 6.12.
    ///
    /// The buffers of the source serve for operations here as well, as
    /// [`FixedBuf::new`](crate::operand::FixedBuf::new)`(&buffer[..], index)` with the index that they have here.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBUSY` | the ring has a table, and [`CloneBuffers::replace`] was not said |
    /// | `ENXIO` | the source has none |
    /// | `EINVAL` | no slots, more than the source has, beyond slot 16384, [`CloneBuffers::to`] without slots; rings of which one was made with `CAP_IPC_LOCK` and one without; a kernel without this |
    /// | `EOVERFLOW` | slots beyond the source's table |
    /// | `EEXIST` | one of the rings belongs to another thread (`SINGLE_ISSUER`) |
    /// | `EBADF` | a ring without descriptor that another thread made |
    pub fn clone_buffers(&self, source: &Ring, what: CloneBuffers) -> Result<(), Errno> {
        let CloneBuffers { slots, first, replace } = what;
        if slots.as_ref().is_some_and(Range::is_empty) {
            // The kernel takes 0 for all.
            return Err(Errno::INVAL);
        }
        source.handle.check()?;
        let (src_fd, named) = match &source.handle {
            Handle::Fd(fd) => (fd.as_raw_fd(), 0),
            Handle::Registered(place) => (place.index(), sys::IORING_REGISTER_SRC_REGISTERED),
        };
        let mut arg = sys::io_uring_clone_buffers {
            src_fd: src_fd as u32,
            flags: named | if replace { sys::IORING_REGISTER_DST_REPLACE } else { 0 },
            src_off: slots.as_ref().map_or(0, |slots| slots.start),
            dst_off: first,
            nr: slots.as_ref().map_or(0, |slots| slots.end - slots.start),
            ..sys::io_uring_clone_buffers::ZERO
        };
        // In one order, so that two threads that clone in both directions do not wait for each other.
        let (ours, theirs) = (&raw const self.buffers, &raw const source.buffers);
        let before = (theirs < ours).then(|| source.buffers.lock());
        let mut table = self.buffers.lock();
        let after = (theirs > ours).then(|| source.buffers.lock());
        // SAFETY: the argument is read during the call. The source's slots keep their addresses, and `table` holds the
        // mappings from here on; for memory of others, who registered it promised the same of clones.
        unsafe { self.register_raw(sys::IORING_REGISTER_CLONE_BUFFERS, (&raw mut arg).cast(), 1) }?;
        let cloned = {
            let source = before.as_ref().or(after.as_ref()).map_or(&*table, |theirs| &**theirs);
            let slots = slots.map_or(0..source.len(), |slots| slots.start as usize..slots.end as usize);
            slots.map(|slot| source.get(slot).cloned().flatten()).collect::<Vec<_>>()
        };
        for (index, slot) in (first..).zip(cloned) {
            set(&mut table, index, slot);
        }
        Ok(())
    }

    /// Empties all slots and takes the table away. The memory goes when the operations on it have ended; tags say when.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is no table; `EEXIST` and `EBADF` as for [`register_buffers`](Self::register_buffers).
    pub fn unregister_buffers(&self) -> Result<(), Errno> {
        let mut table = self.buffers.lock();
        // SAFETY: the operation takes no argument, and ends the kernel's use of memory.
        unsafe { self.register_raw(sys::IORING_UNREGISTER_BUFFERS, core::ptr::null_mut(), 0) }?;
        table.clear();
        Ok(())
    }
}

fn borrowed_slot(buffer: &NonNull<[u8]>) -> Option<Slot> {
    let start = buffer.cast::<u8>().addr().get();
    Some(Slot { addresses: start..start.saturating_add(buffer.len()), _held: None })
}

/// Notes what is in a slot that the kernel has. It may be one more than is known, where a table was made by a raw call.
fn set(table: &mut Vec<Option<Slot>>, index: u32, slot: Option<Slot>) {
    let index = index as usize;
    if index >= table.len() {
        table.resize(index + 1, None);
    }
    table[index] = slot;
}
