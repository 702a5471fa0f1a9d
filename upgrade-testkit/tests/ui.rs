//! What the compiler says about a mistake in `#[upgrade_test]`, and what it accepts.
//!
//! The cases are compiled against the library that this test was built with, so nothing is built a
//! second time. After a change of a message: `UPGRADE_UI=overwrite cargo test -p upgrade-testkit
//! --test ui`, and read what git shows.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where cargo puts what it builds for tests.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_owned()
}

/// The library, in the build that was made last: cargo keeps those with other features.
fn library() -> PathBuf {
    let all = fs::read_dir(built()).unwrap().map(|entry| entry.unwrap());
    let ours = all.filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("libupgrade_testkit-") && name.ends_with(".rlib")
    });
    let last = ours.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    last.unwrap().path()
}

fn compile(case: &Path, as_tests: bool) -> Output {
    let out = tempfile::tempdir().unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"))
        .args([
            "--edition",
            "2024",
            "--color",
            "never",
            "--emit",
            "metadata",
        ])
        .arg("--out-dir")
        .arg(out.path())
        .arg("-L")
        .arg(format!("dependency={}", built().display()))
        .arg("--extern")
        .arg(format!("upgrade_testkit={}", library().display()))
        .arg(case);
    if as_tests {
        rustc.arg("--test");
    }
    rustc.output().unwrap()
}

/// The messages alone, without what differs from one machine to the next.
fn messages(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = text.replace(root.to_str().unwrap(), "$WORKSPACE");
    let apart = ["the full name for the type", "consider using `--verbose`"];
    let lines = text
        .lines()
        .filter(|line| !apart.iter().any(|words| line.contains(words)));
    let lines: Vec<&str> = lines.map(of_library).collect();
    let sum = ["error: aborting due to", "For more information about"];
    let text = lines.join("\n");
    let blocks = text.split("\n\n").map(str::trim_end);
    let kept: Vec<&str> = blocks
        .filter(|block| !block.is_empty() && !sum.iter().any(|start| block.starts_with(start)))
        .collect();
    kept.join("\n\n") + "\n"
}

/// A place in the library without its line, which is not what a case is about.
fn of_library(line: &str) -> &str {
    match line.find(".rs:") {
        Some(end) if line.contains("--> upgrade-testkit/src/") => &line[..end + 3],
        _ => line,
    }
}

fn cases(of: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/ui").join(of);
    let entries = fs::read_dir(&folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    let mut cases: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
    cases.retain(|case| case.extension().is_some_and(|is| is == "rs"));
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

#[test]
fn what_is_right_compiles_and_so_do_the_tests_that_it_makes() {
    for case in cases("pass") {
        for as_tests in [false, true] {
            let output = compile(&case, as_tests);
            let said = messages(&output);
            assert!(output.status.success(), "{}:\n{said}", case.display());
        }
    }
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    let overwrite = std::env::var_os("UPGRADE_UI").is_some_and(|what| what == "overwrite");
    let mut differs = Vec::new();
    for case in cases("fail") {
        let output = compile(&case, false);
        assert!(!output.status.success(), "{} compiles", case.display());
        let said = messages(&output);
        let file = case.with_extension("stderr");
        if overwrite {
            fs::write(&file, said).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if said != expected {
            let diff = similar::TextDiff::from_lines(&expected, &said);
            differs.push(format!(
                "{}:\n{}",
                case.display(),
                diff.unified_diff().context_radius(3)
            ));
        }
    }
    assert!(differs.is_empty(), "{}", differs.join("\n"));
}
