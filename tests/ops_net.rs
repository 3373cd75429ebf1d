//! Sockets on a real ring: made, bound, connected, accepted, written to and read from, shut down.

mod common;
#[path = "common/io.rs"]
mod io;

use std::io::{IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use common::{has, kernel_has_op, needs, newer, since};
use io::{
    bytes, next, nothing, of, push, reap, register_buffer, register_slots, result, ring, run, tcp_pair, udp_pair,
};
use rawring::flags::AcceptFlags;
use rawring::op::*;
use rawring::operand::{Buf, DirectSlot, Fixed, FixedBuf, FixedBufMut, RecvSendOptions, SocketAddrBuf};
use rawring::{Cqe, Errno, Ring, Sqe, Version};
use rustix::fs::OFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, ipproto, sockopt};

/// The descriptor that an operation made.
fn made(cqe: Cqe) -> OwnedFd {
    let fd = cqe.result().expect("a descriptor");
    // SAFETY: the operation has just made it, and its completion is given to nobody else.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn loopback() -> SocketAddrAny {
    SocketAddr::from(([127, 0, 0, 1], 0)).into()
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd).expect("flags").contains(OFlags::NONBLOCK)
}

fn is_cloexec(fd: impl AsFd) -> bool {
    rustix::io::fcntl_getfd(fd).expect("flags").contains(rustix::io::FdFlags::CLOEXEC)
}

#[test]
fn a_socket_is_of_the_kind_that_was_asked_for() {
    needs!(has(Socket::INFO));
    let mut ring = ring();
    let both = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    for (kind, flags) in [(SocketType::STREAM, SocketFlags::empty()), (SocketType::DGRAM, both)] {
        let socket = made(run(&mut ring, Socket::new(AddressFamily::INET6, (kind, flags), None)));
        assert_eq!(sockopt::socket_type(&socket), Ok(kind));
        assert_eq!(sockopt::socket_domain(&socket), Ok(AddressFamily::INET6));
        assert_eq!(is_cloexec(&socket), flags.contains(SocketFlags::CLOEXEC));
        assert_eq!(is_nonblocking(&socket), flags.contains(SocketFlags::NONBLOCK));
    }
    let udp_stream = Socket::new(AddressFamily::INET, SocketType::STREAM, Some(ipproto::UDP));
    assert_eq!(result(&mut ring, udp_stream), Err(Errno::PROTONOSUPPORT), "the protocol arrives");
}

#[test]
fn item_14_a_socket_can_be_made_in_a_slot() {
    needs!(has(SocketDirect::INFO));
    let mut ring = ring();
    register_slots(&ring, 4);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = SocketAddrAny::from(listener.local_addr().expect("bound"));
    let new = |slot| SocketDirect::new(AddressFamily::INET, SocketType::STREAM, None, slot);
    assert_eq!(result(&mut ring, new(DirectSlot::at(2))), Ok(0));
    assert_eq!(result(&mut ring, Connect::new(Fixed(2), &address)), Ok(0), "slot 2 is where it is");
    let mut peer = listener.accept().expect("a connection").0;
    assert_eq!(result(&mut ring, Send::new(Fixed(2), "direct")), Ok(6));
    let mut received = [0; 6];
    peer.read_exact(&mut received).expect("received");
    assert_eq!(&received, b"direct");

    // Any free one; the kernel goes on from where it was last.
    let mut slots = [(); 3].map(|()| result(&mut ring, new(DirectSlot::ALLOC)).expect("a slot"));
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 3], "slot 2 is taken");
    assert_eq!(result(&mut ring, new(DirectSlot::ALLOC)), Err(Errno::NFILE));
    assert_eq!(result(&mut ring, new(DirectSlot::at(4))), Err(Errno::INVAL), "the table has four");
    let kind = (SocketType::STREAM, SocketFlags::CLOEXEC);
    let cloexec = SocketDirect::new(AddressFamily::INET, kind, None, DirectSlot::at(0));
    assert_eq!(result(&mut ring, cloexec), Err(Errno::INVAL));
}

#[test]
fn a_connection_is_made_by_the_ring_alone() {
    if !kernel_has_op("a_connection_is_made_by_the_ring_alone", Listen::INFO) {
        return;
    }
    let mut ring = ring();
    let stream = || Socket::new(AddressFamily::INET, (SocketType::STREAM, SocketFlags::CLOEXEC), None);
    let (server, client) = (made(run(&mut ring, stream())), made(run(&mut ring, stream())));
    let any = loopback();
    assert_eq!(result(&mut ring, Bind::new(&server, &any)), Ok(0));
    let address = rustix::net::getsockname(&server).expect("bound");
    assert_ne!(SocketAddr::try_from(address.clone()).expect("an internet address").port(), 0);
    assert_eq!(result(&mut ring, Bind::new(&server, &any)), Err(Errno::INVAL), "bound already, as bind(2) has it");
    assert_eq!(result(&mut ring, Connect::new(&client, &address)), Err(Errno::CONNREFUSED), "nobody listens yet");
    assert_eq!(result(&mut ring, Listen::new(&server, 4)), Ok(0));
    assert_eq!(sockopt::socket_acceptconn(&server), Ok(true));

    let mut peer = SocketAddrBuf::default();
    // SAFETY: sockets and addresses outlive both completions, which are reaped below.
    unsafe {
        push(&mut ring, Accept::new(&server).peer(&mut peer).user_data(1));
        push(&mut ring, Connect::new(&client, &address).user_data(2));
    }
    let cqes = reap(&mut ring, 2);
    assert_eq!(of(&cqes, 2).result(), Ok(0));
    let connection = made(of(&cqes, 1));
    let ours = rustix::net::getsockname(&client).expect("bound by connecting");
    assert_eq!(peer.get().as_ref(), Some(&ours), "the peer is the client");
    assert_eq!(peer.get(), rustix::net::getpeername(&connection).expect("connected"), "as getpeername(2) says");
    assert_eq!(result(&mut ring, Connect::new(&client, &address)), Err(Errno::ISCONN));
}

#[test]
fn item_15_an_address_may_change_once_it_was_submitted() {
    needs!(has(Socket::INFO));
    let mut ring = ring();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let client = made(run(&mut ring, Socket::new(AddressFamily::INET, SocketType::STREAM, None)));
    let mut address = SocketAddrAny::from(listener.local_addr().expect("bound"));
    // A worker takes it up later, so that submitting does not connect.
    // SAFETY: the address is needed until submitted; the memory is there until the completion all the same.
    unsafe { push(&mut ring, Connect::new(&client, &address).force_async()) };
    ring.submit().expect("submitted");
    address = SocketAddr::from(([127, 0, 0, 1], 1)).into();
    assert_eq!(next(&mut ring).result(), Ok(0));
    assert_ne!(rustix::net::getpeername(&client).expect("connected"), Some(address));
}

#[test]
fn accept_has_the_flags_of_accept4() {
    let mut ring = ring();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    for flags in [SocketFlags::empty(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK] {
        let _client = TcpStream::connect(address).expect("a connection");
        let connection = made(run(&mut ring, Accept::new(&listener).socket_flags(flags)));
        assert_eq!(is_cloexec(&connection), flags.contains(SocketFlags::CLOEXEC));
        assert_eq!(is_nonblocking(&connection), flags.contains(SocketFlags::NONBLOCK));
    }
    if newer("accept_has_the_flags_of_accept4", Version::new(6, 10)) {
        assert_eq!(result(&mut ring, Accept::new(&listener).accept_flags(AcceptFlags::DONTWAIT)), Err(Errno::AGAIN));
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    assert_eq!(result(&mut ring, Accept::new(&socket)), Err(Errno::OPNOTSUPP));
}

#[test]
fn item_14_connections_are_accepted_into_slots() {
    let mut ring = ring();
    register_slots(&ring, 3);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let connect = || TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
    let mut peer = SocketAddrBuf::default();
    let mut one = connect();
    assert_eq!(result(&mut ring, AcceptDirect::new(&listener, Fixed(1)).peer(&mut peer)), Ok(0));
    assert_eq!(peer.get(), Some(one.local_addr().expect("connected").into()));
    one.write_all(b"one").expect("written");
    let mut buffer = [0; 8];
    assert_eq!(result(&mut ring, Recv::new(Fixed(1), &mut buffer)), Ok(3));
    assert_eq!(&buffer[..3], b"one");
    needs!(since(Version::new(5, 19)));
    let mut two = connect();
    let slot = result(&mut ring, AcceptDirect::new(&listener, DirectSlot::ALLOC)).expect("a slot");
    assert!(slot == 0 || slot == 2, "a free one: {slot}");
    two.write_all(b"two").expect("written");
    assert_eq!(result(&mut ring, Recv::new(Fixed(slot), &mut buffer)), Ok(3));
    assert_eq!(&buffer[..3], b"two");
}

/// The completions with `user_data`, in order, until one says that it is the last.
fn until_last(ring: &mut Ring) -> Vec<Cqe> {
    let mut cqes = reap(ring, 1);
    while cqes.last().is_some_and(|cqe| cqe.more()) {
        cqes.extend(reap(ring, 1));
    }
    cqes
}

#[test]
fn item_18_accepting_goes_on_until_it_fails() {
    needs!(has(AcceptMulti::INFO));
    let mut ring = ring();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    // SAFETY: the listener outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, AcceptMulti::new(&listener).socket_flags(SocketFlags::CLOEXEC)) };
    for _ in 0..3 {
        let client = TcpStream::connect(address).expect("a connection");
        let cqe = next(&mut ring);
        assert!(cqe.more());
        let connection = made(cqe);
        assert!(is_cloexec(&connection));
        let peer = rustix::net::getpeername(&connection).expect("connected");
        assert_eq!(peer, Some(client.local_addr().expect("connected").into()));
    }
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).expect("shut down");
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Err(Errno::INVAL), false));
}

#[test]
fn item_18_accepting_into_slots_goes_on_until_the_table_is_full() {
    needs!(has(AcceptMultiDirect::INFO));
    let mut ring = ring();
    register_slots(&ring, 2);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let mut clients = [(); 3].map(|()| TcpStream::connect(address).expect("a connection"));
    // SAFETY: the listener outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, AcceptMultiDirect::new(&listener)) };
    let cqes = until_last(&mut ring);
    let results: Vec<_> = cqes.iter().map(|cqe| (cqe.result(), cqe.more())).collect();
    assert_eq!(results, [(Ok(0), true), (Ok(1), true), (Err(Errno::NFILE), false)]);
    for (slot, client) in clients.iter_mut().take(2).enumerate() {
        assert_eq!(result(&mut ring, Send::new(Fixed(slot as u32), "slot")), Ok(4));
        client.read_exact(&mut [0; 4]).expect("received");
    }

    // A slot of one's own choice would be overwritten by each connection: refused.
    let mut entry = Sqe::from(AcceptMultiDirect::new(&listener));
    // SAFETY: the field is a number that names nothing.
    unsafe { entry.raw_mut() }.file_index = 1;
    assert_eq!(result(&mut ring, entry), Err(Errno::INVAL));
}

#[test]
fn a_connect_waits_on_a_socket_that_would_not() {
    needs!(has(Socket::INFO));
    let mut ring = ring();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let kind = (SocketType::STREAM, SocketFlags::NONBLOCK);
    let client = made(run(&mut ring, Socket::new(AddressFamily::INET, kind, None)));
    let address = SocketAddrAny::from(listener.local_addr().expect("bound"));
    assert_eq!(result(&mut ring, Connect::new(&client, &address)), Ok(0), "and not EINPROGRESS");
}

#[test]
fn local_sockets_are_bound_and_connected_by_path() {
    if !kernel_has_op("local_sockets_are_bound_and_connected_by_path", Bind::INFO) {
        return;
    }
    let mut ring = ring();
    let name = format!("rawring-test-{}", std::process::id());
    let address = rustix::net::SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("a name").into();
    let stream = || Socket::new(AddressFamily::UNIX, SocketType::STREAM, None);
    let (server, client) = (made(run(&mut ring, stream())), made(run(&mut ring, stream())));
    assert_eq!(result(&mut ring, Bind::new(&server, &address)), Ok(0));
    assert_eq!(result(&mut ring, Listen::new(&server, 1)), Ok(0));
    assert_eq!(result(&mut ring, Connect::new(&client, &address)), Ok(0));
    let mut connection = UnixListener::from(server).accept().expect("a connection").0;
    connection.write_all(b"x").expect("written");
    assert_eq!(result(&mut ring, Recv::new(&client, &mut [0; 4])), Ok(1));
}

#[test]
fn shutting_down_ends_the_directions_asked_for() {
    use rustix::net::Shutdown as How;
    let mut ring = ring();
    let (mut left, mut right) = UnixStream::pair().expect("a pair");
    assert_eq!(result(&mut ring, Shutdown::new(&left, How::Write)), Ok(0));
    assert_eq!(right.read(&mut [0; 4]).expect("read"), 0, "the other end sees the end");
    assert_eq!(result(&mut ring, Send::new(&left, "x")), Err(Errno::PIPE), "and no signal ends the process");
    right.write_all(b"back").expect("the other direction is open");
    left.read_exact(&mut [0; 4]).expect("read");
    assert_eq!(result(&mut ring, Shutdown::new(&left, How::Read)), Ok(0));
    assert_eq!(left.read(&mut [0; 4]).expect("read"), 0);
    let (left, mut right) = UnixStream::pair().expect("a pair");
    assert_eq!(result(&mut ring, Shutdown::new(&left, How::Both)), Ok(0));
    assert_eq!(right.read(&mut [0; 4]).expect("read"), 0);
    assert!(right.write_all(b"x").is_err());
}

#[test]
fn bytes_are_sent_and_received() {
    let mut ring = ring();
    let (left, right) = tcp_pair();
    let data = bytes(3000, 1);
    let mut buffer = vec![0xaa; 4000];
    // SAFETY: sockets, data and buffer outlive both completions, which are reaped below.
    unsafe {
        push(&mut ring, Recv::new(&right, &mut buffer).user_data(1));
        push(&mut ring, Send::new(&left, &data).user_data(2));
    }
    let cqes = reap(&mut ring, 2);
    assert_eq!((of(&cqes, 1).result(), of(&cqes, 2).result()), (Ok(3000), Ok(3000)));
    assert_eq!(buffer[..3000], data);
    assert!(buffer[3000..].iter().all(|byte| *byte == 0xaa), "what was not received was not touched");
    drop(left);
    assert_eq!(result(&mut ring, Recv::new(&right, &mut buffer)), Ok(0), "the end");
}

#[test]
fn flags_of_receives_do_what_recv_says() {
    let mut ring = ring();
    let (mut left, right) = tcp_pair();
    let mut buffer = [0; 6];
    left.write_all(b"abc").expect("written");
    for _ in 0..2 {
        let peek = Recv::new(&right, &mut buffer).msg_flags(RecvFlags::PEEK);
        assert_eq!(result(&mut ring, peek), Ok(3), "peeking leaves it there");
    }
    // SAFETY: socket and buffer outlive the completion, which is reaped below.
    unsafe { push(&mut ring, Recv::new(&right, &mut buffer).msg_flags(RecvFlags::WAITALL)) };
    nothing(&mut ring);
    left.write_all(b"def").expect("written");
    assert_eq!(next(&mut ring).result(), Ok(6), "it waited for all");
    assert_eq!(&buffer, b"abcdef");
    let dont_wait = Recv::new(&right, &mut buffer).msg_flags(RecvFlags::DONTWAIT);
    assert_eq!(result(&mut ring, dont_wait), Err(Errno::AGAIN));
}

#[test]
fn a_truncated_datagram_tells_its_length_when_asked() {
    let mut ring = ring();
    let (left, right) = udp_pair();
    let mut buffer = [0xaa; 8];
    for (flags, expected) in [(RecvFlags::empty(), 4), (RecvFlags::TRUNC, 10)] {
        left.send(b"0123456789").expect("sent");
        let recv = Recv::new(&right, &mut buffer[..4]).msg_flags(flags);
        assert_eq!(result(&mut ring, recv), Ok(expected), "{flags:?}");
        assert_eq!(&buffer, b"0123\xaa\xaa\xaa\xaa", "no more than the buffer has is written");
    }
}

#[test]
fn an_address_makes_a_send_a_sendto() {
    let mut ring = ring();
    let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback"));
    let address = SocketAddrAny::from(to.local_addr().expect("bound"));
    assert_eq!(result(&mut ring, Send::new(&from, "x")), Err(Errno::DESTADDRREQ));
    needs!(since(Version::new(6, 1)));
    assert_eq!(result(&mut ring, Send::new(&from, "hello").to(&address)), Ok(5));
    let mut buffer = [0; 8];
    let (len, sender) = to.recv_from(&mut buffer).expect("received");
    assert_eq!((&buffer[..len], sender), (&b"hello"[..], from.local_addr().expect("bound")));
}

#[test]
fn item_16_lengths_that_the_kernel_cannot_count_are_refused() {
    // Sends and receives count in 31 bits. Longer ones are refused; reads and writes are cut instead.
    let mut ring = ring();
    let (_left, right) = UnixStream::pair().expect("a pair");
    // Some kernels before 6.19 cut these as well (seen in 5.15, 6.1, 6.16, 6.17 and the 6.18 of Debian).
    let cut = common::probe().level() < Version::new(6, 19);
    for (len, expected) in [(0x8000_0000_usize, Errno::INVAL), (0x7fff_ffff, Errno::FAULT)] {
        // SAFETY: nothing is mapped at address 8, so the kernel reads nothing.
        let data = unsafe { Buf::from_raw(std::ptr::without_provenance(8), len) };
        let errno = result(&mut ring, Send::new(&right, data));
        assert!(errno == Err(expected) || cut && errno == Err(Errno::FAULT), "{len:#x}: {errno:?}");
    }
}

#[test]
fn several_buffers_are_sent_as_one() {
    if !kernel_has_op("several_buffers_are_sent_as_one", SendVectorized::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = udp_pair();
    let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"datagram")];
    assert_eq!(result(&mut ring, SendVectorized::new(&left, &parts)), Ok(12));
    let mut buffer = [0; 32];
    assert_eq!(right.recv(&mut buffer).expect("received"), 12);
    assert_eq!(&buffer[..12], b"one datagram");
    let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback"));
    let address = to.local_addr().expect("bound").into();
    assert_eq!(result(&mut ring, SendVectorized::new(&from, &parts).to(&address)), Ok(12));
    assert_eq!(to.recv(&mut buffer).expect("received"), 12);
}

#[test]
fn waiting_first_saves_the_first_attempt_and_changes_nothing_else() {
    needs!(since(Version::new(5, 19)));
    let mut ring = ring();
    let (left, right) = UnixStream::pair().expect("a pair");
    let mut buffer = [0; 8];
    let first = RecvSendOptions::POLL_FIRST;
    assert_eq!(result(&mut ring, Send::new(&left, "first").options(first).msg_flags(SendFlags::MORE)), Ok(5));
    assert_eq!(result(&mut ring, Recv::new(&right, &mut buffer).options(first)), Ok(5));
    assert_eq!(&buffer[..5], b"first");
    // What only a zero-copy send can do is refused elsewhere.
    let report = Send::new(&left, "x").options(RecvSendOptions::REPORT_USAGE);
    assert_eq!(result(&mut ring, report), Err(Errno::INVAL));
}

#[test]
fn registered_buffers_are_sent_from_and_received_into() {
    if !kernel_has_op("registered_buffers_are_sent_from_and_received_into", SendFixed::INFO) {
        return;
    }
    let mut ring = ring();
    let memory = register_buffer(&ring, 8192);
    let (left, right) = tcp_pair();
    let data = bytes(4096, 2);
    let (out, back) = memory.split_at_mut(4096);
    out.copy_from_slice(&data);
    assert_eq!(result(&mut ring, SendFixed::new(&left, FixedBuf::new(&*out, 0))), Ok(4096));
    let recv = RecvFixed::new(&right, FixedBufMut::new(&mut *back, 0)).msg_flags(RecvFlags::WAITALL);
    assert_eq!(result(&mut ring, recv), Ok(4096));
    assert_eq!(back, data);
    let outside = vec![0; 16];
    assert_eq!(result(&mut ring, SendFixed::new(&left, FixedBuf::new(&outside, 0))), Err(Errno::FAULT));
}
