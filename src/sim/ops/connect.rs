//! Connections: `SOCKET`, `CONNECT`, `ACCEPT`, `SHUTDOWN`. Addresses are abstract names of `AF_UNIX`.

use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown as How, SocketFlags, SocketType};

use super::super::object::{Attempt, Object};
use super::super::user::Output;
use super::{Operation, Outcome, Prepare, Progress, Turn};
use rawring_sys as sys;

struct Socket {
    family: i32,
    kind: u32,
    /// Where in the table of registered files it goes, as the entry says it; 0 for a descriptor.
    slot: u32,
}

struct Connect {
    /// The name to connect to, or why there is none.
    name: Result<Vec<u8>, Errno>,
}

struct Accept {
    multi: bool,
    dont_wait: bool,
    /// Where the length of the peer's address goes, which is always that of no name.
    length: Option<Output>,
    /// As of [`Socket`].
    slot: u32,
    /// Where the family of the peer's address goes.
    family: Option<Output>,
}

struct Shutdown {
    how: Option<How>,
}

const ACCEPT_FLAGS: u16 = sys::IORING_ACCEPT_MULTISHOT | sys::IORING_ACCEPT_DONTWAIT | sys::IORING_ACCEPT_POLL_FIRST;

pub(super) fn socket(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    let slot = sqe.file_index;
    let closes = sqe.off as u32 & SocketFlags::CLOEXEC.bits() != 0;
    if sqe.addr != 0 || sqe.op_flags != 0 || sqe.buf_index != 0 || slot != 0 && closes {
        return Err(Errno::INVAL);
    }
    let kind = sqe.off as u32 & !(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).bits();
    Ok(Box::new(Socket { family: sqe.fd, kind, slot }))
}

pub(super) fn connect(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sys::io_uring_sqe { addr, off: len, len: other, buf_index, op_flags, file_index, .. } = cx.sqe;
    if other != 0 || buf_index != 0 || op_flags != 0 || file_index != 0 {
        return Err(Errno::INVAL);
    }
    let len = len as i32;
    if !(0..=128).contains(&len) {
        return Err(Errno::INVAL);
    }
    let address = cx.read(addr, len as usize)?;
    Ok(Box::new(Connect { name: name(&address) }))
}

/// The abstract name in an address.
fn name(address: &[u8]) -> Result<Vec<u8>, Errno> {
    let (family, path) = address.split_first_chunk().ok_or(Errno::INVAL)?;
    if u16::from_ne_bytes(*family) != AddressFamily::UNIX.as_raw() {
        return Err(Errno::INVAL);
    }
    match path {
        [0, name @ ..] => Ok(name.to_vec()),
        [] => Err(Errno::INVAL),
        // There is no file system.
        _ => Err(Errno::NOENT),
    }
}

pub(super) fn accept(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sys::io_uring_sqe { addr, off: addr_len, len, buf_index, ioprio, op_flags, file_index: slot, .. } = cx.sqe;
    let known = (SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).bits();
    if len != 0 || buf_index != 0 || ioprio & !ACCEPT_FLAGS != 0 || op_flags & !known != 0 {
        return Err(Errno::INVAL);
    }
    let multi = ioprio & sys::IORING_ACCEPT_MULTISHOT != 0;
    let closes = op_flags & SocketFlags::CLOEXEC.bits() != 0;
    if slot != 0 && (closes || multi && slot != sys::IORING_FILE_INDEX_ALLOC) {
        return Err(Errno::INVAL);
    }
    let (mut length, mut family) = (None, None);
    if addr != 0 {
        let room = cx.read(addr_len, 4)?;
        let room = i32::from_ne_bytes(room.try_into().expect("four bytes"));
        let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
        length = Some(cx.output(addr_len, 4)?);
        family = Some(cx.output(addr, room.min(2))?);
    }
    let dont_wait = ioprio & sys::IORING_ACCEPT_DONTWAIT != 0;
    Ok(Box::new(Accept { multi, dont_wait, length, slot, family }))
}

pub(super) fn shutdown(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    if sqe.off != 0 || sqe.addr != 0 || sqe.op_flags != 0 || sqe.buf_index != 0 || sqe.file_index != 0 {
        return Err(Errno::INVAL);
    }
    let how = match sqe.len {
        0 => Some(How::Read),
        1 => Some(How::Write),
        2 => Some(How::Both),
        _ => None,
    };
    Ok(Box::new(Shutdown { how }))
}

impl Operation for Socket {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        if self.family != i32::from(AddressFamily::UNIX.as_raw()) || self.kind != SocketType::STREAM.as_raw() {
            return Progress::Done(Outcome::errno(Errno::AFNOSUPPORT));
        }
        Progress::Done(Outcome::from(turn.open(Object::socket(), self.slot)))
    }
}

impl Operation for Connect {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let attempt = match (turn.object(), &self.name) {
            (Err(errno), _) => Attempt::Ready(Err(errno)),
            (Ok(object), _) if !object.is_socket() => Attempt::Ready(Err(Errno::NOTSOCK)),
            (_, Err(errno)) => Attempt::Ready(Err(*errno)),
            (Ok(object), Ok(name)) => object.connect(turn.world.objects.listener(name).as_ref()),
        };
        match attempt {
            Attempt::Ready(result) => Progress::Done(Outcome::from(result.map(|()| 0))),
            Attempt::Blocked => Progress::Blocked,
        }
    }
}

impl Operation for Accept {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let object = match turn.object() {
            Ok(object) => object,
            Err(errno) => return Progress::Done(Outcome::errno(errno)),
        };
        let outcome = match object.accept() {
            Attempt::Blocked if self.dont_wait => Outcome::errno(Errno::AGAIN),
            Attempt::Blocked => return Progress::Blocked,
            Attempt::Ready(result) => Outcome::from(result.and_then(|accepted| turn.open(accepted, self.slot))),
        };
        if outcome.res < 0 {
            return Progress::Done(outcome);
        }
        if let (Some(length), Some(family)) = (self.length, self.family) {
            turn.write(length, 0, &2i32.to_ne_bytes());
            let bytes = AddressFamily::UNIX.as_raw().to_ne_bytes();
            let room = turn.room(family);
            turn.write(family, 0, &bytes[..room]);
        }
        let more = if object.has_more() { sys::IORING_CQE_F_SOCK_NONEMPTY } else { 0 };
        let outcome = outcome.with_flags(more);
        if self.multi {
            // Only the first of many tells its address: the room for it is lent once.
            (self.length, self.family) = (None, None);
            Progress::More(outcome)
        } else {
            Progress::Done(outcome)
        }
    }
}

impl Operation for Shutdown {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let result = turn.object().and_then(|object| object.shutdown(self.how.ok_or(Errno::INVAL)?));
        Progress::Done(Outcome::from(result.map(|()| 0)))
    }
}
