//! What happened in a run, in order: the record on which the ledger judges.

use rawring::{Cqe, Errno};

use super::job::Key;
use super::program::Object;

#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// An entry went into the queue and took so many slots.
    Pushed {
        entry: usize,
        slots: u32,
    },
    /// The door cancels an entry by an entry of its own.
    Withdrawn {
        entry: usize,
        slots: u32,
    },
    /// The door did not take an entry that skips its completion; it was pushed without that flag afterwards.
    SkipRefused {
        entry: usize,
    },
    /// The ring took so many slots, in one go.
    Taken {
        slots: u32,
    },
    Fed {
        to: Object,
        len: usize,
    },
    HungUp(Object),
    Connected,
    /// A message was sent to the ring.
    Posted(usize),
    Completed(Completion),
    /// A file or a buffer was registered, with a tag.
    Registered {
        what: Resource,
        tag: usize,
    },
    /// It is being taken out of its table by a call.
    TakenOut(Resource),
    /// The program gave back a provided buffer.
    GaveBack(u16),
    /// The door said how many operations are in flight.
    InFlight(usize),
    /// From here on everything may be cancelled.
    Ending,
}

/// What can be registered, by its place in its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    File(Object),
    Buffer(usize),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Completion {
    pub key: Key,
    pub res: i32,
    pub result: Result<u32, Errno>,
    pub more: bool,
    pub notification: bool,
    /// The provided buffer that it names.
    pub buffer: Option<u16>,
    /// The provided buffers that it stands for, in order, with what was in them; none where a door keeps them.
    pub delivered: Vec<(u16, Vec<u8>)>,
}

impl Completion {
    pub fn new(key: Key, cqe: &Cqe, delivered: Vec<(u16, Vec<u8>)>) -> Self {
        let (more, notification, buffer) = (cqe.more(), cqe.is_notification(), cqe.buffer_id());
        Completion { key, res: cqe.res(), result: cqe.result(), more, notification, buffer, delivered }
    }
}

/// A run, as it was seen.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Trace {
    pub events: Vec<Event>,
    /// What each entry's buffer held at its end, up to its result.
    pub read: Vec<Option<Vec<u8>>>,
    /// What was left in the sources.
    pub rest: Vec<(Object, Vec<u8>)>,
    /// What arrived on the other sides.
    pub arrived: Vec<(Object, Vec<u8>)>,
    pub files: Vec<(Object, Vec<u8>)>,
    /// Messages that arrived on the other ring.
    pub received: Vec<(Key, i32)>,
    /// What is wrong whatever the program is.
    pub violations: Vec<String>,
    /// Whether the ring's submissions are taken by a thread, all at once or not.
    pub polled: bool,
    /// Whether the largest buffers were larger than what was read into them.
    pub huge: bool,
    /// Whether completions may have overflowed, which ends what has many.
    pub overflows: bool,
}

impl Trace {
    pub fn wrong(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }
}

/// Of a completion its result, whether more was to come, and what it delivered in provided buffers; of a notification only
/// that it came.
type Seen<'t> = (Option<i32>, bool, &'t [(u16, Vec<u8>)]);

/// What each entry came to before everything was cancelled, and what was moved: the same for every kernel, if the program
/// leaves no choice.
#[derive(PartialEq, Debug)]
pub struct Outcome<'t> {
    pub completions: Vec<Vec<Seen<'t>>>,
    pub read: &'t [Option<Vec<u8>>],
    pub rest: Vec<(Object, Vec<u8>)>,
    pub arrived: Vec<(Object, Vec<u8>)>,
    pub files: &'t [(Object, Vec<u8>)],
}

impl Trace {
    pub fn outcome(&self) -> Outcome<'_> {
        let mut completions = vec![Vec::new(); self.read.len()];
        for event in self.events.iter().take_while(|event| **event != Event::Ending) {
            let Event::Completed(completion) = event else { continue };
            if let Completion { key: Key::Entry(i), res, more, notification, .. } = *completion {
                // What a worker thread was running says that it was interrupted.
                let res = if res == -libc::EINTR { -libc::ECANCELED } else { res };
                completions[i].push((Some(res).filter(|_| !notification), more, &completion.delivered[..]));
            }
        }
        let joined = |parts: &[(Object, Vec<u8>)]| {
            let of = |object| parts.iter().filter(move |(of, _)| *of == object).flat_map(|(_, bytes)| bytes.clone());
            Object::ALL.into_iter().map(|object| (object, of(object).collect())).collect()
        };
        let (rest, arrived) = (joined(&self.rest), joined(&self.arrived));
        Outcome { completions, read: &self.read, rest, arrived, files: &self.files }
    }
}
