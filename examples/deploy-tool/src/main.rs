//! A deploy tool for one database, to copy and change: each command is one call of an
//! [`Operation`](upgrade_core::operation::Operation), and what survives between two commands is the journal.
//!
//! Output is for people, on the standard output; progress goes to the error output. The exit code is 0
//! where the command did what it says, 1 where it did not, and 2 for wrong options.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool prints")]

mod system;

use std::error::Error as StdError;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use upgrade_core::Report;
use upgrade_core::journal::verify;
use upgrade_core::operation::{Attestation, Proposal, Status};
use upgrade_core::watch::WatchPolicy;

use system::{Confirm, System, Tool};

/// What every command may fail with.
type Result<T, E = Box<dyn StdError>> = std::result::Result<T, E>;

/// Upgrades a database, watches it, and rolls it back or makes the upgrade final.
#[derive(Debug, Parser)]
struct Options {
    /// The journal: a file on a local disk, the same for every command.
    #[arg(
        long,
        env = "DEPLOY_JOURNAL",
        global = true,
        default_value = "deploy.journal"
    )]
    journal: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints what an upgrade would do now, and changes nothing.
    Plan {
        #[command(flatten)]
        system: System,
        /// Saves the plan, for `apply --plan`.
        #[arg(long)]
        save: Option<PathBuf>,
    },
    /// Makes an attestation of the reports of a test run, for `apply --attestation`.
    Attest {
        /// The folder that `UPGRADE_REPORT_DIR` named in the test run.
        reports: PathBuf,
        /// Where to write it.
        #[arg(long)]
        save: PathBuf,
    },
    /// Applies what is pending. Where a step fails, everything is rolled back.
    Apply {
        #[command(flatten)]
        system: System,
        #[command(flatten)]
        confirm: Confirm,
        /// Carries out this plan; without one, plans now.
        #[arg(long)]
        plan: Option<PathBuf>,
    },
    /// Watches the new release while users work with it; rolls back where a check fails too often.
    Watch {
        #[command(flatten)]
        system: System,
        /// The policy, as JSON; without one, what suits the two releases.
        #[arg(long)]
        policy: Option<PathBuf>,
    },
    /// Goes on where a process was killed.
    Resume {
        #[command(flatten)]
        system: System,
    },
    /// Rolls back, and verifies it.
    Rollback {
        #[command(flatten)]
        system: System,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Makes the upgrade final: from then on nothing can be rolled back.
    Finalize {
        #[command(flatten)]
        system: System,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Gives the upgrade up as it is: before the first change, or after a person has repaired the system.
    Abort {
        #[command(flatten)]
        system: System,
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
    /// Prints where the upgrade stands, from the journal alone.
    Status {
        /// Prints it again whenever it changes, until the command is ended.
        #[arg(long)]
        watch: bool,
    },
    /// Prints who did what, and when.
    History,
    /// Checks that nobody has changed the journal, and prints its last number and hash.
    Verify,
    /// Lists the copies that runs have left beside the database.
    Leftovers {
        #[command(flatten)]
        system: System,
        /// Removes them.
        #[arg(long)]
        remove: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Options { journal, command } = Options::parse();
    match Box::pin(run(&journal, command)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Those of the library are readable blocks, with the cause and what to do.
            match error.downcast::<upgrade_core::Error>() {
                Ok(error) => eprintln!("{error:?}"),
                Err(error) => eprintln!("{error}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Whether the command did what it says.
async fn run(journal: &Path, command: Command) -> Result<bool> {
    match command {
        Command::Attest { reports, save } => attest(&reports, &save),
        Command::Status { watch } => status(journal, watch).await,
        Command::History => {
            for record in verify(&fs::read(journal)?)?.records() {
                println!("{record}");
            }
            Ok(true)
        }
        Command::Verify => {
            let chain = verify(&fs::read(journal)?)?;
            println!("{} records, head {}", chain.head().seq, chain.head().hash);
            Ok(true)
        }
        Command::Plan { system, save } => {
            let tool = system.tool(journal).await?;
            let planned = async {
                let proposal = tool.operation.plan().await?;
                match &proposal {
                    None => println!("nothing is pending"),
                    Some(proposal) => println!("{proposal}"),
                }
                if let (Some(proposal), Some(path)) = (&proposal, save) {
                    fs::write(path, proposal.to_json())?;
                }
                Ok(true)
            };
            let planned = planned.await;
            tool.close().await?;
            planned
        }
        Command::Apply {
            system,
            confirm,
            plan,
        } => {
            let tool = system.tool_asking(journal, &confirm).await?;
            let applied = async {
                let proposal = match plan {
                    Some(path) => Some(Proposal::from_json(&fs::read_to_string(path)?)?),
                    None => tool.operation.plan().await?,
                };
                let Some(proposal) = proposal else {
                    println!("nothing is pending");
                    return Ok(true);
                };
                // Whoever is asked sees it anyway.
                if confirm.is_given() {
                    println!("{proposal}\n");
                }
                passed(tool.operation.apply(&proposal).await?)
            };
            let applied = applied.await;
            end(tool, applied).await
        }
        Command::Watch { system, policy } => {
            let policy = match policy {
                Some(path) => serde_json::from_str(&fs::read_to_string(path)?)?,
                None => WatchPolicy::between(&system.from, &system.to),
            };
            let tool = system.tool(journal).await?;
            let watched = async { passed(tool.operation.watch(&policy).await?) }.await;
            end(tool, watched).await
        }
        Command::Resume { system } => {
            let tool = system.tool(journal).await?;
            let resumed = async {
                match tool.operation.resume().await? {
                    Some(report) => passed(report),
                    None => {
                        println!("nothing was interrupted");
                        Ok(true)
                    }
                }
            };
            let resumed = resumed.await;
            end(tool, resumed).await
        }
        Command::Rollback { system, confirm } => {
            let tool = system.tool_asking(journal, &confirm).await?;
            let rolled_back = async { passed(tool.operation.rollback().await?) }.await;
            end(tool, rolled_back).await
        }
        Command::Finalize { system, confirm } => {
            let tool = system.tool_asking(journal, &confirm).await?;
            let made_final = async { passed(tool.operation.finalize().await?) }.await;
            end(tool, made_final).await
        }
        Command::Abort { system, reason } => {
            let tool = system.tool(journal).await?;
            let aborted = async { passed(tool.operation.abort(&reason).await?) }.await;
            end(tool, aborted).await
        }
        Command::Leftovers { system, remove } => {
            let tool = system.tool(journal).await?;
            let listed = async {
                let database = system.database()?;
                for leftover in tool.operation.leftovers().await? {
                    println!("{leftover}");
                    if remove {
                        let mut admin = database.connect_maintenance().await?;
                        database.remove_leftover(&mut admin, &leftover).await?;
                    }
                }
                Ok(true)
            };
            let listed = listed.await;
            tool.close().await?;
            listed
        }
    }
}

/// The reports of a folder, and of the folders in it.
fn read_reports(folder: &Path, reports: &mut Vec<Report>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_plan = path.to_string_lossy().ends_with(".plan.json");
        if path.is_dir() {
            read_reports(&path, reports)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
            && !is_plan
        {
            let report = Report::from_json(&fs::read_to_string(&path)?);
            reports.push(report.map_err(|error| format!("{}: {error}", path.display()))?);
        }
    }
    Ok(())
}

fn attest(folder: &Path, save: &Path) -> Result<bool> {
    let mut reports = Vec::new();
    read_reports(folder, &mut reports)?;
    let attestation = Attestation::of(&reports)?;
    fs::write(save, attestation.to_json())?;
    println!(
        "{} migrations, {} runs",
        attestation.migrations.len(),
        reports.len()
    );
    Ok(true)
}

/// Whether a run passed; one that did not is printed.
fn passed(report: Report) -> Result<bool> {
    if !report.passed {
        eprintln!("{report}");
    }
    Ok(report.passed)
}

/// Prints where the operation stands now, and closes the journal: nobody has died.
async fn end(tool: Tool, result: Result<bool>) -> Result<bool> {
    if result.is_ok() {
        println!("{}", tool.operation.status().await);
    }
    tool.close().await?;
    result
}

/// Reads the journal only, so it works while another process writes it.
async fn status(journal: &Path, watch: bool) -> Result<bool> {
    let mut shown = None;
    loop {
        // A last line may be half written at this moment.
        if let Ok(chain) = verify(&fs::read(journal)?) {
            let status = Status::of(chain.records());
            if shown.as_ref() != Some(&status) {
                println!("{status}\n");
                shown = Some(status);
            }
        } else if !watch {
            verify(&fs::read(journal)?)?;
        }
        if !watch {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(250)).await; // poll
    }
}
