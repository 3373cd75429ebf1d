//! Copying through a ring: what arrives, what a failure leaves behind, and what the errors say.

mod common;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use rawring::Errno;
use rawring::copy::{CopyError, Mode, Options, Progress, Side, Step, Summary, Unsuitable};

const MIB: usize = 1 << 20;

/// A directory that goes away.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("rawring-test-copy-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory for the test");
        Dir(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file for the test");
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the test's directory");
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes of which no two places look alike for long.
fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[track_caller]
fn copied(options: Options, src: &Path, dst: &Path) -> Summary {
    options.copy(src, dst, go_on).unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

fn pipe() -> (File, File) {
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    (reader.into(), writer.into())
}

/// Compares without printing megabytes.
#[track_caller]
fn same(dst: &Path, expected: &[u8], what: &str) {
    let found = fs::read(dst).expect("the copy");
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{what}: first byte that differs");
}

#[test]
fn every_size_around_a_block_in_every_mode_and_depth() {
    let dir = Dir::new("sizes");
    let all = bytes(6 * MIB);
    for (mode, block, depths) in
        [(Mode::Auto, 4096, [1, 2, 3, 64]), (Mode::Safe, 4096, [1, 2, 7, 16]), (Mode::Fast, MIB, [64, 65, 100, 512])]
    {
        for size in [0, 1, block - 1, block, block + 1, 5 * block + block / 3] {
            let src = dir.file("src", &all[..size]);
            for depth in depths {
                let what = format!("{mode}, {size} bytes, depth {depth}");
                let summary = copied(Options::new().mode(mode).block(block).depth(depth), &src, &dir.path("dst"));
                assert_eq!(summary.bytes, size as u64, "{what}");
                assert!(summary.depth <= depth, "{what}");
                same(&dir.path("dst"), &all[..size], &what);
            }
        }
    }
    assert_eq!(dir.names(), ["dst", "src"]);
}

#[test]
fn auto_grows_its_blocks_within_its_bounds_and_the_others_do_not() {
    let dir = Dir::new("auto");
    let all = bytes(16 * MIB + 1);
    let src = dir.file("src", &all);
    let mut blocks = Vec::new();
    let summary = Options::new().copy(&src, dir.path("dst"), |progress| {
        blocks.push(progress.block);
        ControlFlow::Continue(())
    });
    let summary = summary.expect("a copy");
    same(&dir.path("dst"), &all, "auto");
    blocks.dedup();
    assert_eq!(blocks[..2], [64 << 10, 128 << 10], "64 KiB first, and doubled at least once");
    assert!(blocks.iter().all(|&block| block <= 4 * MIB), "{blocks:?}");
    assert_eq!(blocks.last(), Some(&summary.block));
    for mode in [Mode::Safe, Mode::Fast] {
        let mut blocks = Vec::new();
        let options = Options::new().mode(mode);
        options
            .copy(&src, dir.path("dst"), |progress| {
                blocks.push(progress.block);
                ControlFlow::Continue(())
            })
            .expect("a copy");
        same(&dir.path("dst"), &all, &mode.to_string());
        blocks.dedup();
        assert_eq!(blocks.len(), 1, "{mode}: {blocks:?}");
        assert!(mode.blocks().contains(&blocks[0]), "{mode}: {blocks:?}");
    }
}

#[test]
fn bounds_are_checked_before_anything_is_done() {
    let dir = Dir::new("bounds");
    let src = dir.file("src", b"x");
    for (options, says) in [
        (Options::new().mode(Mode::Safe).depth(17), "a depth of 17 is outside of mode safe, which allows 1 to 16"),
        (
            Options::new().mode(Mode::Fast).block(4096),
            "a block of 4096 bytes is outside of mode fast, which allows 1048576 to 67108864 bytes",
        ),
        (
            Options::new().mode(Mode::Fast).depth(64).block(64 * MIB),
            "64 blocks of 67108864 bytes are more than the 1073741824 bytes that a copy may take: lower the depth or \
             the block",
        ),
    ] {
        let error = options.copy(&src, dir.path("dst"), go_on).expect_err("outside of the bounds");
        assert!(matches!(error, CopyError::OutOfBounds(_)), "{error}");
        assert_eq!(error.to_string(), says);
    }
    assert_eq!(dir.names(), ["src"]);
}

#[test]
fn holes_arrive_as_zeros_and_the_length_is_the_same() {
    let dir = Dir::new("holes");
    let src = dir.path("src");
    let file = File::create(&src).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(b"middle", 3 * MIB as u64).unwrap();
    file.set_len(5 * MIB as u64 + 7).unwrap();
    let expected = fs::read(&src).unwrap();
    assert_eq!(expected.len(), 5 * MIB + 7);
    for mode in [Mode::Auto, Mode::Safe, Mode::Fast] {
        copied(Options::new().mode(mode), &src, &dir.path("dst"));
        same(&dir.path("dst"), &expected, &mode.to_string());
    }
}

#[test]
fn a_new_file_gets_the_sources_mode_less_the_umask_and_an_old_one_keeps_its_own() {
    let dir = Dir::new("modes");
    let src = dir.file("src", b"new content");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // What cp does here, umask included.
    let reference = dir.path("reference");
    for bits in [0o644, 0o755, 0o600, 0o4777] {
        set(&src, bits);
        let _ = fs::remove_file(&reference);
        assert!(std::process::Command::new("cp").args([&src, &reference]).status().unwrap().success());
        let dst = dir.path("dst");
        let _ = fs::remove_file(&dst);
        copied(Options::new(), &src, &dst);
        assert_eq!(mode(&dst), mode(&reference), "source {bits:o}");
    }
    set(&src, 0o777);
    let old = dir.file("old", b"longer than the new content by far");
    set(&old, 0o640);
    copied(Options::new(), &src, &old);
    assert_eq!(mode(&old), 0o640);
    assert_eq!(fs::read(&old).unwrap(), b"new content");
}

#[test]
fn an_old_file_keeps_its_owner() {
    let dir = Dir::new("owner");
    let src = dir.file("src", b"new content");
    let old = dir.file("old", b"old");
    if let Err(error) = std::os::unix::fs::chown(&old, Some(1234), Some(4321)) {
        return common::skipped("an_old_file_keeps_its_owner", &format!("needs to give a file away: {error}"));
    }
    fs::set_permissions(&old, fs::Permissions::from_mode(0o4755)).unwrap();
    copied(Options::new(), &src, &old);
    let status = fs::metadata(&old).unwrap();
    assert_eq!((status.uid(), status.gid(), status.mode() & 0o7777), (1234, 4321, 0o4755));
}

#[test]
fn an_old_file_is_replaced_its_links_keep_the_old_content_and_symbolic_links_are_followed() {
    let dir = Dir::new("replace");
    let src = dir.file("src", b"new");
    let old = dir.file("old", b"old content");
    fs::hard_link(&old, dir.path("hard")).unwrap();
    symlink("old", dir.path("soft")).unwrap();
    copied(Options::new(), &src, &dir.path("soft"));
    assert_eq!(fs::read(&old).unwrap(), b"new");
    assert_eq!(fs::read(dir.path("hard")).unwrap(), b"old content");
    assert!(fs::symlink_metadata(dir.path("soft")).unwrap().is_symlink());
    assert_eq!(dir.names(), ["hard", "old", "soft", "src"]);
}

#[test]
fn unsuitable_files_are_refused_and_left_alone() {
    let dir = Dir::new("unsuitable");
    let src = dir.file("src", b"content");
    fs::hard_link(&src, dir.path("hard")).unwrap();
    symlink("src", dir.path("soft")).unwrap();
    symlink("nowhere", dir.path("dangling")).unwrap();
    fs::create_dir(dir.path("sub")).unwrap();
    let before = dir.names();
    for (from, to, expected) in [
        ("src", "src", Unsuitable::SameFile),
        ("src", "hard", Unsuitable::SameFile),
        ("src", "soft", Unsuitable::SameFile),
        ("src", "sub", Unsuitable::Directory(Side::Destination)),
        ("sub", "new", Unsuitable::Directory(Side::Source)),
        ("src", "dangling", Unsuitable::DanglingLink),
    ] {
        let error = Options::new().copy(dir.path(from), dir.path(to), go_on).expect_err("refused");
        let CopyError::Unsuitable { why, path } = &error else { panic!("{from} to {to}: {error}") };
        assert_eq!(*why, expected, "{from} to {to}");
        let named = if expected == Unsuitable::Directory(Side::Source) { from } else { to };
        assert_eq!(path.as_deref(), Some(dir.path(named).as_path()));
        assert!(error.to_string().contains(dir.path(named).to_str().unwrap()), "{error}");
    }
    assert_eq!(dir.names(), before);
    assert_eq!(fs::read(&src).unwrap(), b"content");
}

#[test]
fn errors_name_the_step_the_file_and_the_cause() {
    let dir = Dir::new("errors");
    let src = dir.file("src", b"content");
    let display = |path: &Path| path.display().to_string();
    let (missing, no_dir, slash) = (dir.path("missing"), dir.path("missing/dst"), dir.path("new/"));
    for (from, to, step, errno, starts) in [
        (&missing, &src, Step::Open(Side::Source), Errno::NOENT, format!("opening {}: ", display(&missing))),
        (&src, &no_dir, Step::Create, Errno::NOENT, format!("creating a temporary file beside {}: ", display(&no_dir))),
        (&src, &slash, Step::Create, Errno::NOTDIR, format!("creating a temporary file beside {}: ", display(&slash))),
    ] {
        let error = Options::new().copy(from, to, go_on).expect_err("cannot work");
        let CopyError::File { step: found, errno: cause, .. } = &error else { panic!("{error}") };
        assert_eq!((*found, *cause), (step, errno), "{error}");
        assert!(error.to_string().starts_with(&starts), "{error}");
        assert!(error.to_string().contains(&errno.to_string()), "{error}");
    }
    assert_eq!(dir.names(), ["src"]);
}

#[test]
fn a_write_that_finds_no_room_names_offset_and_file() {
    let dir = Dir::new("full");
    let src = dir.file("src", &bytes(3 * MIB));
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
    let error = Options::new().copy(&src, "/dev/full", go_on).expect_err("the device is full");
    assert_eq!(error.to_string(), format!("writing /dev/full at offset 0: {}", Errno::NOSPC));
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device(), "the device is still there");
}

#[test]
fn a_full_file_system_leaves_nothing_behind_and_an_old_file_as_it_was() {
    const NAME: &str = "a_full_file_system_leaves_nothing_behind_and_an_old_file_as_it_was";
    let dir = Dir::new("tmpfs");
    let small = dir.path("small");
    fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&small).output();
    match mount {
        Ok(output) if output.status.success() => {}
        Ok(output) => return common::skipped(NAME, String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => return common::skipped(NAME, &format!("mount: {error}")),
    }
    let src = dir.file("src", &bytes(3 * MIB));
    let dst = small.join("dst");
    // The room is no multiple of the block: the last write is short, and what is left of it fails at the very end.
    let outcome = |dst: &Path| {
        let error = Options::new().block(100_000).depth(1).copy(&src, dst, go_on).expect_err("no room");
        let CopyError::File { step: Step::Write { offset }, errno: Errno::NOSPC, path } = error else {
            panic!("{error}")
        };
        (offset, path)
    };
    let (offset, path) = outcome(&dst);
    let left = fs::read_dir(&small).unwrap().count();
    fs::write(&dst, b"old").unwrap();
    outcome(&dst);
    let names: Vec<_> = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let old = fs::read(&dst).unwrap();
    let unmount = std::process::Command::new("umount").arg(&small).status().unwrap();
    assert!(unmount.success(), "nothing keeps the file system busy");
    assert_eq!((offset, path.as_deref()), (MIB as u64, Some(dst.as_path())));
    assert_eq!(left, 0);
    assert_eq!((names, old), (vec!["dst".into()], b"old".to_vec()));
}

#[test]
fn a_cancelled_copy_leaves_nothing_behind_and_an_old_file_as_it_was() {
    let dir = Dir::new("cancel");
    let src = dir.file("src", &bytes(32 * MIB));
    let old = dir.file("old", b"old");
    for (mode, dst) in [(Mode::Auto, dir.path("new")), (Mode::Safe, old.clone()), (Mode::Fast, dir.path("new"))] {
        let mut seen = Vec::new();
        let error = Options::new().mode(mode).copy(&src, &dst, |progress| {
            seen.extend(dir.names().into_iter().filter(|name| name.starts_with('.')));
            if progress.bytes >= 16 << 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let Err(CopyError::Cancelled { bytes }) = error else { panic!("{mode}: {error:?}") };
        assert!((16 << 20..=32 << 20).contains(&bytes), "{mode}: {bytes}");
        assert!(!seen.is_empty(), "{mode}: there was a temporary file while it ran");
        assert_eq!(dir.names(), ["old", "src"], "{mode}");
    }
    assert_eq!(fs::read(&old).unwrap(), b"old");
}

#[test]
fn a_panic_in_the_progress_function_leaves_nothing_behind() {
    let dir = Dir::new("panic");
    let src = dir.file("src", &bytes(8 * MIB));
    let dst = dir.path("dst");
    let panicked = std::panic::catch_unwind(|| Options::new().copy(&src, &dst, |_| panic!("on purpose")));
    assert!(panicked.is_err());
    assert_eq!(dir.names(), ["src"]);
}

/// A copy in blocks of one page, one at a time, with something done to the source when the first ones are written.
fn meddled(src: &Path, dst: &Path, meddle: impl FnOnce()) -> (Summary, Vec<Option<u64>>) {
    let mut meddle = Some(meddle);
    let mut totals = Vec::new();
    let options = Options::new().block(4096).depth(1);
    let summary = options.copy(src, dst, |progress| {
        totals.push(progress.total);
        if progress.bytes >= 8192 {
            if let Some(meddle) = meddle.take() {
                meddle();
            }
        }
        assert!(progress.bytes <= progress.total.unwrap(), "{progress:?}");
        ControlFlow::Continue(())
    });
    (summary.expect("a copy"), totals)
}

#[test]
fn what_is_appended_meanwhile_is_left_out() {
    let dir = Dir::new("grow");
    let all = bytes(64 << 10);
    let src = dir.file("src", &all);
    let (summary, totals) = meddled(&src, &dir.path("dst"), || {
        File::options().append(true).open(&src).unwrap().write_all(&[1; 10_000]).unwrap();
    });
    assert_eq!(fs::metadata(&src).unwrap().len(), (64 << 10) + 10_000);
    assert_eq!(summary.bytes, 64 << 10);
    assert!(totals.iter().all(|&total| total == Some(64 << 10)), "{totals:?}");
    same(&dir.path("dst"), &all, "grown");
}

#[test]
fn a_source_that_shrinks_ends_the_copy_where_it_ends() {
    let dir = Dir::new("shrink");
    let all = bytes(64 << 10);
    let src = dir.file("src", &all);
    let (summary, totals) = meddled(&src, &dir.path("dst"), || {
        File::options().write(true).open(&src).unwrap().set_len(20_000).unwrap();
    });
    assert_eq!(summary.bytes, 20_000);
    assert_eq!(totals.last(), Some(&Some(20_000)));
    same(&dir.path("dst"), &all[..20_000], "shrunk");
}

#[test]
fn a_source_that_shrinks_while_many_blocks_are_under_way_gives_a_beginning_of_it() {
    let dir = Dir::new("shrink-deep");
    let all = bytes(16 * MIB);
    for cut in [0, 1, 12_345, MIB as u64, 9 * MIB as u64 + 1] {
        let src = dir.file("src", &all);
        let mut calls = 0;
        let options = Options::new().mode(Mode::Safe).block(64 << 10);
        let summary = options.copy(&src, dir.path("dst"), |progress| {
            calls += u32::from(progress.bytes >= 2 << 20);
            match calls {
                // All operations under way end meanwhile, so that the next call comes with many blocks to be read.
                1 => thread::sleep(Duration::from_millis(30)),
                // Each of them meets the end at a place of its own.
                2 => File::options().write(true).open(&src).unwrap().set_len(cut).unwrap(),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        let length = summary.expect("a copy").bytes as usize;
        assert!(length < 16 * MIB && length >= cut as usize, "cut to {cut}: {length}");
        same(&dir.path("dst"), &all[..length], &format!("cut to {cut}"));
    }
}

#[test]
fn a_pipe_that_gives_little_at_a_time_is_read_to_its_end() {
    let dir = Dir::new("pipe");
    let all = bytes(300_000);
    for nonblocking in [false, true] {
        let (reader, mut writer) = pipe();
        if nonblocking {
            rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).unwrap();
        }
        let sent = all.clone();
        let feeder = thread::spawn(move || {
            for piece in sent.chunks(7_001) {
                writer.write_all(piece).unwrap();
                thread::sleep(Duration::from_micros(300));
            }
        });
        let dst = dir.file("dst", &vec![9; 400_000]);
        let summary = Options::new().copy_file(&reader, File::options().write(true).open(&dst).unwrap(), |progress| {
            assert_eq!(progress.total, None);
            ControlFlow::Continue(())
        });
        feeder.join().unwrap();
        let summary = summary.expect("a copy");
        assert_eq!((summary.bytes, summary.depth), (300_000, 1));
        same(&dst, &all, if nonblocking { "without blocking" } else { "blocking" });
    }
}

#[test]
fn a_pipe_that_takes_little_at_a_time_gets_all_in_order() {
    let dir = Dir::new("into-pipe");
    let all = bytes(MIB + 4_321);
    let src = dir.file("src", &all);
    for nonblocking in [false, true] {
        let (mut reader, writer) = pipe();
        if nonblocking {
            rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
        }
        let drain = thread::spawn(move || {
            let mut found: Vec<u8> = Vec::new();
            let mut piece = [0; 5_003];
            loop {
                match reader.read(&mut piece).unwrap() {
                    0 => return found,
                    count => found.extend_from_slice(&piece[..count]),
                }
            }
        });
        // More than the pipe holds, so that writes come back short.
        let summary = Options::new().block(512 << 10).depth(8).copy_file(File::open(&src).unwrap(), &writer, go_on);
        drop(writer);
        let found = drain.join().unwrap();
        assert_eq!(summary.expect("a copy").bytes, all.len() as u64);
        assert!(found == all, "without blocking: {nonblocking}, {} bytes", found.len());
    }
}

#[test]
fn a_file_that_refuses_to_block_is_waited_for() {
    use rustix::fs::inotify;
    let dir = Dir::new("polled");
    fs::create_dir(dir.path("watched")).unwrap();
    // The ring waits for such a file by itself: EAGAIN never arrives, and nobody tries again and again.
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, dir.path("watched"), inotify::WatchFlags::CREATE).unwrap();
    let dst = File::create(dir.path("dst")).unwrap();
    let mut calls = 0;
    let outcome = Options::new().copy_file(&watch, &dst, |progress| {
        calls += 1;
        if progress.bytes > 0 {
            return ControlFlow::Break(());
        }
        if calls == 3 {
            fs::write(dir.path("watched/new"), b"").unwrap();
        }
        ControlFlow::Continue(())
    });
    let Err(CopyError::Cancelled { bytes }) = outcome else { panic!("{outcome:?}") };
    assert!(bytes > 0);
    assert!(calls < 100, "{calls} calls: it tried again and again instead of waiting");
    assert_eq!(fs::metadata(dir.path("dst")).unwrap().len(), bytes);
}

#[test]
fn a_copy_that_waits_for_a_silent_pipe_can_be_cancelled() {
    let dir = Dir::new("silent");
    let (reader, writer) = pipe();
    let dst = File::create(dir.path("dst")).unwrap();
    let mut calls = 0;
    let error = Options::new().copy_file(&reader, &dst, |_| {
        calls += 1;
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(error, Err(CopyError::Cancelled { bytes: 0 })), "{error:?}");
    drop(writer);
}

#[test]
fn files_of_proc_have_no_length_and_a_content() {
    let dir = Dir::new("proc");
    for src in ["/proc/version", "/proc/filesystems", "/proc/kallsyms"] {
        let Ok(expected) = fs::read(src) else {
            common::skipped("files_of_proc_have_no_length_and_a_content", &format!("{src} cannot be read"));
            continue;
        };
        assert_eq!(fs::metadata(src).unwrap().len(), 0);
        let summary = copied(Options::new(), Path::new(src), &dir.path("dst"));
        assert_eq!(summary.bytes, expected.len() as u64);
        same(&dir.path("dst"), &expected, src);
    }
}

#[test]
fn files_of_sys_claim_a_page_and_have_less() {
    let dir = Dir::new("sys");
    let src = "/sys/devices/system/cpu/online";
    let Ok(expected) = fs::read(src) else {
        return common::skipped("files_of_sys_claim_a_page_and_have_less", &format!("{src} cannot be read"));
    };
    assert!((expected.len() as u64) < fs::metadata(src).unwrap().len());
    let summary = copied(Options::new(), Path::new(src), &dir.path("dst"));
    assert_eq!(summary.bytes, expected.len() as u64);
    same(&dir.path("dst"), &expected, src);
}

#[test]
fn open_files_are_copied_from_their_beginnings_and_an_appending_one_is_refused() {
    let dir = Dir::new("open");
    let src = dir.file("src", b"0123456789");
    let dst = dir.file("dst", b"something longer than that");
    let mut from = File::open(&src).unwrap();
    let mut skipped = [0; 4];
    from.read_exact(&mut skipped).unwrap();
    let to = File::options().write(true).open(&dst).unwrap();
    let summary = Options::new().copy_file(&from, &to, go_on).unwrap();
    assert_eq!(summary.bytes, 10);
    assert_eq!(fs::read(&dst).unwrap(), b"0123456789");
    let mut rest = String::new();
    from.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "456789", "the position is where it was");
    let append = File::options().append(true).open(&dst).unwrap();
    let error = Options::new().copy_file(&from, &append, go_on).expect_err("refused");
    assert!(matches!(error, CopyError::Unsuitable { why: Unsuitable::Append, path: None }), "{error}");
    let error =
        Options::new().copy_file(&to, File::create(dir.path("other")).unwrap(), go_on).expect_err("not open to read");
    assert_eq!(error.to_string(), format!("reading the source at offset 0: {}", Errno::BADF));
}

#[test]
fn nothing_stays_open_and_many_copies_run_at_once() {
    let dir = Dir::new("many");
    let all = bytes(MIB);
    let src = dir.file("src", &all);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..8 {
            let (dir, src, done) = (&dir, &src, done.clone());
            scope.spawn(move || {
                let dst = dir.path(&format!("dst{number}"));
                done.send((copied(Options::new().block(10_000), src, &dst), dst)).unwrap();
            });
        }
    });
    drop(done);
    assert_eq!(results.iter().inspect(|(_, dst)| same(dst, &all, "at once")).count(), 8);
    // The descriptors of the ring and of the files: other tests of this process open some, too, so look for these.
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let ours: Vec<_> = open.filter(|target| target.starts_with(&dir.0)).collect();
    assert_eq!(ours, Vec::<PathBuf>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_size_depth_and_block(size in 0usize..200_000, depth in 1u32..40, block in 1usize..50_000) {
        // A byte at a time is right as well, but not more interesting a hundred thousand times.
        let block = block.max(size / 500);
        let dir = Dir::new(&format!("any-{size}-{depth}-{block}"));
        let all = bytes(size);
        let src = dir.file("src", &all);
        let summary = copied(Options::new().depth(depth).block(block.max(1)), &src, &dir.path("dst"));
        prop_assert_eq!(summary.bytes, size as u64);
        prop_assert!(fs::read(dir.path("dst")).unwrap() == all);
    }
}
