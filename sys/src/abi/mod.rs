//! The structs of the io_uring headers, with their C names.
//!
//! All of them are plain data: integers, arrays of integers and unions of such, without a bit
//! pattern that is invalid and without padding that the kernel would mind. Each has `ZERO` (also its
//! `Default`), which is how the kernel wants every field that is not used: reserved fields must be
//! zero, or calls fail with `EINVAL`.
//!
//! Differences to C, all of them without effect on the layout: [`io_uring_sqe`] is flat, its unions
//! are reached through [`SqeField`]; an unnamed union has the name `arg` or `addr`; a flexible array at
//! the end is a `[T; 0]`.
//!
//! Invariant: under each struct stands its size and alignment as a C compiler sees them, checked when
//! this crate is compiled for any target; `tests/uapi.rs` checks every field besides.

mod bpf_filter;
mod buffer;
mod enter;
mod mock_file;
mod query;
mod register;
mod ring;
mod sqe;
mod sqe_field;
mod zcrx;

pub use bpf_filter::*;
pub use buffer::*;
pub use enter::*;
pub use mock_file::*;
pub use query::*;
pub use register::*;
pub use ring::*;
pub use sqe::*;
pub use sqe_field::*;
pub use zcrx::*;

/// States the size and alignment of a struct and gives it `ZERO` and `Default`.
///
/// `align32` is the alignment on 32-bit x86, the one ABI of Linux that aligns 64-bit integers to 4
/// bytes. Sizes and offsets of these structs are the same on every target.
macro_rules! layout {
    ($name:ident: size $size:literal, align $align:literal, align32 $align32:literal) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            assert!(align_of::<$name>() == if cfg!(target_arch = "x86") { $align32 } else { $align });
        };

        impl $name {
            /// All bytes zero.
            // SAFETY: the type consists of integers only (through arrays, structs and unions), and
            // zero is a value of every integer.
            pub const ZERO: Self = unsafe { core::mem::zeroed() };
        }

        impl Default for $name {
            /// All bytes zero.
            fn default() -> Self {
                Self::ZERO
            }
        }
    };
}
pub(crate) use layout;
