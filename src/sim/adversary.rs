//! A kernel that lies.
//!
//! What a kernel says in shared memory and in its answers can be wrong: by its own fault, by a bad emulation, by somebody
//! who writes to the memory. The crate answers with errors, or does not get on, but never with undefined behaviour. Here
//! is who says the wrong things, so that tests can see that.
//!
//! Where lies end: a kernel that says an operation is over while it still uses the memory, or that it has not taken an
//! entry that it runs, cannot be told from one that is right. No user of io_uring can be safe from that, and no lie
//! here goes so far. All others are told for a moment, and the truth is back with the next call, so that what waits can
//! end.

use std::os::fd::RawFd;

use rustix::io::Errno;

use super::request::RingId;
use super::ring::{Completion, Ring};
use super::world::World;
use crate::flags::{CqeFlags, SetupFlags};
use crate::op;
use crate::user_data::UserData;
use rawring_sys as sys;

bitflags::bitflags! {
    /// What a simulated kernel lies about. See [`Config::lies`](super::Config::lies).
    ///
    /// It never lies about what nobody could defend against: that an operation is over, or that an entry was not taken.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Lies: u32 {
        /// New rings: offsets, sizes, masks, features, flags.
        const SETUP = 1;
        /// Positions that are nowhere near the queues, and flags that nobody knows.
        const WORDS = 1 << 1;
        /// Completions that belong to nothing: foreign values, reserved ones, those of operations that are over, shots
        /// that never were, and flags in odd places.
        const COMPLETIONS = 1 << 2;
        /// Numbers of entries taken that were never there.
        const COUNTS = 1 << 3;
        /// Errors of `io_uring_enter` that say "try again" for no reason.
        const RETRIES = 1 << 4;
        /// Any errors, of any call. A `scope` that cannot wait for its operations aborts the process.
        const ERRORS = 1 << 5;
        /// What the kernel says of itself when it is asked.
        const PROBES = 1 << 6;
        /// A tail that is ahead by no more than a queue's length: slots that hold no completion look as if they did, and
        /// the real completions in them are lost. What waits for those waits for ever.
        const TAIL = 1 << 7;
        /// Completions that name a provided buffer that there is not, or that count bytes which are in none. The right one
        /// is lost.
        const BUFFERS = 1 << 8;
    }
}

/// In a slot or a generation: one that nobody gets to.
const FAR: u32 = 1 << 23;

/// The buffer that a completion names, if it names one.
fn named(flags: u32) -> u16 {
    (flags >> sys::IORING_CQE_BUFFER_SHIFT) as u16
}

impl World {
    /// Whether to lie about this, now.
    fn lies(&mut self, about: Lies) -> bool {
        self.config.lies.contains(about) && self.rng.percent(self.config.lying)
    }

    /// Any error, also such as there is not.
    fn any_error(&mut self) -> Errno {
        Errno::from_raw_os_error(1 + self.rng.below(4095) as i32)
    }

    /// Before a call: an error instead of it, or back to the truth.
    pub(super) fn before_call(&mut self, fd: RawFd) -> Result<(), Errno> {
        if self.lies(Lies::ERRORS) {
            return Err(self.any_error());
        }
        if let (false, Some(&id)) = (self.config.lies.is_empty(), self.numbers.get(&fd)) {
            self.ring(id).tell_the_truth();
        }
        Ok(())
    }

    /// Lies about a call that has just been made.
    pub(super) fn distort(&mut self, fd: RawFd, asked: u32, result: Result<u32, Errno>) -> Result<u32, Errno> {
        let (false, Some(&id)) = (self.config.lies.is_empty(), self.numbers.get(&fd)) else { return result };
        if self.lies(Lies::COMPLETIONS) {
            for _ in 0..=self.rng.below(3) {
                self.post_a_lie(id);
            }
        }
        if self.lies(Lies::WORDS) {
            self.scribble(id);
        }
        if self.lies(Lies::TAIL) {
            let ahead = 1 + self.rng.below(self.rings[&id].cq_entries() as usize) as u32;
            self.ring(id).pretend_tail(ahead);
        }
        // Entries that were taken would be given to the kernel again, and run twice.
        let rewinds = self.ring(id).has(SetupFlags::SQ_REWIND);
        match result {
            Ok(taken) if self.lies(Lies::COUNTS) => {
                let lies = [taken.saturating_add(1), asked.saturating_mul(2), u32::MAX, 1 << 31, 0];
                let lie = lies[self.rng.below(lies.len())];
                Ok(if rewinds { lie.max(taken) } else { lie })
            }
            Ok(taken) if rewinds && taken > 0 => Ok(taken),
            Ok(_) if self.lies(Lies::RETRIES) => {
                let lies = [Errno::INTR, Errno::AGAIN, Errno::BUSY, Errno::BADR];
                Err(lies[self.rng.below(lies.len())])
            }
            Ok(_) if self.lies(Lies::ERRORS) => Err(self.any_error()),
            result => result,
        }
    }

    /// Positions and flags that cannot be.
    fn scribble(&mut self, id: RingId) {
        let (far, flags) = (self.rng.next() as u32, self.rng.next() as u32);
        let ring = self.ring(id);
        match far % 3 {
            // The user may have consumed more than its head says yet.
            0 => ring.pretend_tail(2 * ring.cq_entries() + 1 + far % (1 << 30)),
            1 => ring.pretend_head(1 + far % (1 << 30)),
            _ => ring.pretend_flags(flags),
        }
    }

    /// Posts a completion that belongs to nothing, if there is room.
    fn post_a_lie(&mut self, id: RingId) {
        let user_data = self.nobody(id);
        let (res, big) = (self.rng.next() as i32, [self.rng.next(), self.rng.next()]);
        let mut flags = self.rng.next() as u32;
        let mut user_data = user_data;
        if self.rng.percent(20) {
            // A shot of an operation that goes on. Only a zero-copy send would be mistaken for one that was sent.
            let shot = |(_, request): (_, &super::request::Request)| {
                (request.ring == id && !op::notifies(request.opcode)).then_some(request.user_data)
            };
            let live: Vec<_> = self.requests.iter().filter_map(shot).collect();
            if !live.is_empty() {
                user_data = live[self.rng.below(live.len())];
                flags |= sys::IORING_CQE_F_MORE;
            }
        }
        if self.ring(id).groups.may_have(named(flags)) {
            // Whoever believes it would use a buffer together with us, and nobody could tell.
            flags &= !sys::IORING_CQE_F_BUFFER;
        }
        self.ring(id).put_a_lie(Completion { user_data, res, flags, big });
    }

    /// Names a buffer that there is not, or counts bytes that it does not have. Never another buffer: a user who is told that
    /// one was filled has to believe it.
    pub(super) fn distort_buffer(&mut self, id: RingId, completion: &mut Completion) {
        if completion.flags & sys::IORING_CQE_F_BUFFER == 0 || !self.lies(Lies::BUFFERS) {
            return;
        }
        if self.rng.percent(30) {
            completion.res = [i32::MAX, 1 << 24][self.rng.below(2)];
            return;
        }
        let lie = [self.rng.next() as u16, u16::MAX][self.rng.below(2)];
        if !self.ring(id).groups.may_have(lie) {
            completion.flags = completion.flags & 0xffff | u32::from(lie) << sys::IORING_CQE_BUFFER_SHIFT;
        }
    }

    /// A value that no operation on the ring has.
    fn nobody(&mut self, id: RingId) -> u64 {
        let random = self.rng.next();
        // Of this ring only: another's keys may be those that this one uses next.
        let past = self.ledger.promises();
        let past: Vec<_> = past.iter().filter(|promise| promise.ring == id.0).collect();
        let past = |n: u64| past.get(n as usize % past.len().max(1)).map_or(n, |promise| promise.user_data.0);
        let lie = match random % 5 {
            0 => random,
            1 => 0,
            // Slots that there are not, and generations that are far away: none that will be used soon, for that would
            // be to say that an operation is over.
            2 => UserData::token(random as u32 | FAR, (random >> 32) as u32).0,
            3 => UserData::token((random >> 8) as u32 % 8, (random >> 32) as u32 | FAR).0,
            _ => past(random >> 8),
        };
        let live = self.requests.values().any(|request| request.ring == id && request.user_data == lie);
        if live || self.ring(id).has_waiting(lie) { !UserData::token(0, 0).0 } else { lie }
    }

    /// Lies about a ring that was just made.
    pub(super) fn distort_setup(&mut self, id: RingId, params: &mut sys::io_uring_params) {
        if !self.lies(Lies::SETUP) {
            return;
        }
        let n = self.rng.next() as u32;
        match n % 6 {
            0 => params.features &= !(1 << ((n >> 8) % 10)),
            1 => params.flags |= 1 << (24 + ((n >> 8) % 8)),
            2 => params.sq_entries = [0, 3, params.sq_entries * 2, 1 << 20, u32::MAX][(n >> 8) as usize % 5],
            3 => params.cq_entries = [0, 3, params.cq_entries * 2, 1 << 16, u32::MAX][(n >> 8) as usize % 5],
            4 => self.ring(id).distort_sizes(n >> 8),
            _ => {
                let (sq, cq) = (&mut params.sq_off, &mut params.cq_off);
                let taken = cq.cqes;
                let offsets = [
                    &mut sq.head,
                    &mut sq.tail,
                    &mut sq.flags,
                    &mut sq.ring_mask,
                    &mut sq.dropped,
                    &mut cq.head,
                    &mut cq.tail,
                    &mut cq.overflow,
                    &mut cq.ring_entries,
                ];
                let which = (n >> 8) as usize % offsets.len();
                // Outside, across two words, or where something else lies. Elsewhere a ring could be that does not work.
                let lies = [u32::MAX, u32::MAX - 3, 1 << 30, *offsets[which] + 2, taken];
                let lie = lies[(n >> 16) as usize % lies.len()];
                *offsets.into_iter().nth(which).expect("one of them") = lie;
            }
        }
    }

    /// Lies about what the kernel has.
    pub(super) fn distort_answer(&mut self, bytes: &mut [u8]) {
        if !self.lies(Lies::PROBES) {
            return;
        }
        for byte in bytes {
            if self.rng.percent(30) {
                *byte = self.rng.next() as u8;
            }
        }
    }

    /// From now on, the truth, where nothing else is asked for.
    pub(super) fn repent(&mut self) {
        self.rings.values_mut().for_each(Ring::tell_the_truth);
    }
}

impl Ring {
    /// A tail of the completion queue so far ahead of what the user has consumed.
    fn pretend_tail(&self, ahead: u32) {
        let (head, _) = self.cq_positions();
        self.store(self.layout.cq_tail, head.wrapping_add(ahead));
    }

    /// A head of the submission queue so far ahead of what the user has pushed.
    fn pretend_head(&self, ahead: u32) {
        if !self.has(SetupFlags::SQ_REWIND) {
            let tail = self.load(self.layout.sq_tail);
            // Also ahead of what is yet to be published.
            self.store(self.layout.sq_head, tail.wrapping_add(self.layout.sq_entries).wrapping_add(ahead));
        }
    }

    /// Flags that mean nothing, or nothing here.
    fn pretend_flags(&self, flags: u32) {
        let known = sys::IORING_SQ_NEED_WAKEUP | sys::IORING_SQ_CQ_OVERFLOW | sys::IORING_SQ_TASKRUN;
        self.set_flag(flags & !known | sys::IORING_SQ_CQ_OVERFLOW, true);
    }

    fn tell_the_truth(&mut self) {
        let (head, (_, tail)) = (self.head, self.cq_positions());
        if !self.has(SetupFlags::SQ_REWIND) {
            self.store(self.layout.sq_head, head);
        }
        self.store(self.layout.cq_tail, tail);
        let known = sys::IORING_SQ_NEED_WAKEUP | sys::IORING_SQ_CQ_OVERFLOW | sys::IORING_SQ_TASKRUN;
        self.set_flag(!known, false);
        self.set_flag(sys::IORING_SQ_CQ_OVERFLOW, !self.overflow.is_empty());
    }

    /// Sizes and masks that are not those of the parameters.
    fn distort_sizes(&self, n: u32) {
        let words = [
            self.layout.sq_ring_mask,
            self.layout.cq_ring_mask,
            self.layout.sq_ring_entries,
            self.layout.cq_ring_entries,
        ];
        let word = words[n as usize % words.len()];
        self.store(word, !self.load(word));
    }

    /// Whether an entry that was not taken yet has this value.
    fn has_waiting(&self, user_data: u64) -> bool {
        (0..self.layout.sq_entries as usize)
            .any(|slot| self.entry(slot << self.layout.sqe_shift).user_data == user_data)
    }

    /// Posts a completion with flags that may be wrong, if there is room for it.
    fn put_a_lie(&mut self, lie: Completion) {
        let wide = CqeFlags::from_bits_retain(lie.flags).contains(CqeFlags::WIDE);
        let slots = if wide && self.has(SetupFlags::CQE_MIXED) { 2 } else { 1 };
        if self.overflow.is_empty() && self.ready() + slots <= self.cq_entries() {
            // Both halves, wherever in the queue that is: across its end, too.
            self.put_at_tail(lie);
            if slots == 2 {
                self.put_at_tail(Completion { user_data: lie.big[0], res: 0, flags: 0, big: [0; 2] });
            }
        }
    }
}
