//! HAR files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::recording::{Recorded, Recording};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Headers, Request, Response};

/// Headers that belong to a connection and not to what is said over it.
const OF_CONNECTION: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn read(name: &str, text: &str, origin: &str) -> Result<Recording> {
    let invalid = |problem: String| {
        Error::new(ErrorKind::InvalidInput, format!("`{name}` {problem}"))
            .with_hint("a HAR file is what the network view of a browser saves")
    };
    // Browsers of one system write the mark of the byte order.
    let text = text.trim_start_matches('\u{feff}');
    let har: Value = serde_json::from_str(text)
        .map_err(|source| invalid("is not JSON".to_owned()).with_source(source))?;
    let entries = har["log"]["entries"]
        .as_array()
        .ok_or_else(|| invalid("has no list `log.entries`".to_owned()))?;
    let origin = origin.trim_end_matches('/');
    let mut recording = Recording::new([]);
    let mut origins: Vec<&str> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let wrong =
            |problem: &str| invalid(format!("has an entry that cannot be read, {at}: {problem}"));
        let url =
            field(&entry["request"], "url").ok_or_else(|| wrong("its request has no `url`"))?;
        let Some((of, target)) = split(url) else {
            recording.skip("an address that is not one of HTTP");
            continue;
        };
        if !origins.contains(&of) {
            origins.push(of);
        }
        let host = of.split_once("://").map_or(of, |(_, host)| host);
        if !of.eq_ignore_ascii_case(origin) && !host.eq_ignore_ascii_case(origin) {
            recording.skip("another origin");
            continue;
        }
        let request = request(&entry["request"], target).map_err(wrong)?;
        let mut recorded = Recorded::new(request);
        recorded.answer = response(&entry["response"]).map_err(wrong)?;
        recording.push(recorded);
    }
    if recording.requests().is_empty() {
        let known = origins.join(", ");
        let problem = format!("has no request to `{origin}`");
        return Err(invalid(problem).with_hint(format!("it has requests to: {known}")));
    }
    Ok(recording)
}

fn field<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str()
}

/// Scheme with authority, and the rest without its fragment.
fn split(url: &str) -> Option<(&str, &str)> {
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| url.starts_with(scheme))?;
    let url = url.split('#').next().unwrap_or(url);
    let end = url[scheme.len()..].find(['/', '?']);
    Some(url.split_at(end.map_or(url.len(), |end| scheme.len() + end)))
}

fn request(entry: &Value, target: &str) -> Result<Request, &'static str> {
    let method = field(entry, "method").ok_or("its request has no `method`")?;
    let mut request = Request::new(method, target);
    request.headers = headers(&entry["headers"])?;
    let posted = &entry["postData"];
    if let Some(text) = field(posted, "text") {
        request.body = bytes(text, field(posted, "encoding"))?;
    } else if let Some(params) = posted["params"].as_array() {
        let pairs = params.iter().filter_map(|pair| {
            let value = field(pair, "value").unwrap_or_default();
            Some(format!("{}={value}", field(pair, "name")?))
        });
        request.body = pairs.collect::<Vec<_>>().join("&").into_bytes();
    }
    if let (None, Some(media)) = (
        request.headers.get("content-type"),
        field(posted, "mimeType"),
    ) && !request.body.is_empty()
    {
        request = request.with_header("content-type", media);
    }
    Ok(request)
}

/// `None` where the browser got no answer.
fn response(entry: &Value) -> Result<Option<Response>, &'static str> {
    let status = entry["status"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let Some(status) = status.filter(|status| *status >= 100) else {
        return Ok(None);
    };
    let mut response = Response::new(status);
    response.headers = headers(&entry["headers"])?;
    let content = &entry["content"];
    if let Some(text) = field(content, "text") {
        response.body = bytes(text, field(content, "encoding"))?;
    }
    Ok(Some(response))
}

fn headers(list: &Value) -> Result<Headers, &'static str> {
    let Some(list) = list.as_array() else {
        return Ok(Headers::default());
    };
    let mut headers = Headers::default();
    for header in list {
        let name = field(header, "name").ok_or("it has a header without `name`")?;
        let name = name.to_ascii_lowercase();
        // HTTP/2 writes the first line as headers such as `:path`.
        if !name.starts_with(':') && !OF_CONNECTION.contains(&name.as_str()) {
            headers = headers.with(name, field(header, "value").unwrap_or_default());
        }
    }
    Ok(headers)
}

fn bytes(text: &str, encoding: Option<&str>) -> Result<Vec<u8>, &'static str> {
    match encoding {
        Some("base64") => STANDARD
            .decode(text)
            .map_err(|_| "a body that is not base64"),
        _ => Ok(text.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(url: &str) -> Value {
        json!({
            "request": {
                "method": "post",
                "url": url,
                "headers": [{"name": ":authority", "value": "h"}, {"name": "Accept-Encoding", "value": "gzip"},
                    {"name": "X-A", "value": "1"}],
                "postData": {"mimeType": "application/json", "text": "{}"},
            },
            "response": {"status": 201, "headers": [{"name": "Content-Encoding", "value": "gzip"}],
                "content": {"text": "aGk=", "encoding": "base64"}},
        })
    }

    fn har(entries: &[Value]) -> String {
        json!({"log": {"version": "1.2", "entries": entries}}).to_string()
    }

    #[test]
    fn requests_to_one_origin_are_read() {
        let text = har(&[
            entry("https://shop.example.org/orders?a=b#top"),
            entry("https://ads.example.org/x"),
            entry("wss://shop.example.org/x"),
            entry("https://shop.example.org?a"),
        ]);
        for origin in ["https://shop.example.org/", "shop.example.org"] {
            let recording = read("a.har", &format!("\u{feff}{text}"), origin).unwrap();
            let [first, second] = recording.requests() else {
                panic!("{recording:?}");
            };
            assert_eq!(first.request.to_string(), "POST /orders?a=b");
            assert_eq!(second.request.target, "/?a");
            let headers = first.request.headers.to_string();
            assert_eq!(headers, "x-a: 1\ncontent-type: application/json");
            assert_eq!(first.request.body, b"{}");
            let answer = first.answer.as_ref().unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (201, "hi"));
            assert_eq!(answer.headers.iter().count(), 0);
            assert_eq!(recording.skipped().values().sum::<u64>(), 2);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bad = har(&[entry("http://h/"), json!({"request": {"url": "http://h/"}})]);
        for (text, problem) in [
            ("{", "`a.har` is not JSON"),
            ("{}", "`a.har` has no list `log.entries`"),
            (
                bad.as_str(),
                "`a.har` has an entry that cannot be read, 1: its request has no `method`",
            ),
            (
                har(&[entry("http://x/")]).as_str(),
                "`a.har` has no request to `h`",
            ),
        ] {
            let error = read("a.har", text, "h").unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
        let other = read("a.har", &har(&[entry("http://x/")]), "h").unwrap_err();
        assert!(
            other.to_string().contains("it has requests to: http://x"),
            "{other}"
        );
    }

    #[test]
    fn a_request_without_an_answer_is_one() {
        let mut blocked = entry("http://h/");
        blocked["response"] = json!({"status": 0});
        let recording = read("a.har", &har(&[blocked]), "h").unwrap();
        assert_eq!(recording.requests()[0].answer, None);
    }
}
