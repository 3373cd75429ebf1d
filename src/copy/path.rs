//! Copying from path to path: what the destination is, and when it appears.
//!
//! The invariant: until the copy is complete, nothing at the destination's name changes, and whatever goes wrong, the
//! temporary file goes away. Both follow from writing to a file of another name and renaming it last.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::error::{CopyError, Side, Step, Unsuitable};
use super::{Plan, Progress, Summary, pipeline};

pub(super) fn copy(
    plan: &Plan,
    src: &Path,
    dst: &Path,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Summary, CopyError> {
    copy_named(plan, src, dst, progress).map_err(|error| error.named(src, dst))
}

fn copy_named(
    plan: &Plan,
    src: &Path,
    dst: &Path,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Summary, CopyError> {
    let open = |path, flags, side| {
        rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| Step::Open(side).failed(errno))
    };
    let source = open(src, OFlags::RDONLY, Side::Source)?;
    let from = pipeline::inspect(source.as_fd(), Side::Source)?;
    let existing = match rustix::fs::stat(dst) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => {
            if rustix::fs::lstat(dst).is_ok() {
                return Err(Unsuitable::DanglingLink.refuse());
            }
            let temporary = Temporary::new(dst, Mode::from_raw_mode(from.st_mode & 0o777))?;
            let summary = pipeline::copy(plan, source.as_fd(), temporary.as_fd(), progress)?;
            return temporary.keep().map(|()| summary);
        }
        Err(errno) => return Err(Step::Inspect(Side::Destination).failed(errno)),
    };
    pipeline::check(&from, &existing)?;
    // Opened to see that the caller may write it.
    let opened = open(dst, OFlags::WRONLY, Side::Destination)?;
    if FileType::from_raw_mode(existing.st_mode) != FileType::RegularFile {
        return pipeline::copy(plan, source.as_fd(), opened.as_fd(), progress);
    }
    let target = resolve(dst).map_err(|errno| Step::Inspect(Side::Destination).failed(errno))?;
    let temporary = Temporary::new(&target, Mode::RUSR | Mode::WUSR)?;
    let summary = pipeline::copy(plan, source.as_fd(), temporary.as_fd(), progress)?;
    temporary.take_after(&existing).map_err(|errno| Step::SetMode.failed(errno))?;
    temporary.keep().map(|()| summary)
}

/// Where a path leads, through all symbolic links.
fn resolve(path: &Path) -> Result<PathBuf, Errno> {
    std::fs::canonicalize(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// A file that goes away unless it is kept. It lives in its destination's directory, which is held open: a change of
/// the working directory or a new name for a directory above does not lead astray.
struct Temporary {
    directory: OwnedFd,
    name: OsString,
    destination: OsString,
    file: OwnedFd,
}

impl Temporary {
    fn new(destination: &Path, mode: Mode) -> Result<Temporary, CopyError> {
        Self::create(destination, mode).map_err(|errno| Step::Create.failed(errno))
    }

    fn create(destination: &Path, mode: Mode) -> Result<Temporary, Errno> {
        // "name/" demands a directory, which `file_name` would not notice.
        if destination.as_os_str().as_bytes().ends_with(b"/") {
            return Err(Errno::NOTDIR);
        }
        let name = destination.file_name().ok_or(Errno::ISDIR)?;
        let parent = match destination.parent() {
            Some(parent) if parent != OsStr::new("") => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())?;
        for number in 0u64.. {
            let temporary = OsString::from(format!(".rawring-{}-{number}", std::process::id()));
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            match rustix::fs::openat(&directory, &temporary, flags, mode) {
                Ok(file) => return Ok(Temporary { directory, name: temporary, destination: name.to_owned(), file }),
                // Another copy's of this process, or left behind by one of this number that was killed.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EXIST)
    }

    /// Takes over owner and mode of the file that this one will replace.
    fn take_after(&self, existing: &Stat) -> Result<(), Errno> {
        let owner = std::os::unix::fs::fchown(&self.file, Some(existing.st_uid), Some(existing.st_gid));
        // Running as somebody is only for files whose owner could be kept.
        let bits = if owner.is_ok() { 0o7777 } else { 0o777 };
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(existing.st_mode & bits))
    }

    /// Puts the file in its place.
    fn keep(mut self) -> Result<(), CopyError> {
        let renamed = rustix::fs::renameat(&self.directory, &self.name, &self.directory, &self.destination);
        renamed.map_err(|errno| Step::Rename.failed(errno))?;
        self.name.clear();
        Ok(())
    }
}

impl AsFd for Temporary {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // An error has nobody to go to; the name says whose it is.
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}
