//! Programs on simulated kernels that lie. Nothing is expected of what comes out: only that the crate does not panic,
//! that everything returns, and that no memory is given up while the kernel still has it, which the simulator sees.

use std::rc::Rc;
use std::time::Duration;

use rawring::sim::Lies;
use rawring::{InFlight, Reason, Ring, UserData, Wait};

use super::doors::{Owned, Scoped, Unchecked};
use super::fixed::FixedMemory;
use super::job::{Job, Key, Site, Wide};
use super::program::{Door, Entry, Kind, Object, Op, Program, Step};
use super::run::{Watch, Way, fitted, setup};
use super::sim::{Side, Simulated};
use super::world::World;

/// Lies between which everything can end.
pub fn bearable() -> Lies {
    Lies::WORDS | Lies::COMPLETIONS | Lies::COUNTS | Lies::RETRIES
}

/// Runs a program while the kernel lies about this, so often in percent.
///
/// # Errors
///
/// What memory was touched.
pub fn endure(program: &Program, world: &Simulated, lies: Lies, percent: u8) -> Result<(), String> {
    let program = &fitted(program, world);
    let sim = world.sim();
    let _watch = Watch::start(format!("seed {}, {lies:?}, {percent} percent: {program:?}", world.seed()));
    if let Ok(ring) = setup(program.kind, world).build() {
        let site = site(program, world, &ring);
        // There, the number taken is all that is known of what was taken: whoever is told of too many waits for them.
        let lies = if program.kind == Kind::Rewind { lies - Lies::COUNTS } else { lies };
        sim.lie(lies & bearable(), percent);
        by_the_door(program, world, &site, ring);
        sim.lie(Lies::empty(), 0);
    }
    let violations = sim.violations();
    if violations.is_empty() { Ok(()) } else { Err(format!("seed {}: {violations:?} in {program:?}", world.seed())) }
}

fn by_the_door(program: &Program, world: &Simulated, site: &Rc<Site<Side>>, mut ring: Ring) {
    match program.door {
        Door::Unchecked => {
            let mut way = Unchecked::new(ring, None);
            steps(program, site, &mut way);
            world.sim().lie(Lies::empty(), 0);
            way.end(world);
        }
        Door::Scope | Door::Panic => {
            let mut jobs: Vec<Option<Job<Side>>> = Vec::new();
            jobs.resize_with(program.steps.len() * 2, || None);
            let _scope = ring.scope(|scope| steps(program, site, &mut Scoped::new(scope, &mut jobs)));
        }
        Door::InFlight => {
            let Ok(in_flight) = InFlight::new(ring) else { return };
            let mut way = Owned::new(in_flight);
            steps(program, site, &mut way);
            drop(way);
        }
    }
}

fn site(program: &Program, world: &Simulated, ring: &Ring) -> Rc<Site<Side>> {
    use std::os::fd::AsRawFd as _;
    let number = ring.fd().expect("simulated rings have descriptors").as_raw_fd();
    let ours = Object::ALL.map(|object| {
        let ours = || match object {
            Object::File(_) => world.file(&[0; 256]),
            Object::In(_) => world.pipe().0,
            Object::Out(_) => world.pipe().1,
            Object::Socket(_) | Object::Tcp => world.stream_pair().0,
            Object::Listener => world.listener().0,
        };
        program.uses(object).then(ours)
    });
    let wide = if program.kind == Kind::SqeMixed { Wide::Mixed } else { Wide::No };
    let (own_ring, other_ring) = (Some(number), number);
    let fixed = FixedMemory::new(program.entries().count());
    Rc::new(Site { ours, own_ring, other_ring, registered: false, fixed, wide, huge: false, reports: true })
}

/// Goes through the steps, whatever comes.
fn steps(program: &Program, site: &Rc<Site<Side>>, way: &mut impl Way<Side>) {
    let mut pushed = 0;
    for step in &program.steps {
        match *step {
            Step::Push(entry) => pushed += usize::from(push(site, way, entry, pushed)),
            Step::Withdraw(entry) if usize::from(entry) < pushed && way.room() > 0 => way.withdraw(entry.into()),
            Step::Submit => _ = way.submit(&Wait::new(0)),
            Step::Wait(_) | Step::Settle => _ = way.submit(&Wait::new(1).timeout(Duration::from_millis(2))),
            // What comes from outside is the business of others.
            _ => {}
        }
        // A tail that lies may show the same completions again and again.
        for _ in 0..64 {
            if way.next().is_none() {
                break;
            }
        }
    }
    let _any = way.submit(&Wait::new(0));
}

fn push(site: &Rc<Site<Side>>, way: &mut impl Way<Side>, entry: Entry, index: usize) -> bool {
    let target = match entry.op {
        Op::CancelKey(target) | Op::TimeoutRemove(target) | Op::PollRemove(target) => usize::from(target),
        _ => index,
    };
    let target: UserData = if target < index { way.key(target) } else { Key::Entry(target).pack() };
    let mut job = Job::new(entry, index, target, site);
    for _ in 0..3 {
        match way.push(job) {
            Ok(()) => return true,
            Err((mut back, reason)) => {
                if reason == Reason::SkipSuccess {
                    back.entry.skip = false;
                } else {
                    let _any = way.submit(&Wait::new(0));
                }
                job = back;
            }
        }
    }
    false
}
