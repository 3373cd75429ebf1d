//! The ways into a ring, as a run sees them: the unsafe one, a scope, states in flight.
//!
//! Each takes the ring, goes through the steps, ends what is left, and gives the ring back if that worked.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rawring::buf_ring::BufRing;
use rawring::flags::{CancelFlags, CqeFlags};
use rawring::op::CancelAny;
use rawring::{Cqe, Done, Errno, Event as Seen, InFlight, Reason, Refused, Ring, Scope, Ticket, UserData, Wait};
use rawring_sys as sys;

use super::job::{Built, Job, Key};
use super::ledger::Ledger;
use super::program::Door;
use super::run::{Reaped, Run, Way};
use super::trace::Event;
use super::world::{PATIENCE, World};

/// Entries through `push_unchecked`. Their memory stays in boxes until the kernel is done with it.
pub(super) struct Unchecked<S> {
    ring: Ring,
    jobs: Vec<Option<Box<Job<S>>>>,
    bufs: Option<Rc<BufRing>>,
}

pub fn unchecked<W: World>(run: &mut Run<'_, W>, ring: Ring) -> Option<Ring> {
    let mut way = Unchecked::new(ring, run.buffers.ring());
    run.drive(&mut way);
    run.trace.events.push(Event::Ending);
    let start = Instant::now();
    let mut quiet = 0;
    // A chain on a worker, of which nobody hears, may be between two of its entries.
    let calm = if Ledger::new(run.program, &run.trace).has_silent() { 10 } else { 2 };
    while quiet < calm {
        let before = run.trace.events.len();
        let found = way.cancel_everything();
        run.submit(&mut way, &Wait::new(0));
        run.submit(&mut way, &Wait::new(2).timeout(Duration::from_millis(1)));
        run.reap(&mut way);
        let something = run.trace.events[before..].iter().any(|event| {
            matches!(event, Event::Completed(completion)
                if completion.key != Key::Cancel || completion.result != Ok(0))
        });
        let answered = run.trace.events[before..]
            .iter()
            .any(|event| matches!(event, Event::Completed(completion) if completion.key == Key::Cancel));
        let left = Ledger::new(run.program, &run.trace).unended();
        quiet = if something || !answered || found || !left.is_empty() { 0 } else { quiet + 1 };
        if start.elapsed() > PATIENCE / 4 {
            run.hang_up_all();
        }
        if start.elapsed() > PATIENCE {
            run.trace.wrong(format!("cancelled, and with all other sides closed, these entries do not end: {left:?}"));
            // The kernel may still use their memory.
            std::mem::forget(way.jobs);
            return None;
        }
    }
    for job in way.jobs.into_iter().flatten() {
        run.finished(*job);
    }
    Some(way.ring)
}

impl<S: std::os::fd::AsFd> Unchecked<S> {
    pub(super) fn new(ring: Ring, bufs: Option<Rc<BufRing>>) -> Self {
        Unchecked { ring, jobs: Vec::new(), bufs }
    }

    /// Ends everything on a simulated kernel, which says when that is done.
    #[cfg(feature = "sim")]
    pub(super) fn end(mut self, world: &super::sim::Simulated) {
        for _ in 0..1000 {
            if world.sim().in_flight() == 0 {
                return;
            }
            let _full = self.cancel_everything();
            let _retry = self.ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(1)));
            // Notifications come by themselves.
            world.sim().advance(Duration::from_millis(1));
            while self.ring.completions().next().is_some() {}
        }
        // The simulated kernel still uses their memory. A leak checker shall see that it is meant to stay.
        static KEPT: std::sync::Mutex<Vec<usize>> = std::sync::Mutex::new(Vec::new());
        let kept = Box::into_raw(Box::new(self.jobs)).expose_provenance();
        KEPT.lock().expect("nobody panics with it").push(kept);
    }

    /// Cancels by a call, which no drain holds back, and by an entry, which says whether there was anything. True if
    /// the entry had no room.
    fn cancel_everything(&mut self) -> bool {
        let mut request = sys::io_uring_sync_cancel_reg {
            fd: -1,
            flags: sys::IORING_ASYNC_CANCEL_ALL | sys::IORING_ASYNC_CANCEL_ANY,
            timeout: sys::__kernel_timespec { tv_sec: 0, tv_nsec: 1 },
            ..sys::io_uring_sync_cancel_reg::ZERO
        };
        // SAFETY: the argument is one request, read during the call. Before Linux 6.0 there is no such call.
        let _none = unsafe { self.ring.register_raw(sys::IORING_REGISTER_SYNC_CANCEL, (&raw mut request).cast(), 1) };
        let entry = CancelAny::new().cancel_flags(CancelFlags::ALL).user_data(Key::Cancel.pack());
        self.ring.push(entry).is_err()
    }
}

impl<S: std::os::fd::AsFd> Way<S> for Unchecked<S> {
    fn push(&mut self, job: Job<S>) -> Result<(), (Job<S>, Reason)> {
        let mut job = Box::new(job);
        let pointer: *mut Job<S> = &raw mut *job;
        // SAFETY: the box stays in `jobs` until the entry has ended, and is leaked if that does not happen.
        let built = unsafe { &mut *pointer }.build();
        // SAFETY: as above, for what the entry borrows from its job and the objects that the job keeps. Its key is not
        // reserved.
        let pushed = unsafe {
            match built {
                Built::Narrow(sqe) => self.ring.push_unchecked(sqe).map_err(|refused| refused.reason),
                Built::Wide(sqe) => self.ring.push128_unchecked(sqe).map_err(|refused| refused.reason),
            }
        };
        match pushed {
            Ok(()) => {
                self.jobs.push(Some(job));
                Ok(())
            }
            Err(reason) => Err((*job, reason)),
        }
    }

    fn key(&self, entry: usize) -> UserData {
        Key::Entry(entry).pack()
    }

    fn withdraw(&mut self, _: usize) {}

    fn submit(&mut self, wait: &Wait<'_>) -> Result<u32, Errno> {
        self.ring.submit_with(wait).map(|submitted| submitted.entries)
    }

    fn next(&mut self) -> Option<Reaped<S>> {
        let cqe = self.ring.peek().ok()?.next()?;
        let key = Key::unpack(cqe.user_data());
        let mut reaped = Reaped { key, cqe, job: None, delivery: None };
        let Key::Entry(index) = key else { return Some(reaped) };
        let Some(job) = self.jobs.get_mut(index) else { return Some(reaped) };
        let pick = job.as_ref().and_then(|job| job.entry.op.picks());
        if let (Some(pick), Some(bufs), Some(_)) = (pick, &self.bufs, cqe.buffer_id()) {
            // SAFETY: reaped once, just now, from the ring of this group, whose only one it is, and its entry is the one
            // that picks so. The promises of incremental groups are kept by `fitted`.
            reaped.delivery = Some(unsafe { bufs.take(&cqe, pick) });
        }
        if !cqe.more() {
            reaped.job = job.take().map(|job| *job);
        }
        Some(reaped)
    }

    fn room(&self) -> u32 {
        self.ring.room()
    }

    fn in_flight(&self) -> Option<usize> {
        None
    }

    fn ring(&self) -> Option<&Ring> {
        Some(&self.ring)
    }
}

/// Entries in a scope. They borrow from outside of it, so what they read is looked at when it is over.
pub(super) struct Scoped<'s, 'r, 'env, S> {
    scope: &'s mut Scope<'r, 'env>,
    places: std::slice::IterMut<'env, Option<Job<S>>>,
    tickets: Vec<Ticket>,
}

pub fn scope<W: World>(run: &mut Run<'_, W>, mut ring: Ring) -> Option<Ring> {
    // An entry that was refused for its flag takes a second place.
    let mut jobs: Vec<Option<Job<W::Side>>> = Vec::new();
    jobs.resize_with(8 * run.program.steps.len().max(1), || None);
    let panics = run.program.door == Door::Panic;
    let left = catch_unwind(AssertUnwindSafe(|| {
        ring.scope(|scope| {
            let mut way = Scoped::new(scope, &mut jobs);
            run.drive(&mut way);
            run.trace.events.push(Event::Ending);
            if panics {
                resume_unwind(Box::new("on purpose"));
            }
        })
    }));
    match left {
        Ok(Err(error)) => run.trace.wrong(format!("no scope: {error}")),
        Ok(Ok(())) if panics => run.trace.wrong("the panic did not leave the scope"),
        Err(panic) if !panics => resume_unwind(panic),
        Ok(Ok(())) | Err(_) => {}
    }
    // Those that still want to skip are the refused ones: they were never in the ring.
    for job in jobs.into_iter().flatten().filter(|job| !job.entry.skip) {
        run.finished(job);
    }
    Some(ring)
}

impl<'s, 'r, 'env, S> Scoped<'s, 'r, 'env, S> {
    pub(super) fn new(scope: &'s mut Scope<'r, 'env>, places: &'env mut [Option<Job<S>>]) -> Self {
        Scoped { scope, places: places.iter_mut(), tickets: Vec::new() }
    }
}

impl<'env, S: std::os::fd::AsFd> Way<S> for Scoped<'_, '_, 'env, S> {
    fn push(&mut self, job: Job<S>) -> Result<(), (Job<S>, Reason)> {
        // Refused before it is lent: what was lent for as long as the scope lasts does not come back earlier.
        if self.scope.room() < job.slots() {
            return Err((job, Reason::Full));
        }
        let place = self.places.next().expect("a place for each entry");
        let skips = job.entry.skip;
        let again = skips.then(|| job.again());
        let pushed = match place.insert(job).build() {
            Built::Narrow(sqe) => self.scope.push(sqe).map_err(|refused| refused.reason),
            Built::Wide(sqe) => self.scope.push128(sqe).map_err(|refused| refused.reason),
        };
        match (pushed, again) {
            (Ok(ticket), _) => {
                self.tickets.push(ticket);
                Ok(())
            }
            (Err(reason), Some(again)) => Err((again, reason)),
            (Err(reason), None) => panic!("a scope with room has refused an entry: {reason}"),
        }
    }

    fn key(&self, entry: usize) -> UserData {
        self.tickets[entry].key()
    }

    fn withdraw(&mut self, entry: usize) {
        self.scope.cancel(self.tickets[entry]).expect("who asks has seen to room");
    }

    fn submit(&mut self, wait: &Wait<'_>) -> Result<u32, Errno> {
        self.scope.submit_with(wait).map(|submitted| submitted.entries)
    }

    fn next(&mut self) -> Option<Reaped<S>> {
        let cqe = self.scope.completion().or_else(|| self.scope.foreign())?;
        Some(Reaped { key: Key::unpack(cqe.user_data()), cqe, job: None, delivery: self.scope.delivered() })
    }

    fn room(&self) -> u32 {
        self.scope.room()
    }

    fn in_flight(&self) -> Option<usize> {
        Some(self.scope.in_flight())
    }

    fn ring(&self) -> Option<&Ring> {
        None
    }
}

/// Entries that own what they use.
pub(super) struct Owned<S: 'static> {
    ring: InFlight<Job<S>>,
    tickets: Vec<Ticket>,
    /// The latest completion with more to come of each entry.
    latest: Vec<Option<Cqe>>,
    /// What is to be handed out before the next event is asked for.
    waiting: Option<Reaped<S>>,
    wrong: Vec<String>,
}

pub fn in_flight<W: World>(run: &mut Run<'_, W>, ring: Ring) -> Option<Ring> {
    let ring = match InFlight::new(ring) {
        Ok(ring) => ring,
        Err(unfit) => {
            run.trace.wrong(format!("no states in flight: {unfit}"));
            return None;
        }
    };
    let mut way = Owned::new(ring);
    run.drive(&mut way);
    run.trace.events.push(Event::Ending);
    let Owned { ring, tickets, mut latest, mut wrong, .. } = way;
    let drained = match ring.shutdown() {
        Ok(drained) => drained,
        Err(error) => {
            run.trace.wrong(format!("shutting down failed: {error}"));
            return None;
        }
    };
    for done in drained.ended {
        for reaped in sort(done, &tickets, &mut latest, &mut wrong).into_iter().flatten() {
            run.completed(reaped);
        }
    }
    if !drained.unsubmitted.is_empty() {
        run.trace.wrong(format!("{} entries were submitted, and came back as if not", drained.unsubmitted.len()));
    }
    run.trace.violations.extend(wrong);
    Some(drained.ring)
}

/// The one or two completions of an operation that has ended which are not known yet.
fn sort<S>(
    Done { state, ticket, cqe, notification }: Done<Job<S>>,
    tickets: &[Ticket],
    latest: &mut [Option<Cqe>],
    wrong: &mut Vec<String>,
) -> [Option<Reaped<S>>; 2] {
    let index = state.index;
    let key = Key::Entry(index);
    if tickets[index] != ticket {
        wrong.push(format!("the state of entry {index} came back with the ticket of another"));
    }
    let delivery = None;
    let Some(notification) = notification else { return [Some(Reaped { key, cqe, job: Some(state), delivery }), None] };
    let first = match latest[index].take() {
        None => Some(Reaped { key, cqe, job: None, delivery: None }),
        Some(seen) if seen == cqe => None,
        Some(seen) => {
            wrong.push(format!("entry {index} ended with {cqe:?} instead of its result, {seen:?}"));
            None
        }
    };
    let res = if notification.copied { i32::MIN } else { 0 };
    let cqe = Cqe::new(ticket.key(), res, CqeFlags::NOTIF);
    [first, Some(Reaped { key, cqe, job: Some(state), delivery })]
}

impl<S> Owned<S> {
    pub(super) fn new(ring: InFlight<Job<S>>) -> Self {
        Owned { ring, tickets: Vec::new(), latest: Vec::new(), waiting: None, wrong: Vec::new() }
    }
}

impl<S: std::os::fd::AsFd> Way<S> for Owned<S> {
    fn push(&mut self, job: Job<S>) -> Result<(), (Job<S>, Reason)> {
        let started = if job.is_wide() {
            self.ring.start128(job, |job| match job.build() {
                Built::Narrow(sqe) => sqe.into(),
                Built::Wide(sqe) => sqe,
            })
        } else {
            self.ring.start(job, |job| match job.build() {
                Built::Narrow(sqe) => sqe,
                Built::Wide(_) => unreachable!("the job says that it is not wide"),
            })
        };
        match started {
            Ok(ticket) => {
                self.tickets.push(ticket);
                self.latest.push(None);
                Ok(())
            }
            Err(Refused { entry, reason }) => Err((entry, reason)),
        }
    }

    fn key(&self, entry: usize) -> UserData {
        self.tickets[entry].key()
    }

    fn withdraw(&mut self, entry: usize) {
        self.ring.cancel(self.tickets[entry]).expect("who asks has seen to room");
    }

    fn submit(&mut self, wait: &Wait<'_>) -> Result<u32, Errno> {
        self.ring.submit_with(wait).map(|submitted| submitted.entries)
    }

    fn next(&mut self) -> Option<Reaped<S>> {
        if let Some(waiting) = self.waiting.take() {
            return Some(waiting);
        }
        let event = self.ring.next_event()?;
        let delivery = self.ring.delivered();
        match event {
            Seen::Foreign(cqe) => Some(Reaped { key: Key::unpack(cqe.user_data()), cqe, job: None, delivery }),
            Seen::More(ticket, cqe) => {
                let index =
                    self.tickets.iter().position(|&known| known == ticket).expect("a ticket that was given out");
                self.latest[index] = Some(cqe);
                Some(Reaped { key: Key::Entry(index), cqe, job: None, delivery })
            }
            Seen::Done(done) => {
                let mut reaped = sort(done, &self.tickets, &mut self.latest, &mut self.wrong).into_iter().flatten();
                let first = reaped.next();
                self.waiting = reaped.next();
                first.map(|first| Reaped { delivery, ..first })
            }
        }
    }

    fn room(&self) -> u32 {
        self.ring.room()
    }

    fn in_flight(&self) -> Option<usize> {
        Some(self.ring.in_flight())
    }

    fn ring(&self) -> Option<&Ring> {
        Some(self.ring.ring())
    }
}
