//! What a kernel does not say of itself, found out by trying: one entry (or call) that ends one way where something is
//! known, and another way where it is not.
//!
//! Only what is told from outside is asked here. Most flags are refused with `EINVAL` by kernels without them; where
//! older kernels ignore a field, the trial looks for an effect.

use std::os::fd::{AsFd, AsRawFd};

use rawring::{Errno, RawSqe, Setup};
use rawring_sys::*;

use crate::bench::*;

pub struct Trial {
    pub kind: &'static str,
    pub name: &'static str,
    with: fn(&mut Bench) -> bool,
}

impl Trial {
    pub fn succeeds(&self) -> bool {
        (self.with)(&mut Bench::new())
    }
}

const fn trial(kind: &'static str, name: &'static str, with: fn(&mut Bench) -> bool) -> Trial {
    Trial { kind, name, with }
}

pub const ALL: &[Trial] = &[
    trial("EnterFlags", "IORING_ENTER_GETEVENTS", |b| b.enter(IORING_ENTER_GETEVENTS)),
    trial("EnterFlags", "IORING_ENTER_SQ_WAKEUP", |b| b.enter(IORING_ENTER_SQ_WAKEUP)),
    trial("EnterFlags", "IORING_ENTER_SQ_WAIT", |b| b.enter(IORING_ENTER_SQ_WAIT)),
    trial("EnterFlags", "IORING_ENTER_EXT_ARG", |b| b.enter(IORING_ENTER_EXT_ARG)),
    trial("EnterFlags", "IORING_ENTER_REGISTERED_RING", |b| b.enter(IORING_ENTER_REGISTERED_RING)),
    trial("EnterFlags", "IORING_ENTER_ABS_TIMER", |b| b.enter(IORING_ENTER_ABS_TIMER)),
    trial("EnterFlags", "IORING_ENTER_EXT_ARG_REG", |b| b.enter(IORING_ENTER_EXT_ARG_REG)),
    trial("EnterFlags", "IORING_ENTER_NO_IOWAIT", |b| b.enter(IORING_ENTER_NO_IOWAIT)),
    trial("SqeFlags", "IOSQE_FIXED_FILE", |b| b.run(RawSqe { flags: IOSQE_FIXED_FILE, ..b.recv(0) }).is(NO_FILE)),
    trial("SqeFlags", "IOSQE_IO_DRAIN", |b| b.run(RawSqe { flags: IOSQE_IO_DRAIN, ..sqe(IORING_OP_NOP) }).is(Ok(0))),
    trial("SqeFlags", "IOSQE_IO_LINK", |b| b.run(RawSqe { flags: IOSQE_IO_LINK, ..sqe(IORING_OP_NOP) }).is(Ok(0))),
    trial("SqeFlags", "IOSQE_IO_HARDLINK", |b| {
        b.run(RawSqe { flags: IOSQE_IO_HARDLINK, ..sqe(IORING_OP_NOP) }).is(Ok(0))
    }),
    trial("SqeFlags", "IOSQE_ASYNC", |b| b.run(RawSqe { flags: IOSQE_ASYNC, ..sqe(IORING_OP_NOP) }).is(Ok(0))),
    trial("SqeFlags", "IOSQE_BUFFER_SELECT", |b| b.run(b.recv_provided(IORING_OP_RECV, 0)).found_no_group()),
    trial("SqeFlags", "IOSQE_CQE_SKIP_SUCCESS", |b| {
        b.run(RawSqe { fd: -1, flags: IOSQE_CQE_SKIP_SUCCESS, ..b.send(IORING_OP_SEND, 0) }).is(NO_FILE)
    }),
    trial("NopFlags", "IORING_NOP_INJECT_RESULT", |b| b.run(nop(0)).is(Ok(7))),
    trial("NopFlags", "IORING_NOP_FILE", |b| b.run(nop(IORING_NOP_FILE)).is_or(NO_FILE)),
    trial("NopFlags", "IORING_NOP_FIXED_FILE", |b| b.run(nop(IORING_NOP_FILE | IORING_NOP_FIXED_FILE)).is_or(NO_FILE)),
    trial("NopFlags", "IORING_NOP_FIXED_BUFFER", |b| b.run(nop(IORING_NOP_FIXED_BUFFER)).is_or(NOT_REGISTERED)),
    trial("NopFlags", "IORING_NOP_TW", |b| b.run(nop(IORING_NOP_TW)).is(Ok(7))),
    trial("NopFlags", "IORING_NOP_CQE32", |b| {
        let Ok(ring) = Setup::new(8).cqe32().build() else { return false };
        b.ring = ring;
        b.run(nop(IORING_NOP_CQE32)).is(Ok(7))
    }),
    trial("FsyncFlags", "IORING_FSYNC_DATASYNC", |b| {
        b.run(RawSqe { fd: b.socket(), op_flags: IORING_FSYNC_DATASYNC, ..sqe(IORING_OP_FSYNC) }).is(Err(Errno::INVAL))
    }),
    trial("TimeoutFlags", "IORING_TIMEOUT_ABS", |b| b.run(timeout(IORING_TIMEOUT_ABS)).is(EXPIRED)),
    trial("TimeoutFlags", "IORING_TIMEOUT_BOOTTIME", |b| b.run(timeout(IORING_TIMEOUT_BOOTTIME)).is(EXPIRED)),
    trial("TimeoutFlags", "IORING_TIMEOUT_REALTIME", |b| b.run(timeout(IORING_TIMEOUT_REALTIME)).is(EXPIRED)),
    trial("TimeoutFlags", "IORING_TIMEOUT_ETIME_SUCCESS", |b| b.run(timeout(IORING_TIMEOUT_ETIME_SUCCESS)).is(EXPIRED)),
    trial("TimeoutFlags", "IORING_TIMEOUT_UPDATE", |b| b.run(update(0)).is(NOT_FOUND)),
    trial("TimeoutFlags", "IORING_LINK_TIMEOUT_UPDATE", |b| b.run(update(IORING_LINK_TIMEOUT_UPDATE)).is(NOT_FOUND)),
    trial("TimeoutFlags", "IORING_TIMEOUT_MULTISHOT", |b| b.run(timeout(IORING_TIMEOUT_MULTISHOT)).is(EXPIRED)),
    trial("TimeoutFlags", "IORING_TIMEOUT_IMMEDIATE_ARG", |b| b.run(immediate(IORING_OP_TIMEOUT, 0)).is(EXPIRED)),
    trial("CancelFlags", "IORING_ASYNC_CANCEL_ALL", |b| b.run(cancel(IORING_ASYNC_CANCEL_ALL, -1)).known()),
    trial("CancelFlags", "IORING_ASYNC_CANCEL_FD", |b| b.run(cancel(IORING_ASYNC_CANCEL_FD, b.socket())).is(NOT_FOUND)),
    trial("CancelFlags", "IORING_ASYNC_CANCEL_ANY", |b| b.run(cancel(IORING_ASYNC_CANCEL_ANY, -1)).known()),
    trial("CancelFlags", "IORING_ASYNC_CANCEL_FD_FIXED", |b| {
        b.run(cancel(IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED, 0)).is(NO_FILE)
    }),
    trial("CancelFlags", "IORING_ASYNC_CANCEL_USERDATA", |b| {
        b.run(cancel(IORING_ASYNC_CANCEL_USERDATA, -1)).is(NOT_FOUND)
    }),
    trial("CancelFlags", "IORING_ASYNC_CANCEL_OP", |b| b.run(cancel(IORING_ASYNC_CANCEL_OP, -1)).is(NOT_FOUND)),
    trial("RecvSendFlags", "IORING_RECVSEND_POLL_FIRST", |b| {
        b.heeds(b.recv(IORING_RECVSEND_POLL_FIRST), |end| end.is(Ok(1)))
    }),
    trial("RecvSendFlags", "IORING_RECV_MULTISHOT", |b| {
        b.heeds(b.recv_provided(IORING_OP_RECV, IORING_RECV_MULTISHOT), |end| end.found_no_group())
    }),
    trial("RecvSendFlags", "IORING_RECVSEND_FIXED_BUF", |b| {
        b.run(b.send(IORING_OP_SEND_ZC, IORING_RECVSEND_FIXED_BUF)).is(NOT_REGISTERED)
    }),
    trial("RecvSendFlags", "IORING_SEND_ZC_REPORT_USAGE", |b| {
        b.run(b.send(IORING_OP_SEND_ZC, IORING_SEND_ZC_REPORT_USAGE)).is(Ok(1))
    }),
    trial("RecvSendFlags", "IORING_RECVSEND_BUNDLE", |b| {
        b.heeds(b.recv_provided(IORING_OP_RECV, IORING_RECVSEND_BUNDLE), |end| end.found_no_group())
    }),
    trial("RecvSendFlags", "IORING_SEND_VECTORIZED", |b| {
        b.heeds(b.send_vectorized(IORING_OP_SEND, 0), |end| end.is(Ok(1)))
    }),
    trial("AcceptFlags", "IORING_ACCEPT_MULTISHOT", |b| b.run(b.accept(IORING_ACCEPT_MULTISHOT)).more),
    trial("AcceptFlags", "IORING_ACCEPT_DONTWAIT", |b| {
        b.heeds(b.accept(IORING_ACCEPT_DONTWAIT), |end| end.result.is_ok())
    }),
    trial("AcceptFlags", "IORING_ACCEPT_POLL_FIRST", |b| {
        b.heeds(b.accept(IORING_ACCEPT_POLL_FIRST), |end| end.result.is_ok())
    }),
    trial("MsgRingFlags", "IORING_MSG_RING_CQE_SKIP", |b| {
        let fd = b.ring.as_fd().as_raw_fd();
        let to_itself = RawSqe { fd, addr: IORING_MSG_SEND_FD, ..sqe(IORING_OP_MSG_RING) };
        let other = Setup::new(8).build().expect("a ring");
        let raw = RawSqe { fd: other.as_fd().as_raw_fd(), op_flags: IORING_MSG_RING_CQE_SKIP, ..to_itself };
        b.run(raw).is(NO_FILE)
    }),
    trial("MsgRingFlags", "IORING_MSG_RING_FLAGS_PASS", |b| {
        let other = Setup::new(8).build().expect("a ring");
        let fd = other.as_fd().as_raw_fd();
        b.run(RawSqe { fd, op_flags: IORING_MSG_RING_FLAGS_PASS, ..sqe(IORING_OP_MSG_RING) }).is(Ok(0))
    }),
    trial("FixedFdInstallFlags", "IORING_FIXED_FD_NO_CLOEXEC", |b| {
        let raw = RawSqe { fd: 0, flags: IOSQE_FIXED_FILE, ..sqe(IORING_OP_FIXED_FD_INSTALL) };
        b.run(RawSqe { op_flags: IORING_FIXED_FD_NO_CLOEXEC, ..raw }).is(NO_FILE)
    }),
    trial("UringCmdFlags", "IORING_URING_CMD_FIXED", |b| {
        b.run(RawSqe { op_flags: IORING_URING_CMD_FIXED, ..b.command(0) }).known()
    }),
    trial("UringCmdFlags", "IORING_URING_CMD_MULTISHOT", |b| {
        b.takes_commands() && b.run(provided(b.command(0))).is(Err(Errno::INVAL))
    }),
    trial("PollFlags", "IORING_POLL_ADD_MULTI", |b| b.run(poll(b.socket(), IORING_POLL_ADD_MULTI)).more),
    trial("PollFlags", "IORING_POLL_UPDATE_EVENTS", |b| b.run(update_poll(IORING_POLL_UPDATE_EVENTS)).is(NOT_FOUND)),
    trial("PollFlags", "IORING_POLL_UPDATE_USER_DATA", |b| {
        b.run(update_poll(IORING_POLL_UPDATE_USER_DATA)).is(NOT_FOUND)
    }),
    trial("PollFlags", "IORING_POLL_ADD_LEVEL", |b| b.run(poll(b.socket(), IORING_POLL_ADD_LEVEL)).known()),
    trial("variant", "CancelOp", |b| b.run(cancel(IORING_ASYNC_CANCEL_OP, -1)).is(NOT_FOUND)),
    trial("variant", "CancelFd", |b| b.run(cancel(IORING_ASYNC_CANCEL_FD, b.socket())).is(NOT_FOUND)),
    trial("variant", "CancelAny", |b| b.run(cancel(IORING_ASYNC_CANCEL_ANY, -1)).known()),
    trial("variant", "MsgRingFd", |b| {
        let other = Setup::new(8).build().expect("a ring");
        let fd = other.as_fd().as_raw_fd();
        b.run(RawSqe { fd, addr: IORING_MSG_SEND_FD, ..sqe(IORING_OP_MSG_RING) }).is(NO_FILE)
    }),
    trial("variant", "FilesUpdateAlloc", |b| {
        b.with_slot();
        let fds = leak([b.socket()]);
        b.run(RawSqe { addr: fds, len: 1, off: u32::MAX.into(), ..sqe(IORING_OP_FILES_UPDATE) }).is(Ok(1))
    }),
    trial("variant", "ReadProvided", |b| {
        let raw = RawSqe { fd: b.socket(), len: 1, off: u64::MAX, ..sqe(IORING_OP_READ) };
        b.run(provided(raw)).found_no_group()
    }),
    trial("variant", "CloseDirect", |b| b.run(RawSqe { fd: 0, file_index: 1, ..sqe(IORING_OP_CLOSE) }).is(NO_SLOT)),
    trial("variant", "OpenAtDirect", |b| {
        b.run(RawSqe { addr: path(), file_index: 1, ..sqe(IORING_OP_OPENAT) }).is(NO_SLOT)
    }),
    trial("variant", "OpenAt2Direct", |b| {
        let how = leak(open_how::default());
        let len = size_of::<open_how>() as u32;
        b.run(RawSqe { addr: path(), off: how, len, file_index: 1, ..sqe(IORING_OP_OPENAT2) }).is(NO_SLOT)
    }),
    trial("variant", "AcceptDirect", |b| b.run(RawSqe { file_index: 1, ..b.accept(0) }).is(NO_SLOT)),
    trial("variant", "AcceptMulti", |b| b.run(b.accept(IORING_ACCEPT_MULTISHOT)).more),
    trial("variant", "AcceptMultiDirect", |b| {
        b.with_slot();
        b.run(RawSqe { file_index: u32::MAX, ..b.accept(IORING_ACCEPT_MULTISHOT) }).more
    }),
    trial("variant", "SendFixed", |b| {
        b.heeds(b.send(IORING_OP_SEND, IORING_RECVSEND_FIXED_BUF), |end| end.is(NOT_REGISTERED))
    }),
    trial("variant", "SendVectorized", |b| b.heeds(b.send_vectorized(IORING_OP_SEND, 0), |end| end.is(Ok(1)))),
    trial("variant", "SendProvided", |b| {
        b.run(RawSqe { addr: 0, len: 0, ..provided(b.send(IORING_OP_SEND, 0)) }).found_no_group()
    }),
    trial("variant", "SendBundle", |b| {
        b.run(RawSqe { addr: 0, len: 0, ..provided(b.send(IORING_OP_SEND, IORING_RECVSEND_BUNDLE)) }).found_no_group()
    }),
    trial("variant", "SendZcVectorized", |b| b.run(b.send_vectorized(IORING_OP_SEND_ZC, 0)).is(Ok(1))),
    trial("variant", "SendZcVectorizedFixed", |b| {
        let addr = b.with_buffer();
        b.run(RawSqe { addr, ..b.send_vectorized(IORING_OP_SEND_ZC, IORING_RECVSEND_FIXED_BUF) }).is(Ok(1))
    }),
    trial("variant", "SendMsgZcFixed", |b| {
        // Where it is understood, the byte has to lie in the buffer.
        b.with_buffer();
        let raw = b.send(IORING_OP_SENDMSG_ZC, IORING_RECVSEND_FIXED_BUF);
        b.run(RawSqe { addr: full_message(), ..raw }).is(Err(Errno::FAULT))
    }),
    trial("variant", "RecvFixed", |b| b.heeds(b.recv(IORING_RECVSEND_FIXED_BUF), |end| end.is(NOT_REGISTERED))),
    trial("variant", "RecvProvided", |b| b.run(b.recv_provided(IORING_OP_RECV, 0)).found_no_group()),
    trial("variant", "RecvBundle", |b| {
        b.heeds(b.recv_provided(IORING_OP_RECV, IORING_RECVSEND_BUNDLE), |end| end.found_no_group())
    }),
    trial("variant", "RecvMulti", |b| {
        b.heeds(b.recv_provided(IORING_OP_RECV, IORING_RECV_MULTISHOT), |end| end.found_no_group())
    }),
    trial("variant", "RecvMultiBundle", |b| {
        let raw = b.recv_provided(IORING_OP_RECV, IORING_RECV_MULTISHOT | IORING_RECVSEND_BUNDLE);
        b.heeds(raw, |end| end.found_no_group())
    }),
    trial("variant", "RecvMsgProvided", |b| {
        b.run(RawSqe { addr: full_message(), len: 1, ..b.recv_provided(IORING_OP_RECVMSG, 0) }).found_no_group()
    }),
    trial("variant", "RecvMsgMulti", |b| {
        b.heeds(b.recv_provided(IORING_OP_RECVMSG, IORING_RECV_MULTISHOT), |end| end.found_no_group())
    }),
    trial("variant", "PollMulti", |b| b.run(poll(b.socket(), IORING_POLL_ADD_MULTI)).more),
    trial("variant", "PollUpdate", |b| b.run(update_poll(IORING_POLL_UPDATE_EVENTS)).is(NOT_FOUND)),
    trial("variant", "PollUpdateUserData", |b| b.run(update_poll(IORING_POLL_UPDATE_USER_DATA)).is(NOT_FOUND)),
    trial("variant", "TimeoutMulti", |b| b.run(RawSqe { off: 1, ..timeout(IORING_TIMEOUT_MULTISHOT) }).is(EXPIRED)),
    trial("variant", "TimeoutImmediate", |b| b.run(immediate(IORING_OP_TIMEOUT, 0)).is(EXPIRED)),
    trial("variant", "TimeoutMultiImmediate", |b| {
        b.run(immediate(IORING_OP_TIMEOUT, IORING_TIMEOUT_MULTISHOT)).is(EXPIRED)
    }),
    trial("variant", "TimeoutUpdate", |b| b.run(update(0)).is(NOT_FOUND)),
    trial("variant", "TimeoutUpdateImmediate", |b| b.run(update(IORING_TIMEOUT_IMMEDIATE_ARG)).is(NOT_FOUND)),
    trial("variant", "LinkTimeoutImmediate", |b| {
        let never = RawSqe { flags: IOSQE_IO_LINK, ..poll(b.peer.as_raw_fd(), 0) };
        b.run_all(&[never, immediate(IORING_OP_LINK_TIMEOUT, 0)]).is(EXPIRED)
    }),
    trial("variant", "LinkTimeoutUpdate", |b| b.run(update(IORING_LINK_TIMEOUT_UPDATE)).is(NOT_FOUND)),
    trial("variant", "LinkTimeoutUpdateImmediate", |b| {
        b.run(update(IORING_LINK_TIMEOUT_UPDATE | IORING_TIMEOUT_IMMEDIATE_ARG)).is(NOT_FOUND)
    }),
    trial("variant", "UringCmdMulti", |b| b.takes_commands() && b.run(provided(b.command(0))).is(Err(Errno::INVAL))),
    trial("variant", "SocketInq", |b| b.run(b.command(SOCKET_URING_OP_SIOCINQ)).is(Ok(4))),
    trial("variant", "SocketOutq", |b| b.run(b.command(SOCKET_URING_OP_SIOCOUTQ)).is(Ok(0))),
    trial("variant", "GetSockOpt", |b| b.run(option(b.command(SOCKET_URING_OP_GETSOCKOPT))).is(Ok(4))),
    trial("variant", "SetSockOpt", |b| b.run(option(b.command(SOCKET_URING_OP_SETSOCKOPT))).is(Ok(0))),
    trial("variant", "SocketTxTimestamp", |b| {
        // Needs wide completions, and says so by `EINVAL`, unlike what does not know the command.
        b.takes_commands() && b.run(b.command(SOCKET_URING_OP_TX_TIMESTAMP)).is(Err(Errno::INVAL))
    }),
    trial("variant", "GetSockName", |b| b.run(address(b.command(SOCKET_URING_OP_GETSOCKNAME), 0)).is(Ok(0))),
    trial("variant", "GetPeerName", |b| b.run(address(b.command(SOCKET_URING_OP_GETSOCKNAME), 1)).is(Ok(0))),
    trial("variant", "BlockDiscard", |b| b.run(disk(BLOCK_URING_CMD_DISCARD)).known()),
    trial("variant", "BlockZoneResetAll", |b| b.run(disk(BLOCK_URING_CMD_ZONE_RESET_ALL)).known()),
];
