//! Running operations in tests: push, wait, reap; sockets that are connected; buffers that are provided and registered.
//!
//! Tests that use this submit borrowed memory through the unsafe door. What keeps that sound is here: a wait that lasts
//! too long ends the process, since unwinding would free what the kernel may still write to, and memory that is
//! provided or registered is never freed.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::ffi::c_void;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use rawring::operand::Group;
use rawring::{Cqe, Errno, Ring, Sqe, Wait, WaitEnd};
use rawring_sys as sys;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// How long any test waits for a completion that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits to see that nothing comes.
const QUIET: Duration = Duration::from_millis(30);

pub fn ring() -> Ring {
    Ring::new(32).expect("a ring")
}

/// Pushes an entry that borrows.
///
/// # Safety
///
/// As for [`Ring::push_unchecked`].
pub unsafe fn push<'a>(ring: &mut Ring, entry: impl Into<Sqe<'a>>) {
    // SAFETY: the caller's promise.
    unsafe { ring.push_unchecked(entry) }.expect("the queue has room");
}

/// Submits what was pushed and waits for the next `count` completions.
pub fn reap(ring: &mut Ring, count: usize) -> Vec<Cqe> {
    let mut found = Vec::new();
    while found.len() < count {
        let outcome = ring.submit_with(&Wait::new(1).timeout(PATIENCE)).expect("submitting works");
        found.extend(ring.completions().take(count - found.len()));
        if outcome.wait == WaitEnd::TimedOut {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            let line = format!("{test}: waited too long for a completion; so far: {found:?}\n");
            // Past the harness, which keeps to itself what a test printed that aborts.
            std::io::stderr().write_all(line.as_bytes()).expect("standard error");
            std::process::abort();
        }
    }
    found
}

/// Submits what was pushed and waits for the next completion.
pub fn next(ring: &mut Ring) -> Cqe {
    reap(ring, 1)[0]
}

/// Submits what was pushed and asserts that nothing completes for a while.
pub fn nothing(ring: &mut Ring) {
    let outcome = ring.submit_with(&Wait::new(1).timeout(QUIET)).expect("submitting works");
    let found: Vec<_> = ring.completions().collect();
    assert!(found.is_empty(), "nothing should complete: {found:?} ({:?})", outcome.wait);
}

/// Runs one operation that has one completion, on a ring where nothing else is in flight.
pub fn run<'a>(ring: &mut Ring, entry: impl Into<Sqe<'a>>) -> Cqe {
    // SAFETY: what the entry borrows is borrowed for longer than this call, which returns (or unwinds) only after the
    // last completion, and aborts the process if that does not come.
    unsafe { push(ring, entry) };
    let cqe = next(ring);
    if cqe.more() {
        eprintln!("an operation of one completion has more: {cqe:?}");
        std::process::abort();
    }
    cqe
}

/// As [`run`]: what the operation returned.
pub fn result<'a>(ring: &mut Ring, entry: impl Into<Sqe<'a>>) -> Result<u32, Errno> {
    run(ring, entry).result()
}

/// The completion of the operation with this `user_data`.
#[track_caller]
pub fn of(cqes: &[Cqe], user_data: u64) -> Cqe {
    *cqes.iter().find(|cqe| cqe.user_data().0 == user_data).unwrap_or_else(|| panic!("no {user_data} in {cqes:?}"))
}

pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
    (client, listener.accept().expect("a connection").0)
}

/// Two sockets of which the first is connected to the second.
pub fn udp_pair() -> (UdpSocket, UdpSocket) {
    let [left, right] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback"));
    left.connect(right.local_addr().expect("bound")).expect("an address");
    (left, right)
}

/// Bytes that differ from those of another seed, and along the way.
pub fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + seed * 31) as u8).collect()
}

fn register(ring: &Ring, op: u32, arg: *mut c_void, count: u32) {
    // SAFETY: the callers pass arguments as the operation wants them; what they have the kernel keep is never freed.
    unsafe { ring.register_raw(op, arg, count) }.expect("registering works");
}

/// Gives the ring a table of empty slots for registered files. As kernels before 5.19 do it: by an array of nothing.
pub fn register_slots(ring: &Ring, count: u32) {
    let mut none = vec![-1_i32; count as usize];
    register(ring, sys::IORING_REGISTER_FILES, none.as_mut_ptr().cast(), count);
}

/// Registers `len` zeros as buffer 0.
pub fn register_buffer(ring: &Ring, len: usize) -> &'static mut [u8] {
    let memory = vec![0; len].leak();
    let mut vec = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: len };
    register(ring, sys::IORING_REGISTER_BUFFERS, (&raw mut vec).cast(), 1);
    memory
}

/// A buffer ring of the newer kind, made by hand: `count` buffers of `size` bytes with the ids from 0 on.
pub struct BufRing {
    entries: *mut sys::io_uring_buf,
    count: u16,
    size: usize,
    memory: *mut u8,
    tail: u16,
}

impl BufRing {
    /// Registers it; the group is empty until buffers are added. `count` is a power of two, at most 256.
    pub fn new(ring: &Ring, Group(group): Group, count: u16, size: usize) -> Self {
        assert!(count.is_power_of_two() && count <= 256);
        // The kernel wants the entries on pages of their own.
        // SAFETY: a new mapping at an address of the kernel's choice, never undone.
        let entries = unsafe {
            let len = usize::from(count) * size_of::<sys::io_uring_buf>();
            mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let entries = entries.expect("a page").cast::<sys::io_uring_buf>();
        let mut reg = sys::io_uring_buf_reg {
            ring_addr: entries.expose_provenance() as u64,
            ring_entries: u32::from(count),
            bgid: group,
            ..sys::io_uring_buf_reg::ZERO
        };
        register(ring, sys::IORING_REGISTER_PBUF_RING, (&raw mut reg).cast(), 1);
        let memory = vec![0u8; usize::from(count) * size].leak().as_mut_ptr();
        BufRing { entries, count, size, memory, tail: 0 }
    }

    /// As [`BufRing::new`], with all buffers added in order.
    pub fn full(ring: &Ring, group: Group, count: u16, size: usize) -> Self {
        let mut bufs = BufRing::new(ring, group, count, size);
        (0..count).for_each(|id| bufs.add(id, size));
        bufs
    }

    /// Gives the first `len` bytes of a buffer to the kernel.
    pub fn add(&mut self, id: u16, len: usize) {
        assert!(id < self.count && len <= self.size);
        let at = usize::from(self.tail & (self.count - 1));
        // SAFETY: `at` is below the number of entries, and this slot is ours until the tail is stored. Only the three
        // fields of an entry are written: the tail overlays what follows them in entry 0.
        unsafe {
            let entry = self.entries.add(at);
            (&raw mut (*entry).addr).write(self.memory.add(usize::from(id) * self.size).expose_provenance() as u64);
            (&raw mut (*entry).len).write(len as u32);
            (&raw mut (*entry).bid).write(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the page, aligned, and is shared by atomic accesses only.
        let tail = unsafe { std::sync::atomic::AtomicU16::from_ptr(&raw mut (*self.entries).resv) };
        // Release: pairs with the kernel's load of the tail; without it the kernel could see the tail before the entry.
        tail.store(self.tail, std::sync::atomic::Ordering::Release);
    }

    /// The first `len` bytes of a buffer that the kernel does not have.
    pub fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < self.count && len <= self.size);
        // SAFETY: inside the leaked memory, initialised, and by the caller's word not the kernel's at present.
        unsafe { std::slice::from_raw_parts(self.memory.add(usize::from(id) * self.size), len) }
    }

    /// Fills a buffer that the kernel does not have, from its start.
    pub fn fill(&mut self, id: u16, data: &[u8]) {
        assert!(id < self.count && data.len() <= self.size);
        // SAFETY: as in `bytes`; `self` is borrowed mutably.
        unsafe {
            self.memory.add(usize::from(id) * self.size).copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
    }
}
