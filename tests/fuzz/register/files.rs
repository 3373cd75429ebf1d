//! The table of files: what is in each slot, as the calls said it, and whether it is there.

use std::ops::Range;
use std::ptr::NonNull;
use std::rc::Rc;

use rawring::Errno;
use rawring::op::{CloseDirect, OpenAtDirect, Read};
use rawring::operand::{BufMut, DirectSlot, FileSlot, Fixed};
use rawring::register::{FileTable, FilesError};
use rustix::fs::{CWD, Mode, OFlags};

use super::Input;
use super::world::{CONTENTS, Hold, PIPE, Run};

/// A file of which there is nothing to be read.
const EMPTY: usize = PIPE + 1;

/// The table of files.
#[derive(Default)]
pub struct Files {
    account: Option<FileTable>,
    slots: Vec<Option<(usize, Hold)>>,
    /// Where the kernel picks.
    kernel: Range<u32>,
    /// Whether the account was told.
    told: bool,
}

impl Files {
    pub fn is_there(&self) -> bool {
        !self.slots.is_empty()
    }

    /// The resource in a slot.
    pub fn get(&self, Fixed(slot): Fixed) -> Option<&(usize, Hold)> {
        self.slots.get(slot as usize)?.as_ref()
    }

    fn is_free(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(Option::is_none)
    }

    /// Whether the account may pick a slot: it is free, and not the kernel's to pick.
    fn is_ours(&self, slot: u32) -> bool {
        self.is_free(slot) && !(self.told && self.kernel.contains(&slot))
    }
}

thread_local! {
    /// A byte that operations write to.
    static SCRATCH: NonNull<u8> = NonNull::from(Box::leak(Box::new(0)));
}

pub fn scratch() -> BufMut<'static> {
    // SAFETY: it is there for ever, and nobody uses it but operations and `seen`, between those.
    unsafe { BufMut::from_raw(SCRATCH.with(|byte| byte.as_ptr()), 1) }
}

/// What the last operation has put there.
fn seen() -> u8 {
    // SAFETY: as above.
    unsafe { SCRATCH.with(|byte| byte.read_volatile()) }
}

/// What an update of a table of `slots` slots says, if nothing is wrong with its elements.
pub fn update(first: u32, count: u32, slots: usize) -> Result<u32, Errno> {
    match first.checked_add(count) {
        _ if count == 0 => Err(Errno::INVAL),
        None => Err(Errno::OVERFLOW),
        Some(_) if slots == 0 => Err(Errno::NXIO),
        Some(end) if end as usize > slots => Err(Errno::INVAL),
        Some(_) => Ok(count),
    }
}

impl Run {
    /// A table of empty slots, or of files, if there is none.
    pub fn make_files(&mut self, input: &mut Input<'_>) {
        let count = input.below(9);
        let how = input.below(3);
        let expected = match count {
            // Which of the two comes first depends on the call.
            0 if how != 1 => Err(FilesError::Kernel(Errno::INVAL)),
            _ if self.files.is_there() => Err(FilesError::Kernel(Errno::BUSY)),
            0 => Err(FilesError::Kernel(Errno::INVAL)),
            _ => Ok(()),
        };
        let (made, slots) = match how {
            0 => (FileTable::sparse(&self.ring, count.into()), vec![None; count.into()]),
            1 => {
                let (files, slots) = self.elements(count, false, input);
                (FileTable::register(&self.ring, &files), slots)
            }
            _ => {
                let (files, slots) = self.elements(count, true, input);
                let tags: Vec<_> = slots.iter().map(|slot| slot.as_ref().and_then(|(_, hold)| **hold)).collect();
                let made = self.ring.register_files_tagged(&files, &tags);
                // There is no account of such a table.
                self.expect("register_files_tagged", made, expected);
                if made.is_ok() {
                    (self.files.slots, self.files.kernel) = (slots, 0..u32::from(count));
                }
                return;
            }
        };
        self.expect("a table of files", made.as_ref().map(drop).map_err(|error| *error), expected);
        if let Ok(account) = made {
            self.files = Files { account: Some(account), slots, kernel: 0..u32::from(count), told: false };
        }
    }

    /// Files for `count` slots, and what is in those then.
    fn elements(
        &mut self,
        count: u8,
        tagged: bool,
        input: &mut Input<'_>,
    ) -> (Vec<FileSlot<'static>>, Vec<Option<(usize, Hold)>>) {
        let mut element = || match usize::from(input.below(8)) {
            which @ 0..=PIPE => {
                let tag = if tagged { self.tag(input) } else { None };
                (self.source(which).into(), Some((which, Hold::new(tag))))
            }
            _ => (FileSlot::CLEAR, None),
        };
        (0..count).map(|_| element()).unzip()
    }

    /// Puts files into slots, past the account, which is told.
    pub fn update_files(&mut self, input: &mut Input<'_>) {
        let (first, count, tagged) = (input.slot(), input.below(5), input.u8() & 1 == 1);
        let (mut files, new) = self.elements(count, tagged, input);
        let tags: Vec<_> = new.iter().map(|slot| slot.as_ref().and_then(|(_, hold)| **hold)).collect();
        let skipped = usize::from(input.u8());
        if tags.get(skipped) == Some(&None) {
            files[skipped] = FileSlot::SKIP;
        }
        let done = if tagged {
            self.ring.update_files_tagged(first, &files, &tags)
        } else {
            self.ring.update_files(first, &files).map_err(FilesError::Kernel)
        };
        let expected = update(first, count.into(), self.files.slots.len()).map_err(FilesError::Kernel);
        self.expect("an update of files", done, expected);
        for (n, node) in new.into_iter().enumerate().take(done.unwrap_or(0) as usize) {
            if tags.get(skipped) != Some(&None) || n != skipped {
                self.set_file(Fixed(first + n as u32), node);
            }
        }
        self.audit_files();
    }

    /// Something else than the account has changed a slot, and the account is told.
    fn set_file(&mut self, slot: Fixed, node: Option<(usize, Hold)>) {
        if let Some(account) = &mut self.files.account {
            if node.is_some() {
                account.picked(slot.0);
            } else {
                account.closed(slot);
            }
        }
        self.note_file(slot, node);
    }

    /// Notes what is in a slot.
    fn note_file(&mut self, slot: Fixed, node: Option<(usize, Hold)>) {
        let Some(place) = self.files.slots.get_mut(slot.0 as usize) else { return };
        if let Some((_, old)) = std::mem::replace(place, node) {
            self.let_go(old);
        }
    }

    /// Lets the account pick a slot, or change one.
    pub fn insert_file(&mut self, input: &mut Input<'_>) {
        let (which, slot, tag) = (usize::from(input.below(5)), Fixed(input.slot()), self.tag(input));
        let file = self.source(which);
        let free = (0..self.files.slots.len() as u32).any(|slot| self.files.is_ours(slot));
        let Files { account: Some(account), slots, .. } = &mut self.files else { return };
        match input.below(4) {
            0 | 1 => {
                let put = match tag {
                    Some(tag) => account.insert_tagged(&self.ring, file, tag),
                    None => account.insert(&self.ring, file),
                };
                match put {
                    Ok(slot) => {
                        assert!(!self.strict || self.files.is_ours(slot.0), "{slot:?} was picked");
                        self.note_file(slot, Some((which, Hold::new(tag))));
                    }
                    Err(error) => assert!(!self.strict || !free && error == FilesError::Full, "{error}"),
                }
            }
            2 => {
                let replaced = account.replace(&self.ring, slot, file);
                let expected = update(slot.0, 1, slots.len()).map(drop);
                self.expect("FileTable::replace", replaced, expected);
                if replaced.is_ok() {
                    self.note_file(slot, Some((which, Hold::new(None))));
                }
            }
            _ => {
                let removed = account.remove(&self.ring, slot);
                let expected = update(slot.0, 1, slots.len()).map(drop);
                self.expect("FileTable::remove", removed, expected);
                if removed.is_ok() {
                    self.note_file(slot, None);
                }
            }
        }
        self.audit_files();
    }

    pub fn unregister_files(&mut self) {
        let gone = match self.files.account.take() {
            Some(account) => account.unregister(&self.ring).map_err(|(account, errno)| {
                self.files.account = Some(account);
                errno
            }),
            None => self.ring.unregister_files(),
        };
        self.expect("unregister_files", gone, if self.files.is_there() { Ok(()) } else { Err(Errno::NXIO) });
        if gone.is_ok() {
            self.forget_files();
        }
    }

    /// The table is gone.
    pub fn forget_files(&mut self) {
        let Files { account: _, slots, kernel: _, told: _ } = std::mem::take(&mut self.files);
        slots.into_iter().flatten().for_each(|(_, hold)| self.let_go(hold));
    }

    /// Leaves a range of slots to the kernel.
    pub fn leave_to_kernel(&mut self, input: &mut Input<'_>) {
        let first = input.slot();
        let range = first..first.saturating_add(u32::from(input.below(5)));
        let done = match &mut self.files.account {
            Some(account) => account.leave_to_kernel(&self.ring, range.clone()),
            None => self.ring.file_alloc_range(range.clone()),
        };
        if self.host.is_kernel() {
            let inside = range.end as usize <= self.files.slots.len();
            self.expect("file_alloc_range", done, if inside { Ok(()) } else { Err(Errno::INVAL) });
        }
        if done.is_ok() {
            (self.files.kernel, self.files.told) = (range, true);
        }
    }

    /// As in a new table.
    pub fn everything_to_the_kernel(&mut self) {
        let all = 0..self.files.slots.len() as u32;
        let done = match &mut self.files.account {
            Some(account) => account.leave_to_kernel(&self.ring, all.clone()),
            None => self.ring.file_alloc_range(all.clone()),
        };
        self.expect("file_alloc_range", done, Ok(()));
        (self.files.kernel, self.files.told) = (all, true);
    }

    /// Opens a file into a slot: one that the kernel picks, or one that the account has reserved.
    pub fn open_into(&mut self, input: &mut Input<'_>) {
        let reserved = match (&mut self.files.account, input.u8() & 1) {
            (Some(account), 1) => account.reserve(),
            _ => None,
        };
        let slot = reserved.map_or(DirectSlot::ALLOC, DirectSlot::from);
        let open = OpenAtDirect::new(CWD, c"/dev/null", OFlags::RDONLY, Mode::empty(), slot);
        // SAFETY: path and directory are there for ever.
        let result = unsafe { self.run(open) }.map_or(Err(Errno::CANCELED), |cqe| cqe.result());
        if let Some(slot) = reserved {
            assert!(!self.strict || self.files.is_ours(slot.0), "{slot:?} was picked");
            if let Some(account) = &mut self.files.account {
                let settled = account.settle(slot, result);
                assert_eq!(settled, result.map(|_| slot));
            }
            if self.host.is_kernel() {
                self.expect("opening into a slot", result, Ok(0));
            }
            if result.is_ok() {
                self.note_file(slot, Some((EMPTY, Hold::new(None))));
            }
        } else if self.host.is_kernel() {
            let free = self.files.kernel.clone().any(|slot| self.files.is_free(slot));
            match result {
                Ok(slot) => {
                    let picked = self.files.kernel.contains(&slot) && self.files.is_free(slot);
                    assert!(picked, "the kernel picked {slot}");
                    self.set_file(Fixed(slot), Some((EMPTY, Hold::new(None))));
                }
                Err(errno) => assert!(!free && errno == Errno::NFILE, "no slot of {:?}: {errno}", self.files.kernel),
            }
        }
        self.audit_files();
    }

    pub fn close_slot(&mut self, input: &mut Input<'_>) {
        let slot = Fixed(input.slot());
        // SAFETY: the entry borrows nothing.
        let Some(closed) = (unsafe { self.run(CloseDirect::new(slot)) }) else { return };
        let expected = match self.files.slots.get(slot.0 as usize) {
            _ if !self.files.is_there() => Err(Errno::NXIO),
            None => Err(Errno::INVAL),
            Some(None) => Err(Errno::BADF),
            Some(Some(_)) => Ok(0),
        };
        self.expect("closing a slot", closed.result(), expected);
        if closed.result() == Ok(0) {
            self.set_file(slot, None);
        }
    }

    /// Takes a file out of the table, which is the one that is in its slot.
    pub fn take_file(&mut self, input: &mut Input<'_>) {
        let slot = Fixed(input.slot());
        self.start();
        let (Some(account), true) = (&mut self.files.account, self.host.is_kernel()) else { return };
        let taken = account.take(&mut self.ring, slot);
        match self.files.get(slot) {
            Some(&(which, _)) => {
                let file = taken.expect("there is a file");
                let mut content = [0; 1];
                if which < PIPE {
                    assert_eq!(rustix::io::pread(&file, &mut content, 0), Ok(1));
                    assert_eq!(content[0], CONTENTS[which]);
                }
                self.note_file(slot, None);
            }
            None => assert_eq!(taken.map(drop), Err(Errno::BADF)),
        }
        self.audit_files();
    }

    /// Every slot gives what is in it, and the account knows which have something.
    pub fn audit_files(&mut self) {
        if !self.strict {
            return;
        }
        if let Some(account) = &self.files.account {
            let used = self.files.slots.iter().flatten().count() as u32;
            assert_eq!((account.slots() as usize, account.used()), (self.files.slots.len(), used));
            for slot in (0..=account.slots()).map(Fixed) {
                assert_eq!(account.contains(slot), self.files.get(slot).is_some(), "{slot:?}");
            }
        }
        for slot in (0..=self.files.slots.len() as u32).map(Fixed) {
            let content = self.files.get(slot).map(|&(which, _)| which);
            if content == Some(PIPE) {
                continue;
            }
            let memory = scratch();
            // SAFETY: the memory is there for ever.
            let read = unsafe { self.run(Read::new(slot, memory).offset(0)) }.map(|cqe| cqe.result());
            let expected = match content {
                None => Err(Errno::BADF),
                Some(EMPTY) => Ok(0),
                Some(_) => Ok(1),
            };
            assert_eq!(read, Some(expected), "{slot:?} with {content:?}");
            if let Some(content) = content.and_then(|which| CONTENTS.get(which)) {
                assert_eq!(seen(), *content, "{slot:?}");
            }
        }
    }

    /// The resource that an operation on a slot uses.
    pub fn hold(&self, slot: Fixed) -> Option<Hold> {
        self.files.get(slot).map(|(_, hold)| Rc::clone(hold))
    }
}
