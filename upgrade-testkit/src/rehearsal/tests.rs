//! What a test adds to the upgrade, and an upgrade that a custom function built, reach the run.

use std::fmt::Debug;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use upgrade_core::CommandLine;
use upgrade_core::fault::Faults;
use upgrade_core::finding::KnownFinding;
use upgrade_core::migration::CommandMigration;
use upgrade_core::upgrade::ExpectedChange;
use upgrade_core::validator::Invariant;
use upgrade_core::{Finding, MigrationTest, Traffic, writes_fn};

use super::*;
use crate::spec::tests::ORIGIN;

fn migration() -> CommandMigration {
    CommandMigration::new("7", "more", CommandLine::new("true"))
}

/// A method by its name, and a call of it.
type Method = (&'static str, fn(Upgrade) -> Upgrade);

/// Every method of `Upgrade` that adds something.
const METHODS: &[Method] = &[
    ("with_migration", |upgrade| {
        upgrade.with_migration(migration())
    }),
    ("with_migrations", |upgrade| {
        upgrade.with_migrations([Arc::new(migration()) as _])
    }),
    ("with_released", |upgrade| {
        upgrade.with_released([Arc::new(migration()) as _], [1])
    }),
    ("with_install_order", |upgrade| {
        upgrade.with_install_order([migration().id().clone()])
    }),
    ("with_validator", |upgrade| {
        upgrade.with_validator(Invariant::new("none", "select 1 where false"))
    }),
    ("with_rollback", |upgrade| {
        upgrade.with_rollback(SnapshotSwap::new())
    }),
    ("with_writes", |upgrade| {
        upgrade.with_writes(writes_fn("nothing", |_| async { Ok(()) }))
    }),
    ("with_traffic", |upgrade| {
        upgrade.with_traffic(Traffic::new(Invariant::new("ask", "select 1 where false")))
    }),
    ("with_faults", |upgrade| upgrade.with_faults(Faults::all())),
    ("with_known", |upgrade| {
        upgrade.with_known([KnownFinding::new("down/failed", "old")])
    }),
    ("with_denied", |upgrade| {
        upgrade.with_denied(["rollback/loses"])
    }),
    ("with_test", |upgrade| {
        upgrade.with_test(MigrationTest::of("1").given("select 1"))
    }),
    ("with_comparison", |upgrade| {
        upgrade.with_comparison(Invariant::new("none", "select 1 where false"))
    }),
    ("with_rollback_within", |upgrade| {
        upgrade.with_rollback_within(Duration::from_millis(1))
    }),
    ("with_step_within", |upgrade| {
        upgrade.with_step_within(Duration::from_millis(1))
    }),
    ("with_lock_timeout", |upgrade| {
        upgrade.with_lock_timeout(Duration::from_millis(1))
    }),
    ("with_reversible", Upgrade::with_reversible),
    ("with_every_crash", Upgrade::with_every_crash),
    ("with_expected_change", |upgrade| {
        upgrade.with_expected_change("public.orders", "on purpose")
    }),
    ("with_expected_changes", |upgrade| {
        upgrade.with_expected_changes([ExpectedChange::new("public.lines", "on purpose")])
    }),
    (
        "with_overlapping_releases",
        Upgrade::with_overlapping_releases,
    ),
    ("with_findings", |upgrade| {
        upgrade.with_findings([Finding::note("known", "orders", "before")])
    }),
];

fn base() -> Upgrade {
    Upgrade::new("named", "1", "2")
}

/// The upgrade that the seed names: plain, or with one method called.
fn built(at: usize) -> Upgrade {
    match METHODS.get(at) {
        Some((_, add)) => add(base()),
        None => base(),
    }
}

fn build(cx: UpgradeContext) -> BoxFuture<'static, Result<Upgrade>> {
    async move { Ok(built(usize::try_from(cx.seed()).unwrap())) }.boxed()
}

fn of_function(spec: TestSpec, at: usize) -> Rehearsal {
    let spec = spec.with_upgrade(build).with_seed(at as u64);
    Arc::new(TestCase::new(spec, Settings::default()))
        .context()
        .upgrade()
}

fn text(value: &impl Debug) -> String {
    format!("{value:#?}")
}

#[test]
fn every_method_of_an_upgrade_is_listed() {
    let source = include_str!("../../../upgrade-core/src/upgrade.rs");
    let methods = source.lines().filter_map(|line| {
        let name = line.trim_start().strip_prefix("pub fn ")?;
        let name = name.split(['(', '<']).next()?;
        name.starts_with("with_").then_some(name)
    });
    let mut methods: Vec<&str> = methods.collect();
    let mut listed: Vec<&str> = METHODS.iter().map(|(name, _)| *name).collect();
    methods.sort_unstable();
    listed.sort_unstable();
    assert_eq!(methods, listed);
}

#[tokio::test]
async fn nothing_is_lost_of_what_a_function_builds() {
    let plain = of_function(TestSpec::new(ORIGIN), METHODS.len());
    let releases = release::resolve(&plain).await.unwrap();
    assert_eq!(text(&releases.upgrade), text(&base()));
    let plain = text(&plain.upgrade(&releases));
    for (at, (name, _)) in METHODS.iter().enumerate() {
        let rehearsal = of_function(TestSpec::new(ORIGIN), at);
        let releases = release::resolve(&rehearsal).await.unwrap();
        assert_eq!(text(&releases.upgrade), text(&built(at)), "{name}");
        assert_ne!(text(&rehearsal.upgrade(&releases)), plain, "{name}");
    }
}

#[tokio::test]
async fn nothing_is_lost_of_what_a_test_adds() {
    let rehearsal = || Rehearsal::new("orders").unwrap().built([], []);
    let plain = release::resolve(&rehearsal()).await.unwrap().upgrade;
    for (name, add) in METHODS {
        let releases = release::resolve(&rehearsal().upgrade_with(*add)).await;
        let upgrade = releases.unwrap().upgrade;
        assert_eq!(text(&upgrade), text(&add(plain.clone())), "{name}");
        assert_ne!(text(&upgrade), text(&plain), "{name}");
    }
}

#[tokio::test]
async fn the_test_adds_to_what_its_function_builds() {
    let spec = TestSpec::new(ORIGIN).with_reversible(true);
    let named = METHODS
        .iter()
        .position(|(name, _)| *name == "with_rollback_within");
    let rehearsal = of_function(spec.with_rollback_within_ms(5), named.unwrap())
        .step_within(Duration::from_secs(7))
        .invariant("none", "select 1 where false");
    let upgrade = release::resolve(&rehearsal).await.unwrap().upgrade;
    assert!(upgrade.is_reversible());
    let outline = upgrade.outline(upgrade_core::environment::Capabilities::default());
    assert_eq!(outline.rollback_within, Duration::from_millis(5));
    assert_eq!(outline.step_within, Duration::from_secs(7));
    assert_eq!(upgrade.validators().len(), 1);
}

#[tokio::test]
async fn what_a_test_or_its_function_says_goes_before_the_file_of_the_team() {
    let with_file = |spec: TestSpec| {
        let settings = Settings {
            reversible: Some(true),
            rollback_within: Some(Duration::from_secs(7)),
            ..Settings::default()
        };
        let case = Arc::new(TestCase::new(spec, settings)).context().upgrade();
        case.rollback_and_reversible()
    };
    let plain = TestSpec::new(ORIGIN);
    assert_eq!(with_file(plain), (Duration::from_secs(7), true));
    assert!(!with_file(plain.with_reversible(false)).1);
    let own = plain.with_rollback_within_ms(3000);
    assert_eq!(with_file(own).0, Duration::from_secs(3));
    // The function decides.
    let built = with_file(plain.with_upgrade(build));
    assert!(!built.1 && built.0 != Duration::from_secs(7));
}

#[test]
fn the_provider_in_the_file_reaches_the_pool_unless_the_test_sets_options() {
    let settings = Settings {
        postgres_provider: Some(Containers::Only),
        ..Settings::default()
    };
    let rehearsal = || {
        let case = TestCase::new(TestSpec::new(ORIGIN), settings.clone());
        Arc::new(case).context().upgrade()
    };
    let containers = |rehearsal: Rehearsal| {
        let options = rehearsal.pool_options().unwrap();
        options.provider.containers
    };
    // The environment of this test may name a server itself.
    let from_env = PoolOptions::from_env().unwrap();
    let completed = from_env
        .clone()
        .with_default_containers(settings.postgres_provider);
    assert_eq!(containers(rehearsal()), completed.provider.containers);
    let set = rehearsal().pool(from_env.clone());
    assert_eq!(containers(set), from_env.provider.containers);
}

impl Rehearsal {
    /// What the changes of a test make of an upgrade that says nothing.
    fn rollback_and_reversible(&self) -> (Duration, bool) {
        let upgrade = self
            .changes
            .iter()
            .fold(base(), |upgrade, change| change(upgrade));
        let outline = upgrade.outline(upgrade_core::environment::Capabilities::none());
        (outline.rollback_within, upgrade.is_reversible())
    }
}
