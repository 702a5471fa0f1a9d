//! One user's requests, sent to every side in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::options::LatencyOptions;
use super::outcomes::clients;
use super::requests::Requests;
use super::run::Run;
use super::verdict::{report, verdict};
use crate::context::UpgradeContext;
use crate::error::Result;
use crate::http::{Client, ClientOptions, Request};
use crate::side::Side;
use crate::validator::{Validator, Verdict};

/// The part of the time until the deadline that measuring may take.
const OF_REMAINING: f64 = 0.9;

/// Compares how long the candidate takes to answer with how long the baseline takes, which runs beside it.
///
/// The same requests are sent to all sides, each to one side after the other in a random order that the seed
/// decides, by one user who waits for every answer. Requests that write are allowed: each side has a copy of the
/// data, and all see the same sequence. Each class of requests is judged alone: those of one method and path, or
/// of one [name](Self::request). Where some requests take clearly longer than the others, the heaviest three in
/// a hundred form a class of their kind, `the heaviest requests`: that is how a slower tail is found also on a
/// machine whose stalls hide it. 95th and 99th percentiles are reported as measurements and decide nothing.
///
/// - **Pass:** no class is slower than [`pass_below`](LatencyOptions::pass_below), and no errors were added.
/// - **Fail:** a class is slower than [`fail_above`](LatencyOptions::fail_above) (`latency/slower`), or the
///   candidate answers errors where the baseline does not (`latency/errors`).
/// - **Inconclusive:** neither could be shown within the [cap](LatencyOptions::cap), there were too few answers,
///   or the machine is too noisy: the baseline differs from itself, or even a large slowdown would not be seen.
///   The reason names the least slowdown that would have been seen, which is also measured with a pass.
///
/// It measures once. Processes of one program differ from start to start, so that a failure counts where it
/// repeats on systems that were started anew, as the runner does.
///
/// ```
/// use upgrade_core::http::Request;
/// use upgrade_core::latency::Latency;
///
/// let orders = Latency::new("orders are read as fast", "api", [Request::get("/orders?page=1")])
///     .request("GET /orders/{id}", Request::get("/orders/1"))
///     .request("GET /orders/{id}", Request::get("/orders/2"))
///     .generated("POST /orders", |round| {
///         Request::post("/orders").with_body(format!("order {round}"))
///     });
/// ```
#[derive(Debug, Clone)]
pub struct Latency {
    name: String,
    endpoint: String,
    requests: Requests,
    options: LatencyOptions,
    client: ClientOptions,
}

impl Latency {
    /// A comparison of requests to an endpoint. Those of one method and path are one class; the query does not
    /// count.
    pub fn new(
        name: impl Into<String>,
        endpoint: impl Into<String>,
        requests: impl IntoIterator<Item = Request>,
    ) -> Self {
        let mut all = Requests::default();
        all.extend(requests);
        Self {
            name: name.into(),
            endpoint: endpoint.into(),
            requests: all,
            options: LatencyOptions::default(),
            client: ClientOptions::default(),
        }
    }

    /// Adds a request of a named class, such as `GET /orders/{id}`.
    #[must_use]
    pub fn request(mut self, class: impl Into<String>, request: Request) -> Self {
        self.requests.push(class, request);
        self
    }

    /// Adds a request of a named class that differs in every round: the function is given the number of the
    /// round, from 0 on in every run and the same for all sides.
    #[must_use]
    pub fn generated(
        mut self,
        class: impl Into<String>,
        generate: impl Fn(u64) -> Request + Send + Sync + 'static,
    ) -> Self {
        self.requests.push_generated(class, generate);
        self
    }

    /// Other bounds and times.
    #[must_use]
    pub fn with_options(mut self, options: LatencyOptions) -> Self {
        self.options = options;
        self
    }

    /// The slowdowns that a failure shows and that a pass rules out, as parts of the time of the baseline:
    /// [`LatencyOptions::fail_above`] and [`LatencyOptions::pass_below`].
    #[must_use]
    pub fn with_margin(mut self, fail_above: f64, pass_below: f64) -> Self {
        self.options.fail_above = fail_above;
        self.options.pass_below = pass_below;
        self
    }

    /// How long measuring may take: [`LatencyOptions::cap`]. A smaller
    /// [`min_time`](LatencyOptions::min_time) follows it.
    #[must_use]
    pub fn with_cap(mut self, cap: Duration) -> Self {
        self.options.cap = cap;
        self.options.min_time = self.options.min_time.min(cap);
        self
    }

    /// How long all sides are warmed up: [`LatencyOptions::warm_up`].
    #[must_use]
    pub fn with_warm_up(mut self, warm_up: Duration) -> Self {
        self.options.warm_up = warm_up;
        self
    }

    /// How long an answer may take, and how large it may be. What exceeds either is an error of the side.
    #[must_use]
    pub fn with_client(mut self, options: ClientOptions) -> Self {
        self.client = options;
        self
    }
}

#[async_trait]
impl Validator for Latency {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        self.options.validate()?;
        self.requests.validate(&self.name)?;
        let clients: BTreeMap<Side, Client> = clients(cx, &self.endpoint)?
            .into_iter()
            .map(|(side, client)| (side, client.with_options(self.client)))
            .collect();
        let options = &self.options;
        let time = options.warm_up + options.cap;
        let time = match cx.remaining() {
            Some(remaining) => time.min(remaining.mul_f64(OF_REMAINING)),
            None => time,
        };
        let mut run = Run::new(cx, &self.requests, clients, time);
        let warm = run.warm_up(options.warm_up).await?;
        let classes = run.measure(options, &warm).await?;
        report(cx, &self.name, &run.errors, &classes);
        Ok(verdict(cx, &self.name, options, &run.errors, &classes))
    }
}
