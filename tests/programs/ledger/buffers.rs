//! Provided buffers: each is with the ring, or held by the program since exactly one completion delivered it.
//!
//! What came to a door that was ending, it gave back itself, and showed nobody.

use rawring::buf_ring::Pick;

use super::{Ledger, Record};
use crate::programs::job::Key;
use crate::programs::program::{Bufs, Door, Op};
use crate::programs::trace::{Completion, Event};

impl Ledger<'_> {
    pub(super) fn check_buffers(&self, wrong: &mut Vec<String>) {
        let mut held: Vec<u16> = Vec::new();
        for (at, event) in self.trace.events.iter().enumerate() {
            match event {
                Event::GaveBack(id) => match held.iter().position(|one| one == id) {
                    Some(place) => _ = held.swap_remove(place),
                    None => wrong.push(format!("buffer {id} was given back, and nobody had it")),
                },
                Event::Completed(done) => {
                    if let Some(what) = self.is_ill_delivered(at, done, &held) {
                        wrong.push(format!("{what}: {done:?}"));
                    }
                    held.extend(done.delivered.iter().map(|(id, _)| *id));
                }
                _ => {}
            }
        }
    }

    /// Whether whoever ended has kept what was delivered there.
    pub(super) fn is_kept_by_door(&self, at: usize) -> bool {
        at > self.ending && self.program.door != Door::Unchecked && self.program.bufs != Bufs::List
    }

    fn is_ill_delivered(&self, at: usize, done: &Completion, held: &[u16]) -> Option<&'static str> {
        let bufs = self.program.bufs;
        let pick = match done.key {
            Key::Entry(i) => self.records.get(i)?.entry.op.picks(),
            _ => None,
        };
        let Some(first) = done.buffer else {
            let came = pick.is_some() && matches!(done.result, Ok(1..));
            return came.then_some("bytes without a buffer");
        };
        let Some(pick) = pick else { return Some("a buffer for what wants none") };
        let Some((_, before)) = done.delivered.split_last() else {
            return (!self.is_kept_by_door(at)).then_some("a buffer that is lost");
        };
        let size = bufs.size() as usize;
        let whole = |(_, bytes): &(u16, Vec<u8>)| bytes.len() == size || bufs == Bufs::Incremental && !bytes.is_empty();
        let bytes: usize = done.delivered.iter().map(|(_, bytes)| bytes.len()).sum();
        let again = |(id, _): &(u16, Vec<u8>)| bufs != Bufs::Incremental && held.contains(id);
        if done.delivered[0].0 != first {
            Some("not the buffer that it names")
        } else if bytes != done.result.unwrap_or(0) as usize {
            Some("not as many bytes as it says")
        } else if !before.iter().all(whole) || pick == Pick::One && !before.is_empty() {
            Some("more buffers than it takes")
        } else if done.delivered.iter().any(again) {
            Some("a buffer that the program has already")
        } else if done.delivered.iter().any(|(id, _)| *id >= bufs.count()) {
            Some("no buffer of the group")
        } else {
            None
        }
    }

    /// Bytes that fit into all buffers that an operation may take.
    pub(super) fn room(&self, pick: Pick) -> u32 {
        let buffers = if pick == Pick::Bundle { u32::from(self.program.bufs.count()) } else { 1 };
        buffers * self.program.bufs.size()
    }

    /// Whether there may have been no buffer some time before this place, after the entry was taken: those that were not
    /// given back before that, those that came since, and those that others may have had then, are all.
    pub(super) fn may_run_out(&self, i: usize, at: usize) -> bool {
        self.may_be_out(i, at, self.program.bufs.size() as usize)
    }

    /// As [`may_run_out`](Self::may_run_out) after a completion: a bundle that has begun the last buffer ends, too.
    pub(super) fn may_have_begun_all(&self, i: usize, at: usize) -> bool {
        self.may_be_out(i, at + 1, 1)
    }

    /// `full` is how much of a buffer is used when nobody else gets it.
    fn may_be_out(&self, i: usize, at: usize, full: usize) -> bool {
        // A worker has its buffer before it waits for something to put there, and so has a read from a list.
        let hoards = |record: &Record<'_>| match record.entry.op {
            Op::ReadProvided(_) | Op::ReadMulti(_) if self.program.bufs == Bufs::List => true,
            op => op.picks().is_some() && self.runs_on_workers(record.chain),
        };
        if self.records.iter().any(hoards) || self.is_kept_by_door(at) {
            return true;
        }
        let bufs = self.program.bufs;
        let taken = self.records[i].taken.unwrap_or(0);
        let mut buffers = vec![Buffer::default(); bufs.count().into()];
        // Others may have had buffers then, and told later.
        let next = |record: &Record<'_>| record.completions.iter().map(|(place, _)| *place).find(|&place| place >= at);
        // What is kept by the door, it told nobody.
        let hidden = |record: &&Record<'_>| {
            let live = record.taken.is_some_and(|taken| taken < at) && record.end().is_none_or(|end| end >= at);
            live && self.program.door != Door::Unchecked && next(record).is_none_or(|place| self.is_kept_by_door(place))
        };
        let hidden = self.records.iter().filter(hidden).filter_map(|record| record.entry.op.picks());
        let mut out = hidden.map(|pick| (self.room(pick) / bufs.size()) as usize).sum::<usize>();
        let untold = self.records.iter().filter_map(next).map(|place| (place, &self.trace.events[place]));
        for (place, event) in self.trace.events[..at].iter().enumerate().chain(untold) {
            match event {
                Event::Completed(done) => {
                    for (id, bytes) in &done.delivered {
                        let Some(buffer) = buffers.get_mut(usize::from(*id)) else { continue };
                        buffer.leases += 1;
                        buffer.used += bytes.len();
                        if bufs != Bufs::Incremental || buffer.used >= full {
                            (buffer.used, buffer.out) = (0, true);
                            out += 1;
                        }
                    }
                }
                Event::GaveBack(id) => {
                    let Some(buffer) = buffers.get_mut(usize::from(*id)) else { continue };
                    buffer.leases = buffer.leases.saturating_sub(1);
                    if place < taken && buffer.leases == 0 && std::mem::take(&mut buffer.out) {
                        out -= 1;
                    }
                }
                _ => {}
            }
        }
        out >= usize::from(bufs.count())
    }

    /// Whether there were always buffers.
    pub(super) fn never_runs_out(&self) -> bool {
        let out = self.completions().map(|done| done.delivered.len()).sum::<usize>();
        out < usize::from(self.program.bufs.count())
    }
}

#[derive(Clone, Default)]
struct Buffer {
    leases: usize,
    used: usize,
    /// Used up, and not given back.
    out: bool,
}
