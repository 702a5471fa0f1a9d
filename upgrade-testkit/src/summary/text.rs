//! For a terminal.

use std::collections::BTreeMap;
use std::fmt;

use upgrade_core::Severity;
use upgrade_core::finding::FindingKind;

use super::{Entry, Summary};

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", verdict(self), self.headline())?;
        for severity in [Severity::Error, Severity::Warning] {
            for entry in self.open(severity) {
                show(entry, f)?;
            }
        }
        show_notes(self.open(Severity::Note), f)?;
        let mut accepted = self.entries.iter().filter(|entry| entry.known.is_some());
        if accepted.clone().next().is_some() {
            writeln!(f, "\naccepted")?;
            accepted.try_for_each(|entry| {
                let reason = entry.known.as_deref().unwrap_or_default();
                writeln!(
                    f,
                    "  {}[{}] {}: {reason}",
                    entry.severity, entry.id, entry.subject
                )
            })?;
        }
        if !self.not_verified.is_empty() {
            writeln!(f, "\nnot verified")?;
            for sentence in &self.not_verified {
                writeln!(f, "  {sentence}")?;
            }
        }
        Ok(())
    }
}

pub(super) fn verdict(summary: &Summary) -> &'static str {
    if summary.passed() { "PASSED" } else { "FAILED" }
}

/// The file with its line, as editors and terminals open it.
pub(super) fn at(entry: &Entry) -> Option<String> {
    let file = entry.file.as_ref()?;
    Some(format!("{file}:{}", entry.line.unwrap_or(1)))
}

fn show(entry: &Entry, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Entry {
        severity,
        id,
        subject,
        message,
        ..
    } = entry;
    writeln!(f, "\n{severity}[{id}] {subject}: {message}")?;
    if let Some(at) = at(entry) {
        writeln!(f, "  at {at}")?;
    }
    let cases: Vec<&str> = entry.cases.iter().map(String::as_str).collect();
    writeln!(f, "  in {}", cases.join(", "))?;
    match &entry.help {
        Some(help) => writeln!(f, "  help: {help}"),
        None => Ok(()),
    }
}

/// How many notes there are of each id: they fail nothing, and would hide what does.
fn show_notes<'e>(
    notes: impl Iterator<Item = &'e Entry>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for note in notes {
        *counts.entry(&note.id).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    if all == 0 {
        return Ok(());
    }
    let notes = if all == 1 { "note" } else { "notes" };
    writeln!(f, "\n{all} {notes} (the other formats show each)")?;
    for (id, count) in counts {
        let title = FindingKind::of(id).map_or("", |kind| kind.title);
        let colon = if title.is_empty() { "" } else { ": " };
        writeln!(f, "  {count:>3} {id}{colon}{title}")?;
    }
    Ok(())
}
