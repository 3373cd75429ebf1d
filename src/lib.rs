//! Linux io_uring for Rust: every operation, typed and sound, without liburing, C or bindgen.
//!
//! # The contract
//!
//! An entry is a value with a lifetime: [`Sqe<'a>`] says that the kernel may touch what the entry names for all of `'a`.
//! Building one is safe, because its operands are references. Four doors lead from an entry to the kernel:
//!
//! | door | for | sound, because |
//! | --- | --- | --- |
//! | [`Ring::push`] | entries that borrow nothing | nothing that they name can go away |
//! | [`Ring::scope`] | batches over borrowed memory | it returns only when nothing is in flight; it cancels and drains, also on panic |
//! | [`InFlight::start`] | pipelines, servers, futures | the state is owned from submission to the last completion, and then handed back |
//! | [`Ring::push_unchecked`] | runtimes with slabs of their own | the caller promises it, by numbered clauses |
//!
//! Operations whose completions can carry somebody else's `user_data`, or that have the kernel use memory that no operand
//! borrows, have `unsafe` constructors.
//!
//! # The map
//!
//! - [`Setup`] makes a [`Ring`]; [`SetupError`] says why it could not. [`probe`] tells what this kernel can do.
//! - [`op`] has the operations, one row each of a table; [`operand`] what they take; [`flags`] the bits.
//! - [`Wait`] says what to wait for, [`Submitted`] what came of it; a [`Waker`] ends a wait from another thread.
//!   [`Completions`] iterates over [`Cqe`]s.
//! - [`Scope`] and [`InFlight`] are the safe doors for entries that borrow.
//! - [`buf_ring`] provides buffers from which the kernel picks, and turns completions into leases on what they delivered.
//! - [`copy`] copies files through a ring; it is the worked example of a pipeline.
//! - [`register`] has what a ring tells the kernel once: files, restrictions, and the table of all registrations.
//! - `rawring_sys` is the kernel's header, the three system calls, and the mappings.
//!
//! # Kernels
//!
//! The floor is what Linux 5.15 reports, told by feature bits. `scope` and `InFlight` need 5.19. Newer features are used
//! where they are there, and named with their release where they are not.

#[cfg(not(target_os = "linux"))]
compile_error!("io_uring exists on Linux only");

/// The examples of the README are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod buf_ring;
mod control;
pub mod copy;
mod cqe;
pub mod flags;
mod handle;
mod inflight;
mod kernel;
pub mod op;
pub mod operand;
pub mod probe;
mod queue;
mod recvmsg;
pub mod register;
mod ring;
mod scope;
mod setup;
#[cfg(feature = "sim")]
pub mod sim;
mod sqe;
mod submit;
mod sync;
mod tokens;
mod user_data;
mod version;
mod wait;
mod waker;

pub use control::{ControlMessage, ControlMessages, SendControl};
pub use cqe::{Cqe, Notification};
pub use inflight::{Done, Drained, Event, InFlight, ShutdownError, Unfit};
pub use op::{OpInfo, Opcode};
pub use queue::Completions;
/// The kernel's header as it is: structs, constants, system calls, mappings.
pub use rawring_sys as sys;
pub use recvmsg::{RecvMsgOut, ShortBuffer};
pub use ring::Ring;
pub use rustix::io::Errno;
pub use scope::{Scope, ScopeError, Ticket};
pub use setup::{Cause, Conflict, Setup, SetupError, Step, Unbuilt};
pub use sqe::{At, Decoded, RawSqe, Sqe, Sqe128};
pub use submit::{Reason, Refused, Submissions};
pub use user_data::UserData;
pub use version::Version;
pub use wait::{SigSet, Submitted, Wait, WaitEnd};
pub use waker::Waker;
