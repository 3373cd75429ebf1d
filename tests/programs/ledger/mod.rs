//! The ledger: what each entry of a program was promised, and whether the trace of a run keeps it.
//!
//! A pure function of program and trace, the same for every kernel. What is not certain is not demanded: an entry that
//! may have been cancelled may have been. Chains are cut where submissions were, as the kernel cuts them.

mod buffers;
mod chains;
mod data;
mod results;
mod tags;

use rawring::Errno;

use super::job::Key;
use super::program::{Door, Entry, Kind, LONG, Link, Object, Op, Program};
use super::trace::{Completion, Event, Trace};

/// An entry, and what became of it.
#[derive(Debug)]
struct Record<'t> {
    entry: Entry,
    /// Where in the trace it was pushed.
    pushed: usize,
    /// Where in the trace it was taken, in which chain, and at which place of that.
    taken: Option<usize>,
    chain: usize,
    place: usize,
    /// What the kernel refuses when it takes the entry.
    refused: Option<Errno>,
    /// Its completions, and where in the trace they are.
    completions: Vec<(usize, &'t Completion)>,
}

/// Entries that were taken together and are linked, in order.
struct Chain {
    entries: Vec<usize>,
    /// Whether it waits for everything before it.
    drained: bool,
    /// Whether one of its entries is refused, so that none of them starts.
    refused: bool,
}

pub struct Ledger<'t> {
    program: &'t Program,
    trace: &'t Trace,
    records: Vec<Record<'t>>,
    chains: Vec<Chain>,
    /// Where everything was cancelled.
    ending: usize,
}

/// How an entry ended, as far as links are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Well,
    Badly,
    /// Not yet, or nobody saw it.
    Unknown,
}

/// Everything that is wrong with a run.
pub fn verdict(program: &Program, trace: &Trace, strict_drain: bool) -> Vec<String> {
    let ledger = Ledger::new(program, trace);
    let mut wrong = trace.violations.clone();
    ledger.check_counts(&mut wrong);
    ledger.check_results(&mut wrong);
    ledger.check_messages(&mut wrong);
    ledger.check_in_flight(&mut wrong);
    ledger.check_chains(&mut wrong);
    ledger.check_drains(strict_drain, &mut wrong);
    ledger.check_files(strict_drain, &mut wrong);
    ledger.check_streams(strict_drain, &mut wrong);
    ledger.check_buffers(&mut wrong);
    ledger.check_tags(&mut wrong);
    wrong
}

impl<'t> Ledger<'t> {
    pub fn new(program: &'t Program, trace: &'t Trace) -> Self {
        let none = Record::new;
        let mut records: Vec<_> = program.entries().map(none).collect();
        let mut queue = std::collections::VecDeque::new();
        let mut chains = Vec::new();
        let mut cannot_drain = false;
        for (at, event) in trace.events.iter().enumerate() {
            match event {
                Event::SkipRefused { entry } => records[*entry].entry.skip = false,
                Event::Pushed { entry, slots } => {
                    records[*entry].pushed = at;
                    queue.push_back((Some(*entry), *slots));
                }
                Event::Withdrawn { slots, .. } => queue.push_back((None, *slots)),
                Event::Taken { slots } => {
                    let mut left = *slots;
                    let mut taken = Vec::new();
                    while let Some((entry, slots)) = if left > 0 { queue.pop_front() } else { None } {
                        left = left.saturating_sub(slots);
                        if let Some(entry) = entry {
                            records[entry].taken = Some(at);
                            taken.push((entry, slots));
                        }
                    }
                    link_up(&mut records, &mut chains, &taken, &mut cannot_drain);
                }
                Event::Completed(completion) => {
                    let Key::Entry(entry) = completion.key else { continue };
                    if let Some(record) = records.get_mut(entry) {
                        record.completions.push((at, completion));
                    }
                }
                _ => {}
            }
        }
        let ending = trace.events.iter().position(|event| *event == Event::Ending).unwrap_or(usize::MAX);
        Ledger { program, trace, records, chains, ending }
    }

    /// What has to complete by itself and has not done so yet.
    pub fn owed(&self) -> Vec<Key> {
        let entries = (0..self.records.len()).filter(|&i| self.records[i].end().is_none() && self.is_owed(i));
        let mut owed: Vec<_> = entries.map(Key::Entry).collect();
        let arrives = |key: &Key| !self.completions().any(|completion| completion.key == *key);
        owed.extend(self.messages_to_this_ring().filter(arrives));
        owed
    }

    /// Entries that have to report their end and have not done so.
    pub fn unended(&self) -> Vec<usize> {
        let waits = |&i: &usize| {
            let record = &self.records[i];
            record.taken.is_some() && record.end().is_none() && !self.may_end_silently(record)
        };
        (0..self.records.len()).filter(waits).collect()
    }

    /// Whether entries have not ended that need not report it.
    pub fn has_silent(&self) -> bool {
        self.records.iter().any(|record| record.end().is_none() && self.may_end_silently(record))
    }

    fn completions(&self) -> impl Iterator<Item = &'t Completion> + '_ {
        self.trace.events.iter().filter_map(|event| match event {
            Event::Completed(completion) => Some(completion),
            _ => None,
        })
    }

    /// Those that were certainly sent.
    fn messages_to_this_ring(&self) -> impl Iterator<Item = Key> + '_ {
        let sent = (0..self.records.len()).filter(|&i| self.message_target(i) == Some(true));
        let sent = sent.filter(|&i| matches!(self.records[i].result(), Some((_, done)) if done.result == Ok(0)));
        let posted = self.trace.events.iter().filter_map(|event| match event {
            Event::Posted(number) => Some(Key::Post(*number)),
            _ => None,
        });
        sent.map(Key::Message).chain(posted)
    }

    /// Whether an entry sends a message, and if so, whether to its own ring.
    fn message_target(&self, i: usize) -> Option<bool> {
        match self.records[i].entry.op {
            Op::Message(own) => Some(own && self.program.kind != Kind::FdOnly),
            _ => None,
        }
    }

    fn is_owed(&self, i: usize) -> bool {
        let record = &self.records[i];
        let Some(_) = record.taken else { return false };
        // Nobody would hear of its success.
        if record.entry.skip {
            return false;
        }
        let chain = &self.chains[record.chain];
        if chain.refused {
            return !chain.entries.iter().any(|&member| self.records[member].entry.skip);
        }
        if self.chains.iter().any(|chain| chain.drained) && !self.all_before_ended(record.chain) {
            return false;
        }
        if self.runs_on_workers(record.chain) && self.workers_may_block() {
            return false;
        }
        let before = chain.entries[..record.place].iter().filter(|&&member| !self.is_link_timeout(member));
        let mut last = None;
        for &member in before {
            match (self.ended(member), self.records[member].entry.link) {
                (Ended::Unknown, _) => return false,
                (Ended::Badly, Link::Soft) => return !self.records[member].entry.skip,
                _ => last = Some(member),
            }
        }
        match record.entry.op {
            Op::Nop | Op::Wide | Op::Fail | Op::Malformed => true,
            Op::ReadAt(..) | Op::WriteAt(..) | Op::ReadHuge(_) => true,
            Op::Write(..) | Op::WriteFixed(..) | Op::Send(..) | Op::SendZc(_) => true,
            Op::CancelKey(_) | Op::CancelFd(_) | Op::CancelAny | Op::TimeoutRemove(_) | Op::PollRemove(_) => true,
            Op::ClearFile(_) => true,
            Op::Message(_) | Op::TimeoutMulti(_) => true,
            Op::LinkTimeout(ms) => ms != LONG || last.is_some_and(|target| self.records[target].end().is_some()),
            Op::Timeout(ms, _) => ms != LONG || self.is_found(i),
            Op::Read(object, _) | Op::ReadFixed(object, _) | Op::Recv(object, _) | Op::Poll(object) => {
                self.is_readable(object) || self.is_found(i)
            }
            Op::ReadProvided(object) | Op::RecvProvided(object) | Op::RecvBundle(object) => {
                self.is_readable(object) || self.is_found(i)
            }
            Op::Accept => self.unaccepted() > 0 || self.is_found(i),
            Op::ReadMulti(object) | Op::RecvMulti(object) | Op::RecvMultiBundle(object) => {
                self.hung_up(object, usize::MAX) || self.is_found(i)
            }
            Op::PollMulti(_) | Op::AcceptMulti => self.is_found(i),
        }
    }

    /// Whether all entries of earlier chains have ended, as far as anybody is told.
    fn all_before_ended(&self, chain: usize) -> bool {
        let before = self.chains[..chain].iter().flat_map(|chain| &chain.entries);
        before.into_iter().all(|&entry| self.records[entry].end().is_some())
    }

    /// Whether a chain may be run by a worker thread: it is told to be, works on a file, was cut off by the end of the
    /// submission, or is not before the first drain.
    fn runs_on_workers(&self, chain: usize) -> bool {
        if self.chains[..=chain].iter().any(|chain| chain.drained) {
            return true;
        }
        let chain = &self.chains[chain].entries;
        let cut = chain.last().is_some_and(|&last| self.records[last].entry.link != Link::None);
        cut || chain.iter().any(|&i| {
            let Entry { op, force_async, .. } = self.records[i].entry;
            force_async || matches!(op.object(), Some(Object::File(_)))
        })
    }

    /// Whether a worker thread may be stuck in an operation that waits, since it runs a chain as a whole. Others then
    /// wait for that worker (Linux 6.18).
    fn workers_may_block(&self) -> bool {
        (0..self.chains.len()).filter(|&chain| self.runs_on_workers(chain)).any(|chain| {
            self.chains[chain].entries.iter().any(|&i| {
                let op = self.records[i].entry.op;
                op.reads().is_some() || matches!(op, Op::Accept | Op::AcceptMulti)
            })
        })
    }

    fn is_link_timeout(&self, i: usize) -> bool {
        matches!(self.records[i].entry.op, Op::LinkTimeout(_))
    }

    fn hung_up(&self, object: Object, before: usize) -> bool {
        let before = before.min(self.trace.events.len());
        self.trace.events[..before].contains(&Event::HungUp(object))
    }

    fn fed(&self, object: Object) -> usize {
        let fed = self.trace.events.iter().filter_map(|event| match event {
            Event::Fed { to, len } if *to == object => Some(*len),
            _ => None,
        });
        fed.sum()
    }

    /// Whether there is something to read for a request that waits, so that one of those has to go on.
    fn is_readable(&self, object: Object) -> bool {
        let readers = self.records.iter().filter(|record| record.entry.op.reads() == Some(object));
        // What nobody reports may have been read.
        if readers.clone().any(|record| record.entry.skip) {
            return false;
        }
        let results = readers.flat_map(|record| &record.completions);
        let read: usize = results.filter_map(|(_, done)| done.result.ok()).map(|n| n as usize).sum();
        read < self.fed(object) || self.hung_up(object, usize::MAX)
    }

    fn unaccepted(&self) -> usize {
        let accepting = self.records.iter().filter(|record| matches!(record.entry.op, Op::Accept | Op::AcceptMulti));
        if accepting.clone().any(|record| record.entry.skip) {
            return 0;
        }
        let accepted = accepting.flat_map(|record| &record.completions).filter(|(_, done)| done.result.is_ok()).count();
        let connected = self.trace.events.iter().filter(|event| **event == Event::Connected).count();
        connected.saturating_sub(accepted)
    }

    /// Whether something has certainly found this entry and cancelled it.
    fn is_found(&self, i: usize) -> bool {
        let by_entry = (0..self.records.len()).any(|j| {
            matches!(self.records[j].entry.op, Op::CancelKey(target) | Op::PollRemove(target) if usize::from(target) == i)
                && matches!(self.records[j].result(), Some((_, done)) if done.result == Ok(0))
        });
        by_entry || self.withdrawals(i).any(|at| self.waits_for_sure(i, at) && at < self.ending)
    }

    fn withdrawals(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        let events = self.trace.events.iter().enumerate();
        events
            .filter(move |(_, event)| matches!(event, Event::Withdrawn { entry, .. } if *entry == i))
            .map(|(at, _)| at)
    }

    /// Whether an entry was certainly waiting, started and found by who looks for it, when another was pushed at this
    /// place of the trace; unless it completes before the other does.
    fn waits_for_sure(&self, i: usize, at: usize) -> bool {
        let record = &self.records[i];
        let waits = match record.entry.op {
            Op::Timeout(ms, count) => ms == LONG && count == 0,
            Op::Read(object, _)
            | Op::ReadFixed(object, _)
            | Op::Recv(object, _)
            | Op::Poll(object)
            | Op::RecvMulti(object) => self.fed(object) == 0 && !self.hung_up(object, usize::MAX),
            _ => false,
        };
        waits
            && (record.entry.op.picks().is_none() || self.never_runs_out())
            && record.taken.is_some_and(|taken| taken < at)
            && !self.may_miss_its_file(i, at)
            && self.starts_when_taken(record)
    }

    /// Whether an entry starts while it is taken, if it was.
    fn starts_when_taken(&self, record: &Record<'_>) -> bool {
        record.taken.is_some()
            && !record.entry.force_async
            && !self.trace.polled
            && !self.chains[record.chain].refused
            && !self.chains.iter().any(|chain| chain.drained)
            && self.chains[record.chain].entries.len() == 1
    }
}

/// Cuts what was taken in one go into chains, and finds what is refused.
fn link_up(records: &mut [Record<'_>], chains: &mut Vec<Chain>, taken: &[(usize, u32)], cannot_drain: &mut bool) {
    let mut open = false;
    for &(i, slots) in taken {
        if !open {
            chains.push(Chain { entries: Vec::new(), drained: false, refused: false });
        }
        let number = chains.len() - 1;
        let chain = &mut chains[number];
        let last = chain.entries.last().map(|&last| records[last].entry.op);
        let record = &mut records[i];
        (record.chain, record.place) = (number, chain.entries.len());
        let Entry { op, skip, drain, .. } = record.entry;
        // A filler before an entry of two slots skips its completion, too, and whoever does that can drain no more.
        *cannot_drain |= skip || slots == 3;
        let invalid = match op {
            Op::Malformed => true,
            Op::SendZc(_) | Op::PollMulti(_) => skip,
            Op::LinkTimeout(_) => last.is_none_or(|last| matches!(last, Op::LinkTimeout(_))),
            _ => false,
        };
        record.refused = match (drain && *cannot_drain, invalid) {
            (true, _) => Some(Errno::OPNOTSUPP),
            (false, true) => Some(Errno::INVAL),
            (false, false) => None,
        };
        chain.refused |= record.refused.is_some();
        chain.drained |= drain;
        chain.entries.push(i);
        open = record.entry.link != Link::None;
    }
}

impl<'t> Record<'t> {
    fn new(entry: Entry) -> Self {
        Record { entry, pushed: 0, taken: None, chain: 0, place: 0, refused: None, completions: Vec::new() }
    }

    /// Where its result is in the trace, if that is its place among all completions: a door that ends shows the result of
    /// a zero-copy send together with the notification.
    fn result_in_order(&self, ending: usize) -> Option<usize> {
        let zero_copy = matches!(self.entry.op, Op::SendZc(_));
        self.result().map(|(at, _)| at).filter(|&at| !zero_copy || at < ending)
    }

    /// The completion with its result: the last that is no notification.
    fn result(&self) -> Option<(usize, &'t Completion)> {
        let zero_copy = matches!(self.entry.op, Op::SendZc(_));
        self.completions.iter().copied().find(|(_, done)| !done.notification && (zero_copy || !done.more))
    }

    /// Its first completion; a notification says nothing of when it ran.
    fn first(&self) -> Option<(usize, &'t Completion)> {
        self.completions.iter().copied().find(|(_, done)| !done.notification)
    }

    /// Its last completion.
    fn end(&self) -> Option<usize> {
        self.completions.iter().find(|(_, done)| !done.more).map(|(at, _)| *at)
    }
}

impl Ledger<'_> {
    /// Whether what an entry did was seen by nobody: it ended with its scope.
    fn unseen(&self) -> bool {
        matches!(self.program.door, Door::Scope | Door::Panic) && self.ending != usize::MAX
    }
}
