//! Signals that ask the tool to stop.
//!
//! The first one is noted, and whoever works asks for it and cleans up; a second one ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether a signal came, and which.
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Notes `SIGINT`, `SIGTERM` and `SIGHUP` from now on, except those that are ignored: whoever started the tool
    /// under `nohup`, or in the background of a script, wants it to go on.
    pub fn watch() -> io::Result<Stop> {
        let came = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        let ignored = ignored();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if ignored >> (signal - 1) & 1 == 0 {
                // In this order: the first signal finds `again` unset.
                flag::register_conditional_default(signal, again.clone())?;
                flag::register(signal, again.clone())?;
                flag::register_usize(signal, came.clone(), signal as usize)?;
            }
        }
        Ok(Stop(came))
    }

    /// The number of the signal that came last.
    pub fn signal(&self) -> Option<u8> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => u8::try_from(signal).ok(),
        }
    }
}

/// The signals that this process ignores, as a mask; none if the kernel does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
