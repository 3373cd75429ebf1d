//! Rings as they are set up: owners, combinations of flags, sizes, registered rings, fork. Named after the items of the
//! semantics list. What goes wrong is in `setup_error.rs`.

mod common;

use std::io::Read as _;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use common::{in_own_process, kernel_has, skipped};
use rawring::flags::SetupFlags;
use rawring::op::{Nop, Read};
use rawring::probe::Probe;
use rawring::{Cause, Errno, Ring, Setup, Step, UserData};

/// Fills the submission queue to the last slot and reaps, several times: every entry must complete as itself.
fn exercise(ring: &mut Ring) {
    let entries = ring.sq_entries();
    for round in 0..5_u32 {
        assert_eq!((ring.pending(), ring.ready(), ring.room()), (0, 0, entries));
        let key = |slot: u32| u64::from(round) << 32 | u64::from(slot);
        for slot in 0..entries {
            ring.push(Nop::new().user_data(key(slot))).expect("room");
        }
        let outcome = ring.submit_and_wait(entries).expect("submitted");
        assert_eq!((outcome.entries, ring.pending()), (entries, 0));
        let seen: Vec<_> = ring.completions().map(|cqe| (cqe.user_data(), cqe.result())).collect();
        let expected: Vec<_> = (0..entries).map(|slot| (UserData(key(slot)), Ok(0))).collect();
        assert!(seen == expected, "{ring:?}, round {round}: {} completions", seen.len());
    }
    assert_eq!((ring.dropped(), ring.lost(), ring.overflowed()), (0, 0, false));
}

fn registered_only() -> Setup<'static> {
    Setup::new(8).no_mmap().registered_fd_only()
}

#[test]
fn item_09_a_single_issuer_ring_belongs_to_the_thread_that_made_it() {
    const TEST: &str = "item_09_a_single_issuer_ring_belongs_to_the_thread_that_made_it";
    if !kernel_has(TEST, SetupFlags::SINGLE_ISSUER | SetupFlags::DEFER_TASKRUN) {
        return;
    }
    for setup in [Setup::new(8).single_issuer(), Setup::new(8).single_issuer().defer_taskrun()] {
        let mut ring = setup.build().expect("a ring");
        ring.push(Nop::new().user_data(1)).expect("room");
        let deferred = ring.setup_flags().contains(SetupFlags::DEFER_TASKRUN);
        thread::scope(|scope| {
            let other = || {
                assert_eq!(ring.submit(), Err(Errno::EXIST));
                // Registrations too, whatever they are.
                assert_eq!(Probe::of(&ring).err(), Some(Errno::EXIST));
                // Fetching completions is refused only where the owner has to post them itself.
                assert_eq!(ring.get_events(), if deferred { Err(Errno::EXIST) } else { Ok(()) });
                assert_eq!(ring.pending(), 1, "the entry is still queued");
            };
            scope.spawn(other).join().expect("the other thread");
        });
        assert_eq!(ring.submit(), Ok(1));
        assert!(Probe::of(&ring).is_ok());
        ring.submit_and_wait(1).expect("submitted");
        assert_eq!(ring.completions().count(), 1);
        exercise(&mut ring);
    }
}

#[test]
fn item_09_a_disabled_ring_belongs_to_the_thread_that_enables_it() {
    const TEST: &str = "item_09_a_disabled_ring_belongs_to_the_thread_that_enables_it";
    if !kernel_has(TEST, SetupFlags::SINGLE_ISSUER) {
        return;
    }
    let mut ring = Setup::new(8).disabled().single_issuer().build().expect("a ring");
    ring.push(Nop::new().user_data(1)).expect("room");
    assert_eq!(ring.submit(), Err(Errno::BADFD));
    assert_eq!(ring.pending(), 1);
    thread::scope(|scope| {
        scope
            .spawn(|| {
                ring.enable().expect("enabled");
                assert_eq!(ring.enable(), Err(Errno::BADFD), "only a disabled ring can be");
                assert_eq!(ring.submit_and_wait(1).expect("submitted").entries, 1);
                assert_eq!(ring.completions().count(), 1);
                ring.push(Nop::new()).expect("room");
            })
            .join()
            .expect("the other thread");
    });
    // The maker lost it.
    assert_eq!(ring.submit(), Err(Errno::EXIST));
    assert_eq!(ring.enable(), Err(Errno::EXIST));
}

#[test]
fn item_09_dropping_a_ring_on_another_thread_closes_it() {
    const TEST: &str = "item_09_dropping_a_ring_on_another_thread_closes_it";
    if !kernel_has(TEST, SetupFlags::SINGLE_ISSUER | SetupFlags::DEFER_TASKRUN) {
        return;
    }
    let ring = Setup::new(8).single_issuer().defer_taskrun().build().expect("a ring");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let files = [writer.as_raw_fd()];
    // SAFETY: the argument is an array of one descriptor, read during the call; the kernel takes its own reference.
    unsafe { ring.register_raw(rawring_sys::IORING_REGISTER_FILES, files.as_ptr().cast_mut().cast(), 1) }
        .expect("a registered file");
    drop(writer);
    thread::spawn(move || drop(ring)).join().expect("the other thread");
    // The ring held the last end for writing.
    let mut poll = [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)];
    let second = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut poll, Some(&second)), Ok(1), "the ring is still there");
    assert_eq!((&reader).read(&mut [0]).expect("the end"), 0);
}

/// Calls the method of a setup flag. Needs a ring to attach to, and a processor for the polling thread.
fn with<'r>(setup: Setup<'r>, flag: SetupFlags, ring: &'r Ring, cpu: u32) -> Setup<'r> {
    match flag {
        SetupFlags::IOPOLL => setup.iopoll(),
        SetupFlags::SQPOLL => setup.sqpoll(Duration::from_millis(1)),
        SetupFlags::SQ_AFF => setup.sqpoll_cpu(cpu),
        SetupFlags::CQSIZE => setup.cq_entries(32),
        SetupFlags::CLAMP => setup.clamp(),
        SetupFlags::ATTACH_WQ => setup.attach(ring),
        SetupFlags::R_DISABLED => setup.disabled(),
        SetupFlags::SUBMIT_ALL => setup.submit_all(),
        SetupFlags::COOP_TASKRUN => setup.coop_taskrun(),
        SetupFlags::TASKRUN_FLAG => setup.taskrun_flag(),
        SetupFlags::SQE128 => setup.sqe128(),
        SetupFlags::CQE32 => setup.cqe32(),
        SetupFlags::SINGLE_ISSUER => setup.single_issuer(),
        SetupFlags::DEFER_TASKRUN => setup.defer_taskrun(),
        SetupFlags::NO_MMAP => setup.no_mmap(),
        SetupFlags::REGISTERED_FD_ONLY => setup.registered_fd_only(),
        SetupFlags::NO_SQARRAY => setup.no_sqarray(true),
        SetupFlags::HYBRID_IOPOLL => setup.hybrid_iopoll(),
        SetupFlags::CQE_MIXED => setup.cqe_mixed(),
        SetupFlags::SQE_MIXED => setup.sqe_mixed(),
        SetupFlags::SQ_REWIND => setup.sq_rewind(),
        other => panic!("{other:?} has no method here"),
    }
}

#[test]
fn item_10_the_rules_are_those_of_the_kernel() {
    const TEST: &str = "item_10_the_rules_are_those_of_the_kernel";
    let plain = Setup::new(8).build().expect("a ring");
    let polling = Setup::new(8).sqpoll(Duration::from_millis(1)).build().expect("a polling ring");
    let set = rustix::thread::sched_getaffinity(None).expect("an affinity");
    let cpu = (0..rustix::thread::CpuSet::MAX_CPU).find(|&cpu| set.is_set(cpu)).expect("a processor") as u32;
    let flags: Vec<_> = SetupFlags::INFO.iter().map(|info| SetupFlags::from_bits_retain(info.bits as u32)).collect();
    let known = flags.iter().copied().filter(|&flag| common::probe().supports_setup(flag));
    let known = known.fold(SetupFlags::empty(), |known, flag| known | flag);
    if known != flags.iter().copied().fold(SetupFlags::empty(), |all, flag| all | flag) {
        skipped(TEST, &format!("combinations with flags that this kernel does not know: only {known:?}"));
    }

    // All sets of up to three flags: no rule is about more.
    let (mut taken, mut refused) = (0, 0);
    let mut try_set = |chosen: &[SetupFlags]| {
        let wanted = chosen.iter().fold(SetupFlags::empty(), |all, &flag| all | flag);
        let attach_to = if wanted.contains(SetupFlags::SQPOLL) { &polling } else { &plain };
        // An explicit wish, so that nothing is tried twice or added.
        let setup = Setup::new(8).no_sqarray(false);
        let setup = chosen.iter().fold(setup, |setup, &flag| with(setup, flag, attach_to, cpu));
        assert_eq!(setup.flags(), wanted);

        let kernel = setup.clone().raw_flags(SetupFlags::empty()).build();
        match setup.conflict() {
            Some(conflict) => {
                refused += 1;
                let error = setup.build().expect_err("a conflict");
                assert_eq!((error.step(), error.errno()), (Step::Check, None), "{wanted:?}");
                assert_eq!(*error.cause(), Cause::Conflict(conflict));
                let kernel = kernel.expect_err(&format!("{conflict:?}, and the kernel took {wanted:?}"));
                assert_eq!((kernel.step(), kernel.errno()), (Step::Setup, Some(Errno::INVAL)), "{wanted:?}");
                let unknown = wanted.difference(known);
                let cause = if unknown.is_empty() { Cause::Conflict(conflict) } else { Cause::UnknownFlags(unknown) };
                assert_eq!(*kernel.cause(), cause);
            }
            None if known.contains(wanted) => {
                taken += 1;
                let ring = kernel.unwrap_or_else(|error| panic!("no rule against {wanted:?}, but {error}"));
                assert_eq!(ring.setup_flags(), wanted);
            }
            None => {
                let error = kernel.expect_err("a flag that the kernel does not know");
                assert_eq!(*error.cause(), Cause::UnknownFlags(wanted.difference(known)), "{error}");
            }
        }
    };
    for (i, &one) in flags.iter().enumerate() {
        try_set(&[one]);
        for (j, &two) in flags.iter().enumerate().skip(i + 1) {
            try_set(&[one, two]);
            for &three in &flags[j + 1..] {
                try_set(&[one, two, three]);
            }
        }
    }
    assert!(taken > 400 && refused > 400, "{taken} taken, {refused} refused");
}

#[test]
fn item_10_polling_threads_are_shared_by_rings_that_poll() {
    let polling = Setup::new(8).sqpoll(Duration::from_millis(1)).build().expect("a polling ring");
    let thread_of = |ring: &Ring| {
        let fd = ring.fd().expect("a descriptor").as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("fdinfo");
        let line = info.lines().find_map(|line| line.strip_prefix("SqThread:")).expect("a line").trim().to_owned();
        line.parse::<i32>().expect("a number")
    };
    let shares = Setup::new(8).sqpoll(Duration::ZERO).attach(&polling).build().expect("a ring");
    let own = Setup::new(8).sqpoll(Duration::from_millis(1)).build().expect("a ring");
    assert_eq!(thread_of(&shares), thread_of(&polling));
    assert_ne!(thread_of(&own), thread_of(&polling));
}

#[test]
fn item_11_without_the_array_nothing_writes_over_the_head() {
    const TEST: &str = "item_11_without_the_array_nothing_writes_over_the_head";
    // With the array: each slot stands at its own index for good, however often the queue wraps.
    let mut ring = Setup::new(4).no_sqarray(false).build().expect("a ring");
    assert!(!ring.setup_flags().contains(SetupFlags::NO_SQARRAY));
    assert_ne!(ring.params().sq_off.array, 0);
    exercise(&mut ring);

    let modern = common::probe().supports_setup(SetupFlags::NO_SQARRAY);
    let mut ring = Ring::new(4).expect("a ring");
    assert_eq!(ring.setup_flags().contains(SetupFlags::NO_SQARRAY), modern, "used where it is there");
    exercise(&mut ring);

    if kernel_has(TEST, SetupFlags::NO_SQARRAY) {
        let mut ring = Setup::new(4).no_sqarray(true).build().expect("a ring");
        assert_eq!(ring.params().sq_off.array, 0, "it would be the head");
        exercise(&mut ring);
    } else {
        let error = Setup::new(4).no_sqarray(true).build().expect_err("an explicit wish");
        assert_eq!(*error.cause(), Cause::UnknownFlags(SetupFlags::NO_SQARRAY));
    }
}

#[test]
fn item_12_every_size_is_the_kernels_and_all_of_it_can_be_used() {
    const TEST: &str = "item_12_every_size_is_the_kernels_and_all_of_it_can_be_used";
    let plain = SetupFlags::empty();
    let kinds = [
        plain,
        SetupFlags::SQE128,
        SetupFlags::CQE32,
        SetupFlags::SQE128 | SetupFlags::CQE32,
        SetupFlags::CQE_MIXED,
        SetupFlags::SQE_MIXED,
        SetupFlags::SQE_MIXED | SetupFlags::CQE_MIXED,
        SetupFlags::SQE128 | SetupFlags::CQE_MIXED,
        SetupFlags::SQE_MIXED | SetupFlags::CQE32,
        SetupFlags::SQ_REWIND,
    ];
    for kind in kinds {
        if !kernel_has(TEST, kind) {
            continue;
        }
        for memory in [plain, SetupFlags::NO_MMAP] {
            if !kernel_has(TEST, memory) {
                continue;
            }
            for entries in (1..=33).chain([63, 65, 129, 1000, 4097]) {
                // The kernel refuses one slot for entries of two sizes.
                if entries == 1 && kind.contains(SetupFlags::SQE_MIXED) {
                    continue;
                }
                for array in [false, true] {
                    if array && kind.contains(SetupFlags::SQ_REWIND) {
                        continue;
                    }
                    let setup = Setup::new(entries).raw_flags(kind | memory);
                    let setup = if array { setup.no_sqarray(false) } else { setup };
                    let mut ring = setup.build().unwrap_or_else(|error| panic!("{entries}, {kind:?}: {error}"));
                    let (sq_entries, cq_entries) = (entries.next_power_of_two(), 2 * entries.next_power_of_two());
                    assert_eq!((ring.sq_entries(), ring.cq_entries()), (sq_entries, cq_entries));
                    assert_eq!((ring.params().sq_entries, ring.params().cq_entries), (sq_entries, cq_entries));
                    assert_eq!(ring.is_wide(), kind.intersects(SetupFlags::SQE128 | SetupFlags::SQE_MIXED));
                    exercise(&mut ring);
                }
            }
            // A completion queue of the same size is used to its last slot, and one of its own size is rounded as well.
            for (entries, cq_entries) in [(2, 2), (4, 4), (3, 3), (8, 9), (5, 1000), (32_768, 65_536)] {
                let setup = Setup::new(entries).raw_flags(kind | memory).cq_entries(cq_entries);
                let mut ring =
                    setup.build().unwrap_or_else(|error| panic!("{entries}/{cq_entries}, {kind:?}: {error}"));
                assert_eq!(ring.cq_entries(), cq_entries.next_power_of_two());
                exercise(&mut ring);
            }
        }
    }
}

#[test]
fn item_13_a_registered_ring_is_used_on_its_own_thread_only() {
    const TEST: &str = "item_13_a_registered_ring_is_used_on_its_own_thread_only";
    if !kernel_has(TEST, SetupFlags::REGISTERED_FD_ONLY) {
        return;
    }
    // Threads of their own, because the table is a thread's and the place is to be the first on both.
    let (maker_done, done) = std::sync::mpsc::channel::<()>();
    let (send, receive) = std::sync::mpsc::channel();
    let maker = thread::spawn(move || {
        let mut ring = registered_only().build().expect("a ring");
        assert!(ring.fd().is_none());
        exercise(&mut ring);
        assert!(Probe::of(&ring).expect("a probe").supports(Nop::INFO));
        send.send(ring).expect("the other thread waits");
        done.recv().expect("the other thread is done");
        // Dropping it elsewhere could not give the place back.
        let rings: Vec<_> = (0..15).map(|_| registered_only().build().expect("a place")).collect();
        let error = registered_only().build().expect_err("no place");
        assert_eq!((*error.cause(), error.errno()), (Cause::Registrations, Some(Errno::BUSY)));
        drop(rings);
    });
    let other = thread::spawn(move || {
        let mut decoy = registered_only().build().expect("a ring");
        decoy.push(Nop::new().user_data(7)).expect("room");
        let mut foreign = receive.recv().expect("the ring");
        foreign.push(Nop::new().user_data(8)).expect("room");
        assert_eq!(foreign.submit(), Err(Errno::BADF));
        assert_eq!(foreign.submit_and_wait(1).err(), Some(Errno::BADF));
        assert_eq!(foreign.get_events(), Err(Errno::BADF));
        assert_eq!(Probe::of(&foreign).err(), Some(Errno::BADF));
        assert_eq!(foreign.register_eventfd(None), Err(Errno::BADF));
        drop(foreign);
        // None of that went to the ring that has the same index here.
        assert_eq!((decoy.pending(), decoy.ready()), (1, 0));
        decoy.submit_and_wait(1).expect("still registered");
        let seen: Vec<_> = decoy.completions().map(|cqe| cqe.user_data()).collect();
        assert_eq!(seen, [UserData(7)]);
        maker_done.send(()).expect("the maker waits");
    });
    other.join().expect("the other thread");
    maker.join().expect("the maker");
}

#[test]
fn item_13_places_are_given_back_on_drop() {
    const TEST: &str = "item_13_places_are_given_back_on_drop";
    if !kernel_has(TEST, SetupFlags::REGISTERED_FD_ONLY) {
        return;
    }
    thread::spawn(|| {
        for _ in 0..40 {
            exercise(&mut registered_only().build().expect("the place of the last one"));
        }
        let rings: Vec<_> = (0..16).map(|_| registered_only().build().expect("a place")).collect();
        assert!(registered_only().build().is_err());
        drop(rings);
        assert!(registered_only().build().is_ok());
    })
    .join()
    .expect("the thread");
}

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
        let (reader, writer) = std::io::pipe().expect("a pipe");
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
