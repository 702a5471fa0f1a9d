//! Measures environments in containers: their start against that of docker compose on the same
//! file, and restoring a state against making the environment anew.
//!
//! A missed goal is printed and is no failure: timings prove nothing in a test run.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use upgrade_benches::Result;
use upgrade_benches::line::{Goal, Line, table};
use upgrade_benches::machine::Machine;
use upgrade_benches::sample::{Sample, order, timed};
use upgrade_core::docker::{Compose as ComposeFile, Stack};
use upgrade_core::environment::DockerEnvironment;
use upgrade_core::environment::Snapshots as _;
use upgrade_core::{BoxError, Environment as _, UpgradeContext};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/staging/compose.yaml");
const KEPT: &str = "as it was";
/// The state that is restored.
const ROWS: &str = "create table orders as
    select id, md5(id::text) as customer from generate_series(1, 100000) id";

/// Measures environments in containers, round by round in one process.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds that count; one more comes before them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program prints")]
async fn main() -> ExitCode {
    match Box::pin(run(&Arguments::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program prints")]
async fn run(arguments: &Arguments) -> Result<()> {
    let stack = ComposeFile::file(FILE).read()?;
    let peer = Compose::find()?;
    let mut machine = Machine::look("17 in containers");
    let [mut ours, mut theirs, mut anew, mut reset, mut rows] =
        std::array::from_fn(|_| Sample::default());
    for round in 0..=usize::from(arguments.rounds) {
        eprintln!("round {round} ...");
        for arm in order(round, 4) {
            // The first round warms up.
            let take = |sample: &mut Sample, time| {
                if round > 0 {
                    sample.push(time);
                }
            };
            match arm {
                0 => take(&mut ours, start(&stack).await?),
                1 => take(&mut theirs, peer.start().await?),
                2 => take(&mut rows, go_back_beside(&stack).await?),
                _ => {
                    let (again, back) = go_back(&stack).await?;
                    take(&mut anew, again);
                    take(&mut reset, back);
                }
            }
        }
    }
    machine.look_again();
    let lines = [
        Line {
            what: "start until all is healthy".to_owned(),
            against: peer.name.clone(),
            ours,
            peer: theirs,
            goal: Goal::AtMost(1.0),
        },
        Line {
            what: "reset to a kept state, 100000 rows".to_owned(),
            against: "teardown, start and the rows again".to_owned(),
            ours: reset.clone(),
            peer: anew,
            goal: Goal::Faster(3.0),
        },
        Line {
            what: "reset to a kept state, 100000 rows".to_owned(),
            against: String::new(),
            ours: reset,
            peer: Sample::default(),
            goal: Goal::Within(Duration::from_secs(1)),
        },
        Line {
            what: "the same, where the proxy is stateless".to_owned(),
            against: String::new(),
            ours: rows,
            peer: Sample::default(),
            goal: Goal::Within(Duration::from_secs(1)),
        },
    ];
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{machine}; medians of the rounds, and minima in parentheses\n"
    )?;
    write!(out, "{}", table(&lines))?;
    Ok(())
}

fn environment(stack: &Stack) -> DockerEnvironment {
    DockerEnvironment::new("bench")
        .with_release("1", stack.clone())
        .with_database("db")
}

/// How long a start takes; its teardown does not count.
async fn start(stack: &Stack) -> Result<Duration> {
    let (environment, cx) = (environment(stack), UpgradeContext::new("1", "1"));
    let (time, ()) = timed(environment.prepare(&cx)).await?;
    environment.teardown(&cx).await?;
    Ok(time)
}

/// How long it takes to have the state again by a new environment, and by a reset.
async fn go_back(stack: &Stack) -> Result<(Duration, Duration)> {
    let cx = UpgradeContext::new("1", "1");
    let first = environment(stack);
    first.prepare(&cx).await?;
    let (anew, second) = timed(async {
        first.teardown(&cx).await?;
        let second = environment(stack);
        second.prepare(&cx).await?;
        sql(&second, &cx, ROWS).await?;
        Ok::<_, BoxError>(second)
    })
    .await?;
    Ok((anew, reset(second, &cx).await?))
}

/// How long a reset takes that leaves the proxy running.
async fn go_back_beside(stack: &Stack) -> Result<Duration> {
    let cx = UpgradeContext::new("1", "1");
    let environment = environment(stack).with_stateless("proxy");
    environment.prepare(&cx).await?;
    sql(&environment, &cx, ROWS).await?;
    reset(environment, &cx).await
}

/// How long it takes to put a state back that has the rows; the environment ends with it.
async fn reset(environment: DockerEnvironment, cx: &UpgradeContext) -> Result<Duration> {
    environment.take(cx, KEPT).await?;
    sql(&environment, cx, "delete from orders where id % 2 = 0").await?;
    let (reset, ()) = timed(environment.restore(cx, KEPT)).await?;
    let left = sql(&environment, cx, "select id from orders").await?;
    environment.teardown(cx).await?;
    match left {
        100_000 => Ok(reset),
        other => Err(format!("{other} rows are there after a reset, not 100000").into()),
    }
}

/// Runs a statement; how many rows it touched.
async fn sql(
    environment: &DockerEnvironment,
    cx: &UpgradeContext,
    text: &'static str,
) -> Result<u64> {
    let cx = cx.clone().with_endpoints(environment.endpoints());
    let mut connection = cx.connect().await?;
    Ok(sqlx::query(text)
        .execute(&mut connection)
        .await?
        .rows_affected())
}

/// Docker compose, as it is installed.
struct Compose {
    name: String,
    command: Vec<&'static str>,
    /// Whether its own commands can wait until all is healthy.
    waits: bool,
    project: String,
}

impl Compose {
    fn find() -> Result<Self> {
        let project = format!("upgrade-bench-{}", std::process::id());
        let plugin = Command::new("docker").args(["compose", "version"]).output();
        if plugin.is_ok_and(|asked| asked.status.success()) {
            return Ok(Self {
                name: "docker compose up --wait".to_owned(),
                command: vec!["docker", "compose"],
                waits: true,
                project,
            });
        }
        let mut alone = Command::new("docker-compose");
        let version = alone.args(["version", "--short"]).output().map_err(|_| {
            "there is neither `docker compose` nor `docker-compose` (Debian: apt-get install docker-compose)"
        })?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        Ok(Self {
            name: format!("docker-compose {version} up, asked for health every 25 ms"),
            command: vec!["docker-compose"],
            waits: false,
            project,
        })
    }

    /// How long a start takes; its end does not count.
    async fn start(&self) -> Result<Duration> {
        let started = timed(async {
            if self.waits {
                self.run(&["up", "--detach", "--wait"])?;
                return Ok::<_, BoxError>(());
            }
            self.run(&["up", "--detach"])?;
            let ids = self.run(&["ps", "--quiet"])?;
            let ids: Vec<&str> = ids.split_whitespace().collect();
            while !healthy(&ids)? {
                tokio::time::sleep(Duration::from_millis(25)).await; // poll
            }
            Ok(())
        })
        .await;
        self.run(&["down", "--volumes"])?;
        Ok(started?.0)
    }

    /// Runs a command on the project; what it printed.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let done = Command::new(self.command[0])
            .args(&self.command[1..])
            .args(["--project-name", &self.project, "--file", FILE])
            .args(arguments)
            .current_dir(Path::new(FILE).parent().unwrap_or(Path::new(".")))
            .stdin(Stdio::null())
            .output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(format!("{} {arguments:?} failed: {said}", self.name).into());
        }
        Ok(String::from_utf8(done.stdout)?)
    }
}

fn healthy(containers: &[&str]) -> Result<bool> {
    let asked = Command::new("docker")
        .args(["inspect", "--format", "{{.State.Health.Status}}"])
        .args(containers)
        .output()?;
    let said = String::from_utf8(asked.stdout)?;
    let states: Vec<&str> = said.lines().collect();
    if states.contains(&"unhealthy") {
        return Err("a container of the peer is not healthy".into());
    }
    Ok(states.len() == containers.len() && states.iter().all(|state| *state == "healthy"))
}
