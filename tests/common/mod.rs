//! What several test files need: saying what was skipped, asking what the kernel has, and running a test in a process
//! of its own.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::process::Command;
use std::sync::OnceLock;

use rawring::OpInfo;
use rawring::flags::SetupFlags;
use rawring::probe::Probe;

/// Says that a test, or a part of one, was not run. Nothing is skipped without it.
pub fn skipped(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
}

/// What this kernel can do, asked once.
pub fn probe() -> &'static Probe {
    static PROBE: OnceLock<Probe> = OnceLock::new();
    PROBE.get_or_init(|| Probe::new().expect("io_uring is available"))
}

/// Whether the kernel knows these setup flags; says so if the test is skipped for them.
pub fn kernel_has(test: &str, flags: SetupFlags) -> bool {
    let missing: Vec<_> = probe()
        .setup_flags()
        .filter(|flag| !flag.supported && u64::from(flags.bits()) & flag.info.bits != 0)
        .map(|flag| format!("{} (Linux {})", flag.info.name, flag.info.since))
        .collect();
    if !missing.is_empty() {
        skipped(test, &format!("needs {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// Whether the kernel has an operation; says so if the test is skipped for it.
pub fn kernel_has_op(test: &str, op: &'static OpInfo) -> bool {
    probe().require(op).map_err(|unsupported| skipped(test, &unsupported.to_string())).is_ok()
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
    err.lines().filter(|line| line.starts_with("skipped: ")).for_each(|line| eprintln!("{line}"));
    assert!(output.status.success(), "{test} in its own process: {}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "{test} is not the name of the test that calls this\n{out}");
}
