//! What was promised, and what came of it: for each entry that was consumed, the completions that were posted.
//!
//! The ledger is the simulator's own account, kept apart from the queues. A test compares it with what it has reaped.

use std::collections::BTreeMap;

use super::request::RequestId;
use super::user::Breach;
use crate::op::Opcode;
use crate::user_data::UserData;
use rawring_sys as sys;

/// An entry that was consumed, and its completions so far.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Promise {
    /// Which of the simulation's rings consumed it, in the order in which they were made, from 0.
    pub ring: u32,
    /// What was asked for.
    pub opcode: Opcode,
    /// `IOSQE_*` of the entry.
    pub flags: u8,
    /// The entry's own.
    pub user_data: UserData,
    /// The result and the flags of each completion, in the order in which they were posted.
    pub completions: Vec<(i32, u32)>,
    /// Whether it is over. Without completions then, success was to be skipped, or the ring was closed first.
    pub ended: bool,
}

impl Promise {
    pub(super) fn of(ring: u32, sqe: &sys::io_uring_sqe) -> Promise {
        let &sys::io_uring_sqe { opcode, flags, user_data, .. } = sqe;
        let (opcode, user_data) = (Opcode(opcode), UserData(user_data));
        Promise { ring, opcode, flags, user_data, completions: Vec::new(), ended: false }
    }
}

/// All promises.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<RequestId, Promise>);

impl Ledger {
    pub(super) fn promise(&mut self, id: RequestId, promise: Promise) {
        self.0.insert(id, promise);
    }

    pub(super) fn posted(&mut self, id: RequestId, res: i32, flags: u32) {
        if let Some(promise) = self.0.get_mut(&id) {
            promise.completions.push((res, flags));
        }
    }

    pub(super) fn ended(&mut self, id: RequestId) {
        if let Some(promise) = self.0.get_mut(&id) {
            promise.ended = true;
        }
    }

    /// In the order in which the entries were consumed.
    pub(super) fn promises(&self) -> Vec<Promise> {
        self.0.values().cloned().collect()
    }
}

/// Memory that was lent to an operation and touched meanwhile by somebody else.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The operation.
    pub opcode: Opcode,
    /// The entry's.
    pub user_data: UserData,
    /// The start of the lent memory.
    pub address: u64,
    /// The first byte that was touched.
    pub offset: usize,
    /// Whether the operation was to write the memory. If not, it was reading it.
    pub output: bool,
}

impl Violation {
    pub(super) fn new(breach: Breach, opcode: u8, user_data: u64) -> Violation {
        let (address, offset, output) = match breach {
            Breach::Written { address, offset } => (address, offset, true),
            Breach::Changed { address, offset } => (address, offset, false),
        };
        Violation { opcode: Opcode(opcode), user_data: UserData(user_data), address, offset, output }
    }
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Violation { opcode, user_data, address, offset, output } = self;
        let use_of = if *output { "was to write to" } else { "was reading" };
        write!(
            f,
            "byte {offset} of the memory at {address:#x} was written while it was lent: {opcode:?} with user_data \
             {:#x} {use_of} it",
            user_data.0
        )
    }
}
