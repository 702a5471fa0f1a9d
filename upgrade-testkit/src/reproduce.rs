//! The line that runs one case again: copied from a failure, pasted into a shell.

use std::fmt::Write;
use std::path::Path;

use crate::spec::TestSpec;

/// The command. `rows` is `UPGRADE_TEST_ROWS` where it made a difference; `targets` are the names
/// of the integration tests of the package, see [`test_targets`].
pub fn command(spec: &TestSpec, seed: u64, rows: Option<u32>, targets: &[String]) -> String {
    let mut line = format!("UPGRADE_TEST_SEED={seed} ");
    if let Some(rows) = rows {
        let _ = write!(line, "UPGRADE_TEST_ROWS={rows} ");
    }
    let _ = write!(
        line,
        "cargo test -p {} {} {} -- --exact",
        spec.package(),
        target(spec, targets),
        spec.path(),
    );
    if spec.is_ignored() {
        line.push_str(" --include-ignored");
    }
    line
}

/// The names of the integration tests that a package has by convention: `tests/NAME.rs` and
/// `tests/NAME/main.rs`. Empty where there is no such folder.
pub fn test_targets(manifest_dir: &str) -> Vec<String> {
    let Ok(entries) = Path::new(manifest_dir).join("tests").read_dir() else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "rs")
                || path.join("main.rs").is_file()
        })
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// The option that chooses the binary with the test.
fn target(spec: &TestSpec, targets: &[String]) -> String {
    let crate_name = spec.crate_name();
    match (top_folder(spec), spec.binary()) {
        (Some("examples"), Some(name)) => format!("--example {name}"),
        (_, Some(name)) => format!("--bin {name}"),
        (Some("src"), None) => "--lib".to_owned(),
        (Some("examples"), None) => format!("--example {crate_name}"),
        (Some("benches"), None) => format!("--bench {crate_name}"),
        (_, None) => {
            // A crate's name has `_` where the name of its file may have `-`.
            let file = targets
                .iter()
                .find(|name| name.replace('-', "_") == crate_name);
            format!("--test {}", file.map_or(crate_name, String::as_str))
        }
    }
}

/// The folder of the package that the source file is in. The compiler is told a path from the
/// root of the workspace, which is the folder of the package or one above it; the outermost that
/// fits is taken, because a member may lie in a folder called `examples` itself.
fn top_folder(spec: &TestSpec) -> Option<&'static str> {
    let manifest_dir = Path::new(spec.manifest_dir());
    let roots: Vec<&Path> = manifest_dir.ancestors().collect();
    roots.into_iter().rev().find_map(|root| {
        let file = root.join(spec.file());
        let within = file.strip_prefix(manifest_dir).ok()?;
        let first = within.components().next()?;
        ["src", "tests", "examples", "benches"]
            .into_iter()
            .find(|name| first.as_os_str() == *name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Origin;
    use crate::spec::tests::ORIGIN;

    #[track_caller]
    fn check(origin: Origin, expected: &str) {
        let targets = ["db-tests".to_owned(), "shop".to_owned()];
        assert_eq!(target(&TestSpec::new(origin), &targets), expected);
    }

    #[test]
    fn the_whole_line() {
        let spec = TestSpec::new(ORIGIN).with_postgres(15);
        assert_eq!(
            command(&spec, 7, None, &[]),
            "UPGRADE_TEST_SEED=7 cargo test -p shop --test shop db::orders::upgrade::pg15 -- --exact"
        );
        assert_eq!(
            command(&spec.with_ignored(), 7, Some(9), &[]),
            "UPGRADE_TEST_SEED=7 UPGRADE_TEST_ROWS=9 cargo test -p shop --test shop \
             db::orders::upgrade::pg15 -- --exact --include-ignored"
        );
    }

    #[test]
    fn the_binary_follows_from_the_file() {
        check(ORIGIN, "--test shop");
        check(
            Origin {
                file: "examples/shop/tests/shop.rs",
                manifest_dir: "/w/examples/shop",
                ..ORIGIN
            },
            "--test shop",
        );
        check(
            Origin {
                file: "tests/shop.rs",
                ..ORIGIN
            },
            "--test shop",
        );
        check(
            Origin {
                file: "/w/shop/tests/shop/a.rs",
                ..ORIGIN
            },
            "--test shop",
        );
        check(
            Origin {
                module: "db_tests::orders",
                ..ORIGIN
            },
            "--test db-tests",
        );
        check(
            Origin {
                module: "other::orders",
                ..ORIGIN
            },
            "--test other",
        );
        check(
            Origin {
                file: "shop/src/db.rs",
                ..ORIGIN
            },
            "--lib",
        );
        check(
            Origin {
                file: "shop/src/main.rs",
                binary: Some("shopd"),
                ..ORIGIN
            },
            "--bin shopd",
        );
        check(
            Origin {
                file: "shop/examples/a.rs",
                binary: Some("a"),
                ..ORIGIN
            },
            "--example a",
        );
        check(
            Origin {
                module: "b::orders",
                file: "shop/benches/b.rs",
                ..ORIGIN
            },
            "--bench b",
        );
    }

    #[test]
    fn integration_tests_are_found_by_name() {
        let names = test_targets(env!("CARGO_MANIFEST_DIR"));
        assert!(names.contains(&"harness".to_owned()), "{names:?}");
        assert!(test_targets("/does/not/exist").is_empty());
    }
}
