//! The table of registered files of a run: every object has its place in it, and every file a tag of its own.
//!
//! The table changes while operations use it, by calls (here) and by entries ([`Op::ClearFile`]). Who uses a file keeps
//! it: `ledger/tags.rs` judges by the tags, and the other sides of the objects by the end.

use std::os::fd::AsFd;

use rawring::operand::FileSlot;
use rawring::register::Tag;
use rawring::{Ring, Wait};

use super::job::Key;
use super::program::{Object, Op, Step};
use super::run::Run;
use super::trace::{Completion, Event};
use super::world::{PATIENCE, World};

impl<W: World> Run<'_, W> {
    /// Whether there is a table of registered files.
    pub(super) fn is_registered(&self) -> bool {
        let changes = |step: &Step| matches!(step, Step::Install(_) | Step::TakeOut(_));
        let names = |op| matches!(op, Op::ClearFile(_));
        self.site.registered
            && (self.program.entries().any(|entry| entry.fixed || names(entry.op))
                || self.program.steps.iter().any(changes))
    }

    /// Registers the objects as files, if an entry names them so.
    pub(super) fn register(&mut self, ring: &Ring) {
        if !self.is_registered() {
            return;
        }
        let ours = &self.site.ours;
        let slots: Vec<FileSlot<'_>> =
            ours.iter().map(|our| our.as_ref().map_or(FileSlot::CLEAR, |our| our.as_fd().into())).collect();
        let there = Object::ALL.into_iter().filter(|object| ours[object.index()].is_some());
        let registered: Vec<_> = there.enumerate().map(|(tag, object)| Event::Registered { object, tag }).collect();
        let tag_of = |object: Object| {
            registered.iter().find_map(|event| match *event {
                Event::Registered { object: other, tag } if other == object => Some(tag_number(tag)),
                _ => None,
            })
        };
        let tags: Vec<_> = Object::ALL.into_iter().map(tag_of).collect();
        ring.register_files_tagged(&slots, &tags).expect("files are registered");
        self.trace.events.extend(registered);
    }

    /// Puts an object into its place in the table, whatever is there.
    pub(super) fn install(&mut self, ring: Option<&Ring>, object: Object) {
        let Some((ring, our)) = ring.zip(self.site.ours[object.index()].as_ref()) else { return };
        let tag = self.trace.events.iter().filter(|event| matches!(event, Event::Registered { .. })).count();
        // From here on the old one may come back.
        self.trace.events.push(Event::TakenOut(object));
        let done = ring.update_files_tagged(object.index() as u32, &[our.as_fd().into()], &[Some(tag_number(tag))]);
        assert!(matches!(done, Ok(1)), "a file is put into the table: {done:?}");
        self.trace.events.push(Event::Registered { object, tag });
    }

    /// Empties the object's place in the table.
    pub(super) fn take_out(&mut self, ring: Option<&Ring>, object: Object) {
        let Some(ring) = ring else { return };
        self.trace.events.push(Event::TakenOut(object));
        let done = ring.update_files(object.index() as u32, &[FileSlot::CLEAR]);
        assert_eq!(done, Ok(1), "a place is emptied");
    }

    /// At the end, with nothing in flight: empties the table, whose files all come back then.
    pub(super) fn empty_table(&mut self, ring: &mut Ring) {
        if !self.is_registered() {
            return;
        }
        for object in Object::ALL {
            self.take_out(Some(ring), object);
        }
        let registered = |event: &&Event| matches!(event, Event::Registered { .. });
        let back = |event: &&Event| matches!(event, Event::Completed(Completion { key: Key::Tag(_), .. }));
        for _ in 0..100 {
            let events = || self.trace.events.iter();
            if events().filter(back).count() >= events().filter(registered).count() {
                break;
            }
            ring.submit_with(&Wait::new(1).timeout(PATIENCE / 100)).ok();
            for cqe in ring.peek().expect("peeked") {
                let completion = Completion::new(Key::unpack(cqe.user_data()), &cqe, Vec::new());
                self.trace.events.push(Event::Completed(completion));
            }
        }
    }
}

fn tag_number(tag: usize) -> Tag {
    Tag::new(tag as u64).expect("a small number")
}
