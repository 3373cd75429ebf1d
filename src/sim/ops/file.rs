//! Operations on a file as a whole: `FSYNC`, `FTRUNCATE`, `CLOSE`.

use rustix::io::Errno;

use super::{Operation, Outcome, Prepare, Progress, Turn};
use rawring_sys as sys;

struct Fsync;

struct Truncate {
    size: u64,
}

struct Close {
    fd: i32,
}

struct CloseSlot {
    index: u32,
}

pub(super) fn fsync(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    if sqe.addr != 0 || sqe.buf_index != 0 || sqe.file_index != 0 || sqe.op_flags & !sys::IORING_FSYNC_DATASYNC != 0 {
        return Err(Errno::INVAL);
    }
    Ok(Box::new(Fsync))
}

pub(super) fn truncate(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    let rest = [sqe.op_flags, sqe.len, sqe.file_index, sqe.buf_index.into()];
    if rest != [0; 4] || sqe.addr != 0 || sqe.addr3 != 0 {
        return Err(Errno::INVAL);
    }
    Ok(Box::new(Truncate { size: sqe.off }))
}

pub(super) fn close(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    if sqe.off != 0 || sqe.addr != 0 || sqe.len != 0 || sqe.op_flags != 0 || sqe.buf_index != 0 {
        return Err(Errno::INVAL);
    }
    if sqe.flags & sys::IOSQE_FIXED_FILE != 0 {
        return Err(Errno::BADF);
    }
    if sqe.file_index != 0 {
        // A slot of the table of registered files.
        return if sqe.fd == 0 { Ok(Box::new(CloseSlot { index: sqe.file_index - 1 })) } else { Err(Errno::INVAL) };
    }
    Ok(Box::new(Close { fd: sqe.fd }))
}

impl Operation for Fsync {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let result = turn.object().and_then(|object| object.sync());
        Progress::Done(Outcome::from(result.map(|()| 0)))
    }
}

impl Operation for Truncate {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let result = turn.object().and_then(|object| object.truncate(self.size));
        Progress::Done(Outcome::from(result.map(|()| 0)))
    }
}

impl Operation for Close {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        Progress::Done(Outcome::from(turn.world.close_number(self.fd).map(|()| 0)))
    }
}

impl Operation for CloseSlot {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let ring = turn.request.ring;
        let result = turn.world.ring(ring).files.close(self.index);
        turn.world.post_tags(ring);
        turn.world.activity();
        Progress::Done(Outcome::from(result.map(|()| 0)))
    }
}
