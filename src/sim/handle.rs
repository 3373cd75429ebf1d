//! Descriptors that lead to simulated files, pipes and sockets.
//!
//! Who owns what: a [`Handle`] owns a number, and the number is a reference to the object. The number is that of one
//! end of a real pair of sockets, of which the simulation keeps the other. So it is nobody else's, it can be sent,
//! duplicated and closed like any descriptor, and when the last duplicate goes the simulation notices: its end is hung
//! up. It looks whenever it is called. An operation that has started has a reference of its own.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, socketpair};

use super::Sim;
use super::object::{Attempt, Object};
use super::world::World;

/// The ends that are kept, by the number of the other end.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<RawFd, OwnedFd>);

impl World {
    /// Gives an object a number.
    pub(super) fn open(&mut self, object: Object) -> Result<RawFd, Errno> {
        let (given, kept) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let number = given.into_raw_fd();
        self.objects.install(number, object);
        self.ends.0.insert(number, kept);
        Ok(number)
    }

    /// Closes a number, which its owner has given up.
    pub(super) fn close_number(&mut self, number: RawFd) -> Result<(), Errno> {
        self.forget(number).ok_or(Errno::BADF)?;
        // SAFETY: the number was made by `open`, and an entry that closes it owns it.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
        self.activity();
        Ok(())
    }

    /// Closes what the numbers led to that were closed since the last call.
    pub(super) fn notice_closed(&mut self) {
        if self.ends.0.is_empty() {
            return;
        }
        let mut ends: Vec<_> = self.ends.0.values().map(|end| PollFd::new(end, PollFlags::empty())).collect();
        if !poll(&mut ends, Some(&Timespec::default())).is_ok_and(|closed| closed > 0) {
            return;
        }
        let hung = ends.iter().map(|end| end.revents().contains(PollFlags::HUP));
        let closed: Vec<_> =
            self.ends.0.keys().zip(hung).filter(|&(_, hung)| hung).map(|(&number, _)| number).collect();
        for number in closed {
            self.forget(number);
        }
        self.activity();
    }

    fn forget(&mut self, number: RawFd) -> Option<Object> {
        self.ends.0.remove(&number);
        self.objects.remove(number)
    }
}

/// A descriptor of a simulated file, pipe or socket.
///
/// Operations take it as any other ([`AsFd`]). Its own methods are for the other side of a test: for whoever feeds a
/// pipe from which a ring reads. They act at once and never wait, and answer `EAGAIN` where they would have to.
///
/// No real system call means anything on it, except to close or to duplicate it. A descriptor that an operation
/// returned (of a connection that was accepted) is one, too: see [`Sim::handle`].
///
/// ```
/// use rawring::{op::Read, sim::Sim};
///
/// let sim = Sim::new(7);
/// let mut ring = sim.ring(8)?;
/// let (reader, writer) = sim.pipe()?;
/// let mut text = [0; 5];
/// ring.scope(|s| {
///     s.push(Read::new(&reader, &mut text))?;
///     s.submit()?;
///     writer.write(b"hello")?;
///     s.finish(|cqe| assert_eq!(cqe.result(), Ok(5)))?;
///     Ok::<_, std::io::Error>(())
/// })??;
/// assert_eq!(text, *b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Handle {
    sim: Sim,
    fd: OwnedFd,
}

impl Sim {
    fn open(&self, object: Object) -> Result<Handle, Errno> {
        let number = self.world().open(object)?;
        // SAFETY: the number was just made for the caller, and nobody else has it.
        Ok(Handle { sim: self.clone(), fd: unsafe { OwnedFd::from_raw_fd(number) } })
    }

    /// A file with this content, at its beginning.
    ///
    /// # Errors
    ///
    /// Of this and of all that makes descriptors: what the real kernel says to a new pair of sockets, which stands for
    /// the number.
    pub fn file(&self, content: impl Into<Vec<u8>>) -> Result<Handle, Errno> {
        self.open(Object::file(content.into()))
    }

    /// A pipe: what is read from, and what is written to. It holds 16 pages of 4096 bytes.
    pub fn pipe(&self) -> Result<(Handle, Handle), Errno> {
        let (reader, writer) = Object::pipe();
        Ok((self.open(reader)?, self.open(writer)?))
    }

    /// Two stream sockets that are connected to each other.
    pub fn stream_pair(&self) -> Result<(Handle, Handle), Errno> {
        let (one, other) = Object::stream_pair();
        Ok((self.open(one)?, self.open(other)?))
    }

    /// Two datagram sockets that are connected to each other.
    pub fn datagram_pair(&self) -> Result<(Handle, Handle), Errno> {
        let (one, other) = Object::datagram_pair();
        Ok((self.open(one)?, self.open(other)?))
    }

    /// A stream socket that is not connected.
    pub fn socket(&self) -> Result<Handle, Errno> {
        self.open(Object::socket())
    }

    /// A stream socket that listens under an abstract name, which [`Connect`](crate::op::Connect) takes as an address.
    /// As with the kernel, one more than `backlog` can wait to be accepted.
    pub fn listener(&self, name: &[u8], backlog: usize) -> Result<(Handle, SocketAddrUnix), Errno> {
        let address = SocketAddrUnix::new_abstract_name(name)?;
        let listener = Object::listener(backlog);
        self.world().objects.bind(name.to_vec(), &listener);
        Ok((self.open(listener)?, address))
    }

    /// A counter, as of `eventfd(2)`.
    pub fn eventfd(&self, count: u64) -> Result<Handle, Errno> {
        self.open(Object::counter(count))
    }

    /// Makes a handle of a descriptor that an operation of this kernel returned.
    ///
    /// # Errors
    ///
    /// The descriptor, if this kernel does not know it.
    pub fn handle(&self, fd: OwnedFd) -> Result<Handle, OwnedFd> {
        let known = self.world().objects.get(fd.as_raw_fd()).is_some();
        if known { Ok(Handle { sim: self.clone(), fd }) } else { Err(fd) }
    }
}

impl Handle {
    fn with<T>(&self, f: impl FnOnce(&Object) -> Attempt<T>) -> Result<T, Errno> {
        let mut world = self.sim.world();
        world.notice_closed();
        let object = world.objects.get(self.fd.as_raw_fd()).ok_or(Errno::BADF)?;
        let attempt = f(&object);
        world.activity();
        match attempt {
            Attempt::Ready(result) => result,
            Attempt::Blocked => Err(Errno::AGAIN),
        }
    }

    /// As `read(2)`.
    pub fn read(&self, max: usize) -> Result<Vec<u8>, Errno> {
        self.with(|object| object.read(None, max))
    }

    /// As `write(2)`.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.with(|object| object.write(None, bytes))
    }

    /// As `recv(2)`, of at most `max` bytes.
    pub fn recv(&self, max: usize, flags: RecvFlags) -> Result<Vec<u8>, Errno> {
        self.with(|object| object.recv(max, flags).map(|received| received.bytes))
    }

    /// As `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        self.with(|object| Attempt::Ready(object.shutdown(how)))
    }

    /// As `poll(2)`.
    pub fn poll(&self) -> Result<PollFlags, Errno> {
        self.with(|object| Attempt::Ready(Ok(object.poll())))
    }

    /// The whole content of a file.
    ///
    /// # Errors
    ///
    /// `EINVAL` for what is no file.
    pub fn content(&self) -> Result<Vec<u8>, Errno> {
        self.with(|object| Attempt::Ready(object.content().ok_or(Errno::INVAL)))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// For [`Close`](crate::op::Close), and for whoever keeps descriptors as such.
impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> OwnedFd {
        handle.fd
    }
}
