//! What was read and written: against the order that is certain, everything else may have happened in any.

use super::Ledger;
use crate::programs::job::tag;
use crate::programs::program::{FILE_LEN, Object, Op};
use crate::programs::trace::Event;

impl Ledger<'_> {
    /// Whether an entry had certainly had its result before the other started.
    fn precedes(&self, i: usize, j: usize, strict: bool) -> bool {
        let [one, two] = [i, j].map(|i| &self.records[i]);
        let seen = matches!((one.result(), two.taken), (Some((end, _)), Some(taken)) if end < taken);
        let same = one.chain == two.chain;
        seen || (same && one.place < two.place)
            || (!same && one.chain < two.chain && self.is_before(one.chain, two.chain, strict))
    }

    /// Whether an entry has done what it was to do, if that is known.
    fn has_succeeded(&self, i: usize) -> Option<bool> {
        self.records[i].result().map(|(_, done)| done.result.is_ok())
    }

    fn writers(&self, object: Object) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + '_ {
        self.records.iter().enumerate().filter_map(move |(i, record)| match record.entry.op {
            Op::WriteAt(file, at, len) if file == object && self.has_succeeded(i) != Some(false) => {
                Some((i, usize::from(at)..usize::from(at) + usize::from(len)))
            }
            _ => None,
        })
    }

    /// Every byte read from a file is the last that was certainly written before, or one that may have been.
    pub(super) fn check_files(&self, strict: bool, wrong: &mut Vec<String>) {
        for (i, record) in self.records.iter().enumerate() {
            if let (Op::ReadAt(object, at, _), Some(Some(bytes))) = (record.entry.op, self.trace.read.get(i)) {
                self.check_file(object, Some(i), at.into(), bytes, strict, wrong);
            }
        }
        for (object, bytes) in &self.trace.files {
            if bytes.len() != FILE_LEN {
                wrong.push(format!("{object:?} has {} bytes", bytes.len()));
            }
            self.check_file(*object, None, 0, bytes, strict, wrong);
        }
    }

    /// `reader` is none for what is there at the end.
    fn check_file(
        &self,
        object: Object,
        reader: Option<usize>,
        at: usize,
        bytes: &[u8],
        strict: bool,
        wrong: &mut Vec<String>,
    ) {
        let before = |i: usize| reader.is_none_or(|reader| self.precedes(i, reader, strict));
        let after = |i: usize| reader.is_some_and(|reader| self.precedes(reader, i, strict));
        for (position, &byte) in (at..).zip(bytes) {
            let writers: Vec<usize> =
                self.writers(object).filter(|(_, range)| range.contains(&position)).map(|(i, _)| i).collect();
            let certain = |i: usize| self.has_succeeded(i) == Some(true) && before(i);
            let allowed = if byte == 0 {
                !writers.iter().any(|&i| certain(i))
            } else {
                writers.iter().any(|&i| {
                    let hidden = writers.iter().any(|&j| j != i && certain(j) && self.precedes(i, j, strict));
                    tag(i) == byte && !after(i) && !hidden
                })
            };
            if !allowed {
                let who = reader.map_or("the end".to_owned(), |i| format!("entry {i}"));
                wrong.push(format!("{who} found {byte} at {position} of {object:?}, written by none of {writers:?}"));
                return;
            }
        }
    }

    pub(super) fn check_streams(&self, strict: bool, wrong: &mut Vec<String>) {
        for object in Object::ALL {
            self.check_source(object, strict, wrong);
            self.check_sink(object, strict, wrong);
        }
    }

    /// What was fed arrives once and whole: each byte is its place in the stream.
    fn check_source(&self, object: Object, strict: bool, wrong: &mut Vec<String>) {
        let mut parts: Vec<(Option<usize>, Vec<u8>)> = Vec::new();
        let mut uncertain = self.hung_up(object, usize::MAX);
        for (i, record) in self.records.iter().enumerate().filter(|(_, record)| record.entry.op.reads() == Some(object))
        {
            // What a door meets while it ends, it does not show one by one.
            let hidden = record.entry.op.is_multi() && record.end().is_none_or(|end| end > self.ending);
            uncertain |= self.has_succeeded(i).is_none() || hidden;
            for (_, done) in &record.completions {
                parts.push((Some(i), done.delivered.iter().flat_map(|(_, bytes)| bytes.clone()).collect()));
                uncertain |= done.buffer.is_some() && done.delivered.is_empty();
            }
            if self.has_succeeded(i) == Some(true) && !record.entry.op.is_multi() {
                parts.extend(self.trace.read[i].iter().map(|bytes| (Some(i), bytes.clone())));
            }
        }
        parts.extend(self.trace.rest.iter().filter(|(of, _)| *of == object).map(|(_, bytes)| (None, bytes.clone())));
        parts.retain(|(_, bytes)| !bytes.is_empty());
        for (who, bytes) in &parts {
            if bytes.windows(2).any(|pair| pair[1] != pair[0].wrapping_add(1)) {
                wrong.push(format!("{who:?} has read from {object:?} what was never there in a row: {bytes:?}"));
            }
        }
        let starts = |part: &(Option<usize>, Vec<u8>)| usize::from(part.1[0]);
        for (place, one) in parts.iter().enumerate() {
            if parts[place..].iter().any(|two| one.0.is_some() && one.0 == two.0 && starts(one) > starts(two)) {
                wrong.push(format!("entry {:?} has read from {object:?} what comes before what it had read", one.0));
            }
        }
        for (one, two) in parts.iter().flat_map(|one| parts.iter().map(move |two| (one, two))) {
            let (Some(i), Some(j)) = (one.0, two.0) else { continue };
            if i != j && self.precedes(i, j, strict) && starts(one) > starts(two) {
                wrong.push(format!("entry {j} has read from {object:?} what comes before what entry {i} had read"));
            }
        }
        parts.sort_by_key(starts);
        let mut next = 0;
        for part in &parts {
            let start = starts(part);
            if start < next || (start > next && !uncertain) {
                wrong.push(format!("{object:?}: {next} comes next, and {:?} was read: {parts:?}", part));
                return;
            }
            next = start + part.1.len();
        }
        if object.is_source() && next != self.fed(object) && !uncertain {
            wrong.push(format!("{object:?}: {} bytes were fed, and {next} read", self.fed(object)));
        }
    }

    /// What was written arrives once and whole: each byte says who wrote it.
    fn check_sink(&self, object: Object, strict: bool, wrong: &mut Vec<String>) {
        let arrived: Vec<u8> =
            self.trace.arrived.iter().filter(|(of, _)| *of == object).flat_map(|(_, bytes)| bytes.clone()).collect();
        let mut blocks: Vec<(u8, usize)> = Vec::new();
        for byte in arrived {
            match blocks.last_mut() {
                Some((last, count)) if *last == byte => *count += 1,
                _ => blocks.push((byte, 1)),
            }
        }
        let mut expected = Vec::new();
        for (i, record) in self.records.iter().enumerate() {
            let Some((_, len)) = record.entry.op.writes().filter(|(to, _)| *to == object) else { continue };
            expected.push(tag(i));
            let found: Vec<usize> = blocks.iter().filter(|(by, _)| *by == tag(i)).map(|(_, count)| *count).collect();
            let fine = match self.has_succeeded(i) {
                Some(true) if self.hung_up_early(object) => found.is_empty() || found == [usize::from(len)],
                Some(true) => found == [usize::from(len)],
                Some(false) => found.is_empty(),
                None => found.is_empty() || found == [usize::from(len)],
            };
            if !fine {
                wrong.push(format!("{object:?}: of entry {i}, which was to write {len} bytes, arrived {found:?}"));
            }
        }
        if let Some(stranger) = blocks.iter().find(|(by, _)| !expected.contains(by)) {
            wrong.push(format!("{object:?}: nobody has written {stranger:?}"));
        }
        for (one, two) in blocks.windows(2).map(|pair| (pair[0].0, pair[1].0)) {
            let [i, j] = [one, two].map(|tag| usize::from(tag) - 1);
            if i.max(j) < self.records.len() && self.precedes(j, i, strict) {
                wrong.push(format!("{object:?}: what entry {i} wrote came before what entry {j} had written"));
            }
        }
    }

    /// Whether the other side was closed before everything had arrived there.
    fn hung_up_early(&self, object: Object) -> bool {
        self.trace.events.contains(&Event::HungUp(object))
    }
}
