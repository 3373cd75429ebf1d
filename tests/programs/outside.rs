//! The world outside of the ring: what a run does to the other sides of its objects, and what it finds after the end.

use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use rawring::{Ring, UserData, Wait};

use super::job::Key;
use super::program::Object;
use super::run::Run;
use super::trace::{Completion, Event};
use super::world::{World, eventually};

impl<W: World> Run<'_, W> {
    fn fed(&self, to: Object) -> usize {
        let fed = self.trace.events.iter().filter_map(|event| match event {
            Event::Fed { to: object, len } if *object == to => Some(*len),
            _ => None,
        });
        fed.sum()
    }

    /// Feeds bytes that count up, so that each byte tells where in the stream it was.
    pub(super) fn feed(&mut self, to: Object, len: usize) {
        let start = self.fed(to);
        if let Some(other) = self.others[to.index()].as_ref().filter(|_| start + len <= 256) {
            let bytes: Vec<u8> = (start..start + len).map(|i| i as u8).collect();
            if self.world.write(other, &bytes) {
                self.trace.events.push(Event::Fed { to, len });
            }
        }
    }

    pub(super) fn hang_up(&mut self, object: Object) {
        self.collect(object);
        if self.others[object.index()].take().is_some() {
            self.trace.events.push(Event::HungUp(object));
        }
    }

    pub(super) fn connect(&mut self) {
        // More than fit into its queue would wait.
        if let Some(other) = self.others[Object::Listener.index()].as_ref().filter(|_| self.clients.len() < 8) {
            self.clients.push(self.world.connect(other).expect("somebody listens"));
            self.trace.events.push(Event::Connected);
        }
    }

    pub(super) fn post(&mut self) {
        let supported = self.world.supports(rawring::op::MsgRing::INFO);
        if let Some(ring) = self.site.own_ring.filter(|_| supported) {
            // SAFETY: the ring is there until the run is over.
            let ring = unsafe { BorrowedFd::borrow_raw(ring) };
            let number = self.posted;
            self.posted += 1;
            match self.helper.post(ring, Key::Post(number).pack().0, number as i32) {
                Ok(_) => self.trace.events.push(Event::Posted(number)),
                Err(errno) => self.trace.wrong(format!("sending a message failed: {errno}")),
            }
        }
    }

    /// Takes what has arrived on the other side of an object.
    fn collect(&mut self, object: Object) {
        let Some(other) = self.others[object.index()].as_ref().filter(|_| object.is_sink()) else { return };
        while let Some(bytes) = self.world.read(other).filter(|bytes| !bytes.is_empty()) {
            self.trace.arrived.push((object, bytes));
        }
    }

    pub(super) fn collect_all(&mut self) {
        Object::ALL.into_iter().for_each(|object| self.collect(object));
    }

    /// Closes all other sides: what still waits for them ends.
    pub(super) fn hang_up_all(&mut self) {
        Object::ALL.into_iter().for_each(|object| self.hang_up(object));
    }

    /// After the last completion: nothing else happens, nothing was left behind, everything is closed when we close
    /// it.
    pub(super) fn look_around(&mut self, mut ring: Ring) {
        // Somebody who still reads would take these.
        for object in Object::ALL.into_iter().filter(|object| object.is_source()) {
            self.feed(object, 4);
        }
        if !self.program.steps.is_empty() {
            ring.submit_with(&Wait::new(1).timeout(Duration::from_micros(300))).ok();
        }
        for cqe in ring.peek().expect("peeked") {
            match Key::unpack(cqe.user_data()) {
                Key::Cancel => {}
                key @ (Key::Message(_) | Key::Post(_) | Key::Tag(_)) => {
                    self.trace.events.push(Event::Completed(Completion::new(key, &cqe, Vec::new())));
                }
                // A notification that nobody announced, see the ledger. Not before its end does a door let it out.
                Key::Unknown(data) if UserData(data).is_reserved() && cqe.is_notification() => {}
                key => self.trace.wrong(format!("a completion after the end: {key:?}, {cqe:?}")),
            }
        }
        let (lost, dropped) = (ring.lost(), ring.dropped());
        if (lost, dropped) != (0, 0) {
            self.trace.wrong(format!("{lost} completions were lost, {dropped} entries dropped"));
        }
        self.collect_all();
        for object in Object::ALL {
            let Some(our) = &self.site.ours[object.index()] else { continue };
            match object {
                Object::File(_) => self.trace.files.push((object, self.world.content(our))),
                _ if object.is_source() => {
                    while let Some(bytes) = self.world.read(our).filter(|bytes| !bytes.is_empty()) {
                        self.trace.rest.push((object, bytes));
                    }
                }
                _ => {}
            }
        }
        for job in &self.ended {
            if !job.is_closed() {
                let (index, op) = (job.index, job.entry.op);
                self.trace.violations.push(format!("entry {index}, {op:?}: its memory was written to after its end"));
            }
        }
        self.trace.received =
            self.helper.received().iter().map(|&(data, res)| (Key::unpack(UserData(data)), res)).collect();
        self.buffers.census(&mut ring, self.world, &mut self.trace);
        self.empty_tables(&mut ring);
        self.let_go(&ring);
    }

    /// Closes our sides, and expects the other sides to see it while the ring is still there.
    fn let_go(&mut self, ring: &Ring) {
        self.ended.clear();
        let Some(site) = Rc::get_mut(&mut self.site) else {
            return self.trace.wrong("an entry that has ended still has its objects");
        };
        site.ours = [const { None }; Object::ALL.len()];
        for object in Object::ALL {
            let Some(other) = self.others[object.index()].take() else { continue };
            let gone = eventually(self.world, || {
                while object.is_sink() && self.world.read(&other).is_some_and(|bytes| !bytes.is_empty()) {}
                self.world.hung_up(&other)
            });
            if !gone {
                self.trace.wrong(format!("{object:?} is closed, and something still holds it"));
            }
        }
        if self.is_registered() {
            ring.unregister_files().expect("files are unregistered");
        }
    }
}
