//! What arrives: every size, mode and depth, holes, sources that change, many copies at once.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use rawring::copy::{Mode, Options, Summary};

use crate::common::{needs, safe_doors};
use crate::files::Dir;
use crate::{MIB, bytes, copied, put, same};

#[test]
fn every_size_around_a_block_in_every_mode_and_depth() {
    needs!(safe_doors());
    let dir = Dir::new("sizes");
    let all = bytes(6 * MIB);
    for (mode, block, depths) in
        [(Mode::Auto, 4096, [1, 2, 3, 64]), (Mode::Safe, 4096, [1, 2, 7, 16]), (Mode::Fast, MIB, [64, 65, 100, 512])]
    {
        for size in [0, 1, block - 1, block, block + 1, 5 * block + block / 3] {
            let src = put(&dir, "src", &all[..size]);
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
    needs!(safe_doors());
    let dir = Dir::new("auto");
    let all = bytes(16 * MIB + 1);
    let src = put(&dir, "src", &all);
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
fn holes_arrive_as_zeros_and_the_length_is_the_same() {
    needs!(safe_doors());
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
    needs!(safe_doors());
    let dir = Dir::new("grow");
    let all = bytes(64 << 10);
    let src = put(&dir, "src", &all);
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
    needs!(safe_doors());
    let dir = Dir::new("shrink");
    let all = bytes(64 << 10);
    let src = put(&dir, "src", &all);
    let (summary, totals) = meddled(&src, &dir.path("dst"), || {
        File::options().write(true).open(&src).unwrap().set_len(20_000).unwrap();
    });
    assert_eq!(summary.bytes, 20_000);
    assert_eq!(totals.last(), Some(&Some(20_000)));
    same(&dir.path("dst"), &all[..20_000], "shrunk");
}

#[test]
fn a_source_that_shrinks_while_many_blocks_are_under_way_gives_a_beginning_of_it() {
    needs!(safe_doors());
    let dir = Dir::new("shrink-deep");
    let all = bytes(16 * MIB);
    for cut in [0, 1, 12_345, MIB as u64, 9 * MIB as u64 + 1] {
        let src = put(&dir, "src", &all);
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
fn nothing_stays_open_and_many_copies_run_at_once() {
    needs!(safe_doors());
    let dir = Dir::new("many");
    let all = bytes(MIB);
    let src = put(&dir, "src", &all);
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
    let ours: Vec<_> = open.filter(|target| target.starts_with(dir.path(""))).collect();
    assert_eq!(ours, Vec::<PathBuf>::new());
}

#[test]
fn any_size_depth_and_block() {
    needs!(safe_doors());
    any_copy();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    fn any_copy(size in 0usize..200_000, depth in 1u32..40, block in 1usize..50_000) {
        // A byte at a time is right as well, but not more interesting a hundred thousand times.
        let block = block.max(size / 500);
        let dir = Dir::new(&format!("any-{size}-{depth}-{block}"));
        let all = bytes(size);
        let src = put(&dir, "src", &all);
        let summary = copied(Options::new().depth(depth).block(block.max(1)), &src, &dir.path("dst"));
        prop_assert_eq!(summary.bytes, size as u64);
        prop_assert!(fs::read(dir.path("dst")).unwrap() == all);
    }
}
