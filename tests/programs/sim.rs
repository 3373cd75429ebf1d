//! A simulated kernel to run programs in. One is for one program: its seed decides everything.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rawring::op::Connect;
use rawring::probe::Probe;
use rawring::sim::{Config, Handle, Sim};
use rawring::{Errno, Setup, Version};
use rustix::event::PollFlags;
use rustix::net::SocketAddrAny;

use super::program::Program;
use super::trace::Trace;
use super::world::{Habits, World, is_fed};

/// A kernel of a seed.
pub struct Simulated {
    sim: Sim,
    seed: u64,
    habits: Habits,
}

/// A side of an object.
pub struct Side {
    handle: Handle,
    /// Where it listens, for the other side of a listener.
    address: Option<SocketAddrAny>,
}

impl AsFd for Side {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl From<Handle> for Side {
    fn from(handle: Handle) -> Self {
        Side { handle, address: None }
    }
}

impl Simulated {
    pub fn new(config: Config) -> Simulated {
        let seed = config.seed;
        let sim = Sim::with(config);
        let ring = sim.ring(1).expect("a ring");
        let probe = || Probe::of(&ring).expect("a probe");
        let simulated = Simulated { sim: sim.clone(), seed, habits: Habits::new(probe()) };
        let habits = Habits::observed(&simulated, probe());
        Simulated { habits, ..simulated }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn sim(&self) -> &Sim {
        &self.sim
    }
}

fn both(pair: Result<(Handle, Handle), Errno>) -> (Side, Side) {
    let (one, other) = pair.expect("descriptors");
    (one.into(), other.into())
}

impl World for Simulated {
    type Side = Side;

    fn setup(&self, entries: u32) -> Setup<'static> {
        self.sim.setup(entries)
    }

    fn habits(&self) -> &Habits {
        &self.habits
    }

    fn file(&self, content: &[u8]) -> Side {
        self.sim.file(content).expect("a descriptor").into()
    }

    fn pipe(&self) -> (Side, Side) {
        both(self.sim.pipe())
    }

    fn stream_pair(&self) -> (Side, Side) {
        both(self.sim.stream_pair())
    }

    fn tcp_pair(&self) -> (Side, Side) {
        both(self.sim.stream_pair())
    }

    fn listener(&self) -> (Side, Side) {
        let (listener, address) = self.sim.listener(b"programs", 16).expect("a name that is free");
        let other = Side { address: Some(address.into()), ..self.stream_pair().0 };
        (listener.into(), other)
    }

    fn connect(&self, other: &Side) -> Option<Side> {
        let address = other.address.as_ref().expect("the other side of a listener");
        let socket = self.sim.socket().expect("a descriptor");
        let mut result = None;
        let mut ring = self.sim.ring(2).expect("a ring");
        ring.scope(|s| {
            s.push(Connect::new(&socket, address)).expect("room");
            s.finish(|cqe| result = Some(cqe.result()))
        })
        .expect("a scope")
        .expect("finished");
        (result == Some(Ok(0))).then(|| socket.into())
    }

    fn write(&self, to: &Side, bytes: &[u8]) -> bool {
        is_fed(to.handle.write(bytes), bytes)
    }

    fn read(&self, from: &Side) -> Option<Vec<u8>> {
        match from.handle.read(4096) {
            Ok(bytes) => Some(bytes).filter(|bytes| !bytes.is_empty()),
            Err(Errno::AGAIN) => Some(Vec::new()),
            Err(Errno::CONNRESET) => None,
            Err(errno) => panic!("reading failed: {errno}"),
        }
    }

    fn content(&self, file: &Side) -> Vec<u8> {
        file.handle.content().expect("a file")
    }

    fn hung_up(&self, other: &Side) -> bool {
        if other.address.is_some() {
            return self.connect(other).is_none();
        }
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP;
        other.handle.poll().expect("polled").intersects(gone)
    }

    fn close(&self, descriptor: u32) {
        // SAFETY: an operation has just made it, and nobody else has seen the completion.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
        drop(self.sim.handle(descriptor).expect("a descriptor of this kernel"));
    }

    fn pause(&self) {
        self.sim.advance(Duration::from_micros(200));
    }

    fn has_huge_buffers(&self) -> bool {
        false
    }
}

/// Of a kernel of any release that can cancel what a drain holds back the requests for.
pub fn config_of(seed: u64) -> Config {
    let releases = [(6, 0), (6, 1), (6, 4), (6, 7), (6, 12), (6, 18), (6, 19), (7, 0), (7, 1), (7, 3)];
    let (major, minor) = releases[seed as usize % releases.len()];
    let mut config = Config::new(seed);
    config.release = Version::new(major, minor);
    // The ledger knows how long files are, and that transfers are whole.
    config.short = 0;
    config
}

/// As [`check`](super::check), and no memory was touched while it was lent.
///
/// # Errors
///
/// What is wrong.
pub fn check_simulated(program: &Program, config: Config) -> Result<Option<Trace>, String> {
    let world = Simulated::new(config);
    let trace = super::check(program, &world)?;
    let violations = world.sim().violations();
    if violations.is_empty() { Ok(trace) } else { Err(format!("{violations:?} in {program:?}")) }
}
