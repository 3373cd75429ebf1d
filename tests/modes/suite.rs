//! One suite over every combination of modes: each is opened, driven, and torn down. The flags that go with everything
//! (`RingTrials::FREE`) are sampled; `every.rs` leaves none out, and drives less.
//!
//! What is driven is what the modes change: how entries get to the kernel and completions back, where either wraps, what
//! happens where there is no room, and what the safe doors make of it. Rings that poll devices take hardly any
//! operation, so there the doors are driven with what they take.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rawring::flags::SetupFlags;
use rawring::op::{Cancel, Nop, Nop128, Read};
use rawring::probe::RingTrials;
use rawring::{Conflict, Cqe, Errno, Event, InFlight, Ring, Setup, UserData, Version};

use crate::common::{has, in_own_process, probe, since, skipped, with};

/// The release in which `NOP` can fail on purpose.
const FAILING: Version = Version::new(6, 10);

/// Slots of the submission queue; the completion queue has a size of its own where that is asked for.
pub const ENTRIES: u32 = 4;

/// What rings of some combinations are made with.
pub struct Others {
    plain: Ring,
    polling: Ring,
    cpu: u32,
}

impl Others {
    pub fn new() -> Self {
        let polling = Setup::new(2).sqpoll(Duration::from_millis(1)).build().expect("a ring");
        let set = rustix::thread::sched_getaffinity(None).expect("an affinity");
        let cpu = (0..rustix::thread::CpuSet::MAX_CPU).find(|&cpu| set.is_set(cpu)).expect("a processor") as u32;
        Others { plain: Ring::new(2).expect("a ring"), polling, cpu }
    }

    /// The setup with exactly these flags.
    pub fn setup(&self, set: SetupFlags) -> Setup<'_> {
        let attach_to = if set.contains(SetupFlags::SQPOLL) { &self.polling } else { &self.plain };
        let flags = SetupFlags::INFO.iter().map(|info| SetupFlags::from_bits_retain(info.bits as u32));
        let chosen = flags.filter(|&flag| set.contains(flag));
        let array = !set.contains(SetupFlags::NO_SQARRAY);
        chosen.fold(Setup::new(ENTRIES).no_sqarray(!array), |setup, flag| with(setup, flag, attach_to, self.cpu))
    }
}

/// All setup flags that this kernel knows.
pub fn known() -> SetupFlags {
    let known = probe().setup_flags().filter(|flag| flag.supported);
    known.fold(SetupFlags::empty(), |all, flag| all | SetupFlags::from_bits_retain(flag.info.bits as u32))
}

/// What a combination is driven with.
struct Bench {
    others: Others,
    pair: (UnixStream, UnixStream),
    /// Whether a chain can be made to fail.
    failing: bool,
    wide: bool,
}

impl Bench {
    fn drive(&mut self, set: SetupFlags) {
        let ring = self.others.setup(set).build().unwrap_or_else(|error| panic!("{set:?}: {error}"));
        assert_eq!(ring.setup_flags(), set);
        let mut ring = ring;
        if set.contains(SetupFlags::R_DISABLED) {
            ring.push(Nop::new().user_data(1)).expect("room");
            if !set.contains(SetupFlags::SQPOLL) {
                assert_eq!(ring.submit(), Err(Errno::BADFD), "{set:?}");
            }
            ring.enable().expect("enabled");
            assert_eq!(reap(&mut ring, 1), [(1, Ok(0))], "{set:?}");
            submit(&mut ring);
        }
        full_queues(&mut ring, set);
        chains(&mut ring, set, self.failing);
        if ring.is_wide() && self.wide {
            wide_entries(&mut ring, set);
        }
        overflow(&mut ring, set);
        if set.contains(SetupFlags::IOPOLL) {
            doors_of_polled_devices(ring, set);
        } else {
            self.doors(ring, set);
        }
    }

    /// Borrowed and owned memory, cancelled and not.
    fn doors(&mut self, mut ring: Ring, set: SetupFlags) {
        let (reader, writer) = &mut self.pair;
        let mut buf = [0; 4];
        let mut never = [7; 4];
        let mut results = Vec::new();
        ring.scope(|s| {
            let first = s.push(Read::new(&*reader, &mut never)).expect("room");
            s.submit().expect("submitted");
            s.cancel(first).expect("room");
            s.finish(|cqe| results.push(cqe.result())).expect("finished");
            writer.write_all(b"ping").expect("written");
            s.push(Read::new(&*reader, &mut buf)).expect("room");
            s.finish(|cqe| results.push(cqe.result())).expect("finished");
        })
        .expect("a scope");
        assert_eq!((&results[..], &buf, never), (&[Err(Errno::CANCELED), Ok(4)][..], b"ping", [7; 4]), "{set:?}");
        // A cancellation by hand, whose own completion is seen.
        let never = Box::leak(Box::new([7_u8; 4]));
        // SAFETY: the buffer is never freed, and the socket outlives the operation, whose completion is seen below.
        unsafe { ring.push_unchecked(Read::new(&*reader, never).user_data(1)) }.expect("room");
        submit(&mut ring);
        ring.push(Cancel::new(UserData(1)).user_data(2)).expect("room");
        let mut seen = reap(&mut ring, 2);
        seen.sort_unstable_by_key(|(key, _)| *key);
        assert_eq!(seen, [(1, Err(Errno::CANCELED)), (2, Ok(0))], "{set:?}");
        let drops = Arc::new(AtomicUsize::new(0));
        let state = || State { reader: reader.try_clone().expect("a copy"), buf: [0; 4], drops: drops.clone() };
        let mut ring = InFlight::new(ring).expect("fit");
        ring.start(state(), |s| Read::new(&s.reader, &mut s.buf).into()).expect("room");
        ring.submit().expect("submitted");
        writer.write_all(b"pong").expect("written");
        let Event::Done(done) = ring.wait_event().expect("waited") else { panic!("{set:?}: not an end") };
        assert_eq!((done.cqe.result(), &done.state.buf), (Ok(4), b"pong"), "{set:?}");
        drop(done);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        // One in flight and one queued, and the ring goes.
        ring.start(state(), |s| Read::new(&s.reader, &mut s.buf).into()).expect("room");
        ring.submit().expect("submitted");
        ring.start(state(), |s| Read::new(&s.reader, &mut s.buf).into()).expect("room");
        drop(ring);
        assert_eq!(drops.load(Ordering::SeqCst), 3, "{set:?}: states were leaked");
    }
}

struct State {
    reader: UnixStream,
    buf: [u8; 4],
    drops: Arc<AtomicUsize>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

/// Has the kernel take everything that is queued.
fn submit(ring: &mut Ring) {
    ring.submit().expect("submitted");
    while ring.pending() > 0 {
        // Only a polling thread takes its time.
        ring.submit().expect("submitted");
        std::thread::yield_now();
    }
}

/// The keys and results of the next completions.
pub fn reap(ring: &mut Ring, count: usize) -> Vec<(u64, Result<u32, Errno>)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        ring.submit_and_wait(1).expect("waited");
        let see = |cqe: Cqe| (cqe.user_data().0, cqe.result());
        seen.extend(ring.peek().expect("a visit").map(see));
    }
    assert_eq!(seen.len(), count, "{ring:?}");
    seen
}

fn nops(ring: &mut Ring, keys: std::ops::Range<u64>) {
    for key in keys {
        ring.push(Nop::new().user_data(key)).expect("room");
    }
}

fn ended_well(keys: impl Iterator<Item = u64>) -> Vec<(u64, Result<u32, Errno>)> {
    keys.map(|key| (key, Ok(0))).collect()
}

fn full_queues(ring: &mut Ring, set: SetupFlags) {
    let entries = u64::from(ENTRIES);
    for first in (0..5).map(|round| round * entries) {
        nops(ring, first..first + entries);
        assert_eq!(ring.room(), 0, "{set:?}");
        assert!(ring.push(Nop::new()).is_err(), "{set:?}");
        assert_eq!(reap(ring, entries as usize), ended_well(first..first + entries), "{set:?}");
        submit(ring);
        assert_eq!(ring.room(), ENTRIES);
    }
}

fn chains(ring: &mut Ring, set: SetupFlags, failing: bool) {
    let key = |key| Nop::new().user_data(key);
    ring.push_all([key(1).link().into(), key(2).link().into(), key(3).into()]).expect("room");
    assert_eq!(reap(ring, 3), ended_well(1..4), "{set:?}");
    submit(ring);
    if failing {
        let bad = key(2).result(-Errno::IO.raw_os_error());
        ring.push_all([key(1).link().into(), bad.link().into(), key(3).into(), key(4).into()]).expect("room");
        let mut seen = reap(ring, 4);
        seen.sort_unstable_by_key(|(key, _)| *key);
        let expected = [(1, Ok(0)), (2, Err(Errno::IO)), (3, Err(Errno::CANCELED)), (4, Ok(0))];
        assert_eq!(seen, expected, "{set:?}");
        submit(ring);
    }
}

/// Entries of 128 bytes at every position, as parts of chains that must not be cut.
fn wide_entries(ring: &mut Ring, set: SetupFlags) {
    for _ in 0..2 * ENTRIES {
        ring.push128(Nop128::new().user_data(1)).expect("room");
        assert_eq!(reap(ring, 1), [(1, Ok(0))], "{set:?}");
        submit(ring);
        nops(ring, 2..3);
        assert_eq!(reap(ring, 1), [(2, Ok(0))], "{set:?}");
        submit(ring);
    }
}

fn overflow(ring: &mut Ring, set: SetupFlags) {
    let all = u64::from(ring.cq_entries()) + 6;
    let mut next = 0;
    while next < all {
        nops(ring, next..next + 2);
        next += 2;
        submit(ring);
    }
    let mut seen = Vec::new();
    while (seen.len() as u64) < next {
        seen.extend(reap_some(ring));
    }
    assert_eq!(seen, ended_well(0..next), "{set:?}");
    assert_eq!((ring.lost(), ring.dropped(), ring.ready()), (0, 0, 0), "{set:?}");
    assert!(!ring.overflowed(), "{set:?}");
}

fn reap_some(ring: &mut Ring) -> Vec<(u64, Result<u32, Errno>)> {
    ring.submit_and_wait(1).expect("waited");
    ring.peek().expect("a visit").map(|cqe| (cqe.user_data().0, cqe.result())).collect()
}

fn doors_of_polled_devices(mut ring: Ring, set: SetupFlags) {
    let mut results = Vec::new();
    ring.scope(|s| {
        s.push(Nop::new().user_data(1)).expect("room");
        s.finish(|cqe| results.push((cqe.user_data().0, cqe.result()))).expect("finished");
    })
    .expect("a scope");
    assert_eq!(results, [(1, Ok(0))], "{set:?}");
    let mut ring = InFlight::new(ring).expect("fit");
    ring.start("state", |_| Nop::new().into()).expect("room");
    let Event::Done(done) = ring.wait_event().expect("waited") else { panic!("{set:?}: not an end") };
    assert_eq!((done.cqe.result(), done.state), (Ok(0), "state"));
    ring.start("another", |_| Nop::new().into()).expect("room");
    assert_eq!(ring.shutdown().expect("drained").unsubmitted, ["another"], "{set:?}");
}

#[test]
fn every_combination_of_modes_passes_the_suite() {
    const TEST: &str = "suite::every_combination_of_modes_passes_the_suite";
    in_own_process(TEST, || {
        if let Err(reason) = crate::common::safe_doors() {
            return skipped(TEST, &reason.to_string());
        }
        let mut bench = Bench {
            others: Others::new(),
            pair: UnixStream::pair().expect("a pair"),
            failing: since(FAILING).is_ok(),
            wide: has(Nop128::INFO).is_ok(),
        };
        // Which processor a thread is on changes nothing, and whether the kernel sleeps before it polls a device neither:
        // `every.rs` drives those.
        let modes = known() - SetupFlags::SQ_AFF - SetupFlags::HYBRID_IOPOLL;
        // One choice of the flags that go with everything for each set of the others, of the two that there are.
        let one = |n: usize| (n / 2).count_ones() as usize % 2 == n % 2;
        let sets = RingTrials::sets(modes, RingTrials::FREE).enumerate();
        let sets = sets.filter(|&(n, set)| one(n) && Conflict::of(set).is_none());
        let mut count = 0;
        for (_, set) in sets {
            bench.drive(set);
            count += 1;
        }
        assert!(count >= 8, "{count} combinations");
    });
}
