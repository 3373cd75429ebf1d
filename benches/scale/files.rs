//! Registered files: what it costs to register, to use, to replace and to unregister them, as the table grows.
//!
//! Each slot has a file of its own, whose descriptor is closed once it is registered. So a limit of descriptors counts
//! only because the kernel makes no table that is larger than it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rawring::Ring;
use rawring::op::Read;
use rawring::operand::{self, FileSlot, Fixed};

use crate::curve::{Family, KERNEL_MEMORY, Step, ns};
use crate::machine::{self, Memory, forever, median, median_round, nanoseconds};

pub const FAMILY: Family = Family {
    name: "files",
    title: "Registered files",
    about: "A table of files is made, each of them `/dev/null`, opened anew. They are registered 32 in a call, read from at \
            random in batches of 32 (of nothing: what is left is the file), replaced at random one in a call, and unregistered all at once. \
            Where the limit of open files allows no table so large, there are several of 10,000, each of a ring of its own, \
            and a batch goes to one of them. Beside it, the same reads by descriptor.",
    of: "files",
    variants: &["registered", "by descriptor"],
    measures: &[ns("register"), ns("read"), ns("replace"), ns("unregister"), KERNEL_MEMORY],
    steps: &[1, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 100_000],
    smoke: 1 << 10,
    measure,
};

/// Entries that are submitted at once, and files that are registered in a call.
const BATCH: usize = 32;
/// Slots of each table where one of all would be above the limit of descriptors.
const TABLE: u32 = 10_000;

fn measure(variant: usize, size: u64, step: &mut Step) -> Result<(), String> {
    if variant == 1 {
        machine::can_open(size)?;
        let files: Vec<_> = (0..size).map(|_| forever(null())).collect();
        let mut rings = [machine::ring(256, 512)];
        step.say("read", reads(&mut rings, size as u32, step, |file| files[file as usize].into()));
        return Ok(());
    }
    let memory = Memory::now();
    let slots = if machine::can_open(size).is_ok() { size as u32 } else { TABLE };
    let mut rings = Vec::new();
    let mut registrations = Vec::new();
    for _ in (0..size).step_by(slots as usize) {
        let ring = machine::ring(256, 512);
        ring.register_sparse_files(slots).map_err(|error| error.to_string())?;
        registrations.extend(register(&ring, slots));
        rings.push(ring);
    }
    step.say("register", median(registrations));
    memory.say(step, u64::from(slots) * rings.len() as u64);
    step.say("read", reads(&mut rings, slots, step, |file| Fixed(file).into()));
    step.say("replace", replacements(&rings, slots, step));
    let unregister = |ring: &Ring| {
        let begin = Instant::now();
        ring.unregister_files().expect("there is a table");
        nanoseconds(begin, slots.into())
    };
    step.say("unregister", median(rings.iter().map(unregister).collect()));
    Ok(())
}

/// Fills a table, and tells what each file took.
fn register(ring: &Ring, slots: u32) -> Vec<f64> {
    let calls = (0..slots).step_by(BATCH).map(|first| {
        let files: Vec<_> = (first..slots.min(first + BATCH as u32)).map(|_| null()).collect();
        let files: Vec<FileSlot<'_>> = files.iter().map(|file| file.as_fd().into()).collect();
        let begin = Instant::now();
        assert_eq!(ring.update_files(first, &files), Ok(files.len() as u32));
        nanoseconds(begin, files.len() as u64)
    });
    calls.collect()
}

fn null() -> File {
    File::open("/dev/null").expect("/dev/null")
}

/// What a read of a file costs that is picked at random.
fn reads(rings: &mut [Ring], files: u32, step: &Step, file: impl Fn(u32) -> operand::File<'static>) -> f64 {
    median_round(machine::time(step), BATCH as u64, || {
        let ring = fastrand::choice(rings.iter_mut()).expect("there is one");
        for _ in 0..BATCH {
            let file = file(fastrand::u32(0..files));
            let nothing: &mut [u8] = &mut [];
            ring.push(Read::new(file, nothing)).expect("room");
        }
        ring.submit_and_wait(BATCH as u32).expect("submitting");
        assert_eq!(ring.completions().filter(|cqe| cqe.result() == Ok(0)).count(), BATCH);
    })
}

/// What it costs to put another file into a slot.
fn replacements(rings: &[Ring], files: u32, step: &Step) -> f64 {
    let file = null();
    let fd: BorrowedFd<'_> = file.as_fd();
    median_round(machine::time(step), BATCH as u64, || {
        for _ in 0..BATCH {
            let ring = fastrand::choice(rings).expect("there is one");
            assert_eq!(ring.update_files(fastrand::u32(0..files), &[fd.into()]), Ok(1));
        }
    })
}
