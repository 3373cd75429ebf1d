//! Families of curves: what grows, what is measured, and what the numbers say in words.

/// Something that grows.
pub struct Family {
    /// In options and in the names of files.
    pub name: &'static str,
    pub title: &'static str,
    /// What is done at each step, in a few sentences.
    pub about: &'static str,
    /// What there are more and more of.
    pub of: &'static str,
    /// Ways to do it, one curve each.
    pub variants: &'static [&'static str],
    pub measures: &'static [Measure],
    pub steps: &'static [u64],
    /// The largest step of a smoke run.
    pub smoke: u64,
    /// Measures one step of one variant, in the child.
    pub measure: fn(variant: usize, size: u64, into: &mut Step) -> Result<(), String>,
}

#[derive(Clone, Copy)]
pub struct Measure {
    pub name: &'static str,
    pub unit: Unit,
}

/// Nanoseconds of this for each operation.
pub const fn ns(name: &'static str) -> Measure {
    Measure { name, unit: Unit::Nanoseconds }
}

/// What the process got into memory for each of what grows.
pub const MEMORY: Measure = Measure { name: "memory", unit: Unit::Bytes };
/// What all objects of the kernel grew by for each of them.
pub const KERNEL_MEMORY: Measure = Measure { name: "kernel's memory", unit: Unit::Bytes };

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Bytes,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::Bytes => "bytes",
        }
    }
}

/// Where a child says what it measured, one number after the other: what came before its end is kept, whatever ends it.
pub struct Step {
    pub family: &'static Family,
    pub smoke: bool,
}

impl Step {
    /// Whether the family measures this.
    pub fn asks_for(&self, measure: &str) -> bool {
        self.family.measures.iter().any(|known| known.name == measure)
    }

    /// # Panics
    ///
    /// For a measure that the family does not have.
    pub fn say(&mut self, measure: &str, value: f64) {
        assert!(self.asks_for(measure), "{measure}");
        println!("{measure}\t{value}");
    }
}

/// One variant, measured.
pub struct Curve {
    pub variant: &'static str,
    pub rows: Vec<Row>,
    /// What was not measured, and why.
    pub skipped: Vec<String>,
}

pub struct Row {
    pub size: u64,
    /// In the order of the family's measures.
    pub values: Vec<Option<f64>>,
}

/// Prints tables and knees as Markdown.
pub fn print(family: &Family, curves: &[Curve]) {
    println!("\n### {}\n\n{}", family.title, family.about);
    for curve in curves {
        println!("\n{}:\n", curve.variant);
        let heads = family.measures.iter().map(|measure| format!(" {}, {} |", measure.name, measure.unit.name()));
        println!("| {} |{}", family.of, heads.collect::<String>());
        println!("| ---: |{}", " ---: |".repeat(family.measures.len()));
        for row in &curve.rows {
            let cells = row.values.iter().map(|value| format!(" {} |", value.map_or("-".into(), number)));
            println!("| {} |{}", number(row.size as f64), cells.collect::<String>());
        }
    }
    println!();
    for reason in curves.iter().flat_map(|curve| &curve.skipped) {
        println!("skipped: {reason}\n");
    }
    println!("Knees, where a cost for each operation more than doubles from one step to the next:\n");
    let mut knees = curves.iter().flat_map(|curve| self::knees(family, curve)).peekable();
    if knees.peek().is_none() {
        println!("- none");
    }
    knees.for_each(|knee| println!("- {knee}"));
}

/// Where a cost more than doubles from one step to the next, in words.
fn knees(family: &Family, curve: &Curve) -> Vec<String> {
    let mut found = Vec::new();
    for (index, measure) in family.measures.iter().enumerate() {
        if measure.unit != Unit::Nanoseconds {
            continue;
        }
        let values = curve.rows.iter().filter_map(|row| Some((row.size, row.values[index]?)));
        let values: Vec<_> = values.collect();
        for pair in values.windows(2) {
            let [(few, cheap), (many, dear)] = *pair else { unreachable!("they are pairs") };
            if dear > 2.0 * cheap {
                let [few, many, cheap, dear_] = [few as f64, many as f64, cheap, dear].map(number);
                let times = dear / pair[0].1;
                let (variant, measure) = (curve.variant, measure.name);
                found.push(format!(
                    "{variant}, {measure}: {cheap} ns at {few}, {dear_} ns at {many}, which is {times:.1} times as much"
                ));
            }
        }
    }
    found
}

/// A number with commas, and with a decimal where there are few digits.
pub fn number(value: f64) -> String {
    if value.abs() < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}
