//! `io_uring_register`: the few calls that are simulated. Others are answered like those of an unknown number.

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;

use super::ops;
use super::release::Answer;
use super::request::RingId;
use super::user::{self, bytes_of};
use super::world::World;
use crate::version::Version;
use rawring_sys as sys;

/// The release that brought cancelling without an entry.
const SYNC_CANCEL: Version = Version::new(6, 0);

/// The release that tells what was taken from a ring of buffers.
const PBUF_STATUS: Version = Version::new(6, 8);

impl World {
    /// # Safety
    ///
    /// As for [`sys::io_uring_register`].
    pub(super) unsafe fn register(&mut self, fd: RawFd, op: u32, arg: *mut c_void, count: u32) -> Result<u32, Errno> {
        let arg = arg.expose_provenance() as u64;
        if op == sys::IORING_REGISTER_QUERY {
            // SAFETY: the caller's promise.
            return unsafe { self.answer(arg, count) };
        }
        let id = *self.numbers.get(&fd).ok_or(Errno::BADF)?;
        let me = std::thread::current().id();
        if self.ring(id).owner.is_some_and(|owner| owner != me) {
            return Err(Errno::EXIST);
        }
        // SAFETY: the caller's promise.
        if let Some(result) = unsafe { self.buffers(id, op, arg, count) } {
            self.update_flags();
            return result;
        }
        let result = match op {
            sys::IORING_REGISTER_FILES
            | sys::IORING_UNREGISTER_FILES
            | sys::IORING_REGISTER_FILES_UPDATE
            | sys::IORING_REGISTER_FILES2
            | sys::IORING_REGISTER_FILES_UPDATE2
            | sys::IORING_REGISTER_FILE_ALLOC_RANGE => {
                // SAFETY: the caller's promise.
                let done = unsafe { self.register_files(id, op, arg, count) };
                self.update_flags();
                return done;
            }
            // SAFETY: the caller's promise.
            sys::IORING_REGISTER_PROBE => unsafe { self.probe(arg, count) },
            sys::IORING_REGISTER_ENABLE_RINGS if arg == 0 && count == 0 => self.enable(id),
            // SAFETY: the caller's promise.
            sys::IORING_REGISTER_EVENTFD if count == 1 => unsafe { self.register_eventfd(id, arg) },
            // SAFETY: the caller's promise.
            sys::IORING_REGISTER_RESIZE_RINGS if count == 1 => unsafe { self.resize(id, fd, arg) },
            sys::IORING_UNREGISTER_EVENTFD if arg == 0 && count == 0 => {
                self.ring(id).eventfd.take().map(drop).ok_or(Errno::NXIO)
            }
            // SAFETY: the caller's promise.
            sys::IORING_REGISTER_PBUF_RING | sys::IORING_UNREGISTER_PBUF_RING if count == 1 => unsafe {
                self.buf_ring(id, op, arg)
            },
            sys::IORING_REGISTER_PBUF_STATUS if count == 1 && self.config.release().is(PBUF_STATUS) => {
                // SAFETY: the caller's promise.
                unsafe { self.buf_ring_status(id, arg) }
            }
            sys::IORING_REGISTER_SYNC_CANCEL if count == 1 && self.config.release().is(SYNC_CANCEL) => {
                // SAFETY: the caller's promise.
                let cancelled = unsafe { self.sync_cancel(id, arg) };
                self.update_flags();
                return cancelled;
            }
            _ => Err(Errno::INVAL),
        };
        self.update_flags();
        result.map(|()| 0)
    }

    /// What the kernel has of operations.
    ///
    /// # Safety
    ///
    /// `arg` is the address of a probe with room for `count` operations.
    unsafe fn probe(&mut self, arg: u64, count: u32) -> Result<(), Errno> {
        if count > 256 {
            return Err(Errno::INVAL);
        }
        let operations = self.config.release().operations();
        let count = count.min(u32::from(operations)) as usize;
        let len = size_of::<sys::io_uring_probe>() + count * size_of::<sys::io_uring_probe_op>();
        // SAFETY: the caller's promise.
        let asked = unsafe { user::read(arg, len) }?;
        if asked.iter().any(|&byte| byte != 0) {
            return Err(Errno::INVAL);
        }
        let mut answer = vec![0; len];
        (answer[0], answer[1]) = (operations - 1, count as u8);
        let ops = &mut answer[size_of::<sys::io_uring_probe>()..];
        for (op, bytes) in (0..).zip(ops.chunks_exact_mut(size_of::<sys::io_uring_probe_op>())) {
            bytes[0] = op;
            if ops::is_simulated(op) {
                bytes[2..4].copy_from_slice(&sys::IO_URING_OP_SUPPORTED.to_ne_bytes());
            }
        }
        self.distort_answer(&mut answer);
        // SAFETY: the caller's promise.
        unsafe { user::write(arg, &answer) }
    }

    fn enable(&mut self, id: RingId) -> Result<(), Errno> {
        let ring = self.ring(id);
        if !std::mem::take(&mut ring.disabled) {
            return Err(Errno::BADFD);
        }
        if ring.has(crate::flags::SetupFlags::SINGLE_ISSUER) {
            ring.owner = Some(std::thread::current().id());
        }
        Ok(())
    }

    /// # Safety
    ///
    /// `arg` is the address of a descriptor.
    unsafe fn register_eventfd(&mut self, id: RingId, arg: u64) -> Result<(), Errno> {
        if self.ring(id).eventfd.is_some() {
            return Err(Errno::BUSY);
        }
        // SAFETY: the caller's promise.
        let fd: RawFd = unsafe { user::read_struct(arg) }?;
        if fd < 0 {
            return Err(Errno::BADF);
        }
        // SAFETY: borrowed for this one call only; a number that leads nowhere is an error of the call.
        let owned = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().map_err(|_| Errno::BADF)?;
        self.ring(id).eventfd = Some(owned);
        Ok(())
    }

    /// Makes a ring of provided buffers, or ends one.
    ///
    /// # Safety
    ///
    /// `arg` is the address of a request, and the entries that it names stay until the group is gone.
    unsafe fn buf_ring(&mut self, id: RingId, op: u32, arg: u64) -> Result<(), Errno> {
        // SAFETY: the caller's promise.
        let request: sys::io_uring_buf_reg = unsafe { user::read_struct(arg) }?;
        let release = self.config.release();
        let groups = &mut self.ring(id).groups;
        if op == sys::IORING_REGISTER_PBUF_RING {
            groups.register(&request, |since| release.is(since))
        } else {
            groups.unregister(&request)
        }
    }

    /// # Safety
    ///
    /// `arg` is the address of a status.
    unsafe fn buf_ring_status(&mut self, id: RingId, arg: u64) -> Result<(), Errno> {
        // SAFETY: the caller's promise.
        let mut status: sys::io_uring_buf_status = unsafe { user::read_struct(arg) }?;
        if status.resv != [0; 8] {
            return Err(Errno::INVAL);
        }
        status.head = self.ring(id).groups.head(status.buf_group)?.into();
        // SAFETY: the caller's promise.
        unsafe { user::write(arg, &bytes_of(&status)) }
    }

    /// What the kernel says of itself: answers a list of questions.
    ///
    /// # Safety
    ///
    /// `arg` is the address of a list of headers, each with room for its answer.
    unsafe fn answer(&mut self, mut arg: u64, count: u32) -> Result<u32, Errno> {
        /// The kernel gives up on longer lists.
        const LONGEST: usize = 1000;
        if self.config.release().query(sys::IO_URING_QUERY_OPCODES).is_none() || count != 0 {
            return Err(Errno::INVAL);
        }
        for _ in 0..LONGEST {
            if arg == 0 {
                return Ok(0);
            }
            // SAFETY: the caller's promise.
            let mut header: sys::io_uring_query_hdr = unsafe { user::read_struct(arg) }?;
            let mut answer: Vec<u8> = match self.config.release().query(header.query_op) {
                Some(Ok(Answer::Opcodes(answer))) => user::bytes_of(&sys::io_uring_query_opcode {
                    ring_setup_flags: self.setup_flags().bits().into(),
                    ..answer
                }),
                Some(Ok(Answer::Scq(answer))) => user::bytes_of(&answer),
                _ => Vec::new(),
            };
            self.distort_answer(&mut answer);
            let len = answer.len().min(header.size as usize);
            header.size = len as u32;
            header.result = if answer.is_empty() { -Errno::OPNOTSUPP.raw_os_error() } else { 0 };
            // SAFETY: the caller's promise.
            unsafe {
                user::write(header.query_data, &answer[..len])?;
                user::write(arg, &user::bytes_of(&header))?;
            }
            arg = header.next_entry;
        }
        Err(Errno::RANGE)
    }
}
