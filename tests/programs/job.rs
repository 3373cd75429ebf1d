//! What an entry of a program names while it runs: its buffer, its time, the objects of the site; and the entry made
//! of them.
//!
//! Buffers have guards on both sides. What is to be written carries the number of its entry in every byte, so that
//! whoever finds a byte knows who wrote it; what is read into is filled with [`POISON`] first.

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use rawring::flags::{CancelFlags, FsyncFlags};
use rawring::op::*;
use rawring::operand::{BufMut, File, FileSlot, Fixed, FixedBuf, FixedBufMut, Group, RecvSendOptions, Timespec};
use rawring::register::Tag;
use rawring::{Sqe, Sqe128, UserData};
use rustix::event::PollFlags;

use super::fixed::{FixedMemory, slot_of};
use super::program::{Entry, FILE_LEN, Link, Object, Op};

/// What nobody has written.
pub const POISON: u8 = 0xee;
const GUARD: usize = 16;

/// Whose completion a `user_data` announces. The upper 16 bits say what, the lower ones which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// The entry that was pushed as the so-manieth.
    Entry(usize),
    /// The message that this entry sent.
    Message(usize),
    /// A message from outside.
    Post(usize),
    /// A file that was registered, as the so-manieth, is no longer used.
    Tag(usize),
    /// The cancellation of everything at the end.
    Cancel,
    Unknown(u64),
}

impl Key {
    pub fn pack(self) -> UserData {
        let (what, which) = match self {
            Key::Entry(i) => (0xe117, i),
            Key::Message(i) => (0x3e55, i),
            Key::Post(i) => (0x9057, i),
            Key::Tag(i) => return Tag::new(i as u64).expect("a small number").user_data(),
            Key::Cancel => (0xca7c, 0),
            Key::Unknown(value) => return UserData(value),
        };
        UserData(what << 48 | which as u64)
    }

    pub fn unpack(data: UserData) -> Key {
        let which = (data.0 & 0xffff_ffff) as usize;
        let candidates = [Key::Entry(which), Key::Message(which), Key::Post(which), Key::Tag(which), Key::Cancel];
        candidates.into_iter().find(|key| key.pack() == data).unwrap_or(Key::Unknown(data.0))
    }
}

/// The group of provided buffers.
pub const GROUP: Group = Group(7);

/// The objects of a run, and how they are named.
pub struct Site<S> {
    /// The ring's sides, by [`Object::index`].
    pub ours: [Option<S>; Object::ALL.len()],
    /// The ring under test, if it has a descriptor.
    pub own_ring: Option<RawFd>,
    /// The ring that messages go to.
    pub other_ring: RawFd,
    /// Whether there is a table of registered files.
    pub registered: bool,
    /// What is registered as buffers.
    pub fixed: FixedMemory,
    pub wide: Wide,
    pub huge: bool,
    /// Whether notifications can say what was copied.
    pub reports: bool,
}

/// How the ring takes entries of 128 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wide {
    No,
    /// All are.
    Always,
    /// Some are, and take two slots.
    Mixed,
}

impl<S: AsFd> Site<S> {
    fn ours(&self, object: Object) -> BorrowedFd<'_> {
        self.ours[object.index()].as_ref().expect("what a program uses is made before").as_fd()
    }

    fn file(&self, object: Object, fixed: bool) -> File<'_> {
        if fixed && self.registered { Fixed(object.index() as u32).into() } else { self.ours(object).into() }
    }
}

/// An entry and what it names.
pub struct Job<S> {
    pub entry: Entry,
    pub index: usize,
    /// The key of the entry that this one is aimed at.
    pub target: UserData,
    pub site: Rc<Site<S>>,
    bytes: Box<[u8]>,
    time: Timespec,
}

/// Sets key and flags, on entries of either length.
macro_rules! flagged {
    ($sqe:expr, $index:expr, $entry:expr) => {{
        let (sqe, entry) = ($sqe.user_data(Key::Entry($index).pack()), $entry);
        let sqe = match entry.link {
            Link::None => sqe,
            Link::Soft => sqe.link(),
            Link::Hard => sqe.hard_link(),
        };
        let sqe = if entry.drain { sqe.drain() } else { sqe };
        let sqe = if entry.force_async { sqe.force_async() } else { sqe };
        if entry.skip { sqe.skip_success() } else { sqe }
    }};
}
/// An entry of either length.
pub enum Built<'a> {
    Narrow(Sqe<'a>),
    Wide(Sqe128<'a>),
}

impl<S: AsFd> Job<S> {
    pub fn new(entry: Entry, index: usize, target: UserData, site: &Rc<Site<S>>) -> Job<S> {
        let mut job = Job {
            entry,
            index,
            target,
            site: site.clone(),
            bytes: vec![POISON; 2 * GUARD + if entry.op.has_fixed_buffer() { 0 } else { buffer_len(entry.op) }].into(),
            time: time(entry.op),
        };
        let fill = if job.is_input() { tag(index) } else { POISON };
        job.buffer().fill(fill);
        job
    }

    /// The same, for another try.
    pub fn again(&self) -> Job<S> {
        Job::new(self.entry, self.index, self.target, &self.site)
    }

    /// Whether its entry has 128 bytes.
    pub fn is_wide(&self) -> bool {
        self.entry.op == Op::Wide && self.site.wide != Wide::No
    }

    /// Slots that its entry takes at most.
    pub fn slots(&self) -> u32 {
        if self.entry.op == Op::Wide && self.site.wide == Wide::Mixed { 3 } else { 1 }
    }

    /// Bytes that a result of `n` says were moved, if it says that.
    pub fn transferred(&self, n: u32) -> usize {
        match self.entry.op {
            Op::ReadAt(..) | Op::Read(..) | Op::ReadFixed(..) | Op::Recv(..) => n as usize,
            // Its buffer is not in the job, unless there are no such buffers.
            Op::ReadHuge(_) if !self.site.huge => n as usize,
            _ => 0,
        }
    }

    fn is_input(&self) -> bool {
        self.entry.op.writes().is_some() || matches!(self.entry.op, Op::WriteAt(..))
    }

    fn window(&self) -> *mut [u8] {
        let len = if self.entry.op.has_fixed_buffer() { buffer_len(self.entry.op) } else { 0 };
        self.site.fixed.window(self.index, len)
    }

    fn buffer(&mut self) -> &mut [u8] {
        if self.entry.op.has_fixed_buffer() {
            // SAFETY: the window is this entry's alone, which is not in flight while its job is used; the memory stays as
            // long as the site.
            return unsafe { &mut *self.window() };
        }
        let len = self.bytes.len();
        &mut self.bytes[GUARD..len - GUARD]
    }

    /// What was read, and what is wrong with the rest of the memory: of a read of `n` bytes, the others are as they
    /// were; of a write, all are.
    pub fn capture(&mut self, n: usize) -> (Vec<u8>, Option<String>) {
        let untouched = if self.is_input() { tag(self.index) } else { POISON };
        let from = if self.is_input() { 0 } else { n };
        let op = self.entry.op;
        let buffer = self.buffer();
        let content = buffer[..n.min(buffer.len())].to_vec();
        let spoilt = buffer.get(from..).is_none_or(|rest| rest.iter().any(|&byte| byte != untouched));
        let len = self.bytes.len();
        let guards = self.bytes[..GUARD].iter().chain(&self.bytes[len - GUARD..]);
        let outside = guards.into_iter().any(|&byte| byte != POISON);
        let wrong = (spoilt || outside).then(|| format!("{op:?} of {n} bytes has left {:?}", self.bytes));
        (content, wrong)
    }

    /// Fills the memory with something new; from now on nobody is to touch it.
    pub fn close(&mut self) {
        self.bytes.fill(!POISON);
        self.buffer().fill(!POISON);
    }

    /// Whether nobody has touched the memory since it was closed.
    pub fn is_closed(&self) -> bool {
        // SAFETY: as in `buffer`.
        let window = unsafe { &*self.window() };
        self.bytes.iter().chain(window).all(|&byte| byte == !POISON)
    }

    /// The entry. It borrows everything that the operation needs.
    pub fn build(&mut self) -> Built<'_> {
        let window = self.window();
        let Job { entry, index, target, site, bytes, time } = self;
        let Entry { op, fixed, .. } = *entry;
        let (index, target) = (*index, *target);
        let site: &Site<S> = site;
        let slot = slot_of(index) as u16;
        let len = bytes.len();
        let buffer = &mut bytes[GUARD..len - GUARD];
        let file = |object| site.file(object, fixed);
        let readable = PollFlags::IN;
        let sqe: Sqe<'_> = match op {
            Op::Nop => Nop::new().into(),
            Op::Wide if site.wide == Wide::Mixed => {
                return Built::Wide(flagged!(Sqe128::from(Nop128::new()), index, *entry));
            }
            Op::Wide => Nop::new().into(),
            // No table has so many files.
            Op::Fail => Read::new(Fixed(u32::MAX), buffer).into(),
            Op::Malformed => Fsync::new(Fixed(0)).fsync_flags(FsyncFlags::from_bits_retain(!0)).into(),
            Op::ReadHuge(object) if site.huge => Read::new(file(object), huge()).offset(0).into(),
            Op::ReadHuge(object) => Read::new(file(object), buffer).offset(0).into(),
            Op::ReadAt(object, at, _) => Read::new(file(object), buffer).offset(at.into()).into(),
            Op::WriteAt(object, at, _) => Write::new(file(object), &*buffer).offset(at.into()).into(),
            Op::Read(object, _) => Read::new(file(object), buffer).into(),
            Op::Recv(object, _) => Recv::new(file(object), buffer).into(),
            Op::Write(object, _) => Write::new(file(object), &*buffer).into(),
            Op::ReadFixed(object, _) => {
                // SAFETY: as in `buffer`; what is built borrows the job.
                let memory = FixedBufMut::new(unsafe { &mut *window }, slot);
                ReadFixed::new(file(object), memory).into()
            }
            Op::WriteFixed(object, _) => {
                // SAFETY: as above.
                let memory = FixedBuf::new(unsafe { &*window }, slot);
                WriteFixed::new(file(object), memory).into()
            }
            Op::Send(object, _) => Send::new(file(object), &*buffer).into(),
            Op::SendZc(_) => {
                let send = SendZc::new(file(Object::Tcp), &*buffer);
                if site.reports { send.options(RecvSendOptions::REPORT_USAGE).into() } else { send.into() }
            }
            Op::Poll(object) => PollAdd::new(file(object), readable).into(),
            Op::PollMulti(object) => PollMulti::new(file(object), readable).into(),
            Op::ReadMulti(object) => ReadMulti::new(file(object), GROUP).into(),
            Op::RecvMulti(object) => RecvMulti::new(file(object), GROUP).into(),
            Op::ReadProvided(object) => ReadProvided::new(file(object), GROUP).into(),
            Op::RecvProvided(object) => RecvProvided::new(file(object), GROUP).into(),
            Op::RecvBundle(object) => RecvBundle::new(file(object), GROUP).into(),
            Op::RecvMultiBundle(object) => RecvMultiBundle::new(file(object), GROUP).into(),
            Op::Accept => Accept::new(file(Object::Listener)).into(),
            Op::AcceptMulti => AcceptMulti::new(file(Object::Listener)).into(),
            Op::Timeout(_, count) => Timeout::new(time).completions(count.into()).into(),
            Op::TimeoutMulti(repeats) => TimeoutMulti::new(time).repeats(repeats.into()).into(),
            Op::LinkTimeout(_) => LinkTimeout::new(time).into(),
            Op::CancelKey(_) => Cancel::new(target).into(),
            Op::CancelFd(object) => CancelFd::new(file(object)).cancel_flags(CancelFlags::ALL).into(),
            Op::ClearFile(object) => FilesUpdate::new(&[FileSlot::CLEAR], Fixed(object.index() as u32)).into(),
            Op::CancelAny => CancelAny::new().cancel_flags(CancelFlags::ALL).into(),
            Op::TimeoutRemove(_) => TimeoutRemove::new(target).into(),
            Op::PollRemove(_) => PollRemove::new(target).into(),
            Op::Message(own) => {
                let ring = site.own_ring.filter(|_| own).unwrap_or(site.other_ring);
                // SAFETY: both rings are there until the run is over.
                let ring = unsafe { BorrowedFd::borrow_raw(ring) };
                // SAFETY: the value is not reserved, and who runs programs takes it for nothing but a message.
                unsafe { MsgRing::new(ring, Key::Message(index).pack(), index as i32) }.into()
            }
        };
        let sqe = flagged!(sqe, index, *entry);
        if op == Op::Wide && site.wide == Wide::Always { Built::Wide(sqe.into()) } else { Built::Narrow(sqe) }
    }
}

/// The byte that an entry writes.
pub fn tag(index: usize) -> u8 {
    index as u8 + 1
}

fn buffer_len(op: Op) -> usize {
    match op {
        Op::ReadHuge(_) => FILE_LEN,
        Op::Fail => 1,
        Op::ReadAt(_, _, len) | Op::WriteAt(_, _, len) => len.into(),
        Op::Read(_, len) | Op::Recv(_, len) | Op::Write(_, len) | Op::Send(_, len) | Op::SendZc(len) => len.into(),
        Op::ReadFixed(_, len) | Op::WriteFixed(_, len) => len.into(),
        _ => 0,
    }
}

fn time(op: Op) -> Timespec {
    let ms = match op {
        Op::Timeout(ms, _) | Op::LinkTimeout(ms) => ms,
        _ => 1,
    };
    Duration::from_millis(ms.into()).into()
}

/// More than 4 GiB of address space, of which a file fills the first few bytes.
fn huge() -> BufMut<'static> {
    static MEMORY: OnceLock<usize> = OnceLock::new();
    const LEN: u64 = (4 << 30) + 8;
    let len = usize::try_from(LEN).unwrap_or(FILE_LEN);
    let memory = *MEMORY.get_or_init(|| {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice, never undone.
        let memory = unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) };
        memory.expect("address space").expose_provenance()
    });
    // SAFETY: the mapping is that long and never undone, and nothing but such operations touches it.
    unsafe { BufMut::from_raw(std::ptr::with_exposed_provenance_mut(memory), len) }
}
