//! Rings of provided buffers on a real ring: filled, picked from, leased, given back, run dry, and ended.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::io::{Cursor, IoSlice, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixDatagram, UnixStream};

use common::{BUFFER_RINGS, STATUS, has, needs, since, skipped};
use files::{Dir, pipe};
use io::{next, nothing, push, reap, result, ring, run};
use rawring::buf_ring::{BadBuffer, BufRing, BufRingError, Delivery, Lease, Pick, StillOut};
use rawring::flags::CqeFlags;
use rawring::op::*;
use rawring::operand::{Group, MsgHdr};
use rawring::{Cqe, Errno, RecvMsgOut, Ring, SendControl, UserData, Version};
use rustix::net::ReturnFlags;

const GROUP: Group = Group(7);

/// What a completion of `ring` delivered. Every completion here is reaped and handed in once, and all operations that pick
/// from a group do it in one way.
fn delivered(bufs: &BufRing, cqe: &Cqe, pick: Pick) -> Delivery {
    // SAFETY: see above.
    unsafe { bufs.take(cqe, pick) }.unwrap_or_else(|bad| panic!("{cqe:?}: {bad}"))
}

/// The one buffer of a completion.
fn lease(bufs: &BufRing, cqe: &Cqe) -> Lease {
    let mut delivery = delivered(bufs, cqe, Pick::One);
    assert_eq!((delivery.len(), delivery.group()), (1, bufs.group()));
    delivery.next().expect("one buffer")
}

/// Asserts that kernel and crate agree on where the buffers are, when nothing is in flight: `lent` are the kernel's.
fn settled(ring: &Ring, bufs: &BufRing, pushed: u32, lent: u32) {
    assert_eq!(bufs.lent(), lent);
    match ring.buf_ring_head(bufs.group()) {
        Ok(head) => assert_eq!(head, (pushed - lent) as u16, "what the kernel has taken"),
        Err(errno) => assert!(since(STATUS).is_err(), "{errno}"),
    }
}

/// Ends a group that has nothing out.
fn end(ring: &mut Ring, bufs: BufRing) {
    if since(STATUS).is_ok() {
        ring.unregister_buf_ring(bufs).expect("nothing is out");
    }
}

#[test]
fn a_receive_is_leased_and_goes_round() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 2, 16).build(&mut ring).expect("a group");
    assert_eq!((bufs.group(), bufs.count(), bufs.size(), bufs.lent()), (GROUP, 2, 16, 2));
    let (mut left, right) = UnixStream::pair().expect("a pair");
    for (round, text) in ["first", "second", "third", "a sixteen bytes."].iter().enumerate() {
        left.write_all(text.as_bytes()).expect("written");
        let cqe = run(&mut ring, RecvProvided::new(&right, GROUP));
        assert_eq!(cqe.result(), Ok(text.len() as u32));
        let bytes = lease(&bufs, &cqe);
        assert_eq!(Some(bytes.buffer_id()), cqe.buffer_id());
        assert_eq!(bytes.as_ref(), text.as_bytes());
        // Read by others without a copy.
        let mut back = String::new();
        Cursor::new(&bytes).read_to_string(&mut back).expect("text");
        assert_eq!(back, *text);
        settled(&ring, &bufs, 2 + round as u32, 1);
        drop(bytes);
        settled(&ring, &bufs, 3 + round as u32, 2);
    }
    end(&mut ring, bufs);
}

#[test]
fn a_lease_outlives_later_completions_the_group_and_the_ring() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    left.write_all(b"kept").expect("written");
    let kept = lease(&bufs, &run(&mut ring, RecvProvided::new(&right, GROUP)));
    for _ in 0..10 {
        left.write_all(b"other").expect("written");
        let other = lease(&bufs, &run(&mut ring, RecvProvided::new(&right, GROUP)));
        assert_ne!(other.buffer_id(), kept.buffer_id());
    }
    left.write_all(b"last").expect("written");
    let mut last = lease(&bufs, &run(&mut ring, RecvProvided::new(&right, GROUP)));
    end(&mut ring, bufs);
    drop(ring);
    last.make_ascii_uppercase();
    let elsewhere = std::thread::spawn(move || assert_eq!((&kept[..], &last[..]), (&b"kept"[..], &b"LAST"[..])));
    elsewhere.join().expect("no panic");
}

#[test]
fn item_20_running_out_of_buffers_is_recovered_from() {
    needs!(has(RecvMulti::INFO));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, RecvMulti::new(&right, GROUP)) };
    let mut held = Vec::new();
    for text in [b"one", b"two"] {
        left.write_all(text).expect("written");
        held.push(lease(&bufs, &next(&mut ring)));
    }
    left.write_all(b"3rd").expect("written");
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more(), last.buffer_id()), (Err(Errno::NOBUFS), false, None));
    settled(&ring, &bufs, 2, 0);
    // SAFETY: the completion names no buffer.
    assert_eq!(unsafe { bufs.take(&last, Pick::One) }.unwrap_err(), BadBuffer::None);
    assert_eq!((&held[0][..], &held[1][..]), (&b"one"[..], &b"two"[..]));
    bufs.give_back(held);
    settled(&ring, &bufs, 4, 2);
    let cqe = run(&mut ring, RecvProvided::new(&right, GROUP));
    assert_eq!(&lease(&bufs, &cqe)[..], b"3rd", "what found no buffer is still there");
    end(&mut ring, bufs);
}

#[test]
fn item_20_a_buffer_comes_with_the_end_of_a_stream() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let dir = Dir::new("buf-ring-end");
    let (empty, (pipe, _)) = (dir.file("empty", b""), pipe());
    let mut named = 0;
    // More rounds than there are buffers: one that is not given back would be missed.
    for round in 0..10 {
        let entries = [
            ("a file", ReadProvided::new(&empty, GROUP).offset(0)),
            ("a pipe", ReadProvided::new(&pipe, GROUP)),
            // In a worker, what was taken is not put back.
            ("a pipe in a worker", ReadProvided::new(&pipe, GROUP).force_async()),
        ];
        for (name, entry) in entries {
            let cqe = run(&mut ring, entry);
            assert_eq!(cqe.result(), Ok(0), "{name}, round {round}");
            if cqe.buffer_id().is_some() {
                named += 1;
                assert_eq!(lease(&bufs, &cqe).len(), 0);
            }
        }
    }
    assert!(named >= 10, "{named} ends of files came with a buffer");
    assert_eq!(bufs.lent(), 2);
    end(&mut ring, bufs);
}

#[test]
fn item_19_the_tail_wraps_and_entry_0_keeps_it() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    // Three buffers in a ring of four entries: ids and places drift apart.
    let bufs = BufRing::setup(GROUP, 3, 8).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    let mut pushed: u32 = 3;
    while pushed < 66_000 {
        let text = pushed.to_ne_bytes();
        left.write_all(&text).expect("written");
        let cqe = run(&mut ring, RecvProvided::new(&right, GROUP));
        assert_eq!(&lease(&bufs, &cqe)[..], text, "after {pushed} buffers");
        pushed += 1;
        if pushed % 4096 < 8 {
            settled(&ring, &bufs, pushed, 3);
        }
    }
    settled(&ring, &bufs, pushed, 3);
    end(&mut ring, bufs);
}

#[test]
fn item_19_a_batch_is_shown_by_its_end_and_not_by_entry_0() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 4, 8).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    let mut held: Vec<Lease> = (0..4)
        .map(|_| {
            left.write_all(b"data").expect("written");
            lease(&bufs, &run(&mut ring, RecvProvided::new(&right, GROUP)))
        })
        .collect();
    left.write_all(b"late").expect("written");
    // The first one goes into entry 0, where the tail is. Between that and the end of the batch, the kernel sees nothing new.
    let mut given = 0;
    bufs.give_back(std::iter::from_fn(|| {
        if given > 0 {
            let cqe = run(&mut ring, RecvProvided::new(&right, GROUP));
            assert_eq!((cqe.result(), cqe.buffer_id()), (Err(Errno::NOBUFS), None), "after {given}");
        }
        given += 1;
        held.pop()
    }));
    assert_eq!(given, 5);
    assert_eq!(&lease(&bufs, &run(&mut ring, RecvProvided::new(&right, GROUP)))[..], b"late");
    settled(&ring, &bufs, 9, 4);
    end(&mut ring, bufs);
}

#[test]
fn item_20_a_bundle_is_walked_in_the_order_of_the_ring() {
    needs!(has(RecvBundle::INFO));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 4, 4).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    let mut held: Vec<Lease> = (b'a'..=b'd')
        .map(|byte| {
            left.write_all(&[byte]).expect("written");
            lease(&bufs, &run(&mut ring, RecvProvided::new(&right, GROUP)))
        })
        .collect();
    assert_eq!(bufs.lent(), 0);
    // Given back out of order. A bundle that is not told how much to expect begins with a buffer or two.
    let order = [2, 0, 3, 1];
    held.sort_by_key(|lease| order.iter().position(|&id| id == lease.buffer_id()));
    bufs.give_back(held);
    left.write_all(b"0123456789").expect("written");
    let cqe = run(&mut ring, RecvBundle::new(&right, GROUP).max_len(16));
    if cqe.result() == Ok(4) && since(Version::new(6, 17)).is_err() {
        const TEST: &str = "item_20_a_bundle_is_walked_in_the_order_of_the_ring";
        return skipped(TEST, "this kernel ends a bundle with its first buffer");
    }
    assert_eq!((cqe.result(), cqe.buffer_id()), (Ok(10), Some(2)));
    let delivery = delivered(&bufs, &cqe, Pick::Bundle);
    assert_eq!((delivery.len(), delivery.bytes()), (3, 10));
    let parts: Vec<Lease> = delivery.collect();
    let parts_seen: Vec<_> = parts.iter().map(|part| (part.buffer_id(), &part[..])).collect();
    assert_eq!(parts_seen, [(2, &b"0123"[..]), (0, &b"4567"[..]), (3, &b"89"[..])]);
    settled(&ring, &bufs, 8, 1);
    bufs.give_back(parts);
    // A delivery that nobody looks at goes back whole, in its order: 1, 2, 0, 3.
    left.write_all(b"abcdefghij").expect("written");
    let cqe = run(&mut ring, RecvBundle::new(&right, GROUP).max_len(16));
    assert_eq!(cqe.buffer_id(), Some(1));
    drop(delivered(&bufs, &cqe, Pick::Bundle));
    settled(&ring, &bufs, 14, 4);
    // So does what is left of one: each part ends before the next one is taken out.
    left.write_all(b"ABCDEFGHIJKLMNOP").expect("written");
    let cqe = run(&mut ring, RecvBundle::new(&right, GROUP).max_len(16));
    let mut delivery = delivered(&bufs, &cqe, Pick::Bundle);
    let mut text = Vec::new();
    for part in delivery.by_ref().take(3) {
        text.extend_from_slice(&part);
    }
    assert_eq!((&text[..], delivery.len()), (&b"ABCDEFGHIJKL"[..], 1));
    drop(delivery);
    settled(&ring, &bufs, 18, 4);
    end(&mut ring, bufs);
}

#[test]
fn bundles_come_again_and_again() {
    needs!(has(RecvMultiBundle::INFO));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 8, 4).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, RecvMultiBundle::new(&right, GROUP)) };
    nothing(&mut ring);
    let mut expected = Vec::new();
    let mut received = Vec::new();
    for round in 0..50_u8 {
        let text = vec![round; usize::from(round % 20) + 1];
        left.write_all(&text).expect("written");
        expected.extend_from_slice(&text);
        while received.len() < expected.len() {
            let cqe = next(&mut ring);
            delivered(&bufs, &cqe, Pick::Bundle).for_each(|part| received.extend_from_slice(&part));
            if !cqe.more() {
                // It may end at any time, with data as without.
                // SAFETY: as above.
                unsafe { push(&mut ring, RecvMultiBundle::new(&right, GROUP)) };
            }
        }
    }
    assert_eq!(received, expected);
    drop(left);
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Ok(0), false));
    if last.buffer_id().is_some() {
        drop(delivered(&bufs, &last, Pick::Bundle));
    }
    assert_eq!(bufs.lent(), 8);
    end(&mut ring, bufs);
}

#[test]
fn reads_come_again_and_again_from_a_pipe() {
    needs!(has(ReadMulti::INFO));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let (reader, mut writer) = pipe();
    // SAFETY: the pipe outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, ReadMulti::new(&reader, GROUP)) };
    for round in 0..20_u8 {
        writer.write_all(&[round; 5]).expect("written");
        let cqe = next(&mut ring);
        assert_eq!((&lease(&bufs, &cqe)[..], cqe.more()), (&[round; 5][..], true));
    }
    drop(writer);
    let last = next(&mut ring);
    assert_eq!((last.result(), last.more()), (Ok(0), false));
    if last.buffer_id().is_some() {
        assert!(lease(&bufs, &last).is_empty());
    }
    end(&mut ring, bufs);
}

#[test]
fn item_35_messages_are_parsed_in_their_lease() {
    needs!(has(RecvMsgMulti::INFO));
    const CONTROL: usize = 64;
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 4, 128).build(&mut ring).expect("a group");
    let (left, right) = UnixDatagram::pair().expect("a pair");
    let mut header = MsgHdr::default();
    // SAFETY: the socket outlives the last completion, which is reaped below, and the header is read on submission.
    unsafe { push(&mut ring, RecvMsgMulti::new(&right, header.recv_multishot(0, CONTROL), GROUP)) };
    nothing(&mut ring);
    let null = std::fs::File::open("/dev/null").expect("there is one");
    let mut other = Ring::new(4).expect("a ring");
    for round in 0..10_u8 {
        let control = SendControl::new().rights(&[null.as_fd(), null.as_fd()]);
        let text = vec![round; 20 * usize::from(round % 3 + 1)];
        let mut header = MsgHdr::default();
        let data = [IoSlice::new(&text)];
        let send = SendMsg::new(&left, header.send(&data, None, Some(&control)));
        assert_eq!(result(&mut other, send), Ok(text.len() as u32));
        let cqe = next(&mut ring);
        let bytes = lease(&bufs, &cqe);
        let message = RecvMsgOut::parse(&bytes, 0, CONTROL).expect("a message");
        // There is room for 128 - 16 - 64 bytes.
        assert_eq!(message.payload(), &text[..text.len().min(48)]);
        assert_eq!(message.flags().contains(ReturnFlags::TRUNC), text.len() > 48);
        let control: Vec<_> = message.control().collect();
        assert_eq!(control.len(), 1);
        assert_eq!((control[0].level, control[0].kind), (libc::SOL_SOCKET, libc::SCM_RIGHTS));
        for fd in control[0].data.chunks_exact(4) {
            let fd = i32::from_ne_bytes(fd.try_into().expect("four bytes"));
            // SAFETY: the message brought it, and nobody else has it.
            drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
        }
    }
    assert_eq!(bufs.lent(), 4);
    ring.push(Cancel::new(0).user_data(1)).expect("room");
    reap(&mut ring, 2);
    assert_eq!(bufs.lent(), 4);
    end(&mut ring, bufs);
}

#[test]
fn entries_in_memory_of_the_kernel_are_as_good() {
    needs!(since(Version::new(6, 4)));
    let mut ring = ring();
    let unmappable = BufRing::setup(Group(2048), 3, 8).kernel_memory().build(&mut ring).unwrap_err();
    assert_eq!(unmappable, BufRingError::Unmappable(2048));
    assert!(unmappable.to_string().contains("0 to 2047"), "{unmappable}");
    for group in [Group(0), GROUP, Group(2047)] {
        let bufs = BufRing::setup(group, 3, 8).kernel_memory().build(&mut ring).expect("a group");
        let (mut left, right) = UnixStream::pair().expect("a pair");
        for round in 0..20_u8 {
            left.write_all(&[round; 3]).expect("written");
            let cqe = run(&mut ring, RecvProvided::new(&right, group));
            assert_eq!(&lease(&bufs, &cqe)[..], [round; 3], "{group:?}");
        }
        settled(&ring, &bufs, 23, 3);
        end(&mut ring, bufs);
    }
    // Why it is checked: the kernel does register it, and then there is nothing to map.
    let entry = BufRing::setup(Group(u16::MAX), 3, 8).build(&mut ring).expect("in our own memory any number will do");
    end(&mut ring, entry);
}

#[test]
fn what_cannot_be_is_an_error_that_says_so() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let mut build = |setup: rawring::buf_ring::BufRingSetup| setup.build(&mut ring);
    assert_eq!(build(BufRing::setup(GROUP, 0, 8)).unwrap_err(), BufRingError::Count(0));
    assert_eq!(build(BufRing::setup(GROUP, 32_769, 8)).unwrap_err(), BufRingError::Count(32_769));
    assert_eq!(build(BufRing::setup(GROUP, 1, 0)).unwrap_err(), BufRingError::Size(0));
    // SAFETY: nothing picks from it.
    let greedy = unsafe { BufRing::setup(GROUP, 1, 8).incremental(9) };
    assert_eq!(build(greedy).unwrap_err(), BufRingError::MinLeft { min_left: 9, size: 8 });
    let most = build(BufRing::setup(GROUP, 32_768, 1)).expect("the most that there can be");
    assert_eq!(most.lent(), 32_768);
    let taken = build(BufRing::setup(GROUP, 1, 8)).unwrap_err();
    assert_eq!(taken, BufRingError::Register { group: 7, bytes: 16, errno: Errno::EXIST });
    assert!(taken.to_string().contains("has buffers already"), "{taken}");
    settled(&ring, &most, 32_768, 32_768);
    end(&mut ring, most);
}

#[test]
fn completions_that_lie_lease_nothing() {
    needs!(since(BUFFER_RINGS));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    left.write_all(b"true").expect("written");
    let cqe = run(&mut ring, RecvProvided::new(&right, GROUP));
    let id = cqe.buffer_id().expect("a buffer");
    let forged =
        |id: u32, res| Cqe::new(UserData(0), res, CqeFlags::from_bits_retain(CqeFlags::BUFFER.bits() | id << 16));
    // SAFETY: the clauses are broken: what becomes of it is an error each time, so nothing is leased.
    let take = |cqe: Cqe, pick| unsafe { bufs.take(&cqe, pick) }.unwrap_err();
    assert_eq!(take(forged(2, 4), Pick::One), BadBuffer::NoSuchBuffer { id: 2, count: 2 });
    assert_eq!(take(forged(65_535, 4), Pick::Bundle), BadBuffer::NoSuchBuffer { id: 65_535, count: 2 });
    assert_eq!(take(forged(0, 9), Pick::One), BadBuffer::TooLong { id: 0, said: 9, room: 8 });
    assert_eq!(take(forged(0, 17), Pick::Bundle), BadBuffer::TooLong { id: 0, said: 17, room: 16 });
    assert_eq!(take(forged(1, 9), Pick::Bundle), BadBuffer::TooLong { id: 1, said: 9, room: 8 }, "it is the last one");
    assert_eq!(take(Cqe::new(UserData(0), 4, CqeFlags::empty()), Pick::One), BadBuffer::None);
    assert_eq!(bufs.lent(), 2, "nothing has changed");
    let bytes = lease(&bufs, &cqe);
    assert_eq!(take(cqe, Pick::One), BadBuffer::NotLent { id }, "handed in twice");
    assert_eq!(take(cqe, Pick::Bundle), BadBuffer::NotLent { id });
    assert_eq!(&bytes[..], b"true");
    drop(bytes);
    end(&mut ring, bufs);
}

#[test]
fn what_is_out_keeps_a_group_registered() {
    needs!(since(STATUS));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    left.write_all(b"one").expect("written");
    let first = run(&mut ring, RecvProvided::new(&right, GROUP));
    // The completion was reaped, but nobody has taken what it delivered.
    let in_use = ring.unregister_buf_ring(bufs).expect_err("it may still be");
    assert_eq!(in_use.reason, StillOut::Buffers(1));
    assert!(in_use.to_string().contains("1 buffers"), "{in_use}");
    let bufs = in_use.bufs;
    let kept = lease(&bufs, &first);
    // The group is as it was.
    left.write_all(b"two").expect("written");
    assert_eq!(&lease(&bufs, &run(&mut ring, RecvProvided::new(&right, GROUP)))[..], b"two");
    let mut other = io::ring();
    let in_use = other.unregister_buf_ring(bufs).expect_err("it is another ring's");
    assert_eq!(in_use.reason, StillOut::OtherRing);
    // One that waits for data has no buffer yet, and is told that there is none when the data comes.
    // SAFETY: the socket outlives the completion, which is reaped below.
    unsafe { push(&mut ring, RecvProvided::new(&right, GROUP)) };
    nothing(&mut ring);
    // A lease may be out: it is ours.
    ring.unregister_buf_ring(in_use.bufs).expect("nothing is with the kernel");
    assert_eq!(ring.buf_ring_head(GROUP), Err(Errno::NOENT));
    left.write_all(b"late").expect("written");
    let cqe = next(&mut ring);
    assert_eq!((cqe.result(), cqe.buffer_id()), (Err(Errno::NOBUFS), None));
    assert_eq!(&kept[..], b"one");
    drop(kept);
    // The number is free.
    let again = BufRing::setup(GROUP, 1, 8).build(&mut ring).expect("a group");
    assert_eq!(&lease(&again, &run(&mut ring, RecvProvided::new(&right, GROUP)))[..], b"late");
    end(&mut ring, again);
}

#[test]
fn item_20_cancelled_receives_lose_no_buffer() {
    needs!(has(RecvMulti::INFO));
    let mut ring = ring();
    let bufs = BufRing::setup(GROUP, 2, 8).build(&mut ring).expect("a group");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    for round in 0..20_u64 {
        let waiting = match round % 3 {
            0 => rawring::Sqe::from(RecvProvided::new(&right, GROUP)),
            1 => RecvMulti::new(&right, GROUP).into(),
            _ => rawring::Sqe::from(RecvProvided::new(&right, GROUP)).force_async(),
        };
        // SAFETY: the socket outlives the last completion, which is reaped below.
        unsafe { push(&mut ring, waiting.user_data(1)) };
        nothing(&mut ring);
        if round % 2 == 0 && round % 3 == 1 {
            left.write_all(b"data").expect("written");
            assert_eq!(&lease(&bufs, &next(&mut ring))[..], b"data");
        }
        ring.push(Cancel::new(1).user_data(2)).expect("room");
        for cqe in reap(&mut ring, 2) {
            if cqe.user_data() == UserData(1) {
                assert!(matches!(cqe.result(), Err(Errno::CANCELED | Errno::INTR)), "{cqe:?}");
                if cqe.buffer_id().is_some() {
                    assert!(lease(&bufs, &cqe).is_empty());
                }
            }
        }
        assert_eq!(bufs.lent(), 2);
    }
    end(&mut ring, bufs);
}
