//! Provided buffers of the old kind: groups of buffers that entries fill (`PROVIDE_BUFFERS`), and of which operations
//! with `IOSQE_BUFFER_SELECT` take one when they need it.

use std::collections::{BTreeMap, VecDeque};

use rustix::io::Errno;

use super::{Operation, Outcome, Prepare, Progress, Turn};
use rawring_sys as sys;

/// The most buffers in a group.
const MAX: usize = 1 << 16;

/// A buffer that nobody uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    id: u16,
    pub(super) address: u64,
    pub(super) len: usize,
}

impl Buffer {
    /// The flags of a completion that tell which buffer was used.
    pub(super) fn flags(self) -> u32 {
        sys::IORING_CQE_F_BUFFER | u32::from(self.id) << sys::IORING_CQE_BUFFER_SHIFT
    }
}

/// The groups of a ring.
#[derive(Debug, Default)]
pub(in super::super) struct Groups(BTreeMap<u16, VecDeque<Buffer>>);

impl Groups {
    /// Takes the buffer that was provided first.
    pub(super) fn pick(&mut self, group: u16) -> Option<Buffer> {
        self.0.get_mut(&group)?.pop_front()
    }

    /// Puts back what was picked and not used.
    pub(super) fn give_back(&mut self, group: u16, buffer: Buffer) {
        self.0.entry(group).or_default().push_front(buffer);
    }

    /// Adds buffers that lie one behind the other. More than fit are left out.
    fn provide(&mut self, group: u16, first: u16, count: usize, address: u64, len: usize) -> Result<u32, Errno> {
        let buffers = self.0.entry(group).or_default();
        if buffers.len() == MAX {
            return Err(Errno::OVERFLOW);
        }
        for n in 0..count.min(MAX - buffers.len()) {
            let id = first.wrapping_add(n as u16);
            buffers.push_back(Buffer { id, address: address + (n * len) as u64, len });
        }
        Ok(0)
    }

    /// Takes up to `count` away and tells how many.
    fn remove(&mut self, group: u16, count: usize) -> Result<u32, Errno> {
        let buffers = self.0.get_mut(&group).ok_or(Errno::NOENT)?;
        let count = count.min(buffers.len());
        buffers.drain(..count);
        Ok(count as u32)
    }
}

/// A change of a group.
struct Change {
    group: u16,
    count: usize,
    /// What is added: the first number, where, and how long each is.
    added: Option<(u16, u64, usize)>,
}

pub(super) fn provide(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    if sqe.op_flags != 0 || sqe.file_index != 0 {
        return Err(Errno::INVAL);
    }
    let count = usize::try_from(sqe.fd).ok().filter(|&count| 0 < count && count <= MAX).ok_or(Errno::TOOBIG)?;
    if sqe.len == 0 {
        return Err(Errno::INVAL);
    }
    let bytes = u64::from(sqe.len) * count as u64;
    sqe.addr.checked_add(bytes).ok_or(Errno::OVERFLOW)?;
    let first = u16::try_from(sqe.off).map_err(|_| Errno::TOOBIG)?;
    if usize::from(first) + count > MAX {
        return Err(Errno::INVAL);
    }
    let added = Some((first, sqe.addr, sqe.len as usize));
    Ok(Box::new(Change { group: sqe.buf_index, count, added }))
}

pub(super) fn remove(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sqe = &cx.sqe;
    if sqe.op_flags != 0 || sqe.addr != 0 || sqe.len != 0 || sqe.off != 0 || sqe.file_index != 0 {
        return Err(Errno::INVAL);
    }
    let count = usize::try_from(sqe.fd).ok().filter(|&count| 0 < count && count <= MAX).ok_or(Errno::INVAL)?;
    Ok(Box::new(Change { group: sqe.buf_index, count, added: None }))
}

impl Operation for Change {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let Change { group, count, added } = *self;
        let result = match added {
            Some((first, address, len)) => turn.groups().provide(group, first, count, address, len),
            None => turn.groups().remove(group, count),
        };
        Progress::Done(Outcome::from(result.map(|n| n as i32)))
    }
}
