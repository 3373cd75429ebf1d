//! From nothing to a connected socket, and back: socket, bind, listen, accept, connect, shutdown.

use crate::flags::AcceptFlags;
use crate::operand::{DirectSlot, File, SocketAddrBuf, SocketKind};
use rawring_sys as sys;
use rustix::net::{AddressFamily, Protocol, SocketAddrAny, SocketFlags};

ops! {
    /// Makes a socket, as `socket(2)`.
    ///
    /// The completion's result is a descriptor that belongs to nobody yet: whoever reaps it owns it.
    ///
    /// ```
    /// use rawring::{Ring, op::Socket};
    /// use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
    /// use std::os::fd::{FromRawFd, OwnedFd};
    ///
    /// let mut ring = Ring::new(8)?;
    /// ring.push(Socket::new(AddressFamily::INET, (SocketType::STREAM, SocketFlags::CLOEXEC), None))?;
    /// ring.submit_and_wait(1)?;
    /// let fd = ring.completions().next().expect("waited for one").result()?;
    /// // SAFETY: the operation has just made this descriptor, and nobody else has seen the completion.
    /// let socket = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    /// assert_eq!(sockopt::socket_type(&socket)?, SocketType::STREAM);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Socket = IORING_OP_SOCKET, "5.19", Once {
        new(
            val family: AddressFamily => [FD],
            into kind: SocketKind => [OFF],
            val protocol: Option<Protocol> => [LEN],
        )
        result "the new descriptor"
    }

    /// Makes a socket in the table of registered files, without a descriptor; otherwise as `socket(2)`.
    ///
    /// `SOCK_CLOEXEC` is refused (`EINVAL`): what has no descriptor survives no exec. `ENXIO` without a table of
    /// registered files, `ENFILE` if a slot was to be found and none is free.
    SocketDirect = IORING_OP_SOCKET, "5.19", Once {
        new(
            val family: AddressFamily => [FD],
            into kind: SocketKind => [OFF],
            val protocol: Option<Protocol> => [LEN],
            into slot: DirectSlot => [FILE_INDEX],
        )
        marks [FILE_INDEX nonzero]
        result "0, or with `DirectSlot::ALLOC` the slot"
    }

    /// Gives a socket its address, as `bind(2)`.
    Bind = IORING_OP_BIND, "6.11", Once {
        new(into file: File<'a> => [FD] Completed, val address: &'a SocketAddrAny => [ADDR, ADDR2] Submitted)
        result "0"
    }

    /// Makes a socket accept connections, as `listen(2)`.
    Listen = IORING_OP_LISTEN, "6.11", Once {
        new(into file: File<'a> => [FD] Completed, val backlog: u32 => [LEN])
        result "0"
    }

    /// Connects a socket, as `connect(2)`.
    ///
    /// Waits for the connection also when the socket itself is set to non-blocking.
    Connect = IORING_OP_CONNECT, "5.5", Once {
        new(into file: File<'a> => [FD] Completed, val address: &'a SocketAddrAny => [ADDR, ADDR2] Submitted)
        result "0"
    }

    /// Takes a connection from a listening socket, as `accept4(2)`.
    ///
    /// The completion's result is a descriptor that belongs to nobody yet: whoever reaps it owns it. That also holds
    /// for a completion that is reaped after a cancellation.
    Accept = IORING_OP_ACCEPT, "5.5", Once {
        new(into file: File<'a> => [FD] Completed)
        with {
            /// Where to put the address of the peer.
            val peer: &'a mut SocketAddrBuf => [ADDR, ADDR2] Completed out;
            /// Flags of the new descriptor.
            val socket_flags: SocketFlags => [ACCEPT_FLAGS];
            /// Whether to wait for a connection, and how.
            val accept_flags: AcceptFlags => [IOPRIO] "6.10";
        }
        result "the new descriptor"
    }

    /// Takes a connection and puts it into the table of registered files; otherwise as `accept4(2)`.
    ///
    /// `SOCK_CLOEXEC` is refused (`EINVAL`). `ENXIO` without a table of registered files, `ENFILE` if a slot was to be
    /// found and none is free; the connection is lost then.
    AcceptDirect = IORING_OP_ACCEPT, "5.15", Once {
        new(into file: File<'a> => [FD] Completed, into slot: DirectSlot => [FILE_INDEX])
        with {
            /// Where to put the address of the peer.
            val peer: &'a mut SocketAddrBuf => [ADDR, ADDR2] Completed out;
            /// Flags of the new file.
            val socket_flags: SocketFlags => [ACCEPT_FLAGS];
            /// Whether to wait for a connection, and how.
            val accept_flags: AcceptFlags => [IOPRIO] "6.10";
        }
        marks [FILE_INDEX nonzero]
        result "0, or with `DirectSlot::ALLOC` the slot"
    }

    /// Takes connection after connection; otherwise as `accept4(2)`.
    ///
    /// Each comes with a completion of its own. It ends, and has to be submitted again, with the first completion
    /// without [`more`](crate::Cqe::more). There is no place for the address of the peer: one buffer would be
    /// overwritten by each connection. `getpeername(2)` has it.
    ///
    /// ```
    /// use rawring::{Ring, op::AcceptMulti};
    /// use std::net::{TcpListener, TcpStream};
    /// use std::os::fd::FromRawFd;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut ring = Ring::new(8)?;
    /// // SAFETY: the listener is open until the last completion was reaped, below.
    /// unsafe { ring.push_unchecked(AcceptMulti::new(&listener)).expect("there is room") };
    /// let clients = [TcpStream::connect(listener.local_addr()?)?, TcpStream::connect(listener.local_addr()?)?];
    /// ring.submit_and_wait(2)?;
    /// for cqe in ring.completions() {
    ///     assert!(cqe.more());
    ///     // SAFETY: the operation made this descriptor, and nobody else has seen the completion.
    ///     let connection = unsafe { TcpStream::from_raw_fd(cqe.result()? as i32) };
    ///     let peer = connection.peer_addr()?;
    ///     assert!(clients.iter().any(|client| client.local_addr().is_ok_and(|address| address == peer)));
    /// }
    ///
    /// rustix::net::shutdown(&listener, rustix::net::Shutdown::Both)?;
    /// ring.submit_and_wait(1)?;
    /// let last = ring.completions().next().expect("waited for one");
    /// assert!(!last.more() && last.result().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    AcceptMulti = IORING_OP_ACCEPT, "5.19", Multi {
        new(into file: File<'a> => [FD] Completed)
        with {
            /// Flags of the new descriptors.
            val socket_flags: SocketFlags => [ACCEPT_FLAGS];
            /// Whether to wait for connections, and how.
            val accept_flags: AcceptFlags => [IOPRIO] "6.10";
        }
        marks [IOPRIO has sys::IORING_ACCEPT_MULTISHOT]
        result "a new descriptor"
    }

    /// Takes connection after connection into free slots of the table of registered files; otherwise as `accept4(2)`.
    ///
    /// As [`AcceptMulti`]; a full table ends it with `ENFILE`.
    AcceptMultiDirect = IORING_OP_ACCEPT, "5.19", Multi {
        new(into file: File<'a> => [FD] Completed)
        with {
            /// Flags of the new files.
            val socket_flags: SocketFlags => [ACCEPT_FLAGS];
            /// Whether to wait for connections, and how.
            val accept_flags: AcceptFlags => [IOPRIO] "6.10";
        }
        marks [IOPRIO has sys::IORING_ACCEPT_MULTISHOT, FILE_INDEX is sys::IORING_FILE_INDEX_ALLOC]
        result "the slot"
    }

    /// Ends one direction of a connection or both, as `shutdown(2)`.
    Shutdown = IORING_OP_SHUTDOWN, "5.11", Once {
        new(into file: File<'a> => [FD] Completed, val how: rustix::net::Shutdown => [LEN])
        result "0"
    }
}
