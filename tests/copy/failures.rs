//! What goes wrong: what the error says, and that nothing stays behind.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Command;

use rawring::Errno;
use rawring::copy::{CopyError, Mode, Options, Side, Step};

use crate::common::{needs, safe_doors};
use crate::files::Dir;
use crate::{MIB, bytes, common, go_on, put};

#[test]
fn bounds_are_checked_before_anything_is_done() {
    let dir = Dir::new("bounds");
    let src = put(&dir, "src", b"x");
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
fn errors_name_the_step_the_file_and_the_cause() {
    let dir = Dir::new("errors");
    let src = put(&dir, "src", b"content");
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
    needs!(safe_doors());
    let dir = Dir::new("full");
    let src = put(&dir, "src", &bytes(3 * MIB));
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
    let error = Options::new().copy(&src, "/dev/full", go_on).expect_err("the device is full");
    assert_eq!(error.to_string(), format!("writing /dev/full at offset 0: {}", Errno::NOSPC));
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device(), "the device is still there");
}

/// A mounted file system, which goes with its test, and which nothing must keep busy then.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0).status();
        let unmounted = unmounted.is_ok_and(|status| status.success());
        assert!(unmounted || std::thread::panicking(), "{} is busy", self.0.display());
    }
}

#[test]
fn a_full_file_system_leaves_nothing_behind_and_an_old_file_as_it_was() {
    needs!(safe_doors());
    const NAME: &str = "a_full_file_system_leaves_nothing_behind_and_an_old_file_as_it_was";
    let dir = Dir::new("tmpfs");
    let small = dir.path("small");
    fs::create_dir(&small).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&small).output();
    match mount {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return common::skipped(
                NAME,
                String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("mount failed"),
            );
        }
        Err(error) => return common::skipped(NAME, &format!("mount: {error}")),
    }
    let mounted = Mounted(&small);
    let src = put(&dir, "src", &bytes(3 * MIB));
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
    drop(mounted);
    assert_eq!((offset, path.as_deref()), (MIB as u64, Some(dst.as_path())));
    assert_eq!(left, 0);
    assert_eq!((names, old), (vec!["dst".into()], b"old".to_vec()));
}

#[test]
fn a_cancelled_copy_leaves_nothing_behind_and_an_old_file_as_it_was() {
    needs!(safe_doors());
    let dir = Dir::new("cancel");
    let src = put(&dir, "src", &bytes(32 * MIB));
    let old = put(&dir, "old", b"old");
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
    needs!(safe_doors());
    let dir = Dir::new("panic");
    let src = put(&dir, "src", &bytes(8 * MIB));
    let dst = dir.path("dst");
    let panicked = std::panic::catch_unwind(|| Options::new().copy(&src, &dst, |_| panic!("on purpose")));
    assert!(panicked.is_err());
    assert_eq!(dir.names(), ["src"]);
}
