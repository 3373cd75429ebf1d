//! How each type of operand is drawn, and how an entry that holds it has to read. The texts are stated here and not
//! taken from the decoder. Numbers stand for descriptors and addresses: no entry is ever submitted. What points at
//! memory is in [`super::drawn_memory`].

use core::num::NonZeroU32;
use core::time::Duration;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, WaitId as Which};

use super::source::{Drawn, Said, Source};
use super::*;
use crate::UserData;
use crate::flags::*;
use crate::operand::*;

pub(super) fn text(text: impl ToString) -> Said {
    Said::Text(text.to_string())
}

pub(super) fn hex(value: u64) -> Said {
    Said::Text(format!("{value:#x}"))
}

/// States how to draw types: the value, then what is said of it.
macro_rules! drawn {
    ($($ty:ty $(, side $side:expr)? => |$source:ident| $draw:block)*) => { $(
        impl<'a> Drawn<'a> for $ty {
            $(const SIDE: &'static [(At, u64)] = &[$side];)?
            fn draw($source: &mut Source<'a>) -> (Self, Said) $draw
        }
    )* };
}

pub(super) use drawn;

macro_rules! numbers {
    ($($ty:ty),*) => { drawn! { $($ty => |source| {
        let number = source.number() as $ty;
        (number, text(number))
    })* } };
}

numbers!(u8, u16, u32, u64, i32);

macro_rules! bit_sets {
    ($($set:ty),* $(,)?) => { drawn! { $($set => |source| {
        let set = <$set>::from_bits_retain(source.bits() as _);
        (set, Said::Among(u64::from(set.bits())))
    })* } };
}

bit_sets!(
    CqeFlags,
    NopFlags,
    FsyncFlags,
    TimeoutFlags,
    CancelFlags,
    AcceptFlags,
    MsgRingFlags,
    FixedFdInstallFlags,
    UringCmdFlags,
    SyncRangeFlags,
    rustix::io::ReadWriteFlags,
    rustix::fs::OFlags,
    rustix::fs::AtFlags,
    rustix::fs::RenameFlags,
    rustix::fs::FallocateFlags,
    rustix::fs::StatxFlags,
    rustix::fs::XattrFlags,
    rustix::net::RecvFlags,
    rustix::net::SocketFlags,
    rustix::process::WaitIdOptions,
    rustix::pipe::PipeFlags,
    rustix::pipe::SpliceFlags,
);

/// A number that can stand for a descriptor, or that of the current directory.
fn descriptor(source: &mut Source<'_>) -> (i32, Said) {
    match source.below(4) {
        0 => (libc::AT_FDCWD, text("CWD")),
        _ => {
            let number = source.any() as i32 & i32::MAX;
            (number, text(number))
        }
    }
}

pub(super) fn borrowed<'a>(number: i32) -> BorrowedFd<'a> {
    // SAFETY: the number is stored in an entry that is never submitted; nothing is done with the descriptor.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn file<'a>(source: &mut Source<'a>) -> (File<'a>, Said) {
    if source.below(2) == 0 {
        let index = source.any() as u32;
        return (Fixed(index).into(), text(format_args!("fixed {index}")));
    }
    let (number, said) = descriptor(source);
    (borrowed(number).into(), said)
}

drawn! {
    File<'a>, side (At::FLAGS, sys::IOSQE_FIXED_FILE as u64) => |source| { file(source) }

    FileIn<'a>, side (At::SPLICE_FLAGS, sys::SPLICE_F_FD_IN_FIXED as u64) => |source| {
        let (file, said) = file(source);
        (file.into(), said)
    }

    BorrowedFd<'a> => |source| {
        let (number, said) = descriptor(source);
        (borrowed(number), said)
    }

    OwnedFd => |source| {
        let number = source.any() as i32 & i32::MAX;
        // SAFETY: the entry takes the number out at once and never closes it.
        (unsafe { OwnedFd::from_raw_fd(number) }, text(number))
    }

    Fixed => |source| {
        let index = source.any() as u32;
        (Fixed(index), text(index.min(u32::MAX - 1)))
    }

    DirectSlot => |source| {
        if source.below(4) == 0 {
            return (DirectSlot::ALLOC, text("alloc"));
        }
        let index = source.any() as u32;
        (DirectSlot::at(index), text(index.min(u32::MAX - 2)))
    }

    Group, side (At::FLAGS, sys::IOSQE_BUFFER_SELECT as u64) => |source| {
        let group = source.any() as u16;
        (Group(group), text(group))
    }

    GroupId => |source| {
        let group = source.any() as u16;
        (GroupId(group), text(group))
    }

    Length => |source| {
        let len = source.any();
        (Length(len), text(len))
    }

    Duration => |source| {
        let span = Duration::new(source.any(), source.any() as u32 % 1_000_000_000);
        (span, text(span.as_nanos().min(i64::MAX as u128)))
    }

    UserData => |source| {
        let value = source.number();
        (UserData(value), hex(value))
    }

    Opcode => |source| {
        let number = source.any() as u8;
        (Opcode(number), text(format_args!("{:?}", Opcode(number))))
    }

    PollMask => |source| {
        let mask = source.any() as u32;
        (PollMask(mask), Said::Exactly(mask.into()))
    }

    [u8; 16] => |source| {
        let command = core::array::from_fn(|_| source.byte());
        (command, text(format_args!("{command:02x?}")))
    }

    FutexFlags => |source| {
        let bits = source.any() as u32;
        // SAFETY: the entry is never submitted.
        (unsafe { FutexFlags::from_bits(bits) }, hex(bits.into()))
    }

    SocketOption => |source| {
        let (level, name) = (source.any() as u32, source.any() as u32);
        // SAFETY: the entry is never submitted.
        (unsafe { SocketOption::from_raw(level, name) }, text(format_args!("{level}, {name:#x}")))
    }

    RecvSendOptions => |source| {
        let (options, bits) = match source.below(4) {
            0 => (RecvSendOptions::default(), 0),
            1 => (RecvSendOptions::POLL_FIRST, sys::IORING_RECVSEND_POLL_FIRST),
            2 => (RecvSendOptions::REPORT_USAGE, sys::IORING_SEND_ZC_REPORT_USAGE),
            _ => (
                RecvSendOptions::POLL_FIRST | RecvSendOptions::REPORT_USAGE,
                sys::IORING_RECVSEND_POLL_FIRST | sys::IORING_SEND_ZC_REPORT_USAGE,
            ),
        };
        (options, Said::Among(bits.into()))
    }

    SendFlags => |source| {
        let bits = source.bits() as u32;
        let kept = bits & !(libc::MSG_ZEROCOPY as u32);
        (SendFlags::from_bits_retain(bits), Said::Among(kept.into()))
    }

    SocketKind => |source| {
        let (kind, flags) = (source.any() as u32, SocketFlags::from_bits_retain(source.any() as u32));
        ((SocketType::from_raw(kind), flags).into(), text(kind | flags.bits()))
    }

    AddressFamily => |source| {
        let family = source.any() as u16;
        (AddressFamily::from_raw(family), text(family))
    }

    Option<Protocol> => |source| {
        let number = source.any() as u32;
        (NonZeroU32::new(number).map(Protocol::from_raw), text(number))
    }

    rustix::net::Shutdown => |source| {
        use rustix::net::Shutdown::{Both, Read, Write};
        let (how, number) =
            [(Read, libc::SHUT_RD), (Write, libc::SHUT_WR), (Both, libc::SHUT_RDWR)][usize::from(source.below(3))];
        (how, text(number))
    }

    rustix::fs::Mode => |source| {
        let mode = rustix::fs::Mode::from_bits_retain(source.any() as _);
        (mode, text(format_args!("{:#o}", mode.bits())))
    }

    rustix::fs::Advice => |source| {
        use rustix::fs::Advice::{DontNeed, Normal};
        let (advice, number) =
            [(Normal, libc::POSIX_FADV_NORMAL), (DontNeed, libc::POSIX_FADV_DONTNEED)][usize::from(source.below(2))];
        (advice, text(number))
    }

    rustix::mm::Advice => |source| {
        use rustix::mm::Advice::{LinuxDontNeed, Normal};
        let (advice, number) =
            [(Normal, libc::MADV_NORMAL), (LinuxDontNeed, libc::MADV_DONTNEED)][usize::from(source.below(2))];
        (advice, text(number))
    }

    Which<'a> => |source| {
        let id = (source.any() as i32 & i32::MAX).max(1);
        let pid = Pid::from_raw(id);
        let (which, kind, id) = match source.below(5) {
            0 => (Which::All, libc::P_ALL, 0),
            1 => (Which::Pgid(None), libc::P_PGID, 0),
            2 => (Which::Pgid(pid), libc::P_PGID, id),
            3 => (Which::PidFd(borrowed(id)), libc::P_PIDFD, id),
            _ => (Which::Pid(pid.unwrap()), libc::P_PID, id),
        };
        (which, text(format_args!("{kind}, {id:#x}")))
    }
}
