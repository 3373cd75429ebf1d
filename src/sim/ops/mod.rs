//! What entries mean: one small struct for each operation, prepared once and then attempted until it is done.
//!
//! The core (links, drains, cancellation, posting, time) knows none of them; an operation knows nothing of the core but
//! its [`Turn`]. What the kernel checks when it consumes an entry is checked in `prepare`; argument structs are read
//! there, too, and never again.

mod buf_ring;
mod buffers;
mod connect;
mod file;
mod msg;
mod nop;
mod poll;
mod recv;
mod ring;
mod rw;
mod send;
mod slots;
mod time;
mod transfer;

pub(super) use buffers::Groups;

use std::sync::Arc;

use rustix::io::Errno;

use super::object::Object;
use super::registered::{Node, Registered};
use super::request::{Outcome, Request, RequestId, RingId};
use super::ring::Ring;
use super::user::{self, Input, Loans, Output};
use super::world::{Time, World};
use crate::op::{self, OperandInfo};
use crate::operand::Kind;
use crate::sqe::At;
use rawring_sys as sys;

/// A prepared operation.
pub(super) trait Operation: Send {
    /// Gets on, without waiting. Called again while the answer is to wait, or to go on.
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress;

    /// Starts where it was submitted, and not in a worker: from here on it has the registered buffer that it names.
    fn start(&mut self, _buffers: &Registered) {}

    /// Whether the kernel always makes the first attempt in the submission. Others may be left to a worker.
    fn is_prompt(&self) -> bool {
        false
    }

    /// What the operation says when it is cancelled.
    fn cancelled(&mut self) -> Outcome {
        Outcome::errno(Errno::CANCELED)
    }

    /// Changes an operation that waits. `ENOENT` where it is of another kind than the change.
    fn change(&mut self, _change: &Change, _now: Time) -> Result<(), Errno> {
        Err(Errno::NOENT)
    }
}

/// What another entry can change about an operation that waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// A timeout ends at another time.
    Time {
        /// From now, or of the clock.
        nanoseconds: u64,
        /// Of the clock.
        absolute: bool,
    },
    /// A poll waits for other events.
    Poll {
        /// The bits of the entry: `poll(2)` events, in the kernel's order on this machine.
        events: Option<u32>,
        /// A new name for it.
        user_data: Option<u64>,
    },
}

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It is over.
    Done(Outcome),
    /// A multishot operation reports and goes on; it is attempted again after that was posted.
    More(Outcome),
    /// A zero-copy send was sent. It is attempted again until it is done, which is when the notification is posted.
    Sent(Outcome),
    /// To be attempted again when something has happened in the world.
    Blocked,
    /// As [`Progress::Blocked`], and not later than at this time.
    Until(Time),
}

/// What an operation has when it is attempted.
pub(super) struct Turn<'w> {
    /// Everything else that there is. The request itself is not in the world's table meanwhile.
    pub(super) world: &'w mut World,
    pub(super) id: RequestId,
    pub(super) request: &'w mut Request,
}

impl Turn<'_> {
    /// The bytes of a loan.
    pub(super) fn bytes(&self, input: Input) -> &[u8] {
        self.request.loans.bytes(input)
    }

    /// Writes into a loan; the user sees it when the completion is posted.
    pub(super) fn write(&mut self, output: Output, at: usize, bytes: &[u8]) {
        self.request.loans.write(output, at, bytes);
    }

    /// How much of the user's memory a loan is.
    pub(super) fn room(&self, output: Output) -> usize {
        self.request.loans.len(output)
    }

    /// Lends memory that the entry does not name: a provided buffer, which the kernel picks when it needs one.
    pub(super) fn output(&mut self, address: u64, len: usize) -> Result<Output, Errno> {
        let garbage = self.world.rng.next();
        // SAFETY: who provides a buffer leaves it to the kernel until a completion names it, and loans are settled
        // before that.
        unsafe { self.request.loans.output(address, len, garbage) }
    }

    /// The provided buffers of the ring.
    pub(super) fn groups(&mut self) -> &mut Groups {
        &mut self.world.ring(self.request.ring).groups
    }

    /// What is in a slot of the ring's registered buffers.
    pub(super) fn registered_buffer(&mut self, index: u16) -> Option<Arc<Node>> {
        self.world.ring(self.request.ring).registered.get(index)
    }

    /// What the entry's descriptor led to when the operation started. It stays that, whatever becomes of the number.
    pub(super) fn object(&mut self) -> Result<Object, Errno> {
        if self.request.has(sys::IOSQE_ASYNC) && self.request.file.is_none() {
            let World { objects, rings, .. } = &*self.world;
            let files = &rings.get(&self.request.ring).expect("a ring is there while it has requests").files;
            self.request.look_up(objects, files);
        }
        self.request.file.clone().ok_or(Errno::BADF)
    }

    /// Gives a new object a descriptor, or a place in the table of registered files: `slot` is the entry's `file_index`.
    pub(super) fn open(&mut self, object: Object, slot: u32) -> Result<i32, Errno> {
        if slot == 0 {
            return self.world.open(object);
        }
        let ring = self.request.ring;
        let installed = self.world.ring(ring).files.install(object, slot);
        self.world.post_tags(ring);
        self.world.activity();
        installed.map(|index| index as i32)
    }

    /// What is in a slot of the table of registered files.
    pub(super) fn registered(&mut self, index: i32) -> Result<Object, Errno> {
        let node = self.world.ring(self.request.ring).files.get(index).ok_or(Errno::BADF)?;
        Ok(node.object.clone())
    }

    /// How much of `len` is transferred where the kernel may do less: mostly all of it, and never nothing.
    pub(super) fn short(&mut self, len: usize) -> usize {
        let odds = self.world.config.short;
        if len > 1 && self.world.rng.percent(odds) { 1 + self.world.rng.below(len) } else { len }
    }
}

/// What an operation has when its entry is consumed.
pub(super) struct Prepare<'p> {
    pub(super) world: &'p mut World,
    pub(super) loans: &'p mut Loans,
    /// The ring that the entry was pushed to.
    pub(super) ring: RingId,
    pub(super) sqe: sys::io_uring_sqe,
    /// The other half of an entry of 128 bytes.
    #[expect(dead_code, reason = "commands of 80 bytes will want it")]
    pub(super) second: Option<[u8; 64]>,
    /// The operation of the entry before it in its chain.
    pub(super) after: Option<u8>,
}

impl Prepare<'_> {
    pub(super) fn ring(&mut self) -> &mut Ring {
        self.world.ring(self.ring)
    }

    /// Copies an argument from the user's memory.
    pub(super) fn read(&self, address: u64, len: usize) -> Result<Vec<u8>, Errno> {
        // SAFETY: by the contract of `io_uring_enter`, what a submitted entry names is valid for what its operation
        // does, and this operation reads it.
        unsafe { user::read(address, len) }
    }

    /// Copies a time from the user's memory.
    pub(super) fn timespec(&self, address: u64) -> Result<sys::__kernel_timespec, Errno> {
        // SAFETY: as in `read`, and any two numbers make a `__kernel_timespec`.
        unsafe { user::read_struct(address) }
    }

    /// Lends what the operation will read.
    pub(super) fn input(&mut self, address: u64, len: usize) -> Result<Input, Errno> {
        // SAFETY: as in `read`; until the last completion, before which loans are settled.
        unsafe { self.loans.input(address, len) }
    }

    /// Lends what the operation will write.
    pub(super) fn output(&mut self, address: u64, len: usize) -> Result<Output, Errno> {
        let garbage = self.world.rng.next();
        // SAFETY: by the contract of `io_uring_enter`, what an entry names to be written is used by nobody else until
        // its last completion, before which loans are settled.
        unsafe { self.loans.output(address, len, garbage) }
    }
}

/// Checks an entry, and makes its operation.
type Make = fn(&mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno>;

/// The operations that there are here.
fn make(opcode: u8) -> Option<Make> {
    Some(match opcode {
        sys::IORING_OP_NOP | sys::IORING_OP_NOP128 => nop::prepare,
        sys::IORING_OP_READ | sys::IORING_OP_READV | sys::IORING_OP_READ_FIXED => rw::read,
        sys::IORING_OP_READ_MULTISHOT => rw::read_multishot,
        sys::IORING_OP_WRITE | sys::IORING_OP_WRITEV | sys::IORING_OP_WRITE_FIXED => rw::write,
        sys::IORING_OP_FSYNC => file::fsync,
        sys::IORING_OP_FTRUNCATE => file::truncate,
        sys::IORING_OP_CLOSE => file::close,
        sys::IORING_OP_FILES_UPDATE => slots::update,
        sys::IORING_OP_POLL_ADD => poll::prepare,
        sys::IORING_OP_SEND | sys::IORING_OP_SENDMSG => send::send,
        sys::IORING_OP_SEND_ZC | sys::IORING_OP_SENDMSG_ZC => send::send_zc,
        sys::IORING_OP_RECV | sys::IORING_OP_RECVMSG => recv::prepare,
        sys::IORING_OP_SOCKET => connect::socket,
        sys::IORING_OP_CONNECT => connect::connect,
        sys::IORING_OP_ACCEPT => connect::accept,
        sys::IORING_OP_SHUTDOWN => connect::shutdown,
        sys::IORING_OP_TIMEOUT => time::timeout,
        sys::IORING_OP_TIMEOUT_REMOVE => time::remove,
        sys::IORING_OP_LINK_TIMEOUT => time::limit,
        sys::IORING_OP_ASYNC_CANCEL => ring::cancel,
        sys::IORING_OP_POLL_REMOVE => ring::poll_remove,
        sys::IORING_OP_MSG_RING => ring::message,
        sys::IORING_OP_PROVIDE_BUFFERS => buffers::provide,
        sys::IORING_OP_REMOVE_BUFFERS => buffers::remove,
        _ => return None,
    })
}

/// Whether there is such an operation here.
pub(super) fn is_simulated(opcode: u8) -> bool {
    make(opcode).is_some()
}

/// Whether every entry of the operation names a file.
pub(super) fn takes_file(opcode: u8) -> bool {
    let names =
        |operand: &OperandInfo| operand.required && matches!(operand.kind, Kind::File) && operand.at == [At::FD];
    op::all().any(|row| row.opcode.0 == opcode && row.operands.iter().any(names))
}

/// Whether the operation can take its buffer from a group.
pub(super) fn selects_buffers(opcode: u8) -> bool {
    matches!(
        opcode,
        sys::IORING_OP_READ
            | sys::IORING_OP_READV
            | sys::IORING_OP_READ_MULTISHOT
            | sys::IORING_OP_RECV
            | sys::IORING_OP_RECVMSG
    )
}

/// Checks an entry, and makes its operation.
pub(super) fn prepare(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let make = make(cx.sqe.opcode).ok_or(Errno::OPNOTSUPP)?;
    // Bits that a release does not know, it refuses.
    if cx.world.config.release().knows(&cx.sqe) { make(cx) } else { Err(Errno::INVAL) }
}
