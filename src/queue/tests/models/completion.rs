//! Models of the completion queue: the kernel posts from wherever an operation ends, at any time.

use super::*;
use crate::queue::Cq;
use crate::sync::UnsafeCell;

/// Posts three completions, as fast as there is room for them, and reaps them with `reap`, which gives the keys that it
/// found. They come out once each and in order.
fn handed_over(reap: impl Fn(&mut Cq, &mut Vec<u64>) + Copy + Send + Sync + 'static) {
    check(move |entries| {
        let kernel = Kernel::new(entries);
        let poster = thread::spawn({
            let kernel = kernel.clone();
            move || {
                let all = [(0, 0), (1, 0), (2, 0)];
                let mut posted = 0;
                while posted < all.len() {
                    let count = kernel.shared.post_all(&all[posted..]);
                    posted += count;
                    if count == 0 {
                        thread::yield_now();
                    }
                }
            }
        });
        let mut cq = kernel.shared.cq(false);
        let mut keys = Vec::new();
        while keys.len() < 3 {
            let before = keys.len();
            reap(&mut cq, &mut keys);
            if keys.len() == before {
                thread::yield_now();
            }
        }
        assert_eq!(keys, [0, 1, 2]);
        poster.join().expect("no panic");
    });
}

#[test]
fn completions_are_handed_over() {
    handed_over(|cq, keys| {
        for cqe in cq.snapshot() {
            keys.push(cqe.user_data().0);
        }
    });
}

#[test]
fn slots_given_back_early_were_read() {
    handed_over(|cq, keys| {
        let mut completions = cq.snapshot();
        while let Some(cqe) = completions.next() {
            keys.push(cqe.user_data().0);
            completions.publish();
        }
    });
}

#[test]
fn a_refreshed_snapshot_is_as_good_as_a_new_one() {
    handed_over(|cq, keys| {
        let mut completions = cq.snapshot();
        while let Some(cqe) = completions.next() {
            keys.push(cqe.user_data().0);
            completions.refresh();
        }
    });
}

#[test]
fn completions_taken_one_by_one_are_read_first() {
    handed_over(|cq, keys| {
        // As Ring::pop.
        let mut left = 0;
        // SAFETY: it is what was left, and nobody else consumes any.
        while let Some(cqe) = unsafe { cq.pop(&mut left) } {
            keys.push(cqe.user_data().0);
        }
        cq.publish();
    });
}

/// What the two hand-overs are for: the memory that an entry names is the kernel's from submission to completion.
#[test]
fn a_buffer_is_handed_over_and_back() {
    struct Buffer(UnsafeCell<u32>);
    // SAFETY: who may touch it when is what the model finds out.
    unsafe impl Sync for Buffer {}
    // SAFETY: a number.
    unsafe impl Send for Buffer {}

    check(|entries| {
        let kernel = Kernel::new(entries);
        let buffer = Arc::new(Buffer(UnsafeCell::new(0)));
        let worker = thread::spawn({
            let (kernel, buffer) = (kernel.clone(), buffer.clone());
            move || {
                while kernel.shared.take(1).is_empty() {
                    thread::yield_now();
                }
                // SAFETY: the cell's memory is valid; the model checks that nobody else uses it.
                buffer.0.with_mut(|bytes| unsafe { *bytes += 1 });
                assert!(kernel.shared.post(7, 0));
            }
        });
        let (mut sq, mut cq) = (kernel.shared.sq(Mode { polled: true, ..Mode::default() }), kernel.shared.cq(false));
        // SAFETY: as above.
        buffer.0.with_mut(|bytes| unsafe { *bytes = 41 });
        sq.push(&entry(7)).expect("room");
        sq.plan(0, 0);
        while pop(&mut cq).is_none() {
            thread::yield_now();
        }
        // SAFETY: as above.
        assert_eq!(buffer.0.with(|bytes| unsafe { *bytes }), 42);
        worker.join().expect("no panic");
    });
}
