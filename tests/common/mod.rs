//! What several test files need: saying what was skipped, asking what the kernel has, using a ring all around, and
//! running a test in a process of its own.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::Write as _;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rawring::flags::{Features, SetupFlags};
use rawring::op::Nop;
use rawring::probe::{Probe, Unsupported};
use rawring::register::Registration;
use rawring::{OpInfo, Ring, ScopeError, Setup, UserData, Version};

/// Says that a test, or a part of one, was not run. Nothing is skipped without it.
pub fn skipped(test: &str, reason: &str) {
    announce(&format!("skipped: {test}: {reason}"));
}

/// Writes a line where it is seen: what `eprintln!` prints in a test that passes, the test harness swallows.
pub fn announce(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error");
}

/// What this kernel can do, asked once.
pub fn probe() -> &'static Probe {
    static PROBE: OnceLock<Probe> = OnceLock::new();
    PROBE.get_or_init(|| Probe::new().expect("io_uring is available"))
}

/// Whether the kernel knows these setup flags; says so if the test is skipped for them.
pub fn kernel_has(test: &str, flags: SetupFlags) -> bool {
    has_setup(flags).map_err(|reason| skipped(test, &reason)).is_ok()
}

/// Whether the kernel has an operation; says so if the test is skipped for it.
pub fn kernel_has_op(test: &str, op: &'static OpInfo) -> bool {
    has(op).map_err(|unsupported| skipped(test, &unsupported.to_string())).is_ok()
}

/// Whether the kernel is of a release, judged by what it has; says so if the test, or the rest of it, is skipped for it.
pub fn newer(test: &str, since: Version) -> bool {
    self::since(since).map_err(|reason| skipped(test, &reason)).is_ok()
}

/// As [`newer`], for [`needs!`].
pub fn since(release: Version) -> Result<(), String> {
    let level = probe().level();
    if level < release { Err(format!("needs Linux {release}, has what Linux {level} had")) } else { Ok(()) }
}

/// Whether the kernel has an operation.
pub fn has(op: &'static OpInfo) -> Result<(), Unsupported> {
    probe().require(op)
}

/// Whether the kernel knows these setup flags, or which it lacks.
pub fn has_setup(flags: SetupFlags) -> Result<(), String> {
    let missing: Vec<_> = probe()
        .setup_flags()
        .filter(|flag| !flag.supported && u64::from(flags.bits()) & flag.info.bits != 0)
        .map(|flag| format!("{} (Linux {})", flag.info.name, flag.info.since))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("needs {}", missing.join(", "))) }
}

/// Whether the kernel has a feature.
pub fn has_feature(feature: Features) -> Result<(), String> {
    let missing = probe().features().find(|flag| !flag.supported && flag.info.bits == u64::from(feature.bits()));
    missing.map_or(Ok(()), |flag| Err(format!("needs {} (Linux {})", flag.info.name, flag.info.since)))
}

/// Whether the kernel has a registration.
pub fn has_registration(registration: Registration) -> Result<(), String> {
    let missing = probe().registration(registration).missing;
    missing.map_or(Ok(()), |missing| Err(format!("{registration:?}: {missing}")))
}

/// The release that brought provided-buffer rings, and much else of provided buffers as it is.
pub const BUFFER_RINGS: Version = Version::new(5, 19);
/// The release in which the kernel tells how far it has consumed a ring of provided buffers.
pub const STATUS: Version = Version::new(6, 8);

/// Whether there can be a `scope` and an `InFlight`, or why not.
pub fn safe_doors() -> Result<(), ScopeError> {
    Ring::new(1).expect("a ring").scope(|_| ())
}

/// Ends the test that this stands in if the kernel lacks something, and says so.
#[allow(unused_macros, reason = "as above")]
macro_rules! needs {
    ($what:expr) => {
        if let Err(reason) = $what {
            // The path of a function inside the test's: the test's own name is the last but one.
            fn here() {}
            let path = std::any::type_name_of_val(&here);
            let test = path.rsplit("::").nth(1).expect("a test");
            return $crate::common::skipped(test, &reason.to_string());
        }
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use needs;

/// Calls the method of a setup flag. Needs a ring to attach to, and a processor for the polling thread.
pub fn with<'r>(setup: Setup<'r>, flag: SetupFlags, ring: &'r Ring, cpu: u32) -> Setup<'r> {
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

/// Fills the submission queue to the last slot and reaps, several times: every entry must complete as itself.
pub fn exercise(ring: &mut Ring) {
    let entries = ring.sq_entries();
    for round in 0..5_u32 {
        assert_eq!((ring.pending(), ring.ready(), ring.room()), (0, 0, entries));
        let key = |slot: u32| u64::from(round) << 32 | u64::from(slot);
        for slot in 0..entries {
            ring.push(Nop::new().user_data(key(slot))).expect("room");
        }
        let outcome = ring.submit_and_wait(entries).expect("submitted");
        assert_eq!((outcome.entries, ring.pending()), (entries, 0), "{ring:?}, round {round}");
        let seen: Vec<_> = ring.completions().map(|cqe| (cqe.user_data(), cqe.result())).collect();
        let expected: Vec<_> = (0..entries).map(|slot| (UserData(key(slot)), Ok(0))).collect();
        assert!(seen == expected, "{ring:?}, round {round}: {} completions", seen.len());
    }
    assert_eq!((ring.dropped(), ring.lost(), ring.overflowed()), (0, 0, false));
}

/// Runs a test's `body` in a process of its own, so that it can change what a process has only one of: limits,
/// credentials, filters, registered rings. `test` is the name of the calling test function.
///
/// The process is this test binary again, told to run that one test; in there this function calls the body.
pub fn in_own_process(test: &str, body: impl FnOnce()) {
    const MARK: &str = "RAWRING_TEST_IN_OWN_PROCESS";
    if std::env::var_os(MARK).is_some_and(|name| name == test) {
        return body();
    }
    let exe = std::env::current_exe().expect("the test binary has a path");
    let output = Command::new(exe)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, test)
        .output()
        .expect("the test binary starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // What the inner test skipped is told by the outer one.
    err.lines().filter(|line| line.starts_with("skipped: ")).for_each(announce);
    assert!(output.status.success(), "{test} in its own process: {}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "{test} is not the name of the test that calls this\n{out}");
}
