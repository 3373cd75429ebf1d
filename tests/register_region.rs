//! Regions of memory, and waits that are registered in them (item 26), on a real ring.

mod common;

use std::time::{Duration, Instant};

use common::newer;
use rawring::flags::{EnterFlags, SetupFlags};
use rawring::op::Nop;
use rawring::operand::Timespec;
use rawring::register::RegionMemory;
use rawring::{Errno, InFlight, Ring, SigSet, Version, Wait, WaitEnd};
use rustix::time::{ClockId, clock_gettime};

/// The release that brought regions.
const SINCE: Version = Version::new(6, 13);

const BOTH: [RegionMemory; 2] = [RegionMemory::User, RegionMemory::Kernel];

/// A ring with room for `count` waits.
fn with_waits(count: u32, memory: RegionMemory) -> Ring {
    let mut ring = Ring::setup(8).disabled().build().expect("a ring");
    ring.register_waits(count, memory).expect("a region");
    ring.enable().expect("enabled");
    ring
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Waits for a completion that does not come; how long it took.
fn timed(ring: &mut Ring, wait: &Wait<'_>) -> Duration {
    let start = Instant::now();
    assert_eq!(ring.submit_with(wait).expect("waited").wait, WaitEnd::TimedOut);
    start.elapsed()
}

#[test]
fn item_26_every_registered_wait_is_the_one_that_was_written() {
    const TEST: &str = "item_26_every_registered_wait_is_the_one_that_was_written";
    if !newer(TEST, SINCE) {
        return;
    }
    for memory in BOTH {
        // 56 waits and their masks are nearly a page, 57 are more.
        for count in [1, 2, 56, 57, 64] {
            let mut ring = with_waits(count, memory);
            let region = ring.region().expect("a region");
            assert_eq!(region.len() % rustix::param::page_size(), 0);
            // All but the last wait for long.
            for index in 0..count - 1 {
                ring.set_wait(index, &Wait::new(0).timeout(Duration::from_secs(3))).expect("a slot");
            }
            let last = ring.set_wait(count - 1, &Wait::new(0).timeout(millis(5))).expect("a slot");
            assert_eq!(last.index(), count - 1);
            let waited = timed(&mut ring, &Wait::registered(1, last));
            assert!((millis(4)..Duration::from_secs(2)).contains(&waited), "{count} in {memory:?} memory: {waited:?}");
            let error = ring.set_wait(count, &Wait::new(0)).expect_err("no slot");
            assert!(error.to_string().ends_with(&format!("room for {count}, from 0 on")), "{error}");
        }
    }
}

#[test]
fn item_26_a_registered_wait_has_all_that_a_wait_has() {
    const TEST: &str = "item_26_a_registered_wait_has_all_that_a_wait_has";
    if !newer(TEST, SINCE) {
        return;
    }
    let mut ring = with_waits(4, RegionMemory::User);
    let mut point = Timespec::from(clock_gettime(ClockId::Monotonic));
    point.nanoseconds += 20_000_000;
    if point.nanoseconds >= 1_000_000_000 {
        point = Timespec { seconds: point.seconds + 1, nanoseconds: point.nanoseconds - 1_000_000_000 };
    }
    let deadline = ring.set_wait(0, &Wait::new(0).deadline(point)).expect("a slot");
    let waited = timed(&mut ring, &Wait::registered(1, deadline));
    assert!((millis(10)..Duration::from_secs(5)).contains(&waited), "a point in time: {waited:?}");
    assert!(timed(&mut ring, &Wait::registered(1, deadline)) < Duration::from_secs(5), "which is over now");
    // What is said anew counts alone.
    let waited = timed(&mut ring, &Wait::registered(1, deadline).timeout(millis(15)));
    assert!(waited >= millis(14), "{waited:?}");
    // The first of two completions is there, and after the minimum it is enough.
    let minimum = Wait::new(0).min_wait(millis(20)).timeout(Duration::from_secs(100));
    let minimum = ring.set_wait(1, &minimum).expect("a slot");
    ring.push(Nop::new()).expect("room");
    let start = Instant::now();
    let outcome = ring.submit_with(&Wait::registered(2, minimum)).expect("waited");
    let waited = start.elapsed();
    assert_eq!((outcome.entries, outcome.wait, ring.ready()), (1, WaitEnd::Short, 1));
    assert!((millis(15)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    ring.completions().for_each(drop);
    // A signal that is pending is let in by a mask, or kept out.
    extern "C" fn ignore(_: i32) {}
    // SAFETY: the handler does nothing; the signal is blocked and raised for this thread alone.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(i32) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()), 0);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut set, libc::SIGUSR2);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), 0);
        assert_eq!(libc::raise(libc::SIGUSR2), 0);
    }
    let masked = |mask| Wait::new(0).timeout(millis(30)).sigmask(mask);
    let mask = SigSet::EMPTY.with(libc::SIGUSR2);
    let closed = ring.set_wait(2, &masked(&mask)).expect("a slot");
    let open = ring.set_wait(3, &masked(&SigSet::EMPTY)).expect("a slot");
    timed(&mut ring, &Wait::registered(1, closed));
    let outcome = ring.submit_with(&Wait::registered(1, open)).expect("waited");
    assert_eq!(outcome.wait, WaitEnd::Interrupted);
}

#[test]
fn item_26_regions_are_made_once_and_waits_on_disabled_rings() {
    const TEST: &str = "item_26_regions_are_made_once_and_waits_on_disabled_rings";
    if !newer(TEST, SINCE) {
        let mut ring = Ring::setup(8).disabled().build().expect("a ring");
        assert_eq!(ring.register_waits(1, RegionMemory::User), Err(Errno::INVAL));
        return;
    }
    let mut enabled = Ring::new(8).expect("a ring");
    let error = enabled.set_wait(0, &Wait::new(0)).expect_err("no region");
    assert!(error.to_string().contains("register_waits()"), "{error}");
    for memory in BOTH {
        assert_eq!(enabled.register_waits(1, memory), Err(Errno::INVAL), "it is enabled");
    }
    assert!(enabled.region().is_none());
    enabled.register_region(1, RegionMemory::Kernel).expect("a region of another use");
    assert_eq!(enabled.region().expect("a region").len(), rustix::param::page_size());
    assert_eq!(enabled.register_region(1, RegionMemory::User), Err(Errno::BUSY));
    assert!(enabled.set_wait(0, &Wait::new(0)).is_err(), "it has no waits");
    let mut ring = Ring::setup(8).disabled().build().expect("a ring");
    assert_eq!(ring.register_waits(0, RegionMemory::User), Err(Errno::INVAL));
    ring.register_waits(1, RegionMemory::User).expect("a region");
    assert_eq!(ring.register_waits(1, RegionMemory::User), Err(Errno::BUSY));
    // A wait of another ring: this one has no region, or that slot is past its end, which is that of a page.
    let slots = (2 * rustix::param::page_size() / size_of::<rawring::sys::io_uring_reg_wait>()) as u32;
    let mut large = with_waits(slots, RegionMemory::User);
    let far = large.set_wait(slots - 1, &Wait::new(0).timeout(millis(1))).expect("a slot");
    ring.enable().expect("enabled");
    for mut other in [Ring::new(8).expect("a ring"), ring] {
        assert_eq!(other.submit_with(&Wait::registered(1, far)), Err(Errno::FAULT));
    }
    timed(&mut large, &Wait::registered(1, far).flag(EnterFlags::GETEVENTS));
}

#[test]
fn item_26_registered_waits_go_through_every_door_and_name() {
    const TEST: &str = "item_26_registered_waits_go_through_every_door_and_name";
    if !newer(TEST, SINCE) {
        return;
    }
    let mut ring = with_waits(1, RegionMemory::Kernel);
    let wait = ring.set_wait(0, &Wait::new(0).timeout(millis(5))).expect("a slot");
    let ends = ring.scope(|scope| scope.submit_with(&Wait::registered(1, wait)).expect("waited").wait);
    assert_eq!(ends.expect("a scope"), WaitEnd::TimedOut);
    let mut owned: InFlight<()> = InFlight::new(ring).expect("fit");
    assert_eq!(owned.submit_with(&Wait::registered(1, wait)).expect("waited").wait, WaitEnd::TimedOut);
    // By registered index, where there is no descriptor to map kernel memory with.
    let flags = SetupFlags::REGISTERED_FD_ONLY;
    assert!(common::has_setup(flags).is_ok(), "it is older than regions");
    let mut ring = Ring::setup(8).disabled().no_mmap().registered_fd_only().build().expect("a ring");
    assert_eq!(ring.register_waits(1, RegionMemory::Kernel), Err(Errno::BADF));
    ring.register_waits(1, RegionMemory::User).expect("a region");
    ring.enable().expect("enabled");
    let wait = ring.set_wait(0, &Wait::new(0).timeout(millis(5))).expect("a slot");
    timed(&mut ring, &Wait::registered(1, wait));
}
