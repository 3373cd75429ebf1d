//! A pipe: pages between two ends.
//!
//! The capacity is counted as the kernel counts it, in pages that hold something: a page with one unread byte is in
//! use like a full one, and a write goes into the last page only if the odd part of it fits there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::Attempt::{self, Blocked};
use super::{READABLE, lock};

/// Pages of a new pipe.
const PAGES: usize = 16;
/// Not the machine's: the same seed gives the same run everywhere.
pub(super) const PAGE: usize = 4096;

/// One end. Dropping it closes it.
#[derive(Debug)]
pub(super) struct End {
    pipe: Arc<Mutex<Pipe>>,
    writes: bool,
}

#[derive(Debug, Default)]
struct Pipe {
    pages: VecDeque<Page>,
    readers_gone: bool,
    writers_gone: bool,
    activity: u64,
}

/// What was written into a page, and how much of it was read.
#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    read: usize,
}

impl End {
    pub(super) fn pair() -> (End, End) {
        let pipe = Arc::new(Mutex::new(Pipe::default()));
        (End { pipe: pipe.clone(), writes: false }, End { pipe, writes: true })
    }

    pub(super) fn read(&self, max: usize) -> Attempt<Vec<u8>> {
        if self.writes {
            return Attempt::failed(Errno::BADF);
        }
        if max == 0 {
            return Attempt::done(Vec::new());
        }
        let mut pipe = lock(&self.pipe);
        let bytes = pipe.take(max);
        if !bytes.is_empty() {
            pipe.activity += 1;
            Attempt::done(bytes)
        } else if pipe.writers_gone {
            Attempt::done(bytes)
        } else {
            Blocked
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Attempt<usize> {
        if !self.writes {
            return Attempt::failed(Errno::BADF);
        }
        if bytes.is_empty() {
            return Attempt::done(0);
        }
        let mut pipe = lock(&self.pipe);
        if pipe.readers_gone {
            return Attempt::failed(Errno::PIPE);
        }
        match pipe.put(bytes) {
            0 => Blocked,
            n => {
                pipe.activity += 1;
                Attempt::done(n)
            }
        }
    }

    pub(super) fn poll(&self) -> PollFlags {
        let pipe = lock(&self.pipe);
        let mut mask = PollFlags::empty();
        if self.writes {
            mask.set(PollFlags::OUT | PollFlags::WRNORM, pipe.pages.len() < PAGES);
            mask.set(PollFlags::ERR, pipe.readers_gone);
        } else {
            mask.set(READABLE, !pipe.pages.is_empty());
            mask.set(PollFlags::HUP, pipe.writers_gone);
        }
        mask
    }

    pub(super) fn activity(&self) -> u64 {
        lock(&self.pipe).activity
    }
}

impl Pipe {
    fn take(&mut self, max: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(page) = self.pages.front_mut() {
            let n = (page.bytes.len() - page.read).min(max - taken.len());
            taken.extend_from_slice(&page.bytes[page.read..page.read + n]);
            page.read += n;
            if page.read < page.bytes.len() {
                break;
            }
            self.pages.pop_front();
        }
        taken
    }

    /// Tells how much fitted.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut put = 0;
        // What does not fill whole pages goes first, into the last page, or not there at all.
        let odd = bytes.len() % PAGE;
        if let Some(last) = self.pages.back_mut() {
            if last.bytes.len() + odd <= PAGE {
                last.bytes.extend_from_slice(&bytes[..odd]);
                put = odd;
            }
        }
        while put < bytes.len() && self.pages.len() < PAGES {
            let n = (bytes.len() - put).min(PAGE);
            self.pages.push_back(Page { bytes: bytes[put..put + n].to_vec(), read: 0 });
            put += n;
        }
        put
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        let gone = if self.writes { &mut pipe.writers_gone } else { &mut pipe.readers_gone };
        *gone = true;
        pipe.activity += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::Attempt::Ready;
    use super::*;

    #[test]
    fn the_ends_see_each_other_go() {
        let (reader, writer) = End::pair();
        assert_eq!(reader.read(1), Blocked);
        assert_eq!(writer.write(b"ab"), Ready(Ok(2)));
        drop(writer);
        assert_eq!(reader.poll(), READABLE | PollFlags::HUP);
        assert_eq!(reader.read(9), Ready(Ok(b"ab".to_vec())));
        assert_eq!(reader.read(9), Ready(Ok(Vec::new())));
        let (reader, writer) = End::pair();
        drop(reader);
        assert_eq!(writer.write(b"a"), Ready(Err(Errno::PIPE)));
        assert!(writer.poll().contains(PollFlags::ERR));
    }

    #[test]
    fn a_full_pipe_has_room_when_a_page_is_read() {
        let (reader, writer) = End::pair();
        assert_eq!(writer.write(&[1; PAGES * PAGE + 5]), Ready(Ok(PAGES * PAGE)));
        assert_eq!(writer.write(&[2]), Blocked);
        assert_eq!(reader.read(PAGE - 1).map(|bytes| bytes.len()), Ready(Ok(PAGE - 1)));
        assert_eq!(writer.write(&[2]), Blocked, "a page with one byte is in use");
        assert_eq!(reader.read(1), Ready(Ok(vec![1])));
        assert_eq!(writer.write(&[2]), Ready(Ok(1)));
    }
}
