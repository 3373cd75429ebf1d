//! Operations on open files on a real ring: what they do to the file, compared with their system calls.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use common::{has_feature, kernel_has_op, needs, newer, skipped};
use files::{Dir, pipe, results};
use io::{bytes, next, nothing, push, register_slots, result, ring};
use rawring::flags::{Features, FsyncFlags};
use rawring::op::*;
use rawring::operand::*;
use rawring::{Errno, Ring, Sqe, Version};
use rustix::fs::{Advice, AtFlags, CWD, FallocateFlags, StatxFlags};
use rustix::param::page_size;

/// How many of the file's extents are only planned: data in memory that has no place on the disk yet.
fn planned_extents(file: &File) -> usize {
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Extent([u64; 5], u32, [u32; 3]);
    #[repr(C)]
    #[derive(Default)]
    struct Map {
        start: u64,
        length: u64,
        flags: u32,
        mapped: u32,
        count: u32,
        reserved: u32,
        extents: [Extent; 32],
    }
    const FS_IOC_FIEMAP: libc::c_ulong = 0xc020_660b;
    const FIEMAP_EXTENT_DELALLOC: u32 = 4;
    let mut map = Map { length: u64::MAX, count: 32, ..Map::default() };
    // SAFETY: the argument is a `struct fiemap` with room for as many extents as it says.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP as _, &raw mut map) };
    assert_eq!(done, 0, "the file system of the build directory has no FIEMAP");
    map.extents[..map.mapped as usize].iter().filter(|extent| extent.1 & FIEMAP_EXTENT_DELALLOC != 0).count()
}

/// Writes to the file and runs `flush`; whether that gave the data a place on the disk.
#[track_caller]
fn flushes(test: &str, file: &File, flush: impl FnOnce(&File)) {
    file.write_all_at(&bytes(8192, 1), 0).expect("written");
    if planned_extents(file) == 0 {
        return skipped(test, "the file system of the build directory does not delay allocation");
    }
    flush(file);
    assert_eq!(planned_extents(file), 0, "the data is still only in memory");
}

#[test]
fn fsync_flushes() {
    let dir = Dir::new("fsync");
    let mut ring = ring();
    flushes("fsync_flushes", &dir.file("whole", b""), |file| {
        assert_eq!(result(&mut ring, Fsync::new(file)), Ok(0));
    });
    flushes("fsync_flushes", &dir.file("data", b""), |file| {
        assert_eq!(result(&mut ring, Fsync::new(file).fsync_flags(FsyncFlags::DATASYNC)), Ok(0));
    });
    flushes("fsync_flushes", &dir.file("range", b""), |file| {
        assert_eq!(result(&mut ring, Fsync::new(file).offset(0).len(8192)), Ok(0));
    });
    let (reader, _writer) = pipe();
    assert_eq!(rustix::fs::fsync(&reader), Err(Errno::INVAL));
    assert_eq!(result(&mut ring, Fsync::new(&reader)), Err(Errno::INVAL));
    let (file, unknown) = (dir.file("unknown", b""), FsyncFlags::from_bits_retain(1 << 9));
    assert_eq!(result(&mut ring, Fsync::new(&file).fsync_flags(unknown)), Err(Errno::INVAL));
}

#[test]
fn sync_file_range_writes_out() {
    let dir = Dir::new("sync-range");
    let mut ring = ring();
    let both = SyncRangeFlags::WRITE | SyncRangeFlags::WAIT_AFTER;
    flushes("sync_file_range_writes_out", &dir.file("data", b""), |file| {
        assert_eq!(result(&mut ring, SyncFileRange::new(file, 0, 8192, both)), Ok(0));
    });
    let file = dir.file("other", b"");
    file.write_all_at(&[1; 4096], 1 << 20).expect("written");
    if planned_extents(&file) > 0 {
        assert_eq!(result(&mut ring, SyncFileRange::new(&file, 0, 4096, both)), Ok(0));
        assert_eq!(planned_extents(&file), 1, "what is outside of the range is left alone");
    }
    let (reader, _writer) = pipe();
    assert_eq!(result(&mut ring, SyncFileRange::new(&reader, 0, 0, both)), Err(Errno::SPIPE));
    let unknown = SyncRangeFlags::from_bits_retain(1 << 9);
    assert_eq!(result(&mut ring, SyncFileRange::new(&file, 0, 0, unknown)), Err(Errno::INVAL));
}

#[test]
fn fallocate_does_what_the_system_call_does() {
    let dir = Dir::new("fallocate");
    let mut ring = ring();
    let (ours, theirs) = (dir.file("ours", &bytes(20_000, 1)), dir.file("theirs", &bytes(20_000, 1)));
    let steps = [
        (FallocateFlags::empty(), 4096, 100_000),
        (FallocateFlags::KEEP_SIZE, 1 << 20, 8192),
        (FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 4096, 8192),
        (FallocateFlags::ZERO_RANGE, 100, 50),
        (FallocateFlags::PUNCH_HOLE, 0, 4096),
        (FallocateFlags::empty(), 0, 0),
        (FallocateFlags::empty(), u64::MAX, 1),
    ];
    for (mode, offset, len) in steps {
        let expected = rustix::fs::fallocate(&theirs, mode, offset, len).map(|()| 0);
        assert_eq!(result(&mut ring, Fallocate::new(&ours, mode, offset, len)), expected, "{mode:?} {offset} {len}");
        let state = |file: &File| file.metadata().map(|m| (m.len(), m.blocks())).expect("a status");
        assert_eq!(state(&ours), state(&theirs), "{mode:?} {offset} {len}");
    }
    let content = std::fs::read(dir.path("ours")).expect("read");
    assert_eq!(content, std::fs::read(dir.path("theirs")).expect("read"));
    assert_eq!((&content[..100], &content[100..150]), (&bytes(20_000, 1)[..100], &[0; 50][..]));
}

#[test]
fn item_16_fallocate_has_lengths_of_64_bits() {
    let dir = Dir::new("fallocate-long");
    let (mut ring, file) = (ring(), dir.file("data", b""));
    let far = (1 << 32) + 8192;
    file.write_all_at(&[1; 4096], far).expect("written");
    file.sync_all().expect("flushed");
    assert_ne!(file.metadata().expect("a status").blocks(), 0);
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // Cut to 32 bits it would end at 12,288.
    assert_eq!(result(&mut ring, Fallocate::new(&file, punch, 0, far + 4096)), Ok(0));
    let status = file.metadata().expect("a status");
    assert_eq!((status.blocks(), status.len()), (0, far + 4096));
}

#[test]
fn ftruncate_does_what_the_system_call_does() {
    let test = "ftruncate_does_what_the_system_call_does";
    if !kernel_has_op(test, Ftruncate::INFO) {
        return;
    }
    let dir = Dir::new("ftruncate");
    let (mut ring, file) = (ring(), dir.file("data", b"0123456789"));
    for (len, content) in [(4, &b"0123"[..]), (6, b"0123\0\0"), (0, b"")] {
        assert_eq!(result(&mut ring, Ftruncate::new(&file, len)), Ok(0));
        assert_eq!(std::fs::read(dir.path("data")).expect("read"), content);
    }
    assert_eq!(result(&mut ring, Ftruncate::new(&file, (1 << 32) + 3)), Ok(0));
    assert_eq!(file.metadata().expect("a status").len(), (1 << 32) + 3);
    let read_only = File::open(dir.path("data")).expect("open");
    for (file, len) in [(&read_only, 0), (&file, i64::MAX as u64)] {
        let expected = rustix::fs::ftruncate(file, len).map(|()| 0);
        assert!(expected.is_err());
        assert_eq!(result(&mut ring, Ftruncate::new(file, len)), expected);
    }
    // Negative to the kernel; libc does not let that through everywhere.
    assert_eq!(result(&mut ring, Ftruncate::new(&file, u64::MAX)), Err(Errno::INVAL));
}

/// Whether the page of the file at `offset` is in the page cache.
fn is_cached(file: &File, offset: u64) -> bool {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    let (null, len) = (std::ptr::null_mut(), page_size());
    // SAFETY: a new mapping that nobody refers to; it is not accessed, only asked about.
    let page = unsafe { mmap(null, len, ProtFlags::READ, MapFlags::SHARED, file, offset) }.expect("a mapping");
    let mut resident = 0;
    // SAFETY: the range is mapped, and there is a byte for its page.
    let done = unsafe { libc::mincore(page, len, &raw mut resident) };
    assert_eq!(done, 0);
    // SAFETY: nothing refers to the mapping.
    unsafe { munmap(page, len) }.expect("unmapped");
    resident & 1 != 0
}

#[test]
fn item_16_advice_has_lengths_of_64_bits() {
    let dir = Dir::new("fadvise");
    let mut ring = ring();
    let page = page_size();
    // The lower half of the second length alone would not reach the page.
    for (offset, len) in [(0u64, 2 * page as u64), (1 << 32, (1 << 32) + page as u64)] {
        let file = dir.file("data", b"");
        file.write_all_at(&vec![1; page], offset).expect("written");
        file.sync_all().expect("flushed");
        assert!(is_cached(&file, offset));
        let advise = |ring: &mut _, advice| result(ring, Fadvise::new(&file, 0, len, advice));
        if len > u64::from(u32::MAX) && !newer("item_16_advice_has_lengths_of_64_bits", Version::new(6, 11)) {
            assert_eq!(advise(&mut ring, Advice::DontNeed), Err(Errno::INVAL));
            continue;
        }
        assert_eq!(advise(&mut ring, Advice::WillNeed), Ok(0));
        assert!(is_cached(&file, offset), "advice is told apart");
        assert_eq!(advise(&mut ring, Advice::DontNeed), Ok(0));
        assert!(!is_cached(&file, offset), "{len} bytes from 0 are not needed, {offset} among them");
    }
    let (reader, _writer) = pipe();
    let expected = rustix::fs::fadvise(&reader, 0, None, Advice::Normal).map(|()| 0);
    assert_eq!(result(&mut ring, Fadvise::new(&reader, 0, 0u64, Advice::Normal)), expected);
    assert_eq!(expected, Err(Errno::SPIPE));
}

#[test]
fn close_closes_and_cancels_nothing() {
    let mut ring = ring();
    let (mut reader, writer) = pipe();
    assert_eq!(result(&mut ring, Close::new(writer)), Ok(0));
    assert_eq!(reader.read(&mut [0]).expect("read"), 0, "no writer is left");

    let (reader, mut writer) = pipe();
    let duplicate = rustix::io::fcntl_dupfd_cloexec(&reader, 1000).expect("a duplicate");
    let mut room = [0; 2];
    // SAFETY: the bytes live until the completion, which is reaped below. The descriptor is only used for the
    // look-up, which has happened when the read waits.
    unsafe { push(&mut ring, Read::new(&duplicate, &mut room).user_data(1)) };
    nothing(&mut ring);
    assert_eq!(result(&mut ring, Close::new(duplicate).user_data(2)), Ok(0));
    nothing(&mut ring);
    writer.write_all(b"go").expect("written");
    assert_eq!(next(&mut ring).result(), Ok(2));
    assert_eq!(&room, b"go");

    let ring_fd = ring.fd().expect("a descriptor").try_clone_to_owned().expect("a duplicate");
    let number = ring_fd.as_raw_fd();
    assert_eq!(result(&mut ring, Close::new(ring_fd)), Err(Errno::BADF));
    // SAFETY: the operation did not close it, and the entry that owned it is gone.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

#[test]
fn item_14_closing_a_slot_empties_that_slot() {
    let dir = Dir::new("close-direct");
    let (mut ring, file) = (ring(), dir.file("data", b"abc"));
    assert_eq!(result(&mut ring, CloseDirect::new(Fixed(0))), Err(Errno::NXIO), "no table");
    register_slots(&ring, 3);
    let slots = [FileSlot::from(file.as_fd()); 3];
    assert_eq!(result(&mut ring, FilesUpdate::new(&slots, Fixed(0))), Ok(3));
    assert_eq!(result(&mut ring, CloseDirect::new(Fixed(1))), Ok(0));
    let mut room = [0; 3];
    let filled = [0, 1, 2].map(|slot| result(&mut ring, Read::new(Fixed(slot), &mut room).offset(0)));
    assert_eq!(filled, [Ok(3), Err(Errno::BADF), Ok(3)]);
    assert_eq!(result(&mut ring, CloseDirect::new(Fixed(1))), Err(Errno::BADF), "empty already");
    for beyond in [3, u32::MAX - 2, u32::MAX] {
        assert_eq!(result(&mut ring, CloseDirect::new(Fixed(beyond))), Err(Errno::INVAL), "{beyond}");
    }
    assert_eq!(result(&mut ring, CloseDirect::new(DirectSlot::ALLOC)), Err(Errno::INVAL));
    assert_eq!(result(&mut ring, Read::new(&file, &mut room).offset(0)), Ok(3), "the descriptor is another matter");
}

fn status(ring: &mut Ring, path: &std::ffi::CStr, flags: AtFlags) -> Result<rustix::fs::Statx, Errno> {
    let mut stat = MaybeUninit::uninit();
    let mask = StatxFlags::ALL;
    result(ring, Statx::new(CWD, path, flags, mask, &mut stat))?;
    // SAFETY: the operation has succeeded, so the kernel has filled in all of it.
    Ok(unsafe { stat.assume_init() })
}

#[test]
fn statx_says_what_the_system_call_says() {
    let dir = Dir::new("statx");
    let (mut ring, file) = (ring(), dir.file("data", &bytes(5000, 1)));
    std::os::unix::fs::symlink("data", dir.path("link")).expect("a link");
    for (name, flags) in [("data", AtFlags::empty()), ("", AtFlags::empty()), ("link", AtFlags::SYMLINK_NOFOLLOW)] {
        let path = dir.name(name);
        let ours = status(&mut ring, &path, flags).expect("a status");
        let theirs = rustix::fs::statx(CWD, &path, flags, StatxFlags::ALL).expect("a status");
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{name}");
    }
    assert_eq!(status(&mut ring, &dir.name("data"), AtFlags::empty()).expect("a status").stx_size, 5000);
    for name in ["missing", "data/below"] {
        let path = dir.name(name);
        let expected = rustix::fs::statx(CWD, &path, AtFlags::empty(), StatxFlags::ALL).map(drop);
        assert!(expected.is_err());
        assert_eq!(status(&mut ring, &path, AtFlags::empty()).map(drop), expected);
    }
    let mut stat = MaybeUninit::uninit();
    let itself = Statx::new(file.as_fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::SIZE, &mut stat);
    assert_eq!(result(&mut ring, itself), Ok(0));
    // SAFETY: the operation has succeeded, so the kernel has filled in all of it.
    assert_eq!(unsafe { stat.assume_init() }.stx_size, 5000);
    let registered = Statx::new(file.as_fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::SIZE, &mut stat);
    let registered = registered.flags(rawring::flags::SqeFlags::FIXED_FILE);
    assert_eq!(result(&mut ring, registered), Err(Errno::BADF), "a directory is never a registered file");
}

#[test]
fn item_23_a_chain_can_use_what_it_opened() {
    needs!(has_feature(Features::LINKED_FILE));
    let dir = Dir::new("chain");
    let mut ring = ring();
    register_slots(&ring, 2);
    let (path, mut room) = (dir.name("new"), [0; 5]);
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::CREATE | OFlags::RDWR;
    let entries: [Sqe<'_>; 4] = [
        OpenAtDirect::new(CWD, &path, flags, Mode::RUSR, Fixed(1)).link().into(),
        Write::new(Fixed(1), "hello").offset(0).link().into(),
        Read::new(Fixed(1), &mut room).offset(0).link().into(),
        CloseDirect::new(Fixed(1)).into(),
    ];
    assert_eq!(results(&mut ring, entries), [Ok(0), Ok(5), Ok(5), Ok(0)]);
    assert_eq!((&room, std::fs::read(dir.path("new")).expect("read").as_slice()), (b"hello", &b"hello"[..]));
}
