//! What trials are made of: a ring, things that entries are about, entries, and how they end.
//!
//! Whatever an entry names lives for ever, since a kernel may treat an entry otherwise than expected; what is started and
//! not ended goes with the trial's ring.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null;

use rawring::{Errno, RawSqe, Ring, Setup, Sqe, Wait};
use rawring_sys::*;

/// What trials need. Descriptors are closed with it; memory is leaked.
pub struct Bench {
    pub ring: Ring,
    /// Connected, with data to receive.
    socket: TcpStream,
    pub peer: TcpStream,
    /// With a connection to accept.
    listener: TcpListener,
    _waiting: TcpStream,
}

/// How an entry ended.
pub struct End {
    pub result: Result<u32, Errno>,
    pub more: bool,
}

impl End {
    pub fn is(&self, result: Result<u32, Errno>) -> bool {
        self.result == result
    }

    /// Whether a group of buffers was looked for.
    pub fn found_no_group(&self) -> bool {
        matches!(self.result, Err(Errno::NOBUFS | Errno::NOENT))
    }

    /// As [`is`](Self::is), or the result that a NOP was given: some kernels do not tell that it failed.
    pub fn is_or(&self, result: Result<u32, Errno>) -> bool {
        self.is(result) || self.is(Ok(7))
    }

    /// Whether the entry was understood, if not successful.
    pub fn known(&self) -> bool {
        !matches!(self.result, Err(Errno::INVAL | Errno::OPNOTSUPP))
    }
}

impl Bench {
    pub fn new() -> Bench {
        let ring = Setup::new(8).build().expect("a ring");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let connect = || TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
        let peer = connect();
        let socket = listener.accept().expect("a connection").0;
        let waiting = connect();
        std::io::Write::write_all(&mut &peer, b"data").expect("sent");
        Bench { ring, socket, peer, listener, _waiting: waiting }
    }

    /// Submits these entries and says how the last ended.
    pub fn run_all(&mut self, entries: &[RawSqe]) -> End {
        for (user_data, raw) in (0..).zip(entries) {
            // SAFETY: what the trials name is leaked, or static, or a descriptor. A number that no trial knows the
            // meaning of is refused by the kernel that does not know it, and is nothing but a number.
            let entry: Sqe<'static> = unsafe { Sqe::from_raw(*raw) };
            self.ring.push(entry.user_data(user_data)).expect("room");
        }
        let last = entries.len() as u64 - 1;
        loop {
            self.ring.submit_with(&Wait::new(1).timeout(std::time::Duration::from_secs(20))).expect("submitted");
            let Some(cqe) = self.ring.completions().next() else { panic!("{entries:?} does not end") };
            if cqe.user_data().0 == last {
                return End { result: cqe.result(), more: cqe.more() };
            }
        }
    }

    pub fn run(&mut self, raw: RawSqe) -> End {
        self.run_all(&[raw])
    }

    /// An entry that is understood with `ioprio`, if it is not understood with a bit that nothing means: a kernel that
    /// looks at neither knows neither.
    pub fn heeds(&mut self, raw: RawSqe, understood: impl Fn(&End) -> bool) -> bool {
        let nonsense = RawSqe { ioprio: 1 << 15, ..raw };
        understood(&self.run(raw)) && !self.run(nonsense).known()
    }

    pub fn socket(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// A receive of one byte.
    pub fn recv(&self, ioprio: u16) -> RawSqe {
        RawSqe { fd: self.socket(), addr: leak([0_u8; 16]), len: 1, ioprio, ..sqe(IORING_OP_RECV) }
    }

    /// A receive into a buffer of a group that is not there.
    pub fn recv_provided(&self, opcode: u8, ioprio: u16) -> RawSqe {
        let addr = if opcode == IORING_OP_RECVMSG { message() } else { 0 };
        RawSqe { addr, len: 0, opcode, ..provided(self.recv(ioprio)) }
    }

    /// A send of one byte.
    pub fn send(&self, opcode: u8, ioprio: u16) -> RawSqe {
        RawSqe { fd: self.socket(), addr: leak([1_u8; 16]), len: 1, ioprio, ..sqe(opcode) }
    }

    /// A send of an array of one byte.
    pub fn send_vectorized(&self, opcode: u8, ioprio: u16) -> RawSqe {
        RawSqe { addr: vector(), ..self.send(opcode, ioprio | IORING_SEND_VECTORIZED) }
    }

    pub fn accept(&self, ioprio: u16) -> RawSqe {
        RawSqe { fd: self.listener.as_raw_fd(), ioprio, ..sqe(IORING_OP_ACCEPT) }
    }

    pub fn command(&self, command: u32) -> RawSqe {
        RawSqe { fd: self.socket(), off: halves(command, 0), ..sqe(IORING_OP_URING_CMD) }
    }

    /// Whether there are commands at all: what the socket does not know, it does not support.
    pub fn takes_commands(&mut self) -> bool {
        self.run(self.command(999)).is(Err(Errno::OPNOTSUPP))
    }

    /// Registers a page as buffer 0, and gives an array of one byte in it.
    pub fn with_buffer(&mut self) -> u64 {
        let page = Box::leak(Box::new([1_u8; 4096]));
        let mut all = libc::iovec { iov_base: page.as_mut_ptr().cast(), iov_len: page.len() };
        // SAFETY: an array of one buffer, read during the call; the memory is never freed.
        unsafe { self.ring.register_raw(IORING_REGISTER_BUFFERS, (&raw mut all).cast(), 1) }.expect("registered");
        leak(libc::iovec { iov_len: 1, ..all })
    }

    /// Makes a table of one empty slot for registered files.
    pub fn with_slot(&mut self) {
        let mut slots = [-1_i32];
        // SAFETY: an array of one descriptor, read during the call.
        unsafe { self.ring.register_raw(IORING_REGISTER_FILES, slots.as_mut_ptr().cast(), 1) }.expect("registered");
    }

    /// Whether `io_uring_enter` takes this flag where it has nothing to do.
    pub fn enter(&mut self, flag: u32) -> bool {
        // SAFETY: nothing is submitted, and without something to wait for the argument is not looked at.
        let result = unsafe { io_uring_enter(self.ring.as_fd().as_raw_fd(), 0, 0, flag, null(), 0) };
        match flag {
            // The descriptor is no index of a registered ring.
            IORING_ENTER_REGISTERED_RING => result != Err(Errno::INVAL) || self.registered(),
            _ => result.is_ok(),
        }
    }

    /// Whether the ring can be entered by a registered index.
    pub fn registered(&mut self) -> bool {
        let mut place =
            io_uring_rsrc_update { offset: u32::MAX, data: self.ring.as_fd().as_raw_fd() as u64, ..Default::default() };
        // SAFETY: the argument is one update, read and written during the call.
        let result = unsafe { self.ring.register_raw(IORING_REGISTER_RING_FDS, (&raw mut place).cast(), 1) };
        // SAFETY: as in `enter`.
        result.is_ok()
            && unsafe { io_uring_enter(place.offset as i32, 0, 0, IORING_ENTER_REGISTERED_RING, null(), 0).is_ok() }
    }
}

pub fn sqe(opcode: u8) -> RawSqe {
    RawSqe { opcode, fd: -1, ..RawSqe::ZERO }
}

pub fn leak<T>(value: T) -> u64 {
    std::ptr::from_mut(Box::leak(Box::new(value))).expose_provenance() as u64
}

/// An array of one buffer of one byte.
pub fn vector() -> u64 {
    let byte = Box::leak(Box::new([1_u8; 16]));
    leak(libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 })
}

/// A message with room for names, as the multishot receive wants it, but no buffer.
pub fn message() -> u64 {
    // SAFETY: a message header is plain data, for which zeros are the empty one.
    leak(unsafe { std::mem::zeroed::<libc::msghdr>() })
}

/// A message of one byte.
pub fn full_message() -> u64 {
    // SAFETY: as in `message`.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = std::ptr::with_exposed_provenance_mut(vector() as usize);
    message.msg_iovlen = 1;
    leak(message)
}

/// The entry with a buffer from a group that is not there.
pub fn provided(raw: RawSqe) -> RawSqe {
    RawSqe { flags: raw.flags | IOSQE_BUFFER_SELECT, buf_index: 77, ..raw }
}

pub fn nop(flags: u32) -> RawSqe {
    RawSqe { op_flags: flags | IORING_NOP_INJECT_RESULT, len: 7, ..sqe(IORING_OP_NOP) }
}

pub fn timeout(flags: u32) -> RawSqe {
    RawSqe {
        addr: leak(__kernel_timespec { tv_sec: 0, tv_nsec: 1 }),
        len: 1,
        op_flags: flags,
        ..sqe(IORING_OP_TIMEOUT)
    }
}

/// A timeout whose time stands in the entry.
pub fn immediate(opcode: u8, flags: u32) -> RawSqe {
    RawSqe { addr: 1, len: 1, op_flags: flags | IORING_TIMEOUT_IMMEDIATE_ARG, ..sqe(opcode) }
}

/// A new time for a timeout that does not run.
pub fn update(flags: u32) -> RawSqe {
    let new = leak(__kernel_timespec { tv_sec: 1, tv_nsec: 0 });
    let flags = flags | IORING_TIMEOUT_UPDATE;
    let off = if flags & IORING_TIMEOUT_IMMEDIATE_ARG != 0 { 1 } else { new };
    RawSqe { addr: 0xdead, off, op_flags: flags, ..sqe(IORING_OP_TIMEOUT_REMOVE) }
}

/// A cancellation of what does not run.
pub fn cancel(flags: u32, fd: i32) -> RawSqe {
    RawSqe { addr: 0xdead, fd, op_flags: flags, ..sqe(IORING_OP_ASYNC_CANCEL) }
}

/// The events to wait for, in the field that the kernel reads by halves.
pub fn readable() -> u32 {
    let events = u32::from(libc::POLLIN as u16);
    if cfg!(target_endian = "little") { events } else { events.rotate_left(16) }
}

/// What stands in the first half of a field of 64 bits, and in the second.
pub fn halves(first: u32, second: u32) -> u64 {
    let (first, second) = (u64::from(first), u64::from(second));
    if cfg!(target_endian = "little") { first | second << 32 } else { first << 32 | second }
}

pub fn poll(fd: i32, flags: u32) -> RawSqe {
    RawSqe { fd, op_flags: readable(), len: flags, ..sqe(IORING_OP_POLL_ADD) }
}

/// A change of a poll that does not run.
pub fn update_poll(flags: u32) -> RawSqe {
    let events = if flags & IORING_POLL_UPDATE_EVENTS != 0 { readable() } else { 0 };
    RawSqe { addr: 0xdead, len: flags, op_flags: events, ..sqe(IORING_OP_POLL_REMOVE) }
}

pub fn path() -> u64 {
    c"/dev/null".as_ptr().expose_provenance() as u64
}

/// A command on the option `SO_REUSEADDR`, of four bytes.
pub fn option(command: RawSqe) -> RawSqe {
    let addr = halves(libc::SOL_SOCKET as u32, libc::SO_REUSEADDR as u32);
    RawSqe { addr, file_index: 4, addr3: leak([0_u8; 4]), ..command }
}

/// A command that writes an address.
pub fn address(command: RawSqe, peer: u32) -> RawSqe {
    RawSqe { addr: leak([0_u8; 128]), addr3: leak(128_u32), file_index: peer, ..command }
}

/// A command to the disk of the guest, which is opened for reading only, so that it changes nothing.
pub fn disk(command: u32) -> RawSqe {
    let disk = std::env::var("RAWRING_DISK").expect("set by tests/kernels/init");
    let disk = std::fs::File::open(disk).expect("the guest's disk");
    RawSqe {
        fd: std::os::fd::IntoRawFd::into_raw_fd(disk),
        off: halves(command, 0),
        addr3: 4096,
        ..sqe(IORING_OP_URING_CMD)
    }
}

pub const NOT_FOUND: Result<u32, Errno> = Err(Errno::NOENT);
pub const NO_SLOT: Result<u32, Errno> = Err(Errno::NXIO);
pub const EXPIRED: Result<u32, Errno> = Err(Errno::TIME);
pub const NOT_REGISTERED: Result<u32, Errno> = Err(Errno::FAULT);
pub const NO_FILE: Result<u32, Errno> = Err(Errno::BADF);
