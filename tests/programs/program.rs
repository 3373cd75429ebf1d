//! Programs as plain data: which ring, through which door, and what is pushed, submitted, fed and waited for.
//!
//! A program says nothing about what happens: that is the ledger's business. `{:?}` prints it as a Rust expression
//! that can be pasted into a test. Anything that can be written down here may be run; what a kernel or a door does not
//! have is replaced or refused by whoever runs it, and said.

use rawring::OpInfo;
use rawring::buf_ring::Pick;
use rawring::op;

pub use super::kind::{Bufs, Kind};

use Object::*;
use Op::*;

/// What is run.
#[derive(Clone, PartialEq)]
pub struct Program {
    pub kind: Kind,
    pub door: Door,
    pub bufs: Bufs,
    pub steps: Vec<Step>,
}

/// How entries get into the ring.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Door {
    /// `push_unchecked`.
    Unchecked,
    Scope,
    /// A scope whose closure ends in a panic.
    Panic,
    InFlight,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    Push(Entry),
    /// Has the door cancel an entry, by its position among those pushed.
    Withdraw(u8),
    Submit,
    /// Submits, and waits for so many completions, for a few milliseconds at most.
    Wait(u8),
    /// Takes the completions that are there.
    Reap,
    /// Submits, and waits until everything that ends by itself has ended. Not generated from bytes.
    Settle,
    /// Writes to the other side of an object.
    Feed(Object, u8),
    /// Closes the other side of an object.
    HangUp(Object),
    /// Connects to the listener.
    Connect,
    /// Another ring sends a message to this one.
    Post,
    /// Gives back a delivered buffer, by its position among those that the program holds.
    GiveBack(u8),
    /// Gives back all of them at once.
    GiveBackAll,
    /// Registers the memory of one of the two buffers once more, by a call.
    Renew(u8),
    /// Puts an object into its place in the table of registered files once more, by a call.
    Install(Object),
    /// Takes it out of there, by a call.
    TakeOut(Object),
}

/// What entries work on. The ring's side is ours, the other side is what steps act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// 256 bytes, zero at first.
    File(u8),
    /// A pipe that entries read from.
    In(u8),
    /// A pipe that entries write to.
    Out(u8),
    /// A connected stream socket of the machine.
    Socket(u8),
    /// A connected TCP socket.
    Tcp,
    /// A listening socket.
    Listener,
}

impl Object {
    /// Every object; each has its number in the table of registered files.
    pub const ALL: [Object; 10] = [File(0), File(1), In(0), In(1), Out(0), Out(1), Socket(0), Socket(1), Tcp, Listener];

    pub fn index(self) -> usize {
        Object::ALL.iter().position(|&object| object == self).expect("every object is in the list")
    }

    /// Whether bytes can be fed to it.
    pub fn is_source(self) -> bool {
        matches!(self, In(_) | Socket(_) | Tcp)
    }

    /// Whether what is written to it arrives somewhere.
    pub fn is_sink(self) -> bool {
        matches!(self, Out(_) | Socket(_) | Tcp)
    }
}

/// Entries that the queue of a ring holds.
pub const ENTRIES: u32 = 8;
/// Bytes of a file.
pub const FILE_LEN: usize = 256;

/// An operation with its flags.
#[derive(Clone, Copy, PartialEq)]
pub struct Entry {
    pub op: Op,
    pub link: Link,
    pub drain: bool,
    pub force_async: bool,
    pub skip: bool,
    /// Names its file by the number in the table of registered files.
    pub fixed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    None,
    Soft,
    Hard,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Op {
    Nop,
    /// An entry of 128 bytes, on rings that have them.
    Wide,
    /// Fails when it starts.
    Fail,
    /// Is refused when it is taken.
    Malformed,
    /// File, offset, length.
    ReadAt(Object, u8, u8),
    WriteAt(Object, u8, u8),
    /// Reads into a buffer of more than 4 GiB.
    ReadHuge(Object),
    Read(Object, u8),
    Recv(Object, u8),
    Write(Object, u8),
    Send(Object, u8),
    /// As a read and a write, with registered buffers.
    ReadFixed(Object, u8),
    WriteFixed(Object, u8),
    SendZc(u8),
    Poll(Object),
    PollMulti(Object),
    ReadMulti(Object),
    RecvMulti(Object),
    /// Into a provided buffer, once.
    ReadProvided(Object),
    RecvProvided(Object),
    /// Into as many provided buffers as it takes.
    RecvBundle(Object),
    RecvMultiBundle(Object),
    Accept,
    AcceptMulti,
    /// Milliseconds, and how many completions end it earlier.
    Timeout(u16, u8),
    /// A millisecond, so often.
    TimeoutMulti(u8),
    LinkTimeout(u16),
    /// The position among the entries pushed of what is cancelled.
    CancelKey(u8),
    CancelFd(Object),
    /// Takes an object out of the table of registered files.
    ClearFile(Object),
    CancelAny,
    TimeoutRemove(u8),
    PollRemove(u8),
    /// Sends a message to this ring itself, or to another one.
    Message(bool),
}

/// A time that no run waits for.
pub const LONG: u16 = 60_000;

impl Op {
    pub fn info(self) -> &'static OpInfo {
        match self {
            Nop => op::Nop::INFO,
            // Where there are no entries of 128 bytes, a plain one takes its place.
            Wide => op::Nop::INFO,
            Malformed => op::Fsync::INFO,
            Fail | ReadAt(..) | ReadHuge(_) | Read(..) => op::Read::INFO,
            WriteAt(..) | Write(..) => op::Write::INFO,
            Recv(..) => op::Recv::INFO,
            Send(..) => op::Send::INFO,
            ReadFixed(..) => op::ReadFixed::INFO,
            WriteFixed(..) => op::WriteFixed::INFO,
            SendZc(_) => op::SendZc::INFO,
            Poll(_) => op::PollAdd::INFO,
            PollMulti(_) => op::PollMulti::INFO,
            ReadMulti(_) => op::ReadMulti::INFO,
            RecvMulti(_) => op::RecvMulti::INFO,
            ReadProvided(_) => op::ReadProvided::INFO,
            RecvProvided(_) => op::RecvProvided::INFO,
            RecvBundle(_) => op::RecvBundle::INFO,
            RecvMultiBundle(_) => op::RecvMultiBundle::INFO,
            Accept => op::Accept::INFO,
            AcceptMulti => op::AcceptMulti::INFO,
            Timeout(..) => op::Timeout::INFO,
            TimeoutMulti(_) => op::TimeoutMulti::INFO,
            LinkTimeout(_) => op::LinkTimeout::INFO,
            CancelKey(_) => op::Cancel::INFO,
            CancelFd(_) => op::CancelFd::INFO,
            ClearFile(_) => op::FilesUpdate::INFO,
            CancelAny => op::CancelAny::INFO,
            TimeoutRemove(_) => op::TimeoutRemove::INFO,
            PollRemove(_) => op::PollRemove::INFO,
            Message(_) => op::MsgRing::INFO,
        }
    }

    /// What it works on.
    pub fn object(self) -> Option<Object> {
        match self {
            ReadAt(object, ..) | WriteAt(object, ..) | ReadHuge(object) => Some(object),
            Read(object, _) | Recv(object, _) | Write(object, _) | Send(object, _) => Some(object),
            ReadFixed(object, _) | WriteFixed(object, _) => Some(object),
            Poll(object) | PollMulti(object) | ReadMulti(object) | RecvMulti(object) | CancelFd(object) => Some(object),
            ReadProvided(object) | RecvProvided(object) | RecvBundle(object) | RecvMultiBundle(object) => Some(object),
            ClearFile(object) => Some(object),
            SendZc(_) => Some(Tcp),
            Accept | AcceptMulti => Some(Listener),
            Nop | Wide | Fail | Malformed | Timeout(..) | TimeoutMulti(_) | LinkTimeout(_) => None,
            CancelKey(_) | CancelAny | TimeoutRemove(_) | PollRemove(_) | Message(_) => None,
        }
    }

    /// Whether it may have many completions.
    pub fn is_multi(self) -> bool {
        matches!(self, PollMulti(_) | ReadMulti(_) | RecvMulti(_) | RecvMultiBundle(_) | AcceptMulti | TimeoutMulti(_))
    }

    /// How it takes provided buffers, if it does.
    pub fn picks(self) -> Option<Pick> {
        match self {
            ReadMulti(_) | RecvMulti(_) | ReadProvided(_) | RecvProvided(_) => Some(Pick::One),
            RecvBundle(_) | RecvMultiBundle(_) => Some(Pick::Bundle),
            _ => None,
        }
    }

    /// Whether its memory is in a registered buffer.
    pub fn has_fixed_buffer(self) -> bool {
        matches!(self, ReadFixed(..) | WriteFixed(..))
    }

    /// Which source it takes bytes out of.
    pub fn reads(self) -> Option<Object> {
        match self {
            Read(object, _) | Recv(object, _) | ReadFixed(object, _) => Some(object),
            _ => self.object().filter(|_| self.picks().is_some()),
        }
    }

    /// Where it writes to, if that is not a file, and how much.
    pub fn writes(self) -> Option<(Object, u8)> {
        match self {
            Write(object, len) | Send(object, len) | WriteFixed(object, len) => Some((object, len)),
            SendZc(len) => Some((Tcp, len)),
            _ => None,
        }
    }
}

/// An entry without flags.
pub fn entry(op: Op) -> Entry {
    Entry { op, link: Link::None, drain: false, force_async: false, skip: false, fixed: false }
}

impl Entry {
    pub fn link(self) -> Self {
        Entry { link: Link::Soft, ..self }
    }
    pub fn hard_link(self) -> Self {
        Entry { link: Link::Hard, ..self }
    }
    pub fn drain(self) -> Self {
        Entry { drain: true, ..self }
    }
    pub fn force_async(self) -> Self {
        Entry { force_async: true, ..self }
    }
    pub fn skip(self) -> Self {
        Entry { skip: true, ..self }
    }
    pub fn fixed(self) -> Self {
        Entry { fixed: true, ..self }
    }
}

impl Program {
    /// The entries, in the order in which they are pushed.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Push(entry) => Some(*entry),
            _ => None,
        })
    }

    /// The objects that are used.
    pub fn uses(&self, object: Object) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Push(entry) => entry.op.object() == Some(object),
            Step::Feed(other, _) | Step::HangUp(other) | Step::Install(other) => *other == object,
            Step::Connect => object == Listener,
            Step::Withdraw(_) | Step::Submit | Step::Wait(_) | Step::Reap | Step::Settle | Step::Post => false,
            Step::GiveBack(_) | Step::GiveBackAll | Step::TakeOut(_) | Step::Renew(_) => false,
        })
    }
}
