//! Transfers on a real ring, compared with `pread(2)`, `pwrite(2)` and their kin on the same files.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::ffi::c_void;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read as _, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

use common::{kernel_has_op, probe, skipped};
use files::{Dir, pipe, results, synchronous};
use io::{bytes, result, ring};
use rawring::flags::Features;
use rawring::op::*;
use rawring::operand::*;
use rawring::{Errno, Ring, Sqe, Version};
use rawring_sys as sys;
use rustix::io::ReadWriteFlags;

#[test]
fn reads_are_what_pread_reads() {
    let dir = Dir::new("reads");
    let (mut ring, file) = (ring(), dir.file("data", &bytes(10_000, 1)));
    for (offset, len) in [(0, 10), (1, 4096), (4095, 2), (9_990, 100), (10_000, 5), (70_000, 5), (3, 0)] {
        let (mut ours, mut theirs) = (vec![0; len], vec![0; len]);
        let got = result(&mut ring, Read::new(&file, &mut ours).offset(offset));
        assert_eq!(got, synchronous(rustix::io::pread(&file, &mut theirs, offset)), "{len} from {offset}");
        assert_eq!(ours, theirs, "{len} from {offset}");
    }
}

#[test]
fn without_an_offset_transfers_use_and_move_the_position() {
    let dir = Dir::new("position");
    let (mut ring, mut file) = (ring(), dir.file("data", b"0123456789"));
    file.seek(SeekFrom::Start(2)).expect("seek");
    let mut three = [0; 3];
    assert_eq!(result(&mut ring, Read::new(&file, &mut three)), Ok(3));
    assert_eq!(&three, b"234");
    assert_eq!(file.stream_position().expect("position"), 5);
    assert_eq!(result(&mut ring, Write::new(&file, "ab")), Ok(2));
    assert_eq!(result(&mut ring, Read::new(&file, &mut three).offset(0)), Ok(3));
    assert_eq!(file.stream_position().expect("position"), 7, "an offset leaves the position alone");
    let mut rest = String::new();
    file.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "789");
    assert_eq!(std::fs::read(dir.path("data")).expect("read"), b"01234ab789");
}

#[test]
fn failures_are_those_of_the_system_calls() {
    let dir = Dir::new("failures");
    let mut ring = ring();
    dir.file("data", b"abc");
    let write_only = File::options().write(true).open(dir.path("data")).expect("open");
    let read_only = File::open(dir.path("data")).expect("open");
    let folder = File::open(dir.path("")).expect("open");
    let full = File::options().write(true).open("/dev/full").expect("open");
    let mut room = [0; 8];
    let mut read = |file: &File, offset: u64, expected| {
        assert_eq!(rustix::io::pread(file, &mut room, offset).map(|n| n as u32), Err(expected), "the system call");
        assert_eq!(result(&mut ring, Read::new(file, &mut room).offset(offset)), Err(expected));
    };
    read(&write_only, 0, Errno::BADF);
    read(&folder, 0, Errno::ISDIR);
    read(&read_only, i64::MAX as u64 + 6, Errno::INVAL);
    let mut write = |file: &File, offset: u64, expected| {
        assert_eq!(rustix::io::pwrite(file, b"x", offset).map(|n| n as u32), Err(expected), "the system call");
        assert_eq!(result(&mut ring, Write::new(file, "x").offset(offset)), Err(expected));
    };
    write(&read_only, 0, Errno::BADF);
    write(&full, 0, Errno::NOSPC);
    write(&write_only, i64::MAX as u64 + 6, Errno::INVAL);
}

#[test]
fn writes_are_what_pwrite_writes() {
    let dir = Dir::new("writes");
    let mut ring = ring();
    let (ours, theirs) = (dir.file("ours", b"........"), dir.file("theirs", b"........"));
    for (offset, text) in [(0, "one"), (6, "twotwo"), (20, "three"), (4, "")] {
        let expected = synchronous(rustix::io::pwrite(&theirs, text.as_bytes(), offset));
        assert_eq!(result(&mut ring, Write::new(&ours, text).offset(offset)), expected);
    }
    let written = std::fs::read(dir.path("ours")).expect("read");
    assert_eq!(written, std::fs::read(dir.path("theirs")).expect("read"));
    assert_eq!(&written[20..], b"three");
}

/// Whether pipes know `RWF_NOWAIT`, by which the ring transfers without a worker. Those of Linux 6.1 do not.
fn pipes_can_refuse_to_wait() -> bool {
    let (reader, _writer) = pipe();
    match rustix::io::preadv2(&reader, &mut [IoSliceMut::new(&mut [0])], u64::MAX, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP) if probe().level() < Version::new(6, 12) => false,
        refused => {
            assert_eq!(refused, Err(Errno::AGAIN));
            true
        }
    }
}

#[test]
fn rw_flags_are_heeded() {
    let dir = Dir::new("rw-flags");
    let (mut ring, file) = (ring(), dir.file("data", b"start"));
    let append = Write::new(&file, "end").offset(0).rw_flags(ReadWriteFlags::APPEND);
    assert_eq!(result(&mut ring, append), Ok(3));
    assert_eq!(std::fs::read(dir.path("data")).expect("read"), b"startend");
    let (reader, _writer) = pipe();
    let mut room = [0; 4];
    let now = Read::new(&reader, &mut room).rw_flags(ReadWriteFlags::NOWAIT);
    let expected = if pipes_can_refuse_to_wait() { Errno::AGAIN } else { Errno::OPNOTSUPP };
    assert_eq!(result(&mut ring, now), Err(expected));
    // A flag that nobody has.
    let unknown = ReadWriteFlags::from_bits_retain(1 << 30);
    let expected = rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut room)], 0, unknown);
    assert_eq!(result(&mut ring, Read::new(&file, &mut room).offset(0).rw_flags(unknown)), synchronous(expected));
    assert_eq!(synchronous(expected), Err(Errno::OPNOTSUPP));
}

#[test]
fn the_priority_is_read() {
    let dir = Dir::new("priority");
    let (mut ring, file) = (ring(), dir.file("data", b"abc"));
    // Class 2 is best effort; there is no class 7.
    let (best_effort, none) = (2 << 13 | 4, 7 << 13);
    let mut room = [0; 3];
    assert_eq!(result(&mut ring, Read::new(&file, &mut room).offset(0).ioprio(best_effort)), Ok(3));
    assert_eq!(result(&mut ring, Read::new(&file, &mut room).offset(0).ioprio(none)), Err(Errno::INVAL));
    assert_eq!(result(&mut ring, Write::new(&file, "x").offset(0).ioprio(none)), Err(Errno::INVAL));
}

/// A block device of which a file is the disk.
struct Loop(File);

impl Loop {
    fn new(backing: &File) -> Option<Loop> {
        const LOOP_SET_FD: libc::c_ulong = 0x4c00;
        const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
        let control = File::options().read(true).write(true).open("/dev/loop-control").ok()?;
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        let mut options = File::options();
        let device = options.read(true).write(true).custom_flags(libc::O_DIRECT).open(format!("/dev/loop{number}"));
        let device = device.ok()?;
        // SAFETY: the argument is a descriptor, which the kernel takes a reference to.
        let set = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD as _, backing.as_raw_fd()) };
        (set == 0).then_some(Loop(device))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
        // SAFETY: the request takes no argument.
        let cleared = unsafe { libc::ioctl(self.0.as_raw_fd(), LOOP_CLR_FD as _) };
        assert!(cleared == 0 || std::thread::panicking());
    }
}

#[test]
fn the_write_stream_is_read() {
    let test = "the_write_stream_is_read";
    if probe().level() < Version::new(6, 16) {
        return skipped(test, "needs Linux 6.16");
    }
    let dir = Dir::new("write-stream");
    let (mut ring, file) = (ring(), dir.file("disk", &[0; 1 << 16]));
    let Some(disk) = Loop::new(&file) else {
        return skipped(test, "no loop device can be made here");
    };
    let Loop(device) = &disk;
    #[repr(align(4096))]
    struct Block([u8; 4096]);
    let block = Block([7; 4096]);
    assert_eq!(result(&mut ring, Write::new(device, &block.0).offset(4096).write_stream(0)), Ok(4096));
    assert_eq!(std::fs::read(dir.path("disk")).expect("read")[4096..8192], block.0);
    // Loop devices have no streams.
    assert_eq!(result(&mut ring, Write::new(device, &block.0).offset(0).write_stream(1)), Err(Errno::INVAL));
    let parts = [IoSlice::new(&block.0)];
    assert_eq!(result(&mut ring, Writev::new(device, &parts).offset(0).write_stream(1)), Err(Errno::INVAL));
    skipped(test, "that data goes to the stream named needs a device that has streams");
}

#[test]
fn arrays_of_buffers_are_filled_and_written_in_order() {
    let dir = Dir::new("vectors");
    let (mut ring, file) = (ring(), dir.file("data", b""));
    let parts = [IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"defgh")];
    assert_eq!(result(&mut ring, Writev::new(&file, &parts).offset(1)), Ok(8));
    assert_eq!(std::fs::read(dir.path("data")).expect("read"), b"\0abcdefgh");
    let (mut one, mut two) = ([0; 2], [0; 20]);
    let mut vec = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(result(&mut ring, Readv::new(&file, &mut vec).offset(2)), Ok(7));
    assert_eq!((&one, &two[..6]), (b"bc", &b"defgh\0"[..]));
}

#[test]
fn item_16_a_thousand_and_twenty_four_buffers_and_no_more() {
    let dir = Dir::new("many-vectors");
    let (mut ring, file) = (ring(), dir.file("data", &bytes(2000, 2)));
    let mut room = vec![0u8; 1025];
    let mut vec: Vec<_> = room.chunks_mut(1).map(IoSliceMut::new).collect();
    assert_eq!(result(&mut ring, Readv::new(&file, &mut vec[..]).offset(0)), Err(Errno::INVAL));
    assert_eq!(result(&mut ring, Readv::new(&file, &mut vec[..1024]).offset(0)), Ok(1024));
    assert_eq!(room[..1024], bytes(2000, 2)[..1024]);
    let parts: Vec<_> = room.chunks(1).map(IoSlice::new).collect();
    assert_eq!(result(&mut ring, Writev::new(&file, &parts[..]).offset(0)), Err(Errno::INVAL));
}

#[test]
fn item_16_a_buffer_of_more_than_four_gib_is_not_cut_to_its_lower_bits() {
    let test = "item_16_a_buffer_of_more_than_four_gib_is_not_cut_to_its_lower_bits";
    let Some(len) = (1usize << 16).checked_shl(16).filter(|len| *len != 0).map(|len| len + 5) else {
        return skipped(test, "needs addresses of 64 bits");
    };
    let dir = Dir::new("long");
    let (mut ring, file) = (ring(), dir.file("data", &bytes(100, 3)));
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    // SAFETY: a new mapping that nobody refers to; without reserve it costs only the pages that are touched.
    let base = unsafe {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        mmap_anonymous(std::ptr::null_mut(), len, protection, MapFlags::PRIVATE | MapFlags::NORESERVE)
    };
    let base = base.expect("a mapping");
    // SAFETY: all of the mapping may be written, nothing else does, and it outlives the read, which is waited for.
    let buf = unsafe { BufMut::from_raw(base.cast(), len) };
    assert_eq!(result(&mut ring, Read::new(&file, buf).offset(0)), Ok(100), "the lower 32 bits would be 5");
    // SAFETY: the mapping has at least 100 bytes, zeros or what was read.
    assert_eq!(unsafe { std::slice::from_raw_parts(base.cast::<u8>(), 100) }, bytes(100, 3));
    // SAFETY: nothing refers to the mapping any more.
    unsafe { munmap(base, len) }.expect("unmapped");
}

/// Registers two buffers, the second with `len` bytes.
fn two_buffers(ring: &Ring, len: usize) -> &'static mut [u8] {
    let memory = vec![0; len].leak();
    let mut vecs = [
        libc::iovec { iov_base: vec![0u8; 64].leak().as_mut_ptr().cast(), iov_len: 64 },
        libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: len },
    ];
    let arg: *mut c_void = vecs.as_mut_ptr().cast();
    // SAFETY: an array of two buffers that are never freed.
    unsafe { ring.register_raw(sys::IORING_REGISTER_BUFFERS, arg, 2) }.expect("registered");
    memory
}

#[test]
fn registered_buffers_are_read_into_and_written() {
    let dir = Dir::new("fixed");
    let (mut ring, file) = (ring(), dir.file("data", b"0123456789"));
    let mut elsewhere = [0; 4];
    let unregistered = ReadFixed::new(&file, FixedBufMut::new(&mut elsewhere, 1)).offset(0);
    assert_eq!(result(&mut ring, unregistered), Err(Errno::FAULT), "there is no table");
    let memory = two_buffers(&ring, 8192);
    let part = FixedBufMut::new(&mut memory[5000..5004], 1);
    assert_eq!(result(&mut ring, ReadFixed::new(&file, part).offset(3)), Ok(4));
    assert_eq!(&memory[4999..5005], b"\x003456\0");
    let part = FixedBuf::new(&memory[5001..5003], 1);
    assert_eq!(result(&mut ring, WriteFixed::new(&file, part).offset(20)), Ok(2));
    assert_eq!(std::fs::read(dir.path("data")).expect("read")[20..], *b"45");
    let outside = ReadFixed::new(&file, FixedBufMut::new(&mut elsewhere, 1)).offset(0);
    assert_eq!(result(&mut ring, outside), Err(Errno::FAULT));
    let wrong = WriteFixed::new(&file, FixedBuf::new(&memory[..4], 0)).offset(0);
    assert_eq!(result(&mut ring, wrong), Err(Errno::FAULT), "buffer 0 is elsewhere");
    assert_eq!(elsewhere, [0; 4]);
}

#[test]
fn item_16_arrays_inside_registered_buffers_have_to_lie_in_one() {
    let test = "item_16_arrays_inside_registered_buffers_have_to_lie_in_one";
    if !kernel_has_op(test, ReadvFixed::INFO) || !kernel_has_op(test, WritevFixed::INFO) {
        return;
    }
    let dir = Dir::new("fixed-vectors");
    let (mut ring, file) = (ring(), dir.file("data", b"0123456789"));
    let memory = two_buffers(&ring, 8192);
    let (low, high) = memory.split_at_mut(4096);
    let mut vec = [IoSliceMut::new(&mut low[..3]), IoSliceMut::new(&mut high[100..104])];
    let bufs = FixedIoVec::new(IoVecMut::from(&mut vec), 1);
    assert_eq!(result(&mut ring, ReadvFixed::new(&file, bufs).offset(1)), Ok(7));
    assert_eq!((&low[..4], &high[100..105]), (&b"123\0"[..], &b"4567\0"[..]));
    let parts = [IoSlice::new(&high[102..104]), IoSlice::new(&low[..2])];
    let bufs = FixedIoVec::new(IoVec::from(&parts), 1);
    assert_eq!(result(&mut ring, WritevFixed::new(&file, bufs).offset(30)), Ok(4));
    assert_eq!(std::fs::read(dir.path("data")).expect("read")[30..], *b"6712");
    let mut elsewhere = [0; 4];
    let mut vec = [IoSliceMut::new(&mut low[..3]), IoSliceMut::new(&mut elsewhere)];
    let bufs = FixedIoVec::new(IoVecMut::from(&mut vec), 1);
    assert_eq!(result(&mut ring, ReadvFixed::new(&file, bufs).offset(0)), Err(Errno::FAULT));
}

#[test]
fn item_16_sockets_take_no_offset_and_pipes_ignore_it() {
    let mut ring = ring();
    let (reader, writer) = pipe();
    let (left, right) = std::os::unix::net::UnixStream::pair().expect("sockets");
    for offset in [0, 5, u64::MAX] {
        for (from, to, is_socket) in [(reader.as_fd(), writer.as_fd(), false), (left.as_fd(), right.as_fd(), true)] {
            let expected = if is_socket && offset == 5 { Err(Errno::SPIPE) } else { Ok(3) };
            assert_eq!(result(&mut ring, Write::new(to, "abc").offset(offset)), expected);
            if expected.is_ok() {
                let mut room = [0; 3];
                assert_eq!(result(&mut ring, Read::new(from, &mut room).offset(offset)), expected);
                assert_eq!(&room, b"abc");
            }
        }
    }
}

#[test]
fn writing_where_nobody_reads_signals_as_write_does() {
    common::in_own_process("writing_where_nobody_reads_signals_as_write_does", || {
        use std::sync::atomic::{AtomicU32, Ordering};
        static SIGNALS: AtomicU32 = AtomicU32::new(0);
        extern "C" fn count(_: i32) {
            SIGNALS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the handler only adds to an atomic number, and this process is the test's own.
        unsafe { libc::signal(libc::SIGPIPE, count as *const () as libc::sighandler_t) };
        let (reader, writer) = pipe();
        drop(reader);
        let mut ring = ring();
        assert_eq!(rustix::io::write(&writer, b"x"), Err(Errno::PIPE));
        assert_eq!(SIGNALS.load(Ordering::Relaxed), 1);
        assert_eq!(result(&mut ring, Write::new(&writer, "x")), Err(Errno::PIPE));
        let signals = if pipes_can_refuse_to_wait() { 2 } else { 1 };
        assert_eq!(SIGNALS.load(Ordering::Relaxed), signals, "at once, unless from a worker");
        assert_eq!(result(&mut ring, Write::new(&writer, "x").force_async()), Err(Errno::PIPE));
        assert_eq!(SIGNALS.load(Ordering::Relaxed), signals, "not from a worker");
    });
}

#[test]
fn item_23_a_short_read_breaks_a_chain_and_a_hard_link_does_not_care() {
    let dir = Dir::new("short");
    let (mut ring, file) = (ring(), dir.file("data", b"abc"));
    let mut room = [0; 8];
    let short = Read::new(&file, &mut room).offset(0).link().into();
    assert_eq!(results(&mut ring, [short, Nop::new().into()]), [Ok(3), Err(Errno::CANCELED)]);
    let short = Read::new(&file, &mut room).offset(0).hard_link().into();
    assert_eq!(results(&mut ring, [short, Nop::new().into()]), [Ok(3), Ok(0)]);
}

#[test]
fn protection_information_is_refused_by_files_without() {
    let test = "protection_information_is_refused_by_files_without";
    if !probe().has(Features::RW_ATTR) {
        return skipped(test, "needs IORING_FEAT_RW_ATTR (Linux 6.14)");
    }
    let dir = Dir::new("protection");
    let (mut ring, file) = (ring(), dir.file("data", b"abc"));
    let (mut info, mut room, mut tuples) = (ProtectionInfo::default(), [0; 3], [0; 8]);
    let read = Read::new(&file, &mut room).offset(0).attributes(info.read(&mut tuples));
    assert_eq!(result(&mut ring, read), Err(Errno::INVAL));
    let write = Write::new(&file, "abc").offset(0).attributes(info.write(&tuples));
    assert_eq!(result(&mut ring, write), Err(Errno::INVAL));
    let vec = &mut [IoSliceMut::new(&mut room)];
    let read = Readv::new(&file, vec).offset(0).attributes(info.read(&mut tuples));
    assert_eq!(result(&mut ring, read), Err(Errno::INVAL));
    // The kernel looks at what the entry names: an unknown kind of attribute is refused even before the file is known.
    let mut sqe = Sqe::from(Nop::new()).into_raw();
    sqe.opcode = sys::IORING_OP_READ;
    sqe.fd = -1;
    sqe.attr_type_mask = 2;
    // SAFETY: the entry names no memory and no descriptor.
    assert_eq!(result(&mut ring, unsafe { Sqe::from_raw(sqe) }), Err(Errno::INVAL));
    skipped(test, "transfers with protection information need a block device that has room for it");
}
