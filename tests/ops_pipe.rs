//! Pipes on a real ring: making them, moving and copying what is in them, compared with the system calls.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom, Write as _};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use common::{kernel_has_op, newer};
use files::{Dir, pipe, results, synchronous};
use io::{register_slots, result, ring};
use rawring::op::*;
use rawring::operand::*;
use rawring::{Errno, Ring, Version};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::pipe::{PipeFlags, SpliceFlags};

#[test]
fn splice_moves_bytes_between_files_and_pipes() {
    let dir = Dir::new("splice");
    let (mut ring, mut from, to) = (ring(), dir.file("from", b"0123456789"), dir.file("to", b"........"));
    let (mut reader, mut writer) = pipe();
    assert_eq!(result(&mut ring, Splice::new(&from, &writer, 4).offset_from(3)), Ok(4));
    assert_eq!(from.stream_position().expect("position"), 0, "an offset leaves the position alone");
    assert_eq!(result(&mut ring, Splice::new(&from, &writer, 2)), Ok(2));
    assert_eq!(from.stream_position().expect("position"), 2);
    assert_eq!(result(&mut ring, Splice::new(&reader, &to, 100).offset_to(1)), Ok(6));
    assert_eq!(std::fs::read(dir.path("to")).expect("read"), b".345601.");
    from.seek(SeekFrom::End(0)).expect("seek");
    assert_eq!(result(&mut ring, Splice::new(&from, &writer, 4)), Ok(0), "the end of the file");
    let (pipe, target) = (pipe(), dir.file("fixed", b""));
    io::register_slots(&ring, 2);
    let slots = [FileSlot::from(pipe.0.as_fd()), FileSlot::from(target.as_fd())];
    assert_eq!(result(&mut ring, FilesUpdate::new(&slots, Fixed(0))), Ok(2));
    (&pipe.1).write_all(b"fixed").expect("written");
    let both_registered = Splice::new(Fixed(0), Fixed(1), 5).splice_flags(SpliceFlags::MOVE);
    assert_eq!(result(&mut ring, both_registered), Ok(5));
    assert_eq!(std::fs::read(dir.path("fixed")).expect("read"), b"fixed");
    writer.write_all(b"x").expect("written");
    reader.read_exact(&mut [0]).expect("read");
}

#[test]
fn splice_fails_as_the_system_call_does() {
    let dir = Dir::new("splice-errors");
    let (mut ring, file, other) = (ring(), dir.file("one", b"abc"), dir.file("two", b"abc"));
    let append = File::options().append(true).open(dir.path("two")).expect("open");
    let (reader, writer) = pipe();
    (&writer).write_all(b"abc").expect("written");
    use rustix::pipe::splice;
    let none = SpliceFlags::empty();
    let cases = [
        (splice(&file, None, &other, None, 3, none), Splice::new(&file, &other, 3), Errno::INVAL),
        (splice(&reader, None, &writer, None, 3, none), Splice::new(&reader, &writer, 3), Errno::INVAL),
        (splice(&reader, None, &append, None, 3, none), Splice::new(&reader, &append, 3), Errno::INVAL),
        (splice(&writer, None, &file, None, 3, none), Splice::new(&writer, &file, 3), Errno::BADF),
        (
            splice(&reader, Some(&mut 1), &file, None, 3, none),
            Splice::new(&reader, &file, 3).offset_from(1),
            Errno::SPIPE,
        ),
    ];
    for (theirs, ours, errno) in cases {
        let text = format!("{ours:?}");
        assert_eq!((synchronous(theirs), result(&mut ring, ours)), (Err(errno), Err(errno)), "{text}");
    }
}

#[test]
fn tee_copies_and_leaves() {
    let mut ring = ring();
    let (mut from, mut source) = pipe();
    let (mut copy, sink) = pipe();
    source.write_all(b"0123456789").expect("written");
    assert_eq!(result(&mut ring, Tee::new(&from, &sink, 4)), Ok(4));
    let mut four = [0; 4];
    copy.read_exact(&mut four).expect("read");
    assert_eq!(&four, b"0123");
    let mut ten = [0; 10];
    from.read_exact(&mut ten).expect("read");
    assert_eq!(&ten, b"0123456789");
    let now = Tee::new(&from, &sink, 4).splice_flags(SpliceFlags::NONBLOCK);
    assert_eq!(result(&mut ring, now), Err(Errno::AGAIN));
    drop(source);
    assert_eq!(result(&mut ring, Tee::new(&from, &sink, 4)), Ok(0), "no bytes and no writer");
    assert_eq!(result(&mut ring, Tee::new(&from, &from, 4)), Err(Errno::BADF), "cannot be written");
    let null = File::open("/dev/null").expect("open");
    assert_eq!(result(&mut ring, Tee::new(&null, &sink, 4)), Err(Errno::INVAL));
    assert_eq!(rustix::pipe::tee(&null, &sink, 4, SpliceFlags::empty()), Err(Errno::INVAL));
}

#[test]
fn pipe_makes_two_descriptors() {
    let test = "pipe_makes_two_descriptors";
    if !kernel_has_op(test, Pipe::INFO) {
        return;
    }
    let mut ring = ring();
    let mut made = |flags: PipeFlags| {
        let mut fds = [-1; 2];
        assert_eq!(result(&mut ring, Pipe::new(&mut fds).pipe_flags(flags)), Ok(0));
        // SAFETY: the kernel made these descriptors for us, and nobody else has seen them.
        fds.map(|fd| File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    };
    let [mut reader, mut writer] = made(PipeFlags::empty());
    writer.write_all(b"through").expect("written");
    let mut room = [0; 7];
    reader.read_exact(&mut room).expect("read");
    assert_eq!(&room, b"through");
    assert_eq!(fcntl_getfd(&reader), Ok(FdFlags::empty()));
    let [mut reader, writer] = made(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
    assert_eq!((fcntl_getfd(&reader), fcntl_getfd(&writer)), (Ok(FdFlags::CLOEXEC), Ok(FdFlags::CLOEXEC)));
    assert_eq!(reader.read(&mut room).expect_err("empty").kind(), std::io::ErrorKind::WouldBlock);
    let mut fds = [-1; 2];
    let unknown = Pipe::new(&mut fds).pipe_flags(PipeFlags::from_bits_retain(1));
    assert_eq!(result(&mut ring, unknown), Err(Errno::INVAL));
    assert_eq!(fds, [-1; 2]);
}

#[test]
fn item_14_a_pipe_can_be_made_in_slots() {
    let test = "item_14_a_pipe_can_be_made_in_slots";
    if !kernel_has_op(test, PipeDirect::INFO) {
        return;
    }
    let mut ring = ring();
    register_slots(&ring, 5);
    let mut slots = [-1; 2];
    let moves = |ring: &mut Ring, [from, to]: [i32; 2]| {
        let mut room = [0; 2];
        let write = Write::new(Fixed(to as u32), "hi").link().into();
        let done = results(ring, [write, Read::new(Fixed(from as u32), &mut room).into()]);
        assert_eq!((done, &room), ([Ok(2), Ok(2)], b"hi"), "from {from} to {to}");
    };
    assert_eq!(result(&mut ring, PipeDirect::new(&mut slots, Fixed(2))), Ok(0));
    if slots == [0, 0] && !newer(test, Version::new(6, 19)) {
        return moves(&mut ring, [2, 3]);
    }
    assert_eq!(slots, [2, 3], "the slot and the one after it");
    moves(&mut ring, slots);
    assert_eq!(result(&mut ring, PipeDirect::new(&mut slots, DirectSlot::ALLOC)), Ok(0));
    assert!(slots[0] != slots[1] && slots.iter().all(|slot| [0, 1, 4].contains(slot)), "free ones: {slots:?}");
    moves(&mut ring, slots);
    let free = 5 - slots[0] - slots[1];
    let mut no_slots = [-1; 2];
    assert_eq!(result(&mut ring, PipeDirect::new(&mut no_slots, DirectSlot::ALLOC)), Err(Errno::NFILE), "one is free");
    assert_eq!(result(&mut ring, CloseDirect::new(Fixed(free as u32))), Err(Errno::BADF), "and stays so");
    assert_eq!(result(&mut ring, PipeDirect::new(&mut no_slots, Fixed(4))), Err(Errno::INVAL), "none after it");
    let cloexec = PipeDirect::new(&mut no_slots, Fixed(2)).pipe_flags(PipeFlags::CLOEXEC);
    assert_eq!(result(&mut ring, cloexec), Err(Errno::INVAL));
}
