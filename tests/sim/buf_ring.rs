//! Rings of provided buffers on simulated kernels: what is sent comes out of leases, and every buffer is accounted for.
//!
//! A buffer is garbage from when it is taken until its completion is posted, and whoever writes to it meanwhile is found
//! out: a lease too early, or on the wrong buffer, or two on one, would show.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use rawring::buf_ring::{BadBuffer, BufRing, Lease, StillOut};
use rawring::op::*;
use rawring::operand::Group;
use rawring::sim::{Config, Handle, Lies, Sim};
use rawring::{Errno, Event, InFlight, Sqe, Wait};

use crate::{KINDS, ring, seeds};

const GROUP: Group = Group(5);

/// One of the streams that are received from.
struct Stream {
    n: usize,
    socket: Rc<Handle>,
    entry: fn(&Handle) -> Sqe<'_>,
}

fn entry(stream: &mut Stream) -> Sqe<'_> {
    (stream.entry)(&stream.socket)
}

/// All ways to receive from a group.
const WAYS: [fn(&Handle) -> Sqe<'_>; 6] = [
    |socket| RecvProvided::new(socket, GROUP).into(),
    |socket| RecvMulti::new(socket, GROUP).into(),
    |socket| RecvBundle::new(socket, GROUP).into(),
    |socket| RecvMultiBundle::new(socket, GROUP).into(),
    |socket| ReadProvided::new(socket, GROUP).into(),
    |socket| RecvProvided::new(socket, GROUP).force_async().into(),
];

/// Numbers by which the test itself decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Sends over `ways.len()` streams at once, received in these ways, with leases held for some time. Everything arrives, in
/// order, and all buffers are back at the end.
fn stream_all(ring: rawring::Ring, sim: &Sim, bufs: BufRing, ways: &[fn(&Handle) -> Sqe<'_>], seed: u64) {
    const TOTAL: usize = 120;
    let mut dice = Dice(seed);
    let mut ring = InFlight::new(ring).expect("a kernel that cancels");
    let count = u32::from(bufs.count());
    let mut writers = Vec::new();
    let mut idle = Vec::new();
    for (n, &entry) in ways.iter().enumerate() {
        let (left, right) = sim.stream_pair().expect("a pair");
        writers.push((left, 0));
        idle.push(Stream { n, socket: Rc::new(right), entry });
    }
    let byte = |n: usize, at: usize| (n * 31 + at % 97) as u8 & 0x7f;
    let mut received = vec![0; ways.len()];
    let mut held: Vec<Lease> = Vec::new();
    for _ in 0..10_000 {
        if received.iter().all(|&len| len == TOTAL) {
            break;
        }
        for (n, (writer, sent)) in writers.iter_mut().enumerate() {
            let end = TOTAL.min(*sent + 1 + dice.below(20));
            let bytes: Vec<u8> = (*sent..end).map(|at| byte(n, at)).collect();
            if dice.below(2) == 0 && *sent < TOTAL {
                *sent += writer.write(&bytes).unwrap_or(0);
            }
        }
        for stream in std::mem::take(&mut idle) {
            if let Err(refused) = ring.start(stream, entry) {
                idle.push(refused.entry);
            }
        }
        ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(1))).expect("a wait");
        sim.step();
        while let Some(event) = ring.next_event() {
            let (n, result) = match &event {
                Event::Done(done) => (done.state.n, done.cqe.result()),
                // Which stream's it is, its bytes say.
                Event::More(_, cqe) => (usize::MAX, cqe.result()),
                Event::Foreign(cqe) => panic!("{cqe:?}"),
            };
            if let Err(errno) = result {
                assert_eq!(errno, Errno::NOBUFS);
            }
            let delivery = ring.delivered().map(|delivery| delivery.expect("a sound kernel"));
            for lease in delivery.into_iter().flatten() {
                let from = match (n, lease.first()) {
                    (usize::MAX, Some(&first)) => {
                        let fits = |n: &usize| byte(*n, received[*n]) == first && lease.len() <= TOTAL - received[*n];
                        (0..ways.len()).find(fits).expect("bytes of some stream")
                    }
                    (n, _) => n,
                };
                for &found in lease.iter() {
                    assert_eq!(found, byte(from, received[from]), "stream {from} at {}", received[from]);
                    received[from] += 1;
                }
                held.push(lease);
            }
            if let Event::Done(done) = event {
                idle.push(done.state);
            }
        }
        while held.len() > dice.below(6) {
            let lease = held.swap_remove(dice.below(held.len()));
            if dice.below(2) == 0 {
                drop(lease);
            } else {
                bufs.give_back([lease]);
            }
        }
    }
    assert!(received.iter().all(|&len| len == TOTAL), "{received:?}");
    drop(held);
    // The end of a stream may come with a buffer, too: more often than there are buffers.
    drop(writers);
    for _ in 0..3 * count {
        for stream in std::mem::take(&mut idle) {
            ring.start(stream, entry).expect("room");
        }
        let event = ring.wait_event().expect("an event");
        let lease = ring.delivered().and_then(|delivery| delivery.expect("a sound kernel").next());
        assert!(lease.is_none_or(|lease| lease.is_empty()));
        if let Event::Done(done) = event {
            // Several at once may be too many for the buffers.
            assert!(matches!(done.cqe.result(), Ok(0) | Err(Errno::NOBUFS)), "{:?}", done.cqe);
            idle.push(done.state);
        }
    }
    let mut ring = ring.shutdown().expect("everything ends").ring;
    assert_eq!(bufs.lent(), count, "all buffers are back");
    ring.unregister_buf_ring(bufs).expect("nothing is out");
    assert_eq!(ring.buf_ring_head(GROUP), Err(Errno::NOENT));
}

#[test]
fn item_20_no_buffer_of_many_streams_is_lost_or_handed_out_twice() {
    for (n, &kind) in KINDS.iter().enumerate() {
        for seed in 0..crate::SEEDS {
            let sim = Sim::new(seed);
            let mut ring = ring(&sim, 8, kind);
            let (count, size) = (1 + (seed % 7) as u16, 1 + (seed % 11) as u32);
            // SAFETY: a simulated kernel takes the buffers of a bundle all at once, whoever runs it.
            let setup = unsafe { BufRing::setup(GROUP, count, size).bundles() };
            let bufs = setup.build(&mut ring).expect("a group");
            // One way alone, so that shots can be told apart, or all that have no shots.
            let ways: Vec<_> = match seed % 4 {
                0 => vec![WAYS[1]],
                1 => vec![WAYS[3]],
                _ => [0, 2, 4, 5].iter().map(|&way| WAYS[way]).collect(),
            };
            let run = std::panic::AssertUnwindSafe(|| {
                stream_all(ring, &sim, bufs, &ways, seed);
                sim.check();
            });
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("with seed {seed} on ring {n}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn item_20_incremental_buffers_are_used_to_the_end() {
    for &kind in KINDS {
        for seed in 0..crate::SEEDS {
            let sim = Sim::new(seed);
            let mut ring = ring(&sim, 8, kind);
            let (count, size) = (1 + (seed % 5) as u16, 4 + (seed % 23) as u32);
            // SAFETY: one operation at a time, which the simulated kernel runs to its completion in order.
            let setup = unsafe { BufRing::setup(GROUP, count, size).incremental(seed as u32 % 4) };
            let bufs = setup.build(&mut ring).expect("a group");
            let way = WAYS[[0, 1, 2, 3][seed as usize / 4 % 4]];
            let run = std::panic::AssertUnwindSafe(|| {
                stream_all(ring, &sim, bufs, &[way], seed);
                sim.check();
            });
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("with seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn a_group_ends_when_the_kernel_has_nothing_of_it() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 8, kind);
            let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
            let (left, right) = sim.stream_pair().expect("a pair");
            let right = Rc::new(right);
            let mut ring = InFlight::new(ring).expect("a kernel that cancels");
            let stream = Stream { n: 0, socket: right, entry: WAYS[0] };
            ring.start(stream, entry).expect("room");
            left.write(b"data").expect("room");
            let Event::Done(done) = ring.wait_event().expect("an event") else { panic!("it has one completion") };
            let lease = ring.delivered().expect("a buffer").expect("a sound kernel").next().expect("one");
            assert!(done.cqe.result().is_ok_and(|len| len as usize == lease.len()) && b"data".starts_with(&lease));
            let mut ring = ring.shutdown().expect("nothing is in flight").ring;
            let mut other = sim.ring(4).expect("a ring");
            let in_use = other.unregister_buf_ring(bufs).expect_err("another ring's");
            assert_eq!(in_use.reason, StillOut::OtherRing);
            ring.unregister_buf_ring(in_use.bufs).expect("the lease is ours");
            drop((ring, other));
            assert!(!lease.is_empty() && b"data".starts_with(&lease), "{lease:?}");
        });
    }
}

#[test]
fn item_20_a_lying_kernel_gets_no_buffer_leased_twice() {
    let mut lied = [0; 2];
    for seed in 0..3 * crate::SEEDS {
        let mut config = Config::new(seed);
        config.lies = Lies::empty();
        let sim = Sim::with(config);
        let mut ring = sim.ring(8).expect("a ring");
        // SAFETY: as above.
        let setup = unsafe { BufRing::setup(GROUP, 4, 8).bundles() };
        let bufs = setup.build(&mut ring).expect("a group");
        let mut ring = InFlight::new(ring).expect("a kernel that cancels");
        let (left, right) = sim.stream_pair().expect("a pair");
        let right = Rc::new(right);
        let mut held: Vec<Lease> = Vec::new();
        let mut dice = Dice(seed);
        sim.lie(Lies::BUFFERS | Lies::COMPLETIONS | Lies::WORDS, 30);
        for _ in 0..60 {
            if ring.in_flight() == 0 {
                let way = WAYS[seed as usize % WAYS.len()];
                let _full = ring.start(Stream { n: 0, socket: right.clone(), entry: way }, entry);
            }
            let _full = left.write(b"0123456789abcdef");
            let _retry = ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(1)));
            sim.step();
            for _ in 0..20 {
                if ring.next_event().is_none() {
                    break;
                }
                match ring.delivered() {
                    Some(Ok(delivery)) => held.extend(delivery),
                    Some(Err(BadBuffer::NoSuchBuffer { .. })) => lied[0] += 1,
                    Some(Err(BadBuffer::TooLong { .. })) => lied[1] += 1,
                    Some(Err(bad)) => panic!("{bad}"),
                    None => {}
                }
                let ids: BTreeSet<_> = held.iter().map(Lease::buffer_id).collect();
                assert_eq!(ids.len(), held.len(), "two leases on one buffer, with seed {seed}");
                assert!(held.iter().all(|lease| lease.buffer_id() < 4 && lease.len() <= 8));
                assert!(held.iter().flat_map(|lease| lease.iter()).all(|byte| byte.is_ascii_hexdigit()), "garbage");
            }
            while held.len() > dice.below(4) {
                held.swap_remove(dice.below(held.len()));
            }
        }
        drop(held);
        let mut ring = ring.shutdown().expect("everything ends").ring;
        sim.check();
        match ring.unregister_buf_ring(bufs) {
            Ok(()) => {}
            Err(in_use) => assert!(matches!(in_use.reason, StillOut::Buffers(1..=4)), "{in_use}"),
        }
    }
    assert!(lied.iter().all(|&n| n > 0), "{lied:?}");
}
