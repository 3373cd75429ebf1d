//! How many completions there are, and what they say.

use rawring::Errno;
use rawring::buf_ring::Pick;
use rawring::operand::PollMask;
use rustix::event::PollFlags;

use super::{Ledger, Record};
use crate::programs::job::Key;
use crate::programs::program::{FILE_LEN, LONG, Object, Op};
use crate::programs::trace::{Completion, Event};

impl Ledger<'_> {
    /// One end each; more than one completion only where that was promised; nothing from nobody.
    pub(super) fn check_counts(&self, wrong: &mut Vec<String>) {
        for completion in self.completions() {
            let known = match completion.key {
                Key::Entry(i) => self.records.get(i).is_some_and(|record| record.taken.is_some()),
                Key::Message(_) | Key::Post(_) => true,
                Key::Cancel => self.ending != usize::MAX,
                Key::Tag(tag) => {
                    let was_put =
                        |event: &Event| matches!(event, Event::Registered { tag: other, .. } if *other == tag);
                    self.trace.events.iter().any(was_put)
                }
                Key::Unknown(_) => false,
            };
            if !known {
                wrong.push(format!("a completion of nothing that was submitted: {completion:?}"));
            }
        }
        for (i, record) in self.records.iter().enumerate() {
            let op = record.entry.op;
            let Some(_) = record.taken else {
                wrong.push(format!("entry {i}, {op:?}, was never taken"));
                continue;
            };
            let ends = record.completions.iter().filter(|(_, done)| !done.more).count();
            let mores = record.completions.len() - ends;
            let after = record.completions.iter().skip_while(|(_, done)| done.more).count();
            if after > 1 && !matches!(op, Op::SendZc(_)) {
                wrong.push(format!("entry {i}, {op:?}, has completions after its end: {:?}", record.completions));
            }
            if ends == 0 && !self.may_end_silently(record) {
                wrong.push(format!("entry {i}, {op:?}, has no end: {:?}", record.completions));
            }
            let notifications: Vec<_> = record.completions.iter().filter(|(_, done)| done.notification).collect();
            if let Op::SendZc(_) = op {
                let fine = match record.completions[..] {
                    [(_, first), (_, second)] => {
                        // A send that is cancelled as a link has a notification that nobody announces (Linux 6.18;
                        // io_req_tw_fail_links does not ask the operation, as other failures do).
                        let announced = first.more || (was_cancelled(first) && self.cannot_start(i));
                        announced && !first.notification && second.notification && !second.more
                    }
                    [(_, only)] if only.notification => !only.more && self.cannot_start(i),
                    [(_, only)] => !only.more || self.unseen(),
                    [] => self.may_end_silently(record),
                    _ => false,
                };
                if !fine {
                    wrong.push(format!("entry {i}: neither a result nor a result and then a notification: {record:?}"));
                }
                if notifications.iter().any(|(_, done)| done.result != Ok(0)) {
                    wrong.push(format!("entry {i}: a notification was read as an error: {notifications:?}"));
                }
            } else if !notifications.is_empty() || (mores > 0 && !op.is_multi()) {
                wrong.push(format!("entry {i}, {op:?}, has more than one completion: {:?}", record.completions));
            }
        }
    }

    /// Whether an entry did not start, because its chain was refused or broken.
    fn cannot_start(&self, i: usize) -> bool {
        self.chains[self.records[i].chain].refused || self.chain_is_broken(i)
    }

    /// Whether an entry may be without an end: it succeeded and skips that, it was cancelled together with one that
    /// skipped, or it ended with its scope.
    pub(super) fn may_end_silently(&self, record: &Record<'_>) -> bool {
        let chain = &self.chains[record.chain].entries;
        let silenced = chain[..record.place].iter().any(|&before| self.records[before].entry.skip);
        record.entry.skip || silenced || self.unseen()
    }

    pub(super) fn check_results(&self, wrong: &mut Vec<String>) {
        for (i, record) in self.records.iter().enumerate() {
            for &(at, completion) in &record.completions {
                if completion.notification {
                    continue;
                }
                if !self.is_plausible(i, at, completion) {
                    let op = record.entry.op;
                    wrong.push(format!("entry {i}, {op:?}, cannot have completed so: {completion:?}"));
                }
            }
            // What a door meets while it ends, it does not show one by one.
            if let (Op::TimeoutMulti(n), Some((at, last))) = (record.entry.op, record.completions.last()) {
                let shots = record.completions.len();
                let ended = last.result == Err(Errno::TIME) && !last.more && *at < self.ending;
                if ended && shots != usize::from(n) && !self.can_overflow() {
                    wrong.push(format!("entry {i} was to end after {n} times, and did after {shots}"));
                }
            }
            if let Op::CancelKey(target) = record.entry.op {
                self.check_cancellation(i, usize::from(target), wrong);
            }
        }
    }

    /// Whoever waits is found.
    fn check_cancellation(&self, i: usize, target: usize, wrong: &mut Vec<String>) {
        let (record, Some(waiting)) = (&self.records[i], self.records.get(target)) else { return };
        let Some((at, done)) = record.result() else { return };
        let others = self.records.iter().enumerate().filter(|(j, record)| {
            *j != i && matches!(record.entry.op, Op::CancelKey(_) | Op::CancelFd(_) | Op::CancelAny)
                || matches!(record.entry.op, Op::TimeoutRemove(_) | Op::PollRemove(_))
        });
        let others = others.count() + self.withdrawals(target).count();
        let alone = self.chains[record.chain].entries.len() == 1 && others == 0 && at < self.ending;
        if target < i && alone && self.waits_for_sure(target, record.pushed) {
            if done.result != Ok(0) {
                wrong.push(format!("entry {i} did not find entry {target}, which was waiting: {done:?}"));
            }
            if !matches!(waiting.result(), Some((_, end)) if was_cancelled(end)) {
                wrong.push(format!(
                    "entry {target} was cancelled by entry {i}, and ended so: {:?}",
                    waiting.completions
                ));
            }
        }
    }

    fn is_plausible(&self, i: usize, at: usize, done: &Completion) -> bool {
        let record = &self.records[i];
        let op = record.entry.op;
        let final_or_notified = !done.more || matches!(op, Op::SendZc(_));
        if self.chains[record.chain].refused {
            return done.result == Err(record.refused.unwrap_or(Errno::CANCELED)) && final_or_notified;
        }
        if was_cancelled(done) && final_or_notified && (self.may_be_cancelled(i, at) || self.chain_is_broken(i)) {
            return true;
        }
        if done.result == Err(Errno::BADF) && final_or_notified && self.may_miss_its_file(i, at) {
            return true;
        }
        // Run by a worker thread, what has many may end with the first.
        let ended_early = !done.more && op.is_multi() && (self.can_overflow() || self.runs_on_workers(record.chain));
        if let (Some(pick), Some(object)) = (op.picks(), op.object()) {
            match done.result {
                Ok(0) => return !done.more && self.hung_up(object, at),
                Ok(n) => {
                    // A bundle that finds no further buffer ends.
                    let spent = pick == Pick::Bundle && self.may_have_begun_all(i, at);
                    return n <= self.room(pick) && (done.more == op.is_multi() || ended_early || spent);
                }
                Err(Errno::NOBUFS) => return !done.more && self.may_run_out(i, at),
                Err(_) => {}
            }
        }
        match (op, done.result) {
            (Op::Nop | Op::Wide | Op::Message(_), result) => result == Ok(0),
            (Op::Fail, result) => result == Err(Errno::BADF),
            (Op::ReadAt(_, offset, len), result) => {
                result == Ok(usize::from(len).min(FILE_LEN - usize::from(offset)) as u32)
            }
            (Op::ReadHuge(_), result) => result == Ok(FILE_LEN as u32),
            (Op::WriteAt(_, _, len), result) => result == Ok(len.into()),
            (Op::Read(object, len) | Op::ReadFixed(object, len) | Op::Recv(object, len), Ok(n)) => {
                n <= u32::from(len) && (n > 0 || self.hung_up(object, at))
            }
            (Op::Write(_, len) | Op::WriteFixed(_, len) | Op::Send(_, len) | Op::SendZc(len), Ok(n)) => {
                n == u32::from(len)
            }
            (Op::Poll(object), Ok(mask)) => self.is_ready(object, mask, at),
            (Op::PollMulti(object), Ok(mask)) => (done.more || ended_early) && self.is_ready(object, mask, at),
            (Op::Accept, Ok(_)) => self.trace.events[..at].contains(&Event::Connected),
            (Op::AcceptMulti, Ok(_)) => {
                (done.more || ended_early) && self.trace.events[..at].contains(&Event::Connected)
            }
            (Op::Timeout(ms, _), Err(Errno::TIME)) => ms != LONG,
            (Op::Timeout(_, count), Ok(0)) => count > 0,
            (Op::TimeoutMulti(_), Err(Errno::TIME)) => true,
            (Op::LinkTimeout(_), Err(Errno::CANCELED | Errno::TIME | Errno::NOENT | Errno::ALREADY)) => true,
            (Op::CancelKey(_) | Op::TimeoutRemove(_) | Op::PollRemove(_), result) => {
                matches!(result, Ok(0) | Err(Errno::NOENT | Errno::ALREADY))
            }
            (Op::CancelFd(_) | Op::CancelAny, Ok(_)) => true,
            (Op::ClearFile(_), result) => result == Ok(1),
            (op, Err(Errno::PIPE | Errno::CONNRESET)) => {
                op.object().is_some_and(|object| self.hung_up(object, at)) && final_or_notified
            }
            _ => false,
        }
    }

    /// Whether enough completions may have piled up to end what has many.
    pub(super) fn can_overflow(&self) -> bool {
        let hidden = self.trace.events.iter().filter(|event| matches!(event, Event::Withdrawn { .. })).count();
        self.trace.overflows || self.completions().count() + hidden > 16
    }

    fn is_ready(&self, object: Object, mask: u32, before: usize) -> bool {
        let bit = |flag: PollFlags| mask & PollMask::from(flag).0 != 0;
        let events = &self.trace.events[..before];
        let fed = events.iter().any(|event| matches!(event, Event::Fed { to, .. } if *to == object));
        let hung_up = self.hung_up(object, before);
        (fed && bit(PollFlags::IN)) || (hung_up && (bit(PollFlags::IN) || bit(PollFlags::HUP) || bit(PollFlags::ERR)))
    }

    /// Whether something may have cancelled this entry before its completion there.
    pub(super) fn may_be_cancelled(&self, i: usize, at: usize) -> bool {
        let record = &self.records[i];
        let chain = &self.chains[record.chain].entries;
        let timed = chain.get(record.place + 1).is_some_and(|&next| self.is_link_timeout(next));
        let aimed = self.records.iter().enumerate().any(|(j, other)| {
            j != i
                && other.taken.is_some_and(|taken| taken < at)
                && match other.entry.op {
                    Op::CancelKey(target) | Op::TimeoutRemove(target) | Op::PollRemove(target) => {
                        usize::from(target) == i
                    }
                    Op::CancelFd(object) => record.entry.op.object() == Some(object),
                    Op::CancelAny => true,
                    _ => false,
                }
        });
        at > self.ending || timed || aimed || self.is_link_timeout(i) || self.withdrawals(i).any(|pushed| pushed < at)
    }

    /// Every message arrives once, where it was sent to, as it was sent.
    pub(super) fn check_messages(&self, wrong: &mut Vec<String>) {
        let here: Vec<_> = self
            .completions()
            .filter(|completion| matches!(completion.key, Key::Message(_) | Key::Post(_)))
            .map(|completion| (completion.key, completion.res))
            .collect();
        for (key, res) in here.iter().chain(&self.trace.received) {
            let value = match *key {
                Key::Message(i) if self.message_target(i).is_some() => i,
                Key::Post(number) if self.trace.events.contains(&Event::Posted(number)) => number,
                _ => {
                    wrong.push(format!("a message that nobody has sent: {key:?}"));
                    continue;
                }
            };
            if *res != value as i32 {
                wrong.push(format!("{key:?} arrived with {res}"));
            }
        }
        let arrived = |list: &[(Key, i32)], key| list.iter().filter(|(other, _)| *other == key).count();
        for key in self.messages_to_this_ring() {
            let count = arrived(&here, key);
            if count != 1 {
                wrong.push(format!("{key:?} arrived {count} times"));
            }
        }
        for (i, record) in self.records.iter().enumerate() {
            let Some(own) = self.message_target(i) else { continue };
            let (target, other) = if own { (&here, &self.trace.received) } else { (&self.trace.received, &here) };
            let sent = match record.result() {
                Some((_, done)) => usize::from(done.result == Ok(0))..=usize::from(done.result == Ok(0)),
                None => 0..=1,
            };
            let key = Key::Message(i);
            if !sent.contains(&arrived(target, key)) || arrived(other, key) != 0 {
                wrong.push(format!("{key:?}, sent {sent:?} times, arrived {} times", arrived(target, key)));
            }
        }
    }

    /// The doors that count operations count right.
    pub(super) fn check_in_flight(&self, wrong: &mut Vec<String>) {
        for (at, event) in self.trace.events.iter().enumerate() {
            if let Event::InFlight(claimed) = *event {
                let was_pushed = |record: &&Record<'_>| {
                    matches!(self.trace.events.get(record.pushed), Some(Event::Pushed { .. })) && record.pushed < at
                };
                let pushed = self.records.iter().filter(was_pushed);
                let live = pushed.filter(|record| record.end().is_none_or(|end| end > at)).count();
                if live != claimed {
                    wrong.push(format!("{claimed} operations are said to be in flight, and {live} are"));
                }
            }
        }
    }
}

/// What a cancelled operation says; one that a worker thread was running was interrupted.
pub(super) fn was_cancelled(done: &Completion) -> bool {
    matches!(done.result, Err(Errno::CANCELED | Errno::INTR))
}
