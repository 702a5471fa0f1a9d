//! The cases that `#[upgrade_test]` makes, from the inside and from the outside: what their
//! context carries, what the test harness lists, how a failure reads.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the bodies of upgrade tests are tests, which the lints do not see"
)]

use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use upgrade_testkit::case::{DEFAULT_ROWS, Disposal};
use upgrade_testkit::prelude::*;

/// The harness names the thread of a test after it, unless there is only the main thread.
#[track_caller]
fn assert_path(path: &str) {
    let thread = std::thread::current();
    let name = thread.name().expect("the harness names its threads");
    assert!(name == path || name == "main", "{path} runs on {name}");
}

#[upgrade_test(scenarios = [control, upgrade])]
async fn cells(cx: UpgradeContext) {
    cx.rehearses_nothing();
    let case = TestCase::of(&cx).unwrap();
    let spec = case.spec();
    assert_eq!(spec.name(), "cells");
    assert!(matches!(
        spec.scenario(),
        Scenario::Control | Scenario::Upgrade
    ));
    assert_path(&spec.path());
    assert_eq!(spec.crate_name(), "harness");
    assert_eq!(spec.package(), "upgrade-testkit");
    assert!(spec.file().ends_with("harness.rs"));
    assert_eq!(spec.manifest_dir(), env!("CARGO_MANIFEST_DIR"));
    assert_eq!(
        (spec.migrations(), spec.from(), spec.postgres()),
        (None, None, None)
    );
    assert!(spec.upgrade().is_none() && spec.rollback_within().is_none());
    assert!(spec.reversible().is_none() && !spec.is_ignored());
    assert_eq!(cx.seed(), case.seed());
    if case.settings().rows.is_none() {
        assert_eq!(case.rows(), DEFAULT_ROWS);
    }
}

async fn shop(cx: UpgradeContext) -> Result<Upgrade> {
    // Drives the runtime: timers work.
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(Upgrade::new("shop", "v1", format!("seed-{}", cx.seed())))
}

#[upgrade_test(from = ["v1.8.0", "0002"], scenarios = [control, upgrade])]
async fn several_releases(cx: UpgradeContext) -> Result<()> {
    cx.rehearses_nothing();
    let case = TestCase::of(&cx)?;
    assert_path(&case.spec().path());
    assert!(matches!(case.spec().from(), Some("v1.8.0" | "0002")));
    Ok(())
}

#[upgrade_test(from = ["a", "b"], scenarios = [upgrade], postgres = [15])]
async fn releases_on_versions(cx: UpgradeContext) {
    cx.rehearses_nothing();
    assert_path(&TestCase::of(&cx).unwrap().spec().path());
}

#[upgrade_test(
    upgrade = shop, postgres = [15, 17], scenarios = [crash], rollback_within = "1m30s",
    rows = 9, seed = 7, reversible = true,
)]
async fn options(cx: UpgradeContext) -> Result<()> {
    cx.rehearses_nothing();
    let case = TestCase::of(&cx)?;
    let spec = case.spec();
    assert_path(&spec.path());
    assert!(matches!(spec.postgres(), Some(15 | 17)));
    assert_eq!(spec.rollback_within(), Some(Duration::from_secs(90)));
    assert_eq!((case.seed(), case.rows(), cx.seed()), (7, 9, 7));
    assert_eq!(spec.reversible(), Some(true));
    let build = spec.upgrade().expect("the attribute names one");
    assert_eq!(build(cx.clone()).await?.to().as_str(), "seed-7");
    Ok(())
}

/// A module that uses what its parent imports, and names a function relative to itself.
mod nested {
    use super::*;

    async fn near(_cx: UpgradeContext) -> Result<Upgrade> {
        Ok(Upgrade::new("near", "1", "2"))
    }

    #[upgrade_test(migrations = "db", from = "v1", scenarios = [upgrade])]
    async fn deep(cx: UpgradeContext) -> std::result::Result<(), Box<dyn std::error::Error>> {
        cx.rehearses_nothing();
        // A body may hold what stays on one thread.
        let spec = Rc::new(*TestCase::of(&cx)?.spec());
        tokio::task::yield_now().await;
        assert_eq!(spec.path(), "nested::deep::upgrade");
        assert_eq!((spec.migrations(), spec.from()), (Some("db"), Some("v1")));
        assert_eq!(cx.from().as_str(), "v1");
        Ok(())
    }

    #[upgrade_test(upgrade = self::near, scenarios = [upgrade])]
    async fn by_self(cx: UpgradeContext) -> Result<()> {
        cx.rehearses_nothing();
        let build = TestCase::of(&cx)?.spec().upgrade().expect("it is named");
        assert_eq!(build(cx.clone()).await?.name(), "near");
        Ok(())
    }

    #[upgrade_test(upgrade = super::shop, scenarios = [upgrade])]
    async fn by_super(cx: UpgradeContext) -> Result<()> {
        cx.rehearses_nothing();
        let build = TestCase::of(&cx)?.spec().upgrade().expect("it is named");
        assert_eq!(build(cx.clone()).await?.name(), "shop");
        Ok(())
    }
}

/// A name that is a keyword.
#[upgrade_test(scenarios = [control])]
async fn r#loop(cx: UpgradeContext) -> Result<()> {
    cx.rehearses_nothing();
    let spec = TestCase::of(&cx)?.spec();
    assert_path(&spec.path());
    assert_eq!(listed(&["--list", "--exact", &spec.path()]), [spec.path()]);
    Ok(())
}

#[upgrade_test(scenarios = [control])]
#[should_panic(expected = "the body's own words")]
async fn panics(_cx: UpgradeContext) {
    panic!("the body's own words");
}

#[upgrade_test(scenarios = [control])]
#[should_panic(expected = "phase: soak")]
async fn errors(_cx: UpgradeContext) -> Result<()> {
    Err(Error::new(ErrorKind::Failed, "it did not hold").with_phase(upgrade_core::Phase::Soak))
}

#[upgrade_test]
async fn every(cx: UpgradeContext) {
    cx.rehearses_nothing();
}

/// Those that are there only where they are named.
#[upgrade_test(scenarios = [rolling])]
async fn named(cx: UpgradeContext) {
    cx.rehearses_nothing();
}

#[upgrade_test(scenarios = [control])]
#[should_panic(expected = "nothing was rehearsed")]
async fn forgets(_cx: UpgradeContext) {}

#[upgrade_test(scenarios = [upgrade])]
#[should_panic(expected = "nothing was rehearsed")]
async fn drops_it(cx: UpgradeContext) {
    drop(cx.upgrade().rehearse());
}

#[upgrade_test(scenarios = [control, upgrade])]
#[should_panic(expected = "would repeat it for each of its scenarios")]
async fn sequences_of_several(cx: UpgradeContext) -> Result<()> {
    cx.upgrade().sequences().rehearse().await
}

#[upgrade_test(scenarios = [control])]
#[ignore = "is listed and run by the tests below"]
async fn ignored(cx: UpgradeContext) -> Result<()> {
    cx.rehearses_nothing();
    assert!(TestCase::of(&cx)?.spec().is_ignored());
    Ok(())
}

#[cfg(any())]
#[upgrade_test]
async fn absent(cx: NoSuchType) {}

struct Run {
    success: bool,
    output: String,
}

/// Runs this very program as `cargo test` would.
fn harness(args: &[&str], variables: &[(&str, &str)]) -> Run {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(args)
        .args(["--test-threads", "1"])
        .env_remove("UPGRADE_TEST_KEEP")
        .env_remove("UPGRADE_TEST_SEED")
        .env_remove("UPGRADE_TEST_ROWS")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Run {
        success: output.status.success(),
        output: String::from_utf8(output.stdout).unwrap()
            + String::from_utf8(output.stderr).unwrap().as_str(),
    }
}

fn listed(args: &[&str]) -> Vec<String> {
    harness(args, &[])
        .output
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn cases_are_listed_under_readable_paths() {
    let all = listed(&["--list"]);
    let of = |test: &str| -> Vec<&str> {
        all.iter()
            .filter_map(|path| path.strip_prefix(test)?.strip_prefix("::"))
            .collect()
    };
    assert_eq!(of("cells"), ["control", "upgrade"]);
    assert_eq!(of("options"), ["crash::pg15", "crash::pg17"]);
    assert_eq!(of("nested::deep"), ["upgrade"]);
    assert_eq!(
        of("several_releases"),
        [
            "control::from_0002",
            "control::from_v1_8_0",
            "upgrade::from_0002",
            "upgrade::from_v1_8_0"
        ]
    );
    assert_eq!(
        of("releases_on_versions"),
        ["upgrade::from_a::pg15", "upgrade::from_b::pg15"]
    );
    assert!(of("absent").is_empty());

    let scenarios = |named: bool| -> Vec<&str> {
        let all = Scenario::ALL.into_iter();
        let wanted = all.filter(|scenario| scenario.needs_services() == named);
        let mut names: Vec<&str> = wanted.map(Scenario::as_str).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(of("every"), scenarios(false));
    assert_eq!(of("named"), scenarios(true));
}

#[test]
fn ignore_stands_on_every_case() {
    assert_eq!(listed(&["--list", "--ignored"]), ["ignored::control"]);
}

/// Set for a case that a test of this file runs once more, to look at it from the outside.
const INNER: &str = "UPGRADE_HARNESS_INNER";

fn inner() -> bool {
    std::env::var_os(INNER).is_some()
}

/// Runs itself as another process, in which it fails, and checks the output of that.
#[upgrade_test(scenarios = [control], seed = 3)]
async fn fails(cx: UpgradeContext) -> Result<()> {
    cx.rehearses_nothing();
    if inner() {
        let case = TestCase::of(&cx)?;
        for name in ["first", "second"] {
            case.defer(name, move |disposal| async move {
                tokio::task::yield_now().await;
                println!("{name} {disposal:?}");
                Ok(())
            });
        }
        assert_eq!(Disposal::Keep, Disposal::Remove, "in the body");
    }
    for (keep, said) in [
        ("0", "second Remove\nfirst Remove\n"),
        ("1", "second Keep\nfirst Keep\n"),
    ] {
        let run = harness(
            &["fails::control", "--exact"],
            &[(INNER, "1"), ("UPGRADE_TEST_KEEP", keep)],
        );
        assert!(!run.success);
        for part in [
            "in the body",
            said,
            "to run it again: UPGRADE_TEST_SEED=3 cargo test -p upgrade-testkit --test harness \
             fails::control -- --exact\n",
        ] {
            assert!(run.output.contains(part), "{}", run.output);
        }
    }
    Ok(())
}

/// Runs itself as another process, in which its cleanup fails.
#[upgrade_test(scenarios = [control])]
async fn leaves(cx: UpgradeContext) -> Result<()> {
    cx.rehearses_nothing();
    if inner() {
        let case = TestCase::of(&cx)?;
        case.defer("database `x`", |_| async {
            Err(Error::new(ErrorKind::Database, "it is still in use"))
        });
        case.defer("folder `y`", |_| async { panic!("no folder") });
        return Ok(());
    }
    let run = harness(&["leaves::control", "--exact"], &[(INNER, "1")]);
    assert!(!run.success);
    for part in [
        "the test did not remove database `x`: it is still in use",
        "the test did not remove folder `y`: its cleanup panicked",
    ] {
        assert!(run.output.contains(part), "{}", run.output);
    }
    Ok(())
}

#[test]
fn a_bad_variable_is_named() {
    let run = harness(
        &["cells::control", "--exact"],
        &[("UPGRADE_TEST_ROWS", "many")],
    );
    assert!(!run.success);
    assert!(
        run.output
            .contains("environment variable `UPGRADE_TEST_ROWS` is `many`"),
        "{}",
        run.output
    );
}

/// Runs the line that a failure prints, as far as the arguments of the test program go.
#[upgrade_test(scenarios = [upgrade])]
async fn reproduced(cx: UpgradeContext) -> Result<()> {
    cx.rehearses_nothing();
    let case = TestCase::of(&cx)?;
    if inner() {
        println!("again with {}", case.seed());
        return Ok(());
    }
    let line = case.reproduce();
    let (seed, arguments) = line
        .split_once(" cargo test -p upgrade-testkit --test harness ")
        .expect("this is an integration test");
    let seed = seed
        .strip_prefix("UPGRADE_TEST_SEED=")
        .expect("the seed stands first");
    let mut arguments: Vec<&str> = arguments.split(' ').filter(|word| *word != "--").collect();
    arguments.push("--show-output");
    let run = harness(&arguments, &[("UPGRADE_TEST_SEED", seed), (INNER, "1")]);
    assert!(run.success, "{}", run.output);
    assert!(run.output.contains("1 passed"), "{}", run.output);
    assert!(
        run.output.contains(&format!("again with {}\n", cx.seed())),
        "{}",
        run.output
    );
    Ok(())
}
