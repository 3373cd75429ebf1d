//! What each of the kernels in `tests/kernels` can do, pinned; and the releases that the crate states, held against it.
//!
//! `tests/kernels/expected.tsv` says which kernel has which capability: found out inside each of them, by the probe
//! where the kernel tells and else by trying. There, and only there, the answers are compared with the table, so that a
//! capability that vanishes is a failure and not one more skip. That the table agrees with every `since` of the crate is
//! checked everywhere.
//!
//! Not here: whether operations work. That is for the other tests.

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod since;
mod table;
mod trials;

use std::collections::BTreeSet;
use std::io::Write as _;

use rawring::probe::{Answer, Probe};
use table::{Capability, KERNELS, Table};

/// What the kernel says of itself, and what trying shows.
fn capabilities(probe: &Probe) -> BTreeSet<Capability> {
    let mut found = BTreeSet::new();
    let mut has = |kind: &str, name: &str| found.insert((kind.to_owned(), name.to_owned()));
    for operation in probe.operations().filter(|operation| operation.supported) {
        has("opcode", &format!("{:?}", operation.opcode));
    }
    let flags = probe.features().map(|flag| ("Features", flag));
    let flags = flags.chain(probe.setup_flags().map(|flag| ("SetupFlags", flag)));
    for (kind, flag) in flags.filter(|(_, flag)| flag.supported) {
        has(kind, flag.info.name);
    }
    for trial in trials::ALL.iter().filter(|trial| trial.succeeds()) {
        has(trial.kind, trial.name);
    }
    for registered in probe.registrations().filter(|registered| registered.answer == Answer::Yes) {
        has("registration", &format!("{:?}", registered.registration));
    }
    if let Some(query) = probe.query() {
        has("count", &format!("operations: {}", query.nr_request_opcodes));
        has("count", &format!("registrations: {}", query.nr_register_opcodes));
        has("count", &format!("queries: {}", query.nr_query_opcodes));
        has("bits", &format!("features: {:#x}", query.feature_flags));
        has("bits", &format!("setup flags: {:#x}", query.ring_setup_flags));
        has("bits", &format!("enter flags: {:#x}", query.enter_flags));
        has("bits", &format!("entry flags: {:#x}", query.sqe_flags));
    }
    has("level", &format!("Linux {}", probe.level()));
    found
}

#[test]
fn the_kernel_has_what_is_pinned_for_it() {
    const TEST: &str = "the_kernel_has_what_is_pinned_for_it";
    let Ok(guest) = std::env::var("RAWRING_KERNEL") else {
        return common::skipped(TEST, "only inside the kernels that tests/kernels/run boots");
    };
    // The same release on another architecture is named after it.
    let kernel = guest.split('-').next().expect("a name");
    let found = capabilities(common::probe());
    for (kind, name) in &found {
        let line = format!("capability: {kind}\t{name}\n");
        std::io::stderr().write_all(line.as_bytes()).expect("standard error");
    }
    let pinned = Table::read().of(kernel);
    let vanished: Vec<_> = pinned.difference(&found).collect();
    let fresh: Vec<_> = found.difference(&pinned).collect();
    assert!(
        vanished.is_empty() && fresh.is_empty(),
        "Linux {kernel} is not as tests/kernels/expected.tsv has it; vanished: {vanished:#?}, not pinned: {fresh:#?}"
    );
}

#[test]
fn the_table_names_known_kernels() {
    let table = Table::read();
    for ((kind, name), kernels) in table.rows() {
        assert!(!kernels.is_empty(), "{kind} {name}: no kernel");
        for kernel in kernels {
            assert!(KERNELS.contains(&kernel.as_str()), "{kind} {name}: there is no kernel {kernel}");
        }
    }
    for kernel in KERNELS {
        assert!(table.of(kernel).len() > 80, "{kernel}");
    }
}
