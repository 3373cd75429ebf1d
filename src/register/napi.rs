//! Busy polling of network devices (NAPI): a wait first polls the devices of the ring's sockets for a while, which saves
//! the latency of an interrupt, at the price of a processor.
//!
//! Which devices: those that the kernel found at the sockets that the ring used, or those that were named.

use core::time::Duration;

use rustix::io::Errno;

use crate::ring::Ring;
use rawring_sys as sys;

/// How to poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Napi {
    /// How long a wait polls, in microseconds; newer kernels (seen in 6.18, not in 6.12) poll for 10 milliseconds at most.
    pub busy_poll: Duration,
    /// Whether the devices are kept from using interrupts meanwhile.
    pub prefer_busy_poll: bool,
    /// Which devices.
    pub tracking: Tracking,
}

/// Which devices are polled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Tracking {
    /// Those of the sockets that the ring uses, as the kernel meets them.
    Dynamic,
    /// Those that were [added](Ring::add_napi_id). Linux 6.13.
    Static,
    /// None: there is no polling. What a ring starts with, as Linux 6.13 and later tell.
    Inactive,
}

impl Tracking {
    fn to_raw(self) -> u32 {
        match self {
            Tracking::Dynamic => sys::IO_URING_NAPI_TRACKING_DYNAMIC,
            Tracking::Static => sys::IO_URING_NAPI_TRACKING_STATIC,
            Tracking::Inactive => sys::IO_URING_NAPI_TRACKING_INACTIVE,
        }
    }

    fn from_raw(raw: u32) -> Self {
        match raw {
            sys::IO_URING_NAPI_TRACKING_DYNAMIC => Tracking::Dynamic,
            sys::IO_URING_NAPI_TRACKING_STATIC => Tracking::Static,
            _ => Tracking::Inactive,
        }
    }
}

impl Napi {
    /// Polling for this long, of the devices that the kernel finds.
    #[must_use]
    pub fn new(busy_poll: Duration) -> Self {
        Napi { busy_poll, prefer_busy_poll: false, tracking: Tracking::Dynamic }
    }

    fn from_raw(raw: &sys::io_uring_napi) -> Self {
        Napi {
            busy_poll: Duration::from_micros(raw.busy_poll_to.into()),
            prefer_busy_poll: raw.prefer_busy_poll != 0,
            tracking: Tracking::from_raw(raw.op_param),
        }
    }
}

impl Ring {
    /// Has waits poll network devices first, and returns how they did before.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_NAPI`, Linux 6.9.
    ///
    /// ```no_run
    /// use rawring::{Ring, register::Napi};
    /// use std::time::Duration;
    ///
    /// let ring = Ring::new(64)?;
    /// ring.register_napi(Napi { prefer_busy_poll: true, ..Napi::new(Duration::from_micros(50)) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | the ring has `IOPOLL`; [`Tracking::Static`] on an older kernel; [`Tracking::Inactive`], for which there is [`unregister_napi`](Self::unregister_napi) |
    /// | `EOPNOTSUPP` | the kernel was built without `CONFIG_NET_RX_BUSY_POLL` |
    /// | `EEXIST`, `EBADF`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn register_napi(&self, napi: Napi) -> Result<Napi, Errno> {
        let argument = sys::io_uring_napi {
            busy_poll_to: u32::try_from(napi.busy_poll.as_micros()).unwrap_or(u32::MAX),
            prefer_busy_poll: napi.prefer_busy_poll.into(),
            opcode: sys::IO_URING_NAPI_REGISTER_OP,
            op_param: napi.tracking.to_raw(),
            ..sys::io_uring_napi::ZERO
        };
        self.napi(sys::IORING_REGISTER_NAPI, argument)
    }

    /// Adds a device's queue to those that are polled, by the number that the socket option `SO_INCOMING_NAPI_ID`
    /// tells. Goes with [`Tracking::Static`]. Linux 6.13.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the ring tracks otherwise, or the number is none of a queue's; `EEXIST` if it is there already; else as
    /// for [`register_napi`](Self::register_napi).
    pub fn add_napi_id(&self, id: u32) -> Result<(), Errno> {
        self.napi_id(sys::IO_URING_NAPI_STATIC_ADD_ID, id)
    }

    /// Takes a device's queue out of those that are polled. Linux 6.13.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is not there; else as for [`add_napi_id`](Self::add_napi_id).
    pub fn remove_napi_id(&self, id: u32) -> Result<(), Errno> {
        self.napi_id(sys::IO_URING_NAPI_STATIC_DEL_ID, id)
    }

    /// Ends the polling, and returns how it was done (of [`Tracking`] the kernel does not tell here).
    ///
    /// `IORING_UNREGISTER_NAPI`, Linux 6.9.
    ///
    /// # Errors
    ///
    /// As for [`register_napi`](Self::register_napi). It is no error if there was none.
    pub fn unregister_napi(&self) -> Result<Napi, Errno> {
        self.napi(sys::IORING_UNREGISTER_NAPI, sys::io_uring_napi::ZERO)
    }

    fn napi_id(&self, opcode: u8, id: u32) -> Result<(), Errno> {
        let argument = sys::io_uring_napi { opcode, op_param: id, ..sys::io_uring_napi::ZERO };
        self.napi(sys::IORING_REGISTER_NAPI, argument).map(drop)
    }

    fn napi(&self, op: u32, mut argument: sys::io_uring_napi) -> Result<Napi, Errno> {
        // SAFETY: the argument is one struct, read and written during the call.
        unsafe { self.register_raw(op, (&raw mut argument).cast(), 1) }?;
        Ok(Napi::from_raw(&argument))
    }
}
