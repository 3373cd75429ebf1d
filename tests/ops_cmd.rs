//! Driver commands on a real ring: those of sockets, compared with their system calls, of block devices, and of
//! `/dev/null`, which takes any.

mod common;
#[path = "common/io.rs"]
mod io;

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{has, has_setup, kernel_has, kernel_has_op, needs, skipped};
use io::{BufRing, bytes, next, nothing, of, push, reap, result, ring, tcp_pair, udp_pair};
use rawring::flags::{SetupFlags, SqeFlags};
use rawring::op::*;
use rawring::operand::{Group, SocketAddrBuf, SocketOption};
use rawring::{Errno, Ring, Setup, Sqe, Sqe128};
use rawring_sys as sys;
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, sockopt};

/// What an `ioctl(2)` that gives a number says.
fn ioctl(fd: impl AsFd, request: libc::Ioctl) -> i32 {
    let mut number = 0;
    // SAFETY: the requests used here write one number.
    let outcome = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request, &raw mut number) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    number
}

#[test]
fn a_socket_tells_what_waits_in_it() {
    if !kernel_has_op("a_socket_tells_what_waits_in_it", SocketInq::INFO) {
        return;
    }
    let mut ring = ring();
    let (mut left, right) = tcp_pair();
    for len in [0, 10, 100] {
        left.write_all(&vec![1; len]).expect("written");
        let expected = ioctl(&right, libc::FIONREAD);
        assert_eq!(result(&mut ring, SocketInq::new(&right)), Ok(expected as u32));
        assert!(expected >= len as i32);
    }
    // Nobody reads, so that something stays with the sender.
    left.set_nonblocking(true).expect("set");
    while left.write(&[1; 65536]).is_ok() {}
    // The other side may still be taking some.
    let before = ioctl(&left, libc::TIOCOUTQ);
    let waiting = result(&mut ring, SocketOutq::new(&left)).expect("a number") as i32;
    let after = ioctl(&left, libc::TIOCOUTQ);
    assert!(0 < after && (after..=before).contains(&waiting), "{before}, {waiting}, {after}");

    let (local, _other) = UnixStream::pair().expect("a pair");
    assert_eq!(result(&mut ring, SocketInq::new(&local)), Err(Errno::OPNOTSUPP));
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    assert_eq!(result(&mut ring, SocketOutq::new(&listener)), Err(Errno::INVAL));
}

#[test]
fn socket_options_are_read_as_by_getsockopt() {
    if !kernel_has_op("socket_options_are_read_as_by_getsockopt", GetSockOpt::INFO) {
        return;
    }
    let mut ring = ring();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let mut get = |option, value: &mut [u8]| result(&mut ring, GetSockOpt::new(&socket, option, value));
    for (option, expected) in [
        (SocketOption::TYPE, SocketType::DGRAM.as_raw()),
        (SocketOption::DOMAIN, u32::from(AddressFamily::INET.as_raw())),
        (SocketOption::PROTOCOL, libc::IPPROTO_UDP as u32),
        (SocketOption::SEND_BUFFER, sockopt::socket_send_buffer_size(&socket).expect("read") as u32),
        (SocketOption::RECEIVE_BUFFER, sockopt::socket_recv_buffer_size(&socket).expect("read") as u32),
        (SocketOption::BROADCAST, 0),
        (SocketOption::ACCEPT_CONNECTIONS, 0),
    ] {
        let mut value = [0xaa; 8];
        assert_eq!(get(option, &mut value), Ok(4), "{option:?}");
        assert_eq!(u32::from_ne_bytes(value[..4].try_into().expect("four")), expected, "{option:?}");
        assert_eq!(value[4..], [0xaa; 4], "{option:?}: no more than the value is written");
    }
    let mut short = [0xaa; 4];
    assert_eq!(get(SocketOption::TYPE, &mut short[..1]), Ok(1));
    assert_eq!(
        short,
        [SocketType::DGRAM.as_raw().to_ne_bytes()[0], 0xaa, 0xaa, 0xaa],
        "no more than there is room for"
    );

    let (left, _right) = tcp_pair();
    let other_level = GetSockOpt::new(&left, SocketOption::TCP_NO_DELAY, &mut short);
    assert_eq!(result(&mut ring, other_level), Err(Errno::OPNOTSUPP));
}

#[test]
fn socket_options_are_set_as_by_setsockopt() {
    if !kernel_has_op("socket_options_are_set_as_by_setsockopt", SetSockOpt::INFO) {
        return;
    }
    let mut ring = ring();
    let (socket, _peer) = tcp_pair();
    for on in [true, false] {
        let value = u32::from(on).to_ne_bytes();
        let mut set = |option| assert_eq!(result(&mut ring, SetSockOpt::new(&socket, option, &value)), Ok(0));
        [SocketOption::KEEP_ALIVE, SocketOption::REUSE_ADDRESS, SocketOption::TCP_NO_DELAY]
            .into_iter()
            .for_each(&mut set);
        assert_eq!(sockopt::socket_keepalive(&socket), Ok(on));
        assert_eq!(sockopt::socket_reuseaddr(&socket), Ok(on));
        assert_eq!(sockopt::tcp_nodelay(&socket), Ok(on), "options of all levels");
    }
    let linger = [1i32, 7].map(i32::to_ne_bytes).concat();
    assert_eq!(result(&mut ring, SetSockOpt::new(&socket, SocketOption::LINGER, &linger)), Ok(0));
    assert_eq!(sockopt::socket_linger(&socket), Ok(Some(std::time::Duration::from_secs(7))));

    let short = SetSockOpt::new(&socket, SocketOption::KEEP_ALIVE, &[1]);
    assert_eq!(result(&mut ring, short), Err(Errno::INVAL), "the length arrives");
    // SAFETY: the value of this option is one number.
    let ttl = unsafe { SocketOption::from_raw(libc::IPPROTO_IP as u32, libc::IP_TTL as u32) };
    assert_eq!(result(&mut ring, SetSockOpt::new(&socket, ttl, &9u32.to_ne_bytes())), Ok(0));
    assert_eq!(sockopt::ip_ttl(&socket), Ok(9));
}

#[test]
fn addresses_are_told_as_by_getsockname_and_getpeername() {
    if !kernel_has_op("addresses_are_told_as_by_getsockname_and_getpeername", GetSockName::INFO) {
        return;
    }
    let mut ring = ring();
    let (left, right) = tcp_pair();
    let mut address = SocketAddrBuf::default();
    assert_eq!(result(&mut ring, GetSockName::new(&left, &mut address)), Ok(0));
    assert_eq!(address.get(), Some(left.local_addr().expect("connected").into()));
    assert_eq!(result(&mut ring, GetPeerName::new(&left, &mut address)), Ok(0));
    assert_eq!(address.get(), Some(SocketAddrAny::from(right.local_addr().expect("connected"))));
    let alone = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    assert_eq!(result(&mut ring, GetPeerName::new(&alone, &mut address)), Err(Errno::NOTCONN));
}

#[test]
fn item_18_transmit_times_are_reported_again_and_again() {
    let test = "item_18_transmit_times_are_reported_again_and_again";
    if !kernel_has_op(test, SocketTxTimestamp::INFO) || !kernel_has(test, SetupFlags::CQE_MIXED) {
        return;
    }
    for mut ring in [Setup::new(8).cqe32(), Setup::new(8).cqe_mixed()].map(|setup| setup.build().expect("a ring")) {
        let (left, right) = udp_pair();
        let wanted = libc::SOF_TIMESTAMPING_TX_SOFTWARE
            | libc::SOF_TIMESTAMPING_SOFTWARE
            | libc::SOF_TIMESTAMPING_OPT_ID
            | libc::SOF_TIMESTAMPING_OPT_TSONLY;
        let value = wanted.to_ne_bytes();
        assert_eq!(result(&mut ring, SetSockOpt::new(&left, SocketOption::TIMESTAMPING, &value)), Ok(0));
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        // SAFETY: the socket outlives the last completion, which is reaped below.
        unsafe { push(&mut ring, SocketTxTimestamp::new(&left).user_data(1)) };
        ring.submit().expect("submitted");
        for key in 0..3 {
            let before = now();
            left.send(b"when?").expect("sent");
            let cqe = next(&mut ring);
            let stamp = TxTimestamp::read(&cqe).unwrap_or_else(|| panic!("a timestamp: {cqe:?}"));
            assert_eq!(
                (cqe.user_data().0, stamp.key, stamp.moment, stamp.hardware),
                (1, key, sys::SCM_TSTAMP_SND, false)
            );
            let time = u128::from(stamp.seconds) * 1_000_000_000 + u128::from(stamp.nanoseconds);
            assert!((before..=now()).contains(&time), "sent between {before} and now: {stamp:?}");
        }
        ring.push(Cancel::new(1u64).user_data(2)).expect("room");
        let cqes = reap(&mut ring, 2);
        assert_eq!((of(&cqes, 1).result(), of(&cqes, 2).result()), (Err(Errno::CANCELED), Ok(0)));
        assert_eq!(TxTimestamp::read(&of(&cqes, 1)), None, "the last one has no time");
        drop(right);
    }
    let mut narrow = ring();
    let (left, _right) = udp_pair();
    assert_eq!(result(&mut narrow, SocketTxTimestamp::new(&left)), Err(Errno::INVAL), "no room for a time");
}

fn null() -> File {
    OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null")
}

#[test]
fn any_command_goes_to_the_driver_of_the_file() {
    needs!(has(UringCmd::INFO));
    let mut ring = ring();
    let null = null();
    // SAFETY: the driver looks at nothing of a command.
    let command = |file| unsafe { UringCmd::new(file, 12345, [7; 16]) };
    let outcome = result(&mut ring, command(null.as_fd()));
    if outcome == Err(Errno::OPNOTSUPP) {
        return skipped("any_command_goes_to_the_driver_of_the_file", "/dev/null takes no commands before Linux 6.1");
    }
    assert_eq!(outcome, Ok(0));
    let (pipe, _writer) = rustix::pipe::pipe().expect("a pipe");
    assert_eq!(result(&mut ring, command(pipe.as_fd())), Err(Errno::OPNOTSUPP), "a pipe has no commands");
}

#[test]
fn a_command_that_goes_on_needs_a_group_of_buffers() {
    let test = "a_command_that_goes_on_needs_a_group_of_buffers";
    if !kernel_has_op(test, UringCmdMulti::INFO) {
        return;
    }
    let mut ring = ring();
    let _bufs = BufRing::full(&ring, Group(4), 2, 16);
    let (pipe, _writer) = rustix::pipe::pipe().expect("a pipe");
    // SAFETY: a pipe has no driver that would look at a command.
    let command = || unsafe { UringCmdMulti::new(&pipe, 1, [0; 16], Group(4)) };
    assert_eq!(result(&mut ring, command()), Err(Errno::OPNOTSUPP), "refused by the pipe, not by the ring");
    for without in [SqeFlags::BUFFER_SELECT.bits(), 0] {
        let mut entry = Sqe::from(command());
        // SAFETY: as above.
        let raw = unsafe { entry.raw_mut() };
        raw.flags &= !without;
        raw.op_flags &= if without == 0 { 0 } else { u32::MAX };
        assert_eq!(result(&mut ring, entry), Err(Errno::INVAL), "one without the other");
    }
    skipped(test, "completing again and again needs a driver with such commands");
}

/// Runs a 128-byte entry whose operation borrows nothing that ends before the test.
fn run_wide(ring: &mut Ring, entry: Sqe128<'_>) -> Result<u32, Errno> {
    // SAFETY: what the entry borrows is borrowed for longer than this call, which returns only after its completion.
    unsafe { ring.push128_unchecked(entry) }.expect("the queue has room");
    next(ring).result()
}

#[test]
fn wide_commands_go_to_the_driver_of_the_file() {
    needs!(has_setup(SetupFlags::SQE128));
    let test = "wide_commands_go_to_the_driver_of_the_file";
    let null = null();
    let mut ring = Setup::new(8).sqe128().build().expect("a ring");
    let command: [u8; 80] = bytes(80, 1).try_into().expect("80");
    // SAFETY: the driver looks at nothing of a command.
    assert_eq!(run_wide(&mut ring, unsafe { UringCmd::new(&null, 1, [0; 16]).wide(&command) }), Ok(0));

    // In a ring of wide entries a narrow one leaves no bytes of the one that had its slot before: the kernel looks at
    // both halves of commands.
    for _ in 0..8 {
        assert_eq!(result(&mut ring, Nop::new()), Ok(0));
    }
    if kernel_has_op(test, SocketInq::INFO) {
        let (_left, right) = udp_pair();
        assert_eq!(result(&mut ring, SocketInq::new(&right)), Ok(0));
    }

    if kernel_has_op(test, UringCmd128::INFO) && kernel_has(test, SetupFlags::SQE_MIXED) {
        let mut mixed = Setup::new(8).sqe_mixed().build().expect("a ring");
        // SAFETY: the driver looks at nothing of a command.
        let new = || unsafe { UringCmd128::new(&null, 1).command(&command) };
        for ring in [&mut ring, &mut mixed] {
            assert_eq!(run_wide(ring, new().into()), Ok(0));
        }
        nothing(&mut mixed);
    }
}

const LOOP_SET_FD: libc::Ioctl = 0x4c00;
const LOOP_CLR_FD: libc::Ioctl = 0x4c01;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;

/// A loop device over a file that has no name; taken apart when it is dropped.
struct LoopDevice {
    device: File,
    backing: File,
}

impl LoopDevice {
    fn new(data: &[u8]) -> Result<Self, String> {
        let told = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
        let control = File::open("/dev/loop-control").map_err(|error| format!("/dev/loop-control: {error}"))?;
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(told("finding a free loop device"));
        }
        let path = format!("/dev/loop{number}");
        let device =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| format!("{path}: {error}"))?;
        let directory = File::open(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let backing = rustix::fs::openat(&directory, ".", flags, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
        let mut backing = File::from(backing.map_err(|error| format!("a file without a name: {error}"))?);
        backing.write_all(data).expect("written");
        backing.rewind().expect("rewound");
        // SAFETY: the request takes a descriptor, of which the kernel makes one of its own.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD, backing.as_raw_fd()) } != 0 {
            return Err(told("attaching a file to a loop device"));
        }
        Ok(LoopDevice { device, backing })
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // SAFETY: the request takes no argument, and the device is ours.
        let outcome = unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_CLR_FD) };
        assert!(outcome == 0 || std::thread::panicking(), "detaching a loop device");
    }
}

#[test]
fn a_discard_takes_exactly_its_range() {
    let test = "a_discard_takes_exactly_its_range";
    if !kernel_has_op(test, BlockDiscard::INFO) {
        return;
    }
    const KIB: usize = 1024;
    let data = vec![1; 1024 * KIB];
    let disk = match LoopDevice::new(&data) {
        Ok(disk) => disk,
        Err(reason) => return skipped(test, &reason),
    };
    let mut ring = ring();
    let (offset, len) = (64 * KIB, 128 * KIB);
    let outcome = result(&mut ring, BlockDiscard::new(&disk.device, offset as u64, len as u64));
    if outcome == Err(Errno::OPNOTSUPP) {
        return skipped(test, "the file system under the loop device cannot discard");
    }
    assert_eq!(outcome, Ok(0));
    let mut expected = data.clone();
    expected[offset..offset + len].fill(0);
    for (name, file) in [("device", &disk.device), ("backing file", &disk.backing)] {
        let mut found = vec![0xaa; data.len()];
        file.read_exact_at(&mut found, 0).expect("read");
        assert!(found == expected, "{name}: zeros there, and nowhere else");
    }
    for (offset, len) in [(1, 512), (512, 1), (data.len() as u64, 4096)] {
        let outside = BlockDiscard::new(&disk.device, offset, len);
        assert_eq!(result(&mut ring, outside), Err(Errno::INVAL), "{offset} {len}");
    }
    if kernel_has_op(test, BlockZoneResetAll::INFO) {
        assert_eq!(result(&mut ring, BlockZoneResetAll::new(&disk.device)), Err(Errno::OPNOTSUPP), "it has no zones");
        skipped(test, "resetting zones needs a zoned device");
    }
}
