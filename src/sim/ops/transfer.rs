//! The memory between which an operation moves bytes: one part, several, or a provided buffer picked when it is needed.
//!
//! What an entry names directly is lent when the entry is consumed. That the memory is not there is told when the
//! operation runs, as the kernel does; that an *array* of parts is not there, when the entry is consumed.

use rustix::io::Errno;

use super::super::object::{Attempt, Received};
use super::super::user::{Input, Output};
use super::buffers::Buffer;
use super::{Prepare, Turn};
use rawring_sys as sys;

/// The most that one call transfers.
const MAX_TRANSFER: usize = 0x7fff_f000;

/// The most parts.
const MAX_PARTS: usize = 1024;

/// The most buffers of a bundle, here. A kernel takes up to 256.
const MAX_BUNDLE: usize = 4;

/// One part of the user's memory.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) address: u64,
    pub(super) len: usize,
}

/// Reads an array of `struct iovec`.
pub(super) fn parts(cx: &Prepare<'_>, address: u64, count: usize) -> Result<Vec<Part>, Errno> {
    const WORD: usize = size_of::<usize>();
    if count > MAX_PARTS {
        return Err(Errno::INVAL);
    }
    let word = |bytes: &[u8]| usize::from_ne_bytes(bytes.try_into().expect("a word"));
    let mut left = MAX_TRANSFER;
    let mut parts = Vec::new();
    for pair in cx.read(address, count * 2 * WORD)?.chunks_exact(2 * WORD) {
        let (start, len) = (word(&pair[..WORD]), word(&pair[WORD..]));
        if isize::try_from(len).is_err() {
            return Err(Errno::INVAL);
        }
        let len = len.min(left);
        left -= len;
        parts.push(Part { address: start as u64, len });
    }
    Ok(parts)
}

/// Where bytes come from.
pub(super) struct Source(Result<Vec<Input>, Errno>);

impl Source {
    pub(super) fn lend(cx: &mut Prepare<'_>, parts: &[Part]) -> Source {
        Source(parts.iter().map(|part| cx.input(part.address, part.len.min(MAX_TRANSFER))).collect())
    }

    pub(super) fn bytes(&self, turn: &Turn<'_>) -> Result<Vec<u8>, Errno> {
        let inputs = self.0.as_ref().map_err(|errno| *errno)?;
        Ok(inputs.iter().flat_map(|&input| turn.bytes(input)).copied().collect())
    }
}

/// Where bytes go.
pub(super) struct Sink {
    outputs: Result<Vec<(Output, usize)>, Errno>,
    len: usize,
}

impl Sink {
    pub(super) fn lend(cx: &mut Prepare<'_>, parts: &[Part]) -> Sink {
        let mut lend = |part: &Part| {
            let len = part.len.min(MAX_TRANSFER);
            Ok((cx.output(part.address, len)?, len))
        };
        Sink { outputs: parts.iter().map(&mut lend).collect(), len: parts.iter().map(|part| part.len).sum() }
    }

    /// Writes `bytes`, after the first `at` of the room.
    fn put(&self, turn: &mut Turn<'_>, mut at: usize, mut bytes: &[u8]) {
        for &(output, len) in self.outputs.iter().flatten() {
            if at >= len {
                at -= len;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(len - at));
            turn.write(output, at, now);
            (at, bytes) = (0, later);
        }
    }
}

/// Where an operation's bytes go.
pub(super) enum Room {
    /// To what the entry names.
    Lent(Sink),
    /// To a buffer of this group, of which no more than `most` is used, if that is not 0; or to several.
    Group { group: u16, most: usize, bundle: bool },
}

/// What became of an attempt to receive.
pub(super) struct Landed {
    /// Bytes that there are now.
    pub(super) len: usize,
    /// Bytes that there were to receive.
    pub(super) full: usize,
    /// For the completion.
    pub(super) flags: u32,
}

impl Room {
    /// Makes room for what an entry with `IOSQE_BUFFER_SELECT` wants, or for what it names itself.
    pub(super) fn of(cx: &mut Prepare<'_>, parts: &[Part]) -> Room {
        if cx.sqe.flags & sys::IOSQE_BUFFER_SELECT != 0 {
            let bundles = cx.sqe.opcode == sys::IORING_OP_RECV && cx.sqe.ioprio & sys::IORING_RECVSEND_BUNDLE != 0;
            let most = parts.iter().map(|part| part.len).sum();
            return Room::Group { group: cx.sqe.buf_index, most, bundle: bundles };
        }
        Room::Lent(Sink::lend(cx, parts))
    }

    /// How much fits that is not filled by the first `done` bytes; `None` where a buffer is yet to be picked.
    pub(super) fn left(&self, done: usize) -> Option<usize> {
        match self {
            Room::Lent(sink) => Some(sink.len - done),
            Room::Group { .. } => None,
        }
    }

    /// Receives by `call`, which is told how much fits, behind the `done` bytes that are there.
    ///
    /// A buffer is picked before it is known whether there is anything, and goes back if there is not. With nothing
    /// to receive for good, only some operations use one up (`keep`).
    pub(super) fn receive(
        &self,
        turn: &mut Turn<'_>,
        done: usize,
        keep: bool,
        call: impl FnOnce(&mut Turn<'_>, usize) -> Attempt<Received>,
    ) -> Attempt<Landed> {
        match *self {
            Room::Lent(ref sink) => {
                if let Err(errno) = sink.outputs {
                    return Attempt::Ready(Err(errno));
                }
                let attempt = call(turn, sink.len - done);
                attempt.map(|Received { bytes, full }| {
                    sink.put(turn, done, &bytes);
                    Landed { len: bytes.len(), full, flags: 0 }
                })
            }
            Room::Group { group, most, bundle } => {
                // As many as a kernel might guess.
                let count = if bundle { 1 + turn.world.rng.below(MAX_BUNDLE) as u16 } else { 1 };
                let picked = turn.groups().pick(group, count);
                if picked.is_empty() {
                    return Attempt::Ready(Err(Errno::NOBUFS));
                }
                let room: usize = picked.iter().map(|buffer| buffer.len).sum();
                let len = if most == 0 { room } else { room.min(most) };
                let attempt = call(turn, len);
                let keep = keep || turn.request.has(sys::IOSQE_ASYNC) && turn.groups().is_ring(group);
                match attempt {
                    Attempt::Ready(Ok(Received { bytes, full })) if keep || !bytes.is_empty() => {
                        Attempt::Ready(fill(turn, group, &picked, &bytes).map(|flags| Landed {
                            len: bytes.len(),
                            full,
                            flags,
                        }))
                    }
                    other => {
                        turn.groups().give_back(group, &picked);
                        other.map(|Received { bytes, full }| Landed { len: bytes.len(), full, flags: 0 })
                    }
                }
            }
        }
    }
}

/// Writes into the buffers that were picked, as many as it takes, and tells the flags that name the first.
fn fill(turn: &mut Turn<'_>, group: u16, picked: &[Buffer], bytes: &[u8]) -> Result<u32, Errno> {
    let mut rest = bytes;
    let mut used = 0;
    while used == 0 || !rest.is_empty() {
        let buffer = picked[used];
        let (now, later) = rest.split_at(rest.len().min(buffer.len));
        let len = turn.groups().lends(group, buffer, now.len());
        match turn.output(buffer.address, len) {
            Ok(output) => turn.write(output, 0, now),
            Err(errno) => {
                turn.groups().give_back(group, picked);
                return Err(errno);
            }
        }
        (rest, used) = (later, used + 1);
    }
    turn.world.activity();
    turn.request.took = turn.groups().is_incremental(group).then_some(turn.world.activity);
    Ok(turn.groups().commit(group, &picked[..used], bytes.len()))
}
