//! `RECV` and `RECVMSG`, once or as often as there is something.

use rustix::io::Errno;
use rustix::net::{RecvFlags, ReturnFlags};

use super::super::object::{Attempt, Received};
use super::msg::{Frame, Header, Report};
use super::transfer::{Landed, Part, Room};
use super::{Operation, Outcome, Prepare, Progress, Turn};
use rawring_sys as sys;

struct Recv {
    room: Room,
    flags: RecvFlags,
    /// What was received already, of a receive that goes on until there is no room.
    done: usize,
    shape: Shape,
}

/// What is received besides the data.
enum Shape {
    /// Nothing.
    Plain,
    /// A `struct msghdr` to be filled.
    Message(Report),
    /// The data again and again; `left` is how much in all, if there is a limit.
    Multi { left: Option<usize> },
    /// Messages again and again, each with a header of its own in front of it.
    MultiMessage(Frame),
}

const FLAGS: u16 = sys::IORING_RECVSEND_POLL_FIRST | sys::IORING_RECV_MULTISHOT | sys::IORING_RECVSEND_BUNDLE;

pub(super) fn prepare(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sys::io_uring_sqe { opcode, ioprio, addr, len, off, op_flags, file_index: limit, .. } = cx.sqe;
    let flags = RecvFlags::from_bits_retain(op_flags);
    let multi = ioprio & sys::IORING_RECV_MULTISHOT != 0;
    if off != 0 || i32::try_from(len).is_err() || ioprio & !FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    let selects = cx.sqe.flags & sys::IOSQE_BUFFER_SELECT != 0;
    if multi && (!selects || flags.contains(RecvFlags::WAITALL)) {
        return Err(Errno::INVAL);
    }
    let message = opcode == sys::IORING_OP_RECVMSG;
    if message && ioprio & sys::IORING_RECVSEND_BUNDLE != 0 {
        return Err(Errno::INVAL);
    }
    if limit != 0 && (!multi || message) {
        return Err(Errno::INVAL);
    }
    let mut named = vec![Part { address: addr, len: len as usize }];
    let mut shape = if multi { Shape::Multi { left: (limit != 0).then_some(limit as usize) } } else { Shape::Plain };
    if message {
        let header = Header::read(cx, addr)?;
        if selects && header.count > 1 {
            return Err(Errno::INVAL);
        }
        named = header.parts(cx)?;
        shape = if multi { Shape::MultiMessage(header.frame()?) } else { Shape::Message(header.report(cx, addr)) };
    }
    Ok(Box::new(Recv { room: Room::of(cx, &named), flags, done: 0, shape }))
}

impl Recv {
    /// How much a buffer of this size takes of what is received.
    fn payload(&self, max: usize) -> Result<usize, Errno> {
        match &self.shape {
            Shape::MultiMessage(frame) => max.checked_sub(frame.len()).ok_or(Errno::FAULT),
            Shape::Multi { left: Some(left) } => Ok(max.min(*left)),
            _ => Ok(max),
        }
    }

    fn receive(&self, turn: &mut Turn<'_>) -> Attempt<Landed> {
        let object = match turn.object() {
            Ok(object) if object.is_socket() => object,
            Ok(_) => return Attempt::Ready(Err(Errno::NOTSOCK)),
            Err(errno) => return Attempt::Ready(Err(errno)),
        };
        self.room.receive(turn, self.done, false, |turn, max| {
            let max = match self.payload(max) {
                Ok(max) => max,
                Err(errno) => return Attempt::Ready(Err(errno)),
            };
            let max = if object.may_be_short() { turn.short(max) } else { max };
            let attempt = object.recv(max, self.flags);
            match &self.shape {
                Shape::MultiMessage(frame) => attempt.map(|received| match received.full {
                    0 => received,
                    full => Received { full, bytes: frame.around(&received) },
                }),
                _ => attempt,
            }
        })
    }

    /// More of what there is to receive, where there is.
    fn nonempty(turn: &mut Turn<'_>) -> u32 {
        let more = turn.object().is_ok_and(|object| object.has_more());
        if more { sys::IORING_CQE_F_SOCK_NONEMPTY } else { 0 }
    }

    /// What to report of a receive that is complete.
    fn landed(&mut self, turn: &mut Turn<'_>, landed: &Landed) -> Progress {
        let &Landed { len, full, flags } = landed;
        self.done += len;
        let truncated = full > len && !matches!(self.shape, Shape::MultiMessage(_));
        let reported = if self.flags.contains(RecvFlags::TRUNC) && truncated { full } else { self.done };
        let more = if len > 0 { Self::nonempty(turn) } else { 0 };
        let outcome = Outcome::of(reported as i32).with_flags(flags | more);
        match &mut self.shape {
            Shape::Plain => {}
            Shape::Message(report) => {
                let flags = if truncated { ReturnFlags::TRUNC } else { ReturnFlags::empty() };
                report.fill(turn, flags);
            }
            Shape::Multi { left } => {
                self.done = 0;
                let spent = left.as_mut().is_some_and(|left| {
                    *left -= len.min(*left);
                    *left == 0
                });
                return if len > 0 && !spent { Progress::More(outcome) } else { Progress::Done(outcome) };
            }
            Shape::MultiMessage(_) => {
                self.done = 0;
                return if len > 0 { Progress::More(outcome) } else { Progress::Done(outcome) };
            }
        }
        let short =
            self.flags.contains(RecvFlags::WAITALL) && (truncated || self.room.left(self.done).is_some_and(|n| n > 0));
        Progress::Done(outcome.failing(short))
    }
}

impl Operation for Recv {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        loop {
            match self.receive(turn) {
                Attempt::Ready(Ok(landed)) => {
                    let stream = turn.object().is_ok_and(|object| object.may_be_short());
                    let whole = self.flags.contains(RecvFlags::WAITALL) && stream && landed.len > 0;
                    if whole && self.room.left(self.done + landed.len).is_some_and(|left| left > 0) {
                        self.done += landed.len;
                        turn.world.activity();
                        continue;
                    }
                    return self.landed(turn, &landed);
                }
                Attempt::Ready(Err(_)) if self.done > 0 => {
                    return Progress::Done(Outcome::of(self.done as i32).failing(true));
                }
                Attempt::Ready(Err(errno)) => return Progress::Done(Outcome::errno(errno)),
                Attempt::Blocked if self.flags.contains(RecvFlags::DONTWAIT) => {
                    return Progress::Done(Outcome::errno(Errno::AGAIN));
                }
                Attempt::Blocked => return Progress::Blocked,
            }
        }
    }

    fn cancelled(&mut self) -> Outcome {
        if self.done > 0 { Outcome::of(self.done as i32).failing(true) } else { Outcome::errno(Errno::CANCELED) }
    }
}
