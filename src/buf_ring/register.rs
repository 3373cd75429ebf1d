//! Making a group and ending it: the registrations `PBUF_RING`, `UNREGISTER_PBUF_RING` and `PBUF_STATUS`.
//!
//! What ends a group soundly is the kernel's word that nothing is out. Its head says how many buffers it has handed to
//! operations since the beginning, the ledger how many of them completions have brought back. An operation takes its
//! buffer, uses it and moves the head under the ring's lock, or moves the head first and uses the buffer in a worker; so
//! when the two numbers agree, no operation has one. To keep them from getting one between the question and the end,
//! all entries are made zero bytes long before.

use core::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::io::Errno;

use super::ledger::Ledger;
use super::memory::Pages;
use super::queue::Queue;
use super::shared::{Shared, State};
use super::{BufRing, BufRingError};
use crate::operand::Group;
use crate::queue::Slots;
use crate::ring::Ring;
use crate::sync::HalfWord;
use rawring_sys as sys;

/// The most entries that a ring of buffers has. The kernel takes 32768, and no more, since the next power of two does not
/// fit its counts.
const MAX: u16 = 1 << 15;

/// How a group of provided buffers is made. See [`BufRing::setup`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct BufRingSetup {
    group: u16,
    count: u16,
    size: u32,
    kernel_memory: bool,
    least: Option<u32>,
    bundles: bool,
    sends: bool,
}

impl BufRingSetup {
    pub(super) fn new(Group(group): Group, count: u16, size: u32) -> Self {
        BufRingSetup { group, count, size, kernel_memory: false, least: None, bundles: false, sends: false }
    }

    /// Has the kernel allocate the entries, which are then mapped (`IOU_PBUF_RING_MMAP`, Linux 6.4): what machines whose
    /// caches go by virtual addresses need. Only groups 0 to 2047 can be mapped. The buffers are memory of the process all
    /// the same.
    pub fn kernel_memory(mut self) -> Self {
        self.kernel_memory = true;
        self
    }

    /// Has the kernel use a buffer bit by bit (`IOU_PBUF_RING_INC`, Linux 6.12): a completion takes the bytes that it
    /// counts, and the next one goes on behind them, until fewer than `min_left` are left.
    ///
    /// The kernel takes a buffer for used up when no byte is left. More than that, as `recvmsg` needs for its header, came
    /// with Linux 7.1 (and late updates of 6.12): `EINVAL` before. 0 and 1 are the same, and work everywhere.
    ///
    /// Which bytes of a buffer a completion is about, it does not say. Those that follow the ones before, which is right
    /// only if operations complete in the order in which they took their bytes:
    ///
    /// # Safety
    ///
    /// 1. Operations that pick from the group run where they were submitted or when their file is ready, never in a worker:
    ///    receives from sockets and reads from pipes, without [`force_async`](crate::Sqe::force_async), not in a chain, with
    ///    no drained entry before them that has not ended, and no files that cannot be polled, such as regular ones.
    /// 2. Of those, only multishot ones are in flight more than one at a time. The kernel hands a single one that was woken
    ///    many times in vain to a worker.
    /// 3. None of them has `MSG_WAITALL`: before Linux 7.3 the kernel goes on writing to what it has given to another.
    pub unsafe fn incremental(mut self, min_left: u32) -> Self {
        self.least = Some(min_left);
        self
    }

    /// Has `scope` and [`InFlight`](crate::InFlight) take bundles of the group ([`RecvBundle`](crate::op::RecvBundle) and
    /// its kin), which they refuse otherwise ([`Reason::Bundle`](crate::Reason::Bundle)). An
    /// [incremental](Self::incremental) group has the same promises, and bundles.
    ///
    /// A completion names the first buffer of a bundle, and the others are those that follow it in the ring. A worker
    /// takes one buffer after the other instead, whichever is next by then, and the completion is the same (seen in Linux
    /// 6.18; 7.3 reads alike): of two buffers that others have between them, nobody would know.
    ///
    /// # Safety
    ///
    /// 1. Bundles that pick from the group run where they were submitted or when their socket is ready, never in a worker:
    ///    without [`force_async`](crate::Sqe::force_async), not in a chain, and with no drained entry before them that has
    ///    not ended.
    /// 2. No more than one of them that is no multishot one waits for a socket: the kernel hands what was woken many times in
    ///    vain to a worker.
    pub unsafe fn bundles(mut self) -> Self {
        self.bundles = true;
        self
    }

    /// Makes a group to send from ([`SendProvided`](crate::op::SendProvided), [`SendBundle`](crate::op::SendBundle),
    /// Linux 6.10): no buffer is given to the kernel before it was filled. [`BufRing::blank`] has an idle one, and
    /// [`Blank::provide`](super::Blank::provide) puts it behind the others. What was sent comes back with the completion, as
    /// a [`Lease`](super::Lease) on it; dropping that makes the buffer idle.
    ///
    /// One send takes one buffer, or as many as there are if it is a bundle, in the order in which they were provided: a
    /// queue of what is to be sent. What a short send leaves of its last buffer is not sent; that is
    /// [`Lease::unsent`](super::Lease::unsent). Without `MSG_WAITALL`, sends that are in flight at once may then send what
    /// comes behind first.
    ///
    /// A bundle takes its buffers when it begins, all that there are (256 at most). One that fails or comes short uses up
    /// all of them, and its completion names those only that it sent from: the rest is lost to the group, which
    /// [cannot prove](StillOut::Buffers) any more that it is idle.
    ///
    /// Not together with [`incremental`](Self::incremental).
    ///
    /// ```
    /// use rawring::{Event, InFlight, Ring, buf_ring::BufRing, op::SendProvided, operand::Group};
    /// use std::io::Read;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let mut ring = Ring::new(8)?;
    /// let bufs = BufRing::setup(Group(2), 8, 4096).sending().build(&mut ring)?;
    /// let mut ring = InFlight::new(ring)?;
    /// let (left, mut right) = UnixStream::pair()?;
    /// let mut blank = bufs.blank().expect("all are idle");
    /// blank[..5].copy_from_slice(b"hello");
    /// blank.provide(5).expect("5 bytes of 4096");
    /// ring.start(left, |socket| SendProvided::new(&*socket, bufs.group()).into())?;
    /// let Event::Done(done) = ring.wait_event()? else { unreachable!("one completion") };
    /// if done.cqe.result() == Ok(5) {
    ///     let sent = ring.delivered().expect("a buffer was used")?.next().expect("one");
    ///     assert_eq!((&sent[..], sent.unsent()), (&b"hello"[..], &b""[..]));
    ///     let mut received = [0; 5];
    ///     right.read_exact(&mut received)?;
    ///     assert_eq!(&received, b"hello");
    /// } // else it is a kernel before Linux 6.10
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sending(mut self) -> Self {
        self.sends = true;
        self
    }

    /// Allocates the buffers, registers the group, and gives all of them to the kernel (none of a group to
    /// [send](Self::sending) from).
    ///
    /// # Errors
    ///
    /// See [`BufRingError`]; the kernel's own are:
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | the kernel is too old for what was asked for |
    /// | `EEXIST` | the group has buffers already, or the ring belongs to another thread (`SINGLE_ISSUER`) |
    /// | `ENOMEM` | no memory, or more locked memory than `RLIMIT_MEMLOCK` allows |
    /// | `EBADFD` | the ring is [disabled](crate::Setup::disabled), and has `SINGLE_ISSUER` |
    /// | `EACCES` | a restriction of the ring does not allow it |
    pub fn build(self, ring: &mut Ring) -> Result<BufRing, BufRingError> {
        let BufRingSetup { group, count, size, kernel_memory, least, bundles, sends } = self;
        if count == 0 || count > MAX {
            return Err(BufRingError::Count(count));
        }
        let bytes =
            (size as usize).checked_mul(count.into()).filter(|&bytes| 0 < bytes && bytes <= isize::MAX as usize);
        let Some(bytes) = bytes else { return Err(BufRingError::Size(size)) };
        if sends && least.is_some() {
            return Err(BufRingError::SendsIncrementally);
        }
        if let Some(min_left) = least.filter(|&min_left| min_left > size) {
            return Err(BufRingError::MinLeft { min_left, size });
        }
        if kernel_memory && u64::from(group) << sys::IORING_OFF_PBUF_SHIFT >= MAPPABLE {
            return Err(BufRingError::Unmappable(group));
        }
        let slots = count.next_power_of_two();
        let len = usize::from(slots) * size_of::<sys::io_uring_buf>();
        let memory = Pages::anonymous(bytes).map_err(|errno| BufRingError::Memory { bytes, errno })?;
        let mut request =
            sys::io_uring_buf_reg { ring_entries: slots.into(), bgid: group, ..sys::io_uring_buf_reg::ZERO };
        if let Some(min_left) = least {
            request.flags |= sys::IOU_PBUF_RING_INC;
            request.min_left = min_left;
        }
        let refused = |errno| BufRingError::Register { group, bytes: len, errno };
        let entries = if kernel_memory {
            request.flags |= sys::IOU_PBUF_RING_MMAP;
            let fd = ring.fd().ok_or(BufRingError::NoDescriptor)?;
            // SAFETY: the kernel allocates the entries, and takes no buffer until one is there.
            unsafe { ask(ring, sys::IORING_REGISTER_PBUF_RING, &mut request) }.map_err(refused)?;
            Pages::of_group(fd, group, len).map_err(|errno| {
                let _unregistered = unregister(ring, group);
                BufRingError::Map(errno)
            })?
        } else {
            let entries = Pages::anonymous(len).map_err(|errno| BufRingError::Memory { bytes: len, errno })?;
            request.ring_addr = entries.start().as_ptr().expose_provenance() as u64;
            // SAFETY: the kernel keeps a reference of its own to the pages of the entries, which are zeros: no buffer.
            unsafe { ask(ring, sys::IORING_REGISTER_PBUF_RING, &mut request) }.map_err(refused)?;
            entries
        };
        let first = entries.start().cast::<sys::io_uring_buf>();
        // SAFETY: the mapping has as many entries as the mask says, aligned to its pages, and moves into the group with the
        // queue. A cell is laid out as what it holds. The tail is the last field of entry 0.
        let queue = unsafe {
            let tail = NonNull::new_unchecked(&raw mut (*first.as_ptr()).resv);
            Queue::new(Slots::new(first.cast(), u32::from(slots) - 1, 0), HalfWord::new(tail.cast()), 0)
        };
        let ledger = Ledger::new(count, size, least.map(|least| least.max(1)));
        let serial = ring.groups.next_serial();
        let bundles = bundles || least.is_some();
        let shared = Arc::new(Shared::new((group, serial, size), (bundles, sends), memory, ledger, queue, entries));
        shared.refill(&mut shared.lock());
        ring.groups.add(shared.clone());
        Ok(BufRing { shared })
    }
}

/// Offsets of groups in the mapping of a ring have this much room: what is beyond would be taken for other things.
const MAPPABLE: u64 = 1 << 27;

/// # Safety
///
/// As for [`Ring::register_raw`].
unsafe fn ask<T>(ring: &Ring, op: u32, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: all calls that this is used for take one struct, which is read and written during the call. The rest is the
    // caller's promise.
    unsafe { ring.register_raw(op, core::ptr::from_mut(argument).cast(), 1) }.map(drop)
}

fn unregister(ring: &Ring, group: u16) -> Result<(), Errno> {
    let mut request = sys::io_uring_buf_reg { bgid: group, ..sys::io_uring_buf_reg::ZERO };
    // SAFETY: taking a group away makes the kernel touch nothing.
    unsafe { ask(ring, sys::IORING_UNREGISTER_PBUF_RING, &mut request) }
}

impl Ring {
    /// How many buffers the kernel has taken from a group's ring since it was registered, modulo 65,536 (Linux 6.8).
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `ENOENT` | there is no such group |
    /// | `EINVAL` | the group is not a ring, or the kernel lacks the call |
    pub fn buf_ring_head(&self, Group(group): Group) -> Result<u16, Errno> {
        let mut status = sys::io_uring_buf_status { buf_group: group.into(), head: 0, resv: [0; 8] };
        // SAFETY: the call fills the struct, and touches nothing else.
        unsafe { ask(self, sys::IORING_REGISTER_PBUF_STATUS, &mut status) }?;
        Ok(status.head as u16)
    }

    /// Ends a group, and frees its memory once the last lease of it is dropped.
    ///
    /// Operations that wait for data may stay: when it comes, they end with `ENOBUFS`, or, if it comes during this call,
    /// with a result of 0.
    ///
    /// # Errors
    ///
    /// The group comes back, as it was, if one of its buffers is with an operation, or in a completion that was not
    /// [taken](BufRing::take); reap, and try again. Also if the kernel does not say whether there is one: [`StillOut`] has
    /// the cases, and [`unregister_buf_ring_unchecked`](Self::unregister_buf_ring_unchecked) asks for nobody's word.
    pub fn unregister_buf_ring(&mut self, bufs: BufRing) -> Result<(), InUse> {
        let BufRing { shared } = &bufs;
        let ended = match self.groups.has(shared) {
            true => self.prove_idle(shared),
            false => Err(StillOut::OtherRing),
        };
        match ended {
            Ok(()) => {
                self.groups.remove(shared);
                // SAFETY: the kernel no longer knows the group, and has said that no operation has a buffer with room for a
                // byte in it.
                unsafe { shared.release() };
                Ok(())
            }
            Err(reason) => Err(InUse { bufs, reason }),
        }
    }

    /// As [`unregister_buf_ring`](Self::unregister_buf_ring), on the caller's word, for kernels that cannot be asked.
    ///
    /// # Errors
    ///
    /// The group comes back if it is another ring's, or the call fails.
    ///
    /// # Safety
    ///
    /// 1. Every operation that picks from the group has ended: its last completion was reaped.
    pub unsafe fn unregister_buf_ring_unchecked(&mut self, bufs: BufRing) -> Result<(), InUse> {
        let BufRing { shared } = &bufs;
        if !self.groups.has(shared) {
            return Err(InUse { bufs, reason: StillOut::OtherRing });
        }
        if let Err(errno) = unregister(self, shared.group) {
            return Err(InUse { bufs, reason: StillOut::Errno(errno) });
        }
        self.groups.remove(shared);
        // SAFETY: the kernel no longer knows the group, and by clause 1 no operation is left.
        unsafe { shared.release() };
        Ok(())
    }

    /// Unregisters a group that is proven to be idle; see the module's text.
    fn prove_idle(&self, shared: &Shared) -> Result<(), StillOut> {
        let state = &mut *shared.lock();
        self.count_out(shared.group, state)?;
        let emptied = state.empty_entries();
        let still_idle = self.count_out(shared.group, state).and_then(|()| {
            // In an incremental group the kernel writes lengths, too. Having asked it once, any such write is done.
            if state.is_emptied() { Ok(()) } else { Err(StillOut::Buffers(1)) }
        });
        let ended = still_idle.and_then(|()| unregister(self, shared.group).map_err(StillOut::Errno));
        if ended.is_err() {
            shared.restore_entries(state, emptied);
        }
        ended
    }

    /// Whether all buffers that the kernel has handed to operations are back.
    fn count_out(&self, group: u16, state: &State) -> Result<(), StillOut> {
        let head = self.buf_ring_head(Group(group)).map_err(|errno| match errno {
            Errno::INVAL => StillOut::Unknown,
            errno => StillOut::Errno(errno),
        })?;
        let waiting = u32::from(state.queue.next().wrapping_sub(head));
        match state.ledger.lent().checked_sub(waiting) {
            Some(0) => Ok(()),
            Some(out) => Err(StillOut::Buffers(out)),
            None => Err(StillOut::Contradiction),
        }
    }
}

/// A group that was not unregistered, and why.
pub struct InUse {
    /// The group.
    pub bufs: BufRing,
    /// What is in the way.
    pub reason: StillOut,
}

/// What keeps a group from being unregistered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StillOut {
    /// So many of its buffers are with operations, or in completions that were not taken.
    Buffers(u32),
    /// The group is registered with another ring.
    OtherRing,
    /// The kernel does not say what it has taken; `IORING_REGISTER_PBUF_STATUS` came with Linux 6.8.
    Unknown,
    /// Completions brought buffers that the kernel says it has not taken.
    Contradiction,
    /// A call failed.
    Errno(Errno),
}

impl fmt::Display for StillOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StillOut::Buffers(count) => write!(
                f,
                "{count} buffers of the group are with operations, or in completions that were not taken: reap those, \
                 cancel operations that hold one, then try again"
            ),
            StillOut::OtherRing => f.write_str("the group is registered with another ring: unregister it there"),
            StillOut::Unknown => f.write_str(
                "this kernel does not say which buffers it has taken (Linux 6.8 does): drop the group, which leaks its \
                 memory, or use unregister_buf_ring_unchecked()",
            ),
            StillOut::Contradiction => f.write_str(
                "completions brought buffers of the group that the kernel says it has not taken: was one taken that is \
                 not the group's, or handed in twice? Drop the group, which leaks its memory",
            ),
            StillOut::Errno(errno) => write!(f, "unregistering the group failed: {errno}"),
        }
    }
}

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InUse").field("reason", &self.reason).field("bufs", &self.bufs).finish()
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for InUse {}
