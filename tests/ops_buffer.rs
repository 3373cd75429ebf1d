//! Buffers that are provided in the old way, and memory advice, on a real ring.

mod common;
#[path = "common/io.rs"]
mod io;

use std::ffi::c_void;
use std::io::Write as _;
use std::os::unix::net::UnixStream;

use common::{BUFFER_RINGS, needs, since};
use io::{BufRing, result, ring, run};
use rawring::op::*;
use rawring::operand::{Group, GroupId};
use rawring::{Errno, Ring};
use rustix::mm::{Advice, MapFlags, ProtFlags, mmap_anonymous};

const GROUP: Group = Group(3);

/// Provides `count` buffers of `size` bytes with the ids from `first_id` on.
fn provide(ring: &mut Ring, count: u32, size: u32, first_id: u16) -> (Result<u32, Errno>, &'static mut [u8]) {
    let memory = vec![0; (count * size) as usize].leak();
    // SAFETY: the memory is never freed, and looked at only after the operation that picked from it.
    let provide = unsafe { ProvideBuffers::new(memory.as_mut_ptr(), size, count, first_id, GROUP) };
    (result(ring, provide), memory)
}

#[test]
fn buffers_are_picked_in_the_order_in_which_they_were_provided() {
    let mut ring = ring();
    let (outcome, first) = provide(&mut ring, 2, 8, 100);
    assert_eq!(outcome, Ok(0));
    let (outcome, second) = provide(&mut ring, 1, 8, 7);
    // Before, the last one provided was picked first, and the result was a number once there was the group.
    let older = common::probe().level() < BUFFER_RINGS;
    assert_eq!(outcome, Ok(u32::from(older)));
    let (mut left, right) = UnixStream::pair().expect("a pair");
    for id in if older { [7, 101, 100] } else { [100, 101, 7] } {
        left.write_all(&[id as u8; 4]).expect("written");
        let cqe = run(&mut ring, RecvProvided::new(&right, GROUP).max_len(8));
        assert_eq!((cqe.result(), cqe.buffer_id()), (Ok(4), Some(id)));
    }
    assert_eq!(first, [100, 100, 100, 100, 0, 0, 0, 0, 101, 101, 101, 101, 0, 0, 0, 0]);
    assert_eq!(second, [7, 7, 7, 7, 0, 0, 0, 0]);
}

#[test]
fn item_20_a_buffer_comes_back_with_the_end_of_a_stream_if_it_was_picked() {
    // Whether it is picked there is the kernel's choice; the completion tells, and no buffer is lost.
    let mut ring = ring();
    assert_eq!(provide(&mut ring, 2, 8, 0).0, Ok(0));
    let (left, right) = UnixStream::pair().expect("a pair");
    drop(left);
    let cqe = run(&mut ring, RecvProvided::new(&right, GROUP));
    assert_eq!(cqe.result(), Ok(0));
    let left_in_group = if cqe.buffer_id().is_some() { 1 } else { 2 };
    assert_eq!(result(&mut ring, RemoveBuffers::new(9, GROUP)), Ok(left_in_group));
}

#[test]
fn buffers_are_taken_out_before_they_are_picked() {
    let mut ring = ring();
    assert_eq!(result(&mut ring, RemoveBuffers::new(1, GROUP)), Err(Errno::NOENT), "no such group");
    assert_eq!(provide(&mut ring, 4, 8, 10).0, Ok(0));
    assert_eq!(result(&mut ring, RemoveBuffers::new(3, GROUP)), Ok(3));
    let (mut left, right) = UnixStream::pair().expect("a pair");
    left.write_all(b"x").expect("written");
    let left_over = if common::probe().level() < BUFFER_RINGS { 10 } else { 13 };
    assert_eq!(run(&mut ring, RecvProvided::new(&right, GROUP)).buffer_id(), Some(left_over), "the last of four");
    assert_eq!(provide(&mut ring, 2, 8, 0).0, Ok(0));
    assert_eq!(result(&mut ring, RemoveBuffers::new(100, GroupId(3))), Ok(2), "no more than there are");
    assert_eq!(result(&mut ring, RemoveBuffers::new(0, GROUP)), Err(Errno::INVAL));
}

#[test]
fn what_cannot_be_provided_is_refused() {
    let mut ring = ring();
    assert_eq!(provide(&mut ring, 0, 8, 0).0, Err(Errno::TOOBIG));
    needs!(since(BUFFER_RINGS));
    assert_eq!(provide(&mut ring, 1, 0, 0).0, Err(Errno::INVAL));
    assert_eq!(provide(&mut ring, 2, 8, u16::MAX).0, Err(Errno::INVAL), "the second would have no id");
    let _bufs = BufRing::new(&ring, GROUP, 2, 8);
    assert_eq!(provide(&mut ring, 1, 8, 0).0, Err(Errno::INVAL), "a buffer ring is filled otherwise");
    assert_eq!(result(&mut ring, RemoveBuffers::new(1, GROUP)), Err(Errno::INVAL));
}

/// Private pages of ones.
fn pages(len: usize) -> *mut u8 {
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory =
        unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    let memory = memory.expect("memory").cast::<u8>();
    // SAFETY: just mapped, writable, and nobody else's.
    unsafe { memory.write_bytes(1, len) };
    memory
}

#[test]
fn advice_takes_the_contents_of_exactly_the_memory_that_was_named() {
    let mut ring = ring();
    let page = rustix::param::page_size();
    let memory = pages(4 * page);
    // SAFETY: pages of our own that no reference leads to.
    let advise = unsafe { Madvise::new(memory.add(page).cast::<c_void>(), 2 * page, Advice::LinuxDontNeed) };
    assert_eq!(result(&mut ring, advise), Ok(0));
    // SAFETY: the operation has completed, and the mapping is never undone.
    let memory = unsafe { std::slice::from_raw_parts(memory, 4 * page) };
    let expected: Vec<u8> = [1, 0, 0, 1].iter().flat_map(|byte| vec![*byte; page]).collect();
    assert!(memory == expected, "the two pages in the middle are zeros, as after madvise(2)");
}

#[test]
fn advice_for_what_is_not_mapped_is_refused_as_by_madvise() {
    let mut ring = ring();
    let page = rustix::param::page_size();
    // Too low for anything to be mapped there, by us or by another thread meanwhile.
    let memory = std::ptr::without_provenance_mut::<c_void>(page);
    // SAFETY: there is no memory that the advice could reach.
    let advise = unsafe { Madvise::new(memory, page, Advice::LinuxDontNeed) };
    let outcome = result(&mut ring, advise);
    // SAFETY: as above.
    let twin = unsafe { rustix::mm::madvise(memory, page, Advice::LinuxDontNeed) };
    assert_eq!(outcome, twin.map(|()| 0));
    assert_eq!(outcome, Err(Errno::NOMEM));
}

#[cfg(target_pointer_width = "64")]
#[test]
fn item_16_advice_for_more_than_32_bits_of_length_reaches_all_of_it() {
    let test = "item_16_advice_for_more_than_32_bits_of_length_reaches_all_of_it";
    // The release with 64-bit lengths also brought LISTEN.
    if !common::kernel_has_op(test, Listen::INFO) {
        return;
    }
    let mut ring = ring();
    let page = rustix::param::page_size();
    let len = (1usize << 32) + 2 * page;
    // SAFETY: a new mapping at an address of the kernel's choice; it takes no memory until it is written to.
    let memory = unsafe {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags)
    };
    let Ok(memory) = memory else { return common::skipped(test, "no room for 4 GiB of addresses") };
    let last = memory.cast::<u8>().wrapping_add(len - page);
    // SAFETY: inside the mapping, which is ours alone.
    unsafe { last.write(1) };
    // SAFETY: as above; no reference leads to the memory.
    let advise = unsafe { Madvise::new(memory, len, Advice::LinuxDontNeed) };
    assert_eq!(result(&mut ring, advise), Ok(0));
    // SAFETY: as above; the operation has completed.
    let (byte, unmapped) = unsafe { (last.read(), rustix::mm::munmap(memory, len)) };
    assert_eq!((byte, unmapped), (0, Ok(())), "the last page lies beyond what 32 bits can say");
}
