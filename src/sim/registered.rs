//! Registered buffers: the table, and who still uses what was in it.
//!
//! A slot's buffer is an address range. An operation that has started keeps the buffer that its slot had; the buffer is
//! over, and its tag posted, when the slot let go of it and the last such operation has ended. Unregistering does not
//! wait for that, as kernels before 6.13 do; and as there, the tags of a whole table are lost then.

use std::sync::Arc;

use rustix::io::Errno;

use super::request::RingId;
use super::user;
use super::world::World;
use crate::version::Version;
use rawring_sys as sys;

/// The most slots.
const MAX: usize = 1 << 14;

/// The release since which tags tell of tables that go, too.
const TAGS_OF_TABLES: Version = Version::new(6, 13);

/// A buffer, for as long as anybody uses it.
#[derive(Debug)]
pub(super) struct Node {
    address: u64,
    len: u64,
    tag: u64,
}

impl Node {
    /// Whether a range is inside of it.
    pub(super) fn contains(&self, address: u64, len: u64) -> bool {
        let end = address.checked_add(len);
        address >= self.address && end.is_some_and(|end| end <= self.address + self.len)
    }
}

/// The table of a ring.
#[derive(Debug, Default)]
pub(super) struct Registered {
    slots: Vec<Option<Arc<Node>>>,
    /// Buffers with a tag that no slot has any more.
    leaving: Vec<Arc<Node>>,
}

impl Registered {
    pub(super) fn get(&self, index: u16) -> Option<Arc<Node>> {
        self.slots.get(usize::from(index))?.clone()
    }

    fn replace(&mut self, index: usize, node: Option<Arc<Node>>) {
        let old = std::mem::replace(&mut self.slots[index], node);
        self.leaving.extend(old.filter(|node| node.tag != 0));
    }

    /// The tags of buffers that are over.
    pub(super) fn over(&mut self) -> Vec<u64> {
        let (over, used) = std::mem::take(&mut self.leaving).into_iter().partition(|node| Arc::strong_count(node) == 1);
        self.leaving = used;
        let over: Vec<Arc<Node>> = over;
        over.iter().map(|node| node.tag).collect()
    }
}

impl World {
    /// One element of the user's arrays.
    ///
    /// # Safety
    ///
    /// `vecs` is the address of that many elements and one more, and `tags` is 0 or so, too.
    unsafe fn element(&self, vecs: u64, tags: u64, n: usize) -> Result<Option<Arc<Node>>, Errno> {
        // SAFETY: the caller's promise; any numbers make an iovec.
        let [base, len]: [usize; 2] = unsafe { user::read_struct(vecs + (n * size_of::<libc::iovec>()) as u64) }?;
        // SAFETY: the caller's promise.
        let tag = if tags == 0 { 0 } else { unsafe { user::read_struct(tags + n as u64 * 8) }? };
        match (base, len) {
            (0, 0) if tag != 0 => Err(Errno::INVAL),
            (0, 0) => Ok(None),
            (0, _) | (_, 0) => Err(Errno::FAULT),
            _ => Ok(Some(Arc::new(Node { address: base as u64, len: len as u64, tag }))),
        }
    }

    /// `REGISTER_BUFFERS`, and `REGISTER_BUFFERS2` with tags.
    ///
    /// # Safety
    ///
    /// As for [`World::element`], of `count` elements; or `vecs` is 0.
    unsafe fn register_buffers(&mut self, id: RingId, vecs: u64, count: usize, tags: u64) -> Result<u32, Errno> {
        if !self.ring(id).registered.slots.is_empty() {
            return Err(Errno::BUSY);
        }
        if count == 0 || count > MAX {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's promise.
        let element = |n| if vecs == 0 { Ok(None) } else { unsafe { self.element(vecs, tags, n) } };
        let slots = (0..count).map(element).collect::<Result<_, _>>()?;
        self.ring(id).registered.slots = slots;
        Ok(0)
    }

    /// The registrations of buffers; `None` for others.
    ///
    /// # Safety
    ///
    /// As for [`sys::io_uring_register`].
    pub(super) unsafe fn buffers(&mut self, id: RingId, op: u32, arg: u64, count: u32) -> Option<Result<u32, Errno>> {
        let result = match op {
            // SAFETY: the caller's promise.
            sys::IORING_REGISTER_BUFFERS if arg != 0 => unsafe { self.register_buffers(id, arg, count as usize, 0) },
            sys::IORING_REGISTER_BUFFERS => Err(Errno::FAULT),
            sys::IORING_REGISTER_BUFFERS2 if count as usize == size_of::<sys::io_uring_rsrc_register>() => {
                // SAFETY: the caller's promise.
                unsafe { self.register_buffers2(id, arg) }
            }
            sys::IORING_REGISTER_BUFFERS_UPDATE if count as usize == size_of::<sys::io_uring_rsrc_update2>() => {
                // SAFETY: the caller's promise.
                unsafe { self.update_buffers(id, arg) }
            }
            sys::IORING_UNREGISTER_BUFFERS if arg == 0 && count == 0 => self.unregister_buffers(id),
            _ => return None,
        };
        self.post_tags(id);
        Some(result)
    }

    /// # Safety
    ///
    /// `arg` is the address of the struct, which names arrays as it says.
    unsafe fn register_buffers2(&mut self, id: RingId, arg: u64) -> Result<u32, Errno> {
        // SAFETY: the caller's promise.
        let sys::io_uring_rsrc_register { nr, flags, resv2, data, tags } = unsafe { user::read_struct(arg) }?;
        let sparse = flags == sys::IORING_RSRC_REGISTER_SPARSE;
        if nr == 0 || resv2 != 0 || flags != 0 && !sparse || sparse && data != 0 {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's promise.
        unsafe { self.register_buffers(id, data, nr as usize, tags) }
    }

    /// # Safety
    ///
    /// As for [`World::register_buffers2`].
    unsafe fn update_buffers(&mut self, id: RingId, arg: u64) -> Result<u32, Errno> {
        // SAFETY: the caller's promise.
        let sys::io_uring_rsrc_update2 { offset, resv, data, tags, nr, resv2 } = unsafe { user::read_struct(arg) }?;
        if nr == 0 || resv != 0 || resv2 != 0 {
            return Err(Errno::INVAL);
        }
        let end = offset.checked_add(nr).ok_or(Errno::OVERFLOW)? as usize;
        let table = self.ring(id).registered.slots.len();
        if table == 0 {
            return Err(Errno::NXIO);
        }
        if end > table {
            return Err(Errno::INVAL);
        }
        for done in 0..nr {
            // SAFETY: the caller's promise.
            match unsafe { self.element(data, tags, done as usize) } {
                Ok(node) => self.ring(id).registered.replace((offset + done) as usize, node),
                Err(errno) => return if done == 0 { Err(errno) } else { Ok(done) },
            }
        }
        Ok(nr)
    }

    fn unregister_buffers(&mut self, id: RingId) -> Result<u32, Errno> {
        let tells = self.config.release().is(TAGS_OF_TABLES);
        let registered = &mut self.ring(id).registered;
        if registered.slots.is_empty() {
            return Err(Errno::NXIO);
        }
        for index in 0..registered.slots.len() {
            registered.replace(index, None);
        }
        registered.slots.clear();
        if !tells {
            registered.leaving.clear();
        }
        Ok(0)
    }
}
