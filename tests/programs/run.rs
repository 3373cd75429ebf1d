//! Running programs: makes the objects and the ring, goes through the steps by one of the doors, ends everything, and
//! looks at what is left.
//!
//! No run hangs: waits have deadlines, and a door that does not return ends the process, with the program on standard
//! error.

use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rawring::buf_ring::{BadBuffer, Delivery, Pick};
use rawring::{Cqe, Errno, Reason, Ring, Setup, UserData, Version, Wait};

use super::buffers::Buffers;
use super::doors;
use super::fixed::FixedMemory;
use super::job::{Job, Key, Site, Wide};
use super::program::{Bufs, Door, ENTRIES, Entry, FILE_LEN, Kind, Link, Object, Op, Program, Step};
use super::trace::Trace;
use super::world::{Helper, PATIENCE, World};

/// The release from which notifications say what was copied.
const REPORTS: Version = Version::new(6, 2);

/// The ring of a kind.
pub fn setup(kind: Kind, world: &impl World) -> Setup<'static> {
    let setup = world.setup(ENTRIES);
    match kind {
        Kind::Plain => setup,
        Kind::SqArray => setup.no_sqarray(false),
        Kind::SubmitAll => setup.submit_all(),
        Kind::Sqpoll => setup.sqpoll(Duration::from_millis(1)),
        Kind::Coop => setup.coop_taskrun(),
        Kind::CoopFlag => setup.coop_taskrun().taskrun_flag(),
        Kind::Defer => setup.single_issuer().defer_taskrun(),
        Kind::DeferFlag => setup.single_issuer().defer_taskrun().taskrun_flag(),
        Kind::Cqe32 => setup.cqe32(),
        Kind::CqeMixed => setup.cqe_mixed(),
        Kind::Sqe128 => setup.sqe128(),
        Kind::SqeMixed => setup.sqe_mixed(),
        Kind::TinyCq => world.setup(2).cq_entries(2),
        Kind::NoMmap => setup.no_mmap(),
        Kind::FdOnly => setup.no_mmap().registered_fd_only(),
        Kind::Rewind => setup.sq_rewind(),
    }
}

/// The program without what this world does not have.
pub fn fitted(program: &Program, world: &impl World) -> Program {
    let mut program = program.clone();
    let stuck = program.entries().any(|entry| entry.drain) && !world.drains_zero_copy();
    // What a worker thread of a polling thread runs, only an entry can cancel, and that a drain holds back: such a
    // program may never end. A worker runs what is forced, and what follows in a chain or leaves one open.
    let unstoppable = program.kind == Kind::Sqpoll
        && program.entries().any(|entry| entry.force_async || entry.link != Link::None)
        && program.entries().any(|entry| entry.drain);
    if world.level() < program.bufs.since() {
        program.bufs = Bufs::List;
    }
    let picks = |pick: fn(Pick) -> bool| program.entries().any(|entry| entry.op.picks().is_some_and(pick));
    // What a worker takes, it takes when others do, too: neither a bundle nor what is used bit by bit is in order then
    // (Linux 6.18 to 7.3: io_recv_finish has a bundle go on with whatever buffer is next by then).
    let bit_by_bit = picks(|_| true) && program.bufs == Bufs::Incremental;
    let in_order = bit_by_bit || picks(|pick| pick == Pick::Bundle) && program.bufs == Bufs::Ring;
    for step in &mut program.steps {
        let Step::Push(entry) = step else { continue };
        if in_order {
            *entry = Entry { link: Link::None, drain: false, force_async: false, ..*entry };
        }
        // Only rings have bundles: of a list, a receive goes on with any buffer (Linux 6.18).
        if program.bufs == Bufs::List {
            entry.op = match entry.op {
                Op::RecvBundle(object) => Op::RecvProvided(object),
                Op::RecvMultiBundle(object) => Op::RecvMulti(object),
                other => other,
            };
        }
        // What waits for long may go to a worker, unless it has many shots.
        if bit_by_bit {
            entry.op = match entry.op {
                Op::ReadProvided(object) => Op::ReadMulti(object),
                Op::RecvProvided(object) => Op::RecvMulti(object),
                Op::RecvBundle(object) => Op::RecvMultiBundle(object),
                other => other,
            };
        }
        let Entry { op, drain, .. } = entry;
        *drain &= !unstoppable;
        match *op {
            Op::SendZc(len) if stuck => *op = Op::Send(Object::Tcp, len),
            other if !world.supports(other.info()) => *op = Op::Nop,
            _ => {}
        }
    }
    program
}

/// What a door does for a run.
pub trait Way<S> {
    /// Pushes an entry. The job comes back if it was refused.
    fn push(&mut self, job: Job<S>) -> Result<(), (Job<S>, Reason)>;
    /// The key under which the ring knows an entry.
    fn key(&self, entry: usize) -> UserData;
    /// Cancels an entry on the door's own account, if it does that.
    fn withdraw(&mut self, entry: usize);
    fn submit(&mut self, wait: &Wait<'_>) -> Result<u32, Errno>;
    /// The next completion.
    fn next(&mut self) -> Option<Reaped<S>>;
    fn room(&self) -> u32;
    fn in_flight(&self) -> Option<usize>;
    /// The ring, if the door lets one at it.
    fn ring(&self) -> Option<&Ring>;
}

/// A completion and, if its operation ended and the door gives back what was lent, that.
pub struct Reaped<S> {
    pub key: Key,
    pub cqe: Cqe,
    pub job: Option<Job<S>>,
    /// What it delivered out of a ring of buffers.
    pub delivery: Option<Result<Delivery, BadBuffer>>,
}

/// The parts of a run that last from its first step to its verdict.
pub struct Run<'w, W: World> {
    pub world: &'w W,
    pub program: &'w Program,
    pub site: Rc<Site<W::Side>>,
    /// The other sides.
    pub(super) others: [Option<W::Side>; Object::ALL.len()],
    pub(super) clients: Vec<W::Side>,
    pub(super) helper: Helper,
    pub(super) buffers: Buffers,
    pub trace: Trace,
    /// The memory of entries that have ended, which nobody is to touch any more.
    pub ended: Vec<Job<W::Side>>,
    pub(super) capacity: u32,
    pub(super) pushed: usize,
    pub(super) posted: usize,
    pub(super) last_linked: bool,
}

/// Runs a program and says what happened. `None` if the world has no such ring.
pub fn run<W: World>(program: &Program, world: &W) -> Option<Trace> {
    let program = &fitted(program, world);
    let mut ring = setup(program.kind, world).build().ok()?;
    let _watch = Watch::start(format!("{program:?}"));
    let buffers = Buffers::provide(&mut ring, program);
    let mut run = Run::new(program, world, &ring, buffers);
    run.register(&ring);
    run.register_buffers(&ring);
    let ring = match program.door {
        Door::Unchecked => doors::unchecked(&mut run, ring),
        Door::Scope | Door::Panic => doors::scope(&mut run, ring),
        Door::InFlight => doors::in_flight(&mut run, ring),
    };
    // Without a ring, something may still be using the provided buffers: they stay.
    if let Some(ring) = ring {
        run.look_around(ring);
    }
    Some(run.trace)
}

impl<'w, W: World> Run<'w, W> {
    fn new(program: &'w Program, world: &'w W, ring: &Ring, buffers: Buffers) -> Self {
        let helper = Helper::new(world);
        let mut ours = [const { None }; Object::ALL.len()];
        let mut others = [const { None }; Object::ALL.len()];
        for object in Object::ALL.into_iter().filter(|&object| program.uses(object)) {
            let (our, other) = match object {
                Object::File(_) => (world.file(&[0; FILE_LEN]), None),
                Object::In(_) => flip(world.pipe()),
                Object::Out(_) => {
                    let (reader, writer) = world.pipe();
                    (writer, Some(reader))
                }
                Object::Socket(_) => flip(world.stream_pair()),
                Object::Tcp => flip(world.tcp_pair()),
                Object::Listener => flip(world.listener()),
            };
            ours[object.index()] = Some(our);
            others[object.index()] = other;
        }
        let wide = match program.kind {
            Kind::Sqe128 => Wide::Always,
            Kind::SqeMixed => Wide::Mixed,
            _ => Wide::No,
        };
        let (own_ring, other_ring) = (ring.fd().map(|fd| fd.as_raw_fd()), helper.as_fd().as_raw_fd());
        let (huge, registered) = (world.has_huge_buffers(), true);
        let entries = program.entries().count();
        let fixed = FixedMemory::new(entries);
        let site = Rc::new(Site {
            ours,
            own_ring,
            other_ring,
            registered,
            fixed,
            wide,
            huge,
            reports: world.level() >= REPORTS,
        });
        let trace = Trace {
            read: vec![None; entries],
            polled: program.kind == Kind::Sqpoll,
            huge: world.has_huge_buffers(),
            overflows: program.kind == Kind::TinyCq,
            ..Trace::default()
        };
        let (clients, ended, capacity) = (Vec::new(), Vec::new(), ring.sq_entries());
        let (pushed, posted, last_linked) = (0, 0, false);
        Run {
            world,
            program,
            site,
            others,
            clients,
            helper,
            buffers,
            trace,
            ended,
            capacity,
            pushed,
            posted,
            last_linked,
        }
    }
}

fn flip<S>((ours, other): (S, S)) -> (S, Option<S>) {
    (ours, Some(other))
}

/// Ends the process if it is not dropped in time.
pub(super) struct Watch(#[expect(dead_code, reason = "its end is the message")] Sender<()>);

impl Watch {
    pub(super) fn start(what: String) -> Watch {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            if receiver.recv_timeout(3 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("a program does not end:\n{what}");
                std::process::abort();
            }
        });
        Watch(sender)
    }
}
