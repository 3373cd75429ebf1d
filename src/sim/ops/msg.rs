//! `struct msghdr`, as it comes and as it goes back, and the header in front of each message of a multishot receive.
//!
//! Sockets here have no names, and no control messages: what is reported of both is that there is nothing.

use rustix::io::Errno;
use rustix::net::ReturnFlags;

use super::super::object::Received;
use super::super::user::Output;
use super::transfer::{Part, parts};
use super::{Prepare, Turn};
use rawring_sys as sys;

/// The kernel's `struct msghdr` is seven words, some of which are half empty, whatever the C library makes of it.
const WORD: usize = size_of::<usize>();
const NAME_LEN: usize = WORD;
const CONTROL_LEN: usize = 5 * WORD;
const FLAGS: usize = 6 * WORD;

/// What a `struct msghdr` says.
pub(super) struct Header {
    /// The address of a name, or of room for one.
    pub(super) name: u64,
    name_len: usize,
    vector: u64,
    /// Parts of the data.
    pub(super) count: usize,
    control_len: usize,
}

impl Header {
    pub(super) fn read(cx: &Prepare<'_>, address: u64) -> Result<Header, Errno> {
        let bytes = cx.read(address, 7 * WORD)?;
        let word = |n: usize| usize::from_ne_bytes(bytes[n * WORD..][..WORD].try_into().expect("a word"));
        let name_len = u32::from_ne_bytes(bytes[NAME_LEN..][..4].try_into().expect("four bytes"));
        if i32::try_from(name_len).is_err() {
            return Err(Errno::INVAL);
        }
        Ok(Header {
            name: word(0) as u64,
            name_len: name_len as usize,
            vector: word(2) as u64,
            count: word(3),
            control_len: word(5),
        })
    }

    pub(super) fn parts(&self, cx: &Prepare<'_>) -> Result<Vec<Part>, Errno> {
        if self.count > 1024 { Err(Errno::MSGSIZE) } else { parts(cx, self.vector, self.count) }
    }

    /// What goes in front of each message.
    pub(super) fn frame(&self) -> Result<Frame, Errno> {
        let len = size_of::<sys::io_uring_recvmsg_out>().checked_add(self.name_len);
        let len = len.and_then(|len| len.checked_add(self.control_len)).filter(|&len| i32::try_from(len).is_ok());
        Ok(Frame { len: len.ok_or(Errno::OVERFLOW)? })
    }

    /// What the kernel writes back into the header at the end.
    pub(super) fn report(&self, cx: &mut Prepare<'_>, address: u64) -> Report {
        let mut field = |offset: usize, len: usize| (cx.output(address + offset as u64, len).ok(), len);
        Report {
            name_len: (self.name != 0).then(|| field(NAME_LEN, 4)),
            control_len: field(CONTROL_LEN, WORD),
            flags: field(FLAGS, 4),
        }
    }
}

/// A field of the user's.
type Field = (Option<Output>, usize);

/// The fields of a header that are written back.
pub(super) struct Report {
    name_len: Option<Field>,
    control_len: Field,
    flags: Field,
}

impl Report {
    pub(super) fn fill(&self, turn: &mut Turn<'_>, flags: ReturnFlags) {
        let zeros = self.name_len.into_iter().chain([self.control_len]);
        for (output, len) in zeros {
            if let Some(output) = output {
                turn.write(output, 0, &[0; size_of::<u64>()][..len]);
            }
        }
        if let (Some(output), _) = self.flags {
            turn.write(output, 0, &flags.bits().to_ne_bytes());
        }
    }
}

/// The header in front of a message of a multishot receive, and the room for name and control messages behind it.
pub(super) struct Frame {
    len: usize,
}

impl Frame {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The whole message.
    pub(super) fn around(&self, message: &Received) -> Vec<u8> {
        let Received { bytes, full } = message;
        let flags = if *full > bytes.len() { ReturnFlags::TRUNC } else { ReturnFlags::empty() };
        let mut framed = vec![0; self.len];
        // The length of the name, that of the control messages, that of the data, and the flags.
        framed[8..12].copy_from_slice(&(*full as u32).to_ne_bytes());
        framed[12..16].copy_from_slice(&flags.bits().to_ne_bytes());
        framed.extend_from_slice(bytes);
        framed
    }
}
