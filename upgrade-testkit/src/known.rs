//! Findings that a team knows and accepts for now, in a file that is committed.
//!
//! `upgrade-known.toml` stands beside the `Cargo.toml` of the package whose tests read it:
//!
//! ```toml
//! # Warnings of these ids are errors.
//! deny = ["rollback/loses"]
//!
//! [[known]]
//! id = "down/failed"
//! subject = "migration 0004_totals"
//! file = "0004_totals.down.sql"
//! scenarios = ["round_trip", "rollback"]
//! reason = "nobody rolls back across 0004 any more"
//! until = 2027-01-31
//! ```
//!
//! An `id` that ends with `/*`, as in `crash/*`, stands for all ids of its area.
//!
//! `UPGRADE_ACCEPT=1 cargo test` adds what fails now, so that from then on only what is new fails. It
//! is refused where `CI` is set. Each entry is matched by id, subject and file; `scenarios` are those
//! that find it, and each of them fails when it does not find it any more. After `until`, a date, the
//! finding fails again. Reasons and dates are for people to write: replace those that are written
//! here.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};
use upgrade_core::finding::{KnownFinding, catalogue};
use upgrade_core::{Error, ErrorKind, Finding, Report, Result, Scenario, Upgrade};

use crate::report_file::write_whole;

/// The name of the file.
pub const FILE: &str = "upgrade-known.toml";

/// What a file accepts and denies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    findings: Vec<KnownFinding>,
    denied: Vec<String>,
    /// The entries whose date is over, as a person reads them.
    over: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    deny: Vec<toml::Spanned<String>>,
    #[serde(default)]
    known: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: toml::Spanned<String>,
    subject: Option<String>,
    file: Option<String>,
    #[serde(default)]
    scenarios: Vec<toml::Spanned<String>>,
    reason: String,
    until: Option<toml::Spanned<toml::value::Datetime>>,
}

impl Known {
    /// What the file of a package says today; nothing without a file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with the line and what stands there wrongly, [`ErrorKind::Io`].
    pub(crate) fn of_package(base: &Path) -> Result<Self> {
        let path = base.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::read(&path, &text, today()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(unreadable(&path, source)),
        }
    }

    fn read(path: &Path, text: &str, today: Date) -> Result<Self> {
        let document: Document = toml::from_str(text).map_err(|source| {
            let message = format!("`{}` cannot be used", path.display());
            Error::new(ErrorKind::InvalidInput, message).with_source(source)
        })?;
        let wrong = |at: std::ops::Range<usize>, what: String, hint: String| {
            let line = 1 + text[..at.start].matches('\n').count();
            let message = format!("{}:{line}: {what}", path.display());
            Error::new(ErrorKind::InvalidInput, message).with_hint(hint)
        };
        let id = |id: &toml::Spanned<String>| {
            let name = id.get_ref();
            match nearest(name) {
                Some(kind) => Err(wrong(
                    id.span(),
                    format!("there is no finding `{name}`"),
                    format!("is it `{kind}`?"),
                )),
                None => Ok(name.clone()),
            }
        };
        let mut read = Self {
            denied: document.deny.iter().map(id).collect::<Result<_>>()?,
            ..Self::default()
        };
        for entry in &document.known {
            let mut known = KnownFinding::new(id(&entry.id)?, &entry.reason);
            (known.subject, known.file) = (entry.subject.clone(), entry.file.clone());
            for name in &entry.scenarios {
                let scenario: Scenario = name.get_ref().parse().map_err(|error: Error| {
                    wrong(
                        name.span(),
                        error.to_string(),
                        "name one of those".to_owned(),
                    )
                })?;
                known.scenarios.push(scenario);
            }
            if let Some(until) = &entry.until {
                let text = until.get_ref().to_string();
                let date: Date = text.parse().map_err(|_| {
                    let what = format!("`until` is a day, and `{text}` is none");
                    wrong(until.span(), what, "write it as 2027-01-31".to_owned())
                })?;
                if date < today {
                    let of = known.subject.as_deref().unwrap_or("anything");
                    read.over
                        .push(format!("`{}` of {of} was accepted until {date}", known.id));
                    continue;
                }
            }
            read.findings.push(known);
        }
        Ok(read)
    }

    /// What is no longer accepted, because its time is over.
    pub(crate) fn over(&self) -> &[String] {
        &self.over
    }

    /// An upgrade that accepts this.
    pub(crate) fn accepted_by(&self, upgrade: Upgrade) -> Upgrade {
        upgrade
            .with_known(self.findings.iter().cloned())
            .with_denied(self.denied.iter().cloned())
    }
}

/// Adds what failed in a run to the file of a package. Answers with how many findings that were.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when the file there cannot be used, [`ErrorKind::Io`].
pub(crate) fn accept(base: &Path, report: &Report) -> Result<usize> {
    let path = base.join(FILE);
    // Tests of one package run at the same time, in several processes.
    let cargo = base.join("Cargo.toml");
    let lock = File::open(&cargo).map_err(|source| unreadable(&cargo, source))?;
    lock.lock().map_err(|source| unreadable(&cargo, source))?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(unreadable(&path, source)),
    };
    Known::read(&path, &text, today())?;
    let mut document: DocumentMut = text.parse().map_err(|source: toml_edit::TomlError| {
        let message = format!("`{}` cannot be used", path.display());
        Error::new(ErrorKind::InvalidInput, message).with_source(source)
    })?;
    if let Some(known) = document.get("known")
        && !known.is_array_of_tables()
    {
        let message = format!("`{}`: `known` is not written as tables", path.display());
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("begin each entry with a line `[[known]]`, so that others can be added"));
    }
    let failing = report.findings.iter().map(|found| &found.finding);
    // An entry of the file that is no longer true is for people to remove.
    let failing =
        failing.filter(|finding| finding.fails() && finding.id != "declared/known-not-found");
    let mut accepted = 0;
    for finding in failing {
        accepted += usize::from(add(&mut document, finding, report.scenario));
    }
    let written = document.to_string();
    if written != text {
        write_whole(&path, &written).map_err(|source| {
            let message = format!("`{}` was not written", path.display());
            Error::new(ErrorKind::Io, message).with_source(source)
        })?;
    }
    Ok(accepted)
}

/// Adds a finding, or its scenario to the entry of the same; whether anything had to be added.
fn add(document: &mut DocumentMut, finding: &Finding, scenario: Scenario) -> bool {
    // Without the line, which moves.
    let file = finding.blames.as_ref().and_then(|blame| blame.place());
    let file = file.map(|(path, _)| path);
    let known = document
        .entry("known")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let Some(entries) = known.as_array_of_tables_mut() else {
        return false;
    };
    let says = |entry: &Table, key: &str, value: Option<&str>| {
        entry.get(key).and_then(Item::as_str) == value
    };
    let same = entries.iter_mut().find(|entry| {
        says(entry, "id", Some(&finding.id))
            && says(entry, "subject", Some(finding.subject.as_str()))
            && says(entry, "file", file)
    });
    let name = scenario.to_string();
    if let Some(entry) = same {
        let until = entry.get("until").map(|until| until.to_string());
        let until = until.and_then(|until| until.trim().parse::<Date>().ok());
        if until.is_some_and(|until| until < today()) {
            return false;
        }
        let scenarios = entry
            .entry("scenarios")
            .or_insert_with(|| Array::new().into());
        let Some(scenarios) = scenarios.as_array_mut() else {
            return false;
        };
        let is_there = scenarios.iter().any(|there| there.as_str() == Some(&name));
        if !is_there {
            scenarios.push(name);
        }
        return !is_there;
    }
    let mut entry = Table::new();
    entry.insert("id", text(&finding.id));
    entry.insert("subject", text(finding.subject.as_str()));
    if let Some(file) = file {
        entry.insert("file", text(file));
    }
    entry.insert("scenarios", Item::Value(Array::from_iter([name]).into()));
    entry.insert("reason", text(&format!("accepted on {}", today())));
    entries.push(entry);
    true
}

fn text(value: &str) -> Item {
    Item::Value(Value::from(value))
}

/// The id or area that was probably meant, where the written one does not exist. The validators of a
/// team may have any ids.
pub(crate) fn nearest(id: &str) -> Option<String> {
    let of_area = id.ends_with("/*");
    let all = catalogue().iter().map(|kind| match of_area {
        true => format!("{}/*", kind.area()),
        false => kind.id.to_owned(),
    });
    let near = all.map(|known| (strsim::damerau_levenshtein(&known, id), known));
    let (distance, known) = near.min()?;
    (1..=3).contains(&distance).then_some(known)
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    let message = format!("`{}` cannot be read", path.display());
    Error::new(ErrorKind::Io, message).with_source(source)
}

/// Where the file of a package is, for messages.
pub(crate) fn place(base: &Path) -> PathBuf {
    base.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Known> {
        let today = "2026-11-29".parse().unwrap();
        Known::read(Path::new("upgrade-known.toml"), text, today)
    }

    #[track_caller]
    fn refused(text: &str, words: &[&str]) {
        let error = read(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let said = format!("{error:?}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }

    #[test]
    fn an_entry_is_read_as_it_is_written() {
        let known = read(
            "deny = ['rollback/loses']\n[[known]]\nid = 'down/failed'\nsubject = 'migration 4_x'\n\
             file = '4_x.sql'\nscenarios = ['round_trip']\nreason = 'old'\nuntil = 2026-11-29\n",
        )
        .unwrap();
        let expected = KnownFinding::new("down/failed", "old")
            .about("migration 4_x")
            .in_file("4_x.sql")
            .in_scenarios([Scenario::RoundTrip]);
        assert_eq!(known.findings, [expected]);
        assert_eq!(known.denied, ["rollback/loses"]);
    }

    #[test]
    fn what_is_over_is_accepted_no_more() {
        let known = read("[[known]]\nid = 'down/failed'\nreason = 'old'\nuntil = 2026-11-28\n");
        let known = known.unwrap();
        assert_eq!(known.findings, []);
        assert_eq!(
            known.over,
            ["`down/failed` of anything was accepted until 2026-11-28"]
        );
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        refused(
            "\n[[known]]\nid = 'down-faild'\nreason = 'x'\n",
            &[
                "upgrade-known.toml:3",
                "`down-faild`",
                "is it `down/failed`?",
            ],
        );
        refused("deny = ['up-fialed']", &[":1", "is it `up/failed`?"]);
        refused("deny = ['crahs/*']", &[":1", "is it `crash/*`?"]);
        read("deny = ['crash/*']").unwrap();
        refused(
            "[[known]]\nid = 'up/failed'\nreasn = 'x'\n",
            &["reasn", "reason"],
        );
        refused("[[known]]\nid = 'up/failed'\n", &["reason"]);
        refused(
            "[[known]]\nid = 'up/failed'\nreason = 'x'\nscenarios = ['sideways']\n",
            &[":4", "sideways"],
        );
        refused(
            "[[known]]\nid = 'up/failed'\nreason = 'x'\nuntil = 10:00:00\n",
            &[":4", "2027-01-31"],
        );
        refused("known = 7", &["known"]);
        // One of a team's own.
        read("[[known]]\nid = 'orders-without-lines'\nreason = 'x'\n").unwrap();
    }

    #[test]
    fn what_is_added_is_read_again_and_nothing_is_added_twice() {
        let mut document: DocumentMut = "# Ours.\ndeny = []\n".parse().unwrap();
        let blame =
            upgrade_core::finding::Blame::new(upgrade_core::migration::MigrationId::new("4", "x"));
        let finding = Finding::error("down/failed", "migration 4_x \"quoted\"", "it failed")
            .with_blame(blame.with_file("4_x.sql"));
        assert!(add(&mut document, &finding, Scenario::RoundTrip));
        assert!(!add(&mut document, &finding, Scenario::RoundTrip));
        assert!(add(&mut document, &finding, Scenario::Rollback));
        // Its line has moved.
        let mut moved = finding.clone();
        let blame = moved.blames.take().unwrap();
        let moved = moved.with_blame(blame.with_file("4_x.sql:9"));
        assert!(!add(&mut document, &moved, Scenario::Rollback));
        let written = document.to_string();
        assert!(written.starts_with("# Ours."), "{written}");
        let known = read(&written).unwrap();
        assert_eq!(known.findings.len(), 1, "{written}");
        assert!(known.findings[0].matches(&finding));
        let expected = [Scenario::RoundTrip, Scenario::Rollback];
        assert_eq!(known.findings[0].scenarios, expected);

        // What is over stays over.
        let over = format!("{written}until = 2020-01-31\n");
        let mut document: DocumentMut = over.parse().unwrap();
        assert!(!add(&mut document, &finding, Scenario::Upgrade));
        assert_eq!(document.to_string(), over);
    }
}
