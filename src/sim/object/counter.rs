//! An event counter, as of `eventfd(2)` without `EFD_SEMAPHORE`.

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::Attempt::{self, Blocked};

#[derive(Debug)]
pub(super) struct Counter {
    count: u64,
    activity: u64,
}

/// The count that cannot be passed.
const MAX: u64 = u64::MAX - 1;

impl Counter {
    pub(super) fn new(count: u64) -> Self {
        Counter { count, activity: 0 }
    }

    pub(super) fn read(&mut self, max: usize) -> Attempt<Vec<u8>> {
        if max < 8 {
            return Attempt::failed(Errno::INVAL);
        }
        if self.count == 0 {
            return Blocked;
        }
        self.activity += 1;
        Attempt::done(std::mem::take(&mut self.count).to_ne_bytes().to_vec())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Attempt<usize> {
        let Some(&added) = bytes.first_chunk() else { return Attempt::failed(Errno::INVAL) };
        let added = u64::from_ne_bytes(added);
        if added == u64::MAX {
            return Attempt::failed(Errno::INVAL);
        }
        if added > MAX - self.count {
            return Blocked;
        }
        self.activity += 1;
        self.count += added;
        Attempt::done(8)
    }

    pub(super) fn poll(&self) -> PollFlags {
        let mut mask = PollFlags::empty();
        mask.set(PollFlags::IN, self.count > 0);
        mask.set(PollFlags::OUT, self.count < MAX);
        mask
    }

    pub(super) fn activity(&self) -> u64 {
        self.activity
    }
}
