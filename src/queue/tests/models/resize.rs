//! A model of a resize. Entries and completions are handed over inside of our own call, by one thread: rings that can be
//! resized defer their work to their owner. But others announce work at any time, by a flag in whatever memory they find,
//! and that must not be missed.

use super::*;

/// `ctx->rings_rcu`, and the list of work that is deferred.
struct Resized {
    memories: [Shared; 2],
    /// Which of them is the ring's. Whoever marks work holds this, as it would a read lock of RCU, and the resize waits for
    /// that (synchronize_rcu_expedited).
    current: Mutex<usize>,
    work: Mutex<Vec<u64>>,
}

impl Resized {
    /// io_req_local_work_add with io_ctx_mark_taskrun (tw.c).
    fn add_work(&self, key: u64) {
        self.work.lock().expect("no panic").push(key);
        let current = self.current.lock().expect("no panic");
        // atomic_or, which orders nothing.
        self.memories[*current].sq_flags.fetch_or(sys::IORING_SQ_TASKRUN, Ordering::Relaxed);
    }

    /// io_register_resize_rings (register.c), as far as it shows to others.
    fn resize(&self) {
        let [old, new] = &self.memories;
        for (from, to) in [(&old.sq_head, &new.sq_head), (&old.sq_tail, &new.sq_tail)] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        // What may have been missed is marked in any case.
        new.sq_flags.fetch_or(sys::IORING_SQ_TASKRUN, Ordering::Relaxed);
        *self.current.lock().expect("no panic") = 1;
    }

    /// __io_run_local_work (tw.c), in a call that asks for events.
    fn run_work(&self) -> Vec<u64> {
        let current = *self.current.lock().expect("no panic");
        // atomic_andnot, before the list is taken.
        self.memories[current].sq_flags.fetch_and(!sys::IORING_SQ_TASKRUN, Ordering::Relaxed);
        std::mem::take(&mut *self.work.lock().expect("no panic"))
    }
}

#[test]
fn work_that_comes_during_a_resize_is_noticed() {
    check(|entries| {
        let resized = Arc::new(Resized {
            memories: [entries, 2 * entries].map(|entries| Shared::new(entries, 0, START)),
            current: Mutex::new(0),
            work: Mutex::new(Vec::new()),
        });
        let other = thread::spawn({
            let resized = resized.clone();
            move || [7, 8].into_iter().for_each(|key| resized.add_work(key))
        });
        let [old, new] = &resized.memories;
        let mut sq = old.sq(Mode::default());
        sq.push(&entry(5)).expect("room");
        let mut found = if sq.asks_for_visit() { resized.run_work() } else { Vec::new() };
        resized.resize();
        // On a ring with the flag nothing of it is spurious.
        let (words, slots) = new.sq_parts();
        sq.move_to(words, slots, 0);
        while found.len() < 2 {
            // Work that is never announced leaves this waiting for ever, to which the checker objects.
            if sq.asks_for_visit() { found.extend(resized.run_work()) } else { thread::yield_now() }
        }
        assert_eq!(found, [7, 8]);
        sq.plan(0, 0);
        assert_eq!(
            new.take(u32::MAX).iter().map(|sqe| sqe.user_data).collect::<Vec<_>>(),
            [5],
            "the entry moved along"
        );
        other.join().expect("no panic");
    });
}
