//! Copying a large file whose content is in the page cache: whole commands.

use std::fs;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use rawring::copy::{Mode, Options};
use tempfile::TempDir;

use super::{AGAIN, Column, Contest, Extent, Pace, Section, Variant};

/// What the copy takes on the disk, twice, and a bit.
const ROOM: u64 = 3 << 30;

struct Place {
    source: PathBuf,
    copy: PathBuf,
    bytes: u64,
    /// Removes it all in the end.
    _dir: TempDir,
}

impl Place {
    fn new(extent: Extent) -> Result<Rc<Self>, String> {
        let bytes = if extent == Extent::Smoke { 16 << 20 } else { 1 << 30 };
        let dir = tempfile::tempdir().expect("a directory");
        let disk = rustix::fs::statvfs(dir.path()).expect("facts about the file system");
        if extent == Extent::Full && disk.f_bavail * disk.f_frsize < ROOM {
            return Err(format!("{} has less than 3 GiB of room", std::env::temp_dir().display()));
        }
        let (source, copy) = (dir.path().join("source"), dir.path().join("copy"));
        let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(&source).expect("the source"));
        let mut random = fastrand::Rng::new();
        for _ in 0..bytes / 8 {
            file.write_all(&random.u64(..).to_ne_bytes()).expect("the source's content");
        }
        file.into_inner().expect("the source's content").sync_all().expect("the source on its disk");
        Ok(Rc::new(Place { source, copy, bytes, _dir: dir }))
    }

    /// Whether the copy is one, and away with it.
    fn check(&self) {
        assert!(same(&self.source, &self.copy, self.bytes), "the copy differs");
        fs::remove_file(&self.copy).expect("removing the copy");
    }
}

fn same(left: &Path, right: &Path, bytes: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let [left, right] = [left, right].map(|path| fs::File::open(path).expect("a file"));
    let mut pages = [vec![0; 1 << 20], vec![0; 1 << 20]];
    let mut block = |offset| {
        let [one, other] = &mut pages;
        left.read_exact_at(one, offset).is_ok() && right.read_exact_at(other, offset).is_ok() && one == other
    };
    right.metadata().expect("facts").len() == bytes && (0..bytes).step_by(1 << 20).all(&mut block)
}

fn ours(place: &Place, options: Options) {
    let summary = options.copy(&place.source, &place.copy, |_| ControlFlow::Continue(())).expect("a copy");
    assert_eq!(summary.bytes, place.bytes);
}

fn contest(extent: Extent) -> Result<Contest, String> {
    let place = Place::new(extent)?;
    let variant = |name: String, copy: fn(&Place)| {
        let (here, after) = (place.clone(), place.clone());
        let run = move |loops| {
            assert_eq!(loops, 1, "a command is not repeated");
            copy(&here);
        };
        Variant { name, run: Box::new(run), settle: Box::new(move || after.check()) }
    };
    let std_copy = |place: &Place| assert_eq!(fs::copy(&place.source, &place.copy).expect("a copy"), place.bytes);
    let cp = |place: &Place| {
        let status = Command::new("cp").args([&place.source, &place.copy]).status().expect("cp");
        assert!(status.success());
    };
    Ok(Contest {
        operations: 1,
        variants: vec![
            variant("cp".into(), cp),
            variant(format!("cp{AGAIN}"), cp),
            variant("std::fs::copy".into(), std_copy),
            variant("rawring".into(), |place| ours(place, Options::new())),
            variant("rawring, mode fast".into(), |place| ours(place, Options::new().mode(Mode::Fast))),
        ],
        skipped: Vec::new(),
    })
}

/// Copies of a file.
pub(super) fn section() -> Section {
    Section {
        name: "copy",
        note: "A file of 1 GiB that is in the page cache, copied to a new file, compared and removed (not counted). `cp` \
               and `std::fs::copy` have the kernel copy (`copy_file_range`): one call, and no byte comes to user space.",
        unit: "copy",
        pinned: false,
        pace: Pace::Commands { rounds: 3, executions: 3 },
        columns: vec![Column::new("1 GiB", contest)],
        targets: Vec::new(),
        memory: None,
    }
}
