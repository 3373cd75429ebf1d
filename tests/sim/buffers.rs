//! Registered buffers on simulated kernels: what the table holds, and for how long.

use rawring::op::{ReadFixed, WriteFixed};
use rawring::operand::FixedBufMut;
use rawring::register::{BufferCause, Memory, RegisteredBuffer, Tag};
use rawring::sim::{Config, Sim};
use rawring::{Errno, Event, InFlight, Version};

use crate::files::{next, nothing, run};
use crate::{KINDS, ring, seeds};

fn memory(len: usize) -> Memory {
    Memory::new(len).expect("memory")
}

#[test]
fn states_own_registered_buffers() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring: InFlight<(u64, RegisteredBuffer, _)> = InFlight::new(ring(sim, 8, kind)).expect("fit");
            let data: Vec<u8> = (0..6 * 64).map(|n| (n / 64) as u8).collect();
            let buffers = ring.ring().register_buffers(memory(4 * 64).chunks(64)).expect("registered");
            let mut free: Vec<_> = buffers.into_iter().collect();
            let mut wanted = (0..6).peekable();
            let mut found = 0;
            loop {
                while let Some(block) = wanted.next_if(|_| !free.is_empty()) {
                    let state = (block, free.pop().expect("one"), sim.file(data.clone()).expect("a file"));
                    let started = ring.start(state, |(block, buffer, file)| {
                        ReadFixed::new(&*file, buffer).offset(*block * 64).into()
                    });
                    started.expect("room");
                }
                if ring.in_flight() == 0 {
                    break;
                }
                if let Event::Done(done) = ring.wait_event().expect("an event") {
                    let len = done.cqe.result().expect("read") as usize;
                    let (block, buffer, _) = done.state;
                    assert!((1..=64).contains(&len) && buffer[..len].iter().all(|&byte| u64::from(byte) == block));
                    free.push(buffer);
                    found += 1;
                }
            }
            assert_eq!(found, 6);
        });
    }
}

#[test]
fn item_36_a_buffer_is_over_when_its_slot_and_its_operations_are() {
    seeds(|sim| {
        let mut ring = sim.ring(8).expect("a ring");
        let (reader, writer) = sim.pipe().expect("a pipe");
        let [old_tag, new_tag] = [7, 8].map(|number| Tag::new(number).expect("48 bits"));
        let mut old = ring.register_buffers([memory(16).tagged(old_tag)]).expect("registered").remove(0);
        // SAFETY: `old` is neither touched nor dropped before the completion was reaped.
        unsafe { ring.push_unchecked(ReadFixed::new(&reader, &mut old).user_data(1)) }.expect("room");
        nothing(sim, &mut ring);
        let new = ring.update_buffers(0, [memory(16).tagged(new_tag)]).expect("updated").remove(0);
        nothing(sim, &mut ring);
        let write = WriteFixed::new(&writer, new.part(..4).expect("inside")).user_data(2);
        // SAFETY: waited for.
        unsafe { ring.push_unchecked(write) }.expect("room");
        let order: Vec<_> = (0..3).map(|_| next(&mut ring).user_data().0).filter(|&data| data != 2).collect();
        assert_eq!(order, [1, old_tag.user_data().0], "the operation ends before its resource");
        ring.unregister_buffers().expect("a table");
        assert_eq!(next(&mut ring).tag(), Some(new_tag));
    });
}

#[test]
fn item_16_what_is_outside_is_refused() {
    seeds(|sim| {
        let mut ring = sim.ring(8).expect("a ring");
        let file = sim.file(*b"0123456789").expect("a file");
        assert_eq!(ring.unregister_buffers(), Err(Errno::NXIO));
        ring.register_sparse_buffers(3).expect("a table");
        let error = ring.register_buffers([memory(8)]).expect_err("there is a table");
        assert_eq!(error.cause(), &BufferCause::Exists);
        let mut buffer = ring.update_buffers(1, [memory(8)]).expect("registered").remove(0);
        assert!(ring.update_buffers(2, [memory(8), memory(8)]).is_err(), "past the end");
        for index in [0, 2, 3] {
            // SAFETY: waited for.
            let cqe = unsafe { run(&mut ring, ReadFixed::new(&file, FixedBufMut::new(&mut buffer[..], index))) };
            assert_eq!(cqe.result(), Err(Errno::FAULT), "slot {index}");
        }
        let mut elsewhere = [0; 8];
        // SAFETY: waited for.
        let cqe = unsafe { run(&mut ring, ReadFixed::new(&file, FixedBufMut::new(&mut elsewhere, 1))) };
        assert_eq!((cqe.result(), elsewhere), (Err(Errno::FAULT), [0; 8]));
        // SAFETY: waited for.
        let cqe = unsafe { run(&mut ring, ReadFixed::new(&file, &mut buffer).offset(0)) };
        let len = cqe.result().expect("read") as usize;
        assert_eq!(buffer[..len], b"01234567"[..len]);
        ring.clear_buffers(1..2).expect("cleared");
        // SAFETY: waited for.
        let cqe = unsafe { run(&mut ring, ReadFixed::new(&file, &mut buffer).offset(0)) };
        assert_eq!(cqe.result(), Err(Errno::FAULT));
    });
}

#[test]
fn item_36_older_kernels_lose_the_tags_of_a_table() {
    let mut config = Config::new(1);
    config.release = Version::new(6, 12);
    let sim = Sim::with(config);
    let mut ring = sim.ring(8).expect("a ring");
    let tag = Tag::new(5).expect("48 bits");
    ring.register_buffers([memory(8).tagged(tag)]).expect("registered");
    ring.clear_buffers(0..1).expect("cleared");
    assert_eq!(next(&mut ring).tag(), Some(tag));
    ring.update_buffers(0, [memory(8).tagged(tag)]).expect("registered");
    ring.unregister_buffers().expect("a table");
    nothing(&sim, &mut ring);
}
