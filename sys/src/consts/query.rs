//! `linux/io_uring/query.h`: what a kernel can be asked with `IORING_REGISTER_QUERY`. Each number goes
//! to [`io_uring_query_hdr`](crate::io_uring_query_hdr)`.query_op`.

/// Operations, registrations and flags: [`io_uring_query_opcode`](crate::io_uring_query_opcode).
pub const IO_URING_QUERY_OPCODES: u32 = 0;
/// Zero-copy receive: [`io_uring_query_zcrx`](crate::io_uring_query_zcrx).
pub const IO_URING_QUERY_ZCRX: u32 = 1;
/// The header of the shared rings: [`io_uring_query_scq`](crate::io_uring_query_scq).
pub const IO_URING_QUERY_SCQ: u32 = 2;
/// Events of zero-copy receive: [`io_uring_query_zcrx_event`](crate::io_uring_query_zcrx_event).
pub const IO_URING_QUERY_ZCRX_EVENT: u32 = 3;
/// One past the last query of this release.
pub const __IO_URING_QUERY_MAX: u32 = 4;
