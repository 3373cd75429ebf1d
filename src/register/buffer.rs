//! A registered buffer: memory of our own, and the slot under which the kernel knows it.
//!
//! It can be put into the state of an [`InFlight`](crate::InFlight) and comes back with it, or be borrowed in a `scope`.
//! Operands made from it are inside of the registered memory by construction and borrow it for as long as the kernel
//! may use it. The slot is a number: what makes the operands sound is that the addresses mean the same pages to the
//! kernel and to the process for as long as any ring has the memory registered ([`Memory`]).

use core::fmt;
use core::ops::{Deref, DerefMut, Range};
use core::slice::SliceIndex;

use super::memory::Memory;
use crate::operand::{FixedBuf, FixedBufMut, FixedIoVec, IoVec, IoVecMut, IoVecs};

/// Memory that is registered in a slot of a ring's table, with the sole right to use it.
///
/// Dropping it leaves the slot as it is: the memory is freed when no ring has it registered any more.
///
/// ```
/// use rawring::register::{Memory, RegisteredBuffer};
/// use rawring::{Event, InFlight, Ring, op::ReadFixed};
/// use std::fs::File;
///
/// struct Block { file: File, buffer: RegisteredBuffer }
///
/// let mut ring = InFlight::new(Ring::new(8)?)?;
/// let buffer = ring.ring().register_buffers([Memory::new(4096)?])?.remove(0);
/// # let path = std::env::temp_dir().join(format!("rawring-registered-{}", std::process::id()));
/// # std::fs::write(&path, b"some text")?;
/// let block = Block { file: File::open(&path)?, buffer };
/// # std::fs::remove_file(&path)?;
/// ring.start(block, |block| ReadFixed::new(&block.file, &mut block.buffer).offset(0).into())?;
/// match ring.wait_event()? {
///     Event::Done(done) => assert_eq!(&done.state.buffer[..done.cqe.result()? as usize], b"some text"),
///     _ => unreachable!("nothing else is there to complete"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RegisteredBuffer {
    memory: Memory,
    index: u16,
}

impl RegisteredBuffer {
    /// The kernel knows `memory`, or something that it is a part of, under `index`.
    pub(super) fn new(memory: Memory, index: u16) -> Self {
        RegisteredBuffer { memory, index }
    }

    /// The slot.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// All of it, for the kernel to read. `&buffer` will do where an operation asks for a [`FixedBuf`].
    pub fn fixed(&self) -> FixedBuf<'_> {
        FixedBuf::new(&self.memory[..], self.index)
    }

    /// All of it, for the kernel to write. `&mut buffer` will do where an operation asks for a [`FixedBufMut`].
    pub fn fixed_mut(&mut self) -> FixedBufMut<'_> {
        FixedBufMut::new(&mut self.memory[..], self.index)
    }

    /// A part of it, for the kernel to read; `None` if it is not inside.
    pub fn part<R: SliceIndex<[u8], Output = [u8]>>(&self, range: R) -> Option<FixedBuf<'_>> {
        Some(FixedBuf::new(self.memory.get(range)?, self.index))
    }

    /// A part of it, for the kernel to write; `None` if it is not inside.
    pub fn part_mut<R: SliceIndex<[u8], Output = [u8]>>(&mut self, range: R) -> Option<FixedBufMut<'_>> {
        Some(FixedBufMut::new(self.memory.get_mut(range)?, self.index))
    }

    /// Several parts of it, for the kernel to read; `None` if there are more than `N`, or one is not inside.
    pub fn parts<'a, const N: usize>(
        &'a self,
        vecs: &'a mut IoVecs<N>,
        ranges: &[Range<usize>],
    ) -> Option<FixedIoVec<IoVec<'a>>> {
        let parts = ranges.iter().map(|range| self.memory.get(range.clone())).collect::<Option<Vec<_>>>()?;
        (parts.len() <= N).then(|| FixedIoVec::new(vecs.fill(parts), self.index))
    }

    /// Several parts of it, for the kernel to write, one after the other; `None` if there are more than `N`, one is not
    /// inside, or two overlap.
    pub fn parts_mut<'a, const N: usize>(
        &'a mut self,
        vecs: &'a mut IoVecs<N>,
        ranges: &[Range<usize>],
    ) -> Option<FixedIoVec<IoVecMut<'a>>> {
        let mut order: Vec<usize> = (0..ranges.len()).collect();
        order.sort_unstable_by_key(|&n| ranges[n].start);
        let mut parts: Vec<&mut [u8]> = ranges.iter().map(|_| Default::default()).collect();
        let (mut rest, mut at) = (&mut self.memory[..], 0);
        for n in order {
            let Range { start, end } = ranges[n].clone();
            let (part, left) = std::mem::take(&mut rest)
                .get_mut(start.checked_sub(at)?..)?
                .split_at_mut_checked(end.checked_sub(start)?)?;
            (parts[n], rest, at) = (part, left, end);
        }
        (parts.len() <= N).then(|| FixedIoVec::new(vecs.fill_mut(parts), self.index))
    }

    /// The first `at` bytes, and the rest, both under the same index: each can belong to another operation.
    ///
    /// # Errors
    ///
    /// It comes back whole if one of them would be empty.
    pub fn split_at(self, at: usize) -> Result<(RegisteredBuffer, RegisteredBuffer), RegisteredBuffer> {
        let RegisteredBuffer { memory, index } = self;
        match memory.split_at(at) {
            Ok((first, rest)) => Ok((Self::new(first, index), Self::new(rest, index))),
            Err(memory) => Err(Self::new(memory, index)),
        }
    }

    /// Pieces of `size` bytes, the last of which may be shorter, all under the same index.
    ///
    /// # Panics
    ///
    /// If `size` is 0, as [`slice::chunks`] does.
    pub fn chunks(self, size: usize) -> impl Iterator<Item = RegisteredBuffer> {
        let RegisteredBuffer { memory, index } = self;
        memory.chunks(size).map(move |piece| RegisteredBuffer::new(piece, index))
    }

    /// The memory, to be registered elsewhere or used as it is. The slot stays as it is.
    pub fn into_memory(self) -> Memory {
        self.memory
    }
}

impl Deref for RegisteredBuffer {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for RegisteredBuffer {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

impl AsRef<[u8]> for RegisteredBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for RegisteredBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl<'a> From<&'a RegisteredBuffer> for FixedBuf<'a> {
    #[inline(always)]
    fn from(buffer: &'a RegisteredBuffer) -> Self {
        buffer.fixed()
    }
}

impl<'a> From<&'a mut RegisteredBuffer> for FixedBufMut<'a> {
    #[inline(always)]
    fn from(buffer: &'a mut RegisteredBuffer) -> Self {
        buffer.fixed_mut()
    }
}

impl fmt::Debug for RegisteredBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RegisteredBuffer { memory, index } = self;
        f.debug_struct("RegisteredBuffer").field("index", index).field("memory", memory).finish()
    }
}
