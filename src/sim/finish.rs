//! How requests get on and end: attempts, completions, and what a completion sets off (links, limits, drains).

use rustix::io::Errno;

use super::ledger::Violation;
use super::ops::{Progress, Turn};
use super::request::{Outcome, Report, Request, RequestId, RingId, Stage};
use super::world::World;
use rawring_sys as sys;

impl World {
    /// Gives a request a turn. Tells whether there is something to post now.
    pub(super) fn attempt(&mut self, id: RequestId) -> bool {
        let Some(mut request) = self.requests.remove(&id) else { return false };
        let mut op = request.op.take().expect("a request that can be attempted was prepared");
        let progress = op.attempt(&mut Turn { world: self, id, request: &mut request });
        request.op = Some(op);
        let reporting = !matches!(progress, Progress::Blocked | Progress::Until(_));
        if reporting {
            self.activity();
        }
        let seen = self.activity;
        request.stage = match progress {
            Progress::Done(outcome) if request.sent => Stage::Reporting(Report::Notification, outcome),
            Progress::Done(outcome) => Stage::Reporting(Report::Last, outcome),
            Progress::More(outcome) => Stage::Reporting(Report::Shot, outcome),
            Progress::Sent(outcome) => Stage::Reporting(Report::Sent, outcome),
            Progress::Blocked => Stage::Blocked { seen, until: None },
            Progress::Until(time) => Stage::Blocked { seen, until: Some(time) },
        };
        self.requests.insert(id, request);
        reporting
    }

    /// Posts what a request reports, if it does, and lets happen what follows from it.
    pub(super) fn post(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Stage::Reporting(report, outcome) = request.stage else { return };
        let ring = request.ring;
        if let Some(took) = request.took.take() {
            let earlier = |request: &Request| request.ring == ring && request.took.is_some_and(|other| other < took);
            let of = |(&id, request): (&RequestId, &Request)| earlier(request).then_some((request.took, id));
            while let Some((_, first)) = self.requests.iter().filter_map(of).min() {
                self.post(first);
            }
        }
        self.activity += 1;
        match report {
            // Without room there are no more shots: the last one says so, and goes to the overflow list.
            Report::Shot if self.rings[&ring].has_room() => {
                self.settle(id);
                self.announce(id, outcome, sys::IORING_CQE_F_MORE);
                let request = self.request(id);
                request.stage = match (&mut request.op, request.cancelled) {
                    (Some(op), true) => Stage::Reporting(Report::Last, op.cancelled()),
                    _ => Stage::Ready,
                };
            }
            Report::Sent => {
                self.announce(id, outcome, sys::IORING_CQE_F_MORE);
                let request = self.request(id);
                request.sent = true;
                request.stage = Stage::Ready;
                self.follow(id, outcome.failed);
            }
            Report::Shot | Report::Last => {
                let request = self.request(id);
                if outcome.failed && request.failed.is_none() {
                    request.fail();
                }
                self.settle(id);
                if !self.request(id).skip {
                    self.announce(id, outcome, 0);
                }
                self.follow(id, outcome.failed);
                self.end(id, ring);
            }
            Report::Notification => {
                self.settle(id);
                self.announce(id, outcome, sys::IORING_CQE_F_NOTIF);
                self.end(id, ring);
            }
        }
    }

    fn request(&mut self, id: RequestId) -> &mut Request {
        self.requests.get_mut(&id).expect("the caller has it")
    }

    /// Posts a completion of a request.
    fn announce(&mut self, id: RequestId, outcome: Outcome, flags: u32) {
        let request = &self.requests[&id];
        let mut completion = request.completion(outcome, flags);
        let of = request.ring;
        self.distort_buffer(of, &mut completion);
        let ring = self.rings.get_mut(&of).expect("a ring is there while it has requests");
        if ring.closed {
            return;
        }
        if !ring.has_room() && self.rng.percent(self.config.lose) {
            ring.lose();
        } else {
            ring.post(completion);
            self.ledger.posted(id, completion.res, completion.flags);
        }
    }

    /// Ends the loans of a request.
    fn settle(&mut self, id: RequestId) {
        let request = self.request(id);
        let (opcode, user_data) = (request.opcode, request.user_data);
        for breach in request.loans.settle() {
            self.violations.push(Violation::new(breach, opcode, user_data));
        }
    }

    /// The request is over.
    fn end(&mut self, id: RequestId, ring: RingId) {
        self.requests.remove(&id);
        self.ledger.ended(id);
        self.post_tags(ring);
        let of = self.ring(ring);
        if !of.drain_active || of.closed {
            return;
        }
        let drained = of.draining == Some(id);
        if drained {
            of.draining = None;
        }
        let goes_on = self.queue_deferred(ring);
        let of = self.ring(ring);
        if drained && !goes_on && of.deferred.is_empty() {
            of.drain_active = false;
        }
    }

    /// Starts, or fails, what is linked behind a request.
    fn follow(&mut self, id: RequestId, failed: bool) {
        let request = self.request(id);
        let mut next = request.next.take();
        let hard = request.has(sys::IOSQE_IO_HARDLINK);
        let skip = request.skip_links;
        if std::mem::take(&mut request.limited) {
            next = next.and_then(|limit| self.disarm(limit));
        }
        let Some(next) = next else { return };
        if !failed || hard {
            self.start(next);
            return;
        }
        let mut each = Some(next);
        while let Some(request) = each.and_then(|id| self.requests.get_mut(&id)) {
            request.flags &= !sys::IOSQE_IO_HARDLINK;
            request.failed.get_or_insert(-Errno::CANCELED.raw_os_error());
            request.skip = skip;
            request.skip_links = skip;
            each = request.next;
        }
        let request = self.request(next);
        let outcome = Outcome::of(request.failed.unwrap_or_default()).failing(true);
        request.stage = Stage::Reporting(Report::Last, outcome);
    }

    /// Ends a `LINK_TIMEOUT` whose request has ended, and tells what is linked behind it.
    fn disarm(&mut self, limit: RequestId) -> Option<RequestId> {
        let limit = self.requests.get_mut(&limit)?;
        limit.stage = Stage::Reporting(Report::Last, Outcome::errno(Errno::CANCELED).failing(false));
        limit.next.take()
    }
}
