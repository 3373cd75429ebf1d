//! Submitting without entering the kernel: a thread of the kernel polls the queue (`SQPOLL`).
//!
//! All rings share one polling thread (`ATTACH_WQ`), as several of them would take the processors from each other.

use std::hint::spin_loop;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use io_uring::{IoUring, opcode};
use rawring::{Ring, op};

use super::{AGAIN, Column, Contest, Pace, Section, Variant};
use crate::MARK;

/// Long enough that the thread never sleeps while it is measured.
const IDLE: Duration = Duration::from_secs(2);
const ENTRIES: u32 = 64;

fn theirs(batch: u32, poller: Option<&Ring>) -> impl FnMut(u32) + use<> {
    let mut builder = IoUring::builder();
    if let Some(poller) = poller {
        builder.setup_sqpoll(IDLE.as_millis() as u32).setup_attach_wq(poller.fd().expect("a descriptor").as_raw_fd());
    }
    let mut ring: IoUring = builder.build(ENTRIES).expect("a ring");
    let polled = poller.is_some();
    move |loops| {
        for _ in 0..loops {
            let mut queue = ring.submission();
            for _ in 0..batch {
                // SAFETY: the entry names nothing.
                unsafe { queue.push(&opcode::Nop::new().build().user_data(MARK)) }.expect("room");
            }
            drop(queue);
            if !polled {
                ring.submit_and_wait(batch as usize).expect("submission");
            } else {
                ring.submit().expect("submission");
            }
            let mut sum = 0;
            while sum < u64::from(batch) * MARK {
                sum += ring.completion().map(|cqe| cqe.user_data()).sum::<u64>();
                spin_loop();
            }
            assert_eq!(sum, u64::from(batch) * MARK);
        }
    }
}

fn ours(batch: u32, poller: Option<Rc<Ring>>) -> impl FnMut(u32) {
    let setup = Ring::setup(ENTRIES);
    let setup = match &poller {
        Some(poller) => setup.sqpoll(IDLE).attach(poller),
        None => setup,
    };
    let mut ring = setup.build().expect("a ring");
    move |loops| {
        for _ in 0..loops {
            for _ in 0..batch {
                ring.push(op::Nop::new().user_data(MARK)).expect("room");
            }
            if poller.is_none() {
                ring.submit_and_wait(batch).expect("submission");
            } else {
                ring.submit().expect("submission");
            }
            let mut sum = 0;
            while sum < u64::from(batch) * MARK {
                sum += ring.completions().map(|cqe| cqe.user_data().0).sum::<u64>();
                spin_loop();
            }
            assert_eq!(sum, u64::from(batch) * MARK);
        }
    }
}

fn contest(batch: u32) -> Result<Contest, String> {
    if std::thread::available_parallelism().map_or(1, Into::into) < 2 {
        return Err("a polling thread needs a processor of its own".to_owned());
    }
    let poller = Ring::setup(ENTRIES).sqpoll(IDLE).build().map_err(|error| error.to_string())?;
    let poller = Rc::new(poller);
    let variants = vec![
        Variant::new("io-uring, SQPOLL", theirs(batch, Some(&poller))),
        Variant::new(format!("io-uring, SQPOLL{AGAIN}"), theirs(batch, Some(&poller))),
        Variant::new("rawring, SQPOLL", ours(batch, Some(poller.clone()))),
        Variant::new("io-uring, entering", theirs(batch, None)),
        Variant::new("rawring, entering", ours(batch, None)),
    ];
    Ok(Contest { operations: batch, variants, skipped: Vec::new() })
}

/// A ring that is polled.
pub(super) fn section() -> Section {
    Section {
        name: "sqpoll",
        note: "`NOP` without a system call: a thread of the kernel polls the queue, and this one spins until the \
               completions are there. That takes two processors for the work of one; on a machine with two, anything \
               else that runs is in the way.",
        unit: "operation",
        pinned: false,
        pace: Pace::Slices,
        columns: [1, 8, 32].map(|batch| Column::new(format!("b{batch}"), move |_| contest(batch))).into(),
        targets: Vec::new(),
        memory: None,
    }
}
