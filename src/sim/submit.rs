//! Taking entries: what is checked when an entry is consumed, and how chains and drains come about.
//!
//! As the kernel: without `SUBMIT_ALL` a malformed entry that ends no chain, or ends one, stops the submission; inside
//! of a chain it is remembered, and the chain fails as a whole when it is complete. A chain ends with the first entry
//! without a link, or with the submission.

use rustix::io::Errno;

use super::ledger::Promise;
use super::ops::{self, Prepare};
use super::request::{Outcome, Report, Request, RequestId, RingId, Stage};
use super::ring::{Deferred, Taken};
use super::user::Loans;
use super::world::World;
use crate::flags::SetupFlags;
use rawring_sys as sys;

/// Flags that an entry can have.
const KNOWN: u8 = sys::IOSQE_FIXED_FILE
    | sys::IOSQE_IO_DRAIN
    | sys::IOSQE_IO_LINK
    | sys::IOSQE_IO_HARDLINK
    | sys::IOSQE_ASYNC
    | sys::IOSQE_BUFFER_SELECT
    | sys::IOSQE_CQE_SKIP_SUCCESS;

/// The chain that is being consumed.
#[derive(Clone, Copy, Default)]
struct Chain {
    head: Option<RequestId>,
    last: Option<RequestId>,
}

/// How an entry is attempted for the first time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Issue {
    /// In the submission, if the scheduler likes or the kernel always does it so.
    Inline,
    /// By a worker, later.
    Later,
}

impl World {
    /// Consumes up to `count` entries and tells how many it took.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is no memory, not even for the first.
    pub(super) fn submit(&mut self, id: RingId, count: u32) -> Result<u32, Errno> {
        let entries = self.ring(id).waiting_entries().min(count);
        let mut left = entries;
        let mut chain = Chain::default();
        let mut inline = Vec::new();
        let mut starved = false;
        while left > 0 {
            starved = self.rng.percent(self.config.starve);
            if starved {
                break;
            }
            let Some((slot, taken)) = self.ring(id).take() else { break };
            let (request, error) = self.consume(id, slot, taken, &mut left, &mut chain);
            left -= 1;
            let ended = self.append(request, &mut chain);
            if let Some(head) = ended {
                self.queue(head, Issue::Inline, &mut inline);
            }
            if error && ended.is_some() && !self.ring(id).has(SetupFlags::SUBMIT_ALL) {
                break;
            }
        }
        if let Some(head) = chain.head {
            self.queue(head, Issue::Later, &mut inline);
        }
        for request in inline {
            self.post(request);
        }
        self.ring(id).commit();
        self.activity();
        if starved && left == entries { Err(Errno::AGAIN) } else { Ok(entries - left) }
    }

    pub(super) fn ring(&mut self, id: RingId) -> &mut super::ring::Ring {
        self.rings.get_mut(&id).expect("a ring is there while it has requests or a number")
    }

    /// Makes a request of an entry; tells whether it was malformed.
    fn consume(
        &mut self,
        ring: RingId,
        slot: u32,
        mut taken: Taken,
        left: &mut u32,
        chain: &mut Chain,
    ) -> (RequestId, bool) {
        let id = self.next_request();
        let sqe = taken.sqe;
        let mut request = Request {
            ring,
            opcode: sqe.opcode,
            flags: sqe.flags,
            user_data: sqe.user_data,
            fd: sqe.fd,
            file: None,
            node: None,
            op: None,
            loans: Loans::default(),
            stage: Stage::Held,
            next: None,
            failed: None,
            skip: sqe.flags & sys::IOSQE_CQE_SKIP_SUCCESS != 0,
            skip_links: false,
            limited: false,
            cancelled: false,
            sent: false,
            took: None,
        };
        let mut loans = Loans::default();
        let result = self.check(ring, slot, &mut taken, left, chain, &mut request).and_then(|()| {
            let after = chain.last.and_then(|last| self.requests.get(&last)).map(|last| last.opcode);
            ops::prepare(&mut Prepare { world: self, loans: &mut loans, ring, sqe, second: taken.second, after })
        });
        request.loans = loans;
        self.ledger.promise(id, Promise::of(ring.0, &sqe));
        let failed = match result {
            Ok(op) => {
                request.op = Some(op);
                if sqe.opcode == sys::IORING_OP_LINK_TIMEOUT {
                    self.limit(chain.last);
                }
                false
            }
            Err(errno) => {
                request.failed = Some(-errno.raw_os_error());
                request.fail();
                if let Some(head) = chain.head.and_then(|head| self.requests.get_mut(&head)) {
                    if head.failed.is_none() {
                        head.failed = Some(-Errno::CANCELED.raw_os_error());
                        head.fail();
                    }
                }
                true
            }
        };
        self.requests.insert(id, request);
        (id, failed)
    }

    /// The request has a `LINK_TIMEOUT` behind it.
    fn limit(&mut self, request: Option<RequestId>) {
        if let Some(request) = request.and_then(|id| self.requests.get_mut(&id)) {
            request.limited = true;
        }
    }

    /// What is checked of every entry, whatever its operation.
    fn check(
        &mut self,
        id: RingId,
        slot: u32,
        taken: &mut Taken,
        left: &mut u32,
        chain: &Chain,
        request: &mut Request,
    ) -> Result<(), Errno> {
        let sqe = taken.sqe;
        // A kernel takes no operation and no bits that it does not know.
        if !self.config.release().supports(sqe.opcode) || !self.config.release().knows(&sqe) {
            return Err(Errno::INVAL);
        }
        let wide = matches!(sqe.opcode, sys::IORING_OP_NOP128 | sys::IORING_OP_URING_CMD128);
        let ring = self.ring(id);
        if wide && !ring.has(SetupFlags::SQE128) {
            if !ring.has(SetupFlags::SQE_MIXED) || *left < 2 {
                return Err(Errno::INVAL);
            }
            taken.second = Some(ring.take_second(slot).ok_or(Errno::INVAL)?);
            *left -= 1;
        }
        if sqe.flags & !KNOWN != 0 {
            return Err(Errno::INVAL);
        }
        if sqe.flags & sys::IOSQE_BUFFER_SELECT != 0 && !ops::selects_buffers(sqe.opcode) {
            return Err(Errno::OPNOTSUPP);
        }
        ring.drain_disabled |= request.skip;
        if request.has(sys::IOSQE_IO_DRAIN) {
            if ring.drain_disabled {
                return Err(Errno::OPNOTSUPP);
            }
            ring.drain_active = true;
            ring.drain_next |= chain.head.is_some();
        }
        if ring.drain_next && chain.head.is_none() {
            ring.drain_next = false;
            ring.drain_active = true;
            request.flags |= sys::IOSQE_IO_DRAIN;
        }
        if request.has(sys::IOSQE_IO_DRAIN) {
            // In the middle of a chain, it is the chain that waits.
            if let Some(head) = chain.head.and_then(|head| self.requests.get_mut(&head)) {
                head.flags |= sys::IOSQE_IO_DRAIN;
            }
        }
        if sqe.personality != 0 {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// Adds a request to the chain, if there is one or it begins one. The head of what is complete comes back.
    fn append(&mut self, id: RequestId, chain: &mut Chain) -> Option<RequestId> {
        let linked = self.requests[&id].is_linked();
        if let Some(last) = chain.last.and_then(|last| self.requests.get_mut(&last)) {
            last.next = Some(id);
        }
        let head = chain.head.unwrap_or(id);
        *chain = if linked { Chain { head: Some(head), last: Some(id) } } else { Chain::default() };
        (!linked).then_some(head)
    }

    /// Starts a request or a chain, or holds it back.
    fn queue(&mut self, head: RequestId, issue: Issue, inline: &mut Vec<RequestId>) {
        let request = &self.requests[&head];
        let ring = request.ring;
        if let Some(res) = request.failed {
            self.fail_chain(head, res);
            inline.push(head);
            return;
        }
        if self.rings[&ring].drain_active {
            let drain = request.has(sys::IOSQE_IO_DRAIN);
            self.ring(ring).deferred.push_back(Deferred { head, drain });
            self.queue_deferred(ring);
            let ring = self.ring(ring);
            if !drain && ring.deferred.is_empty() {
                ring.drain_active = false;
            }
            return;
        }
        let later = issue == Issue::Later || request.has(sys::IOSQE_ASYNC);
        let prompt = request.op.as_ref().is_some_and(|op| op.is_prompt());
        let inline_now = self.rng.percent(self.config.inline);
        self.start(head);
        if later || !(prompt || inline_now) {
            return;
        }
        let done = self.attempt(head);
        if done && inline_now {
            inline.push(head);
        }
    }

    /// A chain with a malformed entry: none of it runs, and hard links hold no better than soft ones.
    fn fail_chain(&mut self, head: RequestId, res: i32) {
        let mut next = Some(head);
        while let Some(request) = next.and_then(|id| self.requests.get_mut(&id)) {
            request.flags &= !sys::IOSQE_IO_HARDLINK;
            next = request.next;
        }
        let request = self.requests.get_mut(&head).expect("the head of a chain");
        request.stage = Stage::Reporting(Report::Last, Outcome::of(res).failing(true));
    }

    /// Lets a request have its first turn.
    pub(super) fn start(&mut self, id: RequestId) {
        let request = self.requests.get_mut(&id).expect("a request to start");
        request.stage = Stage::Ready;
        // A worker looks for itself, when it comes to it.
        let looks = !request.has(sys::IOSQE_ASYNC) && ops::takes_file(request.opcode);
        let (limited, next) = (request.limited, request.next);
        if let (false, Some(op)) = (request.has(sys::IOSQE_ASYNC), &mut request.op) {
            op.start(&self.rings.get(&request.ring).expect("a ring is there while it has requests").registered);
        }
        if looks {
            self.look_up(id);
        }
        if !limited {
            return;
        }
        // The limit begins with what it limits.
        if let Some(next) = next.and_then(|next| self.requests.get_mut(&next)) {
            next.stage = Stage::Ready;
        }
    }

    /// Finds the file that a request names by its number.
    fn look_up(&mut self, id: RequestId) {
        let request = self.requests.get_mut(&id).expect("a request that starts");
        let files = &self.rings.get(&request.ring).expect("a ring is there while it has requests").files;
        request.look_up(&self.objects, files);
    }

    /// Starts what drains hold back, as far as nothing is before it any more. Tells whether something drained was started.
    pub(super) fn queue_deferred(&mut self, id: RingId) -> bool {
        let (mut drain_seen, mut first, mut started) = (false, true, false);
        while let Some(&Deferred { head, drain }) = self.ring(id).deferred.front() {
            drain_seen |= drain;
            if (drain_seen || first) && self.others_in_flight(id) {
                break;
            }
            started |= drain;
            first = false;
            let alone = self.requests[&head].next.is_none();
            let ring = self.ring(id);
            ring.deferred.pop_front();
            if drain && alone {
                ring.draining = Some(head);
            }
            self.start(head);
        }
        started
    }

    /// Whether any request of the ring is alive that no drain holds back.
    fn others_in_flight(&self, id: RingId) -> bool {
        let mut held = Vec::new();
        for deferred in &self.rings[&id].deferred {
            let mut next = Some(deferred.head);
            while let Some(request) = next {
                held.push(request);
                next = self.requests.get(&request).and_then(|request| request.next);
            }
        }
        self.requests.iter().any(|(request, other)| other.ring == id && !held.contains(request))
    }
}
