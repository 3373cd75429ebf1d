//! A stream socket, as of `AF_UNIX`: alone, listening, or one side of a connection.
//!
//! Unlike that of a real socket, the room of a connection is counted in bytes of data.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};

use super::Attempt::{self, Blocked};
use super::{READABLE, Received, WRITABLE, lock, shuts};

/// Bytes on their way in one direction.
const ROOM: usize = 128 << 10;

/// A socket. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Socket(Mutex<State>);

#[derive(Debug)]
enum State {
    Alone { shut_read: bool, shut_write: bool },
    Listening(Listener),
    Connected(End),
}

#[derive(Debug)]
struct Listener {
    backlog: usize,
    waiting: VecDeque<End>,
    shut: bool,
    activity: u64,
}

/// One side of a connection.
#[derive(Debug)]
struct End {
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
    queue: VecDeque<u8>,
    shut_read: bool,
    shut_write: bool,
    closed: bool,
    /// The peer went without having received everything. Told once.
    reset: bool,
}

impl Socket {
    pub(super) fn new() -> Self {
        Socket(Mutex::new(State::Alone { shut_read: false, shut_write: false }))
    }

    pub(super) fn pair() -> (Socket, Socket) {
        let (one, other) = End::pair();
        (Socket::connected(one), Socket::connected(other))
    }

    pub(super) fn listening(backlog: usize) -> Self {
        let listener = Listener { backlog, waiting: VecDeque::new(), shut: false, activity: 0 };
        Socket(Mutex::new(State::Listening(listener)))
    }

    fn connected(end: End) -> Self {
        Socket(Mutex::new(State::Connected(end)))
    }

    pub(super) fn recv(&self, max: usize, flags: RecvFlags) -> Attempt<Received> {
        match &*lock(&self.0) {
            State::Connected(end) => end.recv(max, flags.contains(RecvFlags::PEEK)),
            State::Alone { .. } | State::Listening(_) => Attempt::failed(Errno::INVAL),
        }
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Attempt<usize> {
        match &*lock(&self.0) {
            State::Connected(end) => end.send(bytes),
            State::Alone { .. } | State::Listening(_) => Attempt::failed(Errno::NOTCONN),
        }
    }

    pub(super) fn accept(&self) -> Attempt<Socket> {
        match &mut *lock(&self.0) {
            State::Listening(listener) => match listener.waiting.pop_front() {
                Some(end) => {
                    listener.activity += 1;
                    Attempt::done(Socket::connected(end))
                }
                None if listener.shut => Attempt::failed(Errno::INVAL),
                None => Blocked,
            },
            _ => Attempt::failed(Errno::INVAL),
        }
    }

    /// To a listener. The connection is there at once; accepting only hands its other side out.
    pub(super) fn connect(&self, to: Option<&Socket>) -> Attempt<()> {
        if to.is_some_and(|to| core::ptr::eq(to, self)) {
            return Attempt::failed(Errno::INVAL);
        }
        let connected = matches!(*lock(&self.0), State::Connected(_));
        let end = {
            let Some(to) = to else { return Attempt::failed(Errno::CONNREFUSED) };
            let State::Listening(listener) = &mut *lock(&to.0) else { return Attempt::failed(Errno::CONNREFUSED) };
            if listener.shut {
                return Attempt::failed(Errno::CONNREFUSED);
            }
            if listener.waiting.len() > listener.backlog {
                return Blocked;
            }
            if connected {
                return Attempt::failed(Errno::ISCONN);
            }
            let (mine, other) = End::pair();
            listener.waiting.push_back(other);
            listener.activity += 1;
            mine
        };
        let mut state = lock(&self.0);
        match *state {
            State::Alone { shut_read, shut_write } => {
                {
                    // What was shut before there was a peer does not reach it.
                    let mut pair = lock(&end.pair);
                    let [me, _] = pair.both(end.me);
                    (me.shut_read, me.shut_write) = (shut_read, shut_write);
                }
                *state = State::Connected(end);
                Attempt::done(())
            }
            State::Listening(_) | State::Connected(_) => Attempt::failed(Errno::INVAL),
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        let (read, write) = shuts(how);
        match &mut *lock(&self.0) {
            State::Connected(end) => end.shut(read, write),
            State::Listening(listener) => {
                listener.shut |= read;
                listener.activity += 1;
            }
            State::Alone { shut_read, shut_write } => {
                *shut_read |= read;
                *shut_write |= write;
            }
        }
    }

    pub(super) fn poll(&self) -> PollFlags {
        match &*lock(&self.0) {
            State::Connected(end) => end.poll(),
            State::Listening(listener) => {
                let mut mask = PollFlags::empty();
                mask.set(READABLE, !listener.waiting.is_empty() || listener.shut);
                mask.set(PollFlags::RDHUP, listener.shut);
                mask
            }
            State::Alone { shut_read, .. } => {
                let mut mask = WRITABLE | PollFlags::HUP;
                mask.set(READABLE | PollFlags::RDHUP, *shut_read);
                mask
            }
        }
    }

    pub(super) fn activity(&self) -> u64 {
        match &*lock(&self.0) {
            State::Connected(end) => lock(&end.pair).activity,
            State::Listening(listener) => listener.activity,
            State::Alone { .. } => 0,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for end in &self.waiting {
            let mut pair = lock(&end.pair);
            let [_, peer] = pair.both(end.me);
            peer.reset = true;
        }
    }
}

impl End {
    fn pair() -> (End, End) {
        let pair = Arc::new(Mutex::new(Pair::default()));
        (End { pair: pair.clone(), me: 0 }, End { pair, me: 1 })
    }

    fn recv(&self, max: usize, peek: bool) -> Attempt<Received> {
        let mut pair = lock(&self.pair);
        let [me, _] = pair.both(self.me);
        if me.queue.is_empty() {
            if std::mem::take(&mut me.reset) {
                return Attempt::failed(Errno::CONNRESET);
            }
            return if me.shut_read { Attempt::done(Received::default()) } else { Blocked };
        }
        let n = max.min(me.queue.len());
        let bytes: Vec<u8> =
            if peek { me.queue.iter().take(n).copied().collect() } else { me.queue.drain(..n).collect() };
        pair.activity += 1;
        let full = bytes.len();
        Attempt::done(Received { bytes, full })
    }

    fn send(&self, bytes: &[u8]) -> Attempt<usize> {
        let mut pair = lock(&self.pair);
        let [me, peer] = pair.both(self.me);
        if me.shut_write {
            return Attempt::failed(Errno::PIPE);
        }
        if bytes.is_empty() {
            return Attempt::done(0);
        }
        if std::mem::take(&mut me.reset) {
            return Attempt::failed(Errno::CONNRESET);
        }
        if peer.closed || peer.shut_read {
            return Attempt::failed(Errno::PIPE);
        }
        match bytes.len().min(ROOM - peer.queue.len()) {
            0 => Blocked,
            n => {
                peer.queue.extend(&bytes[..n]);
                pair.activity += 1;
                Attempt::done(n)
            }
        }
    }

    /// What is shut on one side is shut on the other, in the other direction.
    fn shut(&self, read: bool, write: bool) {
        let mut pair = lock(&self.pair);
        let [me, peer] = pair.both(self.me);
        me.shut_read |= read;
        me.shut_write |= write;
        peer.shut_read |= write;
        peer.shut_write |= read;
        pair.activity += 1;
    }

    fn poll(&self) -> PollFlags {
        let mut pair = lock(&self.pair);
        let [me, peer] = pair.both(self.me);
        let mut mask = PollFlags::empty();
        mask.set(READABLE, !me.queue.is_empty() || me.shut_read);
        mask.set(PollFlags::RDHUP, me.shut_read);
        mask.set(PollFlags::HUP, me.shut_read && me.shut_write);
        mask.set(PollFlags::ERR, me.reset);
        mask.set(WRITABLE, peer.queue.len() < ROOM / 4);
        mask
    }
}

impl Pair {
    /// This side and the other.
    fn both(&mut self, me: usize) -> [&mut Side; 2] {
        let [first, second] = &mut self.sides;
        if me == 0 { [first, second] } else { [second, first] }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut pair = lock(&self.pair);
        let [me, peer] = pair.both(self.me);
        me.closed = true;
        peer.shut_read = true;
        peer.shut_write = true;
        peer.reset |= !me.queue.is_empty();
        // What the peer sent goes, and makes room no more.
        me.queue.clear();
        pair.activity += 1;
    }
}
