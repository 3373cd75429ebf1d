//! Generated programs of entries, run on a kernel and judged by a ledger.
//!
//! [`program`] is plain data, [`generate`] makes it from bytes, [`run`] goes through it in a [`world`], by one of the
//! [`doors`], and [`ledger`] judges the [`trace`]. To add an operation: its variant and what [`program::Op`] says of
//! it, its bytes in `generate`, its entry in [`job`], and what it may say in `ledger/results.rs`.

#![allow(dead_code, reason = "each user of the programs uses its own part")]

pub mod buffers;
pub mod doors;
mod drive;
pub mod fixed;
pub mod generate;
pub mod job;
pub mod kind;
pub mod ledger;
#[cfg(feature = "sim")]
pub mod liar;
mod outside;
mod print;
pub mod program;
mod registered;
pub mod run;
#[cfg(feature = "sim")]
pub mod sim;
pub mod trace;
pub mod world;

use program::Program;
use world::World;

/// Runs a program; `None` if there is no such ring here.
///
/// # Errors
///
/// What is wrong.
pub fn check(program: &Program, world: &impl World) -> Result<Option<trace::Trace>, String> {
    let fitted = run::fitted(program, world);
    let Some(trace) = run::run(&fitted, world) else { return Ok(None) };
    let wrong = ledger::verdict(&fitted, &trace, world.drains_strictly());
    if wrong.is_empty() {
        return Ok(Some(trace));
    }
    let events: Vec<_> = trace.events.iter().map(|event| format!("    {event:?}\n")).collect();
    Err(format!("{}\nin {fitted:?}\nevents:\n{}", wrong.join("\n"), events.concat()))
}
