//! A pair of datagram sockets, as of `socketpair(2)` with `AF_UNIX`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};

use super::Attempt::{self, Blocked};
use super::{READABLE, Received, WRITABLE, lock, shuts};

/// Bytes that fit between two sockets, and the longest message. The kernel counts its own bookkeeping, too, so that its
/// room depends on the sizes of messages; here it does not.
const ROOM: usize = 128 << 10;

/// One socket of a pair. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Socket {
    pair: Arc<Mutex<Pair>>,
    me: usize,
}

#[derive(Debug, Default)]
struct Pair {
    sides: [Side; 2],
    activity: u64,
}

#[derive(Debug, Default)]
struct Side {
    /// What came in and was not received yet.
    queue: VecDeque<Vec<u8>>,
    shut_read: bool,
    shut_write: bool,
    closed: bool,
    /// It has noticed that its peer is closed, and is connected to nobody any more.
    alone: bool,
}

impl Socket {
    pub(super) fn pair() -> (Socket, Socket) {
        let pair = Arc::new(Mutex::new(Pair::default()));
        (Socket { pair: pair.clone(), me: 0 }, Socket { pair, me: 1 })
    }

    pub(super) fn recv(&self, max: usize, flags: RecvFlags) -> Attempt<Received> {
        let mut pair = lock(&self.pair);
        let side = &mut pair.sides[self.me];
        let message =
            if flags.contains(RecvFlags::PEEK) { side.queue.front().cloned() } else { side.queue.pop_front() };
        match message {
            Some(mut bytes) => {
                let full = bytes.len();
                bytes.truncate(max);
                pair.activity += 1;
                Attempt::done(Received { bytes, full })
            }
            None if side.shut_read => Attempt::done(Received::default()),
            None => Blocked,
        }
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Attempt<usize> {
        let mut pair = lock(&self.pair);
        let [me, peer] = pair.both(self.me);
        if bytes.len() > ROOM {
            return Attempt::failed(Errno::MSGSIZE);
        }
        if me.shut_write {
            return Attempt::failed(Errno::PIPE);
        }
        if me.alone {
            return Attempt::failed(Errno::NOTCONN);
        }
        if peer.closed {
            // The kernel notices it now, and drops what the peer had sent.
            me.alone = true;
            me.queue.clear();
            return Attempt::failed(Errno::CONNREFUSED);
        }
        if peer.shut_read {
            return Attempt::failed(Errno::PIPE);
        }
        if peer.queue.iter().map(Vec::len).sum::<usize>() + bytes.len() > ROOM {
            return Blocked;
        }
        peer.queue.push_back(bytes.to_vec());
        pair.activity += 1;
        Attempt::done(bytes.len())
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        let mut pair = lock(&self.pair);
        let (read, write) = shuts(how);
        let side = &mut pair.sides[self.me];
        side.shut_read |= read;
        side.shut_write |= write;
        pair.activity += 1;
    }

    pub(super) fn poll(&self) -> PollFlags {
        let mut pair = lock(&self.pair);
        let [me, peer] = pair.both(self.me);
        let mut mask = PollFlags::empty();
        mask.set(READABLE, !me.queue.is_empty() || me.shut_read);
        mask.set(PollFlags::RDHUP, me.shut_read);
        mask.set(PollFlags::HUP, me.shut_read && me.shut_write);
        mask.set(WRITABLE, peer.queue.iter().map(Vec::len).sum::<usize>() < ROOM / 4);
        mask
    }

    pub(super) fn activity(&self) -> u64 {
        lock(&self.pair).activity
    }
}

impl Pair {
    /// This side and the other.
    fn both(&mut self, me: usize) -> [&mut Side; 2] {
        let [first, second] = &mut self.sides;
        if me == 0 { [first, second] } else { [second, first] }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut pair = lock(&self.pair);
        pair.sides[self.me].closed = true;
        pair.sides[self.me].queue.clear();
        pair.activity += 1;
    }
}
