//! Rings in memory that the caller gives (`NO_MMAP`): values, addresses, huge pages; how much it takes, and what is
//! refused. Memory that the crate allocates for a ring is in `setup.rs`.

mod common;

use std::path::Path;
use std::ptr::NonNull;

use common::{exercise, has_registration, has_setup, in_own_process, needs, newer, since, skipped};
use rawring::flags::SetupFlags;
use rawring::op::{Nop, Timeout};
use rawring::operand::Timespec;
use rawring::probe::query;
use rawring::register::{Memory, Registration, Resize};
use rawring::sys::{MapError, io_uring_query_scq};
use rawring::{Cause, Errno, Setup, SetupError, Step, Version};
use rustix::mm::{MapFlags, ProtFlags};

/// The release since which memory need not be contiguous.
const IN_PIECES: Version = Version::new(6, 10);

fn memory(len: usize) -> Memory {
    Memory::new(len).expect("memory")
}

fn page() -> usize {
    rustix::param::page_size()
}

/// The memory between two others that are full of 42.
fn between(len: usize) -> [Memory; 3] {
    let mut all = memory(len + 2 * page());
    all.fill(42);
    let (before, rest) = all.split_at(page()).expect("a page");
    let (middle, after) = rest.split_at(len).expect("another");
    [before, middle, after]
}

#[test]
fn rings_of_every_shape_work_in_just_as_much_memory_as_they_say() {
    const TEST: &str = "rings_of_every_shape_work_in_just_as_much_memory_as_they_say";
    needs!(has_setup(SetupFlags::NO_MMAP));
    let mut sizes = vec![2, 3, 8];
    if newer(TEST, IN_PIECES) {
        sizes.extend([31, 64, 129, 1000, 4097]);
    }
    let kinds = [
        SetupFlags::empty(),
        SetupFlags::SQE128,
        SetupFlags::CQE32,
        SetupFlags::SQE128 | SetupFlags::CQE32,
        SetupFlags::CQE_MIXED,
        SetupFlags::SQE_MIXED,
        SetupFlags::SQ_REWIND,
        SetupFlags::SINGLE_ISSUER | SetupFlags::DEFER_TASKRUN,
        SetupFlags::REGISTERED_FD_ONLY | SetupFlags::NO_MMAP,
    ];
    let mut used = 0;
    for kind in kinds.into_iter().filter(|&kind| has_setup(kind).map_err(|reason| skipped(TEST, &reason)).is_ok()) {
        for &entries in &sizes {
            for array in [false, true] {
                if array && kind.contains(SetupFlags::SQ_REWIND) {
                    continue;
                }
                let setup = Setup::new(entries).raw_flags(kind);
                let setup = if array { setup.no_sqarray(false) } else { setup };
                for setup in [setup.clone(), setup.cq_entries(2 * entries.next_power_of_two())] {
                    let len = setup.memory_len().expect("a size");
                    let [before, middle, after] = between(len);
                    let mut ring = setup.build_in(middle).unwrap_or_else(|no| panic!("{entries}, {kind:?}: {no}"));
                    assert!(ring.setup_flags().contains(SetupFlags::NO_MMAP | kind));
                    exercise(&mut ring);
                    drop(ring);
                    assert!(before.iter().chain(&*after).all(|&byte| byte == 42), "{entries}, {kind:?}");
                    used += 1;
                }
            }
        }
    }
    assert!(used >= 12, "{used}");
}

#[test]
fn the_kernel_is_believed_about_its_header() {
    needs!(has_setup(SetupFlags::NO_MMAP));
    let page = page();
    let header = match query::<io_uring_query_scq>() {
        Ok(answer) => answer.hdr_size as usize,
        Err(Errno::INVAL | Errno::OPNOTSUPP) => {
            let reason = "the kernel cannot be asked for the size of its header (Linux 6.19)";
            skipped("the_kernel_is_believed_about_its_header", reason);
            // As much as any kernel has.
            2048
        }
        Err(errno) => panic!("{errno}"),
    };
    // Completions fill up their page but for a header, more or less.
    for spare in [0, 64, 128, 384, 1024, 2048, 3000] {
        let cq_entries = u32::try_from((2 * page - spare) / 16).expect("small").next_power_of_two() / 2;
        let setup = Setup::new(1).no_sqarray(true).cq_entries(cq_entries);
        let rings = (header + cq_entries as usize * 16).next_multiple_of(page);
        assert_eq!(setup.memory_len().expect("a size"), rings + page, "{cq_entries}");
    }
    // The array comes behind, and a second page for the entries begins with the 65th.
    let rings =
        |entries: usize| ((header + 2 * entries * 16).next_multiple_of(64) + entries * 4).next_multiple_of(page);
    for entries in [64, 128, 256, 512_usize] {
        let setup = Setup::new(entries as u32).no_sqarray(false);
        let len = setup.memory_len().expect("a size");
        let least = rings(entries) + (entries * 64).next_multiple_of(page);
        assert!((least..=least + page).contains(&len), "{entries}: {len}, {least}");
    }
}

#[test]
fn memory_that_will_not_do_comes_back_with_the_reason() {
    needs!(has_setup(SetupFlags::NO_MMAP));
    // With the array, which is counted where it may be needed.
    let setup = Setup::new(64).no_sqarray(false);
    let needed = setup.memory_len().expect("a size");
    let refused = |setup: &Setup<'_>, mut given: Memory| -> SetupError {
        given.fill(7);
        let (at, len) = (given.as_ptr().addr(), given.len());
        let no = setup.build_in(given).expect_err("refused");
        let memory = no.memory.expect("the kernel was not asked");
        assert_eq!((memory.as_ptr().addr(), memory.len()), (at, len));
        assert!(memory.iter().all(|&byte| byte == 7));
        no.error
    };
    let error = refused(&setup, memory(needed - 1));
    assert_eq!(*error.cause(), Cause::Map(MapError::TooSmall { needed, given: needed - 1 }));
    assert_eq!((error.step(), error.errno()), (Step::Memory, None));
    assert!(error.to_string().contains(&needed.to_string()), "{error}");
    let (_, odd) = memory(needed + page()).split_at(8).expect("a rest");
    let address = odd.as_ptr().addr();
    let error = refused(&setup, odd);
    assert_eq!(*error.cause(), Cause::Map(MapError::Unaligned { address, page: page() as u64 }));
    let error = refused(&setup.clone().inherit_on_fork(), memory(needed));
    assert_eq!((error.step(), error.cause()), (Step::Check, &Cause::PrivateMemory));
    let error = refused(&setup.clone().defer_taskrun(), memory(needed));
    assert!(matches!(error.cause(), Cause::Conflict(_)), "{error}");
    for entries in [0, u32::MAX] {
        assert_eq!(*refused(&Setup::new(entries), memory(1)).cause(), Cause::Entries(entries));
    }
    assert_eq!(*Setup::new(u32::MAX).memory_len().expect_err("no size").cause(), Cause::Entries(u32::MAX));
    let sizes = Cause::CqEntries { cq_entries: 0, entries: 8 };
    assert_eq!(*Setup::new(8).cq_entries(0).memory_len().expect_err("no size").cause(), sizes);
    // Once the kernel was asked, it may have made something of the memory.
    let unknown = SetupFlags::from_bits_retain(1 << 31);
    let no = setup.raw_flags(unknown).build_in(memory(needed)).expect_err("no such flag");
    assert!(no.memory.is_none());
    assert_eq!(no.error.cause(), &Cause::UnknownFlags(unknown));
}

#[test]
fn a_ring_that_is_gone_leaves_its_neighbours_alone() {
    needs!(has_setup(SetupFlags::NO_MMAP));
    let setup = Setup::new(8);
    let len = setup.memory_len().expect("a size");
    let mut pieces = memory(16 * len).chunks(len);
    for _ in 0..8 {
        let mut ring = setup.build_in(pieces.next().expect("a piece")).expect("a ring");
        let mut next = pieces.next().expect("another");
        // What is in flight is cancelled some time after this, and completes into memory that nobody has any more.
        let never = Box::leak(Box::new(Timespec::from(std::time::Duration::from_secs(100))));
        ring.push(Timeout::new(never)).expect("room");
        ring.push(Nop::new()).expect("room");
        ring.submit_and_wait(1).expect("submitted");
        drop(ring);
        next.fill(1);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(next.iter().all(|&byte| byte == 1));
    }
}

#[test]
fn a_ring_in_given_memory_is_resized_out_of_it() {
    needs!(has_registration(Registration::RESIZE_RINGS));
    // See `Ring::resize`.
    needs!(since(Version::new(6, 17)));
    let setup = Setup::new(4).single_issuer().defer_taskrun();
    let mut ring = setup.build_in(memory(setup.memory_len().expect("a size"))).expect("a ring");
    ring.push(Nop::new().user_data(1)).expect("room");
    ring.resize(Resize::new(64)).expect("resized");
    ring.submit_and_wait(1).expect("submitted");
    assert_eq!(ring.completions().map(|cqe| cqe.user_data().0).collect::<Vec<_>>(), [1]);
    exercise(&mut ring);
}

/// Huge pages set aside for as long as this is there, if it may.
struct HugePages {
    before: String,
}

const SETTING: &str = "/proc/sys/vm/nr_hugepages";

impl HugePages {
    fn reserve(count: usize) -> Result<Self, String> {
        let before = std::fs::read_to_string(SETTING).map_err(|error| format!("no huge pages: {SETTING}: {error}"))?;
        let now: usize = before.trim().parse().expect("a number");
        std::fs::write(SETTING, (now + count).to_string())
            .map_err(|error| format!("no huge page may be set aside: {SETTING}: {error}"))?;
        Ok(HugePages { before })
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        std::fs::write(SETTING, &self.before).expect("the setting as it was");
    }
}

#[test]
fn rings_work_in_huge_pages() {
    needs!(has_setup(SetupFlags::NO_MMAP));
    let pages = HugePages::reserve(4);
    needs!(pages.as_ref());
    let all = Memory::huge(1).map_err(|errno| format!("no huge page of 2 MiB is free: {errno}"));
    needs!(all.as_ref());
    // Of the caller's, of the crate's; larger than any that is not huge, before Linux 6.10.
    let setup = Setup::new(2048);
    let mut given = setup.build_in(all.expect("as above")).expect("a ring");
    exercise(&mut given);
    let mut own = setup.clone().no_mmap_huge().build().expect("a ring");
    exercise(&mut own);
    drop((given, own));
    // A piece of one cannot be kept from children.
    let (piece, _rest) = Memory::huge(1).expect("a huge page").split_at(1 << 20).expect("two halves");
    let no = setup.build_in(piece).expect_err("a piece");
    assert_eq!(no.error.step(), Step::Map, "{no}");
    assert!(no.memory.is_none());
}

#[test]
fn a_ring_lies_where_the_caller_maps_it() {
    needs!(has_setup(SetupFlags::NO_MMAP));
    in_own_process("a_ring_lies_where_the_caller_maps_it", || {
        let setup = Setup::new(8).inherit_on_fork();
        let len = setup.memory_len().expect("a size");
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let at = unsafe {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, protection, MapFlags::SHARED)
        };
        let at = NonNull::new(at.expect("a mapping")).expect("an address");
        let place = NonNull::slice_from_raw_parts(at.cast(), len);
        // SAFETY: the mapping is unmapped after the ring is dropped (1), touched by nobody else (2), and shared (3).
        let mut ring = unsafe { setup.build_at(place) }.expect("a ring");
        let maps = || std::fs::read_to_string(Path::new("/proc/self/maps")).expect("maps");
        let mapped = || maps().lines().any(|line| line.starts_with(&format!("{:x}-", at.addr())));
        exercise(&mut ring);
        assert_eq!(ring.params().cq_off.user_addr, at.addr().get() as u64);
        drop(ring);
        assert!(mapped(), "it is the caller's to unmap");
        // SAFETY: the whole mapping, in which there was a ring that is gone.
        unsafe { rustix::mm::munmap(at.as_ptr(), len) }.expect("unmapped");
        assert!(!mapped());
    });
}
