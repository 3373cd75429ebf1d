//! `tests/kernels/expected.tsv`: kind and name of a capability, and the kernels that have it, in columns separated by
//! tabs.

use std::collections::{BTreeMap, BTreeSet};

/// Kind and name.
pub type Capability = (String, String);

/// The kernels, oldest first, as `tests/kernels/kernels.tsv` names them.
pub const KERNELS: [&str; 11] = ["5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3"];

pub struct Table(BTreeMap<Capability, BTreeSet<String>>);

impl Table {
    pub fn read() -> Table {
        let text = include_str!("../kernels/expected.tsv");
        let mut rows = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            let mut column = || columns.next().unwrap_or_else(|| panic!("three columns: {line}"));
            let capability = (column().to_owned(), column().to_owned());
            let kernels = column().split(' ').map(str::to_owned).collect();
            assert!(rows.insert(capability, kernels).is_none(), "twice: {line}");
        }
        Table(rows)
    }

    pub fn rows(&self) -> impl Iterator<Item = (&Capability, &BTreeSet<String>)> {
        self.0.iter()
    }

    /// What a kernel has.
    pub fn of(&self, kernel: &str) -> BTreeSet<Capability> {
        let rows = self.0.iter().filter(|(_, kernels)| kernels.contains(kernel));
        rows.map(|(capability, _)| capability.clone()).collect()
    }

    /// The kernels that have something, oldest first.
    pub fn having(&self, kind: &str, name: &str) -> Vec<&'static str> {
        let kernels = self.0.get(&(kind.to_owned(), name.to_owned()));
        KERNELS.into_iter().filter(|&kernel| kernels.is_some_and(|kernels| kernels.contains(kernel))).collect()
    }
}
