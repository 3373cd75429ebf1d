//! Personalities: credentials that are registered, for entries that are to run with them.

use rustix::io::Errno;

use crate::ring::Ring;
use rawring_sys as sys;

/// Credentials that are registered with a ring: those of a thread at that time.
///
/// They stay registered until they are [dropped](Ring::unregister_personality) or the ring goes away. The number means
/// nothing to other rings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Personality(u16);

impl Personality {
    /// The number, for `personality(..)` of an entry. Never 0, which stands for the ring's own credentials.
    #[must_use]
    pub const fn id(self) -> u16 {
        self.0
    }
}

impl Ring {
    /// Registers the credentials that the calling thread has now: its user and groups, capabilities and security
    /// label. An entry with their number runs with them, even if the thread has others by then.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_PERSONALITY`, Linux 5.6.
    ///
    /// ```
    /// use rawring::{Ring, op::Nop};
    ///
    /// let mut ring = Ring::new(8)?;
    /// let me = ring.register_personality()?;
    /// ring.push(Nop::new().personality(me.id()))?;
    /// ring.submit_and_wait(1)?;
    /// assert_eq!(ring.completions().next().expect("waited for it").result(), Ok(0));
    /// ring.unregister_personality(me)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBUSY` | the ring has 65,535 of them |
    /// | `ENOMEM` | no memory |
    /// | `EEXIST`, `EBADF`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn register_personality(&self) -> Result<Personality, Errno> {
        // SAFETY: the operation takes no argument.
        let id = unsafe { self.register_raw(sys::IORING_REGISTER_PERSONALITY, core::ptr::null_mut(), 0) }?;
        // Numbers end where those of entries do; if not, one that cannot be named is of no use.
        u16::try_from(id).map(Personality).map_err(|_| Errno::BUSY)
    }

    /// Drops registered credentials. Operations that have started keep them.
    ///
    /// `IORING_UNREGISTER_PERSONALITY`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// `EINVAL` if this ring does not have them; `EEXIST`, `EBADF` and `EACCES` as for
    /// [`register_personality`](Self::register_personality).
    pub fn unregister_personality(&self, Personality(id): Personality) -> Result<(), Errno> {
        // SAFETY: the operation takes no argument; the count is the number.
        unsafe { self.register_raw(sys::IORING_UNREGISTER_PERSONALITY, core::ptr::null_mut(), id.into()) }.map(drop)
    }
}
