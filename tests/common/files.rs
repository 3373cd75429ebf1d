//! What the tests of file operations share: directories of their own, chains of entries, results of system calls.
//!
//! The file that uses this also has `mod io`, with which entries are run.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rawring::{Errno, Ring, Sqe};

use crate::io;

/// A directory that goes with its test.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new(test: &str) -> Dir {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Dir(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path as operations take it.
    pub fn name(&self, name: &str) -> CString {
        CString::new(self.path(name).as_os_str().as_bytes()).expect("no zeros in paths")
    }

    /// A new file with this content, open for reading and writing.
    pub fn file(&self, name: &str, content: &[u8]) -> File {
        let path = self.path(name);
        std::fs::write(&path, content).expect("written");
        File::options().read(true).write(true).open(path).expect("opened")
    }

    /// The names of what is in it, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("a directory");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name().into_string();
        let mut names: Vec<_> = entries.map(|entry| name(entry).expect("a name of text")).collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "removing {:?}: {removed:?}", self.0);
    }
}

/// A pipe: the end to read from, and the end to write to.
pub fn pipe() -> (File, File) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    (reader.into(), writer.into())
}

/// Submits entries together and gives their results in the order of the entries, whatever order they completed in.
pub fn results<'a, const N: usize>(ring: &mut Ring, entries: [Sqe<'a>; N]) -> [Result<u32, Errno>; N] {
    for (i, entry) in entries.into_iter().enumerate() {
        // SAFETY: what the entries borrow is borrowed for longer than this call, which returns only after their last
        // completions: `reap` aborts the process if those do not come, and nothing in between unwinds.
        unsafe { io::push(ring, entry.user_data(i as u64)) };
    }
    let cqes = io::reap(ring, N);
    std::array::from_fn(|i| io::of(&cqes, i as u64).result())
}

/// What a system call returned, as a completion would say it.
pub fn synchronous<T: TryInto<u32>>(result: Result<T, Errno>) -> Result<u32, Errno> {
    result.map(|n| n.try_into().unwrap_or_else(|_| panic!("a result of more than 32 bits")))
}
