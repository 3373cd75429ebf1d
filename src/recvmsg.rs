//! What a multishot `recvmsg` leaves in a provided buffer: a header, then room for the sender's address, room for
//! control data, and the payload.
//!
//! How much room is decided by the program when it submits ([`MsgHdr::recv_multishot`]), and parsing goes by that. The
//! lengths in the header tell what the message *had*, which may be more; they are never used as offsets, and nothing
//! that they say leads out of the buffer.
//!
//! [`MsgHdr::recv_multishot`]: crate::operand::MsgHdr::recv_multishot

use core::fmt;

use rustix::net::{ReturnFlags, SocketAddrAny};

use crate::control::ControlMessages;
use crate::operand::SocketAddrBuf;

/// Bytes of the header: four numbers of 32 bits.
const HEADER: usize = size_of::<rawring_sys::io_uring_recvmsg_out>();

/// A received message, taken apart.
///
/// ```
/// use rawring::RecvMsgOut;
///
/// // 4 bytes of room for the address, of which none is used, none for control data, a payload of 2.
/// let mut buffer = [[0u8, 0, 0, 0], [0; 4], 2u32.to_ne_bytes(), [0; 4], [0; 4]].concat();
/// buffer.extend_from_slice(b"hi");
/// let message = RecvMsgOut::parse(&buffer, 4, 0)?;
/// assert_eq!(message.payload(), b"hi");
/// assert!(message.address().is_none());
/// # Ok::<(), rawring::ShortBuffer>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RecvMsgOut<'a> {
    name_len: u32,
    control_len: u32,
    payload_len: u32,
    flags: u32,
    name: &'a [u8],
    control: &'a [u8],
    payload: &'a [u8],
}

/// A buffer that cannot hold what a multishot `recvmsg` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShortBuffer {
    /// Bytes that the header and the room for name and control data take; `None` if they are more than there can be.
    pub needed: Option<usize>,
    /// Bytes that there are.
    pub len: usize,
}

impl fmt::Display for ShortBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed: &dyn fmt::Display = match &self.needed {
            Some(needed) => needed,
            None => &"more than all memory",
        };
        write!(
            f,
            "a buffer of {} bytes is no multishot message, which has {needed} before its payload: parse the bytes that \
             the completion's result counts, with the two lengths given to recv_multishot()",
            self.len,
        )
    }
}

impl std::error::Error for ShortBuffer {}

impl<'a> RecvMsgOut<'a> {
    /// Takes apart the bytes of a buffer that a completion counts. `name_len` and `control_len` are those given to
    /// [`MsgHdr::recv_multishot`](crate::operand::MsgHdr::recv_multishot).
    pub fn parse(buffer: &'a [u8], name_len: u32, control_len: usize) -> Result<Self, ShortBuffer> {
        let name_room = name_len as usize;
        let needed = HEADER.checked_add(name_room).and_then(|sum| sum.checked_add(control_len));
        let short = ShortBuffer { needed, len: buffer.len() };
        if needed.is_none_or(|needed| needed > buffer.len()) {
            return Err(short);
        }
        let (header, rest) = buffer.split_at(HEADER);
        let (name, rest) = rest.split_at(name_room);
        let (control, rest) = rest.split_at(control_len);
        let field =
            |i: usize| u32::from_ne_bytes([header[4 * i], header[4 * i + 1], header[4 * i + 2], header[4 * i + 3]]);
        let (name_len, control_len, payload_len, flags) = (field(0), field(1), field(2), field(3));
        Ok(RecvMsgOut {
            name_len,
            control_len,
            payload_len,
            flags,
            name: first(name, name_len),
            control: first(control, control_len),
            payload: first(rest, payload_len),
        })
    }

    /// The bytes of the sender's address that there was room for.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// How long the sender's address is, which may be more than there was room for.
    pub fn name_len(&self) -> u32 {
        self.name_len
    }

    /// The sender's address; `None` where there is none (connected sockets), or it was cut off.
    pub fn address(&self) -> Option<SocketAddrAny> {
        if self.name_len as usize > self.name.len() {
            return None;
        }
        SocketAddrBuf::from_bytes(self.name)?.get()
    }

    /// The control messages that there was room for.
    pub fn control(&self) -> ControlMessages<'a> {
        ControlMessages::new(self.control)
    }

    /// How many bytes of control data there are.
    pub fn control_len(&self) -> u32 {
        self.control_len
    }

    /// The payload, as far as the buffer holds it.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// How long the payload is. More than the buffer holds only if the receive asked for that with `MSG_TRUNC`.
    pub fn payload_len(&self) -> u32 {
        self.payload_len
    }

    /// `MSG_TRUNC` if the payload was cut off, `MSG_CTRUNC` if control data was, and their kin.
    pub fn flags(&self) -> ReturnFlags {
        ReturnFlags::from_bits_retain(self.flags)
    }
}

/// The first `len` bytes, or all if there are fewer.
fn first(bytes: &[u8], len: u32) -> &[u8] {
    &bytes[..bytes.len().min(len as usize)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(header: [u32; 4], rest: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = header.iter().flat_map(|number| number.to_ne_bytes()).collect();
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn item_35_offsets_are_the_room_that_was_kept_not_the_lengths_that_came_back() {
        // Room for 4 and 8; a name of 2, no control data.
        let bytes = message([2, 0, 3, 0], b"nm..........abc");
        let parsed = RecvMsgOut::parse(&bytes, 4, 8).expect("large enough");
        assert_eq!((parsed.name(), parsed.payload()), (&b"nm"[..], &b"abc"[..]));
        assert_eq!(parsed.control().count(), 0);
    }

    #[test]
    fn item_35_lengths_beyond_the_room_are_told_and_not_followed() {
        let flags = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
        let bytes = message([100, 200, 300, flags.bits()], b"nmccpp");
        let parsed = RecvMsgOut::parse(&bytes, 2, 2).expect("large enough");
        assert_eq!((parsed.name_len(), parsed.control_len(), parsed.payload_len()), (100, 200, 300));
        assert_eq!((parsed.name(), parsed.payload()), (&b"nm"[..], &b"pp"[..]));
        assert!(parsed.address().is_none(), "a cut-off address is none");
        assert_eq!(parsed.flags(), flags);
    }

    #[test]
    fn item_35_a_payload_ends_where_the_message_does() {
        // Somebody who parses the whole buffer, not only the bytes counted, must not see what an earlier message left.
        let bytes = message([0, 0, 2, 0], b"hiOLD DATA");
        assert_eq!(RecvMsgOut::parse(&bytes, 0, 0).expect("large enough").payload(), b"hi");
    }

    #[test]
    fn item_35_short_buffers_and_sums_that_overflow_are_errors() {
        let bytes = message([0; 4], b"12");
        let short = |needed| ShortBuffer { needed, len: 18 };
        assert_eq!(RecvMsgOut::parse(&bytes, 1, 2).unwrap_err(), short(Some(19)));
        assert_eq!(RecvMsgOut::parse(&bytes[..15], 0, 0).unwrap_err(), ShortBuffer { needed: Some(16), len: 15 });
        assert_eq!(RecvMsgOut::parse(&bytes, 0, usize::MAX).unwrap_err(), short(None));
        assert_eq!(RecvMsgOut::parse(&bytes, 1, usize::MAX - HEADER).unwrap_err(), short(None));
        let text = short(None).to_string();
        assert!(text.contains("18 bytes") && text.contains("recv_multishot"), "{text}");
    }

    proptest! {
        #[test]
        fn item_35_no_bytes_lead_out_of_the_buffer(
            bytes in proptest::collection::vec(any::<u8>(), 0..96),
            name_len in 0u32..64,
            control_len in 0usize..64,
        ) {
            let needed = HEADER + name_len as usize + control_len;
            match RecvMsgOut::parse(&bytes, name_len, control_len) {
                Err(short) => prop_assert_eq!(short, ShortBuffer { needed: Some(needed), len: bytes.len() }),
                Ok(message) => {
                    prop_assert!(bytes.len() >= needed);
                    prop_assert!(message.name().len() <= name_len as usize);
                    prop_assert!(message.payload().len() <= bytes.len() - needed);
                    let data: usize = message.control().map(|one| one.data.len()).sum();
                    prop_assert!(data <= control_len);
                    // Must not panic, whatever the family says.
                    let _ = message.address();
                }
            }
        }
    }
}
