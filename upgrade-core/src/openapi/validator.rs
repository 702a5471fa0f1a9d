//! The description of two releases side by side, and what they answer.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{CompareOptions, Contract, Description, compare, judge_wire, requests_of};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::flow::Flow;
use crate::http::{Answer, Client, Exchange, Request};
use crate::side::Side;
use crate::validator::{Validator, Verdict};

/// Where a service describes itself where nothing else is said.
const SERVED_AT: &str = "/openapi.json";
/// How many requests are generated where nothing else is said.
const GENERATED: usize = 50;

/// Compares how two releases describe their interface, and judges by both descriptions what they answer.
///
/// A comparison, for [`Upgrade::with_comparison`]. Each side is asked for its description. Requests are generated
/// from that of the previous release, of which those that only read are sent; [flows](Self::with_flow) add real
/// ones, those that write among them.
///
/// - **Fail:** the findings of [`compare`] and of [`judge_wire`].
/// - **Inconclusive:** the previous release serves no description.
///
/// ```
/// use upgrade_core::openapi::OpenApi;
///
/// let api = OpenApi::new("api").served_at("/v1/openapi.json");
/// ```
///
/// [`Upgrade::with_comparison`]: crate::Upgrade::with_comparison
#[derive(Debug, Clone)]
pub struct OpenApi {
    name: String,
    endpoint: String,
    path: String,
    described: Option<(Description, Description)>,
    flows: Vec<Flow>,
    generated: usize,
    options: CompareOptions,
}

impl OpenApi {
    /// The interface of the service of an endpoint, which describes itself at `/openapi.json`.
    pub fn new(endpoint: impl Into<String>) -> Self {
        let endpoint = endpoint.into();
        Self {
            name: format!("old clients can go on with `{endpoint}`"),
            endpoint,
            path: SERVED_AT.to_owned(),
            described: None,
            flows: Vec::new(),
            generated: GENERATED,
            options: CompareOptions::new(),
        }
    }

    /// Says at which path each release serves its description.
    #[must_use]
    pub fn served_at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Takes the descriptions of both releases from elsewhere, such as files.
    #[must_use]
    pub fn described(mut self, old: Description, new: Description) -> Self {
        self.described = Some((old, new));
        self
    }

    /// Judges by both descriptions also what the requests of a flow are answered with.
    #[must_use]
    pub fn with_flow(mut self, flow: Flow) -> Self {
        self.flows.push(flow);
        self
    }

    /// Sets how many requests are generated. Default: 50.
    #[must_use]
    pub fn with_generated(mut self, count: usize) -> Self {
        self.generated = count;
        self
    }

    /// Sets how disputed changes count.
    #[must_use]
    pub fn with_options(mut self, options: CompareOptions) -> Self {
        self.options = options;
        self
    }

    /// The descriptions of both; the reason where the previous release has none.
    async fn descriptions(
        &self,
        cx: &UpgradeContext,
    ) -> Result<std::result::Result<(Description, Description), Verdict>> {
        if let Some(described) = &self.described {
            return Ok(Ok(described.clone()));
        }
        let old = match self.served(cx, Side::Baseline).await? {
            Ok(old) => old,
            Err(why) => {
                let reason = format!("the previous release serves no description: {why:#}");
                return Ok(Err(Verdict::Inconclusive(reason)));
            }
        };
        match self.served(cx, Side::Candidate).await? {
            Ok(new) => Ok(Ok((old, new))),
            Err(why) => {
                let message = format!("the release no longer describes its interface: {why:#}");
                let finding = Finding::error("api/description-missing", &self.path, message);
                Ok(Err(Verdict::Fail(vec![finding])))
            }
        }
    }

    /// The description that a side serves; why there is none.
    async fn served(
        &self,
        cx: &UpgradeContext,
        side: Side,
    ) -> Result<std::result::Result<Description, Error>> {
        let cx = cx.at_side(side)?;
        let client = Client::new(cx.endpoint(&self.endpoint)?)?;
        let request = Request::get(self.path.as_str());
        let none = |what: String| {
            let message = format!("`{request}` is answered with {what}");
            Ok(Err(Error::new(ErrorKind::InvalidInput, message)))
        };
        match client.send(&cx, &request).await? {
            Answer::Complete(response) if response.is_success() => {
                Ok(Description::read(&self.path, &response.text()))
            }
            Answer::Complete(response) => none(format!("status {}", response.status)),
            Answer::Broken(broken) => none(broken.to_string()),
        }
    }

    /// What one side answers to requests that only read.
    async fn exchanges(
        &self,
        cx: &UpgradeContext,
        side: Side,
        requests: &[Request],
    ) -> Result<Vec<Exchange>> {
        let cx = cx.at_side(side)?;
        let client = Client::new(cx.endpoint(&self.endpoint)?)?;
        let mut exchanges = Vec::new();
        for request in requests {
            let answer = client.send(&cx, request).await?;
            let request = request.clone();
            exchanges.push(Exchange { request, answer });
        }
        Ok(exchanges)
    }

    async fn judge(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let (old, new) = match self.descriptions(cx).await? {
            Ok(described) => described,
            Err(verdict) => return Ok(verdict),
        };
        let mut findings = compare(&old, &new, &self.options);
        let requests: Vec<Request> = requests_of(&old, cx.seed(), 4 * self.generated)
            .into_iter()
            .filter(Request::is_safe)
            .take(self.generated)
            .collect();
        let mut before = self.exchanges(cx, Side::Baseline, &requests).await?;
        let mut after = self.exchanges(cx, Side::Candidate, &requests).await?;
        for flow in &self.flows {
            let [baseline, _, candidate] = Box::pin(flow.compare().with_runs(2).run(cx)).await?;
            before.extend(baseline.exchanges);
            after.extend(candidate.exchanges);
        }
        if before.is_empty() && self.described.is_none() {
            let reason = "the description of the previous release has no request that only reads";
            return Ok(Verdict::Inconclusive(reason.to_owned()));
        }
        let (old, new) = (Contract::new(&old), Contract::new(&new));
        findings.extend(judge_wire(&old, &new, &before, &after));
        let mut known = BTreeSet::new();
        findings.retain(|finding| {
            let key = (
                finding.id.clone(),
                finding.subject.to_string(),
                finding.message.clone(),
            );
            known.insert(key)
        });
        Ok(match findings.is_empty() {
            true => Verdict::Pass,
            false => Verdict::Fail(findings),
        })
    }
}

#[async_trait]
impl Validator for OpenApi {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        cx.bounded(&self.name, self.judge(cx)).await?
    }
}
