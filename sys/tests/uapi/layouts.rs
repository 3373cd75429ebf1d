//! Sizes, alignments, offsets as the Rust compiler sees them: one list of structs and their fields.
//!
//! A field is written as its path in Rust; where that differs from C, the C path follows.

use std::mem::MaybeUninit;

use rawring_sys::*;

/// Name, size and alignment of a struct.
pub type Struct = (&'static str, usize, usize);

/// Struct, C path, offset and size of a field.
pub type Field = (&'static str, &'static str, usize, usize);

/// Whether a field is space from which a later release may take some.
pub fn reserved(path: &str) -> bool {
    let field = path.trim_start_matches('_');
    ["resv", "rsvd", "pad", "reserved"].iter().any(|start| field.starts_with(start))
}

/// Whether a struct may grow: answers to queries have a size that goes with them.
pub fn grows(name: &str) -> bool {
    name.starts_with("io_uring_query_")
}

/// The fields under all their C names: those of the entry are more than the flat struct has.
pub fn c_fields() -> Vec<Field> {
    let entry = SqeField::ALL.iter().map(|field| ("io_uring_sqe", field.name(), field.offset(), field.size()));
    entry.chain(fields().into_iter().filter(|field| field.0 != "io_uring_sqe")).collect()
}

macro_rules! layouts {
    ($($name:ident { $($($step:ident).+ $(as $path:literal)?,)* })*) => {
        pub fn structs() -> Vec<Struct> {
            vec![$((stringify!($name), size_of::<$name>(), align_of::<$name>())),*]
        }

        pub fn fields() -> Vec<Field> {
            vec![$($({
                let span = span!($name, $($step).+);
                (stringify!($name), path!($($step).+ $($path)?), span.start, span.len())
            },)*)*]
        }
    };
}

/// The C path of a field: as given, or the name in Rust.
macro_rules! path {
    ($($step:ident).+ $path:literal) => {
        $path
    };
    ($step:ident) => {
        stringify!($step)
    };
}

/// Where a field lies. `span_of!` knows the fields of a struct; those inside unnamed unions of C are reached in steps.
macro_rules! span {
    ($name:ident, $step:ident) => {
        memoffset::span_of!($name, $step)
    };
    ($name:ident, $($step:ident).+) => {{
        let whole = MaybeUninit::<$name>::uninit();
        let whole = whole.as_ptr();
        // SAFETY: nothing is read; an address is taken inside of one object.
        let part = unsafe { &raw const (*whole).$($step).+ };
        let start = part.addr() - whole.addr();
        start..start + size_of_pointee(part)
    }};
}

const fn size_of_pointee<T>(_: *const T) -> usize {
    size_of::<T>()
}

layouts! {
    io_uring_sqe {
        opcode,
        flags,
        ioprio,
        fd,
        off,
        addr,
        len,
        op_flags as "rw_flags",
        user_data,
        buf_index,
        personality,
        file_index,
        addr3,
        attr_type_mask,
    }
    io_uring_attr_pi {
        flags,
        app_tag,
        len,
        addr,
        seed,
        rsvd,
    }
    io_uring_cqe {
        user_data,
        res,
        flags,
        big_cqe,
    }
    io_sqring_offsets {
        head,
        tail,
        ring_mask,
        ring_entries,
        flags,
        dropped,
        array,
        resv1,
        user_addr,
    }
    io_cqring_offsets {
        head,
        tail,
        ring_mask,
        ring_entries,
        overflow,
        cqes,
        flags,
        resv1,
        user_addr,
    }
    io_uring_params {
        sq_entries,
        cq_entries,
        flags,
        sq_thread_cpu,
        sq_thread_idle,
        features,
        wq_fd,
        resv,
        sq_off,
        cq_off,
    }
    io_uring_files_update {
        offset,
        resv,
        fds,
    }
    io_uring_region_desc {
        user_addr,
        size,
        flags,
        id,
        mmap_offset,
        __resv,
    }
    io_uring_mem_region_reg {
        region_uptr,
        flags,
        __resv,
    }
    io_uring_rsrc_register {
        nr,
        flags,
        resv2,
        data,
        tags,
    }
    io_uring_rsrc_update {
        offset,
        resv,
        data,
    }
    io_uring_rsrc_update2 {
        offset,
        resv,
        data,
        tags,
        nr,
        resv2,
    }
    io_uring_probe_op {
        op,
        resv,
        flags,
        resv2,
    }
    io_uring_probe {
        last_op,
        ops_len,
        resv,
        resv2,
        ops,
    }
    io_uring_restriction {
        opcode,
        arg.register_op as "register_op",
        arg.sqe_op as "sqe_op",
        arg.sqe_flags as "sqe_flags",
        resv,
        resv2,
    }
    io_uring_task_restriction {
        flags,
        nr_res,
        resv,
        restrictions,
    }
    io_uring_clock_register {
        clockid,
        __resv,
    }
    io_uring_clone_buffers {
        src_fd,
        flags,
        src_off,
        dst_off,
        nr,
        pad,
    }
    io_uring_buf {
        addr,
        len,
        bid,
        resv,
    }
    io_uring_buf_ring {
        resv1,
        resv2,
        resv3,
        tail,
        bufs,
    }
    io_uring_buf_reg {
        ring_addr,
        ring_entries,
        bgid,
        flags,
        min_left,
        resv,
    }
    io_uring_buf_status {
        buf_group,
        head,
        resv,
    }
    io_uring_napi {
        busy_poll_to,
        prefer_busy_poll,
        opcode,
        pad,
        op_param,
        resv,
    }
    io_uring_reg_wait {
        ts,
        min_wait_usec,
        flags,
        sigmask,
        sigmask_sz,
        pad,
        pad2,
    }
    io_uring_getevents_arg {
        sigmask,
        sigmask_sz,
        min_wait_usec,
        ts,
    }
    io_uring_sync_cancel_reg {
        addr,
        fd,
        flags,
        timeout,
        opcode,
        pad,
        pad2,
    }
    io_uring_file_index_range {
        off,
        len,
        resv,
    }
    io_uring_recvmsg_out {
        namelen,
        controllen,
        payloadlen,
        flags,
    }
    io_timespec {
        tv_sec,
        tv_nsec,
    }
    io_uring_query_hdr {
        next_entry,
        query_data,
        query_op,
        size,
        result,
        __resv,
    }
    io_uring_query_opcode {
        nr_request_opcodes,
        nr_register_opcodes,
        feature_flags,
        ring_setup_flags,
        enter_flags,
        sqe_flags,
        nr_query_opcodes,
        __pad,
    }
    io_uring_query_zcrx {
        register_flags,
        area_flags,
        nr_ctrl_opcodes,
        features,
        rq_hdr_size,
        rq_hdr_alignment,
        __resv2,
    }
    io_uring_query_zcrx_event {
        event_flags,
        stats_size,
        stats_off_alignment,
        __resv1,
        __resv2,
    }
    io_uring_query_scq {
        hdr_size,
        hdr_alignment,
    }
    io_uring_zcrx_rqe {
        off,
        len,
        __pad,
    }
    io_uring_zcrx_cqe {
        off,
        __pad,
    }
    io_uring_zcrx_offsets {
        head,
        tail,
        rqes,
        __resv2,
        __resv,
    }
    io_uring_zcrx_area_reg {
        addr,
        len,
        rq_area_token,
        flags,
        dmabuf_fd,
        __resv2,
    }
    zcrx_stats {
        copy_count,
        copy_bytes,
    }
    zcrx_event_desc {
        user_data,
        type_mask,
        flags,
        stats_offset,
        __resv2,
    }
    io_uring_zcrx_ifq_reg {
        if_idx,
        if_rxq,
        rq_entries,
        flags,
        area_ptr,
        region_ptr,
        offsets,
        zcrx_id,
        rx_buf_len,
        event_desc,
        __resv,
    }
    zcrx_ctrl_flush_rq {
        __resv,
    }
    zcrx_ctrl_export {
        zcrx_fd,
        __resv1,
    }
    zcrx_ctrl_arm_event {
        event_type,
        __resv,
    }
    zcrx_ctrl_add_area {
        area_ptr,
        __resv,
    }
    zcrx_ctrl {
        zcrx_id,
        op,
        __resv,
        arg.zc_export as "zc_export",
        arg.zc_flush as "zc_flush",
        arg.zc_arm_event as "zc_arm_event",
        arg.zc_area as "zc_area",
    }
    io_uring_bpf_ctx {
        user_data,
        opcode,
        sqe_flags,
        pdu_size,
        pad,
        arg.socket as "socket",
        arg.socket.family as "socket.family",
        arg.socket.r#type as "socket.type",
        arg.socket.protocol as "socket.protocol",
        arg.open as "open",
        arg.open.flags as "open.flags",
        arg.open.mode as "open.mode",
        arg.open.resolve as "open.resolve",
        arg.connect as "connect",
        arg.connect.family as "connect.family",
        arg.connect.port as "connect.port",
        arg.connect.pad as "connect.pad",
        arg.connect.addr.v4_addr as "connect.v4_addr",
        arg.connect.addr.v6_addr as "connect.v6_addr",
    }
    io_uring_bpf_filter {
        opcode,
        flags,
        filter_len,
        pdu_size,
        resv,
        filter_ptr,
        resv2,
    }
    io_uring_bpf {
        cmd_type,
        cmd_flags,
        resv,
        filter,
    }
    io_uring_mock_probe {
        features,
        __resv,
    }
    io_uring_mock_create {
        out_fd,
        flags,
        file_size,
        rw_delay_ns,
        __resv,
    }
    __kernel_timespec {
        tv_sec,
        tv_nsec,
    }
    open_how {
        flags,
        mode,
        resolve,
    }
    futex_waitv {
        val,
        uaddr,
        flags,
        __reserved,
    }
    nvme_uring_cmd {
        opcode,
        flags,
        rsvd1,
        nsid,
        cdw2,
        cdw3,
        metadata,
        addr,
        metadata_len,
        data_len,
        cdw10,
        cdw11,
        cdw12,
        cdw13,
        cdw14,
        cdw15,
        timeout_ms,
        rsvd2,
    }
}
