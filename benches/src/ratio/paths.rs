//! Paths: batches of opens, each file closed again, and of questions for facts, beside one call after the other.
//!
//! What was opened is told by the descriptors, which have to be as many, and closed; what was asked for by the lengths,
//! of which each file has another.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use io_uring::{IoUring, opcode, types};
use rawring::{Ring, op, operand::Fixed};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
use tempfile::TempDir;

use super::{AGAIN, Column, Contest, Pace, Section, Variant};
use crate::rawring::ring_of_one_thread;

const BATCH: usize = 32;
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

/// As many files as a batch has.
struct Files {
    names: Vec<CString>,
    /// Removes them in the end.
    _dir: TempDir,
}

impl Files {
    fn new() -> Rc<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let make = |number: usize| {
            let path = dir.path().join(format!("file-{number}"));
            std::fs::write(&path, vec![0; number]).expect("a file");
            CString::new(path.as_os_str().as_bytes()).expect("no zero in a path")
        };
        Rc::new(Files { names: (0..BATCH).map(make).collect(), _dir: dir })
    }
}

/// Closes a descriptor that a completion brought.
fn own(fd: u32) -> OwnedFd {
    // SAFETY: the kernel has just opened it for this process, and nobody else has seen it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn opens_by_calls(files: Rc<Files>) -> impl FnMut(u32) {
    let mut open = Vec::with_capacity(BATCH);
    move |loops| {
        for _ in 0..loops {
            let opened = files.names.iter().map(|name| rustix::fs::open(name, FLAGS, Mode::empty()).expect("a file"));
            open.extend(opened);
            assert_eq!(open.len(), BATCH);
            open.clear();
        }
    }
}

fn opens_by_ours(files: Rc<Files>, mut ring: Ring) -> impl FnMut(u32) {
    let mut open = Vec::with_capacity(BATCH);
    move |loops| {
        for _ in 0..loops {
            for name in &files.names {
                // SAFETY: the path is needed until it is submitted, and lives longer.
                unsafe { ring.push_unchecked(op::OpenAt::new(CWD, name, FLAGS, Mode::empty())) }.expect("room");
            }
            ring.submit_and_wait(BATCH as u32).expect("submission");
            open.extend(ring.completions().map(|cqe| own(cqe.result().expect("a file"))));
            assert_eq!(open.len(), BATCH);
            for file in open.drain(..) {
                ring.push(op::Close::new(file)).expect("room");
            }
            ring.submit_and_wait(BATCH as u32).expect("submission");
            assert_eq!(ring.completions().filter(|cqe| cqe.result() == Ok(0)).count(), BATCH);
        }
    }
}

/// Into slots of the ring's table, so that the process gets no descriptors.
fn opens_into_slots(files: Rc<Files>, mut ring: Ring) -> impl FnMut(u32) {
    ring.register_sparse_files(BATCH as u32).expect("slots");
    move |loops| {
        let slots = || (0..BATCH as u32).map(Fixed);
        for _ in 0..loops {
            for (name, slot) in files.names.iter().zip(slots()) {
                let open = op::OpenAtDirect::new(CWD, name, OFlags::RDONLY, Mode::empty(), slot);
                // SAFETY: the path is needed until it is submitted, and lives longer.
                unsafe { ring.push_unchecked(open) }.expect("room");
            }
            ring.submit_and_wait(BATCH as u32).expect("submission");
            assert_eq!(ring.completions().filter(|cqe| cqe.result() == Ok(0)).count(), BATCH);
            for slot in slots() {
                // An empty slot could not be closed.
                ring.push(op::CloseDirect::new(slot)).expect("room");
            }
            ring.submit_and_wait(BATCH as u32).expect("submission");
            assert_eq!(ring.completions().filter(|cqe| cqe.result() == Ok(0)).count(), BATCH);
        }
    }
}

fn opens_by_theirs(files: Rc<Files>, mut ring: IoUring) -> impl FnMut(u32) {
    let mut open = Vec::with_capacity(BATCH);
    move |loops| {
        for _ in 0..loops {
            let mut queue = ring.submission();
            for name in &files.names {
                let here = types::Fd(CWD.as_raw_fd());
                let entry = opcode::OpenAt::new(here, name.as_ptr()).flags(FLAGS.bits() as i32).build();
                // SAFETY: as for rawring.
                unsafe { queue.push(&entry) }.expect("room");
            }
            drop(queue);
            ring.submit_and_wait(BATCH).expect("submission");
            open.extend(ring.completion().map(|cqe| cqe.result()));
            assert_eq!(open.iter().filter(|fd| **fd >= 0).count(), BATCH);
            let mut queue = ring.submission();
            for fd in open.drain(..) {
                // SAFETY: the entry names no memory.
                unsafe { queue.push(&opcode::Close::new(types::Fd(fd)).build()) }.expect("room");
            }
            drop(queue);
            ring.submit_and_wait(BATCH).expect("submission");
            assert_eq!(ring.completion().filter(|cqe| cqe.result() == 0).count(), BATCH);
        }
    }
}

fn stats_by_calls(files: Rc<Files>) -> impl FnMut(u32) {
    move |loops| {
        for _ in 0..loops {
            for (number, name) in files.names.iter().enumerate() {
                let facts = rustix::fs::statx(CWD, name, AtFlags::empty(), StatxFlags::SIZE).expect("facts");
                assert_eq!(facts.stx_size, number as u64);
            }
        }
    }
}

fn blank() -> Vec<MaybeUninit<Statx>> {
    (0..BATCH).map(|_| MaybeUninit::zeroed()).collect()
}

/// After a batch: whether the answers are those of the files, which are no answers any more after that.
fn check(facts: &mut [MaybeUninit<Statx>]) {
    for (number, facts) in facts.iter_mut().enumerate() {
        // SAFETY: all of it is numbers, and was zeroed at the start.
        let facts = unsafe { facts.assume_init_mut() };
        assert_eq!(facts.stx_size, number as u64);
        facts.stx_size = u64::MAX;
    }
}

fn stats_by_ours(files: Rc<Files>, mut ring: Ring) -> impl FnMut(u32) {
    let mut facts = blank();
    move |loops| {
        for _ in 0..loops {
            for (name, facts) in files.names.iter().zip(&mut facts) {
                let entry = op::Statx::new(CWD, name, AtFlags::empty(), StatxFlags::SIZE, facts);
                // SAFETY: path and memory live until all of the batch is over, and are not used before.
                unsafe { ring.push_unchecked(entry) }.expect("room");
            }
            ring.submit_and_wait(BATCH as u32).expect("submission");
            assert_eq!(ring.completions().filter(|cqe| cqe.result() == Ok(0)).count(), BATCH);
            check(&mut facts);
        }
    }
}

fn stats_by_theirs(files: Rc<Files>, mut ring: IoUring) -> impl FnMut(u32) {
    let mut facts = blank();
    move |loops| {
        for _ in 0..loops {
            let mut queue = ring.submission();
            for (name, facts) in files.names.iter().zip(&mut facts) {
                let here = types::Fd(CWD.as_raw_fd());
                let entry = opcode::Statx::new(here, name.as_ptr(), facts.as_mut_ptr().cast());
                // SAFETY: as for rawring.
                unsafe { queue.push(&entry.mask(StatxFlags::SIZE.bits()).build()) }.expect("room");
            }
            drop(queue);
            ring.submit_and_wait(BATCH).expect("submission");
            assert_eq!(ring.completion().filter(|cqe| cqe.result() == 0).count(), BATCH);
            check(&mut facts);
        }
    }
}

fn plain() -> Ring {
    Ring::new(BATCH as u32).expect("a ring")
}

fn of_one_thread() -> Ring {
    ring_of_one_thread(BATCH as u32)
}

fn peer() -> IoUring {
    IoUring::new(BATCH as u32).expect("a ring")
}

fn opens() -> Result<Contest, String> {
    let files = Files::new();
    let variants = vec![
        Variant::new("system calls", opens_by_calls(files.clone())),
        Variant::new(format!("system calls{AGAIN}"), opens_by_calls(files.clone())),
        Variant::new("rawring", opens_by_ours(files.clone(), plain())),
        Variant::new("rawring, one thread", opens_by_ours(files.clone(), of_one_thread())),
        Variant::new("rawring, one thread, into slots", opens_into_slots(files.clone(), of_one_thread())),
        Variant::new("io-uring", opens_by_theirs(files, peer())),
    ];
    Ok(Contest { operations: BATCH as u32, variants, skipped: Vec::new() })
}

fn stats() -> Result<Contest, String> {
    let files = Files::new();
    let variants = vec![
        Variant::new("system calls", stats_by_calls(files.clone())),
        Variant::new(format!("system calls{AGAIN}"), stats_by_calls(files.clone())),
        Variant::new("rawring", stats_by_ours(files.clone(), plain())),
        Variant::new("rawring, one thread", stats_by_ours(files.clone(), of_one_thread())),
        Variant::new("io-uring", stats_by_theirs(files, peer())),
    ];
    Ok(Contest { operations: BATCH as u32, variants, skipped: Vec::new() })
}

/// Batches on paths.
pub(super) fn section() -> Section {
    Section {
        name: "paths",
        note: "Batches of 32 files that the kernel knows already: opened and then closed, or asked for their length. The \
               kernel hands every `STATX` to a worker thread, which costs more than the question.",
        unit: "file",
        pinned: true,
        pace: Pace::Slices,
        columns: vec![Column::new("open and close", |_| opens()), Column::new("statx", |_| stats())],
        targets: Vec::new(),
        memory: None,
    }
}
