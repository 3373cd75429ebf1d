//! The completion entry, the attribute struct of reads and writes, and what `io_uring_setup` fills:
//! parameters and the offsets of the shared words. `map.rs` is what uses the offsets.

use super::layout;

/// Protection information of a read or write (`sqe.attr_ptr` with `IORING_RW_ATTR_FLAG_PI`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_attr_pi {
    /// What to check: guard, reference tag, application tag.
    pub flags: u16,
    /// The application tag.
    pub app_tag: u16,
    /// The size of the protection buffer.
    pub len: u32,
    /// The address of the protection buffer.
    pub addr: u64,
    /// The seed of the reference tag.
    pub seed: u64,
    /// Reserved, zero.
    pub rsvd: u64,
}
layout!(io_uring_attr_pi: size 32, align 8, align32 4);

/// One entry of the completion queue.
///
/// In rings with `IORING_SETUP_CQE32`, and in completions with `IORING_CQE_F_32`, 16 more bytes follow;
/// `big_cqe` is where they start. A copy of this struct does not have them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_cqe {
    /// The `user_data` of the entry, or whatever the sender put there.
    pub user_data: u64,
    /// The result: a count, a descriptor, or a negated error number.
    pub res: i32,
    /// `IORING_CQE_F_*`, and a buffer id in the upper 16 bits.
    pub flags: u32,
    /// Where the second half of a long completion starts.
    pub big_cqe: [u64; 0],
}
layout!(io_uring_cqe: size 16, align 8, align32 4);

/// Where the words of the submission ring lie in the mapping: offsets in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_sqring_offsets {
    /// The head: the kernel moves it when it has taken entries.
    pub head: u32,
    /// The tail: user space moves it to publish entries.
    pub tail: u32,
    /// The number of entries minus one.
    pub ring_mask: u32,
    /// The number of entries.
    pub ring_entries: u32,
    /// `IORING_SQ_*`.
    pub flags: u32,
    /// How many entries the kernel dropped because the index array named none.
    pub dropped: u32,
    /// The index array. Zero, and not an offset, with `IORING_SETUP_NO_SQARRAY`.
    pub array: u32,
    /// Reserved.
    pub resv1: u32,
    /// With `IORING_SETUP_NO_MMAP`, going in: the address of memory for the submission entries.
    pub user_addr: u64,
}
layout!(io_sqring_offsets: size 40, align 8, align32 4);

/// Where the words of the completion ring lie in the mapping: offsets in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_cqring_offsets {
    /// The head: user space moves it when it has seen completions.
    pub head: u32,
    /// The tail: the kernel moves it to publish completions.
    pub tail: u32,
    /// The number of slots minus one.
    pub ring_mask: u32,
    /// The number of slots.
    pub ring_entries: u32,
    /// How many completions were lost.
    pub overflow: u32,
    /// The slots.
    pub cqes: u32,
    /// `IORING_CQ_*`. Zero where the kernel has no such word (before 5.8).
    pub flags: u32,
    /// Reserved.
    pub resv1: u32,
    /// With `IORING_SETUP_NO_MMAP`, going in: the address of memory for the rings.
    pub user_addr: u64,
}
layout!(io_cqring_offsets: size 40, align 8, align32 4);

/// The parameters of `io_uring_setup`, read and written by the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_params {
    /// Out: the size of the submission queue.
    pub sq_entries: u32,
    /// In with `IORING_SETUP_CQSIZE`, and out: the size of the completion queue.
    pub cq_entries: u32,
    /// In: `IORING_SETUP_*`. Out: the same, as the kernel took it.
    pub flags: u32,
    /// In: the CPU of the poller thread, with `IORING_SETUP_SQ_AFF`.
    pub sq_thread_cpu: u32,
    /// In: after how many milliseconds without work the poller thread sleeps.
    pub sq_thread_idle: u32,
    /// Out: `IORING_FEAT_*`.
    pub features: u32,
    /// In: the ring whose workers to share, with `IORING_SETUP_ATTACH_WQ`.
    pub wq_fd: u32,
    /// Reserved, zero.
    pub resv: [u32; 3],
    /// Out: the layout of the submission ring.
    pub sq_off: io_sqring_offsets,
    /// Out: the layout of the completion ring.
    pub cq_off: io_cqring_offsets,
}
layout!(io_uring_params: size 120, align 8, align32 4);
