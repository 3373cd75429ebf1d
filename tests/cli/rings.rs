//! `rawring rings`.

use rawring::flags::SetupFlags;
use rawring::probe::Probe;
use serde_json::Value;

use crate::{forbid_io_uring, parts, text, tool};

/// The names in a list of lists of the report.
fn lists(value: &Value) -> Vec<Vec<&str>> {
    value.as_array().expect("a list").iter().map(names).collect()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name")).collect()
}

#[test]
fn rings_prints_json_that_agrees_with_the_library() {
    let output = tool(["rings", "--json", "--list"]).output().unwrap();
    let (code, out, err) = parts(&output);
    assert_eq!((code, err), (Some(0), ""));
    let report: Value = serde_json::from_str(out).expect("JSON");
    let probe = Probe::new().expect("io_uring is available");
    let flags = report["flags"].as_array().expect("flags");
    assert_eq!(flags.len(), SetupFlags::INFO.len());
    for (row, flag) in flags.iter().zip(probe.setup_flags()) {
        assert_eq!(format!("IORING_SETUP_{}", row["name"].as_str().expect("a name")), flag.info.name);
        assert_eq!(row["supported"], flag.supported, "{row}");
        assert_eq!(row["since"], flag.info.since.to_string(), "{row}");
    }
    assert_eq!(report["differing"], Value::Array(Vec::new()));
    assert!(lists(&report["excluded"]).contains(&vec!["SQPOLL", "COOP_TASKRUN"]));
    assert!(lists(&report["needed"]).contains(&vec!["SQ_AFF", "SQPOLL"]));
    assert!(!lists(&report["needed"]).contains(&vec!["TASKRUN_FLAG", "COOP_TASKRUN"]), "either will do");
    let combinations = lists(&report["combinations"]);
    assert!(combinations[0].is_empty() && combinations.contains(&vec!["SINGLE_ISSUER", "DEFER_TASKRUN"]));
    assert!(!combinations.contains(&vec!["DEFER_TASKRUN"]));
    let accepted = report["accepted"].as_u64().expect("a number");
    assert_eq!(accepted, 2 * combinations.len() as u64, "each with two choices of the flags that are free");
}

#[test]
fn rings_prints_a_table_the_rules_and_what_is_missing() {
    let output = tool(["rings"]).output().unwrap();
    let (code, out, err) = parts(&output);
    assert_eq!((code, err), (Some(0), ""));
    let row = |name: &str| -> Vec<&str> {
        let line =
            out.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name}: {out}"));
        line.split_whitespace().collect()
    };
    assert_eq!(row("IOPOLL ")[..4], ["IOPOLL", "1", ".", "+"]);
    assert_eq!(row("SQ_AFF ")[..5], ["SQ_AFF", "3", "+", "n", "."]);
    assert!(out.contains("\n  IORING_SETUP_DEFER_TASKRUN needs IORING_SETUP_SINGLE_ISSUER"), "{out}");
    for flag in Probe::new().expect("io_uring is available").setup_flags().filter(|flag| !flag.supported) {
        let name = flag.info.name.trim_start_matches("IORING_SETUP_");
        assert_eq!(row(name)[1..], ["Linux", &flag.info.since.to_string()], "{out}");
    }
}

#[test]
fn without_io_uring_rings_says_why_and_fails() {
    let output = forbid_io_uring(&mut tool(["rings"])).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains("system call filter"), "{output:?}");
}
