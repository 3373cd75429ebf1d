//! Every door of a ring that belongs to one thread, tried on another: an error each time, and nothing is lost.
//!
//! Such rings are those with `SINGLE_ISSUER`, which the kernel refuses to other threads, and those that are named by an
//! index, which means another ring there, or none. What needs no call of the kernel works everywhere: pushing, and reaping
//! what is in the queue.

#[path = "common/mod.rs"]
mod common;

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{exercise, has_registration, has_setup, in_own_process, needs, probe, safe_doors, skipped};
use rawring::buf_ring::{BufRing, Pick, StillOut};
use rawring::flags::SetupFlags;
use rawring::op::{CancelAny, Nop, Read, ReadFixed, ReadProvided, RecvProvided};
use rawring::operand::Group;
use rawring::probe::Probe;
use rawring::register::{CloneBuffers, FileTable, Memory, Registration, Resize, ResizeError, RingState};
use rawring::{Errno, Event, InFlight, Ring, Setup, Sqe, Wait, WaitEnd};

/// Rings of the calling thread, and what the others are told.
fn rings(test: &str) -> Vec<(Ring, Errno)> {
    let single = Setup::new(8).single_issuer();
    let kinds = [
        (SetupFlags::SINGLE_ISSUER, single.clone(), Errno::EXIST),
        (SetupFlags::DEFER_TASKRUN, single.clone().defer_taskrun(), Errno::EXIST),
        (SetupFlags::REGISTERED_FD_ONLY, Setup::new(8).no_mmap().registered_fd_only(), Errno::BADF),
    ];
    let known = kinds.into_iter().filter(|(flag, ..)| has_setup(*flag).map_err(|why| skipped(test, &why)).is_ok());
    let mut rings: Vec<_> = known.map(|(_, setup, errno)| (setup.build().expect("a ring"), errno)).collect();
    if has_setup(SetupFlags::SINGLE_ISSUER).is_ok() {
        // Its index is this thread's, and its descriptor everybody's.
        let mut ring = single.build().expect("a ring");
        ring.register_ring_fd().expect("a place");
        rings.push((ring, Errno::EXIST));
    }
    rings
}

/// Whether other threads can enter the kernel for it, if not submit.
fn can_be_visited(ring: &Ring) -> bool {
    ring.fd().is_some() && !ring.setup_flags().contains(SetupFlags::DEFER_TASKRUN)
}

/// Runs `elsewhere` on another thread.
fn there<T: Send>(elsewhere: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(elsewhere).join().expect("the other thread"))
}

#[test]
fn item_09_what_is_pushed_elsewhere_waits_for_its_thread() {
    const TEST: &str = "item_09_what_is_pushed_elsewhere_waits_for_its_thread";
    in_own_process(TEST, || {
        for (mut ring, errno) in rings(TEST) {
            let visited = if can_be_visited(&ring) { Ok(()) } else { Err(errno) };
            ring.push(Nop::new().user_data(1)).expect("room");
            there(|| {
                ring.push(Nop::new().user_data(2)).expect("room");
                assert_eq!(ring.submit(), Err(errno));
                assert_eq!(ring.split().0.submit(), Err(errno));
                assert_eq!(ring.submit_and_wait(1).err(), Some(errno));
                assert_eq!(ring.submit_with(&Wait::new(2).timeout(Duration::from_secs(20))).err(), Some(errno));
                assert_eq!(ring.get_events(), visited);
                assert_eq!((ring.pending(), ring.completions().count()), (2, 0));
            });
            assert_eq!(ring.submit_and_wait(2).expect("submitted").entries, 2);
            // Reaping asks nobody.
            let keys = there(|| ring.completions().map(|cqe| cqe.user_data().0).collect::<Vec<_>>());
            assert_eq!(keys, [1, 2], "{ring:?}");
            exercise(&mut ring);
        }
    });
}

#[test]
fn item_09_every_registration_is_refused_elsewhere() {
    const TEST: &str = "item_09_every_registration_is_refused_elsewhere";
    in_own_process(TEST, || {
        let of_rings = |one: &Registration| one.info().is_some_and(|info| info.ring != RingState::None);
        let had = probe().registrations().filter(|one| one.missing.is_none()).map(|one| one.registration);
        let had: Vec<_> = had.filter(of_rings).collect();
        assert!(had.len() > 15, "{had:?}");
        for (mut ring, errno) in rings(TEST) {
            there(|| {
                for Registration(op) in had.iter().copied() {
                    // SAFETY: no argument, which names no memory.
                    let said = unsafe { ring.register_raw(op, std::ptr::null_mut(), 0) };
                    assert_eq!(said, Err(errno), "{ring:?}: {:?}", Registration(op));
                }
            });
            exercise(&mut ring);
        }
    });
}

#[test]
fn item_09_resources_stay_what_they_are_when_refused_elsewhere() {
    const TEST: &str = "item_09_resources_stay_what_they_are_when_refused_elsewhere";
    in_own_process(TEST, || {
        let resizes = has_registration(Registration(rawring_sys::IORING_REGISTER_RESIZE_RINGS));
        let resizes = resizes.map_err(|why| skipped(TEST, &why)).is_ok();
        let counts = has_registration(Registration(rawring_sys::IORING_REGISTER_PBUF_STATUS)).is_ok();
        for (mut ring, errno) in rings(TEST) {
            let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
            let mut table = FileTable::sparse(&ring, 4).expect("a table");
            let file = table.insert(&ring, reader.as_fd()).expect("a slot");
            let bufs = BufRing::setup(Group(1), 2, 16).build(&mut ring).expect("a group");
            // Kernels before 6.8 do not know this call, whoever makes it; nor do they get it where the ring has no name.
            let (head, out) = match counts || ring.fd().is_none() {
                true => (errno, StillOut::Errno(errno)),
                false => (Errno::INVAL, StillOut::Unknown),
            };
            let ((table, bufs), memory) = there(|| {
                // Before the ring knows whether it can have a scope; and after that, below.
                assert_eq!(table.take(&mut ring, file).err(), Some(errno));
                assert!(FileTable::sparse(&ring, 4).is_err() && table.insert(&ring, reader.as_fd()).is_err());
                assert_eq!(table.replace(&ring, file, writer.as_fd()), Err(errno));
                assert_eq!(table.remove(&ring, file), Err(errno));
                let (table, said) = table.unregister(&ring).expect_err("refused");
                assert_eq!((said, table.used(), table.contains(file)), (errno, 1, true));
                assert_eq!(ring.buf_ring_head(Group(1)), Err(head));
                assert!(BufRing::setup(Group(2), 2, 16).build(&mut ring).is_err());
                let in_use = ring.unregister_buf_ring(bufs).expect_err("refused");
                assert_eq!(in_use.reason, out);
                let refused = ring.register_buffers([Memory::new(1).expect("memory")]).expect_err("refused");
                assert_eq!((refused.errno(), refused.registered.len()), (errno, 0));
                assert_eq!(ring.register_personality().err(), Some(errno));
                assert_eq!(ring.sync_cancel(CancelAny::new(), None), Err(errno));
                assert_eq!(Probe::of(&ring).err(), Some(errno));
                let unnamed = if ring.fd().is_some() { errno } else { Errno::OPNOTSUPP };
                assert_eq!(ring.registered(None).err(), Some(unnamed));
                if resizes {
                    assert!(matches!(ring.resize(Resize::new(16)), Err(ResizeError::Refused(said)) if said == errno));
                }
                ((table, in_use.bufs), refused.refused)
            });
            let mut table = table;
            let other = table.insert(&ring, writer.as_fd()).expect("another slot");
            assert_ne!(other, file, "{ring:?}: the file that is there is in nobody's way");
            if safe_doors().is_ok() {
                ring.scope(|_| ()).expect("a scope");
            }
            assert_eq!(there(|| table.take(&mut ring, file)).err(), Some(errno));
            assert_eq!(table.used(), 2);
            let mut buffers = ring.register_buffers(memory).expect("at home");
            there(|| {
                assert_eq!(ring.clear_buffers(0..1), Err(errno));
                assert_eq!(ring.unregister_buffers(), Err(errno));
                if ring.fd().is_none() {
                    // Its index may be that of a ring of this thread.
                    let mine = Setup::new(8).no_mmap().registered_fd_only().build().expect("a ring");
                    assert_eq!(mine.clone_buffers(&ring, CloneBuffers::all()), Err(errno));
                }
            });
            // All of it is in use as before.
            rustix::io::write(&writer, b"ping").expect("written");
            // SAFETY: the buffer and its ring stay until the operation has ended, which is waited for.
            unsafe { ring.push_unchecked(ReadFixed::new(file, buffers[0].part_mut(0..1).expect("a byte"))) }
                .expect("room");
            ring.submit_and_wait(1).expect("waited");
            assert_eq!(ring.completions().next().expect("waited for one").result(), Ok(1));
            assert_eq!(buffers[0][0], b'p');
            // SAFETY: as above; what it names belongs to the ring.
            unsafe { ring.push_unchecked(ReadProvided::new(file, Group(1))) }.expect("room");
            ring.submit_and_wait(1).expect("waited");
            let cqe = ring.completions().next().expect("waited for one");
            // SAFETY: this ring's completion, of an operation that picks one buffer of this group, handed in once.
            let lease = unsafe { bufs.take(&cqe, Pick::One) }.expect("a buffer").next().expect("a lease");
            assert_eq!(&lease[..], b"ing");
            exercise(&mut ring);
        }
    });
}

#[test]
fn item_09_a_scope_that_is_opened_elsewhere_ends() {
    const TEST: &str = "item_09_a_scope_that_is_opened_elsewhere_ends";
    needs!(safe_doors());
    in_own_process(TEST, || {
        for (mut ring, errno) in rings(TEST) {
            // Asked here, since that is a registration.
            ring.scope(|_| ()).expect("a scope");
            let (_left, right) = UnixStream::pair().expect("a pair");
            let mut buf = [7; 4];
            there(|| {
                ring.scope(|s| {
                    let ticket = s.push(Read::new(&right, &mut buf)).expect("room");
                    assert_eq!(s.submit(), Err(errno));
                    s.cancel(ticket).expect("room");
                    assert_eq!(s.finish(|cqe| panic!("{cqe:?}")), Err(errno));
                    assert_eq!(s.in_flight(), 1);
                })
                .expect("a scope");
            });
            // What the kernel did not get was taken back.
            assert_eq!((buf, ring.pending()), ([7; 4], 0), "{ring:?}");
            exercise(&mut ring);
        }
    });
}

type State = (UnixStream, [u8; 4], Arc<()>);

fn read(state: &mut State) -> Sqe<'_> {
    Read::new(&state.0, &mut state.1).into()
}

#[test]
fn item_09_states_are_not_lost_and_not_freed_elsewhere() {
    const TEST: &str = "item_09_states_are_not_lost_and_not_freed_elsewhere";
    needs!(safe_doors());
    in_own_process(TEST, || {
        for (ring, errno) in rings(TEST) {
            let alive = Arc::new(());
            let (mut left, right) = UnixStream::pair().expect("a pair");
            let state = || -> State { (right.try_clone().expect("a copy"), [0; 4], alive.clone()) };
            let mut ring = InFlight::new(ring).expect("it can cancel");

            // Started elsewhere: it comes back, or waits for its thread.
            let drained = there(|| {
                ring.start(state(), read).expect("room");
                assert_eq!(ring.submit(), Err(errno));
                assert_eq!(ring.wait_event().err(), Some(errno));
                ring.shutdown().expect("the kernel is not asked")
            });
            assert_eq!((drained.ended.len(), drained.unsubmitted.len()), (0, 1));
            drop(drained.unsubmitted);
            assert_eq!(Arc::strong_count(&alive), 1);
            let mut ring = InFlight::new(drained.ring).expect("it can cancel");
            let ticket = there(|| ring.start(state(), read).expect("room"));
            assert_eq!(ring.submit(), Ok(1));

            // In flight: it is not given up by those who cannot wait for it.
            there(|| {
                ring.cancel(ticket).expect("room");
                assert_eq!(ring.submit(), Err(errno));
            });
            let refused = there(|| ring.shutdown().expect_err("one is in flight"));
            assert_eq!((refused.errno, refused.ended.len(), refused.in_flight.in_flight()), (errno, 0, 1));
            let drained = refused.in_flight.shutdown().expect("at home");
            assert_eq!(drained.ended[0].cqe.result(), Err(Errno::CANCELED));
            assert_eq!((drained.ended.len(), Arc::strong_count(&alive)), (1, 2));
            drop(drained.ended);

            // Ended: nobody has to be asked.
            let mut ring = InFlight::new(drained.ring).expect("it can cancel");
            left.write_all(b"ping").expect("written");
            ring.start(state(), read).expect("room");
            ring.submit().expect("submitted");
            assert_eq!(ring.ring().ready(), 1);
            let event = there(|| ring.next_event());
            let Some(Event::Done(done)) = event else { panic!("{errno}: {:?}", ring.in_flight()) };
            assert_eq!((done.cqe.result(), &done.state.1), (Ok(4), b"ping"));
            drop(done);

            // Dropped elsewhere: what the kernel may still write to is leaked.
            ring.start(state(), read).expect("room");
            ring.submit().expect("submitted");
            ring.start(state(), read).expect("room");
            assert_eq!(Arc::strong_count(&alive), 3);
            there(|| drop(ring));
            assert_eq!(Arc::strong_count(&alive), 2, "one was submitted, the other was not");
        }
    });
}

#[test]
fn item_09_leases_go_back_from_any_thread() {
    const TEST: &str = "item_09_leases_go_back_from_any_thread";
    needs!(common::since(common::BUFFER_RINGS));
    in_own_process(TEST, || {
        for (mut ring, _) in rings(TEST) {
            let bufs = BufRing::setup(Group(1), 1, 16).build(&mut ring).expect("a group");
            let (mut left, right) = UnixStream::pair().expect("a pair");
            let mut receive = |word: &[u8; 4]| {
                left.write_all(word).expect("written");
                // SAFETY: the socket outlives the receive, which is waited for.
                unsafe { ring.push_unchecked(RecvProvided::new(&right, Group(1))) }.expect("room");
                ring.submit_and_wait(1).expect("waited");
                let cqe = ring.completions().next().expect("the receive");
                // SAFETY: this ring's completion, of an operation that picks one buffer of this group, handed in once.
                unsafe { bufs.take(&cqe, Pick::One) }.expect("the only buffer").next().expect("a lease")
            };
            for word in [b"ping", b"pong", b"ping"] {
                let lease = receive(word);
                there(move || assert_eq!(&lease[..], word));
            }
            // One outlives its group, and the ring, whoever drops them.
            let lease = receive(b"last");
            there(move || drop((ring, bufs)));
            assert_eq!(&lease[..], b"last");
        }
    });
}

#[test]
fn item_09_wakers_are_made_and_called_elsewhere() {
    const TEST: &str = "item_09_wakers_are_made_and_called_elsewhere";
    in_own_process(TEST, || {
        for (mut ring, errno) in rings(TEST) {
            // A ring without a descriptor has no name there by which to ask for anything.
            let made = there(|| ring.waker());
            assert_eq!(made.as_ref().err(), ring.fd().is_none().then_some(&errno));
            let waker = made.or_else(|_| ring.waker()).expect("at home");
            there(|| waker.wake()).expect("woken");
            // What was sent while it was made may end one wait early.
            let ended: Vec<_> = (0..2)
                .map(|_| ring.submit_with(&Wait::new(1).timeout(Duration::from_secs(20))).expect("waited").wait)
                .take_while(|end| *end != WaitEnd::Woken)
                .collect();
            assert!(ended.len() < 2 && !ended.contains(&WaitEnd::TimedOut), "{ring:?}: {ended:?}");
            there(|| waker.wake()).expect("woken");
            there(|| drop(ring));
            waker.wake().expect("nobody is there");
        }
    });
}

/// Rings are sent, and their waits are ended, from anywhere.
#[test]
fn item_09_what_may_cross_threads_does() {
    fn crosses<T: Send>() {}
    crosses::<Ring>();
    crosses::<InFlight<Vec<u8>>>();
    crosses::<rawring::Waker>();
    crosses::<rawring::buf_ring::Lease>();
    crosses::<rawring::buf_ring::Blank>();
    let ring = Ring::new(8).expect("a ring");
    there(move || {
        let mut ring = ring;
        exercise(&mut ring);
    });
}
