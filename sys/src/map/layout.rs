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
        cqes: parts.part("cq_off.cqes", cq.cqes, cqes_bytes(p), CQE_ALIGN)?,
        sq_entries: p.sq_entries,
        sqe_shift: sqe_shift(p),
        cq_entries: p.cq_entries,
        cqe_shift: cqe_shift(p),
    })
}

/// What completion slots are aligned to, also on 32-bit x86, where the type would do with 4.
const CQE_ALIGN: usize = 8;

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
mod tests;
