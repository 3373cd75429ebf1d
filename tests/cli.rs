//! The command-line tool as a user runs it: what it prints where, what it leaves behind, and how it exits.

#![cfg(feature = "cli")]

mod common;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rawring::flags::CqeFlags;
use rawring::op::{Read, Write};
use rawring::probe::{Limits, Probe};
use rawring::{Cqe, Sqe, UserData};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const TOOL: &str = env!("CARGO_BIN_EXE_rawring");

fn tool<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(TOOL);
    command.args(args);
    command
}

/// Runs the tool on some input.
fn fed<const N: usize>(args: [&str; N], input: &[u8]) -> Output {
    let mut child = tool(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    // It may have ended already, of an error in the arguments.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("the tool ends")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the tool prints text")
}

/// The exit code, standard output and standard error.
fn parts(output: &Output) -> (Option<i32>, &str, &str) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory that goes away.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("rawring-test-cli-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory for the test");
        Dir(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().expect("the name is text")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the test's directory");
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The size of the temporary file of a copy under way.
    fn under_way(&self) -> Option<u64> {
        let name = self.names().into_iter().find(|name| name.starts_with(".rawring-"))?;
        fs::metadata(self.path(&name)).ok().map(|status| status.len())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        sleep(Duration::from_millis(2));
    }
}

/// How a child ended; one that does not end is killed, and fails the test.
#[track_caller]
fn ended(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        sleep(Duration::from_millis(2));
    }
    child.kill().expect("a child of ours");
    panic!("the tool did not end: {:?}", child.wait());
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the tool runs");
}

/// Whether the tool has its handler for a signal in place.
fn catches(child: &Child, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).expect("a mask") >> (signal.as_raw() - 1) & 1 == 1
}

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
    for title in ["variants: ", "features: ", "setup flags: ", "limits"] {
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

/// Forbids `io_uring_setup` to the process that a command starts, as container runtimes do.
fn forbid_io_uring(command: &mut Command) -> &mut Command {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let filter = [
        line(LOAD, 0, 0, std::mem::offset_of!(libc::seccomp_data, nr) as u32),
        line(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: both calls only change the calling process. The program is read during the call, and has as many
        // lines as it says.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec, the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(install) }
}

#[test]
fn without_io_uring_probe_and_cp_say_why_and_fail() {
    let dir = Dir::new("forbidden");
    fs::write(dir.path("src"), b"content").unwrap();
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
    let output = forbid_io_uring(&mut tool(["cp", &dir.path("src"), &dir.path("dst")])).output().unwrap();
    let (code, out, err) = parts(&output);
    assert!(code == Some(1) && out.is_empty() && err.contains(reason), "{out}{err}");
    assert_eq!(dir.names(), ["src"]);
}

#[test]
fn decode_prints_entries_as_the_library_does() {
    let zeros = "00".repeat(63);
    let nop = tool(["decode", &format!("00{zeros}")]).output().unwrap();
    assert_eq!(parts(&nop), (Some(0), "Nop { opcode: IORING_OP_NOP, user_data: 0x0 }\n", ""));
    let null = File::open("/dev/null").unwrap();
    let mut bytes = [0; 512];
    let read = Sqe::from(Read::new(&null, &mut bytes).offset(4096).user_data(7)).into_raw();
    let write = Sqe::from(Write::new(&null, &bytes).offset(0).link()).into_raw();
    // SAFETY: neither entry is submitted.
    let [read, write] = [read, write].map(|raw| (hex(raw.as_bytes()), format!("{:?}", unsafe { Sqe::from_raw(raw) })));
    assert!(read.1.contains("offset: 4096") && write.1.contains("IOSQE_IO_LINK"), "{} {}", read.1, write.1);
    let expected = format!("{}\n{}\n", read.1, write.1);
    let spaced = |hex: &str| hex.as_bytes().chunks(2).map(|pair| text(pair).to_owned()).collect::<Vec<_>>();
    for input in [
        format!("{}\n{}\n", read.0, write.0),
        format!("{}{}", read.0, write.0).as_bytes().chunks(60).map(|line| format!("{}\n", text(line))).collect(),
        format!("0x{}\n\n{}", spaced(&read.0).join(", 0x"), spaced(&write.0).join(":")),
    ] {
        assert_eq!(parts(&fed(["decode"], input.as_bytes())), (Some(0), &*expected, ""), "{input}");
    }
    let output = tool(["decode", &read.0, &write.0]).output().unwrap();
    assert_eq!(parts(&output), (Some(0), &*expected, ""), "as arguments");
    let wide = format!("{}{}\n", read.0, "ab".repeat(64));
    let output = fed(["decode"], wide.as_bytes());
    let (code, out, _) = parts(&output);
    assert_eq!((code, out.lines().count()), (Some(0), 1));
    assert!(out.starts_with("Read {") && out.contains("second: [ab, ab"), "{out}");
    let unknown = fed(["decode"], "ff".repeat(64).as_bytes());
    assert!(text(&unknown.stdout).starts_with("Unknown { opcode: IORING_OP_255"), "{unknown:?}");
}

#[test]
fn decode_prints_completions() {
    let record = |user_data: u64, res: i32, flags: u32| {
        [&user_data.to_ne_bytes()[..], &res.to_ne_bytes(), &flags.to_ne_bytes()].concat()
    };
    let cqe = Cqe::new(UserData(0xabcd), -2, CqeFlags::MORE);
    let short = record(0xabcd, -2, CqeFlags::MORE.bits());
    let output = fed(["decode", "--cqe"], hex(&short).as_bytes());
    assert_eq!(parts(&output), (Some(0), &*format!("{cqe:?}\n"), ""));
    assert!(text(&output.stdout).contains("(2)"), "the errno: {output:?}");
    let long = [short, 5u64.to_ne_bytes().to_vec(), 6u64.to_ne_bytes().to_vec()].concat();
    let output = fed(["decode", "--cqe"], hex(&long).as_bytes());
    assert_eq!(parts(&output), (Some(0), &*format!("{:?}\n", cqe.with_big([5, 6])), ""));
}

#[test]
fn decode_says_where_the_hex_is_bad() {
    for (input, says) in [
        ("16 0g".to_owned(), "rawring: line 1, column 5: 'g' is not a hexadecimal digit\n"),
        (
            format!("{}\n{}", "00".repeat(64), "00".repeat(10)),
            "rawring: line 2, column 21: the input ends after 10 of 64 bytes\n",
        ),
        (String::new(), "rawring: nothing to decode: give 64 bytes in hexadecimal\n"),
    ] {
        assert_eq!(parts(&fed(["decode"], input.as_bytes())), (Some(2), "", says));
    }
    let output = fed(["decode"], &[0x16, 0xff]);
    assert_eq!(parts(&output).0, Some(2), "{output:?}");
}

#[test]
fn cp_copies_and_is_silent_in_a_pipe() {
    let dir = Dir::new("cp");
    let bytes: Vec<u8> = (0..3_000_001u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    fs::write(dir.path("src"), &bytes).unwrap();
    fs::create_dir(dir.path("sub")).unwrap();
    for (args, to) in [
        (["--mode", "auto", "--depth", "3"], "dst"),
        (["--mode", "safe", "--block", "64K"], "sub"),
        (["--mode", "fast", "--block", "2M"], "dst"),
    ] {
        let output = tool(["cp"]).args(args).args([dir.path("src"), dir.path(to)]).output().unwrap();
        assert_eq!(parts(&output), (Some(0), "", ""), "{args:?}");
        let dst = if to == "sub" { "sub/src" } else { to };
        assert!(fs::read(dir.path(dst)).unwrap() == bytes, "{args:?}");
    }
    let mut child = tool(["cp", "/dev/stdin", &dir.path("piped")]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(fs::read(dir.path("piped")).unwrap() == bytes);
    assert_eq!(dir.names(), ["dst", "piped", "src", "sub"]);
}

#[test]
fn cp_shows_its_progress_in_a_terminal() {
    const NAME: &str = "cp_shows_its_progress_in_a_terminal";
    if Command::new("script").arg("--version").output().is_err() {
        return common::skipped(NAME, "needs script(1), for a terminal");
    }
    let dir = Dir::new("terminal");
    let src = File::create(dir.path("src")).unwrap();
    src.set_len(200 << 20).unwrap();
    let command = format!("{TOOL} cp {} {}", dir.path("src"), dir.path("dst"));
    let output = Command::new("script").args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}");
    for part in ["100%", "200.00 MiB/200.00 MiB", "MiB/s", "ETA"] {
        assert!(shown.contains(part), "{part} in {shown:?}");
    }
    assert_eq!(fs::metadata(dir.path("dst")).unwrap().len(), 200 << 20);
}

#[test]
fn cp_names_what_failed_and_which_file() {
    let dir = Dir::new("errors");
    fs::write(dir.path("src"), b"content").unwrap();
    let [src, dst, missing] = ["src", "dst", "missing"].map(|name| dir.path(name));
    let below = dir.path("missing/dst");
    for (args, code, says) in [
        (vec![&*missing, &*dst], 1, format!("rawring: opening {missing}: No such file or directory (os error 2)\n")),
        (
            vec![&*src, &*below],
            1,
            format!("rawring: creating a temporary file beside {below}: No such file or directory (os error 2)\n"),
        ),
        (
            vec![&*src, "/dev/full"],
            1,
            "rawring: writing /dev/full at offset 0: No space left on device (os error 28)\n".into(),
        ),
        (vec![&*src, &*src], 1, format!("rawring: {src} is the very file to copy: choose another destination\n")),
        (
            vec!["--mode", "safe", "--depth", "99", &*src, &*dst],
            2,
            "rawring: a depth of 99 is outside of mode safe, which allows 1 to 16\n".into(),
        ),
    ] {
        let output = tool(["cp"]).args(&args).output().unwrap();
        assert_eq!(parts(&output), (Some(code), "", &*says), "{args:?}");
    }
    let output = tool(["cp", "--block", "64Q", &src, &dst]).output().unwrap();
    let (code, _, err) = parts(&output);
    assert!(code == Some(2) && err.contains("such as 64K"), "{err}");
    assert_eq!(dir.names(), ["src"]);
}

/// Starts a copy that takes seconds: of a file with much to read and nothing on the disk.
fn big_copy(dir: &Dir, dst: &str) -> Child {
    let src = File::create(dir.path("big")).unwrap();
    src.set_len(16 << 30).unwrap();
    src.write_all_at(b"end", (16 << 30) - 3).unwrap();
    let child = tool(["cp", &dir.path("big"), &dir.path(dst)]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the copy is under way", || dir.under_way().is_some_and(|len| len > 8 << 20));
    child
}

#[test]
fn a_signal_during_a_big_copy_leaves_nothing_behind() {
    let dir = Dir::new("signals");
    fs::write(dir.path("old"), b"old").unwrap();
    for (number, dst) in [(Signal::INT, "new"), (Signal::TERM, "old"), (Signal::HUP, "new")] {
        let child = big_copy(&dir, dst);
        signal(&child, number);
        let output = child.wait_with_output().unwrap();
        let (code, out, err) = parts(&output);
        assert_eq!((code, out), (Some(128 + number.as_raw()), ""), "{number:?}: {err}");
        assert!(err.starts_with("rawring: cancelled after "), "{err}");
        assert_eq!(dir.names(), ["big", "old"], "{number:?}");
    }
    assert_eq!(fs::read(dir.path("old")).unwrap(), b"old");
}

#[test]
fn a_signal_ends_the_wait_for_input() {
    let dir = Dir::new("input");
    let mut child = tool(["cp", "/dev/stdin", &dir.path("dst")]).stdin(Stdio::piped()).spawn().unwrap();
    wait_until("the copy waits", || dir.under_way().is_some());
    signal(&child, Signal::INT);
    assert_eq!(ended(&mut child).code(), Some(130));
    assert_eq!(dir.names(), Vec::<String>::new());
}

#[test]
fn a_signal_that_was_ignored_before_stays_ignored() {
    let dir = Dir::new("ignored");
    let script = format!("trap '' INT; exec {TOOL} cp /dev/stdin {}", dir.path("dst"));
    let mut child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    wait_until("the copy waits", || dir.under_way().is_some());
    assert!(catches(&child, Signal::TERM) && !catches(&child, Signal::INT));
    signal(&child, Signal::INT);
    child.stdin.take().unwrap().write_all(b"all of it").unwrap();
    assert_eq!(ended(&mut child).code(), Some(0));
    assert_eq!(fs::read(dir.path("dst")).unwrap(), b"all of it");
}

#[test]
fn a_second_signal_ends_the_tool_where_the_first_one_is_not_seen() {
    let dir = Dir::new("twice");
    let fifo = dir.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    // Opening a pipe that nobody writes does not return.
    let mut child = tool(["cp", &fifo, &dir.path("dst")]).spawn().unwrap();
    wait_until("the handler is in place", || catches(&child, Signal::INT));
    signal(&child, Signal::INT);
    sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "the first signal was seen after all");
    signal(&child, Signal::INT);
    assert_eq!(ended(&mut child).signal(), Some(Signal::INT.as_raw()));
    assert_eq!(dir.names(), ["fifo"]);
}

#[test]
fn arguments_that_make_no_sense_exit_with_2() {
    for args in [&[][..], &["copy"], &["cp", "one"], &["probe", "--yaml"]] {
        let output = Command::new(TOOL).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("Usage: rawring"), "{args:?}: {output:?}");
    }
    let output = tool(["--help"]).output().unwrap();
    let help = text(&output.stdout);
    assert!(["probe", "cp", "decode"].iter().all(|name| help.contains(name)), "{help}");
}
