//! Incremental rings of provided buffers on a real ring: several completions in one buffer, in leases of their own.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::io::Write as _;
use std::os::unix::net::{UnixDatagram, UnixStream};

use common::{has, needs, since, skipped};
use files::{Dir, pipe};
use io::{next, nothing, push, ring, run};
use rawring::buf_ring::{BadBuffer, BufRing, BufRingError, BufRingSetup, Lease, Pick};
use rawring::flags::CqeFlags;
use rawring::op::*;
use rawring::operand::{Group, MsgHdr};
use rawring::{Cqe, Errno, RecvMsgOut, Ring, UserData, Version};

const GROUP: Group = Group(2);

/// The release that brought incremental rings.
const INCREMENTAL: Version = Version::new(6, 12);

fn incremental(count: u16, size: u32, min_left: u32) -> BufRingSetup {
    // SAFETY: the operations of these tests come one after the other, but for multishot ones, from sockets and pipes. What
    // a test does otherwise says there why it is sound.
    unsafe { BufRing::setup(GROUP, count, size).incremental(min_left) }
}

/// A ring with a group.
fn group(count: u16, size: u32) -> (Ring, BufRing) {
    let mut ring = ring();
    let bufs = incremental(count, size, 0).build(&mut ring).expect("a group");
    (ring, bufs)
}

fn parts(bufs: &BufRing, cqe: &Cqe, pick: Pick) -> Vec<Lease> {
    // SAFETY: each completion is of an operation that picks from this group in this way, reaped from its ring and handed
    // in once and in order.
    unsafe { bufs.take(cqe, pick) }.unwrap_or_else(|bad| panic!("{cqe:?}: {bad}")).collect()
}

fn lease(bufs: &BufRing, cqe: &Cqe) -> Lease {
    let mut parts = parts(bufs, cqe, Pick::One);
    assert_eq!(parts.len(), 1);
    parts.remove(0)
}

/// What the kernel has taken, in whole buffers.
fn head(ring: &Ring) -> u16 {
    ring.buf_ring_head(GROUP).expect("it came before incremental rings")
}

#[test]
fn item_20_a_buffer_is_used_bit_by_bit() {
    needs!(since(INCREMENTAL));
    let (mut ring, bufs) = group(2, 16);
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, RecvMulti::new(&right, GROUP)) };
    let mut held = Vec::new();
    for (text, id, more, lent) in
        [("hello", 0, true, 2), (" ", 0, true, 2), ("world, and", 0, false, 1), ("on", 1, true, 1)]
    {
        left.write_all(text.as_bytes()).expect("written");
        let cqe = next(&mut ring);
        assert_eq!((cqe.result(), cqe.buffer_id(), cqe.buffer_more()), (Ok(text.len() as u32), Some(id), more));
        held.push(lease(&bufs, &cqe));
        assert_eq!(&held.last().expect("just pushed")[..], text.as_bytes());
        assert_eq!((bufs.lent(), head(&ring)), (lent, u16::from(lent == 1)));
    }
    // All of them are still there, and each part of the used-up buffer keeps it.
    let text: Vec<u8> = held.iter().flat_map(|part| part.to_vec()).collect();
    assert_eq!(text, b"hello world, andon");
    for _ in 0..2 {
        drop(held.remove(0));
        assert_eq!(bufs.lent(), 1);
    }
    drop(held.remove(0));
    assert_eq!(bufs.lent(), 2, "nobody reads in it any more");
    // The second buffer is the kernel's still, with a part of it leased.
    left.write_all(b" and on again.").expect("written");
    let cqe = next(&mut ring);
    assert_eq!((cqe.buffer_id(), cqe.buffer_more()), (Some(1), false));
    held.push(lease(&bufs, &cqe));
    assert_eq!((&held[0][..], &held[1][..]), (&b"on"[..], &b" and on again."[..]));
    bufs.give_back(held);
    drop(left);
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Ok(0), false));
    if last.buffer_id().is_some() {
        assert!(lease(&bufs, &last).is_empty());
    }
    assert_eq!((bufs.lent(), head(&ring)), (2, 2));
    ring.unregister_buf_ring(bufs).expect("nothing is out");
}

#[test]
fn item_20_a_partly_used_buffer_does_not_keep_its_group() {
    needs!(since(INCREMENTAL));
    for kernel_memory in [false, true] {
        let mut ring = ring();
        let setup = incremental(2, 16, 0);
        let setup = if kernel_memory { setup.kernel_memory() } else { setup };
        let bufs = setup.build(&mut ring).expect("a group");
        let (mut left, right) = UnixStream::pair().expect("a pair");
        left.write_all(b"hello").expect("written");
        let kept = lease(&bufs, &run(&mut ring, RecvProvided::new(&right, GROUP)));
        assert_eq!(bufs.lent(), 2);
        // One that a completion has used up, but that nobody took, does.
        left.write_all(b"and all the rest").expect("written");
        let first = run(&mut ring, RecvProvided::new(&right, GROUP));
        let in_use = ring.unregister_buf_ring(bufs).expect_err("a buffer is out");
        let bufs = in_use.bufs;
        assert_eq!(&lease(&bufs, &first)[..], b"and all the");
        // The attempt has left everything as it was.
        let second = run(&mut ring, RecvProvided::new(&right, GROUP));
        assert_eq!((&lease(&bufs, &second)[..], second.buffer_id()), (&b" rest"[..], Some(1)));
        ring.unregister_buf_ring(bufs).expect("nothing is out");
        assert_eq!(&kept[..], b"hello");
    }
}

#[test]
fn item_20_the_end_of_a_stream_takes_no_buffer_away() {
    needs!(since(INCREMENTAL));
    let (mut ring, bufs) = group(2, 18);
    for round in 0..20_u8 {
        let (reader, mut writer) = pipe();
        writer.write_all(&[round; 3]).expect("written");
        let cqe = run(&mut ring, ReadProvided::new(&reader, GROUP));
        assert_eq!(&lease(&bufs, &cqe)[..], [round; 3]);
        drop(writer);
        let cqe = run(&mut ring, ReadProvided::new(&reader, GROUP));
        assert_eq!(cqe.result(), Ok(0));
        if cqe.buffer_id().is_some() {
            assert!(lease(&bufs, &cqe).is_empty());
        }
        assert_eq!(bufs.lent(), 2);
    }
    ring.unregister_buf_ring(bufs).expect("nothing is out");
}

/// Files that cannot be polled have their bytes taken before they are read, which the contract leaves out: one at a time,
/// and only for whole buffers, nothing else is in flight that could be mixed up with it.
#[test]
fn reads_of_files_take_what_they_were_offered() {
    needs!(since(INCREMENTAL));
    let (mut ring, bufs) = group(2, 8);
    let dir = Dir::new("buf-ring-inc");
    let file = dir.file("data", b"0123456789");
    for round in 0..10 {
        let cqe = run(&mut ring, ReadProvided::new(&file, GROUP).offset(0));
        assert_eq!(&lease(&bufs, &cqe)[..], b"01234567", "round {round}");
        // Short: the kernel has used up the whole buffer all the same.
        let cqe = run(&mut ring, ReadProvided::new(&file, GROUP).offset(8));
        assert_eq!(&lease(&bufs, &cqe)[..], b"89", "round {round}");
        let cqe = run(&mut ring, ReadProvided::new(&file, GROUP).offset(10));
        assert_eq!(cqe.result(), Ok(0));
        if cqe.buffer_id().is_some() {
            assert!(lease(&bufs, &cqe).is_empty());
        }
    }
    assert_eq!(bufs.lent(), 2);
    ring.unregister_buf_ring(bufs).expect("nothing is out");
}

#[test]
fn item_20_a_bundle_ends_inside_of_a_buffer() {
    needs!(since(INCREMENTAL));
    needs!(has(RecvBundle::INFO));
    let (mut ring, bufs) = group(4, 4);
    let (mut left, right) = UnixStream::pair().expect("a pair");
    let mut received = Vec::new();
    let mut expected = Vec::new();
    for round in 0..40_u8 {
        let text = vec![round; usize::from(round % 11) + 1];
        left.write_all(&text).expect("written");
        expected.extend_from_slice(&text);
        while received.len() < expected.len() {
            let cqe = run(&mut ring, RecvBundle::new(&right, GROUP).max_len(12));
            assert!(cqe.result().is_ok_and(|n| n > 0), "{cqe:?}");
            parts(&bufs, &cqe, Pick::Bundle).iter().for_each(|part| received.extend_from_slice(part));
        }
        assert_eq!(received, expected);
        assert_eq!(bufs.lent(), 4);
    }
    ring.unregister_buf_ring(bufs).expect("nothing is out");
}

#[test]
fn item_20_min_left_takes_a_short_rest_out_of_use() {
    needs!(since(INCREMENTAL));
    let mut ring = ring();
    let bufs = match incremental(2, 64, 32).build(&mut ring) {
        Err(BufRingError::Register { errno: Errno::INVAL, .. }) => {
            assert!(since(Version::new(7, 1)).is_err(), "this kernel should know min_left");
            return skipped(
                "item_20_min_left_takes_a_short_rest_out_of_use",
                "needs min_left of buffer rings (Linux 7.1)",
            );
        }
        bufs => bufs.expect("a group"),
    };
    // A message has 16 bytes before its payload: two of 20 leave 24, which is less than 32, and more than a header.
    let (left, right) = UnixDatagram::pair().expect("a pair");
    let mut header = MsgHdr::default();
    // SAFETY: the socket outlives the last completion, which is reaped below, and the header is read on submission.
    unsafe { push(&mut ring, RecvMsgMulti::new(&right, header.recv_multishot(0, 0), GROUP)) };
    nothing(&mut ring);
    let mut ids = Vec::new();
    for _ in 0..6 {
        left.send(b"abcd").expect("sent");
        let cqe = next(&mut ring);
        assert!(cqe.more(), "{cqe:?}");
        let bytes = lease(&bufs, &cqe);
        assert_eq!(RecvMsgOut::parse(&bytes, 0, 0).expect("a message").payload(), b"abcd");
        ids.push((bytes.buffer_id(), cqe.buffer_more()));
    }
    assert_eq!(ids, [(0, true), (0, false), (1, true), (1, false), (0, true), (0, false)]);
    assert_eq!(bufs.lent(), 2);
    ring.push(Cancel::new(0).user_data(1)).expect("room");
    io::reap(&mut ring, 2);
    ring.unregister_buf_ring(bufs).expect("nothing is out");
}

#[test]
fn item_20_a_rest_below_min_left_is_out_of_use_even_if_more_is_said() {
    needs!(since(INCREMENTAL));
    let mut ring = ring();
    let Ok(bufs) = incremental(2, 64, 32).build(&mut ring) else {
        assert!(since(Version::new(7, 1)).is_err(), "this kernel should know min_left");
        return needs!(Err::<(), _>("needs min_left of buffer rings (Linux 7.1)"));
    };
    let completion = |res| Cqe::new(UserData(0), res, CqeFlags::BUFFER | CqeFlags::BUF_MORE);
    // SAFETY: nothing picks from the group.
    let first = unsafe { bufs.take(&completion(32), Pick::One) }.expect("the kernel has buffer 0");
    assert_eq!((first.len(), bufs.lent()), (1, 2), "32 bytes are left");
    // SAFETY: as above.
    let second = unsafe { bufs.take(&completion(1), Pick::One) }.expect("the kernel has the rest of it");
    assert_eq!((second.len(), bufs.lent()), (1, 1), "31 bytes are too few");
    // SAFETY: as above.
    let third = unsafe { bufs.take(&completion(1), Pick::One) };
    assert_eq!(third.map(drop), Err(BadBuffer::NotLent { id: 0 }));
    drop((first, second));
    assert_eq!(bufs.lent(), 2);
}
