//! What builders store: entries of every row of `ring`, `rw`, `file` and `dir`, with every operand set; those of all other
//! rows are in [`super::built_net`].

use core::ffi::CStr;
use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    Advice, AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, XattrFlags,
};
use rustix::io::ReadWriteFlags;
use rustix::pipe::{PipeFlags, SpliceFlags};

use super::*;
use crate::UserData;
use crate::flags::{CancelFlags, CqeFlags, FixedFdInstallFlags, FsyncFlags, MsgRingFlags, NopFlags, SqeFlags};
use crate::operand::*;
use crate::sqe::{Sqe, Sqe128};

fn wide<'a>(entry: impl Into<Sqe128<'a>>) -> Sqe128<'a> {
    entry.into()
}

macro_rules! entries {
    ($($entry:expr),* $(,)?) => { vec![$( wide(crate::sqe::Sqe::from($entry)) ),*] };
}

/// Calls `check` with one entry for each row, every operand of which is set.
fn each(check: &mut dyn FnMut(&Sqe128<'_>)) {
    let stdin = std::io::stdin();
    let fd = stdin.as_fd();
    let owned: OwnedFd = fd.try_clone_to_owned().unwrap();
    let slot = DirectSlot::at(6);
    let place = || -> &'static mut [u8; 8] { Box::leak(Box::new([0; 8])) };
    let pair = || -> &'static mut [i32; 2] { Box::leak(Box::new([0; 2])) };
    let (mut one, mut two) = ([0; 4], [0; 4]);
    let (mut vec, mut fixed_vec) = ([IoSliceMut::new(&mut one)], [IoSliceMut::new(&mut two)]);
    let slices = [IoSlice::new(b"abc")];
    let (mut infos, mut stat, mut places) = ([ProtectionInfo::default(); 8], MaybeUninit::uninit(), [0; 2]);
    let [i1, i2, i3, i4, i5, i6, i7, i8] = &mut infos;
    let how = OpenHow::new(OFlags::CREATE, Mode::RUSR, ResolveFlags::BENEATH);
    let files = [FileSlot::from(fd), FileSlot::CLEAR];
    let (rw, path, name): (_, &CStr, &CStr) = (ReadWriteFlags::DSYNC, c"path", c"user.name");

    // SAFETY: neither is submitted, so no message is sent.
    let (message, file_message) =
        unsafe { (MsgRing::new(fd, UserData(2), 3), MsgRingFd::new(fd, Fixed(2), slot, UserData(2))) };
    let mut entries = entries![
        Nop::new().result(-3).file(fd).buffer(4).extra1(5).extra2(6).nop_flags(NopFlags::TW),
        Cancel::new(5).all(),
        CancelFd::new(fd).target(2).op(Opcode(3)).cancel_flags(CancelFlags::ALL),
        CancelOp::new(Opcode(3)).target(2).all(),
        CancelAny::new().cancel_flags(CancelFlags::ALL),
        message.cqe_flags(CqeFlags::MORE).msg_flags(MsgRingFlags::CQE_SKIP),
        file_message.msg_flags(MsgRingFlags::CQE_SKIP),
        FilesUpdate::new(&files[..], Fixed(3)),
        FilesUpdateAlloc::new(FilesToPlace::new(&mut places, [fd])),
        FixedFdInstall::new(Fixed(3)).install_flags(FixedFdInstallFlags::NO_CLOEXEC),
        Readv::new(fd, &mut vec).offset(1).rw_flags(rw).ioprio(2).attributes(i1.read(place())),
        Writev::new(fd, &slices).offset(1).rw_flags(rw).ioprio(2).write_stream(3).attributes(i2.write(b"tuple")),
        Fsync::new(fd).fsync_flags(FsyncFlags::DATASYNC).offset(1).len(2),
        ReadFixed::new(fd, FixedBufMut::new(place(), 3)).offset(1).rw_flags(rw).ioprio(2).attributes(i3.read(place())),
        WriteFixed::new(fd, FixedBuf::new(b"abc", 3))
            .offset(1)
            .rw_flags(rw)
            .ioprio(2)
            .write_stream(3)
            .attributes(i4.write(b"tuple")),
        SyncFileRange::new(fd, 1, 2, SyncRangeFlags::WRITE),
        Fallocate::new(fd, FallocateFlags::KEEP_SIZE, 1, 1 << 40),
        Close::new(owned),
        CloseDirect::new(slot),
        Statx::new(fd, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::SIZE, &mut stat),
        Read::new(fd, place()).offset(1).rw_flags(rw).ioprio(2).attributes(i5.read(place())),
        ReadProvided::new(fd, Group(4)).len(3).offset(1).rw_flags(rw).ioprio(2),
        Write::new(fd, "abc").offset(1).rw_flags(rw).ioprio(2).write_stream(3).attributes(i6.write(b"tuple")),
        Fadvise::new(fd, 1, 1u64 << 40, Advice::Random),
        Splice::new(fd, fd, 3).offset_from(1).offset_to(2).splice_flags(SpliceFlags::MORE),
        Tee::new(fd, fd, 3).splice_flags(SpliceFlags::NONBLOCK),
        ReadMulti::new(fd, Group(4)).offset(1).rw_flags(rw),
        Ftruncate::new(fd, 1 << 40),
        ReadvFixed::new(fd, FixedIoVec::new(IoVecMut::from(&mut fixed_vec), 3))
            .offset(1)
            .rw_flags(rw)
            .ioprio(2)
            .attributes(i7.read(place())),
        WritevFixed::new(fd, FixedIoVec::new(IoVec::from(&slices), 3))
            .offset(1)
            .rw_flags(rw)
            .ioprio(2)
            .write_stream(3)
            .attributes(i8.write(b"tuple")),
        Pipe::new(pair()).pipe_flags(PipeFlags::CLOEXEC),
        PipeDirect::new(pair(), slot).pipe_flags(PipeFlags::NONBLOCK),
        OpenAt::new(fd, path, OFlags::CREATE, Mode::RUSR),
        OpenAtDirect::new(fd, path, OFlags::CREATE, Mode::RUSR, slot),
        OpenAt2::new(fd, path, &how),
        OpenAt2Direct::new(fd, path, &how, slot),
        RenameAt::new(CWD, path, CWD, name).rename_flags(RenameFlags::EXCHANGE),
        UnlinkAt::new(CWD, path).at_flags(AtFlags::REMOVEDIR),
        MkdirAt::new(CWD, path, Mode::RUSR),
        SymlinkAt::new(name, CWD, path),
        LinkAt::new(CWD, path, CWD, name).at_flags(AtFlags::EMPTY_PATH),
        Fsetxattr::new(fd, name, b"v").xattr_flags(XattrFlags::CREATE),
        Setxattr::new(path, name, b"v").xattr_flags(XattrFlags::CREATE),
        Fgetxattr::new(fd, name, place()),
        Getxattr::new(path, name, place()),
    ];
    entries.push(wide(Nop128::new().result(-3).file(fd).buffer(4).extra1(5).extra2(6).nop_flags(NopFlags::TW)));
    entries.iter().for_each(&mut *check);
    built_net::each(check);
}

#[test]
fn the_list_has_every_row() {
    let mut seen = BTreeSet::new();
    each(&mut |entry| assert!(seen.insert(describe(entry.raw()).expect("a row describes it").name)));
    // Wide by its second half, which is checked beside the list.
    seen.insert(UringCmd128::INFO.name);
    assert_eq!(seen, all().map(|row| row.name).collect());
}

#[test]
fn every_operand_that_was_set_is_printed() {
    each(&mut |entry| {
        let (row, text) = (describe(entry.raw()).unwrap(), format!("{entry:?}"));
        for operand in row.operands {
            assert!(text.contains(&format!(", {}: ", operand.name)), "{} of {text}", operand.name);
        }
    });
}

#[test]
fn item_27_a_built_entry_has_only_its_own_fields() {
    each(&mut |entry| {
        let row = describe(entry.raw()).unwrap();
        let mut own = [false; 64];
        let mut add = |at: At| own[bytes(at)].fill(true);
        [At::OPCODE, At::FLAGS].into_iter().for_each(&mut add);
        for operand in row.operands {
            operand.at.iter().copied().chain(operand.sets.iter().map(|(at, _)| *at)).for_each(&mut add);
            if let Kind::FileIn = operand.kind {
                add(At::SPLICE_FLAGS);
            }
        }
        row.defaults.iter().for_each(|&(at, _)| add(at));
        for mark in row.marks {
            let (Mark::Has(at, _) | Mark::Is(at, _) | Mark::NonZero(at)) = *mark;
            add(at);
        }
        for (i, byte) in entry.raw().as_bytes().iter().enumerate() {
            assert!(*byte == 0 || own[i], "{}: byte {i} is {byte:#x} and nobody's", row.name);
        }
        assert_eq!(entry.second(), &[0; 64], "{}", row.name);
    });
}

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
