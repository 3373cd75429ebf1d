//! Reads, writes and polls of simulated files and pipes.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;

use rawring::op::*;
use rawring::operand::Group;
use rawring::sim::{Config, Sim};
use rawring::{Cqe, Errno, Event, InFlight, Ring, Sqe, Version};
use rustix::event::PollFlags;
use rustix::io::ReadWriteFlags;

use crate::{KINDS, ring, seeds};

/// The next completion, however often the wait for it is interrupted.
pub fn next(ring: &mut Ring) -> Cqe {
    loop {
        if let Some(cqe) = ring.completions().next() {
            return cqe;
        }
        ring.submit_and_wait(1).expect("a wait");
    }
}

/// Runs one operation to its last completion.
///
/// # Safety
///
/// As for [`Ring::push_unchecked`]; it waits for the completion.
pub unsafe fn run<'a>(ring: &mut Ring, entry: impl Into<Sqe<'a>>) -> Cqe {
    // SAFETY: the caller's promise.
    unsafe { ring.push_unchecked(entry) }.expect("room");
    next(ring)
}

/// Submits, lets happen what can, and expects that it completes nothing.
pub fn nothing(sim: &Sim, ring: &mut Ring) {
    ring.submit().expect("submitted");
    sim.run();
    ring.get_events().expect("a visit");
    assert_eq!(ring.completions().next(), None);
}

#[test]
fn what_is_written_is_read_back() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 8, kind);
            let file = sim.file(*b"0123456789").expect("a file");
            let mut back = [0; 20];
            let mut read = 0;
            let scope = ring.scope(|s| {
                s.push(Write::new(&file, "abc").offset(4).hard_link()).expect("room");
                s.push(Read::new(&file, &mut back).offset(0)).expect("room");
                let mut results = Vec::new();
                s.finish(|cqe| results.push(cqe.result().expect("a result") as usize)).expect("finished");
                read = results[1];
                results[0]
            });
            let written = scope.expect("a scope");
            assert!((1..=3).contains(&written) && (1..=10).contains(&read));
            let mut expected = *b"0123456789";
            expected[4..4 + written].copy_from_slice(&b"abc"[..written]);
            assert_eq!(file.content().expect("a file"), expected);
            assert_eq!(&back[..read], &expected[..read]);
            assert!(back[read..].iter().all(|&byte| byte == 0), "what was not read is as before");
        });
    }
}

#[test]
fn parts_are_filled_in_their_order_and_short_transfers_break_links() {
    let mut config = Config::new(5);
    config.short = 0;
    let sim = Sim::with(config);
    let mut ring = sim.ring(8).expect("a ring");
    let file = sim.file(*b"0123456789").expect("a file");
    let (mut one, mut two) = ([0; 4], [0; 3]);
    let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    // SAFETY: waited for.
    let cqe = unsafe { run(&mut ring, Readv::new(&file, &mut parts).offset(2)) };
    assert_eq!((cqe.result(), &one, &two), (Ok(7), b"2345", b"678"));
    let parts = [IoSlice::new(b"x"), IoSlice::new(b""), IoSlice::new(b"yz")];
    // SAFETY: waited for.
    let cqe = unsafe { run(&mut ring, Writev::new(&file, &parts).offset(8)) };
    assert_eq!((cqe.result(), file.content()), (Ok(3), Ok(b"01234567xyz".to_vec())));
    // The position moves where there is no offset.
    let mut buffer = [0; 8];
    for expected in [&b"01234567"[..], b"xyz", b""] {
        // SAFETY: waited for.
        let cqe = unsafe { run(&mut ring, Read::new(&file, &mut buffer)) };
        assert_eq!(&buffer[..cqe.result().expect("read") as usize], expected);
    }
    let mut results = Vec::new();
    let scope = ring.scope(|s| {
        s.push(Read::new(&file, &mut buffer).offset(8).link()).expect("room");
        s.push(Nop::new()).expect("room");
        s.finish(|cqe| results.push(cqe.result())).expect("finished");
    });
    scope.expect("a scope");
    assert_eq!(results, [Ok(3), Err(Errno::CANCELED)]);
    sim.check();
}

#[test]
fn a_read_of_a_pipe_waits_for_the_other_end() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 4, kind);
            let (reader, writer) = sim.pipe().expect("a pipe");
            let mut buffer = [0; 8];
            // SAFETY: the buffer is waited for below.
            unsafe { ring.push_unchecked(Read::new(&reader, &mut buffer)) }.expect("room");
            nothing(sim, &mut ring);
            writer.write(b"abc").expect("room");
            let n = next(&mut ring).result().expect("read") as usize;
            assert_eq!(&buffer[..n], &b"abc"[..n]);
            // SAFETY: as above.
            unsafe { ring.push_unchecked(Read::new(&reader, &mut buffer).rw_flags(ReadWriteFlags::empty())) }
                .expect("room");
            drop(writer);
            assert_eq!(next(&mut ring).result(), Ok(3 - n as u32));
        });
    }
}

#[test]
fn an_operation_keeps_what_it_uses_open() {
    seeds(|sim| {
        let mut ring = sim.ring(4).expect("a ring");
        let (reader, writer) = sim.pipe().expect("a pipe");
        ring.push(Nop::new()).expect("room");
        let mut buffer = [0; 8];
        // SAFETY: the buffer is waited for below.
        unsafe { ring.push_unchecked(Read::new(&reader, &mut buffer).user_data(1)) }.expect("room");
        ring.submit().expect("submitted");
        sim.run();
        ring.push(Close::new(OwnedFd::from(reader)).user_data(2)).expect("room");
        let closed = next_of(&mut ring, 2);
        assert_eq!(closed.result(), Ok(0));
        assert_eq!(writer.poll(), Ok(PollFlags::OUT | PollFlags::WRNORM), "the read holds the other end");
        writer.write(b"x").expect("somebody reads");
        assert_eq!(next_of(&mut ring, 1).result(), Ok(1));
        assert_eq!(writer.write(b"x"), Err(Errno::PIPE), "now nobody does");
    });
}

fn next_of(ring: &mut Ring, key: u64) -> Cqe {
    loop {
        let cqe = next(ring);
        if cqe.user_data().0 == key {
            return cqe;
        }
    }
}

#[test]
fn a_number_that_was_closed_leads_nowhere() {
    let sim = Sim::new(1);
    let mut ring = sim.ring(4).expect("a ring");
    let file = sim.file(*b"x").expect("a file");
    let foreign = std::fs::File::open("/dev/null").expect("a file");
    // SAFETY: waited for.
    assert_eq!(unsafe { run(&mut ring, Fsync::new(&file)) }.result(), Ok(0));
    // SAFETY: waited for.
    assert_eq!(unsafe { run(&mut ring, Fsync::new(&foreign)) }.result(), Err(Errno::BADF), "not a simulated file");
    let raw = Sqe::from(Fsync::new(&file)).raw().fd;
    drop(file);
    let mut again = *Sqe::from(Fsync::new(&foreign)).raw();
    again.fd = raw;
    // SAFETY: an FSYNC touches no memory.
    assert_eq!(unsafe { run(&mut ring, Sqe::from_raw(again)) }.result(), Err(Errno::BADF));
}

#[test]
fn a_buffer_that_is_touched_while_it_is_lent_is_found_out() {
    let sim = Sim::new(3);
    let mut ring = sim.ring(4).expect("a ring");
    let (reader, writer) = sim.pipe().expect("a pipe");
    let mut buffer = vec![7; 8];
    let address = buffer.as_mut_ptr();
    // SAFETY: not heeded on purpose: the buffer is written to. It is this thread that does all of it.
    unsafe { ring.push_unchecked(Read::new(&reader, core::slice::from_raw_parts_mut(address, 8))) }.expect("room");
    ring.submit().expect("submitted");
    sim.run();
    // SAFETY: the memory is there.
    assert_ne!(unsafe { address.add(5).read() }, 7, "who looks early sees garbage");
    // SAFETY: as above.
    unsafe { address.add(5).write(1) };
    writer.write(b"abc").expect("room");
    next(&mut ring);
    let violations = sim.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!((violations[0].offset, violations[0].output), (5, true));
}

#[test]
fn provided_buffers_are_used_once_each() {
    seeds(|sim| {
        let mut ring = sim.ring(4).expect("a ring");
        let (reader, writer) = sim.pipe().expect("a pipe");
        let group = Group(3);
        let mut memory = vec![0; 12];
        // SAFETY: the memory is looked at only where a completion says so, and lives as long as the ring.
        let provide = unsafe { ProvideBuffers::new(memory.as_mut_ptr(), 4, 3, 20, group) };
        // SAFETY: waited for, and as above.
        assert_eq!(unsafe { run(&mut ring, provide) }.result(), Ok(0));
        // SAFETY: the pipe is there until the last completion.
        unsafe { ring.push_unchecked(ReadMulti::new(&reader, group)) }.expect("room");
        nothing(sim, &mut ring);
        let mut seen = Vec::new();
        for id in 20..23 {
            writer.write(&[id; 3]).expect("room");
            let mut left = 3;
            while left > 0 {
                let cqe = next(&mut ring);
                let Ok(n) = cqe.result() else {
                    assert_eq!((cqe.result(), cqe.more()), (Err(Errno::NOBUFS), false));
                    assert_eq!(seen, [20, 21, 22]);
                    return;
                };
                let used = cqe.buffer_id().expect("a buffer");
                let start = usize::from(used - 20) * 4;
                assert!(memory[start..start + n as usize].iter().all(|&byte| byte == id), "{cqe:?} {memory:?}");
                assert!(cqe.more());
                seen.push(used);
                left -= n;
            }
        }
        assert_eq!(seen, [20, 21, 22]);
        drop(writer);
        let last = next(&mut ring);
        assert_eq!((last.result(), last.more()), (Err(Errno::NOBUFS), false));
        assert_eq!(next_result(&mut ring, RemoveBuffers::new(9, group)), Ok(0));
    });
}

fn next_result(ring: &mut Ring, entry: impl Into<Sqe<'static>>) -> Result<u32, Errno> {
    ring.push(entry).expect("room");
    next(ring).result()
}

/// Events as a result: the bits are signed on some targets.
fn bits(events: PollFlags) -> u32 {
    i32::from(events.bits()) as u32
}

#[test]
fn a_poll_tells_once_and_a_multishot_poll_whenever_something_happens() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 4, kind);
            let (reader, writer) = sim.pipe().expect("a pipe");
            let readable = bits(PollFlags::IN);
            // SAFETY: the pipe is there until the last completion.
            unsafe { ring.push_unchecked(PollAdd::new(&reader, PollFlags::IN)) }.expect("room");
            nothing(sim, &mut ring);
            writer.write(b"a").expect("room");
            let once = next(&mut ring);
            assert_eq!((once.result(), once.more()), (Ok(readable), false));
            // SAFETY: as above.
            unsafe { ring.push_unchecked(PollMulti::new(&reader, PollFlags::IN)) }.expect("room");
            for _ in 0..3 {
                let shot = next(&mut ring);
                assert_eq!((shot.result(), shot.more()), (Ok(readable), true));
                nothing(sim, &mut ring);
                writer.write(b"b").expect("room");
            }
            next(&mut ring);
            drop(writer);
            let hung = next(&mut ring).result().expect("events");
            assert_eq!(hung, bits(PollFlags::IN | PollFlags::HUP));
        });
    }
}

#[test]
fn states_come_back_from_reads() {
    seeds(|sim| {
        let mut ring = InFlight::new(sim.ring(4).expect("a ring")).expect("a kernel that cancels");
        let (reader, writer) = sim.pipe().expect("a pipe");
        let reader = std::rc::Rc::new(reader);
        for _ in 0..3 {
            let state = (reader.clone(), vec![0; 4]);
            ring.start(state, |(reader, buffer)| Read::new(&**reader, buffer).into()).expect("room");
        }
        ring.submit().expect("submitted");
        writer.write(b"abcd").expect("room");
        let Ok(Event::Done(done)) = ring.wait_event() else { panic!("an event that is not an end") };
        let n = done.cqe.result().expect("read") as usize;
        assert_eq!(done.state.1[..n], b"abcd"[..n]);
        drop(writer);
        let mut ended = 0;
        while ring.in_flight() > 0 {
            assert!(matches!(ring.wait_event(), Ok(Event::Done(_))));
            ended += 1;
        }
        assert_eq!(ended, 2);
    });
}

#[test]
fn a_release_refuses_what_it_does_not_know() {
    let result = |release, entry: fn() -> Sqe<'static>| {
        let mut config = Config::new(1);
        config.release = release;
        let mut ring = Sim::with(config).ring(4).expect("a ring");
        next_result(&mut ring, entry())
    };
    let inject = || Nop::new().result(9).into();
    assert_eq!(result(Version::new(6, 1), inject), Err(Errno::INVAL), "IORING_NOP_INJECT_RESULT came with 6.10");
    assert_eq!(result(Version::new(6, 10), inject), Ok(9));
}
