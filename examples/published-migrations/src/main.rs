//! Rehearses migrations that were published by others, at every earlier version.
//!
//! For each set and each of its versions but the last: the schema is brought to that version and
//! filled with rows; it is carried to the head and checked; and the step to the next version is
//! rolled back by a kept copy, which has to bring back schema and rows. From the first version on,
//! every later boundary is rolled back as well.
//!
//! Findings are what the library has to say about the migrations; they do not make this program
//! fail. A rollback that is not verified does.

mod outcome;
mod sets;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::report::progress::Progress;
use upgrade_core::rollback::SnapshotSwap;
use upgrade_core::{Report, Result, Scenario};
use upgrade_testkit::Rehearsal;

use outcome::Outcome;
use sets::{SETS, Set};

/// Rehearses the Postgres migrations inside published crates.
#[derive(Parser)]
struct Arguments {
    /// One JSON object a set instead of the table
    #[arg(long)]
    json: bool,
    /// Rows in each table
    #[arg(long, default_value_t = 50)]
    rows: u32,
    /// The seed of the rows
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Only these crates
    names: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match rehearse(&arguments).await {
        Ok(outcomes) => {
            if !arguments.json {
                print!("{}", outcome::table(&outcomes));
            }
            let verified = outcomes.iter().all(Outcome::is_verified);
            if verified && !outcomes.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program prints")]
async fn rehearse(arguments: &Arguments) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for set in &SETS {
        if !arguments.names.is_empty() && !arguments.names.iter().any(|name| name == set.name) {
            continue;
        }
        let outcome = one(set, arguments).await?;
        if arguments.json {
            println!("{}", outcome.to_json());
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// One set, from every earlier version.
async fn one(set: &Set, arguments: &Arguments) -> Result<Outcome> {
    let started = Instant::now();
    let folder = set.read()?;
    let versions: Vec<&str> = folder
        .migrations()
        .iter()
        .map(|file| file.version_text.as_str())
        .collect();
    let head = versions.len() - 1;
    let mut outcome = Outcome::new(set.name, versions.len());
    for from in 0..head {
        let rehearse = |to: usize, scenario| {
            run(
                set,
                arguments,
                &folder,
                versions[from],
                versions[to],
                scenario,
            )
        };
        outcome.add(&rehearse(head, Scenario::Straight).await?);
        // From the oldest rows every boundary, from later ones the next.
        let to = if from == 0 { head } else { from + 1 };
        outcome.add(&rehearse(to, Scenario::RollbackAt).await?);
    }
    outcome.elapsed_s = started.elapsed().as_secs_f64();
    Ok(outcome)
}

async fn run(
    set: &Set,
    arguments: &Arguments,
    folder: &MigrationFolder,
    from: &str,
    to: &str,
    scenario: Scenario,
) -> Result<Report> {
    let mut rehearsal = Rehearsal::new(set.name)?
        .folder(folder.clone())
        .from(format!("version:{from}"))
        .to(to)
        .set_up_sql(set.set_up_sql)
        .without_template()
        .rollback(SnapshotSwap::new())
        .scenario(scenario)
        .rows(arguments.rows)
        .seed(arguments.seed);
    if !arguments.json {
        rehearsal = rehearsal.sink(Progress::for_terminal());
    }
    rehearsal.report().await
}
