//! Programs from bytes, which are for fuzzers to make up, and for `proptest` to make smaller.
//!
//! Each step has a fixed number of bytes, so that taking a step away leaves the others what they are, and zeros are
//! the simplest step. All bytes are a program.

use super::fixed::SLOTS;
use super::program::{Bufs, Door, ENTRIES, Entry, Kind, LONG, Link, Object, Op, Program, Step, entry};

/// Bytes before the first step.
pub const HEADER: usize = 2;
/// Bytes of a step.
pub const STEP: usize = 5;
/// What a step is, its first byte says, modulo this.
pub const KINDS: u8 = 116;
/// From here on it picks a buffer; from here on it gives one back.
pub const PICKS: u8 = 64;
pub const GIVE_BACK: u8 = 88;
/// From here on it changes tables of what is registered, and here are registered buffers.
pub const TABLE: u8 = 96;
pub const FIXED: u8 = 108;
/// Steps that a program has at most: tags of entries have to fit into a byte, and runs should be short.
pub const MAX_STEPS: usize = 28;

/// The program that these bytes stand for.
pub fn from_bytes(bytes: &[u8]) -> Program {
    let (header, steps) = bytes.split_at(HEADER.min(bytes.len()));
    let at = |i: usize| header.get(i).copied().unwrap_or_default();
    let doors = [Door::Unchecked, Door::Unchecked, Door::Scope, Door::InFlight, Door::Panic];
    Program {
        kind: pick(&Kind::ALL, at(0)),
        door: pick(&doors, at(1)),
        bufs: pick(&[Bufs::List, Bufs::Ring, Bufs::Ring, Bufs::Incremental], at(0) / Kind::ALL.len() as u8),
        steps: steps.chunks_exact(STEP).take(MAX_STEPS).map(step).collect(),
    }
}

fn pick<T: Copy>(from: &[T], byte: u8) -> T {
    from[usize::from(byte) % from.len()]
}

fn step(bytes: &[u8]) -> Step {
    let [kind, object, a, b, flags] = bytes.try_into().expect("a whole step");
    let source = pick(&[Object::In(0), Object::Socket(0), Object::In(1), Object::Socket(1), Object::Tcp], object);
    match kind % KINDS {
        48..=50 => Step::Submit,
        51..=53 => Step::Wait(a % 4),
        54 => Step::Reap,
        55..=58 => Step::Feed(source, 1 + a % 24),
        59 => Step::HangUp(pick(&Object::ALL[2..9], object)),
        60 => Step::Connect,
        61 => Step::Withdraw(a % 8),
        62 => Step::Post,
        GIVE_BACK..=92 => Step::GiveBack(a % 8),
        93 => Step::GiveBackAll,
        94..96 => Step::Feed(source, 20 + a % 24),
        TABLE..=99 => Step::Install(pick(&Object::ALL, object)),
        100..=102 => Step::TakeOut(pick(&Object::ALL, object)),
        FIXED..=109 => Step::Renew(a % SLOTS as u8),
        kind => Step::Push(flagged(operation(kind, object, a, b), flags)),
    }
}

fn operation(kind: u8, object: u8, a: u8, b: u8) -> Op {
    use Object::{File, In, Out, Socket, Tcp};
    let file = File(object % 2);
    let socket = pick(&[Socket(0), Socket(1), Tcp], object);
    let source = pick(&[In(0), In(1), Socket(0), Socket(1), Tcp], object);
    let sink = pick(&[Out(0), Out(1), Socket(0), Socket(1), Tcp], object);
    let len = 1 + b % 24;
    match kind {
        0..=2 => Op::Nop,
        3 | 4 => Op::Wide,
        5 | 6 => Op::Fail,
        7 => Op::Malformed,
        8..=11 => Op::ReadAt(file, a, len),
        12..=15 => Op::WriteAt(file, a % 232, len),
        16 => Op::ReadHuge(file),
        17..=20 => Op::Read(source, len),
        21 | 22 => Op::Recv(socket, len),
        23 | 24 => Op::Write(sink, len),
        25 => Op::Send(socket, len),
        26 | 27 => Op::SendZc(len),
        28 | 29 => Op::Poll(source),
        30 => Op::PollMulti(source),
        31 => Op::ReadMulti(In(object % 2)),
        32 | 33 => Op::RecvMulti(socket),
        34 => Op::Accept,
        35 => Op::AcceptMulti,
        36 => Op::Timeout(u16::from(1 + a % 2), 0),
        37 => Op::Timeout(LONG, b % 4),
        38 => Op::TimeoutMulti(1 + a % 3),
        39 => Op::LinkTimeout(if b & 1 == 0 { 1 } else { LONG }),
        40 | 41 => Op::CancelKey(a % 16),
        42 => Op::CancelFd(pick(&Object::ALL, object)),
        43 => Op::CancelAny,
        44 => Op::TimeoutRemove(a % 16),
        45 => Op::PollRemove(a % 16),
        PICKS..=67 => Op::ReadProvided(source),
        68..=71 => Op::RecvProvided(socket),
        72..=75 => Op::RecvBundle(socket),
        76..=79 => Op::RecvMultiBundle(socket),
        80..=83 => Op::ReadMulti(In(object % 2)),
        84..=87 => Op::RecvMulti(socket),
        110..=112 => Op::ReadFixed(source, len),
        113.. => Op::WriteFixed(sink, len),
        103..=107 => Op::ClearFile(pick(&Object::ALL, object)),
        _ => Op::Message(b & 1 == 0),
    }
}

fn flagged(op: Op, flags: u8) -> Entry {
    let link = match flags & 3 {
        1 => Link::Soft,
        2 => Link::Hard,
        _ => Link::None,
    };
    Entry {
        link,
        drain: flags & 0b1100 == 0b1100,
        force_async: flags & 0b1_0100 == 0b1_0100,
        skip: flags & 0b110_0000 == 0b110_0000 && can_skip(op),
        fixed: flags & 0b1000_0000 != 0,
        ..entry(op)
    }
}

/// Whether a missing completion of it says something: that of an operation with many does not.
fn can_skip(op: Op) -> bool {
    // Of a buffer that was picked, nobody would hear.
    matches!(op, Op::PollMulti(_)) || !(op.is_multi() || op.picks().is_some() || matches!(op, Op::LinkTimeout(_)))
}

/// The program made so calm that any kernel has to come to the same: one chain at a time, nothing by the clock, no two
/// that wait for the same thing.
pub fn calmed(program: &Program) -> Program {
    let mut steps = Vec::new();
    let mut waited_for = Vec::new();
    let mut linked = false;
    let mut chain = 0;
    for step in &program.steps {
        let mut step = step.clone();
        if let Step::Push(entry) = &mut step {
            let waits = entry.op.reads().or(match entry.op {
                Op::Poll(object) => Some(object),
                _ => None,
            });
            let by_the_clock = matches!(entry.op, Op::Timeout(..) | Op::LinkTimeout(_)) || entry.op.is_multi();
            let in_chain = linked || entry.link != Link::None;
            // Buffers that large are not everywhere, and notifications of sends that never start neither. What waits in
            // a chain may have a worker wait with it, and everything else for the worker.
            let differs = match entry.op {
                // Descriptors have any number, and who looks for many finds them wherever they happen to be.
                Op::ReadHuge(_) | Op::Accept | Op::CancelFd(_) | Op::CancelAny => true,
                // How many buffers it looks at is the kernel's business.
                Op::RecvBundle(_) => true,
                // From a list, a read of Linux has its buffer while it waits.
                Op::ReadProvided(_) if program.bufs == Bufs::List => true,
                Op::SendZc(_) | Op::CancelKey(_) => in_chain,
                _ => in_chain && waits.is_some(),
            };
            // A chain that does not fit into the queue would be two, side by side.
            chain = if linked { chain + 1 } else { 1 };
            if chain == ENTRIES {
                entry.link = Link::None;
            }
            linked = entry.link != Link::None;
            if by_the_clock || differs || waits.is_some_and(|object| waited_for.contains(&object)) {
                entry.op = Op::Nop;
            } else {
                waited_for.extend(waits);
            }
            // Of what says nothing nobody knows when it is over.
            *entry = Entry { drain: false, force_async: false, skip: false, ..*entry };
        }
        // A submission would cut a chain, and what happens in the middle of one happens some time; what a network does
        // with a connection that is gone takes its time.
        let entry = matches!(step, Step::Push(_));
        if entry || !(linked || matches!(step, Step::HangUp(Object::Tcp))) {
            steps.push(step);
            steps.extend((!linked).then_some(Step::Settle));
        }
    }
    if linked {
        steps.push(Step::Push(entry(Op::Nop)));
    }
    steps.push(Step::Settle);
    let bufs = if program.bufs == Bufs::Incremental { Bufs::Ring } else { program.bufs };
    Program { kind: Kind::Plain, door: Door::Unchecked, bufs, steps }
}
