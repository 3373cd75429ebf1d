//! `linux/io_uring/bpf_filter.h`: classic BPF programs that allow or refuse entries.

/// [`io_uring_bpf_filter`](crate::io_uring_bpf_filter)`.flags`: refuse every operation that has no filter yet.
pub const IO_URING_BPF_FILTER_DENY_REST: u32 = 1;
/// [`io_uring_bpf_filter`](crate::io_uring_bpf_filter)`.flags`: fail when the kernel's data for the operation has
/// another size than `pdu_size`.
pub const IO_URING_BPF_FILTER_SZ_STRICT: u32 = 2;

/// [`io_uring_bpf`](crate::io_uring_bpf)`.cmd_type`: install the filter in `filter`.
pub const IO_URING_BPF_CMD_FILTER: u16 = 1;
