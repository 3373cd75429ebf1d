//! What becomes of a ring in a forked child, and across `exec`. Named after the items of the semantics list.
//!
//! Each test forks a process that has nothing else to do, so that a child that faults takes nobody along.

mod common;

use common::{exercise, in_own_process, kernel_has};
use rawring::flags::SetupFlags;
use rawring::op::{Nop, Read};
use rawring::probe::Probe;
use rawring::{Errno, Ring, Setup, UserData};

/// Runs `child` in a forked child and returns what became of it: its exit status, or the signal that ended it.
fn forked(child: impl FnOnce() -> i32) -> Result<i32, i32> {
    // SAFETY: the child has this thread only, in a process that has no other but the waiting one of the test harness;
    // it runs `child` and ends without unwinding or cleaning up.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(code) };
    }
    assert!(pid > 0, "fork");
    let mut status = 0;
    // SAFETY: `status` is writable, `pid` a child of this process.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(libc::WTERMSIG(status)) }
}

/// Where the mappings of rings are in this process: start and length.
fn ring_mappings() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let of_ring = maps.lines().filter(|line| line.contains("[io_uring]"));
    let range = of_ring.filter_map(|line| line.split_once(' ')?.0.split_once('-'));
    let number = |text| usize::from_str_radix(text, 16).expect("an address");
    range.map(|(start, end)| (number(start), number(end) - number(start))).collect()
}

#[test]
fn item_33_dropping_the_parents_ring_in_a_child_harms_nobody() {
    const TEST: &str = "item_33_dropping_the_parents_ring_in_a_child_harms_nobody";
    in_own_process(TEST, || {
        let mut ring = Ring::new(8).expect("a ring");
        let mappings = ring_mappings();
        assert_eq!(mappings.len(), 2, "the rings and the entries");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        // Kept for ever: the completion is seen below, but a failed assertion must not free it.
        let buf = Box::leak(Box::new([0_u8; 4]));
        // SAFETY: the buffer is never freed and not looked at before its completion; the pipe stays open until then.
        unsafe { ring.push_unchecked(Read::new(&reader, &mut *buf).user_data(5)) }.expect("room");
        assert_eq!(ring.submit(), Ok(1));
        // Nobody but the child's memory manager knows that the addresses are free there.
        let mut slot = Some(ring);
        let child = forked(|| {
            assert_eq!(ring_mappings(), [], "inherited");
            let decoys: Vec<_> = mappings.iter().map(|&(at, len)| (decoy(at, len), len)).collect();
            drop(slot.take());
            // SAFETY: the decoys are this child's mappings, if they are still there; else this faults.
            let intact = decoys.iter().all(|&(at, len)| unsafe { at.read() == 42 && at.add(len - 1).read() == 42 });
            i32::from(!intact)
        });
        assert_eq!(child, Ok(0));
        let mut ring = slot.take().expect("the child had a copy");
        assert_eq!(rustix::io::write(&writer, b"ping"), Ok(4));
        ring.submit_and_wait(1).expect("waited");
        let seen: Vec<_> = ring.completions().map(|cqe| (cqe.user_data(), cqe.result())).collect();
        assert_eq!(seen, [(UserData(5), Ok(4))]);
        assert_eq!(&*buf, b"ping");
        exercise(&mut ring);
    });
}

/// A mapping of this process's own at an address where nothing is, filled with 42.
fn decoy(at: usize, len: usize) -> *const u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let address = std::ptr::without_provenance_mut(at);
    // SAFETY: the flags keep it from replacing any mapping.
    let decoy = unsafe { libc::mmap(address, len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    assert_eq!(decoy.addr(), at, "the address is free");
    // SAFETY: the mapping is `len` bytes long, writable and new.
    unsafe { decoy.cast::<u8>().write_bytes(42, len) };
    decoy.cast()
}

#[test]
fn item_33_a_child_that_touches_the_ring_faults() {
    const TEST: &str = "item_33_a_child_that_touches_the_ring_faults";
    in_own_process(TEST, || {
        // The fault is meant, so it leaves no core file.
        let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(rustix::process::Resource::Core, limit).expect("a limit");
        let mut ring = Ring::new(8).expect("a ring");
        let child = forked(|| {
            let _ = ring.push(Nop::new());
            0
        });
        assert_eq!(child, Err(libc::SIGSEGV));
        exercise(&mut ring);
    });
}

#[test]
fn item_33_a_ring_can_be_handed_over_to_a_child() {
    const TEST: &str = "item_33_a_ring_can_be_handed_over_to_a_child";
    in_own_process(TEST, || {
        let mut ring = Setup::new(8).inherit_on_fork().build().expect("a ring");
        let mappings = ring_mappings();
        let child = forked(|| {
            exercise(&mut ring);
            drop(std::mem::replace(&mut ring, Ring::new(1).expect("a ring")));
            // Its own copies are gone, the ring made instead has others.
            i32::from(ring_mappings().iter().any(|mapping| mappings.contains(mapping)))
        });
        assert_eq!(child, Ok(0));
        assert_eq!(ring_mappings(), mappings);
    });
}

fn registered_only() -> Setup<'static> {
    Setup::new(8).no_mmap().registered_fd_only()
}

#[test]
fn item_33_a_child_has_a_table_of_registered_rings_of_its_own() {
    const TEST: &str = "item_33_a_child_has_a_table_of_registered_rings_of_its_own";
    if !kernel_has(TEST, SetupFlags::REGISTERED_FD_ONLY) {
        return;
    }
    in_own_process(TEST, || {
        let mut slot = Some(registered_only().build().expect("a ring"));
        let child = forked(|| {
            let parents = slot.take().expect("a copy");
            // The first place of the child's table, as the other is the first of the parent's.
            let mut own = registered_only().build().expect("a ring");
            assert_eq!(Probe::of(&parents).err(), Some(Errno::BADF));
            drop(parents);
            exercise(&mut own);
            0
        });
        assert_eq!(child, Ok(0));
        exercise(&mut slot.take().expect("the child had a copy"));
    });
}

#[test]
fn item_33_exec_closes_the_descriptor() {
    for setup in [Setup::new(8), Setup::new(8).inherit_on_fork()] {
        let ring = setup.build().expect("a ring");
        let flags = rustix::io::fcntl_getfd(ring.fd().expect("a descriptor")).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}
