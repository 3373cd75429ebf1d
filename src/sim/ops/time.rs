//! Timeouts, limits on other operations, and changing both.
//!
//! There is one virtual clock, whichever an entry names. A timeout that counts completions counts those that are no
//! timeouts' own, as the kernel does.

use rustix::io::Errno;

use super::{Change, Operation, Outcome, Prepare, Progress, Turn};
use crate::sim::cancel::Criteria;
use crate::sim::world::Time;
use rawring_sys as sys;

const CLOCKS: u32 = sys::IORING_TIMEOUT_BOOTTIME | sys::IORING_TIMEOUT_REALTIME;

/// A time as an entry gives it.
#[derive(Clone, Copy, Debug)]
struct When {
    nanoseconds: u64,
    absolute: bool,
}

impl When {
    /// Reads the time at an address, or in its place.
    fn read(cx: &Prepare<'_>, address: u64, flags: u32) -> Result<When, Errno> {
        let absolute = flags & sys::IORING_TIMEOUT_ABS != 0;
        if flags & sys::IORING_TIMEOUT_IMMEDIATE_ARG != 0 {
            let nanoseconds = i64::try_from(address).map_err(|_| Errno::INVAL)? as u64;
            return Ok(When { nanoseconds, absolute });
        }
        let ts = cx.timespec(address)?;
        let seconds = u64::try_from(ts.tv_sec).map_err(|_| Errno::INVAL)?;
        let rest = u64::try_from(ts.tv_nsec).map_err(|_| Errno::INVAL)?;
        let nanoseconds = seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Ok(When { nanoseconds, absolute })
    }

    fn from(self, now: Time) -> Time {
        if self.absolute { Time(self.nanoseconds) } else { now.after(self.nanoseconds) }
    }
}

/// What `TIMEOUT` and `LINK_TIMEOUT` have in common.
fn parse(cx: &Prepare<'_>) -> Result<When, Errno> {
    let sqe = &cx.sqe;
    if sqe.addr3 != 0 || sqe.attr_type_mask != 0 || sqe.buf_index != 0 || sqe.len != 1 || sqe.file_index != 0 {
        return Err(Errno::INVAL);
    }
    let known = sys::IORING_TIMEOUT_ABS
        | CLOCKS
        | sys::IORING_TIMEOUT_ETIME_SUCCESS
        | sys::IORING_TIMEOUT_MULTISHOT
        | sys::IORING_TIMEOUT_IMMEDIATE_ARG;
    let flags = sqe.op_flags;
    let repeats_at_a_point = sys::IORING_TIMEOUT_MULTISHOT | sys::IORING_TIMEOUT_ABS;
    if flags & !known != 0 || flags & CLOCKS == CLOCKS || flags & repeats_at_a_point == repeats_at_a_point {
        return Err(Errno::INVAL);
    }
    When::read(cx, sqe.addr, flags)
}

struct Timeout {
    when: When,
    /// How many completions end it or, for a repeated one, how often it reports; 0 for neither.
    count: u32,
    repeated: bool,
    /// Whether running out is no failure.
    success: bool,
    /// When it ends, once it was started.
    due: Option<Time>,
    /// The sequence number of completions that ends it.
    target: Option<u32>,
}

pub(super) fn timeout(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let when = parse(cx)?;
    Ok(Box::new(Timeout {
        when,
        count: cx.sqe.off as u32,
        repeated: cx.sqe.op_flags & sys::IORING_TIMEOUT_MULTISHOT != 0,
        success: cx.sqe.op_flags & sys::IORING_TIMEOUT_ETIME_SUCCESS != 0,
        due: None,
        target: None,
    }))
}

impl Operation for Timeout {
    fn is_prompt(&self) -> bool {
        true
    }

    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let now = turn.world.now;
        let ring = turn.world.ring(turn.request.ring);
        let Some(due) = self.due else {
            if self.count > 0 && !self.repeated {
                self.target = Some(ring.events().wrapping_add(self.count));
            }
            let due = self.when.from(now);
            self.due = Some(due);
            return Progress::Until(due);
        };
        if due <= now {
            ring.timeouts += 1;
            let out = Outcome::errno(Errno::TIME).failing(!self.success);
            if !self.repeated || self.count == 1 {
                return Progress::Done(out);
            }
            self.count = self.count.saturating_sub(1);
            self.due = Some(self.when.from(now));
            return Progress::More(out);
        }
        if self.target.is_some_and(|target| ring.events().wrapping_sub(target) as i32 >= 0) {
            ring.timeouts += 1;
            return Progress::Done(Outcome::of(0));
        }
        Progress::Until(due)
    }

    fn change(&mut self, change: &Change, now: Time) -> Result<(), Errno> {
        let Change::Time { nanoseconds, absolute } = *change else { return Err(Errno::NOENT) };
        if self.repeated && absolute {
            return Err(Errno::INVAL);
        }
        self.when = When { nanoseconds, absolute };
        self.due = Some(self.when.from(now));
        // From now on it is the time alone that ends it.
        self.target = None;
        Ok(())
    }
}

/// A limit on the request before it.
struct Limit {
    when: When,
    due: Option<Time>,
}

pub(super) fn limit(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    if cx.sqe.off as u32 != 0 {
        return Err(Errno::INVAL);
    }
    let when = parse(cx)?;
    match cx.after {
        None | Some(sys::IORING_OP_LINK_TIMEOUT) => Err(Errno::INVAL),
        Some(_) => Ok(Box::new(Limit { when, due: None })),
    }
}

impl Operation for Limit {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let now = turn.world.now;
        let due = *self.due.get_or_insert_with(|| self.when.from(now));
        if due > now {
            return Progress::Until(due);
        }
        let id = turn.id;
        let limited = turn.world.requests.values_mut().find(|request| request.limited && request.next == Some(id));
        let Some(limited) = limited else { return Progress::Done(Outcome::errno(Errno::TIME).failing(false)) };
        limited.limited = false;
        limited.next = turn.request.next.take();
        let criteria = Criteria::key(turn.request.ring, limited.user_data);
        let errno = turn.world.cancel(&criteria).err().unwrap_or(Errno::TIME);
        Progress::Done(Outcome::errno(errno).failing(false))
    }

    fn change(&mut self, change: &Change, now: Time) -> Result<(), Errno> {
        let Change::Time { nanoseconds, absolute } = *change else { return Err(Errno::NOENT) };
        self.due = Some(When { nanoseconds, absolute }.from(now));
        Ok(())
    }
}

/// Ends a timeout, or gives it another time.
struct Remove {
    key: u64,
    update: Option<(u8, Change)>,
}

pub(super) fn remove(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    let unused = (sqe.addr3, sqe.attr_type_mask, sqe.buf_index, sqe.len, sqe.file_index);
    let selects = sys::IOSQE_FIXED_FILE | sys::IOSQE_BUFFER_SELECT;
    if unused != (0, 0, 0, 0, 0) || sqe.flags & selects != 0 {
        return Err(Errno::INVAL);
    }
    let updates = sys::IORING_TIMEOUT_UPDATE | sys::IORING_LINK_TIMEOUT_UPDATE;
    let flags = sqe.op_flags;
    if flags & updates == 0 {
        return if flags == 0 { Ok(Box::new(Remove { key: sqe.addr, update: None })) } else { Err(Errno::INVAL) };
    }
    let known = updates | sys::IORING_TIMEOUT_ABS | sys::IORING_TIMEOUT_IMMEDIATE_ARG;
    if flags & !known != 0 {
        return Err(Errno::INVAL);
    }
    let When { nanoseconds, absolute } = When::read(cx, sqe.off, flags)?;
    let change = Change::Time { nanoseconds, absolute };
    // Asking for the limit alone removes a timeout: the kernel looks at the other bit.
    let update = match flags & updates {
        sys::IORING_LINK_TIMEOUT_UPDATE => None,
        sys::IORING_TIMEOUT_UPDATE => Some((sys::IORING_OP_TIMEOUT, change)),
        _ => Some((sys::IORING_OP_LINK_TIMEOUT, change)),
    };
    Ok(Box::new(Remove { key: sqe.addr, update }))
}

impl Operation for Remove {
    fn is_prompt(&self) -> bool {
        true
    }

    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let ring = turn.request.ring;
        let done = match &self.update {
            None => turn.world.cancel_waiting(ring, sys::IORING_OP_TIMEOUT, self.key),
            Some((opcode, change)) => turn.world.change_waiting(ring, *opcode, self.key, change),
        };
        Progress::Done(done.map(|()| 0).into())
    }
}
