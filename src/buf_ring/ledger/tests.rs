//! The ledger against a kernel that keeps its own books, whole byte by byte, and against nonsense.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What the kernel does with a ring of buffers, as `kbuf.c` of Linux 7.3 does it.
struct Kernel {
    /// Its entries from head to tail: buffer, where the unused part begins.
    entries: VecDeque<(u16, u32)>,
    size: u32,
    least: Option<u32>,
}

/// The first buffer that was filled, whether the last one stays in use, and each byte's place.
type Filled = (u16, bool, Vec<(u16, u32)>);

impl Kernel {
    /// Fills buffers with `bytes` bytes.
    fn fill(&mut self, mut bytes: u32, several: bool) -> Option<Filled> {
        let first = self.entries.front()?.0;
        let mut places = Vec::new();
        loop {
            let Some(&(id, start)) = self.entries.front() else { return Some((first, false, places)) };
            let part = bytes.min(self.size - start);
            places.extend((start..start + part).map(|at| (id, at)));
            bytes -= part;
            let left = self.size - start - part;
            if self.least.is_some_and(|least| left >= least) {
                self.entries[0].1 += part;
                return Some((first, true, places));
            }
            self.entries.pop_front();
            if bytes == 0 || !several {
                return Some((first, false, places));
            }
        }
    }
}

/// Lends everything idle.
fn refill(ledger: &mut Ledger, kernel: &mut Kernel, at: &mut u16) {
    while let Some(id) = ledger.lend(*at) {
        assert!(kernel.entries.iter().all(|(other, _)| *other != id), "buffer {id} is handed out twice");
        kernel.entries.push_back((id, 0));
        *at = at.wrapping_add(1);
    }
}

/// The places of the bytes that were delivered.
fn places(ledger: &Ledger, taken: Taken) -> (Vec<u16>, Vec<(u16, u32)>) {
    let Taken { first, mut start, mut bytes, buffers } = taken;
    let (mut ids, mut places, mut id) = (Vec::new(), Vec::new(), first);
    for nth in 1..=buffers {
        let len = bytes.min(ledger.size - start);
        places.extend((start..start + len).map(|at| (id, at)));
        ids.push(id);
        (start, bytes) = (0, bytes - len);
        if nth < buffers {
            id = ledger.after(id);
        }
    }
    (ids, places)
}

proptest! {
    /// Buffers are filled, reported in order or (with whole buffers) out of order, read, and given back in any order.
    #[test]
    fn item_20_no_buffer_is_lost_or_handed_out_twice(
        count in 1u16..6,
        size in 1u32..9,
        least in proptest::option::of(1u32..4),
        start in any::<u16>(),
        steps in proptest::collection::vec((0u8..4, 0u32..40, any::<proptest::sample::Index>()), 1..200),
    ) {
        let least = least.map(|least| least.min(size));
        let mut ledger = Ledger::new(count, size, least);
        let mut kernel = Kernel { entries: VecDeque::new(), size, least };
        let mut at = start;
        refill(&mut ledger, &mut kernel, &mut at);
        // Completions that were not taken yet, and the leases that are out, with their bytes.
        let mut posted = VecDeque::new();
        let mut leases: Vec<(u16, Vec<(u16, u32)>)> = Vec::new();
        for (what, bytes, which) in steps {
            match what {
                0 | 1 => {
                    let several = what == 1;
                    // What does not fit is not sent: the socket keeps it.
                    let room: u32 = kernel.entries.iter().take(if several { 32 } else { 1 }).map(|e| size - e.1).sum();
                    let filled = kernel.fill(bytes.min(room), several);
                    posted.extend(filled.map(|filled| (filled, if several { Pick::Bundle } else { Pick::One })));
                }
                2 if !posted.is_empty() => {
                    // Workers complete in any order, which incremental groups do not bear.
                    let nth = if least.is_some() { 0 } else { which.index(posted.len()) };
                    let ((id, more, expected), pick) = posted.remove(nth).expect("it is there");
                    let res = expected.len() as i32;
                    let taken = ledger.take(id, res, pick, false).map_err(|bad| TestCaseError::fail(bad.to_string()))?;
                    let (ids, found) = places(&ledger, taken);
                    prop_assert_eq!(&found, &expected);
                    let out = leases.iter().flat_map(|lease| &lease.1);
                    prop_assert!(out.clone().all(|place| !found.contains(place)), "bytes are leased twice");
                    prop_assert_eq!(ledger.position(*ids.last().expect("one")).is_some(), more);
                    for id in ids {
                        let own = found.iter().copied().filter(|place| place.0 == id).collect();
                        leases.push((id, own));
                    }
                }
                3 if !leases.is_empty() => {
                    let (id, _) = leases.remove(which.index(leases.len()));
                    ledger.release(id);
                    refill(&mut ledger, &mut kernel, &mut at);
                }
                _ => {}
            }
        }
        // Everything comes back.
        for ((id, _, expected), pick) in posted {
            let taken = ledger.take(id, expected.len() as i32, pick, false).expect("as the kernel said");
            leases.extend(places(&ledger, taken).0.into_iter().map(|id| (id, Vec::new())));
        }
        leases.into_iter().for_each(|(id, _)| ledger.release(id));
        refill(&mut ledger, &mut kernel, &mut at);
        prop_assert_eq!(ledger.lent(), u32::from(count));
        prop_assert_eq!(kernel.entries.len(), usize::from(count));
    }

    /// Whatever a lying kernel says: each byte is delivered to one lease at a time, and inside its buffer.
    #[test]
    fn item_20_lies_deliver_nothing_twice(
        count in 1u16..5,
        size in 1u32..9,
        least in proptest::option::of(1u32..4),
        steps in proptest::collection::vec(
            (0u8..6, 0u16..6, prop_oneof![-5i32..40, any::<i32>()], any::<bool>(), any::<proptest::sample::Index>()),
            1..100,
        ),
    ) {
        let mut ledger = Ledger::new(count, size, least);
        let mut at = 65_530_u16;
        let mut leases: Vec<(u16, Vec<(u16, u32)>)> = Vec::new();
        for (what, id, res, emptied, which) in steps {
            let pick = [Pick::One, Pick::Truncating, Pick::Bundle][usize::from(what % 3)];
            while ledger.lend(at).is_some() {
                at = at.wrapping_add(1);
            }
            if what < 4 {
                let Ok(taken) = ledger.take(id, res, pick, emptied) else { continue };
                let (ids, found) = places(&ledger, taken);
                for place in &found {
                    prop_assert!(place.0 < count && place.1 < size);
                    prop_assert!(leases.iter().all(|lease| !lease.1.contains(place)), "{:?} is leased twice", place);
                }
                let parts = ids.iter().map(|id| (*id, found.iter().copied().filter(|place| place.0 == *id).collect()));
                leases.extend(parts);
            } else if !leases.is_empty() {
                let (id, _) = leases.remove(which.index(leases.len()));
                ledger.release(id);
            }
        }
    }
}

/// Buffer 0 of three is out (in a worker, say) while the others go round: what was lent after it long ago is not what
/// follows it in a bundle.
#[test]
fn a_bundle_does_not_go_on_with_buffers_that_were_lent_again() {
    let mut ledger = Ledger::new(3, 4, None);
    (0..3).for_each(|at| assert_eq!(ledger.lend(at), Some(at)));
    let second = ledger.take(1, 4, Pick::One, false).expect("it was lent");
    ledger.release(second.first);
    assert_eq!(ledger.lend(3), Some(1));
    assert_eq!(ledger.take(0, 8, Pick::Bundle, false), Err(BadBuffer::TooLong { id: 0, said: 8, room: 4 }));
    let taken = ledger.take(2, 8, Pick::Bundle, false).expect("2 and then 1");
    assert_eq!((taken.buffers, ledger.after(2)), (2, 1));
}

/// The kernel says that it goes on with a buffer, and then names the next one.
#[test]
fn item_20_a_new_buffer_completes_those_before_it() {
    let mut ledger = Ledger::new(3, 8, Some(1));
    (0..3).for_each(|at| assert_eq!(ledger.lend(at), Some(at)));
    let first = ledger.take(0, 3, Pick::One, false).expect("it was lent");
    assert_eq!((first.start, ledger.lent()), (0, 3));
    let third = ledger.take(2, 3, Pick::One, false).expect("it was lent");
    assert_eq!((third.start, ledger.lent()), (0, 1), "0 and 1 are done with");
    assert_eq!(ledger.lend(3), Some(1), "which nobody reads");
    assert_eq!(ledger.lend(4), None);
    ledger.release(0);
    assert_eq!(ledger.lend(4), Some(0));
}
