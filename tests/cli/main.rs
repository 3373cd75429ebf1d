//! The command-line tool as a user runs it: what it prints where, what it leaves behind, and how it exits.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/files.rs"]
mod files;
#[path = "../common/io.rs"]
mod io;

mod cp;
mod decode;
mod probe;
mod rings;
mod signals;

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use files::Dir;

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

/// A path in a directory, as an argument.
fn at(dir: &Dir, name: &str) -> String {
    dir.path(name).into_os_string().into_string().expect("the name is text")
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
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec, the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(install) }
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
    assert!(["probe", "rings", "cp", "decode"].iter().all(|name| help.contains(name)), "{help}");
}
