//! What programs run in: rings, objects with two sides, and the clock. [`Kernel`] is the real one.
//!
//! Of every object the ring's side is ours, named by a descriptor; the other side is what the outside world does to it.
//! Nothing here blocks for longer than [`PATIENCE`].

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rawring::op::MsgRing;
use rawring::probe::Probe;
use rawring::{Errno, OpInfo, Ring, Setup, SetupError, UserData, Version};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;

/// How long anything that has to happen is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A place to run programs in.
pub trait World {
    /// One side of an object. The descriptor in it is what entries name.
    type Side: AsFd + 'static;

    /// What makes rings here.
    fn setup(&self, entries: u32) -> Setup<'static>;
    /// What it was found to be like.
    fn habits(&self) -> &Habits;

    /// Whether it has an operation.
    fn supports(&self, op: &'static OpInfo) -> bool {
        self.habits().probe.supports(op)
    }

    /// The release whose flags it knows.
    fn level(&self) -> Version {
        self.habits().probe.level()
    }

    /// Whether what follows a drained entry waits for its end, and not only for its start.
    fn drains_strictly(&self) -> bool {
        self.habits().drains_strictly
    }

    /// Whether a zero-copy send ever starts that a drain holds back. Since the kernel counts requests for it (Linux
    /// 6.16), the request made for the notification keeps the drain waiting, and nothing but the ring's end helps.
    fn drains_zero_copy(&self) -> bool {
        self.habits().drains_zero_copy
    }

    fn file(&self, content: &[u8]) -> Self::Side;
    /// The side to read from, the side to write to.
    fn pipe(&self) -> (Self::Side, Self::Side);
    fn stream_pair(&self) -> (Self::Side, Self::Side);
    fn tcp_pair(&self) -> (Self::Side, Self::Side);
    /// A listening socket, and what [`connect`](Self::connect) needs.
    fn listener(&self) -> (Self::Side, Self::Side);
    /// Connects to the listener of this other side. `None` if nobody listens.
    fn connect(&self, other: &Self::Side) -> Option<Self::Side>;

    /// Writes all of it; the objects have room. False if nobody reads any more.
    fn write(&self, to: &Self::Side, bytes: &[u8]) -> bool;
    /// What can be read now; `None` at the end.
    fn read(&self, from: &Self::Side) -> Option<Vec<u8>>;
    /// The whole of a file.
    fn content(&self, file: &Self::Side) -> Vec<u8>;
    /// Whether ours is gone, by what the other side sees. `false` is the answer of now.
    fn hung_up(&self, other: &Self::Side) -> bool;
    /// Closes the descriptor that an operation made.
    fn close(&self, descriptor: u32);
    /// Lets a little time pass.
    fn pause(&self);
    /// Whether buffers can be larger than the memory of this machine would like to see written.
    fn has_huge_buffers(&self) -> bool;
}

/// What a world is like, as it was asked and tried.
#[derive(Debug)]
pub struct Habits {
    probe: Probe,
    drains_strictly: bool,
    drains_zero_copy: bool,
}

impl Habits {
    /// Before anything was tried.
    pub fn new(probe: Probe) -> Habits {
        Habits { probe, drains_strictly: false, drains_zero_copy: false }
    }

    /// Tries what nobody says.
    pub fn observed(world: &impl World, probe: Probe) -> Habits {
        Habits { drains_strictly: observe_drain(world), drains_zero_copy: observe_zero_copy(world), probe }
    }
}

/// Whether all of it was written, by what came of writing; false if nobody reads any more.
pub fn is_fed(result: Result<usize, Errno>, bytes: &[u8]) -> bool {
    match result {
        Ok(written) => {
            assert_eq!(written, bytes.len(), "objects have room for what is fed to them");
            true
        }
        Err(Errno::PIPE | Errno::CONNRESET) => false,
        Err(errno) => panic!("feeding failed: {errno}"),
    }
}

/// The kernel that this runs on.
#[derive(Debug)]
pub struct Kernel(Habits);

/// A side of an object: a descriptor, or the name of a listener.
#[derive(Debug)]
pub struct Side {
    fd: OwnedFd,
    name: Option<SocketAddr>,
}

impl AsFd for Side {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<T: Into<OwnedFd>> From<T> for Side {
    fn from(fd: T) -> Self {
        Side { fd: fd.into(), name: None }
    }
}

impl Side {
    /// As for the other side: nothing that it does blocks.
    fn other(fd: impl Into<OwnedFd>) -> Side {
        let fd = fd.into();
        let flags = rustix::fs::fcntl_getfl(&fd).expect("flags of a descriptor");
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).expect("an object that can do without blocking");
        Side { fd, name: None }
    }
}

impl Kernel {
    pub fn new() -> Result<Kernel, SetupError> {
        let kernel = Kernel(Habits::new(Probe::new()?));
        Ok(Kernel(Habits::observed(&kernel, Probe::new()?)))
    }
}

/// Whether what follows a drained entry waits for its end. Kernels differ, so this one is asked.
fn observe_drain(world: &impl World) -> bool {
    use rawring::op::{Nop, Read};
    let (ours, other) = world.pipe();
    let mut byte = [0; 1];
    let mut seen = Vec::new();
    let mut ring = world.setup(4).build().expect("a ring");
    ring.scope(|s| {
        s.push(Nop::new().user_data(0)).expect("room");
        s.push(Read::new(&ours, &mut byte).drain().user_data(1)).expect("room");
        s.push(Nop::new().user_data(2)).expect("room");
        let wait = rawring::Wait::new(2).timeout(Duration::from_millis(20));
        for _ in 0..2 {
            s.submit_with(&wait).expect("submitted");
        }
        world.write(&other, b"x");
        s.finish(|cqe| seen.push(cqe.user_data().0))
    })
    .expect("a scope")
    .expect("finished");
    seen == [0, 1, 2]
}

fn observe_zero_copy(world: &impl World) -> bool {
    let (ours, _other) = world.tcp_pair();
    let mut ring = world.setup(4).build().expect("a ring");
    let entry = rawring::op::SendZc::new(&ours, "data").drain();
    // SAFETY: the data is static; the socket is closed after the ring, which never starts the operation then.
    unsafe { ring.push_unchecked(entry) }.expect("room");
    ring.submit_with(&rawring::Wait::new(1).timeout(Duration::from_millis(50))).expect("submitted");
    ring.ready() > 0
}

impl World for Kernel {
    type Side = Side;

    fn setup(&self, entries: u32) -> Setup<'static> {
        Setup::new(entries)
    }

    fn habits(&self) -> &Habits {
        &self.0
    }

    fn file(&self, content: &[u8]) -> Side {
        let fd = rustix::fs::memfd_create(c"programs", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
        assert_eq!(rustix::io::pwrite(&fd, content, 0), Ok(content.len()));
        fd.into()
    }

    fn pipe(&self) -> (Side, Side) {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        (reader.into(), writer.into())
    }

    fn stream_pair(&self) -> (Side, Side) {
        let (ours, other) = UnixStream::pair().expect("a pair");
        (ours.into(), Side::other(other))
    }

    fn tcp_pair(&self) -> (Side, Side) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let ours = std::net::TcpStream::connect(address).expect("a connection");
        let (other, _) = listener.accept().expect("a connection");
        ours.set_nodelay(true).expect("an option");
        other.set_nodelay(true).expect("an option");
        (ours.into(), Side::other(other))
    }

    fn listener(&self) -> (Side, Side) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("rawring-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = SocketAddr::from_abstract_name(name).expect("a short name");
        let listener = UnixListener::bind_addr(&name).expect("a name of our own");
        let other = Side { name: Some(name), ..Side::from(UnixStream::pair().expect("a pair").0) };
        (listener.into(), other)
    }

    fn connect(&self, other: &Side) -> Option<Side> {
        let name = other.name.as_ref().expect("the other side of a listener");
        UnixStream::connect_addr(name).ok().map(Side::from)
    }

    fn write(&self, to: &Side, bytes: &[u8]) -> bool {
        is_fed(rustix::io::write(to, bytes), bytes)
    }

    fn read(&self, from: &Side) -> Option<Vec<u8>> {
        let mut poll = [PollFd::new(from, PollFlags::IN)];
        rustix::event::poll(&mut poll, Some(&rustix::event::Timespec::default())).expect("polled");
        if poll[0].revents().is_empty() {
            return Some(Vec::new());
        }
        let mut bytes = vec![0; 4096];
        match rustix::io::read(from, &mut bytes) {
            Ok(0) | Err(Errno::CONNRESET) => None,
            Ok(n) => {
                bytes.truncate(n);
                Some(bytes)
            }
            Err(Errno::AGAIN) => Some(Vec::new()),
            Err(errno) => panic!("reading failed: {errno}"),
        }
    }

    fn content(&self, file: &Side) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let n = rustix::io::pread(file, &mut bytes, 0).expect("a file can be read");
        bytes.truncate(n);
        bytes
    }

    fn hung_up(&self, other: &Side) -> bool {
        if other.name.is_some() {
            return self.connect(other).is_none();
        }
        let mut poll = [PollFd::new(other, PollFlags::empty())];
        rustix::event::poll(&mut poll, Some(&rustix::event::Timespec::default())).expect("polled");
        poll[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
            || matches!(self.peek_end(other), Some(true))
    }

    fn close(&self, descriptor: u32) {
        // SAFETY: an operation has just made it, and nobody else has seen the completion.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor as i32) });
    }

    fn pause(&self) {
        std::thread::sleep(Duration::from_micros(200));
    }

    fn has_huge_buffers(&self) -> bool {
        cfg!(target_pointer_width = "64")
    }
}

impl Kernel {
    /// Whether a stream socket is at its end, with nothing left to read; `None` for what is no socket.
    fn peek_end(&self, other: &Side) -> Option<bool> {
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(other, &mut [0u8; 1][..], flags) {
            Ok((0, _)) => Some(true),
            Ok(_) | Err(Errno::AGAIN) => Some(false),
            Err(Errno::NOTSOCK) => None,
            Err(_) => Some(true),
        }
    }
}

/// Waits until something is so.
pub fn eventually(world: &impl World, mut so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        if Instant::now() > deadline {
            return false;
        }
        world.pause();
    }
    true
}

/// A ring beside the one under test, which sends it messages and gets some.
#[derive(Debug)]
pub struct Helper {
    ring: Ring,
    inbox: Vec<(u64, i32)>,
}

/// The key of the helper's own entries.
const OWN: UserData = UserData(u64::MAX);

impl Helper {
    pub fn new(world: &impl World) -> Helper {
        Helper { ring: world.setup(8).build().expect("a ring"), inbox: Vec::new() }
    }

    /// Sends a message to the ring of this descriptor; the result of sending it.
    pub fn post(&mut self, to: BorrowedFd<'_>, data: u64, value: i32) -> Result<u32, Errno> {
        // SAFETY: the value is not reserved, and who runs programs takes it for nothing but a message.
        let message = unsafe { MsgRing::new(to, data, value) }.user_data(OWN);
        // SAFETY: the target is borrowed for longer than this call, which waits for the completion.
        unsafe { self.ring.push_unchecked(message) }.expect("the queue is empty");
        loop {
            let outcome = self.ring.submit_with(&rawring::Wait::new(1).timeout(PATIENCE)).expect("submitted");
            let mut own = None;
            for cqe in self.ring.completions() {
                match cqe.user_data() {
                    OWN => own = Some(cqe.result()),
                    data => self.inbox.push((data.0, cqe.res())),
                }
            }
            if let Some(result) = own {
                return result;
            }
            assert!(outcome.wait != rawring::WaitEnd::TimedOut, "a message is sent at once");
        }
    }

    /// The messages that have come.
    pub fn received(&mut self) -> &[(u64, i32)] {
        let Helper { ring, inbox } = self;
        // More than the queue holds come in as there is room.
        loop {
            let before = inbox.len();
            inbox.extend(ring.peek().expect("peeked").map(|cqe| (cqe.user_data().0, cqe.res())));
            if inbox.len() == before {
                return inbox;
            }
        }
    }
}

impl AsFd for Helper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
