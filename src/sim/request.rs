//! A request: an entry that was consumed, and how far it has come.
//!
//! Invariant: a request is in the world's table from the moment its entry is consumed until its last completion is
//! posted (or skipped), and in exactly one [`Stage`].

use std::sync::Arc;

use super::files::{Files, Node};
use super::object::{Object, Objects};
use super::ops::Operation;
use super::ring::Completion;
use super::user::Loans;
use super::world::Time;
use rawring_sys as sys;

/// Names a request. Later entries have larger numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct RequestId(pub(super) u64);

/// Names a ring, also after its descriptor was closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct RingId(pub(super) u32);

/// What an operation came to, or reports on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) res: i32,
    /// `IORING_CQE_F_*`, without `MORE` and `NOTIF`, which are set when the completion is posted.
    pub(super) flags: u32,
    pub(super) big: [u64; 2],
    /// Whether what is linked softly behind it is cancelled: after an error, or a transfer that was too short.
    pub(super) failed: bool,
}

impl Outcome {
    pub(super) const fn of(res: i32) -> Self {
        Outcome { res, flags: 0, big: [0; 2], failed: res < 0 }
    }

    pub(super) fn errno(errno: rustix::io::Errno) -> Self {
        Outcome::of(-errno.raw_os_error())
    }

    /// What does not fail a chain although it is an error, or the reverse.
    pub(super) const fn failing(mut self, failed: bool) -> Self {
        self.failed = failed;
        self
    }

    pub(super) const fn with_flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }
}

impl From<Result<i32, rustix::io::Errno>> for Outcome {
    fn from(result: Result<i32, rustix::io::Errno>) -> Self {
        result.map_or_else(Outcome::errno, Outcome::of)
    }
}

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Behind a link, a drain, or in a chain that is still being consumed.
    Held,
    /// To be attempted for the first time, or again.
    Ready,
    /// Waits until something happens in the world, or until a time.
    Blocked { seen: u64, until: Option<Time> },
    /// Something is to be posted.
    Reporting(Report, Outcome),
}

/// Which completion is to be posted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// The last one.
    Last,
    /// One of several; the request goes on.
    Shot,
    /// The result of a zero-copy send, whose notification comes later.
    Sent,
    /// The notification. The result, and what follows from it, came before.
    Notification,
}

/// A request.
pub(super) struct Request {
    pub(super) ring: RingId,
    pub(super) opcode: u8,
    /// `IOSQE_*`.
    pub(super) flags: u8,
    pub(super) user_data: u64,
    pub(super) fd: i32,
    /// What the number led to when the operation started, and what it uses until it is over.
    pub(super) file: Option<Object>,
    /// The registered file that this is: it is in use for as long.
    pub(super) node: Option<Arc<Node>>,
    /// `None` while it is being attempted, or where it failed before it could be prepared.
    pub(super) op: Option<Box<dyn Operation>>,
    pub(super) loans: Loans,
    pub(super) stage: Stage,
    /// The next of its chain.
    pub(super) next: Option<RequestId>,
    /// The result that it will have without being attempted: its entry was malformed, or its chain's was.
    pub(super) failed: Option<i32>,
    /// No completion for a success.
    pub(super) skip: bool,
    /// Its failure was reported although it skips; those that it takes along are not.
    pub(super) skip_links: bool,
    /// The next of its chain is a `LINK_TIMEOUT` that limits it.
    pub(super) limited: bool,
    /// It ends after the shot that it is about to report.
    pub(super) cancelled: bool,
    /// A zero-copy send of which only the notification is to come.
    pub(super) sent: bool,
    /// Of what it reports, when it took that out of an incremental group: others that did so later are posted later.
    pub(super) took: Option<u64>,
}

impl Request {
    pub(super) fn is_linked(&self) -> bool {
        self.flags & (sys::IOSQE_IO_LINK | sys::IOSQE_IO_HARDLINK) != 0
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a worker runs it, unless it is done in the submission: what can wait for its file does that without one.
    pub(super) fn is_for_workers(&self) -> bool {
        self.has(sys::IOSQE_ASYNC) || self.file.as_ref().is_some_and(Object::is_file)
    }

    /// Its result is fixed and bad. It reports that although it would skip a success.
    pub(super) fn fail(&mut self) {
        if self.skip {
            self.skip = false;
            self.skip_links = true;
        }
    }

    /// Finds the file that the entry names by its number, if it is there.
    pub(super) fn look_up(&mut self, objects: &Objects, files: &Files) {
        if self.has(sys::IOSQE_FIXED_FILE) {
            self.node = files.get(self.fd).cloned();
            self.file = self.node.as_ref().map(|node| node.object.clone());
        } else {
            self.file = objects.get(self.fd);
        }
    }

    pub(super) fn completion(&self, outcome: Outcome, flags: u32) -> Completion {
        let Outcome { res, flags: own, big, .. } = outcome;
        Completion { user_data: self.user_data, res, flags: own | flags, big }
    }
}

impl core::fmt::Debug for Request {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Request")
            .field("opcode", &self.opcode)
            .field("user_data", &self.user_data)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
