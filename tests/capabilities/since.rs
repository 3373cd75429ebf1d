//! Every `since` of the crate against the kernels: those of that release and later have it, those before do not.

use std::collections::BTreeSet;

use rawring::flags::*;
use rawring::register::RegistrationInfo;
use rawring::{OpInfo, Version, op};

use crate::table::{KERNELS, Table};
use crate::trials;

/// The release of a kernel, as far as io_uring is concerned.
fn release(kernel: &str) -> Version {
    let (major, minor) = kernel.split_once('.').expect("major.minor");
    match Version::new(major.parse().expect("a number"), minor.parse().expect("a number")) {
        // Debian's has the io_uring of 5.15, as the releases 5.10.162 and later of the long-term series have.
        version if version == Version::new(5, 10) => Version::new(5, 15),
        version => version,
    }
}

/// What the kernels do not show as it is, with the reason.
const UNTOLD: &[(&str, &str, &str)] = &[
    ("opcode", "MkdirAt", "5.10 with the io_uring of 5.15 lacks what it needs of the rest of the kernel"),
    ("opcode", "SymlinkAt", "as MkdirAt"),
    ("opcode", "LinkAt", "as MkdirAt"),
    ("RecvSendFlags", "IORING_SEND_ZC_REPORT_USAGE", "6.1.176 has it as well"),
    ("CancelFlags", "IORING_ASYNC_CANCEL_USERDATA", "as IORING_SEND_ZC_REPORT_USAGE"),
    ("CancelFlags", "IORING_ASYNC_CANCEL_OP", "as IORING_SEND_ZC_REPORT_USAGE"),
    ("variant", "CancelOp", "as IORING_SEND_ZC_REPORT_USAGE"),
    ("PollFlags", "IORING_POLL_ADD_LEVEL", "no release accepts it"),
    ("CqeFlags", "IORING_CQE_F_BUFFER", "said by the kernel; seen in the tests of provided buffers"),
    ("CqeFlags", "IORING_CQE_F_MORE", "said by the kernel; seen in the tests of multishots"),
    ("CqeFlags", "IORING_CQE_F_SOCK_NONEMPTY", "said by the kernel; seen in the tests of receives"),
    ("CqeFlags", "IORING_CQE_F_NOTIF", "said by the kernel; seen in the tests of zero-copy sends"),
    ("CqeFlags", "IORING_CQE_F_BUF_MORE", "said by the kernel, of buffer rings with flags that have no release here"),
    ("CqeFlags", "IORING_CQE_F_SKIP", "said by the kernel; as old as IORING_SETUP_CQE_MIXED"),
    ("CqeFlags", "IORING_CQE_F_32", "said by the kernel; as old as IORING_SETUP_CQE_MIXED"),
];

fn untold(kind: &str, name: &str) -> bool {
    UNTOLD.iter().any(|&(of, what, _)| (of, what) == (kind, name))
}

/// Kind and name of every row, registration and flag, how the table calls it, and its release.
fn stated() -> Vec<(&'static str, &'static str, String, Version)> {
    let mut all = Vec::new();
    for row in op::all() {
        let first = op::since(row.opcode) == Some(row.since);
        let tried = trials::ALL.iter().any(|trial| (trial.kind, trial.name) == ("variant", row.name));
        if first && !tried {
            all.push(("opcode", row.name, format!("{:?}", row.opcode), row.since));
        } else {
            all.push(("variant", row.name, row.name.to_owned(), row.since));
        }
    }
    for row in RegistrationInfo::ALL {
        all.push(("registration", row.name(), row.name().to_owned(), row.since));
    }
    let sets: [(&str, &[FlagInfo]); 15] = [
        ("SqeFlags", SqeFlags::INFO),
        ("CqeFlags", CqeFlags::INFO),
        ("SetupFlags", SetupFlags::INFO),
        ("Features", Features::INFO),
        ("EnterFlags", EnterFlags::INFO),
        ("NopFlags", NopFlags::INFO),
        ("FsyncFlags", FsyncFlags::INFO),
        ("TimeoutFlags", TimeoutFlags::INFO),
        ("CancelFlags", CancelFlags::INFO),
        ("RecvSendFlags", RecvSendFlags::INFO),
        ("AcceptFlags", AcceptFlags::INFO),
        ("MsgRingFlags", MsgRingFlags::INFO),
        ("FixedFdInstallFlags", FixedFdInstallFlags::INFO),
        ("UringCmdFlags", UringCmdFlags::INFO),
        ("PollFlags", PollFlags::INFO),
    ];
    for (kind, flags) in sets {
        all.extend(flags.iter().map(|flag| (kind, flag.name, flag.name.to_owned(), flag.since)));
    }
    all
}

#[test]
fn every_release_is_what_the_kernels_say() {
    let table = Table::read();
    let mut wrong = Vec::new();
    for (kind, name, called, since) in stated() {
        if untold(kind, name) {
            continue;
        }
        let having = table.having(kind, &called);
        let expected: Vec<_> = KERNELS.into_iter().filter(|kernel| release(kernel) >= since).collect();
        if having != expected {
            wrong.push(format!("{kind} {name}, said to be of Linux {since}, is in {having:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_the_kernels_do_not_tell_is_there_and_different() {
    let table = Table::read();
    let stated = stated();
    let mut seen = BTreeSet::new();
    for &(kind, name, reason) in UNTOLD {
        assert!(seen.insert((kind, name)), "{kind} {name} twice");
        let row = stated.iter().find(|row| (row.0, row.1) == (kind, name));
        let (_, _, called, since) = row.unwrap_or_else(|| panic!("there is no {kind} {name}"));
        // An exception that is none would hide the next mistake.
        let having = table.having(kind, called);
        let expected: Vec<_> = KERNELS.into_iter().filter(|kernel| release(kernel) >= *since).collect();
        assert!(having != expected, "{kind} {name} ({reason}) can be told");
    }
}

#[test]
fn every_trial_is_of_something_stated() {
    let stated = stated();
    for trial in trials::ALL {
        let row = stated.iter().any(|row| (row.0, row.1) == (trial.kind, trial.name));
        assert!(row, "there is no {} {}", trial.kind, trial.name);
    }
    // A variant without a release of its own is told by its opcode; all others have a trial.
    let tried = |row: &&OpInfo| trials::ALL.iter().any(|trial| trial.name == row.name);
    let variants = op::all().filter(|row| op::since(row.opcode) != Some(row.since));
    let untried: Vec<_> = variants.filter(|row| !tried(row)).map(|row| row.name).collect();
    assert!(untried.is_empty(), "{untried:?}");
}
