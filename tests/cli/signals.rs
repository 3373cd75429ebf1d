//! `rawring cp` and the signals that ask it to stop.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::files::Dir;
use crate::{TOOL, at, parts, tool};

/// The size of the temporary file of a copy under way.
fn under_way(dir: &Dir) -> Option<u64> {
    let name = dir.names().into_iter().find(|name| name.starts_with(".rawring-"))?;
    fs::metadata(dir.path(&name)).ok().map(|status| status.len())
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

/// The tool with the signals that it may be sent, even if the tests were started with some ignored, as shells do with what
/// runs in the background.
fn stoppable<const N: usize>(args: [&str; N]) -> Command {
    let mut command = tool(args);
    // SAFETY: after the fork this makes system calls only, and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        })
    };
    command
}

/// Starts a copy that takes seconds: of a file with much to read and nothing on the disk.
fn big_copy(dir: &Dir, dst: &str) -> Child {
    let src = File::create(at(dir, "big")).unwrap();
    src.set_len(16 << 30).unwrap();
    src.write_all_at(b"end", (16 << 30) - 3).unwrap();
    let child = stoppable(["cp", &at(dir, "big"), &at(dir, dst)]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the copy is under way", || under_way(dir).is_some_and(|len| len > 8 << 20));
    child
}

#[test]
fn a_signal_during_a_big_copy_leaves_nothing_behind() {
    let dir = Dir::new("cli-signals");
    fs::write(at(&dir, "old"), b"old").unwrap();
    for (number, dst) in [(Signal::INT, "new"), (Signal::TERM, "old"), (Signal::HUP, "new")] {
        let child = big_copy(&dir, dst);
        signal(&child, number);
        let output = child.wait_with_output().unwrap();
        let (code, out, err) = parts(&output);
        assert_eq!((code, out), (Some(128 + number.as_raw()), ""), "{number:?}: {err}");
        assert!(err.starts_with("rawring: cancelled after "), "{err}");
        assert_eq!(dir.names(), ["big", "old"], "{number:?}");
    }
    assert_eq!(fs::read(at(&dir, "old")).unwrap(), b"old");
}

#[test]
fn a_signal_ends_the_wait_for_input() {
    let dir = Dir::new("cli-input");
    let mut child = stoppable(["cp", "/dev/stdin", &at(&dir, "dst")]).stdin(Stdio::piped()).spawn().unwrap();
    wait_until("the copy waits", || under_way(&dir).is_some());
    signal(&child, Signal::INT);
    assert_eq!(ended(&mut child).code(), Some(130));
    assert!(dir.names().is_empty());
}

#[test]
fn a_signal_that_was_ignored_before_stays_ignored() {
    let dir = Dir::new("cli-ignored");
    let script = format!("trap '' INT; exec {TOOL} cp /dev/stdin {}", at(&dir, "dst"));
    let mut child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    wait_until("the copy waits", || under_way(&dir).is_some());
    assert!(catches(&child, Signal::TERM) && !catches(&child, Signal::INT));
    signal(&child, Signal::INT);
    child.stdin.take().unwrap().write_all(b"all of it").unwrap();
    assert_eq!(ended(&mut child).code(), Some(0));
    assert_eq!(fs::read(at(&dir, "dst")).unwrap(), b"all of it");
}

#[test]
fn a_second_signal_ends_the_tool_where_the_first_one_is_not_seen() {
    let dir = Dir::new("cli-twice");
    let fifo = at(&dir, "fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    // Opening a pipe that nobody writes does not return.
    let mut child = stoppable(["cp", &fifo, &at(&dir, "dst")]).spawn().unwrap();
    wait_until("the handler is in place", || catches(&child, Signal::INT));
    signal(&child, Signal::INT);
    sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "the first signal was seen after all");
    signal(&child, Signal::INT);
    assert_eq!(ended(&mut child).signal(), Some(Signal::INT.as_raw()));
    assert_eq!(dir.names(), ["fifo"]);
}
