//! From an errno to a cause.
//!
//! The kernel says one number for many reasons. What else can be known is read here: settings and the state of this
//! thread from `/proc`, limits, and what the kernel knows of flags. Reading is apart from concluding, so that every
//! conclusion can be tested without the machine to match. Nothing here can fail: what cannot be read is not known.

use std::fs::read_to_string;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::build::{Failure, knows};
use super::error::{Cause, Step};
use super::{Setup, rules};
use crate::flags::SetupFlags;
use crate::kernel::Kernel;
use rawring_sys as sys;

/// The kernel's limits, as they are in Linux 7.3 and were before. Used to explain a refusal, never to refuse.
const MAX_ENTRIES: u32 = 32_768;
const MAX_CQ_ENTRIES: u32 = 2 * MAX_ENTRIES;

/// Why `io_uring_setup` refused these parameters.
pub(super) fn cause(kernel: &Kernel, errno: Errno, entries: u32, params: &sys::io_uring_params) -> Cause {
    let flags = SetupFlags::from_bits_retain(params.flags);
    match errno {
        Errno::NOSYS | Errno::PERM | Errno::ACCESS => forbidden(errno, &Readings::take()),
        Errno::NOMEM => floor(kernel).unwrap_or_else(|| memory(needed(entries, params), &Readings::take())),
        Errno::MFILE => Cause::Files { limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) },
        Errno::NFILE => Cause::SystemFiles,
        Errno::BUSY if flags.contains(SetupFlags::REGISTERED_FD_ONLY) => Cause::Registrations,
        Errno::INVAL | Errno::OVERFLOW => sizes(entries, params)
            .or_else(|| floor(kernel))
            .or_else(|| unknown(kernel, flags).map(Cause::UnknownFlags))
            .or_else(|| rules::conflict(flags).map(Cause::Conflict))
            .or_else(|| limits(entries, params))
            .or_else(|| flags.contains(SetupFlags::SQ_AFF).then_some(Cause::Cpu(params.sq_thread_cpu)))
            .or_else(|| flags.contains(SetupFlags::NO_MMAP).then_some(Cause::NotContiguous))
            .unwrap_or(Cause::Unknown),
        _ => Cause::Unknown,
    }
}

/// What the plainest ring says of a kernel below the floor.
fn floor(kernel: &Kernel) -> Option<Cause> {
    match Setup::of(kernel.clone(), 1).no_sqarray(false).make() {
        Err(Failure::Plain(Step::Floor, cause)) => Some(cause),
        _ => None,
    }
}

/// The setup flags, of those in `among`, that this kernel does not know.
pub(crate) fn unknown(kernel: &Kernel, among: SetupFlags) -> Option<SetupFlags> {
    let known = match crate::probe::query_of(kernel) {
        Some(answer) => SetupFlags::from_bits_retain(answer.ring_setup_flags as u32),
        None => SetupFlags::INFO
            .iter()
            .filter(|flag| u64::from(among.bits()) & flag.bits != 0 && knows(kernel, flag))
            .fold(SetupFlags::empty(), |known, flag| known | SetupFlags::from_bits_retain(flag.bits as u32)),
    };
    let unknown = SetupFlags::from_bits_retain(among.bits() & !known.bits());
    (!unknown.is_empty()).then_some(unknown)
}

/// Sizes that are wrong on every kernel.
fn sizes(entries: u32, params: &sys::io_uring_params) -> Option<Cause> {
    let flags = SetupFlags::from_bits_retain(params.flags);
    if entries == 0 || flags.contains(SetupFlags::SQE_MIXED) && entries == 1 {
        return Some(Cause::Entries(entries));
    }
    if !flags.contains(SetupFlags::CQSIZE) {
        return None;
    }
    let cut = |size: u32, max: u32| {
        let size = size.checked_next_power_of_two().unwrap_or(u32::MAX);
        if flags.contains(SetupFlags::CLAMP) { size.min(max) } else { size }
    };
    let cq_entries = params.cq_entries;
    let too_small = cq_entries == 0
        || cut(cq_entries, MAX_CQ_ENTRIES) < cut(entries, MAX_ENTRIES)
        || flags.contains(SetupFlags::CQE_MIXED) && cq_entries == 1;
    too_small.then_some(Cause::CqEntries { cq_entries, entries })
}

/// Sizes that are too large.
fn limits(entries: u32, params: &sys::io_uring_params) -> Option<Cause> {
    let flags = SetupFlags::from_bits_retain(params.flags);
    let cq_entries = params.cq_entries;
    if flags.contains(SetupFlags::CLAMP) {
        None
    } else if entries > MAX_ENTRIES {
        Some(Cause::Entries(entries))
    } else if flags.contains(SetupFlags::CQSIZE) && cq_entries > MAX_CQ_ENTRIES {
        Some(Cause::CqEntries { cq_entries, entries })
    } else {
        None
    }
}

/// How many bytes the kernel allocates for a ring: whole pages for the entries, and for all the rest.
fn needed(entries: u32, params: &sys::io_uring_params) -> u64 {
    let has = |flag: SetupFlags| u64::from(params.flags & flag.bits() != 0);
    let round = |size: u32, max: u32| u64::from(size.min(max).next_power_of_two());
    let entries = round(entries, MAX_ENTRIES);
    let cq_entries = match has(SetupFlags::CQSIZE) {
        0 => 2 * entries,
        _ => round(params.cq_entries, MAX_CQ_ENTRIES),
    };
    // The words before the completions take a cache line at least.
    const HEADER: u64 = 64;
    let array = (1 - has(SetupFlags::NO_SQARRAY)) * entries * 4;
    let rings = ((HEADER + cq_entries * 16) << has(SetupFlags::CQE32)) + array;
    let sqes = (entries * 64) << has(SetupFlags::SQE128);
    let page = rustix::param::page_size() as u64;
    rings.next_multiple_of(page) + sqes.next_multiple_of(page)
}

/// What was read about the calling thread and the system.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Readings {
    /// `kernel.io_uring_disabled`; kernels before 6.6 have no such setting.
    disabled: Option<u32>,
    /// `kernel.io_uring_group`.
    group: Option<u32>,
    /// The thread has a system call filter.
    filtered: bool,
    /// Its group, and its supplementary groups.
    groups: Vec<u32>,
    /// Its effective capabilities.
    capabilities: u64,
    /// Its numbers of users and groups, and its capabilities, mean something to the system as a whole.
    initial_namespace: bool,
    /// `RLIMIT_MEMLOCK`; `None` is no limit.
    memlock: Option<u64>,
}

const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;

impl Readings {
    fn take() -> Self {
        let setting = |name: &str| {
            let text = read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
            // No group is written as -1.
            text.trim().parse().ok()
        };
        Readings {
            disabled: setting("io_uring_disabled"),
            group: setting("io_uring_group"),
            initial_namespace: read_to_string("/proc/thread-self/uid_map")
                .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"])),
            memlock: getrlimit(Resource::Memlock).current,
            ..Self::of_thread(&read_to_string("/proc/thread-self/status").unwrap_or_default())
        }
    }

    /// What the thread's `status` says.
    fn of_thread(status: &str) -> Self {
        let mut readings = Readings::default();
        for (name, value) in status.lines().filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name {
                // 2 is a filter; 1 allows hardly any call, this file's among them.
                "Seccomp" => readings.filtered = value == "2",
                "CapEff" => readings.capabilities = u64::from_str_radix(value, 16).unwrap_or(0),
                // Real, effective, saved, and the one that counts: that for file systems.
                "Gid" => {
                    readings.groups.extend(value.split_whitespace().nth(3).and_then(|gid| gid.parse::<u32>().ok()))
                }
                "Groups" => readings.groups.extend(value.split_whitespace().filter_map(|gid| gid.parse::<u32>().ok())),
                _ => {}
            }
        }
        readings
    }

    fn capable(&self, capability: u32) -> bool {
        self.initial_namespace && self.capabilities & (1 << capability) != 0
    }

    fn counted_memlock(&self) -> Option<u64> {
        self.memlock.filter(|_| !self.capable(CAP_IPC_LOCK))
    }

    /// Whether the thread is in the group that may use io_uring.
    fn member(&self) -> bool {
        self.initial_namespace && self.group.is_some_and(|group| self.groups.contains(&group))
    }
}

/// Why the call is forbidden, or not there.
fn forbidden(errno: Errno, readings: &Readings) -> Cause {
    let group = readings.group;
    match readings.disabled {
        Some(value @ 2..) if errno == Errno::PERM => Cause::Disabled { value, group },
        Some(1) if errno == Errno::PERM && !readings.capable(CAP_SYS_ADMIN) && !readings.member() => {
            Cause::Disabled { value: 1, group }
        }
        _ if readings.filtered => Cause::Seccomp,
        _ if errno == Errno::NOSYS => Cause::NoIoUring,
        _ => Cause::Forbidden,
    }
}

/// Why there is no memory. Linux 6.18, and kernels before 5.12, count rings of processes without `CAP_IPC_LOCK`
/// towards the limit on locked memory, together with those that the user has elsewhere; others do not count them.
fn memory(needed: u64, readings: &Readings) -> Cause {
    match readings.counted_memlock() {
        Some(limit) => Cause::Memlock { needed, limit },
        None => Cause::Memory { needed },
    }
}

/// The limit on locked memory, if what this thread has the kernel lock is counted.
pub(crate) fn counted_memlock() -> Option<u64> {
    Readings::take().counted_memlock()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An unprivileged process outside of any namespace.
    fn user() -> Readings {
        Readings { initial_namespace: true, groups: vec![1000, 27], memlock: Some(65_536), ..Readings::default() }
    }

    #[test]
    fn status_is_read() {
        let status = "Name:\tx\nGid:\t1\t2\t3\t4\nGroups:\t7 8 \nCapEff:\t0000000000204000\nSeccomp:\t2\n";
        let readings = Readings::of_thread(status);
        assert_eq!((readings.filtered, &readings.groups[..]), (true, &[4, 7, 8][..]));
        let readings = Readings { initial_namespace: true, ..readings };
        assert!(readings.capable(CAP_SYS_ADMIN) && readings.capable(CAP_IPC_LOCK) && !readings.capable(0));
        let strict = Readings::of_thread("Seccomp:\t0\nGroups:\t\nGid:\tnone\nCapEff:\t-\nno colon\n");
        assert_eq!(strict, Readings::default());
        // And this thread's is like it.
        let here = Readings::take();
        assert!(!here.groups.is_empty(), "{here:?}");
    }

    #[test]
    fn the_setting_explains_only_what_it_forbids() {
        let disabled = |value| Readings { disabled: Some(value), group: Some(900), ..user() };
        let is = |value| Cause::Disabled { value, group: Some(900) };
        assert_eq!(forbidden(Errno::PERM, &disabled(2)), is(2));
        assert_eq!(forbidden(Errno::PERM, &disabled(1)), is(1));
        assert_eq!(forbidden(Errno::PERM, &disabled(0)), Cause::Forbidden);
        // Members of the group and privileged processes are let through, so it is something else.
        let member = Readings { groups: vec![900], ..disabled(1) };
        assert_eq!(forbidden(Errno::PERM, &member), Cause::Forbidden);
        assert_eq!(forbidden(Errno::PERM, &Readings { disabled: Some(2), ..member.clone() }), is(2));
        let admin = Readings { capabilities: 1 << CAP_SYS_ADMIN, ..disabled(1) };
        assert_eq!(forbidden(Errno::PERM, &admin), Cause::Forbidden);
        // In a namespace neither number means what the kernel compares.
        for inside in [member, admin] {
            assert_eq!(forbidden(Errno::PERM, &Readings { initial_namespace: false, ..inside }), is(1));
        }
        // It never answers anything but EPERM.
        assert_eq!(forbidden(Errno::NOSYS, &disabled(2)), Cause::NoIoUring);
        assert_eq!(forbidden(Errno::ACCESS, &disabled(2)), Cause::Forbidden);
    }

    #[test]
    fn a_filter_explains_what_the_setting_does_not() {
        let filtered = Readings { filtered: true, ..user() };
        for errno in [Errno::PERM, Errno::NOSYS, Errno::ACCESS] {
            assert_eq!(forbidden(errno, &filtered), Cause::Seccomp, "{errno}");
            assert_ne!(forbidden(errno, &user()), Cause::Seccomp, "{errno}");
        }
        let both = Readings { disabled: Some(2), ..filtered };
        assert_eq!(forbidden(Errno::PERM, &both), Cause::Disabled { value: 2, group: None });
        assert_eq!(forbidden(Errno::NOSYS, &user()), Cause::NoIoUring);
    }

    #[test]
    fn locked_memory_explains_only_what_is_counted() {
        let limited = Cause::Memlock { needed: 8192, limit: 65_536 };
        assert_eq!(memory(8192, &user()), limited);
        let privileged = Readings { capabilities: 1 << CAP_IPC_LOCK, ..user() };
        assert_eq!(memory(8192, &privileged), Cause::Memory { needed: 8192 });
        // A capability inside of a user namespace does not count for this.
        assert_eq!(memory(8192, &Readings { initial_namespace: false, ..privileged }), limited);
        assert_eq!(memory(8192, &Readings { memlock: None, ..user() }), Cause::Memory { needed: 8192 });
    }

    fn params(flags: SetupFlags, cq_entries: u32) -> sys::io_uring_params {
        sys::io_uring_params { flags: flags.bits(), cq_entries, ..sys::io_uring_params::ZERO }
    }

    #[test]
    fn the_memory_of_a_ring_is_counted_in_pages() {
        let plain = params(SetupFlags::NO_SQARRAY, 0);
        let page = rustix::param::page_size() as u64;
        assert_eq!(needed(1, &plain), 2 * page);
        let large = needed(32_768, &plain);
        assert_eq!(large, (64 + 65_536 * 16_u64).next_multiple_of(page) + 32_768 * 64);
        // Cut as the kernel would, with or without being asked to: it is an explanation, not a check.
        assert_eq!(needed(u32::MAX, &plain), large);
        assert!(needed(32_768, &params(SetupFlags::empty(), 0)) > large);
        assert!(needed(32_768, &params(SetupFlags::NO_SQARRAY | SetupFlags::SQE128, 0)) > large);
        assert!(needed(32_768, &params(SetupFlags::NO_SQARRAY | SetupFlags::CQE32, 0)) > large);
    }

    #[test]
    fn sizes_explain_only_what_they_break() {
        let (cq, clamp) = (SetupFlags::CQSIZE, SetupFlags::CQSIZE | SetupFlags::CLAMP);
        let wrong = |cq_entries, entries| Some(Cause::CqEntries { cq_entries, entries });
        let both = |entries, params: &_| sizes(entries, params).or_else(|| limits(entries, params));
        assert_eq!(both(0, &params(SetupFlags::CLAMP, 0)), Some(Cause::Entries(0)));
        assert_eq!(both(32_768, &params(SetupFlags::empty(), 0)), None);
        assert_eq!(both(32_769, &params(SetupFlags::empty(), 0)), Some(Cause::Entries(32_769)));
        assert_eq!(both(32_769, &params(SetupFlags::CLAMP, 0)), None);
        assert_eq!(both(8, &params(cq, 0)), wrong(0, 8));
        assert_eq!(both(8, &params(cq, 7)), None);
        assert_eq!(both(8, &params(cq, 4)), wrong(4, 8));
        assert_eq!(both(8, &params(cq, 65_537)), wrong(65_537, 8));
        assert_eq!(both(u32::MAX, &params(clamp, u32::MAX)), None);
        assert_eq!(both(u32::MAX, &params(clamp, 16_384)), wrong(16_384, u32::MAX));
        assert_eq!(both(1, &params(cq | SetupFlags::CQE_MIXED, 1)), wrong(1, 1));
        assert_eq!(both(1, &params(SetupFlags::SQE_MIXED, 0)), Some(Cause::Entries(1)));
    }
}
