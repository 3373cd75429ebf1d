//! The raw layer of `rawring`: Linux's io_uring headers transcribed, the three system calls, and the
//! mapping of the rings. `no_std`, no allocation, no C, no generated code.
//!
//! It mirrors the headers of **Linux 7.3** ([`MIRRORS`]), complete: every constant, struct and field of
//! `linux/io_uring.h` and `linux/io_uring/{query,zcrx,bpf_filter,mock_file}.h`. Newer names on an older
//! kernel do no harm; the kernel refuses what it does not know.
//!
//! | where | what |
//! | --- | --- |
//! | [`abi`] | the structs, with their C names; a flat [`io_uring_sqe`], and [`SqeField`] for its aliases |
//! | [`consts`] | the constants, in header order |
//! | [`opcode`] | numbers and names of operations and registrations |
//! | [`neighbours`] | what operations take from other kernel headers |
//! | [`syscall`] | [`io_uring_setup`], [`io_uring_enter`], [`io_uring_register`] |
//! | [`map`] | [`RingMap`]: checked offsets in, typed pointers out |
//!
//! Everything is also at the root. What is not here: opinions. Nothing builds entries, moves heads and
//! tails, or decides which memory orderings apply; the crate `rawring` does.

#![no_std]

pub mod abi;
pub mod consts;
pub mod map;
pub mod neighbours;
pub mod opcode;
pub mod syscall;

pub use abi::*;
pub use consts::*;
pub use map::{Fork, Layout, MapError, RingMap, RingMemory, RingPointers};
pub use neighbours::*;
pub use opcode::*;
pub use syscall::*;

/// The Linux release whose headers this crate mirrors: major and minor version.
pub const MIRRORS: (u8, u8) = (7, 3);
