//! Groups to send from: buffers that are filled before they are provided, and what comes back.

#[path = "common/mod.rs"]
mod common;
#[path = "common/io.rs"]
mod io;

use std::io::Read as _;
use std::os::unix::net::{UnixDatagram, UnixStream};

use common::{STATUS, has, needs, safe_doors};
use rawring::buf_ring::{BufRing, BufRingError, Pick, StillOut};
use rawring::flags::SqeFlags;
use rawring::op::{RecvProvided, SendBundle, SendProvided};
use rawring::operand::Group;
use rawring::register::{Registration, Restrictions};
use rawring::{Cqe, Errno, Event, InFlight, Reason, Ring, Setup};
use rustix::net::SendFlags;

const GROUP: Group = Group(5);

fn group(ring: &mut Ring, count: u16, size: u32) -> BufRing {
    BufRing::setup(GROUP, count, size).sending().build(ring).expect("a group")
}

fn provide(bufs: &BufRing, data: &[u8]) {
    let mut blank = bufs.blank().expect("an idle buffer");
    blank[..data.len()].copy_from_slice(data);
    blank.provide(data.len()).expect("it fits");
}

/// What a completion of a single send says was sent, and what was not.
fn sent(bufs: &BufRing, cqe: &Cqe) -> (Vec<u8>, Vec<u8>) {
    // SAFETY: each completion here is this ring's, of an operation that picks one buffer of this group, and handed in once.
    let mut delivery = unsafe { bufs.take(cqe, Pick::One) }.expect("a buffer");
    let lease = delivery.next().expect("one");
    assert!(delivery.next().is_none());
    (lease.to_vec(), lease.unsent().to_vec())
}

#[test]
fn what_is_provided_is_sent_in_order_and_comes_back() {
    needs!(has(SendProvided::INFO));
    let mut ring = Ring::new(8).expect("a ring");
    let bufs = group(&mut ring, 3, 16);
    let (left, right) = UnixDatagram::pair().expect("a pair");
    let mut buffer = [0; 16];
    let send = |max_len| SendProvided::new(&left, GROUP).max_len(max_len);
    assert_eq!(io::run(&mut ring, send(0)).result(), Err(Errno::NOBUFS), "nothing is provided by itself");
    // Often enough for the ring of four to go round several times.
    for round in 0..6_u8 {
        let texts: [Vec<u8>; 3] = [1, 7, 16].map(|len| vec![round * 3 + len; usize::from(len)]);
        texts.iter().for_each(|text| provide(&bufs, text));
        assert!(bufs.blank().is_none() && bufs.lent() == 3);
        for text in &texts {
            let cqe = io::run(&mut ring, send(0));
            assert_eq!(sent(&bufs, &cqe), (text.clone(), vec![]));
            let len = right.recv(&mut buffer).expect("received");
            assert_eq!(&buffer[..len], text);
        }
        assert_eq!(bufs.lent(), 0, "what was sent is idle, and not provided again");
        assert_eq!(io::run(&mut ring, send(0)).result(), Err(Errno::NOBUFS));
    }
    provide(&bufs, b"cut off");
    let cqe = io::run(&mut ring, send(3));
    assert_eq!(sent(&bufs, &cqe), (b"cut".to_vec(), b" off".to_vec()));
    // A send that fails uses its buffer up.
    drop(right);
    provide(&bufs, b"nobody");
    let cqe = io::run(&mut ring, send(0));
    assert_eq!(cqe.result(), Err(Errno::CONNREFUSED));
    assert_eq!(sent(&bufs, &cqe), (vec![], b"nobody".to_vec()));
    assert!((0..3).map(|_| bufs.blank().expect("all are idle")).collect::<Vec<_>>().len() == 3);
    ring.unregister_buf_ring(bufs).expect("nothing is out");
}

#[test]
fn what_cannot_be_provided_stays_a_blank() {
    let mut ring = Ring::new(8).expect("a ring");
    needs!(common::since(common::BUFFER_RINGS));
    let bufs = group(&mut ring, 2, 16);
    let blank = bufs.blank().expect("idle");
    let id = blank.buffer_id();
    let blank = blank.provide(0).expect_err("nothing");
    let mut blank = blank.provide(17).expect_err("more than there is");
    assert_eq!((blank.buffer_id(), blank.len(), bufs.lent()), (id, 16, 0));
    blank[0] = 1;
    drop(blank);
    let two = [bufs.blank().expect("idle"), bufs.blank().expect("idle")];
    assert!(bufs.blank().is_none());
    drop(two);
    // A group that goes while a buffer of it is filled. That nothing else is out, the kernel has to say.
    needs!(common::since(STATUS));
    let mut last = bufs.blank().expect("idle");
    ring.unregister_buf_ring(bufs).expect("nothing is out");
    last.fill(7);
    last.provide(16).expect("for nobody");
    let received = BufRing::setup(Group(6), 2, 16).build(&mut ring).expect("a group");
    assert!(received.blank().is_none(), "its buffers are the kernel's");
    // SAFETY: no operation picks from it.
    let both = unsafe { BufRing::setup(Group(7), 2, 16).sending().incremental(1) }.build(&mut ring);
    assert_eq!(both.err(), Some(BufRingError::SendsIncrementally));
}

#[test]
fn a_group_that_cannot_end_yet_keeps_what_was_provided() {
    needs!(has(SendProvided::INFO));
    let mut ring = Ring::new(8).expect("a ring");
    let bufs = group(&mut ring, 4, 16);
    needs!(ring.buf_ring_head(GROUP).map_err(|_| "the kernel does not say what it has taken (Linux 6.8)"));
    let (left, right) = UnixDatagram::pair().expect("a pair");
    for text in [&b"one"[..], b"twelve", b"a hundred"] {
        provide(&bufs, text);
    }
    let cqe = io::run(&mut ring, SendProvided::new(&left, GROUP));
    let in_use = ring.unregister_buf_ring(bufs).expect_err("a completion was not taken");
    assert_eq!(in_use.reason, StillOut::Buffers(1));
    let bufs = in_use.bufs;
    assert_eq!(sent(&bufs, &cqe).0, b"one");
    let cqe = io::run(&mut ring, SendProvided::new(&left, GROUP));
    assert_eq!(sent(&bufs, &cqe), (b"twelve".to_vec(), vec![]));
    let mut buffer = [0; 16];
    let lens = [(); 2].map(|()| right.recv(&mut buffer).expect("received"));
    assert_eq!((lens, &buffer[..6]), ([3, 6], &b"twelve"[..]));
    ring.unregister_buf_ring(bufs).expect("one is provided and with no operation");
}

#[test]
fn a_group_that_may_not_end_keeps_what_was_provided() {
    needs!(has(SendProvided::INFO));
    let mut ring = Setup::new(8).disabled().build().expect("a ring");
    let bufs = group(&mut ring, 2, 16);
    needs!(ring.buf_ring_head(GROUP).map_err(|_| "the kernel does not say what it has taken (Linux 6.8)"));
    let list = Restrictions::new().allow(SendProvided::INFO).allow_flags(SqeFlags::BUFFER_SELECT);
    ring.restrict(&list.allow_registration(Registration::PBUF_STATUS)).expect("restricted");
    ring.enable().expect("enabled");
    provide(&bufs, b"four");
    let in_use = ring.unregister_buf_ring(bufs).expect_err("not allowed");
    assert_eq!(in_use.reason, StillOut::Errno(Errno::ACCESS));
    let (left, _right) = UnixDatagram::pair().expect("a pair");
    let cqe = io::run(&mut ring, SendProvided::new(&left, GROUP));
    assert_eq!(sent(&in_use.bufs, &cqe), (b"four".to_vec(), vec![]));
}

#[test]
fn a_bundle_sends_what_there_is_and_its_leases_follow_the_lengths() {
    needs!(has(SendBundle::INFO));
    needs!(safe_doors());
    let mut ring = Ring::new(8).expect("a ring");
    let plain = group(&mut ring, 2, 8);
    // SAFETY: bundles that pick from it run where they are submitted, one at a time.
    let bufs = unsafe { BufRing::setup(Group(6), 8, 8).sending().bundles() }.build(&mut ring).expect("a group");
    let (left, mut right) = UnixStream::pair().expect("a pair");
    let mut ring = InFlight::new(ring).expect("fit");
    let refused = ring.start(left, |socket| SendBundle::new(&*socket, plain.group()).into()).expect_err("no bundles");
    assert_eq!(refused.reason, Reason::Bundle);
    let mut socket = refused.entry;
    // Not in the order of their numbers, the second time.
    for texts in [[&b"a"[..], b"bcd", b"efghijkl", b"mn"], [b"opqrstuv", b"w", b"xyz", b"!"]] {
        texts.iter().for_each(|text| provide(&bufs, text));
        let all = texts.concat();
        ring.start(socket, |socket| SendBundle::new(&*socket, Group(6)).into()).expect("room");
        let mut seen: Vec<Vec<u8>> = Vec::new();
        socket = loop {
            let event = ring.wait_event().expect("waited");
            if let Some(delivery) = ring.delivered() {
                seen.extend(delivery.expect("buffers").map(|lease| lease.to_vec()));
            }
            if let Event::Done(done) = event {
                break done.state;
            }
        };
        assert_eq!(seen, texts);
        assert_eq!(bufs.lent(), 0);
        let mut buffer = vec![0; all.len()];
        right.read_exact(&mut buffer).expect("received");
        assert_eq!(buffer, all);
    }
}

#[test]
fn a_receive_that_picks_what_was_to_be_sent_writes_no_further_than_was_provided() {
    needs!(has(SendProvided::INFO));
    let mut ring = Ring::new(8).expect("a ring");
    let bufs = group(&mut ring, 2, 16);
    let (left, right) = UnixDatagram::pair().expect("a pair");
    provide(&bufs, b"1234");
    left.send(b"a message").expect("sent");
    let cqe = io::run(&mut ring, RecvProvided::new(&right, GROUP));
    assert_eq!(sent(&bufs, &cqe), (b"a me".to_vec(), vec![]));
}

#[test]
fn send_flags_go_with_provided_buffers() {
    needs!(has(SendProvided::INFO));
    let mut ring = Ring::new(8).expect("a ring");
    let bufs = group(&mut ring, 1, 16);
    let (left, right) = UnixStream::pair().expect("a pair");
    drop(right);
    provide(&bufs, b"nobody");
    let cqe = io::run(&mut ring, SendProvided::new(&left, GROUP).msg_flags(SendFlags::NOSIGNAL));
    assert_eq!((cqe.result(), sent(&bufs, &cqe).0), (Err(Errno::PIPE), vec![]));
}
