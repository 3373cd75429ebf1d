//! Receiving: into memory, into registered and into provided buffers, as messages, once or again and again.

use crate::operand::{BufMut, File, FixedBufMut, Group, RecvHdr, RecvSendOptions};
use rawring_sys as sys;
use rustix::net::RecvFlags;

ops! {
    /// Receives bytes, as `recv(2)`.
    ///
    /// 0 is the end of a stream. With `MSG_WAITALL` a stream is read until the buffer is full; without it, a receive
    /// that does not fill the buffer is a success, and breaks no chain of links. With `MSG_TRUNC` the result may be
    /// more than the buffer holds. More than 2,147,483,647 bytes are refused (`EINVAL`).
    Recv = IORING_OP_RECV, "5.6", Once {
        new(into file: File<'a> => [FD] Completed, into buffer: BufMut<'a> => [ADDR, LEN] Completed out)
        with {
            /// Flags of `recv(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO] "5.19";
        }
        result "bytes received; 0 at the end"
    }

    /// Receives bytes into a registered buffer; otherwise as `recv(2)`.
    RecvFixed = IORING_OP_RECV, "7.2", Once {
        new(into file: File<'a> => [FD] Completed, into buffer: FixedBufMut<'a> => [ADDR, LEN, BUF_INDEX] Completed out)
        with {
            /// Flags of `recv(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [IOPRIO has sys::IORING_RECVSEND_FIXED_BUF]
        result "bytes received; 0 at the end"
    }

    /// Receives bytes into a provided buffer, which is picked when there is something to receive; otherwise as
    /// `recv(2)`.
    ///
    /// The completion names the buffer ([`buffer_id`](crate::Cqe::buffer_id)). `ENOBUFS` if the group is empty.
    RecvProvided = IORING_OP_RECV, "5.7", Once {
        new(into file: File<'a> => [FD] Completed, val group: Group => [BUF_GROUP])
        with {
            /// Receive at most so many bytes; 0 for as many as the buffer holds (on Linux 5.15, for none).
            val max_len: u32 => [LEN];
            /// Flags of `recv(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO] "5.19";
        }
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT]
        result "bytes received; 0 at the end"
    }

    /// Receives into several provided buffers at once; otherwise as `recv(2)`.
    ///
    /// The completion names the first buffer; those that follow it in the order of the group were used, too, until
    /// the result is used up. That need not be all that is there: what is left comes with the next receive. Only with
    /// buffer rings, and only right where no worker runs it: see [`BufRingSetup::bundles`](crate::buf_ring::BufRingSetup::bundles).
    RecvBundle = IORING_OP_RECV, "6.10", Once {
        new(into file: File<'a> => [FD] Completed, val group: Group => [BUF_GROUP])
        with {
            /// Receive at most so many bytes; 0 for no limit.
            val max_len: u32 => [LEN];
            /// Flags of `recv(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT, IOPRIO has sys::IORING_RECVSEND_BUNDLE]
        result "bytes received in one or more buffers; 0 at the end"
    }

    /// Receives again and again, each time into the next provided buffer; otherwise as `recv(2)`.
    ///
    /// It ends with the first completion without [`more`](crate::Cqe::more): at the end of the stream or an empty
    /// datagram (0), without a buffer (`ENOBUFS`), cancelled, or failed. `MSG_WAITALL` is refused (`EINVAL`).
    RecvMulti = IORING_OP_RECV, "6.0", Multi {
        new(into file: File<'a> => [FD] Completed, val group: Group => [BUF_GROUP])
        with {
            /// Receive at most so many bytes in one go before others get their turn; 0 for no limit.
            val max_len: u32 => [LEN] "6.17";
            /// End after so many bytes altogether; 0 for no limit.
            val total_len: u32 => [OPTLEN] "6.17";
            /// Flags of `recv(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT, IOPRIO has sys::IORING_RECV_MULTISHOT]
        result "bytes received; 0 at the end"
    }

    /// Receives again and again, each time into several provided buffers at once; otherwise as `recv(2)`.
    ///
    /// [`RecvMulti`] and [`RecvBundle`] in one.
    RecvMultiBundle = IORING_OP_RECV, "6.10", Multi {
        new(into file: File<'a> => [FD] Completed, val group: Group => [BUF_GROUP])
        with {
            /// Receive at most so many bytes in one go before others get their turn; 0 for no limit.
            val max_len: u32 => [LEN] "6.17";
            /// End after so many bytes altogether; 0 for no limit.
            val total_len: u32 => [OPTLEN] "6.17";
            /// Flags of `recv(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [
            FLAGS has sys::IOSQE_BUFFER_SELECT,
            IOPRIO has sys::IORING_RECV_MULTISHOT,
            IOPRIO has sys::IORING_RECVSEND_BUNDLE,
        ]
        result "bytes received in one or more buffers; 0 at the end"
    }

    /// Receives a message with its sender and control data, as `recvmsg(2)`.
    ///
    /// The kernel writes into the header, too: lengths and flags stand in it after the completion
    /// ([`MsgHdr::flags`](crate::operand::MsgHdr::flags)). A truncated message is a success.
    RecvMsg = IORING_OP_RECVMSG, "5.3", Once {
        new(into file: File<'a> => [FD] Completed, val header: RecvHdr<'a> => [ADDR] Completed out)
        with {
            /// Flags of `recvmsg(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO] "5.19";
        }
        result "bytes received; 0 at the end"
    }

    /// Receives a message whose data goes into a provided buffer; otherwise as `recvmsg(2)`.
    ///
    /// Sender and control data go where the header says. Its array of buffers has to be empty, or to have one element,
    /// of which only the length counts: it limits what is received (`EINVAL` if there are more).
    RecvMsgProvided = IORING_OP_RECVMSG, "5.7", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val header: RecvHdr<'a> => [ADDR] Completed out,
            val group: Group => [BUF_GROUP],
        )
        with {
            /// Flags of `recvmsg(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO] "5.19";
        }
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT]
        result "bytes received; 0 at the end"
    }

    /// Receives message after message, each into a provided buffer together with its sender and its control data;
    /// otherwise as `recvmsg(2)`.
    ///
    /// The header only says how much room to keep for them ([`MsgHdr::recv_multishot`]), and [`RecvMsgOut`] takes the
    /// buffer apart. It ends as [`RecvMulti`] does (after an empty message the result is not 0, for the buffer has the
    /// rest of it), and with `EFAULT` at a buffer that is too small for what is kept.
    ///
    /// [`MsgHdr::recv_multishot`]: crate::operand::MsgHdr::recv_multishot
    /// [`RecvMsgOut`]: crate::RecvMsgOut
    RecvMsgMulti = IORING_OP_RECVMSG, "6.0", Multi {
        new(
            into file: File<'a> => [FD] Completed,
            val header: RecvHdr<'a> => [ADDR] Submitted,
            val group: Group => [BUF_GROUP],
        )
        with {
            /// Flags of `recvmsg(2)`.
            val msg_flags: RecvFlags => [MSG_FLAGS];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT, IOPRIO has sys::IORING_RECV_MULTISHOT]
        result "bytes used of the buffer"
    }

    /// Receives again and again into memory that the network card fills itself, otherwise as `recv(2)`.
    ///
    /// The memory belongs to a receive queue of the card, registered with a number. Each completion is a wide one, whose
    /// [`big`](crate::Cqe::big) half says where in that memory the bytes are. Sockets whose data does not come by that
    /// queue are copied into it. Needs a ring with `DEFER_TASKRUN` and wide completions.
    RecvZc = IORING_OP_RECV_ZC, "6.15", Multi {
        new(into file: File<'a> => [FD] Completed, val queue: u32 => [ZCRX_IFQ_IDX])
        with {
            /// End after so many bytes altogether; 0 for no limit.
            val max_len: u32 => [LEN];
            /// How to go about it.
            val options: RecvSendOptions => [IOPRIO];
        }
        marks [IOPRIO has sys::IORING_RECV_MULTISHOT]
        result "bytes received; 0 at the end"
    }
}
