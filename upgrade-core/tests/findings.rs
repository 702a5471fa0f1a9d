//! The catalogue of findings, its pages, and what the sources really raise.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use upgrade_core::Scenario;
use upgrade_core::finding::{FindingKind, by_area, catalogue};

/// A page and the index are written anew where this is set; else a difference fails.
const WRITE: &str = "UPGRADE_UPDATE_FINDINGS";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn path_of(id: &str) -> PathBuf {
    docs().join(format!("findings/{id}.md"))
}

/// Compares a file with what it has to be, or writes it.
fn hold(path: &Path, is: &str, should: &str) {
    if is == should {
        return;
    }
    if std::env::var_os(WRITE).is_some() {
        fs::write(path, should).unwrap();
        return;
    }
    panic!(
        "{} is not as the catalogue has it; `{WRITE}=1 cargo test --test findings` writes it",
        path.display()
    );
}

/// What a page begins with.
fn head(kind: &FindingKind) -> String {
    let FindingKind {
        id,
        title,
        severity,
        otherwise,
        scenarios,
        ..
    } = kind;
    let mut weighs = severity.to_string();
    weighs[..1].make_ascii_uppercase();
    if !otherwise.is_empty() {
        weighs = format!("{weighs}; {otherwise}");
    }
    let names: Vec<String> = scenarios.iter().map(|one| format!("`{one}`")).collect();
    let found = match &names[..] {
        [] => "outside of scenarios".to_owned(),
        all if all.len() == Scenario::ALL.len() => "by every scenario".to_owned(),
        all if all.len() == Scenario::ALL.len() - 1 && !scenarios.contains(&Scenario::Control) => {
            "by every scenario except `control`".to_owned()
        }
        [one] => format!("by {one}"),
        [most @ .., last] => format!("by {} and {last}", most.join(", ")),
    };
    format!("# `{id}`: {title}\n\n{weighs}. Found {found}.")
}

#[test]
fn every_kind_has_a_page_and_every_page_a_kind() {
    let mut pages = BTreeSet::new();
    for area in fs::read_dir(docs().join("findings")).unwrap() {
        for page in fs::read_dir(area.unwrap().path()).unwrap() {
            let page = page.unwrap().path().with_extension("");
            let id = page.strip_prefix(docs().join("findings")).unwrap();
            pages.insert(id.to_str().unwrap().to_owned());
        }
    }
    let kinds: BTreeSet<String> = catalogue().iter().map(|kind| kind.id.to_owned()).collect();
    assert_eq!(pages, kinds);
}

#[test]
fn a_page_says_what_breaks_and_what_to_do() {
    for kind in catalogue() {
        let (id, path) = (kind.id, path_of(kind.id));
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let (_, _, third) = (lines.next(), lines.next(), lines.next().unwrap());
        // What else has to be said of when it is found follows.
        let more = match third.split_once(" Found ") {
            Some((_, found)) => found.split_once(". ").map_or("", |(_, more)| more),
            None => "",
        };
        let rest: Vec<&str> = lines.collect();
        let space = if more.is_empty() { "" } else { " " };
        let should = format!("{}{space}{more}\n{}\n", head(kind), rest.join("\n"));
        hold(&path, &text, &should);
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
        let lines = text.lines().count();
        assert!((10..=30).contains(&lines), "{id}: {lines}");
    }
}

#[test]
fn the_index_lists_every_kind_under_its_area() {
    let path = docs().join("findings.md");
    let index = fs::read_to_string(&path).unwrap();
    let begins = index.find("\n## ").expect("a first area");
    let mut should = index[..begins].to_owned();
    let mut listed = 0;
    for (heading, kinds) in by_area() {
        should += &format!("\n## {heading}\n\n| id | severity | what it means |\n|---|---|---|\n");
        for kind in kinds {
            let FindingKind {
                id,
                title,
                severity,
                otherwise,
                ..
            } = kind;
            let space = if otherwise.is_empty() { "" } else { "; " };
            should += &format!(
                "| [`{id}`](findings/{id}.md) | {severity}{space}{otherwise} | {title} |\n"
            );
            listed += 1;
        }
    }
    assert_eq!(listed, catalogue().len(), "an id of no area");
    hold(&path, &index, &should);
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

/// String literals of an area and a fact.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |word: &str| {
        let mut parts = word.split('-');
        parts.all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase()))
    };
    text.split('"').filter(move |word| {
        let parts = word.split_once('/');
        parts.is_some_and(|(area, fact)| is_area(area) && is_word(fact))
    })
}

fn is_area(name: &str) -> bool {
    catalogue().iter().any(|kind| kind.area() == name)
}

#[test]
fn what_the_sources_raise_is_in_the_catalogue() {
    let unknown: Vec<String> = raised()
        .into_iter()
        .filter(|(id, _)| FindingKind::of(id).is_none())
        .map(|(id, path)| format!("`{id}` in {}", path.display()))
        .collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:#?}");
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
    let text = "f(\"up/bc\", 'x', \"up/not this\", \"up\", \"no/c\") // \"down/e-f\"\n\
                #[cfg(test)]\nuse x;\nlet y = \"crash/i\";\n#[cfg(test)]\nmod tests {\n\"up/j\"";
    assert_eq!(
        ids(without_tests(text)).collect::<Vec<_>>(),
        ["up/bc", "down/e-f", "crash/i"]
    );
}
