//! What a ring says and is told at run time: offsets for `mmap(2)`, the flag words in the shared
//! memory, the flags of `io_uring_enter` and the feature bits that `io_uring_setup` reports.

/// Offset for `mmap(2)`: the memory with both rings' heads, tails and the completion entries.
pub const IORING_OFF_SQ_RING: u64 = 0;
/// Offset for `mmap(2)`: the completion ring. The same memory as [`IORING_OFF_SQ_RING`] wherever
/// [`IORING_FEAT_SINGLE_MMAP`] is reported.
pub const IORING_OFF_CQ_RING: u64 = 0x0800_0000;
/// Offset for `mmap(2)`: the array of submission entries.
pub const IORING_OFF_SQES: u64 = 0x1000_0000;
/// Offset for `mmap(2)`: a provided-buffer ring that the kernel allocated; add the group shifted by
/// [`IORING_OFF_PBUF_SHIFT`].
pub const IORING_OFF_PBUF_RING: u64 = 0x8000_0000;
/// How far the buffer group is shifted to the left in the offset of a provided-buffer ring.
pub const IORING_OFF_PBUF_SHIFT: u32 = 16;
/// The bits of an offset that say what is mapped; the others carry an id.
pub const IORING_OFF_MMAP_MASK: u64 = 0xf800_0000;

/// Submission ring flags, set by the kernel: the poller thread sleeps and needs
/// [`IORING_ENTER_SQ_WAKEUP`].
pub const IORING_SQ_NEED_WAKEUP: u32 = 1 << 0;
/// Submission ring flags, set by the kernel: completions wait outside the full completion ring; enter
/// with [`IORING_ENTER_GETEVENTS`] to have them moved in.
pub const IORING_SQ_CQ_OVERFLOW: u32 = 1 << 1;
/// Submission ring flags, set by the kernel: work waits for the task to enter the kernel.
pub const IORING_SQ_TASKRUN: u32 = 1 << 2;

/// Completion ring flags, set by user space: do not signal the registered eventfd.
pub const IORING_CQ_EVENTFD_DISABLED: u32 = 1 << 0;

/// `io_uring_enter`: wait for `min_complete` completions, and run what is due.
pub const IORING_ENTER_GETEVENTS: u32 = 1 << 0;
/// `io_uring_enter`: wake the poller thread.
pub const IORING_ENTER_SQ_WAKEUP: u32 = 1 << 1;
/// `io_uring_enter`: wait until the submission queue of a ring with a poller thread has room.
pub const IORING_ENTER_SQ_WAIT: u32 = 1 << 2;
/// `io_uring_enter`: the argument is an [`io_uring_getevents_arg`](crate::io_uring_getevents_arg), not a signal mask.
pub const IORING_ENTER_EXT_ARG: u32 = 1 << 3;
/// `io_uring_enter`: the first argument is the index of a registered ring, not a descriptor.
pub const IORING_ENTER_REGISTERED_RING: u32 = 1 << 4;
/// `io_uring_enter`: the timeout is a point on the ring's clock, not a span.
pub const IORING_ENTER_ABS_TIMER: u32 = 1 << 5;
/// `io_uring_enter`: the argument is the byte offset of an [`io_uring_reg_wait`](crate::io_uring_reg_wait) in the
/// registered wait region.
pub const IORING_ENTER_EXT_ARG_REG: u32 = 1 << 6;
/// `io_uring_enter`: do not account the wait as I/O wait.
pub const IORING_ENTER_NO_IOWAIT: u32 = 1 << 7;

/// Both rings lie in one mapping.
pub const IORING_FEAT_SINGLE_MMAP: u32 = 1 << 0;
/// Completions that do not fit in the ring are kept, not dropped.
pub const IORING_FEAT_NODROP: u32 = 1 << 1;
/// Arguments that an entry points at are read while it is submitted and may go away after that.
pub const IORING_FEAT_SUBMIT_STABLE: u32 = 1 << 2;
/// Offset -1 of a read or write means the file's current position.
pub const IORING_FEAT_RW_CUR_POS: u32 = 1 << 3;
/// Requests run with the credentials of the task that submits, not of the one that made the ring.
pub const IORING_FEAT_CUR_PERSONALITY: u32 = 1 << 4;
/// Files that can be polled are waited for without a thread.
pub const IORING_FEAT_FAST_POLL: u32 = 1 << 5;
/// Poll requests take 32 bits of events.
pub const IORING_FEAT_POLL_32BITS: u32 = 1 << 6;
/// A ring with a poller thread can use descriptors that are not registered.
pub const IORING_FEAT_SQPOLL_NONFIXED: u32 = 1 << 7;
/// [`IORING_ENTER_EXT_ARG`] is known.
pub const IORING_FEAT_EXT_ARG: u32 = 1 << 8;
/// Workers are threads of the process, not kernel threads.
pub const IORING_FEAT_NATIVE_WORKERS: u32 = 1 << 9;
/// Registered files and buffers can be tagged and updated one by one.
pub const IORING_FEAT_RSRC_TAGS: u32 = 1 << 10;
/// [`IOSQE_CQE_SKIP_SUCCESS`](crate::IOSQE_CQE_SKIP_SUCCESS) is known.
pub const IORING_FEAT_CQE_SKIP: u32 = 1 << 11;
/// The file of a linked entry is looked up when the entry runs, so that one opened earlier in the chain can be used.
pub const IORING_FEAT_LINKED_FILE: u32 = 1 << 12;
/// `io_uring_register` can be called through a registered ring.
pub const IORING_FEAT_REG_REG_RING: u32 = 1 << 13;
/// Sends and receives know [`IORING_RECVSEND_BUNDLE`](crate::IORING_RECVSEND_BUNDLE), and sends can select buffers.
pub const IORING_FEAT_RECVSEND_BUNDLE: u32 = 1 << 14;
/// `min_wait_usec` of the wait arguments is known.
pub const IORING_FEAT_MIN_TIMEOUT: u32 = 1 << 15;
/// Reads and writes take attributes (`sqe.attr_ptr`).
pub const IORING_FEAT_RW_ATTR: u32 = 1 << 16;
/// [`IORING_ENTER_NO_IOWAIT`] is known.
pub const IORING_FEAT_NO_IOWAIT: u32 = 1 << 17;
