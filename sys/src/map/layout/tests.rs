//! Tests of the layout: what Linux fills in passes, and no nonsense does.

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
    let mut p = params(IORING_SETUP_NO_SQARRAY);
    let l = check(&p).unwrap();
    assert_eq!((l.sq_array, l.sq_head), (None, 0));
    // The kernel does not write the field then, so whatever the caller had in it may still be there.
    p.sq_off.array = u32::MAX;
    assert_eq!(check(&p), Ok(l));
    assert_eq!(ring_len(&p), Ok(64 + 16 * 16));
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
        let flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32 | IORING_SETUP_NO_SQARRAY;
        let mut p = params(random() as u32 & flags);
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
        // Where sizes have 32 bits, the right length may be one that does not exist.
        let (mut ring_len, mut sqes_len) = (ring_len(&p).unwrap_or(512), sqes_len(&p).unwrap_or(512));
        if random() % 2 == 0 {
            (ring_len, sqes_len) = (random() as usize % 1024, random() as usize % 1024);
        }
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
