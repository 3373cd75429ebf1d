//! Programs on simulated kernels, honest ones and liars.
//!
//! The first byte says how often the kernel lies, in percent (a kernel that always did would never get on), the second about what, the next eight are its seed; the
//! rest is a program. With an honest kernel the ledger judges; of a liar nothing is expected, but that the crate does
//! not panic, that everything returns, and that no memory is given up too early.

use rawring::sim::Lies;

use crate::programs::generate::from_bytes;
use crate::programs::liar::endure;
use crate::programs::sim::{Simulated, check_simulated, config_of};

/// One input.
pub fn run(data: &[u8]) {
    let Some((&[percent, about, ref seed @ ..], program)) = data.split_first_chunk::<10>() else { return };
    let seed = u64::from_le_bytes(*seed);
    let program = from_bytes(program);
    let percent = percent % 64;
    let result = if percent == 0 {
        check_simulated(&program, config_of(seed)).map(drop)
    } else {
        let lies = Lies::from_bits_truncate(about.into());
        endure(&program, &Simulated::new(config_of(seed)), lies, percent)
    };
    result.unwrap_or_else(|wrong| panic!("{program:?}\nwith seed {seed}: {wrong}"));
}
