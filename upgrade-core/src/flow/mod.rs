//! Critical paths of users: steps through one or several services, with what must hold after each.
//!
//! A [`Flow`] is written once and runs at each release, in each phase of an upgrade and of its rollback: as a
//! [`Validator`], and as [`Traffic`](crate::Traffic) while the upgrade is under way.

mod check;
mod compare;
#[cfg(feature = "postgres")]
pub(crate) mod query;
mod run;
mod step;
mod template;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::Value;

pub use self::check::{Check, JsonType, contains, equals};
pub use self::compare::FlowComparison;
pub use self::run::FlowRun;
use self::step::Source;
pub use self::step::{RunsAt, Step};
use self::template::Values;
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::http::ClientOptions;
use crate::secret::Secret;
use crate::validator::{Validator, Verdict};

/// Values that every run of a flow has.
const GIVEN: [&str; 4] = ["unique", "from", "to", "release"];

/// Steps of a user through the services of a system, in order.
///
/// - **Pass:** every step was taken and every check held.
/// - **Fail:** a check did not hold (`flow/step-failed`), or a service took the connection and did not answer well
///   (`flow/no-answer`). Later steps are left out, but for those that [always](Self::always) run.
/// - **Inconclusive:** no step runs at this release.
///
/// A service that cannot be reached is an error. Cookies are kept from step to step, for each endpoint. A redirect
/// is an answer, and is not followed.
///
/// Its rows stay: in a rehearsal that compares rows, a flow has to remove what it has added
/// ([`always`](Self::always)), or to run as traffic.
///
/// ```
/// use serde_json::json;
/// use upgrade_core::flow::{Flow, Step, equals};
///
/// let checkout = Flow::new("an order is placed and read")
///     .step(
///         Step::put("place", "api", "/v1/orders/{{unique}}")
///             .json(json!({"customer": "Ada", "total": "12.50"}))
///             .status(201),
///     )
///     .step(Step::get("read", "api", "/v1/orders/{{unique}}").check("$.total", equals("12.50")))
///     .always(Step::delete("remove", "api", "/v1/orders/{{unique}}"));
/// ```
#[derive(Clone)]
pub struct Flow {
    name: String,
    steps: Vec<Step>,
    always: Vec<Step>,
    values: Values,
    secrets: Vec<Secret>,
    options: ClientOptions,
    /// How often it was run; clones count together, so that no two of their runs have the same `{{unique}}`.
    runs: Arc<AtomicU64>,
}

impl Flow {
    /// A flow without steps: what users do, in words.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            steps: Vec::new(),
            always: Vec::new(),
            values: Values::new(),
            secrets: Vec::new(),
            options: ClientOptions::default(),
            runs: Arc::default(),
        }
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds a step that runs at the end, also after a step has failed: to clean up. It is left out where a value
    /// that it needs was never captured.
    #[must_use]
    pub fn always(mut self, step: Step) -> Self {
        self.always.push(step);
        self
    }

    /// Gives a value a name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Gives a secret a name. It appears in no report.
    #[must_use]
    pub fn with_secret(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        let value = value.into();
        self.values
            .insert(name.into(), Value::String(value.expose().to_owned()));
        self.secrets.push(value);
        self
    }

    /// Sets how long a request may take and how large an answer may be.
    #[must_use]
    pub fn with_options(mut self, options: ClientOptions) -> Self {
        self.options = options;
        self
    }

    /// Whether nothing of it stays in the database: all of its requests only read, or it has steps that
    /// [always](Self::always) run, which clean up.
    pub fn leaves_no_rows(&self) -> bool {
        !self.always.is_empty() || self.steps.iter().all(Step::only_reads)
    }

    /// What users do, in words.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The paths of its requests, as templates.
    fn templates(&self) -> impl Iterator<Item = String> {
        let steps = self.steps.iter().chain(&self.always);
        steps.filter_map(Step::template)
    }

    /// Runs it at the endpoints of the context, and tells what came of it with every exchange.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a step that needs a value which nobody gives it, and for a path that is not
    /// a JSONPath; [`ErrorKind::NotFound`] for an endpoint that the environment does not offer;
    /// [`ErrorKind::Unavailable`] where a service cannot be reached; [`ErrorKind::Timeout`] and
    /// [`ErrorKind::Cancelled`] from the context.
    pub async fn run(&self, cx: &UpgradeContext) -> Result<FlowRun> {
        let unique = self.next_unique(cx);
        self.run_as(cx, &unique).await
    }

    /// What `{{unique}}` is in the next run.
    pub(crate) fn next_unique(&self, cx: &UpgradeContext) -> String {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let mut hash = blake3::Hasher::new();
        hash.update(&cx.seed().to_le_bytes())
            .update(self.name.as_bytes())
            .update(&cx.attempt().to_le_bytes())
            .update(&number.to_le_bytes());
        hash.finalize().to_hex()[..12].to_owned()
    }

    /// The same flow with what is `{{unique}}` in this run.
    pub(crate) async fn run_as(&self, cx: &UpgradeContext, unique: &str) -> Result<FlowRun> {
        self.complete()?;
        for secret in &self.secrets {
            cx.conceal(secret);
        }
        let mut values = self.values.clone();
        let release = match cx.is_upgraded() {
            true => cx.to(),
            false => cx.from(),
        };
        for (name, value) in [
            ("unique", unique),
            ("from", cx.from().as_str()),
            ("to", cx.to().as_str()),
            ("release", release.as_str()),
        ] {
            values
                .entry(name.to_owned())
                .or_insert_with(|| value.into());
        }
        run::run(self, cx, values).await
    }

    /// Refuses a flow in which a step needs a value that is not known by then.
    fn complete(&self) -> Result<()> {
        let mut known: BTreeSet<&str> = GIVEN.into_iter().collect();
        known.extend(self.values.keys().map(String::as_str));
        let mut later = known.clone();
        let all = self.steps.iter().chain(&self.always);
        later.extend(all.flat_map(|step| step.captures.iter().map(|(name, _)| name.as_str())));
        for (step, always) in self
            .steps
            .iter()
            .map(|step| (step, false))
            .chain(self.always.iter().map(|step| (step, true)))
        {
            let known_then = if always { &later } else { &known };
            if let Some(name) = step
                .names()
                .into_iter()
                .find(|name| !known_then.contains(name))
            {
                let (flow, step) = (&self.name, &step.name);
                let message = format!(
                    "step `{step}` of flow `{flow}` needs `{{{{{name}}}}}`, which no step before it captures"
                );
                let names: Vec<&str> = known_then.iter().copied().collect();
                return Err(Error::new(ErrorKind::InvalidInput, message)
                    .with_hint(format!("known there: {}", names.join(", "))));
            }
            for source in step
                .checks
                .iter()
                .map(|(source, _)| source)
                .chain(step.captures.iter().map(|(_, source)| source))
            {
                if let Source::Json(path) = source {
                    run::parsed(path).map_err(|error| {
                        error
                            .with_context("flow", &self.name)
                            .with_context("step", &step.name)
                    })?;
                }
            }
            known.extend(step.captures.iter().map(|(name, _)| name.as_str()));
        }
        Ok(())
    }
}

#[async_trait]
impl Validator for Flow {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let run = cx.bounded(&self.name, self.run(cx)).await??;
        Ok(match run.steps {
            0 => Verdict::Inconclusive("no step of the flow runs at this release".to_owned()),
            _ => Verdict::from_findings(run.findings),
        })
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.steps.iter().map(|step| step.name.as_str()).collect();
        f.debug_struct("Flow")
            .field("name", &self.name)
            .field("steps", &names)
            .finish_non_exhaustive()
    }
}
