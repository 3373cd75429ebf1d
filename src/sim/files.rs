//! The table of registered files of a simulated ring.
//!
//! Who owns what, when: a slot has a reference to its file, and so has every request that started with it. What is taken
//! out of the table with a tag leaves when the last of those requests is over; then the tag is posted.

use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::object::Object;
use super::request::RingId;
use super::ring::Completion;
use super::user;
use super::world::World;
use crate::version::Version;
use rawring_sys as sys;

/// The release that brought tables without an array.
const SPARSE: Version = Version::new(5, 19);

/// The release that lets slots be kept from its own choice.
const ALLOC_RANGE: Version = Version::new(6, 0);

/// A file in a table.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) object: Object,
    /// 0 for none.
    tag: u64,
}

/// The table of a ring.
#[derive(Debug, Default)]
pub(super) struct Files {
    slots: Vec<Option<Arc<Node>>>,
    /// Where the kernel looks for a free slot, and where it begins.
    range: Range<usize>,
    hint: usize,
    /// What has a tag, is no longer in the table, and may be in use.
    leaving: Vec<Arc<Node>>,
}

impl Files {
    /// What is in a slot.
    pub(super) fn get(&self, index: i32) -> Option<&Arc<Node>> {
        self.slots.get(usize::try_from(index).ok()?)?.as_ref()
    }

    fn set(&mut self, index: usize, node: Option<Node>) {
        let comes = node.is_some();
        let old = std::mem::replace(&mut self.slots[index], node.map(Arc::new));
        if old.is_some() != comes {
            self.hint = index + usize::from(comes);
        }
        self.leaving.extend(old.filter(|old| old.tag != 0));
    }

    pub(super) fn has_table(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Puts a file where an entry says (`file_index`, not 0): into this slot, or into a free one, which it tells.
    pub(super) fn install(&mut self, object: Object, file_index: u32) -> Result<u32, Errno> {
        if file_index == sys::IORING_FILE_INDEX_ALLOC {
            return self.place(object);
        }
        let index = file_index as usize - 1;
        match self.slots.get(index) {
            None if self.slots.is_empty() => Err(Errno::NXIO),
            None => Err(Errno::INVAL),
            Some(_) => {
                self.set(index, Some(Node { object, tag: 0 }));
                Ok(0)
            }
        }
    }

    /// Puts a file into a free slot, and tells which.
    fn place(&mut self, object: Object) -> Result<u32, Errno> {
        let Range { start, end } = self.range;
        let from = if self.range.contains(&self.hint) { self.hint } else { start };
        let free = |index: &usize| self.slots[*index].is_none();
        let index = (from..end).find(free).or_else(|| (start..from).find(free)).ok_or(Errno::NFILE)?;
        self.set(index, Some(Node { object, tag: 0 }));
        Ok(index as u32)
    }

    /// Says in which slots the kernel looks for a free one.
    fn set_range(&mut self, asked: sys::io_uring_file_index_range) -> Result<u32, Errno> {
        let sys::io_uring_file_index_range { off, len, resv } = asked;
        let end = off.checked_add(len).ok_or(Errno::OVERFLOW)?;
        if resv != 0 || end as usize > self.slots.len() {
            return Err(Errno::INVAL);
        }
        self.range = off as usize..end as usize;
        self.hint = off as usize;
        Ok(0)
    }

    /// Empties a slot, for `CLOSE`.
    pub(super) fn close(&mut self, index: u32) -> Result<(), Errno> {
        match self.slots.get(index as usize) {
            None if self.slots.is_empty() => Err(Errno::NXIO),
            None => Err(Errno::INVAL),
            Some(None) => Err(Errno::BADF),
            Some(Some(_)) => {
                self.set(index as usize, None);
                Ok(())
            }
        }
    }

    /// The tags of what nobody uses any more.
    fn left(&mut self) -> Vec<u64> {
        let (gone, leaving) =
            std::mem::take(&mut self.leaving).into_iter().partition(|node| Arc::strong_count(node) == 1);
        self.leaving = leaving;
        let gone: Vec<Arc<Node>> = gone;
        gone.iter().map(|node| node.tag).collect()
    }
}

impl World {
    /// Posts the tags of the files and buffers that are no longer in use.
    pub(super) fn post_tags(&mut self, id: RingId) {
        let ring = self.ring(id);
        let mut tags = ring.files.left();
        tags.extend(ring.registered.over());
        if ring.closed {
            return;
        }
        if tags.is_empty() {
            return;
        }
        for user_data in tags {
            ring.post(Completion { user_data, res: 0, flags: 0, big: [0; 2] });
        }
        self.activity();
    }

    /// The calls that are about the table of files.
    ///
    /// # Safety
    ///
    /// As for [`sys::io_uring_register`].
    pub(super) unsafe fn register_files(&mut self, id: RingId, op: u32, arg: u64, count: u32) -> Result<u32, Errno> {
        let result = match op {
            // SAFETY: the caller's promise.
            sys::IORING_REGISTER_FILES => unsafe { self.make_files(id, arg, 0, count) },
            sys::IORING_REGISTER_FILES2 if count as usize == size_of::<sys::io_uring_rsrc_register>() => {
                // SAFETY: the caller's promise.
                let table: sys::io_uring_rsrc_register = unsafe { user::read_struct(arg) }?;
                let sys::io_uring_rsrc_register { nr, flags, resv2, data, tags } = table;
                let sparse = flags & sys::IORING_RSRC_REGISTER_SPARSE != 0;
                let known = if self.config.release().is(SPARSE) { sys::IORING_RSRC_REGISTER_SPARSE } else { 0 };
                if nr == 0 || resv2 != 0 || flags & !known != 0 || sparse && data != 0 {
                    return Err(Errno::INVAL);
                }
                // SAFETY: the caller's promise.
                unsafe { self.make_files(id, data, tags, nr) }
            }
            sys::IORING_REGISTER_FILES_UPDATE => {
                // SAFETY: the caller's promise.
                let update: sys::io_uring_rsrc_update = unsafe { user::read_struct(arg) }?;
                let sys::io_uring_rsrc_update { offset, resv, data } = update;
                if resv != 0 {
                    return Err(Errno::INVAL);
                }
                // SAFETY: the caller's promise.
                unsafe { self.update_files(id, offset, data, 0, count) }
            }
            sys::IORING_REGISTER_FILES_UPDATE2 if count as usize == size_of::<sys::io_uring_rsrc_update2>() => {
                // SAFETY: the caller's promise.
                let update: sys::io_uring_rsrc_update2 = unsafe { user::read_struct(arg) }?;
                let sys::io_uring_rsrc_update2 { offset, resv, data, tags, nr, resv2 } = update;
                if (resv, resv2) != (0, 0) {
                    return Err(Errno::INVAL);
                }
                // SAFETY: the caller's promise.
                unsafe { self.update_files(id, offset, data, tags, nr) }
            }
            sys::IORING_REGISTER_FILE_ALLOC_RANGE if count == 0 && self.config.release().is(ALLOC_RANGE) => {
                // SAFETY: the caller's promise.
                self.ring(id).files.set_range(unsafe { user::read_struct(arg) }?)
            }
            sys::IORING_UNREGISTER_FILES if arg == 0 && count == 0 => {
                let files = &mut self.ring(id).files;
                (0..files.slots.len()).for_each(|index| files.set(index, None));
                let slots = std::mem::take(&mut files.slots);
                files.range = 0..0;
                if slots.is_empty() { Err(Errno::NXIO) } else { Ok(0) }
            }
            _ => Err(Errno::INVAL),
        };
        self.post_tags(id);
        // Whoever waits for a peer may see it gone.
        self.activity();
        result
    }

    /// # Safety
    ///
    /// At the addresses are arrays of `count` descriptors and tags, or they are 0.
    unsafe fn make_files(&mut self, id: RingId, fds: u64, tags: u64, count: u32) -> Result<u32, Errno> {
        if !self.ring(id).files.slots.is_empty() {
            return Err(Errno::BUSY);
        }
        if count == 0 {
            return Err(Errno::INVAL);
        }
        if getrlimit(Resource::Nofile).current.is_some_and(|limit| u64::from(count) > limit) {
            return Err(Errno::MFILE);
        }
        let mut slots = Vec::new();
        for index in 0..u64::from(count) {
            // SAFETY: the caller's promise.
            let (fd, tag) = unsafe { element(fds, tags, index) }?;
            let node = match fd {
                -1 if tag != 0 => return Err(Errno::INVAL),
                -1 => None,
                fd => Some(Arc::new(self.node(fd, tag)?)),
            };
            slots.push(node);
        }
        let files = &mut self.ring(id).files;
        (files.range, files.hint) = (0..slots.len(), 0);
        files.slots = slots;
        Ok(0)
    }

    /// # Safety
    ///
    /// As for [`make_files`](Self::make_files); there are descriptors.
    pub(super) unsafe fn update_files(
        &mut self,
        id: RingId,
        first: u32,
        fds: u64,
        tags: u64,
        count: u32,
    ) -> Result<u32, Errno> {
        let slots = self.ring(id).files.slots.len() as u64;
        if count == 0 {
            return Err(Errno::INVAL);
        }
        if first.checked_add(count).is_none() {
            return Err(Errno::OVERFLOW);
        }
        if slots == 0 {
            return Err(Errno::NXIO);
        }
        if u64::from(first) + u64::from(count) > slots {
            return Err(Errno::INVAL);
        }
        for done in 0..count {
            // SAFETY: the caller's promise.
            let one = unsafe { element(fds, tags, done.into()) }.and_then(|(fd, tag)| {
                if fd < 0 && tag != 0 {
                    return Err(Errno::INVAL);
                }
                if fd == sys::IORING_REGISTER_FILES_SKIP {
                    return Ok(());
                }
                let index = (first + done) as usize;
                self.ring(id).files.set(index, None);
                if fd != -1 {
                    let node = self.node(fd, tag)?;
                    self.ring(id).files.set(index, Some(node));
                }
                Ok(())
            });
            if let Err(errno) = one {
                return if done == 0 { Err(errno) } else { Ok(done) };
            }
        }
        Ok(count)
    }

    /// A reference of the table's own. Rings cannot be registered.
    fn node(&self, fd: i32, tag: u64) -> Result<Node, Errno> {
        Ok(Node { object: self.objects.get(fd).ok_or(Errno::BADF)?, tag })
    }
}

/// One descriptor with its tag.
///
/// # Safety
///
/// At the addresses are arrays with such an element, or they are 0: then it is none.
unsafe fn element(fds: u64, tags: u64, index: u64) -> Result<(i32, u64), Errno> {
    // SAFETY: the caller's promise.
    let tag = if tags == 0 { 0 } else { unsafe { user::read_struct(tags + index * size_of::<u64>() as u64) }? };
    // SAFETY: as above.
    let fd = if fds == 0 { -1 } else { unsafe { user::read_struct(fds + index * size_of::<i32>() as u64) }? };
    Ok((fd, tag))
}
