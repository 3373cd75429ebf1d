//! Everything that a simulated kernel knows, and the scheduler that moves it on.
//!
//! The world moves in steps, and only when somebody asks: inside of a system call, or by [`Sim::step`](super::Sim). A
//! step is one thing that a kernel could do next (an attempt at a request, a completion posted, a look of the polling
//! thread), chosen by the seed among all that could happen. Time passes a little with every step, and leaps to the
//! next timer when nothing else can happen.
//!
//! Invariant: no choice depends on anything but the seed and the calls so far. So every table here has an order.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use super::Config;
use super::handle::Ends;
use super::ledger::{Ledger, Violation};
use super::object::Objects;
use super::request::{Report, Request, RequestId, RingId, Stage};
use super::ring::{Poller, Ring};
use super::rng::Rng;
use crate::flags::SetupFlags;
use rawring_sys as sys;

/// A point in virtual time: nanoseconds of the one clock that there is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Time(pub(super) u64);

impl Time {
    pub(super) fn after(self, nanoseconds: u64) -> Time {
        Time(self.0.saturating_add(nanoseconds))
    }
}

/// When the simulation begins: late enough that no reasonable absolute time is in the past by accident.
const DAWN: Time = Time(1_000_000_000_000);

/// The longest that one step takes.
const STEP: usize = 2_000;

/// One thing that can happen next.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// A request gets on.
    Attempt(RequestId),
    /// A completion is posted.
    Post(RequestId),
    /// A polling thread looks for entries, or goes to sleep.
    Poll(RingId),
    /// What a closed ring left is ended.
    Reap(RingId),
}

/// The state of a simulated kernel.
#[derive(Debug)]
pub(super) struct World {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) now: Time,
    /// Which ring a descriptor leads to.
    pub(super) numbers: BTreeMap<RawFd, RingId>,
    /// What every other descriptor leads to.
    pub(super) objects: Objects,
    pub(super) ends: Ends,
    pub(super) rings: BTreeMap<RingId, Ring>,
    pub(super) requests: BTreeMap<RequestId, Request>,
    pub(super) ledger: Ledger,
    pub(super) violations: Vec<Violation>,
    /// Counts what could let something that waits go on.
    pub(super) activity: u64,
    next_ring: u32,
    next_request: u64,
}

impl World {
    pub(super) fn new(config: Config) -> World {
        World {
            rng: Rng::new(config.seed),
            config,
            now: DAWN,
            numbers: BTreeMap::new(),
            objects: Objects::default(),
            ends: Ends::default(),
            rings: BTreeMap::new(),
            requests: BTreeMap::new(),
            ledger: Ledger::default(),
            violations: Vec::new(),
            activity: 0,
            next_ring: 0,
            next_request: 0,
        }
    }

    /// Something happened that others may wait for.
    pub(super) fn activity(&mut self) {
        self.activity += 1;
    }

    /// Whether a number leads to anything.
    pub(super) fn is_open(&self, fd: RawFd) -> bool {
        self.numbers.contains_key(&fd) || self.objects.get(fd).is_some()
    }

    pub(super) fn add_ring(&mut self, fd: RawFd, ring: Ring) {
        let id = RingId(self.next_ring);
        self.next_ring += 1;
        self.rings.insert(id, ring);
        self.numbers.insert(fd, id);
    }

    pub(super) fn next_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// The ring's user closes it. What is in flight ends some time later.
    pub(super) fn close(&mut self, fd: RawFd) {
        if let Some(ring) = self.numbers.remove(&fd).and_then(|id| self.rings.get_mut(&id)) {
            ring.closed = true;
            // Their entries may be gone before what is in flight is.
            ring.groups.clear();
        }
        self.activity();
    }

    /// Whether completions of this ring are posted at any time, and not only when its thread visits the kernel.
    fn posts_freely(ring: &Ring) -> bool {
        ring.closed || !ring.flags.intersects(SetupFlags::COOP_TASKRUN | SetupFlags::DEFER_TASKRUN)
    }

    /// What could happen next.
    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (&id, request) in &self.requests {
            match request.stage {
                Stage::Held => {}
                Stage::Ready => actions.push(Action::Attempt(id)),
                Stage::Blocked { seen, until } => {
                    if seen != self.activity || until.is_some_and(|until| until <= self.now) {
                        actions.push(Action::Attempt(id));
                    }
                }
                Stage::Reporting(..) => {
                    if Self::posts_freely(&self.rings[&request.ring]) {
                        actions.push(Action::Post(id));
                    }
                }
            }
        }
        for (&id, ring) in &self.rings {
            if ring.closed {
                actions.push(Action::Reap(id));
            } else if ring.poller == Some(Poller::Awake) && !ring.disabled {
                actions.push(Action::Poll(id));
            }
        }
        actions
    }

    /// Does one of the things that could happen next. `false` if there is none.
    pub(super) fn step(&mut self) -> bool {
        let actions = self.actions();
        if actions.is_empty() {
            return false;
        }
        let action = actions[self.rng.below(actions.len())];
        self.now = self.now.after(self.rng.below(STEP) as u64);
        match action {
            Action::Attempt(id) => {
                self.attempt(id);
            }
            Action::Post(id) => self.post(id),
            Action::Poll(id) => self.poll(id),
            Action::Reap(id) => self.reap(id),
        }
        true
    }

    /// When the next timer ends, if anything waits for one.
    pub(super) fn next_timer(&self) -> Option<Time> {
        let timers = self.requests.values().filter_map(|request| match request.stage {
            Stage::Blocked { until, .. } => until,
            _ => None,
        });
        timers.min()
    }

    /// Lets time leap to the next timer or to the limit. `false` if there is neither.
    pub(super) fn leap(&mut self, limit: Option<Time>) -> bool {
        let Some(next) = self.next_timer().into_iter().chain(limit).min() else { return false };
        self.now = self.now.max(next);
        true
    }

    /// The polling thread of a ring takes what there is, or goes to sleep.
    fn poll(&mut self, id: RingId) {
        let Some(ring) = self.rings.get_mut(&id) else { return };
        let waiting = ring.waiting_entries();
        if waiting > 0 {
            // Without memory it tries again the next time.
            let _starved = self.submit(id, waiting);
            return;
        }
        ring.set_flag(sys::IORING_SQ_NEED_WAKEUP, true);
        // Between saying so and sleeping it looks once more, and so must we: the user may be another thread.
        if ring.waiting_entries() > 0 {
            ring.set_flag(sys::IORING_SQ_NEED_WAKEUP, false);
        } else {
            ring.poller = Some(Poller::Asleep);
        }
    }

    /// Ends what a closed ring left behind.
    fn reap(&mut self, id: RingId) {
        let left: Vec<_> = self.requests.iter().filter(|(_, request)| request.ring == id).map(|(&id, _)| id).collect();
        if left.is_empty() {
            self.rings.remove(&id);
            return;
        }
        for request in left {
            self.cancel_for_good(request);
        }
        if let Some(ring) = self.rings.get_mut(&id) {
            ring.deferred.clear();
        }
    }

    /// Ends a request whatever it waits for, and unlinks it.
    fn cancel_for_good(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.next = None;
        if !matches!(request.stage, Stage::Reporting(Report::Last | Report::Notification, _)) {
            let outcome = super::request::Outcome::errno(rustix::io::Errno::CANCELED);
            request.stage = Stage::Reporting(Report::Last, outcome);
        }
        self.post(id);
    }

    /// Tells the rings' users what only a visit brings in.
    pub(super) fn update_flags(&mut self) {
        for (id, ring) in &self.rings {
            if ring.has(SetupFlags::TASKRUN_FLAG) && !ring.closed {
                ring.set_flag(sys::IORING_SQ_TASKRUN, self.has_task_work(*id));
            }
        }
    }

    /// Whether something waits to be posted by the ring's own thread.
    pub(super) fn has_task_work(&self, id: RingId) -> bool {
        let reporting = |request: &Request| request.ring == id && matches!(request.stage, Stage::Reporting(..));
        !self.rings[&id].messages.is_empty() || self.requests.values().any(reporting)
    }

    /// The ring's own thread posts what there is to post.
    pub(super) fn run_task_work(&mut self, id: RingId) {
        loop {
            let ring = self.rings.get_mut(&id).expect("the caller's ring");
            while let Some(message) = ring.messages.pop_front() {
                ring.post(message);
                self.activity += 1;
            }
            let reporting = |request: &Request| request.ring == id && matches!(request.stage, Stage::Reporting(..));
            let pending: Vec<_> =
                self.requests.iter().filter(|(_, request)| reporting(request)).map(|(&id, _)| id).collect();
            if pending.is_empty() {
                return;
            }
            for request in pending {
                self.post(request);
            }
        }
    }
}
