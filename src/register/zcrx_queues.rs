//! Which queues of zero-copy receive a ring has. Their numbers begin at 0 on each ring, so that a number alone would name
//! the queue of another ring as well, whose memory is another: parts would be looked for where nobody has put them.
//!
//! Invariant: a number is in the list with what its queue shares, from the registration on. Queues go with their ring only,
//! so no number is given twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// See the module's text.
pub(crate) struct ZcrxQueues<T>(Mutex<Vec<(u32, Weak<T>)>>);

impl<T> Default for ZcrxQueues<T> {
    fn default() -> Self {
        ZcrxQueues(Mutex::default())
    }
}

impl<T> ZcrxQueues<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<(u32, Weak<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, id: u32, shared: &Arc<T>) {
        self.lock().push((id, Arc::downgrade(shared)));
    }

    /// Whether it is a queue with this number of this ring that shares this.
    pub(super) fn has(&self, id: u32, shared: &Arc<T>) -> bool {
        self.lock().iter().any(|(of, known)| *of == id && core::ptr::eq(known.as_ptr(), Arc::as_ptr(shared)))
    }
}
