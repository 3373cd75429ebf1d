//! Flags of `io_uring_setup`: `io_uring_params.flags`. Which of them exclude each other or need each
//! other is for the kernel to say and for a layer above to explain; here they are only numbers.

/// Completions are found by polling the device, not by interrupts (files opened with `O_DIRECT` on
/// devices with poll queues, and `uring_cmd` of drivers that can).
pub const IORING_SETUP_IOPOLL: u32 = 1 << 0;
/// A kernel thread watches the submission queue, so that submitting needs no system call while it is awake.
pub const IORING_SETUP_SQPOLL: u32 = 1 << 1;
/// `sq_thread_cpu` names the CPU to which the poller thread is bound. Needs [`IORING_SETUP_SQPOLL`].
pub const IORING_SETUP_SQ_AFF: u32 = 1 << 2;
/// `cq_entries` states the size of the completion queue; without it that is twice the submission queue's.
pub const IORING_SETUP_CQSIZE: u32 = 1 << 3;
/// Reduce queue sizes that are too large to the largest allowed, where the call would fail otherwise.
pub const IORING_SETUP_CLAMP: u32 = 1 << 4;
/// `wq_fd` is a ring whose worker pool (and poller thread) this ring shares.
pub const IORING_SETUP_ATTACH_WQ: u32 = 1 << 5;
/// The ring starts disabled, so that restrictions can be registered; `IORING_REGISTER_ENABLE_RINGS` starts it.
pub const IORING_SETUP_R_DISABLED: u32 = 1 << 6;
/// Go on with the rest of a submission when the preparation of one entry fails.
pub const IORING_SETUP_SUBMIT_ALL: u32 = 1 << 7;
/// Do not interrupt the task in user space to finish requests: wait until it next enters the kernel by itself.
pub const IORING_SETUP_COOP_TASKRUN: u32 = 1 << 8;
/// Set [`IORING_SQ_TASKRUN`](crate::IORING_SQ_TASKRUN) while work waits for the task to enter the kernel. Needs
/// [`IORING_SETUP_COOP_TASKRUN`] or [`IORING_SETUP_DEFER_TASKRUN`].
pub const IORING_SETUP_TASKRUN_FLAG: u32 = 1 << 9;
/// Every slot of the submission queue has 128 bytes.
pub const IORING_SETUP_SQE128: u32 = 1 << 10;
/// Every slot of the completion queue has 32 bytes.
pub const IORING_SETUP_CQE32: u32 = 1 << 11;
/// Only one task submits; others get `-EEXIST`.
pub const IORING_SETUP_SINGLE_ISSUER: u32 = 1 << 12;
/// Requests are finished only when the task waits for completions. Needs [`IORING_SETUP_SINGLE_ISSUER`].
pub const IORING_SETUP_DEFER_TASKRUN: u32 = 1 << 13;
/// The caller provides the memory of the rings in `sq_off.user_addr` and `cq_off.user_addr`.
pub const IORING_SETUP_NO_MMAP: u32 = 1 << 14;
/// The ring is only registered, never installed as a file descriptor: the call returns the index of
/// the registration. Needs [`IORING_SETUP_NO_MMAP`].
pub const IORING_SETUP_REGISTERED_FD_ONLY: u32 = 1 << 15;
/// The submission queue has no index array: entries are taken in the order of their slots.
pub const IORING_SETUP_NO_SQARRAY: u32 = 1 << 16;
/// With [`IORING_SETUP_IOPOLL`]: sleep for part of the expected time before polling.
pub const IORING_SETUP_HYBRID_IOPOLL: u32 = 1 << 17;
/// Completions of 16 and of 32 bytes share the queue; the long ones carry
/// [`IORING_CQE_F_32`](crate::IORING_CQE_F_32) and take two slots.
pub const IORING_SETUP_CQE_MIXED: u32 = 1 << 18;
/// Entries of 64 and of 128 bytes share the queue; the operation's number says which it is, and a long
/// one takes two slots.
pub const IORING_SETUP_SQE_MIXED: u32 = 1 << 19;
/// The kernel ignores head and tail of the submission queue and always takes entries from slot 0.
/// Needs [`IORING_SETUP_NO_SQARRAY`]; excludes [`IORING_SETUP_SQPOLL`].
pub const IORING_SETUP_SQ_REWIND: u32 = 1 << 20;
