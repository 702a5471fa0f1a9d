//! For a review, or the summary of a CI step.

use std::fmt::Write as _;

use upgrade_core::Severity;

use super::text::{at, verdict};
use super::{Entry, Summary};

impl Summary {
    /// As Markdown, with the proofs folded away.
    pub fn to_markdown(&self) -> String {
        let mut page = format!("# Upgrade: {}\n\n{}\n", verdict(self), self.headline());
        for (severity, title) in [
            (Severity::Error, "Errors"),
            (Severity::Warning, "Warnings"),
            (Severity::Note, "Notes"),
        ] {
            let entries: Vec<&Entry> = self.open(severity).collect();
            if entries.is_empty() {
                continue;
            }
            let _ = write!(page, "\n## {title}\n");
            entries.into_iter().for_each(|entry| show(entry, &mut page));
        }
        let accepted = self.entries.iter().filter(|entry| entry.known.is_some());
        list(
            &mut page,
            "Accepted",
            accepted.map(|entry| {
                let reason = entry.known.as_deref().unwrap_or_default();
                format!(
                    "`{}` {}: {}",
                    entry.id,
                    escaped(&entry.subject),
                    escaped(reason)
                )
            }),
        );
        list(
            &mut page,
            "Not verified",
            self.not_verified.iter().map(|one| escaped(one)),
        );
        page
    }
}

fn list(page: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|line| format!("- {line}\n")).collect();
    if !lines.is_empty() {
        let _ = write!(page, "\n## {title}\n\n{}", lines.concat());
    }
}

fn show(entry: &Entry, page: &mut String) {
    let (subject, message) = (escaped(&entry.subject), escaped(&entry.message));
    let _ = write!(page, "\n### `{}` {subject}\n\n{message}\n", entry.id);
    if let Some(at) = at(entry) {
        let _ = write!(page, "\nAt `{at}`.");
    }
    let cases: Vec<String> = entry.cases.iter().map(|case| format!("`{case}`")).collect();
    let _ = writeln!(page, "\nIn {}.", cases.join(", "));
    if let Some(help) = entry
        .help
        .as_ref()
        .filter(|_| entry.severity > Severity::Note)
    {
        let _ = writeln!(page, "\nHelp: {}.", escaped(help));
    }
    if let Some(evidence) = &entry.evidence {
        // A fence that is longer than any in the text.
        let longest = evidence.split(|c| c != '`').map(str::len).max();
        let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
        let evidence = evidence.trim_end();
        let _ = write!(
            page,
            "\n<details><summary>Proof</summary>\n\n{fence}text\n{evidence}\n{fence}\n\n</details>\n"
        );
    }
}

/// Text in which nothing is mark-up.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\r') {
            escaped.push(' ');
            continue;
        }
        if "\\`*_[]<>#|~&".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
