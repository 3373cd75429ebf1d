//! Cancelling, and what is found.

use rawring::flags::CancelFlags;
use rawring::op::{Cancel, CancelOp, MsgRing, Nop, Opcode, Timeout};
use rawring::operand::Timespec;
use rawring::{Errno, Ring};

use crate::{KINDS, failed, reap, ring, seeds, twins};

static LONG: Timespec = Timespec { seconds: 600, nanoseconds: 0 };

/// Starts timeouts with these names, one submission each.
fn start(ring: &mut Ring, names: &[u64]) {
    for &name in names {
        ring.push(Timeout::new(&LONG).user_data(name)).expect("room");
        ring.submit().expect("a submission");
    }
}

#[test]
fn a_cancelled_operation_and_its_cancellation_both_complete() {
    twins(|ring| {
        start(ring, &[1, 2]);
        ring.push(Cancel::new(1).user_data(3)).expect("room");
        ring.push(Cancel::new(77).user_data(4)).expect("room");
        let mut outcomes = reap(ring, 3);
        ring.push(Cancel::new(2).user_data(5)).expect("room");
        outcomes.extend(reap(ring, 2));
        assert_eq!(outcomes[&4], [failed(Errno::NOENT)]);
        outcomes
    });
}

#[test]
fn several_are_cancelled_at_once_and_counted() {
    twins(|ring| {
        start(ring, &[1, 1, 1, 2, 3]);
        ring.push(Cancel::new(1).cancel_flags(CancelFlags::ALL).user_data(10)).expect("room");
        let mut outcomes = reap(ring, 4);
        let timeouts = CancelOp::new(Opcode(rawring::sys::IORING_OP_TIMEOUT)).cancel_flags(CancelFlags::ALL);
        ring.push(timeouts.user_data(11)).expect("room");
        outcomes.extend(reap(ring, 3));
        ring.push(Cancel::new(0).cancel_flags(CancelFlags::ANY).user_data(12)).expect("room");
        outcomes.extend(reap(ring, 1));
        assert_eq!((&outcomes[&10], &outcomes[&11], &outcomes[&12]), (&vec![(3, 0)], &vec![(2, 0)], &vec![(0, 0)]));
        outcomes
    });
}

#[test]
fn what_a_link_holds_back_is_not_found() {
    twins(|ring| {
        let first = Timeout::new(&LONG).user_data(1).link();
        ring.push_all([first.into(), Nop::new().user_data(2).into()]).expect("room");
        ring.submit().expect("a submission");
        ring.push(Cancel::new(2).user_data(3)).expect("room");
        let mut outcomes = reap(ring, 1);
        ring.push(Cancel::new(1).user_data(4)).expect("room");
        outcomes.extend(reap(ring, 3));
        assert_eq!((&outcomes[&3], &outcomes[&2]), (&vec![failed(Errno::NOENT)], &vec![failed(Errno::CANCELED)]));
        outcomes
    });
}

#[test]
fn a_message_arrives_on_another_ring() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut from = sim.ring(4).expect("a ring");
            let mut to = ring(sim, 4, kind);
            {
                let to = to.fd().expect("a descriptor");
                // SAFETY: nothing on the target's side stakes memory on its completions.
                let message = unsafe { MsgRing::new(to, 7, 42) };
                // SAFETY: the descriptor is open until the completion was reaped, below.
                unsafe { from.push_unchecked(message.user_data(1)) }.expect("room");
            }
            assert_eq!(reap(&mut from, 1)[&1], [(0, 0)]);
            assert_eq!(reap(&mut to, 1)[&7], [(42, 0)], "{kind:?}");
        });
    }
}
