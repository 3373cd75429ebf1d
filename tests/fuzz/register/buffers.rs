//! The table of buffers: where each is, as the calls said it, and whether operations find it there.

use rawring::op::ReadFixed;
use rawring::operand::{BufMut, FixedBufMut};
use rawring::register::{BufferCause, BufferError, CloneBuffers, Memory, NewBuffer, RegisteredBuffer};
use rawring::{Errno, Ring};

use super::Input;
use super::files::{scratch, update};
use super::world::{Hold, Run};

/// The table of buffers: where each is.
#[derive(Default)]
pub struct Buffers {
    slots: Vec<Option<(usize, usize, Hold)>>,
    /// What was registered, so that its memory stays.
    held: Vec<RegisteredBuffer>,
}

impl Buffers {
    pub fn is_there(&self) -> bool {
        !self.slots.is_empty()
    }
}

impl Run {
    /// A table of buffers, if there is none.
    pub fn make_buffers(&mut self, input: &mut Input<'_>) {
        let count = input.below(7);
        let expected = match count {
            _ if self.buffers.is_there() => Err(Errno::BUSY),
            0 => Err(Errno::INVAL),
            _ => Ok(()),
        };
        if input.u8() & 1 == 0 {
            let made = self.ring.register_sparse_buffers(count.into());
            self.expect("register_sparse_buffers", made, expected);
            if made.is_ok() {
                self.buffers.slots = vec![None; count.into()];
            }
        } else {
            let (new, places) = self.memory(count, input);
            match self.ring.register_buffers(new) {
                Ok(held) => {
                    assert!(!self.strict || expected.is_ok(), "{expected:?}");
                    self.buffers = Buffers { slots: places.into_iter().map(Some).collect(), held };
                }
                Err(error) => {
                    let cause = if count == 0 { BufferCause::Count(0) } else { BufferCause::Exists };
                    let cause = if self.buffers.is_there() { BufferCause::Exists } else { cause };
                    self.refused(&error, 0, count, cause, expected.err());
                }
            }
        }
        self.audit_buffers();
    }

    /// Memory for `count` slots, and where it is.
    fn memory(&mut self, count: u8, input: &mut Input<'_>) -> (Vec<NewBuffer>, Vec<(usize, usize, Hold)>) {
        let new = (0..count).map(|_| NewBuffer { memory: Memory::new(16).expect("memory"), tag: self.tag(input) });
        new.map(|buffer| {
            let place = (buffer.memory.as_ptr().expose_provenance(), buffer.memory.len(), Hold::new(buffer.tag));
            (buffer, place)
        })
        .unzip()
    }

    /// A call that failed has said so, and lost nothing.
    fn refused(&self, error: &BufferError, registered: usize, count: u8, cause: BufferCause, errno: Option<Errno>) {
        assert_eq!(error.registered.len() + error.refused.len(), usize::from(count));
        self.expect("buffers that are registered all the same", error.registered.len(), registered);
        self.expect("the errno", Some(error.errno()), errno);
        self.expect("the cause", *error.cause(), cause);
    }

    pub fn update_buffers(&mut self, input: &mut Input<'_>) {
        let (first, count) = (input.slot(), input.below(4));
        let table = self.buffers.slots.len();
        let expected = update(first, count.into(), table);
        if input.u8() & 1 == 0 {
            let range = first..first.saturating_add(count.into());
            let expected = update(first, range.end - range.start, table);
            let cleared = self.ring.clear_buffers(range.clone());
            self.expect("clear_buffers", cleared, expected.map(drop));
            if cleared.is_ok() {
                range.for_each(|slot| self.set_buffer(slot, None));
            }
        } else {
            let (new, places) = self.memory(count, input);
            match self.ring.update_buffers(first, new) {
                Ok(held) => {
                    assert!(!self.strict || count == 0 || expected.is_ok(), "{expected:?}");
                    self.buffers.held.extend(held);
                    (first..).zip(places).for_each(|(slot, place)| self.set_buffer(slot, Some(place)));
                }
                Err(error) => {
                    let slots = BufferCause::Slots { first, count: count.into(), table };
                    let cause = if expected == Err(Errno::NXIO) { BufferCause::NoTable } else { slots };
                    self.refused(&error, 0, count, cause, expected.err());
                    let registered = error.registered.len();
                    self.buffers.held.extend(error.registered);
                    (first..).zip(places).take(registered).for_each(|(slot, place)| self.set_buffer(slot, Some(place)));
                }
            }
        }
        self.audit_buffers();
    }

    /// Notes what is in a slot.
    fn set_buffer(&mut self, slot: u32, place: Option<(usize, usize, Hold)>) {
        let Some(here) = self.buffers.slots.get_mut(slot as usize) else { return };
        if let Some((.., old)) = std::mem::replace(here, place) {
            self.let_go(old);
        }
    }

    pub fn unregister_buffers(&mut self) {
        let gone = self.ring.unregister_buffers();
        self.expect("unregister_buffers", gone, if self.buffers.is_there() { Ok(()) } else { Err(Errno::NXIO) });
        if gone.is_ok() {
            self.forget_buffers();
        }
    }

    /// The table is gone.
    pub fn forget_buffers(&mut self) {
        for (.., hold) in std::mem::take(&mut self.buffers.slots).into_iter().flatten() {
            self.let_go(hold);
        }
        if self.strict {
            // Of an honest kernel, no operation is left that uses them.
            self.buffers.held.clear();
        }
    }

    /// Registers two buffers with another ring, and tells where they are.
    pub fn lend(&self, other: &Ring) -> Vec<(usize, usize)> {
        let new = [(); 2].map(|()| Memory::new(32).expect("memory"));
        let places = new.each_ref().map(|memory| (memory.as_ptr().expose_provenance(), memory.len()));
        // Each ring that has them in its table keeps the memory.
        let held = other.register_buffers(new);
        assert!(!self.strict || held.is_ok(), "{held:?}");
        if held.is_ok() { places.into() } else { Vec::new() }
    }

    /// Takes over buffers of the other ring.
    pub fn clone_buffers(&mut self, other: &Ring, input: &mut Input<'_>) {
        let (from, count, to, replace) = (input.below(3), input.below(3), input.below(6), input.u8() & 1 == 1);
        let part = CloneBuffers::slots(from.into()..u32::from(from + count)).to(to.into());
        let what = if replace { part.replace() } else { part };
        let cloned = self.ring.clone_buffers(other, what);
        if self.host.is_kernel() {
            let expected = if count == 0 {
                Err(Errno::INVAL)
            } else if self.buffers.is_there() && !replace {
                Err(Errno::BUSY)
            } else if from + count > 2 {
                Err(Errno::OVERFLOW)
            } else {
                Ok(())
            };
            self.expect("clone_buffers", cloned, expected);
        }
        if cloned.is_ok() {
            // The table grows as far as it has to, and does not shrink.
            let slots = usize::from(to + count).max(self.buffers.slots.len());
            self.buffers.slots.resize(slots, None);
            for n in 0..count {
                let (at, len) = self.other[usize::from(from + n)];
                self.set_buffer((to + n).into(), Some((at, len, Hold::new(None))));
            }
        }
        self.audit_buffers();
    }

    /// Every slot takes what is read into its memory, and nothing else; the crate knows which memory that is.
    pub fn audit_buffers(&mut self) {
        if !self.strict {
            return;
        }
        let file = self.source(0);
        for slot in 0..=self.buffers.slots.len() {
            let place = self.buffers.slots.get(slot).and_then(Option::as_ref).map(|&(at, len, _)| (at, len));
            let memory = || match place {
                // SAFETY: memory in a table stays until it was taken out. Nobody else uses it.
                Some((at, len)) => unsafe { BufMut::from_raw(std::ptr::with_exposed_provenance_mut(at), len) },
                None => scratch(),
            };
            let inside = FixedBufMut::new(memory(), slot as u16).inside(&self.ring);
            assert_eq!(inside.is_ok(), place.is_some(), "{slot}: {inside:?}");
            let read = ReadFixed::new(file, FixedBufMut::new(memory(), slot as u16)).offset(0);
            // SAFETY: as above; the file is a source.
            let read = unsafe { self.run(read) }.map(|cqe| cqe.result());
            assert_eq!(read, Some(if place.is_some() { Ok(1) } else { Err(Errno::FAULT) }), "{slot}");
            // Beyond the memory, and in that of others, nothing is.
            let read = ReadFixed::new(file, FixedBufMut::new(scratch(), slot as u16)).offset(0);
            // SAFETY: the memory is there for ever.
            let read = unsafe { self.run(read) }.map(|cqe| cqe.result());
            assert_eq!(read, Some(Err(Errno::FAULT)), "{slot}");
        }
    }
}
