//! `io_uring_enter`: who may, submitting, and waiting.
//!
//! The order of checks, what is reported when, and what ends a wait are those of the kernel's `io_uring_enter` and
//! `io_cqring_wait`. A wait that nothing can end would hang there; here it returns `EDEADLK`.

use std::ffi::c_void;
use std::os::fd::RawFd;

use rustix::io::Errno;

use super::request::RingId;
use super::ring::Poller;
use super::user;
use super::world::{Time, World};
use crate::flags::{Features, SetupFlags};
use rawring_sys as sys;

/// Flags that are not simulated: they go with registered rings and memory.
const ABSENT: u32 = sys::IORING_ENTER_REGISTERED_RING | sys::IORING_ENTER_EXT_ARG_REG;

/// How long to wait, and for what.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The end of the wait.
    until: Option<Time>,
    /// Until then for all; afterwards for one.
    patient: Option<Time>,
}

impl World {
    /// # Safety
    ///
    /// As for [`sys::io_uring_enter`].
    pub(super) unsafe fn enter(
        &mut self,
        fd: RawFd,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        arg: *const c_void,
        size: usize,
    ) -> Result<u32, Errno> {
        if flags & (ABSENT | !self.config.release().enter_flags().bits()) != 0 {
            return Err(Errno::INVAL);
        }
        self.notice_closed();
        let id = *self.numbers.get(&fd).ok_or(Errno::BADF)?;
        let me = std::thread::current().id();
        let ring = self.ring(id);
        if ring.disabled {
            return Err(Errno::BADFD);
        }
        let foreign = ring.owner.is_some_and(|owner| owner != me);
        let mut taken = 0;
        if ring.has(SetupFlags::SQPOLL) {
            self.visit_poller(id, flags)?;
            taken = to_submit;
        } else if to_submit > 0 {
            if foreign {
                return Err(Errno::EXIST);
            }
            taken = self.submit(id, to_submit)?;
            if taken != to_submit {
                self.leave(id);
                return Ok(taken);
            }
        }
        if flags & sys::IORING_ENTER_GETEVENTS != 0 {
            // SAFETY: the caller's promise.
            let waited = unsafe { self.span(flags, arg, size) }.and_then(|span| {
                if foreign && self.ring(id).has(SetupFlags::DEFER_TASKRUN) {
                    return Err(Errno::EXIST);
                }
                self.wait(id, min_complete, span)
            });
            if taken == 0 {
                if waited == Err(Errno::BADR) {
                    self.ring(id).lost = false;
                }
                self.leave(id);
                return waited.map(|()| 0);
            }
        }
        self.leave(id);
        Ok(taken)
    }

    /// A ring with a polling thread: the user wakes it, or waits for room.
    fn visit_poller(&mut self, id: RingId, flags: u32) -> Result<(), Errno> {
        let ring = self.ring(id);
        if flags & sys::IORING_ENTER_SQ_WAKEUP != 0 && ring.poller == Some(Poller::Asleep) {
            ring.poller = Some(Poller::Awake);
            ring.set_flag(sys::IORING_SQ_NEED_WAKEUP, false);
        }
        while flags & sys::IORING_ENTER_SQ_WAIT != 0 && self.ring(id).is_full() {
            if !self.step() && !self.leap(None) {
                return Err(Errno::DEADLK);
            }
        }
        Ok(())
    }

    /// What happens on every way out: on most rings, completions may be posted.
    fn leave(&mut self, id: RingId) {
        while self.rng.percent(self.config.eager) && self.step() {}
        if !self.ring(id).has(SetupFlags::DEFER_TASKRUN) && self.ring(id).has(SetupFlags::COOP_TASKRUN) {
            self.run_task_work(id);
        }
        self.update_flags();
    }

    /// Reads the argument of a wait.
    ///
    /// # Safety
    ///
    /// As for [`sys::io_uring_enter`].
    unsafe fn span(&self, flags: u32, arg: *const c_void, size: usize) -> Result<Span, Errno> {
        let mut span = Span { until: None, patient: None };
        if flags & sys::IORING_ENTER_EXT_ARG == 0 {
            return Ok(span);
        }
        if size != size_of::<sys::io_uring_getevents_arg>() {
            return Err(Errno::INVAL);
        }
        let address = |pointer: *const c_void| pointer.expose_provenance() as u64;
        // SAFETY: the caller promises a valid argument of this type, of which any bytes are one.
        let arg: sys::io_uring_getevents_arg = unsafe { user::read_struct(address(arg)) }?;
        if arg.ts != 0 {
            // SAFETY: as above, for what the argument points at.
            let ts: sys::__kernel_timespec = unsafe { user::read_struct(arg.ts) }?;
            let nanoseconds = ts.tv_sec.saturating_mul(1_000_000_000).saturating_add(ts.tv_nsec);
            let nanoseconds = u64::try_from(nanoseconds).unwrap_or(0);
            let absolute = flags & sys::IORING_ENTER_ABS_TIMER != 0;
            span.until = Some(if absolute { Time(nanoseconds) } else { self.now.after(nanoseconds) });
        }
        if arg.min_wait_usec > 0 && self.config.release().features().contains(Features::MIN_TIMEOUT) {
            span.patient = Some(self.now.after(u64::from(arg.min_wait_usec) * 1000));
        }
        Ok(span)
    }

    /// Waits until there are enough completions.
    fn wait(&mut self, id: RingId, want: u32, span: Span) -> Result<(), Errno> {
        let want = want.min(self.ring(id).cq_entries());
        self.run_task_work(id);
        self.ring(id).flush_overflow();
        if self.ring(id).ready() >= want {
            return Ok(());
        }
        let ended = self.sleep(id, want, span);
        self.run_task_work(id);
        // The kernel says how a wait ended only where there is nothing else to say.
        if self.ring(id).ready() > 0 { Ok(()) } else { ended }
    }

    /// Lets the world go on until the wait ends.
    fn sleep(&mut self, id: RingId, want: u32, span: Span) -> Result<(), Errno> {
        let (head, start) = self.ring(id).cq_positions();
        let timeouts = self.ring(id).timeouts;
        let (mut target, mut patient) = (head.wrapping_add(want), span.patient);
        // After how many steps a signal comes, if one does.
        let mut signal = self.rng.percent(self.config.interrupt).then(|| self.rng.below(8));
        loop {
            match &mut signal {
                Some(0) => return Err(Errno::INTR),
                Some(steps) => *steps -= 1,
                None => {}
            }
            let limit = patient.into_iter().chain(span.until).min();
            if !self.step() && !self.has_task_work(id) && !self.leap(limit) {
                return Err(Errno::DEADLK);
            }
            self.run_task_work(id);
            if !self.ring(id).overflow.is_empty() {
                self.ring(id).flush_overflow();
                if !self.ring(id).overflow.is_empty() {
                    return Ok(());
                }
            }
            let now = self.now;
            let ring = self.ring(id);
            let (_, tail) = ring.cq_positions();
            if ring.lost {
                return Err(Errno::BADR);
            }
            // A timeout that ended ends the wait, too.
            if tail.wrapping_sub(target) as i32 >= 0 || ring.timeouts != timeouts {
                return Ok(());
            }
            if span.until.is_some_and(|until| until <= now) {
                return Err(Errno::TIME);
            }
            if patient.is_some_and(|patient| patient <= now) {
                if tail != start || ring.ready() > 0 || span.until.is_none() {
                    return Err(Errno::TIME);
                }
                // Nobody came so far: from now on, one is enough.
                patient = None;
                target = start.wrapping_add(1);
            }
        }
    }
}
