//! Where everything lies in the mappings of a ring, checked. A pure function of the parameters: no
//! pointer, no system call, so that any nonsense can be thrown at it.
//!
//! Invariant: every part of a [`Layout`] lies inside of its mapping, is aligned for its type, and shares
//! no byte with another part. Whoever makes pointers of it needs no further check.

use super::MapError;
use crate::{
    IORING_SETUP_CQE32, IORING_SETUP_NO_SQARRAY, IORING_SETUP_SQE128, io_uring_cqe, io_uring_params, io_uring_sqe,
};

/// Offsets in the mapping of the rings, in bytes, and the sizes of the queues.
///
/// The submission entries have a mapping of their own and begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The head of the submission queue.
    pub sq_head: usize,
    /// The tail of the submission queue.
    pub sq_tail: usize,
    /// The mask of the submission queue.
    pub sq_ring_mask: usize,
    /// The size of the submission queue, as the ring states it.
    pub sq_ring_entries: usize,
    /// The flags of the submission queue.
    pub sq_flags: usize,
    /// The count of dropped entries.
    pub sq_dropped: usize,
    /// The index array; `None` with `IORING_SETUP_NO_SQARRAY`.
    pub sq_array: Option<usize>,
    /// The head of the completion queue.
    pub cq_head: usize,
    /// The tail of the completion queue.
    pub cq_tail: usize,
    /// The mask of the completion queue.
    pub cq_ring_mask: usize,
    /// The size of the completion queue, as the ring states it.
    pub cq_ring_entries: usize,
    /// The count of lost completions.
    pub cq_overflow: usize,
    /// The flags of the completion queue; `None` where the kernel has no such word.
    pub cq_flags: Option<usize>,
    /// The completion slots.
    pub cqes: usize,
    /// The number of slots for submission entries.
    pub sq_entries: u32,
    /// 1 if these slots have 128 bytes, 0 if they have 64.
    pub sqe_shift: u32,
    /// The number of slots for completions.
    pub cq_entries: u32,
    /// 1 if these slots have 32 bytes, 0 if they have 16.
    pub cqe_shift: u32,
}

/// The exponent of a slot's size over the smallest: 1 for long entries, 0 for short and mixed ones.
const fn sqe_shift(p: &io_uring_params) -> u32 {
    (p.flags & IORING_SETUP_SQE128 != 0) as u32
}

/// As [`sqe_shift`], for completions.
const fn cqe_shift(p: &io_uring_params) -> u32 {
    (p.flags & IORING_SETUP_CQE32 != 0) as u32
}

/// The size of all submission slots. At most 2^39, so it cannot overflow.
const fn sqes_bytes(p: &io_uring_params) -> u64 {
    (p.sq_entries as u64 * size_of::<io_uring_sqe>() as u64) << sqe_shift(p)
}

/// The size of all completion slots. At most 2^37, so it cannot overflow.
const fn cqes_bytes(p: &io_uring_params) -> u64 {
    (p.cq_entries as u64 * size_of::<io_uring_cqe>() as u64) << cqe_shift(p)
}

/// The size of the index array.
const fn array_bytes(p: &io_uring_params) -> u64 {
    p.sq_entries as u64 * size_of::<u32>() as u64
}

/// How much of the rings to map: up to the end of the last completion slot or of the index array,
/// whichever is later.
///
/// `sq_off.array` is looked at only if there is an array: without one it is 0 and means nothing.
///
/// # Errors
///
/// [`MapError::BadEntries`] if that is more than an address can count.
pub fn ring_len(p: &io_uring_params) -> Result<usize, MapError> {
    let mut end = u64::from(p.cq_off.cqes) + cqes_bytes(p);
    if p.flags & IORING_SETUP_NO_SQARRAY == 0 {
        end = end.max(u64::from(p.sq_off.array) + array_bytes(p));
    }
    to_len(end).ok_or(MapError::BadEntries { what: "cq_entries", entries: p.cq_entries })
}

/// How much to map for the submission entries.
///
/// # Errors
///
/// [`MapError::BadEntries`] if that is more than an address can count.
pub fn sqes_len(p: &io_uring_params) -> Result<usize, MapError> {
    to_len(sqes_bytes(p)).ok_or(MapError::BadEntries { what: "sq_entries", entries: p.sq_entries })
}

/// A size as the type of sizes: Rust's pointers may go no further than `isize::MAX`.
fn to_len(bytes: u64) -> Option<usize> {
    isize::try_from(bytes).ok().map(isize::unsigned_abs)
}

/// Checks every offset of a ring's parameters against mappings of these sizes.
///
/// # Errors
///
/// [`MapError::BadEntries`], [`MapError::Offset`], [`MapError::Misaligned`] or [`MapError::Overlap`], with
/// the first part that is wrong.
pub fn layout(p: &io_uring_params, ring_len: usize, sqes_len: usize) -> Result<Layout, MapError> {
    for (what, entries) in [("sq_entries", p.sq_entries), ("cq_entries", p.cq_entries)] {
        if !entries.is_power_of_two() {
            return Err(MapError::BadEntries { what, entries });
        }
    }
    let sqes = sqes_bytes(p);
    if sqes > sqes_len as u64 {
        let mapped = sqes_len as u64;
        return Err(MapError::Offset { what: "sq_entries", offset: 0, end: sqes, mapped });
    }

    let mut parts = Parts { ring_len: ring_len as u64, list: [Part::NONE; MAX_PARTS], len: 0 };
    let (sq, cq) = (&p.sq_off, &p.cq_off);
    Ok(Layout {
        sq_head: parts.word("sq_off.head", sq.head)?,
        sq_tail: parts.word("sq_off.tail", sq.tail)?,
        sq_ring_mask: parts.word("sq_off.ring_mask", sq.ring_mask)?,
        sq_ring_entries: parts.word("sq_off.ring_entries", sq.ring_entries)?,
        sq_flags: parts.word("sq_off.flags", sq.flags)?,
        sq_dropped: parts.word("sq_off.dropped", sq.dropped)?,
        sq_array: match p.flags & IORING_SETUP_NO_SQARRAY {
            0 => Some(parts.part("sq_off.array", sq.array, array_bytes(p), align_of::<u32>())?),
            // The offset is 0 now, which is where the head lies: writing indices there would ruin it.
            _ => None,
        },
        cq_head: parts.word("cq_off.head", cq.head)?,
        cq_tail: parts.word("cq_off.tail", cq.tail)?,
        cq_ring_mask: parts.word("cq_off.ring_mask", cq.ring_mask)?,
        cq_ring_entries: parts.word("cq_off.ring_entries", cq.ring_entries)?,
        cq_overflow: parts.word("cq_off.overflow", cq.overflow)?,
        cq_flags: match cq.flags {
            // Also where the head lies; a kernel without the word leaves the field zero.
            0 => None,
            offset => Some(parts.word("cq_off.flags", offset)?),
        },
        cqes: parts.part("cq_off.cqes", cq.cqes, cqes_bytes(p), align_of::<io_uring_cqe>())?,
        sq_entries: p.sq_entries,
        sqe_shift: sqe_shift(p),
        cq_entries: p.cq_entries,
        cqe_shift: cqe_shift(p),
    })
}

/// Twelve words, the array and the slots.
const MAX_PARTS: usize = 14;

/// One part of the ring: a name and the bytes from `start` to before `end`.
#[derive(Clone, Copy)]
struct Part {
    what: &'static str,
    start: u64,
    end: u64,
}

impl Part {
    const NONE: Self = Self { what: "", start: 0, end: 0 };
}

/// The parts accepted so far.
struct Parts {
    ring_len: u64,
    list: [Part; MAX_PARTS],
    len: usize,
}

impl Parts {
    /// Accepts a 32-bit word.
    fn word(&mut self, what: &'static str, offset: u32) -> Result<usize, MapError> {
        self.part(what, offset, size_of::<u32>() as u64, align_of::<u32>())
    }

    /// Accepts a part if it is aligned, inside, and apart from all others.
    fn part(&mut self, what: &'static str, offset: u32, bytes: u64, align: usize) -> Result<usize, MapError> {
        let start = u64::from(offset);
        let align = align as u64;
        // `start` is below 2^32 and `bytes` at most 2^37: no overflow.
        let end = start + bytes;
        if end > self.ring_len {
            return Err(MapError::Offset { what, offset: start, end, mapped: self.ring_len });
        }
        if start % align != 0 {
            return Err(MapError::Misaligned { what, offset: start, align });
        }
        if let Some(other) = self.list[..self.len].iter().find(|o| start < o.end && o.start < end) {
            return Err(MapError::Overlap { what, other: other.what });
        }
        self.list[self.len] = Part { what, start, end };
        self.len += 1;
        Ok(offset as usize)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{IORING_SETUP_CQE_MIXED, IORING_SETUP_SQE_MIXED};
    use std::vec::Vec;

    /// Parameters as Linux 7.3 fills them for 8 and 16 entries.
    fn params(flags: u32) -> io_uring_params {
        let mut p = io_uring_params { sq_entries: 8, cq_entries: 16, flags, ..Default::default() };
        p.sq_off.head = 0;
        p.sq_off.tail = 4;
        p.cq_off.head = 8;
        p.cq_off.tail = 12;
        p.sq_off.ring_mask = 16;
        p.cq_off.ring_mask = 20;
        p.sq_off.ring_entries = 24;
        p.cq_off.ring_entries = 28;
        p.sq_off.dropped = 32;
        p.sq_off.flags = 36;
        p.cq_off.flags = 40;
        p.cq_off.overflow = 44;
        p.cq_off.cqes = 64;
        let slots = 16 * if flags & IORING_SETUP_CQE32 != 0 { 32 } else { 16 };
        p.sq_off.array = if flags & IORING_SETUP_NO_SQARRAY != 0 { 0 } else { 64 + slots };
        p
    }

    fn check(p: &io_uring_params) -> Result<Layout, MapError> {
        layout(p, ring_len(p)?, sqes_len(p)?)
    }

    #[test]
    fn lengths_reach_to_the_last_byte_and_no_further() {
        let lens = |flags| {
            let p = params(flags);
            (ring_len(&p).unwrap(), sqes_len(&p).unwrap())
        };
        assert_eq!(lens(0), (64 + 16 * 16 + 8 * 4, 8 * 64));
        assert_eq!(lens(IORING_SETUP_NO_SQARRAY), (64 + 16 * 16, 8 * 64));
        assert_eq!(lens(IORING_SETUP_SQE128), (64 + 16 * 16 + 8 * 4, 8 * 128));
        assert_eq!(lens(IORING_SETUP_CQE32), (64 + 16 * 32 + 8 * 4, 8 * 64));
        // Mixed sizes share slots of the small size.
        assert_eq!(lens(IORING_SETUP_CQE_MIXED), lens(0));
        assert_eq!(lens(IORING_SETUP_SQE_MIXED), lens(0));
        // The completion slots may come last as well.
        let mut p = params(0);
        (p.sq_off.array, p.cq_off.cqes) = (64, 128);
        assert_eq!(ring_len(&p), Ok(128 + 16 * 16));
    }

    #[test]
    fn what_the_kernel_says_is_taken() {
        let l = check(&params(0)).unwrap();
        assert_eq!((l.sq_head, l.cq_tail, l.cqes, l.sq_array), (0, 12, 64, Some(64 + 256)));
        assert_eq!((l.sqe_shift, l.cqe_shift, l.cq_flags), (0, 0, Some(40)));
        let l = check(&params(IORING_SETUP_CQE32 | IORING_SETUP_SQE128)).unwrap();
        assert_eq!((l.sqe_shift, l.cqe_shift), (1, 1));
        let l = check(&params(IORING_SETUP_CQE_MIXED | IORING_SETUP_SQE_MIXED)).unwrap();
        assert_eq!((l.sqe_shift, l.cqe_shift), (0, 0));
    }

    #[test]
    fn no_sqarray_never_yields_the_offset_zero() {
        let l = check(&params(IORING_SETUP_NO_SQARRAY)).unwrap();
        assert_eq!((l.sq_array, l.sq_head), (None, 0));
        // And with an array, the offset 0 is where the head is, not an array.
        let mut p = params(0);
        p.sq_off.array = 0;
        let overlap = MapError::Overlap { what: "sq_off.array", other: "sq_off.head" };
        assert_eq!(check(&p), Err(overlap));
    }

    #[test]
    fn a_missing_word_of_completion_flags_is_none() {
        let mut p = params(0);
        p.cq_off.flags = 0;
        assert_eq!(check(&p).unwrap().cq_flags, None);
    }

    #[test]
    fn entries_must_be_powers_of_two() {
        for bad in [0, 3, 12, u32::MAX] {
            let p = io_uring_params { sq_entries: bad, ..params(0) };
            let error = MapError::BadEntries { what: "sq_entries", entries: bad };
            assert_eq!(layout(&p, 1 << 20, 1 << 20), Err(error));
            let p = io_uring_params { cq_entries: bad, ..params(0) };
            let error = MapError::BadEntries { what: "cq_entries", entries: bad };
            assert_eq!(layout(&p, 1 << 20, 1 << 20), Err(error));
        }
    }

    #[test]
    fn nothing_may_end_one_byte_after_the_mapping() {
        let p = params(0);
        let (ring, sqes) = (ring_len(&p).unwrap(), sqes_len(&p).unwrap());
        let what = |r: Result<Layout, MapError>| match r {
            Err(MapError::Offset { what, end, mapped, .. }) => {
                assert_eq!(end, mapped + 1);
                what
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(what(layout(&p, ring - 1, sqes)), "sq_off.array");
        assert_eq!(what(layout(&p, ring, sqes - 1)), "sq_entries");
        let p = params(IORING_SETUP_NO_SQARRAY);
        assert_eq!(what(layout(&p, ring_len(&p).unwrap() - 1, sqes)), "cq_off.cqes");
    }

    /// Every field that is an offset, and its name.
    fn offsets(p: &mut io_uring_params) -> [(&'static str, &mut u32); 14] {
        let (sq, cq) = (&mut p.sq_off, &mut p.cq_off);
        [
            ("sq_off.head", &mut sq.head),
            ("sq_off.tail", &mut sq.tail),
            ("sq_off.ring_mask", &mut sq.ring_mask),
            ("sq_off.ring_entries", &mut sq.ring_entries),
            ("sq_off.flags", &mut sq.flags),
            ("sq_off.dropped", &mut sq.dropped),
            ("sq_off.array", &mut sq.array),
            ("cq_off.head", &mut cq.head),
            ("cq_off.tail", &mut cq.tail),
            ("cq_off.ring_mask", &mut cq.ring_mask),
            ("cq_off.ring_entries", &mut cq.ring_entries),
            ("cq_off.overflow", &mut cq.overflow),
            ("cq_off.flags", &mut cq.flags),
            ("cq_off.cqes", &mut cq.cqes),
        ]
    }

    #[test]
    fn every_single_offset_is_checked() {
        let len = ring_len(&params(0)).unwrap();
        for i in 0..14 {
            let mut p = params(0);
            let (what, field) = offsets(&mut p).into_iter().nth(i).unwrap();
            *field = u32::MAX - 7;
            match layout(&p, len, 8 * 64) {
                Err(MapError::Offset { what: named, .. }) => assert_eq!(named, what),
                other => panic!("{what} outside: {other:?}"),
            }
            let mut p = params(0);
            *offsets(&mut p)[i].1 += 2;
            match layout(&p, len + 64, 8 * 64) {
                Err(MapError::Misaligned { what: named, .. }) => assert_eq!(named, what),
                other => panic!("{what} misaligned: {other:?}"),
            }
            // On top of another word: of the first one, or for that one of the second.
            let mut p = params(0);
            *offsets(&mut p)[i].1 = if i == 1 { 0 } else { 4 };
            match layout(&p, len, 8 * 64) {
                Err(MapError::Overlap { .. }) => {}
                // 8-byte slots cannot begin at 4 to start with.
                Err(MapError::Misaligned { what: "cq_off.cqes", .. }) if i == 13 => {}
                other => panic!("{what} twice: {other:?}"),
            }
        }
    }

    /// Whatever the parameters, a layout that is given out is sound, as told by this second opinion.
    #[test]
    fn no_garbage_passes() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut p = params(random() as u32 & (IORING_SETUP_SQE128 | IORING_SETUP_CQE32 | IORING_SETUP_NO_SQARRAY));
            // Some fields become small, some anything: all-random parameters would never be accepted.
            for _ in 0..random() % 3 {
                let field = &mut offsets(&mut p)[random() as usize % 14];
                *field.1 = random() as u32 >> (random() % 32);
            }
            if random() % 4 == 0 {
                p.sq_entries = 1 << (random() % 32);
            }
            if random() % 4 == 0 {
                p.cq_entries = 1 << (random() % 32);
            }
            let ring_len = if random() % 2 == 0 { ring_len(&p).unwrap() } else { random() as usize % 1024 };
            let sqes_len = if random() % 2 == 0 { sqes_len(&p).unwrap() } else { random() as usize % 1024 };
            let Ok(l) = layout(&p, ring_len, sqes_len) else { continue };
            accepted += 1;

            let mut parts: Vec<(usize, usize)> = [
                l.sq_head,
                l.sq_tail,
                l.sq_ring_mask,
                l.sq_ring_entries,
                l.sq_flags,
                l.sq_dropped,
                l.cq_head,
                l.cq_tail,
                l.cq_ring_mask,
                l.cq_ring_entries,
                l.cq_overflow,
            ]
            .into_iter()
            .chain(l.cq_flags)
            .map(|at| (at, 4))
            .collect();
            parts.extend(l.sq_array.map(|at| (at, l.sq_entries as usize * 4)));
            parts.push((l.cqes, (l.cq_entries as usize * 16) << l.cqe_shift));
            assert_eq!(l.cqes % 8, 0);
            assert!((l.sq_entries as usize * 64) << l.sqe_shift <= sqes_len);
            parts.sort_unstable();
            for pair in parts.windows(2) {
                assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{p:?}");
            }
            let last = parts.last().unwrap();
            assert!(last.0 + last.1 <= ring_len, "{p:?}");
            assert!(parts.iter().all(|part| part.0 % 4 == 0), "{p:?}");
        }
        assert!(accepted > 1000, "only {accepted} layouts were accepted: this tests nothing");
    }
}
