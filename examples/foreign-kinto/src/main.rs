//! Rehearses the upgrade of a system that others wrote: Kinto, from 20.6.1 to 26.5.0.
//!
//! Nothing here knows what differs between the two. The older release is filled through its own HTTP API,
//! and requests of its users are recorded with their answers. The recording is replayed on both releases
//! side by side, users go on while replica after replica is replaced, and the system is rolled back from
//! every mixture. The report says what came of it.

mod client;
mod users;
mod workflows;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use upgrade_core::browser::Browser;
use upgrade_core::docker::{Compose, Stack};
use upgrade_core::environment::{Capabilities, DockerEnvironment};
use upgrade_core::migration::CommandMigration;
use upgrade_core::plan::Plan;
use upgrade_core::replay::{Recording, Replay};
use upgrade_core::reporter::progress::Progress;
use upgrade_core::rollback::SnapshotSwap;
use upgrade_core::validator::Validator as _;
use upgrade_core::{
    CommandLine, Error, ErrorKind, Report, Result, Runner, Scenario, Traffic, Upgrade, validator_fn,
};

use client::PROXY;

const FROM: &str = "20.6.1";
const TO: &str = "26.5.0";

/// Rehearses the upgrade of Kinto: both releases compared side by side, then replica by replica under load,
/// with a rollback from every mixture.
#[derive(Parser)]
struct Arguments {
    /// What to rehearse; may be repeated
    #[arg(long = "scenario", default_values = ["upgrade", "rolling"])]
    scenarios: Vec<Scenario>,
    /// How many records there are before the upgrade
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..))]
    records: u32,
    /// Compares how fast both releases list records, too, for some minutes
    #[arg(long)]
    latency: bool,
    /// Compares the page for administrators, too, in Chromium
    #[arg(long)]
    browser: bool,
}

#[tokio::main]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stop = CancellationToken::new();
    tokio::spawn(interrupted(stop.clone()));
    let mut good = true;
    for scenario in &arguments.scenarios {
        match Box::pin(run(&arguments, *scenario, stop.clone())).await {
            Ok(report) => {
                println!("{report}");
                // That the upgrade is not fit to be rolled out is a result, and no failure.
                good &= report.rollbacks.iter().all(|back| back.confirmed);
            }
            Err(error) => {
                eprintln!("error: {error:?}");
                return ExitCode::FAILURE;
            }
        }
    }
    match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

#[expect(clippy::print_stderr, reason = "a program prints")]
async fn run(arguments: &Arguments, scenario: Scenario, stop: CancellationToken) -> Result<Report> {
    check_images()?;
    let records = arguments.records;
    let day = Arc::new(OnceLock::new());
    let kept = Arc::clone(&day);
    let environment = DockerEnvironment::new("kinto")
        .with_release(FROM, stack(FROM)?)
        .with_release(TO, stack(TO)?)
        .with_database("db")
        .with_ready_within(Duration::from_secs(120))
        .with_data(move |cx| {
            let kept = Arc::clone(&kept);
            async move {
                users::fill(&cx, records).await?;
                let recorded = users::day(&cx).await?;
                let _ = kept.set(Recording::from_recorded(recorded));
                Ok(())
            }
        });
    // The recording exists only once the older release runs.
    let replay = validator_fn("a day of users", move |cx| {
        let day = Arc::clone(&day);
        async move {
            let day = day
                .get()
                .cloned()
                .ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing was recorded"))?;
            Replay::new("a day of users", PROXY, day)
                .validate(&cx)
                .await
        }
    });
    // One user: of two writes in the same millisecond Kinto refuses one, with 409, in both releases.
    let visits = Traffic::new(workflows::visit())
        .with_users(1)
        .with_pause(Duration::from_millis(50))
        .with_changes(
            "public.timestamps",
            "the server keeps the time of the last change of each collection",
        );
    let mut upgrade = Upgrade::new("kinto", FROM, TO)
        .with_migration(migration())
        .with_rollback(SnapshotSwap::new())
        .with_validator(workflows::orders())
        .with_comparison(replay)
        .with_comparison(workflows::life().compare());
    // A replica that ends drops the requests that it has: that is found once, and would hide the rest.
    if scenario == Scenario::Rolling {
        upgrade = upgrade.with_traffic(visits);
    }
    if arguments.latency {
        upgrade = upgrade.with_comparison(workflows::speed());
    }
    if arguments.browser {
        let page = Browser::new().page("the page for administrators", PROXY, "/v1/admin/");
        upgrade = upgrade.with_comparison(page.compare());
    }
    let outline = upgrade.outline(Capabilities::of(&environment));
    let plan = Plan::new(&outline, scenario, 0)?;
    eprintln!("{plan}");
    Runner::new(upgrade, environment)
        .with_cancellation(stop)
        .with_sink(Progress::for_terminal())
        .run(&plan)
        .await
}

/// The command by which the new release migrates the schema: all its migrations at once.
fn migration() -> CommandMigration {
    // What it is given begins with another name of the protocol than the server's library knows.
    let script = "url=postgresql+psycopg2://${DATABASE_URL#*://}; \
        export KINTO_STORAGE_URL=$url KINTO_PERMISSION_URL=$url; exec kinto migrate";
    let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/kinto.ini:/etc/kinto.ini:ro");
    let migrate = CommandLine::new("docker")
        .with_args(["run", "--rm", "--network", "host"])
        .with_args(["--env", "DATABASE_URL", "--env", "PGAPPNAME"])
        .with_args(["--env", "KINTO_INI=/etc/kinto.ini", "--volume", settings])
        .with_args(["--entrypoint", "sh"])
        .with_args([&format!("kinto:{TO}"), "-c", script]);
    CommandMigration::new(TO, "kinto migrate", migrate)
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
        let image = format!("kinto:{release}");
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
                "`examples/foreign-kinto/build-images` builds both, in some minutes, once",
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
