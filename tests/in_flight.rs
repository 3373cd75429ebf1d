//! `InFlight`: states go out with operations and come back, once, whatever happens in between.

mod common;

use std::io::{Read as _, Write as _};
use std::mem::forget;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{needs, safe_doors};
use rawring::op::{Nop, PollMulti, Read, SendZc, Timeout};
use rawring::operand::{PollMask, RecvSendOptions, Timespec};
use rawring::{Errno, Event, InFlight, Reason, Ring, Setup, Wait, WaitEnd};
use rustix::event::PollFlags;

/// A state that counts how often it was dropped, with a socket whose peer sees when it is closed.
#[derive(Debug)]
struct State {
    socket: UnixStream,
    buf: [u8; 8],
    drops: Arc<AtomicUsize>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

fn state(drops: &Arc<AtomicUsize>) -> (State, UnixStream) {
    let (socket, peer) = UnixStream::pair().expect("a pair");
    (State { socket, buf: [7; 8], drops: drops.clone() }, peer)
}

fn read(state: &mut State) -> rawring::Sqe<'_> {
    Read::new(&state.socket, &mut state.buf).into()
}

fn in_flight<S>() -> InFlight<S> {
    InFlight::new(Ring::new(8).expect("a ring")).expect("cancel by any")
}

#[test]
fn a_state_comes_back_with_its_result() {
    needs!(safe_doors());
    let drops = Arc::default();
    let mut ring = in_flight();
    let (one, mut peer) = state(&drops);
    let ticket = ring.start(one, read).expect("room");
    peer.write_all(b"data").expect("written");
    let Event::Done(done) = ring.wait_event().expect("an event") else { panic!("one operation, one event") };
    assert_eq!(done.ticket, ticket);
    assert_eq!(done.cqe.result(), Ok(4));
    assert_eq!(&done.state.buf[..4], b"data");
    assert_eq!((ring.in_flight(), drops.load(Ordering::SeqCst)), (0, 0));
    drop(done);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn refused_states_come_back() {
    needs!(safe_doors());
    let drops = Arc::default();
    let mut ring: InFlight<State> = InFlight::new(Ring::new(1).expect("a ring")).expect("cancel by any");
    ring.push(Nop::new()).expect("room");
    let (one, _peer) = state(&drops);
    let refused = ring.start(one, read).expect_err("full");
    assert_eq!(refused.reason, Reason::Full);
    ring.submit().expect("submitted");
    let refused = ring.start(refused.entry, |state| {
        let entry: rawring::Sqe<'_> = read(state);
        entry.skip_success()
    });
    let refused = refused.expect_err("not countable");
    assert_eq!(refused.reason, Reason::SkipSuccess);
    assert_eq!((ring.in_flight(), drops.load(Ordering::SeqCst)), (0, 0));
    ring.start(refused.entry, read).expect("room");
    assert_eq!(ring.in_flight(), 1);
}

#[test]
fn item_24_a_drop_cancels_drains_and_then_frees() {
    needs!(safe_doors());
    let drops = Arc::new(AtomicUsize::new(0));
    let kinds =
        [Setup::new(8), Setup::new(8).sqpoll(Duration::from_millis(1)), Setup::new(8).single_issuer().defer_taskrun()];
    for (round, setup) in kinds.into_iter().enumerate() {
        let mut ring = InFlight::new(setup.build().expect("a ring")).expect("cancel by any");
        let (submitted, mut peer) = state(&drops);
        ring.start(submitted, read).expect("room");
        ring.submit().expect("submitted");
        let (queued, mut other_peer) = state(&drops);
        ring.start(queued, read).expect("room");
        let start = Instant::now();
        drop(ring);
        assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
        assert_eq!(drops.load(Ordering::SeqCst), 2 * (round + 1), "both states are dropped, once each");
        // The kernel's references to the sockets are gone as well: the peers see the end.
        for peer in [&mut peer, &mut other_peer] {
            peer.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
            assert_eq!(peer.read(&mut [0; 1]).expect("end of file"), 0);
        }
    }
}

#[test]
fn a_drop_ends_multishots() {
    needs!(safe_doors());
    let drops = Arc::new(AtomicUsize::new(0));
    let mut ring = in_flight();
    let (polled, _peer) = state(&drops);
    ring.start(polled, |state| PollMulti::new(&state.socket, PollMask::from(PollFlags::IN)).into()).expect("room");
    ring.submit().expect("submitted");
    drop(ring);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn item_17_data_that_the_network_still_uses_is_leaked_by_a_drop() {
    needs!(safe_doors());
    #[derive(Debug)]
    struct Sending(std::net::TcpStream, Vec<u8>, Arc<AtomicUsize>);
    impl Drop for Sending {
        fn drop(&mut self) {
            self.2.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let (_server, _) = listener.accept().expect("accepted");
    let mut ring = in_flight();
    // More than the sockets hold, and nobody ever reads: no notification can come.
    let sending = Sending(client, vec![1; 16 << 20], drops.clone());
    let all = rustix::net::SendFlags::from_bits_retain(libc::MSG_WAITALL as u32);
    ring.start(sending, |s| SendZc::new(&s.0, &s.1).msg_flags(all).into()).expect("room");
    ring.submit().expect("submitted");
    assert!(ring.next_event().is_none() && ring.in_flight() == 1, "it waits");
    let start = Instant::now();
    drop(ring);
    let waited = start.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&waited), "the drop is patient: {waited:?}");
    assert_eq!(drops.load(Ordering::SeqCst), 0, "and does not free what may still be sent");
}

#[test]
fn forgetting_frees_nothing() {
    needs!(safe_doors());
    let drops = Arc::new(AtomicUsize::new(0));
    let mut ring = in_flight();
    let (one, mut peer) = state(&drops);
    ring.start(one, read).expect("room");
    ring.submit().expect("submitted");
    forget(ring);
    peer.write_all(b"late").expect("the kernel still reads into the leaked state");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(drops.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_in_the_closure_drops_the_state_once() {
    needs!(safe_doors());
    let drops = Arc::new(AtomicUsize::new(0));
    let mut ring = in_flight();
    let (one, _peer) = state(&drops);
    let panic = catch_unwind(AssertUnwindSafe(|| ring.start(one, |_| panic!("on purpose")).is_ok()));
    assert!(panic.is_err());
    assert_eq!((drops.load(Ordering::SeqCst), ring.in_flight()), (1, 0));
    let (two, _peer) = state(&drops);
    ring.start(two, read).expect("the slot is free again");
    drop(ring);
    assert_eq!(drops.load(Ordering::SeqCst), 2);
}

#[test]
fn a_multishot_keeps_its_state_until_it_ends() {
    needs!(safe_doors());
    let drops = Arc::new(AtomicUsize::new(0));
    let mut ring = in_flight();
    let (one, mut peer) = state(&drops);
    let ticket =
        ring.start(one, |state| PollMulti::new(&state.socket, PollMask::from(PollFlags::IN)).into()).expect("room");
    for _ in 0..3 {
        peer.write_all(b"x").expect("written");
        let Event::More(of, cqe) = ring.wait_event().expect("an event") else { panic!("a shot") };
        assert_eq!(of, ticket);
        assert!(cqe.more());
        assert_eq!((ring.in_flight(), drops.load(Ordering::SeqCst)), (1, 0));
    }
    ring.cancel(ticket).expect("room");
    let done = loop {
        match ring.wait_event().expect("an event") {
            Event::Done(done) => break done,
            Event::More(..) => {}
            Event::Foreign(cqe) => panic!("the cancellation is not shown: {cqe:?}"),
        }
    };
    assert_eq!((done.ticket, done.cqe.result()), (ticket, Err(Errno::CANCELED)));
    ring.cancel(ticket).expect("one that has ended is left alone");
    assert_eq!(ring.submit().expect("submitted"), 0);
}

#[test]
fn item_17_a_zero_copy_send_keeps_its_state_until_the_notification() {
    needs!(safe_doors());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (mut server, _) = listener.accept().expect("accepted");
    let mut ring = in_flight();
    let ticket = ring
        .start((client, vec![5u8; 100_000]), |(socket, data)| {
            SendZc::new(&*socket, &*data).options(RecvSendOptions::REPORT_USAGE).into()
        })
        .expect("room");
    let Event::More(of, first) = ring.wait_event().expect("an event") else { panic!("the result comes first") };
    assert_eq!((of, ring.in_flight()), (ticket, 1), "the kernel still needs the data");
    let sent = first.result().expect("sent");
    let mut back = vec![0; sent as usize];
    server.read_exact(&mut back).expect("received");
    let Event::Done(done) = ring.wait_event().expect("an event") else { panic!("the notification ends it") };
    assert_eq!(done.cqe, first, "the result is that of the send, not of the notification");
    // Loopback copies, and says so in a word whose top bit is set.
    assert_eq!(done.notification.map(|report| report.copied), Some(true));
    assert_eq!((back, ring.in_flight()), (done.state.1[..sent as usize].to_vec(), 0));
}

#[test]
fn foreign_completions_are_foreign() {
    needs!(safe_doors());
    let drops = Arc::new(AtomicUsize::new(0));
    let mut plain = Ring::new(8).expect("a ring");
    plain.push(Nop::new().user_data(1)).expect("room");
    plain.submit().expect("submitted");
    let mut ring = InFlight::new(plain).expect("cancel by any");
    let (one, _peer) = state(&drops);
    ring.start(one, read).expect("room");
    ring.push(Nop::new().user_data(2)).expect("room");
    ring.submit().expect("submitted");
    let mut keys = Vec::new();
    while let Some(event) = ring.next_event() {
        let Event::Foreign(cqe) = event else { panic!("the read cannot end") };
        keys.push(cqe.user_data().0);
    }
    assert_eq!((keys, ring.in_flight()), (vec![1, 2], 1));
    let forged = ring.push(Nop::new().user_data(0x5afe_0000_0000_0000)).expect_err("reserved");
    assert_eq!(forged.reason, Reason::ReservedUserData);
}

#[test]
fn shutdown_gives_everything_back() {
    needs!(safe_doors());
    let drops = Arc::new(AtomicUsize::new(0));
    let mut ring = in_flight();
    let (one, _peer) = state(&drops);
    let running = ring.start(one, read).expect("room");
    ring.push(Nop::new().user_data(3)).expect("room");
    ring.submit().expect("submitted");
    let (two, _other_peer) = state(&drops);
    ring.start(two, read).expect("room");
    let mut drained = ring.shutdown().expect("drained");
    assert_eq!(drained.ended.len(), 1);
    assert_eq!((drained.ended[0].ticket, drained.ended[0].cqe.result()), (running, Err(Errno::CANCELED)));
    assert_eq!(drained.unsubmitted.len(), 1);
    assert_eq!(drops.load(Ordering::SeqCst), 0, "all states are in our hands");
    let foreign: Vec<u64> = drained.ring.completions().map(|cqe| cqe.user_data().0).collect();
    assert_eq!(foreign, [3]);
    drained.ring.push(Nop::new()).expect("the ring works on");
    assert_eq!(drained.ring.submit_and_wait(1).expect("waited").entries, 1);
}

#[test]
fn item_09_what_cannot_be_drained_is_leaked() {
    needs!(safe_doors());
    let drops = Arc::new(AtomicUsize::new(0));
    let setup = Setup::new(8).single_issuer().defer_taskrun();
    let mut ring = InFlight::new(setup.build().expect("a ring")).expect("cancel by any");
    let (one, mut peer) = state(&drops);
    ring.start(one, read).expect("room");
    ring.submit().expect("submitted");
    let start = Instant::now();
    std::thread::spawn(move || drop(ring)).join().expect("no panic");
    assert!(start.elapsed() < Duration::from_secs(2), "an error ends the wait at once: {:?}", start.elapsed());
    assert_eq!(drops.load(Ordering::SeqCst), 0, "the kernel refuses this thread, so the state must stay");
    peer.write_all(b"x").expect("its socket is still open");
}

#[test]
fn slots_are_reused_and_tickets_are_not() {
    needs!(safe_doors());
    let mut ring: InFlight<u64> = in_flight();
    let mut tickets = std::collections::HashSet::new();
    for round in 0..1000u64 {
        let ticket = ring.start(round, |_| Nop::new().into()).expect("room");
        assert!(tickets.insert(ticket), "a ticket came twice");
        match ring.wait_event().expect("an event") {
            Event::Done(done) => assert_eq!((done.state, done.ticket), (round, ticket)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn many_states_at_once() {
    needs!(safe_doors());
    let mut ring: InFlight<usize> = InFlight::new(Ring::new(16).expect("a ring")).expect("cancel by any");
    let mut seen = vec![false; 1000];
    let mut collect = |ring: &mut InFlight<usize>| {
        while let Some(Event::Done(done)) = ring.next_event() {
            assert!(!std::mem::replace(&mut seen[done.state], true));
        }
    };
    for index in 0..1000 {
        let mut next = index;
        while let Err(refused) = ring.start(next, |_| Nop::new().into()) {
            next = refused.entry;
            ring.submit().expect("submitted");
            collect(&mut ring);
        }
    }
    while ring.in_flight() > 0 {
        ring.submit_with(&Wait::new(1)).expect("waited");
        collect(&mut ring);
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn what_was_reaped_before_a_wait_does_not_end_it() {
    needs!(safe_doors());
    static SHORT: Timespec = Timespec { seconds: 0, nanoseconds: 20_000_000 };
    let mut ring = in_flight();
    (0..3).for_each(|n| assert!(ring.start(n, |_| Nop::new().into()).is_ok()));
    ring.submit_and_wait(3).expect("submitted");
    // Two of three: the queue still holds one, and the kernel has to hear of the others.
    (0..2).for_each(|n| assert!(matches!(ring.next_event(), Some(Event::Done(done)) if done.state == n)));
    ring.start(3, |_| Timeout::new(&SHORT).into()).expect("room");
    let submitted = ring.submit_and_wait(2).expect("submitted");
    assert_eq!((submitted.entries, submitted.wait, ring.ring().ready()), (1, WaitEnd::Ready, 2));
    (2..4).for_each(|n| assert!(matches!(ring.next_event(), Some(Event::Done(done)) if done.state == n)));
    assert!(ring.next_event().is_none());
}
