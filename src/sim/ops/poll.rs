//! `POLL_ADD`, once or every time.

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::{Change, Operation, Outcome, Prepare, Progress, Time, Turn};
use rawring_sys as sys;

/// What is reported whether it was asked for or not.
const ALWAYS: PollFlags = PollFlags::ERR.union(PollFlags::HUP).union(PollFlags::NVAL).union(PollFlags::RDHUP);

struct Poll {
    events: PollFlags,
    multi: bool,
    /// What had happened to the object when it was looked at last: only what is new is reported again.
    seen: Option<u64>,
}

/// The events of an entry or of an update, which are stored with their halves exchanged on big-endian machines.
fn events(bits: u32) -> PollFlags {
    let bits = if cfg!(target_endian = "big") { bits.rotate_left(16) } else { bits };
    PollFlags::from_bits_retain(bits as _) | ALWAYS
}

pub(super) fn prepare(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    if sqe.buf_index != 0 || sqe.off != 0 || sqe.addr != 0 || sqe.len & !sys::IORING_POLL_ADD_MULTI != 0 {
        return Err(Errno::INVAL);
    }
    let multi = sqe.len & sys::IORING_POLL_ADD_MULTI != 0;
    if multi && sqe.flags & sys::IOSQE_CQE_SKIP_SUCCESS != 0 {
        return Err(Errno::INVAL);
    }
    Ok(Box::new(Poll { events: events(sqe.op_flags), multi, seen: None }))
}

impl Operation for Poll {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let object = match turn.object() {
            Ok(object) => object,
            Err(errno) => return Progress::Done(Outcome::errno(errno)),
        };
        let mask = object.poll() & self.events;
        let outcome = Outcome::of(i32::from(mask.bits()));
        if object.is_file() {
            // Nobody would wake who waits for a file: it is ready, or never will be.
            return Progress::Done(if mask.is_empty() { Outcome::errno(Errno::INVAL) } else { outcome });
        }
        let activity = Some(object.activity());
        if mask.is_empty() || self.seen == activity {
            return Progress::Blocked;
        }
        self.seen = activity;
        if self.multi { Progress::More(outcome) } else { Progress::Done(outcome) }
    }

    fn is_prompt(&self) -> bool {
        true
    }

    fn change(&mut self, change: &Change, _now: Time) -> Result<(), Errno> {
        let Change::Poll { events: bits, .. } = *change else { return Err(Errno::NOENT) };
        if let Some(bits) = bits {
            self.events = events(bits);
        }
        self.seen = None;
        Ok(())
    }
}
