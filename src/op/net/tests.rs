use super::*;
use crate::op::{Completes, Life, Mark, OpInfo, OperandInfo};
use crate::operand::{Buf, Fixed, FixedBuf, FixedBufMut, FixedIoVec, Group, IoVec, MsgHdr, SocketAddrBuf};
use crate::sqe::{At, Sqe};
use rawring_sys as sys;
use std::io::IoSlice;

fn rows() -> impl Iterator<Item = &'static OpInfo> {
    [connect::ROWS, send::ROWS, recv::ROWS].into_iter().flatten().copied()
}

fn operand(row: &'static OpInfo, name: &str) -> &'static OperandInfo {
    row.operands.iter().find(|operand| operand.name == name).unwrap_or_else(|| panic!("{}: no {name}", row.name))
}

fn has(row: &OpInfo, at: At, bits: u16) -> bool {
    row.marks.iter().any(|mark| matches!(*mark, Mark::Has(place, value) if place == at && value & u64::from(bits) != 0))
}

#[test]
fn item_17_zero_copy_rows_promise_a_notification_and_need_their_data_until_it() {
    let mut seen = 0;
    for row in rows() {
        let zero_copy = [sys::IORING_OP_SEND_ZC, sys::IORING_OP_SENDMSG_ZC].contains(&row.opcode.0);
        assert_eq!(row.completes == Completes::Notif, zero_copy, "{}", row.name);
        let longest = row.operands.iter().map(|operand| operand.life).max();
        assert_eq!(longest == Some(Life::Notified), zero_copy, "{}", row.name);
        seen += u32::from(zero_copy);
    }
    assert_eq!(seen, 6);
}

#[test]
fn item_18_rows_that_go_on_are_those_with_the_bit_that_says_so() {
    for row in rows() {
        let accept = row.opcode.0 == sys::IORING_OP_ACCEPT;
        let bit = if accept { sys::IORING_ACCEPT_MULTISHOT } else { sys::IORING_RECV_MULTISHOT };
        // A bundle of sends may have several completions as well.
        let bundle = row.opcode.0 == sys::IORING_OP_SEND && has(row, At::IOPRIO, sys::IORING_RECVSEND_BUNDLE);
        assert_eq!(row.completes == Completes::Multi, bundle || has(row, At::IOPRIO, bit), "{}", row.name);
    }
}

#[test]
fn item_18_receiving_again_and_again_takes_provided_buffers() {
    for row in rows().filter(|row| has(row, At::IOPRIO, sys::IORING_RECV_MULTISHOT)) {
        if row.opcode.0 == sys::IORING_OP_ACCEPT || row.opcode.0 == sys::IORING_OP_RECV_ZC {
            continue;
        }
        assert!(operand(row, "group").required, "{}", row.name);
        assert!(has(row, At::FLAGS, u16::from(sys::IOSQE_BUFFER_SELECT)), "{}", row.name);
    }
}

#[test]
fn item_15_what_is_passed_in_ends_with_the_submission_and_what_comes_out_with_the_completion() {
    for row in rows() {
        for operand in row.operands {
            match operand.name {
                "to" | "address" => assert_eq!(operand.life, Life::Submitted, "{} {}", row.name, operand.name),
                "peer" | "buffer" => {
                    assert!(operand.life == Life::Completed && operand.output, "{} {}", row.name, operand.name);
                }
                _ => {}
            }
        }
    }
    // Read when it is submitted and never written: each message brings its own copy in the buffer.
    assert_eq!(operand(RecvMsgMulti::INFO, "header").life, Life::Submitted);
    assert_eq!(operand(RecvMsg::INFO, "header").life, Life::Completed);
}

#[test]
fn item_15_accepting_again_and_again_has_no_place_for_a_peer() {
    for row in [AcceptMulti::INFO, AcceptMultiDirect::INFO] {
        assert!(row.operands.iter().all(|operand| operand.name != "peer"), "{}", row.name);
    }
}

#[test]
fn item_14_many_accepted_files_go_only_into_free_slots() {
    let sqe = Sqe::from(AcceptMultiDirect::new(Fixed(3)));
    assert_eq!(sqe.get(At::FILE_INDEX), u64::from(sys::IORING_FILE_INDEX_ALLOC));
    let sqe = Sqe::from(AcceptDirect::new(Fixed(3), Fixed(0)));
    assert_eq!(sqe.get(At::FILE_INDEX), 1);
}

#[test]
fn variants_are_told_apart_by_what_they_set() {
    let bytes = [0; 4];
    let slices = [IoSlice::new(&bytes)];
    let mut headers: [MsgHdr; 3] = Default::default();
    let [one, two, three] = &mut headers;
    let mut peer = SocketAddrBuf::default();
    let named: [(&str, Sqe<'_>); 10] = [
        ("Accept", Accept::new(Fixed(0)).peer(&mut peer).into()),
        ("AcceptMulti", AcceptMulti::new(Fixed(0)).into()),
        ("Send", Send::new(Fixed(0), &bytes).into()),
        ("SendVectorized", SendVectorized::new(Fixed(0), &slices).into()),
        ("SendBundle", SendBundle::new(Fixed(0), Group(0)).into()),
        ("SendZcVectorizedFixed", {
            SendZcVectorizedFixed::new(Fixed(0), FixedIoVec::new(IoVec::from(&slices), 0)).into()
        }),
        ("SendMsgZcFixed", SendMsgZcFixed::new(Fixed(0), one.send(&slices, None, None), 0).into()),
        ("RecvMultiBundle", RecvMultiBundle::new(Fixed(0), Group(0)).into()),
        ("RecvMsgProvided", RecvMsgProvided::new(Fixed(0), two.recv_multishot(0, 0), Group(0)).into()),
        ("RecvMsgMulti", RecvMsgMulti::new(Fixed(0), three.recv_multishot(0, 0), Group(0)).into()),
    ];
    for (name, sqe) in named {
        assert_eq!(sqe.info().map(|row| row.name), Some(name), "{sqe:?}");
    }
}

/// What few kernels can run yet, field by field as the kernel's `net.c` reads it.
#[test]
fn the_newest_rows_store_what_the_kernel_reads() {
    let mut bytes = [0; 4];
    let address = bytes.as_ptr().addr() as u64;
    let fields = |sqe: &Sqe<'_>| [At::IOPRIO, At::ADDR, At::LEN, At::BUF_INDEX].map(|at| sqe.get(at));
    let fixed = u64::from(sys::IORING_RECVSEND_FIXED_BUF);
    let send = Sqe::from(SendFixed::new(Fixed(1), FixedBuf::new(&bytes, 6)));
    assert_eq!(fields(&send), [fixed, address, 4, 6]);
    let recv = Sqe::from(RecvFixed::new(Fixed(1), FixedBufMut::new(&mut bytes, 6)));
    assert_eq!(fields(&recv), [fixed, address, 4, 6]);
    let slices = [IoSlice::new(&bytes); 2];
    let vectors = FixedIoVec::new(IoVec::from(&slices), 6);
    // SAFETY: never submitted.
    let send = Sqe::from(unsafe { SendZcVectorizedFixed::new(Fixed(1), vectors).notify_as(9u64) });
    let both = fixed | u64::from(sys::IORING_SEND_VECTORIZED);
    assert_eq!(fields(&send), [both, slices.as_ptr().addr() as u64, 2, 6]);
    assert_eq!(send.get(At::ADDR3), 9);
    let recv = Sqe::from(RecvZc::new(Fixed(1), 5).max_len(7));
    assert_eq!(fields(&recv), [u64::from(sys::IORING_RECV_MULTISHOT), 0, 7, 0]);
    assert_eq!(recv.get(At::ZCRX_IFQ_IDX), 5);
}

#[test]
fn an_address_leaves_the_padding_after_its_length_alone() {
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], 9)).into();
    let sqe = Sqe::from(Send::new(Fixed(0), Buf::from("x")).to(&to));
    assert_eq!(sqe.get(At::ADDR_LEN), size_of::<libc::sockaddr_in>() as u64);
    assert_eq!(sqe.get(At::PAD3), 0, "the kernel refuses anything else");
}
