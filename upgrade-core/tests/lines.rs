//! Lines that the sources of this crate may not cross.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A source file without the tests below its code, which may do as they like.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let tests = "#[cfg(test)]\nmod tests {";
    text.split(tests).next().unwrap().to_owned()
}

fn sources(of: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(of);
    let mut folders = vec![root];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let code = code(&path);
                found.push((path, code));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// A plan says all of what is done and when: the runner knows no scenario.
#[test]
fn the_runner_asks_no_plan_for_its_scenario() {
    for (path, code) in sources("runner") {
        for word in ["Scenario", ".scenario"] {
            assert!(!code.contains(word), "{} says `{word}`", path.display());
        }
    }
}

/// The modules of the crate by their names, each with its file.
fn modules() -> BTreeMap<Vec<String>, PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let named = |(path, _): (PathBuf, String)| {
        let below = path.strip_prefix(&root).unwrap().with_extension("");
        let mut names: Vec<String> = below
            .iter()
            .map(|name| name.to_str().unwrap().to_owned())
            .collect();
        if ["mod", "lib"].contains(&names.last().unwrap().as_str()) {
            names.pop();
        }
        (names, path)
    };
    sources("").into_iter().map(named).collect()
}

/// The paths that a module names: from the crate's root, from itself, its own modules or the one
/// above it.
fn named_in(code: &str, module: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for (start, above) in [
        ("crate::", module.len()),
        ("super::", 1),
        ("self::", 0),
        ("use ", 0),
    ] {
        let from = &module[..module.len() - above.min(module.len())];
        for (at, _) in code.match_indices(start) {
            let line = code[..at].rsplit('\n').next().unwrap();
            let inside =
                code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if inside || line.trim_start().starts_with("//") {
                continue;
            }
            let tree = &code[at + start.len()..];
            let end = tree
                .find([';', '(', ' ', ',', '>', ')'])
                .unwrap_or(tree.len());
            let braces = tree.find('{').filter(|open| *open < end);
            match braces {
                None => found.insert(path(from, &tree[..end])),
                Some(open) => {
                    let close = tree.find("};").unwrap();
                    // No `use` in this crate has braces within braces.
                    let names = tree[open + 1..close].split(',').map(str::trim);
                    names
                        .filter(|name| !name.is_empty())
                        .map(|name| found.insert(path(from, &format!("{}{name}", &tree[..open]))))
                        .fold(false, |any, new| any | new)
                }
            };
        }
    }
    found
}

fn path(from: &[String], text: &str) -> Vec<String> {
    let names = text
        .split("::")
        .map(str::trim)
        .filter(|name| *name != "self");
    from.iter()
        .cloned()
        .chain(names.map(str::to_owned))
        .collect()
}

fn module_of(name: &str) -> Vec<String> {
    name.split("::").map(str::to_owned).collect()
}

/// The four traits can be read, and some day be released, without any back end: neither their
/// modules nor what these import, directly or through others, name one.
#[test]
fn the_traits_import_no_back_end() {
    let modules = modules();
    let mut open: Vec<Vec<String>> = ["environment", "migration", "rollback", "validator"]
        .iter()
        .map(|name| vec![(*name).to_owned(), "contract".to_owned()])
        .collect();
    let mut reached: BTreeMap<Vec<String>, Vec<String>> = open
        .iter()
        .map(|module| (module.clone(), Vec::new()))
        .collect();
    while let Some(module) = open.pop() {
        let file = &modules[&module];
        for named in named_in(&code(file), &module) {
            let of = (0..=named.len()).rev().map(|length| &named[..length]);
            let target = of
                .into_iter()
                .find(|name| modules.contains_key(*name))
                .unwrap();
            let back_end = target
                .iter()
                .any(|name| name == "postgres" || name == "docker");
            let mut chain = vec![named.join("::"), module.join("::")];
            while let Some(above) = reached.get(&module_of(chain.last().unwrap())) {
                if above.is_empty() {
                    break;
                }
                chain.push(above.join("::"));
            }
            assert!(!back_end, "{}", chain.join(", imported by "));
            if !target.is_empty() && !reached.contains_key(target) {
                reached.insert(target.to_vec(), module.clone());
                open.push(target.to_vec());
            }
        }
    }
    assert!(reached.len() > 12, "{:?}", reached.keys());
}
