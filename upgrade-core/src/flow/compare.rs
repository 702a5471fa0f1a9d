//! A flow of users at two releases side by side.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{Flow, FlowRun};
use crate::context::UpgradeContext;
use crate::error::Result;
use crate::finding::Finding;
use crate::http::Exchange;
use crate::replay::{self, Options};
use crate::side::Side;
use crate::validator::{Validator, Verdict};

/// How often a flow runs on each side where nothing else is said.
const RUNS: u32 = 5;

/// The comparison that [`Flow::compare`] makes.
///
/// The flow runs several times on the previous release, on the previous release once more, and on the candidate,
/// with the same values each time.
///
/// - **Pass:** it holds on each, and no answer of the candidate differs in a way in which those of the previous
///   release do not differ from each other.
/// - **Fail:** it fails on the candidate alone, or an answer differs: see [`replay::judge`].
/// - **Inconclusive:** it fails on the previous release, or no step runs.
#[derive(Debug, Clone)]
pub struct FlowComparison {
    flow: Flow,
    name: String,
    runs: u32,
    options: Options,
}

impl Flow {
    /// The comparison of this flow at two releases, for [`Upgrade::with_comparison`].
    ///
    /// [`Upgrade::with_comparison`]: crate::Upgrade::with_comparison
    pub fn compare(&self) -> FlowComparison {
        FlowComparison {
            name: format!("{}, on both releases", self.name()),
            flow: self.clone(),
            runs: RUNS,
            options: self
                .templates()
                .fold(Options::default(), Options::with_template),
        }
    }
}

impl FlowComparison {
    /// Sets how often the flow runs on each side, at least 2: more runs tell noise better. Default: 5.
    #[must_use]
    pub fn with_runs(mut self, runs: u32) -> Self {
        self.runs = runs.max(2);
        self
    }

    /// Changes which parts of the answers are compared. The paths of the flow's steps are its templates, such as
    /// `/orders/{id}` for `/orders/{{id}}`.
    #[must_use]
    pub fn with_options(mut self, change: impl FnOnce(Options) -> Options) -> Self {
        self.options = change(self.options);
        self
    }

    /// What each side exchanged in all runs, in the order of [`Side::ALL`], and what failed on each.
    pub(crate) async fn run(&self, cx: &UpgradeContext) -> Result<[Ran; 3]> {
        let mut ran: [Ran; 3] = Default::default();
        for number in 0..self.runs {
            let unique = self.flow.next_unique(cx);
            let mut runs = Vec::new();
            // Nobody is always the first.
            let first = number as usize % Side::ALL.len();
            for at in (first..Side::ALL.len()).chain(0..first) {
                let side = Side::ALL[at];
                let running = self.flow.run_as(&cx.at_side(side)?, &unique).await;
                let run = running.map_err(|error| error.with_context("side", side))?;
                runs.push((at, run));
            }
            runs.sort_by_key(|(at, _)| *at);
            let shared = shared(&runs);
            for (at, run) in runs {
                ran[at].steps += run.steps;
                ran[at].findings.extend(run.findings);
                let exchanges = run.exchanges.into_iter();
                let shared = exchanges.filter(|(step, _)| shared.contains(step));
                ran[at]
                    .exchanges
                    .extend(shared.map(|(_, exchange)| exchange));
            }
        }
        Ok(ran)
    }
}

/// What one side did in all runs.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    steps: usize,
    findings: Vec<Finding>,
    pub(crate) exchanges: Vec<Exchange>,
}

/// The steps that were taken on every side.
fn shared(runs: &[(usize, FlowRun)]) -> BTreeSet<String> {
    let names = runs.iter().map(|(_, run)| {
        let names = run.exchanges.iter().map(|(step, _)| step.clone());
        names.collect::<BTreeSet<String>>()
    });
    let both = |one: BTreeSet<String>, other: BTreeSet<String>| &one & &other;
    names.reduce(both).unwrap_or_default()
}

#[async_trait]
impl Validator for FlowComparison {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let running = Box::pin(self.run(cx));
        let [baseline, secondary, candidate] = cx.bounded(&self.name, running).await??;
        if let Some(failed) = baseline.findings.iter().chain(&secondary.findings).next() {
            let reason = format!("the flow fails on the previous release: {failed}");
            return Ok(Verdict::Inconclusive(reason));
        }
        if candidate.steps == 0 || baseline.steps == 0 {
            let reason = "no step of the flow runs at both releases";
            return Ok(Verdict::Inconclusive(reason.to_owned()));
        }
        let mut findings: Vec<Finding> = Vec::new();
        for finding in &candidate.findings {
            let known =
                |other: &Finding| other.id == finding.id && other.subject == finding.subject;
            if !findings.iter().any(known) {
                findings.push(finding.clone());
            }
        }
        let exchanges = [&baseline, &secondary, &candidate].map(|ran| ran.exchanges.as_slice());
        let [old, again, new] = exchanges;
        findings.extend(replay::judge(old, again, new, &self.options));
        Ok(match findings.is_empty() {
            true => Verdict::Pass,
            false => Verdict::Fail(findings),
        })
    }
}
