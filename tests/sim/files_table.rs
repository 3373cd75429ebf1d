//! The table of registered files: what entries find there, what keeps a file, and when its tag comes.

use std::os::fd::AsFd;

use rawring::op::{CancelFd, CloseDirect, PollAdd, Read, Write};
use rawring::operand::{FileSlot, Fixed};
use rawring::register::{FileTable, FilesError, Tag};
use rawring::{Cqe, Errno, Ring, Sqe, UserData};
use rustix::event::PollFlags;

use crate::files::{next, nothing};
use crate::{KINDS, Outcomes, reap, ring, seeds, twins};

fn tag(number: u64) -> Tag {
    Tag::new(number).expect("48 bits")
}

fn result(ring: &mut Ring, entry: impl Into<Sqe<'static>>) -> Result<u32, Errno> {
    ring.push(entry).expect("room");
    next(ring).result()
}

#[test]
fn entries_find_registered_files() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 8, kind);
            let (reader, writer) = sim.pipe().expect("a pipe");
            let mut table = FileTable::sparse(&ring, 3).expect("registered");
            let slot = table.insert(&ring, writer.as_fd()).expect("room");
            // The table keeps what is closed.
            drop(writer);
            assert!(result(&mut ring, Write::new(slot, b"hello")).is_ok_and(|n| n > 0));
            assert!(result(&mut ring, Write::new(slot, b"hello").force_async()).is_ok_and(|n| n > 0));
            assert!(!reader.read(16).expect("written").is_empty());
            assert_eq!(reader.read(16), Err(Errno::AGAIN));
            for (index, expected) in [(0, Ok(0)), (0, Err(Errno::BADF)), (3, Err(Errno::INVAL))] {
                assert_eq!(result(&mut ring, CloseDirect::new(Fixed(index))), expected, "{index}");
            }
            assert_eq!(reader.read(16), Ok(Vec::new()));
            for empty in [0, 3, u32::MAX] {
                assert_eq!(result(&mut ring, Write::new(Fixed(empty), b"hello")), Err(Errno::BADF), "{empty}");
            }
            ring.unregister_files().expect("there is a table");
            assert_eq!(result(&mut ring, CloseDirect::new(Fixed(0))), Err(Errno::NXIO));
        });
    }
}

#[test]
fn a_request_keeps_its_file_until_it_is_over_and_then_the_tag_comes() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 8, kind);
            let (reader, writer) = sim.pipe().expect("a pipe");
            ring.register_files_tagged(&[reader.as_fd().into()], &[Some(tag(7))]).expect("registered");
            drop(reader);
            ring.push(Read::new(Fixed(0), Box::leak(Box::new([0; 4]))).user_data(1)).expect("room");
            nothing(sim, &mut ring);
            assert_eq!(ring.update_files(0, &[FileSlot::CLEAR]), Ok(1));
            nothing(sim, &mut ring);
            assert_eq!(writer.write(b"four"), Ok(4));
            let (read, left) = (next(&mut ring), next(&mut ring));
            assert_eq!((read.user_data(), read.result().is_ok_and(|n| n > 0)), (UserData(1), true));
            assert_eq!(left.tag(), Some(tag(7)));
            assert_eq!(writer.write(b"four"), Err(Errno::PIPE));
            // With nothing in flight, at once.
            let (other, _peer) = sim.stream_pair().expect("sockets");
            assert_eq!(ring.update_files_tagged(0, &[other.as_fd().into()], &[Some(tag(8))]), Ok(1));
            nothing(sim, &mut ring);
            ring.unregister_files().expect("there is a table");
            assert_eq!(next(&mut ring).tag(), Some(tag(8)));
        });
    }
}

#[test]
fn requests_are_found_by_their_slot() {
    seeds(|sim| {
        let mut ring = sim.ring(8).expect("a ring");
        let (reader, _writer) = sim.pipe().expect("a pipe");
        ring.register_files(&[reader.as_fd().into()]).expect("registered");
        ring.push(PollAdd::new(Fixed(0), PollFlags::IN).user_data(1)).expect("room");
        nothing(sim, &mut ring);
        assert_eq!(result(&mut ring, CancelFd::new(Fixed(1))), Err(Errno::BADF));
        ring.push(CancelFd::new(Fixed(0)).user_data(2)).expect("room");
        let (one, other) = (next(&mut ring), next(&mut ring));
        let of = |key| [one, other].iter().find(|cqe| cqe.user_data() == UserData(key)).map(Cqe::result);
        assert_eq!((of(1), of(2)), (Some(Err(Errno::CANCELED)), Some(Ok(0))));
    });
}

/// An outcome of a call, among those of entries.
fn call<T>(result: Result<T, FilesError>) -> Vec<(i32, u32)> {
    match result {
        Ok(_) => vec![(0, 0)],
        Err(FilesError::Kernel(errno)) => vec![(-errno.raw_os_error(), 0)],
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn calls_and_empty_slots_are_those_of_the_kernel() {
    twins(|ring| {
        let update =
            |ring: &Ring, first, files: &[FileSlot<'_>]| call(ring.update_files(first, files).map_err(Into::into));
        let (clear, skip) = (FileSlot::CLEAR, FileSlot::SKIP);
        let calls = [
            update(ring, 0, &[clear]),
            call(ring.unregister_files().map_err(Into::into)),
            call(ring.register_files(&[])),
            call(ring.register_files(&[clear, skip])),
            call(ring.register_sparse_files(0)),
            call(ring.register_sparse_files(4)),
            call(ring.register_files(&[clear])),
            update(ring, 0, &[]),
            update(ring, 2, &[skip, clear]),
            update(ring, 3, &[clear, clear]),
            update(ring, u32::MAX, &[clear]),
        ];
        let mut outcomes: Outcomes = (100..).zip(calls).collect();
        for slot in [0, 3, 4] {
            ring.push(Read::new(Fixed(slot), Box::leak(Box::new([0; 1]))).user_data(u64::from(slot))).expect("room");
            ring.push(CloseDirect::new(Fixed(slot)).user_data(10 + u64::from(slot))).expect("room");
        }
        outcomes.extend(reap(ring, 6));
        outcomes.insert(200, call(ring.unregister_files().map_err(Into::into)));
        outcomes
    });
}
