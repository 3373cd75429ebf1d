//! Registered files: what the kernel does with the table, and how the account of it stays right.
//!
//! Whether the kernel still has a file is seen at a pipe: its reader meets the end when the last writer is gone, and its
//! writer an error when the last reader is.

mod common;
#[path = "common/files.rs"]
mod files;
#[path = "common/io.rs"]
mod io;

use std::ffi::CStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use common::{has, in_own_process, needs, newer, safe_doors, since};
use files::{Dir, pipe};
use io::{next, nothing, of, reap, result, ring};
use rawring::op::*;
use rawring::operand::*;
use rawring::register::{FileTable, FilesError, Tag};
use rawring::{Errno, Event, InFlight, Reason, Ring, Setup, Version};
use rustix::fs::{CWD, Mode, OFlags, fcntl_setfl};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A pipe whose reader does not wait.
fn canary() -> (File, File) {
    let (reader, writer) = pipe();
    fcntl_setfl(&reader, OFlags::NONBLOCK).expect("not blocking");
    (reader, writer)
}

/// Whether somebody still has the writer.
fn alive(mut reader: &File) -> bool {
    match reader.read(&mut [0; 16]) {
        Ok(read) => read > 0,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            true
        }
    }
}

/// Whether the writer is gone, now or soon: the kernel drops references later, those of a ring in a queue of work.
fn gone(reader: &File) -> bool {
    let wait = || std::thread::sleep(Duration::from_millis(1));
    (0..20_000).any(|_| {
        wait();
        !alive(reader)
    })
}

fn open_at<'a>(path: &'a CStr, slot: impl Into<DirectSlot>) -> OpenAtDirect<'a> {
    OpenAtDirect::new(CWD, path, OFlags::RDONLY, Mode::empty(), slot)
}

fn tag(number: u64) -> Tag {
    Tag::new(number).expect("48 bits")
}

#[test]
fn item_36_the_table_keeps_a_file_that_was_closed() {
    let mut ring = ring();
    let (mut reader, writer) = canary();
    ring.register_files(&[writer.as_fd().into()]).expect("registered");
    drop(writer);
    assert!(alive(&reader));
    assert_eq!(result(&mut ring, Write::new(Fixed(0), b"table")), Ok(5));
    let mut text = [0; 5];
    reader.read_exact(&mut text).expect("written");
    assert_eq!(&text, b"table");
    ring.unregister_files().expect("there is a table");
    assert!(gone(&reader));
    assert_eq!(result(&mut ring, Write::new(Fixed(0), b"?")), Err(Errno::BADF));
    assert_eq!(ring.unregister_files(), Err(Errno::NXIO));
}

#[test]
fn item_36_the_table_goes_with_its_ring() {
    let ring = ring();
    let (reader, writer) = canary();
    ring.register_files(&[writer.as_fd().into()]).expect("registered");
    drop(writer);
    assert!(alive(&reader));
    drop(ring);
    assert!(gone(&reader));
}

#[test]
fn item_36_a_replaced_file_lives_until_its_operations_end_and_its_tag_tells() {
    let mut ring = ring();
    let (reader, mut writer) = pipe();
    ring.register_files_tagged(&[reader.as_fd().into(), FileSlot::CLEAR], &[Some(tag(7)), None]).expect("registered");
    drop(reader);
    ring.push(Read::new(Fixed(0), Box::leak(Box::new([0; 1]))).user_data(1)).expect("room");
    nothing(&mut ring);
    assert_eq!(ring.update_files_tagged(0, &[FileSlot::CLEAR], &[None]), Ok(1));
    // The read still has the file, so there is somebody to write to, and no tag yet.
    nothing(&mut ring);
    assert_eq!(result(&mut ring, Nop::new().user_data(2)), Ok(0));
    let mut other = [0; 1];
    assert_eq!(result(&mut ring, Read::new(Fixed(0), &mut other)), Err(Errno::BADF), "the slot is empty");
    writer.write_all(b"!").expect("a reader");
    let cqes = reap(&mut ring, 2);
    assert_eq!(of(&cqes, 1).result(), Ok(1));
    let tags: Vec<_> = cqes.iter().filter_map(|cqe| cqe.tag()).collect();
    assert_eq!(tags, [tag(7)]);
    // The file goes with the tag, or a moment later.
    let broken = (0..20_000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        writer.write_all(b"!").is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
    });
    assert!(broken, "there is no reader");
}

#[test]
fn item_36_every_tag_comes_back_once() {
    const TEST: &str = "item_36_every_tag_comes_back_once";
    let mut ring = ring();
    let (reader, writer) = pipe();
    let files = [reader.as_fd().into(), writer.as_fd().into(), FileSlot::CLEAR];
    ring.register_files_tagged(&files, &[Some(tag(0)), None, None]).expect("registered");
    let more = [FileSlot::SKIP, reader.as_fd().into(), writer.as_fd().into()];
    assert_eq!(ring.update_files_tagged(0, &more, &[None, Some(tag(2)), Some(tag((1 << 48) - 1))]), Ok(3));
    nothing(&mut ring);
    assert_eq!(ring.update_files(1, &[FileSlot::CLEAR]), Ok(1));
    assert_eq!(next(&mut ring).tag(), Some(tag(2)));
    ring.unregister_files().expect("there is a table");
    // Before, a table that goes as a whole says nothing.
    if !newer(TEST, Version::new(6, 13)) {
        return nothing(&mut ring);
    }
    let mut tags: Vec<_> = reap(&mut ring, 2).iter().map(|cqe| cqe.tag().expect("a tag").number()).collect();
    tags.sort_unstable();
    assert_eq!(tags, [0, (1 << 48) - 1]);
    nothing(&mut ring);
    // What was never registered has nothing to tell.
    let ring_itself = [reader.as_fd().into(), FileSlot::from(ring.as_fd())];
    let refused = ring.register_files_tagged(&ring_itself, &[Some(tag(5)), None]);
    assert_eq!(refused, Err(FilesError::Kernel(Errno::BADF)));
    nothing(&mut ring);
}

#[test]
fn item_36_no_entry_can_look_like_a_tag() {
    let mut ring = ring();
    let refused = ring.push(Nop::new().user_data(tag(7).user_data())).expect_err("taken");
    assert_eq!(refused.reason, Reason::ReservedUserData);
    assert!(refused.to_string().contains("0x5aff"), "{refused}");
}

#[test]
fn item_36_in_flight_passes_tags_on() {
    needs!(safe_doors());
    let (reader, _writer) = pipe();
    let mut ops: InFlight<()> = InFlight::new(ring()).expect("fit");
    ops.ring().register_files_tagged(&[reader.as_fd().into()], &[Some(tag(9))]).expect("registered");
    assert_eq!(ops.ring().update_files(0, &[FileSlot::CLEAR]), Ok(1));
    match ops.wait_event().expect("an event") {
        Event::Foreign(cqe) => assert_eq!(cqe.tag(), Some(tag(9))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn item_36_empty_slots_are_no_files() {
    let mut ring = ring();
    ring.register_sparse_files(3).expect("registered");
    for slot in [0, 2, 3, u32::MAX] {
        assert_eq!(result(&mut ring, Read::new(Fixed(slot), &mut [0; 1])), Err(Errno::BADF), "{slot}");
    }
    assert_eq!(ring.register_sparse_files(1), Err(FilesError::Kernel(Errno::BUSY)));
    ring.unregister_files().expect("there is a table");
    assert_eq!(ring.register_sparse_files(0), Err(FilesError::Kernel(Errno::INVAL)));
    assert_eq!(ring.register_files(&[]), Err(FilesError::Kernel(Errno::INVAL)));
    assert_eq!(ring.register_files(&[FileSlot::SKIP]), Err(FilesError::Kernel(Errno::BADF)));
}

#[test]
fn updates_skip_clear_and_stop_where_they_fail() {
    let mut ring = ring();
    let (reader, writer) = canary();
    assert_eq!(ring.update_files(0, &[FileSlot::CLEAR]), Err(Errno::NXIO));
    let writers = [FileSlot::from(writer.as_fd()); 3];
    ring.register_files(&writers).expect("registered");
    drop(writer);
    assert_eq!(ring.update_files(0, &[FileSlot::SKIP, FileSlot::CLEAR]), Ok(2));
    let writes = |ring: &mut Ring| [0, 1, 2].map(|slot| result(ring, Write::new(Fixed(slot), b"!")));
    assert_eq!(writes(&mut ring), [Ok(1), Err(Errno::BADF), Ok(1)]);
    // A ring cannot be registered: what comes before it is done, its slot is empty, what comes after it is as it was.
    let ring_itself = ring.as_fd().try_clone_to_owned().expect("a descriptor");
    assert_eq!(ring.update_files(0, &[FileSlot::SKIP, ring_itself.as_fd().into(), FileSlot::CLEAR]), Ok(1));
    assert_eq!(ring.update_files(0, &[ring_itself.as_fd().into(), FileSlot::CLEAR]), Err(Errno::BADF));
    assert_eq!(writes(&mut ring), [Err(Errno::BADF), Err(Errno::BADF), Ok(1)]);
    for (first, error) in [(3, Errno::INVAL), (u32::MAX - 1, Errno::INVAL), (u32::MAX, Errno::OVERFLOW)] {
        let result = ring.update_files(first, &[FileSlot::CLEAR]);
        assert!(matches!(result, Err(Errno::INVAL | Errno::OVERFLOW)), "{first}: {result:?}, not {error}");
    }
    assert_eq!(ring.update_files(0, &[]), Err(Errno::INVAL));
    assert!(alive(&reader));
    assert_eq!(ring.update_files(2, &[FileSlot::CLEAR]), Ok(1));
    assert!(gone(&reader));
}

#[test]
fn item_36_a_table_above_the_limit_says_so_and_raises_nothing() {
    in_own_process("item_36_a_table_above_the_limit_says_so_and_raises_nothing", || {
        let ring = ring();
        let old = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: old.maximum }).expect("lowered");
        let error = ring.register_sparse_files(65).expect_err("too many");
        assert_eq!(error, FilesError::Limit { slots: 65, limit: 64 });
        assert!(error.to_string().contains("RLIMIT_NOFILE is 64"), "{error}");
        assert_eq!(ring.register_files(&[FileSlot::CLEAR; 65]), Err(error));
        assert_eq!(ring.register_files_tagged(&[FileSlot::CLEAR; 65], &[None; 65]), Err(error));
        assert_eq!(FileTable::sparse(&ring, 65).err(), Some(error));
        assert_eq!(getrlimit(Resource::Nofile).current, Some(64));
        ring.register_sparse_files(64).expect("registered");
    });
}

#[test]
fn the_kernel_picks_from_the_range() {
    needs!(since(Version::new(6, 0)));
    let mut ring = ring();
    assert_eq!(ring.file_alloc_range(0..1), Err(Errno::INVAL), "no table");
    ring.register_sparse_files(4).expect("registered");
    ring.file_alloc_range(1..3).expect("inside");
    let open = |ring: &mut Ring| result(ring, open_at(c"/dev/null", DirectSlot::ALLOC));
    let mut slots = [open(&mut ring), open(&mut ring)];
    slots.sort_unstable_by_key(|slot| slot.unwrap_or(u32::MAX));
    assert_eq!((slots, open(&mut ring)), ([Ok(1), Ok(2)], Err(Errno::NFILE)));
    assert_eq!(ring.file_alloc_range(0..4), Ok(()));
    assert!(matches!(open(&mut ring), Ok(0 | 3)));
    assert_eq!(ring.file_alloc_range(2..5), Err(Errno::INVAL));
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is tested")]
    let backwards = ring.file_alloc_range(3..1);
    assert_eq!(backwards, Ok(()), "an empty range");
    assert_eq!(open(&mut ring), Err(Errno::NFILE));
    assert_eq!(ring.file_alloc_range(1..u32::MAX), Err(Errno::INVAL));
}

#[test]
fn a_table_takes_files_from_everywhere() {
    needs!(has(OpenAtDirect::INFO));
    let dir = Dir::new("table");
    let mut ring = ring();
    let mut table = FileTable::sparse(&ring, 4).expect("registered");
    // Inserted, opened into, accepted into.
    let one = table.insert(&ring, dir.file("one", b"1").as_fd()).expect("room");
    dir.file("two", b"22");
    let two = table.reserve().expect("room");
    let opened = result(&mut ring, open_at(&dir.name("two"), two));
    assert_eq!(table.settle(two, opened), Ok(two));
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let mut peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
    let three = table.reserve().expect("room");
    let accepted = result(&mut ring, AcceptDirect::new(&listener, three));
    assert_eq!(table.settle(three, accepted), Ok(three));
    // One that is not there.
    let four = table.reserve().expect("room");
    assert_eq!((table.reserve(), table.used()), (None, 3));
    assert_eq!(table.insert(&ring, listener.as_fd()), Err(FilesError::Full));
    let missing = result(&mut ring, open_at(&dir.name("none"), four));
    assert_eq!(table.settle(four, missing), Err(Errno::NOENT));
    assert_eq!((table.contains(four), table.contains(three)), (false, true));

    let mut text = [0; 4];
    for (slot, len) in [(one, 1), (two, 2)] {
        assert_eq!(result(&mut ring, Read::new(slot, &mut text).offset(0)), Ok(len));
    }
    assert_eq!(&text[..2], b"22");
    assert_eq!(result(&mut ring, Send::new(three, "hello")), Ok(5));
    peer.read_exact(&mut text).expect("sent");

    // Emptied by a call, by an operation, and replaced.
    table.remove(&ring, one).expect("emptied");
    assert_eq!(result(&mut ring, CloseDirect::new(two)), Ok(0));
    table.closed(two);
    assert_eq!(table.used(), 1);
    table.replace(&ring, three, dir.file("three", b"333").as_fd()).expect("replaced");
    assert_eq!(result(&mut ring, Read::new(three, &mut text).offset(0)), Ok(3));
    assert_eq!(table.replace(&ring, three, ring.as_fd()), Err(Errno::BADF));
    assert_eq!((table.used(), result(&mut ring, Read::new(three, &mut text))), (0, Err(Errno::BADF)));
    table.unregister(&ring).expect("there is a table");
    assert_eq!(ring.unregister_files(), Err(Errno::NXIO));
}

#[test]
fn a_table_shares_its_slots_with_the_kernel() {
    needs!(since(Version::new(6, 0)));
    let mut ring = ring();
    let (reader, writer) = pipe();
    let mut table =
        FileTable::register(&ring, &[reader.as_fd().into(), FileSlot::CLEAR, FileSlot::CLEAR]).expect("room");
    table.leave_to_kernel(&ring, 1..2).expect("inside");
    let picked = result(&mut ring, open_at(c"/dev/null", DirectSlot::ALLOC)).expect("room");
    assert_eq!(table.picked(picked), Fixed(1));
    let own = table.insert(&ring, writer.as_fd()).expect("room");
    assert_eq!((own, table.used(), table.reserve()), (Fixed(2), 3, None));
    assert_eq!(result(&mut ring, Write::new(own, b"!")), Ok(1));
    assert_eq!(result(&mut ring, Read::new(Fixed(0), &mut [0; 1])), Ok(1));
}

#[test]
fn a_pipe_takes_two_slots_of_a_table() {
    needs!(has(PipeDirect::INFO));
    let mut ring = ring();
    let mut table = FileTable::sparse(&ring, 3).expect("registered");
    let [reader, writer] = table.reserve_pair().expect("room");
    let mut slots = [0; 2];
    let made = result(&mut ring, PipeDirect::new(&mut slots, reader));
    assert_eq!([reader, writer].map(|slot| table.settle(slot, made)), [Ok(reader), Ok(writer)]);
    assert_eq!(result(&mut ring, Write::new(writer, b"!")), Ok(1));
    assert_eq!(result(&mut ring, Read::new(reader, &mut [0; 1])), Ok(1));
}

#[test]
fn a_file_is_taken_out_of_the_table() {
    needs!(has(FixedFdInstall::INFO));
    let mut ring = ring();
    let (reader, writer) = canary();
    let mut table = FileTable::sparse(&ring, 2).expect("registered");
    let slot = table.insert_tagged(&ring, writer.as_fd(), tag(3)).expect("room");
    drop(writer);
    assert_eq!(table.take(&mut ring, Fixed(1)).err(), Some(Errno::BADF));
    // With the queue full, and something of others in flight.
    while ring.push(Nop::new().user_data(5)).is_ok() {}
    let taken = File::from(table.take(&mut ring, slot).expect("a descriptor"));
    assert!(!table.contains(slot) && alive(&reader));
    (&taken).write_all(b"out").expect("written");
    drop(taken);
    assert!(alive(&reader), "what was written");
    assert!(gone(&reader), "the table no longer has it");
    ring.get_events().expect("entered");
    let cqes: Vec<_> = ring.completions().collect();
    assert_eq!(cqes.iter().filter(|cqe| cqe.tag() == Some(tag(3))).count(), 1);
    assert_eq!(cqes.iter().filter(|cqe| cqe.user_data().0 == 5).count(), ring.sq_entries() as usize);
}

#[test]
fn a_disabled_ring_takes_files_and_another_thread_does_not() {
    let (reader, _writer) = pipe();
    let mut ring = Setup::new(8).disabled().build().expect("a ring");
    ring.register_files(&[reader.as_fd().into()]).expect("registered");
    ring.enable().expect("disabled before");
    ring.unregister_files().expect("there is a table");

    needs!(common::has_setup(rawring::flags::SetupFlags::SINGLE_ISSUER));
    let ring = Setup::new(8).single_issuer().build().expect("a ring");
    let elsewhere = std::thread::scope(|threads| {
        let calls = || (ring.register_files(&[reader.as_fd().into()]), ring.unregister_files());
        threads.spawn(calls).join().expect("no panic")
    });
    assert_eq!(elsewhere, (Err(FilesError::Kernel(Errno::EXIST)), Err(Errno::EXIST)));
}
