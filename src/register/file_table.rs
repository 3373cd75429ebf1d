//! An account of the slots of a ring's table of registered files.
//!
//! Who owns what, when: a slot is *free*, *reserved* for an operation that will fill it, or *used*. Free slots in the
//! range that was [left to the kernel](FileTable::leave_to_kernel) are the kernel's to pick, all others are picked here,
//! so the two never pick the same. The files themselves belong to the ring.
//!
//! Not a door: nothing here is needed for soundness. Whoever changes the table of the ring by other means than this
//! account, or asks it about another ring, gets errors of the kernel's or the wrong file, and no more.

use core::ops::Range;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{FilesError, Tag};
use crate::op::FixedFdInstall;
use crate::operand::{FileSlot, Fixed};
use crate::ring::Ring;
use crate::scope::ScopeError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    Free,
    Reserved,
    Used,
}

/// The slots of a ring's table of registered files: which are free, and what is put there or taken out.
///
/// Made by registering a table. Dropping it changes nothing: the table goes with the ring, or by
/// [`unregister`](Self::unregister).
///
/// ```
/// use rawring::{Ring, op::{OpenAtDirect, Read}, register::FileTable};
/// use rustix::fs::{CWD, Mode, OFlags};
///
/// let mut ring = Ring::new(8)?;
/// let mut table = FileTable::sparse(&ring, 16)?;
/// // A file that is open already.
/// let stdin = table.insert(&ring, std::os::fd::AsFd::as_fd(&std::io::stdin()))?;
/// // One that is opened right into the table, and read from in the same submission.
/// let slot = table.reserve().expect("free slots");
/// let (mut text, mut opened) = ([0; 11], Err(rawring::Errno::CANCELED));
/// ring.scope(|s| {
///     let open = OpenAtDirect::new(CWD, c"Cargo.toml", OFlags::RDONLY, Mode::empty(), slot);
///     s.push(open.link().user_data(0)).expect("room");
///     s.push(Read::new(slot, &mut text).user_data(1)).expect("room");
///     s.finish(|cqe| if cqe.user_data().0 == 0 { opened = cqe.result() })
/// })??;
/// table.settle(slot, opened)?;
/// assert_eq!(&text, b"[workspace]");
/// table.remove(&ring, stdin)?;
/// assert_eq!(table.used(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileTable {
    slots: Vec<Slot>,
    /// Where the kernel picks.
    kernel: Range<u32>,
}

impl FileTable {
    /// Registers a table of empty slots; all are picked here until some are [left to the
    /// kernel](Self::leave_to_kernel).
    ///
    /// # Errors
    ///
    /// As for [`Ring::register_sparse_files`].
    pub fn sparse(ring: &Ring, slots: u32) -> Result<FileTable, FilesError> {
        ring.register_sparse_files(slots)?;
        Ok(FileTable { slots: vec![Slot::Free; slots as usize], kernel: 0..0 })
    }

    /// Registers a table of these files, in this order.
    ///
    /// # Errors
    ///
    /// As for [`Ring::register_files`].
    pub fn register(ring: &Ring, files: &[FileSlot<'_>]) -> Result<FileTable, FilesError> {
        ring.register_files(files)?;
        let slot = |file: &FileSlot<'_>| if file.is_file() { Slot::Used } else { Slot::Free };
        Ok(FileTable { slots: files.iter().map(slot).collect(), kernel: 0..0 })
    }

    /// Has the kernel pick from these slots, and from no others, where an operation leaves it the choice
    /// ([`DirectSlot::ALLOC`](crate::operand::DirectSlot::ALLOC)). They are not picked here any more; the others are.
    ///
    /// Before the first call the kernel picks from all slots, and so does this account: use one of the two.
    ///
    /// # Errors
    ///
    /// As for [`Ring::file_alloc_range`].
    pub fn leave_to_kernel(&mut self, ring: &Ring, slots: Range<u32>) -> Result<(), Errno> {
        ring.file_alloc_range(slots.clone())?;
        self.kernel = slots;
        Ok(())
    }

    /// Puts a file into a free slot.
    ///
    /// # Errors
    ///
    /// [`FilesError::Full`] if no slot is free; else as for [`Ring::update_files`].
    pub fn insert(&mut self, ring: &Ring, file: BorrowedFd<'_>) -> Result<Fixed, FilesError> {
        self.put(ring, file, None)
    }

    /// As [`insert`](Self::insert), with a tag that comes back when the kernel no longer uses the file.
    ///
    /// # Errors
    ///
    /// As for `insert`.
    pub fn insert_tagged(&mut self, ring: &Ring, file: BorrowedFd<'_>, tag: Tag) -> Result<Fixed, FilesError> {
        self.put(ring, file, Some(tag))
    }

    fn put(&mut self, ring: &Ring, file: BorrowedFd<'_>, tag: Option<Tag>) -> Result<Fixed, FilesError> {
        let slot = self.free(1).ok_or(FilesError::Full)?;
        let files = [FileSlot::from(file)];
        match tag {
            None => ring.update_files(slot.0, &files)?,
            tag => ring.update_files_tagged(slot.0, &files, &[tag])?,
        };
        self.slots[slot.0 as usize] = Slot::Used;
        Ok(slot)
    }

    /// Puts another file into a slot. Operations that have started keep the old one.
    ///
    /// # Errors
    ///
    /// As for [`Ring::update_files`]. With `EEXIST` and `EACCES`, and where the ring has no name, nothing was changed; else
    /// the slot is empty then, and free.
    pub fn replace(&mut self, ring: &Ring, slot: Fixed, file: BorrowedFd<'_>) -> Result<(), Errno> {
        ring.handle.check()?;
        let result = ring.update_files(slot.0, &[file.into()]);
        match result {
            // Refused before the kernel has looked at the table.
            Err(Errno::EXIST | Errno::ACCESS) => {}
            Err(_) => self.mark(slot, Slot::Free),
            Ok(_) => self.mark(slot, Slot::Used),
        }
        result.map(drop)
    }

    /// Empties a slot, as [`CloseDirect`](crate::op::CloseDirect) does. Operations that have started keep the file.
    ///
    /// # Errors
    ///
    /// As for [`Ring::update_files`].
    pub fn remove(&mut self, ring: &Ring, slot: Fixed) -> Result<(), Errno> {
        ring.update_files(slot.0, &[FileSlot::CLEAR])?;
        self.mark(slot, Slot::Free);
        Ok(())
    }

    /// Takes a file out of the table, as a descriptor. Submits what was pushed, and waits for an operation of its own;
    /// completions of others are kept for [`Ring::completions`].
    ///
    /// [`FixedFdInstall`] is that operation (Linux 6.8), for those who wait otherwise.
    ///
    /// # Errors
    ///
    /// `EBADF` if the slot is empty, `EINVAL` if the kernel is older, `EOPNOTSUPP` if it has no
    /// [`scope`](Ring::scope); else as for [`Ring::submit_with`]. The file is in the table as before.
    pub fn take(&mut self, ring: &mut Ring, slot: Fixed) -> Result<OwnedFd, Errno> {
        if ring.room() == 0 {
            ring.make_room()?;
        }
        let mut result = Err(Errno::AGAIN);
        ring.scope(|scope| match scope.push(FixedFdInstall::new(slot)) {
            Ok(_) => scope.finish(|cqe| result = cqe.result()),
            Err(_) => Ok(()),
        })
        .map_err(|error| match error {
            ScopeError::NoCancelAny => Errno::OPNOTSUPP,
            ScopeError::Probe(errno) => errno,
        })??;
        // SAFETY: the result is a descriptor that the kernel has just made for whoever reaps this completion.
        let file = unsafe { OwnedFd::from_raw_fd(result? as i32) };
        self.remove(ring, slot)?;
        Ok(file)
    }

    /// Picks a free slot for an operation that will fill it, like [`OpenAtDirect`](crate::op::OpenAtDirect). What came
    /// of the operation is to be told to [`settle`](Self::settle).
    pub fn reserve(&mut self) -> Option<Fixed> {
        let slot = self.free(1)?;
        self.mark(slot, Slot::Reserved);
        Some(slot)
    }

    /// Picks two free slots side by side, for [`PipeDirect`](crate::op::PipeDirect), which takes the first.
    pub fn reserve_pair(&mut self) -> Option<[Fixed; 2]> {
        let first = self.free(2)?;
        let pair = [first, Fixed(first.0 + 1)];
        for slot in pair {
            self.mark(slot, Slot::Reserved);
        }
        Some(pair)
    }

    /// What came of the operation for which a slot was [reserved](Self::reserve): it is used, or free again.
    ///
    /// # Errors
    ///
    /// The operation's own.
    pub fn settle(&mut self, slot: Fixed, result: Result<u32, Errno>) -> Result<Fixed, Errno> {
        self.mark(slot, if result.is_ok() { Slot::Used } else { Slot::Free });
        result.map(|_| slot)
    }

    /// The kernel has picked this slot and filled it: the result of an operation with
    /// [`DirectSlot::ALLOC`](crate::operand::DirectSlot::ALLOC).
    pub fn picked(&mut self, index: u32) -> Fixed {
        self.mark(Fixed(index), Slot::Used);
        Fixed(index)
    }

    /// An operation has emptied the slot: [`CloseDirect`](crate::op::CloseDirect) completed.
    pub fn closed(&mut self, slot: Fixed) {
        self.mark(slot, Slot::Free);
    }

    /// The number of slots.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The number of slots with a file.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.slots.iter().filter(|slot| **slot == Slot::Used).count() as u32
    }

    /// Whether there is a file in this slot.
    #[must_use]
    pub fn contains(&self, slot: Fixed) -> bool {
        self.slots.get(slot.0 as usize) == Some(&Slot::Used)
    }

    /// Drops the table; see [`Ring::unregister_files`].
    ///
    /// # Errors
    ///
    /// The table comes back, with the reason.
    pub fn unregister(self, ring: &Ring) -> Result<(), (FileTable, Errno)> {
        ring.unregister_files().map_err(|errno| (self, errno))
    }

    /// The first of `count` free slots side by side that are not the kernel's to pick.
    fn free(&self, count: usize) -> Option<Fixed> {
        let free = |(index, slot): (usize, &Slot)| *slot == Slot::Free && !self.kernel.contains(&(index as u32));
        let last = self.slots.len().checked_sub(count)?;
        let fits = |first: &usize| {
            let slots = self.slots[*first..].iter().enumerate().take(count);
            slots.map(|(offset, slot)| (first + offset, slot)).all(free)
        };
        (0..=last).find(fits).map(|first| Fixed(first as u32))
    }

    /// A slot that there is not stays so.
    fn mark(&mut self, Fixed(index): Fixed, state: Slot) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            *slot = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(slots: u32) -> FileTable {
        FileTable { slots: vec![Slot::Free; slots as usize], kernel: 0..0 }
    }

    #[test]
    fn slots_are_picked_once() {
        let mut table = table(3);
        assert_eq!(table.reserve_pair(), Some([Fixed(0), Fixed(1)]));
        assert_eq!((table.reserve(), table.reserve(), table.reserve_pair()), (Some(Fixed(2)), None, None));
        assert_eq!(table.settle(Fixed(1), Err(Errno::NOENT)), Err(Errno::NOENT));
        assert_eq!(table.settle(Fixed(0), Ok(0)), Ok(Fixed(0)));
        assert_eq!((table.used(), table.contains(Fixed(0)), table.contains(Fixed(2))), (1, true, false));
        // Free slots that are not side by side.
        assert_eq!((table.reserve_pair(), table.reserve()), (None, Some(Fixed(1))));
    }

    #[test]
    fn the_kernels_slots_are_not_picked_here() {
        let mut table = table(4);
        table.kernel = 1..3;
        assert_eq!(table.reserve_pair(), None);
        assert_eq!([(); 3].map(|()| table.reserve()), [Some(Fixed(0)), Some(Fixed(3)), None]);
        assert_eq!(table.picked(2), Fixed(2));
        assert!(table.contains(Fixed(2)));
        table.closed(Fixed(2));
        assert!(!table.contains(Fixed(2)));
        // What is not in the table is not noted.
        table.picked(9);
        assert_eq!((table.used(), table.slots()), (0, 4));
    }
}
