//! Models of a ring of provided buffers: entries and their tail go to the kernel, buffers come back by completions.

use core::ptr::NonNull;

use loom::sync::atomic::AtomicU16;

use super::*;
use crate::buf_ring::Queue;
use crate::queue::{Pos, Slots};
use crate::sync::{HalfWord, UnsafeCell};

/// Just below the wrap.
const FIRST: u16 = u16::MAX - 1;

/// What both sides share of a group, and the buffers themselves. In memory the tail lies in entry 0, which the model
/// checker cannot lay out; that entries are written field by field is for the tests on kernels to see.
struct Group {
    tail: AtomicU16,
    entries: Box<[UnsafeCell<sys::io_uring_buf>]>,
    buffers: Box<[UnsafeCell<u32>]>,
}

// SAFETY: who may touch which cell when is what the models find out.
unsafe impl Sync for Group {}
// SAFETY: numbers.
unsafe impl Send for Group {}

impl Group {
    fn new(entries: u32) -> Arc<Group> {
        let empty = || sys::io_uring_buf { addr: 0, len: 0, bid: 0, resv: 0 };
        Arc::new(Group {
            tail: AtomicU16::new(FIRST),
            entries: (0..entries).map(|_| UnsafeCell::new(empty())).collect(),
            buffers: (0..entries).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    fn slots(&self) -> Slots<sys::io_uring_buf> {
        // SAFETY: there are as many entries as the mask says; the models keep the group for longer than the queue.
        unsafe { Slots::new(NonNull::from(&*self.entries).cast(), self.entries.len() as u32 - 1, 0) }
    }

    /// Our side.
    fn queue(&self) -> Queue {
        // SAFETY: as in `slots`.
        Queue::new(self.slots(), unsafe { HalfWord::new(NonNull::from(&self.tail)) }, FIRST)
    }

    /// io_ring_buffer_select and io_kbuf_commit (kbuf.c): the number in the entry at the head, if there is one.
    fn select(&self, head: &mut u16) -> Option<u16> {
        // smp_load_acquire of the tail.
        if self.tail.load(Ordering::Acquire) == *head {
            return None;
        }
        // SAFETY: the entry is valid memory; the model checks that it is not written meanwhile.
        let entry = self.slots().at(Pos((*head).into())).with(|entry| unsafe { *entry });
        *head = head.wrapping_add(1);
        assert_eq!((entry.addr, entry.len), (u64::from(entry.bid) + 100, 7), "an entry that is not whole");
        Some(entry.bid)
    }

    /// Touches the bytes of a buffer.
    fn touch<R>(&self, id: u16, f: impl FnOnce(&mut u32) -> R) -> R {
        // SAFETY: the cell is valid memory; the model checks that nobody else uses it.
        self.buffers[usize::from(id)].with_mut(|bytes| f(unsafe { &mut *bytes }))
    }
}

fn lend(queue: &mut Queue, id: u16) {
    queue.add(u64::from(id) + 100, 7, id);
    queue.publish();
}

#[test]
fn entries_are_written_before_the_tail() {
    check(|entries| {
        let group = Group::new(entries);
        let kernel = thread::spawn({
            let group = group.clone();
            move || {
                let mut head = FIRST;
                for id in 0..group.entries.len() as u16 {
                    loop {
                        match group.select(&mut head) {
                            Some(found) => break assert_eq!(found, id),
                            None => thread::yield_now(),
                        }
                    }
                }
            }
        });
        let mut queue = group.queue();
        (0..entries as u16).for_each(|id| lend(&mut queue, id));
        kernel.join().expect("no panic");
    });
}

/// A buffer is filled, reported, read, given back, and filled again: neither side touches it while the other has it, and
/// no entry is overwritten before the kernel has read it.
#[test]
fn buffers_go_round() {
    const ROUNDS: u32 = 3;
    check_bounded(3, |entries| {
        let kernel = Kernel::new(2);
        let group = Group::new(entries);
        let filler = thread::spawn({
            let (kernel, group) = (kernel.clone(), group.clone());
            move || {
                let mut head = FIRST;
                for round in 1..=ROUNDS {
                    let id = loop {
                        match group.select(&mut head) {
                            Some(id) => break id,
                            None => thread::yield_now(),
                        }
                    };
                    group.touch(id, |bytes| *bytes = round);
                    while !kernel.shared.post(id.into(), 0) {
                        thread::yield_now();
                    }
                }
            }
        });
        let mut queue = group.queue();
        (0..entries as u16).for_each(|id| lend(&mut queue, id));
        let mut cq = kernel.shared.cq(false);
        for round in 1..=ROUNDS {
            let id = loop {
                match pop(&mut cq) {
                    Some(cqe) => break cqe.user_data().0 as u16,
                    None => {
                        cq.publish();
                        thread::yield_now();
                    }
                }
            };
            assert_eq!(group.touch(id, |bytes| *bytes), round);
            lend(&mut queue, id);
        }
        filler.join().expect("no panic");
    });
}
