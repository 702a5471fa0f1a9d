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
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Rows of the table whose fingerprint is taken, and that is compared
    #[arg(long, value_parser = clap::value_parser!(u64).range(1000..))]
    rows: Option<u64>,
    /// Tables of the largest schema; the others have a tenth and a hundredth of them
    #[arg(long, value_parser = clap::value_parser!(u16).range(100..=10_000))]
    tables: Option<u16>,
    /// Migrations of the largest folder; the others have a tenth and a third of them
    #[arg(long, value_parser = clap::value_parser!(u16).range(30..=3000))]
    migrations: Option<u16>,
    /// The smaller database of the rollback, in megabytes; the larger one is ten times as large
    #[arg(long, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    megabytes: Option<u32>,
    /// A tenth of the data and a third of the rounds: to see that it runs, not what is true
    #[arg(long)]
    quick: bool,
    /// The major version of the server; the newest that is found if not said
    #[arg(long)]
    major: Option<u16>,
    /// Only these: hand-out, start, fingerprint, rows, catalog, rollback, rehearsal, folder, seed
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
    match Box::pin(run(&Arguments::parse())).await {
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
    let usual = if arguments.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let effort = Effort {
        rounds: arguments.rounds.map_or(usual.rounds, usize::from),
        rows: arguments.rows.unwrap_or(usual.rows),
        tables: arguments.tables.map_or(usual.tables, usize::from),
        migrations: arguments.migrations.map_or(usual.migrations, usize::from),
        megabytes: arguments.megabytes.unwrap_or(usual.megabytes),
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
            lines.extend(Box::pin(comparison.measure(&binaries, effort)).await?);
        }
    }
    machine.look_again();
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let document = json!({ "format": FORMAT, "machine": machine, "lines": lines });
        writeln!(out, "{document}")?;
        return Ok(());
    }
    let measured = lines.iter().filter(|line| line.is_measured()).count();
    let met = lines.iter().filter(|line| line.is_met()).count();
    writeln!(
        out,
        "{machine}; medians of the rounds, and minima in parentheses\n"
    )?;
    write!(out, "{}", table(&lines))?;
    writeln!(
        out,
        "\n{met} of {measured} goals met, {} not measured",
        lines.len() - measured
    )?;
    Ok(())
}
