//! Tags of registered files and buffers: each comes once, and not while anybody uses what it is of.

use super::{Ledger, Record};
use crate::programs::fixed::slot_of;
use crate::programs::job::Key;
use crate::programs::program::Op;
use crate::programs::trace::{Event, Resource};

impl Ledger<'_> {
    pub(super) fn check_tags(&self, wrong: &mut Vec<String>) {
        for (at, event) in self.trace.events.iter().enumerate() {
            let Event::Registered { what, tag } = *event else { continue };
            let came = self.trace.events.iter().enumerate().filter_map(|(at, event)| match event {
                Event::Completed(done) if done.key == Key::Tag(tag) => Some((at, done)),
                _ => None,
            });
            let came: Vec<_> = came.collect();
            let &[(back, done)] = &came[..] else {
                wrong.push(format!("tag {tag} of {what:?} came {} times", came.len()));
                continue;
            };
            if (done.res, done.more) != (0, false) || !self.may_be_gone(what, at, back) {
                wrong.push(format!("tag {tag} of {what:?} came while that was in the table: {done:?}"));
            }
            for (i, record) in self.records.iter().enumerate() {
                // What a zero-copy send waits for after its result, it does not need the file for.
                let sent = matches!((what, record.entry.op), (Resource::File(_), Op::SendZc(_)));
                let ends = if sent { record.result().map(|(at, _)| at) } else { record.end() };
                let ends = ends.unwrap_or(usize::MAX);
                if self.has_for_sure(i, what, at) && back < ends && !self.may_end_silently(record) {
                    wrong.push(format!("tag {tag} of {what:?} came while entry {i} had it: {record:?}"));
                }
            }
        }
    }

    /// Whether something may have taken out of the table what was put there, between these places of the trace.
    fn may_be_gone(&self, what: Resource, from: usize, to: usize) -> bool {
        let by_call = self.trace.events[from..to].contains(&Event::TakenOut(what));
        let clears = |record: &Record<'_>| record.clears(what) && record.taken.is_some_and(|taken| taken < to);
        by_call || self.records.iter().any(clears)
    }

    /// Whether an entry that names a registered file may have found none.
    pub(super) fn may_miss_its_file(&self, i: usize, at: usize) -> bool {
        let record = &self.records[i];
        record.entry.fixed
            && record.entry.op.object().is_some_and(|object| self.may_be_gone(Resource::File(object), 0, at))
    }

    /// Whether an entry was certainly started with what was put there at this place of the trace.
    fn has_for_sure(&self, i: usize, what: Resource, registered: usize) -> bool {
        let record = &self.records[i];
        let Some(taken) = record.taken.filter(|&taken| taken > registered) else { return false };
        let cleared = |other: &Record<'_>| other.clears(what) && other.pushed < record.pushed;
        let names = match what {
            Resource::File(object) => {
                record.entry.fixed && record.entry.op.object() == Some(object) && !record.clears(what)
            }
            Resource::Buffer(slot) => {
                record.entry.op.has_fixed_buffer() && slot_of(i) == slot && !self.may_miss_its_file(i, taken)
            }
        };
        names
            && self.starts_when_taken(record)
            && !self.trace.events[registered..taken].contains(&Event::TakenOut(what))
            && !self.records.iter().any(cleared)
    }
}

impl Record<'_> {
    fn clears(&self, what: Resource) -> bool {
        matches!((self.entry.op, what), (Op::ClearFile(object), Resource::File(other)) if object == other)
    }
}
