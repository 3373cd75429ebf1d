//! Rings of every shape that this kernel offers, mapped for real and used: entries go in through the
//! pointers, completions come out of them, more than once around.
//!
//! What the kernel does not offer is printed as skipped. Heads and tails are moved in the simplest way
//! that is right for a ring without a poller thread; the protocol itself is tested elsewhere.

use std::collections::HashSet;
use std::io::Write as _;
use std::ptr::{NonNull, null};
use std::sync::atomic::{AtomicU32, Ordering};

use rawring_sys::*;
// Not std's: without the feature `std`, rustix has types of its own.
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Prints where tests that pass are heard as well: `eprintln!` is kept from view unless a test fails.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Makes a ring, or says why there is none.
fn setup(entries: u32, p: &mut io_uring_params) -> Option<OwnedFd> {
    let flags = p.flags;
    // SAFETY: `p` is valid for reads and writes, and so is memory that it names (RingMemory).
    match unsafe { io_uring_setup(entries, p) } {
        // SAFETY: a new descriptor that nobody else has.
        Ok(fd) => Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
        Err(errno @ (Errno::PERM | Errno::NOSYS | Errno::INVAL)) => {
            say(&format!("skipped: a ring of {entries} entries with flags {flags:#x}: {errno}"));
            None
        }
        Err(errno) => panic!("a ring with flags {flags:#x}: {errno}"),
    }
}

fn word(at: NonNull<u32>) -> &'static AtomicU32 {
    // SAFETY: the tests below keep the map alive while they use this, and touch the words atomically only.
    unsafe { AtomicU32::from_ptr(at.as_ptr()) }
}

/// Sends entries around the ring several times; each completion must be the one of its entry.
fn use_ring(fd: &OwnedFd, p: &io_uring_params, map: &RingMap) {
    let r = map.pointers();
    assert_eq!((r.sq_entries, r.cq_entries), (p.sq_entries, p.cq_entries));
    assert_eq!((r.sq_ring_mask, r.cq_ring_mask), (p.sq_entries - 1, p.cq_entries - 1));
    assert_eq!(r.sq_array.is_some(), p.flags & IORING_SETUP_NO_SQARRAY == 0);
    assert!(r.cq_flags.is_some(), "every kernel above the floor has the word");

    if let Some(array) = r.sq_array {
        for i in 0..r.sq_entries {
            // SAFETY: the array has `sq_entries` elements.
            unsafe { array.add(i as usize).write_volatile(i) };
        }
    }
    for round in 0..5_u64 {
        let tail = word(r.sq_tail).load(Ordering::Relaxed);
        for i in 0..r.sq_entries {
            let user_data = round << 32 | u64::from(i) | 1 << 63;
            let sqe = io_uring_sqe { opcode: IORING_OP_NOP, user_data, ..Default::default() };
            let slot = (tail.wrapping_add(i) & r.sq_ring_mask) << r.sqe_shift;
            // SAFETY: the slot is inside of the array of entries, and the kernel does not read it yet.
            unsafe { r.sqes.add(slot as usize).write_volatile(sqe) };
        }
        word(r.sq_tail).store(tail.wrapping_add(r.sq_entries), Ordering::Release);
        // SAFETY: the entries name no memory.
        let entered =
            unsafe { io_uring_enter(fd.as_raw_fd(), r.sq_entries, r.sq_entries, IORING_ENTER_GETEVENTS, null(), 0) };
        assert_eq!(entered, Ok(r.sq_entries));
        assert_eq!(word(r.sq_head).load(Ordering::Acquire), tail.wrapping_add(r.sq_entries));

        let head = word(r.cq_head).load(Ordering::Relaxed);
        let ready = word(r.cq_tail).load(Ordering::Acquire).wrapping_sub(head);
        assert_eq!(ready, r.sq_entries);
        let mut seen = HashSet::new();
        for i in 0..ready {
            let slot = (head.wrapping_add(i) & r.cq_ring_mask) << r.cqe_shift;
            // SAFETY: the slot is inside of the array of completions, and the kernel is done with it.
            let cqe = unsafe { r.cqes.add(slot as usize).read_volatile() };
            assert_eq!((cqe.res, cqe.flags), (0, 0), "{cqe:?}");
            assert_eq!(cqe.user_data & !0xffff_ffff, round << 32 | 1 << 63);
            assert!(seen.insert(cqe.user_data), "{cqe:?} twice");
        }
        word(r.cq_head).store(head.wrapping_add(ready), Ordering::Release);
    }
    assert_eq!(word(r.sq_dropped).load(Ordering::Relaxed), 0);
    assert_eq!(word(r.cq_overflow).load(Ordering::Relaxed), 0);
    assert_eq!(word(r.sq_flags).load(Ordering::Relaxed), 0);
}

/// The shapes that differ in memory.
const SHAPES: [u32; 8] = [
    0,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_SQE128,
    IORING_SETUP_CQE32,
    IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
    IORING_SETUP_SQE128 | IORING_SETUP_CQE32 | IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_SQE_MIXED,
];

#[test]
fn rings_of_every_shape_are_mapped_and_work() {
    let mut mapped = 0;
    for flags in SHAPES {
        // Sizes below, at and above a page of entries, and one that must be rounded. Of mixed sizes the
        // kernel wants two slots at least.
        for entries in [2, 3, 8, 64, 256, 1024] {
            let mut p = io_uring_params { flags, ..Default::default() };
            let Some(fd) = setup(entries, &mut p) else { break };
            let map = RingMap::new(fd.as_fd(), &p, Fork::DontFork).unwrap();
            use_ring(&fd, &p, &map);
            mapped += 1;
        }
    }
    say(&format!("{mapped} rings were mapped and used"));
}

#[test]
fn memory_of_the_caller_is_enough_for_every_shape() {
    let mut mapped = 0;
    'shapes: for flags in SHAPES {
        for entries in [2, 3, 8, 63, 64, 128, 256, 1024, 4096] {
            for cq_entries in [0, 4096, 8192] {
                let mut p = io_uring_params { flags, cq_entries, ..Default::default() };
                if cq_entries != 0 {
                    p.flags |= IORING_SETUP_CQSIZE;
                }
                let memory = RingMemory::new(entries, &mut p).unwrap();
                // Before Linux 6.10 sizes above a page fail, see RingMemory::new.
                let Some(fd) = setup(entries, &mut p) else { continue 'shapes };
                let map = RingMap::from_memory(memory, &p, Fork::DontFork).unwrap();
                use_ring(&fd, &p, &map);
                mapped += 1;
            }
        }
    }
    say(&format!("{mapped} rings in memory of the caller were used"));
}

#[test]
fn clamped_sizes_leave_memory_to_spare() {
    let mut p = io_uring_params { flags: IORING_SETUP_CLAMP, ..Default::default() };
    let memory = RingMemory::new(100_000, &mut p).unwrap();
    let Some(fd) = setup(100_000, &mut p) else { return };
    assert!(p.sq_entries < 100_000);
    let map = RingMap::from_memory(memory, &p, Fork::DontFork).unwrap();
    use_ring(&fd, &p, &map);
}

#[test]
fn huge_pages_work_where_there_are_any() {
    let mut p = io_uring_params::ZERO;
    let memory = match RingMemory::new_huge(256, &mut p) {
        Ok(memory) => memory,
        Err(error) => return say(&format!("skipped: a ring in huge pages: {error}")),
    };
    let Some(fd) = setup(256, &mut p) else { return };
    let map = RingMap::from_memory(memory, &p, Fork::DontFork).unwrap();
    use_ring(&fd, &p, &map);
}

#[test]
fn the_right_door_for_each_kind_of_memory() {
    let mut p = io_uring_params::ZERO;
    let memory = RingMemory::new(8, &mut p).unwrap();
    if let Some(fd) = setup(8, &mut p) {
        assert_eq!(RingMap::new(fd.as_fd(), &p, Fork::DontFork).unwrap_err(), MapError::UserMemory);
        let other = RingMemory::new(8, &mut Default::default()).unwrap();
        assert_eq!(RingMap::from_memory(other, &p, Fork::DontFork).unwrap_err(), MapError::OtherMemory);

        // Memory that no ring was set up in has none of its words.
        let mut q = io_uring_params::ZERO;
        let unused = RingMemory::new(8, &mut q).unwrap();
        let mut p = p;
        (p.cq_off.user_addr, p.sq_off.user_addr) = (q.cq_off.user_addr, q.sq_off.user_addr);
        let error = RingMap::from_memory(unused, &p, Fork::DontFork).unwrap_err();
        assert_eq!(error, MapError::BadWord { what: "sq_ring_entries", found: 0, expected: 8 });
    }
    drop(memory);

    let mut p = io_uring_params::ZERO;
    let Some(fd) = setup(8, &mut p) else { return };
    let memory = RingMemory::new(8, &mut Default::default()).unwrap();
    assert_eq!(RingMap::from_memory(memory, &p, Fork::DontFork).unwrap_err(), MapError::OtherMemory);
    p.features &= !IORING_FEAT_SINGLE_MMAP;
    assert_eq!(RingMap::new(fd.as_fd(), &p, Fork::DontFork).unwrap_err(), MapError::NoSingleMmap);
}

#[test]
fn sizes_that_no_ring_has_get_no_memory() {
    for entries in [0, 1 << 31 | 1, u32::MAX] {
        let error = RingMemory::new(entries, &mut Default::default()).unwrap_err();
        assert_eq!(error, MapError::BadEntries { what: "entries", entries });
    }
    let mut p = io_uring_params { flags: IORING_SETUP_CQSIZE, ..Default::default() };
    let before = p;
    let error = RingMemory::new(8, &mut p).unwrap_err();
    assert_eq!(error, MapError::BadEntries { what: "cq_entries", entries: 0 });
    assert_eq!(p, before, "a failure must leave the parameters alone");
}

#[test]
fn parameters_of_another_ring_are_noticed() {
    let (mut p, mut q) = (io_uring_params::ZERO, io_uring_params::ZERO);
    let (Some(small), Some(_large)) = (setup(8, &mut p), setup(16, &mut q)) else { return };
    let error = RingMap::new(small.as_fd(), &q, Fork::DontFork).unwrap_err();
    assert_eq!(error, MapError::BadWord { what: "sq_ring_entries", found: 8, expected: 16 });
    assert!(error.to_string().contains("sq_ring_entries in the ring is 8"), "{error}");
}

#[test]
fn a_file_that_is_no_ring_is_an_error() {
    let mut p = io_uring_params::ZERO;
    let Some(_ring) = setup(8, &mut p) else { return };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // SAFETY: the socket stays open until the end of the test.
    let socket = unsafe { BorrowedFd::borrow_raw(std::os::fd::AsRawFd::as_raw_fd(&socket)) };
    let error = RingMap::new(socket, &p, Fork::DontFork).unwrap_err();
    assert_eq!(error, MapError::Mmap { step: "mmap of the rings", errno: Errno::NODEV });
}

/// The flags in /proc/self/smaps of the mapping that starts here, or `None` if none does.
fn vm_flags(start: usize) -> Option<String> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&format!("{start:08x}-")));
    lines.find_map(|line| line.strip_prefix("VmFlags:")).map(str::to_owned)
}

fn page_size() -> usize {
    // SAFETY: a question without arguments in memory.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// Where the mappings of the rings and of the entries start.
fn starts(map: &RingMap) -> [usize; 2] {
    let r = map.pointers();
    [r.sq_head.addr().get() & !(page_size() - 1), r.sqes.addr().get()]
}

#[test]
fn children_get_the_rings_only_if_asked() {
    let dont_copy = |start| vm_flags(start).expect("a mapping").split(' ').any(|flag| flag == "dc");
    let mut p = io_uring_params::ZERO;
    let Some(fd) = setup(8, &mut p) else { return };
    let map = RingMap::new(fd.as_fd(), &p, Fork::default()).unwrap();
    assert_eq!(starts(&map).map(dont_copy), [true, true]);
    let map = RingMap::new(fd.as_fd(), &p, Fork::Keep).unwrap();
    assert_eq!(starts(&map).map(dont_copy), [false, false]);
    map.dont_fork().unwrap();
    assert_eq!(starts(&map).map(dont_copy), [true, true]);

    let mut p = io_uring_params::ZERO;
    let memory = RingMemory::new(8, &mut p).unwrap();
    let Some(_fd) = setup(8, &mut p) else { return };
    let map = RingMap::from_memory(memory, &p, Fork::DontFork).unwrap();
    assert!(dont_copy(starts(&map)[0]));
}

/// What lies in a child at the address of its parent's ring is the child's.
#[test]
fn a_child_that_drops_the_map_unmaps_nothing() {
    let mut p = io_uring_params::ZERO;
    let Some(fd) = setup(8, &mut p) else { return };
    let map = RingMap::new(fd.as_fd(), &p, Fork::DontFork).unwrap();
    let (at, page) = (map.pointers().sqes.as_ptr(), page_size());
    // SAFETY: the child only makes system calls, and ends without unwinding into what it shares with its parent's threads.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: nothing is mapped there, or else the call fails; what is written to and read is this mapping.
        unsafe {
            let own = libc::mmap(at.cast(), page, prot, flags, -1, 0);
            let mapped = own == at.cast();
            drop(map);
            // A segmentation fault, if that unmapped it.
            if mapped {
                own.cast::<u8>().write_volatile(1);
            }
            libc::_exit(i32::from(!mapped));
        }
    }
    let mut status = -1;
    // SAFETY: `status` is valid for writes.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child's end, as waitpid reports it");
}

#[test]
fn dropping_the_map_unmaps_everything() {
    // A size that nothing else in this test program has, so that an address used anew is not mistaken for a leak.
    let mut p = io_uring_params::ZERO;
    let Some(fd) = setup(2048, &mut p) else { return };
    let mapped = |bytes: usize| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let size = |line: &str| {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            Some(usize::from_str_radix(end, 16).ok()? - usize::from_str_radix(start, 16).ok()?)
        };
        maps.lines().filter(|line| line.contains("io_uring") && size(line) == Some(bytes)).count()
    };
    let sqes = 2048 * 64;
    let rings = (p.sq_off.array as usize + 2048 * 4).next_multiple_of(page_size());
    assert_eq!((mapped(sqes), mapped(rings)), (0, 0));
    let map = RingMap::new(fd.as_fd(), &p, Fork::DontFork).unwrap();
    assert_eq!((mapped(sqes), mapped(rings)), (1, 1));
    drop(map);
    assert_eq!((mapped(sqes), mapped(rings)), (0, 0));
}

#[test]
fn maps_and_pointers_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<RingMap>();
    crosses::<RingPointers>();
    crosses::<RingMemory>();
}
