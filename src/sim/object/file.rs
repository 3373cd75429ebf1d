//! A file: bytes and a position. It never waits.

use rustix::io::Errno;

/// The largest file. Beyond it is `EFBIG`, as beyond the limit of a real file system.
const MAX_SIZE: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct File {
    bytes: Vec<u8>,
    position: u64,
}

impl File {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        File { bytes, position: 0 }
    }

    /// At the offset, or at the position, which then moves.
    pub(super) fn read(&mut self, offset: Option<u64>, max: usize) -> Result<Vec<u8>, Errno> {
        let at = checked(offset.unwrap_or(self.position), max)?;
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(self.bytes.len());
        let end = start.saturating_add(max).min(self.bytes.len());
        if offset.is_none() {
            self.position += (end - start) as u64;
        }
        Ok(self.bytes[start..end].to_vec())
    }

    /// At the offset, or at the position, which then moves. A gap is filled with zeros.
    pub(super) fn write(&mut self, offset: Option<u64>, bytes: &[u8]) -> Result<usize, Errno> {
        let at = checked(offset.unwrap_or(self.position), bytes.len())?;
        if bytes.is_empty() {
            return Ok(0);
        }
        if at >= MAX_SIZE {
            return Err(Errno::FBIG);
        }
        let start = at as usize;
        let n = bytes.len().min((MAX_SIZE - at) as usize);
        if self.bytes.len() < start + n {
            self.bytes.resize(start + n, 0);
        }
        self.bytes[start..start + n].copy_from_slice(&bytes[..n]);
        if offset.is_none() {
            self.position += n as u64;
        }
        Ok(n)
    }

    pub(super) fn truncate(&mut self, size: u64) -> Result<(), Errno> {
        if checked(size, 0)? > MAX_SIZE {
            return Err(Errno::FBIG);
        }
        self.bytes.resize(size as usize, 0);
        Ok(())
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.bytes
    }
}

/// Offsets are signed, and so are those of what lies behind them.
fn checked(offset: u64, len: usize) -> Result<u64, Errno> {
    match offset.checked_add(len as u64) {
        Some(end) if i64::try_from(end).is_ok() => Ok(offset),
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_moves_only_without_an_offset() {
        let mut file = File::new(b"abcdef".to_vec());
        assert_eq!(file.read(Some(4), 9), Ok(b"ef".to_vec()));
        assert_eq!(file.read(None, 2), Ok(b"ab".to_vec()));
        assert_eq!(file.write(None, b"XY"), Ok(2));
        assert_eq!(file.write(Some(0), b"Z"), Ok(1));
        assert_eq!(file.read(None, 9), Ok(b"ef".to_vec()));
        assert_eq!(file.read(None, 9), Ok(Vec::new()), "the end");
        assert_eq!(file.content(), b"ZbXYef");
    }

    #[test]
    fn sizes_have_a_limit() {
        let mut file = File::new(Vec::new());
        assert_eq!(file.write(Some(MAX_SIZE), b"x"), Err(Errno::FBIG));
        assert_eq!(file.write(Some(MAX_SIZE), b""), Ok(0));
        assert_eq!(file.truncate(MAX_SIZE + 1), Err(Errno::FBIG));
        assert_eq!(file.read(Some(1 << 63), 1), Err(Errno::INVAL));
        assert_eq!(file.write(Some(MAX_SIZE - 1), b"xy"), Ok(1));
    }
}
