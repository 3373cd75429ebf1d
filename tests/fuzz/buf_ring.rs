//! Completions that name provided buffers, of any kind, handed to a group in any order, with leases given back in between.
//!
//! Nothing picks from the group, so that the kernel never touches its memory, whatever is made of the bytes: the clauses
//! that such completions break protect from the kernel alone. Leases must lie inside of their buffers and share no byte.
//! What a multishot `recvmsg` would have left in them is parsed where it lies.

use std::cell::RefCell;

use rawring::buf_ring::{BufRing, Delivery, Lease, Pick};
use rawring::flags::CqeFlags;
use rawring::operand::Group;
use rawring::{Cqe, RecvMsgOut, Ring, UserData};

/// One input: the shape of a group, and then a step for every four bytes.
pub fn run(data: &[u8]) {
    thread_local!(static RING: RefCell<Option<Ring>> = const { RefCell::new(None) });
    let &[count, size, least, ref steps @ ..] = data else { return };
    let (count, size) = (1 + u16::from(count % 16), 1 + u32::from(size % 64));
    let setup = BufRing::setup(Group(1), count, size);
    let setup = match least {
        // SAFETY: nothing picks from the group.
        0..128 => unsafe { setup.incremental(u32::from(least) % (size + 1)) },
        _ => setup,
    };
    RING.with_borrow_mut(|ring| {
        let ring = ring.get_or_insert_with(|| Ring::new(1).expect("a ring"));
        let bufs = setup.build(ring).expect("a group");
        walk(&bufs, count, size, steps);
        // SAFETY: nothing was ever in flight.
        unsafe { ring.unregister_buf_ring_unchecked(bufs) }.expect("it is this ring's");
    });
}

fn walk(bufs: &BufRing, count: u16, size: u32, steps: &[u8]) {
    let mut held: Vec<Lease> = Vec::new();
    let mut deliveries: Vec<Delivery> = Vec::new();
    for step in steps.chunks_exact(4) {
        let &[what, id, res, which] = step else { unreachable!("chunks of four") };
        match what % 8 {
            0..4 => {
                // Mostly what could be, with each byte a way out of it.
                let id =
                    if id < 240 { u32::from(id) % u32::from(count) } else { u32::from(id) << 8 | u32::from(which) };
                let res = match res {
                    0..192 => i32::from(res),
                    192..224 => -i32::from(res),
                    _ => i32::from_ne_bytes([which, res, id as u8, which]),
                };
                let more = if what & 16 == 0 { 0 } else { CqeFlags::BUF_MORE.bits() };
                let named = if what & 32 == 0 { CqeFlags::BUFFER.bits() } else { 0 };
                let cqe = Cqe::new(UserData(0), res, CqeFlags::from_bits_retain(named | more | id << 16));
                let pick = [Pick::One, Pick::Bundle, Pick::Truncating, Pick::Bundle][usize::from(what % 4)];
                // SAFETY: see the top of the file.
                match unsafe { bufs.take(&cqe, pick) } {
                    Ok(delivery) => {
                        assert!(named != 0 && delivery.len() >= 1 && delivery.bytes() <= res.max(0) as usize);
                        deliveries.push(delivery);
                    }
                    Err(bad) => assert!(!bad.to_string().is_empty()),
                }
            }
            4 => held.extend(deliveries.pop().into_iter().flatten()),
            5 => held.extend(deliveries.last_mut().and_then(Iterator::next)),
            6 if !held.is_empty() => drop(held.swap_remove(usize::from(which) % held.len())),
            _ => bufs.give_back(held.drain(..held.len().min(usize::from(which)))),
        }
        check(&held, count, size);
        assert!(bufs.lent() <= count.into());
    }
    // Wherever in its buffer a lease begins, which in incremental groups is anywhere.
    for (nth, lease) in held.iter_mut().enumerate() {
        let mut bytes = steps.iter().copied().cycle().skip(nth);
        lease.fill_with(|| bytes.next().unwrap_or(0));
        let room = |byte: u8| if byte < 240 { usize::from(byte % 48) } else { usize::MAX - usize::from(byte) };
        message(lease, room(bytes.next().unwrap_or(0)) as u32, room(bytes.next().unwrap_or(0)));
    }
    drop(deliveries);
    drop(held);
}

/// What is read out of a message is inside of its lease, and no two parts share a byte.
fn message(lease: &Lease, name_len: u32, control_len: usize) {
    let Ok(message) = RecvMsgOut::parse(lease, name_len, control_len) else { return };
    let (start, end) = (lease.as_ptr().addr(), lease.as_ptr().addr() + lease.len());
    let mut parts: Vec<&[u8]> = message.control().map(|one| one.data).collect();
    assert!(parts.iter().map(|part| part.len()).sum::<usize>() <= control_len);
    parts.extend([message.name(), message.payload()]);
    parts.retain(|part| !part.is_empty());
    parts.sort_unstable_by_key(|part| part.as_ptr().addr());
    let ends = parts.iter().map(|part| part.as_ptr().addr() + part.len());
    let next = parts.iter().skip(1).map(|part| part.as_ptr().addr()).chain([end]);
    assert!(ends.zip(next).all(|(ends, next)| ends <= next), "{message:?}");
    // Behind the header, which is 16 bytes.
    assert!(parts.first().is_none_or(|part| start + 16 <= part.as_ptr().addr()), "{message:?}");
    let room = lease.len() - 16 - name_len as usize - control_len;
    assert!(message.name().len() <= name_len as usize && message.payload().len() <= room, "{message:?}");
}

/// No two leases share a byte, and each lies inside of its buffer.
fn check(held: &[Lease], count: u16, size: u32) {
    let mut ranges: Vec<_> =
        held.iter().filter(|lease| !lease.is_empty()).map(|lease| (place(lease, size), lease)).collect();
    ranges.sort_unstable_by_key(|(start, _)| *start);
    for pair in ranges.windows(2) {
        assert!(pair[0].0 + pair[0].1.len() <= pair[1].0, "{:?} and {:?}", pair[0].1, pair[1].1);
    }
    for (start, lease) in ranges {
        let first = usize::from(lease.buffer_id()) * size as usize;
        assert!(first <= start && start + lease.len() <= first + size as usize, "{lease:?} of {count} times {size}");
    }
}

/// Where the bytes are in the memory of the group, which is no more than a page here and begins with one.
fn place(lease: &Lease, size: u32) -> usize {
    assert!(size <= 64);
    lease.as_ptr().addr() % 4096
}
