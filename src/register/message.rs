//! A message to a ring from a thread that has none.

use rustix::io::Errno;

use crate::op::MsgRing;
use crate::sqe::Sqe;
use rawring_sys as sys;

/// Posts a completion on the ring that the entry names, without a ring of the caller's own: it wakes who waits there.
///
/// The entry's own `user_data` is not used: there is no completion for the sender.
///
/// `IORING_REGISTER_SEND_MSG_RING`, Linux 6.13.
///
/// ```
/// use rawring::{Errno, Ring, op::MsgRing, register::send_message};
///
/// let mut ring = Ring::new(8)?;
/// // SAFETY: nobody here takes 5 for a value of an operation on which memory depends.
/// let wake = unsafe { MsgRing::new(&ring, 5, 7) };
/// match send_message(wake) {
///     Ok(()) => {
///         ring.submit_and_wait(1)?;
///         assert_eq!(ring.completions().next().expect("waited for it").result(), Ok(7));
///     }
///     Err(errno) => assert_eq!(errno, Errno::INVAL, "a kernel before 6.13"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// | errno | meaning |
/// | --- | --- |
/// | `EINVAL` | the entry has flags, a link for instance, or names a registered ring; or the kernel is older |
/// | `EBADFD` | the target is no ring, or one that is disabled |
/// | `EOVERFLOW` | the target had no memory to keep the completion |
/// | `EACCES` | restrictions of the task forbid it |
pub fn send_message(entry: MsgRing<'_>) -> Result<(), Errno> {
    let entry = Sqe::from(entry);
    let mut raw = *entry.raw();
    // SAFETY: the argument is one entry, read during the call. What it may do to the target's owner was promised when it
    // was made; the ring that it names is borrowed by it.
    unsafe { sys::io_uring_register(-1, sys::IORING_REGISTER_SEND_MSG_RING, (&raw mut raw).cast(), 1) }.map(drop)
}
