//! Every cause for which there may be no ring, produced where one machine can produce it, and found out.
//!
//! What changes limits, credentials or filters happens in a process of its own. Causes that take another kernel
//! (older than the floor, without io_uring, newer than this crate), a security module, or a setting that would take
//! io_uring from everybody (`kernel.io_uring_disabled` 2) are concluded from made-up readings beside the code.

mod common;
#[path = "common/user.rs"]
mod user;

use common::{has_setup, in_own_process, kernel_has, needs, skipped};
use rawring::flags::SetupFlags;
use rawring::probe::Probe;
use rawring::{Cause, Conflict, Errno, Ring, Setup, SetupError, Step};
use rustix::process::Resource;
use user::{SETTING, as_user, hold_the_setting, limit};

/// The error of a setup that must fail, and that its text names each of `words`.
fn fails(setup: &Setup<'_>, words: &[&str]) -> SetupError {
    let error = setup.build().expect_err("no ring");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    error
}

/// What the kernel said, at which step, and what it came down to.
fn facts(error: &SetupError) -> (Step, Option<Errno>, Cause) {
    (error.step(), error.errno(), *error.cause())
}

#[test]
fn contradictions_never_reach_the_kernel() {
    let excludes = Conflict::Excludes(SetupFlags::SQPOLL, SetupFlags::DEFER_TASKRUN);
    let polling = Setup::new(8).sqpoll(std::time::Duration::ZERO);
    let error = fails(&polling.clone().single_issuer().defer_taskrun(), &["SQPOLL", "DEFER_TASKRUN", "exclude"]);
    assert_eq!(facts(&error), (Step::Check, None, Cause::Conflict(excludes)));
    let error = fails(&Setup::new(8).defer_taskrun(), &["DEFER_TASKRUN needs IORING_SETUP_SINGLE_ISSUER"]);
    assert_eq!(error.step(), Step::Check);
    let error = fails(&Setup::new(0), &["0 entries"]);
    assert_eq!(facts(&error), (Step::Check, None, Cause::Entries(0)));
    // Left to the kernel, it says no more than that something is wrong; the cause is the same.
    let error = fails(&Setup::new(0).raw_flags(SetupFlags::CLAMP), &["0 entries", "io_uring_setup"]);
    assert_eq!(facts(&error), (Step::Setup, Some(Errno::INVAL), Cause::Entries(0)));
    needs!(has_setup(SetupFlags::SINGLE_ISSUER | SetupFlags::DEFER_TASKRUN));
    let raw = polling.single_issuer().defer_taskrun().raw_flags(SetupFlags::empty());
    assert_eq!(facts(&fails(&raw, &["exclude"])), (Step::Setup, Some(Errno::INVAL), Cause::Conflict(excludes)));
}

#[test]
fn rings_that_cannot_be_attached_to() {
    const TEST: &str = "rings_that_cannot_be_attached_to";
    let plain = Ring::new(8).expect("a ring");
    let polls = Setup::new(8).sqpoll(std::time::Duration::ZERO).attach(&plain);
    assert_eq!(facts(&fails(&polls, &["polling"])), (Step::Check, None, Cause::AttachWithoutPoller));
    assert_eq!(fails(&polls.raw_flags(SetupFlags::empty()), &[]).errno(), Some(Errno::INVAL), "the kernel agrees");
    if kernel_has(TEST, SetupFlags::REGISTERED_FD_ONLY) {
        let nameless = Setup::new(8).no_mmap().registered_fd_only().build().expect("a ring");
        let error = fails(&Setup::new(8).attach(&nameless), &["descriptor"]);
        assert_eq!(facts(&error), (Step::Check, None, Cause::AttachWithoutDescriptor));
    }
}

#[test]
fn sizes_out_of_range() {
    let invalid = |cause| (Step::Setup, Some(Errno::INVAL), cause);
    let error = fails(&Setup::new(32_769), &["32769", "clamp()"]);
    assert_eq!(facts(&error), invalid(Cause::Entries(32_769)));
    for (entries, cq_entries) in [(8, 0), (8, 4), (8, 65_537), (8, u32::MAX)] {
        let error = fails(&Setup::new(entries).cq_entries(cq_entries), &[&cq_entries.to_string()]);
        assert_eq!(facts(&error), invalid(Cause::CqEntries { cq_entries, entries }));
    }
    let ring = Setup::new(32_769).cq_entries(65_537).clamp().build().expect("a ring, cut");
    assert_eq!((ring.sq_entries(), ring.cq_entries()), (32_768, 65_536));
    if kernel_has("sizes_out_of_range", SetupFlags::CQE_MIXED) {
        let error = fails(&Setup::new(1).cq_entries(1).cqe_mixed(), &["2 at least"]);
        let cause = Cause::CqEntries { cq_entries: 1, entries: 1 };
        assert_eq!(facts(&error), (Step::Setup, Some(Errno::OVERFLOW), cause));
    }
    if kernel_has("sizes_out_of_range", SetupFlags::SQE_MIXED) {
        let error = fails(&Setup::new(1).sqe_mixed(), &["2 slots"]);
        assert_eq!(facts(&error), (Step::Setup, Some(Errno::OVERFLOW), Cause::Entries(1)));
    }
}

#[test]
fn flags_that_the_kernel_does_not_know_are_named_with_their_release() {
    let newer = SetupFlags::from_bits_retain(1 << 31);
    let error = fails(&Setup::new(8).raw_flags(newer | SetupFlags::CLAMP), &["0x80000000"]);
    assert_eq!(facts(&error), (Step::Setup, Some(Errno::INVAL), Cause::UnknownFlags(newer)));
    let mut tried = 0;
    for flag in common::probe().setup_flags().filter(|flag| !flag.supported) {
        let bits = SetupFlags::from_bits_retain(flag.info.bits as u32);
        let wanted = Setup::new(8).raw_flags(bits | SetupFlags::CLAMP);
        let error = fails(&wanted, &[flag.info.name, &format!("Linux {}", flag.info.since)]);
        // With what the flag needs, if that is unknown as well.
        let Cause::UnknownFlags(named) = *error.cause() else { panic!("{error:?}") };
        assert!(named.contains(bits) && (bits | SetupFlags::NO_SQARRAY).contains(named), "{error:?}");
        assert!(named.iter().all(|flag| !common::probe().supports_setup(flag)), "{error:?}");
        tried += 1;
    }
    if tried == 0 {
        skipped("flags_that_the_kernel_does_not_know_are_named_with_their_release", "by name: this kernel knows all");
    }
}

#[test]
fn a_processor_that_is_not_there() {
    let error = fails(&Setup::new(8).sqpoll(std::time::Duration::ZERO).sqpoll_cpu(100_000), &["processor 100000"]);
    assert_eq!(facts(&error), (Step::Setup, Some(Errno::INVAL), Cause::Cpu(100_000)));
}

#[test]
fn memory_that_is_not_there() {
    const TEST: &str = "memory_that_is_not_there";
    if !kernel_has(TEST, SetupFlags::NO_MMAP) {
        return;
    }
    // Sizes that the kernel would never see, since memory for them is needed first.
    let error = fails(&Setup::new(u32::MAX).no_mmap(), &["4294967295", "clamp()"]);
    assert_eq!(facts(&error), (Step::Memory, None, Cause::Entries(u32::MAX)));
    let error = fails(&Setup::new(8).cq_entries(u32::MAX).no_mmap(), &["4294967295"]);
    assert_eq!(facts(&error), (Step::Memory, None, Cause::CqEntries { cq_entries: u32::MAX, entries: 8 }));
    let huge = std::fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
    if huge.trim() == "0" {
        let error = fails(&Setup::new(8).no_mmap_huge(), &["mmap"]);
        assert_eq!((error.step(), error.errno()), (Step::Memory, Some(Errno::NOMEM)));
        assert!(matches!(error.cause(), Cause::Map(_)), "{error:?}");
    } else {
        skipped(TEST, "huge pages: some are set aside");
    }
}

/// Names of the descriptors that are open in this process.
fn descriptors() -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name()).collect()
}

#[test]
fn a_mapping_that_fails_leaves_nothing_behind() {
    in_own_process("a_mapping_that_fails_leaves_nothing_behind", || {
        let before = descriptors();
        // Too little for the mappings of a ring this large, which are some megabytes.
        let used = std::fs::read_to_string("/proc/self/statm").expect("statm");
        let pages: u64 = used.split(' ').next().expect("a field").parse().expect("a number");
        let bytes = pages * rustix::param::page_size() as u64 + 1_000_000;
        let own = limit(Resource::As, Some(bytes));
        let error = fails(&Setup::new(32_768), &["mmap"]);
        limit(Resource::As, own);
        assert_eq!((error.step(), error.errno()), (Step::Map, Some(Errno::NOMEM)));
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn too_many_descriptors() {
    in_own_process("too_many_descriptors", || {
        let lowest = rustix::io::dup(std::io::stderr()).expect("a descriptor");
        let files = std::os::fd::AsRawFd::as_raw_fd(&lowest) as u64;
        drop(lowest);
        limit(Resource::Nofile, Some(files));
        let error = fails(&Setup::new(8), &["RLIMIT_NOFILE", &files.to_string()]);
        assert_eq!(facts(&error), (Step::Setup, Some(Errno::MFILE), Cause::Files { limit: files }));
    });
}

/// Has the kernel answer `errno` to every such system call of this thread.
fn filter(call: libc::c_long, errno: Errno) {
    let nr = call as u32;
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let answer = libc::SECCOMP_RET_ERRNO | errno.raw_os_error() as u32;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let mut program = [
        // The number of the call is the first field of what a filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { jf: 1, ..statement(equal, nr) },
        statement(libc::BPF_RET | libc::BPF_K, answer),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the calls read their arguments while they run.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

#[test]
fn a_system_call_filter() {
    in_own_process("a_system_call_filter", || {
        for errno in [Errno::PERM, Errno::ACCESS, Errno::NOSYS] {
            // A filter stays with the thread, and of several the last that was installed speaks.
            std::thread::spawn(move || {
                filter(libc::SYS_io_uring_setup, errno);
                let error = fails(&Setup::new(8), &["seccomp", "container"]);
                assert_eq!(facts(&error), (Step::Setup, Some(errno), Cause::Seccomp));
                assert_eq!(facts(&Probe::new().expect_err("no probe")), facts(&error));
            })
            .join()
            .expect("the thread");
        }
        Ring::new(8).expect("other threads are not filtered");
        // One that lets rings be made, but not asked.
        std::thread::spawn(|| {
            filter(libc::SYS_io_uring_register, Errno::PERM);
            Ring::new(8).expect("a ring");
            let error = Probe::new().expect_err("no probe");
            assert_eq!(facts(&error), (Step::Probe, Some(Errno::PERM), Cause::Seccomp));
            assert!(error.to_string().contains("[io_uring_register:"), "{error}");
        })
        .join()
        .expect("the thread");
    });
}

/// Causes that would take the whole system with them, by the answer that the kernel would give.
#[test]
fn a_system_that_has_run_out() {
    in_own_process("a_system_that_has_run_out", || {
        let answered = |errno, words: &'static [&str]| {
            let thread = std::thread::spawn(move || {
                filter(libc::SYS_io_uring_setup, errno);
                *fails(&Setup::new(8), words).cause()
            });
            thread.join().expect("the thread")
        };
        assert_eq!(answered(Errno::NFILE, &["fs.file-max"]), Cause::SystemFiles);
        assert_eq!(answered(Errno::XDEV, &["Invalid cross-device link"]), Cause::Unknown);
        // Whether a limit on locked memory applies to this thread is for another test.
        let (Cause::Memory { needed } | Cause::Memlock { needed, .. }) = answered(Errno::NOMEM, &["bytes"]) else {
            panic!("ENOMEM is another cause")
        };
        assert_eq!(needed, 2 * rustix::param::page_size() as u64);
    });
}

const GROUP: &str = "/proc/sys/kernel/io_uring_group";

#[test]
fn the_limit_on_locked_memory() {
    const TEST: &str = "the_limit_on_locked_memory";
    if !rustix::process::getuid().is_root() {
        return skipped(TEST, "needs to be root, to become a user who has no ring yet");
    }
    in_own_process(TEST, || {
        // Kernels before 6.6 have no such setting.
        let _held = hold_the_setting();
        let limit = |bytes| limit(Resource::Memlock, Some(bytes));
        // What is counted is given back some time after a ring is gone, so every attempt is another user's.
        let mut uid = 1_000_000 + 1000 * (std::process::id() % 1_000_000);
        let mut attempt = |setup: &Setup<'_>| {
            uid += 1;
            as_user(uid, uid, || setup.build().map(drop))
        };
        limit(65_536);
        let large = Setup::new(32_768);
        let Err(error) = attempt(&large) else {
            return skipped(TEST, "this kernel does not count rings");
        };
        let text = error.to_string();
        assert!(text.contains("RLIMIT_MEMLOCK") && text.contains("65536"), "{text}");
        let Cause::Memlock { needed, limit: 65_536 } = *error.cause() else { panic!("{error:?}") };
        assert_eq!((error.step(), error.errno()), (Step::Setup, Some(Errno::NOMEM)));
        assert!(text.contains(&needed.to_string()), "{text}");
        // The number is right to the byte.
        limit(needed - 1);
        assert!(attempt(&large).is_err());
        limit(needed);
        attempt(&large).expect("as much as was said to be needed");
    });
}

/// A setting that is put back when this is dropped.
struct Restored(&'static str, String);

impl Restored {
    fn set(path: &'static str, value: &str) -> std::io::Result<Self> {
        let restored = Restored(path, std::fs::read_to_string(path)?);
        std::fs::write(path, value)?;
        Ok(restored)
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        std::fs::write(self.0, &self.1).expect("the setting as it was");
    }
}

#[test]
fn the_setting_that_switches_io_uring_off() {
    const TEST: &str = "the_setting_that_switches_io_uring_off";
    if !rustix::process::getuid().is_root() {
        return skipped(TEST, "needs to be root, to change kernel.io_uring_disabled");
    }
    in_own_process(TEST, || {
        let uid = 1_000_000_000 + std::process::id();
        let group = uid + 1;
        let denied = |words: &'static [&str]| facts(&as_user(uid, group, || fails(&Setup::new(8), words)));
        // 1, for which privileged processes care nothing: whatever else runs as root is not disturbed.
        let setting = hold_the_setting().and_then(|held| Ok((Restored::set(SETTING, "1")?, held)));
        let _setting = match setting {
            Ok(setting) => setting,
            Err(error) => return skipped(TEST, &format!("kernel.io_uring_disabled cannot be set: {error}")),
        };
        Ring::new(8).expect("root may");
        let is = |group| (Step::Setup, Some(Errno::PERM), Cause::Disabled { value: 1, group });
        {
            let _group = Restored::set(GROUP, "-1").expect("a setting");
            assert_eq!(denied(&["kernel.io_uring_disabled is 1", "no group"]), is(None));
        }
        {
            let _group = Restored::set(GROUP, "4").expect("a setting");
            assert_eq!(denied(&["kernel.io_uring_disabled is 1", "group 4"]), is(Some(4)));
        }
        let _group = Restored::set(GROUP, &group.to_string()).expect("a setting");
        as_user(uid, group, || Ring::new(8).map(drop)).expect("a member of the group may");
    });
}
