//! Simulated sockets: streams, datagrams, connections, messages, and sends without a copy.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{FromRawFd, OwnedFd};

use rawring::op::*;
use rawring::operand::{Group, MsgHdr, RecvSendOptions};
use rawring::sim::{Config, Handle, Sim};
use rawring::{Cqe, Errno, RecvMsgOut, Ring};
use rustix::net::{RecvFlags, ReturnFlags, SendFlags, Shutdown as How, SocketAddrAny};

use crate::files::{next, nothing, run};
use crate::{KINDS, ring, seeds};

/// The descriptor that an operation made.
fn accepted(sim: &Sim, cqe: &Cqe) -> Handle {
    let number = cqe.result().expect("a connection");
    // SAFETY: the descriptor is new, and its completion is looked at once.
    let fd = unsafe { OwnedFd::from_raw_fd(number as i32) };
    sim.handle(fd).expect("a descriptor of this kernel")
}

#[test]
fn what_is_sent_is_received() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 4, kind);
            let (left, right) = sim.stream_pair().expect("a pair");
            let mut buffer = [0; 10];
            // All of it, however small the pieces.
            let receive = Recv::new(&right, &mut buffer).msg_flags(RecvFlags::WAITALL);
            // SAFETY: the buffer is waited for below.
            unsafe { ring.push_unchecked(receive.user_data(1)) }.expect("room");
            nothing(sim, &mut ring);
            left.write(b"01234").expect("room");
            nothing(sim, &mut ring);
            // SAFETY: waited for below.
            unsafe { ring.push_unchecked(Send::new(&left, b"56789").msg_flags(waitall()).user_data(2)) }.expect("room");
            let mut results = [next(&mut ring), next(&mut ring)].map(|cqe| (cqe.user_data().0, cqe.result()));
            results.sort_unstable_by_key(|result| result.0);
            assert_eq!(results, [(1, Ok(10)), (2, Ok(5))]);
            assert_eq!(&buffer, b"0123456789");
            right.shutdown(How::Both).expect("a socket");
            // SAFETY: waited for.
            assert_eq!(unsafe { run(&mut ring, Send::new(&left, b"x")) }.result(), Err(Errno::PIPE));
        });
    }
}

fn waitall() -> SendFlags {
    SendFlags::from_bits_retain(RecvFlags::WAITALL.bits())
}

#[test]
fn messages_keep_their_bounds() {
    seeds(|sim| {
        let mut ring = sim.ring(4).expect("a ring");
        let (left, right) = sim.datagram_pair().expect("a pair");
        let mut header = MsgHdr::default();
        let parts = [IoSlice::new(b"hello "), IoSlice::new(b"there")];
        // SAFETY: waited for.
        let sent = unsafe { run(&mut ring, SendMsg::new(&left, header.send(&parts, None, None))) };
        assert_eq!(sent.result(), Ok(11));
        left.write(b"next").expect("room");
        let (mut one, mut two) = ([0; 4], [0; 4]);
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        let receive = RecvMsg::new(&right, header.recv(&mut bufs, None, &mut []));
        // SAFETY: waited for.
        let received = unsafe { run(&mut ring, receive) };
        assert_eq!((received.result(), &one, &two), (Ok(8), b"hell", b"o th"));
        assert_eq!(header.flags(), ReturnFlags::TRUNC);
        let mut buffer = [0; 2];
        let receive = Recv::new(&right, &mut buffer).msg_flags(RecvFlags::TRUNC);
        // SAFETY: waited for.
        assert_eq!(unsafe { run(&mut ring, receive) }.result(), Ok(4), "the whole length");
        assert_eq!(&buffer, b"ne");
    });
}

#[test]
fn a_connection_is_accepted_and_hung_up() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 4, kind);
            let (listener, address) = sim.listener(b"server", 1).expect("a name");
            let address = SocketAddrAny::from(address);
            // SAFETY: the listener is there until the last completion.
            unsafe { ring.push_unchecked(AcceptMulti::new(&listener).user_data(9)) }.expect("room");
            nothing(sim, &mut ring);
            for _ in 0..3 {
                let client = sim.socket().expect("a socket");
                // SAFETY: waited for below.
                unsafe { ring.push_unchecked(Connect::new(&client, &address).user_data(1)) }.expect("room");
                let mut both = [next(&mut ring), next(&mut ring)];
                both.sort_unstable_by_key(|cqe| cqe.user_data().0);
                assert_eq!((both[0].result(), both[1].more()), (Ok(0), true), "{both:?}");
                let server = accepted(sim, &both[1]);
                client.write(b"hi").expect("connected");
                assert_eq!(server.read(9), Ok(b"hi".to_vec()));
                drop(client);
                assert_eq!(server.read(9), Ok(Vec::new()));
            }
            drop(listener);
            let lost = sim.socket().expect("a socket");
            // SAFETY: waited for below, as is the accept, which a closed listener does not end.
            let refused = unsafe { run(&mut ring, Connect::new(&lost, &address)) };
            assert!(matches!(refused.result(), Ok(0) | Err(Errno::CONNREFUSED)), "{refused:?}");
        });
    }
}

#[test]
fn a_socket_that_was_made_connects_to_nobody() {
    let sim = Sim::new(4);
    let mut ring = sim.ring(4).expect("a ring");
    let made = run_socket(&mut ring);
    let socket = accepted(&sim, &made);
    let nobody = SocketAddrAny::from(rustix::net::SocketAddrUnix::new_abstract_name(b"nobody").expect("a name"));
    // SAFETY: waited for.
    let refused = unsafe { run(&mut ring, Connect::new(&socket, &nobody)) };
    assert_eq!(refused.result(), Err(Errno::CONNREFUSED));
}

fn run_socket(ring: &mut Ring) -> Cqe {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    ring.push(Socket::new(AddressFamily::UNIX, (SocketType::STREAM, SocketFlags::CLOEXEC), None)).expect("room");
    next(ring)
}

#[test]
fn receiving_goes_on_until_the_end_or_until_no_buffer_is_left() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 4, kind);
            let (left, right) = sim.stream_pair().expect("a pair");
            let memory = provide(&mut ring, 40, 8);
            // SAFETY: the socket is there until the last completion.
            unsafe { ring.push_unchecked(RecvMulti::new(&right, GROUP)) }.expect("room");
            nothing(sim, &mut ring);
            left.write(b"0123456789").expect("room");
            drop(left);
            let mut received = Vec::new();
            loop {
                let cqe = next(&mut ring);
                let n = cqe.result().expect("received") as usize;
                if n == 0 {
                    assert_eq!((cqe.more(), cqe.buffer_id()), (false, None));
                    break;
                }
                assert!(cqe.more());
                let start = usize::from(cqe.buffer_id().expect("a buffer")) * 8;
                received.extend_from_slice(&memory[start..start + n]);
            }
            assert_eq!(received, b"0123456789");
        });
    }
}

const GROUP: Group = Group(7);

/// Provides buffers that are never freed.
fn provide(ring: &mut Ring, count: u32, size: u32) -> &'static [u8] {
    let memory = vec![0; (count * size) as usize].leak();
    // SAFETY: the memory is looked at only where a completion says so.
    let provide = unsafe { ProvideBuffers::new(memory.as_mut_ptr(), size, count, 0, GROUP) };
    // SAFETY: waited for, and as above.
    assert_eq!(unsafe { run(ring, provide) }.result(), Ok(0));
    memory
}

#[test]
fn item_35_each_message_of_many_has_a_header() {
    let mut config = Config::new(8);
    config.short = 0;
    let sim = Sim::with(config);
    let mut ring = sim.ring(4).expect("a ring");
    let (left, right) = sim.datagram_pair().expect("a pair");
    let memory = provide(&mut ring, 2, 32);
    let mut header = MsgHdr::default();
    let layout = header.recv_multishot(8, 0);
    // SAFETY: header and socket are there until the last completion.
    unsafe { ring.push_unchecked(RecvMsgMulti::new(&right, layout, GROUP)) }.expect("room");
    nothing(&sim, &mut ring);
    left.write(b"12345678901234567890").expect("room");
    let cqe = next(&mut ring);
    assert!(cqe.more());
    let start = usize::from(cqe.buffer_id().expect("a buffer")) * 32;
    let bytes = &memory[start..start + cqe.result().expect("received") as usize];
    let message = RecvMsgOut::parse(bytes, 8, 0).expect("a message");
    assert_eq!((message.payload(), message.flags()), (&b"12345678"[..], ReturnFlags::TRUNC));
    // A message for which no buffer is left ends it.
    left.write(b"1").expect("room");
    left.write(b"2").expect("room");
    assert!(next(&mut ring).more());
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Err(Errno::NOBUFS), false));
}

#[test]
fn item_17_the_data_of_a_zero_copy_send_is_lent_until_the_notification() {
    seeds(|sim| {
        let mut ring = sim.ring(4).expect("a ring");
        let (left, right) = sim.stream_pair().expect("a pair");
        let mut data = *b"zero copy";
        let send = SendZc::new(&left, &data).msg_flags(waitall()).options(RecvSendOptions::REPORT_USAGE);
        // SAFETY: the data is waited for below.
        let first = unsafe { run(&mut ring, send) };
        assert_eq!((first.result(), first.more(), first.is_notification()), (Ok(9), true, false));
        assert_eq!(right.read(20), Ok(b"zero copy".to_vec()));
        let second = next(&mut ring);
        assert!(second.is_notification() && !second.more());
        data.fill(0);
        // A failure is followed by one as well.
        drop(right);
        // SAFETY: waited for below.
        let failed = unsafe { run(&mut ring, SendZc::new(&left, &data)) };
        assert_eq!((failed.result(), failed.more()), (Err(Errno::PIPE), true));
        assert!(next(&mut ring).is_notification());
    });
}

#[test]
fn item_17_data_that_changes_before_the_notification_is_found_out() {
    let sim = Sim::new(2);
    let mut ring = sim.ring(4).expect("a ring");
    let (left, _right) = sim.stream_pair().expect("a pair");
    let mut data = vec![1; 4];
    let address = data.as_mut_ptr();
    // SAFETY: not heeded on purpose: the data is changed. It is this thread that does all of it.
    let send = SendZc::new(&left, unsafe { core::slice::from_raw_parts(address, 4) });
    // SAFETY: as above.
    assert!(unsafe { run(&mut ring, send) }.more());
    // SAFETY: the memory is there.
    unsafe { address.write(2) };
    assert!(next(&mut ring).is_notification());
    assert!(matches!(&*sim.violations(), [violation] if violation.offset == 0 && !violation.output));
}
