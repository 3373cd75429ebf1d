//! `NOP`: does nothing, says what it was told to say.

use super::{Operation, Outcome, Prepare, Progress, Turn};
use crate::flags::SetupFlags;
use rawring_sys as sys;
use rustix::io::Errno;

struct Nop {
    outcome: Outcome,
    /// The file that there has to be.
    file: Option<i32>,
    /// It is a registered one.
    fixed: bool,
}

/// Flags that are simulated. There are no registered buffers.
const FLAGS: u32 = sys::IORING_NOP_INJECT_RESULT
    | sys::IORING_NOP_FILE
    | sys::IORING_NOP_FIXED_FILE
    | sys::IORING_NOP_TW
    | sys::IORING_NOP_CQE32;

pub(super) fn prepare(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let flags = cx.sqe.op_flags;
    if flags & !FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    let mut outcome = Outcome::of(if flags & sys::IORING_NOP_INJECT_RESULT != 0 { cx.sqe.len as i32 } else { 0 });
    if flags & sys::IORING_NOP_CQE32 != 0 {
        if !cx.ring().flags.intersects(SetupFlags::CQE32 | SetupFlags::CQE_MIXED) {
            return Err(Errno::INVAL);
        }
        outcome.big = [cx.sqe.off, cx.sqe.addr];
        // Where every completion is wide, none says so.
        if cx.ring().has(SetupFlags::CQE_MIXED) {
            outcome.flags |= sys::IORING_CQE_F_32;
        }
    }
    let file = (flags & sys::IORING_NOP_FILE != 0).then_some(cx.sqe.fd);
    let fixed = flags & sys::IORING_NOP_FIXED_FILE != 0;
    Ok(Box::new(Nop { outcome, file, fixed }))
}

impl Operation for Nop {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        match self.file {
            Some(fd) if self.fixed && turn.registered(fd).is_err() => Progress::Done(Outcome::errno(Errno::BADF)),
            Some(fd) if !self.fixed && !turn.world.is_open(fd) => Progress::Done(Outcome::errno(Errno::BADF)),
            _ => Progress::Done(self.outcome),
        }
    }
}
