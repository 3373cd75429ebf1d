//! Direct slots: files that operations put into the table of registered files, take out of it, and make there.

use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

use rawring::op::*;
use rawring::operand::{DirectSlot, FileSlot, FilesToPlace, Fixed};
use rawring::{Errno, Ring, Sqe};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::files::next;
use crate::{KINDS, Outcomes, ring, seeds, twins};

/// Runs entries one after the other, and keeps what came of each.
struct Diary<'r> {
    ring: &'r mut Ring,
    outcomes: Outcomes,
}

impl Diary<'_> {
    fn note(&mut self, res: i32) {
        self.outcomes.insert(self.outcomes.len() as u64, vec![(res, 0)]);
    }

    fn call(&mut self, result: Result<(), Errno>) {
        self.note(result.map_or_else(|errno| -errno.raw_os_error(), |()| 0));
    }

    fn run<'a>(&mut self, entry: impl Into<Sqe<'a>>) -> i32 {
        // SAFETY: what the entry names is there until its completion, which is the next one.
        unsafe { self.ring.push_unchecked(entry) }.expect("room");
        let res = next(self.ring).res();
        self.note(res);
        res
    }
}

fn socket(slot: DirectSlot) -> SocketDirect<'static> {
    SocketDirect::new(AddressFamily::UNIX, (SocketType::STREAM, SocketFlags::empty()), None, slot)
}

#[test]
fn item_14_slots_are_filled_and_emptied_as_by_the_kernel() {
    twins(|ring| {
        let entry = Socket::new(AddressFamily::UNIX, (SocketType::STREAM, SocketFlags::CLOEXEC), None);
        ring.push(entry).expect("room");
        let fd = next(ring).result().expect("a socket");
        // SAFETY: the operation has made it for whoever reaps the completion.
        let ours = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let mut diary = Diary { ring, outcomes: Outcomes::new() };
        let mut array = [-7; 3];
        let place = |diary: &mut Diary<'_>, array: &mut [i32; 3], count: usize| {
            let files = std::iter::repeat_n(ours.as_fd(), count);
            let placed = diary.run(FilesUpdateAlloc::new(FilesToPlace::new(array, files)));
            let placed = usize::try_from(placed).unwrap_or(0);
            array[..placed].iter().for_each(|&index| diary.note(index));
            assert!(array[placed..count].iter().all(|&left| left == fd as i32), "{array:?}");
        };
        // Without a table.
        diary.run(FilesUpdate::new(&[FileSlot::CLEAR], Fixed(0)));
        place(&mut diary, &mut array, 1);
        diary.run(socket(DirectSlot::ALLOC));
        diary.run(socket(DirectSlot::at(0)));
        let range = diary.ring.file_alloc_range(0..1);
        diary.call(range);
        diary.ring.register_sparse_files(5).expect("a table");
        for range in [3..6, 5..5, 1..4] {
            let range = diary.ring.file_alloc_range(range);
            diary.call(range);
        }
        for slot in [DirectSlot::ALLOC, DirectSlot::at(0), DirectSlot::at(5), DirectSlot::ALLOC, DirectSlot::at(1)] {
            diary.run(socket(slot));
        }
        place(&mut diary, &mut array, 3);
        diary.run(socket(DirectSlot::ALLOC));
        diary.run(CloseDirect::new(Fixed(2)));
        diary.run(socket(DirectSlot::ALLOC));
        let update = [FileSlot::CLEAR, FileSlot::SKIP, ours.as_fd().into()];
        for (first, count) in [(1, 3), (3, 3), (0, 1), (4, 0)] {
            diary.run(FilesUpdate::new(&update[..count], Fixed(first)));
        }
        place(&mut diary, &mut array, 2);
        // What is there now: an empty slot has no file to poll.
        for slot in 0..5 {
            diary.run(Fsync::new(Fixed(slot)));
        }
        diary.ring.unregister_files().expect("a table");
        diary.run(socket(DirectSlot::ALLOC));
        diary.outcomes
    });
}

#[test]
fn connections_are_accepted_into_slots() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 8, kind);
            let (listener, address) = sim.listener(b"slots", 4).expect("a name");
            let address = address.into();
            ring.register_sparse_files(3).expect("a table");
            ring.file_alloc_range(1..3).expect("a range");
            let clients = [0, 1, 2].map(|_| sim.socket().expect("a socket"));
            let mut diary = Diary { ring: &mut ring, outcomes: Outcomes::new() };
            for (client, slot) in clients.iter().zip([DirectSlot::at(0), DirectSlot::ALLOC, DirectSlot::ALLOC]) {
                diary.run(Connect::new(client, &address));
                diary.run(AcceptDirect::new(&listener, slot));
            }
            let results: Vec<i32> = diary.outcomes.values().map(|outcome| outcome[0].0).collect();
            assert_eq!(results, [0, 0, 0, 1, 0, 2]);
            for (slot, client) in (0..).zip(&clients) {
                assert!(diary.run(Write::new(Fixed(slot), b"x")) == 1 && client.read(4).as_deref() == Ok(b"x"));
            }
            // Nobody else has them.
            assert_eq!(diary.run(CloseDirect::new(Fixed(1))), 0);
            assert_eq!(clients[1].read(1), Ok(Vec::new()));
            assert_eq!(diary.run(socket(DirectSlot::ALLOC)), 1);
            assert_eq!(diary.run(socket(DirectSlot::ALLOC)), -Errno::NFILE.raw_os_error());
        });
    }
}
