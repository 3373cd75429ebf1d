//! Operations on sockets: making and connecting them, sending, receiving. The rows are in the files of this folder;
//! socket options and other commands to sockets are with the driver commands.
//!
//! A bit that changes what an operation's address means, for how long the kernel needs its memory or how often it
//! completes is never a flag of a setter: it selects a row of its own. So that safe code cannot combine a row with
//! the bits of another, setters take [`RecvSendOptions`](crate::operand::RecvSendOptions), which cannot hold them.

pub(super) mod connect;
pub(super) mod recv;
pub(super) mod send;

pub use {connect::*, recv::*, send::*};

#[cfg(test)]
mod tests;
