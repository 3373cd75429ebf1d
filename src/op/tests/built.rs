//! What builders store: values whose places and bits are worth a test by name. That every builder stores every operand
//! is tested with arbitrary ones, in [`super::arbitrary`].

use rustix::fs::{Advice, FallocateFlags};
use rustix::pipe::SpliceFlags;

use super::*;
use crate::UserData;
use crate::flags::{SqeFlags, UringCmdFlags};
use crate::operand::*;
use crate::sqe::{Sqe, Sqe128};

#[test]
fn item_27_a_new_entry_has_nothing_but_its_opcode_where_nothing_is_asked_for() {
    let mut expected = RawSqe::ZERO;
    assert_eq!(Sqe::from(Nop::new()).raw(), &expected);
    expected.opcode = sys::IORING_OP_ASYNC_CANCEL;
    expected.op_flags = sys::IORING_ASYNC_CANCEL_ANY;
    assert_eq!(Sqe::from(CancelAny::new()).raw(), &expected);
}

#[test]
fn item_14_indices_that_are_not_slots_are_stored_as_they_are() {
    let stdin = std::io::stdin();
    // SAFETY: not submitted.
    let message = Sqe::from(unsafe { MsgRingFd::new(&stdin, Fixed(7), DirectSlot::at(7), UserData(0)) });
    assert_eq!((message.get(At::ADDR3), message.get(At::FILE_INDEX)), (7, 8));
    assert_eq!(Sqe::from(CloseDirect::new(Fixed(7))).get(At::FILE_INDEX), 8);
    assert_eq!(Sqe::from(FilesUpdate::new(&[FileSlot::SKIP][..], Fixed(7))).get(At::OFF), 7);
    let cancel = Sqe::from(CancelFd::new(Fixed(7)));
    assert_eq!((cancel.get(At::FD), cancel.raw().flags), (7, SqeFlags::FIXED_FILE.bits()));
    let splice = Sqe::from(Splice::new(Fixed(7), Fixed(8), 1).splice_flags(SpliceFlags::MORE));
    assert_eq!((splice.get(At::SPLICE_FD_IN), splice.get(At::FD)), (7, 8));
    let flags = sys::SPLICE_F_FD_IN_FIXED | SpliceFlags::MORE.bits();
    assert_eq!(splice.get(At::SPLICE_FLAGS), u64::from(flags), "setting flags keeps the side bit");
    let install = Sqe::from(FixedFdInstall::new(Fixed(7)));
    assert_eq!((install.get(At::FD), install.raw().flags), (7, SqeFlags::FIXED_FILE.bits()));
}

#[test]
fn item_16_long_lengths_are_where_the_kernel_reads_64_bits() {
    let stdin = std::io::stdin();
    let long = (1u64 << 32) + 5;
    let advise = |len: u64| Sqe::from(Fadvise::new(&stdin, 0, len, Advice::Random)).into_raw();
    assert_eq!((advise(long).addr, advise(long).len), (long, 0));
    assert_eq!((advise(5).addr, advise(5).len), (0, 5), "short ones are where old kernels look");
    let allocate = Sqe::from(Fallocate::new(&stdin, FallocateFlags::empty(), 1, long));
    assert_eq!((allocate.get(At::ADDR), allocate.get(At::OFF), allocate.get(At::LEN)), (long, 1, 0));
    assert_eq!(Sqe::from(Ftruncate::new(&stdin, long)).get(At::OFF), long);
}

/// The operands of these families that `wanted` picks, as `Row.operand`.
fn operands(wanted: impl Fn(&OperandInfo) -> bool) -> BTreeSet<String> {
    let rows = [ring::ROWS, rw::ROWS, file::ROWS, dir::ROWS].concat();
    let named = rows.iter().flat_map(|row| row.operands.iter().map(move |operand| (row.name, operand)));
    named.filter(|(_, operand)| wanted(operand)).map(|(row, operand)| format!("{row}.{}", operand.name)).collect()
}

#[test]
fn item_15_only_what_is_copied_at_submission_ends_there() {
    let submitted = operands(|operand| operand.life == Life::Submitted);
    let expected = [
        "Statx.path",
        "OpenAt.path",
        "OpenAtDirect.path",
        "OpenAt2.path",
        "OpenAt2.how",
        "OpenAt2Direct.path",
        "OpenAt2Direct.how",
        "RenameAt.old_path",
        "RenameAt.new_path",
        "UnlinkAt.path",
        "MkdirAt.path",
        "SymlinkAt.target",
        "SymlinkAt.path",
        "LinkAt.old_path",
        "LinkAt.new_path",
        "Fsetxattr.name",
        "Fsetxattr.value",
        "Setxattr.path",
        "Setxattr.name",
        "Setxattr.value",
        "Fgetxattr.name",
        "Getxattr.path",
        "Getxattr.name",
    ];
    assert_eq!(submitted, expected.map(str::to_owned).into());
}

#[test]
fn item_15_outputs_are_known_as_such() {
    let outputs = operands(|operand| operand.output);
    let expected = [
        "FilesUpdateAlloc.files",
        "Readv.bufs",
        "Readv.attributes",
        "ReadFixed.buf",
        "ReadFixed.attributes",
        "ReadvFixed.bufs",
        "ReadvFixed.attributes",
        "Read.buf",
        "Read.attributes",
        "Statx.buf",
        "Pipe.fds",
        "PipeDirect.slots",
        "Fgetxattr.value",
        "Getxattr.value",
    ];
    assert_eq!(outputs, expected.map(str::to_owned).into());
}

#[test]
fn a_descriptor_comes_back_from_a_close_that_was_not_submitted() {
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&reader);
    let back = Close::take_back(Close::new(reader).user_data(1).link().into()).unwrap();
    assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&back), number);
    assert!(rustix::io::fcntl_getfd(&back).is_ok());
    let other = Close::take_back(CloseDirect::new(Fixed(0)).into()).unwrap_err();
    assert_eq!(other.info().unwrap().name, "CloseDirect");
    assert!(Close::take_back(Nop::new().into()).is_err());
}

/// The setter of a 128-byte entry that is in no row, as its operand lies in both halves.
#[test]
fn a_wide_command_prints_both_halves() {
    let stdin = std::io::stdin();
    // SAFETY: never submitted.
    let entry =
        unsafe { UringCmd128::new(&stdin, 99).command(&[7; 80]) }.command_flags(UringCmdFlags::FIXED).buf_index(5);
    let text = format!("{:?}", Sqe128::from(entry));
    for part in
        ["UringCmd128 {", "command_op: 99", "command_flags: IORING_URING_CMD_FIXED", "buf_index: 5", "second: [07, "]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
