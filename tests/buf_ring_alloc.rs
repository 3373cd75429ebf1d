//! What runs allocates nothing: the safe doors, and receiving into provided buffers. In a file of its own, for its
//! allocator counts.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write as _;
use std::os::unix::net::UnixStream;

use common::{has, needs, since};
use rawring::buf_ring::{BufRing, Lease};
use rawring::op::{Nop, RecvMultiBundle};
use rawring::operand::Group;
use rawring::{Event, InFlight, Ring, Version};

/// The system's, and a count of what each thread asks of it.
struct Counting;

thread_local!(static ASKED: Cell<usize> = const { Cell::new(0) });

// SAFETY: all calls go on to the system's allocator as they are; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_running_receive_allocates_nothing() {
    needs!(has(RecvMultiBundle::INFO));
    let group = Group(0);
    let mut ring = Ring::new(8).expect("a ring");
    // SAFETY: multishot receives from a socket, one at a time, none of them in a chain.
    let setup = unsafe { BufRing::setup(group, 32, 4).bundles() };
    let bufs = setup.build(&mut ring).expect("a group");
    let mut ring = InFlight::new(ring).expect("a kernel that cancels");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // A multishot operation may end at any time, and is started again: what that takes the first time is had beforehand.
    let ticket = ring.start(right, |socket| RecvMultiBundle::new(&*socket, group).into()).expect("room");
    ring.cancel(ticket).expect("room");
    let right = loop {
        if let Event::Done(done) = ring.wait_event().expect("an event") {
            break done.state;
        }
    };
    ring.start(right, |socket| RecvMultiBundle::new(&*socket, group).into()).expect("room");
    let mut held: [Option<Lease>; 4] = [const { None }; 4];
    let (mut sent, mut received) = (0, 0);
    let mut asked = 0;
    for round in 0..100 {
        if round == 10 {
            asked = ASKED.get();
        }
        left.write_all(&[1; 10]).expect("written");
        sent += 10;
        while received < sent {
            let event = ring.wait_event().expect("an event");
            let mut delivery = ring.delivered().expect("buffers").expect("the kernel is sound");
            received += delivery.bytes();
            // Some are kept beyond the next completion, some go back by themselves, some in a batch.
            held[round % 4] = delivery.next();
            bufs.give_back(delivery.by_ref().take(1));
            if let Event::Done(done) = event {
                ring.start(done.state, |socket| RecvMultiBundle::new(&*socket, group).into()).expect("room");
            }
        }
    }
    assert_eq!(ASKED.get(), asked, "allocations after the first rounds");
    assert!(asked > 0, "allocations are counted");
}

#[test]
fn running_doors_allocate_nothing() {
    needs!(since(Version::new(5, 19)));
    let mut ring = InFlight::new(Ring::new(8).expect("a ring")).expect("a kernel that cancels");
    let mut idle: Vec<_> = (0..8).map(Box::new).collect();
    let mut asked = 0;
    for round in 0..100 {
        if round == 2 {
            asked = ASKED.get();
        }
        while let Some(state) = idle.pop() {
            ring.start(state, |_| Nop::new().into()).expect("room");
        }
        ring.submit_and_wait(8).expect("submitted");
        while let Some(event) = ring.next_event() {
            let Event::Done(done) = event else { panic!("{event:?}") };
            idle.push(done.state);
        }
        assert_eq!(idle.len(), 8);
    }
    assert_eq!(ASKED.get(), asked, "allocations of an InFlight after the first rounds");
    let mut ring = ring.shutdown().expect("nothing in flight").ring;
    ring.scope(|s| {
        for round in 0..100 {
            if round == 2 {
                asked = ASKED.get();
            }
            (0..8_u64).for_each(|key| assert!(s.push(Nop::new().user_data(key)).is_ok()));
            s.submit_and_wait(8).expect("submitted");
            assert_eq!(s.completions().count(), 8);
        }
        assert_eq!(ASKED.get(), asked, "allocations of a scope after the first rounds");
    })
    .expect("a scope");
    assert!(asked > 0, "allocations are counted");
}
