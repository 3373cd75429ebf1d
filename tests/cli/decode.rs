//! `rawring decode`.

use std::fs::File;

use rawring::flags::CqeFlags;
use rawring::op::{Read, Write};
use rawring::{Cqe, Sqe, UserData};

use crate::{fed, parts, text, tool};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
