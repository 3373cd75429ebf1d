//! Links and drains: what starts after what, and what does not start at all.

use rawring::Errno;

use super::results::was_cancelled;
use super::{Ended, Ledger};
use crate::programs::program::{Bufs, Link, Op};
use crate::programs::trace::Completion;

impl Ledger<'_> {
    /// How an entry ended: what breaks a soft link behind it.
    pub(super) fn ended(&self, i: usize) -> Ended {
        let record = &self.records[i];
        let Some((_, done)) = record.result() else {
            // Skipping says nothing of when.
            return Ended::Unknown;
        };
        let moved = |len: u8| if done.result == Ok(len.into()) { Ended::Well } else { Ended::Badly };
        match (record.entry.op, done.result) {
            (_, Err(_)) => Ended::Badly,
            // A transfer that is short is a failure; a receive that is, is none.
            (Op::ReadAt(_, _, len) | Op::WriteAt(_, _, len) | Op::Read(_, len) | Op::Write(_, len), _) => moved(len),
            (Op::ReadFixed(_, len) | Op::WriteFixed(_, len), _) => moved(len),
            (Op::ReadHuge(_), _) => {
                if self.trace.huge {
                    Ended::Badly
                } else {
                    Ended::Well
                }
            }
            (Op::ReadProvided(_), _) if self.program.bufs != Bufs::Incremental => moved(self.program.bufs.size() as u8),
            (op, _) if op.is_multi() => Ended::Unknown,
            _ => Ended::Well,
        }
    }

    /// Whether an entry before it in its chain has failed, so that this one cannot have started.
    pub(super) fn chain_is_broken(&self, i: usize) -> bool {
        let record = &self.records[i];
        let before = self.chains[record.chain].entries[..record.place].iter();
        before.into_iter().any(|&before| {
            let link = self.records[before].entry.link;
            // One that skips and has failed without a word was silenced itself.
            link == Link::Soft && !self.is_link_timeout(before) && self.ended(before) != Ended::Well
        })
    }

    /// In a chain everything comes in order; behind a failure nothing starts, and behind a success it does.
    pub(super) fn check_chains(&self, wrong: &mut Vec<String>) {
        for chain in &self.chains {
            let members: Vec<usize> = chain.entries.iter().copied().filter(|&i| !self.is_link_timeout(i)).collect();
            for pair in members.windows(2) {
                let [one, two] = [pair[0], pair[1]].map(|i| &self.records[i]);
                if is_reversed(one.result_in_order(self.ending), two.first()) {
                    wrong.push(format!("entry {} completed before entry {}, to which it is linked", pair[1], pair[0]));
                }
            }
            if chain.refused {
                continue;
            }
            let mut broken: Option<usize> = None;
            for &i in &members {
                let record = &self.records[i];
                if let Some(by) = broken {
                    if let Some((_, done)) = record.first().filter(|(_, done)| done.result != Err(Errno::CANCELED)) {
                        wrong.push(format!("entry {i} ran, though entry {by} before it had failed: {done:?}"));
                    }
                    let silent = self.records[by].entry.skip;
                    if silent != record.first().is_none() && !self.unseen() {
                        let what = if silent { "a completion" } else { "no completion" };
                        wrong.push(format!("entry {i} has {what}, cancelled for the failure of entry {by}"));
                    }
                } else if let Some((at, done)) = record.result() {
                    if was_cancelled(done) && !self.may_be_cancelled(i, at) && !self.chain_is_broken(i) {
                        wrong.push(format!("entry {i} was cancelled, and nothing asked for it: {done:?}"));
                    }
                }
                if broken.is_none() && record.entry.link == Link::Soft && self.ended(i) == Ended::Badly {
                    broken = Some(i);
                }
            }
        }
    }

    /// A drained chain starts when everything before it has ended; on some kernels nothing behind it starts before it
    /// has ended itself.
    pub(super) fn check_drains(&self, strict: bool, wrong: &mut Vec<String>) {
        for one in 0..self.chains.len() {
            for two in one + 1..self.chains.len() {
                if !self.is_before(one, two, strict) {
                    continue;
                }
                for (&i, &j) in pairs(&self.chains[one].entries, &self.chains[two].entries) {
                    let end = self.records[i].result_in_order(self.ending);
                    if is_reversed(end, self.records[j].first()) {
                        wrong.push(format!("entry {j} completed before entry {i}, and one of them is drained"));
                    }
                }
            }
        }
    }

    /// Whether drains order these chains, of which the first was taken first.
    pub(super) fn is_before(&self, one: usize, two: usize, strict: bool) -> bool {
        let [one, two] = [one, two].map(|chain| &self.chains[chain]);
        // What is refused neither waits nor is waited for.
        !one.refused && !two.refused && (two.drained || (strict && one.drained))
    }
}

/// Whether what was to start after the end of something came before it.
fn is_reversed(end: Option<usize>, start: Option<(usize, &Completion)>) -> bool {
    matches!((end, start), (Some(end), Some((start, _))) if end > start)
}

fn pairs<'a>(one: &'a [usize], two: &'a [usize]) -> impl Iterator<Item = (&'a usize, &'a usize)> {
    one.iter().flat_map(move |i| two.iter().map(move |j| (i, j)))
}
