//! Zero-copy sends on a real ring: two completions, what the second says, and when there is none.

mod common;
#[path = "common/io.rs"]
mod io;

use std::io::{IoSlice, Read as _};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use common::{kernel_has_op, skipped};
use io::{bytes, nothing, of, push, reap, register_buffer, result, ring, tcp_pair, udp_pair};
use rawring::op::*;
use rawring::operand::{FixedBuf, FixedIoVec, IoVec, MsgHdr, RecvSendOptions};
use rawring::{Cqe, Errno, Ring, Setup, Sqe};
use rustix::net::SocketAddrAny;

fn read(mut socket: &TcpStream, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    socket.read_exact(&mut data).expect("received");
    data
}

/// Runs a zero-copy send and reads what it sent; returns both completions.
///
/// # Safety
///
/// As for [`Ring::push_unchecked`].
unsafe fn both<'a>(ring: &mut Ring, entry: impl Into<Sqe<'a>>, peer: &TcpStream, expected: &[u8]) -> [Cqe; 2] {
    // SAFETY: the caller's promise.
    unsafe { push(ring, entry) };
    let first = io::next(ring);
    assert_eq!((first.result(), first.is_notification()), (Ok(expected.len() as u32), false));
    assert!(first.more(), "a notification follows");
    assert_eq!(read(peer, expected.len()), expected);
    let second = io::next(ring);
    assert!(second.is_notification() && !second.more(), "{second:?}");
    assert_eq!(second.user_data(), first.user_data());
    [first, second]
}

#[test]
fn item_17_a_zero_copy_send_has_a_result_and_a_notification() {
    if !kernel_has_op("item_17_a_zero_copy_send_has_a_result_and_a_notification", SendZc::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = tcp_pair();
    let data = bytes(10_000, 1);
    // SAFETY: socket and data outlive the notification, which is reaped below.
    let [_, notification] = unsafe { both(&mut ring, SendZc::new(&left, &data).user_data(7), &right, &data) };
    assert_eq!(notification.res(), 0, "no report was asked for");
    nothing(&mut ring);
}

#[test]
fn item_17_the_report_of_a_notification_is_not_an_errno() {
    let test = "item_17_the_report_of_a_notification_is_not_an_errno";
    if !kernel_has_op(test, SendZc::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = tcp_pair();
    let data = bytes(10_000, 1);
    let send = SendZc::new(&left, &data).options(RecvSendOptions::REPORT_USAGE);
    // SAFETY: socket and data outlive the notification, which is reaped below.
    let [first, second] = unsafe { both(&mut ring, send, &right, &data) };
    assert!(first.notification().is_none());
    // The loopback device hands packets on by copying them.
    assert!(second.notification().expect("a notification").copied);
    assert_eq!(second.res(), i32::MIN, "the flag is the bit that would be a sign");
    assert_eq!(second.result(), Ok(0), "and it is not read as one");
}

/// Runs a zero-copy send that fails. Whether it has a notification, `more` alone tells; if so, this waits for it.
fn failure<'a>(ring: &mut Ring, entry: impl Into<Sqe<'a>>) -> Cqe {
    // SAFETY: what the entry borrows is borrowed for longer than this call, which ends after the last completion, or
    // in the end of the process.
    unsafe { push(ring, entry) };
    let first = io::next(ring);
    assert!(!first.is_notification() && first.result().is_err(), "{first:?}");
    if first.more() {
        let second = io::next(ring);
        assert!(second.is_notification() && !second.more(), "{second:?}");
        assert_eq!(second.result(), Ok(0), "a notification has no error");
    }
    nothing(ring);
    first
}

#[test]
fn item_17_more_and_not_the_result_tells_whether_a_notification_follows() {
    if !kernel_has_op("item_17_more_and_not_the_result_tells_whether_a_notification_follows", SendZc::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, _right) = UnixStream::pair().expect("a pair");
    assert_eq!(failure(&mut ring, SendZc::new(&left, "data")).result(), Err(Errno::OPNOTSUPP));
    let (left, _right) = tcp_pair();
    let skip = failure(&mut ring, SendZc::new(&left, "data").skip_success());
    assert_eq!((skip.result(), skip.more()), (Err(Errno::INVAL), false));
    // The same errno, found a little later: Linux 6.18 follows it up with a notification.
    let unknown = failure(&mut ring, with_ioprio(SendZc::new(&left, "data").into(), 1 << 15));
    assert_eq!(unknown.result(), Err(Errno::INVAL));
}

fn with_ioprio(mut entry: Sqe<'_>, bits: u16) -> Sqe<'_> {
    // SAFETY: bits that no kernel knows do not change what the entry names.
    unsafe { entry.raw_mut() }.ioprio |= bits;
    entry
}

#[test]
fn item_17_a_send_that_failed_may_have_a_notification_all_the_same() {
    if !kernel_has_op("item_17_a_send_that_failed_may_have_a_notification_all_the_same", SendZc::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = tcp_pair();
    rustix::net::shutdown(&left, rustix::net::Shutdown::Write).expect("shut down");
    let first = failure(&mut ring, SendZc::new(&left, "data"));
    assert_eq!((first.result(), first.more()), (Err(Errno::PIPE), true), "an error, and more follows");
    drop(right);
}

#[test]
fn item_17_data_may_change_after_the_notification() {
    if !kernel_has_op("item_17_data_may_change_after_the_notification", SendZc::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = tcp_pair();
    let mut data = vec![0; 4096];
    for round in 1..10 {
        data.fill(round);
        // SAFETY: socket and data stay until the notification, which is reaped before the data changes.
        unsafe { push(&mut ring, SendZc::new(&left, &data)) };
        let cqes = reap(&mut ring, 2);
        assert!(cqes[0].more() && cqes[1].is_notification(), "in this order: {cqes:?}");
        data.fill(0);
        assert_eq!(read(&right, 4096), [round; 4096]);
    }
}

#[test]
fn a_zero_copy_send_can_have_an_address() {
    if !kernel_has_op("a_zero_copy_send_can_have_an_address", SendZc::INFO) {
        return;
    }
    let mut ring = ring();
    let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback"));
    let address = SocketAddrAny::from(to.local_addr().expect("bound"));
    // SAFETY: sockets and address outlive the notification, which is reaped below; the data is static.
    unsafe { push(&mut ring, SendZc::new(&from, "hello").to(&address)) };
    let first = io::next(&mut ring);
    assert_eq!(first.result(), Ok(5));
    let mut buffer = [0; 8];
    assert_eq!(to.recv_from(&mut buffer).expect("received"), (5, from.local_addr().expect("bound")));
    assert_eq!(&buffer[..5], b"hello");
    assert!(first.more() && io::next(&mut ring).is_notification());
}

#[test]
fn registered_buffers_are_sent_without_a_copy() {
    if !kernel_has_op("registered_buffers_are_sent_without_a_copy", SendZcFixed::INFO) {
        return;
    }
    let mut ring = ring();
    let memory = register_buffer(&ring, 16384);
    memory.copy_from_slice(&bytes(16384, 4));
    let (left, right) = tcp_pair();
    let part = &memory[100..9000];
    // SAFETY: socket and data outlive the notification, which is reaped below.
    unsafe { both(&mut ring, SendZcFixed::new(&left, FixedBuf::new(part, 0)), &right, part) };

    let outside = vec![0; 16];
    let first = failure(&mut ring, SendZcFixed::new(&left, FixedBuf::new(&outside, 0)));
    assert_eq!(first.result(), Err(Errno::FAULT), "only what lies in the buffer");
}

#[test]
fn several_buffers_are_sent_without_a_copy() {
    if !kernel_has_op("several_buffers_are_sent_without_a_copy", SendZcVectorized::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = tcp_pair();
    let (one, two) = (bytes(5000, 1), bytes(3000, 2));
    let parts = [IoSlice::new(&one), IoSlice::new(&two)];
    let expected = [&one[..], &two[..]].concat();
    // SAFETY: socket, array and data outlive the notification, which is reaped below.
    unsafe { both(&mut ring, SendZcVectorized::new(&left, &parts), &right, &expected) };

    if !kernel_has_op("several_buffers_are_sent_without_a_copy", SendZcVectorizedFixed::INFO) {
        return;
    }
    let memory = register_buffer(&ring, 8192);
    memory.copy_from_slice(&bytes(8192, 3));
    let parts = [IoSlice::new(&memory[..100]), IoSlice::new(&memory[4000..8000])];
    let expected = [&memory[..100], &memory[4000..8000]].concat();
    let send = SendZcVectorizedFixed::new(&left, FixedIoVec::new(IoVec::from(&parts), 0));
    // SAFETY: as above.
    unsafe { both(&mut ring, send, &right, &expected) };
}

#[test]
fn messages_are_sent_without_a_copy() {
    if !kernel_has_op("messages_are_sent_without_a_copy", SendMsgZc::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = tcp_pair();
    let (one, two) = (bytes(5000, 1), bytes(3000, 2));
    let parts = [IoSlice::new(&one), IoSlice::new(&two)];
    let expected = [&one[..], &two[..]].concat();
    let mut header = MsgHdr::default();
    // SAFETY: socket, header, array and data outlive the notification, which is reaped below.
    unsafe { both(&mut ring, SendMsgZc::new(&left, header.send(&parts, None, None)), &right, &expected) };

    if !kernel_has_op("messages_are_sent_without_a_copy", SendMsgZcFixed::INFO) {
        return;
    }
    let memory = register_buffer(&ring, 8192);
    memory.copy_from_slice(&bytes(8192, 3));
    let parts = [IoSlice::new(&memory[..100]), IoSlice::new(&memory[4000..8000])];
    let expected = [&memory[..100], &memory[4000..8000]].concat();
    let send = SendMsgZcFixed::new(&left, header.send(&parts, None, None), 0);
    // SAFETY: as above.
    unsafe { both(&mut ring, send, &right, &expected) };
    let outside = [IoSlice::new(&one)];
    assert_eq!(
        failure(&mut ring, SendMsgZcFixed::new(&left, header.send(&outside, None, None), 0)).result(),
        Err(Errno::FAULT)
    );
}

#[test]
fn a_notification_can_have_a_user_data_of_its_own() {
    let test = "a_notification_can_have_a_user_data_of_its_own";
    // The bytes changed their meaning with the release that brought this row, too.
    if !kernel_has_op(test, SendZcVectorizedFixed::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = tcp_pair();
    // SAFETY: nothing but this test waits for the notification, and the value is not reserved.
    let send = unsafe { SendZc::new(&left, "data").user_data(1).notify_as(2u64) };
    // SAFETY: the socket outlives both completions, which are reaped below; the data is static.
    unsafe { push(&mut ring, send) };
    let cqes = reap(&mut ring, 2);
    assert!(of(&cqes, 1).more() && of(&cqes, 2).is_notification(), "{cqes:?}");
    assert_eq!(read(&right, 4), b"data");
}

#[test]
fn zero_copy_receive_needs_a_queue_of_a_network_card() {
    let test = "zero_copy_receive_needs_a_queue_of_a_network_card";
    if !kernel_has_op(test, RecvZc::INFO) {
        return;
    }
    let mut ring = Setup::new(8).single_issuer().defer_taskrun().cqe32().build().expect("a ring");
    let (_left, right) = udp_pair();
    assert_eq!(result(&mut ring, RecvZc::new(&right, 0)), Err(Errno::INVAL), "no queue is registered");
    skipped(test, "receiving needs a network card whose driver has zero-copy receive");
}
