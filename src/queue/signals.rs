//! The switch of the signals that completions give: a word of the completion queue that only this side writes
//! (`IORING_CQ_EVENTFD_DISABLED`), and that the kernel reads after it has posted.

use super::Cq;
use crate::sync::{Ordering, Word, fence};
use rawring_sys as sys;

/// Whether a registered eventfd gets signals.
pub(crate) fn enabled(flags: Word) -> bool {
    // Relaxed: nobody else writes this word.
    flags.load(Ordering::Relaxed) & sys::IORING_CQ_EVENTFD_DISABLED == 0
}

/// Switches them, and tells how many slots hold completions after that: a completion is among those, or it is
/// signalled (if signals are on), or both.
pub(crate) fn switch(flags: Word, cq: &Cq, enabled: bool) -> u32 {
    // Relaxed: nobody else writes this word.
    let others = flags.load(Ordering::Relaxed) & !sys::IORING_CQ_EVENTFD_DISABLED;
    let bit = if enabled { 0 } else { sys::IORING_CQ_EVENTFD_DISABLED };
    // Relaxed: what has to come after it is behind the fence.
    flags.store(others | bit, Ordering::Relaxed);
    // SeqCst: pairs with the kernel's full barrier between its store of the tail and its load of this word
    // (wq_has_sleeper in io_cqring_wake, before io_eventfd_signal); without it a completion could be posted that the
    // kernel does not signal and we do not see. [loom: a_completion_is_signalled_or_seen]
    fence(Ordering::SeqCst);
    cq.ready()
}
