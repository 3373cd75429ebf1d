//! What becomes of a ring in a forked child, and across `exec`. Named after the items of the semantics list.
//!
//! Each test forks a process that has nothing else to do, so that a child that faults takes nobody along.

mod common;

use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};

use common::{BUFFER_RINGS, exercise, has_setup, in_own_process, kernel_has, needs, newer, safe_doors, since};
use rawring::buf_ring::{BufRing, Pick};
use rawring::flags::SetupFlags;
use rawring::op::{Nop, Read, RecvProvided};
use rawring::operand::Group;
use rawring::probe::Probe;
use rawring::register::{FileTable, Memory};
use rawring::{Errno, Event, InFlight, Ring, Setup, UserData};

/// Runs `child` in a forked child and returns what became of it: its exit status, or the signal that ended it.
fn forked(child: impl FnOnce() -> i32) -> Result<i32, i32> {
    forked_through(|| {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(code) }
    })
}

/// As [`forked`], of a child that may unwind: whoever catches that ends it.
fn forked_through(child: impl FnOnce()) -> Result<i32, i32> {
    // SAFETY: the child has this thread only, in a process that has no other but the waiting one of the test harness,
    // and runs `child`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child();
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(102) };
    }
    assert!(pid > 0, "fork");
    let mut status = 0;
    // SAFETY: `status` is writable, `pid` a child of this process.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(libc::WTERMSIG(status)) }
}

/// Where the mappings of rings are in this process: start and length.
fn ring_mappings() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let of_ring = maps.lines().filter(|line| line.contains("[io_uring]"));
    let range = of_ring.filter_map(|line| line.split_once(' ')?.0.split_once('-'));
    let number = |text| usize::from_str_radix(text, 16).expect("an address");
    range.map(|(start, end)| (number(start), number(end) - number(start))).collect()
}

#[test]
fn item_33_dropping_the_parents_ring_in_a_child_harms_nobody() {
    const TEST: &str = "item_33_dropping_the_parents_ring_in_a_child_harms_nobody";
    in_own_process(TEST, || {
        let mut ring = Ring::new(8).expect("a ring");
        let mappings = ring_mappings();
        assert_eq!(mappings.len(), 2, "the rings and the entries");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        // Kept for ever: the completion is seen below, but a failed assertion must not free it.
        let buf = Box::leak(Box::new([0_u8; 4]));
        // SAFETY: the buffer is never freed and not looked at before its completion; the pipe stays open until then.
        unsafe { ring.push_unchecked(Read::new(&reader, &mut *buf).user_data(5)) }.expect("room");
        assert_eq!(ring.submit(), Ok(1));
        // Nobody but the child's memory manager knows that the addresses are free there.
        let mut slot = Some(ring);
        let child = forked(|| {
            assert_eq!(ring_mappings(), [], "inherited");
            let decoys: Vec<_> = mappings.iter().map(|&(at, len)| (decoy(at, len), len)).collect();
            drop(slot.take());
            // SAFETY: the decoys are this child's mappings, if they are still there; else this faults.
            let intact = decoys.iter().all(|&(at, len)| unsafe { at.read() == 42 && at.add(len - 1).read() == 42 });
            i32::from(!intact)
        });
        assert_eq!(child, Ok(0));
        let mut ring = slot.take().expect("the child had a copy");
        assert_eq!(rustix::io::write(&writer, b"ping"), Ok(4));
        ring.submit_and_wait(1).expect("waited");
        let seen: Vec<_> = ring.completions().map(|cqe| (cqe.user_data(), cqe.result())).collect();
        assert_eq!(seen, [(UserData(5), Ok(4))]);
        assert_eq!(&*buf, b"ping");
        exercise(&mut ring);
    });
}

/// A mapping of this process's own at an address where nothing is, filled with 42.
fn decoy(at: usize, len: usize) -> *const u8 {
    decoy_if_free(at, len).expect("the address is free")
}

/// As [`decoy`]; `None` where there is something.
fn decoy_if_free(at: usize, len: usize) -> Option<*const u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let address = std::ptr::without_provenance_mut(at);
    // SAFETY: the flags keep it from replacing any mapping.
    let decoy = unsafe { libc::mmap(address, len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if decoy.addr() != at {
        return None;
    }
    // SAFETY: the mapping is `len` bytes long, writable and new.
    unsafe { decoy.cast::<u8>().write_bytes(42, len) };
    Some(decoy.cast())
}

#[test]
fn item_33_a_child_that_touches_the_ring_faults() {
    const TEST: &str = "item_33_a_child_that_touches_the_ring_faults";
    in_own_process(TEST, || {
        // The fault is meant, so it leaves no core file.
        let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(rustix::process::Resource::Core, limit).expect("a limit");
        let mut ring = Ring::new(8).expect("a ring");
        let child = forked(|| {
            let _ = ring.push(Nop::new());
            0
        });
        assert_eq!(child, Err(libc::SIGSEGV));
        exercise(&mut ring);
    });
}

#[test]
fn item_33_a_ring_can_be_handed_over_to_a_child() {
    const TEST: &str = "item_33_a_ring_can_be_handed_over_to_a_child";
    in_own_process(TEST, || {
        let mut ring = Setup::new(8).inherit_on_fork().build().expect("a ring");
        let mappings = ring_mappings();
        let child = forked(|| {
            exercise(&mut ring);
            drop(std::mem::replace(&mut ring, Ring::new(1).expect("a ring")));
            // Its own copies are gone, the ring made instead has others.
            i32::from(ring_mappings().iter().any(|mapping| mappings.contains(mapping)))
        });
        assert_eq!(child, Ok(0));
        assert_eq!(ring_mappings(), mappings);
    });
}

fn registered_only() -> Setup<'static> {
    Setup::new(8).no_mmap().registered_fd_only()
}

#[test]
fn item_33_a_child_has_a_table_of_registered_rings_of_its_own() {
    const TEST: &str = "item_33_a_child_has_a_table_of_registered_rings_of_its_own";
    if !kernel_has(TEST, SetupFlags::REGISTERED_FD_ONLY) {
        return;
    }
    in_own_process(TEST, || {
        let mut slot = Some(registered_only().build().expect("a ring"));
        let child = forked(|| {
            let parents = slot.take().expect("a copy");
            // The first place of the child's table, as the other is the first of the parent's.
            let mut own = registered_only().build().expect("a ring");
            assert_eq!(Probe::of(&parents).err(), Some(Errno::BADF));
            drop(parents);
            exercise(&mut own);
            0
        });
        assert_eq!(child, Ok(0));
        exercise(&mut slot.take().expect("the child had a copy"));
    });
}

#[test]
fn item_33_exec_closes_the_descriptor() {
    for setup in [Setup::new(8), Setup::new(8).inherit_on_fork()] {
        let ring = setup.build().expect("a ring");
        let flags = rustix::io::fcntl_getfd(ring.fd().expect("a descriptor")).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}

/// The next completion of a ring, in words.
fn next(ring: &mut Ring) -> (UserData, Result<u32, Errno>) {
    ring.submit_and_wait(1).expect("waited");
    let cqe = ring.completions().next().expect("a completion");
    (cqe.user_data(), cqe.result())
}

#[test]
fn item_33_dropping_an_in_flight_in_a_child_cancels_nothing() {
    needs!(safe_doors());
    in_own_process("item_33_dropping_an_in_flight_in_a_child_cancels_nothing", || {
        type State = (rustix::fd::OwnedFd, [u8; 4], std::rc::Rc<()>);
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let again = rustix::io::dup(&reader).expect("a descriptor");
        let alive = std::rc::Rc::new(());
        let mut ring = InFlight::new(Ring::new(8).expect("a ring")).expect("fit");
        fn read((file, buf, _): &mut State) -> rawring::Sqe<'_> {
            Read::new(&*file, buf).into()
        }
        ring.start((reader, [0; 4], alive.clone()), read).expect("room");
        ring.submit().expect("submitted");
        ring.start((again, [0; 4], alive.clone()), read).expect("room");
        let mut slot = Some(ring);
        let start = std::time::Instant::now();
        let child = forked(|| {
            drop(slot.take());
            // What the kernel may have is leaked. By the patience of a drop it would have taken seconds.
            i32::from(std::rc::Rc::strong_count(&alive) != 3 || start.elapsed().as_secs() > 3)
        });
        assert_eq!(child, Ok(0));
        let shut = forked(|| match slot.take().expect("a copy").shutdown() {
            Err(error) if error.errno == Errno::BADF && error.in_flight.in_flight() == 2 => 0,
            _ => 1,
        });
        assert_eq!(shut, Ok(0));
        let mut ring = slot.take().expect("the child had a copy");
        for word in [b"ping", b"pong"] {
            assert_eq!(rustix::io::write(&writer, word), Ok(4));
            let Event::Done(done) = ring.wait_event().expect("waited") else { panic!("not an end") };
            assert_eq!((done.cqe.result(), &done.state.1), (Ok(4), word));
        }
        assert_eq!(ring.in_flight(), 0);
        drop(ring);
        assert_eq!(std::rc::Rc::strong_count(&alive), 1);
    });
}

#[test]
fn item_33_a_scope_does_not_end_in_a_child_while_the_parent_has_operations_in_it() {
    needs!(safe_doors());
    in_own_process("item_33_a_scope_does_not_end_in_a_child_while_the_parent_has_operations_in_it", || {
        let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(rustix::process::Resource::Core, limit).expect("a limit");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let mut ring = Ring::new(8).expect("a ring");
        let mut buf = [0; 4];
        let parent = std::process::id();
        let in_scope = |pending: bool, buf: &mut [u8; 4], ring: &mut Ring| {
            let mut child = Err(0);
            let scope = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                ring.scope(|s| {
                    if pending {
                        s.push(Read::new(&reader, buf)).expect("room");
                        s.submit().expect("submitted");
                    }
                    child = forked_through(|| std::panic::panic_any("out of the scope"));
                    if pending {
                        assert_eq!(rustix::io::write(&writer, b"ping"), Ok(4));
                        s.finish(|cqe| assert_eq!(cqe.result(), Ok(4))).expect("finished");
                    }
                })
                .expect("a scope");
            }));
            if std::process::id() != parent {
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(if scope.is_err() { 7 } else { 8 }) };
            }
            scope.expect("no panic in the parent");
            child
        };
        assert_eq!(in_scope(false, &mut buf, &mut ring), Ok(7), "nothing was in flight: it returned");
        assert_eq!(in_scope(true, &mut buf, &mut ring), Err(libc::SIGABRT), "it must not return");
        assert_eq!(&buf, b"ping");
        exercise(&mut ring);
    });
}

#[test]
fn item_33_a_scope_that_cannot_say_why_does_not_end_either() {
    const TEST: &str = "item_33_a_scope_that_cannot_say_why_does_not_end_either";
    needs!(safe_doors());
    in_own_process(TEST, || {
        let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(rustix::process::Resource::Core, limit).expect("a limit");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let (mut ring, mut buf) = (Ring::new(8).expect("a ring"), [0_u8; 4]);
        let parent = std::process::id();
        let scope = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ring.scope(|s| {
                s.push(Read::new(&reader, &mut buf)).expect("room");
                s.submit().expect("submitted");
                // SAFETY: the child has this thread only, in a process that has no other but the waiting one of the test
                // harness. It ends below.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    // Whatever it says from now on is an error.
                    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
                    // SAFETY: both are open, and nobody here owns the second.
                    assert_eq!(unsafe { libc::dup2(full.as_raw_fd(), 2) }, 2);
                    return;
                }
                let child = rustix::process::Pid::from_raw(child).expect("fork");
                let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
                let (_, status) = status.expect("waited").expect("it has ended");
                assert_eq!((status.exit_status(), status.terminating_signal()), (None, Some(libc::SIGABRT)));
                assert_eq!(rustix::io::write(&writer, b"ping"), Ok(4));
                s.finish(|cqe| assert_eq!(cqe.result(), Ok(4))).expect("finished");
            })
            .expect("a scope");
        }));
        if std::process::id() != parent {
            // The borrow of the buffer has ended, and an operation has it.
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(7) };
        }
        scope.expect("no panic in the parent");
        assert_eq!(&buf, b"ping");
        exercise(&mut ring);
    });
}

#[test]
fn item_33_leases_that_a_child_drops_give_no_buffer_back() {
    needs!(since(BUFFER_RINGS));
    const TEST: &str = "item_33_leases_that_a_child_drops_give_no_buffer_back";
    in_own_process(TEST, || {
        for kernel_memory in [false, true] {
            if kernel_memory && !newer(TEST, rawring::Version::new(6, 4)) {
                continue;
            }
            let mut ring = Ring::new(8).expect("a ring");
            let setup = BufRing::setup(Group(1), 2, 4);
            let setup = if kernel_memory { setup.kernel_memory() } else { setup };
            let bufs = setup.build(&mut ring).expect("a group");
            let (mut left, right) = std::os::unix::net::UnixStream::pair().expect("a pair");
            let mut receive = |ring: &mut Ring, word: &[u8]| {
                left.write_all(word).expect("written");
                // SAFETY: the socket outlives the receive, which is waited for.
                unsafe { ring.push_unchecked(RecvProvided::new(&right, Group(1))) }.expect("room");
                ring.submit_and_wait(1).expect("waited");
                ring.completions().next().expect("a completion")
            };
            let cqe = receive(&mut ring, b"ping");
            // SAFETY: this ring's completion, of an operation that picks one buffer of this group, handed in once.
            let mut delivery = unsafe { bufs.take(&cqe, Pick::One) }.expect("a buffer");
            let lease = delivery.next().expect("a lease");
            let mut slot = Some((lease, delivery, bufs, ring));
            let mappings = ring_mappings();
            assert_eq!(mappings.len(), if kernel_memory { 3 } else { 2 });
            let child = forked(|| {
                let decoys: Vec<_> = mappings.iter().map(|&(at, len)| (decoy(at, len), len)).collect();
                let (lease, delivery, bufs, ring) = slot.take().expect("a copy");
                drop((lease, delivery, bufs));
                drop(ring);
                // SAFETY: the decoys are this child's mappings, if they are still there; else this faults.
                let intact =
                    |&(at, len): &(*const u8, usize)| unsafe { at.read() == 42 && at.add(len - 1).read() == 42 };
                i32::from(!decoys.iter().all(intact))
            });
            assert_eq!(child, Ok(0));
            let (lease, _delivery, bufs, mut ring) = slot.take().expect("the child had a copy");
            let second = receive(&mut ring, b"pong");
            assert_eq!(second.result(), Ok(4));
            // The other buffer is leased. If the child had given it back, this would write over it.
            assert_eq!(receive(&mut ring, b"more").result(), Err(Errno::NOBUFS), "kernel memory: {kernel_memory}");
            assert_eq!(&lease[..], b"ping");
            drop(lease);
            // SAFETY: as above.
            let delivered = unsafe { bufs.take(&second, Pick::One) }.expect("a buffer").next().expect("a lease");
            assert_eq!(&delivered[..], b"pong");
            drop(delivered);
            assert_eq!(receive(&mut ring, b"last").result(), Ok(4));
        }
    });
}

#[test]
fn item_33_tables_and_places_stay_the_parents() {
    needs!(since(rawring::Version::new(5, 19)));
    in_own_process("item_33_tables_and_places_stay_the_parents", || {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let mut ring = Ring::new(8).expect("a ring");
        ring.register_ring_fd().expect("a place");
        let mut table = FileTable::sparse(&ring, 4).expect("a table");
        let fixed = table.insert(&ring, reader.as_fd()).expect("a slot");
        let other = Ring::new(1).expect("a ring");
        let place = other.registered(None).expect("a place");
        let index = place.index();
        let mut slot = Some((ring, table));
        let mut place = Some(place);
        let child = forked(|| {
            drop(place.take());
            drop(slot.take());
            0
        });
        assert_eq!(child, Ok(0));
        let (mut ring, _table) = slot.take().expect("the child had a copy");
        drop(reader);
        assert!(ring.is_registered());
        let buf = Box::leak(Box::new([0_u8; 4]));
        // SAFETY: the buffer is never freed.
        unsafe { ring.push_unchecked(Read::new(fixed, buf).user_data(3)) }.expect("room");
        assert_eq!(rustix::io::write(&writer, b"ping"), Ok(4));
        assert_eq!(next(&mut ring), (UserData(3), Ok(4)));
        exercise(&mut ring);
        // The place is still taken: it is not to be had.
        let again = other.registered(Some(index)).map(|place| place.index());
        assert_eq!(again, Err(Errno::BUSY));
        drop(place);
        assert_eq!(other.registered(Some(index)).map(|place| place.index()), Ok(index));
    });
}

#[test]
fn item_33_memory_that_was_handed_over_is_the_parents() {
    needs!(has_setup(SetupFlags::NO_MMAP));
    in_own_process("item_33_memory_that_was_handed_over_is_the_parents", || {
        let setup = Setup::new(8);
        let len = setup.memory_len().expect("a size");
        let memory = Memory::new(len).expect("memory");
        let at = memory.as_ptr().addr();
        let mut slot = Some(setup.build_in(memory).expect("a ring"));
        let child = forked(|| {
            let decoy = decoy(at, len);
            drop(slot.take());
            // SAFETY: the decoy is this child's mapping, if it is still there; else this faults.
            i32::from(unsafe { decoy.read() != 42 || decoy.add(len - 1).read() != 42 })
        });
        assert_eq!(child, Ok(0));
        exercise(&mut slot.take().expect("the child had a copy"));
    });
}

#[test]
fn item_33_what_is_left_of_memory_that_was_handed_over_takes_nothing_along_in_a_child() {
    const TEST: &str = "item_33_what_is_left_of_memory_that_was_handed_over_takes_nothing_along_in_a_child";
    needs!(has_setup(SetupFlags::NO_MMAP));
    in_own_process(TEST, || {
        let setup = Setup::new(8);
        let len = setup.memory_len().expect("a size");
        let (memory, rest) = Memory::new(len + 1).expect("memory").split_at(len).expect("two pieces");
        let at = memory.as_ptr().addr();
        drop(setup.build_in(memory).expect("a ring"));
        let mut slot = Some(rest);
        let child = forked(|| {
            // The mapping goes with its last piece, and so must be there as a whole.
            let decoy = decoy_if_free(at, len);
            drop(slot.take());
            // SAFETY: the decoy is this child's mapping, if it is still there; else this faults.
            i32::from(decoy.is_some_and(|decoy| unsafe { decoy.read() != 42 }))
        });
        assert_eq!(child, Ok(0));
        assert_eq!(slot.take().expect("the child had a copy")[..], [0]);
    });
}
