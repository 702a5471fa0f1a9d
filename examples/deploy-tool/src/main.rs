//! A deploy tool for one database, to copy and change: each command is one call of an
//! [`Operation`], and what survives between two commands is the journal.
//!
//! Output is for people, on the standard output; progress goes to the error output. The exit code is 0
//! where the command did what it says, 1 where it did not, and 2 for wrong options.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool prints")]

use std::error::Error as StdError;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use upgrade_core::environment::{Existing, PostgresEnvironment};
use upgrade_core::journal::{Actor, FileStore, Journal, verify};
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::operation::{Attestation, Consent, Operation, Proposal, Status};
use upgrade_core::postgres::Database;
use upgrade_core::reporter::progress::Progress;
use upgrade_core::rollback::{RevertMigrations, SnapshotSwap};
use upgrade_core::{Report, Scenario, Secret, Upgrade};

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
        /// Applies only what these rehearsals have passed, in `round_trip` and `rollback`.
        #[arg(long)]
        attestation: Option<PathBuf>,
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

#[derive(Debug, Args)]
struct System {
    /// The database, such as `postgres://deploy:secret@db1/orders`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: String,
    /// The folder of the migrations.
    #[arg(long, default_value = "migrations")]
    migrations: PathBuf,
    /// The release that runs now.
    #[arg(long, default_value = "previous")]
    from: String,
    /// The release that the migrations lead to.
    #[arg(long, default_value = "next")]
    to: String,
    /// Rolls back by a copy of the database, which loses what is written after it; without this, by the
    /// down migrations.
    #[arg(long)]
    by_copy: bool,
    /// Agrees to lose this in a rollback, such as `writes` or `column public.orders.note`; can be given
    /// several times.
    #[arg(long = "accept-loss", value_name = "SUBJECT")]
    accept_losses: Vec<String>,
    /// Writes no claim into the database, and requires none.
    #[arg(long)]
    without_claim: bool,
    /// Who does it, for the journal.
    #[arg(long, env = "USER", default_value = "unknown")]
    actor: String,
}

#[derive(Debug, Args)]
struct Confirm {
    /// The name of the database, so that nobody changes another one by mistake. Asked for on a terminal.
    #[arg(long)]
    confirm: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Options { journal, command } = Options::parse();
    match run(&journal, command).await {
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
            let operation = system.operation(journal).await?;
            let planned = async {
                let proposal = operation.plan().await?;
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
            operation.close().await?;
            planned
        }
        Command::Apply {
            system,
            confirm,
            plan,
            attestation,
        } => {
            let mut operation = system.operation(journal).await?;
            if let Some(path) = attestation {
                let attestation = Attestation::from_json(&fs::read_to_string(path)?)?;
                let scenarios = [Scenario::RoundTrip, Scenario::Rollback];
                operation = operation.with_attestation(attestation, scenarios);
            }
            let applied = async {
                let proposal = match plan {
                    Some(path) => Some(Proposal::from_json(&fs::read_to_string(path)?)?),
                    None => operation.plan().await?,
                };
                let Some(proposal) = proposal else {
                    println!("nothing is pending");
                    return Ok(true);
                };
                println!("{proposal}\n");
                confirm.ask(&system)?;
                passed(operation.apply(&proposal).await?)
            };
            let applied = applied.await;
            end(operation, applied).await
        }
        Command::Resume { system } => {
            let operation = system.operation(journal).await?;
            let resumed = async {
                match operation.resume().await? {
                    Some(report) => passed(report),
                    None => {
                        println!("nothing was interrupted");
                        Ok(true)
                    }
                }
            };
            let resumed = resumed.await;
            end(operation, resumed).await
        }
        Command::Rollback { system, confirm } => {
            let operation = system.operation(journal).await?;
            let rolled_back = async {
                confirm.ask(&system)?;
                passed(operation.rollback().await?)
            };
            let rolled_back = rolled_back.await;
            end(operation, rolled_back).await
        }
        Command::Finalize { system, confirm } => {
            let operation = system.operation(journal).await?;
            let made_final = async {
                confirm.ask(&system)?;
                passed(operation.finalize().await?)
            };
            let made_final = made_final.await;
            end(operation, made_final).await
        }
        Command::Abort { system, reason } => {
            let operation = system.operation(journal).await?;
            let aborted = async { passed(operation.abort(&reason).await?) }.await;
            end(operation, aborted).await
        }
        Command::Leftovers { system, remove } => {
            let operation = system.operation(journal).await?;
            let listed = async {
                let database = system.database()?;
                for leftover in operation.leftovers().await? {
                    println!("{leftover}");
                    if remove {
                        let mut admin = database.connect_maintenance().await?;
                        database.remove_leftover(&mut admin, &leftover).await?;
                    }
                }
                Ok(true)
            };
            let listed = listed.await;
            operation.close().await?;
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

impl System {
    fn database(&self) -> Result<Database> {
        Ok(Database::from_url(&Secret::new(&self.database))?)
    }

    async fn operation(&self, journal: &Path) -> Result<Operation> {
        let database = self.database()?;
        let name = database.name().to_owned();
        let migrations = SqlMigration::all(&MigrationFolder::read(&self.migrations)?)?;
        let upgrade = Upgrade::new(&name, self.from.as_str(), self.to.as_str());
        let upgrade = match self.by_copy {
            true => upgrade.with_rollback(SnapshotSwap::new().adopted(&name)),
            false => {
                upgrade.with_rollback(RevertMigrations::new(migrations.clone()).adopted(&name))
            }
        };
        let upgrade = upgrade.with_migrations(migrations);
        let store = FileStore::open(journal)?;
        let journal = Journal::open(store, &name, Actor::new(&self.actor)).await?;
        journal.hide(&Secret::new(&self.database));
        let operation = Operation::new(journal, upgrade, move || {
            PostgresEnvironment::new("production", Existing::new(database.clone()))
        });
        let operation = operation.with_consent(Consent::to(&self.accept_losses));
        let operation = match self.without_claim {
            true => operation.without_claim(),
            false => operation,
        };
        Ok(operation.with_sink(Progress::for_terminal()))
    }
}

impl Confirm {
    fn ask(&self, system: &System) -> Result<()> {
        let database = system.database()?;
        let name = database.name();
        let typed = match &self.confirm {
            Some(typed) => typed.clone(),
            None if io::stdin().is_terminal() => {
                print!("Type the name of the database to go on: ");
                io::stdout().flush()?;
                let mut typed = String::new();
                io::stdin().read_line(&mut typed)?;
                typed.trim().to_owned()
            }
            None => return Err(format!("nothing was done: give `--confirm {name}`").into()),
        };
        match typed == name {
            true => Ok(()),
            false => Err(format!("nothing was done: `{typed}` is not `{name}`").into()),
        }
    }
}

/// Whether a run passed; one that did not is printed.
fn passed(report: Report) -> Result<bool> {
    if !report.passed {
        eprintln!("{report}");
    }
    Ok(report.passed)
}

/// Prints where the operation stands now, and closes the journal: nobody has died.
async fn end(operation: Operation, result: Result<bool>) -> Result<bool> {
    if result.is_ok() {
        println!("{}", operation.status().await);
    }
    operation.close().await?;
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
