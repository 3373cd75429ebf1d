//! Kernels that lie: the crate answers with errors, or does not get on. It hands no state out twice or early, and reads
//! nothing that is not there.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use rawring::flags::SetupFlags;
use rawring::op::{Nop, Nop128, Read, Recv, Write};
use rawring::probe::Probe;
use rawring::sim::{Config, Lies, Sim};
use rawring::sys::MapError;
use rawring::{Cause, Errno, Event, InFlight, Ring, Sqe};

use crate::KINDS;

/// More runs than of other tests: most lies are harmless.
const SEEDS: u64 = 200;

/// Runs a test on many kernels that lie about this.
fn liars(lies: Lies, test: impl Fn(&Sim, u64)) {
    for seed in 0..SEEDS {
        let mut config = Config::new(seed);
        config.lies = lies;
        let sim = Sim::with(config);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            test(&sim, seed);
            sim.check();
        }));
        if let Err(panic) = run {
            eprintln!("with seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// All kinds of rings, and those whose entries or completions have several sizes.
fn kinds() -> impl Iterator<Item = SetupFlags> {
    let wide = [
        SetupFlags::CQE_MIXED,
        SetupFlags::CQE32,
        SetupFlags::SQE_MIXED,
        SetupFlags::SQE128,
        SetupFlags::SQ_REWIND | SetupFlags::NO_SQARRAY,
    ];
    KINDS.iter().copied().chain(wide)
}

/// What can be tried again, or says that there is nothing to wait for.
fn again(errno: Errno) {
    let retries = [Errno::INTR, Errno::AGAIN, Errno::BUSY, Errno::BADR, Errno::DEADLK];
    assert!(retries.contains(&errno), "{errno}");
}

#[test]
fn a_ring_that_cannot_be_right_is_not_made() {
    let found = std::cell::RefCell::new(BTreeSet::new());
    liars(Lies::SETUP | Lies::ERRORS, |sim, seed| {
        let array = seed % 2 == 0;
        let ring = sim.setup(8).no_sqarray(array).build();
        let cause = match ring {
            Ok(mut ring) => {
                ring.push(Nop::new()).expect("an empty queue has room");
                "none"
            }
            Err(error) => match error.cause() {
                Cause::OldKernel { .. } => "features",
                Cause::ForeignFlags(_) => "flags",
                Cause::Map(MapError::BadEntries { .. }) => "entries",
                Cause::Map(MapError::BadWord { .. }) => "words",
                Cause::Map(MapError::Offset { .. }) => "offset",
                Cause::Map(MapError::Misaligned { .. }) => "alignment",
                Cause::Map(MapError::Overlap { .. }) => "overlap",
                Cause::Map(_) => "mapping",
                _ => "errno",
            },
        };
        found.borrow_mut().insert(cause);
    });
    let all = ["alignment", "entries", "errno", "features", "flags", "none", "offset", "overlap", "words"];
    let found = found.into_inner();
    assert!(all.iter().all(|cause| found.contains(cause)), "{found:?}");
}

#[test]
fn no_answer_is_too_odd_for_a_ring() {
    let lies = Lies::WORDS | Lies::COMPLETIONS | Lies::COUNTS | Lies::RETRIES | Lies::ERRORS | Lies::TAIL;
    for kind in kinds() {
        liars(lies, |sim, seed| {
            sim.lie(Lies::empty(), 0);
            let mut ring = crate::ring(sim, 4, kind);
            sim.lie(lies, 50);
            for n in 0..40 {
                while ring.push(Nop::new().user_data(n)).is_ok() && seed % 3 != 0 {}
                if ring.is_wide() {
                    let _full = ring.push128(Nop128::new());
                }
                // Whatever it says, it returns.
                let _ = if n % 2 == 0 { ring.submit() } else { ring.submit_and_wait(1).map(|outcome| outcome.entries) };
                assert!(ring.room() <= 4 && ring.pending() <= 4 && ring.ready() <= ring.cq_entries());
                let met = ring.completions().map(|cqe| format!("{cqe:?}").len()).count();
                assert!(met <= ring.cq_entries() as usize);
            }
        });
    }
}

#[test]
fn what_a_kernel_says_of_itself_is_taken_as_it_is() {
    liars(Lies::PROBES | Lies::ERRORS, |sim, _| {
        let Ok(ring) = sim.ring(4) else { return };
        if let Ok(probe) = Probe::of(&ring) {
            assert!(probe.operations().count() <= 256);
            assert!(!format!("{probe:?}").is_empty());
        }
        if let Err(unfit) = InFlight::<()>::new(ring) {
            assert!(!unfit.to_string().is_empty());
        }
    });
}

/// Lies between which everything gets on.
fn bearable() -> Lies {
    Lies::WORDS | Lies::COMPLETIONS | Lies::COUNTS | Lies::RETRIES
}

#[test]
fn a_scope_shows_its_own_completions_and_returns_when_all_are_over() {
    for kind in kinds() {
        liars(Lies::empty(), |sim, _| {
            let mut ring = crate::ring(sim, 4, kind);
            let file = sim.file(*b"0123456789").expect("a file");
            let (reader, writer) = sim.pipe().expect("a pipe");
            let mut buffers = [[0; 4]; 4];
            let mut endless = [0; 4];
            let mut read = [None; 4];
            sim.lie(bearable(), 40);
            let result = ring.scope(|s| {
                s.push(Read::new(&reader, &mut endless).user_data(9)).expect("an empty queue has room");
                for (n, buffer) in buffers.iter_mut().enumerate() {
                    let entry = Read::new(&file, buffer).offset(n as u64).user_data(n as u64);
                    let mut entry = Sqe::from(entry);
                    while let Err(refused) = s.push(entry) {
                        entry = refused.entry;
                        let _ = s.submit().map_err(again);
                        // A polling thread works without calls.
                        sim.step();
                    }
                    let _ = s.submit().map_err(again);
                }
                for _ in 0..1000 {
                    while let Some(cqe) = s.completion() {
                        match cqe.user_data().0 {
                            // A shot that never was.
                            _ if cqe.more() => {}
                            n if n < 4 => {
                                assert_eq!(read[n as usize].replace(cqe.result().expect("read") as usize), None);
                            }
                            other => panic!("{other}: {cqe:?}"),
                        }
                    }
                    if s.in_flight() == 1 {
                        break;
                    }
                    let _ = s.submit_and_wait(1).map_err(again);
                }
                assert_eq!(s.in_flight(), 1, "the read of the pipe");
            });
            result.expect("a kernel that cancels");
            assert_eq!(sim.in_flight(), 0, "the scope has waited");
            for (n, (buffer, read)) in buffers.iter().zip(read).enumerate() {
                let read = read.expect("each was read");
                assert_eq!(buffer[..read], b"0123456789"[n..n + read]);
            }
            drop(writer);
        });
    }
}

/// A state that knows when it is dropped.
struct State {
    n: usize,
    buffer: [u8; 8],
    socket: Rc<rawring::sim::Handle>,
    dropped: Rc<Cell<usize>>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
    }
}

fn receive(state: &mut State) -> Sqe<'_> {
    Recv::new(&*state.socket, &mut state.buffer).into()
}

#[test]
fn each_state_comes_back_once_and_when_its_operation_is_over() {
    for kind in kinds() {
        liars(Lies::empty(), |sim, seed| {
            let mut ring = InFlight::new(crate::ring(sim, 4, kind)).expect("a kernel that cancels");
            let (left, right) = sim.stream_pair().expect("a pair");
            let socket = Rc::new(right);
            let dropped = Rc::new(Cell::new(0));
            let mut back = BTreeSet::new();
            let (mut started, mut fed) = (0, 0);
            sim.lie(bearable(), 40);
            for _ in 0..200 {
                if started < 20 {
                    let state = State { n: started, buffer: [0; 8], socket: socket.clone(), dropped: dropped.clone() };
                    // What is refused is dropped here, and starts later under the same number.
                    match ring.start(state, receive) {
                        Ok(_) => started += 1,
                        Err(refused) => {
                            assert_eq!(refused.entry.n, started);
                            drop(refused);
                            dropped.set(dropped.get() - 1);
                        }
                    }
                }
                if fed < 20 && left.write(b"12345678").is_ok() {
                    fed += 1;
                }
                let _ = ring.submit_and_wait(1).map_err(again);
                for _ in 0..100 {
                    match ring.next_event() {
                        Some(Event::Done(done)) => {
                            assert!(done.cqe.result().is_ok_and(|n| 0 < n && n <= 8), "{:?}", done.cqe);
                            assert!(back.insert(done.state.n), "twice");
                        }
                        Some(Event::More(..) | Event::Foreign(_)) => {}
                        None => break,
                    }
                }
                if seed % 3 == 0 && back.len() == 15 {
                    break;
                }
            }
            let in_flight = ring.in_flight();
            let drained = ring.shutdown().unwrap_or_else(|error| panic!("{error}"));
            let rest = drained.ended.iter().map(|done| &done.state).chain(&drained.unsubmitted);
            let rest = rest.filter(|state| back.insert(state.n)).count();
            assert_eq!((rest, back.len()), (in_flight, started));
            drop(drained);
            assert_eq!(dropped.get(), started, "each once");
        });
    }
}

#[test]
fn in_flight_survives_any_error() {
    liars(Lies::empty(), |sim, _| {
        let mut ring = InFlight::new(sim.ring(4).expect("a ring")).expect("a kernel that cancels");
        let file = Rc::new(sim.file(*b"0123456789").expect("a file"));
        let mut states = 0;
        sim.lie(bearable() | Lies::ERRORS, 40);
        for n in 0..20u8 {
            let started = ring.start((file.clone(), [n]), |(file, byte)| Write::new(&**file, &*byte).offset(0).into());
            states += usize::from(started.is_ok());
            let _any = ring.submit();
            for _ in 0..100 {
                match ring.next_event() {
                    Some(Event::Done(_)) => states -= 1,
                    Some(_) => {}
                    None => break,
                }
            }
        }
        let mut left = ring;
        let drained = loop {
            match left.shutdown() {
                Ok(drained) => break drained,
                Err(error) => {
                    states -= error.ended.len() + error.unsubmitted.len();
                    left = error.in_flight;
                    sim.lie(Lies::empty(), 0);
                }
            }
        };
        assert_eq!(states, drained.ended.len() + drained.unsubmitted.len());
        assert_eq!(sim.in_flight(), 0);
    });
}

/// Not a lie, but as good as one to whoever believes it: the next completion is that of an operation of long ago.
#[test]
fn the_completions_of_one_ring_mean_nothing_to_the_next() {
    let sim = Sim::new(1);
    let mut ring: Ring = sim.ring(4).expect("a ring");
    for _ in 0..3 {
        ring.scope(|s| {
            s.push(Nop::new().user_data(5)).expect("room");
            s.finish(|cqe| assert_eq!(cqe.user_data().0, 5)).expect("finished");
        })
        .expect("a scope");
    }
    let keys: BTreeSet<_> = sim.ledger().iter().map(|promise| promise.user_data).collect();
    assert_eq!(keys.len(), 3, "no two scopes have an operation of the same key");
}
