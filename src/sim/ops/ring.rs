//! Operations on rings and requests: cancelling, changing polls, messages to rings.

use rustix::io::Errno;

use super::{Change, Operation, Prepare, Progress, Turn};
use crate::flags::SetupFlags;
use crate::sim::cancel::Criteria;
use crate::sim::ring::Completion;
use rawring_sys as sys;

struct Cancel(Criteria);

pub(super) fn cancel(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    if sqe.off != 0 || sqe.file_index != 0 || sqe.flags & sys::IOSQE_BUFFER_SELECT != 0 {
        return Err(Errno::INVAL);
    }
    let flags = sqe.op_flags;
    let opcode = if flags & sys::IORING_ASYNC_CANCEL_OP != 0 {
        u8::try_from(sqe.len).ok().filter(|&opcode| opcode < sys::IORING_OP_LAST).ok_or(Errno::INVAL)?
    } else {
        0
    };
    let fixed = if sqe.flags & sys::IOSQE_FIXED_FILE != 0 { sys::IORING_ASYNC_CANCEL_FD_FIXED } else { 0 };
    let criteria = Criteria { ring: cx.ring, key: sqe.addr, flags: flags | fixed, fd: sqe.fd, opcode };
    criteria.check()?;
    Ok(Box::new(Cancel(criteria)))
}

impl Operation for Cancel {
    fn is_prompt(&self) -> bool {
        true
    }

    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        Progress::Done(turn.world.cancel(&self.0).map(|count| count as i32).into())
    }
}

struct PollRemove {
    key: u64,
    update: Option<Change>,
}

pub(super) fn poll_remove(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    let flags = sqe.len;
    let known = sys::IORING_POLL_UPDATE_EVENTS | sys::IORING_POLL_UPDATE_USER_DATA | sys::IORING_POLL_ADD_MULTI;
    if sqe.buf_index != 0 || sqe.file_index != 0 || flags & !known != 0 || flags == sys::IORING_POLL_ADD_MULTI {
        return Err(Errno::INVAL);
    }
    let events = (flags & sys::IORING_POLL_UPDATE_EVENTS != 0).then_some(sqe.op_flags);
    let user_data = (flags & sys::IORING_POLL_UPDATE_USER_DATA != 0).then_some(sqe.off);
    if events.is_none() && sqe.op_flags != 0 || user_data.is_none() && sqe.off != 0 {
        return Err(Errno::INVAL);
    }
    let update = (flags != 0).then_some(Change::Poll { events, user_data });
    Ok(Box::new(PollRemove { key: sqe.addr, update }))
}

impl Operation for PollRemove {
    fn is_prompt(&self) -> bool {
        true
    }

    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let ring = turn.request.ring;
        let done = match &self.update {
            None => turn.world.cancel_waiting(ring, sys::IORING_OP_POLL_ADD, self.key),
            Some(change) => turn.world.change_waiting(ring, sys::IORING_OP_POLL_ADD, self.key, change),
        };
        Progress::Done(done.map(|()| 0).into())
    }
}

/// A message to a ring. Sending registered files is not simulated.
struct Message {
    fd: i32,
    command: u64,
    completion: Completion,
    /// The flags of the completion were given, and are valid for rings with wide completions only.
    wide: bool,
    malformed: bool,
}

pub(super) fn message(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    let pass = sys::IORING_MSG_RING_FLAGS_PASS;
    if sqe.buf_index != 0 || sqe.personality != 0 || sqe.op_flags & !(pass | sys::IORING_MSG_RING_CQE_SKIP) != 0 {
        return Err(Errno::INVAL);
    }
    let passes = sqe.op_flags & pass != 0;
    let flags = if passes { sqe.file_index } else { 0 };
    let completion = Completion { user_data: sqe.off, res: sqe.len as i32, flags, big: [0; 2] };
    let malformed = sqe.addr3 as u32 != 0 || sqe.op_flags & !pass != 0 || !passes && sqe.file_index != 0;
    let wide = flags & sys::IORING_CQE_F_32 != 0;
    Ok(Box::new(Message { fd: sqe.fd, command: sqe.addr, completion, wide, malformed }))
}

impl Operation for Message {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        Progress::Done(self.send(turn).map(|()| 0).into())
    }
}

impl Message {
    fn send(&self, turn: &mut Turn<'_>) -> Result<(), Errno> {
        if turn.request.has(sys::IOSQE_FIXED_FILE) {
            // Rings are in no table.
            return turn.registered(self.fd).and(Err(Errno::BADFD));
        }
        if !turn.world.is_open(self.fd) {
            return Err(Errno::BADF);
        }
        let target = *turn.world.numbers.get(&self.fd).ok_or(Errno::BADFD)?;
        match self.command {
            sys::IORING_MSG_DATA if !self.malformed => {}
            sys::IORING_MSG_SEND_FD => return Err(Errno::BADF),
            _ => return Err(Errno::INVAL),
        }
        let target = turn.world.ring(target);
        if target.disabled {
            return Err(Errno::BADFD);
        }
        if self.wide && !target.flags.intersects(SetupFlags::CQE32 | SetupFlags::CQE_MIXED) {
            return Err(Errno::INVAL);
        }
        if target.has(SetupFlags::DEFER_TASKRUN) {
            target.messages.push_back(self.completion);
        } else {
            target.post(self.completion);
        }
        Ok(())
    }
}
