//! Blocks of a file: from the page cache, past it, and into it; by rings and by one call after the other.
//!
//! The first word of every piece of 256 bytes says where it is. A read is checked against that, and a slice of writes
//! ends with reading back what its last batch wrote.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::rc::Rc;

use io_uring::{IoUring, opcode, types};
use rawring::operand::{Fixed, FixedBuf, FixedBufMut};
use rawring::{Ring, Sqe, op};
use rustix::fs::OFlags;

use super::{AGAIN, Column, Contest, Pace, Section, Variant};
use crate::rawring::ring_of_one_thread;

/// How much each mark in the file stands for.
pub(super) const PIECE: usize = 256;
const PAGE: usize = 4096;

/// What is done with blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    Read,
    ReadDirect,
    Write,
}

impl Job {
    /// Bytes of the file: for reads, more than the inner caches hold; for writes, few, so that they are dirty soon.
    fn size(self) -> usize {
        if self == Job::Write { 1 << 20 } else { 16 << 20 }
    }
}

/// Blocks that are read or written, and where they are put.
struct Blocks {
    file: Rc<File>,
    job: Job,
    len: usize,
    /// Aligned, for what goes past the cache.
    memory: Box<[Page]>,
    /// Where each buffer of a batch comes from or goes to.
    offsets: Vec<u64>,
    /// Not the same for all: whoever reads blocks that others have just read finds them in the inner caches.
    seed: u64,
}

#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; PAGE]);

/// What is in the file at `offset`.
pub(super) fn mark(offset: u64) -> [u8; 8] {
    (offset / PIECE as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_ne_bytes()
}

/// A file with a mark at the start of every piece.
pub(super) fn marked_file(size: usize) -> File {
    // Piece by piece: what memory is needed at most is measured in places.
    let mut to = BufWriter::new(tempfile::tempfile().expect("a file"));
    for offset in (0..size as u64).step_by(PIECE) {
        let mut piece = [0; PIECE];
        piece[..8].copy_from_slice(&mark(offset));
        to.write_all(&piece).expect("the file's content");
    }
    to.into_inner().expect("the file's content")
}

fn file(job: Job) -> Result<Rc<File>, String> {
    let file = marked_file(job.size());
    if job == Job::ReadDirect {
        file.sync_all().expect("the file on its disk");
        let errno = |error| format!("the file system of {} has no O_DIRECT: {error}", std::env::temp_dir().display());
        rustix::fs::fcntl_setfl(&file, OFlags::DIRECT).map_err(errno)?;
        let mut page = Page([0; PAGE]);
        file.read_at(&mut page.0, 0).map_err(|error| format!("O_DIRECT does not work: {error}"))?;
    }
    Ok(Rc::new(file))
}

impl Blocks {
    fn new(file: Rc<File>, job: Job, len: usize, batch: usize) -> Self {
        let memory = vec![Page([0; PAGE]); batch].into();
        let offsets = (0..batch).map(|number| (number * len) as u64).collect();
        Blocks { file, job, len, memory, offsets, seed: fastrand::u64(1..) }
    }

    fn batch(&self) -> usize {
        self.offsets.len()
    }

    /// The buffer of a batch with this number, and where in the file its block is.
    fn next(&mut self, number: usize) -> (*mut u8, u64) {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let buffer = &mut self.memory[number].0;
        // Two writes of a batch to one block would end in any order, so writes go from one to the next.
        let offset = match self.job {
            Job::Write => (self.offsets[number] + (self.offsets.len() * self.len) as u64) % self.job.size() as u64,
            Job::Read | Job::ReadDirect => self.seed % (self.job.size() / self.len) as u64 * self.len as u64,
        };
        if self.job == Job::Write {
            buffer[..8].copy_from_slice(&self.seed.to_ne_bytes());
        }
        self.offsets[number] = offset;
        (buffer.as_mut_ptr(), offset)
    }

    /// After a batch: whether everything that was to be read was.
    fn check(&self) {
        if self.job != Job::Write {
            let right = |(page, offset): (&Page, &u64)| page.0[..8] == mark(*offset);
            assert!(self.memory.iter().zip(&self.offsets).all(right), "a read brought something else");
        }
    }

    /// After a slice: whether what was to be written is there.
    fn settle(&self) {
        if self.job == Job::Write {
            for (page, offset) in self.memory.iter().zip(&self.offsets) {
                let mut there = [0; 8];
                self.file.read_exact_at(&mut there, *offset).expect("reading back");
                assert_eq!(there, page.0[..8], "a write is missing");
            }
        }
    }

    /// All buffers, as one.
    fn region(&mut self) -> NonNull<[u8]> {
        let start = NonNull::from(&mut self.memory[..]).cast();
        NonNull::slice_from_raw_parts(start, self.memory.len() * PAGE)
    }
}

/// One system call for each block.
fn calls(mut blocks: Blocks) -> impl FnMut(u32) {
    move |loops| {
        for _ in 0..loops {
            for number in 0..blocks.batch() {
                let (buffer, offset) = blocks.next(number);
                // SAFETY: the buffer has that length, and nobody else uses it now.
                let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, blocks.len) };
                let done = match blocks.job {
                    Job::Read | Job::ReadDirect => blocks.file.read_at(buffer, offset),
                    Job::Write => blocks.file.write_at(buffer, offset),
                };
                assert_eq!(done.expect("the call"), blocks.len);
            }
            blocks.check();
        }
        blocks.settle();
    }
}

/// By rawring, with everything registered or nothing.
fn ours(mut blocks: Blocks, mut ring: Ring, registered: bool) -> impl FnMut(u32) {
    if registered {
        ring.register_files(&[blocks.file.as_fd().into()]).expect("a registered file");
        // SAFETY: the memory stays where it is as long as `blocks`, and is used with this ring only until then.
        unsafe { ring.register_borrowed_buffers(&[blocks.region()], &[]) }.expect("a registered buffer");
    }
    move |loops| {
        let file = blocks.file.clone();
        let (batch, len) = (blocks.batch(), blocks.len);
        for _ in 0..loops {
            for number in 0..batch {
                let (buffer, offset) = blocks.next(number);
                // SAFETY: the buffer has that length, and nobody else uses it until the operation is over.
                let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, len) };
                let entry: Sqe<'_> = match (blocks.job, registered) {
                    (Job::Write, false) => op::Write::new(file.as_fd(), &*buffer).offset(offset).into(),
                    (Job::Write, true) => {
                        op::WriteFixed::new(Fixed(0), FixedBuf::new(&*buffer, 0)).offset(offset).into()
                    }
                    (_, false) => op::Read::new(file.as_fd(), buffer).offset(offset).into(),
                    (_, true) => op::ReadFixed::new(Fixed(0), FixedBufMut::new(buffer, 0)).offset(offset).into(),
                };
                // SAFETY: the buffer and the file live until the operation is over, which is before the next batch.
                unsafe { ring.push_unchecked(entry) }.expect("room");
            }
            ring.submit_and_wait(batch as u32).expect("submission");
            let bytes: u32 = ring.completions().map(|cqe| cqe.result().expect("the operation")).sum();
            assert_eq!(bytes as usize, batch * len);
            blocks.check();
        }
        blocks.settle();
    }
}

/// By the peer io-uring, in the same ways.
fn theirs(mut blocks: Blocks, mut ring: IoUring, registered: bool) -> impl FnMut(u32) {
    if registered {
        ring.submitter().register_files(&[blocks.file.as_raw_fd()]).expect("a registered file");
        let region = blocks.region();
        let vec = libc::iovec { iov_base: region.as_ptr().cast(), iov_len: region.len() };
        // SAFETY: as for rawring.
        unsafe { ring.submitter().register_buffers(&[vec]) }.expect("a registered buffer");
    }
    move |loops| {
        let (batch, len, fd) = (blocks.batch(), blocks.len, types::Fd(blocks.file.as_raw_fd()));
        let (index, bytes) = (types::Fixed(0), len as u32);
        for _ in 0..loops {
            let mut queue = ring.submission();
            for number in 0..batch {
                let (buffer, offset) = blocks.next(number);
                let entry = match (blocks.job, registered) {
                    (Job::Write, false) => opcode::Write::new(fd, buffer, bytes).offset(offset).build(),
                    (Job::Write, true) => opcode::WriteFixed::new(index, buffer, bytes, 0).offset(offset).build(),
                    (_, false) => opcode::Read::new(fd, buffer, bytes).offset(offset).build(),
                    (_, true) => opcode::ReadFixed::new(index, buffer, bytes, 0).offset(offset).build(),
                };
                // SAFETY: as for rawring.
                unsafe { queue.push(&entry) }.expect("room");
            }
            drop(queue);
            ring.submit_and_wait(batch).expect("submission");
            let bytes: i32 = ring.completion().map(|cqe| cqe.result()).sum();
            assert_eq!(bytes as usize, batch * len);
            blocks.check();
        }
        blocks.settle();
    }
}

fn contest(job: Job, len: usize, batch: usize) -> Result<Contest, String> {
    let shared = file(job)?;
    // Whoever writes where others have just written finds the pages dirty.
    let own = || if job == Job::Write { file(job).expect("another file") } else { shared.clone() };
    let blocks = || Blocks::new(own(), job, len, batch);
    let entries = batch as u32;
    let call = if job == Job::Write { "pwrite" } else { "pread" };
    let plain = || Ring::new(entries).expect("a ring");
    let peer = || IoUring::new(entries).expect("a ring");
    let variants = vec![
        Variant::new(call, calls(blocks())),
        Variant::new(format!("{call}{AGAIN}"), calls(blocks())),
        Variant::new("rawring", ours(blocks(), plain(), false)),
        Variant::new("rawring, registered file and buffer", ours(blocks(), plain(), true)),
        Variant::new("rawring, one thread", ours(blocks(), ring_of_one_thread(entries), false)),
        Variant::new("rawring, one thread, registered", ours(blocks(), ring_of_one_thread(entries), true)),
        Variant::new("io-uring", theirs(blocks(), peer(), false)),
        Variant::new("io-uring, registered file and buffer", theirs(blocks(), peer(), true)),
    ];
    Ok(Contest { operations: entries, variants, skipped: Vec::new() })
}

fn column(job: Job, len: usize, batch: usize, name: String) -> Column {
    Column::new(name, move |_| contest(job, len, batch))
}

/// Reads from the page cache.
pub(super) fn cached() -> Section {
    let of = |(len, batch): (usize, usize)| column(Job::Read, len, batch, format!("{len} bytes, b{batch}"));
    Section {
        name: "cached reads",
        note: "Random blocks from the page cache, checked. What a ring saves is entering the kernel, what it adds is \
               bookkeeping: at a batch of one it can only lose.",
        unit: "read",
        pinned: true,
        pace: Pace::Slices,
        columns: [(256, 1), (256, 32), (4096, 1), (4096, 32)].map(of).into(),
        targets: Vec::new(),
        memory: None,
    }
}

/// Reads past the page cache.
pub(super) fn direct() -> Section {
    Section {
        name: "direct reads",
        note: "Random blocks of 4 KiB past the page cache (`O_DIRECT`), by depth: how many are in flight at once. There \
               is one `pread` at a time.",
        unit: "read",
        pinned: true,
        pace: Pace::Slices,
        columns: [1, 8, 32].map(|depth| column(Job::ReadDirect, PAGE, depth, format!("depth {depth}"))).into(),
        targets: Vec::new(),
        memory: None,
    }
}

/// Writes into the page cache.
pub(super) fn writes() -> Section {
    Section {
        name: "buffered writes",
        note: "Blocks of 4 KiB into the page cache, one after the other, read back. Most file systems, ext4 among them, \
               do not write without blocking: there each write goes to a worker thread of the kernel first.",
        unit: "write",
        pinned: true,
        pace: Pace::Slices,
        columns: [1, 32].map(|batch| column(Job::Write, PAGE, batch, format!("b{batch}"))).into(),
        targets: Vec::new(),
        memory: None,
    }
}
