//! Rehearses the upgrade of a system that others wrote: the server of atuin, from 18.4.0 to 18.24.0.
//!
//! Nothing here knows what is wrong with that upgrade. The older release is filled through its own
//! HTTP API, users go on while replica after replica is replaced, each call of the older release is
//! asked again at every stop, and the system is rolled back from every mixture. The report says what
//! came of it.

mod api;
mod area;
mod check;
mod compare;
mod known;
mod outcome;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use upgrade_core::docker::{Compose, Stack};
use upgrade_core::environment::Capabilities;
use upgrade_core::environment::DockerEnvironment;
use upgrade_core::plan::Plan;
use upgrade_core::reporter::progress::Progress;
use upgrade_core::rollback::SnapshotSwap;
use upgrade_core::{
    Error, ErrorKind, Report, Result, Runner, Scenario, Traffic, Upgrade, validator_fn,
};

use area::Area;
use known::Known;
use outcome::Outcome;

const FROM: &str = "18.4.0";
const TO: &str = "18.24.0";

/// Rehearses the upgrade of atuin's server under load, and its rollback from every mixture.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    act: Option<Act>,
    /// One line of JSON on the output instead of the report
    #[arg(long)]
    json: bool,
    /// How many users have registered before the upgrade
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    users: u16,
    /// How many commands and how many records each of them has sent
    #[arg(long, default_value_t = 20)]
    items: u16,
}

#[derive(Subcommand)]
enum Act {
    /// Replays what a user of the older release did on both releases side by side, instead
    Compare,
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
    let known = Known::default();
    let run = match arguments.act {
        Some(Act::Compare) => Box::pin(compared(&arguments, &known)).await,
        None => Box::pin(run(&arguments, &known)).await,
    };
    let report = match run {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error:?}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.act.is_some() {
        print!("{report}");
        // That the releases differ is a result, and no failure.
        return ExitCode::SUCCESS;
    }
    let outcome = Outcome::new(&report, &known, began.elapsed());
    if arguments.json {
        eprint!("{report}{}", outcome.told());
        println!("{}", outcome.to_json());
    } else {
        print!("{report}{}", outcome.told());
    }
    match outcome.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

async fn run(arguments: &Arguments, known: &Known) -> Result<Report> {
    let (users, items) = (usize::from(arguments.users), usize::from(arguments.items));
    check_images()?;
    let seeded = known.clone();
    let environment = environment([stack(FROM)?, stack(TO)?]).with_data(move |cx| {
        let known = seeded.clone();
        async move { known.seed(&cx, users, items).await }
    });
    let mut upgrade = Upgrade::new("atuin", FROM, TO).with_rollback(SnapshotSwap::new());
    for area in Area::ALL {
        let (asked, used) = (known.clone(), known.clone());
        let holds = validator_fn(area.name(), move |cx| check::holds(cx, asked.clone(), area));
        let requests = validator_fn(area.name(), move |cx| {
            let known = used.clone();
            async move { known.request(&cx, area).await }
        });
        let traffic = Traffic::new(requests)
            .with_users(2)
            .with_pause(Duration::from_millis(50))
            .with_changes(
                "public.total_history_count_user",
                "a trigger counts the commands of each user",
            );
        upgrade = upgrade.with_validator(holds).with_traffic(traffic);
    }
    let plan = Plan::new(
        &upgrade.outline(Capabilities::of(&environment)),
        Scenario::Rolling,
        0,
    )?;
    rehearsed(upgrade, environment, &plan).await
}

async fn compared(arguments: &Arguments, known: &Known) -> Result<Report> {
    let (users, items) = (usize::from(arguments.users), usize::from(arguments.items));
    check_images()?;
    let stacks = [stack(FROM)?, stack(TO)?];
    let (upgrade, environment, plan) = compare::prepared(known, users, items, stacks)?;
    rehearsed(upgrade, environment, &plan).await
}

#[expect(clippy::print_stderr, reason = "a program prints")]
async fn rehearsed(
    upgrade: Upgrade,
    environment: DockerEnvironment,
    plan: &Plan,
) -> Result<Report> {
    eprintln!("{plan}");
    let stop = CancellationToken::new();
    tokio::spawn(interrupted(stop.clone()));
    Runner::new(upgrade, environment)
        .with_cancellation(stop)
        .with_sink(Progress::for_terminal())
        .run(plan)
        .await
}

/// The system in containers, without data.
fn environment([from, to]: [Stack; 2]) -> DockerEnvironment {
    DockerEnvironment::new("atuin")
        .with_release(FROM, from)
        .with_release(TO, to)
        .with_database("db")
        .with_ready_within(Duration::from_secs(60))
}

fn stack(release: &str) -> Result<Stack> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    Compose::file(folder.join("compose.yaml"))
        .with_variable("RELEASE", release)
        .read()
}

/// Says which command makes the images, if one is missing.
fn check_images() -> Result<()> {
    for release in [FROM, TO] {
        let image = format!("atuin-server:{release}");
        let found = Command::new("docker")
            .args(["image", "inspect", &image])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // Without the command, the library says what is missing.
        if found.is_ok_and(|status| !status.success()) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the engine has no image `{image}`"),
            )
            .with_hint(
                "`examples/foreign-system/build-images` builds both, in some minutes, once",
            ));
        }
    }
    Ok(())
}

/// Ends the run early, with everything removed, when somebody presses Ctrl-C.
async fn interrupted(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
    }
}
