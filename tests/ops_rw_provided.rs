//! Reads into provided buffers on a real ring, once and again and again.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::io::Write as _;

use common::{BUFFER_RINGS, kernel_has_op, needs, since};
use files::{Dir, pipe};
use io::{BufRing, next, nothing, push, reap, result, ring, run};
use rawring::Errno;
use rawring::op::*;
use rawring::operand::*;

#[test]
fn the_kernel_picks_a_provided_buffer_when_there_is_data() {
    needs!(since(BUFFER_RINGS));
    let dir = Dir::new("provided");
    let (mut ring, file) = (ring(), dir.file("data", b"0123456789"));
    let group = Group(7);
    assert_eq!(result(&mut ring, ReadProvided::new(&file, group).offset(0)), Err(Errno::NOBUFS), "an unknown group");
    let mut buffers = BufRing::new(&ring, group, 4, 6);
    assert_eq!(result(&mut ring, ReadProvided::new(&file, group).offset(0)), Err(Errno::NOBUFS), "an empty group");
    [3, 1, 2].into_iter().for_each(|id| buffers.add(id, 6));
    let whole = run(&mut ring, ReadProvided::new(&file, group).offset(1));
    assert_eq!((whole.result(), whole.buffer_id()), (Ok(6), Some(3)));
    assert_eq!(buffers.bytes(3, 6), b"123456");
    let (reader, mut writer) = pipe();
    // SAFETY: the pipe is open until the completion, which is reaped below.
    unsafe { push(&mut ring, ReadProvided::new(&reader, group).len(4)) };
    nothing(&mut ring);
    writer.write_all(b"abcdef").expect("written");
    let some = next(&mut ring);
    assert_eq!((some.result(), some.buffer_id()), (Ok(4), Some(1)));
    assert_eq!(buffers.bytes(1, 6), b"abcd\0\0");
    drop(writer);
    assert_eq!(result(&mut ring, ReadProvided::new(&reader, group)), Ok(2));
    assert_eq!(buffers.bytes(2, 2), b"ef");
}

#[test]
fn item_18_a_multishot_read_goes_on_until_more_is_missing() {
    let test = "item_18_a_multishot_read_goes_on_until_more_is_missing";
    if !kernel_has_op(test, ReadMulti::INFO) {
        return;
    }
    let (mut ring, group) = (ring(), Group(1));
    let mut buffers = BufRing::full(&ring, group, 2, 8);
    let (reader, mut writer) = pipe();
    // SAFETY: the pipe is open until the last completion, which is reaped below.
    unsafe { push(&mut ring, ReadMulti::new(&reader, group)) };
    nothing(&mut ring);
    for (id, text) in [(0, "one"), (1, "two")] {
        writer.write_all(text.as_bytes()).expect("written");
        let cqe = next(&mut ring);
        assert_eq!((cqe.result(), cqe.buffer_id(), cqe.more()), (Ok(3), Some(id), true));
        assert_eq!(buffers.bytes(id, 3), text.as_bytes());
    }
    writer.write_all(b"three").expect("written");
    let end = next(&mut ring);
    assert_eq!((end.result(), end.more()), (Err(Errno::NOBUFS), false), "both buffers are in use");
    // The read that finds the end needs a buffer as well.
    [0, 1].into_iter().for_each(|id| buffers.add(id, 8));
    // SAFETY: as above.
    unsafe { push(&mut ring, ReadMulti::new(&reader, group)) };
    drop(writer);
    let cqes = reap(&mut ring, 2);
    assert_eq!((cqes[0].result(), cqes[0].more()), (Ok(5), true));
    assert_eq!((cqes[1].result(), cqes[1].more()), (Ok(0), false), "the end of the file");
    assert_eq!(buffers.bytes(0, 5), b"three");
    let dir = Dir::new("multishot");
    let file = dir.file("data", b"abc");
    assert_eq!(result(&mut ring, ReadMulti::new(&file, group)), Err(Errno::BADFD), "a file without poll");
}
