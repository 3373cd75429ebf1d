//! A second witness: the headers installed on this machine, compiled by its own C compiler.
//!
//! They are of another release, usually an older one. So only what they have is compared, and not what
//! releases may change: reserved space, and numbers that say how much there is. How many rows were
//! compared is printed; without a compiler or headers, so is that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::table::Table;
use crate::{layouts, names};

/// The headers, each only if it is there.
const HEADERS: [&str; 11] = [
    "linux/io_uring.h",
    "linux/io_uring/query.h",
    "linux/io_uring/zcrx.h",
    "linux/io_uring/bpf_filter.h",
    "linux/io_uring/mock_file.h",
    "linux/time_types.h",
    "linux/openat2.h",
    "linux/futex.h",
    "linux/errqueue.h",
    "linux/blkdev.h",
    "linux/nvme_ioctl.h",
];

/// Whether a constant says how much a release has: the last of a list, or the mask of all flags.
fn counts(name: &str) -> bool {
    ["_LAST", "_MAX", "_END"].iter().any(|end| name.ends_with(end)) || name == "IORING_URING_CMD_MASK"
}

#[test]
fn the_installed_headers_agree() {
    let said = match compare() {
        Ok(0) => panic!("the headers are there, and nothing was compared"),
        Ok(rows) => format!("{rows} rows agree with the installed headers"),
        Err(reason) => format!("skipped: the installed headers: {reason}"),
    };
    // Not `eprintln!`, which is kept from view unless a test fails.
    std::io::stderr().write_all(format!("{said}\n").as_bytes()).unwrap();
}

/// Compares what there is and says how much it was, or why nothing.
fn compare() -> Result<usize, String> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join("uapi.c");

    let mut includes = String::from("#include <stdio.h>\n#include <stddef.h>\n#include <time.h>\n");
    for header in HEADERS {
        writeln!(includes, "#if __has_include(<{header}>)\n#include <{header}>\n#endif").unwrap();
    }
    fs::write(&source, &includes).unwrap();
    // Comments gone, macros kept: what remains are the declarations.
    let text = run(Command::new(&compiler).args(["-E", "-dD", "-P"]).arg(&source))?;
    let tokens: BTreeSet<&str> = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).collect();
    if !tokens.contains("io_uring_sqe") {
        return Err("no linux/io_uring.h on this machine".to_owned());
    }

    let table = Table::read();
    let mut program = includes;
    program.push_str("int main(void) {\nprintf(\"pointer %zu\\n\", sizeof(void *));\n");
    for name in table.consts.keys().filter(|name| tokens.contains(name.as_str()) && !counts(name)) {
        writeln!(program, "printf(\"{name} %llu\\n\", (unsigned long long)(long long)({name}));").unwrap();
    }
    for name in table.structs.keys() {
        let Some(body) = body(&text, name) else { continue };
        if !layouts::grows(name) {
            writeln!(program, "printf(\"{name} %zu\\n\", sizeof(struct {name}));").unwrap();
        }
        writeln!(program, "printf(\"{name}:align %zu\\n\", _Alignof(struct {name}));").unwrap();
        for (_, path) in table.fields.keys().filter(|key| key.0 == *name) {
            let words: BTreeSet<&str> = body.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).collect();
            if path.split('.').any(|step| layouts::reserved(step) || !words.contains(step)) {
                continue;
            }
            writeln!(program, "printf(\"{name}.{path} %zu\\n\", offsetof(struct {name}, {path}));").unwrap();
            if table.fields[&(name.clone(), path.clone())].size.is_some() {
                let size = format!("sizeof(((struct {name} *)0)->{path})");
                writeln!(program, "printf(\"{name}.{path}:size %zu\\n\", {size});").unwrap();
            }
        }
    }
    program.push_str("return 0;\n}\n");
    fs::write(&source, program).unwrap();
    let binary = directory.join("uapi");
    // Up to here a failure was a lack of this machine. From here on it is wrong what was found out about
    // its headers.
    run(Command::new(&compiler).arg("-w").arg(&source).arg("-o").arg(&binary)).unwrap();
    let output = run(&mut Command::new(&binary)).unwrap();
    judge(&output, &binary)
}

/// Compares the program's output with this crate.
fn judge(output: &str, binary: &Path) -> Result<usize, String> {
    let mut ours: BTreeMap<String, u64> =
        names::CONSTS.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    for (name, size, align) in layouts::structs() {
        ours.insert(name.to_owned(), size as u64);
        ours.insert(format!("{name}:align"), align as u64);
    }
    for (name, path, offset, size) in layouts::c_fields() {
        ours.insert(format!("{name}.{path}"), offset as u64);
        ours.insert(format!("{name}.{path}:size"), size as u64);
    }

    let mut lines = output.lines().map(|line| line.split_once(' ').unwrap());
    let pointer = lines.next().expect("the size of a pointer").1;
    if pointer != size_of::<usize>().to_string() {
        return Err(format!("the C compiler is for another target: {} has {pointer}-byte pointers", binary.display()));
    }
    let mut wrong = Vec::new();
    let mut rows = 0;
    for (what, value) in lines {
        rows += 1;
        if ours[what].to_string() != value {
            wrong.push(format!("{what}: {} here, {value} in the installed header", ours[what]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(rows)
}

/// What stands between the braces of a struct's declaration, if there is one.
fn body<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let declared = |start: &usize| text[*start..].trim_start().starts_with('{');
    let key = format!("struct {name}");
    let start = text.match_indices(&key).map(|(at, _)| at + key.len()).find(declared)?;
    let mut depth = 0_i32;
    for (at, c) in text[start..].char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == '}' && depth == 0 {
            return Some(&text[start..start + at]);
        }
    }
    None
}

/// Runs a program and gives its output, or says why there is none.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::piped()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}
