//! One run of a flow: its steps in order, each with its checks and captures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use serde_json_path::JsonPath;
use tokio::time::{Instant, sleep};

use super::Flow;
use super::check::Check;
use super::step::{Act, Body, RunsAt, Source, Step};
use super::template::{Values, fill, fill_in, text_of};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::http::{Answer, Client, Exchange, Request, Response};
use crate::secret::Secret;

/// How long it is waited between two tries of a step.
const PAUSE: Duration = Duration::from_millis(50);
/// Parts of names of values that are secrets.
const SECRET: [&str; 4] = ["token", "secret", "password", "session"];

/// What came of one run of a [`Flow`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FlowRun {
    /// How many steps were taken.
    pub steps: usize,
    /// What did not hold.
    pub findings: Vec<Finding>,
    /// The last exchange of each request, with the name of its step.
    pub exchanges: Vec<(String, Exchange)>,
}

/// What a step observed.
enum Observed {
    Answer(Box<Response>),
    #[cfg(feature = "postgres")]
    Rows(Value),
    /// The lines that have the text.
    Lines(Vec<String>),
}

/// What one run knows.
struct Running<'f> {
    flow: &'f Flow,
    cx: &'f UpgradeContext,
    values: Values,
    clients: BTreeMap<String, Client>,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// How long each log was when the flow began.
    logs: BTreeMap<String, u64>,
    run: FlowRun,
}

pub(super) async fn run(flow: &Flow, cx: &UpgradeContext, values: Values) -> Result<FlowRun> {
    let mut running = Running {
        flow,
        cx,
        values,
        clients: BTreeMap::new(),
        cookies: BTreeMap::new(),
        logs: BTreeMap::new(),
        run: FlowRun::default(),
    };
    running.begin()?;
    let here = |step: &&Step| match step.runs_at {
        RunsAt::Any => true,
        RunsAt::Previous => !cx.is_upgraded(),
        RunsAt::New => cx.is_upgraded(),
    };
    let mut stopped = None;
    for step in flow.steps.iter().filter(here) {
        match running.take(step).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                stopped = Some(error.with_context("step", &step.name));
                break;
            }
        }
    }
    for step in flow.always.iter().filter(here) {
        let known = |name: &&str| running.values.contains_key(*name);
        if !step.names().iter().all(known) {
            continue;
        }
        // It is tried also where a service could not be reached before.
        if let Err(error) = running.take(step).await {
            stopped.get_or_insert(error.with_context("step", &step.name));
        }
    }
    match stopped {
        Some(error) => {
            let found = std::mem::take(&mut running.run.findings);
            found.into_iter().for_each(|finding| cx.notice(finding));
            Err(error.with_context("flow", &flow.name))
        }
        None => Ok(running.run),
    }
}

impl Running<'_> {
    fn begin(&mut self) -> Result<()> {
        for step in self.flow.steps.iter().chain(&self.flow.always) {
            if matches!(step.act, Act::Line { .. }) {
                let log = log_of(self.cx, &step.endpoint)?;
                let length = std::fs::metadata(&log).map_or(0, |file| file.len());
                self.logs.insert(step.endpoint.clone(), length);
            }
        }
        Ok(())
    }

    /// Takes one step, again and again where it may be; whether it held.
    async fn take(&mut self, step: &Step) -> Result<bool> {
        self.run.steps += 1;
        let until = step.within.map(|within| Instant::now() + within);
        loop {
            let why = match self.once(step).await {
                Ok(None) => return Ok(true),
                Ok(Some(finding)) => Ok(finding),
                // A service that starts just now may be there at the next try.
                Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
                Err(error) => return Err(error),
            };
            let again = step.may_repeat() && until.is_some_and(|until| Instant::now() < until);
            if !again {
                let mut finding = why?;
                if let Some(within) = step.within.filter(|_| step.may_repeat()) {
                    finding.message = format!("{} (tried for {within:?})", finding.message);
                }
                self.run.findings.push(finding);
                return Ok(false);
            }
            self.cx
                .bounded(&format!("step `{}`", step.name), sleep(PAUSE)) // poll
                .await?;
        }
    }

    /// Takes one step once; what did not hold.
    async fn once(&mut self, step: &Step) -> Result<Option<Finding>> {
        match &step.act {
            Act::Request { .. } => {
                let request = self.request(step);
                let client = self.client(&step.endpoint)?;
                let answer = client.send(self.cx, &request).await?;
                let exchange = Exchange { request, answer };
                self.run.exchanges.retain(|(name, _)| *name != step.name);
                self.run
                    .exchanges
                    .push((step.name.clone(), exchange.clone()));
                let evidence = self.evidence(&client, &exchange);
                match exchange.answer {
                    Answer::Complete(response) => {
                        self.keep_cookies(&step.endpoint, &response);
                        let observed = Observed::Answer(Box::new(response));
                        Ok(self.judge(step, &observed, evidence))
                    }
                    Answer::Broken(broken) => {
                        let message = format!("{}: {broken}", exchange.request);
                        let message = self.cx.redact(&message);
                        let subject = self.subject(step);
                        let finding = Finding::error("flow/no-answer", subject, message);
                        Ok(Some(finding.with_evidence(evidence)))
                    }
                }
            }
            #[cfg(feature = "postgres")]
            Act::Query { sql, parameters } => {
                let rows = self.query(step, sql, parameters).await?;
                let evidence = self.cx.redact(&format!("{sql}\n{rows}"));
                Ok(self.judge(step, &Observed::Rows(rows), evidence))
            }
            Act::Line { text } => {
                let text = fill(text, &self.values);
                let log = log_of(self.cx, &step.endpoint)?;
                let from = self.logs.get(&step.endpoint).copied().unwrap_or(0);
                let lines = lines_with(&log, from, &text).map_err(|source| {
                    let message = format!("the log `{}` cannot be read", step.endpoint);
                    Error::new(ErrorKind::Io, message).with_source(source)
                })?;
                let evidence = self.cx.redact(&format!("text: {text}"));
                Ok(self.judge(step, &Observed::Lines(lines), evidence))
            }
        }
    }

    fn subject(&self, step: &Step) -> String {
        format!("{}: {}", self.flow.name, step.name)
    }

    fn request(&self, step: &Step) -> Request {
        let Act::Request {
            method,
            target,
            headers,
            body,
        } = &step.act
        else {
            unreachable!("only requests are sent");
        };
        let mut request = Request::new(method, fill_target(target, &self.values));
        for (name, value) in headers.iter() {
            request = request.with_header(name, fill(value, &self.values));
        }
        request = match body {
            Some(Body::Json(body)) => request.with_json(&fill_in(body, &self.values)),
            Some(Body::Text(body)) => request.with_body(fill(body, &self.values)),
            Some(Body::Form(fields)) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| {
                        let value = fill(value, &self.values);
                        format!("{}={}", encoded(name), encoded(&value))
                    })
                    .collect();
                request
                    .with_header("content-type", "application/x-www-form-urlencoded")
                    .with_body(fields.join("&"))
            }
            None => request,
        };
        match self.cookies.get(&step.endpoint) {
            Some(cookies) if request.headers.get("cookie").is_none() && !cookies.is_empty() => {
                let cookies: Vec<String> = cookies
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                request.with_header("cookie", cookies.join("; "))
            }
            _ => request,
        }
    }

    fn client(&mut self, endpoint: &str) -> Result<Client> {
        if let Some(client) = self.clients.get(endpoint) {
            return Ok(client.clone());
        }
        let client = Client::new(self.cx.endpoint(endpoint)?)
            .map_err(|error| error.with_context("endpoint", endpoint))?
            .with_options(self.flow.options);
        self.clients.insert(endpoint.to_owned(), client.clone());
        Ok(client)
    }

    fn keep_cookies(&mut self, endpoint: &str, response: &Response) {
        for cookie in response.headers.all("set-cookie") {
            let mut parts = cookie.split(';');
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            let over = parts.any(|part| part.trim().eq_ignore_ascii_case("max-age=0"));
            let jar = self.cookies.entry(endpoint.to_owned()).or_default();
            if over || value.is_empty() {
                jar.remove(&name);
            } else {
                self.cx.conceal(&Secret::new(value.as_str()));
                jar.insert(name, value);
            }
        }
    }

    #[cfg(feature = "postgres")]
    async fn query(&self, step: &Step, sql: &str, parameters: &[Value]) -> Result<Value> {
        use crate::endpoint::{DATABASE, Endpoints};

        let endpoint = self.cx.endpoint(&step.endpoint)?.clone();
        let cx = self
            .cx
            .clone()
            .with_endpoints(Endpoints::default().with(DATABASE, endpoint));
        let texts: Vec<Option<String>> = parameters
            .iter()
            .map(|parameter| match fill_in(parameter, &self.values) {
                Value::Null => None,
                value => Some(text_of(&value)),
            })
            .collect();
        let asking = super::query::rows(&cx, sql, &texts);
        let rows = cx.bounded(&format!("step `{}`", step.name), asking).await?;
        rows.map_err(|error| error.with_context("sql", sql))
    }

    /// Checks what was observed, and captures from it if all of it holds.
    fn judge(&mut self, step: &Step, observed: &Observed, evidence: String) -> Option<Finding> {
        let why = self.refusal(step, observed);
        let why = why.or_else(|| {
            for (name, source) in &step.captures {
                let Some(value) = find(source, observed) else {
                    return Some(format!(
                        "{source} is missing, which is captured as `{name}`"
                    ));
                };
                if SECRET
                    .iter()
                    .any(|part| name.to_ascii_lowercase().contains(part))
                {
                    self.cx.conceal(&Secret::new(text_of(&value)));
                }
                self.values.insert(name.clone(), value);
            }
            None
        })?;
        let message = self.cx.redact(&why);
        let finding = Finding::error("flow/step-failed", self.subject(step), message);
        Some(finding.with_evidence(evidence))
    }

    fn refusal(&self, step: &Step, observed: &Observed) -> Option<String> {
        let asks_status = step
            .checks
            .iter()
            .any(|(source, _)| matches!(source, Source::Status));
        match observed {
            Observed::Answer(response)
                if !asks_status && !(200..400).contains(&response.status) =>
            {
                let status = response.status;
                return Some(format!("the status is {status}, and must be 200 to 399"));
            }
            #[cfg(feature = "postgres")]
            Observed::Rows(Value::Array(rows)) if step.checks.is_empty() && rows.is_empty() => {
                return Some("the query returns no row".to_owned());
            }
            Observed::Lines(lines) if lines.is_empty() => {
                return Some("no line of the log has the text".to_owned());
            }
            _ => {}
        }
        let parses = |source: &Source| match (source, observed) {
            (Source::Json(_), Observed::Answer(response)) => response.json().is_some(),
            _ => true,
        };
        step.checks.iter().find_map(|(source, check)| {
            if !parses(source) && *check != Check::Absent {
                return Some("the body is not JSON".to_owned());
            }
            let found = find(source, observed);
            let why = check.refuses(found.as_ref(), &self.values)?;
            Some(format!("{source} {why}"))
        })
    }

    /// The request as a command, and what came back.
    fn evidence(&self, client: &Client, exchange: &Exchange) -> String {
        let curl = exchange.request.to_curl(client.server());
        self.cx.redact(&format!("{curl}\n{}", exchange.answer))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status => f.write_str("the status"),
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Json(path) => write!(f, "`{path}`"),
            Self::Text => f.write_str("the body"),
        }
    }
}

/// A JSONPath.
pub(super) fn parsed(path: &str) -> Result<JsonPath> {
    JsonPath::parse(path).map_err(|source| {
        Error::new(ErrorKind::InvalidInput, format!("`{path}` is no JSONPath"))
            .with_source(source)
            .with_hint("it begins with `$`, as in `$.order.lines[0].id`")
    })
}

/// The value at a place. A path that finds several is an array of them.
fn find(source: &Source, observed: &Observed) -> Option<Value> {
    match (source, observed) {
        (Source::Status, Observed::Answer(response)) => Some(response.status.into()),
        (Source::Header(name), Observed::Answer(response)) => {
            response.headers.get(name).map(Value::from)
        }
        (Source::Text, Observed::Answer(response)) => Some(response.text().into()),
        (Source::Text, Observed::Lines(lines)) => Some(lines.join("\n").into()),
        #[cfg(feature = "postgres")]
        (Source::Text, Observed::Rows(rows)) => Some(rows.to_string().into()),
        (Source::Json(path), Observed::Answer(response)) => at(path, &response.json()?),
        #[cfg(feature = "postgres")]
        (Source::Json(path), Observed::Rows(rows)) => at(path, rows),
        _ => None,
    }
}

fn at(path: &str, value: &Value) -> Option<Value> {
    let found = parsed(path).ok()?.query(value).all();
    match found.as_slice() {
        [] => None,
        [one] => Some((*one).clone()),
        all => Some(all.iter().map(|one| (*one).clone()).collect()),
    }
}

/// A target with its values, each encoded so that it stays one part of it.
fn fill_target(target: &str, values: &Values) -> String {
    let encoded: Values = values
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(encoded(&text_of(value)))))
        .collect();
    fill(target, &encoded)
}

fn encoded(text: &str) -> String {
    /// What stands in a part of a path or of a query as it is (RFC 3986, unreserved).
    const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

fn log_of(cx: &UpgradeContext, endpoint: &str) -> Result<PathBuf> {
    let url = cx.endpoint(endpoint)?.url();
    match url.expose().strip_prefix("file://") {
        Some(path) => Ok(PathBuf::from(path)),
        None => {
            let message = format!("endpoint `{endpoint}` is no log");
            Err(Error::new(ErrorKind::InvalidInput, message)
                .with_hint("a log is an endpoint with a `file` URL, such as `api.log`"))
        }
    }
}

/// The lines of a file that have a text, after its first bytes.
fn lines_with(log: &Path, from: u64, text: &str) -> std::io::Result<Vec<String>> {
    use std::io::{Read as _, Seek as _, SeekFrom};

    /// How much of a log is read, in bytes.
    const READ: u64 = 16 * 1024 * 1024;
    let mut file = match std::fs::File::open(log) {
        // The program has not printed anything yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(READ).read_to_end(&mut bytes)?;
    let all = String::from_utf8_lossy(&bytes);
    let having = all.lines().filter(|line| line.contains(text));
    Ok(having.map(str::to_owned).collect())
}
