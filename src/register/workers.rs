//! The worker threads on which operations run that would block: where they run, and how many there may be.
//!
//! Workers belong to threads, not to rings: these calls are about those of the calling thread, or, on a ring with
//! `SQPOLL`, of the polling thread. A limit is kept by the ring besides, for every thread that submits to it.

use rustix::io::Errno;
use rustix::thread::CpuSet;

use crate::ring::Ring;
use rawring_sys as sys;

/// How many workers of each kind there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkerLimits {
    /// Of those for operations that end by themselves: reads and writes of files on disks. 0 leaves the limit as it is.
    pub bounded: u32,
    /// Of those for operations that may wait for ever: on sockets, pipes and the like. 0 leaves the limit as it is.
    pub unbounded: u32,
}

const WORDS: usize = CpuSet::MAX_CPU.div_ceil(usize::BITS as usize);

/// The set as the kernel reads it: an array of words of its own size.
fn words(cpus: &CpuSet) -> [usize; WORDS] {
    let mut words = [0; WORDS];
    for cpu in (0..CpuSet::MAX_CPU).filter(|&cpu| cpus.is_set(cpu)) {
        words[cpu / usize::BITS as usize] |= 1 << (cpu % usize::BITS as usize);
    }
    words
}

impl Ring {
    /// Binds the workers to these processors: those that are started from now on. One that runs already stays where it
    /// is, and ends when it has been without work elsewhere for some seconds.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_IOWQ_AFF`, Linux 5.14.
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | one of the processors is outside the cpuset of the thread (those that the machine cannot have are ignored); or the polling thread is gone |
    /// | `ENOMEM` | no memory |
    /// | `EEXIST`, `EBADF`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn register_worker_affinity(&self, cpus: &CpuSet) -> Result<(), Errno> {
        let mut words = words(cpus);
        let size = size_of_val(&words) as u32;
        // SAFETY: the argument is an array of as many bytes as `count` says, read during the call.
        unsafe { self.register_raw(sys::IORING_REGISTER_IOWQ_AFF, (&raw mut words).cast(), size) }.map(drop)
    }

    /// Lets the workers that are started from now on run in the whole cpuset of the thread.
    ///
    /// `IORING_UNREGISTER_IOWQ_AFF`, Linux 5.14.
    ///
    /// # Errors
    ///
    /// As for [`register_worker_affinity`](Self::register_worker_affinity).
    pub fn unregister_worker_affinity(&self) -> Result<(), Errno> {
        // SAFETY: the operation takes no argument.
        unsafe { self.register_raw(sys::IORING_UNREGISTER_IOWQ_AFF, core::ptr::null_mut(), 0) }.map(drop)
    }

    /// Limits the number of workers, and returns what the limits were. Zeros ask only.
    ///
    /// By default there may be four bounded workers for each processor, or as many as the ring has entries if that is
    /// less, and as many unbounded ones as the user may have processes.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_IOWQ_MAX_WORKERS`, Linux 5.15.
    ///
    /// ```
    /// use rawring::{Ring, register::WorkerLimits};
    ///
    /// let ring = Ring::new(8)?;
    /// ring.limit_workers(WorkerLimits { bounded: 2, unbounded: 0 })?;
    /// assert_eq!(ring.limit_workers(WorkerLimits::default())?.bounded, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | a limit above `i32::MAX` |
    /// | `EEXIST`, `EBADF`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn limit_workers(&self, limits: WorkerLimits) -> Result<WorkerLimits, Errno> {
        let mut counts = [limits.bounded, limits.unbounded];
        // SAFETY: the argument is an array of two numbers, read and written during the call.
        unsafe { self.register_raw(sys::IORING_REGISTER_IOWQ_MAX_WORKERS, (&raw mut counts).cast(), 2) }?;
        let [bounded, unbounded] = counts;
        Ok(WorkerLimits { bounded, unbounded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_bits_of_words() {
        let mut cpus = CpuSet::new();
        cpus.set(0);
        cpus.set(usize::BITS as usize + 1);
        let words = words(&cpus);
        assert_eq!((words[0], words[1], words[2..].iter().sum::<usize>()), (1, 2, 0));
    }
}
