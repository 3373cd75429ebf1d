//! Sequences of registrations, typed and raw, right and wrong, with operations in between that use what was registered.
//!
//! The first byte says where: on a simulated kernel, on one that lies, or on the kernel that this runs on, in a process
//! of its own. The next nine are a kind of ring and a seed; of the rest each step takes what it needs. What the calls say
//! they did is written down here, by their documentation and not by what the crate keeps: results have to be those,
//! every slot of the tables has to give what was put there, and the crate's own accounts have to agree. Of a kernel that
//! lies only this is expected: no panic, no call that does not return, no memory given up too early.
//!
//! Left out, on every kernel: restrictions and filters, for after them every answer is "no"; raw calls that resize the
//! queues or take a place in the thread's table, which would lead the crate to memory or rings that are others', by the
//! contract of [`Ring::register_raw`]; limits and anything that outlives the process. Raw arguments name no memory that
//! exists but their own, so that the kernel has nothing to write to.

#[path = "register/buffers.rs"]
mod buffers;
#[path = "register/calls.rs"]
mod calls;
#[path = "register/files.rs"]
mod files;
#[path = "register/raw.rs"]
mod raw;
#[path = "register/world.rs"]
mod world;

use rawring::Ring;

use self::world::{Host, Run};
use crate::child;

/// One input.
pub fn run(data: &[u8]) {
    match data.first().copied().unwrap_or(0) % 4 {
        #[cfg(feature = "sim")]
        0 | 1 => simulated(data),
        #[cfg(feature = "sim")]
        2 => lied_to(data),
        _ => on_the_kernel(data),
    }
}

#[cfg(feature = "sim")]
pub fn simulated(data: &[u8]) {
    let mut input = Input::after_first(data);
    let sim = rawring::sim::Sim::new(input.u64());
    play(Host::Sim(sim.clone()), true, &mut input);
    sim.check();
}

#[cfg(feature = "sim")]
pub fn lied_to(data: &[u8]) {
    use rawring::sim::Lies;
    let mut input = Input::after_first(data);
    let sim = rawring::sim::Sim::new(input.u64());
    play(Host::Sim(sim.clone()), false, &mut input);
    sim.lie(Lies::empty(), 0);
    sim.check();
}

pub fn on_the_kernel(data: &[u8]) {
    child::run(&data, || {
        let mut input = Input::after_first(data);
        input.u64();
        play(Host::Kernel, true, &mut input);
        Ok(())
    });
}

/// What is left of an input; zeros follow the last byte.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn after_first(data: &'a [u8]) -> Self {
        Input(data.get(1..).unwrap_or_default())
    }

    fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.u8()))
    }

    /// A number below `n`.
    fn below(&mut self, n: u8) -> u8 {
        self.u8() % n
    }

    /// A slot: mostly one of a small table, and those around the end of all numbers.
    fn slot(&mut self) -> u32 {
        match self.u8() {
            byte @ 0..240 => u32::from(byte % 10),
            byte => u32::MAX - u32::from(byte % 3),
        }
    }
}

/// Goes through the steps.
fn play(host: Host, strict: bool, input: &mut Input<'_>) {
    let kind = input.u8();
    let Some(ring) = host.ring(kind, strict) else { return };
    // Whose buffers are cloned, and who takes places in the thread's table.
    let Ok(other) = host.setup(2).build() else { return };
    let mut run = Run::new(host, strict, ring);
    run.other = run.lend(&other);
    let mut places = calls::Places::new(&other);
    if !strict {
        run.lie(input);
    }
    for _ in 0..64 {
        if input.0.is_empty() {
            break;
        }
        step(&mut run, &other, &mut places, input);
        run.judge_tags();
    }
    drop(places);
    run.end();
}

fn step<'r>(run: &mut Run, other: &'r Ring, places: &mut calls::Places<'r>, input: &mut Input<'_>) {
    match input.below(24) {
        0 => run.make_files(input),
        1 => run.update_files(input),
        2 => run.insert_file(input),
        3 => run.unregister_files(),
        4 => run.leave_to_kernel(input),
        5 => run.open_into(input),
        6 => run.close_slot(input),
        7 => run.take_file(input),
        8 => run.make_buffers(input),
        9 => run.update_buffers(input),
        10 => run.unregister_buffers(),
        11 => run.clone_buffers(other, input),
        12 => run.poll(input),
        13 => run.cancel(input),
        14 => run.make_group(input),
        15 => run.read_into_group(input),
        16 => run.end_group(input),
        17 => run.register_eventfd(input),
        18 => run.switch_eventfd(input),
        19 => places.take(run, input),
        20 => run.personality(input),
        21 => run.resize(input),
        22 => run.push(input),
        _ => run.raw(input),
    }
}
