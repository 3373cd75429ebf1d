//! Filters of entries (item 39) on a real ring: what they see, what they deny, and whom they hold for.

mod common;
#[path = "common/io.rs"]
mod io;

use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};

use common::{in_own_process, newer, skipped};
use io::{result, ring};
use rawring::op::{Connect, Nop, Opcode, OpenAt, OpenAt2, Socket};
use rawring::operand::OpenHow;
use rawring::register::{BadProgram, Filter, FilterError, Program, Test, Verdict};
use rawring::{Errno, Ring, Version, sys};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType};

/// The release that brought filters.
const SINCE: Version = Version::new(7, 0);

fn of(opcode: u8) -> Filter {
    Filter::new(Opcode(opcode))
}

fn denied<T>(result: Result<T, Errno>) -> bool {
    match result {
        Ok(_) => false,
        Err(Errno::ACCESS) => true,
        Err(errno) => panic!("{errno} is another error"),
    }
}

/// Makes a socket and closes it.
fn socket(ring: &mut Ring, family: AddressFamily, kind: SocketType) -> Result<(), Errno> {
    let fd = result(ring, Socket::new(family, (kind, SocketFlags::CLOEXEC), None))?;
    // SAFETY: the operation has just made it, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    Ok(())
}

/// Opens this file and closes it.
fn open(ring: &mut Ring, flags: OFlags) -> Result<(), Errno> {
    let path = std::ffi::CString::new(file!()).expect("no zeros");
    let fd = match result(ring, OpenAt::new(CWD, &path, flags | OFlags::CLOEXEC, Mode::empty())) {
        // In a guest there are no sources.
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    // SAFETY: as above.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    Ok(())
}

#[test]
fn item_39_rules_decide_by_what_an_entry_shows() {
    const TEST: &str = "item_39_rules_decide_by_what_an_entry_shows";
    if !newer(TEST, SINCE) {
        let error = ring().register_filter(&of(sys::IORING_OP_NOP)).expect_err("an older kernel");
        assert_eq!(error, FilterError::Refused(Errno::INVAL));
        assert!(error.to_string().contains("Linux 7.0"), "{error}");
        return;
    }
    let mut ring = ring();
    let inet6 = Test::socket_family(libc::AF_INET6 as u32);
    let stream = Test::socket_type(libc::SOCK_STREAM as u32);
    let sockets = of(sys::IORING_OP_SOCKET).rule(&[inet6, stream], Verdict::Allow).rule(&[inet6], Verdict::Deny);
    ring.register_filter(&sockets.otherwise(Verdict::Allow).strict()).expect("registered");
    assert!(!denied(socket(&mut ring, AddressFamily::INET6, SocketType::STREAM)));
    assert!(denied(socket(&mut ring, AddressFamily::INET6, SocketType::DGRAM)));
    assert!(!denied(socket(&mut ring, AddressFamily::INET, SocketType::DGRAM)));
    let program = Program::new(vec![libc::sock_filter { code: libc::BPF_RET as u16, jt: 0, jf: 0, k: 1 }]);
    let strict = Filter::from_program(Opcode(sys::IORING_OP_SOCKET), program.expect("a program"), 8).strict();
    assert_eq!(ring.register_filter(&strict), Err(FilterError::Size { expects: 8, has: 12 }));
    // One more for the same operation: all of them have to allow it.
    let no_streams = of(sys::IORING_OP_SOCKET).rule(&[stream], Verdict::Deny).otherwise(Verdict::Allow);
    ring.register_filter(&no_streams).expect("registered");
    assert!(denied(socket(&mut ring, AddressFamily::INET6, SocketType::STREAM)));
    assert!(denied(socket(&mut ring, AddressFamily::INET6, SocketType::DGRAM)));
    assert!(!denied(socket(&mut ring, AddressFamily::INET, SocketType::DGRAM)));
    // Files to read only, with fields of 64 bits.
    let writes = OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC | OFlags::CREATE;
    let readers = of(sys::IORING_OP_OPENAT).rule(&[Test::open_flags_any(writes.bits().into())], Verdict::Deny);
    ring.register_filter(&readers.otherwise(Verdict::Allow)).expect("registered");
    assert!(!denied(open(&mut ring, OFlags::RDONLY)) && denied(open(&mut ring, OFlags::RDWR)));
    let beneath = Test::open_resolve(ResolveFlags::BENEATH.bits(), ResolveFlags::BENEATH.bits());
    ring.register_filter(&of(sys::IORING_OP_OPENAT2).rule(&[beneath], Verdict::Allow)).expect("registered");
    for (resolve, refused) in [(ResolveFlags::empty(), true), (ResolveFlags::BENEATH, false)] {
        let how = OpenHow::new(OFlags::RDONLY, Mode::empty(), resolve);
        let opened = result(&mut ring, OpenAt2::new(CWD, c"there is no such file", &how));
        assert_eq!(opened, Err(if refused { Errno::ACCESS } else { Errno::NOENT }));
    }
    // What every entry shows.
    let marked = of(sys::IORING_OP_NOP).rule(&[Test::user_data(0xff, 7)], Verdict::Deny).otherwise(Verdict::Allow);
    ring.register_filter(&marked).expect("registered");
    assert!(
        denied(result(&mut ring, Nop::new().user_data(0x107))) && !denied(result(&mut ring, Nop::new().user_data(8)))
    );
}

#[test]
fn item_39_addresses_are_seen_in_network_order() {
    const TEST: &str = "item_39_addresses_are_seen_in_network_order";
    if !newer(TEST, SINCE) {
        return;
    }
    let [here, there] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback"));
    let [here, there] = [here, there].map(|listener| (listener.local_addr().expect("bound"), listener));
    let mut ring = ring();
    let filter = of(sys::IORING_OP_CONNECT).rule(
        &[
            Test::connect_family(libc::AF_INET as u32),
            Test::connect_port(here.0.port()),
            Test::connect_v4([127, 0, 0, 0].into(), 8),
        ],
        Verdict::Allow,
    );
    match ring.register_filter(&filter) {
        Err(error @ FilterError::Size { has: 0, .. }) => {
            assert!(error.to_string().contains("this kernel shows 0"), "{error}");
            return skipped(TEST, "needs what filters see of CONNECT (Linux 7.2)");
        }
        registered => registered.expect("registered"),
    }
    for (address, refused) in [(here.0, false), (there.0, true)] {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let address = SocketAddrAny::from(address);
        assert_eq!(denied(result(&mut ring, Connect::new(&socket, &address))), refused);
    }
}

#[test]
fn item_39_the_rest_can_be_denied() {
    const TEST: &str = "item_39_the_rest_can_be_denied";
    if !newer(TEST, SINCE) {
        return;
    }
    let mut ring = ring();
    ring.register_filter(&of(sys::IORING_OP_NOP).otherwise(Verdict::Allow).deny_rest()).expect("registered");
    assert!(!denied(result(&mut ring, Nop::new())));
    assert!(
        denied(socket(&mut ring, AddressFamily::INET, SocketType::STREAM)) && denied(open(&mut ring, OFlags::RDONLY))
    );
    // Another ring is not concerned.
    assert!(!denied(socket(&mut self::ring(), AddressFamily::INET, SocketType::STREAM)));
}

#[test]
fn item_39_programs_are_run_and_wrong_ones_refused_here() {
    const TEST: &str = "item_39_programs_are_run_and_wrong_ones_refused_here";
    let op = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let unended = Program::new(vec![op(libc::BPF_LD | libc::BPF_IMM, 1)]);
    assert_eq!(unended.err(), Some(BadProgram::End));
    let tests = [Test::connect_port(1); 200];
    let error = ring().register_filter(&of(sys::IORING_OP_NOP).rule(&tests, Verdict::Allow)).expect_err("too long");
    assert_eq!(error, FilterError::Program(BadProgram::TooLong));
    if !newer(TEST, SINCE) {
        return;
    }
    // Counts nothing but the lowest byte of what the entry is called: 3 and above return 0.
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    let program = Program::new(vec![
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, low),
        op(libc::BPF_ST, 3),
        op(libc::BPF_LDX | libc::BPF_MEM, 3),
        libc::sock_filter { jt: 1, ..op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 3) },
        op(libc::BPF_RET | libc::BPF_K, 1),
        op(libc::BPF_RET | libc::BPF_K, 0),
    ]);
    let mut ring = ring();
    let filter = Filter::from_program(Opcode(sys::IORING_OP_NOP), program.expect("a program"), 0);
    ring.register_filter(&filter).expect("registered");
    for (user_data, refused) in [(0, false), (2, false), (3, true), (1000, true)] {
        assert_eq!(denied(result(&mut ring, Nop::new().user_data(user_data))), refused, "{user_data}");
    }
    let error = ring.register_filter(&of(u8::MAX)).expect_err("no operation");
    assert_eq!(error, FilterError::Refused(Errno::INVAL));
}

#[test]
fn item_39_filters_of_a_thread_are_inherited() {
    const TEST: &str = "item_39_filters_of_a_thread_are_inherited";
    if !newer(TEST, SINCE) {
        return;
    }
    in_own_process(TEST, || {
        let mut before = ring();
        std::thread::scope(|scope| {
            let filtered = scope.spawn(|| {
                of(sys::IORING_OP_NOP).register_for_thread().expect("root may");
                assert!(denied(result(&mut ring(), Nop::new())), "a ring that is made now");
                let child = std::thread::spawn(|| denied(result(&mut ring(), Nop::new())));
                assert!(child.join().expect("no panic"), "and one of a thread that is started now");
            });
            filtered.join().expect("no panic");
        });
        assert!(!denied(result(&mut before, Nop::new())) && !denied(result(&mut ring(), Nop::new())));
        std::thread::spawn(|| {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
            let error = of(sys::IORING_OP_NOP).register_for_thread().expect_err("no privileges");
            assert_eq!(error, FilterError::Refused(Errno::ACCESS));
            assert!(error.to_string().contains("no_new_privs"), "{error}");
            rustix::thread::set_no_new_privs(true).expect("everybody may");
            of(sys::IORING_OP_NOP).register_for_thread().expect("without new privileges, everybody may");
        })
        .join()
        .expect("no panic");
    });
}
