//! Operations on names on a real ring, compared with their system calls.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use common::{has, needs, newer, since, skipped};
use files::{Dir, synchronous};
use io::{register_slots, result, ring};
use rawring::op::*;
use rawring::operand::*;
use rawring::{Errno, Ring, Version};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags};
use rustix::io::{FdFlags, fcntl_getfd};

/// The file behind a new descriptor.
fn opened(result: Result<u32, Errno>) -> File {
    let fd = result.expect("opened") as i32;
    // SAFETY: the kernel made this descriptor for us, and nobody else has seen it.
    File::from(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn content(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).expect("read");
    text
}

#[test]
fn openat_opens_and_creates() {
    let dir = Dir::new("openat");
    let (mut ring, root) = (ring(), File::open(dir.path("")).expect("open"));
    dir.file("data", b"content");
    let open = OpenAt::new(root.as_fd(), c"data", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let file = opened(result(&mut ring, open));
    assert_eq!(fcntl_getfd(&file), Ok(FdFlags::CLOEXEC));
    assert_eq!(content(file), "content");
    let without = opened(result(&mut ring, OpenAt::new(root.as_fd(), c"data", OFlags::RDONLY, Mode::empty())));
    assert_eq!(fcntl_getfd(&without), Ok(FdFlags::empty()), "nothing is added to the flags");
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    for mode in [Mode::RUSR, Mode::RWXU | Mode::RWXG | Mode::RWXO] {
        let mut file = opened(result(&mut ring, OpenAt::new(CWD, &dir.name("ours"), create, mode)));
        file.write_all(b"x").expect("written");
        drop(rustix::fs::openat(CWD, dir.name("theirs"), create, mode).expect("open"));
        let mode_of = |name: &str| std::fs::metadata(dir.path(name)).expect("a status").mode();
        assert_eq!(mode_of("ours"), mode_of("theirs"));
        for name in ["ours", "theirs"] {
            std::fs::remove_file(dir.path(name)).expect("removed");
        }
    }
    let cases = [
        (c"missing", OFlags::RDONLY, Errno::NOENT),
        (c"data", create, Errno::EXIST),
        (c"data/below", OFlags::RDONLY, Errno::NOTDIR),
        (c".", OFlags::WRONLY, Errno::ISDIR),
    ];
    for (path, flags, errno) in cases {
        let theirs = rustix::fs::openat(&root, path, flags, Mode::empty()).map(drop);
        let ours = result(&mut ring, OpenAt::new(root.as_fd(), path, flags, Mode::empty())).map(drop);
        assert_eq!((theirs, ours), (Err(errno), Err(errno)), "{path:?}");
    }
}

/// What is in a slot.
fn in_slot(ring: &mut Ring, slot: u32) -> Result<Vec<u8>, Errno> {
    let mut room = vec![0; 64];
    let len = result(ring, Read::new(Fixed(slot), &mut room).offset(0))?;
    room.truncate(len as usize);
    Ok(room)
}

#[test]
fn item_14_opening_into_slots() {
    let dir = Dir::new("open-direct");
    let mut ring = ring();
    for name in ["one", "two", "three"] {
        dir.file(name, name.as_bytes());
    }
    let names = ["one", "two", "three"].map(|name| dir.name(name));
    let [one, two, three] = &names;
    fn open<'a>(path: &'a CStr, slot: impl Into<DirectSlot>) -> OpenAtDirect<'a> {
        OpenAtDirect::new(CWD, path, OFlags::RDONLY, Mode::empty(), slot)
    }
    assert_eq!(result(&mut ring, open(one, Fixed(0))), Err(Errno::NXIO), "no table");
    register_slots(&ring, 3);
    assert_eq!(result(&mut ring, open(one, Fixed(2))), Ok(0));
    assert_eq!(in_slot(&mut ring, 2), Ok(b"one".to_vec()));
    assert_eq!(in_slot(&mut ring, 1), Err(Errno::BADF), "not the slot before");
    assert_eq!(result(&mut ring, open(three, Fixed(2))), Ok(0), "what is there is replaced");
    assert_eq!(in_slot(&mut ring, 2), Ok(b"three".to_vec()));
    needs!(since(Version::new(5, 19)));
    let slot = result(&mut ring, open(two, DirectSlot::ALLOC)).expect("a free slot");
    assert!(slot < 2, "{slot}");
    assert_eq!(in_slot(&mut ring, slot), Ok(b"two".to_vec()));
    let how = OpenHow::new(OFlags::RDONLY, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let last = OpenAt2Direct::new(CWD, one, &how, DirectSlot::ALLOC);
    assert_eq!(result(&mut ring, last), Ok(1 - slot));
    assert_eq!(in_slot(&mut ring, 1 - slot), Ok(b"one".to_vec()));
    assert_eq!(result(&mut ring, open(one, DirectSlot::ALLOC)), Err(Errno::NFILE), "none is free");
    assert_eq!(result(&mut ring, OpenAt2Direct::new(CWD, two, &how, Fixed(0))), Ok(0));
    assert_eq!(in_slot(&mut ring, 0), Ok(b"two".to_vec()));
    for beyond in [3, u32::MAX - 2, u32::MAX - 1, u32::MAX] {
        assert_eq!(result(&mut ring, open(one, Fixed(beyond))), Err(Errno::INVAL), "{beyond:#x}");
    }
    let cloexec = OpenAtDirect::new(CWD, one, OFlags::CLOEXEC, Mode::empty(), Fixed(0));
    assert_eq!(result(&mut ring, cloexec), Err(Errno::INVAL));
    let registered = open(one, Fixed(0)).flags(rawring::flags::SqeFlags::FIXED_FILE);
    assert_eq!(result(&mut ring, registered), Err(Errno::BADF), "a directory is never a registered file");
}

#[test]
fn openat2_keeps_to_its_limits() {
    let dir = Dir::new("openat2");
    let (mut ring, root) = (ring(), File::open(dir.path("")).expect("open"));
    dir.file("data", b"content");
    std::os::unix::fs::symlink("data", dir.path("link")).expect("a link");
    let read = OFlags::RDONLY | OFlags::CLOEXEC;
    let beneath = OpenHow::new(read, Mode::empty(), ResolveFlags::BENEATH);
    assert_eq!(content(opened(result(&mut ring, OpenAt2::new(root.as_fd(), c"data", &beneath)))), "content");
    let create = OpenHow::new(OFlags::CREATE | OFlags::WRONLY, Mode::RUSR | Mode::WUSR, ResolveFlags::empty());
    drop(opened(result(&mut ring, OpenAt2::new(root.as_fd(), c"new", &create))));
    assert_eq!(std::fs::metadata(dir.path("new")).expect("a status").mode() & 0o777, 0o600);
    let cases = [
        (c"..", read, Mode::empty(), ResolveFlags::BENEATH, Errno::XDEV),
        (c"link", read, Mode::empty(), ResolveFlags::NO_SYMLINKS, Errno::LOOP),
        (c"data", read, Mode::RUSR, ResolveFlags::empty(), Errno::INVAL),
        (c"data", read, Mode::empty(), ResolveFlags::from_bits_retain(1 << 60), Errno::INVAL),
    ];
    for (path, flags, mode, resolve, errno) in cases {
        let theirs = rustix::fs::openat2(&root, path, flags, mode, resolve).map(drop);
        let how = OpenHow::new(flags, mode, resolve);
        let ours = result(&mut ring, OpenAt2::new(root.as_fd(), path, &how)).map(drop);
        assert_eq!((theirs, ours), (Err(errno), Err(errno)), "{path:?} {resolve:?}");
    }
}

#[test]
fn renameat_renames_exchanges_and_refuses() {
    let dir = Dir::new("renameat");
    let (mut ring, root) = (ring(), File::open(dir.path("")).expect("open"));
    std::fs::create_dir(dir.path("sub")).expect("made");
    let sub = File::open(dir.path("sub")).expect("open");
    dir.file("a", b"a");
    let text = |name: &str| std::fs::read_to_string(dir.path(name)).ok();
    assert_eq!(result(&mut ring, RenameAt::new(root.as_fd(), c"a", sub.as_fd(), c"b")), Ok(0));
    assert_eq!((text("a"), text("sub/b").as_deref()), (None, Some("a")));
    dir.file("c", b"c");
    let [fd, below] = [root.as_fd(), sub.as_fd()];
    let keep = RenameAt::new(fd, c"c", below, c"b").rename_flags(RenameFlags::NOREPLACE);
    assert_eq!(result(&mut ring, keep), Err(Errno::EXIST));
    let exchange = RenameAt::new(fd, c"c", below, c"b").rename_flags(RenameFlags::EXCHANGE);
    assert_eq!(result(&mut ring, exchange), Ok(0));
    assert_eq!((text("c").as_deref(), text("sub/b").as_deref()), (Some("a"), Some("c")));
    let cases = [
        (c"missing", c"x", RenameFlags::empty()),
        (c"c", c"missing", RenameFlags::EXCHANGE),
        (c"c", c"sub/b", RenameFlags::NOREPLACE | RenameFlags::EXCHANGE),
        (c"sub", c"sub/b", RenameFlags::empty()),
    ];
    for (old, new, flags) in cases {
        let theirs = rustix::fs::renameat_with(&root, old, &root, new, flags).map(|()| 0);
        let ours = result(&mut ring, RenameAt::new(fd, old, fd, new).rename_flags(flags));
        assert!(theirs.is_err());
        assert_eq!(ours, theirs, "{old:?} to {new:?}");
    }
}

#[test]
fn unlinkat_removes_names() {
    let dir = Dir::new("unlinkat");
    let (mut ring, root) = (ring(), File::open(dir.path("")).expect("open"));
    dir.file("file", b"");
    std::fs::create_dir_all(dir.path("full/inner")).expect("made");
    let unlink = |path, flags| UnlinkAt::new(root.as_fd(), path).at_flags(flags);
    assert_eq!(result(&mut ring, unlink(c"file", AtFlags::empty())), Ok(0));
    assert!(!dir.path("file").exists());
    let cases = [
        (c"file", AtFlags::empty(), Errno::NOENT),
        (c"full", AtFlags::empty(), Errno::ISDIR),
        (c"full", AtFlags::REMOVEDIR, Errno::NOTEMPTY),
    ];
    for (path, flags, errno) in cases {
        let theirs = rustix::fs::unlinkat(&root, path, flags).map(|()| 0);
        assert_eq!((theirs, result(&mut ring, unlink(path, flags))), (Err(errno), Err(errno)), "{path:?}");
    }
    assert_eq!(result(&mut ring, unlink(c"full/inner", AtFlags::REMOVEDIR)), Ok(0));
    assert!(!dir.path("full/inner").exists());
    assert_eq!(result(&mut ring, unlink(c"full", AtFlags::EMPTY_PATH)), Err(Errno::INVAL), "a flag it does not have");
}

#[test]
fn mkdirat_makes_directories() {
    needs!(has(MkdirAt::INFO));
    let dir = Dir::new("mkdirat");
    let (mut ring, root) = (ring(), File::open(dir.path("")).expect("open"));
    for mode in [Mode::RWXU, Mode::RWXU | Mode::RWXG | Mode::RWXO] {
        assert_eq!(result(&mut ring, MkdirAt::new(root.as_fd(), c"ours", mode)), Ok(0));
        rustix::fs::mkdirat(&root, c"theirs", mode).expect("made");
        let mode_of = |name: &str| std::fs::metadata(dir.path(name)).expect("a status").mode();
        assert_eq!(mode_of("ours"), mode_of("theirs"));
        for name in ["ours", "theirs"] {
            std::fs::remove_dir(dir.path(name)).expect("removed");
        }
    }
    dir.file("file", b"");
    for path in [c"file", c"missing/below"] {
        let theirs = rustix::fs::mkdirat(&root, path, Mode::RWXU).map(|()| 0);
        assert!(theirs.is_err());
        assert_eq!(result(&mut ring, MkdirAt::new(root.as_fd(), path, Mode::RWXU)), theirs, "{path:?}");
    }
}

#[test]
fn links_lead_where_they_should() {
    needs!(has(LinkAt::INFO));
    let dir = Dir::new("links");
    let (mut ring, root) = (ring(), File::open(dir.path("")).expect("open"));
    std::fs::create_dir(dir.path("sub")).expect("made");
    let (fd, sub) = (root.as_fd(), File::open(dir.path("sub")).expect("open"));
    let file = dir.file("file", b"content");
    assert_eq!(result(&mut ring, SymlinkAt::new(c"../file", sub.as_fd(), c"soft")), Ok(0));
    assert_eq!(std::fs::read_link(dir.path("sub/soft")).expect("a link").to_str(), Some("../file"));
    assert_eq!(std::fs::read(dir.path("sub/soft")).expect("read"), b"content");
    assert_eq!(result(&mut ring, LinkAt::new(fd, c"file", sub.as_fd(), c"hard")), Ok(0));
    let inode = |name: &str| std::fs::symlink_metadata(dir.path(name)).expect("a status").ino();
    assert_eq!((inode("sub/hard"), file.metadata().expect("a status").nlink()), (inode("file"), 2));
    assert_eq!(result(&mut ring, LinkAt::new(sub.as_fd(), c"soft", fd, c"soft too")), Ok(0));
    assert_eq!(inode("soft too"), inode("sub/soft"), "not followed");
    let follow = LinkAt::new(sub.as_fd(), c"soft", fd, c"followed").at_flags(AtFlags::SYMLINK_FOLLOW);
    assert_eq!(result(&mut ring, follow), Ok(0));
    assert_eq!(inode("followed"), inode("file"));
    let itself = LinkAt::new(file.as_fd(), c"", fd, c"by descriptor").at_flags(AtFlags::EMPTY_PATH);
    let theirs = rustix::fs::linkat(&file, c"", &root, c"theirs", AtFlags::EMPTY_PATH).map(|()| 0);
    assert_eq!(result(&mut ring, itself), theirs);
    for (old, new) in [(c"missing", c"x"), (c"file", c"sub/hard"), (c"sub", c"x")] {
        let theirs = rustix::fs::linkat(&root, old, &root, new, AtFlags::empty()).map(|()| 0);
        assert!(theirs.is_err());
        assert_eq!(result(&mut ring, LinkAt::new(fd, old, fd, new)), theirs, "{old:?} to {new:?}");
    }
    let theirs = rustix::fs::symlinkat(c"anything", &root, c"file").map(|()| 0);
    assert_eq!(result(&mut ring, SymlinkAt::new(c"anything", fd, c"file")), theirs);
    assert_eq!(theirs, Err(Errno::EXIST));
}

#[test]
fn extended_attributes_are_set_and_read() {
    needs!(has(Setxattr::INFO));
    let test = "extended_attributes_are_set_and_read";
    let dir = Dir::new("xattr");
    let (mut ring, file, path) = (ring(), dir.file("file", b""), dir.name("file"));
    let (name, other) = (c"user.name", c"user.other");
    if rustix::fs::fsetxattr(&file, c"user.probe", b"", XattrFlags::empty()) == Err(Errno::OPNOTSUPP) {
        return skipped(test, "the file system of the build directory has no user attributes");
    }
    assert_eq!(result(&mut ring, Setxattr::new(&path, name, "by path")), Ok(0));
    assert_eq!(result(&mut ring, Fsetxattr::new(&file, other, "by file")), Ok(0));
    let mut room = [0; 64];
    let mut theirs = |name| {
        let len = rustix::fs::fgetxattr(&file, name, &mut room).expect("an attribute");
        room[..len].to_vec()
    };
    assert_eq!((theirs(name), theirs(other)), (b"by path".to_vec(), b"by file".to_vec()));
    let mut room = [0; 64];
    assert_eq!(result(&mut ring, Fgetxattr::new(&file, name, &mut room)), Ok(7));
    assert_eq!(&room[..8], b"by path\0");
    assert_eq!(result(&mut ring, Getxattr::new(&path, other, &mut room)), Ok(7));
    assert_eq!(&room[..8], b"by file\0");
    assert_eq!(result(&mut ring, Getxattr::new(&path, other, &mut [])), Ok(7), "how long it is");
    register_slots(&ring, 1);
    let slots = [FileSlot::from(file.as_fd())];
    assert_eq!(result(&mut ring, FilesUpdate::new(&slots, Fixed(0))), Ok(1));
    let (create, replace) = (XattrFlags::CREATE, XattrFlags::REPLACE);
    let read = result(&mut ring, Fgetxattr::new(Fixed(0), name, &mut room));
    let write = result(&mut ring, Fsetxattr::new(Fixed(0), name, "new").xattr_flags(replace));
    if newer(test, Version::new(6, 13)) {
        assert_eq!((read, write), (Ok(7), Ok(0)));
        assert_eq!(result(&mut ring, Getxattr::new(&path, name, &mut room)), Ok(3));
    } else {
        assert_eq!((read, write), (Err(Errno::BADF), Err(Errno::BADF)));
    }

    let set = |name: &CStr, flags| rustix::fs::setxattr(&path, name, b"v", flags).map(|()| 0);
    for (name, flags, errno) in [(name, create, Errno::EXIST), (c"user.none", replace, Errno::NODATA)] {
        assert_eq!(set(name, flags), Err(errno));
        assert_eq!(result(&mut ring, Setxattr::new(&path, name, "v").xattr_flags(flags)), Err(errno));
        assert_eq!(result(&mut ring, Fsetxattr::new(&file, name, "v").xattr_flags(flags)), Err(errno));
    }
    assert_eq!(set(c"nobody.knows", create), Err(Errno::OPNOTSUPP));
    assert_eq!(result(&mut ring, Setxattr::new(&path, c"nobody.knows", "v")), Err(Errno::OPNOTSUPP));
    let long = vec![0u8; 70_000];
    assert_eq!(result(&mut ring, Setxattr::new(&path, name, &long)), Err(Errno::TOOBIG));
    for (name, len) in [(c"user.none", 8), (name, 2)] {
        let mut room = [0; 8];
        let expected = synchronous(rustix::fs::getxattr(&path, name, &mut room[..len]));
        assert!(expected.is_err());
        assert_eq!(result(&mut ring, Getxattr::new(&path, name, &mut room[..len])), expected);
        assert_eq!(result(&mut ring, Fgetxattr::new(&file, name, &mut room[..len])), expected);
    }
}
