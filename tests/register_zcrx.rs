//! Zero-copy receive (item 38) on a real ring: without a network card, by copies, where the kernel has that.

mod common;
#[path = "common/io.rs"]
mod io;

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use common::{newer, skipped};
use io::{bytes, reap, tcp_pair};
use rawring::op::RecvZc;
use rawring::register::{Memory, Received, ZcrxEvent, ZcrxQueue, ZcrxSetup};
use rawring::{Cqe, Errno, Ring, UserData, Version};

/// The release that brought zero-copy receive.
const SINCE: Version = Version::new(6, 15);

fn ring() -> Ring {
    let setup = Ring::setup(64).single_issuer().defer_taskrun().cqe32();
    // Kernels that lack these flags say of any ring that they lack the rest.
    setup.build().or_else(|_| Ring::new(64)).expect("a ring")
}

fn area(pages: usize) -> Memory {
    Memory::new(pages * rustix::param::page_size()).expect("memory")
}

/// The number of the loopback interface, which no kernel can do this with.
const LOOPBACK: u32 = 1;

#[test]
fn what_cannot_be_says_why_and_gives_the_memory_back() {
    const TEST: &str = "what_cannot_be_says_why_and_gives_the_memory_back";
    if !newer(TEST, SINCE) {
        let error = ring().register_zcrx(ZcrxSetup::device(LOOPBACK, 0, area(1))).expect_err("an older kernel");
        assert_eq!(error.errno, Errno::INVAL);
        return;
    }
    let try_to = |ring: &Ring, setup: ZcrxSetup| {
        let error = ring.register_zcrx(setup).expect_err("no queue");
        (error.errno, error.to_string())
    };
    let device = |pages| ZcrxSetup::device(LOOPBACK, 0, area(pages));
    let plain = Ring::new(8).expect("a ring");
    let (errno, text) = try_to(&plain, device(4));
    if errno == Errno::OPNOTSUPP {
        return skipped(TEST, "needs a kernel with zero-copy receive (CONFIG_IO_URING_ZCRX)");
    }
    assert_eq!(errno, Errno::INVAL);
    assert!(text.contains("defer_taskrun()") && text.contains("cqe32()"), "{text}");
    let ring = ring();
    let (errno, text) = try_to(&ring, device(4));
    assert_eq!(errno, Errno::OPNOTSUPP, "the loopback interface has no queues of a card");
    assert!(text.contains("the network card or its driver cannot do it"), "{text}");
    assert_eq!(try_to(&ring, ZcrxSetup::device(u32::MAX >> 1, 0, area(4))).0, Errno::NODEV);
    for entries in [0, 32_769] {
        assert_eq!(try_to(&ring, device(4).refill_entries(entries)).0, Errno::INVAL);
    }
    let reserved = 0x5afe_u64 << 48;
    assert_eq!(try_to(&ring, device(4).events(reserved, &[ZcrxEvent::COPY])).0, Errno::INVAL);
    std::thread::scope(|scope| {
        let nobody = scope.spawn(|| {
            let ring = self::ring();
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
            try_to(&ring, device(4))
        });
        let (errno, text) = nobody.join().expect("no panic");
        assert_eq!(errno, Errno::PERM);
        assert!(text.contains("CAP_NET_ADMIN"), "{text}");
    });
    let mut mine = area(2);
    mine.fill(3);
    let error = ring.register_zcrx(ZcrxSetup::device(LOOPBACK, 0, mine)).expect_err("no queue");
    assert!(format!("{:?}", error.setup).contains("Memory"), "the memory is in it");
}

/// A queue without a network card, or why there is none.
fn queue(test: &str, ring: &Ring, pages: usize, events: u64) -> Option<ZcrxQueue> {
    let setup = ZcrxSetup::without_device(area(pages));
    let setup = if events == 0 { setup } else { setup.events(events, &[ZcrxEvent::COPY, ZcrxEvent::ALLOC_FAIL]) };
    match ring.register_zcrx(setup) {
        Ok(queue) => Some(queue),
        Err(error) if error.errno == Errno::OPNOTSUPP => {
            skipped(test, "needs a kernel with zero-copy receive (CONFIG_IO_URING_ZCRX)");
            None
        }
        Err(error) => {
            assert_eq!(error.errno, Errno::INVAL);
            // Nothing tells 7.1 from 7.0 but this.
            assert!(common::since(Version::new(7, 2)).is_err(), "this kernel has all of it: {error}");
            let needed = if events == 0 { "without a network card (Linux 7.1)" } else { "with events (Linux 7.2)" };
            skipped(test, &format!("needs zero-copy receive {needed}"));
            None
        }
    }
}

const RECEIVE: UserData = UserData(1);
const EVENT: u64 = 2;

/// Receives `len` bytes at least, or as many as the receive gives: what arrived in which part, and the other completions
/// on the way, its last among them.
fn receive(ring: &mut Ring, queue: &ZcrxQueue, len: usize) -> (Vec<Received>, Vec<Cqe>) {
    let (mut parts, mut others, mut found) = (Vec::new(), Vec::new(), 0);
    while found < len {
        let cqe = reap(ring, 1)[0];
        if cqe.user_data() != RECEIVE || !cqe.more() {
            others.push(cqe);
            if cqe.user_data() == RECEIVE {
                break;
            }
            continue;
        }
        // SAFETY: a completion of the only receive on this queue, seen once; the parts are dropped in the tests before
        // their rings.
        let part = unsafe { queue.received(&cqe) }.expect("a part");
        assert_eq!(Ok(part.len()), cqe.result().map(|len| len as usize));
        found += part.len();
        parts.push(part);
    }
    (parts, others)
}

fn joined(parts: &[Received]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.iter().copied()).collect()
}

fn start(ring: &mut Ring, socket: &TcpStream, queue: &ZcrxQueue) {
    // SAFETY: the socket outlives the receive, which ends with the stream, and the rings with their tests.
    unsafe { io::push(ring, RecvZc::new(socket, queue.id()).user_data(RECEIVE)) };
}

#[test]
fn item_38_parts_are_handed_over_and_given_back() {
    const TEST: &str = "item_38_parts_are_handed_over_and_given_back";
    let mut ring = ring();
    let Some(queue) = queue(TEST, &ring, 16, 0) else { return };
    let page = rustix::param::page_size();
    assert_eq!((queue.rx_buf_len() as usize, queue.stats()), (page, None));
    let (mut client, server) = tcp_pair();
    start(&mut ring, &server, &queue);
    // Each round takes more than half of the area, so that it works only with what came back.
    for round in 0..10 {
        let data = bytes(9 * page, round);
        client.write_all(&data).expect("sent");
        let (parts, _) = receive(&mut ring, &queue, data.len());
        assert!(parts.len() >= 9);
        assert!(joined(&parts) == data, "round {round}");
        drop(parts);
        ring.flush_zcrx(&queue).expect("the kernel takes them in");
        assert_eq!(queue.waiting(), 0);
    }
    client.shutdown(Shutdown::Write).expect("connected");
    let last = reap(&mut ring, 1)[0];
    assert_eq!((last.result(), last.more()), (Ok(0), false));
    // SAFETY: it delivered nothing.
    assert!(unsafe { queue.received(&last) }.is_none());
}

#[test]
fn item_38_calls_are_about_the_queue_that_they_name() {
    const TEST: &str = "item_38_calls_are_about_the_queue_that_they_name";
    let mut ring = ring();
    let Some(idle) = queue(TEST, &ring, 4, 0) else { return };
    let queue = queue(TEST, &ring, 16, 0).expect("as the first");
    assert_ne!(queue.id(), idle.id());
    let other = self::ring();
    let others = self::queue(TEST, &other, 4, 0).expect("as the first");
    assert_eq!(others.id(), idle.id(), "each ring counts for itself");
    assert_eq!(ring.flush_zcrx(&others), Err(Errno::NXIO));
    assert_eq!(ring.export_zcrx(&others).err(), Some(Errno::NXIO));
    assert_eq!(ring.add_zcrx_area(&others, area(1)).map_err(|(_, errno)| errno), Err(Errno::NXIO));
    let page = rustix::param::page_size();
    let (mut client, server) = tcp_pair();
    start(&mut ring, &server, &queue);
    // More than the first queue has room for, and more than the second without what came back.
    for round in 0..4 {
        let data = bytes(9 * page, round);
        client.write_all(&data).expect("sent");
        let (parts, _) = receive(&mut ring, &queue, data.len());
        assert!(joined(&parts) == data, "round {round}");
        drop(parts);
        ring.flush_zcrx(&queue).expect("the kernel takes them in");
    }
    client.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(reap(&mut ring, 1)[0].result(), Ok(0));
    drop(idle);
}

#[test]
fn item_38_what_is_not_given_back_is_missing() {
    const TEST: &str = "item_38_what_is_not_given_back_is_missing";
    let mut ring = ring();
    let Some(queue) = queue(TEST, &ring, 4, EVENT) else { return };
    let page = rustix::param::page_size();
    let (mut client, server) = tcp_pair();
    start(&mut ring, &server, &queue);
    let data = bytes(8 * page, 1);
    client.write_all(&data).expect("sent");
    // There is room for half of it at most. Then nothing is left, and the receive ends.
    let (parts, mut others) = receive(&mut ring, &queue, usize::MAX);
    let end = others.pop().expect("what ended it");
    assert_eq!((end.user_data(), end.result(), end.more()), (RECEIVE, Err(Errno::NOMEM), false));
    let held = joined(&parts);
    assert!((page..=4 * page).contains(&held.len()) && data.starts_with(&held), "{} bytes", held.len());
    let stats = queue.stats().expect("they are kept");
    assert_eq!(stats.bytes, held.len() as u64);
    assert!(stats.copies > 0);
    // The event is posted when the ring is visited next, if it was not yet, and once.
    let event = others.pop().unwrap_or_else(|| reap(&mut ring, 1)[0]);
    assert_eq!((event.user_data(), event.result()), (UserData(EVENT), Ok(ZcrxEvent::COPY.0)));
    assert!(others.is_empty(), "{others:?}");
    // It goes on with what came back.
    assert!(joined(&parts) == held, "what is held is left alone");
    drop(parts);
    ring.flush_zcrx(&queue).expect("the kernel takes them in");
    ring.arm_zcrx_event(&queue, ZcrxEvent::COPY).expect("it was reported");
    assert_eq!(ring.arm_zcrx_event(&queue, ZcrxEvent::COPY), Err(Errno::INVAL), "it was not since");
    start(&mut ring, &server, &queue);
    let (parts, _) = receive(&mut ring, &queue, page);
    assert!(data[held.len()..].starts_with(&joined(&parts)));
}

#[test]
fn item_38_a_queue_is_shared_and_grows() {
    const TEST: &str = "item_38_a_queue_is_shared_and_grows";
    let first = ring();
    let Some(queue) = queue(TEST, &first, 4, 0) else { return };
    let export = first.export_zcrx(&queue).expect("a descriptor");
    let mut ring = ring();
    assert_eq!(ring.flush_zcrx(&queue), Err(Errno::NXIO), "it is the first one's");
    let shared = ring.import_zcrx(&export).expect("imported");
    drop(export);
    let page = rustix::param::page_size();
    let pages = match first.add_zcrx_area(&queue, area(12)) {
        Ok(()) => 16,
        Err((memory, errno)) => {
            assert_eq!((memory.len(), errno), (12 * page, Errno::OPNOTSUPP));
            skipped(TEST, "a second area: needs Linux 7.3");
            4
        }
    };
    let (mut client, server) = tcp_pair();
    start(&mut ring, &server, &shared);
    for round in 0..5 {
        // Not every part is a whole page.
        let data = bytes(pages * page / 2, round);
        client.write_all(&data).expect("sent");
        let (parts, _) = receive(&mut ring, &shared, data.len());
        assert!(joined(&parts) == data, "round {round}");
        drop(parts);
        ring.flush_zcrx(&shared).expect("by the ring that shares it");
    }
}
