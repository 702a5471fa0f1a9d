//! Lines that the sources of this crate may not cross.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::fs;
use std::path::{Path, PathBuf};

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
                let text = fs::read_to_string(&path).unwrap();
                // What tests below the code do is theirs.
                let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
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
