//! Every constant of the io_uring headers, in the order in which the headers declare them and with
//! the C names.
//!
//! A constant has the type of the field that carries it (`u8` for [`IOSQE_ASYNC`], which goes to
//! `sqe.flags`; `u16` for what goes to `sqe.ioprio`), so that code that fills an entry needs no
//! casts. Operation and registration numbers are not here but in [`crate::opcode`], where each has
//! its name beside it.
//!
//! Values are never changed, only added: they are the kernel's ABI. `tests/uapi.rs` compares each
//! of them with what a C compiler made of the header.

mod bpf_filter;
mod cqe;
mod mock_file;
mod op;
mod query;
mod register;
mod ring;
mod setup;
mod sqe;
mod zcrx;

pub use bpf_filter::*;
pub use cqe::*;
pub use mock_file::*;
pub use op::*;
pub use query::*;
pub use register::*;
pub use ring::*;
pub use setup::*;
pub use sqe::*;
pub use zcrx::*;
