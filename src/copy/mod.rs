//! Copying a file through a ring: a pipeline of reads and writes over [`InFlight`](crate::InFlight).
//!
//! Who owns what, when: a block owns its buffer and a share of both files, and is lent to the kernel for one operation
//! at a time: it is read, then written, then read anew further on. So at most `depth` operations are in flight and at
//! most `depth × block` bytes of buffers exist. Nothing here is unsafe; what the kernel uses, `InFlight` keeps.
//!
//! What is copied: of a regular file, the bytes up to the length that it had at the start. What is appended meanwhile is
//! left out; if it shrinks, the copy ends at the first place where a read met the end. A file whose length the kernel
//! does not tell (a pipe, a device, most of `/proc`) is read one block after the other until its end. Holes arrive as
//! zeros: the copy has the same length and the same bytes, and takes the full space.

mod error;
mod pace;
mod path;
mod pipeline;

use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

pub use error::{CopyError, OutOfBounds, Side, Step, Unsuitable};

/// How much a copy takes for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Begins with blocks of 64 KiB and doubles them, up to 4 MiB, while that makes the copy faster. A block size that
    /// is given is kept as it is.
    #[default]
    Auto,
    /// Little memory and few operations at once: a depth of at most 16, blocks of at most 1 MiB.
    Safe,
    /// Many large operations at once: a depth of at least 64, blocks of at least 1 MiB.
    Fast,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The largest depth in any mode.
const MAX_DEPTH: u32 = 4096;
/// The largest block in any mode.
const MAX_BLOCK: usize = 64 * MIB;
/// The most bytes of buffers in any mode.
const MAX_MEMORY: usize = 1024 * MIB;

impl Mode {
    /// The depths that it allows.
    pub const fn depths(self) -> RangeInclusive<u32> {
        match self {
            Mode::Auto => 1..=MAX_DEPTH,
            Mode::Safe => 1..=16,
            Mode::Fast => 64..=MAX_DEPTH,
        }
    }

    /// The block sizes that it allows, in bytes.
    pub const fn blocks(self) -> RangeInclusive<usize> {
        match self {
            Mode::Auto => 1..=MAX_BLOCK,
            Mode::Safe => 1..=MIB,
            Mode::Fast => MIB..=MAX_BLOCK,
        }
    }

    /// Depth, first block size and largest block size, where nothing else is asked for.
    const fn defaults(self) -> (u32, usize, usize) {
        match self {
            Mode::Auto => (16, 64 * KIB, 4 * MIB),
            Mode::Safe => (8, 256 * KIB, 256 * KIB),
            Mode::Fast => (64, MIB, MIB),
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::Auto => "auto",
            Mode::Safe => "safe",
            Mode::Fast => "fast",
        })
    }
}

/// How to copy. See the [module](self) for what is copied.
///
/// ```
/// use rawring::copy::{Mode, Options};
/// use std::ops::ControlFlow;
///
/// # let dir = std::env::temp_dir().join(format!("rawring-copy-{}", std::process::id()));
/// # std::fs::create_dir(&dir)?;
/// # let (from, to) = (dir.join("from"), dir.join("to"));
/// # std::fs::write(&from, b"some text")?;
/// let summary = Options::new().mode(Mode::Safe).copy(&from, &to, |progress| {
///     eprintln!("{} bytes", progress.bytes);
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(summary.bytes, 9);
/// assert_eq!(std::fs::read(&to)?, b"some text");
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    mode: Mode,
    depth: Option<u32>,
    block: Option<usize>,
}

/// The numbers that a copy runs with.
struct Plan {
    depth: u32,
    block: usize,
    largest: usize,
}

impl Options {
    /// [`Mode::Auto`], with its own depth and block sizes.
    pub fn new() -> Self {
        Options::default()
    }

    /// What bounds the other two, and what they are where they are not given.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How many operations may be in flight. A file without a known length has one, whatever is asked for.
    pub fn depth(mut self, depth: u32) -> Self {
        self.depth = Some(depth);
        self
    }

    /// How many bytes an operation moves.
    pub fn block(mut self, bytes: usize) -> Self {
        self.block = Some(bytes);
        self
    }

    /// Copies the file at `src` to `dst`, calling `progress` as it goes on; `ControlFlow::Break` cancels.
    ///
    /// A regular file appears at `dst` in one step when the copy is complete: until then the bytes are in a temporary
    /// file, `.rawring-<process>-<number>`, in the same directory. So an error, a cancellation or a panic of `progress`
    /// leaves what was at `dst` as it was, and nothing where nothing was. The price: a file that exists is not
    /// overwritten but replaced, so that its other hard links keep the old content, and its directory has to be
    /// writable.
    ///
    /// - A new file gets the mode of `src`, less the umask. A file that exists has to be writable; its mode stays, and
    ///   its owner and group as far as the caller may set them. Extended attributes are not copied or kept.
    /// - If `dst` is a symbolic link, the file that it leads to is replaced, and the link stays.
    /// - If `dst` exists and is no regular file (a device, a pipe), the bytes are written to it directly.
    /// - Data is not synced to the disk.
    ///
    /// # Errors
    ///
    /// Every [`CopyError`]; among them that depth or block are outside of the mode's bounds, that both paths name one
    /// file, and that one is a directory.
    pub fn copy(
        &self,
        src: impl AsRef<Path>,
        dst: impl AsRef<Path>,
        mut progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Summary, CopyError> {
        path::copy(&self.plan()?, src.as_ref(), dst.as_ref(), &mut progress)
    }

    /// Copies an open file to another, from beginning to beginning, calling `progress` as it goes on;
    /// `ControlFlow::Break` cancels.
    ///
    /// File positions are neither used nor moved, except where a file has only that: pipes, terminals, sockets. A
    /// regular `dst` is as long as the copy in the end. After an error its content is anything; the kernel has let go of
    /// it all the same.
    ///
    /// # Errors
    ///
    /// As [`copy`](Self::copy). Besides, a regular `dst` that was opened to append is refused: it would take the blocks
    /// in the order in which they come.
    pub fn copy_file(
        &self,
        src: impl AsFd,
        dst: impl AsFd,
        mut progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Summary, CopyError> {
        pipeline::copy(&self.plan()?, src.as_fd(), dst.as_fd(), &mut progress)
    }

    fn plan(&self) -> Result<Plan, OutOfBounds> {
        let (depth, block, largest) = self.mode.defaults();
        let depth = self.depth.unwrap_or(depth);
        let room = MAX_MEMORY / depth.max(1) as usize;
        let (block, largest) = match self.block {
            Some(block) => (block, block),
            None => (block, largest.min(room)),
        };
        if !self.mode.depths().contains(&depth) {
            return Err(OutOfBounds::Depth { depth, mode: self.mode });
        }
        if !self.mode.blocks().contains(&block) {
            return Err(OutOfBounds::Block { block, mode: self.mode });
        }
        if block > room {
            return Err(OutOfBounds::Memory { depth, block, most: MAX_MEMORY });
        }
        Ok(Plan { depth, block, largest })
    }
}

/// How far a copy has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were written.
    pub bytes: u64,
    /// How many there will be, if the source's length is known.
    pub total: Option<u64>,
    /// Time since the beginning.
    pub elapsed: Duration,
    /// The block size for the next operations.
    pub block: usize,
}

/// What a copy did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The length of the copy.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// How many operations could be in flight.
    pub depth: u32,
    /// The block size at the end.
    pub block: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_each_mode_are_within_its_bounds() {
        for mode in [Mode::Auto, Mode::Safe, Mode::Fast] {
            let plan = Options::new().mode(mode).plan().expect("defaults are allowed");
            assert!(plan.block <= plan.largest && mode.blocks().contains(&plan.largest), "{mode}");
            assert!(plan.depth as usize * plan.largest <= MAX_MEMORY, "{mode}");
        }
    }

    #[test]
    fn depth_and_block_are_bounded_by_the_mode_and_together_by_memory() {
        let plan = |mode, depth, block| Options::new().mode(mode).depth(depth).block(block).plan();
        assert!(plan(Mode::Safe, 16, MIB).is_ok());
        assert!(plan(Mode::Fast, 64, MIB).is_ok());
        for (refused, mode, depth, block) in [
            ("depth", Mode::Safe, 17, MIB),
            ("block", Mode::Safe, 16, MIB + 1),
            ("depth", Mode::Fast, 63, MIB),
            ("block", Mode::Fast, 64, MIB - 1),
            ("depth", Mode::Auto, 0, MIB),
            ("block", Mode::Auto, 1, 0),
            ("depth", Mode::Auto, MAX_DEPTH + 1, 1),
            ("block", Mode::Auto, 1, MAX_BLOCK + 1),
            ("memory", Mode::Fast, 64, 32 * MIB),
        ] {
            let error = plan(mode, depth, block).err().expect("outside of the bounds");
            let kind = match error {
                OutOfBounds::Depth { .. } => "depth",
                OutOfBounds::Block { .. } => "block",
                OutOfBounds::Memory { .. } => "memory",
            };
            assert_eq!(kind, refused, "{error}");
        }
    }

    #[test]
    fn a_large_depth_bounds_how_far_blocks_grow() {
        let plan = Options::new().depth(MAX_DEPTH).plan().expect("allowed");
        assert_eq!(plan.depth as usize * plan.largest, MAX_MEMORY);
    }
}
