//! Filters: small programs of classic BPF by which the kernel allows or refuses entries, for a ring or for a thread and
//! whatever it starts.
//!
//! A [`Filter`] is made of rules over fields of an entry, or of a [program](Program) of one's own, which is checked as
//! the kernel checks it, with an error that says where and why. A filter can be added and never taken away; an entry is
//! allowed if all filters for its operation allow it.
//!
//! Not here: programs and what makes one out of rules, which are in `bpf_program.rs` and `bpf_rules.rs`.

use core::fmt;

use rustix::io::Errno;

use super::bpf_program::{BadProgram, Program};
use super::bpf_rules::{Rules, Test};
use crate::kernel::Kernel;
use crate::op::Opcode;
use crate::ring::Ring;
use rawring_sys as sys;

/// What becomes of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This filter has nothing against it.
    Allow,
    /// It completes with `EACCES`.
    Deny,
}

/// A filter for the entries of one operation.
///
/// The first rule whose tests all hold decides; if there is none, what [`otherwise`](Self::otherwise) said, which is
/// [`Verdict::Deny`] if nothing was said.
///
/// Denied are the entries of `scope` and [`InFlight`](crate::InFlight) that cancel, too: where `ASYNC_CANCEL` is denied,
/// both wait until their operations end by themselves.
///
/// ```
/// use rawring::op::Opcode;
/// use rawring::register::{Filter, Test, Verdict};
/// use rawring::{Ring, sys};
///
/// let filter = Filter::new(Opcode(sys::IORING_OP_SOCKET))
///     .rule(&[Test::socket_family(libc::AF_INET6 as u32)], Verdict::Allow)
///     .otherwise(Verdict::Deny);
/// let ring = Ring::new(8)?;
/// match ring.register_filter(&filter) {
///     Ok(()) => {} // from here on, its sockets are of IPv6
///     Err(error) => println!("before Linux 7.0: {error}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    opcode: Opcode,
    content: Content,
    flags: u32,
}

#[derive(Clone, Debug)]
enum Content {
    Rules(Rules),
    Program { program: Program, sees: u8 },
}

impl Filter {
    /// A filter without rules, which denies all entries of the operation.
    #[must_use]
    pub fn new(opcode: Opcode) -> Self {
        Filter { opcode, content: Content::Rules(Rules::default()), flags: 0 }
    }

    /// A filter by a program of one's own. `sees` is how many bytes of `arg` in
    /// [`io_uring_bpf_ctx`](sys::io_uring_bpf_ctx) it relies on.
    #[must_use]
    pub fn from_program(opcode: Opcode, program: Program, sees: u8) -> Self {
        Filter { opcode, content: Content::Program { program, sees }, flags: 0 }
    }

    /// Adds a rule: if all of `tests` hold, `verdict` is what becomes of the entry. Without tests it always is.
    ///
    /// A filter that is a program has no rules, and stays as it is.
    #[must_use]
    pub fn rule(mut self, tests: &[Test], verdict: Verdict) -> Self {
        if let Content::Rules(rules) = &mut self.content {
            rules.add(tests, verdict);
        }
        self
    }

    /// What becomes of an entry that no rule is about.
    #[must_use]
    pub fn otherwise(self, verdict: Verdict) -> Self {
        self.rule(&[], verdict)
    }

    /// Denies all operations that have no filter at this moment, apart from this one's.
    #[must_use]
    pub fn deny_rest(mut self) -> Self {
        self.flags |= sys::IO_URING_BPF_FILTER_DENY_REST;
        self
    }

    /// Fails unless the kernel shows exactly as much of the operation as this crate knows of, or for a program as it
    /// relies on. Whether it shows enough is always looked at.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.flags |= sys::IO_URING_BPF_FILTER_SZ_STRICT;
        self
    }

    /// The instructions, and on how many bytes of the operation's own data they rely.
    ///
    /// # Errors
    ///
    /// [`BadProgram::TooLong`] for more rules than a program can have, or more tests in one than it can skip.
    pub fn compile(&self) -> Result<(Program, u8), BadProgram> {
        match &self.content {
            Content::Rules(rules) => Ok((Program::new(rules.compile()?)?, rules.sees())),
            Content::Program { program, sees } => Ok((program.clone(), *sees)),
        }
    }

    /// Calls `register` with the argument of the call.
    fn register(&self, register: impl FnOnce(*mut core::ffi::c_void) -> Result<u32, Errno>) -> Result<(), FilterError> {
        let (program, mut sees) = self.compile().map_err(FilterError::Program)?;
        if self.flags & sys::IO_URING_BPF_FILTER_SZ_STRICT != 0 && matches!(self.content, Content::Rules(_)) {
            sees = shown(self.opcode);
        }
        let mut arg = sys::io_uring_bpf {
            cmd_type: sys::IO_URING_BPF_CMD_FILTER,
            filter: sys::io_uring_bpf_filter {
                opcode: self.opcode.0.into(),
                flags: self.flags,
                filter_len: program.instructions().len() as u32,
                pdu_size: sees,
                filter_ptr: program.instructions().as_ptr().expose_provenance() as u64,
                ..sys::io_uring_bpf_filter::ZERO
            },
            ..sys::io_uring_bpf::ZERO
        };
        register((&raw mut arg).cast()).map(drop).map_err(|errno| match errno {
            Errno::MSGSIZE => FilterError::Size { expects: sees, has: arg.filter.pdu_size },
            errno => FilterError::Refused(errno),
        })
    }

    /// Adds the filter to those of the calling thread. It holds for all rings that the thread makes from now on, and
    /// for those of the threads and processes that it starts: they inherit it. Linux 7.0.
    ///
    /// # Errors
    ///
    /// As [`Ring::register_filter`]; also `EACCES` for a thread that has neither `CAP_SYS_ADMIN` nor set
    /// `no_new_privs` (`prctl(2)`).
    pub fn register_for_thread(&self) -> Result<(), FilterError> {
        self.register(|arg| {
            // SAFETY: the argument is a valid filter, and its program and it are read and written during the call. Without
            // a ring, the call is about the calling thread. What a filter denies fails as other operations do.
            unsafe { Kernel::default().register(-1, sys::IORING_REGISTER_BPF_FILTER, arg, 1) }
        })
    }
}

/// How much Linux 7.3 shows of what an operation was given.
fn shown(opcode: Opcode) -> u8 {
    (match opcode.0 {
        sys::IORING_OP_SOCKET => size_of::<sys::io_uring_bpf_ctx_socket>(),
        sys::IORING_OP_OPENAT | sys::IORING_OP_OPENAT2 => size_of::<sys::io_uring_bpf_ctx_open>(),
        sys::IORING_OP_CONNECT => size_of::<sys::io_uring_bpf_ctx_connect>(),
        _ => 0,
    }) as u8
}

impl Ring {
    /// Adds a filter to those of the ring, for good. It holds for entries that are submitted from now on. Linux 7.0; in all
    /// states of a ring.
    ///
    /// # Errors
    ///
    /// [`FilterError`]; the kernel's among them:
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | an operation that the kernel does not know; a kernel without this |
    /// | `ENOMEM` | no memory |
    /// | `EEXIST` | the ring belongs to another thread (`SINGLE_ISSUER`) |
    /// | `EBADF` | a ring without descriptor that another thread made |
    pub fn register_filter(&self, filter: &Filter) -> Result<(), FilterError> {
        filter.register(|arg| {
            // SAFETY: the argument is a valid filter, and its program and it are read and written during the call. What a
            // filter denies fails as other operations do.
            unsafe { self.register_raw(sys::IORING_REGISTER_BPF_FILTER, arg, 1) }
        })
    }
}

/// Why a filter was not registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FilterError {
    /// There is no such program; the kernel was not asked.
    Program(BadProgram),
    /// The kernel shows less of the operation's own data than the filter relies on, or, where it was
    /// [strict](Filter::strict), not as much as it expects.
    Size {
        /// How many bytes the filter relies on.
        expects: u8,
        /// How many the kernel shows.
        has: u8,
    },
    /// The kernel refused.
    Refused(Errno),
}

impl std::error::Error for FilterError {}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::Program(error) => error.fmt(f),
            FilterError::Size { expects, has } => write!(
                f,
                "the filter relies on {expects} bytes of what the operation was given, and this kernel shows {has}: test \
                 other fields, or leave out strict()"
            ),
            FilterError::Refused(Errno::INVAL) => f.write_str(
                "this kernel has no filters (they came with Linux 7.0), or not this operation [io_uring_register: EINVAL]",
            ),
            FilterError::Refused(Errno::ACCESS) => f.write_str(
                "a filter for a thread needs CAP_SYS_ADMIN, or no_new_privs to be set (prctl) \
                 [io_uring_register: EACCES]",
            ),
            FilterError::Refused(errno) => write!(f, "the filter was refused [io_uring_register: {errno}]"),
        }
    }
}
