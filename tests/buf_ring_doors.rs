//! Rings of provided buffers through the safe doors, which know which completion is whose: no `unsafe` in here but for the promise of bundles.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use common::{STATUS, has, needs, since, skipped};
use files::Dir;
use io::{ring, udp_pair};
use rawring::buf_ring::{BufRing, BufRingSetup, Delivery};
use rawring::op::*;
use rawring::operand::Group;
use rawring::{Errno, Event, InFlight, Reason, Version};
use rustix::net::RecvFlags;

const GROUP: Group = Group(3);

/// A ring with a group, for states of one kind.
fn in_flight<S>(count: u16, size: u32) -> (InFlight<S>, BufRing) {
    made(BufRing::setup(GROUP, count, size))
}

fn made<S>(setup: BufRingSetup) -> (InFlight<S>, BufRing) {
    let mut ring = ring();
    let bufs = setup.build(&mut ring).expect("a group");
    (InFlight::new(ring).expect("as asked before"), bufs)
}

/// Waits for a completion with more to come, and gives what it delivered.
fn shot<S: std::fmt::Debug>(ring: &mut InFlight<S>) -> Delivery {
    match ring.wait_event().expect("an event") {
        Event::More(..) => ring.delivered().expect("it names a buffer").expect("the kernel is sound"),
        event => panic!("{event:?}"),
    }
}

/// Ends ring and group.
fn end<S: std::fmt::Debug>(ring: InFlight<S>, bufs: BufRing) {
    let mut ring = ring.shutdown().expect("everything ends").ring;
    if since(STATUS).is_ok() {
        ring.unregister_buf_ring(bufs).expect("nothing is out");
    }
}

#[test]
fn each_event_delivers_once_and_what_nobody_asks_for_goes_back() {
    needs!(has(RecvMulti::INFO));
    // One more than are out at a time: Linux 6.1 ends a multishot receive when it has no buffer, with or without data.
    let (mut ring, bufs) = in_flight(3, 8);
    let (mut left, right) = UnixStream::pair().expect("a pair");
    ring.start(right, |socket| RecvMulti::new(&*socket, GROUP).into()).expect("room");
    assert!(ring.delivered().is_none(), "before the first event");
    left.write_all(b"kept").expect("written");
    let kept = shot(&mut ring).next().expect("a buffer");
    assert!(ring.delivered().is_none(), "once");
    for _ in 0..5 {
        left.write_all(b"ignored").expect("written");
        assert!(matches!(ring.wait_event(), Ok(Event::More(..))));
        assert_eq!(bufs.lent(), 1, "it waits to be asked for");
        assert!(ring.next_event().is_none());
        assert_eq!(bufs.lent(), 2, "nobody did");
    }
    left.write_all(b"read").expect("written");
    assert_eq!(&shot(&mut ring).next().expect("a buffer")[..], b"read");
    assert_eq!(&kept[..], b"kept");
    // One is in the queue unseen when the ring goes down.
    left.write_all(b"late").expect("written");
    ring.submit_and_wait(1).expect("it comes");
    end(ring, bufs);
    assert_eq!(&kept[..], b"kept", "whatever else is gone");
}

#[test]
fn ring_and_group_may_go_first() {
    needs!(has(RecvMulti::INFO));
    let (mut ring, bufs) = in_flight(2, 8);
    let (mut left, right) = UnixStream::pair().expect("a pair");
    ring.start(right, |socket| RecvMulti::new(&*socket, GROUP).into()).expect("room");
    left.write_all(b"kept").expect("written");
    let kept = shot(&mut ring).next().expect("a buffer");
    // Without its group, the ring still knows whose a completion is.
    drop(bufs);
    left.write_all(b"more").expect("written");
    assert_eq!(&shot(&mut ring).next().expect("a buffer")[..], b"more");
    drop(ring);
    assert_eq!(&kept[..], b"kept");
}

#[test]
fn operations_of_others_deliver_nothing_here() {
    needs!(since(STATUS));
    let mut ring = ring();
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // Started before there was a group.
    let mut early = InFlight::new(ring).expect("as asked before");
    let ticket = early.start(right, |socket| RecvProvided::new(&*socket, GROUP).into()).expect("room");
    early.submit().expect("submitted");
    early.cancel(ticket).expect("room");
    let Event::Done(done) = early.wait_event().expect("an event") else { panic!("it ends") };
    let right = done.state;
    ring = early.shutdown().expect("nothing is in flight").ring;
    let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let mut ring = InFlight::new(ring).expect("as asked before");
    // Not started by the door: a registered file, of which there is none, does not get as far as a buffer.
    ring.push(RecvProvided::new(rawring::operand::Fixed(0), GROUP)).expect("room");
    assert!(matches!(ring.wait_event(), Ok(Event::Foreign(cqe)) if cqe.result() == Err(Errno::BADF)));
    assert!(ring.delivered().is_none());
    left.write_all(b"mine").expect("written");
    ring.start(right, |socket| RecvProvided::new(&*socket, GROUP).into()).expect("room");
    let Event::Done(done) = ring.wait_event().expect("an event") else { panic!("it ends") };
    assert_eq!(done.cqe.result(), Ok(4));
    let delivery = ring.delivered().expect("a buffer").expect("the kernel is sound");
    assert_eq!((delivery.group(), delivery.bytes()), (GROUP, 4));
    // A delivery counts as a lease: it is ours.
    end(ring, bufs);
    assert_eq!(&delivery.last().expect("a buffer")[..], b"mine");
}

#[test]
fn a_scope_delivers_and_its_leases_outlive_it() {
    needs!(since(STATUS));
    let mut ring = ring();
    let first = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    let delivery = ring.scope(|scope| {
        scope.push(RecvProvided::new(&right, GROUP)).expect("room");
        left.write_all(b"data").expect("written");
        scope.submit_and_wait(1).expect("it comes");
        assert_eq!(scope.completion().expect("waited for one").result(), Ok(4));
        let delivery = scope.delivered().expect("a buffer").expect("the kernel is sound");
        assert!(scope.delivered().is_none(), "once");
        delivery
    });
    let delivery = delivery.expect("as asked before");
    assert_eq!((first.lent(), delivery.bytes()), (1, 4));
    ring.unregister_buf_ring(first).expect("what is out is ours");
    assert_eq!(&delivery.last().expect("a buffer")[..], b"data");
}

#[test]
fn item_20_the_end_of_a_file_gives_its_buffer_back() {
    needs!(since(STATUS));
    let (mut ring, bufs) = in_flight(2, 8);
    let dir = Dir::new("buf-ring-doors");
    let mut file = dir.file("empty", b"");
    let mut named = 0;
    for _ in 0..10 {
        ring.start(file, |file| ReadProvided::new(&*file, GROUP).offset(0).into()).expect("room");
        let Event::Done(done) = ring.wait_event().expect("an event") else { panic!("it ends") };
        assert_eq!(done.cqe.result(), Ok(0));
        named += u32::from(done.cqe.buffer_id().is_some());
        file = done.state;
    }
    assert!(named > 2, "the end came with a buffer {named} times");
    end(ring, bufs);
}

#[test]
fn bundles_are_told_from_single_buffers() {
    needs!(has(RecvBundle::INFO));
    // SAFETY: the only bundle is alone on its socket, and nothing hands it to a worker.
    let (mut ring, bufs) = made(unsafe { BufRing::setup(GROUP, 4, 4).bundles() });
    let (mut left, right) = UnixStream::pair().expect("a pair");
    left.write_all(b"0123456789").expect("written");
    ring.start(right, |socket| RecvBundle::new(&*socket, GROUP).max_len(16).into()).expect("room");
    let Event::Done(done) = ring.wait_event().expect("an event") else { panic!("it ends") };
    if done.cqe.result() == Ok(4) && since(Version::new(6, 17)).is_err() {
        return skipped("bundles_are_told_from_single_buffers", "this kernel ends a bundle with its first buffer");
    }
    assert_eq!(done.cqe.result(), Ok(10));
    let parts: Vec<_> = ring.delivered().expect("buffers").expect("the kernel is sound").collect();
    assert_eq!(parts.iter().map(|part| &part[..]).collect::<Vec<_>>(), [&b"0123"[..], b"4567", b"89"]);
    bufs.give_back(parts);
    end(ring, bufs);
}

/// Run by a worker, a bundle has whatever buffers it finds, and says nothing of it: another operation may have the one that
/// seems to follow.
#[test]
fn item_20_bundles_are_refused_where_nobody_promised_that_no_worker_runs_them() {
    needs!(since(common::BUFFER_RINGS));
    let (mut ring, bufs) = in_flight(4, 4);
    let (left, right) = UnixStream::pair().expect("a pair");
    let refused = ring.start(right, |socket| RecvBundle::new(&*socket, GROUP).into()).expect_err("a bundle");
    assert_eq!(refused.reason, Reason::Bundle);
    let refused = ring.start(refused.entry, |socket| RecvMultiBundle::new(&*socket, GROUP).into());
    assert_eq!(refused.as_ref().map(|_| ()).map_err(|refused| refused.reason), Err(Reason::Bundle));
    // Of a group that is not the crate's, nothing is leased, so that nothing can go wrong.
    let right = refused.expect_err("a bundle").entry;
    ring.start(right, |socket| RecvBundle::new(&*socket, Group(99)).into()).expect("room");
    assert!(matches!(ring.wait_event(), Ok(Event::Done(_))));
    drop(left);
    end(ring, bufs);
}

#[test]
fn a_receive_that_counts_more_than_there_is_room_for_is_cut() {
    needs!(has(RecvMulti::INFO));
    let (mut ring, bufs) = in_flight(4, 4);
    let (left, right) = udp_pair();
    left.send(b"0123456789").expect("sent");
    let trunc = RecvFlags::TRUNC;
    ring.start(right, |socket| RecvProvided::new(&*socket, GROUP).msg_flags(trunc).into()).expect("room");
    let Event::Done(done) = ring.wait_event().expect("an event") else { panic!("it ends") };
    assert_eq!(done.cqe.result(), Ok(10), "the whole datagram is counted");
    let delivery = ring.delivered().expect("a buffer").expect("the kernel is sound");
    assert_eq!(&delivery.last().expect("a buffer")[..], b"0123");
    assert_eq!(bufs.lent(), 4);
    end(ring, bufs);
}
