//! The reads that all variants make: which block goes where.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};

use crate::LARGEST;

/// Random blocks of a file that is in the page cache, each into a buffer of its own.
#[derive(Debug)]
pub struct Reads {
    file: File,
    seed: u64,
    buffers: Box<[[u8; Self::LEN]]>,
}

impl Reads {
    /// Bytes of a block.
    pub const LEN: usize = 256;
    /// Blocks of the file.
    pub const BLOCKS: u64 = 4096;
    /// All that is in it.
    pub const BYTE: u8 = 0x5a;
    /// Where the row of random numbers begins.
    pub const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

    /// A file with nothing in it that is kept.
    ///
    /// # Panics
    ///
    /// Where it cannot be written.
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("rawring-bench-{}", std::process::id()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file to read");
        file.write_all(&vec![Self::BYTE; Self::LEN * Self::BLOCKS as usize]).expect("the file's content");
        std::fs::remove_file(path).expect("removing the file's name");
        Reads { file, seed: Self::SEED, buffers: vec![[0; Self::LEN]; LARGEST as usize].into() }
    }

    /// The descriptor of the file.
    #[inline(always)]
    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// # Panics
    ///
    /// If something that was read is not there.
    pub fn check(&self, batch: u32) {
        let read = self.buffers.iter().filter(|buffer| buffer.iter().all(|byte| *byte == Self::BYTE)).count();
        assert!(read >= batch as usize, "a read failed");
    }

    /// Where the read of a batch with this number goes, and from where it comes.
    #[inline(always)]
    pub fn next(&mut self, number: u32) -> (*mut [u8; Self::LEN], u64) {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        // SAFETY: numbers are below the size of the largest batch, for which there are buffers.
        let buffer = unsafe { self.buffers.as_mut_ptr().add(number as usize) };
        (buffer, self.seed % Self::BLOCKS * Self::LEN as u64)
    }
}

impl Default for Reads {
    fn default() -> Self {
        Self::new()
    }
}
