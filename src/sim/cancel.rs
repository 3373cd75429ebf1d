//! Ending requests before they end by themselves, and changing those that wait.
//!
//! What can be found is what the kernel finds: requests that wait, and requests that a worker has not finished. What is
//! held back by a link or a drain, and what has its result already, is not found (`ENOENT`). A worker may be in the
//! middle of what was left to one (`EALREADY`): the request goes on, and ends by itself or is found later.

use rustix::io::Errno;

use super::object::Object;
use super::ops::Change;
use super::request::{Outcome, Report, Request, RequestId, RingId, Stage};
use super::user;
use super::world::{Time, World};
use crate::op;
use rawring_sys as sys;

/// Which requests are meant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Criteria {
    /// The ring on which to look.
    pub(super) ring: RingId,
    /// `user_data`, unless the flags say otherwise.
    pub(super) key: u64,
    /// `IORING_ASYNC_CANCEL_*`.
    pub(super) flags: u32,
    /// The descriptor, with `FD`.
    pub(super) fd: i32,
    /// The operation, with `OP`.
    pub(super) opcode: u8,
}

/// The flags that there are.
const FLAGS: u32 = sys::IORING_ASYNC_CANCEL_ALL
    | sys::IORING_ASYNC_CANCEL_FD
    | sys::IORING_ASYNC_CANCEL_ANY
    | sys::IORING_ASYNC_CANCEL_FD_FIXED
    | sys::IORING_ASYNC_CANCEL_USERDATA
    | sys::IORING_ASYNC_CANCEL_OP;

/// How often a worker is in the middle of a request that is to be cancelled.
const RUNNING: u8 = 20;

impl Criteria {
    pub(super) fn key(ring: RingId, key: u64) -> Self {
        Criteria { ring, key, flags: 0, fd: -1, opcode: 0 }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether several are meant.
    fn all(&self) -> bool {
        self.has(sys::IORING_ASYNC_CANCEL_ALL | sys::IORING_ASYNC_CANCEL_ANY)
    }

    /// What the kernel checks before it looks.
    pub(super) fn check(&self) -> Result<(), Errno> {
        let by = sys::IORING_ASYNC_CANCEL_FD | sys::IORING_ASYNC_CANCEL_OP;
        let both = self.has(sys::IORING_ASYNC_CANCEL_ANY) && self.has(by);
        if self.flags & !FLAGS != 0 || both { Err(Errno::INVAL) } else { Ok(()) }
    }

    /// `file` is what the descriptor leads to, if that is not a ring.
    fn meets(&self, request: &Request, file: Option<&Object>) -> bool {
        if request.ring != self.ring || request.opcode == sys::IORING_OP_LINK_TIMEOUT || request.sent {
            return false;
        }
        if self.has(sys::IORING_ASYNC_CANCEL_ANY) {
            return true;
        }
        let by = sys::IORING_ASYNC_CANCEL_FD | sys::IORING_ASYNC_CANCEL_OP;
        let by_key = !self.has(by) || self.has(sys::IORING_ASYNC_CANCEL_USERDATA);
        let by_fd = self.has(sys::IORING_ASYNC_CANCEL_FD);
        let uses = |file: &Object| request.file.as_ref().is_some_and(|used| used.same(file));
        (!by_fd || file.map_or(request.fd == self.fd && request.opcode != sys::IORING_OP_TIMEOUT, uses))
            && (!self.has(sys::IORING_ASYNC_CANCEL_OP) || request.opcode == self.opcode)
            && (!by_key || request.user_data == self.key)
    }
}

/// What came of looking for a request to cancel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Cancelled,
    Running,
}

impl World {
    /// Cancels what is meant. The number of requests, where several can be meant, and 0 otherwise.
    pub(super) fn cancel(&mut self, criteria: &Criteria) -> Result<u32, Errno> {
        let by_fd = criteria.has(sys::IORING_ASYNC_CANCEL_FD);
        let file = if by_fd && criteria.has(sys::IORING_ASYNC_CANCEL_FD_FIXED) {
            let node = self.ring(criteria.ring).files.get(criteria.fd);
            Some(node.ok_or(Errno::BADF)?.object.clone())
        } else if by_fd && !self.is_open(criteria.fd) {
            return Err(Errno::BADF);
        } else {
            self.objects.get(criteria.fd)
        };
        let meant = self.requests.iter().filter(|(_, request)| criteria.meets(request, file.as_ref()));
        let meant: Vec<_> = meant.map(|(&id, _)| id).collect();
        let mut count = 0;
        for id in meant {
            match self.cancel_one(id) {
                None => continue,
                Some(_) if criteria.all() => count += 1,
                Some(Found::Cancelled) => return Ok(0),
                Some(Found::Running) => return Err(Errno::ALREADY),
            }
        }
        if criteria.all() { Ok(count) } else { Err(Errno::NOENT) }
    }

    /// Cancels one request, if it can be found.
    fn cancel_one(&mut self, id: RequestId) -> Option<Found> {
        let running = self.rng.percent(RUNNING);
        let request = self.requests.get_mut(&id)?;
        match request.stage {
            Stage::Ready if running && request.is_for_workers() => return Some(Found::Running),
            Stage::Ready | Stage::Blocked { .. } => {}
            Stage::Reporting(Report::Shot, _) => {
                request.cancelled = true;
                return Some(Found::Cancelled);
            }
            Stage::Held | Stage::Reporting(..) => return None,
        }
        let outcome = request.op.as_mut().map_or(Outcome::errno(Errno::CANCELED), |op| op.cancelled());
        // A zero-copy send that did nothing has a notification all the same.
        let report = if op::notifies(request.opcode) { Report::Sent } else { Report::Last };
        request.stage = Stage::Reporting(report, outcome);
        let (timeout, ring) = (request.opcode == sys::IORING_OP_TIMEOUT, request.ring);
        if timeout {
            self.ring(ring).timeouts += 1;
        }
        self.activity();
        Some(Found::Cancelled)
    }

    /// Cancels a timeout, or a poll, which are found only while they wait.
    pub(super) fn cancel_waiting(&mut self, ring: RingId, opcode: u8, key: u64) -> Result<(), Errno> {
        let id = self.waiting(ring, opcode, key)?;
        match self.cancel_one(id) {
            Some(_) => Ok(()),
            None => Err(Errno::NOENT),
        }
    }

    /// Changes a timeout, or a poll, that waits.
    pub(super) fn change_waiting(&mut self, ring: RingId, opcode: u8, key: u64, change: &Change) -> Result<(), Errno> {
        let id = self.waiting(ring, opcode, key)?;
        let now = self.now;
        let request = self.requests.get_mut(&id).ok_or(Errno::NOENT)?;
        request.op.as_mut().ok_or(Errno::NOENT)?.change(change, now)?;
        if let Change::Poll { user_data: Some(user_data), .. } = *change {
            request.user_data = user_data;
        }
        request.stage = Stage::Ready;
        Ok(())
    }

    /// The first request of this kind with this key that waits.
    fn waiting(&self, ring: RingId, opcode: u8, key: u64) -> Result<RequestId, Errno> {
        let waits = |request: &Request| {
            let Request { ring: of, opcode: is, user_data, stage, .. } = request;
            (*of, *is, *user_data) == (ring, opcode, key) && matches!(stage, Stage::Blocked { .. })
        };
        let found = self.requests.iter().find(|(_, request)| waits(request));
        found.map(|(&id, _)| id).ok_or(Errno::NOENT)
    }

    /// `IORING_REGISTER_SYNC_CANCEL`: cancels, and waits for what a worker is in the middle of.
    ///
    /// # Safety
    ///
    /// `arg` is the address of an [`sys::io_uring_sync_cancel_reg`].
    pub(super) unsafe fn sync_cancel(&mut self, ring: RingId, arg: u64) -> Result<u32, Errno> {
        // SAFETY: the caller's promise.
        let asked: sys::io_uring_sync_cancel_reg = unsafe { user::read_struct(arg) }?;
        let sys::io_uring_sync_cancel_reg { addr, fd, flags, timeout, opcode, pad, pad2 } = asked;
        let criteria = Criteria { ring, key: addr, flags, fd, opcode };
        if flags & !FLAGS != 0 || pad != [0; 7] || pad2 != [0; 3] {
            return Err(Errno::INVAL);
        }
        let first = self.cancel(&criteria);
        if first != Err(Errno::ALREADY) {
            return first;
        }
        let limit = match (timeout.tv_sec, timeout.tv_nsec) {
            (-1, -1) => None,
            (seconds, nanoseconds) => {
                let span = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
                Some(self.now.after(u64::try_from(span).unwrap_or(0)))
            }
        };
        self.wait_for_running(&criteria, limit)
    }

    fn wait_for_running(&mut self, criteria: &Criteria, limit: Option<Time>) -> Result<u32, Errno> {
        loop {
            match self.cancel(criteria) {
                Err(Errno::ALREADY) => {}
                Ok(_) | Err(Errno::NOENT) => return Ok(0),
                Err(errno) => return Err(errno),
            }
            if limit.is_some_and(|limit| limit <= self.now) {
                return Err(Errno::TIME);
            }
            if !self.step() && !self.leap(limit) {
                return Err(Errno::DEADLK);
            }
        }
    }
}
