//! What is said of numbers that scatter.

/// The middle of many numbers, and the ends of their range.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// As many are above it as below.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// # Panics
    ///
    /// If there are no numbers.
    pub fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (numbers.first(), numbers.last()) else { panic!("of no numbers") };
        let middle = numbers.len() / 2;
        let below = if numbers.len() % 2 == 0 { numbers[middle - 1] } else { numbers[middle] };
        Spread { min: *min, median: f64::midpoint(below, numbers[middle]), max: *max }
    }
}
