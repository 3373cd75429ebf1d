//! For how long the kernel needs what an entry names: what is copied at submission may change afterwards, and what is
//! looked up when the operation starts may not. An entry that waits behind another one shows the difference.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::ffi::CStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use common::{has, has_feature, in_own_process, needs, newer, skipped};
use files::{Dir, pipe};
use io::{of, push, reap, register_slots, result, ring};
use rawring::flags::Features;
use rawring::op::*;
use rawring::operand::*;
use rawring::{Errno, Ring, Sqe, Version};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};

/// Has `entries` wait behind a read that does not complete, submits, runs `change`, and then lets them go. Results in
/// the order of the entries.
///
/// # Safety
///
/// What the entries name is valid for what the operations do to it, until all have completed, except for what is read
/// at submission only.
unsafe fn change_after_submission<'a, const N: usize>(
    ring: &mut Ring,
    entries: [Sqe<'a>; N],
    change: impl FnOnce(),
) -> [Result<u32, Errno>; N] {
    let (reader, mut writer) = pipe();
    let mut go = [0; 1];
    // SAFETY: the byte and the pipe live until all completions were reaped (`reap` aborts if they do not come, and
    // neither `change` nor anything else unwinds before); for the rest the caller's promise.
    unsafe {
        push(ring, Read::new(&reader, &mut go).hard_link().user_data(99));
        for (i, entry) in entries.into_iter().enumerate() {
            push(ring, entry.hard_link().user_data(i as u64));
        }
        push(ring, Nop::new().user_data(98));
    }
    ring.submit().expect("submitted");
    change();
    writer.write_all(b"!").expect("written");
    let cqes = reap(ring, N + 2);
    std::array::from_fn(|i| of(&cqes, i as u64).result())
}

/// A C string that can be overwritten while an entry refers to it.
fn overwritable(text: &CStr) -> (&'static CStr, impl FnOnce() + use<>) {
    let bytes = text.to_bytes_with_nul().to_vec().leak();
    let (start, len) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: the bytes are leaked, and end with their only zero. The reference is turned into an address at once, and
    // not used any more when they are overwritten.
    let text = unsafe { CStr::from_ptr(start.cast_const().cast()) };
    // SAFETY: as above; `len` bytes from `start` are leaked ones.
    (text, move || unsafe { start.write_bytes(b'?', len) })
}

#[test]
fn item_15_an_array_of_buffers_is_needed_until_submitted() {
    let dir = Dir::new("array");
    let (mut ring, file) = (ring(), dir.file("data", b"0123456789"));
    let (reader, mut writer) = pipe();
    let (mut go, mut room) = ([0; 1], [0; 4]);
    let mut vec = vec![libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 4 }];
    // SAFETY: the bytes are untouched until both completions were reaped, below; the array is read at submission only,
    // which is what this test is about.
    unsafe {
        push(&mut ring, Read::new(&reader, &mut go).hard_link().user_data(0));
        push(&mut ring, Readv::new(&file, IoVecMut::from_raw(vec.as_ptr(), 1)).offset(2).user_data(1));
    }
    ring.submit().expect("submitted");
    vec[0] = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 << 20 };
    writer.write_all(b"!").expect("written");
    let cqes = reap(&mut ring, 2);
    assert_eq!(io::of(&cqes, 1).result(), Ok(4));
    assert_eq!(&room, b"2345");
    drop(vec);
}

#[test]
fn item_15_a_descriptor_is_looked_up_when_the_operation_starts() {
    in_own_process("item_15_a_descriptor_is_looked_up_when_the_operation_starts", || {
        let dir = Dir::new("late");
        let mut ring = ring();
        let file = dir.file("data", b"0123456789");
        let (reader, mut writer) = pipe();
        // A process of its own: nobody else takes the number when it is free.
        let number = rustix::io::fcntl_dupfd_cloexec(&file, 0).expect("a duplicate");
        let (mut go, mut room) = ([0; 1], [0; 4]);
        // SAFETY: the bytes live until both completions. The descriptor does not, which is what this test is about; its
        // number stays unused.
        unsafe {
            push(&mut ring, Read::new(&reader, &mut go).hard_link().user_data(0));
            push(&mut ring, Read::new(BorrowedFd::borrow_raw(number.as_raw_fd()), &mut room).user_data(1));
        }
        ring.submit().expect("submitted");
        drop(number);
        writer.write_all(b"!").expect("written");
        let cqes = reap(&mut ring, 2);
        match io::of(&cqes, 1).result() {
            Ok(4) if !newer("item_15_a_descriptor_is_looked_up_when_the_operation_starts", Version::new(6, 12)) => {}
            late => assert_eq!(late, Err(Errno::BADF), "needed until completed, not until submitted"),
        }
    });
}

#[test]
fn item_15_paths_and_what_is_passed_in_are_copied_at_submission() {
    needs!(has(Setxattr::INFO));
    let dir = Dir::new("copied");
    let mut ring = ring();
    for name in ["old", "gone", "original", "attributed"] {
        dir.file(name, name.as_bytes());
    }
    let mut overwrite: Vec<Box<dyn FnOnce()>> = Vec::new();
    let mut name = |name: &str| {
        let (text, change) = overwritable(&dir.name(name));
        overwrite.push(Box::new(change));
        text
    };
    let how = Box::leak(Box::new(OpenHow::new(OFlags::CREATE, Mode::RUSR, ResolveFlags::empty())));
    let how_at: *mut OpenHow = how;
    let value = b"value".to_vec().leak();
    let value_at = value.as_mut_ptr();
    let mut stat = std::mem::MaybeUninit::uninit();
    let mut read = [0; 16];
    let user = || overwritable(c"user.copied");
    let (set_name, set_change) = user();
    let (get_name, get_change) = user();
    register_slots(&ring, 1);
    // SAFETY: the struct is leaked. The reference becomes an address in the entry, and is not used any more when the
    // struct is overwritten.
    let how = unsafe { &*how_at };
    // SAFETY: as above, for the bytes of the value.
    let value = unsafe { std::slice::from_raw_parts(value_at.cast_const(), 5) };
    let entries = [
        OpenAt2Direct::new(CWD, name("new"), how, Fixed(0)).into(),
        OpenAtDirect::new(CWD, name("original"), OFlags::RDONLY, Mode::empty(), Fixed(0)).into(),
        Statx::new(CWD, name("original"), AtFlags::empty(), StatxFlags::SIZE, &mut stat).into(),
        RenameAt::new(CWD, name("old"), CWD, name("renamed")).into(),
        UnlinkAt::new(CWD, name("gone")).into(),
        MkdirAt::new(CWD, name("made"), Mode::RWXU).into(),
        SymlinkAt::new(name("target"), CWD, name("soft")).into(),
        LinkAt::new(CWD, name("original"), CWD, name("hard")).into(),
        Setxattr::new(name("attributed"), set_name, value).into(),
        Getxattr::new(name("attributed"), get_name, &mut read).into(),
    ];
    let change = || {
        overwrite.into_iter().for_each(|change| change());
        set_change();
        get_change();
        // SAFETY: leaked memory to which no reference is used any more.
        unsafe {
            value_at.write_bytes(b'?', 5);
            how_at.write(OpenHow::new(OFlags::DIRECTORY, Mode::empty(), ResolveFlags::BENEATH));
        }
    };
    // SAFETY: what the operations write to lives until they have completed, and what they are passed is leaked.
    let done = unsafe { change_after_submission(&mut ring, entries, change) };
    let length = "original".len() as u64;
    if done[8] == Err(Errno::OPNOTSUPP) {
        skipped("item_15_paths_and_what_is_passed_in_are_copied_at_submission", "no user attributes here");
        assert_eq!(done[..8], [Ok(0); 8]);
    } else {
        assert_eq!(done, [Ok(0), Ok(0), Ok(0), Ok(0), Ok(0), Ok(0), Ok(0), Ok(0), Ok(0), Ok(5)]);
        assert_eq!(&read[..5], b"value");
    }
    // SAFETY: the operation has succeeded, so the kernel has filled in all of it.
    assert_eq!(unsafe { stat.assume_init() }.stx_size, length);
    let mut opened = [0; 8];
    assert_eq!(result(&mut ring, Read::new(Fixed(0), &mut opened).offset(0)), Ok(8));
    assert_eq!(&opened, b"original");
    for (name, there) in [("new", true), ("old", false), ("renamed", true), ("gone", false), ("made", true)] {
        assert_eq!(dir.path(name).exists(), there, "{name}");
    }
    assert_eq!(std::fs::read_link(dir.path("soft")).expect("a link"), dir.path("target"));
    assert_eq!(std::fs::read(dir.path("hard")).expect("read"), b"original");
}

#[test]
fn item_15_a_directory_is_looked_up_when_the_operation_starts() {
    in_own_process("item_15_a_directory_is_looked_up_when_the_operation_starts", || {
        let dir = Dir::new("late-dir");
        let mut ring = ring();
        dir.file("data", b"x");
        let root = File::open(dir.path("")).expect("open");
        // A process of its own: nobody else takes the number when it is free.
        let duplicate = rustix::io::fcntl_dupfd_cloexec(&root, 0).expect("a duplicate");
        // SAFETY: the descriptor is closed before the operation is done, which is what this test is about; its number
        // stays unused.
        let borrowed = unsafe { BorrowedFd::borrow_raw(duplicate.as_raw_fd()) };
        let entries = [UnlinkAt::new(borrowed, c"data").into()];
        // SAFETY: the path is static.
        let done = unsafe { change_after_submission(&mut ring, entries, || drop(duplicate)) };
        assert_eq!(done, [Err(Errno::BADF)], "needed until completed, not until submitted");
        assert!(dir.path("data").exists());
    });
}

#[test]
fn item_15_the_array_of_files_is_read_when_the_operation_starts() {
    needs!(has_feature(Features::LINKED_FILE));
    let dir = Dir::new("files-late");
    let mut ring = ring();
    register_slots(&ring, 1);
    let (a, b) = (dir.file("a", b"a"), dir.file("b", b"b"));
    let (reader, mut writer) = pipe();
    let (mut go, mut room) = ([0; 1], [0; 1]);
    let slots: *mut [FileSlot<'_>; 1] = Box::into_raw(Box::new([FileSlot::from(a.as_fd())]));
    // SAFETY: all that is named lives until the completions, which are reaped below; the array is changed while the
    // kernel has it, which is what this test is about, through the pointer from which the entry's address came.
    unsafe {
        push(&mut ring, Read::new(&reader, &mut go).hard_link().user_data(0));
        push(&mut ring, FilesUpdate::new(&*slots, Fixed(0)).link().user_data(1));
        push(&mut ring, Read::new(Fixed(0), &mut room).offset(0).user_data(2));
        ring.submit().expect("submitted");
        slots.write([FileSlot::from(b.as_fd())]);
    }
    writer.write_all(b"!").expect("written");
    let cqes = reap(&mut ring, 3);
    assert_eq!([1, 2].map(|i| of(&cqes, i).result()), [Ok(1), Ok(1)]);
    assert_eq!(&room, b"b", "needed until completed, not until submitted");
    // SAFETY: made by `Box::into_raw` above, and no entry refers to it any more.
    drop(unsafe { Box::from_raw(slots) });
}
