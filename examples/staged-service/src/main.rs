//! Upgrades a system of two replicas behind a proxy, a worker and a database, rolls it back and
//! upgrades it again, while users place orders all the time; then says what became of them.
//!
//! Everything goes through the library: the system is read from `compose.yaml`, the schema moves by
//! the files in `migrations`, and the plan that is printed is what the runner does.

mod check;
mod client;
mod images;
mod load;
mod order;
mod outcome;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use upgrade_core::docker::{Compose, Stack};
use upgrade_core::environment::Capabilities;
use upgrade_core::environment::DockerEnvironment;
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::plan::Plan;
use upgrade_core::reporter::progress::Progress;
use upgrade_core::rollback::RevertMigrations;
use upgrade_core::{Error, ErrorKind, Report, Result, Runner, Upgrade, validator_fn, writes_fn};

use check::Losses;
use load::Load;
use outcome::Outcome;

/// How many of the migrations release 1 has.
const RELEASED: usize = 1;

/// Upgrades a system in containers under load, rolls it back, and upgrades it again.
#[derive(Parser)]
struct Arguments {
    /// One line of JSON on the output instead of the report
    #[arg(long)]
    json: bool,
    /// How many orders there are before users come
    #[arg(long, default_value_t = 2000)]
    seed: usize,
    /// How many orders are placed at each stop before it is looked at
    #[arg(long, default_value_t = 500)]
    orders: usize,
    /// Take the binaries of the service that are beside this program, as they are
    #[arg(long)]
    built: bool,
}

#[tokio::main]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let (load, losses) = (Load::default(), Losses::default());
    let report = match run(&arguments, &load, &losses).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error:?}");
            match error.report() {
                Some(report) => report.clone(),
                None => return ExitCode::FAILURE,
            }
        }
    };
    let outcome = Outcome::new(&report, &load, &losses, began.elapsed());
    if arguments.json {
        eprint!("{}", outcome.told(&report, &load));
        println!("{}", outcome.to_json());
    } else {
        print!("{}", outcome.told(&report, &load));
    }
    match outcome.is_good() && report.passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

#[expect(clippy::print_stderr, reason = "a program prints")]
async fn run(arguments: &Arguments, load: &Load, losses: &Losses) -> Result<Report> {
    let folder = images::folder();
    let migrations = MigrationFolder::read(folder.join("migrations")).map_err(unreadable)?;
    let mut released = SqlMigration::all(&migrations)?;
    let all = released.len();
    let pending = released.split_off(RELEASED);
    let contexts = images::provide(arguments.built, &[("1", RELEASED), ("2", all)])?;
    let stack = |release: &str, context: usize| -> Result<Stack> {
        Compose::file(folder.join("compose.yaml"))
            .with_variable("RELEASE", release)
            .with_variable("BUILD", contexts[context].display().to_string())
            .read()
    };
    let seeds = (load.clone(), arguments.seed);
    let environment = DockerEnvironment::new("orders")
        .with_release("1", stack("1", 0)?)
        .with_release("2", stack("2", 1)?)
        .with_database("db")
        .with_data(move |cx| {
            let (load, seed) = seeds.clone();
            async move { load.seed(&cx, seed).await }
        });

    let (users, orders) = (load.clone(), arguments.orders);
    let writes = writes_fn("users place orders", move |cx| {
        let users = users.clone();
        async move { users.flow(&cx, orders).await }
    });
    let known = (load.clone(), losses.clone());
    let jobs = known.clone();
    let upgrade = Upgrade::new("orders", "1", "2")
        .with_released(released, [RELEASED])
        .with_rollback(RevertMigrations::new(pending.clone()))
        .with_migrations(pending)
        .with_writes(writes)
        .with_validator(validator_fn("the release answers", check::release_answers))
        .with_validator(validator_fn("acknowledged orders are there", move |cx| {
            check::orders_are_there(cx, known.0.clone(), known.1.clone())
        }))
        .with_validator(validator_fn("every job is done once", move |cx| {
            check::jobs_are_done(cx, jobs.0.clone(), jobs.1.clone())
        }))
        .with_rollback_within(outcome::ROLLBACK_WITHIN);

    let outline = upgrade.outline(Capabilities::of(&environment));
    let plan = Plan::from_steps(
        &outline,
        order::steps(&upgrade, upgrade.rollbacks()[0].name()),
        0,
    )?;
    eprintln!("{plan}");
    let watching = load.clone();
    let stop = CancellationToken::new();
    tokio::spawn(interrupted(stop.clone()));
    Runner::new(upgrade, environment)
        .with_cancellation(stop)
        .with_sink(Progress::for_terminal())
        .with_sink(move |record: &_| watching.record(record))
        .run(&plan)
        .await
}

/// Ends the run early, with everything removed, when somebody presses Ctrl-C.
async fn interrupted(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
    }
}

fn unreadable(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidInput, "the migrations cannot be read").with_source(source)
}
