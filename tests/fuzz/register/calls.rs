//! Everything else that can be registered: groups of provided buffers, eventfds, places in the thread's table,
//! personalities, queues of other sizes; and operations that are started and cancelled.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rawring::buf_ring::{BufRing, BufRingError, Lease, Pick};
use rawring::flags::SetupFlags;
use rawring::op::{Cancel, CancelAny, CancelFd, Nop, ReadProvided};
use rawring::operand::{File, Fixed, Group};
use rawring::register::{RegisteredRing, Resize, ResizeError};
use rawring::{Errno, Ring, UserData};
use rustix::event::{EventfdFlags, eventfd};

use super::Input;
use super::world::{CONTENTS, PIPE, Run};

/// Groups of provided buffers, with the leases on their buffers.
#[derive(Default)]
pub struct Groups([Option<(BufRing, Vec<Lease>, u16)>; 3]);

/// The numbers of groups begin here. Raw calls name others.
const FIRST: u16 = 2040;

/// The eventfd of a ring.
pub struct Signals {
    fd: OwnedFd,
    registered: bool,
    /// Only what workers post.
    asynchronous: bool,
    enabled: bool,
}

impl Signals {
    pub fn new() -> Self {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
        Signals { fd, registered: false, asynchronous: false, enabled: true }
    }

    /// How many there were since the last look.
    fn count(&self) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&self.fd, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }

    /// A raw call has registered something, which was undone.
    pub fn forget(&mut self) {
        self.registered = false;
    }
}

/// Places in this thread's table of rings.
pub struct Places<'r> {
    ring: &'r Ring,
    taken: Vec<RegisteredRing<'r>>,
}

/// How many there are.
const PLACES: u32 = 16;

impl<'r> Places<'r> {
    pub fn new(ring: &'r Ring) -> Self {
        Places { ring, taken: Vec::new() }
    }

    /// Takes a place or gives one back, for the other ring or for the run's own.
    pub fn take(&mut self, run: &mut Run, input: &mut Input<'_>) {
        let wish = input.u8();
        let own = u32::from(run.ring.is_registered());
        let full = self.taken.len() as u32 + own == PLACES;
        match input.below(8) {
            0 => {
                let taken = run.ring.register_ring_fd();
                if run.host.is_kernel() {
                    run.expect("register_ring_fd", taken, if full && own == 0 { Err(Errno::BUSY) } else { Ok(()) });
                }
                run.expect("is_registered", run.ring.is_registered(), own == 1 || taken.is_ok());
            }
            1 => {
                run.ring.unregister_ring_fd();
                run.expect("is_registered", run.ring.is_registered(), false);
            }
            2 if !self.taken.is_empty() => drop(self.taken.swap_remove(usize::from(wish) % self.taken.len())),
            _ => {
                let index = (wish & 1 == 0).then(|| u32::from(wish >> 1) % (PLACES + 3));
                let taken = self.ring.registered(index);
                if run.host.is_kernel() {
                    let is_taken = |index| self.taken.iter().any(|taken| taken.index() == index);
                    let expected = match index {
                        Some(index) if index >= PLACES => Err(Errno::INVAL),
                        Some(index) if is_taken(index) => Err(Errno::BUSY),
                        // Which place the run's own ring has, it does not say.
                        Some(_) if own == 1 && taken.is_err() => Err(Errno::BUSY),
                        None if full => Err(Errno::BUSY),
                        _ => Ok(()),
                    };
                    run.expect("registered", taken.as_ref().map(drop).map_err(|errno| *errno), expected);
                }
                if let Ok(place) = taken {
                    let fresh = self.taken.iter().all(|taken| taken.index() != place.index());
                    assert!(!run.strict || fresh && index.is_none_or(|index| index == place.index()), "{place:?}");
                    self.taken.push(place);
                }
            }
        }
    }
}

impl Run {
    /// Starts an operation on a file that never is ready, or on a slot that may hold it.
    pub fn poll(&mut self, input: &mut Input<'_>) {
        if self.polls.len() == 6 {
            return;
        }
        let slot = Fixed(input.slot());
        match self.files.get(slot) {
            Some(&(PIPE, _)) => self.start_poll(slot.into(), self.hold(slot)),
            _ => self.start_poll(File::from(self.source(PIPE)), None),
        }
    }

    pub fn cancel(&mut self, input: &mut Input<'_>) {
        match input.below(3) {
            0 => {
                let which = usize::from(input.u8()) % (self.polls.len() + 1);
                let key = self.polls.get(which).map(|poll| poll.key);
                let cancelled = self.ring.sync_cancel(Cancel::new(UserData(key.unwrap_or(1 << 40))), None);
                self.expect("sync_cancel", cancelled, if key.is_some() { Ok(0) } else { Err(Errno::NOENT) });
                if cancelled.is_ok() {
                    self.cancelled(key.as_slice());
                }
            }
            1 => {
                let source = self.source(PIPE);
                let cancelled = self.ring.sync_cancel(CancelFd::new(source).all(), None);
                // By whatever slot: the file is the same.
                self.expect("sync_cancel", cancelled, Ok(self.polls.len() as u32));
                let keys: Vec<_> = self.polls.iter().map(|poll| poll.key).collect();
                if cancelled.is_ok() {
                    self.cancelled(&keys);
                }
            }
            _ => self.cancel_all(),
        }
    }

    pub fn cancel_all(&mut self) {
        // What was submitted and has not run yet would be found, too.
        self.settle();
        let cancelled = self.ring.sync_cancel(CancelAny::new(), None);
        self.expect("sync_cancel", cancelled, Ok(self.polls.len() as u32));
        let keys: Vec<_> = self.polls.iter().map(|poll| poll.key).collect();
        self.cancelled(&keys);
    }

    pub fn make_group(&mut self, input: &mut Input<'_>) {
        let (which, count, kind) = (input.below(3), u16::from(input.below(6)), input.u8());
        let group = Group(FIRST + u16::from(which));
        let setup = BufRing::setup(group, count, 8);
        let setup = if kind & 1 == 0 { setup } else { setup.kernel_memory() };
        let there = self.groups.0[usize::from(which)].is_some();
        match setup.build(&mut self.ring) {
            Ok(bufs) => {
                assert!(!self.strict || !there && count > 0);
                assert_eq!((bufs.group(), bufs.count()), (group, count));
                // Of a kernel that lies: a second one of this number. The first keeps its memory.
                self.groups.0[usize::from(which)] = Some((bufs, Vec::new(), 0));
            }
            Err(BufRingError::Count(0)) => assert_eq!(count, 0),
            Err(error) => {
                let exists = matches!(error, BufRingError::Register { errno: Errno::EXIST, .. });
                // Simulated ones have no memory of the kernel's.
                let expected = there && exists || kind & 1 == 1 && !self.host.is_kernel();
                assert!(!self.strict || expected, "{error}");
            }
        }
        self.audit_groups();
    }

    /// Reads from a file into whatever buffer the kernel picks, and gives some of those that are held back.
    pub fn read_into_group(&mut self, input: &mut Input<'_>) {
        let (which, file, back) = (usize::from(input.below(3)), usize::from(input.below(4)), input.below(5));
        let read = ReadProvided::new(self.source(file), Group(FIRST + which as u16)).offset(0);
        // SAFETY: the file is a source.
        let Some(cqe) = (unsafe { self.run(read) }) else { return };
        let Some((bufs, held, taken)) = &mut self.groups.0[which] else {
            return self.expect("a read into no group", cqe.result(), Err(Errno::NOBUFS));
        };
        let free = held.len() < usize::from(bufs.count());
        assert!(!self.strict || cqe.result() == if free { Ok(1) } else { Err(Errno::NOBUFS) }, "{cqe:?}");
        // SAFETY: nothing but reads of this kind picks from the group, with results that are handed in once.
        match unsafe { bufs.take(&cqe, Pick::One) } {
            Ok(delivery) => {
                *taken = taken.wrapping_add(1);
                for lease in delivery {
                    assert!(!self.strict || lease[..] == CONTENTS[file..=file], "{lease:?}");
                    held.push(lease);
                }
            }
            Err(bad) => assert!(!self.strict || !free, "{bad}"),
        }
        let back = held.drain(..held.len().min(back.into()));
        bufs.give_back(back);
        self.audit_groups();
    }

    pub fn end_group(&mut self, input: &mut Input<'_>) {
        self.unregister_group(usize::from(input.below(3)));
    }

    fn unregister_group(&mut self, which: usize) {
        let Some((bufs, leases, taken)) = self.groups.0[which].take() else { return };
        if let Err(in_use) = self.ring.unregister_buf_ring(bufs) {
            assert!(!self.strict, "{in_use}");
            self.groups.0[which] = Some((in_use.bufs, leases, taken));
        } else {
            // They outlive their group.
            assert!(!self.strict || leases.iter().all(|lease| CONTENTS.contains(&lease[0])));
        }
        self.audit_groups();
    }

    pub fn end_groups(&mut self) {
        (0..self.groups.0.len()).for_each(|which| self.unregister_group(which));
    }

    /// All buffers are with the kernel or held, and the kernel has taken as many as came.
    fn audit_groups(&mut self) {
        for (group, which) in (FIRST..).map(Group).zip(0..self.groups.0.len()) {
            let head = self.ring.buf_ring_head(group);
            match &self.groups.0[which] {
                Some((bufs, held, taken)) => {
                    self.expect("buf_ring_head", head, Ok(*taken));
                    self.expect("lent", bufs.lent() as usize, usize::from(bufs.count()) - held.len());
                }
                None => self.expect("buf_ring_head", head, Err(Errno::NOENT)),
            }
        }
    }

    pub fn register_eventfd(&mut self, input: &mut Input<'_>) {
        let Signals { fd, registered, .. } = &self.signals;
        let (busy, none) = (*registered, !*registered);
        match input.below(3) {
            0 => {
                let made = self.ring.register_eventfd(Some(fd.as_fd()));
                self.expect("register_eventfd", made, if busy { Err(Errno::BUSY) } else { Ok(()) });
                if made.is_ok() {
                    (self.signals.registered, self.signals.asynchronous) = (true, false);
                }
            }
            1 => {
                let made = self.ring.register_eventfd_async(fd.as_fd());
                if self.host.is_kernel() {
                    self.expect("register_eventfd_async", made, if busy { Err(Errno::BUSY) } else { Ok(()) });
                }
                if made.is_ok() {
                    (self.signals.registered, self.signals.asynchronous) = (true, true);
                }
            }
            _ => {
                let gone = self.ring.register_eventfd(None);
                self.expect("unregistering", gone, if none { Err(Errno::NXIO) } else { Ok(()) });
                if gone.is_ok() {
                    self.signals.registered = false;
                }
            }
        }
    }

    /// Switches signals, and looks whether there are any.
    pub fn switch_eventfd(&mut self, input: &mut Input<'_>) {
        let enabled = input.u8() & 1 == 1;
        let left = self.ring.enable_eventfd(enabled);
        self.expect("enable_eventfd", left, Ok(self.ring.ready()));
        self.expect("eventfd_enabled", self.ring.eventfd_enabled(), Ok(enabled));
        self.signals.enabled = enabled;
        // What was in the queue was signalled or not.
        self.settle();
        self.signals.count();
        // SAFETY: the entry borrows nothing.
        let nop = unsafe { self.run(Nop::new()) }.map(|cqe| cqe.result());
        self.expect("a nop", nop, Some(Ok(0)));
        let Signals { registered, asynchronous, enabled, .. } = self.signals;
        let count = self.signals.count();
        // Signals may come for nothing, but not where there can be none.
        let wrong = if registered && enabled { count == 0 && !asynchronous } else { count > 0 };
        assert!(!self.strict || !wrong, "{count} signals; registered: {registered}, {asynchronous}, {enabled}");
    }

    /// Registers the credentials of the process, drops some, or has an operation use them.
    pub fn personality(&mut self, input: &mut Input<'_>) {
        let (what, which) = (input.below(3), usize::from(input.u8()));
        let kept = which % (self.personalities.len() + 1);
        match what {
            0 => match self.ring.register_personality() {
                Ok(personality) => {
                    assert!(!self.strict || !self.personalities.contains(&personality), "{personality:?}");
                    self.personalities.push(personality);
                }
                Err(errno) => assert!(!self.strict || !self.host.is_kernel(), "{errno}"),
            },
            1 if kept < self.personalities.len() => {
                let gone = self.personalities[kept];
                let dropped = self.ring.unregister_personality(gone);
                self.expect("unregister_personality", dropped, Ok(()));
                if dropped.is_ok() {
                    self.personalities.swap_remove(kept);
                    self.expect("twice", self.ring.unregister_personality(gone), Err(Errno::INVAL));
                }
            }
            _ if self.host.is_kernel() => {
                // Some that there are, and one that there is not.
                let id = self.personalities.get(kept).map_or(u16::MAX, |personality| personality.id());
                // SAFETY: the entry borrows nothing.
                let nop = unsafe { self.run(Nop::new().personality(id)) }.map(|cqe| cqe.result());
                let expected = if kept < self.personalities.len() { Ok(0) } else { Err(Errno::INVAL) };
                self.expect("a nop with credentials", nop, Some(expected));
            }
            _ => {}
        }
    }

    /// Gives the queues other sizes. What is in them, and what runs, does not notice.
    pub fn resize(&mut self, input: &mut Input<'_>) {
        let (entries, cq, clamp) = (u32::from(input.below(18)), input.u8(), input.u8());
        let resize = Resize::new(entries);
        let resize = if cq < 128 { resize } else { resize.cq_entries(u32::from(cq % 64)) };
        let resize = if clamp & 1 == 0 { resize } else { resize.clamp() };
        let before = (self.ring.sq_entries(), self.ring.cq_entries(), self.ring.pending());
        let result = self.ring.resize(resize);
        let after = (self.ring.sq_entries(), self.ring.cq_entries(), self.ring.pending());
        match result {
            Ok(()) => {
                assert!(!self.strict || self.ring.setup_flags().contains(SetupFlags::DEFER_TASKRUN));
                let sq = entries.next_power_of_two();
                let cq = if cq < 128 { 2 * sq } else { u32::from(cq % 64).next_power_of_two() };
                self.expect("sizes", after, (sq, cq, before.2));
            }
            Err(error) => {
                assert!(!self.strict || matches!(error, ResizeError::Refused(_)), "{error}");
                self.expect("sizes as before", after, before);
            }
        }
        assert!(self.ring.fd().is_some_and(|fd| fd.as_raw_fd() >= 0));
    }
}
