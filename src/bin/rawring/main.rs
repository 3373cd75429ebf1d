//! The command-line tool: what this kernel offers, which rings it makes, copying a file through a ring, and entries in words.
//!
//! Thin: each subcommand has a file, and what it does comes from the library. Exit codes: 0 done, 1 failed, 2 the
//! arguments or the input were wrong, 128 plus the signal's number when a signal ended it.

mod cp;
mod decode;
mod hex;
mod probe;
mod rings;
mod signals;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Linux io_uring from the command line.
#[derive(Parser)]
#[command(name = "rawring", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Probe(probe::Args),
    Rings(rings::Args),
    Cp(cp::Args),
    Decode(decode::Args),
}

/// Why the tool ends early.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// What was to be done could not be done.
    fn failed(message: impl ToString) -> Self {
        Failure { code: 1, message: message.to_string() }
    }

    /// The arguments or the input were wrong.
    fn usage(message: impl ToString) -> Self {
        Failure { code: 2, message: message.to_string() }
    }
}

impl From<io::Error> for Failure {
    /// Output that failed. A reader that went away (`rawring probe | head`) has seen what it wanted.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure { code: 0, message: String::new() },
            _ => Failure::failed(format_args!("writing the output: {error}")),
        }
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Probe(args) => probe::run(&args),
        Command::Rings(args) => rings::run(&args),
        Command::Cp(args) => cp::run(&args),
        Command::Decode(args) => decode::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            if !message.is_empty() {
                eprintln!("rawring: {message}");
            }
            ExitCode::from(code)
        }
    }
}
