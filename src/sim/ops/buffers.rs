//! Provided buffers: groups from which operations with `IOSQE_BUFFER_SELECT` take one, or a bundle, when they need it. Of
//! the old kind, which entries fill (`PROVIDE_BUFFERS`), or rings in memory of the user.

use std::collections::{BTreeMap, VecDeque};

use rustix::io::Errno;

use super::buf_ring::BufRing;
use super::{Operation, Outcome, Prepare, Progress, Turn};
use crate::version::Version;
use rawring_sys as sys;

/// The most buffers in a group.
const MAX: usize = 1 << 16;

/// A buffer that nobody uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    pub(super) id: u16,
    pub(super) address: u64,
    pub(super) len: usize,
}

/// Buffers of one number.
#[derive(Debug)]
enum Group {
    List(VecDeque<Buffer>),
    Ring(BufRing),
}

/// The groups of a ring.
#[derive(Debug, Default)]
pub(in super::super) struct Groups(BTreeMap<u16, Group>);

impl Groups {
    /// The next buffers of a group, at most `most`. They have to be given back, or committed.
    pub(super) fn pick(&mut self, group: u16, most: u16) -> Vec<Buffer> {
        match self.0.get_mut(&group) {
            None => Vec::new(),
            // Several at once only a ring gives.
            Some(Group::List(buffers)) => buffers.pop_front().into_iter().collect(),
            Some(Group::Ring(ring)) => (0..most).map_while(|nth| ring.peek(nth)).collect(),
        }
    }

    /// Puts back what was picked and not used.
    pub(super) fn give_back(&mut self, group: u16, picked: &[Buffer]) {
        if let Some(Group::List(buffers)) = self.0.get_mut(&group) {
            picked.iter().rev().for_each(|&buffer| buffers.push_front(buffer));
        }
    }

    /// How much of a buffer is written by who fills so much of it.
    pub(super) fn lends(&self, group: u16, buffer: Buffer, filled: usize) -> usize {
        match self.0.get(&group) {
            Some(Group::Ring(ring)) => ring.lends(buffer, filled),
            _ => buffer.len,
        }
    }

    /// Whether what a worker picks is used up whatever comes of it.
    pub(super) fn is_ring(&self, group: u16) -> bool {
        matches!(self.0.get(&group), Some(Group::Ring(_)))
    }

    /// Whether a completion says nothing of where in a buffer its bytes are, so that the order says it.
    pub(super) fn is_incremental(&self, group: u16) -> bool {
        matches!(self.0.get(&group), Some(Group::Ring(ring)) if ring.is_incremental())
    }

    /// Uses up what was picked, with so many bytes in it, and tells the flags of the completion.
    pub(super) fn commit(&mut self, group: u16, picked: &[Buffer], bytes: usize) -> u32 {
        let Some(first) = picked.first() else { return 0 };
        let more = match self.0.get_mut(&group) {
            Some(Group::Ring(ring)) => ring.commit(picked.len() as u16, bytes),
            _ => false,
        };
        let id = u32::from(first.id) << sys::IORING_CQE_BUFFER_SHIFT;
        sys::IORING_CQE_F_BUFFER | id | if more { sys::IORING_CQE_F_BUF_MORE } else { 0 }
    }

    /// Makes a group whose buffers are in a ring.
    pub(in super::super) fn register(
        &mut self,
        request: &sys::io_uring_buf_reg,
        knows: impl Fn(Version) -> bool,
    ) -> Result<(), Errno> {
        let ring = BufRing::new(request, knows)?;
        match self.0.get(&request.bgid) {
            Some(Group::List(buffers)) if buffers.is_empty() => {}
            None => {}
            _ => return Err(Errno::EXIST),
        }
        self.0.insert(request.bgid, Group::Ring(ring));
        Ok(())
    }

    pub(in super::super) fn unregister(&mut self, request: &sys::io_uring_buf_reg) -> Result<(), Errno> {
        if request.resv != [0; 5] || request.flags != 0 {
            return Err(Errno::INVAL);
        }
        self.head(request.bgid.into())?;
        self.0.remove(&request.bgid);
        Ok(())
    }

    /// How many buffers of a ring were taken.
    pub(in super::super) fn head(&self, group: u32) -> Result<u16, Errno> {
        match u16::try_from(group).ok().and_then(|group| self.0.get(&group)) {
            Some(Group::Ring(ring)) => Ok(ring.head),
            Some(Group::List(_)) => Err(Errno::INVAL),
            None => Err(Errno::NOENT),
        }
    }

    /// Whether there can be a buffer of this number in a ring.
    pub(in super::super) fn may_have(&self, id: u16) -> bool {
        self.0.values().any(|group| matches!(group, Group::Ring(ring) if ring.may_have(id)))
    }

    /// Nothing is picked any more.
    pub(in super::super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The list under this number.
    fn list(&mut self, group: u16) -> Result<&mut VecDeque<Buffer>, Errno> {
        match self.0.entry(group).or_insert_with(|| Group::List(VecDeque::new())) {
            Group::List(buffers) => Ok(buffers),
            Group::Ring(_) => Err(Errno::INVAL),
        }
    }

    /// Adds buffers that lie one behind the other. More than fit are left out.
    fn provide(&mut self, group: u16, first: u16, count: usize, address: u64, len: usize) -> Result<u32, Errno> {
        let buffers = self.list(group)?;
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
        if !self.0.contains_key(&group) {
            return Err(Errno::NOENT);
        }
        let buffers = self.list(group)?;
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
