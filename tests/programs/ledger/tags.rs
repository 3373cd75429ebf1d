//! Tags of registered files: each comes once, and not while anybody uses its file.

use super::{Ledger, Record};
use crate::programs::job::Key;
use crate::programs::program::{Object, Op};
use crate::programs::trace::Event;

impl Ledger<'_> {
    pub(super) fn check_tags(&self, wrong: &mut Vec<String>) {
        for (at, event) in self.trace.events.iter().enumerate() {
            let Event::Registered { object, tag } = *event else { continue };
            let came = self.trace.events.iter().enumerate().filter_map(|(at, event)| match event {
                Event::Completed(done) if done.key == Key::Tag(tag) => Some((at, done)),
                _ => None,
            });
            let came: Vec<_> = came.collect();
            let &[(back, done)] = &came[..] else {
                wrong.push(format!("tag {tag} of {object:?} came {} times", came.len()));
                continue;
            };
            if (done.res, done.more) != (0, false) || !self.may_be_gone(object, at, back) {
                wrong.push(format!("tag {tag} of {object:?} came while that was in the table: {done:?}"));
            }
            for (i, record) in self.records.iter().enumerate() {
                let ends = record.end().unwrap_or(usize::MAX);
                if self.has_file_for_sure(record, object, at) && back < ends && !self.may_end_silently(record) {
                    wrong.push(format!("tag {tag} of {object:?} came while entry {i} had it: {record:?}"));
                }
            }
        }
    }

    /// Whether something may have taken out of the table what was put there, between these places of the trace.
    fn may_be_gone(&self, object: Object, from: usize, to: usize) -> bool {
        let by_call = self.trace.events[from..to].contains(&Event::TakenOut(object));
        by_call
            || self.records.iter().any(|record| record.clears(object) && record.taken.is_some_and(|taken| taken < to))
    }

    /// Whether an entry that names a registered file may have found none.
    pub(super) fn may_miss_its_file(&self, i: usize, at: usize) -> bool {
        let record = &self.records[i];
        record.entry.fixed && record.entry.op.object().is_some_and(|object| self.may_be_gone(object, 0, at))
    }

    /// Whether an entry was certainly started with the file that was put there at this place of the trace.
    fn has_file_for_sure(&self, record: &Record<'_>, object: Object, registered: usize) -> bool {
        let Some(taken) = record.taken.filter(|&taken| taken > registered) else { return false };
        let cleared = |other: &Record<'_>| other.clears(object) && other.pushed < record.pushed;
        record.entry.fixed
            && record.entry.op.object() == Some(object)
            && !record.clears(object)
            && self.starts_when_taken(record)
            && !self.trace.events[registered..taken].contains(&Event::TakenOut(object))
            && !self.records.iter().any(cleared)
    }
}

impl Record<'_> {
    fn clears(&self, object: Object) -> bool {
        self.entry.op == Op::ClearFile(object)
    }
}
