//! Commands that a file's driver defines: any of them, and by name those for sockets and block devices.
//!
//! What the bytes of a command mean is between the caller and the driver, so the general operations have `unsafe`
//! constructors. The named ones describe their memory by operands and are safe. When an entry is printed, a command
//! is named by its number alone: which driver the file belongs to cannot be seen in the entry.

use crate::flags::UringCmdFlags;
use crate::operand::{Buf, BufMut, File, Group, SocketAddrBuf, SocketOption};
use crate::sqe::{Sqe, Sqe128};
use rawring_sys as sys;

ops! {
    /// Gives a command with 16 bytes of its own to a file's driver; see `io_uring_enter(2)`.
    ///
    /// Where the driver reads other fields of the entry, [`Sqe::raw_mut`] sets them. `EOPNOTSUPP` if the driver has no
    /// commands at all; all other results are the driver's.
    UringCmd = IORING_OP_URING_CMD, "5.19", Once {
        contract unsafe "The command, with all fields of the entry that the driver reads, is sound for this file: \
            memory that it names is valid for what the driver does with it until the last completion, descriptors in \
            it may be used so, and no completion carries the `user_data` of another operation.";
        new(
            into file: File<'a> => [FD] Completed,
            val command_op: u32 => [CMD_OP],
            val command: [u8; 16] => [CMD],
        )
        with {
            /// Whether the command uses a registered buffer.
            val command_flags: UringCmdFlags => [URING_CMD_FLAGS] "6.1";
            /// The registered buffer, for [`UringCmdFlags::FIXED`].
            val buf_index: u16 => [BUF_INDEX] "6.1";
        }
        result "the driver's"
    }

    /// Gives a command that completes again and again into provided buffers to a file's driver; see
    /// `io_uring_enter(2)`.
    UringCmdMulti = IORING_OP_URING_CMD, "6.18", Multi {
        contract unsafe "As for [`UringCmd::new`].";
        new(
            into file: File<'a> => [FD] Completed,
            val command_op: u32 => [CMD_OP],
            val command: [u8; 16] => [CMD],
            val group: Group => [BUF_GROUP],
        )
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT, URING_CMD_FLAGS has sys::IORING_URING_CMD_MULTISHOT]
        result "the driver's"
    }

    /// Gives a command with 80 bytes of its own to a file's driver; see `io_uring_enter(2)`.
    ///
    /// For rings of mixed entries; from the same release on, rings of 128-byte entries take it, too. Before, those
    /// take [`UringCmd::wide`]. The command is all zeros until [`command`](UringCmd128::command) sets it.
    UringCmd128 = IORING_OP_URING_CMD128, "6.19", Once, wide {
        contract unsafe "As for [`UringCmd::new`].";
        new(into file: File<'a> => [FD] Completed, val command_op: u32 => [CMD_OP])
        with {
            /// Whether the command uses a registered buffer.
            val command_flags: UringCmdFlags => [URING_CMD_FLAGS];
            /// The registered buffer, for [`UringCmdFlags::FIXED`].
            val buf_index: u16 => [BUF_INDEX];
        }
        result "the driver's"
    }

    /// Asks how many bytes wait to be read from a socket, as the `SIOCINQ` of `tcp(7)` and `udp(7)`.
    ///
    /// `EOPNOTSUPP` for local sockets, `EINVAL` for one that listens.
    SocketInq = IORING_OP_URING_CMD, "6.6", Once {
        new(into file: File<'a> => [FD] Completed)
        marks [CMD_OP is sys::SOCKET_URING_OP_SIOCINQ]
        result "the number of bytes"
    }

    /// Asks how many bytes of a socket wait to be sent or acknowledged, as the `SIOCOUTQ` of `tcp(7)` and `udp(7)`.
    ///
    /// Errors as for [`SocketInq`].
    SocketOutq = IORING_OP_URING_CMD, "6.6", Once {
        new(into file: File<'a> => [FD] Completed)
        marks [CMD_OP is sys::SOCKET_URING_OP_SIOCOUTQ]
        result "the number of bytes"
    }

    /// Reads a socket option, as `getsockopt(2)`.
    ///
    /// Only options of `SOL_SOCKET`; for all others `EOPNOTSUPP`.
    ///
    /// ```
    /// use rawring::{Ring, op::GetSockOpt, operand::SocketOption};
    /// use std::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let mut value = [0; 4];
    /// let mut ring = Ring::new(8)?;
    /// // SAFETY: socket and buffer stay as they are until the completion was reaped, below.
    /// unsafe { ring.push_unchecked(GetSockOpt::new(&socket, SocketOption::TYPE, &mut value)).expect("there is room") };
    /// ring.submit_and_wait(1)?;
    /// assert_eq!(ring.completions().next().expect("waited for one").result(), Ok(4));
    /// assert_eq!(u32::from_ne_bytes(value), rustix::net::SocketType::DGRAM.as_raw());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    GetSockOpt = IORING_OP_URING_CMD, "6.7", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val option: SocketOption => [LEVEL, OPTNAME],
            into value: BufMut<'a> => [OPTVAL, OPTLEN] Completed out,
        )
        marks [CMD_OP is sys::SOCKET_URING_OP_GETSOCKOPT]
        result "the length of the value"
    }

    /// Sets a socket option, as `setsockopt(2)`. Options of every level.
    SetSockOpt = IORING_OP_URING_CMD, "6.7", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val option: SocketOption => [LEVEL, OPTNAME],
            into value: Buf<'a> => [OPTVAL, OPTLEN] Completed,
        )
        marks [CMD_OP is sys::SOCKET_URING_OP_SETSOCKOPT]
        result "0"
    }

    /// Reports when packets were sent, again and again; otherwise as the error queue of `recvmsg(2)`.
    ///
    /// The socket has to ask for such timestamps with [`SocketOption::TIMESTAMPING`], software reporting and
    /// `SOF_TIMESTAMPING_OPT_TSONLY`; the ring has to have wide completions (`EINVAL`). [`TxTimestamp`] reads a
    /// completion.
    SocketTxTimestamp = IORING_OP_URING_CMD, "6.17", Multi {
        new(into file: File<'a> => [FD] Completed)
        marks [CMD_OP is sys::SOCKET_URING_OP_TX_TIMESTAMP]
        result "the key of the timestamp"
    }

    /// Asks for a socket's own address, as `getsockname(2)`.
    GetSockName = IORING_OP_URING_CMD, "6.19", Once {
        new(into file: File<'a> => [FD] Completed, val address: &'a mut SocketAddrBuf => [ADDR, ADDR3] Completed out)
        marks [CMD_OP is sys::SOCKET_URING_OP_GETSOCKNAME, OPTLEN is 0]
        result "0"
    }

    /// Asks for the address of a socket's peer, as `getpeername(2)`.
    GetPeerName = IORING_OP_URING_CMD, "6.19", Once {
        new(into file: File<'a> => [FD] Completed, val address: &'a mut SocketAddrBuf => [ADDR, ADDR3] Completed out)
        marks [CMD_OP is sys::SOCKET_URING_OP_GETSOCKNAME, OPTLEN is 1]
        result "0"
    }

    /// Discards a range of a block device, as the `BLKDISCARD` of `ioctl(2)`.
    ///
    /// The range has to be aligned to the device's sectors (`EINVAL`); cached pages of it are dropped. `EOPNOTSUPP` if
    /// the device cannot discard.
    BlockDiscard = IORING_OP_URING_CMD, "6.12", Once {
        new(into file: File<'a> => [FD] Completed, val offset: u64 => [ADDR], val len: u64 => [ADDR3])
        marks [CMD_OP is sys::BLOCK_URING_CMD_DISCARD]
        result "0"
    }

    /// Resets all zones of a zoned block device, as the `BLKRESETZONE` of `ioctl(2)` over its whole range.
    BlockZoneResetAll = IORING_OP_URING_CMD, "7.3", Once {
        new(into file: File<'a> => [FD] Completed)
        marks [CMD_OP is sys::BLOCK_URING_CMD_ZONE_RESET_ALL]
        result "0"
    }
}

impl<'a> UringCmd<'a> {
    /// The same operation with a command of 80 bytes, for rings of 128-byte entries. Those of mixed entries take
    /// [`UringCmd128`].
    ///
    /// # Safety
    ///
    /// As for [`UringCmd::new`].
    pub unsafe fn wide(self, command: &[u8; 80]) -> Sqe128<'a> {
        let mut entry = Sqe128::from(Sqe::from(self));
        put_command(&mut entry, command);
        entry
    }
}

impl UringCmd128<'_> {
    /// Sets the command's bytes.
    ///
    /// # Safety
    ///
    /// As for [`UringCmd::new`].
    pub unsafe fn command(mut self, command: &[u8; 80]) -> Self {
        put_command(&mut self.0, command);
        self
    }
}

/// Stores a command in the end of the first half and in all of the second.
fn put_command(entry: &mut Sqe128<'_>, command: &[u8; 80]) {
    let (first, second) = command.split_at(16);
    entry.bytes_mut().cmd_mut().copy_from_slice(first);
    entry.second.copy_from_slice(second);
}

/// What a completion of [`SocketTxTimestamp`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TxTimestamp {
    /// Which packet: for a stream the offset of its last byte, else a count, as `SOF_TIMESTAMPING_OPT_ID` has it.
    pub key: u32,
    /// Which moment: `SCM_TSTAMP_SND`, `SCM_TSTAMP_SCHED`, `SCM_TSTAMP_ACK` or a newer one.
    pub moment: u32,
    /// Whether the clock was the network card's.
    pub hardware: bool,
    /// Seconds.
    pub seconds: u64,
    /// Nanoseconds.
    pub nanoseconds: u64,
}

impl TxTimestamp {
    /// Reads a completion. `None` for the last one, which only says how the operation ended.
    pub fn read(cqe: &crate::Cqe) -> Option<Self> {
        let [seconds, nanoseconds] = cqe.big()?;
        if !cqe.more() {
            return None;
        }
        let flags = cqe.raw_flags();
        Some(TxTimestamp {
            // A count that wraps: the sign bit is part of it.
            key: cqe.res() as u32,
            moment: flags >> sys::IORING_TIMESTAMP_TYPE_SHIFT,
            hardware: flags & sys::IORING_CQE_F_TSTAMP_HW != 0,
            seconds,
            nanoseconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operand::Fixed;
    use crate::sqe::At;

    fn counted() -> [u8; 80] {
        core::array::from_fn(|i| i as u8 + 1)
    }

    #[test]
    fn a_wide_command_is_80_bytes_in_a_row() {
        let command = counted();
        // SAFETY: the entries are never submitted.
        let entries = unsafe {
            [UringCmd::new(Fixed(1), 7, [0; 16]).wide(&command), UringCmd128::new(Fixed(1), 7).command(&command).into()]
        };
        for entry in entries {
            assert_eq!(entry.raw().get(At::CMD_OP), 7);
            assert_eq!(entry.raw().cmd()[..], command[..16]);
            assert_eq!(entry.second()[..], command[16..]);
        }
    }

    #[test]
    fn the_name_of_the_peer_is_told_from_ones_own() {
        let mut address = SocketAddrBuf::default();
        let own = Sqe::from(GetSockName::new(Fixed(0), &mut address));
        assert_eq!((own.get(At::CMD_OP), own.get(At::OPTLEN)), (5, 0));
        let mut address = SocketAddrBuf::default();
        let peer = Sqe::from(GetPeerName::new(Fixed(0), &mut address));
        assert_eq!((peer.get(At::CMD_OP), peer.get(At::OPTLEN)), (5, 1));
        assert_eq!(peer.info().map(|row| row.name), Some("GetPeerName"));
    }
}
