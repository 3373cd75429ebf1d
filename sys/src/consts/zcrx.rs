//! `linux/io_uring/zcrx.h`: zero-copy receive.

/// First bit of the area's id in an offset of a completion or of a refill entry.
pub const IORING_ZCRX_AREA_SHIFT: u32 = 48;
/// The bits of an offset that are the area's id.
pub const IORING_ZCRX_AREA_MASK: u64 = !((1 << IORING_ZCRX_AREA_SHIFT) - 1);

/// [`io_uring_zcrx_area_reg`](crate::io_uring_zcrx_area_reg)`.flags`: the area is the dma-buf in `dmabuf_fd`.
pub const IORING_ZCRX_AREA_DMABUF: u32 = 1;

/// [`io_uring_zcrx_ifq_reg`](crate::io_uring_zcrx_ifq_reg)`.flags`: take over an instance that another ring exported.
pub const ZCRX_REG_IMPORT: u32 = 1;
/// [`io_uring_zcrx_ifq_reg`](crate::io_uring_zcrx_ifq_reg)`.flags`: no network device; all data is copied, and the
/// refill queue may need [`ZCRX_CTRL_FLUSH_RQ`].
pub const ZCRX_REG_NODEV: u32 = 2;

/// [`io_uring_query_zcrx`](crate::io_uring_query_zcrx)`.features`: `rx_buf_len` of the registration is known.
pub const ZCRX_FEATURE_RX_PAGE_SIZE: u32 = 1 << 0;
/// [`io_uring_query_zcrx`](crate::io_uring_query_zcrx)`.features`: events and statistics are known.
pub const ZCRX_FEATURE_EVENT: u32 = 1 << 1;

/// Event: a buffer could not be allocated. Its bit in `type_mask` is `1 << ZCRX_EVENT_ALLOC_FAIL`.
pub const ZCRX_EVENT_ALLOC_FAIL: u32 = 0;
/// Event: data had to be copied. Its bit in `type_mask` is `1 << ZCRX_EVENT_COPY`.
pub const ZCRX_EVENT_COPY: u32 = 1;
/// One past the last event of this release.
pub const __ZCRX_EVENT_TYPE_LAST: u32 = 2;

/// [`zcrx_event_desc`](crate::zcrx_event_desc)`.flags`: `stats_offset` is valid.
pub const ZCRX_EVENT_DESC_FLAG_STATS: u32 = 1 << 0;

/// [`zcrx_ctrl`](crate::zcrx_ctrl)`.op`: take in the refill queue now.
pub const ZCRX_CTRL_FLUSH_RQ: u32 = 0;
/// [`zcrx_ctrl`](crate::zcrx_ctrl)`.op`: make a descriptor of the instance, for [`ZCRX_REG_IMPORT`].
pub const ZCRX_CTRL_EXPORT: u32 = 1;
/// [`zcrx_ctrl`](crate::zcrx_ctrl)`.op`: report an event again that was reported already.
pub const ZCRX_CTRL_ARM_EVENT: u32 = 2;
/// [`zcrx_ctrl`](crate::zcrx_ctrl)`.op`: add another memory area.
pub const ZCRX_CTRL_ADD_AREA: u32 = 3;
/// One past the last command of this release.
pub const __ZCRX_CTRL_LAST: u32 = 4;
