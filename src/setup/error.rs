//! Why a ring could not be made, in words.
//!
//! Every text says what was found and what to do about it. What is a guess says so: several causes share an errno, and
//! the kernel explains none. Finding the cause is `diagnose.rs`.

use core::fmt;

use rustix::io::Errno;

use super::diagnose;
use super::rules::Conflict;
use crate::flags::{Features, FlagInfo, SetupFlags};
use crate::kernel::Kernel;
use rawring_sys as sys;

/// Why there is no ring.
#[derive(Clone, Debug)]
pub struct SetupError {
    pub(super) step: Step,
    pub(super) errno: Option<Errno>,
    pub(super) cause: Cause,
}

/// What failed on the way to a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Step {
    /// What was asked for contradicts itself; the kernel was not asked.
    Check,
    /// Allocating memory for a ring of [`Setup::no_mmap`](crate::Setup::no_mmap), or looking at what was given for
    /// it. The kernel was not asked.
    Memory,
    /// The call of `io_uring_setup`.
    Setup,
    /// The ring was made, and closed again for what the kernel said of it.
    Floor,
    /// Mapping the ring.
    Map,
    /// Asking a ring what the kernel can do, for [`Probe::new`](crate::probe::Probe::new).
    Probe,
}

/// What is wrong, as far as it could be found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Setup flags that exclude or need each other.
    Conflict(Conflict),
    /// The ring to attach to was made with `REGISTERED_FD_ONLY`.
    AttachWithoutDescriptor,
    /// The ring to attach to has no polling thread to share.
    AttachWithoutPoller,
    /// Not a size that a submission queue can have.
    Entries(u32),
    /// Not a size that a completion queue can have.
    CqEntries {
        /// The size that was asked for.
        cq_entries: u32,
        /// The size of the submission queue that was asked for.
        entries: u32,
    },
    /// The kernel is older than this crate supports.
    OldKernel {
        /// Features of [`Setup::FLOOR`](crate::Setup::FLOOR) that it lacks.
        missing: Features,
    },
    /// Setup flags that this kernel does not know.
    UnknownFlags(SetupFlags),
    /// Setup flags that this kernel knows, and this crate does not.
    ForeignFlags(SetupFlags),
    /// The kernel has no io_uring.
    NoIoUring,
    /// The administrator switched io_uring off for this process, by `kernel.io_uring_disabled`.
    ///
    /// With 1, the calling thread neither has `CAP_SYS_ADMIN` nor is in the group.
    Disabled {
        /// The value of that setting: 1 leaves it to privileged processes and to a group, 2 to nobody.
        value: u32,
        /// The group, `kernel.io_uring_group`, if there is one.
        group: Option<u32>,
    },
    /// Probably the system call filter of a container runtime or of a service manager.
    Seccomp,
    /// Not permitted, and neither the setting nor a system call filter is the reason: a security module, for example.
    Forbidden,
    /// The limit for locked memory, which some kernels apply to rings of unprivileged processes.
    Memlock {
        /// How many bytes this ring needs, at least.
        needed: u64,
        /// How many all rings of this user may have: `RLIMIT_MEMLOCK`.
        limit: u64,
    },
    /// The kernel has no memory for the ring, or none within the limits of the control group.
    Memory {
        /// How many bytes this ring needs, at least.
        needed: u64,
    },
    /// The process has as many descriptors as it may have.
    Files {
        /// How many that are: `RLIMIT_NOFILE`.
        limit: u64,
    },
    /// The system has as many open files as it may have.
    SystemFiles,
    /// All 16 places for registered rings of this thread are taken.
    Registrations,
    /// The polling thread cannot be bound to this processor.
    Cpu(u32),
    /// Probably the memory of a ring of [`Setup::no_mmap`](crate::Setup::no_mmap) is in pieces, which this kernel does
    /// not take.
    NotContiguous,
    /// The memory given cannot be shared with a child that is to inherit the ring.
    PrivateMemory,
    /// The memory could not be allocated or mapped, or is not as a ring needs it.
    Map(sys::MapError),
    /// Not found out.
    Unknown,
}

impl SetupError {
    /// A ring could be made, but not be asked.
    pub(crate) fn probing(errno: Errno) -> Self {
        let cause = diagnose::cause(&Kernel::default(), errno, 1, &sys::io_uring_params::ZERO);
        SetupError { step: Step::Probe, errno: Some(errno), cause }
    }

    /// There is no memory for a ring.
    pub(crate) fn of_memory(error: sys::MapError) -> Self {
        SetupError { step: Step::Memory, errno: None, cause: Cause::Map(error) }
    }

    /// What failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// What is wrong.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// What the kernel answered; `None` if it was not asked, or did what it was asked to.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

impl std::error::Error for SetupError {}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        match (self.step, self.errno) {
            (Step::Setup, Some(errno)) => write!(f, " [io_uring_setup: {errno}]"),
            (Step::Probe, Some(errno)) => write!(f, " [io_uring_register: {errno}]"),
            // Errors of mapping say themselves which call it was.
            _ => Ok(()),
        }
    }
}

/// Flags by their names, and the release of each.
struct Named(&'static [FlagInfo], u32);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named(infos, bits) = *self;
        let mut left = bits;
        let mut separator = "";
        for info in infos.iter().filter(|info| u64::from(bits) & info.bits == info.bits) {
            left &= !(info.bits as u32);
            write!(f, "{separator}{} (Linux {})", info.name, info.since)?;
            separator = ", ";
        }
        if left == 0 { Ok(()) } else { write!(f, "{separator}{left:#x}") }
    }
}

/// Flags by their names.
struct Names(SetupFlags);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for info in SetupFlags::INFO.iter().filter(|info| u64::from(self.0.bits()) & info.bits != 0) {
            write!(f, "{separator}{}", info.name)?;
            separator = " or ";
        }
        Ok(())
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Conflict::Excludes(one, other) => {
                write!(f, "{} and {} exclude each other: leave one of them out", Names(one), Names(other))
            }
            Conflict::Needs(flag, any) => write!(f, "{} needs {}: set that too", Names(flag), Names(any)),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::Conflict(conflict) => conflict.fmt(f),
            Cause::AttachWithoutDescriptor => f.write_str(
                "the ring to attach to has no descriptor (REGISTERED_FD_ONLY), by which alone it could be named: \
                 attach to one that has",
            ),
            Cause::AttachWithoutPoller => f.write_str(
                "the ring to attach to has no polling thread that could be shared: make it with sqpoll() too, or \
                 this one without",
            ),
            Cause::Entries(0) => f.write_str("a ring of 0 entries is none: ask for 1 at least"),
            Cause::Entries(1) => f.write_str("a queue with entries of two sizes needs 2 slots at least"),
            Cause::Entries(entries) => write!(
                f,
                "{entries} entries are more than a submission queue can have, usually 32768: ask for less, or have \
                 the size cut with clamp()"
            ),
            Cause::CqEntries { cq_entries, entries } => write!(
                f,
                "{cq_entries} is no size for the completion queue beside {entries} submission entries: it may be as \
                 large as that one (rounded up to a power of two), 2 at least if completions have two sizes, and at \
                 most 65536 unless cut with clamp()"
            ),
            Cause::OldKernel { missing } => write!(
                f,
                "this kernel lacks {}: rawring needs what Linux 5.15 has",
                Named(Features::INFO, missing.bits())
            ),
            Cause::UnknownFlags(flags) => write!(
                f,
                "this kernel does not know {}: make the ring without, or use a newer kernel",
                Named(SetupFlags::INFO, flags.bits())
            ),
            Cause::ForeignFlags(flags) => write!(
                f,
                "this kernel knows the setup flags {:#x}, but this release of rawring does not know how a ring with \
                 them works: use a newer one, or Setup::raw_params",
                flags.bits()
            ),
            Cause::NoIoUring => f.write_str(
                "this kernel has no io_uring: it is older than Linux 5.1, was built without CONFIG_IO_URING, or is no \
                 Linux (some sandboxes)",
            ),
            Cause::Disabled { value, group } => {
                write!(f, "io_uring is switched off: kernel.io_uring_disabled is {value}, which ")?;
                match (value, group) {
                    (1, Some(group)) => write!(
                        f,
                        "leaves it to CAP_SYS_ADMIN and to group {group} (kernel.io_uring_group), and this process has \
                         neither: add its user to that group, or have the value set to 0"
                    ),
                    (1, None) => f.write_str(
                        "leaves it to CAP_SYS_ADMIN, and kernel.io_uring_group names no group that may use it too: \
                         have one named that this process is in, or the value set to 0",
                    ),
                    _ => f.write_str("forbids it to everybody: have the administrator set it to 0"),
                }
            }
            Cause::Seccomp => f.write_str(
                "likely seccomp: this process has a system call filter, and those of container runtimes and service \
                 managers block io_uring by default; allow io_uring_setup, io_uring_enter and io_uring_register in it",
            ),
            Cause::Forbidden => f.write_str(
                "not permitted, though neither kernel.io_uring_disabled nor a system call filter forbids it: look for \
                 a rule of a security module (SELinux knows the class io_uring)",
            ),
            Cause::Memlock { needed, limit } => write!(
                f,
                "likely RLIMIT_MEMLOCK: this ring needs {needed} bytes, and all rings and registered buffers of the user \
                 together may have {limit} where the kernel counts rings; raise the limit (ulimit -l), drop rings, or \
                 ask for fewer entries"
            ),
            Cause::Memory { needed } => write!(
                f,
                "the kernel found no memory for this ring, {needed} bytes at least: ask for fewer entries, or look at \
                 the limit of the control group"
            ),
            Cause::Files { limit } => write!(
                f,
                "this process has as many descriptors open as it may have, {limit} (RLIMIT_NOFILE): close some, or \
                 raise the limit"
            ),
            Cause::SystemFiles => f.write_str("the system has as many files open as it may have (fs.file-max)"),
            Cause::Registrations => f.write_str(
                "all 16 places for registered rings of this thread are taken: drop one on this thread, or make the \
                 ring on another",
            ),
            Cause::Cpu(cpu) => write!(
                f,
                "likely the polling thread cannot be bound to processor {cpu}: choose one that is online and in the \
                 set of this process"
            ),
            Cause::NotContiguous => f.write_str(
                "likely the ring's own memory: before Linux 6.10 the kernel takes only what is contiguous; ask for at \
                 most a page of entries, use no_mmap_huge(), or leave no_mmap() out",
            ),
            Cause::PrivateMemory => f.write_str(
                "a ring in memory that was handed over cannot be inherited: that memory is private, and a child would \
                 get a copy; use no_mmap(), or leave inherit_on_fork() out",
            ),
            Cause::Map(error) => error.fmt(f),
            Cause::Unknown => f.write_str("no ring, for a reason that rawring knows no better than the kernel says it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_flags_of_a_conflict_are_named() {
        let text = Conflict::Excludes(SetupFlags::SQPOLL, SetupFlags::DEFER_TASKRUN).to_string();
        assert!(text.contains("IORING_SETUP_SQPOLL and IORING_SETUP_DEFER_TASKRUN"), "{text}");
        let either = SetupFlags::COOP_TASKRUN | SetupFlags::DEFER_TASKRUN;
        let text = Conflict::Needs(SetupFlags::TASKRUN_FLAG, either).to_string();
        let named = "IORING_SETUP_TASKRUN_FLAG needs IORING_SETUP_COOP_TASKRUN or IORING_SETUP_DEFER_TASKRUN";
        assert!(text.contains(named), "{text}");
    }

    #[test]
    fn unknown_flags_are_named_with_their_release() {
        let text = Cause::UnknownFlags(SetupFlags::SQ_REWIND | SetupFlags::from_bits_retain(1 << 31)).to_string();
        assert!(text.contains("IORING_SETUP_SQ_REWIND (Linux 7.0), 0x80000000"), "{text}");
    }
}
