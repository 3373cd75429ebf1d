//! The provided buffers of a run: a list or a ring, and what the program holds of a ring.
//!
//! Who owns what, when: a buffer is with the ring until a completion names it, then with the program, and back with the
//! ring when a step gives it back. Here is only what has to be done and seen; `ledger/buffers.rs` judges it. At the end of
//! a run there is a [census](Buffers::census), which asks nobody but the kernel.

use std::rc::Rc;

use rawring::buf_ring::{BadBuffer, BufRing, Delivery, Lease, Pick, StillOut};
use rawring::op::{ProvideBuffers, RecvProvided};
use rawring::operand::GroupId;
use rawring::{Cqe, Errno, Ring, Sqe, UserData, Wait};

use super::job::GROUP;
use super::program::{Bufs, Program};
use super::trace::{Event, Trace};
use super::world::{PATIENCE, World};

/// What a program holds of a ring: a lease, and what it said when it came.
struct Held {
    lease: Lease,
    bytes: Vec<u8>,
}

pub struct Buffers {
    what: Bufs,
    /// The memory of a list.
    list: *mut [u8],
    ring: Option<Rc<BufRing>>,
    held: Vec<Held>,
}

/// Runs one entry that borrows nothing that ends too soon, on a ring with nothing in flight.
///
/// # Safety
///
/// As for `push_unchecked`.
unsafe fn alone(ring: &mut Ring, entry: Sqe<'_>) -> Option<Cqe> {
    // SAFETY: the caller's promise.
    unsafe { ring.push_unchecked(entry.user_data(UserData(0))) }.expect("the queue is empty");
    for _ in 0..1000 {
        let _again = ring.submit_with(&Wait::new(1).timeout(PATIENCE));
        if let Some(cqe) = ring.completions().next() {
            return Some(cqe);
        }
    }
    None
}

impl Buffers {
    /// Gives the ring its buffers, if the program has a use for them.
    pub fn provide(ring: &mut Ring, program: &Program) -> Buffers {
        let what = program.bufs;
        let (count, size) = (what.count(), what.size());
        let mut buffers = Buffers { what, list: Box::into_raw(Box::new([])), ring: None, held: Vec::new() };
        if !program.entries().any(|entry| entry.op.picks().is_some()) {
            return buffers;
        }
        let setup = BufRing::setup(GROUP, count, size);
        let setup = match what {
            Bufs::List => {
                buffers.list = Box::into_raw(vec![0; usize::from(count) * size as usize].into_boxed_slice());
                // SAFETY: the memory is that long, and freed when everything has ended, if ever. It is read only where a
                // completion names a buffer.
                let done = unsafe {
                    let memory = buffers.list.cast();
                    alone(ring, ProvideBuffers::new(memory, size, count.into(), 0, GroupId::from(GROUP)).into())
                };
                assert_eq!(done.map(|cqe| cqe.result()), Some(Ok(0)), "buffers are provided");
                return buffers;
            }
            // SAFETY: of programs with bundles, `fitted` leaves none that a worker runs.
            Bufs::Ring => unsafe { setup.bundles() },
            // SAFETY: of programs with such a group, `fitted` leaves only shots, and none that a worker runs.
            Bufs::Incremental => unsafe { setup.incremental(0) },
        };
        buffers.ring = Some(Rc::new(setup.build(ring).expect("a group")));
        buffers
    }

    /// For doors that do not know what they have started.
    pub fn ring(&self) -> Option<Rc<BufRing>> {
        self.ring.clone()
    }

    /// What a completion delivered.
    pub fn take(
        &mut self,
        cqe: &Cqe,
        delivery: Option<Result<Delivery, BadBuffer>>,
        trace: &mut Trace,
    ) -> Vec<(u16, Vec<u8>)> {
        let Some(id) = cqe.buffer_id() else { return Vec::new() };
        if self.ring.is_none() {
            return vec![(id, self.listed(id, cqe.res()))];
        }
        let leases = match delivery {
            None => return Vec::new(),
            Some(Ok(delivery)) => delivery,
            Some(Err(bad)) => {
                trace.wrong(format!("{bad}: {cqe:?}"));
                return Vec::new();
            }
        };
        let mut delivered = Vec::new();
        for lease in leases {
            let (start, bytes) = (lease.as_ptr().addr(), lease.to_vec());
            let overlaps = |other: &&Held| {
                let other = other.lease.as_ptr_range();
                other.start.addr() < start + bytes.len() && start < other.end.addr()
            };
            if let Some(other) = self.held.iter().find(overlaps) {
                trace.wrong(format!("{lease:?} is handed out, and so is {:?}", other.lease));
            }
            delivered.push((lease.buffer_id(), bytes.clone()));
            self.held.push(Held { lease, bytes });
        }
        delivered
    }

    fn listed(&self, id: u16, res: i32) -> Vec<u8> {
        let size = self.what.size() as usize;
        let at = usize::from(id % self.what.count()) * size;
        let len = usize::try_from(res).unwrap_or(0).min(size);
        // SAFETY: inside the memory; the completion says that the kernel is done with this buffer.
        unsafe { std::slice::from_raw_parts(self.list.cast::<u8>().add(at), len) }.to_vec()
    }

    /// Gives back what the program holds at this place.
    pub fn give_back(&mut self, at: u8, trace: &mut Trace) {
        if !self.held.is_empty() {
            let held = self.held.remove(usize::from(at) % self.held.len());
            drop(checked(held, trace));
        }
    }

    /// Gives back everything, by one store of the tail.
    pub fn give_back_all(&mut self, trace: &mut Trace) {
        if let Some(ring) = &self.ring {
            let leases: Vec<_> = self.held.drain(..).map(|held| checked(held, trace)).collect();
            ring.give_back(leases);
        }
    }

    /// After the last completion, with nothing in flight: every buffer can be had once, and then there are no more.
    pub fn census(&mut self, ring: &mut Ring, world: &impl World, trace: &mut Trace) {
        self.give_back_all(trace);
        if let Some(bufs) = self.ring.take() {
            if bufs.lent() != u32::from(bufs.count()) {
                trace.wrong(format!("everything was given back, and {bufs:?}"));
            }
            count(&bufs, ring, world, trace);
            let Ok(bufs) = Rc::try_unwrap(bufs) else { return trace.wrong("a door still has the buffers") };
            if let Err(still) = ring.unregister_buf_ring(bufs) {
                match still.reason {
                    // SAFETY: everything has ended.
                    StillOut::Unknown => unsafe { ring.unregister_buf_ring_unchecked(still.bufs) }.expect("a group"),
                    _ => trace.wrong(format!("all buffers are back, and: {still}")),
                }
            }
        }
        // SAFETY: made by `Box::into_raw` in `provide`. All entries have ended, and nothing takes from a list of this ring
        // any more.
        drop(unsafe { Box::from_raw(std::mem::replace(&mut self.list, Box::into_raw(Box::new([])))) });
    }
}

/// The lease, after a look at its bytes.
fn checked(Held { lease, bytes }: Held, trace: &mut Trace) -> Lease {
    if lease[..] != bytes {
        trace.wrong(format!("{lease:?} held {bytes:?}, and now {:?}", &lease[..]));
    }
    trace.events.push(Event::GaveBack(lease.buffer_id()));
    lease
}

/// Receives into one buffer after the other until there are none. Each has to come, the same bytes never twice.
fn count(bufs: &BufRing, ring: &mut Ring, world: &impl World, trace: &mut Trace) {
    let (ours, other) = world.stream_pair();
    let sent: Vec<u8> = (0..u32::from(bufs.count()) * bufs.size() + 1).map(|i| i as u8).collect();
    world.write(&other, &sent);
    let mut leases: Vec<Lease> = Vec::new();
    let end = loop {
        // SAFETY: the socket is open until this completion was reaped.
        let Some(cqe) = (unsafe { alone(ring, RecvProvided::new(&ours, bufs.group()).into()) }) else {
            return trace.wrong("a receive of what is there does not end");
        };
        if cqe.buffer_id().is_none() {
            break cqe.result();
        }
        // SAFETY: of this ring, by an operation that takes one buffer of this group, in the order of the completions.
        match unsafe { bufs.take(&cqe, Pick::One) } {
            Ok(delivery) => leases.extend(delivery),
            Err(bad) => return trace.wrong(format!("while counting: {bad}")),
        }
        if leases.last().is_none_or(|lease| lease.is_empty()) {
            break cqe.result();
        }
    };
    let mut ids: Vec<u16> = leases.iter().map(Lease::buffer_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let received: Vec<u8> = leases.iter().flat_map(|lease| lease.to_vec()).collect();
    let all = ids.len() == usize::from(bufs.count()) && ids.last().is_some_and(|&last| last < bufs.count());
    if end != Err(Errno::NOBUFS) || !all || !sent.starts_with(&received) {
        trace.wrong(format!("a census finds {leases:?}, and then {end:?}"));
    }
}
