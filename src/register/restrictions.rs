//! Restrictions: what a ring, or every ring that a thread makes, may be used for.
//!
//! A list of what is allowed. A ring gets it while it is disabled, once, and cannot get rid of it; whoever it is handed
//! to can do no more than that. A thread's list holds for the rings that it makes from then on, and its children inherit
//! it. What is not allowed fails with `EACCES`, an entry by its completion.

use rustix::io::Errno;

use super::Registration;
use crate::flags::SqeFlags;
use crate::op::{OpInfo, Opcode};
use crate::ring::Ring;
use rawring_sys as sys;

/// What is allowed; nothing else is.
///
/// A list that allows no operation and says nothing of flags leaves operations alone, and one that allows no
/// registration leaves registrations alone, except that the empty list forbids everything (since Linux 7.0; before that it
/// was no list).
///
/// ```
/// use rawring::{Errno, Setup, op::{Nop, Timeout}, register::Restrictions};
///
/// let mut ring = Setup::new(8).disabled().build()?;
/// ring.restrict(&Restrictions::new().allow(Nop::INFO))?;
/// ring.enable()?;
/// ring.push(Nop::new())?;
/// ring.push(Nop::new().drain())?;
/// ring.submit_and_wait(1)?;
/// assert_eq!(ring.completions().next().expect("waited for it").result(), Ok(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`scope`](Ring::scope) and [`InFlight`](crate::InFlight) make entries and registrations of their own, which have to be
/// allowed where they are used: [`Cancel`](crate::op::Cancel) without any flags, and [`Registration::PROBE`].
#[derive(Clone, Debug, Default)]
pub struct Restrictions {
    list: Vec<sys::io_uring_restriction>,
}

impl Restrictions {
    /// The empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, opcode: u16, value: u8) -> Self {
        // All members of the union are one byte.
        let arg = sys::io_uring_restriction_arg { register_op: value };
        self.list.push(sys::io_uring_restriction { opcode, arg, ..sys::io_uring_restriction::ZERO });
        self
    }

    /// Allows an operation, in all its variants: the kernel knows no difference.
    #[must_use]
    pub fn allow(self, op: &OpInfo) -> Self {
        self.allow_opcode(op.opcode)
    }

    /// Allows the operation with this number.
    #[must_use]
    pub fn allow_opcode(self, Opcode(number): Opcode) -> Self {
        self.with(sys::IORING_RESTRICTION_SQE_OP, number)
    }

    /// Allows a registration.
    ///
    /// The kernel has one byte for the number, which no registration exceeds; a larger one is passed as 255, which it
    /// refuses.
    #[must_use]
    pub fn allow_registration(self, Registration(number): Registration) -> Self {
        self.with(sys::IORING_RESTRICTION_REGISTER_OP, u8::try_from(number).unwrap_or(u8::MAX))
    }

    /// The flags that an entry may have. Without this, none.
    #[must_use]
    pub fn allow_flags(self, flags: SqeFlags) -> Self {
        self.with(sys::IORING_RESTRICTION_SQE_FLAGS_ALLOWED, flags.bits())
    }

    /// The flags that an entry must have; they are allowed by that.
    #[must_use]
    pub fn require_flags(self, flags: SqeFlags) -> Self {
        self.with(sys::IORING_RESTRICTION_SQE_FLAGS_REQUIRED, flags.bits())
    }

    /// Restricts every ring that this thread makes from now on, and (in Linux 7.3, not in 7.0 to 7.2) what it registers
    /// without a ring; the threads and processes that it starts inherit it. There is no way back.
    ///
    /// `IORING_REGISTER_RESTRICTIONS` without a ring, Linux 7.0.
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EPERM` | the thread is restricted already |
    /// | `EACCES` | the thread has neither `CAP_SYS_ADMIN` nor `no_new_privs`, see `prctl(2)`; or it is restricted, and its list does not allow [`Registration::RESTRICTIONS`] |
    /// | `EINVAL` | a number that the kernel does not know, too many elements, or an older kernel |
    pub fn restrict_thread(&self) -> Result<(), Errno> {
        let count = u16::try_from(self.list.len()).map_err(|_| Errno::INVAL)?;
        let head = sys::io_uring_task_restriction { nr_res: count, ..sys::io_uring_task_restriction::ZERO };
        // Both are 16 bytes long, so the head goes where an element would.
        const { assert!(size_of::<sys::io_uring_task_restriction>() == size_of::<sys::io_uring_restriction>()) };
        let mut argument = vec![sys::io_uring_restriction::ZERO];
        argument.extend_from_slice(&self.list);
        let start = argument.as_mut_ptr();
        // SAFETY: the vector has an element at its start, as large as the head, and at least as aligned.
        unsafe { start.cast::<sys::io_uring_task_restriction>().write(head) };
        // SAFETY: the argument is a head that is followed by as many restrictions as it says, read during the call.
        let result = unsafe { sys::io_uring_register(-1, sys::IORING_REGISTER_RESTRICTIONS, start.cast(), 1) };
        match result {
            // Kernels without it look for the ring of that number.
            Err(Errno::BADF) => Err(Errno::INVAL),
            result => result.map(drop),
        }
    }
}

impl Ring {
    /// Restricts a ring that was made [disabled](crate::Setup::disabled); it takes effect when the ring is
    /// [enabled](Self::enable).
    ///
    /// `IORING_REGISTER_RESTRICTIONS`, Linux 5.10.
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBADFD` | the ring is not disabled |
    /// | `EBUSY` | it is restricted already |
    /// | `EINVAL` | a number that the kernel does not know, or too many elements |
    /// | `EEXIST`, `EBADF`, `EACCES` | the ring belongs to another thread, or restrictions of the thread forbid it |
    pub fn restrict(&mut self, restrictions: &Restrictions) -> Result<(), Errno> {
        let list = &restrictions.list;
        let count = u32::try_from(list.len()).map_err(|_| Errno::INVAL)?;
        let start = list.as_ptr().cast_mut().cast();
        // SAFETY: the argument is an array of as many restrictions as `count` says, read during the call.
        unsafe { self.register_raw(sys::IORING_REGISTER_RESTRICTIONS, start, count) }.map(drop)
    }
}
