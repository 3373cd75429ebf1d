//! What the destination is: modes, owners, links, and files that are refused.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rawring::Errno;
use rawring::copy::{CopyError, Options, Side, Unsuitable};

use crate::common::{needs, safe_doors};
use crate::files::Dir;
use crate::{common, copied, go_on, put};

#[test]
fn a_new_file_gets_the_sources_mode_less_the_umask_and_an_old_one_keeps_its_own() {
    needs!(safe_doors());
    let dir = Dir::new("modes");
    let src = put(&dir, "src", b"new content");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // What cp does here, umask included. That of busybox keeps the bits for other users' rights in files of root.
    let reference = dir.path("reference");
    let version = std::process::Command::new("cp").arg("--version").output().unwrap();
    let coreutils = version.stdout.windows(9).any(|word| word == b"coreutils");
    if !coreutils {
        let test = "a_new_file_gets_the_sources_mode_less_the_umask_and_an_old_one_keeps_its_own";
        crate::common::skipped(test, "set-user-ID: the cp here is not that of the GNU coreutils");
    }
    for bits in [0o644, 0o755, 0o600, 0o4777].into_iter().filter(|bits| coreutils || bits & 0o7000 == 0) {
        set(&src, bits);
        let _ = fs::remove_file(&reference);
        assert!(std::process::Command::new("cp").args([&src, &reference]).status().unwrap().success());
        let dst = dir.path("dst");
        let _ = fs::remove_file(&dst);
        copied(Options::new(), &src, &dst);
        assert_eq!(mode(&dst), mode(&reference), "source {bits:o}");
    }
    set(&src, 0o777);
    let old = put(&dir, "old", b"longer than the new content by far");
    set(&old, 0o640);
    copied(Options::new(), &src, &old);
    assert_eq!(mode(&old), 0o640);
    assert_eq!(fs::read(&old).unwrap(), b"new content");
}

#[test]
fn an_old_file_keeps_its_owner() {
    needs!(safe_doors());
    let dir = Dir::new("owner");
    let src = put(&dir, "src", b"new content");
    let old = put(&dir, "old", b"old");
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
    needs!(safe_doors());
    let dir = Dir::new("replace");
    let src = put(&dir, "src", b"new");
    let old = put(&dir, "old", b"old content");
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
    let src = put(&dir, "src", b"content");
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
fn open_files_are_copied_from_their_beginnings_and_an_appending_one_is_refused() {
    needs!(safe_doors());
    let dir = Dir::new("open");
    let src = put(&dir, "src", b"0123456789");
    let dst = put(&dir, "dst", b"something longer than that");
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
