//! `rawring probe`.

use std::fs;
use std::process::Stdio;

use rawring::probe::{Limits, Probe};
use serde_json::Value;

use crate::files::Dir;
use crate::{at, forbid_io_uring, parts, tool};

#[test]
fn probe_prints_json_that_agrees_with_the_library() {
    let output = tool(["probe", "--json"]).output().unwrap();
    let (code, out, err) = parts(&output);
    assert_eq!((code, err), (Some(0), ""));
    let report: Value = serde_json::from_str(out).expect("JSON");
    let probe = Probe::new().expect("io_uring is available");
    assert_eq!(report["available"], true);
    assert_eq!(report["level"], probe.level().to_string());
    let operations = report["operations"].as_array().expect("a list");
    assert_eq!(operations.len(), probe.operations().count());
    for (row, op) in operations.iter().zip(probe.operations()) {
        assert_eq!(row["opcode"], op.opcode.0);
        assert_eq!(row["name"], format!("{:?}", op.opcode));
        assert_eq!(row["supported"], op.supported, "{row}");
        assert_eq!(row["since"].as_str(), op.since.map(|since| since.to_string()).as_deref(), "{row}");
    }
    assert!(operations.iter().any(|row| row["name"] == "IORING_OP_READ" && row["supported"] == true));
    for (name, flags) in [
        ("features", probe.features().collect::<Vec<_>>()),
        ("setup_flags", probe.setup_flags().collect()),
        ("enter_flags", probe.enter_flags().collect()),
        ("sqe_flags", probe.sqe_flags().collect()),
    ] {
        let rows = report[name].as_array().expect(name);
        assert_eq!(rows.len(), flags.len(), "{name}");
        for (row, flag) in rows.iter().zip(flags) {
            assert_eq!(row["name"], flag.info.name);
            assert_eq!(row["supported"], flag.supported, "{row}");
        }
    }
    let registrations = report["registrations"].as_array().expect("a list");
    assert_eq!(registrations.len(), probe.registrations().count());
    for (row, registered) in registrations.iter().zip(probe.registrations()) {
        assert_eq!(row["number"], registered.registration.0);
        assert_eq!(row["name"], format!("{:?}", registered.registration));
        assert_eq!(row["supported"], format!("{:?}", registered.answer).to_lowercase(), "{row}");
        let reason = registered.missing.map(|missing| missing.to_string());
        assert_eq!(row["reason"].as_str(), reason.as_deref(), "{row}");
    }
    let limits = Limits::measure().expect("a large ring");
    assert_eq!(report["limits"]["sq_entries"], limits.entries);
    assert_eq!(report["limits"]["cq_entries"], limits.cq_entries);
}

#[test]
fn probe_prints_columns_that_are_aligned() {
    let output = tool(["probe"]).output().unwrap();
    let (code, out, err) = parts(&output);
    assert_eq!((code, err), (Some(0), ""));
    let probe = Probe::new().expect("io_uring is available");
    let section = |title: &str| -> Vec<&str> {
        let rows = out.lines().skip_while(|line| !line.starts_with(title)).skip(1);
        rows.take_while(|line| !line.is_empty()).collect()
    };
    let rows = section("operations: ");
    assert_eq!(rows.len(), probe.operations().count(), "{out}");
    let last = |row: &str| row.rfind("  ");
    assert!(rows.iter().all(|row| last(row) == last(rows[0])), "{rows:#?}");
    let read = rows.iter().find(|row| row.contains("IORING_OP_READ ")).expect("a row for READ");
    assert_eq!(read.split_whitespace().collect::<Vec<_>>(), ["IORING_OP_READ", "5.6", "yes"]);
    // What is missing comes with the reason.
    let reasons = out.lines().filter(|line| line.contains(": came with Linux ") || line.contains(": this kernel was "));
    let missing = out.lines().filter(|line| line.contains("  no") || line.contains("  unlikely"));
    assert!(reasons.eq(missing), "{out}");
    for title in ["variants: ", "registrations: ", "features: ", "setup flags: ", "limits"] {
        assert!(!section(title).is_empty(), "{title} in {out}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = tool(["probe"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(parts(&output), (Some(0), "", ""));
}

#[test]
fn without_io_uring_probe_and_cp_say_why_and_fail() {
    let dir = Dir::new("cli-forbidden");
    fs::write(at(&dir, "src"), b"content").unwrap();
    let reason = "system call filter";
    let output = forbid_io_uring(&mut tool(["probe", "--json"])).output().unwrap();
    let (code, out, err) = parts(&output);
    let report: Value = serde_json::from_str(out).expect("JSON");
    assert_eq!((code, &report["available"]), (Some(1), &Value::Bool(false)));
    assert!(report["reason"].as_str().is_some_and(|text| text.contains(reason)), "{out}");
    assert!(err.starts_with("rawring: ") && err.contains(reason), "{err}");
    let output = forbid_io_uring(&mut tool(["probe"])).output().unwrap();
    let (code, out, err) = parts(&output);
    assert!(code == Some(1) && out.ends_with("io_uring is not available\n") && err.contains(reason), "{out}{err}");
    let output = forbid_io_uring(&mut tool(["cp", &at(&dir, "src"), &at(&dir, "dst")])).output().unwrap();
    let (code, out, err) = parts(&output);
    assert!(code == Some(1) && out.is_empty() && err.contains(reason), "{out}{err}");
    assert_eq!(dir.names(), ["src"]);
}
