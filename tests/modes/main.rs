//! Every mode of the ring: which combinations a kernel takes, and one suite over all that behave differently.

#[path = "../common/mod.rs"]
mod common;

mod every;
mod sets;
mod suite;
mod waker;
