//! The corpus: pairs of descriptions, with all that every rule says about each.
//!
//! A case changes `base.json`. `old schema` and `new schema` are the schema `Value`, which is a body of a
//! request and of a response. `old` and `new` are merge patches of the whole. The comments before say how
//! oasdiff documents the same kind of change, and how it has to be judged here, written down before the
//! first run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use upgrade_core::Finding;
use upgrade_core::finding::Severity;
use upgrade_core::openapi::{CompareOptions, Description, compare, rules};

/// The expected findings are written anew where this is set; else a difference fails.
const WRITE: &str = "UPGRADE_UPDATE_CASES";

pub(crate) struct Case {
    pub(crate) name: String,
    path: PathBuf,
    oasdiff: String,
    ours: String,
    pub(crate) old: Value,
    pub(crate) new: Value,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi")
}

pub(crate) fn base() -> Value {
    let text = fs::read_to_string(folder().join("base.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Merges a patch as RFC 7386 has it.
pub(crate) fn patch(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let map = value.as_object_mut().unwrap();
    for (key, change) in changes {
        match change {
            Value::Null => drop(map.remove(key)),
            change => self::patch(map.entry(key.clone()).or_insert(Value::Null), change),
        }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder().join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|one| one == "case"))
        .collect();
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Case {
    let text = fs::read_to_string(&path).unwrap();
    let (mut old, mut new) = (base(), base());
    let mut comments = BTreeMap::new();
    for line in text.lines() {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        if key.starts_with('#') {
            comments.insert(
                key.trim_start_matches(['#', ' ']).to_owned(),
                value.to_owned(),
            );
            continue;
        }
        let value: Value = serde_json::from_str(value).unwrap();
        match key {
            "old schema" => old["components"]["schemas"]["Value"] = value,
            "new schema" => new["components"]["schemas"]["Value"] = value,
            "old" => {
                patch(&mut old, &value);
                if !text.contains("schema: ") {
                    patch(&mut new, &value);
                }
            }
            "new" => patch(&mut new, &value),
            other => panic!("`{other}` in {}", path.display()),
        }
    }
    new["info"]["version"] = json!("1.3.0");
    Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        oasdiff: comments["oasdiff"].clone(),
        ours: comments["ours"].clone(),
        path,
        old,
        new,
    }
}

pub(crate) fn described(name: &str, value: &Value) -> Description {
    Description::read(name, &value.to_string()).unwrap()
}

pub(crate) fn options() -> CompareOptions {
    CompareOptions::new()
        .with_compatible_changes()
        .with_today("2026-11-30")
        .unwrap()
}

pub(crate) fn findings(case: &Case) -> Vec<Finding> {
    compare(
        &described("old.json", &case.old),
        &described("new.json", &case.new),
        &options(),
    )
}

/// The name of the rule, without what has happened.
fn rule(finding: &Finding) -> String {
    let (_, rest) = finding.message.rsplit_once("(rule ").unwrap();
    let name = rest.split([',', ')']).next().unwrap();
    let bare = ["-narrowed", "-widened", "-changed"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    let is_rule = |name: &str| rules().iter().any(|rule| rule.name == name);
    match bare {
        Some(bare) if is_rule(bare) => bare.to_owned(),
        _ => name.to_owned(),
    }
}

#[test]
fn every_rule_says_on_every_case_what_is_committed() {
    let mut differ = Vec::new();
    for case in cases() {
        let lines = findings(&case)
            .into_iter()
            .map(|finding| format!("{finding}\n"));
        let is: String = lines.collect();
        let path = case.path.with_extension("expected");
        let should =
            fs::read_to_string(&path).unwrap_or_else(|_| "there is no such file".to_owned());
        if is == should {
            continue;
        }
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, is).unwrap();
        } else {
            differ.push(format!("{}: is\n{is}should be\n{should}", case.name));
        }
    }
    assert!(
        differ.is_empty(),
        "`{WRITE}=1 cargo test --test openapi` writes these:\n{}",
        differ.join("\n")
    );
}

/// The worst of the findings of one direction, or of all.
fn worst(findings: &[Finding], direction: &str) -> &'static str {
    let of_direction = |finding: &&Finding| match direction {
        "request" => finding.subject.as_str().starts_with("PUT /values request"),
        "response" => finding.subject.as_str().starts_with("GET /values response"),
        _ => true,
    };
    let worst = findings
        .iter()
        .filter(of_direction)
        .map(|finding| finding.severity)
        .max();
    worst.map_or("none", Severity::as_str)
}

/// Each judgement of a comment: the direction, or none, and the level.
fn judgements(text: &str) -> Vec<(&str, &str)> {
    let parts = text.split(", ").map(|part| match part.split_once(' ') {
        Some((direction @ ("request" | "response"), level)) => (direction, level),
        _ => ("", part),
    });
    parts.collect()
}

fn titled(case: &Case, direction: &str) -> String {
    format!("{} {direction}", case.name).trim_end().to_owned()
}

#[test]
fn each_case_is_judged_as_its_comment_says() {
    let (mut right, mut all, mut wrong) = (0, 0, Vec::new());
    let (mut agree, mut known, mut differ) = (0, 0, Vec::new());
    for case in cases() {
        let findings = findings(&case);
        for (direction, level) in judgements(&case.ours) {
            all += 1;
            let is = worst(&findings, direction);
            match is == level {
                true => right += 1,
                false => wrong.push(format!("{}: {is}, not {level}", titled(&case, direction))),
            }
        }
        for (direction, level) in judgements(&case.oasdiff) {
            let theirs = match level {
                "ERR" => "error",
                "WARN" => "warning",
                "INFO" | "none" => "note",
                _ => continue,
            };
            known += 1;
            let ours = worst(&findings, direction).replace("none", "note");
            match ours == theirs {
                true => agree += 1,
                false => differ.push(format!(
                    "{}: {ours}, oasdiff {level}",
                    titled(&case, direction)
                )),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{right} of {all} are right:\n{}",
        wrong.join("\n")
    );
    // The figures of the design note.
    let figures = format!("{right} of {all} right, {agree} of {known} as oasdiff documents");
    let note =
        fs::read_to_string(folder().join("../../../docs/design/0016-openapi-rules.md")).unwrap();
    assert!(note.contains(&figures), "{figures}\n{}", differ.join("\n"));
    for one in differ {
        assert!(note.contains(&one), "not in the design note: {one}");
    }
}

#[test]
fn each_rule_is_shown_from_both_sides() {
    let (mut bad, mut fine) = (BTreeSet::new(), BTreeSet::new());
    for case in cases() {
        for finding in findings(&case) {
            let side = match finding.severity {
                Severity::Note => &mut fine,
                _ => &mut bad,
            };
            side.insert(rule(&finding));
        }
    }
    let known: BTreeSet<String> = rules().iter().map(|rule| rule.name.clone()).collect();
    let raised: BTreeSet<String> = bad.union(&fine).cloned().collect();
    let unlisted: Vec<&String> = raised.difference(&known).collect();
    assert!(unlisted.is_empty(), "not in `rules()`: {unlisted:?}");
    for rule in rules() {
        let fires = match rule.level {
            Severity::Note => fine.contains(&rule.name),
            _ => bad.contains(&rule.name),
        };
        assert!(
            fires,
            "no case in which `{}` reports a {}",
            rule.name, rule.level
        );
        // Each schema rule sees a change that it must not object to.
        if rule.direction.is_some() {
            assert!(
                fine.contains(&rule.name),
                "no case in which `{}` is content",
                rule.name
            );
        }
    }
}
