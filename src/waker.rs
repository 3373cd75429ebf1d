//! Waking a thread that waits on a ring, from any other thread.
//!
//! Who owns what, when: the *call* belongs to both sides. A waker raises it and then looks how many completions the waiting
//! thread lacks; that thread says how many it lacks and then looks whether the call was raised. So one of the two always
//! sees the other: either the wait does not begin, or the waker sends as many messages as it takes to end it. The
//! messages are completions with a value of the crate's own, which nobody gets to see. One that comes too late ends some
//! later wait early, which is then said to be short.
//!
//! A ring without a descriptor gets no messages (nor any ring before Linux 5.18): its waits are cut into slices, between
//! which it looks for the call.
//!
//! Invariant: no message is sent to a descriptor that may be another's: the ring takes it back, under the lock, before
//! it closes it.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::inflight::InFlight;
use crate::kernel::Kernel;
use crate::ring::Ring;
use crate::setup::Setup;
use crate::sqe::{RawSqe, Sqe};
use crate::sync::{AtomicU32, Ordering};
use crate::user_data::UserData;
use crate::wait::{Submitted, Wait, WaitEnd};
use rawring_sys as sys;

/// How long a ring that gets no messages waits before it looks for a call.
const SLICE: Duration = Duration::from_millis(5);

/// Ends the waits of one ring, from any thread. Made by [`Ring::waker`]; copies wake the same ring.
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

/// The ring's half. Dropped before the descriptor closes.
pub(crate) struct Wakeable {
    shared: Arc<Shared>,
    /// Whether no messages come.
    slices: bool,
}

struct Shared {
    call: Call,
    bell: Mutex<Option<Bell>>,
}

/// How to end a wait.
enum Bell {
    /// By a message without a ring of one's own (Linux 6.13).
    Call { kernel: Kernel, to: RawFd },
    /// By a message from this ring (Linux 5.18).
    Ring { ring: Box<Ring>, to: RawFd },
    /// Not at all: the ring looks for itself.
    Nothing,
}

/// What the two sides agree by.
struct Call {
    raised: AtomicU32,
    /// How many completions a wait lacks that is going on.
    lacking: AtomicU32,
}

impl Call {
    fn new() -> Self {
        Call { raised: AtomicU32::new(0), lacking: AtomicU32::new(0) }
    }

    /// A wait begins, unless the call was raised: then it is taken back, and the answer is true.
    fn begin(&self, lacking: u32) -> bool {
        // Relaxed: the swap in `take` shows it to whoever raises the call after that.
        self.lacking.store(lacking, Ordering::Relaxed);
        self.take()
    }

    /// A wait is over. Tells whether the call was raised, and takes it back.
    fn end(&self) -> bool {
        // Relaxed: who misses it sends a message too many, which ends some later wait early.
        self.lacking.store(0, Ordering::Relaxed);
        self.take()
    }

    fn take(&self) -> bool {
        // AcqRel: pairs with the swap in `raise`, and one of the two is the first; without it a call that comes after this
        // could be told what was lacking before, and end no wait, and who was called could miss what was written before the
        // call. [loom: a_call_is_never_missed]
        self.raised.swap(0, Ordering::AcqRel) != 0
    }

    /// Raises the call, and tells how many messages end the wait that is going on; `None` if it was raised already.
    fn raise(&self) -> Option<u32> {
        // AcqRel: pairs with the swap in `take`; without it as there. [loom: a_call_is_never_missed]
        let before = self.raised.swap(1, Ordering::AcqRel);
        // Relaxed: behind the swap, which shows what was stored before that in `take`.
        (before == 0).then(|| self.lacking.load(Ordering::Relaxed))
    }
}

impl Bell {
    fn ring(&mut self) -> Result<(), Errno> {
        let message =
            |to: RawFd| RawSqe { opcode: sys::IORING_OP_MSG_RING, fd: to, off: UserData::WAKE.0, ..RawSqe::ZERO };
        match self {
            Bell::Call { kernel, to } => {
                let mut entry = message(*to);
                // SAFETY: the argument is one entry, read during the call. It names no memory, and the descriptor is that
                // of a ring which expects this value.
                unsafe { kernel.register(-1, sys::IORING_REGISTER_SEND_MSG_RING, (&raw mut entry).cast(), 1) }.map(drop)
            }
            Bell::Ring { ring, to } => {
                // SAFETY: the entry names no memory. The reserved value that it carries to the other ring is one that no
                // operation of a safe door has, and that nobody gets to see.
                let pushed = unsafe { ring.push_unchecked(Sqe::from_raw(message(*to))) };
                pushed.map_err(|_| Errno::BUSY)?;
                while ring.ready() == 0 {
                    ring.submit_and_wait(1)?;
                }
                ring.completions().try_for_each(|cqe| cqe.result().map(drop))
            }
            Bell::Nothing => Ok(()),
        }
    }
}

impl Shared {
    fn bell(&self) -> MutexGuard<'_, Option<Bell>> {
        // Nothing under this lock panics half-way.
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waker {
    /// Ends the wait that is going on on the ring, or else the next that begins, with [`WaitEnd::Woken`]. Calls that
    /// come before the thread has noticed the first are one.
    ///
    /// Does nothing if the ring is gone. Takes as many system calls as completions are lacking to the wait, and none
    /// if there is no wait going on.
    ///
    /// # Errors
    ///
    /// As for messages to rings: `EOVERFLOW` if the ring's queue is full and the kernel has no memory to keep the
    /// message, `ENOMEM`. The wait goes on then.
    pub fn wake(&self) -> Result<(), Errno> {
        let Waker(shared) = self;
        let mut bell = shared.bell();
        let (Some(bell), Some(lacking)) = (&mut *bell, shared.call.raise()) else { return Ok(()) };
        for _ in 0..lacking {
            match bell.ring() {
                // A disabled ring, on which nobody can wait.
                Ok(()) | Err(Errno::BADFD) => {}
                Err(errno) => {
                    shared.call.take();
                    return Err(errno);
                }
            }
        }
        Ok(())
    }
}

impl core::fmt::Debug for Waker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

impl Drop for Wakeable {
    fn drop(&mut self) {
        self.shared.bell().take();
    }
}

impl Ring {
    /// What ends this ring's waits from other threads. The first call makes it, later ones copy it.
    ///
    /// Works on rings of every kind. A wake-up is no completion: it takes no `user_data`, holds back no drain, and is
    /// told by [`WaitEnd::Woken`]. Rings without a descriptor (`REGISTERED_FD_ONLY`), and all rings before Linux 5.18,
    /// notice it within some milliseconds, for which their waits are interrupted regularly; there, a deadline has to be
    /// of the monotonic clock, a minimal wait is not heeded, and a [registered](Wait::registered) wait is not ended. On a
    /// ring that polls devices (`IOPOLL`) the wait ends when the device has completed something.
    ///
    /// ```
    /// use rawring::{Ring, WaitEnd};
    ///
    /// let mut ring = Ring::new(8)?;
    /// let waker = ring.waker()?;
    /// let other = std::thread::spawn(move || waker.wake());
    /// assert_eq!(ring.submit_and_wait(1)?.wait, WaitEnd::Woken);
    /// assert_eq!(ring.completions().count(), 0);
    /// other.join().expect("no panic")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Between Linux 5.18 and 6.12 a ring to send from is made, which fails as [`Setup::build`] does; `EBADF` on a ring
    /// without descriptor that another thread made; what asking the kernel for its operations says.
    pub fn waker(&mut self) -> Result<Waker, Errno> {
        if let Some(Wakeable { shared, .. }) = &self.wakeable {
            return Ok(Waker(shared.clone()));
        }
        self.handle.check()?;
        // From now on, the first messages may come.
        self.cq.hide();
        let bell = self.bell()?;
        // The trial was a message. Where task work is deferred, it would come in with the first wait, and end it. A
        // ring that cannot be entered now has no wait either.
        let _trial = self.get_events();
        let slices = matches!(bell, Bell::Nothing);
        let shared = Arc::new(Shared { call: Call::new(), bell: Mutex::new(Some(bell)) });
        self.wakeable = Some(Wakeable { shared: shared.clone(), slices });
        self.find_way();
        Ok(Waker(shared))
    }

    /// How waits on this ring can be ended.
    fn bell(&self) -> Result<Bell, Errno> {
        let Some(fd) = self.fd() else { return Ok(Bell::Nothing) };
        let (kernel, to) = (self.submit.entrance.kernel().clone(), fd.as_raw_fd());
        let mut call = Bell::Call { kernel: kernel.clone(), to };
        // The first message is a trial: kernels without the registration refuse it.
        if matches!(call.ring(), Ok(()) | Err(Errno::BADFD)) {
            return Ok(call);
        }
        let made = Setup::of(kernel, 1).build();
        let ring = made.map_err(|error| error.errno().unwrap_or(Errno::NOMEM))?;
        if crate::probe::has_opcode(&ring, sys::IORING_OP_MSG_RING)? {
            Ok(Bell::Ring { ring: Box::new(ring), to })
        } else {
            Ok(Bell::Nothing)
        }
    }

    /// [`Ring::submit_with`], on a ring that has a waker.
    pub(crate) fn submit_wakeable(&mut self, wait: &Wait<'_>) -> Result<Submitted, Errno> {
        let Some(Wakeable { shared, slices }) = &self.wakeable else { return self.enter_for(wait, wait.want) };
        let (shared, slices) = (shared.clone(), *slices && !wait.is_registered());
        let end = if slices { wait.end() } else { None };
        let mut entries = 0;
        loop {
            let visible = self.cq.visible();
            let slots = wait.want.saturating_add(self.cq.ready().saturating_sub(visible));
            // The kernel waits for no more than the queue has room for.
            let lacking = wait.want.min(self.cq.capacity()).saturating_sub(visible);
            let raised = wait.want > 0 && shared.call.begin(lacking);
            let entered = if raised || lacking == 0 {
                self.enter_for(wait, 0)
            } else if slices {
                self.enter_for(&wait.slice(SLICE, end), slots)
            } else {
                self.enter_for(wait, slots)
            };
            let raised = raised | (wait.want > 0 && shared.call.end());
            let mut done = entered.inspect_err(|_| {
                if raised {
                    // Nobody was told.
                    shared.call.raise();
                }
            })?;
            entries += done.entries;
            done.entries = entries;
            if raised {
                done.wait = WaitEnd::Woken;
            } else if slices && done.wait == WaitEnd::TimedOut && end.is_none_or(|end| Instant::now() < end) {
                continue;
            } else if done.wait == WaitEnd::Ready && self.cq.visible() < wait.want {
                done.wait = WaitEnd::Short;
            }
            return Ok(done);
        }
    }
}

impl<S: 'static> InFlight<S> {
    /// See [`Ring::waker`].
    ///
    /// # Errors
    ///
    /// As [`Ring::waker`].
    pub fn waker(&mut self) -> Result<Waker, Errno> {
        // SAFETY: making a waker leaves the ring in its place (clause 1), reaps nothing (2), and pushes nothing to it (3).
        unsafe { self.ring_mut() }.waker()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_is_taken_back_before_it_closes() {
        let mut ring = Ring::new(1).expect("a ring");
        let Waker(shared) = ring.waker().expect("a waker");
        assert!(shared.bell().is_some());
        drop(ring);
        assert!(shared.bell().is_none(), "by now the number may be another's");
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::UnsafeCell;
    use loom::sync::{Arc, Condvar, Mutex};

    /// What the waker has written before it calls.
    struct Errand(UnsafeCell<u32>);
    // SAFETY: who may touch it when is what the model finds out.
    unsafe impl Sync for Errand {}
    // SAFETY: a number.
    unsafe impl Send for Errand {}

    #[test]
    fn a_call_is_never_missed() {
        loom::model(|| {
            let call = Arc::new(Call::new());
            let errand = Arc::new(Errand(UnsafeCell::new(0)));
            // The kernel: completions that have arrived.
            let queue = Arc::new((Mutex::new(0), Condvar::new()));
            let waker = loom::thread::spawn({
                let (call, queue, errand) = (call.clone(), queue.clone(), errand.clone());
                move || {
                    // SAFETY: the cell's memory is valid; the model checks that nobody else uses it.
                    errand.0.with_mut(|errand| unsafe { *errand = 7 });
                    for _ in 0..call.raise().expect("only one") {
                        *queue.0.lock().expect("no panic") += 1;
                        queue.1.notify_one();
                    }
                }
            });
            let mut raised = call.begin(1);
            if !raised {
                let mut arrived = queue.0.lock().expect("no panic");
                // One that nobody ends deadlocks, to which loom objects.
                while *arrived == 0 {
                    arrived = queue.1.wait(arrived).expect("no panic");
                }
                drop(arrived);
                raised = call.end();
            }
            assert!(raised);
            // SAFETY: as above.
            assert_eq!(errand.0.with(|errand| unsafe { *errand }), 7);
            waker.join().expect("no panic");
        });
    }
}
