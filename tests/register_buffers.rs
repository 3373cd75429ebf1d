//! Registered buffers on a real ring: the table, what operations reach through it, and who keeps the memory.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;
#[path = "common/user.rs"]
mod user;

use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{in_own_process, kernel_has, kernel_has_op, newer, skipped};
use files::{Dir, pipe};
use io::{bytes, next, nothing, result, ring};
use rawring::flags::SetupFlags;
use rawring::op::{ReadFixed, ReadvFixed, WriteFixed, WritevFixed};
use rawring::operand::{FixedBuf, FixedBufMut, FixedIoVec, IoVecs};
use rawring::register::{BufferCause, CloneBuffers, Memory, NewBuffer, RegisteredBuffer, Tag};
use rawring::{Errno, Event, InFlight, Ring, UserData, Version};
use rustix::process::Resource;
use user::{as_user, hold_the_setting, limit};

fn memory(len: usize) -> Memory {
    Memory::new(len).expect("memory")
}

/// Buffers of these sizes in the slots from 0 on.
fn registered<const N: usize>(ring: &Ring, sizes: [usize; N]) -> [RegisteredBuffer; N] {
    let buffers = ring.register_buffers(sizes.map(memory)).expect("registered");
    buffers.try_into().expect("as many as were given")
}

/// A buffer's memory, to be looked for when the buffer is gone.
struct Trace {
    at: u64,
    mark: [u8; 16],
}

impl Trace {
    fn of(buffer: &mut RegisteredBuffer) -> Trace {
        static MARKS: AtomicU64 = AtomicU64::new(0);
        let at = buffer.as_ptr().addr() as u64;
        let mut mark = *b"a mark: ________";
        mark[8..].copy_from_slice(&MARKS.fetch_add(1, Ordering::Relaxed).to_ne_bytes());
        buffer[..16].copy_from_slice(&mark);
        Trace { at, mark }
    }

    /// Whether the memory is still mapped. Other threads may have mapped something else there, which has no such mark.
    fn is_mapped(&self) -> bool {
        let memory = File::open("/proc/self/mem").expect("proc");
        let mut found = [0; 16];
        match rustix::io::pread(&memory, &mut found, self.at) {
            Ok(_) => found == self.mark,
            Err(errno) => {
                assert_eq!(errno, Errno::IO);
                false
            }
        }
    }
}

fn tag(number: u64) -> Tag {
    Tag::new(number).expect("48 bits")
}

#[test]
fn buffers_are_registered_and_used_by_their_slots() {
    let dir = Dir::new("fixed");
    let (mut ring, data) = (ring(), bytes(10_000, 3));
    let file = dir.file("data", &data);
    let [mut small, mut large] = registered(&ring, [100, 10_000]);
    assert_eq!((small.index(), small.len(), large.index(), large.len()), (0, 100, 1, 10_000));
    assert!(large.iter().all(|&byte| byte == 0));
    assert_eq!(result(&mut ring, ReadFixed::new(&file, &mut large).offset(0)), Ok(10_000));
    assert_eq!(large[..], data);
    assert_eq!(result(&mut ring, ReadFixed::new(&file, &mut small).offset(7)), Ok(100));
    assert_eq!(small[..], data[7..107]);
    let part = large.part_mut(5_000..5_010).expect("inside").inside(&ring).expect("registered there");
    assert_eq!(result(&mut ring, ReadFixed::new(&file, part).offset(1)), Ok(10));
    assert_eq!(large[5_000..5_010], data[1..11]);
    let part = large.part(4_990..5_020).expect("inside").inside(&ring).expect("registered there");
    assert_eq!(result(&mut ring, WriteFixed::new(&file, part).offset(0)), Ok(30));
    let written = std::fs::read(dir.path("data")).expect("read");
    assert_eq!(written[..30], large[4_990..5_020]);
    assert_eq!(written[30..], data[30..]);
}

#[test]
fn item_16_what_is_outside_is_refused_before_and_by_the_kernel() {
    let dir = Dir::new("fixed-outside");
    let (mut ring, file) = (ring(), dir.file("data", &bytes(100, 1)));
    let [mut buffer, other] = registered(&ring, [4096, 4096]);
    assert!(buffer.part(4096..4097).is_none() && buffer.part_mut(..=4096).is_none() && buffer.part(4096..).is_some());
    // Memory that is not registered, of another slot, and of a slot that there is not.
    let mut elsewhere = vec![0; 16];
    let error = FixedBufMut::new(&mut elsewhere, 0).inside(&ring).expect_err("not registered");
    assert_eq!(error.buffer(), Some(buffer.as_ptr_range().start.addr()..buffer.as_ptr_range().end.addr()));
    assert!(error.to_string().starts_with("16 bytes at 0x"), "{error}");
    let error = FixedBuf::new(&other[..], 0).inside(&ring).expect_err("in slot 1");
    assert!(error.to_string().contains("not inside of registered buffer 0, which is 0x"), "{error}");
    let error = FixedBuf::new(&other[..], 2).inside(&ring).expect_err("two slots");
    assert!(error.to_string().ends_with("registered buffer 2, which is empty: register memory there first"), "{error}");
    for entry in [
        ReadFixed::new(&file, FixedBufMut::new(&mut elsewhere, 0)).offset(0),
        ReadFixed::new(&file, FixedBufMut::new(&mut buffer[..], 1)).offset(0),
    ] {
        assert_eq!(result(&mut ring, entry), Err(Errno::FAULT));
    }
    assert_eq!(result(&mut ring, WriteFixed::new(&file, FixedBuf::new(&other[..], 2))), Err(Errno::FAULT));
    assert_eq!(result(&mut ring, WriteFixed::new(&file, &other).offset(0)), Ok(4096));
}

#[test]
fn item_16_arrays_are_checked_as_a_whole() {
    let dir = Dir::new("fixed-arrays");
    let (mut ring, data) = (ring(), bytes(300, 9));
    let file = dir.file("data", &data);
    let [mut buffer] = registered(&ring, [1000]);
    let mut vecs = IoVecs::<3>::default();
    assert!(buffer.parts(&mut vecs, &[0..10, 990..1001]).is_none(), "past the end");
    assert!(buffer.parts(&mut vecs, &[0..1, 0..1, 0..1, 0..1]).is_none(), "too many");
    assert!(buffer.parts_mut(&mut vecs, &[10..20, 0..11]).is_none(), "overlapping");
    let reversed = [Range { start: 20, end: 10 }];
    assert!(buffer.parts(&mut vecs, &reversed).is_none() && buffer.parts_mut(&mut vecs, &reversed).is_none());
    let mut elsewhere = [0; 8];
    let outside = FixedIoVec::new(vecs.fill_mut([&mut buffer[..8], &mut elsewhere]), 0).inside(&ring);
    assert!(outside.is_err(), "the second is not registered");
    if !kernel_has_op("item_16_arrays_are_checked_as_a_whole", ReadvFixed::INFO) {
        return;
    }
    let outside = FixedIoVec::new(vecs.fill_mut([&mut buffer[..8], &mut elsewhere]), 0);
    assert_eq!(result(&mut ring, ReadvFixed::new(&file, outside).offset(0)), Err(Errno::FAULT));
    // In the order that they are named, not in that of their addresses.
    let parts = buffer.parts_mut(&mut vecs, &[500..600, 0..100, 600..700]).expect("inside");
    let parts = parts.inside(&ring).expect("registered there");
    assert_eq!(result(&mut ring, ReadvFixed::new(&file, parts).offset(0)), Ok(300));
    assert_eq!((&buffer[500..600], &buffer[..100], &buffer[600..700]), (&data[..100], &data[100..200], &data[200..]));
    let parts = buffer.parts(&mut vecs, &[600..700, 600..700]).expect("what is read may overlap");
    assert_eq!(result(&mut ring, WritevFixed::new(&file, parts).offset(0)), Ok(200));
    let written = std::fs::read(dir.path("data")).expect("read");
    assert_eq!((&written[..100], &written[100..200]), (&data[200..], &data[200..]));
}

#[test]
fn item_36_a_slot_that_changes_keeps_its_memory_until_its_operations_end() {
    let (mut ring, (reader, mut writer)) = (ring(), pipe());
    let tag = tag(0x7a61);
    let [mut old] =
        <[_; 1]>::try_from(ring.register_buffers([memory(64).tagged(tag)]).expect("registered")).expect("one");
    // SAFETY: `old` is neither touched nor dropped before the completion was reaped.
    unsafe { io::push(&mut ring, ReadFixed::new(&reader, &mut old).user_data(1)) };
    nothing(&mut ring);
    let new = ring.update_buffers(0, [memory(64)]).expect("updating does not wait").remove(0);
    nothing(&mut ring);
    writer.write_all(b"to the old one").expect("room");
    let (first, second) = (next(&mut ring), next(&mut ring));
    assert_eq!((first.user_data(), first.result()), (UserData(1), Ok(14)), "the operation ends before its resource");
    assert_eq!(
        (second.tag(), second.result(), second.more()),
        (Some(tag), Ok(0), false),
        "the tag says that it is free"
    );
    assert_eq!((&old[..14], new[0]), (&b"to the old one"[..], 0));
}

#[test]
fn item_36_every_tag_of_a_buffer_comes_back() {
    let mut ring = ring();
    let tagged = [memory(64).tagged(self::tag(11)), memory(64).tagged(self::tag(12))];
    let _buffers = ring.register_buffers(tagged).expect("registered");
    ring.clear_buffers(1..2).expect("a slot");
    assert_eq!(next(&mut ring).tag(), Some(self::tag(12)));
    ring.unregister_buffers().expect("a table");
    if common::since(Version::new(6, 13)).is_ok() {
        assert_eq!(next(&mut ring).tag(), Some(self::tag(11)));
    } else {
        nothing(&mut ring);
    }
}

#[test]
fn item_36_unregistering_takes_no_memory_from_operations() {
    const TEST: &str = "item_36_unregistering_takes_no_memory_from_operations";
    // Before, it waits for what is in flight, which here would wait for it.
    if !newer(TEST, Version::new(6, 13)) {
        return;
    }
    let (mut ring, (reader, mut writer)) = (ring(), pipe());
    let [mut buffer] = registered(&ring, [64]);
    // SAFETY: `buffer` is neither touched nor dropped before the completion was reaped.
    unsafe { io::push(&mut ring, ReadFixed::new(&reader, &mut buffer)) };
    nothing(&mut ring);
    ring.unregister_buffers().expect("it does not wait");
    writer.write_all(b"late").expect("room");
    assert_eq!(next(&mut ring).result(), Ok(4));
    assert_eq!(&buffer[..5], b"late\0");
}

#[test]
fn item_36_empty_slots_fail_until_they_are_filled() {
    let dir = Dir::new("fixed-sparse");
    let (mut ring, file) = (ring(), dir.file("data", b"abc"));
    ring.register_sparse_buffers(4).expect("a table");
    let mut read = |buffer: &mut [u8], index: u16| {
        result(&mut ring, ReadFixed::new(&file, FixedBufMut::new(buffer, index)).offset(0))
    };
    let mut mine = vec![0; 4];
    assert_eq!(read(&mut mine, 3), Err(Errno::FAULT));
    let mut buffers = ring_slots(&ring, 2, [memory(8), memory(16)]);
    assert_eq!((buffers[0].index(), buffers[1].index()), (2, 3));
    for (buffer, index) in buffers.iter_mut().zip([2, 3]) {
        assert_eq!(result(&mut ring, ReadFixed::new(&file, &mut *buffer).offset(0)), Ok(3), "slot {index}");
        assert_eq!(&buffer[..4], b"abc\0");
    }
    ring.clear_buffers(2..4).expect("slots");
    for buffer in &mut buffers {
        assert_eq!(result(&mut ring, ReadFixed::new(&file, buffer).offset(0)), Err(Errno::FAULT));
    }
}

fn ring_slots<const N: usize>(ring: &Ring, first: u32, memory: [Memory; N]) -> Vec<RegisteredBuffer> {
    ring.update_buffers(first, memory).expect("registered")
}

#[test]
fn a_slot_keeps_its_addresses_whatever_becomes_of_the_buffer() {
    let ring = ring();
    let [mut first, mut second, mut third] = registered(&ring, [4096, 4096, 4096]);
    let [a, b, c] = [&mut first, &mut second, &mut third].map(Trace::of);
    drop((first, second));
    std::mem::forget(third);
    assert!([&a, &b, &c].into_iter().all(Trace::is_mapped), "the kernel still takes these addresses for those pages");
    drop(ring.update_buffers(0, [memory(4096)]).expect("updated"));
    assert!(!a.is_mapped() && b.is_mapped(), "an update lets go of what was there");
    ring.clear_buffers(1..2).expect("cleared");
    assert!(!b.is_mapped() && c.is_mapped());
    ring.unregister_buffers().expect("unregistered");
    assert!(c.is_mapped(), "forgotten is leaked");
    // The other way round: a buffer outlives its ring.
    let [mut buffer] = registered(&ring, [4096]);
    let at = Trace::of(&mut buffer);
    drop(ring);
    buffer[4095] = 1;
    let memory = buffer.into_memory();
    assert!(at.is_mapped() && memory[4095] == 1);
    drop(memory);
    assert!(!at.is_mapped(), "nobody has it any more");
}

#[test]
fn pieces_of_one_slot_and_slots_of_one_memory() {
    let dir = Dir::new("fixed-pieces");
    let (mut ring, data) = (ring(), bytes(4096, 5));
    let file = dir.file("data", &data);
    let [buffer] = registered(&ring, [4096]);
    let mut pieces: Vec<_> = buffer.chunks(1024).collect();
    for (n, piece) in pieces.iter_mut().enumerate() {
        assert_eq!(piece.index(), 0);
        assert_eq!(result(&mut ring, ReadFixed::new(&file, &mut *piece).offset(n as u64 * 1024)), Ok(1024));
    }
    assert!(pieces.iter().flat_map(|piece| piece.iter()).eq(&data));
    // The same memory once more, in a table of its own slot: both lead to it.
    let again = pieces.remove(1).into_memory();
    ring.unregister_buffers().expect("a table");
    ring.register_sparse_buffers(3).expect("a table");
    let mut again = ring.update_buffers(1, [again]).expect("registered").remove(0).into_memory();
    again.fill(0);
    let mut both = ring.update_buffers(2, [again]).expect("registered").remove(0);
    assert_eq!(result(&mut ring, ReadFixed::new(&file, FixedBufMut::new(&mut both[..], 1)).offset(0)), Ok(1024));
    assert_eq!(both[..], data[..1024]);
    assert_eq!(result(&mut ring, ReadFixed::new(&file, &mut both).offset(2048)), Ok(1024));
    assert_eq!(both[..], data[2048..3072]);
}

#[test]
fn states_own_registered_buffers() {
    let dir = Dir::new("fixed-states");
    let data = bytes(64 * 512, 8);
    let file = dir.file("data", &data);
    let ring = match InFlight::new(ring()) {
        Ok(ring) => ring,
        Err(unfit) => return skipped("states_own_registered_buffers", &unfit.reason.to_string()),
    };
    let mut ring: InFlight<(usize, RegisteredBuffer, File)> = ring;
    ring.ring().register_sparse_buffers(8).expect("a table");
    let mut free = ring.ring().update_buffers(0, memory(8 * 512).chunks(512)).expect("registered");
    let (mut wanted, mut found) = ((0..64).rev().peekable(), 0);
    loop {
        while let Some(block) = wanted.next_if(|_| !free.is_empty()) {
            let state = (block, free.pop().expect("one"), file.try_clone().expect("a descriptor"));
            ring.start(state, |(block, buffer, file)| {
                ReadFixed::new(&*file, buffer).offset(*block as u64 * 512).into()
            })
            .expect("room");
        }
        if ring.in_flight() == 0 {
            break;
        }
        if let Event::Done(done) = ring.wait_event().expect("an event") {
            let (block, buffer, _) = done.state;
            assert_eq!(done.cqe.result(), Ok(512));
            assert_eq!(buffer[..], data[block * 512..][..512], "block {block}");
            found += 1;
            free.push(buffer);
        }
    }
    assert_eq!(found, 64);
}

#[test]
fn dropping_a_ring_with_operations_on_registered_buffers_leaves_their_memory_alone() {
    let (reader, mut writer) = pipe();
    let ring = match InFlight::new(ring()) {
        Ok(ring) => ring,
        Err(unfit) => {
            let test = "dropping_a_ring_with_operations_on_registered_buffers_leaves_their_memory_alone";
            return skipped(test, &unfit.reason.to_string());
        }
    };
    let mut ring: InFlight<(RegisteredBuffer, File)> = ring;
    let [buffer] = registered(ring.ring(), [4096]);
    ring.start((buffer, reader.try_clone().expect("a descriptor")), |(buffer, reader)| {
        ReadFixed::new(&*reader, buffer).into()
    })
    .expect("room");
    ring.submit().expect("submitted");
    let drained = ring.shutdown().expect("drained");
    assert_eq!(drained.ended[0].cqe.result(), Err(Errno::CANCELED));
    let (mut buffer, _reader) = drained.ended.into_iter().next().expect("one").state;
    drop(drained.ring);
    writer.write_all(b"nobody reads").expect("room");
    assert!(buffer.iter().all(|&byte| byte == 0));
    buffer.fill(1);
}

#[test]
fn what_is_refused_says_why_and_comes_back() {
    let ring = ring();
    let none: [Memory; 0] = [];
    let error = ring.register_buffers(none).expect_err("no buffers");
    assert_eq!((error.cause(), error.errno()), (&BufferCause::Count(0), Errno::INVAL));
    let error = ring.update_buffers(0, [memory(1)]).expect_err("no table");
    assert_eq!((error.cause(), error.errno()), (&BufferCause::NoTable, Errno::NXIO));
    assert_eq!(ring.clear_buffers(0..1), Err(Errno::NXIO));
    assert_eq!(ring.unregister_buffers(), Err(Errno::NXIO));
    let _buffers = registered(&ring, [64, 64]);
    let error = ring.register_buffers([memory(1)]).expect_err("there is a table");
    assert_eq!((error.cause(), error.errno()), (&BufferCause::Exists, Errno::BUSY));
    assert!(error.to_string().contains("update_buffers()"), "{error}");
    assert_eq!(ring.register_sparse_buffers(1), Err(Errno::BUSY));
    let error = ring.update_buffers(1, [memory(1), memory(2)]).expect_err("past the end");
    assert_eq!(error.cause(), &BufferCause::Slots { first: 1, count: 2, table: 2 });
    assert_eq!(error.refused.len(), 2);
    assert_eq!(ring.clear_buffers(2..3), Err(Errno::INVAL));
    let error = ring.update_buffers(u32::MAX, [memory(1)]).expect_err("past all ends");
    assert_eq!(error.refused.len(), 1, "{error}");
    ring.unregister_buffers().expect("a table");
    for count in [0, 16_385, u32::MAX] {
        assert_eq!(ring.register_sparse_buffers(count), Err(Errno::INVAL), "{count}");
    }
    ring.register_sparse_buffers(16_384).expect("as many as there can be");
}

#[test]
fn memory_of_others_is_registered_by_promise() {
    let dir = Dir::new("fixed-borrowed");
    let (mut ring, data) = (ring(), bytes(64, 2));
    let file = dir.file("data", &data);
    let mine: &'static mut [u8] = vec![0; 64].leak();
    let pieces = [NonNull::from(&mut mine[..32]), NonNull::from(&mut mine[32..])];
    // SAFETY: the memory was leaked: it stays where it is.
    unsafe {
        assert_eq!(ring.register_borrowed_buffers(&pieces, &[Some(tag(1))]), Err(Errno::INVAL), "tags for one of two");
        ring.register_borrowed_buffers(&pieces, &[None, Some(tag(5))]).expect("registered");
    }
    let part = FixedBufMut::new(&mut mine[40..48], 1).inside(&ring).expect("inside");
    assert_eq!(result(&mut ring, ReadFixed::new(&file, part).offset(8)), Ok(8));
    assert_eq!(mine[40..48], data[8..16]);
    assert!(FixedBuf::new(&mine[30..34], 0).inside(&ring).is_err(), "half of it is in slot 1");
    // SAFETY: as above.
    let updated = unsafe { ring.update_borrowed_buffers(1, &[NonNull::from(&mut mine[..])], &[]) };
    assert_eq!(updated, Ok(1));
    assert_eq!(next(&mut ring).tag(), Some(tag(5)), "the tag of what was in the slot");
    let part = FixedBufMut::new(&mut mine[30..34], 1).inside(&ring).expect("the slot has all of it now");
    assert_eq!(result(&mut ring, ReadFixed::new(&file, part).offset(0)), Ok(4));
    assert_eq!(mine[30..34], data[..4]);
}

#[test]
fn a_ring_without_descriptor_registers_by_its_index() {
    const TEST: &str = "a_ring_without_descriptor_registers_by_its_index";
    if !kernel_has(TEST, SetupFlags::REGISTERED_FD_ONLY) {
        return;
    }
    let dir = Dir::new("fixed-index");
    let file = dir.file("data", b"by index");
    let mut ring = Ring::setup(8).no_mmap().registered_fd_only().build().expect("a ring");
    let [mut buffer] = registered(&ring, [8]);
    assert_eq!(result(&mut ring, ReadFixed::new(&file, &mut buffer).offset(0)), Ok(8));
    assert_eq!(&buffer[..], b"by index");
    let ring = std::thread::spawn(move || {
        assert_eq!(ring.unregister_buffers(), Err(Errno::BADF));
        ring
    });
    ring.join().expect("no panic").unregister_buffers().expect("here it has a name");
}

#[test]
fn the_limit_on_locked_memory_is_named_with_what_was_needed() {
    const TEST: &str = "the_limit_on_locked_memory_is_named_with_what_was_needed";
    if !rustix::process::getuid().is_root() {
        return skipped(TEST, "needs to be root, to become a user who has nothing locked yet");
    }
    in_own_process(TEST, || {
        // Kernels before 6.6 have no such setting.
        let _held = hold_the_setting();
        let page = rustix::param::page_size();
        let set = |pages: usize| limit(Resource::Memlock, Some((pages * page) as u64));
        // What is counted is given back some time after a ring is gone, so every attempt is another user's.
        let mut uid = 2_000_000 + 1000 * (std::process::id() % 1_000_000);
        let mut attempt = |buffers: Vec<Memory>, one_by_one: bool| {
            uid += 1;
            as_user(uid, uid, || {
                let ring = Ring::new(1).expect("a small ring fits");
                if !one_by_one {
                    return ring.register_buffers(buffers);
                }
                ring.register_sparse_buffers(buffers.len() as u32).expect("empty slots cost nothing");
                ring.update_buffers(0, buffers)
            })
        };
        // Kernels that count rings count two pages for this one.
        set(16);
        let error = attempt(vec![memory(30 * page + 1), memory(page)], false).expect_err("too much");
        let (needed, limit) = ((32 * page) as u64, (16 * page) as u64);
        assert_eq!((error.cause(), error.errno()), (&BufferCause::Memlock { needed, limit }, Errno::NOMEM));
        let text = error.to_string();
        for word in ["RLIMIT_MEMLOCK", &needed.to_string(), &limit.to_string(), "CAP_IPC_LOCK", "ulimit -l"] {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
        assert_eq!((error.registered.len(), error.refused.len()), (0, 2));
        // One after the other: what fits is registered, the rest comes back.
        let error = attempt(vec![memory(10 * page), memory(10 * page), memory(page)], true).expect_err("too much");
        let needed = (11 * page) as u64;
        assert_eq!((error.cause(), error.errno()), (&BufferCause::Memlock { needed, limit }, Errno::NOMEM));
        let lens = |buffers: Vec<NewBuffer>| buffers.iter().map(|buffer| buffer.memory.len()).collect::<Vec<_>>();
        assert_eq!((error.registered.len(), error.registered[0].len()), (1, 10 * page));
        assert_eq!(lens(error.refused), [10 * page, page]);
        // The number is right to the page: with the ring's own, or without.
        set(32);
        let counts_rings = attempt(vec![memory(30 * page + 1), memory(page)], false).is_err();
        set(if counts_rings { 34 } else { 32 });
        attempt(vec![memory(30 * page + 1), memory(page)], false).expect("as much as was said to be needed");
        set(if counts_rings { 33 } else { 31 });
        attempt(vec![memory(30 * page + 1), memory(page)], false).expect_err("a page too little");
        // A privileged ring is not counted.
        set(0);
        Ring::new(1).expect("a ring").register_buffers([memory(64 * page)]).expect("root is not counted");
    });
}

/// Whether slot `index` of the ring leads to `buffer`: reads `data` through it.
fn leads(ring: &mut Ring, index: u16, buffer: &mut RegisteredBuffer, file: &File) -> bool {
    buffer.fill(0);
    let mut expected = vec![0; buffer.len()];
    rustix::io::pread(file, &mut expected[..], 0).expect("a file");
    let entry = ReadFixed::new(file, FixedBufMut::new(&mut buffer[..], index)).offset(0);
    match result(ring, entry) {
        Ok(len) => len as usize == buffer.len() && buffer[..] == expected,
        Err(errno) => {
            assert_eq!(errno, Errno::FAULT);
            false
        }
    }
}

#[test]
fn a_clone_shares_the_memory_and_keeps_it() {
    const TEST: &str = "a_clone_shares_the_memory_and_keeps_it";
    if !newer(TEST, Version::new(6, 12)) {
        return;
    }
    let dir = Dir::new("fixed-clone");
    let file = dir.file("data", &bytes(64, 4));
    let (source, mut ring) = (ring(), ring());
    assert_eq!(ring.clone_buffers(&source, CloneBuffers::all()), Err(Errno::NXIO));
    let [mut first, mut second] = registered(&source, [64, 64]);
    ring.clone_buffers(&source, CloneBuffers::all()).expect("cloned");
    assert_eq!(ring.clone_buffers(&source, CloneBuffers::all()), Err(Errno::BUSY));
    assert!(leads(&mut ring, 0, &mut first, &file) && leads(&mut ring, 1, &mut second, &file));
    assert!(!leads(&mut ring, 1, &mut first, &file));
    second.fixed().inside(&ring).expect("known here, too");
    // The source goes, and the buffer: the clone holds the memory.
    let at = Trace::of(&mut second);
    drop((source, second));
    assert!(at.is_mapped());
    assert!(leads(&mut ring, 0, &mut first, &file));
    ring.unregister_buffers().expect("a table");
    assert!(!at.is_mapped());
}

#[test]
fn parts_of_tables_are_cloned_to_other_slots() {
    const TEST: &str = "parts_of_tables_are_cloned_to_other_slots";
    if !newer(TEST, Version::new(6, 13)) {
        return;
    }
    let dir = Dir::new("fixed-clone-parts");
    let file = dir.file("data", &bytes(64, 4));
    let (mut source, mut ring) = (ring(), ring());
    let mut theirs = registered(&source, [64; 4]);
    let mut ours = registered(&ring, [64; 3]);
    let some = || CloneBuffers::slots(1..3).to(2);
    #[expect(clippy::reversed_empty_ranges, reason = "it must be refused, too")]
    for (what, errno) in [
        (some(), Errno::BUSY),
        (CloneBuffers::slots(0..0).replace(), Errno::INVAL),
        (CloneBuffers::slots(2..1).replace(), Errno::INVAL),
        (CloneBuffers::all().to(1).replace(), Errno::INVAL),
        (CloneBuffers::slots(0..5).replace(), Errno::INVAL),
        (CloneBuffers::slots(3..5).replace(), Errno::OVERFLOW),
        (CloneBuffers::slots(0..1).to(16_384).replace(), Errno::INVAL),
    ] {
        assert_eq!(ring.clone_buffers(&source, what.clone()), Err(errno), "{what:?}");
    }
    ring.clone_buffers(&source, some().replace()).expect("cloned");
    for (index, buffer) in ours[..2].iter_mut().enumerate() {
        assert!(leads(&mut ring, index as u16, buffer, &file), "slot {index} is as it was");
    }
    assert!(leads(&mut ring, 2, &mut theirs[1], &file) && leads(&mut ring, 3, &mut theirs[2], &file));
    assert!(!leads(&mut ring, 2, &mut ours[2], &file));
    let replaced = Trace::of(&mut ours[2]);
    drop(ours);
    assert!(!replaced.is_mapped(), "nobody has it any more");
    // Within one ring.
    source.clone_buffers(&source, CloneBuffers::slots(0..2).to(2).replace()).expect("cloned");
    assert!(leads(&mut source, 2, &mut theirs[0], &file) && leads(&mut source, 3, &mut theirs[1], &file));
    assert!(!leads(&mut source, 2, &mut theirs[2], &file));
}

#[test]
fn a_ring_without_descriptor_is_cloned_from_by_its_index() {
    const TEST: &str = "a_ring_without_descriptor_is_cloned_from_by_its_index";
    if !newer(TEST, Version::new(6, 12)) || !kernel_has(TEST, SetupFlags::REGISTERED_FD_ONLY) {
        return;
    }
    let dir = Dir::new("fixed-clone-index");
    let file = dir.file("data", &bytes(64, 4));
    // A descriptor of the same number is another ring, or none.
    let source = Ring::setup(8).no_mmap().registered_fd_only().build().expect("a ring");
    let mut ring = ring();
    let [mut buffer] = registered(&source, [64]);
    ring.clone_buffers(&source, CloneBuffers::all()).expect("cloned");
    assert!(leads(&mut ring, 0, &mut buffer, &file));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| Ring::new(1).expect("a ring").clone_buffers(&source, CloneBuffers::all()));
        assert_eq!(other.join().expect("no panic"), Err(Errno::BADF));
    });
}
