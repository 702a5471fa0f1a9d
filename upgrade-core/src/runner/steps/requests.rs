//! Users' requests while a step is under way, and what became of them.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::UpgradeContext;
use crate::event::millis;
use crate::finding::Finding;
use crate::plan::{Action, Step};
use crate::report::TrafficReport;
use crate::runner::deadline::said;
use crate::runner::judge::Ground;
use crate::runner::state::Run;
use crate::subject::TableRef;
use crate::traffic::Traffic;
use crate::validator::Verdict;

/// How many of the wrong answers are reported.
const TOLD: usize = 3;

/// Whether users make requests while a step is done.
pub(in crate::runner) fn flows(run: &Run<'_>, step: &Step) -> bool {
    step.policy.traffic && !run.upgrade.traffic().is_empty()
}

/// Requests that are made until they are [ended](Self::end), or dropped.
pub(in crate::runner) struct Flow {
    stop: CancellationToken,
    began: Instant,
    streams: Vec<Stream>,
}

struct Stream {
    traffic: Traffic,
    seen: Arc<Mutex<Seen>>,
    users: JoinSet<()>,
}

/// What became of the requests of one stream.
#[derive(Debug)]
struct Seen {
    answered: Vec<Duration>,
    lost: u64,
    wrong: u64,
    /// The first of those that were lost or wrong, in words.
    told: Vec<String>,
    /// When the last good answer came, and the longest time without one.
    good: Instant,
    longest_gap: Duration,
}

impl Flow {
    /// Begins the requests of a step, if it has any.
    pub(in crate::runner) fn begin(
        run: &Run<'_>,
        cx: &UpgradeContext,
        step: &Step,
    ) -> Option<Self> {
        if !flows(run, step) {
            return None;
        }
        let all = run.upgrade.traffic();
        let (stop, began) = (CancellationToken::new(), Instant::now());
        let streams = all.iter().map(|traffic| {
            let seen = Arc::new(Mutex::new(Seen::since(began)));
            let mut users = JoinSet::new();
            for _ in 0..traffic.users {
                let (traffic, seen) = (traffic.clone(), Arc::clone(&seen));
                users.spawn(user(traffic, cx.clone(), stop.clone(), seen));
            }
            let traffic = traffic.clone();
            Stream {
                traffic,
                seen,
                users,
            }
        });
        let streams = streams.collect();
        Some(Self {
            stop,
            began,
            streams,
        })
    }

    /// Lets every user wait for the last answer, and notes what became of the requests.
    pub(in crate::runner) async fn end(self, run: &mut Run<'_>, cx: &UpgradeContext, step: &Step) {
        self.stop.cancel();
        for mut stream in self.streams {
            while stream.users.join_next().await.is_some() {}
            let mut seen = lock(&stream.seen);
            seen.longest_gap = seen.longest_gap.max(seen.good.elapsed());
            let report = report(&stream.traffic, &mut seen, step, self.began.elapsed());
            for finding in judged(&stream.traffic, &report, &seen.told, &step.action) {
                cx.notice(finding);
            }
            run.report.traffic.push(report);
        }
    }
}

/// The tables in which users change rows all the time, each with the reason.
pub(in crate::runner) fn changes<'r>(run: &Run<'r>) -> impl Iterator<Item = Ground<'r>> {
    let all = run.upgrade.traffic().iter();
    all.flat_map(|traffic| &traffic.changes)
        .map(|(table, reason)| Ground::Changed(TableRef::new(table), reason))
}

/// One user: a request, a pause, and again.
async fn user(
    traffic: Traffic,
    cx: UpgradeContext,
    stop: CancellationToken,
    seen: Arc<Mutex<Seen>>,
) {
    loop {
        let began = Instant::now();
        let request = AssertUnwindSafe(traffic.request.validate(&cx)).catch_unwind();
        let answer = tokio::time::timeout(traffic.lost_after, request).await;
        let took = began.elapsed();
        {
            let mut seen = lock(&seen);
            match answer {
                Ok(Ok(Ok(Verdict::Pass))) => seen.good(took),
                Ok(Ok(Ok(Verdict::Fail(found)))) => {
                    let all: Vec<String> = found.iter().map(|one| one.message.clone()).collect();
                    seen.wrong(took, all.join("; "));
                }
                Ok(Err(panic)) => seen.wrong(took, said(&*panic)),
                Ok(Ok(Ok(Verdict::Inconclusive(reason)))) => seen.lost(reason),
                Ok(Ok(Err(error))) => seen.lost(format!("{error:?}")),
                Err(_) => seen.lost(format!("no answer in {:?}", traffic.lost_after)),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(traffic.pause) => {}
        }
    }
}

impl Seen {
    fn since(began: Instant) -> Self {
        Self {
            answered: Vec::new(),
            lost: 0,
            wrong: 0,
            told: Vec::new(),
            good: began,
            longest_gap: Duration::ZERO,
        }
    }

    fn good(&mut self, took: Duration) {
        let now = Instant::now();
        self.longest_gap = self.longest_gap.max(now - self.good);
        self.good = now;
        self.answered.push(took);
    }

    fn wrong(&mut self, took: Duration, why: String) {
        self.answered.push(took);
        self.wrong += 1;
        self.tell(format!("wrong: {why}"));
    }

    fn lost(&mut self, why: String) {
        self.lost += 1;
        self.tell(format!("lost: {why}"));
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD && !self.told.contains(&what) {
            self.told.push(what);
        }
    }
}

fn report(traffic: &Traffic, seen: &mut Seen, step: &Step, window: Duration) -> TrafficReport {
    seen.answered.sort_unstable();
    let answered = &seen.answered;
    let at = |percent: usize| {
        let index = (answered.len() * percent / 100).min(answered.len().saturating_sub(1));
        answered.get(index).map_or(0, |took| millis(*took))
    };
    let slow = answered.partition_point(|took| *took <= traffic.slow_after);
    TrafficReport {
        step: step.id,
        phase: step.phase,
        name: traffic.name().to_owned(),
        requests: answered.len() as u64 + seen.lost,
        lost: seen.lost,
        wrong: seen.wrong,
        slow: (answered.len() - slow) as u64,
        median_ms: at(50),
        p99_ms: at(99),
        longest_ms: at(100),
        longest_gap_ms: millis(seen.longest_gap),
        window_ms: millis(window),
    }
}

fn judged(
    traffic: &Traffic,
    report: &TrafficReport,
    told: &[String],
    action: &Action,
) -> Vec<Finding> {
    // What a fault costs is not the upgrade's; that an answer is wrong is never right.
    let fault = match action {
        Action::InjectFault { fault, .. } | Action::Recover { fault } => Some(fault),
        _ => None,
    };
    let of = |count: u64, what: &str| {
        let TrafficReport { requests, .. } = report;
        let gap = report.longest_gap_ms;
        format!("{count} of {requests} {what}; longest outage {gap} ms")
    };
    let evidence: String = told.iter().map(|line| format!("{line}\n")).collect();
    let mut findings = Vec::new();
    if report.wrong > 0 {
        let message = of(report.wrong, "were answered wrongly");
        findings.push(Finding::error("traffic/wrong", traffic.name(), message));
    }
    if report.lost > 0 {
        let message = of(report.lost, "were lost");
        findings.push(match fault {
            Some(fault) => Finding::note("traffic/lost", traffic.name(), message)
                .with_help(format!("`{fault}` was injected during these requests")),
            None if report.lost > traffic.most_lost => {
                Finding::error("traffic/lost", traffic.name(), message)
            }
            None => Finding::note("traffic/lost", traffic.name(), message),
        });
    }
    for finding in &mut findings {
        finding.evidence = Some(evidence.clone());
    }
    if report.slow > 0 && fault.is_none() {
        let message = of(report.slow, &format!("took over {:?}", traffic.slow_after));
        findings.push(Finding::warning("traffic/slow", traffic.name(), message));
    }
    findings
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
