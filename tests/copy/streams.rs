//! Files without a length: pipes, /proc and /sys, and those that refuse to block.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rawring::copy::{CopyError, Options};

use crate::common::{needs, safe_doors};
use crate::files::{Dir, pipe};
use crate::{MIB, bytes, common, copied, go_on, put, same};

#[test]
fn a_pipe_that_gives_little_at_a_time_is_read_to_its_end() {
    needs!(safe_doors());
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
        let dst = put(&dir, "dst", &vec![9; 400_000]);
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
    needs!(safe_doors());
    let dir = Dir::new("into-pipe");
    let all = bytes(MIB + 4_321);
    let src = put(&dir, "src", &all);
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
    needs!(safe_doors());
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
    needs!(safe_doors());
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
    needs!(safe_doors());
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
    needs!(safe_doors());
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
