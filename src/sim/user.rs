//! The memory of the ring's user, and the loans by which requests use it.
//!
//! A kernel reads and writes at moments that nobody sees. Here every such moment is made to show:
//!
//! - What a request will write is overwritten with garbage as soon as the request is consumed, and gets its real bytes
//!   only when the completion is posted. Who looks early sees garbage. Who writes in between is found out.
//! - What a request reads is copied when the request is consumed, and compared with the copy at the end. Who changes it
//!   in between is found out.
//!
//! Memory is touched directly, at the address as it came, so that sanitizers see it. Whether there is any memory is
//! asked of the real kernel first: a bad address is `EFAULT`, as it should be.
//!
//! Invariant: nothing is touched after [`Loans::settle`], which comes before the request's last completion is visible.

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

/// Bytes that a request reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Input(usize);

/// Bytes that a request writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Output(usize);

/// What went wrong with lent memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Breach {
    /// Bytes that a request was to write were written by somebody else meanwhile.
    Written { address: u64, offset: usize },
    /// Bytes that a request was reading were changed meanwhile.
    Changed { address: u64, offset: usize },
}

/// Which access memory has to allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Read,
    Write,
}

/// Whether there is such memory.
fn check(address: u64, len: usize, access: Access) -> Result<usize, Errno> {
    let start = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    if len == 0 {
        return Ok(start);
    }
    let page = rustix::param::page_size();
    let first = start & !(page - 1);
    let end = start.checked_add(len).ok_or(Errno::FAULT)?;
    let advice = if access == Access::Read { Advice::LinuxPopulateRead } else { Advice::LinuxPopulateWrite };
    // SAFETY: populating changes nothing that a program can see, whatever the range.
    match unsafe { madvise(std::ptr::with_exposed_provenance_mut(first), end - first, advice) } {
        Err(_) if can_populate() => Err(Errno::FAULT),
        _ => Ok(start),
    }
}

/// Whether the real kernel can be asked for memory (Linux 5.14). Where not, a bad address is a segmentation fault.
fn can_populate() -> bool {
    static ANSWER: LazyLock<bool> = LazyLock::new(|| {
        let page = rustix::param::page_size();
        let local = 0_u8;
        let first = (&raw const local).map_addr(|address| address & !(page - 1)).cast_mut().cast();
        // SAFETY: as in `check`.
        unsafe { madvise(first, page, Advice::LinuxPopulateRead) }.is_ok()
    });
    *ANSWER
}

/// Copies bytes of the user's.
///
/// # Safety
///
/// If there is memory at the address, it is initialised and nobody writes to it during the call.
pub(super) unsafe fn read(address: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let start = check(address, len, Access::Read)?;
    let mut bytes = vec![0; len];
    if len > 0 {
        // SAFETY: there is memory, as was just checked, and the caller vouches for its content.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(std::ptr::with_exposed_provenance(start), len) };
    }
    Ok(bytes)
}

/// Writes bytes to the user's memory.
///
/// # Safety
///
/// If there is memory at the address, nobody else uses it during the call.
pub(super) unsafe fn write(address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let start = check(address, bytes.len(), Access::Write)?;
    if !bytes.is_empty() {
        // SAFETY: there is memory, as was just checked, and the caller vouches that it may be written.
        unsafe {
            std::ptr::with_exposed_provenance_mut::<u8>(start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
    }
    Ok(())
}

/// Memory that a request reads.
#[derive(Debug)]
struct Lent {
    address: u64,
    bytes: Vec<u8>,
}

/// Memory that a request writes.
#[derive(Debug)]
struct Bounced {
    address: u64,
    /// What was there before. It may be uninitialised, and goes back as it was.
    before: Vec<MaybeUninit<u8>>,
    scribble: Vec<u8>,
    /// The real bytes, at their offsets.
    writes: Vec<(usize, Vec<u8>)>,
}

/// What one request uses of its user's memory.
#[derive(Debug, Default)]
pub(super) struct Loans {
    inputs: Vec<Lent>,
    outputs: Vec<Bounced>,
}

impl Loans {
    /// Lends memory to be read.
    ///
    /// # Safety
    ///
    /// If there is memory at the address, it is initialised, and stays where it is until the loans are settled.
    pub(super) unsafe fn input(&mut self, address: u64, len: usize) -> Result<Input, Errno> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { read(address, len) }?;
        self.inputs.push(Lent { address, bytes });
        Ok(Input(self.inputs.len() - 1))
    }

    /// Lends memory to be written, and fills it with garbage.
    ///
    /// # Safety
    ///
    /// If there is memory at the address, the request has it for itself until the loans are settled.
    pub(super) unsafe fn output(&mut self, address: u64, len: usize, garbage: u64) -> Result<Output, Errno> {
        let start = check(address, len, Access::Write)?;
        let mut before = vec![MaybeUninit::uninit(); len];
        // Never what a test would expect: not zero, not text.
        let scribble: Vec<u8> = (0..len).map(|i| 0x80 | (garbage.rotate_left(i as u32 % 64) as u8)).collect();
        if len > 0 {
            let at = std::ptr::with_exposed_provenance_mut::<u8>(start);
            // SAFETY: there is memory, as was just checked, and by the caller's promise it is the request's alone.
            // What may be uninitialised is copied as such.
            unsafe {
                before.as_mut_ptr().copy_from_nonoverlapping(at.cast(), len);
                at.copy_from_nonoverlapping(scribble.as_ptr(), len);
            }
        }
        self.outputs.push(Bounced { address, before, scribble, writes: Vec::new() });
        Ok(Output(self.outputs.len() - 1))
    }

    /// The bytes as they were lent.
    pub(super) fn bytes(&self, input: Input) -> &[u8] {
        &self.inputs[input.0].bytes
    }

    /// How many bytes were lent.
    pub(super) fn len(&self, output: Output) -> usize {
        self.outputs[output.0].scribble.len()
    }

    /// Sets bytes that the memory will have in the end.
    pub(super) fn write(&mut self, output: Output, at: usize, bytes: &[u8]) {
        let output = &mut self.outputs[output.0];
        assert!(at + bytes.len() <= output.scribble.len(), "an operation wrote past the memory that it was lent");
        output.writes.push((at, bytes.to_vec()));
    }

    /// Ends all loans: compares what was read, and lets what was written be seen.
    pub(super) fn settle(&mut self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for Lent { address, bytes } in self.inputs.drain(..) {
            // SAFETY: lent, so initialised and in its place until now.
            let Ok(now) = (unsafe { read(address, bytes.len()) }) else { continue };
            if let Some(offset) = now.iter().zip(&bytes).position(|(now, then)| now != then) {
                breaches.push(Breach::Changed { address, offset });
            }
        }
        // What was there before comes back, the last to be lent first, in case that two overlap.
        for Bounced { address, before, scribble, .. } in self.outputs.iter().rev() {
            let len = scribble.len();
            let (true, Ok(start)) = (len > 0, check(*address, len, Access::Write)) else { continue };
            let at = std::ptr::with_exposed_provenance_mut::<u8>(start);
            // SAFETY: lent, so the request's alone until now, and initialised by the scribble.
            let now = unsafe { std::slice::from_raw_parts(at, len) };
            if let Some(offset) = now.iter().zip(scribble).position(|(now, then)| now != then) {
                breaches.push(Breach::Written { address: *address, offset });
            }
            // SAFETY: as above, and `before` has as many bytes.
            unsafe { at.cast::<MaybeUninit<u8>>().copy_from_nonoverlapping(before.as_ptr(), len) };
        }
        for Bounced { address, writes, .. } in self.outputs.drain(..) {
            for (offset, bytes) in writes {
                // SAFETY: the range was checked to lie inside of what was lent.
                let _unmapped = unsafe { write(address + offset as u64, &bytes) };
            }
        }
        breaches
    }
}

/// Copies a struct of the user's.
///
/// # Safety
///
/// As for [`read`]; any bytes make a valid `T`.
pub(super) unsafe fn read_struct<T: Copy>(address: u64) -> Result<T, Errno> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { read(address, size_of::<T>()) }?;
    // SAFETY: as many bytes as a `T` has, of which the caller says that they make one.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The bytes of a struct of the header, which has no padding.
pub(super) fn bytes_of<T: Copy>(value: &T) -> Vec<u8> {
    // SAFETY: the structs that this is used for consist of integers without gaps between them.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(bytes: &[u8]) -> u64 {
        bytes.as_ptr().expose_provenance() as u64
    }

    #[test]
    fn what_will_be_written_is_garbage_until_it_is_settled() {
        let mut memory = *b"as it was before";
        let mut loans = Loans::default();
        // SAFETY: `memory` is not used but through its address until the loans are settled.
        let output = unsafe { loans.output(memory.as_mut_ptr().expose_provenance() as u64, 16, 77) }.expect("memory");
        loans.write(output, 0, b"now");
        let early = memory;
        assert!(early.iter().all(|byte| *byte >= 0x80), "{early:?}");
        assert_eq!(loans.settle(), []);
        // What was not written is as it was.
        assert_eq!(&memory, b"nowit was before");
        assert_eq!(loans.settle(), [], "all loans are over");
    }

    #[test]
    fn memory_that_was_touched_meanwhile_is_told() {
        let (mut read, mut written) = ([1; 64], [2; 64]);
        let mut loans = Loans::default();
        // SAFETY: both stay in their place until the loans are settled; that they are touched meanwhile is the test, and
        // nothing else looks at them.
        unsafe {
            loans.input(address(&read), 64).expect("memory");
            loans.output(written.as_mut_ptr().expose_provenance() as u64, 64, 5).expect("memory");
        }
        read[9] = 7;
        written[63] = 7;
        let told = loans.settle();
        let expected = [
            Breach::Changed { address: address(&read), offset: 9 },
            Breach::Written { address: address(&written), offset: 63 },
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn memory_that_is_not_there_is_a_fault() {
        let mut loans = Loans::default();
        for (start, len) in [(0, 1), (8, 4096), (u64::MAX - 3, 8), (address(b"constant"), usize::MAX)] {
            // SAFETY: there is no such memory.
            let answers = unsafe { (loans.input(start, len), loans.output(start, len, 1)) };
            assert_eq!(answers, (Err(Errno::FAULT), Err(Errno::FAULT)), "{start:#x} {len}");
        }
        // Nothing is nowhere.
        // SAFETY: no byte is named.
        assert!(unsafe { loans.input(0, 0) }.is_ok());
        // SAFETY: a constant cannot be written, which is what is asked.
        assert_eq!(unsafe { loans.output(address(b"constant"), 8, 1) }, Err(Errno::FAULT));
    }

    #[test]
    fn overlapping_loans_end_as_if_written_one_after_another() {
        let mut memory = [0_u8; 8];
        let start = memory.as_mut_ptr().expose_provenance() as u64;
        let mut loans = Loans::default();
        // SAFETY: `memory` is not used but through its address until the loans are settled.
        let (one, two) = unsafe { (loans.output(start, 6, 1), loans.output(start + 4, 4, 2)) };
        loans.write(one.expect("memory"), 0, &[1; 6]);
        loans.write(two.expect("memory"), 0, &[2; 3]);
        assert_eq!(loans.settle(), []);
        assert_eq!(memory, [1, 1, 1, 1, 2, 2, 2, 0]);
    }
}
