//! Measures this workspace against its peers and prints one line for each comparison.
//!
//! A missed goal is printed and is no failure: timings prove nothing in a test run.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use upgrade_benches::Result;
use upgrade_benches::line::{Line, table};
use upgrade_benches::machine::Machine;
use upgrade_benches::peers::{Comparison, Effort};
use upgrade_benches::server;

/// The version of what `--json` prints.
const FORMAT: u32 = 1;

/// Measures this workspace against its peers, round by round in one process.
#[derive(Debug, Parser)]
struct Arguments {
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Rounds of the quick operations; those that take seconds get a third of them
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Rows of the tables whose fingerprint is taken and that are filled
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// The smaller database of the swap, in megabytes; the larger one is ten times as large
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    megabytes: u32,
    /// The major version of the server; the newest that is found if not said
    #[arg(long)]
    major: Option<u16>,
    /// Only these: hand-out, start, fingerprint, swap, seed
    #[arg(value_parser = comparison)]
    only: Vec<Comparison>,
}

fn comparison(name: &str) -> Result<Comparison, String> {
    let known = Comparison::ALL;
    known
        .into_iter()
        .find(|comparison| comparison.name() == name)
        .ok_or_else(|| {
            let names = known.map(Comparison::name).join(", ");
            format!("there is no comparison `{name}` (there are: {names})")
        })
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stderr, reason = "a program prints")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  caused by: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program prints")]
async fn run(arguments: &Arguments) -> Result<()> {
    let binaries = server::binaries(arguments.major).await?;
    let effort = Effort {
        rounds: arguments.rounds.into(),
        rows: arguments.rows,
        megabytes: arguments.megabytes,
    };
    let mut machine = Machine::look(
        binaries
            .version()
            .text()
            .trim_start_matches("postgres (PostgreSQL) "),
    );
    let mut lines: Vec<Line> = Vec::new();
    for comparison in Comparison::ALL {
        if arguments.only.is_empty() || arguments.only.contains(&comparison) {
            eprintln!("measuring {} ...", comparison.name());
            lines.extend(comparison.measure(&binaries, effort).await?);
        }
    }
    machine.look_again();
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let document = json!({ "format": FORMAT, "machine": machine, "lines": lines });
        writeln!(out, "{document}")?;
        return Ok(());
    }
    let missed = lines.iter().filter(|line| !line.is_met()).count();
    writeln!(
        out,
        "{machine}; medians of the rounds, and minima in parentheses\n"
    )?;
    write!(out, "{}", table(&lines))?;
    writeln!(
        out,
        "\n{} of {} goals met",
        lines.len() - missed,
        lines.len()
    )?;
    Ok(())
}
