//! Going through the steps of a program: pushing, submitting, reaping.
//!
//! Everything that is done and seen goes into the trace, in order.

use std::time::{Duration, Instant};

use rawring::{Errno, Reason, Wait};

use super::job::{Job, Key};
use super::ledger::Ledger;
use super::program::{Entry, Link, Op, Step};
use super::run::{Reaped, Run, Way};
use super::trace::{Completion, Event};
use super::world::{PATIENCE, World};

impl<W: World> Run<'_, W> {
    /// Goes through the steps, and on until everything that ends by itself has ended.
    pub fn drive(&mut self, way: &mut impl Way<W::Side>) {
        let program = self.program;
        for step in &program.steps {
            self.step(way, step);
        }
        self.submit(way, &Wait::new(0));
        self.settle(way);
    }

    fn step(&mut self, way: &mut impl Way<W::Side>, step: &Step) {
        match *step {
            Step::Push(entry) => self.push(way, entry),
            Step::Withdraw(entry) => {
                let entry = usize::from(entry);
                // An entry of the door's own would become part of a chain that is still open.
                if entry < self.pushed && !self.last_linked && way.room() > 0 {
                    let before = way.room();
                    way.withdraw(entry);
                    let slots = before - way.room();
                    if slots > 0 {
                        self.trace.events.push(Event::Withdrawn { entry, slots });
                    }
                }
            }
            Step::Submit => self.submit(way, &Wait::new(0)),
            Step::Wait(want) => {
                self.submit(way, &Wait::new(want.into()).timeout(Duration::from_millis(2)));
                self.reap(way);
            }
            Step::Reap => self.reap(way),
            Step::Settle => {
                self.submit(way, &Wait::new(0));
                // What does not end by itself is to wait before the next step, not still be on its way there.
                self.world.pause();
                self.settle(way);
            }
            Step::Feed(to, len) => self.feed(to, len.into()),
            Step::HangUp(object) => self.hang_up(object),
            Step::Connect => self.connect(),
            Step::Post => self.post(),
            Step::GiveBack(at) => self.buffers.give_back(at, &mut self.trace),
            Step::Install(object) if self.is_registered() => self.install(way.ring(), object),
            Step::TakeOut(object) if self.is_registered() => self.take_out(way.ring(), object),
            Step::Renew(slot) if self.has_fixed_buffers() => self.renew(way.ring(), slot.into()),
            Step::Install(_) | Step::TakeOut(_) | Step::Renew(_) => {}
            Step::GiveBackAll => self.buffers.give_back_all(&mut self.trace),
        }
    }

    fn push(&mut self, way: &mut impl Way<W::Side>, entry: Entry) {
        let index = self.pushed;
        self.pushed += 1;
        let target = match entry.op {
            Op::CancelKey(target) | Op::TimeoutRemove(target) | Op::PollRemove(target) => usize::from(target),
            _ => index,
        };
        let target = if target < index { way.key(target) } else { Key::Entry(target).pack() };
        let mut job = Job::new(entry, index, target, &self.site);
        loop {
            let before = way.room();
            match way.push(job) {
                Ok(()) => {
                    self.trace.events.push(Event::Pushed { entry: index, slots: before - way.room() });
                    break;
                }
                Err((mut back, Reason::SkipSuccess)) => {
                    self.trace.events.push(Event::SkipRefused { entry: index });
                    back.entry.skip = false;
                    job = back;
                }
                Err((back, Reason::Full)) => {
                    self.submit(way, &Wait::new(0));
                    job = back;
                }
                Err((_, reason)) => panic!("an entry was refused: {reason}"),
            }
        }
        self.last_linked = entry.link != Link::None;
    }

    /// Submits until nothing is queued. With a polling thread, waits for it.
    pub fn submit(&mut self, way: &mut impl Way<W::Side>, wait: &Wait<'_>) {
        let deadline = Instant::now() + PATIENCE;
        let queued = self.capacity - way.room();
        if self.trace.polled && queued > 0 {
            self.trace.events.push(Event::Taken { slots: queued });
        }
        let mut wait = wait;
        let now = Wait::new(0);
        loop {
            let before = self.capacity - way.room();
            let result = way.submit(wait);
            wait = &now;
            let left = self.capacity - way.room();
            match result {
                Ok(_) if self.trace.polled => self.world.pause(),
                Ok(taken) => {
                    if taken != before - left {
                        self.trace.wrong(format!("{taken} entries were taken, and {before} became {left}"));
                    }
                    if before > left {
                        self.trace.events.push(Event::Taken { slots: before - left });
                    }
                }
                // Completions wait for room, or requests for memory.
                Err(Errno::BUSY | Errno::AGAIN | Errno::INTR) => self.reap(way),
                Err(errno) => return self.trace.wrong(format!("submitting failed: {errno}")),
            }
            if left == 0 {
                break;
            }
            if Instant::now() > deadline {
                return self.trace.wrong(format!("{left} entries stay in the queue"));
            }
        }
        self.last_linked = false;
    }

    /// Takes all completions that are there.
    pub fn reap(&mut self, way: &mut impl Way<W::Side>) {
        while let Some(reaped) = way.next() {
            self.completed(reaped);
        }
        if let Some(count) = way.in_flight() {
            self.trace.events.push(Event::InFlight(count));
        }
    }

    fn op(&self, key: Key) -> Option<Op> {
        match key {
            Key::Entry(index) => self.program.entries().nth(index).map(|entry| entry.op),
            _ => None,
        }
    }

    pub fn completed(&mut self, Reaped { key, cqe, job, delivery }: Reaped<W::Side>) {
        let delivered = self.buffers.take(&cqe, delivery, &mut self.trace);
        let completion = Completion::new(key, &cqe, delivered);
        if let (Some(Op::Accept | Op::AcceptMulti), Ok(descriptor)) = (self.op(key), completion.result) {
            self.world.close(descriptor);
        }
        self.trace.events.push(Event::Completed(completion));
        if let Some(job) = job {
            self.finished(job);
        }
    }

    /// Looks at the memory of an entry that has ended.
    pub fn finished(&mut self, mut job: Job<W::Side>) {
        let result = self.trace.events.iter().rev().find_map(|event| match event {
            Event::Completed(completion) if completion.key == Key::Entry(job.index) && !completion.notification => {
                Some(completion.result.unwrap_or(0))
            }
            _ => None,
        });
        // What has left no completion may be done with anything.
        if let Some(n) = result {
            let (content, wrong) = job.capture(job.transferred(n));
            self.trace.read[job.index] = Some(content);
            self.trace.violations.extend(wrong);
        }
        job.close();
        self.ended.push(job);
    }

    /// Waits until everything that ends by itself has ended.
    fn settle(&mut self, way: &mut impl Way<W::Side>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.collect_all();
            self.reap(way);
            let owed = Ledger::new(self.program, &self.trace).owed();
            if owed.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                return self.trace.wrong(format!("these entries ought to have completed: {owed:?}"));
            }
            self.submit(way, &Wait::new(1).timeout(Duration::from_millis(5)));
        }
    }
}
