//! As [`super::drawn`], for what points at memory.

use core::mem::MaybeUninit;
use core::ptr::{without_provenance, without_provenance_mut};
use core::sync::atomic::AtomicU32;
use std::ffi::{CStr, c_void};
use std::net::SocketAddr;
use std::os::fd::RawFd;

use rustix::event::epoll;
use rustix::net::SocketAddrAny;

use super::drawn::{borrowed, drawn, hex, text};
use super::source::{Drawn, Said, Source};
use super::*;
use crate::operand::*;

/// An address with a length, as the entry can hold it.
fn span(address: usize, len: usize) -> String {
    format!("{address:#x}[{}]", u32::try_from(len).unwrap_or(u32::MAX))
}

drawn! {
    &'a [FileSlot<'a>] => |source| {
        let len = source.below(5).into();
        let slots: &[_] = source.memory.alloc_slice_fill_copy(len, FileSlot::SKIP);
        (slots, text(span(slots.as_ptr().addr(), len)))
    }

    FilesToPlace<'a> => |source| {
        let array = source.memory.alloc_slice_fill_copy(source.below(5).into(), 0);
        let files = core::iter::repeat_n(borrowed(1), source.below(5).into());
        let said = span(array.as_ptr().addr(), array.len().min(files.len()));
        (FilesToPlace::new(array, files), text(said))
    }

    Buf<'a> => |source| {
        let (address, len) = (source.any() as usize, source.any() as usize);
        // SAFETY: nothing is read, for the entry is never submitted.
        (unsafe { Buf::from_raw(without_provenance(address), len) }, text(span(address, len)))
    }

    BufMut<'a> => |source| {
        let (address, len) = (source.any() as usize, source.any() as usize);
        // SAFETY: nothing is written, for the entry is never submitted.
        (unsafe { BufMut::from_raw(without_provenance_mut(address), len) }, text(span(address, len)))
    }

    FixedBuf<'a> => |source| {
        let (memory, said) = Buf::draw(source);
        let index = source.any() as u16;
        (FixedBuf::new(memory, index), of_buffer(said, index))
    }

    FixedBufMut<'a> => |source| {
        let (memory, said) = BufMut::draw(source);
        let index = source.any() as u16;
        (FixedBufMut::new(memory, index), of_buffer(said, index))
    }

    IoVec<'a> => |source| {
        let (address, len) = (source.any() as usize, source.any() as usize);
        // SAFETY: nothing is read, for the entry is never submitted.
        (unsafe { IoVec::from_raw(without_provenance(address), len) }, text(span(address, len)))
    }

    IoVecMut<'a> => |source| {
        let (address, len) = (source.any() as usize, source.any() as usize);
        // SAFETY: nothing is written, for the entry is never submitted.
        (unsafe { IoVecMut::from_raw(without_provenance(address), len) }, text(span(address, len)))
    }

    &'a CStr => |source| {
        let path: &CStr = [c"", c"a", c"name"][usize::from(source.below(3))];
        (path, hex(path.as_ptr().addr() as u64))
    }

    &'a Timespec => |source| {
        let time: &_ = source.memory.alloc(Timespec { seconds: source.any() as i64, nanoseconds: 0 });
        (time, hex(core::ptr::from_ref(time).addr() as u64))
    }

    &'a AtomicU32 => |source| {
        let word: &_ = source.memory.alloc(AtomicU32::new(0));
        (word, hex(word.as_ptr().addr() as u64))
    }

    &'a OpenHow => |source| {
        let how: &_ = source.memory.alloc(OpenHow::from_raw(sys::open_how::ZERO));
        (how, text(format_args!("{:p}[24]", how)))
    }

    &'a epoll::Event => |source| {
        let event = epoll::Event { flags: epoll::EventFlags::IN, data: epoll::EventData::new_u64(1) };
        let event: &_ = source.memory.alloc(event);
        (event, hex(core::ptr::from_ref(event).addr() as u64))
    }

    &'a mut [MaybeUninit<epoll::Event>] => |source| {
        let len = source.below(5).into();
        let events = source.memory.alloc_slice_fill_with(len, |_| MaybeUninit::uninit());
        let said = span(events.as_ptr().addr(), len);
        (events, text(said))
    }

    &'a [FutexWaiter<'a>] => |source| {
        let (word, _) = <&AtomicU32>::draw(source);
        let len = source.below(5).into();
        let waiters: &[_] =
            source.memory.alloc_slice_fill_copy(len, FutexWaiter::new(word, 0, FutexFlags::PRIVATE));
        (waiters, text(span(waiters.as_ptr().addr(), len)))
    }

    &'a mut [RawFd; 2] => |source| {
        let fds = source.memory.alloc([0; 2]);
        let said = hex(fds.as_ptr().addr() as u64);
        (fds, said)
    }

    &'a mut MaybeUninit<rustix::fs::Statx> => |source| {
        let stat = source.memory.alloc(MaybeUninit::<rustix::fs::Statx>::uninit());
        let said = hex(stat.as_ptr().addr() as u64);
        (stat, said)
    }

    &'a mut MaybeUninit<libc::siginfo_t> => |source| {
        let info = source.memory.alloc(MaybeUninit::<libc::siginfo_t>::uninit());
        let said = hex(info.as_ptr().addr() as u64);
        (info, said)
    }

    *mut u8 => |source| {
        let address = source.any() as usize;
        (without_provenance_mut(address), hex(address as u64))
    }

    *mut c_void => |source| {
        let address = source.any() as usize;
        (without_provenance_mut(address), hex(address as u64))
    }

    &'a SocketAddrAny => |source| {
        let address: SocketAddr = ["127.0.0.1:9", "[::1]:9"][usize::from(source.below(2))].parse().unwrap();
        let any: &SocketAddrAny = source.memory.alloc(address.into());
        let len = if address.is_ipv4() { 16 } else { 28 };
        (any, text(span(any.as_ptr().addr(), len)))
    }

    &'a mut SocketAddrBuf => |source| {
        let buf = source.memory.alloc(SocketAddrBuf::default());
        let start = core::ptr::from_ref(buf).addr();
        let said = format!("{start:#x}, {:#x}", start + size_of::<libc::sockaddr_storage>());
        (buf, text(said))
    }

    SendHdr<'a> => |source| {
        let address = source.any() as usize;
        // SAFETY: nothing is read, for the entry is never submitted.
        (unsafe { SendHdr::from_raw(without_provenance(address)) }, hex(address as u64))
    }

    RecvHdr<'a> => |source| {
        let address = source.any() as usize;
        // SAFETY: nothing is written, for the entry is never submitted.
        (unsafe { RecvHdr::from_raw(without_provenance_mut(address)) }, hex(address as u64))
    }

    ReadProtection<'a> => |source| {
        let info = source.memory.alloc(ProtectionInfo::default());
        let said = format!("{info:p}, {:#x}", sys::IORING_RW_ATTR_FLAG_PI);
        (info.read(BufMut::draw(source).0), text(said))
    }

    WriteProtection<'a> => |source| {
        let info = source.memory.alloc(ProtectionInfo::default());
        let said = format!("{info:p}, {:#x}", sys::IORING_RW_ATTR_FLAG_PI);
        (info.write(Buf::draw(source).0), text(said))
    }
}

impl<'a, V: Drawn<'a>> Drawn<'a> for FixedIoVec<V> {
    fn draw(source: &mut Source<'a>) -> (Self, Said) {
        let (vecs, said) = V::draw(source);
        let index = source.any() as u16;
        (FixedIoVec::new(vecs, index), of_buffer(said, index))
    }
}

fn of_buffer(memory: Said, index: u16) -> Said {
    match memory {
        Said::Text(memory) => text(format_args!("{memory} of buffer {index}")),
        _ => unreachable!("memory is said by a text"),
    }
}
