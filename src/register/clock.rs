//! The clock of a ring's waits.

use rustix::io::Errno;
use rustix::time::ClockId;

use crate::ring::Ring;
use rawring_sys as sys;

impl Ring {
    /// Chooses the clock by which the timeouts of waits run: `CLOCK_MONOTONIC`, as from the start, or `CLOCK_BOOTTIME`,
    /// which goes on while the system is suspended. Timeouts that are operations are not affected.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_CLOCK`, Linux 6.12.
    ///
    /// ```
    /// use rawring::{Ring, probe::Probe, register::Registration};
    /// use rustix::time::ClockId;
    ///
    /// let ring = Ring::new(8)?;
    /// if Probe::of(&ring)?.registration(Registration::CLOCK).missing.is_none() {
    ///     ring.register_clock(ClockId::Boottime)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | another clock, or an older kernel |
    /// | `EEXIST`, `EBADF`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn register_clock(&self, clock: ClockId) -> Result<(), Errno> {
        let mut argument = sys::io_uring_clock_register { clockid: clock as u32, ..sys::io_uring_clock_register::ZERO };
        // SAFETY: the argument is one struct, read during the call, which the kernel wants counted as none.
        unsafe { self.register_raw(sys::IORING_REGISTER_CLOCK, (&raw mut argument).cast(), 0) }.map(drop)
    }
}
