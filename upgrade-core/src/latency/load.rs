//! Requests at a fixed rate, whether answers come or not.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::outcomes::{Outcome, clients, send};
use super::random::Random;
use super::requests::Requests;
use super::times::{Times, measure};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::http::{Client, ClientOptions, Request};
use crate::side::Side;
use crate::statistics::fisher;
use crate::validator::{Validator, Verdict};

/// The number of requests below which nothing is judged.
const TOO_FEW: u32 = 100;
/// How likely a false finding may be.
const ALPHA: f64 = 0.005;
/// The part of the requests that the baseline may shed or fail, so that the rate is one that it bears.
const BORNE: f64 = 0.1;

/// Sends requests at a fixed rate to one side after the other, and finds out whether the candidate bears the load
/// that the baseline bears.
///
/// When a request is to be sent is planned beforehand and does not depend on answers, as with independent users.
/// Times count from the planned moment: a service that stalls for a second makes all requests of that second
/// late, also those that could not be sent. The requests are sent in turn, each side sees the same ones.
///
/// - **Pass:** the candidate sheds no more requests than the baseline, and answers no more errors.
/// - **Fail:** it sheds requests (`latency/sheds-load`), which is a status of 429 or 503, or more requests without
///   an answer than may be [in flight](Self::with_most_in_flight) until the time is over; or it answers more
///   errors (`latency/errors`).
/// - **Inconclusive:** the baseline does not bear the rate either, this process could not send at that rate, or
///   there were fewer than 100 requests.
///
/// Percentiles, answers in a second, errors and shed requests are reported as measurements. How long answers take
/// decides nothing here: [`Latency`](super::Latency) judges that.
///
/// ```
/// use std::time::Duration;
/// use upgrade_core::http::Request;
/// use upgrade_core::latency::Load;
///
/// let load = Load::new("orders bear 200 requests a second", "api", 200.0, [Request::get("/orders")])
///     .during(Duration::from_secs(20));
/// ```
#[derive(Debug, Clone)]
pub struct Load {
    name: String,
    endpoint: String,
    requests: Requests,
    per_second: f64,
    time: Duration,
    in_flight: usize,
    late: Duration,
    client: ClientOptions,
}

impl Load {
    /// Requests to an endpoint, and how many of them are sent in a second, in turn. They are sent for 10 s.
    pub fn new(
        name: impl Into<String>,
        endpoint: impl Into<String>,
        per_second: f64,
        requests: impl IntoIterator<Item = Request>,
    ) -> Self {
        let mut all = Requests::default();
        all.extend(requests);
        Self {
            name: name.into(),
            endpoint: endpoint.into(),
            requests: all,
            per_second,
            time: Duration::from_secs(10),
            in_flight: 256,
            late: Duration::from_millis(20),
            client: ClientOptions::default(),
        }
    }

    /// Adds a request of a named class that differs in every round of all requests, whose number the function is
    /// given.
    #[must_use]
    pub fn generated(
        mut self,
        class: impl Into<String>,
        generate: impl Fn(u64) -> Request + Send + Sync + 'static,
    ) -> Self {
        self.requests.push_generated(class, generate);
        self
    }

    /// How long each side is sent requests. Default: 10 s.
    #[must_use]
    pub fn during(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// How many requests may be without an answer at once; more wait, and their time goes on. Default: 256.
    #[must_use]
    pub fn with_most_in_flight(mut self, requests: usize) -> Self {
        self.in_flight = requests;
        self
    }

    /// How late this process may send one request in twenty; a machine on which more of them are late is too busy
    /// for a verdict. Default: 20 ms.
    #[must_use]
    pub fn with_most_late(mut self, late: Duration) -> Self {
        self.late = late;
        self
    }

    /// How long an answer may take, and how large it may be. What exceeds either is an error.
    #[must_use]
    pub fn with_client(mut self, options: ClientOptions) -> Self {
        self.client = options;
        self
    }

    fn validate_options(&self) -> Result<()> {
        self.requests.validate(&self.name)?;
        let invalid = |problem: &str| {
            let message = format!("the load `{}` {problem}", self.name);
            Err(Error::new(ErrorKind::InvalidInput, message))
        };
        if !(self.per_second > 0.0 && self.per_second.is_finite()) {
            return invalid("needs a rate of more than 0");
        }
        if self.per_second * self.time.as_secs_f64() > f64::from(u32::MAX) {
            return invalid("has more requests than can be counted");
        }
        if self.in_flight == 0 {
            return invalid("lets no request be in flight");
        }
        Ok(())
    }

    /// Sends all requests to a side.
    async fn load(&self, cx: &UpgradeContext, side: Side, client: &Client) -> Result<Seen> {
        // The connection of the first request is no part of its time.
        for place in 0..self.requests.len() {
            send(cx, side, client, &self.requests.at(place, 0)).await?;
        }
        let mut seen = Seen {
            planned: (self.per_second * self.time.as_secs_f64()) as u32,
            ..Seen::default()
        };
        let began = Instant::now();
        let end = began + self.time;
        let mut in_flight = JoinSet::new();
        // When a place among those in flight became free.
        let mut free = began;
        'planned: for number in 0..seen.planned {
            let planned = began + Duration::from_secs_f64(f64::from(number) / self.per_second);
            while in_flight.len() >= self.in_flight {
                match timeout_at(end, in_flight.join_next()).await {
                    Ok(Some(done)) => seen.add(done)?,
                    Ok(None) => {}
                    Err(_) => {
                        seen.unsent = seen.planned - number;
                        break 'planned;
                    }
                }
                free = Instant::now();
            }
            sleep_until(planned).await;
            seen.late.push(planned.max(free).elapsed());
            while let Some(done) = in_flight.try_join_next() {
                seen.add(done)?;
            }
            let place = number as usize % self.requests.len();
            let round = u64::from(number) / self.requests.len() as u64 + 1;
            let request = self.requests.at(place, round);
            let (cx, client) = (cx.clone(), client.clone());
            in_flight.spawn(async move {
                let (outcome, text) = send(&cx, side, &client, &request).await?;
                let text = format!("`{} {}`: {text}", request.method, request.path());
                Ok(Sent {
                    place,
                    time: planned.elapsed(),
                    outcome,
                    text,
                })
            });
        }
        while let Some(done) = in_flight.join_next().await {
            seen.add(done)?;
        }
        seen.elapsed = began.elapsed();
        Ok(seen)
    }

    fn report(&self, cx: &UpgradeContext, sides: &BTreeMap<Side, Seen>) {
        let mut classes: BTreeMap<&str, Times> = BTreeMap::new();
        for (side, seen) in sides {
            for (place, time) in &seen.times {
                let times = classes.entry(self.requests.class(*place)).or_default();
                times.record(*side, *time);
            }
        }
        for (class, times) in &classes {
            times.report(cx, class);
        }
        let all = |metric, unit, figure: fn(&Seen) -> f64| {
            measure(cx, &self.name, metric, unit, |side| {
                sides.get(&side).map(figure)
            });
        };
        all("throughput", "1/s", |seen| {
            seen.times.len() as f64 / seen.elapsed.as_secs_f64().max(1e-9)
        });
        all("shed", "requests", |seen| f64::from(seen.shed()));
        all("errors", "answers", |seen| f64::from(seen.errors));
        all("sent late, p95", "ms", |seen| {
            seen.late().as_secs_f64() * 1e3
        });
    }
}

#[async_trait]
impl Validator for Load {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        self.validate_options()?;
        let clients = clients(cx, &self.endpoint)?;
        let mut sides = BTreeMap::new();
        for side in Random::new(cx.seed()).sides() {
            let client = clients[&side].clone().with_options(self.client);
            let load = Box::pin(self.load(cx, side, &client));
            sides.insert(side, cx.bounded(&self.name, load).await??);
        }
        self.report(cx, &sides);
        Ok(judge(cx, &self.name, self.late, &sides))
    }
}

/// A request that was sent, and how long after its planned moment the answer was complete.
struct Sent {
    place: usize,
    time: Duration,
    outcome: Outcome,
    text: String,
}

/// What a side did.
#[derive(Debug, Clone, Default)]
struct Seen {
    planned: u32,
    /// Requests that could not be sent before the time was over.
    unsent: u32,
    /// Answers of a status that sheds load.
    refused: u32,
    /// Other answers that are errors.
    errors: u32,
    /// The first error and the first shed request.
    examples: [Option<String>; 2],
    /// By place, of proper answers.
    times: Vec<(usize, Duration)>,
    /// How long after the planned moment requests were sent, without the time in which none could be.
    late: Vec<Duration>,
    elapsed: Duration,
}

impl Seen {
    fn add(&mut self, done: Result<Result<Sent>, JoinError>) -> Result<()> {
        let sent = done.map_err(|source| {
            let message = "a request of a load ended without an outcome";
            Error::new(ErrorKind::Internal, message).with_source(source)
        })??;
        match sent.outcome {
            Outcome::Refused(_, 429) | Outcome::Failed(503) => {
                self.refused += 1;
                self.examples[1].get_or_insert(sent.text);
            }
            Outcome::Failed(_) | Outcome::Broken => {
                self.errors += 1;
                self.examples[0].get_or_insert(sent.text);
            }
            Outcome::Done(_) | Outcome::Refused(..) => self.times.push((sent.place, sent.time)),
        }
        Ok(())
    }

    fn shed(&self) -> u32 {
        self.refused + self.unsent
    }

    /// How late one request in twenty was sent, or later.
    fn late(&self) -> Duration {
        let mut late = self.late.clone();
        late.sort_unstable();
        late.get(late.len() * 19 / 20).copied().unwrap_or_default()
    }
}

fn judge(cx: &UpgradeContext, name: &str, late: Duration, sides: &BTreeMap<Side, Seen>) -> Verdict {
    let [baseline, secondary, candidate] = Side::ALL.map(|side| &sides[&side]);
    let all = baseline.planned;
    if all < TOO_FEW {
        let reason = format!("{all} requests are too few to judge, and {TOO_FEW} are needed");
        return Verdict::Inconclusive(reason);
    }
    if let Some((side, seen)) = sides.iter().find(|(_, seen)| seen.late() > late) {
        return Verdict::Inconclusive(format!(
            "the load could not be sent at its rate: one request in twenty to the {side} was sent {:.0?} late or more, because this machine is too busy",
            seen.late(),
        ));
    }
    let of_baseline = baseline.shed() + baseline.errors;
    if f64::from(of_baseline) > f64::from(all) * BORNE {
        return Verdict::Inconclusive(format!(
            "the baseline does not bear the rate: it shed or failed {of_baseline} of {all} requests (a lower rate can be judged)"
        ));
    }
    let more = |of: fn(&Seen) -> u32| {
        let count = of(candidate);
        let beyond = |side| fisher((of(side), all), (count, all)) < ALPHA;
        (beyond(baseline) && beyond(secondary)).then_some((count, of(baseline), of(secondary)))
    };
    let mut findings = Vec::new();
    for (at, (id, does, of)) in [
        (
            "latency/errors",
            "answers errors to",
            (|seen| seen.errors) as fn(&Seen) -> u32,
        ),
        ("latency/sheds-load", "sheds", Seen::shed),
    ]
    .into_iter()
    .enumerate()
    {
        if let Some((count, before, again)) = more(of) {
            let example = candidate.examples[at].as_ref();
            let example = example.map_or_else(String::new, |text| format!("; the first is {text}"));
            let message = format!(
                "{does} {count} of {all} requests; the counts of the two baselines at the same rate are {before} and {again}{example}"
            );
            findings.push(Finding::error(id, name, cx.redact(&message)));
        }
    }
    Verdict::from_findings(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(shed: u32, errors: u32) -> Seen {
        Seen {
            planned: 1000,
            unsent: shed,
            errors,
            ..Seen::default()
        }
    }

    fn judged(sides: [Seen; 3]) -> Verdict {
        let sides = Side::ALL.into_iter().zip(sides).collect();
        let late = Duration::from_millis(20);
        judge(&UpgradeContext::new("1", "2"), "orders", late, &sides)
    }

    #[test]
    fn a_candidate_fails_where_both_baselines_do_not() {
        let ids = |sides: [Seen; 3]| match judged(sides) {
            Verdict::Fail(findings) => findings.into_iter().map(|it| it.id).collect(),
            verdict => vec![format!("{verdict:?}")],
        };
        let none = || seen(0, 0);
        assert_eq!(ids([none(), none(), none()]), ["Pass"]);
        assert_eq!(ids([none(), none(), seen(3, 3)]), ["Pass"]);
        assert_eq!(ids([none(), none(), seen(0, 30)]), ["latency/errors"]);
        assert_eq!(
            ids([seen(0, 9), none(), seen(30, 10)]),
            ["latency/sheds-load"]
        );
        assert_eq!(
            ids([none(), none(), seen(30, 30)]),
            ["latency/errors", "latency/sheds-load"]
        );
        assert_eq!(ids([none(), seen(30, 0), seen(30, 0)]), ["Pass"]);
    }

    #[test]
    fn what_cannot_be_judged_is_inconclusive() {
        let late = Seen {
            late: vec![Duration::from_millis(100); 1000],
            ..seen(0, 0)
        };
        let few = Seen {
            planned: 99,
            ..seen(0, 0)
        };
        for (sides, reason) in [
            (
                [seen(0, 0), seen(0, 0), late.clone()],
                "could not be sent at its rate",
            ),
            (
                [seen(200, 0), seen(0, 0), seen(900, 0)],
                "the baseline does not bear the rate",
            ),
            ([few.clone(), few.clone(), few], "too few"),
        ] {
            let verdict = judged(sides);
            assert!(
                matches!(&verdict, Verdict::Inconclusive(text) if text.contains(reason)),
                "{verdict:?}"
            );
        }
    }
}
