//! The numbers of operations (`sqe.opcode`) and of registrations (`io_uring_register`'s `opcode`).
//!
//! Each number stands beside its name once; the constants and the tables of names come from that
//! one list, so they cannot drift apart. Invariant, checked when this crate is compiled: the numbers
//! of a list are `0, 1, 2, …` without a hole, which makes a number the index of its name.
//!
//! Not here: which release brought what, and what an operation's operands are. The numbers are those
//! of the mirrored release; a running kernel may know fewer, or more.

/// Declares numbered constants of one type, and the slice of their names in order.
macro_rules! numbered {
    (
        $ty:ty, $(#[$names_doc:meta])* $names:ident, $(#[$last_doc:meta])* $last:ident;
        $($(#[$doc:meta])* $name:ident = $value:literal,)*
    ) => {
        $($(#[$doc])* pub const $name: $ty = $value;)*

        $(#[$names_doc])*
        pub const $names: &[&str] = &[$(stringify!($name)),*];

        $(#[$last_doc])*
        pub const $last: $ty = $names.len() as $ty;

        const _: () = {
            let values: &[$ty] = &[$($value),*];
            let mut i = 0;
            while i < values.len() {
                assert!(values[i] as usize == i, "a hole or a wrong order in the list of numbers");
                i += 1;
            }
        };
    };
}

numbered! {
    u8,
    /// The name of each operation; the index is its number.
    OP_NAMES,
    /// One past the last operation of this release.
    IORING_OP_LAST;

    /// Do nothing and complete; for tests and measurements.
    IORING_OP_NOP = 0,
    /// Read into several buffers, as `preadv2(2)`.
    IORING_OP_READV = 1,
    /// Write from several buffers, as `pwritev2(2)`.
    IORING_OP_WRITEV = 2,
    /// Flush a file to storage, as `fsync(2)`.
    IORING_OP_FSYNC = 3,
    /// Read into a registered buffer.
    IORING_OP_READ_FIXED = 4,
    /// Write from a registered buffer.
    IORING_OP_WRITE_FIXED = 5,
    /// Wait for a file to become ready, once or every time, as `poll(2)`.
    IORING_OP_POLL_ADD = 6,
    /// Remove or change a poll request.
    IORING_OP_POLL_REMOVE = 7,
    /// Flush a range of a file, as `sync_file_range(2)`.
    IORING_OP_SYNC_FILE_RANGE = 8,
    /// Send a message, as `sendmsg(2)`.
    IORING_OP_SENDMSG = 9,
    /// Receive a message, as `recvmsg(2)`.
    IORING_OP_RECVMSG = 10,
    /// Complete after a time or after a number of completions.
    IORING_OP_TIMEOUT = 11,
    /// Remove or change a timeout.
    IORING_OP_TIMEOUT_REMOVE = 12,
    /// Accept a connection, as `accept4(2)`.
    IORING_OP_ACCEPT = 13,
    /// Cancel requests in flight.
    IORING_OP_ASYNC_CANCEL = 14,
    /// Cancel the entry before it in the chain if that takes too long.
    IORING_OP_LINK_TIMEOUT = 15,
    /// Connect a socket, as `connect(2)`.
    IORING_OP_CONNECT = 16,
    /// Allocate or punch file space, as `fallocate(2)`.
    IORING_OP_FALLOCATE = 17,
    /// Open a file, as `openat(2)`.
    IORING_OP_OPENAT = 18,
    /// Close a descriptor or empty a slot of the registered file table, as `close(2)`.
    IORING_OP_CLOSE = 19,
    /// Replace files of the registered table.
    IORING_OP_FILES_UPDATE = 20,
    /// Get a file's metadata, as `statx(2)`.
    IORING_OP_STATX = 21,
    /// Read into one buffer, as `pread(2)`.
    IORING_OP_READ = 22,
    /// Write from one buffer, as `pwrite(2)`.
    IORING_OP_WRITE = 23,
    /// Announce how a file will be used, as `posix_fadvise(2)`.
    IORING_OP_FADVISE = 24,
    /// Announce how memory will be used, as `madvise(2)`.
    IORING_OP_MADVISE = 25,
    /// Send on a socket, as `send(2)`.
    IORING_OP_SEND = 26,
    /// Receive from a socket, as `recv(2)`.
    IORING_OP_RECV = 27,
    /// Open a file with limits on path resolution, as `openat2(2)`.
    IORING_OP_OPENAT2 = 28,
    /// Change what an epoll instance watches, as `epoll_ctl(2)`.
    IORING_OP_EPOLL_CTL = 29,
    /// Move data between two files through a pipe, as `splice(2)`.
    IORING_OP_SPLICE = 30,
    /// Give buffers to a group, the old way; buffer rings are the new one.
    IORING_OP_PROVIDE_BUFFERS = 31,
    /// Take buffers back out of a group.
    IORING_OP_REMOVE_BUFFERS = 32,
    /// Duplicate data between two pipes, as `tee(2)`.
    IORING_OP_TEE = 33,
    /// Shut down a connection, as `shutdown(2)`.
    IORING_OP_SHUTDOWN = 34,
    /// Rename a file, as `renameat2(2)`.
    IORING_OP_RENAMEAT = 35,
    /// Remove a file or directory, as `unlinkat(2)`.
    IORING_OP_UNLINKAT = 36,
    /// Make a directory, as `mkdirat(2)`.
    IORING_OP_MKDIRAT = 37,
    /// Make a symbolic link, as `symlinkat(2)`.
    IORING_OP_SYMLINKAT = 38,
    /// Make a hard link, as `linkat(2)`.
    IORING_OP_LINKAT = 39,
    /// Post a completion or install a file in another ring.
    IORING_OP_MSG_RING = 40,
    /// Set an extended attribute by descriptor, as `fsetxattr(2)`.
    IORING_OP_FSETXATTR = 41,
    /// Set an extended attribute by path, as `setxattr(2)`.
    IORING_OP_SETXATTR = 42,
    /// Get an extended attribute by descriptor, as `fgetxattr(2)`.
    IORING_OP_FGETXATTR = 43,
    /// Get an extended attribute by path, as `getxattr(2)`.
    IORING_OP_GETXATTR = 44,
    /// Make a socket, as `socket(2)`.
    IORING_OP_SOCKET = 45,
    /// A command that the file's driver defines.
    IORING_OP_URING_CMD = 46,
    /// Send without copying the data; a notification says when the buffer is free.
    IORING_OP_SEND_ZC = 47,
    /// Send a message without copying the data.
    IORING_OP_SENDMSG_ZC = 48,
    /// Read again and again into selected buffers.
    IORING_OP_READ_MULTISHOT = 49,
    /// Wait for a child process, as `waitid(2)`.
    IORING_OP_WAITID = 50,
    /// Wait on a futex, as `futex_wait(2)`.
    IORING_OP_FUTEX_WAIT = 51,
    /// Wake those who wait on a futex, as `futex_wake(2)`.
    IORING_OP_FUTEX_WAKE = 52,
    /// Wait on several futexes, as `futex_waitv(2)`.
    IORING_OP_FUTEX_WAITV = 53,
    /// Make a descriptor of a registered file.
    IORING_OP_FIXED_FD_INSTALL = 54,
    /// Change a file's length, as `ftruncate(2)`.
    IORING_OP_FTRUNCATE = 55,
    /// Give a socket its address, as `bind(2)`.
    IORING_OP_BIND = 56,
    /// Make a socket accept connections, as `listen(2)`.
    IORING_OP_LISTEN = 57,
    /// Receive into memory that the network card fills itself.
    IORING_OP_RECV_ZC = 58,
    /// Wait for events of an epoll instance, as `epoll_wait(2)`.
    IORING_OP_EPOLL_WAIT = 59,
    /// Read into several parts of a registered buffer.
    IORING_OP_READV_FIXED = 60,
    /// Write from several parts of a registered buffer.
    IORING_OP_WRITEV_FIXED = 61,
    /// Make a pipe, as `pipe2(2)`.
    IORING_OP_PIPE = 62,
    /// As `IORING_OP_NOP`, in an entry of 128 bytes.
    IORING_OP_NOP128 = 63,
    /// As `IORING_OP_URING_CMD`, in an entry of 128 bytes.
    IORING_OP_URING_CMD128 = 64,
}

numbered! {
    u32,
    /// The name of each registration; the index is its number.
    REGISTER_NAMES,
    /// One past the last registration of this release.
    IORING_REGISTER_LAST;

    /// Register buffers (an array of `iovec`).
    IORING_REGISTER_BUFFERS = 0,
    /// Drop all registered buffers.
    IORING_UNREGISTER_BUFFERS = 1,
    /// Register files (an array of `i32`; -1 is an empty slot).
    IORING_REGISTER_FILES = 2,
    /// Drop all registered files.
    IORING_UNREGISTER_FILES = 3,
    /// Signal an eventfd for every completion.
    IORING_REGISTER_EVENTFD = 4,
    /// Stop signalling the eventfd.
    IORING_UNREGISTER_EVENTFD = 5,
    /// Replace registered files ([`io_uring_rsrc_update`](crate::io_uring_rsrc_update)).
    IORING_REGISTER_FILES_UPDATE = 6,
    /// Signal an eventfd for completions that did not happen during submission.
    IORING_REGISTER_EVENTFD_ASYNC = 7,
    /// Ask which operations the kernel has ([`io_uring_probe`](crate::io_uring_probe)).
    IORING_REGISTER_PROBE = 8,
    /// Register the caller's credentials; returns the personality's id.
    IORING_REGISTER_PERSONALITY = 9,
    /// Drop a personality.
    IORING_UNREGISTER_PERSONALITY = 10,
    /// Restrict a disabled ring, or (without a ring) the task's later rings.
    IORING_REGISTER_RESTRICTIONS = 11,
    /// Start a ring that was set up disabled.
    IORING_REGISTER_ENABLE_RINGS = 12,
    /// Register files with tags ([`io_uring_rsrc_register`](crate::io_uring_rsrc_register)).
    IORING_REGISTER_FILES2 = 13,
    /// Replace registered files, with tags ([`io_uring_rsrc_update2`](crate::io_uring_rsrc_update2)).
    IORING_REGISTER_FILES_UPDATE2 = 14,
    /// Register buffers with tags ([`io_uring_rsrc_register`](crate::io_uring_rsrc_register)).
    IORING_REGISTER_BUFFERS2 = 15,
    /// Replace registered buffers, with tags ([`io_uring_rsrc_update2`](crate::io_uring_rsrc_update2)).
    IORING_REGISTER_BUFFERS_UPDATE = 16,
    /// Bind the worker threads to CPUs.
    IORING_REGISTER_IOWQ_AFF = 17,
    /// Let the worker threads run on any CPU again.
    IORING_UNREGISTER_IOWQ_AFF = 18,
    /// Set and get the limits on worker threads (two `u32`).
    IORING_REGISTER_IOWQ_MAX_WORKERS = 19,
    /// Register rings with the calling task ([`io_uring_rsrc_update`](crate::io_uring_rsrc_update)).
    IORING_REGISTER_RING_FDS = 20,
    /// Drop registrations of rings.
    IORING_UNREGISTER_RING_FDS = 21,
    /// Register a ring of provided buffers ([`io_uring_buf_reg`](crate::io_uring_buf_reg)).
    IORING_REGISTER_PBUF_RING = 22,
    /// Drop a ring of provided buffers.
    IORING_UNREGISTER_PBUF_RING = 23,
    /// Cancel requests and wait for their end ([`io_uring_sync_cancel_reg`](crate::io_uring_sync_cancel_reg)).
    IORING_REGISTER_SYNC_CANCEL = 24,
    /// Limit the slots that [`IORING_FILE_INDEX_ALLOC`](crate::IORING_FILE_INDEX_ALLOC) may pick
    /// ([`io_uring_file_index_range`](crate::io_uring_file_index_range)).
    IORING_REGISTER_FILE_ALLOC_RANGE = 25,
    /// Ask where the kernel is in a ring of provided buffers ([`io_uring_buf_status`](crate::io_uring_buf_status)).
    IORING_REGISTER_PBUF_STATUS = 26,
    /// Set up busy polling of network devices ([`io_uring_napi`](crate::io_uring_napi)).
    IORING_REGISTER_NAPI = 27,
    /// End busy polling of network devices.
    IORING_UNREGISTER_NAPI = 28,
    /// Choose the clock of the ring's waits ([`io_uring_clock_register`](crate::io_uring_clock_register)).
    IORING_REGISTER_CLOCK = 29,
    /// Take over another ring's registered buffers ([`io_uring_clone_buffers`](crate::io_uring_clone_buffers)).
    IORING_REGISTER_CLONE_BUFFERS = 30,
    /// Send one `IORING_OP_MSG_RING` entry without having a ring ([`io_uring_sqe`](crate::io_uring_sqe)).
    IORING_REGISTER_SEND_MSG_RING = 31,
    /// Register a receive queue of a network device for zero-copy receive
    /// ([`io_uring_zcrx_ifq_reg`](crate::io_uring_zcrx_ifq_reg)).
    IORING_REGISTER_ZCRX_IFQ = 32,
    /// Change the sizes of the queues ([`io_uring_params`](crate::io_uring_params)).
    IORING_REGISTER_RESIZE_RINGS = 33,
    /// Register memory, for wait arguments for example ([`io_uring_mem_region_reg`](crate::io_uring_mem_region_reg)).
    IORING_REGISTER_MEM_REGION = 34,
    /// Ask what the kernel knows ([`io_uring_query_hdr`](crate::io_uring_query_hdr)).
    IORING_REGISTER_QUERY = 35,
    /// Control zero-copy receive ([`zcrx_ctrl`](crate::zcrx_ctrl)).
    IORING_REGISTER_ZCRX_CTRL = 36,
    /// Install a BPF program that filters entries ([`io_uring_bpf`](crate::io_uring_bpf)).
    IORING_REGISTER_BPF_FILTER = 37,
}

/// The C name of the operation with this number, or `None` for numbers newer than this crate.
#[must_use]
pub const fn op_name(opcode: u8) -> Option<&'static str> {
    if opcode < IORING_OP_LAST { Some(OP_NAMES[opcode as usize]) } else { None }
}

/// The C name of the registration with this number, or `None` for numbers newer than this crate.
///
/// [`IORING_REGISTER_USE_REGISTERED_RING`](crate::IORING_REGISTER_USE_REGISTERED_RING) is a flag beside the
/// number; it is ignored.
#[must_use]
pub const fn register_name(opcode: u32) -> Option<&'static str> {
    let number = opcode & !crate::IORING_REGISTER_USE_REGISTERED_RING;
    if number < IORING_REGISTER_LAST { Some(REGISTER_NAMES[number as usize]) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_their_numbers() {
        assert_eq!(op_name(IORING_OP_URING_CMD128), Some("IORING_OP_URING_CMD128"));
        assert_eq!(op_name(IORING_OP_NOP), Some("IORING_OP_NOP"));
        assert_eq!(op_name(IORING_OP_LAST), None);
        assert_eq!(op_name(u8::MAX), None);
        assert_eq!(register_name(IORING_REGISTER_BPF_FILTER), Some("IORING_REGISTER_BPF_FILTER"));
        assert_eq!(register_name(IORING_REGISTER_LAST), None);
        let through_registered = IORING_REGISTER_PROBE | crate::IORING_REGISTER_USE_REGISTERED_RING;
        assert_eq!(register_name(through_registered), Some("IORING_REGISTER_PROBE"));
        assert_eq!(register_name(u32::MAX), None);
    }
}
