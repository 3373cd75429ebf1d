//! Control messages in both directions, as `cmsg(3)` lays them out: read in any alignment, and written.
//!
//! Reading believes no length: what does not fit ends the walk. Writing is safe for descriptors that are borrowed; all
//! other kinds are bytes that the kernel may take for addresses or descriptors, and so are on the caller's word.

use core::fmt;
use core::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of `struct cmsghdr` as the kernel has it: a length of the size of a pointer, and two numbers of 32 bits. A
/// multiple of the alignment, so that the data follows at once.
const HEADER: usize = size_of::<usize>() + 8;
const _: () = assert!(HEADER % size_of::<usize>() == 0);

/// Control messages that were received. Ends at the first that does not fit.
#[derive(Clone, Copy, Debug)]
pub struct ControlMessages<'a> {
    rest: &'a [u8],
}

/// One control message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlMessage<'a> {
    /// The protocol that it belongs to, such as `SOL_SOCKET`.
    pub level: i32,
    /// What it is there, such as `SCM_RIGHTS`.
    pub kind: i32,
    /// Its data. Descriptors in it are open and belong to nobody yet.
    pub data: &'a [u8],
}

impl<'a> ControlMessages<'a> {
    /// Iterates over received control data.
    pub fn new(control: &'a [u8]) -> Self {
        ControlMessages { rest: control }
    }
}

impl<'a> Iterator for ControlMessages<'a> {
    type Item = ControlMessage<'a>;

    fn next(&mut self) -> Option<ControlMessage<'a>> {
        let (len, after) = self.rest.split_first_chunk()?;
        let (level, after) = after.split_first_chunk()?;
        let (kind, _) = after.split_first_chunk()?;
        let len = usize::from_ne_bytes(*len);
        let Some(data) = self.rest.get(HEADER..len) else {
            self.rest = &[];
            return None;
        };
        let next = len.next_multiple_of(size_of::<usize>());
        self.rest = self.rest.get(next..).unwrap_or(&[]);
        Some(ControlMessage { level: i32::from_ne_bytes(*level), kind: i32::from_ne_bytes(*kind), data })
    }
}

/// Control messages to send; the descriptors among them are borrowed for `'a`.
///
/// ```
/// use rawring::{Ring, SendControl, op::SendMsg, operand::MsgHdr};
/// use std::io::IoSlice;
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
///
/// let (left, right) = UnixStream::pair()?;
/// let stdin = std::io::stdin();
/// let control = SendControl::new().rights(&[stdin.as_fd()]);
/// let data = [IoSlice::new(b"here it is")];
/// let mut header = MsgHdr::default();
/// let mut ring = Ring::new(8)?;
/// let send = SendMsg::new(&left, header.send(&data, None, Some(&control)));
/// // SAFETY: all that the entry names stays as it is until the completion was reaped, below.
/// unsafe { ring.push_unchecked(send).expect("there is room") };
/// ring.submit_and_wait(1)?;
/// assert_eq!(ring.completions().next().expect("waited for one").result(), Ok(10));
/// # drop(right);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct SendControl<'a> {
    bytes: Vec<u8>,
    names: PhantomData<BorrowedFd<'a>>,
}

impl<'a> SendControl<'a> {
    /// No message yet.
    pub fn new() -> Self {
        SendControl::default()
    }

    /// Gives the receiver these descriptors (`SCM_RIGHTS`; local sockets only).
    #[must_use]
    pub fn rights(self, fds: &[BorrowedFd<'a>]) -> Self {
        let data: Vec<u8> = fds.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()).collect();
        self.push(libc::SOL_SOCKET, libc::SCM_RIGHTS, &data)
    }

    /// Any message.
    ///
    /// # Safety
    ///
    /// Addresses that the protocol finds in the data are valid for what it does with them, until the operation that
    /// sends the message has ended; descriptors in it may be used so.
    #[must_use]
    pub unsafe fn message(self, level: i32, kind: i32, data: &[u8]) -> Self {
        self.push(level, kind, data)
    }

    fn push(mut self, level: i32, kind: i32, data: &[u8]) -> Self {
        self.bytes.extend_from_slice(&(HEADER + data.len()).to_ne_bytes());
        self.bytes.extend_from_slice(&level.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(size_of::<usize>()), 0);
        self
    }

    /// The messages as they will be sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for SendControl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(ControlMessages::new(&self.bytes)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message whose length may lie.
    fn control(len: usize, level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&level.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn item_35_control_messages_are_walked_at_any_alignment() {
        let mut bytes = control(HEADER + 1, 1, 2, b"a");
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0xee);
        bytes.extend(control(HEADER + 3, 3, 4, b"bcd"));
        for shift in 0..8 {
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&bytes);
            let found: Vec<_> = ControlMessages::new(&shifted[shift..]).collect();
            let expected =
                [ControlMessage { level: 1, kind: 2, data: b"a" }, ControlMessage { level: 3, kind: 4, data: b"bcd" }];
            assert_eq!(found, expected, "shifted by {shift}");
        }
    }

    #[test]
    fn item_35_control_messages_that_lie_end_the_walk() {
        for len in [0, 1, HEADER - 1, HEADER + 2, usize::MAX, usize::MAX - 6] {
            let bytes = control(len, 1, 2, b"a");
            assert_eq!(ControlMessages::new(&bytes).count(), 0, "a length of {len}");
        }
        let empty = control(HEADER, 1, 2, b"");
        assert_eq!(ControlMessages::new(&empty).count(), 1);
    }

    #[test]
    fn the_layout_is_that_of_the_c_macros() {
        let data = [1, 2, 3];
        // SAFETY: never sent.
        let written = unsafe { SendControl::new().message(7, 8, &data).message(9, 10, &[4]) };
        // SAFETY: these compute sizes only.
        let (space, len) = unsafe { (libc::CMSG_SPACE(3), libc::CMSG_LEN(3)) };
        assert_eq!(written.as_bytes().len(), space as usize + HEADER + size_of::<usize>());
        assert_eq!(written.as_bytes()[..size_of::<usize>()], (len as usize).to_ne_bytes());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            messages in proptest::collection::vec((any::<i32>(), any::<i32>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..5),
        ) {
            // SAFETY: never sent.
            let written = messages.iter().fold(SendControl::new(), |all, (level, kind, data)| unsafe {
                all.message(*level, *kind, data)
            });
            let read = ControlMessages::new(written.as_bytes());
            let read: Vec<_> = read.map(|one| (one.level, one.kind, one.data.to_vec())).collect();
            prop_assert_eq!(read, messages);
        }
    }
}
