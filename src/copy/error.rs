//! Why a copy did not happen: what was being done to which file, and what the kernel said.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Mode;
use crate::{Reason, ScopeError, SetupError};

/// Why a copy did not happen, or not in full.
#[derive(Debug)]
#[non_exhaustive]
pub enum CopyError {
    /// Depth or block do not suit the mode. Nothing was done.
    OutOfBounds(OutOfBounds),
    /// The kernel gave no ring. Nothing was done.
    Setup(SetupError),
    /// The ring cannot be used safely on this kernel. Nothing was done.
    Unfit(ScopeError),
    /// A file that is not copied, or not copied onto.
    Unsuitable {
        /// Why.
        why: Unsuitable,
        /// Its path; `None` for a file that was given open.
        path: Option<PathBuf>,
    },
    /// An operation on a file failed.
    File {
        /// What was being done.
        step: Step,
        /// The file's path; `None` for a file that was given open.
        path: Option<PathBuf>,
        /// What the kernel said.
        errno: Errno,
    },
    /// The ring took an operation no more.
    Refused(Reason),
    /// Submitting to the ring, or waiting for it, failed.
    Wait(Errno),
    /// The progress function said so.
    Cancelled {
        /// Bytes that had been written.
        bytes: u64,
    },
}

/// One of the two files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The file that is read.
    Source,
    /// The file that is written.
    Destination,
}

/// What was being done to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Opening it.
    Open(Side),
    /// Asking for its type, length and flags.
    Inspect(Side),
    /// Creating the temporary file beside the destination.
    Create,
    /// Reading the source.
    Read {
        /// Where in the file.
        offset: u64,
    },
    /// Writing the destination.
    Write {
        /// Where in the file.
        offset: u64,
    },
    /// Giving the destination its length.
    SetLength,
    /// Giving the destination its owner and mode.
    SetMode,
    /// Putting the finished copy in its place.
    Rename,
}

impl Step {
    /// The file that it was done to.
    pub fn side(self) -> Side {
        match self {
            Step::Open(side) | Step::Inspect(side) => side,
            Step::Read { .. } => Side::Source,
            Step::Create | Step::Write { .. } | Step::SetLength | Step::SetMode | Step::Rename => Side::Destination,
        }
    }

    /// The error of this step, on a file without a path.
    pub(super) fn failed(self, errno: Errno) -> CopyError {
        CopyError::File { step: self, path: None, errno }
    }
}

/// What makes a file unsuitable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Unsuitable {
    /// It is a directory.
    Directory(Side),
    /// Source and destination are one file.
    SameFile,
    /// The destination is a symbolic link that leads nowhere.
    DanglingLink,
    /// The destination was opened with `O_APPEND`.
    Append,
}

impl Unsuitable {
    /// The error of a file without a path.
    pub(super) fn refuse(self) -> CopyError {
        CopyError::Unsuitable { why: self, path: None }
    }

    fn side(self) -> Side {
        match self {
            Unsuitable::Directory(side) => side,
            Unsuitable::SameFile | Unsuitable::DanglingLink | Unsuitable::Append => Side::Destination,
        }
    }
}

/// A depth or a block that the mode does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutOfBounds {
    /// The depth.
    Depth {
        /// What was asked for.
        depth: u32,
        /// What does not allow it.
        mode: Mode,
    },
    /// The block.
    Block {
        /// What was asked for, in bytes.
        block: usize,
        /// What does not allow it.
        mode: Mode,
    },
    /// Both together take too much memory.
    Memory {
        /// How many blocks.
        depth: u32,
        /// Of how many bytes.
        block: usize,
        /// How many bytes there may be.
        most: usize,
    },
}

impl CopyError {
    /// Adds the paths.
    pub(super) fn named(mut self, src: &Path, dst: &Path) -> Self {
        let (side, path) = match &mut self {
            CopyError::File { step, path, .. } => (step.side(), path),
            CopyError::Unsuitable { why, path } => (why.side(), path),
            _ => return self,
        };
        path.get_or_insert_with(|| match side {
            Side::Source => src.to_owned(),
            Side::Destination => dst.to_owned(),
        });
        self
    }
}

/// A file by its path, or by what it is to the copy.
struct Name<'a>(&'a Option<PathBuf>, Side);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(path), _) => write!(f, "{}", path.display()),
            (None, Side::Source) => f.write_str("the source"),
            (None, Side::Destination) => f.write_str("the destination"),
        }
    }
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyError::OutOfBounds(bounds) => bounds.fmt(f),
            CopyError::Setup(error) => error.fmt(f),
            CopyError::Unfit(reason) => reason.fmt(f),
            CopyError::Unsuitable { why, path } => {
                let name = Name(path, why.side());
                match why {
                    Unsuitable::Directory(Side::Source) => write!(f, "{name} is a directory: only files are copied"),
                    Unsuitable::Directory(Side::Destination) => {
                        write!(f, "{name} is a directory: name the file to write")
                    }
                    Unsuitable::SameFile => write!(f, "{name} is the very file to copy: choose another destination"),
                    Unsuitable::DanglingLink => write!(f, "{name} is a symbolic link that leads to no file"),
                    Unsuitable::Append => write!(f, "{name} was opened to append: open it to write"),
                }
            }
            CopyError::File { step, path, errno } => {
                let name = Name(path, step.side());
                match step {
                    Step::Open(_) => write!(f, "opening {name}"),
                    Step::Inspect(_) => write!(f, "inspecting {name}"),
                    Step::Create => write!(f, "creating a temporary file beside {name}"),
                    Step::Read { offset } => write!(f, "reading {name} at offset {offset}"),
                    Step::Write { offset } => write!(f, "writing {name} at offset {offset}"),
                    Step::SetLength => write!(f, "setting the length of {name}"),
                    Step::SetMode => write!(f, "setting owner and mode of {name}"),
                    Step::Rename => write!(f, "renaming the finished copy to {name}"),
                }?;
                write!(f, ": {errno}")
            }
            CopyError::Refused(reason) => write!(f, "the ring refused an operation: {reason}"),
            CopyError::Wait(errno) => write!(f, "waiting for the ring failed: {errno}"),
            CopyError::Cancelled { bytes } => write!(f, "cancelled after {bytes} bytes"),
        }
    }
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            OutOfBounds::Depth { depth, mode } => {
                let (least, most) = mode.depths().into_inner();
                write!(f, "a depth of {depth} is outside of mode {mode}, which allows {least} to {most}")
            }
            OutOfBounds::Block { block, mode } => {
                let (least, most) = mode.blocks().into_inner();
                write!(f, "a block of {block} bytes is outside of mode {mode}, which allows {least} to {most} bytes")
            }
            OutOfBounds::Memory { depth, block, most } => write!(
                f,
                "{depth} blocks of {block} bytes are more than the {most} bytes that a copy may take: \
                 lower the depth or the block"
            ),
        }
    }
}

impl std::error::Error for CopyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CopyError::File { errno, .. } | CopyError::Wait(errno) => Some(errno),
            _ => None,
        }
    }
}

impl std::error::Error for OutOfBounds {}

impl From<OutOfBounds> for CopyError {
    fn from(bounds: OutOfBounds) -> Self {
        CopyError::OutOfBounds(bounds)
    }
}
