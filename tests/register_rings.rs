//! Registered rings: a place in a thread's table, and using a ring by it.
//!
//! Each test runs in a thread of its own, whose table is empty.

mod common;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::ptr::{null, null_mut};
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{exercise, has_registration, has_setup, needs};
use rawring::flags::SetupFlags;
use rawring::register::Registration;
use rawring::{Errno, Ring, Setup};
use rawring_sys as sys;
use rustix::fs::{OFlags, fcntl_setfl};

/// Runs on a thread that has registered nothing yet.
fn afresh<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| threads.spawn(body).join().expect("no panic"))
}

fn ring() -> Ring {
    Ring::new(8).expect("a ring")
}

/// Whether this thread can enter the kernel by an index.
fn enters(index: u32) -> bool {
    // SAFETY: submits nothing, waits for nothing, and has no argument.
    match unsafe { sys::io_uring_enter(index as i32, 0, 0, sys::IORING_ENTER_REGISTERED_RING, null(), 0) } {
        Ok(0) => true,
        // The latter of a thread that never had a table.
        Err(Errno::BADF | Errno::INVAL) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn item_13_a_place_belongs_to_its_thread_and_is_given_back() {
    needs!(has_registration(Registration::RING_FDS));
    afresh(|| {
        let ring = ring();
        let first = ring.registered(None).expect("an empty table");
        let index = first.index();
        assert_eq!((enters(index), afresh(|| enters(index))), (true, false));
        let chosen = ring.registered(Some(15)).expect("free");
        assert_eq!((chosen.index(), enters(15)), (15, true));
        assert_eq!(ring.registered(Some(15)).err(), Some(Errno::BUSY));
        for beyond in [16, u32::MAX - 1, u32::MAX] {
            assert_eq!(ring.registered(Some(beyond)).err(), Some(Errno::INVAL), "{beyond}");
        }
        drop(chosen);
        assert_eq!((enters(15), enters(index)), (false, true));
        drop(first);
        assert!(!enters(index));
    });
}

#[test]
fn item_13_a_thread_has_sixteen_places_and_rings_work_without() {
    needs!(has_registration(Registration::RING_FDS));
    afresh(|| {
        let mut ring = ring();
        let other = self::ring();
        let all: Vec<_> = (0..16).map(|_| other.registered(None).expect("free")).collect();
        let mut indices: Vec<_> = all.iter().map(|place| place.index()).collect();
        indices.sort_unstable();
        assert_eq!(indices, (0..16).collect::<Vec<_>>());
        assert_eq!(other.registered(None).err(), Some(Errno::BUSY));
        assert_eq!((ring.register_ring_fd(), ring.is_registered()), (Err(Errno::BUSY), false));
        exercise(&mut ring);
        drop(all);
        assert_eq!((ring.register_ring_fd(), ring.is_registered()), (Ok(()), true));
        exercise(&mut ring);
    });
}

#[test]
fn item_13_a_ring_enters_by_its_place_on_that_thread_only() {
    needs!(has_registration(Registration::RING_FDS));
    afresh(|| {
        let mut ring = ring();
        assert!(!ring.is_registered());
        ring.register_ring_fd().expect("an empty table");
        ring.register_ring_fd().expect("nothing to do");
        assert!(ring.is_registered() && enters(0) && !enters(1));
        exercise(&mut ring);
        // Elsewhere by the descriptor, and here by the index again.
        let mut ring = afresh(|| {
            let mut ring = ring;
            assert!(!ring.is_registered());
            exercise(&mut ring);
            ring
        });
        assert!(ring.is_registered());
        exercise(&mut ring);
        // With the place emptied behind its back, the ring finds nothing there.
        let mut update = sys::io_uring_rsrc_update::ZERO;
        // SAFETY: the argument is one update, read during the call; the index is that of this ring.
        unsafe { ring.register_raw(sys::IORING_UNREGISTER_RING_FDS, (&raw mut update).cast(), 1) }.expect("taken");
        assert_eq!(ring.get_events(), Err(Errno::BADF));
        ring.unregister_ring_fd();
        assert_eq!((ring.get_events(), ring.is_registered()), (Ok(()), false));
        exercise(&mut ring);
    });
}

#[test]
fn item_13_a_ring_gives_its_place_back() {
    needs!(has_registration(Registration::RING_FDS));
    afresh(|| {
        for _ in 0..40 {
            let mut ring = ring();
            ring.register_ring_fd().expect("the place of the one before");
        }
        assert!(!enters(0));
    });
}

/// Whether the writer of a pipe is gone, now or soon.
fn gone(mut reader: &File, patience: u32) -> bool {
    (0..patience).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        reader.read(&mut [0; 1]).is_ok_and(|read| read == 0)
    })
}

#[test]
fn item_13_a_ring_dropped_elsewhere_stays_until_its_thread_ends() {
    needs!(has_registration(Registration::RING_FDS));
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    fcntl_setfl(&reader, OFlags::NONBLOCK).expect("not blocking");
    let reader = File::from(reader);
    let (end, wait) = channel::<()>();
    let (give, take) = channel();
    let thread = std::thread::spawn(move || {
        let mut ring = ring();
        ring.register_ring_fd().expect("an empty table");
        ring.register_files(&[writer.as_fd().into()]).expect("registered");
        drop(writer);
        give.send(ring).expect("somebody takes it");
        wait.recv().expect("told to end");
    });
    drop(take.recv().expect("a ring"));
    assert!(!gone(&reader, 30), "the table of the thread has the ring");
    end.send(()).expect("the thread waits");
    thread.join().expect("no panic");
    assert!(gone(&reader, 20_000));
}

#[test]
fn a_ring_that_children_inherit_is_used_by_its_descriptor() {
    needs!(has_registration(Registration::RING_FDS));
    let mut ring = Setup::new(8).inherit_on_fork().build().expect("a ring");
    assert_eq!((ring.register_ring_fd(), ring.is_registered()), (Err(Errno::OPNOTSUPP), false));
}

#[test]
fn item_13_registrations_go_through_the_index_where_there_is_nothing_else() {
    needs!(has_setup(SetupFlags::REGISTERED_FD_ONLY));
    afresh(|| {
        let mut ring = Setup::new(8).no_mmap().registered_fd_only().build().expect("a ring");
        assert_eq!((ring.is_registered(), ring.registered(None).err()), (true, Some(Errno::OPNOTSUPP)));
        ring.register_sparse_files(4).expect("registered");
        ring.file_alloc_range(1..2).expect("inside");
        let me = ring.register_personality().expect("registered");
        ring.unregister_personality(me).expect("registered");
        ring.unregister_files().expect("there is a table");
        exercise(&mut ring);
        // Nowhere else.
        let elsewhere = afresh(|| (ring.is_registered(), ring.unregister_files(), ring.register_personality().err()));
        assert_eq!(elsewhere, (false, Err(Errno::BADF), Some(Errno::BADF)));
        // SAFETY: no argument.
        let raw = unsafe { ring.register_raw(sys::IORING_UNREGISTER_FILES, null_mut(), 0) };
        assert_eq!(raw, Err(Errno::NXIO));
    });
}
