//! `rawring cp`: copies a file with [`rawring::copy`], and shows how far it is.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use rawring::copy::{CopyError, Mode, Options, Progress};

use crate::Failure;
use crate::signals::Stop;

/// Copy a file through a ring.
///
/// The copy appears under its name when it is complete. After an error or Ctrl-C, what was there before is there as it
/// was.
#[derive(clap::Args)]
pub struct Args {
    /// The file to copy
    src: PathBuf,
    /// Where to: a file, or a directory in which the copy gets the name of SRC
    dst: PathBuf,
    /// How much to use at once: auto tries which block size is fastest; safe has a depth of at most 16 and blocks of at
    /// most 1M; fast has a depth of at least 64 and blocks of at least 1M
    #[arg(long, value_enum, default_value_t = ModeName::Auto)]
    mode: ModeName,
    /// Operations in flight
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// Bytes per operation, such as 65536, 64K or 1M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    block: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    Auto,
    Safe,
    Fast,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Auto => Mode::Auto,
            ModeName::Safe => Mode::Safe,
            ModeName::Fast => Mode::Fast,
        }
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let stop = Stop::watch().map_err(|error| Failure::failed(format_args!("watching for signals: {error}")))?;
    let mut options = Options::new().mode(args.mode.into());
    if let Some(depth) = args.depth {
        options = options.depth(depth);
    }
    if let Some(block) = args.block {
        options = options.block(block);
    }
    let dst = destination(&args.src, &args.dst);
    // Draws on standard error, and nothing at all where that is no terminal.
    let bar = ProgressBar::no_length();
    let mut styled = false;
    let copied = options.copy(&args.src, &dst, |progress| {
        if !std::mem::replace(&mut styled, true) {
            bar.set_style(style(progress));
        }
        show(&bar, progress);
        if stop.signal().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match copied {
        Ok(_) => {
            bar.finish();
            Ok(())
        }
        Err(error) => {
            bar.finish_and_clear();
            Err(failure(&error, &stop))
        }
    }
}

/// As `cp` has it: in a directory, the copy gets the source's name.
fn destination(src: &Path, dst: &Path) -> PathBuf {
    match src.file_name() {
        Some(name) if dst.is_dir() => dst.join(name),
        _ => dst.to_owned(),
    }
}

fn style(progress: &Progress) -> ProgressStyle {
    let template = match progress.total {
        Some(_) => "{bar:30} {percent:>3}% {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta}",
        None => "{spinner} {binary_bytes} {binary_bytes_per_sec}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show(bar: &ProgressBar, progress: &Progress) {
    if let Some(total) = progress.total {
        bar.set_length(total);
    }
    bar.set_position(progress.bytes);
}

fn failure(error: &CopyError, stop: &Stop) -> Failure {
    match (error, stop.signal()) {
        (CopyError::Cancelled { .. }, Some(signal)) => Failure { code: 128 + signal, message: error.to_string() },
        (CopyError::OutOfBounds(_), _) => Failure::usage(error),
        _ => Failure::failed(error),
    }
}

/// A number of bytes, with K, M or G for powers of 1024.
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err("write a number of bytes, or one with K, M or G, such as 64K".to_owned()),
    };
    let number: usize = number.parse().map_err(|_| "write a number of bytes that fits the machine".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more bytes than the machine can address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, size) in [("65536", 65536), ("64K", 65536), ("64kib", 65536), ("1M", 1 << 20), ("2G", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "K", "64Q", "-1", "1.5M", "99999999999999999999", "99999999999999999G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
