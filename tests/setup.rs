//! Rings as they are set up: owners, combinations of flags, sizes, registered rings. Named after the items of the
//! semantics list. What goes wrong is in `setup_error.rs`, what becomes of rings in children in `fork.rs`.

mod common;

use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use common::{exercise, kernel_has, skipped, with};
use rawring::flags::SetupFlags;
use rawring::op::Nop;
use rawring::probe::Probe;
use rawring::{Cause, Errno, Ring, Setup, Step, UserData};

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
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
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
    assert_eq!(rustix::io::read(&reader, &mut [0]).expect("the end"), 0);
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
    let all = flags.iter().copied().fold(SetupFlags::empty(), |all, flag| all | flag);
    if known != all {
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
    let least = if known == all { 400 } else { 40 };
    assert!(taken > least && refused > 400, "{taken} taken, {refused} refused");
}

#[test]
fn item_10_polling_threads_are_shared_by_rings_that_poll() {
    // The thread's number is known once it runs, which it does when it has done something.
    let used = |mut ring: Ring| {
        ring.push(Nop::new()).expect("room");
        ring.submit_and_wait(1).expect("submitted");
        assert_eq!(ring.completions().count(), 1);
        ring
    };
    let thread_of = |ring: &Ring| {
        let fd = ring.fd().expect("a descriptor").as_raw_fd();
        let start = Instant::now();
        loop {
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("fdinfo");
            let line = info.lines().find_map(|line| line.strip_prefix("SqThread:"));
            // While the thread holds its lock, kernels do not say which it is, or say nothing at all.
            match line.map(|line| line.trim().parse::<i32>().expect("a number")) {
                None | Some(-1) => assert!(start.elapsed() < Duration::from_secs(5), "no thread"),
                Some(number) => return number,
            }
        }
    };
    let polls = Setup::new(8).sqpoll(Duration::from_millis(1));
    let first = used(polls.build().expect("a ring"));
    let shares = used(polls.clone().attach(&first).build().expect("a ring"));
    let own = used(polls.build().expect("a ring"));
    assert_eq!(thread_of(&shares), thread_of(&first));
    assert_ne!(thread_of(&own), thread_of(&first));
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

/// What [`Setup::single_thread`] adds on a kernel that has all of it.
const SINGLE_THREAD: SetupFlags =
    SetupFlags::SINGLE_ISSUER.union(SetupFlags::DEFER_TASKRUN).union(SetupFlags::NO_SQARRAY);

#[test]
fn a_ring_of_one_thread_is_the_best_there_is() {
    const TEST: &str = "a_ring_of_one_thread_is_the_best_there_is";
    // On a thread of its own, whose table of rings is empty.
    let (flags, registered) = thread::spawn(|| {
        let setup = Setup::new(8).single_thread();
        let mut rings: Vec<_> = (0..17).map(|_| setup.build().expect("a ring on every kernel")).collect();
        let registered = rings.iter().filter(|ring| ring.is_registered()).count();
        rings.iter_mut().for_each(exercise);
        (rings[0].setup_flags(), registered)
    })
    .join()
    .expect("the thread");
    if kernel_has(TEST, SINGLE_THREAD) {
        assert_eq!((flags, registered), (SINGLE_THREAD, 16), "a thread has 16 slots for rings");
    }
    // What the caller adds stays, and what the caller refuses is not added.
    let ring = Setup::new(8).single_thread().cq_entries(64).no_sqarray(false).build().expect("a ring");
    assert_eq!(ring.cq_entries(), 64);
    assert!(!ring.setup_flags().contains(SetupFlags::NO_SQARRAY));
    // A flag that nobody knows is the caller's mistake, whatever else was tried.
    let unknown = SetupFlags::from_bits_retain(1 << 30);
    let error = Setup::new(8).single_thread().raw_flags(unknown).build().expect_err("an unknown flag");
    assert_eq!(*error.cause(), Cause::UnknownFlags(unknown));
}
