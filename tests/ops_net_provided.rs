//! Sending from and receiving into provided buffers on a real ring: one at a time, in bundles, again and again.

mod common;
#[path = "common/io.rs"]
mod io;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use common::{BUFFER_RINGS, has, kernel_has_op, needs, newer, since, skipped};
use io::{BufRing, bytes, next, nothing, of, push, reap, result, ring, run, tcp_pair, udp_pair};
use rawring::op::*;
use rawring::operand::Group;
use rawring::{Cqe, Errno, Ring};
use rawring_sys as sys;
use rustix::net::RecvFlags;

const GROUP: Group = Group(7);

/// Provides `count` buffers of `size` bytes in the old way, with the ids from `first_id` on.
fn provide(ring: &mut Ring, count: u32, size: u32, first_id: u16) -> &'static mut [u8] {
    let memory = vec![0; (count * size) as usize].leak();
    // SAFETY: the memory is never freed, and the tests look at a buffer only after the operation that picked it.
    let provide = unsafe { ProvideBuffers::new(memory.as_mut_ptr(), size, count, first_id, GROUP) };
    assert_eq!(result(ring, provide), Ok(0));
    memory
}

/// What a receive left in the buffers of `bufs`, first to last in the order of their ids.
fn received(bufs: &BufRing, size: usize, cqe: Cqe) -> Vec<u8> {
    let first = cqe.buffer_id().expect("a buffer");
    let len = cqe.result().expect("received") as usize;
    let ids = (first..).take(len.div_ceil(size));
    let mut data: Vec<u8> = ids.flat_map(|id| bufs.bytes(id, size).to_vec()).collect();
    data.truncate(len);
    data
}

#[test]
fn a_receive_picks_a_buffer_when_there_is_something_to_receive() {
    let mut ring = ring();
    let memory = provide(&mut ring, 2, 16, 40);
    if common::probe().level() < BUFFER_RINGS {
        let (mut left, right) = UnixStream::pair().expect("a pair");
        left.write_all(b"first").expect("written");
        assert_eq!(result(&mut ring, RecvProvided::new(&right, GROUP)), Ok(0), "no length is a length of zero");
    }
    needs!(since(BUFFER_RINGS));
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the completion, which is reaped below.
    unsafe { push(&mut ring, RecvProvided::new(&right, GROUP)) };
    nothing(&mut ring);
    left.write_all(b"first").expect("written");
    let cqe = next(&mut ring);
    assert_eq!((cqe.result(), cqe.buffer_id()), (Ok(5), Some(40)));
    left.write_all(b"second").expect("written");
    let cqe = run(&mut ring, RecvProvided::new(&right, GROUP).max_len(4));
    assert_eq!((cqe.result(), cqe.buffer_id()), (Ok(4), Some(41)), "no more than was asked for");
    assert_eq!((&memory[..5], &memory[16..20]), (&b"first"[..], &b"seco"[..]));
    assert!(memory[20..].iter().all(|byte| *byte == 0));
    let cqe = run(&mut ring, RecvProvided::new(&right, GROUP));
    assert_eq!((cqe.result(), cqe.buffer_id()), (Err(Errno::NOBUFS), None), "each buffer is picked once");
}

#[test]
fn item_18_receiving_goes_on_until_the_buffers_are_used_up() {
    needs!(has(RecvMulti::INFO));
    let mut ring = ring();
    let memory = provide(&mut ring, 3, 8, 0);
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, RecvMulti::new(&right, GROUP)) };
    for (id, text) in [b"one", b"two", b"3rd"].iter().enumerate() {
        left.write_all(*text).expect("written");
        let cqe = next(&mut ring);
        assert_eq!((cqe.result(), cqe.buffer_id(), cqe.more()), (Ok(3), Some(id as u16), true));
        assert_eq!(&memory[8 * id..8 * id + 3], *text);
    }
    left.write_all(b"4th").expect("written");
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Err(Errno::NOBUFS), false));
    let mut right = right;
    right.read_exact(&mut [0; 3]).expect("what found no buffer is still in the socket");
}

#[test]
fn item_18_receiving_goes_on_until_the_end_of_the_stream() {
    needs!(has(RecvMulti::INFO));
    let mut ring = ring();
    provide(&mut ring, 4, 8, 0);
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, RecvMulti::new(&right, GROUP)) };
    left.write_all(b"x").expect("written");
    assert!(next(&mut ring).more());
    drop(left);
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Ok(0), false));
}

#[test]
fn item_18_an_empty_datagram_ends_as_a_stream_does() {
    needs!(has(RecvMulti::INFO));
    let mut ring = ring();
    provide(&mut ring, 4, 8, 0);
    let (left, right) = udp_pair();
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, RecvMulti::new(&right, GROUP)) };
    left.send(b"x").expect("sent");
    assert!(next(&mut ring).more());
    left.send(b"").expect("sent");
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Ok(0), false));
}

#[test]
fn item_18_receiving_many_times_refuses_to_wait_for_all() {
    let mut ring = ring();
    provide(&mut ring, 1, 8, 0);
    let (_left, right) = UnixStream::pair().expect("a pair");
    let all = RecvMulti::new(&right, GROUP).msg_flags(RecvFlags::WAITALL);
    assert_eq!(result(&mut ring, all), Err(Errno::INVAL));
}

#[test]
fn receiving_many_times_can_be_limited() {
    let test = "receiving_many_times_can_be_limited";
    let since = RecvMulti::INFO.operands.iter().find(|operand| operand.name == "total_len").expect("an operand").since;
    if !newer(test, since) {
        return;
    }
    let mut ring = ring();
    let bufs = BufRing::full(&ring, GROUP, 8, 64);
    let (mut left, right) = UnixStream::pair().expect("a pair");
    let data = bytes(100, 1);
    left.write_all(&data).expect("written");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, RecvMulti::new(&right, GROUP).max_len(20).total_len(50)) };
    let cqes = reap(&mut ring, 3);
    let results: Vec<_> = cqes.iter().map(|cqe| (cqe.result(), cqe.more())).collect();
    assert_eq!(results, [(Ok(20), true), (Ok(20), true), (Ok(20), false)], "ends with the shot that reaches the total");
    let all: Vec<u8> = cqes.iter().flat_map(|cqe| received(&bufs, 64, *cqe)).collect();
    assert_eq!(all, data[..60]);
    nothing(&mut ring);
}

#[test]
fn a_bundle_fills_as_many_buffers_as_it_takes() {
    if !kernel_has_op("a_bundle_fills_as_many_buffers_as_it_takes", RecvBundle::INFO) {
        return;
    }
    let mut ring = ring();
    let bufs = BufRing::full(&ring, GROUP, 8, 16);
    let (mut left, right) = tcp_pair();
    let data = bytes(40, 1);
    left.write_all(&data).expect("written");
    let mut parts = Parts::default();
    while parts.data.len() < data.len() {
        let cqe = run(&mut ring, RecvBundle::new(&right, GROUP));
        assert!(!cqe.more());
        parts.add(&bufs, cqe);
    }
    assert_eq!(parts.data, data);
    assert!(parts.longest > 16, "at least one completion stands for more than one buffer");
}

/// Why bundles of the crate's groups want a promise: what others have taken meanwhile is not in the completion.
#[test]
fn item_20_a_worker_fills_a_bundle_with_whatever_is_next() {
    needs!(has(RecvBundle::INFO));
    let mut ring = ring();
    let bufs = BufRing::full(&ring, GROUP, 8, 16);
    let [(mut one, first), (mut two, second)] = [tcp_pair(), tcp_pair()];
    for (key, socket) in [(1, &first), (2, &second)] {
        // SAFETY: the sockets outlive the completions, which are reaped below.
        unsafe { push(&mut ring, RecvBundle::new(socket, GROUP).force_async().user_data(key)) };
        ring.submit().expect("submitted");
        let mut status = sys::io_uring_buf_status { buf_group: GROUP.0.into(), head: 0, resv: [0; 8] };
        while u64::from(status.head) < key {
            // SAFETY: the call fills the struct, and touches nothing else.
            let asked = unsafe { ring.register_raw(sys::IORING_REGISTER_PBUF_STATUS, (&raw mut status).cast(), 1) };
            assert_eq!(asked, Ok(0));
        }
    }
    one.write_all(&bytes(32, 1)).expect("written");
    let bundle = next(&mut ring);
    two.write_all(&bytes(16, 9)).expect("written");
    let single = next(&mut ring);
    assert_eq!((bundle.user_data().0, single.user_data().0), (1, 2));
    if bundle.result() == Ok(16) {
        return skipped(
            "item_20_a_worker_fills_a_bundle",
            "this kernel ends a bundle in a worker with its first buffer",
        );
    }
    assert_eq!((bundle.result(), bundle.buffer_id()), (Ok(32), Some(0)), "buffers 0 and 1, one would say");
    assert_eq!((single.result(), single.buffer_id()), (Ok(16), Some(1)));
    assert_eq!(received(&bufs, 16, bundle), [&bytes(16, 1)[..], &bytes(16, 9)].concat());
}

/// Data that came in bundles into a ring of buffers of 16 bytes, whose ids are in order.
#[derive(Default)]
struct Parts {
    data: Vec<u8>,
    next_id: u16,
    longest: usize,
}

impl Parts {
    fn add(&mut self, bufs: &BufRing, cqe: Cqe) {
        assert_eq!(cqe.buffer_id(), Some(self.next_id), "each starts where the one before ended: {cqe:?}");
        let part = received(bufs, 16, cqe);
        self.next_id += part.len().div_ceil(16) as u16;
        self.longest = self.longest.max(part.len());
        self.data.extend(part);
    }
}

#[test]
fn item_18_bundles_are_received_again_and_again() {
    if !kernel_has_op("item_18_bundles_are_received_again_and_again", RecvMultiBundle::INFO) {
        return;
    }
    let mut ring = ring();
    let bufs = BufRing::full(&ring, GROUP, 8, 16);
    let (mut left, right) = tcp_pair();
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, RecvMultiBundle::new(&right, GROUP)) };
    ring.submit().expect("submitted");
    let mut parts = Parts::default();
    let mut sent = Vec::new();
    for len in [40, 10] {
        let data = bytes(len, len);
        left.write_all(&data).expect("written");
        sent.extend(data);
        while parts.data.len() < sent.len() {
            let cqe = next(&mut ring);
            assert!(cqe.more());
            parts.add(&bufs, cqe);
        }
    }
    assert_eq!(parts.data, sent);
    assert!(parts.longest > 16, "at least one completion stands for more than one buffer");
    drop(left);
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Ok(0), false));
}

#[test]
fn a_send_takes_the_next_buffer_of_its_group() {
    if !kernel_has_op("a_send_takes_the_next_buffer_of_its_group", SendProvided::INFO) {
        return;
    }
    let mut ring = ring();
    let mut bufs = BufRing::new(&ring, GROUP, 4, 16);
    for (id, text) in [(2, &b"first"[..]), (0, b"second"), (1, b"cut off")] {
        bufs.fill(id, text);
        bufs.add(id, text.len());
    }
    let (left, right) = udp_pair();
    let mut buffer = [0; 16];
    for (id, text, max_len) in [(2, "first", 0), (0, "second", 0), (1, "cut", 3)] {
        let cqe = run(&mut ring, SendProvided::new(&left, GROUP).max_len(max_len));
        assert_eq!((cqe.result(), cqe.buffer_id()), (Ok(text.len() as u32), Some(id)));
        let len = right.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..len], text.as_bytes(), "in the order in which they were provided");
    }
    assert_eq!(result(&mut ring, SendProvided::new(&left, GROUP)), Err(Errno::NOBUFS));
}

#[test]
fn a_bundle_sends_all_buffers_of_its_group() {
    if !kernel_has_op("a_bundle_sends_all_buffers_of_its_group", SendBundle::INFO) {
        return;
    }
    let mut ring = ring();
    let mut bufs = BufRing::new(&ring, GROUP, 8, 16);
    let data = bytes(40, 3);
    for (id, part) in (0..).zip(data.chunks(16)) {
        bufs.fill(id, part);
        bufs.add(id, part.len());
    }
    let (left, mut right) = tcp_pair();
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, SendBundle::new(&left, GROUP).user_data(1)) };
    let mut cqes = reap(&mut ring, 1);
    while cqes.last().is_some_and(|cqe| cqe.more()) {
        cqes.extend(reap(&mut ring, 1));
    }
    assert_eq!((of(&cqes, 1).result(), of(&cqes, 1).buffer_id()), (Ok(40), Some(0)), "{cqes:?}");
    let mut buffer = vec![0; 40];
    right.read_exact(&mut buffer).expect("received");
    assert_eq!(buffer, data);
    assert_eq!(result(&mut ring, SendBundle::new(&left, GROUP)), Err(Errno::NOBUFS), "all were used");
}
