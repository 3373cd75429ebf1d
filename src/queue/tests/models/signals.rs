//! A model of the switch of signals: completions are posted while it is being switched on.

use core::ptr::NonNull;

use super::*;
use crate::queue::signals;
use crate::sync::Word;

#[test]
fn a_completion_is_signalled_or_seen() {
    check(|entries| {
        let kernel = Kernel::new(entries);
        let flags = Arc::new(AtomicU32::new(sys::IORING_CQ_EVENTFD_DISABLED));
        let poster = thread::spawn({
            let (kernel, flags) = (kernel.clone(), flags.clone());
            move || {
                assert!(kernel.shared.post(7, 0));
                // io_cqring_wake, then io_eventfd_signal (eventfd.c), which reads the word once.
                let _sleeper = kernel.completions.has_sleeper();
                flags.load(Ordering::Relaxed) & sys::IORING_CQ_EVENTFD_DISABLED == 0
            }
        });
        let cq = kernel.shared.cq(false);
        // SAFETY: the word outlives the model's use of it.
        let word = unsafe { Word::new(NonNull::from(&*flags)) };
        let seen = signals::switch(word, &cq, true);
        let signalled = poster.join().expect("no panic");
        assert!(signalled || seen == 1, "neither signalled nor seen");
        assert!(signals::enabled(word));
    });
}
