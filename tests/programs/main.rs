//! Generated programs on the kernel that this runs on.
//!
//! `PROPTEST_CASES` says how many. What fails is printed, made as small as possible, as an expression that can be pasted
//! into [`kept`].

#[path = "../common/mod.rs"]
mod common;
#[path = "mod.rs"]
mod programs;
#[cfg(feature = "sim")]
mod simulated;
mod strategy;

use std::sync::OnceLock;

use common::{kernel_has, kernel_has_op, skipped};
use programs::check;
use programs::generate::from_bytes;
use programs::program::{Object::*, Op::*, Step::*, *};
use programs::run::fitted;
use programs::world::{Kernel, World};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use strategy::{picking_programs, programs, tabled_programs};

/// The kernel, if programs can be ended on it.
fn kernel(test: &str) -> Option<&'static Kernel> {
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    let has_cancel_any = kernel_has_op(test, rawring::op::CancelAny::INFO);
    has_cancel_any.then(|| KERNEL.get_or_init(|| Kernel::new().expect("io_uring is available")))
}

fn config(cases: u32) -> ProptestConfig {
    // The number is that of a plain run; the variable scales it.
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases * cases / 256, failure_persistence: None, ..default }
}

/// Whether there is such a ring here.
fn assert_fine(program: &Program, kernel: &Kernel) -> bool {
    check(program, kernel).unwrap_or_else(|wrong| panic!("{program:?}\n{wrong}")).is_some()
}

#[test]
fn generated_programs_keep_all_promises() {
    run_on_kernel("generated_programs_keep_all_promises", 1000, programs());
}

/// Rings of buffers, and operations that take from them.
#[test]
fn item_20_generated_programs_lose_no_buffer_and_get_none_twice() {
    run_on_kernel("item_20_generated_programs_lose_no_buffer_and_get_none_twice", 300, picking_programs());
}

/// A table of registered files that changes while it is used.
#[test]
fn item_36_generated_programs_keep_registered_files() {
    run_on_kernel("item_36_generated_programs_keep_registered_files", 300, tabled_programs());
}

fn run_on_kernel(test: &str, cases: u32, programs: impl Strategy<Value = Program>) {
    let Some(kernel) = kernel(test) else { return };
    // What the ledger holds a kernel to was written down from one. Others break some of it: reads completed with
    // ERESTARTSYS (seen in 6.16 to 7.0), entries after drained ones that never start (6.1, 6.12).
    if std::env::var_os("RAWRING_KERNEL").is_some() {
        return skipped(test, "not in the guests of tests/kernels/run, whose kernels keep other promises");
    }
    let run = |program| check(&program, kernel).map(drop).map_err(TestCaseError::fail);
    TestRunner::new(config(cases)).run(&programs, run).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Generated programs go through rings of all kinds; here is said which of them this kernel does not have, and what
/// programs go without.
#[test]
fn what_programs_go_without_is_said() {
    let test = "generated programs";
    let Some(kernel) = kernel(test) else { return };
    for kind in Kind::ALL {
        let program = Program { kind, door: Door::Unchecked, bufs: Bufs::List, steps: vec![Push(entry(Nop))] };
        let has = kernel_has(test, kind.flags());
        assert_eq!(assert_fine(&program, kernel), has, "{kind:?}");
    }
    let object = In(0);
    for op in [
        SendZc(1),
        PollMulti(object),
        ReadMulti(object),
        RecvMulti(Tcp),
        AcceptMulti,
        TimeoutMulti(1),
        Message(true),
        RecvBundle(Tcp),
    ] {
        kernel_has_op(test, op.info());
    }
    for bufs in Bufs::ALL {
        let program = Program { kind: Kind::Plain, door: Door::Scope, bufs, steps: vec![Push(entry(RecvMulti(Tcp)))] };
        if fitted(&program, kernel).bufs != bufs {
            skipped(test, &format!("{bufs:?}: rings of provided buffers came with Linux {}", bufs.since()));
        }
        assert!(assert_fine(&program, kernel));
    }
    if !kernel.drains_zero_copy() {
        skipped(test, "zero-copy sends beside drains: this kernel never starts them");
    }
    if !kernel.drains_strictly() {
        skipped(test, "what follows a drained entry is not expected to wait for its end: on this kernel it does not");
    }
}

/// What failed once, and what is worth to be run always.
#[test]
fn kept() {
    let Some(kernel) = kernel("kept") else { return };
    for program in kept_programs() {
        assert_fine(&program, kernel);
    }
}

#[test]
fn a_program_is_printed_as_it_can_be_pasted() {
    let program = &kept_programs()[0];
    let text = "Program {
    kind: Kind::Plain,
    door: Door::Unchecked,
    bufs: Bufs::List,
    steps: vec![
        Push(entry(Fail).link().skip()),
        Push(entry(SendZc(23)).fixed()),
    ],
}";
    assert_eq!(format!("{program:?}"), text);
}

#[test]
fn all_bytes_are_a_program() {
    let zeros = from_bytes(&[0; 12]);
    assert_eq!(
        zeros,
        Program { kind: Kind::Plain, door: Door::Unchecked, bufs: Bufs::List, steps: vec![Push(entry(Nop)); 2] }
    );
    assert_eq!(from_bytes(&[]).steps, []);
    for byte in 0..=255 {
        assert!(!format!("{:?}", from_bytes(&[byte; 300])).is_empty());
    }
}

/// Each as it was printed.
pub fn kept_programs() -> Vec<Program> {
    vec![
        // A send that never started has a notification all the same, and nothing else.
        Program {
            kind: Kind::Plain,
            door: Door::Unchecked,
            bufs: Bufs::List,
            steps: vec![Push(entry(Fail).link().skip()), Push(entry(SendZc(23)).fixed())],
        },
        Program {
            kind: Kind::Plain,
            door: Door::Scope,
            bufs: Bufs::List,
            steps: vec![Push(entry(ReadHuge(File(0))).link().force_async()), Push(entry(SendZc(20)).fixed())],
        },
        // Of many drains each holds back the cancellation of what is before it.
        Program {
            kind: Kind::Plain,
            door: Door::InFlight,
            bufs: Bufs::List,
            steps: vec![
                Push(entry(Read(In(0), 1))),
                Push(entry(Read(In(0), 1)).drain()),
                Push(entry(Read(In(0), 1)).drain()),
                Push(entry(Read(In(0), 1)).drain()),
                Push(entry(Read(In(0), 1)).drain()),
            ],
        },
        // A drained chain that a drained entry has held back holds back what comes later, too.
        Program {
            kind: Kind::Cqe32,
            door: Door::Scope,
            bufs: Bufs::List,
            steps: vec![
                Push(entry(CancelKey(0)).drain()),
                Push(entry(Message(true)).link().drain()),
                Push(entry(Message(true))),
                Wait(1),
                Push(entry(Message(true))),
            ],
        },
        // Whoever waits is found by its key.
        Program {
            kind: Kind::Plain,
            door: Door::Unchecked,
            bufs: Bufs::List,
            steps: vec![Push(entry(Read(In(0), 1))), Submit, Push(entry(CancelKey(0)))],
        },
        Program {
            kind: Kind::Plain,
            door: Door::InFlight,
            bufs: Bufs::List,
            steps: vec![Push(entry(Nop)), Push(entry(Recv(Socket(0), 1))), Submit, Push(entry(CancelKey(1)))],
        },
        // The wide entry gets a filler before it, which has to hand the failure on and not to show its own: on a ring
        // that starts at 0 here, and on simulated ones, which start two slots before the end, below.
        Program {
            kind: Kind::SqeMixed,
            door: Door::Unchecked,
            bufs: Bufs::List,
            steps: vec![
                Push(entry(Nop)),
                Push(entry(Nop)),
                Push(entry(Nop)),
                Push(entry(Nop)),
                Push(entry(Nop)),
                Push(entry(Nop)),
                Submit,
                Push(entry(Fail).link()),
                Push(entry(Wide).link()),
                Push(entry(Nop)),
            ],
        },
        Program {
            kind: Kind::SqeMixed,
            door: Door::Scope,
            bufs: Bufs::List,
            steps: vec![Push(entry(Fail).link()), Push(entry(Wide))],
        },
        // A bundle that has all buffers ends with them.
        Program {
            kind: Kind::Plain,
            door: Door::Unchecked,
            bufs: Bufs::Incremental,
            steps: vec![
                Push(entry(RecvProvided(Socket(0)))),
                Feed(Socket(0), 10),
                Feed(Socket(1), 5),
                Push(entry(RecvBundle(Socket(1)))),
                Feed(Socket(0), 14),
            ],
        },
        // Shots on several streams take from one buffer, bit by bit.
        Program {
            kind: Kind::Plain,
            door: Door::Unchecked,
            bufs: Bufs::Incremental,
            steps: vec![
                Push(entry(RecvMulti(Socket(0)))),
                Feed(Socket(0), 24),
                Push(entry(RecvMulti(Socket(1)))),
                Push(entry(ReadMulti(Socket(0)))),
                Submit,
                Push(entry(RecvMulti(Socket(0)))),
            ],
        },
        // Without buffers it ends, and goes on when it is started again.
        Program {
            kind: Kind::Defer,
            door: Door::InFlight,
            bufs: Bufs::Ring,
            steps: vec![
                Feed(Socket(0), 40),
                Push(entry(RecvMulti(Socket(0)))),
                Wait(3),
                Wait(3),
                GiveBack(2),
                GiveBack(0),
                Push(entry(RecvBundle(Socket(0)))),
                Wait(1),
                GiveBackAll,
            ],
        },
        // Who waits keeps what it started with, and its tag comes after it.
        Program {
            kind: Kind::Plain,
            door: Door::Unchecked,
            bufs: Bufs::List,
            steps: vec![
                Push(entry(ReadFixed(In(0), 4)).fixed()),
                Push(entry(Read(In(1), 4)).fixed()),
                Submit,
                Renew(0),
                TakeOut(In(0)),
                Push(entry(ClearFile(In(1)))),
                Wait(3),
                Feed(In(0), 2),
                Wait(3),
            ],
        },
        // A refused head silences those that are linked to it.
        Program {
            kind: Kind::Plain,
            door: Door::Unchecked,
            bufs: Bufs::List,
            steps: vec![Push(entry(SendZc(14)).hard_link().skip()), Push(entry(RecvMulti(Socket(0))).hard_link())],
        },
    ]
}
