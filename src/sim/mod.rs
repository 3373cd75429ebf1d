//! A kernel in the process: io_uring by the ring protocol, in memory, on virtual time, decided by a seed.
//!
//! A [`Ring`] on a simulated kernel is the same type as any other, and so are `scope` and [`InFlight`](crate::InFlight):
//! only the three system calls go elsewhere. What a real kernel leaves to chance (whether an operation completes at
//! once, in which order, how much is transferred, when a wait is interrupted) is decided by the seed. The same seed and
//! the same calls give the same run.
//!
//! ```
//! use rawring::{op::Nop, sim::Sim};
//!
//! let sim = Sim::new(7);
//! let mut ring = sim.ring(8)?;
//! ring.push(Nop::new().user_data(1))?;
//! ring.submit_and_wait(1)?;
//! assert_eq!(ring.completions().next().map(|cqe| cqe.user_data().0), Some(1));
//! sim.check();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Testing with it
//!
//! A test of a runtime makes its rings by [`Sim::setup`], takes descriptors from [`Sim::file`], [`Sim::pipe`] and their
//! kin, and runs for many seeds. What fails names its seed, and fails again with it.
//!
//! ```
//! use rawring::op::{Read, Write};
//! use rawring::sim::{Config, Sim};
//!
//! for seed in 0..50 {
//!     let mut config = Config::new(seed);
//!     config.short = 30;
//!     let sim = Sim::with(config);
//!     let mut ring = sim.ring(8)?;
//!     let (reader, writer) = sim.pipe()?;
//!     let (mut sent, mut received) = (0, Vec::<u8>::new());
//!     let text = b"in whatever pieces the kernel likes";
//!     // The program under test: it must send all of it, and receive it in order, whatever happens.
//!     while received.len() < text.len() {
//!         let mut piece = [0; 16];
//!         let mut read = 0;
//!         ring.scope(|s| {
//!             s.push(Write::new(&writer, &text[sent..]).user_data(1))?;
//!             s.push(Read::new(&reader, &mut piece).user_data(2))?;
//!             s.finish(|cqe| match cqe.user_data().0 {
//!                 1 => sent += cqe.result().expect("room in the pipe") as usize,
//!                 _ => read = cqe.result().expect("an open pipe") as usize,
//!             })?;
//!             Ok::<_, std::io::Error>(())
//!         })??;
//!         received.extend(&piece[..read]);
//!     }
//!     assert_eq!(received, text, "with seed {seed}");
//!     sim.check();
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Config`] says which release is presented, where positions start, and how often what happens.
//! - Time is virtual: a wait of an hour takes none. [`Sim::advance`] lets it pass without a wait.
//! - Nothing happens between calls. Who looks at the queue without calling, as with a polling thread, says
//!   [`Sim::step`] or [`Sim::run`] in the loop.
//! - [`Sim::check`] fails if memory was touched while it was lent, [`Sim::ledger`] tells what every entry was promised
//!   and got, and [`Sim::in_flight`] what is still to come.
//! - A ring may be used on any thread that the real one could be used on. With several threads, which of them calls
//!   first is the machine's choice and not the seed's.
//!
//! # How it works
//!
//! `World` is all that the kernel knows. It moves in steps (`world.rs`), inside of the calls that the crate makes, or
//! when a test says [`Sim::step`]; there are no threads. An entry is consumed (`submit.rs`) and becomes a request
//! (`request.rs`), whose operation (`ops/`) is attempted until it is done; then its completion is posted
//! (`finish.rs`, `ring.rs`), and what was linked or drained goes on. A call of `io_uring_enter` (`enter.rs`) waits by
//! letting the world step; when nothing can happen any more, time leaps to the next timer.
//!
//! Memory that is lent to an operation is guarded (`user.rs`): see [`Violation`].
//!
//! A kernel can also be made to lie ([`Lies`]), for tests of what believes it.
//!
//! # What it is not
//!
//! It is no model of the kernel's speed, and not of its fairness. Rings without a descriptor and polled
//! devices do not exist here, of registered resources there are files and buffers, and the descriptor of a ring cannot be polled (an eventfd works). A wait that
//! nothing can end returns `EDEADLK`, where a kernel would hang.

mod adversary;
mod cancel;
mod enter;
mod files;
mod finish;
mod handle;
mod ledger;
mod memory;
mod object;
mod ops;
mod register;
mod registered;
mod release;
mod request;
mod resize;
mod ring;
mod rng;
mod setup;
mod submit;
mod user;
mod world;

use core::ffi::c_void;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

pub use adversary::Lies;
pub use handle::Handle;
pub use ledger::{Promise, Violation};

use crate::kernel::Kernel;
use crate::op::Opcode;
use crate::operand::Timespec;
use crate::ring::Ring;
use crate::setup::{Setup, SetupError};
use crate::version::Version;
use rawring_sys as sys;
use release::Release;
use world::World;

/// How a simulated kernel behaves. Chances are in percent.
///
/// ```
/// use rawring::{sim::{Config, Sim}, Version};
///
/// // Linux 6.1, whose positions are about to wrap, and which completes nothing at once.
/// let mut config = Config::new(1);
/// config.release = Version::new(6, 1);
/// config.inline = 0;
/// let ring = Sim::with(config).ring(4)?;
/// # Ok::<(), rawring::SetupError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What decides everything that is left to chance.
    pub seed: u64,
    /// The kernel that is presented: its features, flags, operations and layout. From 5.15 to 7.3.
    pub release: Version,
    /// Where the positions of new rings start.
    pub start: u32,
    /// How often an operation is attempted in the submission itself, and not later.
    pub inline: u8,
    /// How often another step happens before a call returns.
    pub eager: u8,
    /// How often a transfer is shorter than it had to be.
    pub short: u8,
    /// How often a wait is interrupted by a signal.
    pub interrupt: u8,
    /// How often there is no memory for a request: a submission takes fewer entries, or none (`EAGAIN`). Never by
    /// default.
    pub starve: u8,
    /// How often a completion that finds no room is lost (`EBADR`, [`Ring::lost`]), and not kept. Never by default.
    pub lose: u8,
    /// What the kernel lies about. Nothing by default.
    pub lies: Lies,
    /// How often it lies about each of these.
    pub lying: u8,
}

impl Config {
    /// Some of everything, on the newest kernel, with positions that are about to wrap.
    #[must_use]
    pub fn new(seed: u64) -> Config {
        Config {
            seed,
            release: Release::NEWEST,
            start: u32::MAX - 1,
            inline: 50,
            eager: 40,
            short: 10,
            interrupt: 2,
            starve: 0,
            lose: 0,
            lies: Lies::empty(),
            lying: 30,
        }
    }

    fn release(&self) -> Release {
        Release::new(self.release)
    }
}

/// A simulated kernel. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Sim(Arc<Mutex<World>>);

impl Sim {
    /// A kernel with this seed, and otherwise as [`Config::new`] says.
    #[must_use]
    pub fn new(seed: u64) -> Sim {
        Sim::with(Config::new(seed))
    }

    /// A kernel that behaves so.
    #[must_use]
    pub fn with(config: Config) -> Sim {
        Sim(Arc::new(Mutex::new(World::new(config))))
    }

    /// A ring on this kernel. See [`Ring::new`].
    pub fn ring(&self, entries: u32) -> Result<Ring, SetupError> {
        self.setup(entries).build()
    }

    /// A builder for rings on this kernel. See [`Ring::setup`].
    #[must_use]
    pub fn setup(&self, entries: u32) -> Setup<'static> {
        Setup::of(Kernel::simulated(self.clone()), entries)
    }

    /// Whether this operation is simulated. All others complete with `EOPNOTSUPP`, and are not in the probe.
    #[must_use]
    pub fn executes(opcode: Opcode) -> bool {
        ops::is_simulated(opcode.0)
    }

    /// Changes what the kernel lies about from now on, and how often, in percent. See [`Config::lies`].
    pub fn lie(&self, about: Lies, percent: u8) {
        let mut world = self.world();
        world.repent();
        (world.config.lies, world.config.lying) = (about, percent);
    }

    /// Lets one thing happen; `false` if nothing can happen before time passes. For rings whose polling thread works
    /// without calls, and for whoever waits by looking at the queue.
    pub fn step(&self) -> bool {
        let mut world = self.world();
        world.notice_closed();
        let stepped = world.step();
        world.update_flags();
        stepped
    }

    /// Lets things happen until nothing can, without time passing.
    pub fn run(&self) {
        while self.step() {}
    }

    /// The virtual time, on every clock.
    #[must_use]
    pub fn now(&self) -> Timespec {
        Duration::from_nanos(self.world().now.0).into()
    }

    /// Lets time pass: timers end, in their order, and everything happens that can.
    pub fn advance(&self, span: Duration) {
        let mut world = self.world();
        world.notice_closed();
        let end = world.now.after(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        while world.now < end {
            if !world.step() {
                world.leap(Some(end));
            }
        }
        while world.step() {}
        world.update_flags();
    }

    /// Entries that were consumed and whose last completion was not posted yet, on all rings.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.world().requests.len()
    }

    /// What was promised to each entry that was consumed, in that order, and what came of it.
    #[must_use]
    pub fn ledger(&self) -> Vec<Promise> {
        self.world().ledger.promises()
    }

    /// Memory that was touched while it was lent, so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.world().violations.clone()
    }

    /// Checks that no memory was touched while it was lent.
    ///
    /// # Panics
    ///
    /// If some was, with all the [violations](Self::violations).
    #[track_caller]
    pub fn check(&self) {
        let violations: Vec<_> = self.violations().iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "lent memory was touched:\n{}", violations.join("\n"));
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A test that failed inside is not to fail the drop of its rings as well.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Safety
    ///
    /// As for [`sys::io_uring_setup`], with valid `params`.
    pub(crate) unsafe fn setup_ring(&self, entries: u32, params: &mut sys::io_uring_params) -> Result<u32, Errno> {
        let mut world = self.world();
        world.before_call(-1)?;
        world.setup(entries, params)
    }

    /// # Safety
    ///
    /// As for [`sys::io_uring_enter`].
    pub(crate) unsafe fn enter(
        &self,
        fd: RawFd,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        arg: *const c_void,
        size: usize,
    ) -> Result<u32, Errno> {
        let mut world = self.world();
        world.before_call(fd)?;
        // SAFETY: the caller's promise.
        let result = unsafe { world.enter(fd, to_submit, min_complete, flags, arg, size) };
        world.distort(fd, to_submit, result)
    }

    /// # Safety
    ///
    /// As for [`sys::io_uring_register`].
    pub(crate) unsafe fn register(&self, fd: RawFd, op: u32, arg: *mut c_void, count: u32) -> Result<u32, Errno> {
        let mut world = self.world();
        world.before_call(fd)?;
        // SAFETY: the caller's promise.
        unsafe { world.register(fd, op, arg, count) }
    }

    /// The user of this ring is about to close its descriptor.
    pub(crate) fn close(&self, fd: RawFd) {
        self.world().close(fd);
    }
}
