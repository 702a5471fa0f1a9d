//! A metric that must stay within a bound.

mod answer;
mod client;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use self::answer::{Answer, Sample};
use self::client::{Client, Problem};
use super::{Validator, Verdict};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::secret::Secret;

/// How long a query may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many of the series outside of the bound stand in the evidence of a finding.
const SHOWN: usize = 10;

/// A validator from a query to a Prometheus server, or to one with the same API, whose result must stay
/// within a bound.
///
/// It needs exactly one bound, [`at_most`](Self::at_most) or [`at_least`](Self::at_least). The query
/// returns a number or an instant vector; each series of the vector must hold.
///
/// - **Pass:** there is at least one series, and all are within the bound.
/// - **Fail:** a series is outside of the bound. The finding `validator/metric-out-of-bounds` names the
///   labels of the worst.
/// - **Inconclusive:** there is no series, as for a metric that is unknown or no longer scraped; a value
///   is no finite number, as for `0 / 0` without requests; [`over_samples`](Self::over_samples) counts
///   too few; or the server warns that its answer may be incomplete.
///
/// It connects to the server directly: neither endpoints of the system nor proxy settings of the
/// machine count. With `https` it trusts the certificates of the machine (`SSL_CERT_FILE` names others).
/// An answer of more than 1 MiB and a redirect are errors, and so is a query without an answer within
/// 30 s or at the deadline of the context.
///
/// Prometheus returns the last sample of a metric for up to five minutes. To learn earlier that samples
/// stop, ask for a rate or an increase over a short range.
///
/// ```
/// use upgrade_core::Secret;
/// use upgrade_core::validator::PrometheusQuery;
///
/// let few_fail = PrometheusQuery::new(
///     "few requests fail",
///     "https://prometheus.example.org",
///     r#"sum(rate(http_requests_total{status=~"5.."}[1m])) / sum(rate(http_requests_total[1m]))"#,
/// )
/// .at_most(0.01)
/// // Without requests nothing can be judged.
/// .over_samples("sum(increase(http_requests_total[1m]))", 20.0)
/// .with_bearer(Secret::new("the token"));
/// ```
#[derive(Debug, Clone)]
pub struct PrometheusQuery {
    name: String,
    base_url: Secret,
    promql: String,
    at_most: Option<f64>,
    at_least: Option<f64>,
    samples: Option<(String, f64)>,
    bearer: Option<Secret>,
}

impl PrometheusQuery {
    /// What must hold, the address of the server, and the query in PromQL. The address is an `http` or
    /// `https` URL without user and query; it may have a path, behind which `/api/v1/query` follows.
    pub fn new(
        name: impl Into<String>,
        base_url: impl Into<String>,
        promql: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            base_url: Secret::new(base_url),
            promql: promql.into(),
            at_most: None,
            at_least: None,
            samples: None,
            bearer: None,
        }
    }

    /// Each series must be this or less.
    #[must_use]
    pub fn at_most(mut self, bound: f64) -> Self {
        self.at_most = Some(bound);
        self
    }

    /// Each series must be this or more.
    #[must_use]
    pub fn at_least(mut self, bound: f64) -> Self {
        self.at_least = Some(bound);
        self
    }

    /// A second query, which counts what the first is about, such as requests. If the sum of its series
    /// is less than `at_least`, which must be more than 0, the verdict is inconclusive.
    #[must_use]
    pub fn over_samples(mut self, promql: impl Into<String>, at_least: f64) -> Self {
        self.samples = Some((promql.into(), at_least));
        self
    }

    /// Sends a token with each query: `authorization: Bearer TOKEN`.
    #[must_use]
    pub fn with_bearer(mut self, token: Secret) -> Self {
        self.bearer = Some(token);
        self
    }

    fn bound(&self) -> Result<Bound> {
        let bound = match (self.at_most, self.at_least) {
            (Some(most), None) => Bound::AtMost(most),
            (None, Some(least)) => Bound::AtLeast(least),
            (None, None) => {
                let hint = "add `.at_most(..)` or `.at_least(..)`";
                return Err(self.invalid("has no bound").with_hint(hint));
            }
            (Some(_), Some(_)) => {
                let hint = "a second `PrometheusQuery` can have the other bound";
                return Err(self.invalid("has two bounds").with_hint(hint));
            }
        };
        if !bound.value().is_finite() {
            return Err(self.invalid("has a bound that is no finite number"));
        }
        if let Some((_, least)) = &self.samples
            && !(least.is_finite() && *least > 0.0)
        {
            return Err(self.invalid("needs a number of samples that is not above 0"));
        }
        Ok(bound)
    }

    fn invalid(&self, problem: &str) -> Error {
        let message = format!("metric `{}` {problem}", self.name);
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// Evaluates one query.
    async fn ask(&self, cx: &UpgradeContext, client: &Client, promql: &str) -> Result<Answer> {
        let failed = |problem: Problem| {
            let (kind, hint) = (problem.kind(), problem.hint());
            let message = format!("metric `{}` could not be evaluated", self.name);
            let error = Error::new(kind, message).with_source(problem.redacted(cx));
            let error = match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            };
            located(error, client, promql)
        };
        let waited = async {
            match tokio::time::timeout(PATIENCE, client.query(promql)).await {
                Ok(answer) => answer,
                Err(_) => Err(Problem::Slow(PATIENCE)),
            }
        };
        let body = cx.bounded(&self.name, waited).await;
        let body = body.map_err(|error| located(error, client, promql))?;
        body.and_then(|body| Answer::read(&body)).map_err(failed)
    }

    /// Why there is too little to judge, if there is.
    async fn too_few(&self, cx: &UpgradeContext, client: &Client) -> Result<Option<String>> {
        let Some((promql, least)) = &self.samples else {
            return Ok(None);
        };
        let answer = self.ask(cx, client, promql).await?;
        if answer.samples.is_empty() {
            return Ok(Some(format!("`{promql}` has no data")));
        }
        let sum: f64 = answer.samples.iter().map(|sample| sample.value).sum();
        // Not `sum < least`: a sum that is no number is too few.
        let enough = sum.is_finite() && sum >= *least;
        Ok((!enough).then(|| format!("`{promql}` is {sum}, and at least {least} is needed")))
    }
}

fn located(error: Error, client: &Client, promql: &str) -> Error {
    error
        .with_context("query", promql)
        .with_context("host", client.host())
}

#[async_trait]
impl Validator for PrometheusQuery {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        if let Some(bearer) = &self.bearer {
            cx.conceal(bearer);
        }
        let bound = self.bound()?;
        let client = Client::new(&self.base_url, self.bearer.as_ref())
            .map_err(|problem| self.invalid(problem))?;
        if let Some(reason) = self.too_few(cx, &client).await? {
            return Ok(Verdict::Inconclusive(reason));
        }
        let answer = self.ask(cx, &client, &self.promql).await?;
        Ok(judge(&self.name, bound, answer))
    }
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn value(self) -> f64 {
        match self {
            Self::AtMost(value) | Self::AtLeast(value) => value,
        }
    }

    /// How far a value is outside; 0 or less where it is within.
    fn excess(self, value: f64) -> f64 {
        match self {
            Self::AtMost(most) => value - most,
            Self::AtLeast(least) => least - value,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(value) => write!(f, "at most {value}"),
            Self::AtLeast(value) => write!(f, "at least {value}"),
        }
    }
}

fn judge(name: &str, bound: Bound, answer: Answer) -> Verdict {
    let Answer { samples, warning } = answer;
    let (finite, other): (Vec<_>, Vec<_>) =
        samples.iter().partition(|sample| sample.value.is_finite());
    let mut outside: Vec<&Sample> = finite
        .into_iter()
        .filter(|sample| bound.excess(sample.value) > 0.0)
        .collect();
    outside.sort_by(|one, other| {
        let by_excess = bound
            .excess(other.value)
            .total_cmp(&bound.excess(one.value));
        by_excess.then_with(|| one.labels.cmp(&other.labels))
    });
    if let [worst, rest @ ..] = &outside[..] {
        let more = match rest.len() {
            0 => String::new(),
            1 => ", as is 1 other series".to_owned(),
            count => format!(", as are {count} other series"),
        };
        let message = format!("it must be {bound}, and {worst} is outside of that{more}");
        let mut lines: Vec<String> = outside
            .iter()
            .take(SHOWN)
            .map(ToString::to_string)
            .collect();
        if outside.len() > SHOWN {
            lines.push("...".to_owned());
        }
        let finding = Finding::error("validator/metric-out-of-bounds", name, message)
            .with_evidence(lines.join("\n"));
        return Verdict::Fail(vec![finding]);
    }
    match (&samples[..], &other[..], warning) {
        ([], ..) => Verdict::Inconclusive("the query has no data".to_owned()),
        (_, [sample, ..], _) => Verdict::Inconclusive(format!("{sample} is no finite number")),
        (_, [], Some(warning)) => {
            Verdict::Inconclusive(format!("the answer may be incomplete: {warning}"))
        }
        (_, [], None) => Verdict::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(bound: Bound, values: &[f64]) -> Verdict {
        let samples = values.iter().enumerate().map(|(at, value)| Sample {
            labels: format!("{{at=\"{at}\"}}"),
            value: *value,
        });
        let answer = Answer {
            samples: samples.collect(),
            warning: None,
        };
        judge("x", bound, answer)
    }

    #[test]
    fn every_series_must_hold_and_the_worst_is_named() {
        use Bound::{AtLeast, AtMost};
        for (bound, values) in [
            (AtMost(1.0), &[1.0, -5.0][..]),
            (AtLeast(1.0), &[1.0, 7.0]),
            (AtMost(-0.0), &[0.0]),
        ] {
            assert_eq!(judged(bound, values), Verdict::Pass, "{bound} {values:?}");
        }
        for (bound, values, message) in [
            (
                AtMost(1.0),
                &[0.0, 1.5, 2.5, 2.0][..],
                r#"it must be at most 1, and {at="2"} = 2.5 is outside of that, as are 2 other series"#,
            ),
            (
                AtLeast(0.5),
                &[0.25, f64::NAN],
                r#"it must be at least 0.5, and {at="0"} = 0.25 is outside of that"#,
            ),
        ] {
            let Verdict::Fail(findings) = judged(bound, values) else {
                panic!("{bound} holds for {values:?}");
            };
            assert_eq!(findings[0].message, message);
        }
    }

    #[test]
    fn what_is_no_finite_number_never_passes() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for bound in [Bound::AtMost(1.0), Bound::AtLeast(-1.0)] {
                for values in [&[value][..], &[0.0, value], &[value, 0.0]] {
                    let verdict = judged(bound, values);
                    assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict:?}");
                }
            }
        }
        let verdict = judged(Bound::AtMost(1.0), &[]);
        assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict:?}");
    }

    #[test]
    fn the_evidence_is_short() {
        let Verdict::Fail(findings) = judged(Bound::AtMost(0.0), &[1.0; 50]) else {
            panic!("it holds");
        };
        let evidence = findings[0].evidence.as_deref().unwrap();
        assert_eq!(evidence.lines().count(), SHOWN + 1);
        assert!(evidence.ends_with("\n..."), "{evidence}");
    }
}
