//! Generated programs of entries, run on a kernel and judged by a ledger.
//!
//! [`program`] is plain data, [`generate`] makes it from bytes, [`run`] goes through it in a [`world`], by one of the
//! [`doors`], and [`ledger`] judges the [`trace`]. To add an operation: its variant and what [`program::Op`] says of
//! it, its bytes in `generate`, its entry in [`job`], and what it may say in `ledger/results.rs`.

pub mod doors;
mod drive;
pub mod generate;
pub mod job;
pub mod ledger;
mod outside;
pub mod program;
pub mod run;
pub mod trace;
pub mod world;

use program::Program;
use world::World;

/// Runs a program, and says what is wrong. `false` if there is no such ring here.
pub fn check(program: &Program, world: &impl World) -> Result<bool, String> {
    let fitted = run::fitted(program, world);
    let Some(trace) = run::run(&fitted, world) else { return Ok(false) };
    let wrong = ledger::verdict(&fitted, &trace, world.drains_strictly());
    if wrong.is_empty() {
        return Ok(true);
    }
    let events: Vec<_> = trace.events.iter().map(|event| format!("    {event:?}\n")).collect();
    Err(format!("{}\nin {fitted:?}\nevents:\n{}", wrong.join("\n"), events.concat()))
}
