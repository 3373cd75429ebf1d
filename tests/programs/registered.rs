//! What is registered with the ring of a run: every object has its place in the table of files, and the memory of
//! `fixed.rs` in that of buffers. Whatever is registered has a tag of its own.
//!
//! The tables change while operations use them, by calls (here) and by entries ([`Op::ClearFile`]). Who uses a file or a
//! buffer keeps it: `ledger/tags.rs` judges by the tags, and the other sides of the objects by the end.

use std::os::fd::AsFd;

use rawring::operand::FileSlot;
use rawring::register::Tag;
use rawring::{Ring, Wait};
use rawring_sys as sys;

use super::fixed::SLOTS;
use super::job::Key;
use super::program::{Object, Op, Step};
use super::run::Run;
use super::trace::{Completion, Event, Resource};
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
        let registered: Vec<_> =
            there.enumerate().map(|(tag, object)| Event::Registered { what: Resource::File(object), tag }).collect();
        let tag_of = |object: Object| {
            registered.iter().find_map(|event| match *event {
                Event::Registered { what, tag } if what == Resource::File(object) => Some(tag_number(tag)),
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
        let (what, tag) = (Resource::File(object), self.next_tag());
        // From here on the old one may come back.
        self.trace.events.push(Event::TakenOut(what));
        let done = ring.update_files_tagged(object.index() as u32, &[our.as_fd().into()], &[Some(tag_number(tag))]);
        assert!(matches!(done, Ok(1)), "a file is put into the table: {done:?}");
        self.trace.events.push(Event::Registered { what, tag });
    }

    /// Empties the object's place in the table.
    pub(super) fn take_out(&mut self, ring: Option<&Ring>, object: Object) {
        let Some(ring) = ring else { return };
        self.trace.events.push(Event::TakenOut(Resource::File(object)));
        let done = ring.update_files(object.index() as u32, &[FileSlot::CLEAR]);
        assert_eq!(done, Ok(1), "a place is emptied");
    }

    fn next_tag(&self) -> usize {
        self.trace.events.iter().filter(|event| matches!(event, Event::Registered { .. })).count()
    }

    /// Whether there is a table of registered buffers.
    pub(super) fn has_fixed_buffers(&self) -> bool {
        self.program.entries().any(|entry| entry.op.has_fixed_buffer())
    }

    /// Registers the memory of entries with registered buffers, if there are such.
    pub(super) fn register_buffers(&mut self, ring: &Ring) {
        if !self.has_fixed_buffers() {
            return;
        }
        let mut table = sys::io_uring_rsrc_register {
            nr: SLOTS as u32,
            flags: sys::IORING_RSRC_REGISTER_SPARSE,
            ..sys::io_uring_rsrc_register::ZERO
        };
        let size = size_of_val(&table) as u32;
        // SAFETY: the argument is a struct of that size, and names nothing.
        let done = unsafe { ring.register_raw(sys::IORING_REGISTER_BUFFERS2, (&raw mut table).cast(), size) };
        done.expect("a table of buffers");
        for slot in 0..SLOTS {
            self.renew(Some(ring), slot);
        }
    }

    /// Registers the memory of a buffer, whatever is in its place.
    pub(super) fn renew(&mut self, ring: Option<&Ring>, slot: usize) {
        let Some(ring) = ring else { return };
        let (what, tag) = (Resource::Buffer(slot), self.next_tag());
        self.trace.events.push(Event::TakenOut(what));
        update_buffer(ring, slot, self.site.fixed.buffer(slot), tag_number(tag).user_data().0);
        self.trace.events.push(Event::Registered { what, tag });
    }

    /// At the end, with nothing in flight: empties the tables, whose files and buffers all come back then.
    pub(super) fn empty_tables(&mut self, ring: &mut Ring) {
        if self.is_registered() {
            for object in Object::ALL {
                self.take_out(Some(ring), object);
            }
        }
        if self.has_fixed_buffers() {
            for slot in 0..SLOTS {
                self.trace.events.push(Event::TakenOut(Resource::Buffer(slot)));
                update_buffer(ring, slot, (0, 0), 0);
            }
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

/// Puts memory into a place of the table of buffers, or nothing.
fn update_buffer(ring: &Ring, slot: usize, (start, len): (usize, usize), tag: u64) {
    let memory = libc::iovec { iov_base: std::ptr::with_exposed_provenance_mut(start), iov_len: len };
    let mut update = sys::io_uring_rsrc_update2 {
        offset: slot as u32,
        nr: 1,
        data: (&raw const memory).expose_provenance() as u64,
        tags: (&raw const tag).expose_provenance() as u64,
        ..sys::io_uring_rsrc_update2::ZERO
    };
    let size = size_of_val(&update) as u32;
    // SAFETY: the argument is a struct of that size, and names one memory and one tag. The memory stays longer than the
    // ring, and only entries whose windows it has name it.
    let done = unsafe { ring.register_raw(sys::IORING_REGISTER_BUFFERS_UPDATE, (&raw mut update).cast(), size) };
    assert_eq!(done, Ok(1), "a buffer is registered");
}

fn tag_number(tag: usize) -> Tag {
    Tag::new(tag as u64).expect("a small number")
}
