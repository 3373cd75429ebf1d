//! Provided-buffer rings: memory that the kernel picks from when data is there, and leases on what it delivered.
//!
//! Who owns what, when: a [`BufRing`] owns its memory, all in one place. Each buffer of it is the kernel's from the moment
//! its entry is shown by the tail until a completion names it. That completion becomes a [`Lease`] on the bytes that it
//! counts, and when the lease ends, the buffer goes round again. Ring, group and leases may end in any order: the memory
//! is freed when [`Ring::unregister_buf_ring`] had the kernel's word that nothing is out, and is leaked otherwise.
//!
//! Which completion belongs to which group, and that none is handed in twice, a completion does not say: it is a value.
//! So [`BufRing::take`] is `unsafe`, with few clauses, and the doors that know what they started ([`InFlight`] and
//! [`Scope`]) do it safely. What can be checked is checked all the same, and an error in place of a lease.
//!
//! The files: `queue` is the ring of entries as it lies in memory, `ledger` knows who has which buffer, `memory` maps,
//! `blank` fills what is to be sent, `shared` puts the three together, `groups` lists those of a ring, `register` makes and ends one.
//!
//! [`InFlight`]: crate::InFlight
//! [`Scope`]: crate::Scope
//! [`Ring::unregister_buf_ring`]: crate::Ring::unregister_buf_ring

use core::fmt;
use std::sync::Arc;

use crate::cqe::Cqe;
use crate::operand::Group;
use crate::sqe::RawSqe;
use rawring_sys as sys;

mod blank;
mod error;
mod groups;
mod lease;
mod ledger;
mod memory;
mod queue;
mod register;
mod shared;

pub use blank::Blank;
pub use error::{BadBuffer, BufRingError};
pub(crate) use groups::{Groups, Source};
pub use lease::{Delivery, Lease};
#[cfg(all(test, loom))]
pub(crate) use queue::Queue;
pub use register::{BufRingSetup, InUse, StillOut};
use shared::Shared;

/// A group of provided buffers of one size, in a ring that it shares with the kernel (Linux 5.19).
///
/// ```
/// use rawring::{Ring, buf_ring::{BufRing, Pick}, op::RecvProvided, operand::Group};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// let mut ring = Ring::new(8)?;
/// let bufs = BufRing::setup(Group(1), 16, 4096).build(&mut ring)?;
/// let (mut left, right) = UnixStream::pair()?;
/// left.write_all(b"hello")?;
/// // SAFETY: the socket is open until the completion was reaped, below.
/// unsafe { ring.push_unchecked(RecvProvided::new(&right, bufs.group())).expect("there is room") };
/// ring.submit_and_wait(1)?;
/// let cqe = ring.completions().next().expect("waited for one");
/// // SAFETY: this ring's completion, of an operation that picks one buffer of this group, handed in once.
/// let mut delivery = unsafe { bufs.take(&cqe, Pick::One)? };
/// let bytes = delivery.next().expect("one buffer");
/// assert_eq!(&bytes[..], b"hello");
/// drop(bytes); // The kernel gets the buffer again.
/// ring.unregister_buf_ring(bufs)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Running out
///
/// An operation that finds no buffer ends with `ENOBUFS`, a multishot one for good, and what was there to read stays
/// there. Nothing is broken: drop leases, and start the operation again. A kernel may look for a buffer
/// before it looks for data, so that a multishot receive ends as soon as all buffers are out (seen with Linux 6.1).
///
/// # When it ends
///
/// [`Ring::unregister_buf_ring`] ends the group and frees its memory. Without it, the group stays until the ring is
/// closed, and the memory of the buffers is leaked: the kernel ends what is in flight some time after that, and tells
/// nobody when.
///
/// # After fork
///
/// The child has copies of buffers and leases, and gives nothing back to the kernel by dropping them. Entries in
/// [memory of the kernel](BufRingSetup::kernel_memory) are not inherited: a child that takes or unregisters faults.
///
/// [`Ring::unregister_buf_ring`]: crate::Ring::unregister_buf_ring
pub struct BufRing {
    shared: Arc<Shared>,
}

/// How the operation of a completion takes buffers from its group. Nothing in the completion says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pick {
    /// One buffer, and its result counts the bytes in it.
    One,
    /// One buffer, and its result may count more bytes than it holds: receives with `MSG_TRUNC`.
    Truncating,
    /// One or more, one after the other: operations with `IORING_RECVSEND_BUNDLE`.
    Bundle,
}

impl Pick {
    /// How an entry takes buffers, if it does.
    fn of(entry: &RawSqe) -> Pick {
        let receives = matches!(entry.opcode, sys::IORING_OP_RECV | sys::IORING_OP_RECVMSG);
        if receives && entry.op_flags & libc::MSG_TRUNC as u32 != 0 {
            // Also of a bundle: with bytes counted that are in no buffer, nobody knows how many there are.
            Pick::Truncating
        } else if (receives || entry.opcode == sys::IORING_OP_SEND) && entry.ioprio & sys::IORING_RECVSEND_BUNDLE != 0 {
            Pick::Bundle
        } else {
            Pick::One
        }
    }
}

impl BufRing {
    /// A builder for a group of `count` buffers (1 to 32,768) of `size` bytes each.
    pub fn setup(group: Group, count: u16, size: u32) -> BufRingSetup {
        BufRingSetup::new(group, count, size)
    }

    /// The operand for operations that pick from it.
    pub fn group(&self) -> Group {
        Group(self.shared.group)
    }

    /// Buffers in the group.
    pub fn count(&self) -> u16 {
        self.shared.lock().ledger.count()
    }

    /// Bytes in a buffer.
    pub fn size(&self) -> u32 {
        self.shared.size
    }

    /// Buffers that the kernel has, as far as completions that were taken tell. At 0, operations that pick end with
    /// `ENOBUFS`.
    pub fn lent(&self) -> u32 {
        self.shared.lock().ledger.lent()
    }

    /// What a completion delivered. To be called for every completion that [names a buffer](Cqe::buffer_id), also of
    /// operations that failed or read nothing: the buffer is lost to the group otherwise.
    ///
    /// # Errors
    ///
    /// [`BadBuffer`], where the clauses below are broken in a way that shows, or the kernel lies.
    ///
    /// # Safety
    ///
    /// 1. The completion was reaped from the ring that this group is registered with, and made by its kernel.
    /// 2. Its operation picks from this group, in the way that `pick` says, and did so while this group was registered.
    /// 3. No completion is handed in twice, here or to one of the doors that do it themselves.
    /// 4. For an incremental group: completions are handed in in the order in which they were reaped, and the promises of
    ///    [`BufRingSetup::incremental`] are kept.
    /// 5. For a bundle: the promises of [`BufRingSetup::bundles`] are kept.
    pub unsafe fn take(&self, cqe: &Cqe, pick: Pick) -> Result<Delivery, BadBuffer> {
        let taken = self.shared.take(cqe, pick)?;
        Ok(Delivery::new(self.shared.clone(), taken))
    }

    /// Gives buffers back to the kernel, all by one store of the tail: what ending a batch of leases one by one does with
    /// as many. Those of other groups go back to theirs.
    pub fn give_back(&self, leases: impl IntoIterator<Item = Lease>) {
        for lease in leases {
            if lease.is_of(&self.shared) {
                lease.give_back_later();
            }
        }
        self.shared.show();
    }
}

impl fmt::Debug for BufRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufRing")
            .field("group", &self.shared.group)
            .field("count", &self.count())
            .field("size", &self.shared.size)
            .field("lent", &self.lent())
            .finish()
    }
}
