//! Reads and writes: `READ`, `READV`, `READ_FIXED`, `READ_MULTISHOT`, `WRITE`, `WRITEV`, `WRITE_FIXED`.

use std::sync::Arc;

use rustix::io::{Errno, ReadWriteFlags};

use super::super::object::{Attempt, Received};
use super::super::registered::{Node, Registered};
use super::transfer::{Landed, Part, Room, Source, parts};
use super::{Operation, Outcome, Prepare, Progress, Turn};
use rawring_sys as sys;

/// What reads and writes have in common.
struct Rw {
    /// `None` for the file's own position.
    offset: Option<u64>,
    nowait: bool,
    /// Flags that mean something else than here, or are not known.
    foreign: bool,
    fixed: Option<Fixed>,
}

/// A range of a registered buffer.
struct Fixed {
    index: u16,
    address: u64,
    len: u64,
    /// What the slot had when the operation started.
    node: Option<Arc<Node>>,
}

impl Fixed {
    fn of(sqe: &sys::io_uring_sqe) -> Option<Self> {
        let fixed = matches!(sqe.opcode, sys::IORING_OP_READ_FIXED | sys::IORING_OP_WRITE_FIXED);
        fixed.then(|| Fixed { index: sqe.buf_index, address: sqe.addr, len: sqe.len.into(), node: None })
    }

    fn check(&mut self, turn: &mut Turn<'_>) -> Result<(), Errno> {
        if self.node.is_none() {
            self.node = turn.registered_buffer(self.index);
        }
        let inside = self.node.as_ref().is_some_and(|node| node.contains(self.address, self.len));
        if inside { Ok(()) } else { Err(Errno::FAULT) }
    }
}

struct Read {
    rw: Rw,
    room: Room,
    multi: bool,
}

struct Write {
    rw: Rw,
    source: Source,
}

fn rw(cx: &Prepare<'_>) -> Result<Rw, Errno> {
    let sqe = &cx.sqe;
    if sqe.ioprio != 0 || sqe.attr_type_mask != 0 {
        return Err(Errno::INVAL);
    }
    let flags = ReadWriteFlags::from_bits_retain(sqe.op_flags);
    let known = ReadWriteFlags::NOWAIT | ReadWriteFlags::SYNC | ReadWriteFlags::DSYNC;
    Ok(Rw {
        offset: (sqe.off != u64::MAX).then_some(sqe.off),
        nowait: flags.contains(ReadWriteFlags::NOWAIT),
        foreign: flags.bits() & !known.bits() != 0,
        fixed: Fixed::of(sqe),
    })
}

/// What the entry names: one part, or an array of them.
fn named(cx: &Prepare<'_>) -> Result<Vec<Part>, Errno> {
    let (address, len) = (cx.sqe.addr, cx.sqe.len as usize);
    match cx.sqe.opcode {
        sys::IORING_OP_READV | sys::IORING_OP_WRITEV => {
            let one = cx.sqe.flags & sys::IOSQE_BUFFER_SELECT != 0;
            if one && len != 1 { Err(Errno::INVAL) } else { parts(cx, address, len) }
        }
        _ => Ok(vec![Part { address, len }]),
    }
}

pub(super) fn read(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let rw = rw(cx)?;
    let parts = named(cx)?;
    Ok(Box::new(Read { rw, room: Room::of(cx, &parts), multi: false }))
}

pub(super) fn read_multishot(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let rw = rw(cx)?;
    if cx.sqe.flags & sys::IOSQE_BUFFER_SELECT == 0 || cx.sqe.addr != 0 {
        return Err(Errno::INVAL);
    }
    let parts = named(cx)?;
    Ok(Box::new(Read { rw, room: Room::of(cx, &parts), multi: true }))
}

pub(super) fn write(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let rw = rw(cx)?;
    let parts = named(cx)?;
    Ok(Box::new(Write { rw, source: Source::lend(cx, &parts) }))
}

impl Rw {
    fn start(&mut self, buffers: &Registered) {
        if let Some(fixed) = &mut self.fixed {
            fixed.node = buffers.get(fixed.index);
        }
    }

    /// Whether the memory may be used: a registered buffer has to have it.
    fn check(&mut self, turn: &mut Turn<'_>) -> Result<(), Errno> {
        self.fixed.as_mut().map_or(Ok(()), |fixed| fixed.check(turn))
    }

    /// What to do about an attempt that has to wait.
    fn blocked(&self) -> Progress {
        if self.nowait { Progress::Done(Outcome::errno(Errno::AGAIN)) } else { Progress::Blocked }
    }
}

impl Operation for Read {
    fn start(&mut self, buffers: &Registered) {
        self.rw.start(buffers);
    }

    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let object = match turn.object() {
            Ok(_) if self.rw.foreign => return Progress::Done(Outcome::errno(Errno::OPNOTSUPP)),
            Ok(object) if self.multi && object.is_file() => return Progress::Done(Outcome::errno(Errno::BADFD)),
            Ok(object) => object,
            Err(errno) => return Progress::Done(Outcome::errno(errno)),
        };
        if let Err(errno) = self.rw.check(turn) {
            return Progress::Done(Outcome::errno(errno));
        }
        let offset = self.rw.offset;
        let mut wanted = 0;
        let attempt = self.room.receive(turn, 0, true, |turn, max| {
            wanted = max;
            let max = if object.may_be_short() { turn.short(max) } else { max };
            object.read(offset, max).map(|bytes| Received { full: bytes.len(), bytes })
        });
        match attempt {
            Attempt::Ready(Ok(Landed { len, flags, .. })) => {
                let outcome = Outcome::of(len as i32).with_flags(flags);
                match self.multi {
                    true if len > 0 => Progress::More(outcome),
                    _ => Progress::Done(outcome.failing(len < wanted)),
                }
            }
            Attempt::Ready(Err(errno)) => Progress::Done(Outcome::errno(errno)),
            Attempt::Blocked => self.rw.blocked(),
        }
    }
}

impl Operation for Write {
    fn start(&mut self, buffers: &Registered) {
        self.rw.start(buffers);
    }

    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let object = match turn.object() {
            Ok(_) if self.rw.foreign => return Progress::Done(Outcome::errno(Errno::OPNOTSUPP)),
            Ok(object) => object,
            Err(errno) => return Progress::Done(Outcome::errno(errno)),
        };
        if let Err(errno) = self.rw.check(turn) {
            return Progress::Done(Outcome::errno(errno));
        }
        let bytes = match self.source.bytes(turn) {
            Ok(bytes) => bytes,
            Err(errno) => return Progress::Done(Outcome::errno(errno)),
        };
        let len = if object.may_be_short() { turn.short(bytes.len()) } else { bytes.len() };
        match object.write(self.rw.offset, &bytes[..len]) {
            Attempt::Ready(Ok(n)) => Progress::Done(Outcome::of(n as i32).failing(n < bytes.len())),
            Attempt::Ready(Err(errno)) => Progress::Done(Outcome::errno(errno)),
            Attempt::Blocked => self.rw.blocked(),
        }
    }
}
