//! The table of registrations against the kernel: how it counts, in which states of a ring it takes a call, and that
//! the crate says what the kernel has.

mod common;

use std::ffi::c_void;
use std::ptr::{null_mut, without_provenance_mut};

use common::skipped;
use rawring::probe::{Answer, Missing};
use rawring::register::{Count, Registration, RegistrationInfo, RingState};
use rawring::{Errno, Ring, Setup};
use rawring_sys as sys;

/// An argument where there is no memory, or none.
fn nowhere(row: &RegistrationInfo) -> *mut c_void {
    if row.argument.is_empty() { null_mut() } else { without_provenance_mut(usize::MAX - 4095) }
}

/// A ring of the kind that all calls accept, if the kernel makes such.
fn ring(disabled: bool) -> Ring {
    let setup = |special: bool| {
        let setup = if special { Setup::new(1).single_issuer().defer_taskrun().cqe32() } else { Setup::new(1) };
        if disabled { setup.disabled() } else { setup }
    };
    setup(true).build().or_else(|_| setup(false).build()).expect("a ring")
}

fn call(ring: &Ring, row: &RegistrationInfo, count: u32) -> Result<u32, Errno> {
    // SAFETY: there is no memory for the kernel to use; calls without an argument change only a ring that is the
    // test's, or (where the count is wrong) nothing.
    unsafe { ring.register_raw(row.registration.0, nowhere(row), count) }
}

fn without_ring(row: &RegistrationInfo, count: u32) -> Result<u32, Errno> {
    // SAFETY: as above.
    unsafe { sys::io_uring_register(-1, row.registration.0, nowhere(row), count) }
}

/// A right count.
fn right(count: Count) -> Option<u32> {
    match count {
        Count::Exactly(count) | Count::Size(count) => Some(count),
        Count::Elements => Some(1),
        Count::Bytes => Some(8),
        Count::Id => None,
    }
}

/// The rows of calls that the kernel has and that act on nothing but the ring.
fn rows(test: &str) -> impl Iterator<Item = &'static RegistrationInfo> {
    let has = move |row: &&RegistrationInfo| {
        let registered = common::probe().registration(row.registration);
        match registered.missing {
            Some(missing) => skipped(test, &format!("{}: {missing}", row.name())),
            // It acts on the thread, which other tests share.
            None => return row.registration != Registration::UNREGISTER_IOWQ_AFF,
        }
        false
    };
    RegistrationInfo::ALL.iter().filter(has)
}

#[test]
fn counts_are_counted_as_the_table_says() {
    const TEST: &str = "counts_are_counted_as_the_table_says";
    let ring = ring(false);
    let (mut exact, mut free) = (0, 0);
    for row in rows(TEST) {
        let call = |count| if row.ring == RingState::None { without_ring(row, count) } else { call(&ring, row, count) };
        let good = right(row.count).map(call);
        assert_ne!(good, Some(Err(Errno::INVAL)), "{}", row.name());
        match row.count {
            Count::Exactly(count) | Count::Size(count) => {
                assert_eq!(call(count + 1), Err(Errno::INVAL), "{}", row.name());
                if count > 1 {
                    assert_eq!(call(count - 1), Err(Errno::INVAL), "{}", row.name());
                }
                exact += 1;
            }
            Count::Elements | Count::Bytes => {
                assert_eq!(Some(call(2)), good, "{}", row.name());
                free += 1;
            }
            Count::Id => {
                let id = call_for_id(&ring);
                assert_eq!((call(id + 1), call(id), call(id)), (Err(Errno::INVAL), Ok(0), Err(Errno::INVAL)));
            }
        }
    }
    assert!(exact >= 12 && free >= 6, "{exact} and {free}");
}

/// How the kernel counts, read in `io_uring/register.c` and what it calls, of Linux 7.3: not the table once more.
#[test]
fn counts_are_those_of_the_kernels_source() {
    use Registration as R;
    let mut counts = vec![None; RegistrationInfo::ALL.len()];
    let mut note = |count, registrations: &[Registration]| {
        for registration in registrations {
            assert_eq!(counts[registration.0 as usize].replace(count), None, "{registration:?} twice");
        }
    };
    // `if (arg || nr_args)`.
    let nothing = [R::UNREGISTER_BUFFERS, R::UNREGISTER_FILES, R::UNREGISTER_EVENTFD, R::PERSONALITY, R::ENABLE_RINGS];
    note(Count::Exactly(0), &nothing);
    note(Count::Exactly(0), &[R::UNREGISTER_IOWQ_AFF]);
    // `if (!arg || nr_args)`, or `if (nr_args)`.
    note(Count::Exactly(0), &[R::FILE_ALLOC_RANGE, R::CLOCK, R::QUERY, R::ZCRX_CTRL]);
    // `if (nr_args != 1)`.
    note(Count::Exactly(1), &[R::EVENTFD, R::EVENTFD_ASYNC, R::PBUF_RING, R::UNREGISTER_PBUF_RING, R::SYNC_CANCEL]);
    note(Count::Exactly(1), &[R::PBUF_STATUS, R::NAPI, R::UNREGISTER_NAPI, R::CLONE_BUFFERS, R::SEND_MSG_RING]);
    note(Count::Exactly(1), &[R::ZCRX_IFQ, R::RESIZE_RINGS, R::MEM_REGION, R::BPF_FILTER]);
    note(Count::Exactly(2), &[R::IOWQ_MAX_WORKERS]);
    // Loops over as many elements.
    note(Count::Elements, &[R::BUFFERS, R::FILES, R::FILES_UPDATE, R::PROBE, R::RESTRICTIONS]);
    note(Count::Elements, &[R::RING_FDS, R::UNREGISTER_RING_FDS]);
    // Copied as so many bytes.
    note(Count::Bytes, &[R::IOWQ_AFF]);
    // `if (size != sizeof(..))`.
    note(Count::Size(32), &[R::FILES2, R::FILES_UPDATE2, R::BUFFERS2, R::BUFFERS_UPDATE]);
    note(Count::Id, &[R::UNREGISTER_PERSONALITY]);
    for row in RegistrationInfo::ALL {
        assert_eq!(counts[row.registration.0 as usize], Some(row.count), "{}", row.name());
        let null = nothing.contains(&row.registration) || matches!(row.count, Count::Id);
        let null = null || row.registration == R::UNREGISTER_IOWQ_AFF;
        assert_eq!(row.argument.is_empty(), null, "{}", row.name());
    }
}

/// Registers something with a number.
fn call_for_id(ring: &Ring) -> u32 {
    call(ring, Registration::PERSONALITY.info().expect("a row"), 0).expect("a personality")
}

#[test]
fn rings_are_in_the_state_that_the_table_says() {
    const TEST: &str = "rings_are_in_the_state_that_the_table_says";
    let enabled = ring(false);
    for row in rows(TEST) {
        let Some(count) = right(row.count) else { continue };
        // A ring of its own, for a call that enables it.
        let disabled = ring(true);
        let (on, off) = (call(&enabled, row, count), call(&disabled, row, count));
        match row.ring {
            RingState::Any => assert_eq!(on.is_ok(), off.is_ok(), "{}: {on:?} {off:?}", row.name()),
            RingState::Disabled => assert!(on == Err(Errno::BADFD) && off != on, "{}: {on:?} {off:?}", row.name()),
            RingState::None => assert_eq!((on, off), (Err(Errno::INVAL), Err(Errno::INVAL)), "{}", row.name()),
        }
        if row.ring != RingState::None {
            assert_ne!(off, Err(Errno::INVAL), "{}", row.name());
        }
    }
}

#[test]
fn calls_without_a_ring_are_those_of_the_table() {
    const TEST: &str = "calls_without_a_ring_are_those_of_the_table";
    for row in rows(TEST) {
        let count = if row.registration == Registration::RESTRICTIONS { Some(1) } else { right(row.count) };
        let Some(count) = count else { continue };
        let result = without_ring(row, count);
        match row.without_ring {
            Some(release) if common::newer(&format!("{TEST}: {}", row.name()), release) => {
                assert_ne!(result, Err(Errno::INVAL), "{}", row.name());
            }
            // Kernels before the first such call look for the ring of that number.
            _ => assert!(matches!(result, Err(Errno::INVAL | Errno::BADF)), "{}: {result:?}", row.name()),
        }
    }
}

#[test]
fn item_34_registrations_are_those_of_the_kernel() {
    const TEST: &str = "item_34_registrations_are_those_of_the_kernel";
    let probe = common::probe();
    let all: Vec<_> = probe.registrations().collect();
    assert!(all.len() >= RegistrationInfo::ALL.len());
    for (registered, number) in all.iter().zip(0..) {
        assert_eq!(registered.registration, Registration(number));
        assert_eq!(probe.registration(registered.registration), *registered);
        let here = matches!(registered.answer, Answer::Yes | Answer::Likely);
        assert_eq!(registered.missing.is_none(), here, "{registered:?}");
    }
    // The floor has all up to the limits on workers, and says so.
    let floor = &all[..=sys::IORING_REGISTER_IOWQ_MAX_WORKERS as usize];
    assert!(floor.iter().all(|registered| registered.answer == Answer::Yes), "{floor:#?}");
    // What the kernel counts decides.
    let Some(query) = probe.query() else {
        return skipped(TEST, "needs IORING_REGISTER_QUERY (Linux 6.18)");
    };
    for registered in &all {
        let counted = registered.registration.0 < query.nr_register_opcodes;
        let built = !matches!(registered.missing, Some(Missing::NotBuilt(_)));
        assert_eq!(registered.answer == Answer::Yes, counted && built, "{registered:?}");
    }
}

#[test]
fn every_registration_is_made_by_an_item() {
    for row in RegistrationInfo::ALL {
        assert!(row.item.split("::").count() >= 2, "{}: {}", row.name(), row.item);
        assert_eq!(row.is_typed(), row.item != "Ring::register_raw", "{}", row.item);
    }
    assert!(Registration::ENABLE_RINGS.info().is_some_and(RegistrationInfo::is_typed));
}
