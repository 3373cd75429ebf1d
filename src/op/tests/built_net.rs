//! The entries that [`super::built`] checks for all other families: of sockets, polls, times, futexes, provided buffers
//! and driver commands, with every operand set.

use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU32;
use core::time::Duration;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use rustix::event::{PollFlags, epoll};
use rustix::mm;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, ipproto};
use rustix::process::{Pid, WaitId as Which, WaitIdOptions};

use super::*;
use crate::UserData;
use crate::flags::{AcceptFlags, TimeoutFlags, UringCmdFlags};
use crate::operand::*;
use crate::sqe::{Sqe, Sqe128};

/// One entry for each row of these families.
pub(super) fn each(check: &mut dyn FnMut(&Sqe128<'_>)) {
    let mut check = |entry: Sqe<'_>| check(&entry.into());
    let to = SocketAddrAny::from(std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
    sockets(&to, &mut check);
    sends(&to, &mut check);
    receives(&mut check);
    waits(&mut check);
    commands(&mut check);
}

fn sockets(address: &SocketAddrAny, check: &mut dyn FnMut(Sqe<'_>)) {
    let stdin = std::io::stdin();
    let fd = stdin.as_fd();
    let (family, kind, protocol) = (AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP));
    let (mut one, mut two) = Default::default();
    let (socket, accept) = (SocketFlags::NONBLOCK, AcceptFlags::DONTWAIT);
    check(Socket::new(family, kind, protocol).into());
    check(SocketDirect::new(family, kind, protocol, DirectSlot::at(6)).into());
    check(Bind::new(fd, address).into());
    check(Listen::new(fd, 3).into());
    check(Connect::new(fd, address).into());
    check(Accept::new(fd).peer(&mut one).socket_flags(socket).accept_flags(accept).into());
    check(AcceptDirect::new(fd, Fixed(6)).peer(&mut two).socket_flags(socket).accept_flags(accept).into());
    check(AcceptMulti::new(fd).socket_flags(socket).accept_flags(accept).into());
    check(AcceptMultiDirect::new(fd).socket_flags(socket).accept_flags(accept).into());
    check(Shutdown::new(fd, rustix::net::Shutdown::Write).into());
}

fn sends(to: &SocketAddrAny, check: &mut dyn FnMut(Sqe<'_>)) {
    let stdin = std::io::stdin();
    let fd = stdin.as_fd();
    let slices = [IoSlice::new(b"abc")];
    let (group, index, options) = (Group(4), 5, RecvSendOptions::POLL_FIRST);
    let (fixed, fixed_vec) = (|| FixedBuf::new(b"abc", index), || FixedIoVec::new(IoVec::from(&slices), index));
    macro_rules! with_address {
        ($($send:expr),* $(,)?) => { $(
            check($send.to(to).msg_flags(SendFlags::MORE).options(options).into());
        )* };
    }
    with_address! {
        Send::new(fd, "abc"),
        SendFixed::new(fd, fixed()),
        SendVectorized::new(fd, &slices),
        SendProvided::new(fd, group).max_len(3),
        SendBundle::new(fd, group).max_len(3),
        SendZc::new(fd, "abc"),
        SendZcFixed::new(fd, fixed()),
        SendZcVectorized::new(fd, &slices),
        SendZcVectorizedFixed::new(fd, fixed_vec()),
    }
    let mut header = MsgHdr::default();
    let flags = SendFlags::MORE;
    check(SendMsg::new(fd, header.send(&slices, Some(to), None)).msg_flags(flags).options(options).into());
    check(SendMsgZc::new(fd, header.send(&slices, Some(to), None)).msg_flags(flags).options(options).into());
    let send = header.send(&slices, Some(to), None);
    check(SendMsgZcFixed::new(fd, send, index).msg_flags(flags).options(options).into());
}

fn receives(check: &mut dyn FnMut(Sqe<'_>)) {
    let stdin = std::io::stdin();
    let fd = stdin.as_fd();
    let mut buffer = [0; 4];
    let (group, flags, options) = (Group(4), RecvFlags::PEEK, RecvSendOptions::POLL_FIRST);
    check(Recv::new(fd, &mut buffer).msg_flags(flags).options(options).into());
    check(RecvFixed::new(fd, FixedBufMut::new(&mut buffer, 5)).msg_flags(flags).options(options).into());
    check(RecvProvided::new(fd, group).max_len(3).msg_flags(flags).options(options).into());
    check(RecvBundle::new(fd, group).max_len(3).msg_flags(flags).options(options).into());
    check(RecvMulti::new(fd, group).max_len(3).total_len(9).msg_flags(flags).options(options).into());
    check(RecvMultiBundle::new(fd, group).max_len(3).total_len(9).msg_flags(flags).options(options).into());
    check(RecvZc::new(fd, 2).max_len(3).options(options).into());
    let mut vecs = [IoSliceMut::new(&mut buffer)];
    let mut header = MsgHdr::default();
    check(RecvMsg::new(fd, header.recv(&mut vecs, None, &mut [])).msg_flags(flags).options(options).into());
    let provided = header.recv_multishot(3, 4);
    check(RecvMsgProvided::new(fd, provided, group).msg_flags(flags).options(options).into());
    check(RecvMsgMulti::new(fd, header.recv_multishot(3, 4), group).msg_flags(flags).options(options).into());
}

fn waits(check: &mut dyn FnMut(Sqe<'_>)) {
    let stdin = std::io::stdin();
    let fd = stdin.as_fd();
    let (events, target) = (PollFlags::IN, UserData(7));
    check(PollAdd::new(fd, events).into());
    check(PollMulti::new(fd, events).into());
    check(PollRemove::new(target).into());
    check(PollUpdate::new(target, events).into());
    // SAFETY: never submitted.
    check(unsafe { PollUpdateUserData::new(target, 8u64) }.events(events).into());
    let event = epoll::Event { flags: epoll::EventFlags::IN, data: epoll::EventData::new_u64(1) };
    check(EpollAdd::new(fd, fd, &event).into());
    check(EpollModify::new(fd, fd, &event).into());
    check(EpollDelete::new(fd, fd).into());
    check(EpollWait::new(fd, &mut [MaybeUninit::uninit()]).into());

    let (time, span, flags) =
        (Timespec { seconds: 1, nanoseconds: 2 }, Duration::from_millis(3), TimeoutFlags::BOOTTIME);
    check(Timeout::new(&time).completions(2).timeout_flags(flags).into());
    check(TimeoutMulti::new(&time).repeats(2).timeout_flags(flags).into());
    check(TimeoutImmediate::new(span).completions(2).timeout_flags(flags).into());
    check(TimeoutMultiImmediate::new(span).repeats(2).timeout_flags(flags).into());
    check(TimeoutRemove::new(target).into());
    check(TimeoutUpdate::new(target, &time).timeout_flags(flags).into());
    check(TimeoutUpdateImmediate::new(target, span).timeout_flags(flags).into());
    check(LinkTimeout::new(&time).timeout_flags(flags).into());
    check(LinkTimeoutImmediate::new(span).timeout_flags(flags).into());
    check(LinkTimeoutUpdate::new(target, &time).timeout_flags(flags).into());
    check(LinkTimeoutUpdateImmediate::new(target, span).timeout_flags(flags).into());

    let word = AtomicU32::new(0);
    check(FutexWait::new(&word, 3).mask(4).futex_flags(FutexFlags::PRIVATE).into());
    check(FutexWake::new(&word, 3).mask(4).futex_flags(FutexFlags::PRIVATE).into());
    check(FutexWaitv::new(&[FutexWaiter::new(&word, 3, FutexFlags::PRIVATE)]).into());
    check(WaitId::new(Which::Pid(Pid::INIT), WaitIdOptions::EXITED).info(&mut MaybeUninit::uninit()).into());
}

fn commands(check: &mut dyn FnMut(Sqe<'_>)) {
    let stdin = std::io::stdin();
    let fd = stdin.as_fd();
    let (flags, group) = (UringCmdFlags::FIXED, Group(4));
    // SAFETY: none of these is submitted.
    unsafe {
        check(ProvideBuffers::new(core::ptr::dangling_mut(), 2, 3, 4, group).into());
        check(Madvise::new(core::ptr::dangling_mut(), 4096usize, mm::Advice::WillNeed).into());
        check(UringCmd::new(fd, 99, [1; 16]).command_flags(flags).buf_index(5).into());
        check(UringCmdMulti::new(fd, 99, [1; 16], group).into());
    }
    check(RemoveBuffers::new(3, group).into());
    check(SocketInq::new(fd).into());
    check(SocketOutq::new(fd).into());
    check(GetSockOpt::new(fd, SocketOption::TCP_NO_DELAY, &mut [0; 4]).into());
    check(SetSockOpt::new(fd, SocketOption::TCP_NO_DELAY, &[0; 4]).into());
    check(SocketTxTimestamp::new(fd).into());
    check(GetSockName::new(fd, &mut SocketAddrBuf::default()).into());
    check(GetPeerName::new(fd, &mut SocketAddrBuf::default()).into());
    check(BlockDiscard::new(fd, 512, 1024).into());
    check(BlockZoneResetAll::new(fd).into());
}

/// The only row of these families whose entries have 128 bytes.
#[test]
fn a_wide_command_prints_both_halves() {
    let stdin = std::io::stdin();
    // SAFETY: never submitted.
    let entry =
        unsafe { UringCmd128::new(&stdin, 99).command(&[7; 80]) }.command_flags(UringCmdFlags::FIXED).buf_index(5);
    let text = format!("{:?}", Sqe128::from(entry));
    for part in
        ["UringCmd128 {", "command_op: 99", "command_flags: IORING_URING_CMD_FIXED", "buf_index: 5", "second: [07, "]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
