//! Socket addresses that the kernel fills, and the header of `sendmsg(2)` and `recvmsg(2)`.
//!
//! The header names buffers, so it borrows; and it is memory that the kernel reads and writes, so it needs a stable
//! place. [`MsgHdr`] is that place, without a lifetime, to be kept in a local or in the state of an operation. Filling
//! it ([`MsgHdr::send`], [`MsgHdr::recv`]) borrows it and everything that it names for as long as the entry lives.

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use rustix::net::SocketAddrAny;

use super::{IoVec, IoVecMut, Kind, Operand};
use crate::control::SendControl;
use crate::sqe::{At, RawSqe};

/// Room for the address of a peer, with its length: what the kernel fills on accept and receive.
#[repr(C)]
pub struct SocketAddrBuf {
    storage: MaybeUninit<libc::sockaddr_storage>,
    len: libc::socklen_t,
}

const FULL: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

impl Default for SocketAddrBuf {
    fn default() -> Self {
        SocketAddrBuf { storage: MaybeUninit::zeroed(), len: FULL }
    }
}

impl SocketAddrBuf {
    /// The address that the kernel wrote; `None` where it wrote none, or one that does not fit.
    ///
    /// What came with a message is [`MsgHdr::sender`]: there the kernel tells the length in the header.
    pub fn get(&self) -> Option<SocketAddrAny> {
        self.first(self.len)
    }

    /// The address in the first `len` bytes.
    fn first(&self, len: libc::socklen_t) -> Option<SocketAddrAny> {
        if (len as usize) < size_of::<libc::sa_family_t>() || len > FULL {
            return None;
        }
        // SAFETY: the storage was zeroed in full, so every byte is initialised, and `len` was just checked to be
        // within it and to cover the family.
        Some(unsafe { SocketAddrAny::read(self.storage.as_ptr().cast(), len as _) })
    }

    /// The address in `bytes`; `None` if that is too long for one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut buf = SocketAddrBuf::default();
        if bytes.len() > FULL as usize {
            return None;
        }
        buf.len = bytes.len() as libc::socklen_t;
        // SAFETY: at most as many bytes as the storage has are copied to its start; a new buffer and a slice that
        // somebody else holds do not overlap.
        unsafe { buf.storage.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Some(buf)
    }

    /// Makes it ready for another operation: the kernel reads the length as the room that there is.
    pub fn reset(&mut self) {
        *self = SocketAddrBuf::default();
    }
}

impl fmt::Debug for SocketAddrBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketAddrBuf").field(&self.get()).finish()
    }
}

impl Operand for &mut SocketAddrBuf {
    const KIND: Kind = Kind::Pointer;
    /// Takes two places: the address of the storage and the address of its length.
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        self.len = FULL;
        sqe.set(at[0], self.storage.as_mut_ptr().expose_provenance() as u64);
        sqe.set(at[1], (&raw mut self.len).expose_provenance() as u64);
    }
}

/// A stable place for the kernel's `struct msghdr`.
#[repr(transparent)]
pub struct MsgHdr(libc::msghdr);

// SAFETY: the pointers in it are only read by the kernel, while an operand borrows what they name; between operations
// they are numbers that nobody follows.
unsafe impl Send for MsgHdr {}
// SAFETY: as above; through a shared reference only plain numbers can be read.
unsafe impl Sync for MsgHdr {}

impl Default for MsgHdr {
    fn default() -> Self {
        // SAFETY: all-zero is a valid `msghdr`: null pointers and zero lengths.
        MsgHdr(unsafe { core::mem::zeroed() })
    }
}

/// A header of a message to send, borrowed for `'a` along with all that it names.
#[derive(Debug)]
pub struct SendHdr<'a> {
    addr: *const libc::msghdr,
    names: PhantomData<&'a MsgHdr>,
}

/// A header of a message to receive, borrowed for `'a` along with all that it names.
#[derive(Debug)]
pub struct RecvHdr<'a> {
    addr: *mut libc::msghdr,
    names: PhantomData<&'a mut MsgHdr>,
}

impl MsgHdr {
    /// Describes a message to send: its data, where to (unless the socket is connected), and control messages.
    pub fn send<'a>(
        &'a mut self,
        data: impl Into<IoVec<'a>>,
        to: Option<&'a SocketAddrAny>,
        control: Option<&'a SendControl<'a>>,
    ) -> SendHdr<'a> {
        let data = data.into();
        *self = MsgHdr::default();
        self.0.msg_iov = core::ptr::with_exposed_provenance_mut(data.addr());
        self.0.msg_iovlen = data.count() as _;
        if let Some(to) = to {
            self.0.msg_name = to.as_ptr().cast_mut().cast();
            self.0.msg_namelen = to.addr_len() as _;
        }
        if let Some(control) = control.map(SendControl::as_bytes) {
            self.0.msg_control = control.as_ptr().cast_mut().cast();
            self.0.msg_controllen = control.len() as _;
        }
        SendHdr { addr: &raw const self.0, names: PhantomData }
    }

    /// Describes where to receive a message: its data, its sender, and control messages.
    pub fn recv<'a>(
        &'a mut self,
        data: impl Into<IoVecMut<'a>>,
        from: Option<&'a mut SocketAddrBuf>,
        control: &'a mut [u8],
    ) -> RecvHdr<'a> {
        let data = data.into();
        *self = MsgHdr::default();
        self.0.msg_iov = core::ptr::with_exposed_provenance_mut(data.addr());
        self.0.msg_iovlen = data.count() as _;
        if let Some(from) = from {
            // The kernel will not write this length; a full one would make every address as long as there is room.
            from.len = 0;
            self.0.msg_name = from.storage.as_mut_ptr().cast();
            self.0.msg_namelen = FULL;
        }
        if !control.is_empty() {
            self.0.msg_control = control.as_mut_ptr().cast();
            self.0.msg_controllen = control.len() as _;
        }
        RecvHdr { addr: &raw mut self.0, names: PhantomData }
    }

    /// Describes a multishot receive, whose data goes to provided buffers: how many bytes of each buffer to keep for
    /// the sender's address and for control messages.
    pub fn recv_multishot(&mut self, name_len: u32, control_len: usize) -> RecvHdr<'_> {
        *self = MsgHdr::default();
        self.0.msg_namelen = name_len as _;
        self.0.msg_controllen = control_len as _;
        RecvHdr { addr: &raw mut self.0, names: PhantomData }
    }

    /// After a receive: the sender's address, from the buffer that [`recv`](Self::recv) was given for it.
    pub fn sender(&self, from: &SocketAddrBuf) -> Option<SocketAddrAny> {
        from.first(self.0.msg_namelen)
    }

    /// After a receive: how long the sender's address is, which may be more than there was room for.
    pub fn name_len(&self) -> u32 {
        self.0.msg_namelen
    }

    /// After a receive: how many bytes of control messages there are.
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between C libraries")]
    pub fn control_len(&self) -> usize {
        self.0.msg_controllen as usize
    }

    /// After a receive: `MSG_TRUNC`, `MSG_CTRUNC` and their kin.
    pub fn flags(&self) -> rustix::net::ReturnFlags {
        rustix::net::ReturnFlags::from_bits_retain(self.0.msg_flags as u32)
    }
}

impl fmt::Debug for MsgHdr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MsgHdr")
            .field("name_len", &self.name_len())
            .field("control_len", &self.control_len())
            .field("flags", &self.flags())
            .finish_non_exhaustive()
    }
}

impl SendHdr<'_> {
    /// A header that was filled in by hand.
    ///
    /// # Safety
    ///
    /// For all of `'a`: the header may be read, and so may everything that it names.
    pub unsafe fn from_raw(header: *const libc::msghdr) -> Self {
        SendHdr { addr: header, names: PhantomData }
    }
}

impl RecvHdr<'_> {
    /// A header that was filled in by hand.
    ///
    /// # Safety
    ///
    /// For all of `'a`: the header may be read and written, everything that it names may be written, and nothing else
    /// accesses any of it.
    pub unsafe fn from_raw(header: *mut libc::msghdr) -> Self {
        RecvHdr { addr: header, names: PhantomData }
    }
}

impl Operand for SendHdr<'_> {
    const KIND: Kind = Kind::Pointer;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], self.addr.expose_provenance() as u64);
    }
}

impl Operand for RecvHdr<'_> {
    const KIND: Kind = Kind::Pointer;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], self.addr.expose_provenance() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_back_only_when_it_is_there() {
        let mut buf = SocketAddrBuf { len: 0, ..SocketAddrBuf::default() };
        assert!(buf.get().is_none());
        buf.len = FULL + 1;
        assert!(buf.get().is_none(), "a truncated address is none");
        buf.reset();
        assert_eq!(buf.len, FULL);
        // The length of a sender's address stands in the header alone.
        let mut header = MsgHdr::default();
        let none: &mut [std::io::IoSliceMut<'_>] = &mut [];
        header.recv(IoVecMut::from(none), Some(&mut buf), &mut []);
        assert!(buf.get().is_none());
        header.0.msg_namelen = 2;
        assert_eq!(header.sender(&buf).map(|address| address.addr_len()), Some(2));
    }
}
