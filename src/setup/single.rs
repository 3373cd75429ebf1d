//! The set-up for a ring that stays with one thread, and what older kernels have of it.
//!
//! Invariant: what is added here is taken back, step by step, where the kernel does not know it, and never what the caller
//! asked for. Each step is what some release has, from the newest to the floor.

use super::Setup;
use crate::flags::SetupFlags;

/// What is wished for, the best first. After the last comes nothing.
const STEPS: [SetupFlags; 4] = [
    SetupFlags::SINGLE_ISSUER.union(SetupFlags::DEFER_TASKRUN).union(SetupFlags::NO_SQARRAY),
    SetupFlags::SINGLE_ISSUER.union(SetupFlags::DEFER_TASKRUN),
    SetupFlags::SINGLE_ISSUER.union(SetupFlags::COOP_TASKRUN),
    SetupFlags::COOP_TASKRUN,
];

impl Setup<'_> {
    /// The best ring that this kernel has for one thread that makes it, submits, waits and reaps: the recommended set-up
    /// for a loop. Where the kernel lacks something, it is left out without a word; [`Ring::setup_flags`] tells what there
    /// is.
    ///
    /// | Linux | flags |
    /// | --- | --- |
    /// | 6.6 | `SINGLE_ISSUER`, `DEFER_TASKRUN`, `NO_SQARRAY` |
    /// | 6.1 | `SINGLE_ISSUER`, `DEFER_TASKRUN` |
    /// | 6.0 | `SINGLE_ISSUER`, `COOP_TASKRUN` |
    /// | 5.19 | `COOP_TASKRUN` |
    /// | 5.15 | none |
    ///
    /// And from 5.18 on, the ring is [registered](crate::Ring::register_ring_fd) with the thread and entered by that, unless
    /// the thread's 16 slots are taken.
    ///
    /// What it means:
    ///
    /// - The ring belongs to the thread that makes it, or that enables it if it is made [`disabled`](Self::disabled): on
    ///   any other, submissions and registrations are refused (`EEXIST`), and so is waiting. A program that runs on older
    ///   kernels, too, has to keep to that by itself.
    /// - Completions arrive only when that thread enters the kernel to wait ([`Ring::submit_and_wait`]) or to look
    ///   ([`Ring::peek`], [`Ring::get_events`]), not while it does other things: [`Ring::ready`] and
    ///   [`Ring::completions`] show what arrived then. A loop that waits needs no change.
    ///
    /// Excludes [`sqpoll`](Self::sqpoll). Everything else can be added.
    ///
    /// ```
    /// use rawring::{Setup, op::Nop};
    ///
    /// let mut ring = Setup::new(64).single_thread().build()?;
    /// ring.push(Nop::new().user_data(1))?;
    /// ring.submit_and_wait(1)?;
    /// assert_eq!(ring.completions().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Ring::setup_flags`]: crate::Ring::setup_flags
    /// [`Ring::submit_and_wait`]: crate::Ring::submit_and_wait
    /// [`Ring::peek`]: crate::Ring::peek
    /// [`Ring::get_events`]: crate::Ring::get_events
    /// [`Ring::ready`]: crate::Ring::ready
    /// [`Ring::completions`]: crate::Ring::completions
    /// [`Ring`]: crate::Ring
    #[must_use]
    pub fn single_thread(mut self) -> Self {
        self.single_thread = true;
        self
    }

    /// What [`single_thread`](Self::single_thread) asks for first.
    pub(super) fn wished(&self) -> SetupFlags {
        if self.single_thread { STEPS[1] } else { SetupFlags::empty() }
    }

    /// Flags of our own, to be tried in this order.
    pub(super) fn wishes(&self) -> Vec<SetupFlags> {
        let array = if self.no_sqarray.is_some() { SetupFlags::NO_SQARRAY } else { SetupFlags::empty() };
        let steps = if self.single_thread { &STEPS[..] } else { &[SetupFlags::NO_SQARRAY] };
        let mut wishes: Vec<_> = steps.iter().map(|step| step.difference(array)).collect();
        wishes.dedup();
        wishes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Conflict;

    #[test]
    fn what_the_caller_says_of_the_array_is_no_wish_of_ours() {
        let array = |wish: SetupFlags| wish.contains(SetupFlags::NO_SQARRAY);
        assert!(array(Setup::new(1).single_thread().wishes()[0]));
        for no_array in [false, true] {
            let setup = Setup::new(1).single_thread().no_sqarray(no_array);
            assert_eq!(setup.wishes(), STEPS[1..]);
            assert_eq!(array(setup.flags()), no_array);
        }
    }

    #[test]
    fn a_polling_thread_is_not_one_thread() {
        let setup = Setup::new(1).single_thread().sqpoll(std::time::Duration::ZERO);
        let conflict = Conflict::Excludes(SetupFlags::SQPOLL, SetupFlags::DEFER_TASKRUN);
        assert_eq!(setup.conflict(), Some(conflict));
        assert!(setup.build().is_err());
    }
}
