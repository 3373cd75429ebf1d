//! `SEND` and `SENDMSG`, and both with zero copies.
//!
//! Nothing here is sent without a copy, of course. What is simulated is the promise: two completions, the second of
//! which comes some time after the first, and until which the data must stay as it is.

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::super::object::{Attempt, Object};
use super::super::world::Time;
use super::msg::Header;
use super::transfer::{Part, Source, parts};
use super::{Operation, Outcome, Prepare, Progress, Turn};
use rawring_sys as sys;

/// The longest that a notification lets wait for itself, in nanoseconds.
const DELAY: usize = 1_000_000;

struct Send {
    source: Source,
    /// Somebody's address is given.
    addressed: bool,
    flags: SendFlags,
    /// What was sent already, of a send that goes on until everything is.
    done: usize,
    zero_copy: Option<ZeroCopy>,
}

/// Of a zero-copy send.
#[derive(Default)]
struct ZeroCopy {
    report: bool,
    /// When the notification comes, once the result was posted.
    due: Option<Time>,
}

/// Flags of all sends, in `ioprio`.
const FLAGS: u16 = sys::IORING_RECVSEND_POLL_FIRST | sys::IORING_SEND_VECTORIZED;

pub(super) fn send(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    if cx.sqe.ioprio & !FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    prepare(cx, None)
}

pub(super) fn send_zc(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let skip = cx.sqe.flags & sys::IOSQE_CQE_SKIP_SUCCESS != 0;
    if skip || cx.sqe.ioprio & !(FLAGS | sys::IORING_SEND_ZC_REPORT_USAGE) != 0 {
        return Err(Errno::INVAL);
    }
    let report = cx.sqe.ioprio & sys::IORING_SEND_ZC_REPORT_USAGE != 0;
    prepare(cx, Some(ZeroCopy { report, due: None }))
}

fn prepare(cx: &mut Prepare<'_>, zero_copy: Option<ZeroCopy>) -> Result<Box<dyn Operation>, Errno> {
    let sys::io_uring_sqe { opcode, ioprio, addr, len, off, op_flags, .. } = cx.sqe;
    let (named, addressed) = match opcode {
        sys::IORING_OP_SENDMSG | sys::IORING_OP_SENDMSG_ZC => {
            let header = Header::read(cx, addr)?;
            (header.parts(cx)?, header.name != 0)
        }
        _ if ioprio & sys::IORING_SEND_VECTORIZED != 0 => (parts(cx, addr, len as usize)?, off != 0),
        _ => (vec![Part { address: addr, len: len as usize }], off != 0),
    };
    let source = Source::lend(cx, &named);
    Ok(Box::new(Send { source, addressed, flags: SendFlags::from_bits_retain(op_flags), done: 0, zero_copy }))
}

impl Send {
    /// Sends what there is to send; `None` where it has to wait.
    fn send(&mut self, turn: &mut Turn<'_>) -> Option<Outcome> {
        let result = turn.object().and_then(|object| self.send_to(turn, &object));
        match result {
            Ok(outcome) => outcome,
            // What was sent before it failed, was sent.
            Err(_) if self.done > 0 => Some(Outcome::of(self.done as i32).failing(true)),
            Err(errno) => Some(Outcome::errno(errno)),
        }
    }

    fn send_to(&mut self, turn: &mut Turn<'_>, object: &Object) -> Result<Option<Outcome>, Errno> {
        if !object.is_socket() {
            return Err(Errno::NOTSOCK);
        }
        if self.addressed {
            return Err(if object.is_datagram() { Errno::OPNOTSUPP } else { Errno::ISCONN });
        }
        let bytes = self.source.bytes(turn)?;
        let whole = self.flags.bits() & WAITALL != 0 && object.may_be_short();
        loop {
            let left = &bytes[self.done..];
            let now = if object.may_be_short() { turn.short(left.len()) } else { left.len() };
            match object.send(&left[..now]) {
                Attempt::Ready(result) => self.done += result?,
                Attempt::Blocked if self.flags.contains(SendFlags::DONTWAIT) => return Err(Errno::AGAIN),
                Attempt::Blocked => return Ok(None),
            }
            if !whole || self.done == bytes.len() {
                return Ok(Some(Outcome::of(self.done as i32)));
            }
            // So that those who wait for the first part see it.
            turn.world.activity();
        }
    }
}

/// `MSG_WAITALL`, which rustix has for receiving only.
const WAITALL: u32 = rustix::net::RecvFlags::WAITALL.bits();

impl Operation for Send {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        if let Some(due) = self.zero_copy.as_ref().and_then(|zero_copy| zero_copy.due) {
            if turn.world.now < due {
                return Progress::Until(due);
            }
            let copied =
                self.zero_copy.as_ref().is_some_and(|zero_copy| zero_copy.report) && turn.world.rng.percent(50);
            let report = if copied { sys::IORING_NOTIF_USAGE_ZC_COPIED } else { 0 };
            return Progress::Done(Outcome::of(report as i32).failing(false));
        }
        let Some(outcome) = self.send(turn) else { return Progress::Blocked };
        match &mut self.zero_copy {
            Some(zero_copy) => {
                let delay = turn.world.rng.below(DELAY) as u64;
                zero_copy.due = Some(turn.world.now.after(delay));
                Progress::Sent(outcome)
            }
            None => Progress::Done(outcome),
        }
    }

    fn cancelled(&mut self) -> Outcome {
        // What is left to do is the notification.
        if let Some(zero_copy) = &mut self.zero_copy {
            zero_copy.due = Some(Time(0));
        }
        if self.done > 0 { Outcome::of(self.done as i32).failing(true) } else { Outcome::errno(Errno::CANCELED) }
    }
}
