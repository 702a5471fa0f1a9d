//! What the browser logs about a page: errors of scripts, requests and how they ended, dialogs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

/// What a page caused since it was opened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Log {
    /// Uncaught errors and errors on the console: what identifies each, with the message.
    pub(super) script_errors: BTreeMap<String, String>,
    /// Requests that failed, likewise.
    pub(super) failed_requests: BTreeMap<String, String>,
    /// The texts of dialogs.
    pub(super) dialogs: BTreeSet<String>,
    /// The requests of the current step, as methods with paths.
    pub(super) requests: BTreeSet<String>,
    /// Requests that have no answer yet, by number.
    pending: BTreeMap<String, Sent>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    method: String,
    url: String,
    /// A connection that stays open by design.
    endless: bool,
}

#[derive(Deserialize)]
struct Entry {
    message: Event,
}

#[derive(Deserialize)]
struct Event {
    method: String,
    params: Value,
}

impl Log {
    /// Whether all requests are answered.
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.values().all(|sent| sent.endless)
    }

    /// An entry of the console.
    pub(super) fn console(
        &mut self,
        level: &str,
        source: Option<&str>,
        message: &str,
        origin: &str,
    ) {
        // As the script that dismisses them writes it.
        if let Some((_, dialog)) = message.split_once("\"upgrade-dialog ") {
            self.dialogs
                .insert(dialog.trim_end_matches('"').replace(origin, ""));
        }
        // Failed requests are known from events, which have more of them.
        if level != "SEVERE" || source == Some("network") {
            return;
        }
        let message = message.replace(origin, "");
        // `URL LINE:COLUMN MESSAGE`: the position changes with every build.
        let mut parts = message.splitn(3, ' ');
        let key = match (parts.next(), parts.next(), parts.next()) {
            (Some(_), Some(position), Some(rest)) if is_position(position) => rest,
            _ => message.as_str(),
        };
        let key = folded(key);
        self.script_errors.entry(key).or_insert(message);
    }

    /// An event of the developer tools.
    pub(super) fn event(&mut self, entry: &str, origin: &str) {
        let Ok(Entry { message }) = serde_json::from_str(entry) else {
            return;
        };
        let params = &message.params;
        let text = |pointer: &str| {
            params
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let id = text("/requestId").to_owned();
        match message.method.as_str() {
            "Network.requestWillBeSent" => self.sent(id, params, origin),
            "Network.responseReceived" => {
                let status = params.pointer("/response/status").and_then(Value::as_u64);
                if let Some(status) = status.filter(|status| *status >= 400)
                    && let Some(sent) = self.pending.get(&id).cloned()
                {
                    self.failed(&sent, &format!("is answered with {status}"));
                }
            }
            "Network.loadingFinished" => {
                self.pending.remove(&id);
            }
            "Network.loadingFailed" => {
                let sent = self.pending.remove(&id);
                let cancelled = params.pointer("/canceled").and_then(Value::as_bool) == Some(true);
                if let Some(sent) = sent.filter(|_| !cancelled) {
                    self.failed(&sent, &format!("failed: {}", text("/errorText")));
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, id: String, params: &Value, origin: &str) {
        let text = |pointer: &str| {
            params
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let url = text("/request/url").replace(origin, "");
        // Browsers ask for it, not pages.
        if url == "/favicon.ico" || !(url.starts_with('/') || url.starts_with("http")) {
            return;
        }
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let method = text("/request/method").to_owned();
        self.requests.insert(format!("{method} {}", folded(path)));
        let endless = matches!(text("/type"), "EventSource" | "WebSocket" | "Ping");
        self.pending.insert(
            id,
            Sent {
                method,
                url,
                endless,
            },
        );
    }

    fn failed(&mut self, sent: &Sent, how: &str) {
        let path = sent.url.split(['?', '#']).next().unwrap_or_default();
        let key = format!("{} {} {how}", sent.method, folded(path));
        let message = format!("{} {} {how}", sent.method, sent.url);
        self.failed_requests.entry(key).or_insert(message);
    }
}

/// `12:34`.
fn is_position(text: &str) -> bool {
    text.split_once(':').is_some_and(|(line, column)| {
        [line, column]
            .iter()
            .all(|part| part.parse::<u64>().is_ok())
    })
}

/// A text whose numbers and long identifiers are all the same: what differs between two runs of one release.
pub(super) fn folded(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut folded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if is_part(first) {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            fold_token(&rest[..end], &mut folded);
            rest = &rest[end..];
        } else {
            folded.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    folded
}

/// Folds what consists of letters, digits and hyphens.
fn fold_token(token: &str, folded: &mut String) {
    let has_digit = token.bytes().any(|b| b.is_ascii_digit());
    let hexadecimal = token.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let long = token.len() >= 16 && (hexadecimal || !token.contains('-'));
    if has_digit && (long || (hexadecimal && token.len() >= 8 && !token.contains('-'))) {
        folded.push('0');
        return;
    }
    let mut in_number = false;
    for c in token.chars() {
        if !c.is_ascii_digit() {
            folded.push(c);
        } else if !in_number {
            folded.push('0');
        }
        in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "http://127.0.0.1:4711";

    fn event(log: &mut Log, method: &str, params: &str) {
        log.event(
            &format!(r#"{{"message":{{"method":"{method}","params":{params}}}}}"#),
            ORIGIN,
        );
    }

    fn sent(log: &mut Log, id: &str, kind: &str, path: &str) {
        let params = format!(
            r#"{{"requestId":"{id}","type":"{kind}","request":{{"method":"GET","url":"{ORIGIN}{path}"}}}}"#
        );
        event(log, "Network.requestWillBeSent", &params);
    }

    #[test]
    fn a_request_fails_by_its_status_or_by_the_network_and_a_cancelled_one_does_not() {
        let mut log = Log::default();
        for (id, path) in [
            ("1", "/a?x=1"),
            ("2", "/b/17"),
            ("3", "/c"),
            ("4", "/favicon.ico"),
        ] {
            sent(&mut log, id, "Fetch", path);
        }
        for (id, status) in [("1", 404), ("2", 399), ("4", 404)] {
            let params = format!(r#"{{"requestId":"{id}","response":{{"status":{status}}}}}"#);
            event(&mut log, "Network.responseReceived", &params);
            event(
                &mut log,
                "Network.loadingFinished",
                &format!(r#"{{"requestId":"{id}"}}"#),
            );
        }
        assert!(!log.is_quiet());
        event(
            &mut log,
            "Network.loadingFailed",
            r#"{"requestId":"3","errorText":"net::ERR","canceled":true}"#,
        );
        assert!(log.is_quiet());
        sent(&mut log, "5", "Fetch", "/d");
        event(
            &mut log,
            "Network.loadingFailed",
            r#"{"requestId":"5","errorText":"net::ERR"}"#,
        );
        let failed: Vec<&str> = log.failed_requests.values().map(String::as_str).collect();
        assert_eq!(
            failed,
            ["GET /a?x=1 is answered with 404", "GET /d failed: net::ERR"]
        );
        let requests: Vec<&str> = log.requests.iter().map(String::as_str).collect();
        assert_eq!(requests, ["GET /a", "GET /b/0", "GET /c", "GET /d"]);
    }

    #[test]
    fn an_open_stream_is_no_reason_to_wait() {
        let mut log = Log::default();
        sent(&mut log, "1", "EventSource", "/events");
        assert!(log.is_quiet());
    }

    #[test]
    fn an_error_is_the_same_at_another_position() {
        let mut log = Log::default();
        for message in [
            format!("{ORIGIN}/app.js 1:20 Uncaught Error: order 17"),
            format!("{ORIGIN}/app.js 3:4 Uncaught Error: order 18"),
        ] {
            log.console("SEVERE", Some("javascript"), &message, ORIGIN);
        }
        log.console("WARNING", Some("console-api"), "x 1:2 w", ORIGIN);
        log.console("SEVERE", Some("network"), "x 1:2 w", ORIGIN);
        assert_eq!(
            log.script_errors.into_iter().collect::<Vec<_>>(),
            [(
                "Uncaught Error: order 0".to_owned(),
                "/app.js 1:20 Uncaught Error: order 17".to_owned()
            )]
        );
    }

    #[test]
    fn numbers_and_identifiers_are_folded_and_words_are_not() {
        for (text, expected) in [
            ("12:34:56", "0:0:0"),
            ("order 17 of Anna2", "order 0 of Anna0"),
            ("2026-11-30T15:35:50.928Z", "0-0-0T0:0:0.0Z"),
            ("a-slug-of-words-17", "a-slug-of-words-0"),
            ("17 über 4", "0 über 0"),
            ("/o/3f2a9c1b-0000-4000-8000-0123456789ab/x", "/o/0/x"),
            ("deadbeef", "deadbeef"),
            ("", ""),
        ] {
            assert_eq!(folded(text), expected);
        }
    }
}
