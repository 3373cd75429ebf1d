//! How long a submission waits for completions, and how the wait ended.

use std::time::{Duration, Instant};

use crate::flags::EnterFlags;
use crate::operand::Timespec;
use crate::register::RegisteredWait;
use rawring_sys as sys;

/// What to wait for, and what ends the wait otherwise. See [`Ring::submit_with`](crate::Ring::submit_with).
///
/// ```
/// use rawring::{Ring, Wait, WaitEnd};
/// use std::time::{Duration, Instant};
///
/// let mut ring = Ring::new(8)?;
/// let outcome = ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(1)))?;
/// assert_eq!(outcome.wait, WaitEnd::TimedOut);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Wait<'a> {
    pub(crate) want: u32,
    timeout: Option<Timespec>,
    min_wait_usec: u32,
    sigmask: Option<&'a SigSet>,
    /// In place of the three above.
    registered: Option<RegisteredWait>,
    extra: u32,
}

/// What the call takes beside numbers.
pub(crate) enum Argument {
    None,
    /// Holds addresses inside of the [`Wait`] that it was made from.
    Given(sys::io_uring_getevents_arg),
    /// An offset in the ring's region.
    Registered(usize),
}

impl<'a> Wait<'a> {
    /// Until `want` completions are in the queue; 0 does not wait.
    pub fn new(want: u32) -> Self {
        Wait { want, ..Wait::default() }
    }

    /// Until `want` completions are in the queue, or what was written into the ring's region with
    /// [`Ring::set_wait`](crate::Ring::set_wait) ends the wait: its timeout or deadline, its minimum, with its signal
    /// mask. Setting one of these here says all of them anew. Linux 6.13.
    ///
    /// The call fails with `EFAULT` if the ring has no such slot, and with `EINVAL` where the kernel lacks this.
    pub fn registered(want: u32, wait: RegisteredWait) -> Self {
        Wait { want, registered: Some(wait), extra: wait.flags, ..Wait::default() }
    }

    /// Says here what a registered wait would say.
    fn anew(mut self) -> Self {
        if self.registered.take().is_some() {
            self.extra &= !sys::IORING_ENTER_ABS_TIMER;
        }
        self
    }

    /// For no longer than this. Replaces a deadline.
    pub fn timeout(self, span: Duration) -> Self {
        let mut this = Wait { timeout: Some(span.into()), ..self.anew() };
        this.extra &= !sys::IORING_ENTER_ABS_TIMER;
        this
    }

    /// Until this point in time of the ring's clock (monotonic, unless another was registered) at the latest. Replaces
    /// a timeout. Linux 6.12.
    pub fn deadline(self, time: Timespec) -> Self {
        Wait { timeout: Some(time), ..self.anew() }.flag(EnterFlags::ABS_TIMER)
    }

    /// Waits for the full number this long; after it, the first completion ends the wait. In microseconds, at most
    /// some 71 minutes. Linux 6.12 (`Features::MIN_TIMEOUT`); older kernels refuse it or do not heed it.
    pub fn min_wait(self, span: Duration) -> Self {
        Wait { min_wait_usec: u32::try_from(span.as_micros()).unwrap_or(u32::MAX), ..self.anew() }
    }

    /// Replaces the thread's signal mask during the wait, as `ppoll(2)` does.
    pub fn sigmask(self, mask: &'a SigSet) -> Self {
        Wait { sigmask: Some(mask), ..self.anew() }
    }

    /// Keeps this wait out of the processor's I/O wait time. Linux 6.15.
    pub fn no_iowait(self) -> Self {
        self.flag(EnterFlags::NO_IOWAIT)
    }

    /// Enters the kernel even where nothing seems to need it, and collects completions.
    pub fn get_events(self) -> Self {
        self.flag(EnterFlags::GETEVENTS)
    }

    /// Adds flags of `io_uring_enter`, known to the crate or not; all but `REGISTERED_RING`, which says what the ring's
    /// number means: with it, the call could reach another ring.
    pub fn flag(mut self, flags: EnterFlags) -> Self {
        self.extra |= flags.bits() & !sys::IORING_ENTER_REGISTERED_RING;
        self
    }

    /// When it is over at the latest. A deadline is taken for one of the monotonic clock.
    pub(crate) fn end(&self) -> Option<Instant> {
        let Timespec { seconds, nanoseconds } = self.timeout?;
        // What is no time at all, the kernel refuses at the first slice.
        let span = Duration::new(seconds.try_into().unwrap_or(0), nanoseconds.try_into().unwrap_or(0));
        if self.extra & sys::IORING_ENTER_ABS_TIMER == 0 {
            return Instant::now().checked_add(span);
        }
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
        Instant::now().checked_add(span.saturating_sub(now))
    }

    /// A part of it, no longer than `span`, and over at `end`.
    pub(crate) fn slice(&self, span: Duration, end: Option<Instant>) -> Self {
        let left = end.map_or(span, |end| span.min(end.saturating_duration_since(Instant::now())));
        Wait { min_wait_usec: 0, ..self.clone() }.timeout(left)
    }

    /// Whether what ends it is in the ring's region.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.is_some()
    }

    /// The flags for a call that waits for `want` more. Those that only make sense while waiting are left out when it
    /// does not.
    #[inline(always)]
    pub(crate) fn flags(&self, want: u32) -> u32 {
        let waiting = sys::IORING_ENTER_ABS_TIMER | sys::IORING_ENTER_NO_IOWAIT;
        if want == 0 { self.extra & !waiting } else { self.extra }
    }

    /// The argument of the call, where one is needed. It holds addresses inside `self`.
    #[inline(always)]
    pub(crate) fn argument(&self, want: u32) -> Argument {
        if want == 0 {
            return Argument::None;
        }
        if let Some(wait) = self.registered {
            return Argument::Registered(wait.offset());
        }
        if self.timeout.is_none() && self.min_wait_usec == 0 && self.sigmask.is_none() {
            return Argument::None;
        }
        let address = |time: &Timespec| core::ptr::from_ref(time).expose_provenance() as u64;
        let mask = |mask: &SigSet| core::ptr::from_ref(mask).expose_provenance() as u64;
        Argument::Given(sys::io_uring_getevents_arg {
            sigmask: self.sigmask.map_or(0, mask),
            // The size of the kernel's set, not of the C library's.
            sigmask_sz: self.sigmask.map_or(0, |_| size_of::<SigSet>() as u32),
            min_wait_usec: self.min_wait_usec,
            ts: self.timeout.as_ref().map_or(0, address),
        })
    }

    /// What is written into a region for this wait, and the signal mask, which has to be somewhere else.
    pub(crate) fn content(&self) -> (sys::io_uring_reg_wait, Option<SigSet>) {
        let ts = self.timeout.unwrap_or_default();
        let content = sys::io_uring_reg_wait {
            ts: sys::__kernel_timespec { tv_sec: ts.seconds, tv_nsec: ts.nanoseconds },
            flags: if self.timeout.is_some() { sys::IORING_REG_WAIT_TS } else { 0 },
            min_wait_usec: self.min_wait_usec,
            ..sys::io_uring_reg_wait::ZERO
        };
        (content, self.sigmask.copied())
    }
}

/// What a submission did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Submitted {
    /// Entries that the kernel took; with a polling thread, entries handed over to it.
    pub entries: u32,
    /// How the wait ended.
    pub wait: WaitEnd,
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitEnd {
    /// As many completions as wanted are in the queue.
    Ready,
    /// The time was over first.
    TimedOut,
    /// A signal came first.
    Interrupted,
    /// A [`Waker`](crate::Waker) ended it, or kept it from beginning. There may be completions as well.
    Woken,
    /// Fewer completions than wanted are there, and the kernel did not say why: it reports the end of a wait only if it
    /// took no entries and the completion queue is empty. Reap, and wait again.
    Short,
}

/// Words of the kernel's signal set.
const WORDS: usize = 64 / core::ffi::c_ulong::BITS as usize;

/// A set of signals in the kernel's size (8 bytes), which is not the C library's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct SigSet([core::ffi::c_ulong; WORDS]);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet([0; WORDS]);
    /// Every signal; the kernel ignores the bits of those that cannot be blocked.
    pub const ALL: SigSet = SigSet([core::ffi::c_ulong::MAX; WORDS]);

    /// With `signal` added. Numbers start at 1; one that the kernel's set has no room for changes nothing.
    pub const fn with(mut self, signal: i32) -> Self {
        if 1 <= signal && signal <= 64 {
            let bit = signal as u32 - 1;
            let bits = core::ffi::c_ulong::BITS;
            self.0[(bit / bits) as usize] |= 1 << (bit % bits);
        }
        self
    }

    /// Whether `signal` is in the set.
    pub const fn contains(&self, signal: i32) -> bool {
        let only = SigSet::EMPTY.with(signal);
        let mut word = 0;
        while word < WORDS {
            if self.0[word] & only.0[word] != 0 {
                return true;
            }
            word += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_26_the_signal_set_has_the_kernels_size() {
        assert_eq!(size_of::<SigSet>(), 8);
        let set = SigSet::EMPTY.with(2).with(64).with(65).with(0);
        assert!(set.contains(2) && set.contains(64) && !set.contains(1) && !set.contains(65));
        let wait = Wait::new(1).sigmask(&set);
        let Argument::Given(argument) = wait.argument(1) else { panic!("a mask needs an argument") };
        assert_eq!(argument.sigmask_sz, 8);
        assert_eq!(argument.ts, 0);
    }

    #[test]
    fn the_last_of_timeout_and_deadline_counts() {
        let both = Wait::new(1).deadline(Timespec::default()).timeout(Duration::from_secs(1));
        assert_eq!(both.flags(1), 0, "a span must not be read as a point in time");
        let both = Wait::new(1).timeout(Duration::from_secs(1)).deadline(Timespec::default());
        assert_eq!(both.flags(1), sys::IORING_ENTER_ABS_TIMER);
    }

    #[test]
    fn item_13_no_flag_makes_the_number_mean_another_ring() {
        assert_eq!(Wait::new(0).flag(EnterFlags::from_bits_retain(!0)).flags(1), !sys::IORING_ENTER_REGISTERED_RING);
    }

    #[test]
    fn a_wait_for_nothing_has_no_argument_and_no_waiting_flags() {
        let wait = Wait::new(1).deadline(Timespec::default()).no_iowait();
        assert!(matches!(wait.argument(0), Argument::None));
        assert_eq!(wait.flags(0), 0);
        assert_eq!(wait.flags(1), (EnterFlags::ABS_TIMER | EnterFlags::NO_IOWAIT).bits());
    }
}
