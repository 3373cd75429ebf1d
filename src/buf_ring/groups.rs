//! The groups that are registered with a ring.
//!
//! Invariant: a number is in the list once, and what has it there is what the kernel has under it: groups come in when the
//! kernel took them, and leave when it let them go. Serial numbers are never given twice on a ring, so that an operation
//! which was started for a group is not taken for one of a later group with the same number.

use std::sync::Arc;

use super::shared::Shared;
use super::{BadBuffer, Delivery, Pick};
use crate::cqe::Cqe;
use crate::sqe::RawSqe;
use crate::submit::Reason;
use rawring_sys as sys;

/// How an operation takes buffers, and from which group.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    serial: u32,
    pick: Pick,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Groups {
    list: Vec<Arc<Shared>>,
    serials: u32,
}

impl Groups {
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serials += 1;
        self.serials
    }

    /// Where an entry takes its buffers from, if it takes any, and from one of these groups. A bundle has to be allowed.
    #[inline(always)]
    pub(crate) fn source(&self, entry: &RawSqe) -> Result<Option<Source>, Reason> {
        if entry.flags & sys::IOSQE_BUFFER_SELECT == 0 { Ok(None) } else { self.find(entry) }
    }

    #[cold]
    fn find(&self, entry: &RawSqe) -> Result<Option<Source>, Reason> {
        let Some(group) = self.list.iter().find(|one| one.group == entry.buf_index) else { return Ok(None) };
        match Pick::of(entry) {
            Pick::Bundle if !group.bundles => Err(Reason::Bundle),
            pick => Ok(Some(Source { serial: group.serial, pick })),
        }
    }

    /// What a completion delivered.
    ///
    /// # Safety
    ///
    /// It was reaped from this ring once, is handed in once, and belongs to the entry from which `source` was made when it
    /// was pushed. In an incremental group, completions are handed in in the order in which they were reaped.
    #[cold]
    pub(crate) unsafe fn take(&self, cqe: &Cqe, source: Source) -> Option<Result<Delivery, BadBuffer>> {
        // The group that the entry was made for may be gone. What then came from its successor is not accounted for.
        let group = self.list.iter().find(|one| one.serial == source.serial)?;
        Some(group.take(cqe, source.pick).map(|taken| Delivery::new(group.clone(), taken)))
    }

    pub(super) fn add(&mut self, group: Arc<Shared>) {
        self.list.push(group);
    }

    pub(super) fn has(&self, group: &Arc<Shared>) -> bool {
        self.list.iter().any(|one| Arc::ptr_eq(one, group))
    }

    pub(super) fn remove(&mut self, group: &Arc<Shared>) {
        self.list.retain(|one| !Arc::ptr_eq(one, group));
    }
}
