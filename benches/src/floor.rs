//! A loop written by hand on the mapped memory: what is left when there is no library.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rawring_sys as sys;

use crate::{LARGEST, MARK, Placed, Reads, Rounds, Work, opaque};

/// A ring, as a program would keep it that does nothing else.
pub(crate) struct ByHand<const CHECKED: bool, const WIDE: bool> {
    fd: OwnedFd,
    at: sys::RingPointers,
    sq_tail: u32,
    cq_head: u32,
    /// Keeps the memory.
    _map: sys::RingMap,
}

impl<const CHECKED: bool, const WIDE: bool> ByHand<CHECKED, WIDE> {
    pub(crate) fn new(entries: u32) -> Self {
        let mut params = sys::io_uring_params::ZERO;
        params.flags = sys::IORING_SETUP_NO_SQARRAY;
        if WIDE {
            params.flags |= sys::IORING_SETUP_SQE128 | sys::IORING_SETUP_CQE32;
        }
        // SAFETY: the parameters are valid and name no memory.
        let fd = unsafe { sys::io_uring_setup(entries, &raw mut params) }.expect("io_uring_setup");
        // SAFETY: the kernel has just opened it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let map = sys::RingMap::new(fd.as_fd(), &params, sys::Fork::DontFork).expect("mmap");
        ByHand { fd, at: map.pointers(), sq_tail: 0, cq_head: 0, _map: map }
    }

    #[inline(always)]
    pub(crate) fn round(&mut self, batch: u32, mut entry: impl FnMut(u32) -> sys::io_uring_sqe) -> u64 {
        // Copies, because the compiler cannot know that no slot overlaps them.
        let here = self.at;
        // SAFETY: the pointers are those of the mapping, which lives as long as `self`, and these words are shared.
        let word = |at: NonNull<u32>| unsafe { AtomicU32::from_ptr(at.as_ptr()) };
        let mut tail = self.sq_tail;
        for number in 0..batch {
            if CHECKED && tail.wrapping_sub(word(here.sq_head).load(Ordering::Acquire)) >= here.sq_entries {
                panic!("the queue is full");
            }
            let at = (tail & here.sq_ring_mask) as usize;
            // SAFETY: masked, it is a slot of the queue, and it is free: each round begins with an empty queue.
            unsafe {
                let slot = here.sqes.add(if WIDE { at * 2 } else { at });
                slot.write(entry(number));
                if WIDE {
                    slot.add(1).write(sys::io_uring_sqe::ZERO);
                }
            }
            tail = tail.wrapping_add(1);
        }
        self.sq_tail = tail;
        word(here.sq_tail).store(tail, Ordering::Release);
        let (fd, flags) = (self.fd.as_raw_fd(), sys::IORING_ENTER_GETEVENTS);
        // SAFETY: the entries name nothing but buffers that live until they completed.
        let taken = unsafe { sys::io_uring_enter(fd, batch, batch, flags, core::ptr::null(), 0) };
        if CHECKED && taken != Ok(batch) {
            panic!("not everything was submitted");
        }
        let tail = word(here.cq_tail).load(Ordering::Acquire);
        let (mut head, mut sum) = (self.cq_head, 0);
        while head != tail {
            let at = (head & here.cq_ring_mask) as usize;
            // SAFETY: masked, it is a slot of the queue, and the kernel has filled it: it is before the tail.
            let cqe = unsafe { here.cqes.add(if WIDE { at * 2 } else { at }).read() };
            sum += opaque(cqe.user_data);
            head = head.wrapping_add(1);
        }
        self.cq_head = head;
        word(here.cq_head).store(head, Ordering::Release);
        sum
    }
}

struct Nops<const CHECKED: bool, const WIDE: bool>(ByHand<CHECKED, WIDE>);

impl<const CHECKED: bool, const WIDE: bool> Rounds for Nops<CHECKED, WIDE> {
    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        self.0.round(batch, |_| sys::io_uring_sqe {
            opcode: sys::IORING_OP_NOP,
            user_data: MARK,
            ..sys::io_uring_sqe::ZERO
        })
    }
}

struct Blocks<const CHECKED: bool>(ByHand<CHECKED, false>, Reads);

impl<const CHECKED: bool> Rounds for Blocks<CHECKED> {
    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        let reads = &mut self.1;
        self.0.round(batch, |number| {
            let (buffer, offset) = reads.next(number);
            sys::io_uring_sqe {
                opcode: sys::IORING_OP_READ,
                fd: reads.fd(),
                off: offset,
                addr: buffer as u64,
                len: Reads::LEN as u32,
                user_data: MARK,
                ..sys::io_uring_sqe::ZERO
            }
        })
    }

    fn check(&self, batch: u32) {
        self.1.check(batch);
    }
}

fn make<const CHECKED: bool>(work: Work) -> Option<Box<dyn Placed>> {
    Some(match work {
        Work::Nop => Box::new(Nops::<CHECKED, false>(ByHand::new(LARGEST))),
        Work::NopWide => Box::new(Nops::<CHECKED, true>(ByHand::new(LARGEST))),
        Work::Read => Box::new(Blocks::<CHECKED>(ByHand::new(LARGEST), Reads::new())),
    })
}

/// The fewest instructions that do it: nothing is checked.
pub(crate) fn bare(work: Work) -> Option<Box<dyn Placed>> {
    make::<false>(work)
}

/// With the checks that a program needs that wants to be right.
pub(crate) fn sound(work: Work) -> Option<Box<dyn Placed>> {
    make::<true>(work)
}
