//! Sending: from memory, from registered and from provided buffers, as messages, with and without a copy.
//!
//! Zero-copy sends need their data until a second completion, the notification.

use crate::operand::{Buf, File, FixedBuf, FixedIoVec, Group, IoVec, RecvSendOptions, SendHdr};
use rawring_sys as sys;
use rustix::net::{SendFlags, SocketAddrAny};

ops! {
    /// Sends bytes, as `send(2)` and `sendto(2)`.
    ///
    /// A broken connection gives `EPIPE` and never raises `SIGPIPE`. With `MSG_WAITALL` a stream is written to until
    /// everything is sent; without it, fewer bytes than asked for are a success. More than 2,147,483,647 bytes are
    /// refused (`EINVAL`).
    ///
    /// ```
    /// use rawring::{Ring, op::{Recv, Send}};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (left, right) = UnixStream::pair()?;
    /// let mut answer = [0; 16];
    /// let mut ring = Ring::new(8)?;
    /// // SAFETY: sockets, bytes and buffer stay as they are until both completions were reaped, below.
    /// unsafe {
    ///     ring.push_unchecked(Send::new(&left, "hello").user_data(1)).expect("there is room");
    ///     ring.push_unchecked(Recv::new(&right, &mut answer).user_data(2)).expect("there is room");
    /// }
    /// ring.submit_and_wait(2)?;
    /// for cqe in ring.completions() {
    ///     assert_eq!(cqe.result(), Ok(5));
    /// }
    /// assert_eq!(&answer[..5], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Send = IORING_OP_SEND, "5.6", Once {
        new(into file: File<'a> => [FD] Completed, into data: Buf<'a> => [ADDR, LEN] Completed)
        with {
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted "6.1";
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO] "5.19";
        }
        result "bytes sent"
    }

    /// Sends bytes from a registered buffer; otherwise as `send(2)`.
    SendFixed = IORING_OP_SEND, "7.2", Once {
        new(into file: File<'a> => [FD] Completed, into data: FixedBuf<'a> => [ADDR, LEN, BUF_INDEX] Completed)
        with {
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted;
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [IOPRIO has sys::IORING_RECVSEND_FIXED_BUF]
        result "bytes sent"
    }

    /// Sends the bytes of several buffers without the header that [`SendMsg`] needs; otherwise as `send(2)`.
    ///
    /// The array itself is needed until submitted, what it names until completed.
    SendVectorized = IORING_OP_SEND, "6.17", Once {
        new(into file: File<'a> => [FD] Completed, into data: IoVec<'a> => [ADDR, LEN] Completed)
        with {
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted;
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [IOPRIO has sys::IORING_SEND_VECTORIZED]
        result "bytes sent"
    }

    /// Sends the next provided buffer of a group; otherwise as `send(2)`.
    ///
    /// The group is a queue of data to send: what was provided first goes first, whatever order the sends were
    /// submitted in. `ENOBUFS` if it is empty.
    SendProvided = IORING_OP_SEND, "6.10", Once {
        new(into file: File<'a> => [FD] Completed, val group: Group => [BUF_GROUP])
        with {
            /// Send at most so many bytes of it; 0 for all.
            val max_len: u32 => [LEN];
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted;
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT]
        result "bytes sent"
    }

    /// Sends as many provided buffers of a group as there are, at once; otherwise as `send(2)`.
    ///
    /// A completion stands for one or more buffers in the order of the group, beginning with the one that it names;
    /// its result, minus the length of each, tells how many. It goes on to what is provided meanwhile until the group
    /// is empty or a send came up short. Only with buffer rings.
    SendBundle = IORING_OP_SEND, "6.10", Multi {
        new(into file: File<'a> => [FD] Completed, val group: Group => [BUF_GROUP])
        with {
            /// Send at most so many bytes at once; 0 for no limit.
            val max_len: u32 => [LEN];
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted;
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT, IOPRIO has sys::IORING_RECVSEND_BUNDLE]
        result "bytes sent, of one or more buffers"
    }

    /// Sends a message with an address and control data, as `sendmsg(2)`.
    ///
    /// The header, its array of buffers and the address are needed until submitted, data and control data until
    /// completed.
    SendMsg = IORING_OP_SENDMSG, "5.3", Once {
        new(into file: File<'a> => [FD] Completed, val header: SendHdr<'a> => [ADDR] Completed)
        with {
            /// Flags of `sendmsg(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO] "5.19";
        }
        result "bytes sent"
    }

    /// Sends bytes without copying them; otherwise as `send(2)`.
    ///
    /// Two completions: the first has the result, and if it says [`more`](crate::Cqe::more), the second is the
    /// notification. Only then is the memory free. It is `more` that tells, never the result: a send that failed may be
    /// followed by a notification, too. `EOPNOTSUPP` for sockets that cannot (local ones, for
    /// instance), `ENOMEM` beyond the limit on locked memory, `EINVAL` together with
    /// [`skip_success`](Self::skip_success).
    ///
    /// Two things that kernels do (seen with Linux 6.18). A send that is cancelled because an entry it is linked to failed
    /// has `ECANCELED` without `more`, and yet a notification comes later: nothing was sent, and the memory is free, but
    /// who tells completions apart by `user_data` must not take it for that of a newer operation. And a send that a
    /// [drain](Self::drain) holds back, its own or another's, never starts: the kernel waits for the notification to end
    /// first. No cancellation finds it.
    ///
    /// ```
    /// use rawring::{Ring, op::SendZc, operand::RecvSendOptions};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let server = listener.accept()?.0;
    /// let data = vec![7; 4096];
    /// let mut ring = Ring::new(8)?;
    /// let send = SendZc::new(&client, &data).options(RecvSendOptions::REPORT_USAGE);
    /// // SAFETY: socket and data stay as they are until the notification was reaped, below.
    /// unsafe { ring.push_unchecked(send).expect("there is room") };
    /// ring.submit_and_wait(1)?;
    /// let first = ring.completions().next().expect("waited for one");
    /// assert_eq!(first.result(), Ok(4096));
    /// assert!(first.more());
    /// drop(server); // The peer need not even read: what the kernel holds ends with the connection.
    /// ring.submit_and_wait(1)?;
    /// let second = ring.completions().next().expect("waited for one");
    /// let report = second.notification().expect("the other completion is the notification");
    /// assert!(report.copied, "a loopback device keeps no hardware busy: the data is copied");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    SendZc = IORING_OP_SEND_ZC, "6.0", Notif {
        new(into file: File<'a> => [FD] Completed, into data: Buf<'a> => [ADDR, LEN] Notified)
        with {
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted;
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        result "bytes sent"
    }

    /// Sends bytes of a registered buffer without copying them; otherwise as `send(2)`.
    ///
    /// As [`SendZc`], and without looking up the pages each time.
    SendZcFixed = IORING_OP_SEND_ZC, "6.0", Notif {
        new(into file: File<'a> => [FD] Completed, into data: FixedBuf<'a> => [ADDR, LEN, BUF_INDEX] Notified)
        with {
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted;
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [IOPRIO has sys::IORING_RECVSEND_FIXED_BUF]
        result "bytes sent"
    }

    /// Sends the bytes of several buffers without copying them; otherwise as `send(2)`.
    ///
    /// As [`SendZc`]. The array itself is needed until submitted, what it names until the notification.
    SendZcVectorized = IORING_OP_SEND_ZC, "6.17", Notif {
        new(into file: File<'a> => [FD] Completed, into data: IoVec<'a> => [ADDR, LEN] Notified)
        with {
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted;
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [IOPRIO has sys::IORING_SEND_VECTORIZED]
        result "bytes sent"
    }

    /// Sends several parts of a registered buffer without copying them; otherwise as `send(2)`.
    ///
    /// As [`SendZcVectorized`].
    SendZcVectorizedFixed = IORING_OP_SEND_ZC, "7.1", Notif {
        new(into file: File<'a> => [FD] Completed, val data: FixedIoVec<IoVec<'a>> => [ADDR, LEN, BUF_INDEX] Notified)
        with {
            /// Where to, for a socket that is not connected.
            val to: &'a SocketAddrAny => [ADDR2, ADDR_LEN] Submitted;
            /// Flags of `send(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [IOPRIO has sys::IORING_SEND_VECTORIZED, IOPRIO has sys::IORING_RECVSEND_FIXED_BUF]
        result "bytes sent"
    }

    /// Sends a message without copying its data; otherwise as `sendmsg(2)`.
    ///
    /// As [`SendZc`]. The header, its array of buffers and the address are needed until submitted, control data until
    /// completed, data until the notification.
    SendMsgZc = IORING_OP_SENDMSG_ZC, "6.1", Notif {
        new(into file: File<'a> => [FD] Completed, val header: SendHdr<'a> => [ADDR] Notified)
        with {
            /// Flags of `sendmsg(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        result "bytes sent"
    }

    /// Sends a message whose data lies in a registered buffer without copying it; otherwise as `sendmsg(2)`.
    ///
    /// As [`SendMsgZc`]. All data has to lie in the one buffer (`EFAULT`).
    SendMsgZcFixed = IORING_OP_SENDMSG_ZC, "6.15", Notif {
        new(
            into file: File<'a> => [FD] Completed,
            val header: SendHdr<'a> => [ADDR] Notified,
            val buf_index: u16 => [BUF_INDEX],
        )
        with {
            /// Flags of `sendmsg(2)`.
            val msg_flags: SendFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [IOPRIO has sys::IORING_RECVSEND_FIXED_BUF]
        result "bytes sent"
    }
}

/// The setter that all zero-copy sends share and whose name must not be had for free.
macro_rules! notify_as {
    ($($zc:ident),* $(,)?) => { $(
        impl $zc<'_> {
            /// Gives the notification a `user_data` of its own, in `addr3`; 0 means that of the operation. Linux 7.1.
            ///
            /// # Safety
            ///
            /// Whoever waits for the notification knows this value. `scope` and `InFlight` do not: they free the data
            /// when the notification that carries *their* value has come, so the entry must not be given to them. Nor
            /// is the value [reserved](crate::UserData::is_reserved): one of their operations would seem to have
            /// ended.
            #[inline(always)]
            pub unsafe fn notify_as(mut self, data: impl Into<crate::UserData>) -> Self {
                self.entry_mut().addr3 = data.into().0;
                self
            }
        }
    )* };
}

notify_as!(SendZc, SendZcFixed, SendZcVectorized, SendZcVectorizedFixed, SendMsgZc, SendMsgZcFixed);
