//! How often the comparison of latencies raises a false alarm, and how much of a slowdown it finds.
//!
//! In each trial three processes of this binary are a baseline, its copy, and a candidate that does more work
//! for each request, or the same. A failure counts as in a run: where it repeats on new processes.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use clap::{Parser, Subcommand};
use serde_json::json;
use upgrade_benches::Result;
use upgrade_benches::machine::Machine;
use upgrade_core::environment::{Endpoint, Endpoints};
use upgrade_core::http::Request;
use upgrade_core::latency::Latency;
use upgrade_core::side::{Candidate, Side};
use upgrade_core::{UpgradeContext, Validator as _, Verdict};

/// The version of what `--json` prints.
const FORMAT: u32 = 1;
/// The number of different requests.
const REQUESTS: u32 = 30;
/// How much more work the candidates do, in percent.
const MORE: [u32; 4] = [0, 5, 10, 20];

/// Compares services over HTTP that do the same work, or more, and counts what is found.
#[derive(Debug, Parser)]
struct Arguments {
    /// Trials in which the candidate does the same work
    #[arg(long, default_value_t = 20)]
    trials: u32,
    /// Trials with each of 5, 10 and 20 percent more work
    #[arg(long, default_value_t = 10)]
    slower: u32,
    /// The usual work of a request, in microseconds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    micros: u32,
    /// The seed of the first trial
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    serve: Option<Serve>,
}

#[derive(Debug, Subcommand)]
enum Serve {
    /// Is one of the services: prints its port, then answers until its standard input ends
    #[command(hide = true)]
    Serve {
        /// The usual work of a request, in turns of a loop
        turns: u64,
    },
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stderr, reason = "a program prints")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.serve {
        Some(Serve::Serve { turns }) => serve(turns).await,
        None => Box::pin(run(&arguments)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// What came of the trials with one amount of work.
#[derive(Debug, Default)]
struct Arm {
    passed: u32,
    failed: u32,
    /// Runs that failed, and whose repetition did not.
    unconfirmed: u32,
    inconclusive: u32,
    times: Vec<Duration>,
}

impl Arm {
    fn trials(&self) -> u32 {
        self.passed + self.failed + self.inconclusive
    }

    fn seconds(&self) -> [f64; 2] {
        let mut times = self.times.clone();
        times.sort_unstable();
        [times.len() / 2, times.len() * 9 / 10]
            .map(|at| times.get(at).map_or(0.0, Duration::as_secs_f64))
    }
}

#[expect(clippy::print_stderr, reason = "a program prints")]
async fn run(arguments: &Arguments) -> Result<()> {
    let turns = turns(arguments.micros);
    let mut machine = Machine::look("not used");
    let mut arms: BTreeMap<u32, Arm> = BTreeMap::new();
    let mut seed = arguments.seed;
    for trial in 0..arguments.trials.max(arguments.slower) {
        for more in MORE {
            let trials = if more == 0 {
                arguments.trials
            } else {
                arguments.slower
            };
            if trial >= trials {
                continue;
            }
            let began = Instant::now();
            let arm = arms.entry(more).or_default();
            let first = compare(turns, more, seed).await?;
            let verdict = match &first {
                Verdict::Fail(_) => {
                    let second = compare(turns, more, seed + 1).await?;
                    let confirmed = !kinds(&first).is_disjoint(&kinds(&second));
                    arm.unconfirmed += u32::from(!confirmed);
                    if !confirmed {
                        eprintln!("trial {trial} failed once only: {first:?}");
                    }
                    if confirmed { first } else { Verdict::Pass }
                }
                _ => first,
            };
            seed += 2;
            arm.times.push(began.elapsed());
            match &verdict {
                Verdict::Pass => arm.passed += 1,
                Verdict::Fail(_) => arm.failed += 1,
                Verdict::Inconclusive(_) => arm.inconclusive += 1,
            }
            eprintln!(
                "trial {trial} with {more} % more work, {:.1} s: {verdict:?}",
                began.elapsed().as_secs_f64()
            );
        }
    }
    machine.look_again();
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let arms: Vec<_> = arms
            .iter()
            .map(|(more, arm)| {
                let [median, p90] = arm.seconds();
                json!({
                    "more_work_percent": more, "trials": arm.trials(), "failed": arm.failed,
                    "passed": arm.passed, "inconclusive": arm.inconclusive, "unconfirmed": arm.unconfirmed,
                    "median_seconds": median, "p90_seconds": p90,
                })
            })
            .collect();
        writeln!(
            out,
            "{}",
            json!({ "format": FORMAT, "machine": machine, "arms": arms })
        )?;
        return Ok(());
    }
    writeln!(out, "{machine}\n")?;
    writeln!(
        out,
        "| more work | trials | failed | passed | inconclusive | failed once only | seconds, median | p90 |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    for (more, arm) in &arms {
        let Arm {
            failed,
            passed,
            inconclusive,
            unconfirmed,
            ..
        } = arm;
        let ([median, p90], trials) = (arm.seconds(), arm.trials());
        writeln!(
            out,
            "| {more} % | {trials} | {failed} | {passed} | {inconclusive} | {unconfirmed} | {median:.1} | {p90:.1} |"
        )?;
    }
    Ok(())
}

/// The findings of a verdict, as far as they have to repeat.
fn kinds(verdict: &Verdict) -> BTreeSet<(String, String)> {
    match verdict {
        Verdict::Fail(findings) => {
            let kind = |it: &upgrade_core::Finding| (it.id.clone(), it.subject.to_string());
            findings.iter().map(kind).collect()
        }
        Verdict::Pass | Verdict::Inconclusive(_) => BTreeSet::new(),
    }
}

/// A comparison of new processes.
async fn compare(turns: u64, more: u32, seed: u64) -> Result<Verdict> {
    let slower = turns + turns * u64::from(more) / 100;
    let services = [
        (Side::Baseline, Service::start(turns)?),
        (Side::Secondary, Service::start(turns)?),
        (Side::Candidate, Service::start(slower)?),
    ];
    let sides = services.iter().map(|(side, service)| {
        let endpoint = Endpoint::new(service.url.clone());
        (*side, Endpoints::default().with("api", endpoint))
    });
    let cx = UpgradeContext::new("1", "2")
        .with_seed(seed)
        .with_sides(sides.collect(), Candidate::Upgraded);
    let latency = (0..REQUESTS).fold(Latency::new("orders", "api", []), |latency, id| {
        latency.request("GET /orders/{id}", Request::get(format!("/orders/{id}")))
    });
    Ok(latency.validate(&cx).await?)
}

/// One process, which ends with this.
struct Service {
    process: Child,
    url: String,
}

impl Service {
    fn start(turns: u64) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", &turns.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = process.stdout.take().ok_or("a service has no output")?;
        let mut port = String::new();
        BufReader::new(out).read_line(&mut port)?;
        let port: u16 = port.trim().parse()?;
        Ok(Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers requests until the parent ends.
async fn serve(turns: u64) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", listener.local_addr()?.port())?;
        out.flush()?;
    }
    let answer = move |Path(id): Path<u32>| async move {
        work((turns as f64 * weight(id)) as u64);
        format!("order {id}")
    };
    let router = Router::new().route("/orders/{id}", get(answer));
    let ended = async {
        // The other end of standard input is closed by the end of the parent, however it ends.
        let _ = tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await;
    };
    tokio::select! {
        done = axum::serve(listener, router) => done?,
        () = ended => {}
    }
    Ok(())
}

/// How heavy a request is: log-normal over the requests, and always the same for one.
fn weight(id: u32) -> f64 {
    // The quantiles of a normal distribution, approximately, in a scattered order.
    let part = (f64::from(id * 7 % REQUESTS) + 0.5) / f64::from(REQUESTS);
    (0.5 * 0.5513 * (part / (1.0 - part)).ln()).exp()
}

/// The same work for the same number of turns.
fn work(turns: u64) {
    let mut value = turns;
    for turn in 0..turns {
        value = black_box(value.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ turn);
    }
}

/// The number of turns that takes so long; the fastest of several attempts.
fn turns(micros: u32) -> u64 {
    const TURNS: u64 = 200_000;
    let timed = || {
        let began = Instant::now();
        work(TURNS);
        began.elapsed()
    };
    let fastest = (0..50).map(|_| timed()).min().unwrap_or_default();
    let each = fastest.as_secs_f64() / TURNS as f64;
    (f64::from(micros) / 1e6 / each) as u64
}
