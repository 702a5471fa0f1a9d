//! For code scanning: SARIF 2.1.0.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use upgrade_core::Severity;
use upgrade_core::finding::FindingKind;

use super::{Entry, Summary};

impl Summary {
    /// As SARIF 2.1.0. Accepted findings are there as suppressed results.
    pub fn to_sarif(&self) -> String {
        let ids: BTreeMap<&str, usize> = {
            let mut ids: Vec<&str> = self.entries.iter().map(|entry| entry.id.as_str()).collect();
            ids.sort_unstable();
            ids.dedup();
            ids.into_iter().zip(0..).collect()
        };
        let rules: Vec<Value> = ids.keys().map(|id| rule(id)).collect();
        let results = self.entries.iter();
        let results: Vec<Value> = results
            .map(|entry| result(entry, ids[entry.id.as_str()]))
            .collect();
        let sarif = json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "upgrade",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                }},
                "results": results,
            }],
        });
        serde_json::to_string_pretty(&sarif).unwrap_or_default()
    }
}

fn rule(id: &str) -> Value {
    match FindingKind::of(id) {
        Some(kind) => json!({
            "id": id,
            "shortDescription": { "text": kind.title },
            "fullDescription": { "text": kind.breaks },
            "help": { "text": kind.mend },
            "defaultConfiguration": { "level": level(kind.severity) },
        }),
        None => json!({ "id": id }),
    }
}

fn result(entry: &Entry, rule: usize) -> Value {
    let cases: Vec<&str> = entry.cases.iter().map(String::as_str).collect();
    let text = format!(
        "{}: {} (in {})",
        entry.subject,
        entry.message,
        cases.join(", ")
    );
    // GitHub refuses the whole file where one result has no place.
    let place = entry.file.as_deref().or(entry.folder.as_deref());
    let place = place.unwrap_or("Cargo.toml");
    let mut result = json!({
        "ruleId": entry.id,
        "ruleIndex": rule,
        "level": level(entry.severity),
        "message": { "text": text },
        "partialFingerprints": {
            "finding/v1": format!("{}|{}|{}", entry.id, entry.subject, entry.file.as_deref().unwrap_or("")),
        },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(place) },
            "region": { "startLine": entry.line.unwrap_or(1) },
        }}],
    });
    if let Some(reason) = &entry.known {
        result["suppressions"] = json!([{ "kind": "external", "justification": reason }]);
    }
    result
}

/// A relative path as a URI: all but letters, digits, `-._~` and `/` is percent-encoded (RFC 3986).
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

fn level(severity: Severity) -> &'static str {
    severity.as_str()
}
