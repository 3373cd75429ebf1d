//! What an operation costs, and what memory, as something grows: operations in flight, connections, registered files,
//! provided buffers.
//!
//!     cargo bench --bench scale                        tables and knees on stdout, pictures in the target directory
//!     cargo bench --bench scale -- --only files        one family
//!     cargo bench --bench scale -- --smoke             small steps only: that it runs, not what it costs
//!
//! Each step is a process of its own, so that none finds memory that an earlier one has left, and one that takes too
//! long can be ended. A process raises its soft limit of open files to its hard limit; nothing else of the machine is
//! changed. What a limit stops is skipped, with the reason, and the rest goes on.
//!
//! A crate of its own, and not part of the library: what `instructions` is compiled from should not change with it.

mod buffers;
mod connections;
mod curve;
mod draw;
mod files;
mod in_flight;
mod machine;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use curve::Family;

/// All of them, in the order of the output.
const FAMILIES: [&Family; 4] = [&in_flight::FAMILY, &connections::FAMILY, &files::FAMILY, &buffers::FAMILY];

#[derive(Parser)]
struct Options {
    /// Measure only families whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Make small steps only, and short ones.
    #[arg(long)]
    smoke: bool,
    /// Where the pictures go.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Show the pictures in the output, by links that begin so.
    #[arg(long)]
    link: Option<String>,
    /// What cargo hands to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// Make one step and end: family, variant, size.
    #[arg(long, hide = true, num_args = 3)]
    step: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(step) = &options.step {
        let [family, variant, size] = &step[..] else { unreachable!("clap counts them") };
        let family = FAMILIES.into_iter().find(|known| known.name == family).expect("a family");
        let variant = family.variants.iter().position(|known| known == variant).expect("a variant");
        return run::child(family, variant, size.parse().expect("a number"), options.smoke);
    }
    let families: Vec<_> = FAMILIES.into_iter().filter(|family| family.name.contains(&options.only)).collect();
    if families.is_empty() {
        eprintln!("there is no family {}: {}", options.only, FAMILIES.map(|family| family.name).join(", "));
        return ExitCode::FAILURE;
    }
    let pictures = options.svg.unwrap_or_else(run::default_pictures);
    std::fs::create_dir_all(&pictures).expect("a directory for the pictures");
    for family in families {
        let curves = run::family(family, options.smoke);
        curve::print(family, &curves);
        let picture = pictures.join(family.name).with_extension("svg");
        draw::draw(&picture, family, &curves).expect("drawing the curves");
        eprintln!("drawn: {}", picture.display());
        if let Some(link) = &options.link {
            println!("\n![{}]({link}/{}.svg)", family.title, family.name);
        }
        if curves.iter().all(|curve| curve.rows.is_empty()) {
            eprintln!("{}: nothing was measured", family.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
