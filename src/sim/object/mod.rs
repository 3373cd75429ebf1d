//! What a simulated descriptor can lead to: files, pipes, sockets and counters, as state machines in memory.
//!
//! Nothing here waits, and nothing here knows of rings: every attempt answers at once, [`Attempt::Blocked`] where the
//! kernel's would have to wait. Who wants to wait tries again; [`Object::activity`] tells whether that is worth while.
//! Results and poll masks are those of the real thing, which tests compare step by step.
//!
//! Invariant: an [`Object`] is one reference to an open file description. When the last one goes, the peer sees it:
//! end of file, hang-up, `EPIPE`. Locks are taken for one step at a time, and never two of them at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};

mod counter;
mod datagram;
mod file;
mod pipe;
mod stream;
mod table;
#[cfg(test)]
mod twin;

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Attempt<T> {
    /// It is done, or it failed.
    Ready(Result<T, Errno>),
    /// It would have to wait.
    Blocked,
}

use Attempt::{Blocked, Ready};
pub(crate) use table::Objects;

impl<T> Attempt<T> {
    /// Applies `f` to a value.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Attempt<U> {
        match self {
            Ready(result) => Ready(result.map(f)),
            Blocked => Blocked,
        }
    }

    fn done(value: T) -> Self {
        Ready(Ok(value))
    }

    fn failed(errno: Errno) -> Self {
        Ready(Err(errno))
    }
}

/// What was received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Received {
    /// The data, no more than was asked for.
    pub(crate) bytes: Vec<u8>,
    /// The length of the message, of which the data may be a part; for streams, of the data.
    pub(crate) full: usize,
}

/// One reference to an open file description.
#[derive(Clone, Debug)]
pub(crate) struct Object(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    File(Mutex<file::File>),
    Pipe(pipe::End),
    Stream(stream::Socket),
    Datagram(datagram::Socket),
    Counter(Mutex<counter::Counter>),
}

impl Object {
    fn new(kind: Kind) -> Self {
        Object(Arc::new(kind))
    }

    /// A file with this content, at its beginning.
    pub(crate) fn file(bytes: Vec<u8>) -> Object {
        Object::new(Kind::File(Mutex::new(file::File::new(bytes))))
    }

    /// A pipe: what is read from, what is written to.
    pub(crate) fn pipe() -> (Object, Object) {
        let (reader, writer) = pipe::End::pair();
        (Object::new(Kind::Pipe(reader)), Object::new(Kind::Pipe(writer)))
    }

    /// Two stream sockets that are connected to each other.
    pub(crate) fn stream_pair() -> (Object, Object) {
        let (one, other) = stream::Socket::pair();
        (Object::new(Kind::Stream(one)), Object::new(Kind::Stream(other)))
    }

    /// Two datagram sockets that are connected to each other.
    pub(crate) fn datagram_pair() -> (Object, Object) {
        let (one, other) = datagram::Socket::pair();
        (Object::new(Kind::Datagram(one)), Object::new(Kind::Datagram(other)))
    }

    /// A stream socket that is not connected.
    pub(crate) fn socket() -> Object {
        Object::new(Kind::Stream(stream::Socket::new()))
    }

    /// A listening stream socket. As with the kernel, one more than `backlog` can wait to be accepted.
    pub(crate) fn listener(backlog: usize) -> Object {
        Object::new(Kind::Stream(stream::Socket::listening(backlog)))
    }

    /// An event counter, as of `eventfd(2)`.
    pub(crate) fn counter(start: u64) -> Object {
        Object::new(Kind::Counter(Mutex::new(counter::Counter::new(start))))
    }

    /// Whether both lead to the same open file description.
    pub(crate) fn same(&self, other: &Object) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether this is a file, where a read or a write goes on until it is complete, and never waits.
    pub(crate) fn is_file(&self) -> bool {
        matches!(*self.0, Kind::File(_))
    }

    /// Whether part of a transfer is a transfer: not of messages and counters.
    pub(crate) fn may_be_short(&self) -> bool {
        matches!(*self.0, Kind::File(_) | Kind::Pipe(_) | Kind::Stream(_))
    }

    /// Whether there is more to receive or to accept.
    pub(crate) fn has_more(&self) -> bool {
        self.is_socket() && self.poll().contains(PollFlags::IN)
    }

    /// Whether this is a socket.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(*self.0, Kind::Stream(_) | Kind::Datagram(_))
    }

    /// Whether this is a socket that keeps the bounds of messages.
    pub(crate) fn is_datagram(&self) -> bool {
        matches!(*self.0, Kind::Datagram(_))
    }

    /// As `pread(2)`, or as `read(2)` where there is no offset.
    pub(crate) fn read(&self, offset: Option<u64>, max: usize) -> Attempt<Vec<u8>> {
        match &*self.0 {
            Kind::File(file) => Ready(lock(file).read(offset, max)),
            Kind::Pipe(end) => end.read(max),
            // As the kernel's sock_read_iter: asking for nothing is not asking the socket.
            Kind::Stream(_) | Kind::Datagram(_) if max == 0 => Attempt::done(Vec::new()),
            Kind::Stream(socket) => socket.recv(max, RecvFlags::empty()).map(|received| received.bytes),
            Kind::Datagram(socket) => socket.recv(max, RecvFlags::empty()).map(|received| received.bytes),
            Kind::Counter(counter) => lock(counter).read(max),
        }
    }

    /// As `pwrite(2)`, or as `write(2)` where there is no offset. What does not fit is left, where anything fits.
    pub(crate) fn write(&self, offset: Option<u64>, bytes: &[u8]) -> Attempt<usize> {
        match &*self.0 {
            Kind::File(file) => Ready(lock(file).write(offset, bytes)),
            Kind::Pipe(end) => end.write(bytes),
            Kind::Stream(socket) => socket.send(bytes),
            Kind::Datagram(socket) => socket.send(bytes),
            Kind::Counter(counter) => lock(counter).write(bytes),
        }
    }

    /// As `recv(2)`. Of the flags, `PEEK` and `TRUNC` are heeded; waiting is the caller's.
    pub(crate) fn recv(&self, max: usize, flags: RecvFlags) -> Attempt<Received> {
        match &*self.0 {
            Kind::Stream(socket) => socket.recv(max, flags),
            Kind::Datagram(socket) => socket.recv(max, flags),
            _ => Attempt::failed(Errno::NOTSOCK),
        }
    }

    /// As `send(2)`.
    pub(crate) fn send(&self, bytes: &[u8]) -> Attempt<usize> {
        match &*self.0 {
            Kind::Stream(socket) => socket.send(bytes),
            Kind::Datagram(socket) => socket.send(bytes),
            _ => Attempt::failed(Errno::NOTSOCK),
        }
    }

    /// As `accept(2)`.
    pub(crate) fn accept(&self) -> Attempt<Object> {
        match &*self.0 {
            Kind::Stream(socket) => socket.accept().map(|socket| Object::new(Kind::Stream(socket))),
            Kind::Datagram(_) => Attempt::failed(Errno::OPNOTSUPP),
            _ => Attempt::failed(Errno::NOTSOCK),
        }
    }

    /// As `connect(2)`, to the socket that listens at the address; `None` where nobody does.
    pub(crate) fn connect(&self, to: Option<&Object>) -> Attempt<()> {
        match (&*self.0, to.map(|to| &*to.0)) {
            (Kind::Stream(socket), Some(Kind::Stream(listener))) => socket.connect(Some(listener)),
            (Kind::Stream(socket), _) => socket.connect(None),
            (Kind::Datagram(_), _) => Attempt::failed(Errno::CONNREFUSED),
            _ => Attempt::failed(Errno::NOTSOCK),
        }
    }

    /// As `shutdown(2)`.
    pub(crate) fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        match &*self.0 {
            Kind::Stream(socket) => socket.shutdown(how),
            Kind::Datagram(socket) => socket.shutdown(how),
            _ => return Err(Errno::NOTSOCK),
        }
        Ok(())
    }

    /// As `ftruncate(2)`.
    pub(crate) fn truncate(&self, size: u64) -> Result<(), Errno> {
        match &*self.0 {
            Kind::File(file) => lock(file).truncate(size),
            _ => Err(Errno::INVAL),
        }
    }

    /// As `fsync(2)`.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        if self.is_file() { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// A copy of a file's content; nothing for what is no file.
    pub(crate) fn content(&self) -> Option<Vec<u8>> {
        match &*self.0 {
            Kind::File(file) => Some(lock(file).content().to_vec()),
            _ => None,
        }
    }

    /// What `poll(2)` would find here.
    pub(crate) fn poll(&self) -> PollFlags {
        match &*self.0 {
            Kind::File(_) => ALWAYS,
            Kind::Pipe(end) => end.poll(),
            Kind::Stream(socket) => socket.poll(),
            Kind::Datagram(socket) => socket.poll(),
            Kind::Counter(counter) => lock(counter).poll(),
        }
    }

    /// Counts what would wake those who wait here: data, room, the end of a peer.
    pub(crate) fn activity(&self) -> u64 {
        match &*self.0 {
            Kind::File(_) => 0,
            Kind::Pipe(end) => end.activity(),
            Kind::Stream(socket) => socket.activity(),
            Kind::Datagram(socket) => socket.activity(),
            Kind::Counter(counter) => lock(counter).activity(),
        }
    }
}

/// What files without a wait queue answer to a poll.
const ALWAYS: PollFlags = PollFlags::IN.union(PollFlags::OUT).union(PollFlags::RDNORM).union(PollFlags::WRNORM);

/// What a socket that has room answers, among others.
const WRITABLE: PollFlags = PollFlags::OUT.union(PollFlags::WRNORM).union(PollFlags::WRBAND);

/// What something to read answers, among others.
const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDNORM);

/// A panic elsewhere leaves no object half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to shut.
fn shuts(how: Shutdown) -> (bool, bool) {
    match how {
        Shutdown::Read => (true, false),
        Shutdown::Write => (false, true),
        Shutdown::Both => (true, true),
    }
}
