//! What the running kernel says it can do, compared with what it does.

mod common;

use std::collections::HashSet;
use std::ptr::null_mut;
use std::time::Duration;

use common::skipped;
use rawring::flags::{Features, SetupFlags};
use rawring::op::{self, TimeoutImmediate};
use rawring::probe::{Answer, Limits, Probe, Query, kernel_release, query, query_opcodes};
use rawring::{Errno, OpInfo, RawSqe, Ring, Setup, Sqe, Version};
use rawring_sys as sys;

/// What an entry with nothing but this opcode in it completes with.
fn bare(ring: &mut Ring, opcode: u8) -> Result<u32, Errno> {
    let mut raw = RawSqe::ZERO;
    raw.opcode = opcode;
    raw.fd = -1;
    // SAFETY: the callers choose opcodes that the kernel does not have, or that name no memory.
    let entry: Sqe<'static> = unsafe { Sqe::from_raw(raw) };
    ring.push(entry).expect("room");
    ring.submit_and_wait(1).expect("submitted");
    ring.completions().next().expect("waited for one").result()
}

#[test]
fn item_34_an_opcode_that_the_kernel_does_not_have_is_refused() {
    let mut ring = Ring::new(8).expect("a ring");
    let probe = Probe::of(&ring).expect("a probe");
    assert_eq!(bare(&mut ring, sys::IORING_OP_NOP), Ok(0));
    let mut refused = 0;
    for opcode in (0..=u8::MAX).filter(|&opcode| !probe.supports_opcode(opcode)) {
        assert_eq!(bare(&mut ring, opcode), Err(Errno::INVAL), "{opcode}");
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn item_34_operations_are_those_of_the_kernel() {
    let ring = Ring::new(8).expect("a ring");
    let probe = Probe::of(&ring).expect("a probe");
    let numbers: Vec<_> = probe.operations().map(|operation| operation.opcode.0).collect();
    let all: Vec<_> = (0..=*numbers.last().expect("operations")).collect();
    assert_eq!(numbers, all, "without a hole");
    assert!(numbers.len() >= usize::from(sys::IORING_OP_LAST));
    // The floor has SHUTDOWN, LINKAT and what came before them; where it was backported, what came before MKDIRAT.
    let oldest = probe.level() == Version::new(5, 15);
    let last = if oldest { sys::IORING_OP_UNLINKAT } else { sys::IORING_OP_LINKAT };
    for operation in probe.operations().filter(|operation| operation.opcode.0 <= last) {
        assert!(operation.supported, "{operation:?}");
    }
    assert_eq!(ring.features() & Setup::FLOOR, Setup::FLOOR);
    for feature in probe.features() {
        let bit = Features::from_bits_retain(feature.info.bits as u32);
        assert_eq!(feature.supported, ring.features().contains(bit), "{feature:?}");
        assert_eq!(feature.supported, probe.has(bit));
    }
    // A second probe, by a ring of its own, says the same.
    let own = Probe::new().expect("a probe");
    assert!(own.operations().eq(probe.operations()));
}

#[test]
fn item_34_each_row_gets_an_answer_and_a_variant_no_certain_one() {
    let probe = common::probe();
    let mut seen = HashSet::new();
    for row in op::all() {
        let answer = probe.answer(row);
        seen.insert(format!("{answer:?}"));
        let first = op::since(row.opcode) == Some(row.since);
        match answer {
            Answer::Yes => assert!(first && probe.supports_opcode(row.opcode.0), "{}", row.name),
            Answer::No => assert!(!probe.supports_opcode(row.opcode.0), "{}", row.name),
            Answer::Likely => assert!(!first && row.since <= probe.level(), "{}", row.name),
            Answer::Unlikely => assert!(!first && row.since > probe.level(), "{}", row.name),
        }
        let supported = matches!(answer, Answer::Yes | Answer::Likely);
        assert_eq!(probe.supports(row), supported, "{}", row.name);
        match probe.require(row) {
            Ok(()) => assert!(supported, "{}", row.name),
            Err(unsupported) => {
                assert!(!supported);
                assert!(unsupported.to_string().contains(&row.since.to_string()), "{unsupported}");
            }
        }
    }
    assert!(seen.contains("Yes") && seen.contains("Likely"), "{seen:?}");
    assert!(probe.level() >= Version::new(5, 15));
}

#[test]
fn item_34_a_variant_of_another_release_is_what_was_said() {
    const TEST: &str = "item_34_a_variant_of_another_release_is_what_was_said";
    let probe = common::probe();
    let row: &OpInfo = TimeoutImmediate::INFO;
    let mut ring = Ring::new(8).expect("a ring");
    ring.push(TimeoutImmediate::new(Duration::from_millis(1))).expect("room");
    ring.submit_and_wait(1).expect("submitted");
    let result = ring.completions().next().expect("waited for one").result();
    match probe.answer(row) {
        Answer::Likely => assert_eq!(result, Err(Errno::TIME)),
        // Nothing came with 7.1 by which it could be told, so the kernel may have it all the same.
        Answer::Unlikely if result == Err(Errno::TIME) => skipped(TEST, "this kernel has it, and nothing tells"),
        Answer::Unlikely => assert!(matches!(result, Err(Errno::INVAL | Errno::FAULT)), "{result:?}"),
        other => panic!("{other:?} for a variant"),
    }
}

#[test]
fn item_34_setup_flags_are_taken_or_refused_as_said() {
    let probe = common::probe();
    // Flags that need nothing else.
    for flag in probe.setup_flags() {
        let bit = SetupFlags::from_bits_retain(flag.info.bits as u32);
        let alone = Setup::new(8).cq_entries(16).raw_flags(bit);
        let needs_more = SetupFlags::SQ_AFF | SetupFlags::ATTACH_WQ;
        if alone.conflict().is_some() || needs_more.contains(bit) {
            continue;
        }
        assert_eq!(alone.build().is_ok(), flag.supported, "{flag:?}");
        assert_eq!(probe.supports_setup(bit), flag.supported);
    }
}

#[test]
fn item_34_what_the_kernel_says_without_a_ring_is_what_it_says_with_one() {
    const TEST: &str = "item_34_what_the_kernel_says_without_a_ring_is_what_it_says_with_one";
    let probe = common::probe();
    let Some(query) = probe.query() else {
        assert_eq!((probe.enter_flags().count(), probe.sqe_flags().count()), (0, 0));
        return skipped(TEST, "needs IORING_REGISTER_QUERY (Linux 6.18)");
    };
    let last = probe.operations().filter(|operation| operation.supported).last().expect("operations");
    assert!(query.nr_request_opcodes > u32::from(last.opcode.0));
    assert!(query.nr_register_opcodes > sys::IORING_REGISTER_QUERY);
    assert_eq!(query.feature_flags, u64::from(Ring::new(1).expect("a ring").features().bits()));
    // IORING_ENTER_GETEVENTS to EXT_ARG, and all flags of entries but the latest, are as old as the floor.
    assert_eq!(probe.enter_flags().take(4).filter(|flag| flag.supported).count(), 4);
    assert_eq!(probe.sqe_flags().filter(|flag| flag.supported).count(), 7);
}

/// The kernel has no such question yet, or its answer is the same with and without a ring, and is not empty.
fn asked<Q: Query + PartialEq + std::fmt::Debug>(test: &str, release: Version, name: &str, empty: &Q) -> Option<Q> {
    let ring = Ring::new(1).expect("a ring");
    let (with, without) = (ring.query::<Q>(), query::<Q>());
    assert_eq!(with, without, "{name}");
    match with {
        Ok(answer) => {
            assert!(answer != *empty, "{name}");
            Some(answer)
        }
        Err(errno) => {
            // The questions are fewer than the releases: what one of 6.18 knows, one of 7.3 does.
            let first = release == Version::new(6, 18);
            assert_eq!(errno, if probe_level() < Version::new(6, 18) { Errno::INVAL } else { Errno::OPNOTSUPP });
            assert!(!first || errno == Errno::INVAL);
            skipped(test, &format!("{name} came with Linux {release}"));
            None
        }
    }
}

fn probe_level() -> Version {
    common::probe().level()
}

#[test]
fn item_34_every_question_has_an_answer_with_and_without_a_ring() {
    const TEST: &str = "item_34_every_question_has_an_answer_with_and_without_a_ring";
    let (first, later) = (Version::new(6, 18), Version::new(6, 19));
    let opcodes = asked(TEST, first, "IO_URING_QUERY_OPCODES", &sys::io_uring_query_opcode::ZERO);
    assert_eq!(opcodes, query_opcodes());
    asked(TEST, later, "IO_URING_QUERY_ZCRX", &sys::io_uring_query_zcrx::ZERO);
    asked(TEST, Version::new(7, 2), "IO_URING_QUERY_ZCRX_EVENT", &sys::io_uring_query_zcrx_event::ZERO);
    if let Some(queues) = asked(TEST, later, "IO_URING_QUERY_SCQ", &sys::io_uring_query_scq::ZERO) {
        // The completions of a ring begin there.
        let ring = Ring::new(8).expect("a ring");
        assert_eq!(u64::from(ring.params().cq_off.cqes), queues.hdr_size);
        assert!(queues.hdr_alignment.is_power_of_two());
    }
    if let Some(opcodes) = opcodes {
        assert_eq!(query::<sys::io_uring_query_scq>().is_ok(), opcodes.nr_query_opcodes > sys::IO_URING_QUERY_SCQ);
    }
}

#[test]
fn limits_are_those_of_the_kernel() {
    let limits = Limits::measure().expect("a large ring");
    let fits = |entries, cq_entries| Setup::new(entries).cq_entries(cq_entries).build().is_ok();
    assert!(fits(limits.entries, limits.cq_entries));
    assert!(!fits(limits.entries + 1, limits.cq_entries));
    assert!(!fits(limits.entries, limits.cq_entries + 1));
}

#[test]
fn a_ring_that_may_not_be_asked_says_so() {
    let mut ring = Setup::new(8).disabled().build().expect("a ring");
    let mut allowed = sys::io_uring_restriction {
        opcode: sys::IORING_RESTRICTION_REGISTER_OP,
        arg: sys::io_uring_restriction_arg { register_op: sys::IORING_REGISTER_ENABLE_RINGS as u8 },
        ..sys::io_uring_restriction::ZERO
    };
    // SAFETY: the argument is an array of one restriction, read during the call.
    unsafe { ring.register_raw(sys::IORING_REGISTER_RESTRICTIONS, (&raw mut allowed).cast(), 1) }.expect("restricted");
    ring.enable().expect("enabled");
    assert_eq!(Probe::of(&ring).err(), Some(Errno::ACCESS));
    // SAFETY: no argument.
    assert!(unsafe { ring.register_raw(sys::IORING_UNREGISTER_FILES, null_mut(), 0) }.is_err());
}

#[test]
fn the_release_is_the_systems() {
    let release = kernel_release().expect("a release");
    let (major, rest) = release.split_once('.').expect("a dot");
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    assert!(major.parse::<u8>().is_ok() && minor.parse::<u8>().is_ok(), "{release}");
}
