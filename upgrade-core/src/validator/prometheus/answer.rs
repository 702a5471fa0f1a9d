//! What a Prometheus server answers to an instant query.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::client::Problem;

/// How much of a server's message is shown, in characters.
const SHOWN: usize = 300;

/// The values of a good answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) samples: Vec<Sample>,
    /// Why something may be missing in it, in the words of the server.
    pub(super) warning: Option<String>,
}

/// The value of one series.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    /// Its name and labels as in PromQL; empty for a number, and for a sum over all.
    pub(super) labels: String,
    pub(super) value: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { labels, value } = self;
        match labels.is_empty() {
            true => write!(f, "the value {value}"),
            false => write!(f, "{labels} = {value}"),
        }
    }
}

/// The answer, as far as it is read.
#[derive(Deserialize)]
struct Raw {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Value),
    Vector(Vec<Series>),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

/// A time in seconds, and a number as text.
#[derive(Deserialize)]
struct Value(IgnoredAny, String);

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    /// A histogram has none.
    value: Option<Value>,
}

impl Answer {
    /// Reads the body of an answer with status 200.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let raw: Raw = serde_json::from_slice(body).map_err(|error| Problem::Broken {
            line: error.line(),
            column: error.column(),
        })?;
        let data = match raw {
            Raw {
                data: Some(ref data),
                ref status,
                ..
            } if status == "success" => data,
            raw => return Err(raw.problem()),
        };
        let samples = match data {
            Data::Scalar(value) => vec![Sample::read(&BTreeMap::new(), value)?],
            Data::Vector(series) => series
                .iter()
                .map(|series| match &series.value {
                    Some(value) => Sample::read(&series.metric, value),
                    None => Err(Problem::Type("a histogram")),
                })
                .collect::<Result<_, _>>()?,
            Data::Matrix(_) => return Err(Problem::Type("a range of values")),
            Data::String(_) => return Err(Problem::Type("a text")),
        };
        // Older servers put what is only worth knowing among the warnings.
        let mut warnings = raw.warnings.iter().flatten();
        let warning = warnings.find(|warning| !warning.starts_with("PromQL info:"));
        Ok(Self {
            samples,
            warning: warning.map(|warning| cut(warning)),
        })
    }
}

/// What a server reports in the body of an answer with another status, if it does.
pub(super) fn reported(body: &[u8]) -> Option<Problem> {
    let raw: Raw = serde_json::from_slice(body).ok()?;
    (raw.status == "error").then(|| raw.problem())
}

impl Raw {
    fn problem(self) -> Problem {
        Problem::Reported {
            kind: cut(self.error_type.as_deref().unwrap_or("no result")),
            message: cut(self.error.as_deref().unwrap_or(&self.status)),
        }
    }
}

impl Sample {
    fn read(metric: &BTreeMap<String, String>, value: &Value) -> Result<Self, Problem> {
        let Value(_, text) = value;
        let value = text.parse().map_err(|_| Problem::Value(cut(text)))?;
        Ok(Self {
            labels: labels(metric),
            value,
        })
    }
}

/// `http_requests_total{job="api", status="500"}`.
fn labels(metric: &BTreeMap<String, String>) -> String {
    let name = metric.get("__name__").map_or("", String::as_str);
    let labels = metric.iter().filter(|(label, _)| *label != "__name__");
    let labels: Vec<String> = labels
        .map(|(label, value)| format!("{label}={value:?}"))
        .collect();
    match labels.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", labels.join(", ")),
    }
}

/// A text of the server, in one short line.
fn cut(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(SHOWN)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Answer, String> {
        Answer::read(body.as_bytes()).map_err(|problem| problem.to_string())
    }

    fn data(kind: &str, result: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
    }

    #[test]
    fn numbers_and_vectors_are_read() {
        let sample = |labels: &str, value| Sample {
            labels: labels.to_owned(),
            value,
        };
        for (kind, result, samples) in [
            (
                "scalar",
                r#"[1700000000.1,"1.5e-05"]"#,
                vec![sample("", 0.000_015)],
            ),
            ("scalar", r#"[1,"+Inf"]"#, vec![sample("", f64::INFINITY)]),
            (
                "scalar",
                r#"[1,"-Inf"]"#,
                vec![sample("", f64::NEG_INFINITY)],
            ),
            ("vector", "[]", vec![]),
            (
                "vector",
                r#"[{"metric":{"__name__":"up","job":"a\"b"},"value":[1,"0"]},{"metric":{},"value":[1,"2"]},
                    {"metric":{"__name__":"up"},"value":[1,"3"]}]"#,
                vec![
                    sample(r#"up{job="a\"b"}"#, 0.0),
                    sample("", 2.0),
                    sample("up", 3.0),
                ],
            ),
        ] {
            let answer = read(&data(kind, result)).unwrap();
            assert_eq!(
                (answer.samples, answer.warning),
                (samples, None),
                "{result}"
            );
        }
        let answer = read(&data("vector", r#"[{"metric":{},"value":[1,"NaN"]}]"#)).unwrap();
        assert!(answer.samples[0].value.is_nan());
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        for (body, problem) in [
            (
                data("matrix", "[]"),
                "the query returns a range of values, ",
            ),
            (data("string", r#"[1,"x"]"#), "the query returns a text, "),
            (
                data("vector", r#"[{"metric":{},"histogram":[1,{}]}]"#),
                "the query returns a histogram, ",
            ),
            (
                data("vector", r#"[{"metric":{},"value":[1,"many"]}]"#),
                "the value `many` is no number",
            ),
            (
                data("other", "[]"),
                "the answer is not that of a Prometheus server",
            ),
            (
                data("vector", "{}"),
                "the answer is not that of a Prometheus server",
            ),
            (
                data("vector", &"[".repeat(10_000)),
                "the answer is not that of a Prometheus server",
            ),
            (
                String::new(),
                "the answer is not that of a Prometheus server",
            ),
            (
                "{}".to_owned(),
                "the answer is not that of a Prometheus server",
            ),
            (
                r#"{"status":"success"}"#.to_owned(),
                "the server reports no result: success",
            ),
            (
                r#"{"status":"error","errorType":"bad_data","error":"line\nbreak"}"#.to_owned(),
                "the server reports bad_data: line break",
            ),
        ] {
            let error = read(&body).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn an_incomplete_answer_is_known_as_such() {
        let with = |warnings: &str| {
            let data = data("scalar", r#"[1,"1"]"#);
            read(&data.replacen('{', &format!(r#"{{"warnings":{warnings},"#), 1)).unwrap()
        };
        assert_eq!(with(r#"["PromQL info: not a counter"]"#).warning, None);
        let warning = with(r#"["PromQL info: not a counter","a store is down"]"#).warning;
        assert_eq!(warning.as_deref(), Some("a store is down"));
        let long = with(&format!(r#"["{}"]"#, "ä".repeat(1000)))
            .warning
            .unwrap();
        assert_eq!(long.chars().count(), SHOWN + 3);
    }
}
