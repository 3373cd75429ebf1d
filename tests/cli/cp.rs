//! `rawring cp`.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::files::Dir;
use crate::{TOOL, at, common, parts, text, tool};

#[test]
fn cp_copies_and_is_silent_in_a_pipe() {
    let dir = Dir::new("cli-cp");
    let bytes: Vec<u8> = (0..3_000_001u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    fs::write(at(&dir, "src"), &bytes).unwrap();
    fs::create_dir(at(&dir, "sub")).unwrap();
    for (args, to) in [
        (["--mode", "auto", "--depth", "3"], "dst"),
        (["--mode", "safe", "--block", "64K"], "sub"),
        (["--mode", "fast", "--block", "2M"], "dst"),
    ] {
        let output = tool(["cp"]).args(args).args([at(&dir, "src"), at(&dir, to)]).output().unwrap();
        assert_eq!(parts(&output), (Some(0), "", ""), "{args:?}");
        let dst = if to == "sub" { "sub/src" } else { to };
        assert!(fs::read(at(&dir, dst)).unwrap() == bytes, "{args:?}");
    }
    let mut child = tool(["cp", "/dev/stdin", &at(&dir, "piped")]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(fs::read(at(&dir, "piped")).unwrap() == bytes);
    assert_eq!(dir.names(), ["dst", "piped", "src", "sub"]);
}

#[test]
fn cp_shows_its_progress_in_a_terminal() {
    const NAME: &str = "cp_shows_its_progress_in_a_terminal";
    if Command::new("script").arg("--version").output().is_err() {
        return common::skipped(NAME, "needs script(1), for a terminal");
    }
    let dir = Dir::new("cli-terminal");
    let src = File::create(at(&dir, "src")).unwrap();
    src.set_len(200 << 20).unwrap();
    let command = format!("{TOOL} cp {} {}", at(&dir, "src"), at(&dir, "dst"));
    let output = Command::new("script").args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}");
    for part in ["100%", "200.00 MiB/200.00 MiB", "MiB/s", "ETA"] {
        assert!(shown.contains(part), "{part} in {shown:?}");
    }
    assert_eq!(fs::metadata(at(&dir, "dst")).unwrap().len(), 200 << 20);
}

#[test]
fn cp_names_what_failed_and_which_file() {
    let dir = Dir::new("cli-errors");
    fs::write(at(&dir, "src"), b"content").unwrap();
    let [src, dst, missing] = ["src", "dst", "missing"].map(|name| at(&dir, name));
    let below = at(&dir, "missing/dst");
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
