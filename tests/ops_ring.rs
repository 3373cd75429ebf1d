//! Operations on rings and requests: nop, cancel, messages, the table of registered files.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use common::{has, kernel_has, kernel_has_op, needs, newer, since};
use files::{Dir, pipe, results};
use io::{next, nothing, of, push, reap, register_buffer, register_slots, result, ring, run};
use rawring::flags::{CancelFlags, CqeFlags, FixedFdInstallFlags, MsgRingFlags, NopFlags, SetupFlags};
use rawring::op::*;
use rawring::operand::*;
use rawring::{Cqe, Errno, Opcode, Ring, Version};
use rawring_sys as sys;
use rustix::io::{FdFlags, fcntl_getfd};

#[test]
fn a_nop_completes_with_nothing_or_with_what_was_asked_for() {
    let mut ring = ring();
    assert_eq!(result(&mut ring, Nop::new()), Ok(0));
    if !newer("a_nop_completes_with_nothing_or_with_what_was_asked_for", Version::new(6, 13)) {
        return;
    }
    for value in [1, i32::MAX, 0] {
        assert_eq!(result(&mut ring, Nop::new().result(value)), Ok(value as u32));
    }
    assert_eq!(result(&mut ring, Nop::new().result(-5)), Err(Errno::IO));
    let failing = Nop::new().result(-5).link().into();
    assert_eq!(results(&mut ring, [failing, Nop::new().into()]), [Err(Errno::IO), Err(Errno::CANCELED)]);
    let unknown = NopFlags::from_bits_retain(1 << 30);
    assert_eq!(result(&mut ring, Nop::new().nop_flags(unknown)), Err(Errno::INVAL));
}

#[test]
fn a_nop_looks_up_files_and_buffers() {
    if !newer("a_nop_looks_up_files_and_buffers", Version::new(6, 13)) {
        return;
    }
    let mut ring = ring();
    let file = File::open("/dev/null").expect("open");
    assert_eq!(result(&mut ring, Nop::new().file(&file)), Ok(0));
    if newer("a_nop_looks_up_files_and_buffers", Version::new(6, 17)) {
        assert_eq!(result(&mut ring, Nop::new().nop_flags(NopFlags::TW).result(3)), Ok(3));
    }
    register_slots(&ring, 2);
    // Some kernels look them up and do not tell (seen in 6.16 to 7.0).
    let untold = [Nop::new().file(Fixed(1)), Nop::new().buffer(0)].map(|nop| result(&mut ring, nop) == Ok(0));
    if untold.contains(&true) {
        needs!(since(Version::new(7, 1)));
    }
    assert_eq!(result(&mut ring, Nop::new().file(Fixed(1))), Err(Errno::BADF));
    // SAFETY: no operation is done on it; the number is the one that names nothing.
    let closed = unsafe { BorrowedFd::borrow_raw(i32::MAX) };
    assert_eq!(result(&mut ring, Nop::new().file(closed).result(7)), Err(Errno::BADF));
    let slots = [FileSlot::from(file.as_fd())];
    assert_eq!(result(&mut ring, FilesUpdate::new(&slots, Fixed(1))), Ok(1));
    assert_eq!(result(&mut ring, Nop::new().file(Fixed(1)).result(7)), Ok(7));
    assert_eq!(result(&mut ring, Nop::new().buffer(0)), Err(Errno::FAULT));
    register_buffer(&ring, 64);
    assert_eq!(result(&mut ring, Nop::new().buffer(0)), Ok(0));
    assert_eq!(result(&mut ring, Nop::new().buffer(1)), Err(Errno::FAULT));
}

#[test]
fn item_21_a_nop_can_ask_for_a_wide_completion() {
    let test = "item_21_a_nop_can_ask_for_a_wide_completion";
    if !kernel_has(test, SetupFlags::CQE_MIXED) {
        return;
    }
    let wide = || Nop::new().extra1(0x1111_2222_3333).extra2(u64::MAX);
    assert_eq!(result(&mut ring(), wide()), Err(Errno::INVAL), "a ring without wide completions");
    for setup in [Ring::setup(4).cqe_mixed(), Ring::setup(4).cqe32()] {
        let mut ring = setup.build().expect("a ring");
        let cqe = run(&mut ring, wide().result(9));
        assert_eq!((cqe.result(), cqe.big()), (Ok(9), Some([0x1111_2222_3333, u64::MAX])));
    }
}

#[test]
fn item_22_a_nop_of_128_bytes() {
    let test = "item_22_a_nop_of_128_bytes";
    if !kernel_has_op(test, Nop128::INFO) {
        return;
    }
    let mut kinds = vec![Ring::setup(8).sqe128()];
    if kernel_has(test, SetupFlags::SQE_MIXED) {
        kinds.push(Ring::setup(8).sqe_mixed());
    }
    for setup in kinds {
        let mut ring = setup.build().expect("a ring");
        // More of them than the queue has slots, so that one would straddle the end of a mixed queue.
        for i in 0..20 {
            ring.push(Nop::new().user_data(1000)).expect("room");
            ring.push128(Nop128::new().result(i).user_data(i as u64)).expect("room");
            let cqes = reap(&mut ring, 2);
            assert_eq!(of(&cqes, i as u64).result(), Ok(i as u32));
        }
    }
}

/// Starts reads on pipes that nobody writes to, each with its index as `user_data`.
struct Waiting {
    pipes: Vec<(File, File)>,
    ring: Ring,
}

impl Waiting {
    fn new(count: u64) -> Waiting {
        let mut waiting = Waiting { pipes: Vec::new(), ring: ring() };
        for i in 0..count {
            waiting.pipes.push(pipe());
            // Dropped by nobody: the kernel may write there for as long as the ring exists.
            let room = Box::leak(Box::new([0; 8]));
            // SAFETY: the bytes are leaked, and the pipe is dropped after the ring's last use here.
            unsafe { push(&mut waiting.ring, Read::new(&waiting.pipes[i as usize].0, room).user_data(i)) };
        }
        nothing(&mut waiting.ring);
        waiting
    }

    /// Runs a cancellation that makes `ended` operations end; its result, and which ended, in order.
    fn cancel<'a>(&mut self, cancel: impl Into<rawring::Sqe<'a>>, ended: usize) -> (Result<u32, Errno>, Vec<u64>) {
        // SAFETY: a cancellation names at most a descriptor, which lives longer than this call.
        unsafe { push(&mut self.ring, cancel.into().user_data(100)) };
        let cqes = reap(&mut self.ring, ended + 1);
        nothing(&mut self.ring);
        let (mine, others): (Vec<Cqe>, Vec<Cqe>) = cqes.iter().partition(|cqe| cqe.user_data().0 == 100);
        assert!(others.iter().all(|cqe| cqe.result() == Err(Errno::CANCELED)), "{others:?}");
        let mut ended: Vec<_> = others.iter().map(|cqe| cqe.user_data().0).collect();
        ended.sort_unstable();
        (mine[0].result(), ended)
    }
}

#[test]
fn item_30_cancelling_by_user_data() {
    let mut waiting = Waiting::new(3);
    assert_eq!(waiting.cancel(Cancel::new(1), 1), (Ok(0), vec![1]));
    assert_eq!(waiting.cancel(Cancel::new(1), 0), (Err(Errno::NOENT), vec![]));
    needs!(since(Version::new(5, 19)));
    assert_eq!(waiting.cancel(Cancel::new(1).all(), 0), (Ok(0), vec![]), "a count does not fail");
    let (reader, _writer) = pipe();
    for _ in 0..2 {
        let room = Box::leak(Box::new([0; 8]));
        // SAFETY: the bytes are leaked, and the pipe is open until both completions, which are reaped below.
        unsafe { push(&mut waiting.ring, Read::new(&reader, room).user_data(2)) };
    }
    nothing(&mut waiting.ring);
    assert_eq!(waiting.cancel(Cancel::new(2).all(), 3), (Ok(3), vec![2, 2, 2]), "all that have it");
    assert_eq!(waiting.cancel(Cancel::new(0), 1), (Ok(0), vec![0]));
}

#[test]
fn item_30_entries_that_were_not_submitted_are_not_found() {
    let mut ring = ring();
    let (reader, mut writer) = pipe();
    let mut room = [0; 8];
    ring.push(Cancel::new(1).user_data(2)).expect("room");
    // SAFETY: the bytes and the pipe live until the completion, which is reaped below.
    unsafe { push(&mut ring, Read::new(&reader, &mut room).user_data(1)) };
    assert_eq!(next(&mut ring).result(), Err(Errno::NOENT), "the cancellation came first");
    writer.write_all(b"x").expect("written");
    assert_eq!(next(&mut ring).result(), Ok(1));
}

#[test]
fn item_30_cancelling_by_file_compares_files_and_not_numbers() {
    needs!(has(CancelFd::INFO));
    let mut waiting = Waiting::new(3);
    let duplicate = waiting.pipes[1].0.try_clone().expect("a duplicate");
    assert_eq!(waiting.cancel(CancelFd::new(&duplicate), 1), (Ok(0), vec![1]), "another number of the same file");
    let other = waiting.pipes[1].1.try_clone().expect("a duplicate");
    assert_eq!(waiting.cancel(CancelFd::new(&other), 0), (Err(Errno::NOENT), vec![]), "the other end");
    register_slots(&waiting.ring, 2);
    let file = waiting.pipes[2].0.try_clone().expect("a duplicate");
    let slots = [FileSlot::from(file.as_fd())];
    assert_eq!(result(&mut waiting.ring, FilesUpdate::new(&slots, Fixed(1))), Ok(1));
    assert_eq!(waiting.cancel(CancelFd::new(Fixed(0)), 0), (Err(Errno::BADF), vec![]), "an empty slot");
    assert_eq!(waiting.cancel(CancelFd::new(Fixed(1)), 1), (Ok(0), vec![2]), "the same file, registered");
}

#[test]
fn item_30_keys_can_be_combined() {
    if !newer("item_30_keys_can_be_combined", Version::new(6, 6)) {
        return;
    }
    let read = Opcode(sys::IORING_OP_READ);
    let recv = Opcode(sys::IORING_OP_RECV);
    let mut waiting = Waiting::new(5);
    assert_eq!(waiting.cancel(CancelOp::new(recv).all(), 0), (Ok(0), vec![]));
    assert_eq!(waiting.cancel(CancelOp::new(read).target(3), 1), (Ok(0), vec![3]));
    assert_eq!(waiting.cancel(CancelOp::new(recv).target(4), 0), (Err(Errno::NOENT), vec![]));
    let file = waiting.pipes[2].0.try_clone().expect("a duplicate");
    assert_eq!(waiting.cancel(CancelFd::new(&file).op(recv), 0), (Err(Errno::NOENT), vec![]));
    assert_eq!(waiting.cancel(CancelFd::new(&file).target(4), 0), (Err(Errno::NOENT), vec![]));
    needs!(since(Version::new(6, 18)));
    assert_eq!(waiting.cancel(CancelFd::new(&file).op(read).target(2).all(), 1), (Ok(1), vec![2]));
    assert_eq!(waiting.cancel(CancelOp::new(read).all(), 3), (Ok(3), vec![0, 1, 4]));
    let (done, _) = waiting.cancel(CancelOp::new(Opcode(255)), 0);
    assert!(matches!(done, Err(Errno::NOENT | Errno::INVAL)), "not found, or refused (7.3 as seen): {done:?}");
}

#[test]
fn item_30_cancelling_everything() {
    needs!(has(CancelAny::INFO));
    let mut waiting = Waiting::new(4);
    assert_eq!(waiting.cancel(CancelAny::new(), 4), (Ok(4), vec![0, 1, 2, 3]));
    assert_eq!(waiting.cancel(CancelAny::new().cancel_flags(CancelFlags::ALL), 0), (Ok(0), vec![]));
    let both = CancelAny::new().cancel_flags(CancelFlags::FD);
    assert_eq!(waiting.cancel(both, 0), (Err(Errno::INVAL), vec![]), "any of what?");
}

/// A message to `target`; it is sent to rings of this file only, where `user_data` is compared and nothing else.
fn message<'a>(target: &'a Ring, data: u64, value: i32) -> MsgRing<'a> {
    // SAFETY: `data` has no reserved value in any call, and nobody here takes `user_data` for more than a number.
    unsafe { MsgRing::new(target, data, value) }
}

#[test]
fn item_29_a_message_is_a_completion_on_the_other_ring() {
    needs!(has(MsgRing::INFO));
    let (mut source, mut target) = (ring(), ring());
    assert_eq!(result(&mut source, message(&target, 0xfeed_0000_0001, -7)), Ok(0));
    let cqe = next(&mut target);
    assert_eq!((cqe.user_data().0, cqe.res(), cqe.raw_flags()), (0xfeed_0000_0001, -7, 0));
    if newer("item_29_a_message_is_a_completion_on_the_other_ring", Version::new(6, 3)) {
        let flags = CqeFlags::MORE | CqeFlags::SOCK_NONEMPTY;
        assert_eq!(result(&mut source, message(&target, 2, 3).cqe_flags(flags)), Ok(0));
        let cqe = next(&mut target);
        assert_eq!((cqe.user_data().0, cqe.res(), cqe.flags()), (2, 3, flags));
    }
    let only_for_files = message(&target, 1, 0).msg_flags(MsgRingFlags::CQE_SKIP);
    assert_eq!(result(&mut source, only_for_files), Err(Errno::INVAL));
    nothing(&mut target);
}

#[test]
fn item_29_messages_to_oneself_to_no_ring_and_to_a_disabled_one() {
    needs!(has(MsgRing::INFO));
    let mut source = ring();
    let itself = source.fd().expect("a descriptor").try_clone_to_owned().expect("a duplicate");
    // SAFETY: as in `message`.
    unsafe { push(&mut source, MsgRing::new(&itself, 5, 6).user_data(1)) };
    let cqes = reap(&mut source, 2);
    assert_eq!((of(&cqes, 1).result(), of(&cqes, 5).result()), (Ok(0), Ok(6)));
    let null = File::open("/dev/null").expect("open");
    // SAFETY: no completion is posted.
    assert_eq!(result(&mut source, unsafe { MsgRing::new(&null, 5, 6) }), Err(Errno::BADFD));
    let disabled = Ring::setup(4).disabled().build().expect("a ring");
    assert_eq!(result(&mut source, message(&disabled, 5, 6)), Err(Errno::BADFD));
}

#[test]
fn item_29_a_ring_that_defers_its_work_sees_a_message_when_it_enters() {
    let test = "item_29_a_ring_that_defers_its_work_sees_a_message_when_it_enters";
    if !kernel_has(test, SetupFlags::DEFER_TASKRUN) {
        return;
    }
    let (mut source, mut target) = (ring(), Ring::setup(4).single_issuer().defer_taskrun().build().expect("a ring"));
    assert_eq!(result(&mut source, message(&target, 5, 6)), Ok(0));
    if newer(test, Version::new(6, 12)) {
        assert_eq!(target.completions().count(), 0, "not yet");
    }
    target.get_events().expect("entered");
    let found: Vec<_> = target.completions().map(|cqe| (cqe.user_data().0, cqe.res())).collect();
    assert_eq!(found, [(5, 6)]);
}

#[test]
fn item_14_a_file_is_sent_from_slot_to_slot() {
    needs!(has(MsgRingFd::INFO));
    let dir = Dir::new("send-file");
    let (mut source, mut target) = (ring(), ring());
    let file = dir.file("data", b"sent");
    fn send<'a>(target: &'a Ring, source: u32, slot: impl Into<DirectSlot>) -> MsgRingFd<'a> {
        // SAFETY: as in `message`.
        unsafe { MsgRingFd::new(target, Fixed(source), slot, 77) }
    }
    let read = |ring: &mut Ring, slot| {
        let mut room = [0; 4];
        result(ring, Read::new(Fixed(slot), &mut room).offset(0)).map(|_| room)
    };
    register_slots(&source, 3);
    let slots = [FileSlot::from(file.as_fd())];
    assert_eq!(result(&mut source, FilesUpdate::new(&slots, Fixed(2))), Ok(1));
    assert_eq!(result(&mut source, send(&target, 2, Fixed(0))), Err(Errno::NXIO), "the target has no table");
    register_slots(&target, 3);
    assert_eq!(result(&mut source, send(&target, 2, Fixed(1))), Ok(0));
    let told = next(&mut target);
    assert_eq!((told.user_data().0, told.result()), (77, Ok(0)));
    assert_eq!(read(&mut target, 1), Ok(*b"sent"));
    assert_eq!(result(&mut source, send(&target, 1, Fixed(1))), Err(Errno::BADF), "an empty slot");
    assert_eq!(result(&mut source, send(&target, 2, Fixed(3))), Err(Errno::INVAL), "beyond the table");
    let quiet = send(&target, 2, DirectSlot::ALLOC).msg_flags(MsgRingFlags::CQE_SKIP);
    let slot = result(&mut source, quiet).expect("a free slot");
    nothing(&mut target);
    assert_eq!(read(&mut target, slot), Ok(*b"sent"));
    let loud = result(&mut source, send(&target, 2, DirectSlot::ALLOC)).expect("a free slot");
    assert_eq!(next(&mut target).result(), Ok(loud));
    assert_eq!(result(&mut source, send(&target, 2, DirectSlot::ALLOC)), Err(Errno::NFILE));
    let itself = source.fd().expect("a descriptor").try_clone_to_owned().expect("a duplicate");
    // SAFETY: no completion is posted.
    let to_itself = unsafe { MsgRingFd::new(&itself, Fixed(2), Fixed(0), 77) };
    assert_eq!(result(&mut source, to_itself), Err(Errno::INVAL));
}

#[test]
fn item_14_files_are_updated_from_an_index_on() {
    let dir = Dir::new("files-update");
    let mut ring = ring();
    let (a, b) = (dir.file("a", b"a"), dir.file("b", b"b"));
    let [fa, fb] = [&a, &b].map(|file| FileSlot::from(file.as_fd()));
    let content = |ring: &mut Ring| {
        std::array::from_fn::<_, 4, _>(|slot| {
            let mut room = [0; 1];
            result(ring, Read::new(Fixed(slot as u32), &mut room).offset(0)).ok().map(|_| room[0] as char)
        })
    };
    assert_eq!(result(&mut ring, FilesUpdate::new(&[fa], Fixed(0))), Err(Errno::NXIO));
    register_slots(&ring, 4);
    assert_eq!(result(&mut ring, FilesUpdate::new(&[fa, fb], Fixed(1))), Ok(2));
    assert_eq!(content(&mut ring), [None, Some('a'), Some('b'), None]);
    let mixed = [fb, FileSlot::SKIP, FileSlot::CLEAR, fa];
    assert_eq!(result(&mut ring, FilesUpdate::new(&mixed, Fixed(0))), Ok(4));
    assert_eq!(content(&mut ring), [Some('b'), Some('a'), None, Some('a')]);
    for (slots, first) in [(&[fa, fb][..], 3), (&[fa], 4), (&[fa], u32::MAX), (&[], 0)] {
        let done = result(&mut ring, FilesUpdate::new(slots, Fixed(first)));
        assert_eq!(done, Err(Errno::INVAL), "{} from {first:#x}", slots.len());
    }
    // SAFETY: the number is one that names nothing.
    let closed = FileSlot::from(unsafe { BorrowedFd::borrow_raw(i32::MAX) });
    assert_eq!(result(&mut ring, FilesUpdate::new(&[closed], Fixed(0))), Err(Errno::BADF));
    assert_eq!(result(&mut ring, FilesUpdate::new(&[fa, closed, fa], Fixed(0))), Ok(1), "half-way");
    assert_eq!(content(&mut ring), [Some('a'), None, None, Some('a')]);
}

#[test]
fn item_14_files_are_placed_where_there_is_room() {
    needs!(has(FilesUpdateAlloc::INFO));
    let dir = Dir::new("files-alloc");
    let mut ring = ring();
    let (a, b) = (dir.file("a", b"a"), dir.file("b", b"b"));
    let mut indices = [-1; 3];
    let place = FilesToPlace::new(&mut indices, [a.as_fd()]);
    assert_eq!(result(&mut ring, FilesUpdateAlloc::new(place)), Err(Errno::NXIO));
    register_slots(&ring, 4);
    assert_eq!(result(&mut ring, FilesUpdate::new(&[FileSlot::from(a.as_fd())], Fixed(0))), Ok(1));
    let place = FilesToPlace::new(&mut indices, [b.as_fd(), a.as_fd()]);
    assert_eq!(result(&mut ring, FilesUpdateAlloc::new(place)), Ok(2));
    for (index, expected) in [(indices[0], b'b'), (indices[1], b'a')] {
        assert!((1..4).contains(&index), "a free slot: {indices:?}");
        let mut room = [0; 1];
        assert_eq!(result(&mut ring, Read::new(Fixed(index as u32), &mut room).offset(0)), Ok(1));
        assert_eq!(room[0], expected);
    }
    let place = FilesToPlace::new(&mut indices, [b.as_fd(), a.as_fd()]);
    assert_eq!(result(&mut ring, FilesUpdateAlloc::new(place)), Ok(1), "one slot was left");
    let place = FilesToPlace::new(&mut indices, [b.as_fd()]);
    assert_eq!(result(&mut ring, FilesUpdateAlloc::new(place)), Err(Errno::NFILE));
}

#[test]
fn a_registered_file_gets_a_descriptor() {
    let test = "a_registered_file_gets_a_descriptor";
    if !kernel_has_op(test, FixedFdInstall::INFO) {
        return;
    }
    let dir = Dir::new("install");
    let mut ring = ring();
    register_slots(&ring, 2);
    let file = dir.file("data", b"abc");
    assert_eq!(result(&mut ring, FilesUpdate::new(&[FileSlot::from(file.as_fd())], Fixed(1))), Ok(1));
    drop(file);
    let mut install = |flags| {
        let fd = result(&mut ring, FixedFdInstall::new(Fixed(1)).install_flags(flags)).expect("a descriptor");
        // SAFETY: the kernel made this descriptor for us, and nobody else has seen it.
        File::from(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    };
    let (closed_on_exec, kept) = (install(FixedFdInstallFlags::empty()), install(FixedFdInstallFlags::NO_CLOEXEC));
    assert_eq!((fcntl_getfd(&closed_on_exec), fcntl_getfd(&kept)), (Ok(FdFlags::CLOEXEC), Ok(FdFlags::empty())));
    assert_eq!(std::io::read_to_string(kept).expect("read"), "abc");
    assert_eq!(result(&mut ring, FixedFdInstall::new(Fixed(0))), Err(Errno::BADF), "an empty slot");
    let unknown = FixedFdInstallFlags::from_bits_retain(1 << 9);
    assert_eq!(result(&mut ring, FixedFdInstall::new(Fixed(1)).install_flags(unknown)), Err(Errno::INVAL));
    // SAFETY: the operation takes no argument.
    let personality = unsafe { ring.register_raw(sys::IORING_REGISTER_PERSONALITY, std::ptr::null_mut(), 0) };
    let personality = personality.expect("credentials") as u16;
    let other = FixedFdInstall::new(Fixed(1)).personality(personality);
    assert_eq!(result(&mut ring, other), Err(Errno::PERM));
}
