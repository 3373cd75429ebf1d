//! Messages on a real ring: addresses, control data, truncation, and what a multishot receive leaves in its buffers.

mod common;
#[path = "common/io.rs"]
mod io;

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use common::{BUFFER_RINGS, needs, since};
use io::{BufRing, bytes, next, nothing, push, result, ring, run, udp_pair};
use rawring::op::*;
use rawring::operand::{Group, IoVecMut, MsgHdr, SocketAddrBuf};
use rawring::{ControlMessage, ControlMessages, Cqe, Errno, RecvMsgOut, SendControl};
use rustix::net::{RecvFlags, ReturnFlags, SocketAddrAny, sockopt};

const GROUP: Group = Group(7);
/// Room for an IPv4 address.
const NAME: u32 = size_of::<libc::sockaddr_in>() as u32;
/// Room for control data of two messages.
const CONTROL: usize = 64;

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("loopback")
}

fn address(socket: &UdpSocket) -> SocketAddrAny {
    socket.local_addr().expect("bound").into()
}

/// Has the kernel tell the type of service of each datagram, and sets that of those sent.
fn with_tos(from: &UdpSocket, to: &UdpSocket, tos: u8) {
    sockopt::set_ip_tos(from, tos).expect("set");
    sockopt::set_ip_recvtos(to, true).expect("set");
}

#[test]
fn a_message_has_parts_a_sender_and_control_data() {
    let mut ring = ring();
    let (from, to) = (udp(), udp());
    with_tos(&from, &to, 0x10);
    let destination = address(&to);
    let parts = [IoSlice::new(b"hello "), IoSlice::new(b"there")];
    let mut header = MsgHdr::default();
    assert_eq!(result(&mut ring, SendMsg::new(&from, header.send(&parts, Some(&destination), None))), Ok(11));

    let (mut one, mut two) = ([0xaa; 4], [0xaa; 16]);
    let mut sender = SocketAddrBuf::default();
    let mut room = [0; CONTROL];
    let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    let receive = header.recv(&mut bufs, Some(&mut sender), &mut room);
    assert_eq!(result(&mut ring, RecvMsg::new(&to, receive)), Ok(11));
    assert_eq!((&one, &two[..7]), (b"hell", &b"o there"[..]));
    assert_eq!(two[7..], [0xaa; 9], "what was not received was not touched");
    assert_eq!(header.sender(&sender), Some(address(&from)));
    assert_eq!((header.name_len(), header.flags()), (NAME, ReturnFlags::empty()));
    let found: Vec<_> = ControlMessages::new(&room[..header.control_len()]).collect();
    assert_eq!(found, [ControlMessage { level: libc::IPPROTO_IP, kind: libc::IP_TOS, data: &[0x10] }]);
}

#[test]
fn a_message_that_does_not_fit_says_so() {
    let mut ring = ring();
    let (from, to) = udp_pair();
    with_tos(&from, &to, 0x10);
    let mut header = MsgHdr::default();
    for (flags, len) in [(RecvFlags::empty(), 4), (RecvFlags::TRUNC, 10)] {
        from.send(b"0123456789").expect("sent");
        let (mut buffer, mut room) = ([0; 4], [0; 8]);
        let mut bufs = [IoSliceMut::new(&mut buffer)];
        let receive = RecvMsg::new(&to, header.recv(&mut bufs, None, &mut room)).msg_flags(flags);
        assert_eq!(result(&mut ring, receive), Ok(len));
        assert_eq!(header.flags(), ReturnFlags::TRUNC | ReturnFlags::CTRUNC, "data and control data");
        assert_eq!(&buffer, b"0123");
    }
}

#[test]
fn descriptors_travel_in_messages() {
    let mut ring = ring();
    let (left, right) = UnixStream::pair().expect("a pair");
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let rights = SendControl::new().rights(&[writer.as_fd()]);
    let mut header = MsgHdr::default();
    let data = [IoSlice::new(b"fd")];
    let send = SendMsg::new(&left, header.send(&data, None, Some(&rights)));
    assert_eq!(result(&mut ring, send), Ok(2));
    drop(writer);

    let (mut data, mut room) = ([0; 8], [0; CONTROL]);
    let mut bufs = [IoSliceMut::new(&mut data)];
    let receive = RecvMsg::new(&right, header.recv(&mut bufs, None, &mut room)).msg_flags(RecvFlags::CMSG_CLOEXEC);
    assert_eq!(result(&mut ring, receive), Ok(2));
    let found: Vec<_> = ControlMessages::new(&room[..header.control_len()]).collect();
    // Linux 6.17 adds how much is left to receive (SCM_INQ), which nobody asked for.
    let older = common::probe().level() < rawring::Version::new(6, 18);
    assert!(found.len() == 1 || older && found[1].kind == 84, "{found:?}");
    assert_eq!((found[0].level, found[0].kind), (libc::SOL_SOCKET, libc::SCM_RIGHTS));
    let number = i32::from_ne_bytes(found[0].data.try_into().expect("one descriptor"));
    // SAFETY: the kernel has just made it for us.
    let mut writer = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(number) });
    writer.write_all(b"through").expect("written");
    let mut buffer = [0; 7];
    rustix::io::read(&reader, &mut buffer).expect("read");
    assert_eq!(&buffer, b"through");
}

#[test]
fn item_15_a_header_may_change_once_it_was_submitted_and_data_may_not() {
    let mut ring = ring();
    let (left, mut right) = UnixStream::pair().expect("a pair");
    // Fill the socket, so that the message has to wait.
    left.set_nonblocking(true).expect("set");
    while (&left).write(&[0; 4096]).is_ok() {}
    left.set_nonblocking(false).expect("set");

    let data = bytes(64, 1);
    let mut header = MsgHdr::default();
    let mut vecs = vec![IoSlice::new(&data[..32]), IoSlice::new(&data[32..])];
    // SAFETY: socket and data outlive the completion, which is reaped below; header and array the submission.
    unsafe { push(&mut ring, SendMsg::new(&left, header.send(&vecs[..], None, None))) };
    nothing(&mut ring);
    header = MsgHdr::default();
    vecs.clear();
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    while !received.ends_with(&data) {
        let len = right.read(&mut chunk).expect("read");
        assert!(len > 0 && received.len() < 1 << 24);
        received.extend_from_slice(&chunk[..len]);
    }
    assert_eq!(next(&mut ring).result(), Ok(64));
    drop((header, vecs));
}

#[test]
fn a_message_can_be_received_into_a_provided_buffer() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let bufs = BufRing::full(&ring, GROUP, 4, 16);
    let (from, to) = udp_pair();
    let mut header = MsgHdr::default();
    let mut sender = SocketAddrBuf::default();
    from.send(b"provided").expect("sent");
    let none: &mut [IoSliceMut<'_>] = &mut [];
    let receive = header.recv(IoVecMut::from(none), Some(&mut sender), &mut []);
    let cqe = run(&mut ring, RecvMsgProvided::new(&to, receive, GROUP));
    assert_eq!((cqe.result(), cqe.buffer_id()), (Ok(8), Some(0)));
    assert_eq!((bufs.bytes(0, 8), header.sender(&sender)), (&b"provided"[..], Some(address(&from))));

    // One element limits the length, and its address is not used.
    from.send(b"provided").expect("sent");
    let mut limit = [0xaa; 4];
    let mut one = [IoSliceMut::new(&mut limit)];
    let cqe = run(&mut ring, RecvMsgProvided::new(&to, header.recv(&mut one, None, &mut []), GROUP));
    assert_eq!((cqe.result(), cqe.buffer_id()), (Ok(4), Some(1)));
    assert_eq!((bufs.bytes(1, 4), limit), (&b"prov"[..], [0xaa; 4]));

    let (mut a, mut b) = ([0; 4], [0; 4]);
    let mut two = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    let cqe = run(&mut ring, RecvMsgProvided::new(&to, header.recv(&mut two, None, &mut []), GROUP));
    assert_eq!(cqe.result(), Err(Errno::INVAL));
}

/// The message that a completion says is in a buffer of `bufs`.
fn parse(bufs: &BufRing, cqe: Cqe, control: usize) -> RecvMsgOut<'_> {
    let len = cqe.result().expect("received") as usize;
    RecvMsgOut::parse(bufs.bytes(cqe.buffer_id().expect("a buffer"), len), NAME, control).expect("a message")
}

#[test]
fn item_35_messages_are_received_again_and_again_and_taken_apart() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let bufs = BufRing::full(&ring, GROUP, 4, 256);
    let (from, to) = (udp(), udp());
    with_tos(&from, &to, 0x10);
    let mut header = MsgHdr::default();
    // SAFETY: the socket outlives the last completion, which is reaped below; the header the submission.
    unsafe { push(&mut ring, RecvMsgMulti::new(&to, header.recv_multishot(NAME, CONTROL), GROUP)) };
    ring.submit().expect("submitted");
    // Item 15: the header was read at submission.
    header.recv_multishot(9999, 9999);
    for text in ["one", "and two", "three"] {
        from.send_to(text.as_bytes(), to.local_addr().expect("bound")).expect("sent");
        let cqe = next(&mut ring);
        assert!(cqe.more());
        let message = parse(&bufs, cqe, CONTROL);
        assert_eq!((message.payload(), message.payload_len()), (text.as_bytes(), text.len() as u32));
        assert_eq!((message.address(), message.name_len()), (Some(address(&from)), NAME));
        assert_eq!(
            SocketAddr::try_from(message.address().expect("one")).expect("IPv4"),
            from.local_addr().expect("bound")
        );
        let tos = ControlMessage { level: libc::IPPROTO_IP, kind: libc::IP_TOS, data: &[0x10] };
        assert_eq!(message.control().collect::<Vec<_>>(), [tos]);
        assert_eq!(message.flags(), ReturnFlags::empty());
    }
    // An empty message is received as all others, and ends the receive as the end of a stream would.
    from.send_to(b"", to.local_addr().expect("bound")).expect("sent");
    let last = next(&mut ring);
    assert!(!last.more());
    let message = parse(&bufs, last, CONTROL);
    assert_eq!((message.payload(), message.address()), (&b""[..], Some(address(&from))));

    let again = RecvMsgMulti::new(&to, header.recv_multishot(NAME, CONTROL), GROUP);
    assert_eq!(result(&mut ring, again), Err(Errno::NOBUFS), "all four buffers were used");
}

#[test]
fn item_35_what_was_cut_off_is_told() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let (from, to) = udp_pair();
    with_tos(&from, &to, 0x10);
    let room = size_of::<[u32; 4]>() + NAME as usize + 8;
    let bufs = BufRing::full(&ring, GROUP, 4, room + 4);
    let mut header = MsgHdr::default();
    for (flags, told) in [(RecvFlags::empty(), 4), (RecvFlags::TRUNC, 10)] {
        from.send(b"0123456789").expect("sent");
        let receive = RecvMsgMulti::new(&to, header.recv_multishot(NAME, 8), GROUP).msg_flags(flags);
        // SAFETY: the socket outlives the last completion, which is reaped below; the header the submission.
        unsafe { push(&mut ring, receive.user_data(1)) };
        let cqe = next(&mut ring);
        let message = parse(&bufs, cqe, 8);
        assert_eq!(message.flags(), ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
        assert_eq!((message.payload(), message.payload_len()), (&b"0123"[..], told), "{flags:?}");
        assert_eq!(message.control().count(), 0, "half a control message is none");
        assert!(cqe.more());
        ring.push(Cancel::new(1u64).user_data(2)).expect("room");
        io::reap(&mut ring, 2);
    }

    // A name that is cut off: its whole length is told, and no address made of its half.
    let receive = RecvMsgMulti::new(&to, header.recv_multishot(4, 0), GROUP);
    // SAFETY: as above.
    unsafe { push(&mut ring, receive.user_data(1)) };
    from.send(b"name").expect("sent");
    let cqe = next(&mut ring);
    let len = cqe.result().expect("received") as usize;
    let buffer = bufs.bytes(cqe.buffer_id().expect("a buffer"), len);
    let message = RecvMsgOut::parse(buffer, 4, 0).expect("a message");
    assert_eq!((message.name().len(), message.name_len(), message.address()), (4, NAME, None));
    assert_eq!(message.payload(), b"name");
    ring.push(Cancel::new(1u64).user_data(2)).expect("room");
    io::reap(&mut ring, 2);
}

#[test]
fn item_35_a_buffer_without_room_for_a_header_ends_the_receive() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let _bufs = BufRing::full(&ring, GROUP, 2, 32);
    let (from, to) = udp_pair();
    let mut header = MsgHdr::default();
    // SAFETY: the socket outlives the last completion, which is reaped below; the header the submission.
    unsafe { push(&mut ring, RecvMsgMulti::new(&to, header.recv_multishot(NAME, CONTROL), GROUP)) };
    from.send(b"x").expect("sent");
    let cqe = next(&mut ring);
    assert_eq!((cqe.result(), cqe.more()), (Err(Errno::FAULT), false));
}
