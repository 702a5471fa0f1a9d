//! Rehearses migrations that were published by others, at every earlier version.
//!
//! For each set and each of its versions but the last: the schema is brought to that version and
//! filled with rows; it is carried to the head and checked; and the step to the next version is
//! rolled back by a kept copy, which has to bring back schema and rows. From the first version on,
//! every later boundary is rolled back as well.
//!
//! With `--crash` every migration after the first is interrupted instead, at every boundary between
//! its statements and inside its longest one; then it is run again, and rolled back.
//!
//! Findings are what the library has to say about the migrations; they do not make this program
//! fail. A rollback that is not verified does, and so does a way out of a crash that fails without
//! a finding that says why.

mod crash;
mod outcome;
mod sets;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::reporter::progress::Progress;
use upgrade_core::rollback::SnapshotSwap;
use upgrade_core::{Report, Result, Scenario};
use upgrade_testkit::Rehearsal;

use crash::CrashOutcome;
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
    /// Interrupt every migration instead, and try every way out
    #[arg(long)]
    crash: bool,
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
    // Whether there was something, and all of it is as it should be; and the table of it.
    let result = if arguments.crash {
        crashes(&arguments).await.map(|outcomes| {
            let good = outcomes.iter().all(CrashOutcome::is_explained);
            (good && !outcomes.is_empty(), crash::table(&outcomes))
        })
    } else {
        rehearse(&arguments).await.map(|outcomes| {
            let good = outcomes.iter().all(Outcome::is_verified);
            (good && !outcomes.is_empty(), outcome::table(&outcomes))
        })
    };
    match result {
        Ok((good, table)) => {
            if !arguments.json {
                print!("{table}");
            }
            if good {
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
    for set in chosen(arguments) {
        let outcome = one(set, arguments).await?;
        if arguments.json {
            println!("{}", outcome.to_json());
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// The sets that were asked for.
fn chosen(arguments: &Arguments) -> impl Iterator<Item = &'static Set> {
    SETS.iter().filter(|set| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == set.name)
    })
}

/// Every set from its first version on, each migration interrupted. One that fails on the rows of
/// that version without a crash is passed over, and the next version is the one to start from.
#[expect(clippy::print_stdout, reason = "a program prints")]
async fn crashes(arguments: &Arguments) -> Result<Vec<CrashOutcome>> {
    let mut outcomes = Vec::new();
    for set in chosen(arguments) {
        let folder = set.read()?;
        let versions: Vec<&str> = folder
            .migrations()
            .iter()
            .map(|file| file.version_text.as_str())
            .collect();
        let head = versions.len() - 1;
        let mut outcome = CrashOutcome::new(set.name);
        let mut from = 0;
        while from < head {
            let rehearsal = rehearsal(set, arguments, &folder, versions[from], versions[head])?
                .scenario(Scenario::Crash);
            let report = rehearsal.report().await?;
            outcome.add(&report);
            let tried = report.migrations.iter();
            let tried = tried.filter(|migration| migration.crashed > 0).count();
            from += tried + 1;
        }
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
        outcome.add(&rehearse(head, Scenario::Upgrade).await?);
        // From the oldest rows every boundary, from later ones the next.
        let to = if from == 0 { head } else { from + 1 };
        outcome.add(&rehearse(to, Scenario::Rollback).await?);
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
    let rehearsal = rehearsal(set, arguments, folder, from, to)?;
    rehearsal.scenario(scenario).report().await
}

fn rehearsal(
    set: &Set,
    arguments: &Arguments,
    folder: &MigrationFolder,
    from: &str,
    to: &str,
) -> Result<Rehearsal> {
    let mut rehearsal = Rehearsal::new(set.name)?
        .folder(folder.clone())
        .from(format!("version:{from}"))
        .to(to)
        .set_up_sql(set.set_up_sql)
        .without_template()
        .rollback(SnapshotSwap::new())
        .rows(arguments.rows)
        .seed(arguments.seed);
    if !arguments.json {
        rehearsal = rehearsal.sink(Progress::for_terminal());
    }
    Ok(rehearsal)
}
