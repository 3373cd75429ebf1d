//! Programs that must not compile: the borrow rules of the safe doors.
//!
//! Each file in `compile_fail/` states in its first line the errors that it may give, by code (compilers differ in which
//! of several they report), and holds one offending line behind `#[cfg(not(feature = "sound"))]`. All of them are
//! checked twice: as they are, where each must give some of those errors and no other; and without the offending line,
//! where each must compile. So no file can fail for another reason than the one it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cases by name, with the error that each expects.
fn cases() -> BTreeMap<String, (String, PathBuf)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let files = std::fs::read_dir(dir).expect("the cases").map(|entry| entry.expect("an entry").path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a case");
            let first = text.lines().next().unwrap_or_default();
            let expected = first.strip_prefix("//@ ").unwrap_or_else(|| panic!("{path:?} does not start with //@"));
            let gated = text.matches("#[cfg(not(feature = \"sound\"))]").count();
            assert_eq!(gated, 1, "{path:?} must have one offending line");
            let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
            (name, (expected.to_owned(), path.clone()))
        })
        .collect()
}

/// Writes a package whose binaries are the cases.
fn package(cases: &BTreeMap<String, (String, PathBuf)>) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    std::fs::create_dir_all(&dir).expect("a directory for the package");
    let mut manifest = format!(
        "[workspace]\n[package]\nname = \"cases\"\nedition = \"2024\"\n[features]\nsound = []\n\
         [dependencies]\nrawring = {{ path = {root:?} }}\n"
    );
    for (name, (_, path)) in cases {
        manifest += &format!("[[bin]]\nname = {name:?}\npath = {path:?}\n");
    }
    std::fs::write(dir.join("Cargo.toml"), manifest).expect("a manifest");
    // The versions that this very build uses are there already, so that no network is needed.
    std::fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).expect("a lock file");
    dir
}

/// Checks all cases; gives the errors of each by code, or by text where there is none.
fn check(dir: &Path, features: &str) -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--offline",
            "--quiet",
            "--bins",
            "--keep-going",
            "--message-format=json",
            "--features",
            features,
        ])
        .arg("--target-dir")
        .arg(dir.join("target"))
        .current_dir(dir)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let mut errors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut checked = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line).expect("cargo prints JSON");
        match message["reason"].as_str() {
            Some("compiler-artifact") if message["target"]["kind"][0] == "bin" => checked += 1,
            Some("compiler-message") if message["message"]["level"] == "error" => {
                let text = message["message"]["message"].as_str().unwrap_or_default();
                if text.starts_with("aborting due to") {
                    continue;
                }
                let error = message["message"]["code"]["code"].as_str().unwrap_or(text);
                let name = message["target"]["name"].as_str().unwrap_or_default();
                errors.entry(name.to_owned()).or_default().insert(error.to_owned());
            }
            _ => {}
        }
    }
    assert!(
        checked + errors.len() >= cases().len(),
        "cargo checked {checked} cases, {} gave errors:\n{}",
        errors.len(),
        String::from_utf8_lossy(&output.stderr)
    );
    errors
}

#[test]
fn what_would_be_unsound_does_not_compile() {
    let cases = cases();
    assert!(cases.len() >= 10, "only {} cases were found", cases.len());
    let dir = package(&cases);
    let sound = check(&dir, "sound");
    assert!(sound.is_empty(), "without the offending line, all cases compile: {sound:#?}");
    let errors = check(&dir, "");
    let mut wrong = Vec::new();
    for (name, (expected, _)) in &cases {
        match errors.get(name) {
            Some(given) if given.iter().all(|error| expected.split(", ").any(|code| code == error)) => {}
            given => wrong.push(format!("{name} must give {expected} and gives {given:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
