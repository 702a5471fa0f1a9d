//! The files that a run leaves: the report of every run, the plan of one that failed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use upgrade_core::environment::{At, Capabilities, Endpoints, LogTail};
use upgrade_core::migration::{
    Checksum, MigrationFiles, MigrationId, Outcome, Reversibility, Status,
};
use upgrade_core::observation::{Observation, Scope};
use upgrade_core::{Environment, Plan, Report, Runner};
use upgrade_testkit::Settings;
use upgrade_testkit::display::CapturedLines;
use upgrade_testkit::prelude::*;

/// A system that is one number: how many migrations it has seen.
#[derive(Debug)]
struct Number(Arc<AtomicU64>);

#[async_trait]
impl Environment for Number {
    fn name(&self) -> &str {
        "number"
    }

    fn is_disposable(&self) -> bool {
        false
    }

    async fn prepare(&self, _cx: &UpgradeContext) -> Result<()> {
        Ok(())
    }

    fn endpoints(&self) -> Endpoints {
        Endpoints::default()
    }

    async fn observe(&self, _cx: &UpgradeContext, _at: &At, _scope: &Scope) -> Result<Observation> {
        let mut seen = Observation::default();
        let number = self.0.load(Ordering::SeqCst);
        seen.objects.insert("number".to_owned(), number.to_string());
        Ok(seen)
    }

    async fn logs(&self, _cx: &UpgradeContext, _lines: usize) -> Result<Vec<LogTail>> {
        Ok(Vec::new())
    }

    async fn teardown(&self, _cx: &UpgradeContext) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Increment {
    id: MigrationId,
    number: Arc<AtomicU64>,
}

#[async_trait]
impl Migration for Increment {
    fn id(&self) -> &MigrationId {
        &self.id
    }

    fn checksum(&self) -> Checksum {
        Checksum::from_bytes(b"+1")
    }

    fn statements(&self) -> usize {
        1
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Reversible
    }

    fn files(&self) -> MigrationFiles {
        MigrationFiles::default()
    }

    async fn status(&self, _cx: &UpgradeContext) -> Result<Status> {
        Ok(if self.number.load(Ordering::SeqCst) == 0 {
            Status::Pending
        } else {
            Status::Applied
        })
    }

    async fn apply(&self, _cx: &UpgradeContext) -> Result<Outcome> {
        self.number.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome::Done)
    }

    async fn revert(&self, _cx: &UpgradeContext) -> Result<Outcome> {
        self.number.fetch_sub(1, Ordering::SeqCst);
        Ok(Outcome::Done)
    }
}

/// Runs the upgrade of a number under a validator that tolerates it up to `most`.
async fn run(cx: &UpgradeContext, case: &TestCase, most: u64) -> Result<(Plan, Report)> {
    let number = Arc::new(AtomicU64::new(0));
    let judged = Arc::clone(&number);
    let upgrade = Upgrade::new("number", "0", "1")
        .with_migration(Increment {
            id: MigrationId::new("0001", "increment"),
            number: Arc::clone(&number),
        })
        .with_validator(validator_fn("small", move |_cx| {
            let seen = judged.load(Ordering::SeqCst);
            async move {
                Ok(if seen <= most {
                    Verdict::Pass
                } else {
                    let message = format!("expected at most {most}, found {seen}");
                    Verdict::Fail(vec![Finding::error("too-large", "number", message)])
                })
            }
        }));
    let plan = Plan::new(
        &upgrade.outline(Capabilities::none()),
        case.spec().scenario(),
        cx.seed(),
    )?;
    let report = Runner::new(upgrade, Number(number))
        .with_sink(CapturedLines::new())
        .with_reproduce(case.reproduce())
        .run(&plan)
        .await?;
    Ok((plan, report))
}

#[upgrade_test(scenarios = [upgrade])]
async fn files(cx: UpgradeContext) -> Result<()> {
    // Its runs are those of another case.
    cx.rehearses_nothing();
    let folder = tempfile::tempdir()?;
    let mut settings = Settings::default();
    settings.report_dir = Some(folder.path().to_owned());
    let case = TestCase::new(*TestCase::of(&cx)?.spec(), settings);
    let stem = folder.path().join("reports/files__upgrade");
    let read = |extension: &str| fs::read_to_string(stem.with_extension(extension));

    let (plan, report) = run(&cx, &case, 1).await?;
    assert!(report.passed, "{report}");
    assert_eq!(case.record(&report, &plan)?, stem.with_extension("json"));
    assert_eq!(read("json")?, report.to_json());
    assert!(
        read("plan.json").is_err(),
        "the plan of a good run is not kept"
    );

    let (plan, report) = run(&cx, &case, 0).await?;
    assert!(!report.passed, "{report}");
    assert_eq!(case.record(&report, &plan)?, stem.with_extension("2.json"));
    assert_eq!(read("2.json")?, report.to_json());
    assert_eq!(Plan::from_json(&read("2.plan.json")?)?, plan);
    assert!(report.to_string().contains("expected at most 0, found 1"));
    assert_eq!(report.reproduce, Some(case.reproduce()));
    Ok(())
}
