//! A ring with what was registered, and operations on it.

use std::fmt::Debug;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rawring::flags::SetupFlags;
use rawring::op::{Nop, PollAdd};
use rawring::operand::File;
use rawring::register::Tag;
#[cfg(feature = "sim")]
use rawring::sim::{Lies, Sim};
use rawring::{Cqe, Errno, Ring, Setup, Sqe, UserData, Wait};
use rustix::event::PollFlags;

use super::Input;
use super::buffers::Buffers;
use super::calls::{Groups, Signals};
use super::files::Files;

/// Which kernel.
pub enum Host {
    #[cfg(feature = "sim")]
    Sim(Sim),
    Kernel,
}

impl Host {
    pub fn setup(&self, entries: u32) -> Setup<'static> {
        match self {
            #[cfg(feature = "sim")]
            Host::Sim(sim) => sim.setup(entries),
            Host::Kernel => Ring::setup(entries),
        }
    }

    /// A ring of some kind.
    pub fn ring(&self, kind: u8, strict: bool) -> Option<Ring> {
        let setup = self.setup(8);
        let setup = match kind % 4 {
            0 => setup,
            1 => setup.single_issuer().defer_taskrun(),
            2 => setup.single_issuer().defer_taskrun().no_sqarray(false),
            _ => setup.disabled(),
        };
        match setup.build() {
            Ok(ring) => Some(ring),
            Err(error) => {
                assert!(!strict, "{error}");
                None
            }
        }
    }

    pub fn is_kernel(&self) -> bool {
        matches!(self, Host::Kernel)
    }

    /// A file with this one byte in it.
    fn file(&self, content: u8) -> OwnedFd {
        match self {
            #[cfg(feature = "sim")]
            Host::Sim(sim) => sim.file([content]).expect("a file").into(),
            Host::Kernel => {
                use rustix::fs::{MemfdFlags, memfd_create};
                let file = memfd_create(c"content", MemfdFlags::CLOEXEC).expect("a file");
                rustix::io::write(&file, &[content]).expect("written");
                file
            }
        }
    }

    /// Both ends of a pipe.
    fn pipe(&self) -> (OwnedFd, OwnedFd) {
        match self {
            #[cfg(feature = "sim")]
            Host::Sim(sim) => sim.pipe().map(|(reader, writer)| (reader.into(), writer.into())).expect("a pipe"),
            Host::Kernel => rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe"),
        }
    }
}

/// A resource that is registered. Each use of it, and its slot, has a copy.
pub type Hold = Rc<Option<Tag>>;

/// The contents of files; what follows them cannot be read.
pub const CONTENTS: [u8; 4] = *b"abcd";

/// The file of which nothing comes.
pub const PIPE: usize = CONTENTS.len();

/// An operation that waits.
pub struct Waiting {
    pub key: u64,
    /// The slot's resource that it uses.
    hold: Option<Hold>,
}

pub struct Run {
    // Dropped first: it ends what uses the others.
    pub ring: Ring,
    pub host: Host,
    /// Whether the kernel is honest, so that everything has to be as it should.
    pub strict: bool,
    /// Files with the contents above, and a pipe's end.
    pub sources: Vec<OwnedFd>,
    _writer: OwnedFd,
    pub files: Files,
    pub buffers: Buffers,
    pub groups: Groups,
    pub signals: Signals,
    /// Where the other ring's buffers are.
    pub other: Vec<(usize, usize)>,
    pub personalities: Vec<rawring::register::Personality>,
    /// Polls that nothing ends but a cancellation.
    pub polls: Vec<Waiting>,
    /// Operations that were pushed, and end by themselves.
    pushed: Vec<u64>,
    /// Those that were cancelled.
    ending: Vec<u64>,
    /// Resources with a tag that their slots have let go of.
    leaving: Vec<Hold>,
    /// Tags that came back, of some of those.
    came: Vec<Tag>,
    tags: u64,
    keys: u64,
}

impl Run {
    pub fn new(host: Host, strict: bool, ring: Ring) -> Self {
        let (reader, writer) = host.pipe();
        let sources = CONTENTS.map(|content| host.file(content)).into_iter().chain([reader]).collect();
        Run {
            ring,
            strict,
            sources,
            _writer: writer,
            files: Files::default(),
            buffers: Buffers::default(),
            groups: Groups::default(),
            signals: Signals::new(),
            other: Vec::new(),
            personalities: Vec::new(),
            polls: Vec::new(),
            pushed: Vec::new(),
            ending: Vec::new(),
            leaving: Vec::new(),
            came: Vec::new(),
            tags: 0,
            // Numbers that no raw argument has.
            keys: 0x51 << 32,
            host,
        }
    }

    #[cfg(feature = "sim")]
    pub fn lie(&mut self, input: &mut Input<'_>) {
        let Host::Sim(sim) = &self.host else { unreachable!("the kernel does not lie to order") };
        let lies = Lies::WORDS
            | Lies::COMPLETIONS
            | Lies::COUNTS
            | Lies::RETRIES
            | Lies::ERRORS
            | Lies::PROBES
            | Lies::BUFFERS;
        sim.lie(lies & Lies::from_bits_truncate(u32::from(input.u8()) << 1), 1 + input.below(60));
    }

    #[cfg(not(feature = "sim"))]
    pub fn lie(&mut self, _input: &mut Input<'_>) {}

    /// Demands that a call said what it had to.
    #[track_caller]
    pub fn expect<T: PartialEq + Debug>(&self, what: &str, said: T, expected: T) {
        assert!(!self.strict || said == expected, "{what}: {said:?} instead of {expected:?}");
    }

    /// A tag for some of what is registered.
    pub fn tag(&mut self, input: &mut Input<'_>) -> Option<Tag> {
        self.tags += 1;
        if input.u8() & 1 == 0 { None } else { Tag::new(self.tags) }
    }

    /// A slot has let go of a resource.
    pub fn let_go(&mut self, hold: Hold) {
        if hold.is_some() {
            self.leaving.push(hold);
        }
    }

    /// The descriptor of a source.
    pub fn source(&self, which: usize) -> BorrowedFd<'static> {
        // SAFETY: sources stay open for as long as the ring that uses them; nobody here keeps the result.
        unsafe { BorrowedFd::borrow_raw(self.sources[which].as_raw_fd()) }
    }

    /// Every tag that came back is that of a resource which its slot has let go of, once.
    pub fn judge_tags(&mut self) {
        for tag in std::mem::take(&mut self.came) {
            match self.leaving.iter().position(|hold| **hold == Some(tag)) {
                Some(at) => _ = self.leaving.swap_remove(at),
                None => assert!(!self.strict, "{tag:?} came, and nothing with it has left"),
            }
        }
    }

    fn key(&mut self) -> u64 {
        self.keys += 1;
        self.keys
    }

    /// Pushes an entry, after all that waits if there is no room.
    ///
    /// # Safety
    ///
    /// What the entry borrows stays until its completion, or until the process ends.
    unsafe fn push_entry(&mut self, entry: Sqe<'_>) -> Option<u64> {
        let key = self.key();
        if self.ring.room() == 0 {
            self.visit();
        }
        // SAFETY: the caller's promise.
        match unsafe { self.ring.push_unchecked(entry.user_data(key)) } {
            Ok(()) => Some(key),
            Err(refused) => {
                assert!(!self.strict, "{refused}");
                None
            }
        }
    }

    /// Runs one operation to its end.
    ///
    /// # Safety
    ///
    /// As for [`push_entry`](Self::push_entry).
    pub unsafe fn run<'a>(&mut self, entry: impl Into<Sqe<'a>>) -> Option<Cqe> {
        // SAFETY: the caller's promise.
        let key = unsafe { self.push_entry(entry.into()) }?;
        for _ in 0..self.patience() {
            let cqes = self.wait();
            if let Some(cqe) = cqes.iter().find(|cqe| cqe.user_data() == UserData(key)) {
                assert!(!self.strict || cqes.len() == 1, "{cqes:?}");
                return Some(*cqe);
            }
        }
        assert!(!self.strict, "an operation has not ended: {:?}", self.ring);
        None
    }

    /// A ring that is disabled is enabled before it is entered.
    pub fn start(&mut self) {
        if self.ring.setup_flags().contains(SetupFlags::R_DISABLED) {
            let _enabled = self.ring.enable();
        }
    }

    /// Waits for completions, deals with those of others, and gives the rest.
    fn wait(&mut self) -> Vec<Cqe> {
        self.start();
        let patience = Duration::from_millis(if self.strict { 1000 } else { 2 });
        let waited = self.ring.submit_with(&Wait::new(1).timeout(patience));
        assert!(!self.strict || waited.is_ok() || waited == Err(Errno::INTR), "{waited:?}");
        self.completions()
    }

    /// Lets the kernel do what it has to, without waiting.
    fn visit(&mut self) -> Vec<Cqe> {
        self.start();
        let submitted = self.ring.submit_with(&Wait::new(0).get_events());
        assert!(!self.strict || submitted.is_ok() || submitted == Err(Errno::INTR), "{submitted:?}");
        self.completions()
    }

    fn completions(&mut self) -> Vec<Cqe> {
        // A tail that lies may show the same completions again and again.
        let cqes: Vec<_> = self.ring.completions().take(64).collect();
        cqes.into_iter().filter(|cqe| !self.is_ours(cqe)).collect()
    }

    /// Whether a completion is that of something that was left running, and is as it should be.
    fn is_ours(&mut self, cqe: &Cqe) -> bool {
        if let Some(tag) = cqe.tag() {
            let used = self.polls.iter().any(|poll| poll.hold.as_ref().is_some_and(|hold| **hold == Some(tag)));
            assert!(!self.strict || !used, "{tag:?} came while the resource is in use");
            self.came.push(tag);
            return true;
        }
        let UserData(key) = cqe.user_data();
        let known = |keys: &mut Vec<u64>| {
            let at = keys.iter().position(|&known| known == key);
            at.map(|at| keys.swap_remove(at)).is_some()
        };
        if known(&mut self.ending) {
            self.expect("a poll that was cancelled", cqe.result(), Err(Errno::CANCELED));
            self.polls.retain(|poll| poll.key != key);
            return true;
        }
        if known(&mut self.pushed) {
            self.expect("a nop", cqe.result(), Ok(0));
            return true;
        }
        assert!(!self.strict || self.polls.iter().all(|poll| poll.key != key), "nothing has ended {cqe:?}");
        !self.strict && key >> 32 != 0x51
    }

    /// Starts an operation that waits until it is cancelled.
    pub fn start_poll(&mut self, file: File<'_>, hold: Option<Hold>) {
        // SAFETY: descriptors are those of sources.
        let Some(key) = (unsafe { self.push_entry(PollAdd::new(file, PollFlags::IN).into()) }) else { return };
        self.polls.push(Waiting { key, hold });
        let others = self.visit();
        assert!(!self.strict || others.is_empty(), "{others:?}");
    }

    /// These were cancelled.
    pub fn cancelled(&mut self, keys: &[u64]) {
        self.ending.extend(keys);
        // A call that is interrupted brings nothing in.
        for _ in 0..self.patience() {
            self.visit();
            if self.ending.is_empty() {
                return;
            }
        }
    }

    /// How often to look for what has to come: a wait may bring one of many completions, and none where lies are told.
    fn patience(&self) -> u32 {
        if self.strict { 4096 } else { 64 }
    }

    /// Waits for what ends by itself.
    pub fn settle(&mut self) {
        for _ in 0..self.patience() {
            if self.pushed.is_empty() {
                break;
            }
            self.wait();
        }
    }

    /// Leaves some entries in the queue, for later.
    pub fn push(&mut self, input: &mut Input<'_>) {
        for _ in 0..input.below(6) {
            // SAFETY: the entry borrows nothing.
            let key = unsafe { self.push_entry(Nop::new().into()) };
            self.pushed.extend(key);
        }
    }

    /// Nothing is lost, and nothing is left.
    pub fn end(mut self) {
        #[cfg(feature = "sim")]
        if let Host::Sim(sim) = &self.host {
            sim.lie(Lies::empty(), 0);
        }
        self.audit_files();
        self.audit_buffers();
        self.cancel_all();
        if self.files.is_there() {
            self.unregister_files();
        }
        if self.buffers.is_there() {
            self.unregister_buffers();
        }
        self.end_groups();
        self.judge_tags();
        for _ in 0..self.patience() {
            if self.polls.is_empty() && self.leaving.is_empty() && self.pushed.is_empty() && self.strict {
                break;
            }
            let patience = Duration::from_millis(if self.host.is_kernel() { 50 } else { 5 });
            let _end = self.ring.submit_with(&Wait::new(1).timeout(patience));
            self.completions();
            self.judge_tags();
        }
        let Run { polls, leaving, pushed, ring, strict, host, .. } = &self;
        if *strict {
            assert!(polls.is_empty() && pushed.is_empty(), "{} polls and {pushed:?} are lost", polls.len());
            assert!(leaving.is_empty(), "tags that never came: {leaving:?}");
            assert_eq!((ring.lost(), ring.dropped(), ring.pending()), (0, 0, 0));
        }
        #[cfg(feature = "sim")]
        if let Host::Sim(sim) = host {
            assert!(!strict || sim.in_flight() == 0);
            if sim.in_flight() > 0 {
                // The simulated kernel still uses memory of this. A leak checker shall see that it is meant to stay.
                static KEPT: std::sync::Mutex<Vec<usize>> = std::sync::Mutex::new(Vec::new());
                let kept = Box::into_raw(Box::new(self)).expose_provenance();
                KEPT.lock().expect("nobody panics with it").push(kept);
                return;
            }
        }
        #[cfg(not(feature = "sim"))]
        let _ = host;
        drop(self);
    }
}
