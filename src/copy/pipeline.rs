//! The pipeline: which blocks are read and written when, and what follows from each result.
//!
//! Where a block stands is in the block itself. A read that brought less than asked is continued, and so is a write; an
//! interrupted operation is started anew. `end` is where the copy ends as far as is known: a read that meets the end of
//! the source lowers it, and what was written beyond it is cut off last. The invariant: all of `[0, end)` is read in
//! blocks that are each written once, and every block is either in flight or spare.

use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use super::error::{CopyError, Side, Step, Unsuitable};
use super::pace::Pace;
use super::{Plan, Progress, Summary};
use crate::op::{Read, Write};
use crate::{Done, Event, InFlight, Reason, Ring, Sqe, Wait};

/// How long nothing may happen before the progress function is asked again whether to go on.
const TICK: Duration = Duration::from_millis(100);

/// "At the file's position", the only place that files without offsets have.
const POSITION: u64 = u64::MAX;

/// Copies between open files.
pub(super) fn copy(
    plan: &Plan,
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Summary, CopyError> {
    let (from, to) = (inspect(src, Side::Source)?, inspect(dst, Side::Destination)?);
    check(&from, &to)?;
    let mut pipeline = Pipeline::new(plan, (src, &from), (dst, &to))?;
    let ring = Ring::new(pipeline.depth).map_err(CopyError::Setup)?;
    let mut ring = InFlight::new(ring).map_err(|unfit| CopyError::Unfit(unfit.reason))?;
    let pumped = pipeline.pump(&mut ring, progress);
    // Whatever came of it: when this returns, the kernel uses neither file any more.
    let drained = ring.shutdown();
    pumped?;
    drained.map_err(|error| CopyError::Wait(error.errno))?;
    pipeline.finish(dst)
}

/// The status of an open file.
pub(super) fn inspect(file: BorrowedFd<'_>, side: Side) -> Result<Stat, CopyError> {
    rustix::fs::fstat(file).map_err(|errno| Step::Inspect(side).failed(errno))
}

/// Whether one file can be copied onto the other.
pub(super) fn check(from: &Stat, to: &Stat) -> Result<(), CopyError> {
    for (stat, side) in [(from, Side::Source), (to, Side::Destination)] {
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Unsuitable::Directory(side).refuse());
        }
    }
    let stored = matches!(FileType::from_raw_mode(from.st_mode), FileType::RegularFile | FileType::BlockDevice);
    if stored && (from.st_dev, from.st_ino) == (to.st_dev, to.st_ino) {
        return Err(Unsuitable::SameFile.refuse());
    }
    Ok(())
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// An end of the pipe. Blocks share it, so that it stays open while the kernel uses it.
struct End {
    fd: OwnedFd,
    /// Whether offsets mean something to it.
    seeks: bool,
}

impl End {
    fn new(fd: BorrowedFd<'_>, side: Side) -> Result<End, CopyError> {
        let fd = fd.try_clone_to_owned().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Step::Open(side).failed(errno)
        })?;
        let seeks = rustix::fs::tell(&fd).is_ok();
        Ok(End { fd, seeks })
    }

    fn at(&self, offset: u64) -> u64 {
        if self.seeks { offset } else { POSITION }
    }
}

struct Ends {
    src: End,
    dst: End,
}

/// What a block's operation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Reading,
    Writing,
}

/// A part of the file on its way.
struct Block {
    ends: Arc<Ends>,
    bytes: Vec<u8>,
    /// Its place in the file.
    start: u64,
    /// How many bytes it is to have, has been given, and has passed on: `written <= read <= want <= bytes.len()`.
    want: usize,
    read: usize,
    written: usize,
    doing: Doing,
}

impl Block {
    fn new(ends: Arc<Ends>) -> Block {
        Block { ends, bytes: Vec::new(), start: 0, want: 0, read: 0, written: 0, doing: Doing::Reading }
    }

    /// Makes it the part at `start`. Only a block that is larger than all before it allocates.
    fn aim(&mut self, start: u64, want: usize) {
        if self.bytes.len() < want {
            // The old buffer goes first: both at once would be more than the copy may take.
            self.bytes = Vec::new();
            self.bytes = vec![0; want];
        }
        (self.start, self.want, self.read, self.written) = (start, want, 0, 0);
        self.doing = Doing::Reading;
    }

    /// Where its next operation begins.
    fn offset(&self) -> u64 {
        match self.doing {
            Doing::Reading => self.start + self.read as u64,
            Doing::Writing => self.start + self.written as u64,
        }
    }

    fn step(&self) -> Step {
        let offset = self.offset();
        match self.doing {
            Doing::Reading => Step::Read { offset },
            Doing::Writing => Step::Write { offset },
        }
    }

    fn entry(&mut self) -> Sqe<'_> {
        let offset = self.offset();
        let Ends { src, dst } = &*self.ends;
        match self.doing {
            Doing::Reading => Read::new(&src.fd, &mut self.bytes[self.read..self.want]).offset(src.at(offset)).into(),
            Doing::Writing => Write::new(&dst.fd, &self.bytes[self.written..self.read]).offset(dst.at(offset)).into(),
        }
    }
}

struct Pipeline {
    ends: Arc<Ends>,
    /// How many blocks there may be, and are.
    depth: u32,
    blocks: u32,
    spare: Vec<Block>,
    pace: Pace,
    began: Instant,
    /// Where the next block begins, and where the last one ends.
    next: u64,
    end: u64,
    /// Whether `end` is a length that was known at the start. If not, there is one block, and it is written as soon as
    /// a read brought something.
    sized: bool,
    /// Whether the destination has a length to be set.
    regular: bool,
    /// Bytes that were written.
    copied: u64,
}

impl Pipeline {
    fn new(
        plan: &Plan,
        (src, from): (BorrowedFd<'_>, &Stat),
        (dst, to): (BorrowedFd<'_>, &Stat),
    ) -> Result<Pipeline, CopyError> {
        let regular = is_regular(to);
        let flags = rustix::fs::fcntl_getfl(dst).map_err(|errno| Step::Inspect(Side::Destination).failed(errno))?;
        if regular && flags.contains(OFlags::APPEND) {
            return Err(Unsuitable::Append.refuse());
        }
        let ends = Ends { src: End::new(src, Side::Source)?, dst: End::new(dst, Side::Destination)? };
        // Files of /proc have a length of 0 and a content.
        let length = u64::try_from(from.st_size).unwrap_or(0);
        let sized = is_regular(from) && length > 0;
        // A destination without places takes the blocks in the order in which they come.
        let depth = if sized && regular { plan.depth } else { 1 };
        let depth = u64::from(depth).min(length.div_ceil(plan.block as u64)).max(1) as u32;
        Ok(Pipeline {
            ends: Arc::new(ends),
            depth,
            blocks: 0,
            spare: Vec::new(),
            pace: Pace::new(plan.block, plan.largest, depth),
            began: Instant::now(),
            next: 0,
            end: if sized { length } else { u64::MAX },
            sized,
            regular,
            copied: 0,
        })
    }

    /// Runs until all is copied, or something ends it: then operations may still be in flight.
    fn pump(
        &mut self,
        ring: &mut InFlight<Block>,
        progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<(), CopyError> {
        loop {
            while let Some(block) = self.next_block() {
                start(ring, block)?;
            }
            if ring.in_flight() == 0 {
                return Ok(());
            }
            match ring.submit_with(&Wait::new(1).timeout(TICK)) {
                // The kernel is short of memory, or of room for completions: reaping helps.
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::INTR) => {}
                Err(errno) => return Err(CopyError::Wait(errno)),
            }
            while let Some(event) = ring.next_event() {
                // Nothing else has a ring that was made for this.
                if let Event::Done(done) = event {
                    self.go_on(ring, done)?;
                }
            }
            let elapsed = self.began.elapsed();
            self.pace.copied(self.copied, elapsed);
            let total = self.sized.then_some(self.end);
            let block = self.pace.block();
            // More than that was written if the source shrank.
            let bytes = self.copied.min(self.end);
            if progress(&Progress { bytes, total, elapsed, block }).is_break() {
                return Err(CopyError::Cancelled { bytes });
            }
        }
    }

    /// A block for the next part of the file, if there is one of each.
    fn next_block(&mut self) -> Option<Block> {
        if self.next >= self.end {
            return None;
        }
        let mut block = match self.spare.pop() {
            Some(block) => block,
            None if self.blocks < self.depth => {
                self.blocks += 1;
                Block::new(self.ends.clone())
            }
            None => return None,
        };
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let want = left.min(self.pace.block());
        block.aim(self.next, want);
        self.next += want as u64;
        Some(block)
    }

    /// Continues with a block whose operation ended.
    fn go_on(&mut self, ring: &mut InFlight<Block>, done: Done<Block>) -> Result<(), CopyError> {
        let Done { state: mut block, cqe, .. } = done;
        match (block.doing, cqe.result()) {
            // The kernel itself waits for files that have O_NONBLOCK, so that AGAIN does not mean them.
            (_, Err(Errno::INTR | Errno::AGAIN)) => {}
            (_, Err(errno)) => return Err(block.step().failed(errno)),
            (Doing::Reading, Ok(0)) => {
                self.end = self.end.min(block.offset());
                block.doing = Doing::Writing;
            }
            (Doing::Reading, Ok(count)) => {
                block.read += count as usize;
                if block.read == block.want || !self.sized {
                    block.doing = Doing::Writing;
                }
            }
            // The kernel has no reason to take nothing; asking again might go on for ever.
            (Doing::Writing, Ok(0)) => return Err(block.step().failed(Errno::IO)),
            (Doing::Writing, Ok(count)) => {
                block.written += count as usize;
                self.copied += u64::from(count);
            }
        }
        if block.doing == Doing::Writing && block.written == block.read {
            if !self.sized {
                self.next = block.start + block.read as u64;
            }
            self.spare.push(block);
            return Ok(());
        }
        start(ring, block)
    }

    /// Gives the copy its length.
    fn finish(self, dst: BorrowedFd<'_>) -> Result<Summary, CopyError> {
        if self.regular {
            rustix::fs::ftruncate(dst, self.end).map_err(|errno| Step::SetLength.failed(errno))?;
        }
        let (elapsed, block) = (self.began.elapsed(), self.pace.block());
        Ok(Summary { bytes: self.end, elapsed, depth: self.depth, block })
    }
}

/// Starts a block's operation.
fn start(ring: &mut InFlight<Block>, mut block: Block) -> Result<(), CopyError> {
    loop {
        match ring.start(block, Block::entry) {
            Ok(_) => return Ok(()),
            Err(refused) if refused.reason == Reason::Full => {
                ring.submit().map_err(CopyError::Wait)?;
                block = refused.entry;
            }
            Err(refused) => return Err(CopyError::Refused(refused.reason)),
        }
    }
}
