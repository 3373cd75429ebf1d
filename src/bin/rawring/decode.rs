//! `rawring decode`: entries of the rings, from hexadecimal bytes to words.

use std::io::{self, Read as _, Write as _};

use rawring::flags::CqeFlags;
use rawring::{Cqe, Decoded, RawSqe, UserData};

use crate::{Failure, hex};

/// Print entries of a ring, given in hexadecimal, in words.
///
/// Blanks, commas, colons between bytes and 0x are accepted. An entry is 64 bytes and may be broken over lines; a line
/// of 128 bytes is one entry. Completions are 16 bytes, and a line of 32 is one.
#[derive(clap::Args)]
pub struct Args {
    /// The bytes; read from standard input if there are none
    hex: Vec<String>,
    /// Completions instead of submissions
    #[arg(long)]
    cqe: bool,
    /// All entries have 128 bytes (completions 32)
    #[arg(long)]
    wide: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let text = if args.hex.is_empty() { input()? } else { args.hex.join("\n") };
    let size = if args.cqe { 16 } else { 64 };
    let records = hex::records(&text, size, args.wide).map_err(Failure::usage)?;
    if records.is_empty() {
        return Err(Failure::usage(format_args!("nothing to decode: give {size} bytes in hexadecimal")));
    }
    let mut out = io::stdout().lock();
    for record in &records {
        if args.cqe {
            writeln!(out, "{:?}", completion(record))?;
        } else {
            let (first, second) = submission(record);
            match &second {
                Some(second) => writeln!(out, "{:?}", Decoded::wide(&first, second))?,
                None => writeln!(out, "{:?}", Decoded::new(&first))?,
            }
        }
    }
    Ok(())
}

fn input() -> Result<String, Failure> {
    let mut text = Vec::new();
    io::stdin()
        .read_to_end(&mut text)
        .map_err(|error| Failure::failed(format_args!("reading the standard input: {error}")))?;
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::usage(format_args!("byte {at} of the input is not text: the entries have to be in hexadecimal"))
    })
}

/// The record's bytes from `at`, as many as the result has.
fn part<const N: usize>(record: &[u8], at: usize) -> Option<[u8; N]> {
    record.get(at..at + N).and_then(|bytes| bytes.try_into().ok())
}

fn submission(record: &[u8]) -> (RawSqe, Option<[u8; 64]>) {
    (RawSqe::from_bytes(part(record, 0).unwrap_or([0; 64])), part(record, 64))
}

/// In the byte order of this machine, as the kernel writes it.
fn completion(record: &[u8]) -> Cqe {
    let long = |at| u64::from_ne_bytes(part(record, at).unwrap_or_default());
    let short = |at| u32::from_ne_bytes(part(record, at).unwrap_or_default());
    let cqe = Cqe::new(UserData(long(0)), short(8) as i32, CqeFlags::from_bits_retain(short(12)));
    if record.len() > 16 { cqe.with_big([long(16), long(24)]) } else { cqe }
}
