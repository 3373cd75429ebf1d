//! Registrations: what a ring, a thread or a process tells the kernel once, by `io_uring_register`.
//!
//! The calls are methods on [`Ring`], each family in a file of its own beside the table of all of them
//! ([`RegistrationInfo`]). Every one goes through [`Ring::register_raw`], which knows how the kernel is to be told which
//! ring is meant. A kernel without a registration answers `EINVAL`; whether it has one, and since when others do, says
//! [`Probe::registration`](crate::probe::Probe::registration).

mod cancel;
mod clock;
mod eventfd;
mod file_table;
mod files;
mod message;
mod napi;
mod personality;
mod restrictions;
mod rings;
mod table;
mod tags;
mod workers;

pub use cancel::CancelRequest;
pub use file_table::FileTable;
pub use files::FilesError;
pub use message::send_message;
pub use napi::{Napi, Tracking};
pub use personality::Personality;
pub use restrictions::Restrictions;
pub use rings::RegisteredRing;
pub use table::{Count, Registration, RegistrationInfo, RingState};
pub use tags::Tag;
pub use workers::WorkerLimits;

mod bpf;
mod bpf_program;
mod bpf_rules;
mod buffer;
mod buffer_error;
mod buffers;
mod memory;
mod refill;
mod region;
mod zcrx;
mod zcrx_queues;

pub use bpf::{Filter, FilterError, Verdict};
pub use bpf_program::{BadProgram, Program};
pub use bpf_rules::Test;
pub use buffer::RegisteredBuffer;
pub use buffer_error::{BufferCause, BufferError, NotInside};
pub(crate) use buffers::BufferTable;
pub use buffers::{CloneBuffers, NewBuffer};
pub use memory::Memory;
#[cfg(all(test, loom))]
pub(crate) use refill::{Refill, RefillPlaces};
pub(crate) use region::Region;
pub use region::{NoSuchWait, RegionMemory, RegisteredWait};
pub(crate) use zcrx::Shared as ZcrxShared;
pub use zcrx::{Received, ZcrxError, ZcrxEvent, ZcrxExport, ZcrxQueue, ZcrxSetup, ZcrxStats};
pub(crate) use zcrx_queues::ZcrxQueues;

mod resize;

pub use resize::{Resize, ResizeError};

use rustix::io::Errno;

use crate::handle::Handle;
use crate::ring::Ring;
use rawring_sys as sys;

impl Ring {
    /// Any call of `io_uring_register` on this ring.
    ///
    /// # Errors
    ///
    /// `EBADF` on a ring without descriptor that another thread made; else what the call says.
    ///
    /// # Safety
    ///
    /// `arg` and `count` are what the operation demands, and what it makes the kernel do later, with memory and
    /// descriptors that it names, stays sound for as long as it may do it.
    pub unsafe fn register_raw(&self, op: u32, arg: *mut core::ffi::c_void, count: u32) -> Result<u32, Errno> {
        let op = match &self.handle {
            Handle::Fd(_) => op,
            Handle::Registered(_) => {
                self.handle.check()?;
                op | sys::IORING_REGISTER_USE_REGISTERED_RING
            }
        };
        // SAFETY: the caller's promise.
        unsafe { self.submit.entrance.register(op, arg, count) }
    }

    /// Starts a ring that was made disabled ([`Setup::disabled`](crate::Setup::disabled)). With `SINGLE_ISSUER`, the calling thread becomes
    /// the one that the ring belongs to.
    ///
    /// # Errors
    ///
    /// `EBADFD` if the ring is not disabled.
    pub fn enable(&mut self) -> Result<(), Errno> {
        // SAFETY: the operation takes no argument and names no memory.
        unsafe { self.register_raw(sys::IORING_REGISTER_ENABLE_RINGS, core::ptr::null_mut(), 0) }.map(drop)
    }
}
