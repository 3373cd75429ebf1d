//! How large the next block is.
//!
//! Pure arithmetic over bytes and times that the caller measured. The invariant: the size only ever doubles, up to the
//! largest, except for one step back, after which it stays. So buffers are replaced a bounded number of times.

use std::time::Duration;

/// By how much a doubled block has to be faster to be kept: one part in this many. Less is noise.
const GAIN: f64 = 1.0 / 32.0;

pub(super) struct Pace {
    block: usize,
    largest: usize,
    /// How many blocks make a measurement.
    turn: u64,
    settled: bool,
    /// Bytes per second with half the block, if that was measured.
    before: Option<f64>,
    /// Where the measurement under way began.
    from: (u64, Duration),
}

impl Pace {
    /// Starts with `block` and stays with it if that is the largest. `depth` blocks are in flight.
    pub(super) fn new(block: usize, largest: usize, depth: u32) -> Self {
        // Blocks of the size before are still in flight when a measurement begins: it lasts twice as long as they do.
        let turn = 2 * u64::from(depth);
        Pace { block, largest, turn, settled: block >= largest, before: None, from: (0, Duration::ZERO) }
    }

    /// The size for the next block.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Takes note of how many bytes were copied at which time, both since the beginning.
    pub(super) fn copied(&mut self, bytes: u64, elapsed: Duration) {
        let (since, start) = self.from;
        if self.settled || bytes - since < self.turn * self.block as u64 {
            return;
        }
        let rate = (bytes - since) as f64 / elapsed.saturating_sub(start).as_secs_f64().max(1e-9);
        self.from = (bytes, elapsed);
        if self.before.is_some_and(|before| rate < before * (1.0 + GAIN)) {
            self.block /= 2;
            self.settled = true;
        } else if self.block * 2 > self.largest {
            self.settled = true;
        } else {
            self.before = Some(rate);
            self.block *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a copy whose speed depends on the block size, until the size stays; gives all sizes.
    fn sizes(mut pace: Pace, speed: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut seen = vec![pace.block()];
        let (mut bytes, mut seconds) = (0, 0.0);
        for _ in 0..10_000 {
            bytes += pace.block() as u64;
            seconds += pace.block() as f64 / speed(pace.block());
            pace.copied(bytes, Duration::from_secs_f64(seconds));
            if seen.last() != Some(&pace.block()) {
                seen.push(pace.block());
            }
        }
        seen
    }

    #[test]
    fn it_doubles_while_the_copy_gets_faster_and_steps_back_once() {
        let peak = |block: usize| if block <= 256 { block as f64 * 1e6 } else { 200e6 };
        assert_eq!(sizes(Pace::new(64, 4096, 4), peak), [64, 128, 256, 512, 256]);
    }

    #[test]
    fn it_never_passes_the_largest() {
        assert_eq!(sizes(Pace::new(64, 300, 4), |block| block as f64), [64, 128, 256]);
        assert_eq!(sizes(Pace::new(64, 64, 4), |block| block as f64), [64]);
    }

    #[test]
    fn time_that_stands_still_is_no_error() {
        let mut pace = Pace::new(1, 4, 1);
        pace.copied(2, Duration::ZERO);
        assert_eq!(pace.block(), 2);
    }
}
