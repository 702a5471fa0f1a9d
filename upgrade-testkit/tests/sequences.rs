//! Sequences that are drawn: what they find, how short it gets, and that it is found again.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sqlx::Row;
use tempfile::TempDir;
use upgrade_core::Event;
use upgrade_core::event::EventRecord;
use upgrade_core::plan::Action;
use upgrade_testkit::prelude::*;
use upgrade_testkit::sequences::Sequences;
use upgrade_testkit::sqlx;

const ORDERS: (&str, &str) = (
    "create table orders (id bigint generated always as identity primary key, note text not null);",
    "drop table orders;",
);
const CHANNEL: (&str, &str) = (
    "alter table orders add column channel text;",
    "alter table orders drop column channel;",
);
/// The down restores the rows that the up has met, and deletes those that were added later.
const PUTS_BACK: (&str, &str) = (
    "create sequence last_order; select setval('last_order', (select max(id) from orders));",
    "delete from orders where id > (select last_value from last_order); drop sequence last_order;",
);

/// A folder of migrations, each with its up and its down.
fn folder(migrations: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (index, (up, down)) in migrations.iter().enumerate() {
        let file = |direction| {
            folder
                .path()
                .join(format!("{:04}_m.{direction}.sql", index + 1))
        };
        std::fs::write(file("up"), up).unwrap();
        std::fs::write(file("down"), down).unwrap();
    }
    folder
}

fn rehearsal(folder: &Path) -> Rehearsal {
    Rehearsal::new("orders")
        .unwrap()
        .migrations(folder)
        .rows(20)
        .without_template()
}

/// What each run of a search has done, in the words of a sequence.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<Vec<String>>>);

impl Runs {
    fn listen(&self, rehearsal: Rehearsal) -> Rehearsal {
        let runs = self.clone();
        rehearsal.sink(move |record: &EventRecord| {
            let Event::RunStarted { plan, .. } = &record.event else {
                return;
            };
            let word = |action: &Action| match action {
                Action::Apply { migration } => Some(format!("apply {}", migration.version())),
                Action::Revert { migration } => Some(format!("revert {}", migration.version())),
                Action::Write { seed } => Some(format!("write {seed}")),
                _ => None,
            };
            let words: Vec<String> = plan
                .steps
                .iter()
                .filter_map(|step| word(&step.action))
                .collect();
            runs.0.lock().unwrap().push(words.join(", "));
        })
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn failure(sequences: Sequences) -> (Error, String) {
    let error = sequences.rehearse().await.unwrap_err();
    let shown = format!("{error:?}");
    (error, shown)
}

#[tokio::test]
async fn a_loss_between_up_and_down_is_found_shortened_saved_and_run_first() {
    let bad = folder(&[ORDERS, PUTS_BACK, CHANNEL]);
    let saved = tempfile::tempdir().unwrap();
    let file = saved.path().join("orders.json");

    let search = rehearsal(bad.path()).sequences().saved_in(&file);
    let (error, shown) = failure(search).await;
    assert_eq!(error.kind(), ErrorKind::Failed, "{shown}");
    let shortest = "the sequence `up 1; write seed 1; down 1` fails";
    assert!(shown.starts_with(shortest), "{shown}");
    let report = error.report().unwrap();
    let found = report.findings_of(Severity::Error).next().unwrap();
    assert_eq!(found.finding.id, "down/new-rows-lost", "{shown}");
    assert_eq!(found.finding.subject, "table public.orders", "{shown}");
    assert!(shown.contains("0002_m.down.sql"), "{shown}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"up 1; write seed 1; down 1\""), "{text}");

    // It is the first that runs, and nothing runs after it.
    let runs = Runs::default();
    let again = runs
        .listen(rehearsal(bad.path()))
        .sequences()
        .saved_in(&file);
    let (_, shown) = failure(again).await;
    assert!(shown.starts_with(shortest), "{shown}");
    let saved_one = "apply 0002, write 1, revert 0002";
    assert_eq!(runs.all(), [saved_one]);

    // A mended down passes it, and is tried with others.
    let drop_only = (PUTS_BACK.0, "drop sequence last_order;");
    let mended = folder(&[ORDERS, drop_only, CHANNEL]);
    let runs = Runs::default();
    let search = runs.listen(rehearsal(mended.path())).sequences();
    search.saved_in(&file).cases(3).rehearse().await.unwrap();
    let all = runs.all();
    assert_eq!((all.len(), all[0].as_str()), (4, saved_one), "{all:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn values_that_a_down_cuts_are_found_and_what_only_the_new_release_knows_may_go() {
    let cut = (
        "alter table orders alter column note type text;",
        "alter table orders alter column note type varchar(8) using left(note, 8);",
    );
    let short = (
        "create table orders (id bigint primary key, note varchar(8) not null);",
        "",
    );
    let new = (
        "create table gifts (id bigint primary key, note text);",
        "drop table gifts;",
    );
    let saved = tempfile::tempdir().unwrap();
    let file = saved.path().join("orders.json");
    let late = writes_fn("a long note is written", async |cx: UpgradeContext| {
        let note = if cx.is_upgraded() {
            "much longer"
        } else {
            "short"
        };
        let mut db = cx.connect().await?;
        sqlx::query("insert into orders select count(*) + 1000000, $1 from orders")
            .bind(note)
            .execute(&mut db)
            .await?;
        Ok(())
    });
    let bad = folder(&[short, cut, new]);
    let search = rehearsal(bad.path())
        .writes(late)
        .sequences()
        .saved_in(&file);
    let (error, shown) = failure(search).await;
    let shortest = "the sequence `up 2; write seed 1; down 2` fails";
    assert!(shown.starts_with(shortest), "{shown}");
    let ids: Vec<&str> = error
        .report()
        .unwrap()
        .findings_of(Severity::Error)
        .map(|found| found.finding.id.as_str())
        .collect();
    assert_eq!(ids, ["down/new-rows-lost"], "{shown}");
}

#[tokio::test]
async fn a_good_folder_passes_and_saves_nothing() {
    let rename = (
        "alter table orders rename to sales; alter table sales add column code uuid default gen_random_uuid();",
        "alter table sales drop column code; alter table sales rename to orders;",
    );
    let good = folder(&[ORDERS, CHANNEL, rename]);
    let saved = tempfile::tempdir().unwrap();
    let file = saved.path().join("orders.json");
    let runs = Runs::default();
    let search = runs.listen(rehearsal(good.path())).sequences();
    search.saved_in(&file).cases(6).rehearse().await.unwrap();
    assert_eq!(runs.all().len(), 6);
    assert!(!file.exists());
}

/// Remembers every note that was acknowledged.
#[derive(Default)]
struct Notes(BTreeMap<i64, String>);

fn column(cx: &UpgradeContext) -> &'static str {
    if cx.is_upgraded() { "body" } else { "note" }
}

#[async_trait]
impl Model for Notes {
    fn fresh(&self) -> Box<dyn Model> {
        Box::new(Self::default())
    }

    async fn write(&mut self, cx: &UpgradeContext) -> Result<()> {
        let mut db = cx.connect().await?;
        let column = column(cx);
        let note = format!("note {}", cx.seed());
        let sql = format!("insert into orders ({column}) values ($1) returning id");
        let id = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(&note)
            .fetch_one(&mut db)
            .await?;
        self.0.insert(id, note);
        Ok(())
    }

    async fn check(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let mut db = cx.connect().await?;
        let sql = format!("select id, {} from orders", column(cx));
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut db)
            .await?;
        let there: BTreeMap<i64, String> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let lost = self
            .0
            .iter()
            .filter(|(id, note)| there.get(id) != Some(note));
        Ok(Verdict::from_findings(
            lost.map(|(id, note)| {
                Finding::error(
                    "note-lost",
                    format!("order {id}"),
                    format!("`{note}` is missing"),
                )
            })
            .collect(),
        ))
    }
}

#[tokio::test]
async fn a_model_misses_what_was_acknowledged() {
    // The column has another name in each release, so only its users know that it is one.
    let up = "-- upgrade: loses public.orders.note: it is called body\n\
              alter table orders add column body text not null default ''; \
              update orders set body = note; alter table orders drop column note;";
    let forgets = "alter table orders add column note text not null default ''; \
                   alter table orders drop column body; \
                   alter table orders alter column note drop default;";
    let keeps = "alter table orders add column note text not null default ''; \
                 update orders set note = body; alter table orders drop column body; \
                 alter table orders alter column note drop default;";
    let saved = tempfile::tempdir().unwrap();
    let file = saved.path().join("orders.json");

    let bad = folder(&[ORDERS, (up, forgets)]);
    let search = rehearsal(bad.path()).sequences().saved_in(&file);
    let (error, shown) = failure(search.model(Notes::default())).await;
    assert!(
        shown.starts_with("the sequence `up 1; write seed 1; down 1` fails"),
        "{shown}"
    );
    let found = error
        .report()
        .unwrap()
        .findings_of(Severity::Error)
        .next()
        .unwrap();
    assert_eq!(found.finding.id, "note-lost", "{shown}");

    let good = folder(&[ORDERS, (up, keeps)]);
    let search = rehearsal(good.path()).sequences().saved_in(&file).cases(4);
    search.model(Notes::default()).rehearse().await.unwrap();
}

#[tokio::test]
async fn a_schema_that_the_down_leaves_otherwise_needs_no_write() {
    let forgets_the_default = (
        "alter table orders alter column note set default 'gift';",
        "",
    );
    let bad = folder(&[ORDERS, forgets_the_default, CHANNEL]);
    let saved = tempfile::tempdir().unwrap();
    let file = saved.path().join("orders.json");
    let search = rehearsal(bad.path()).sequences().saved_in(&file);
    let (_, shown) = failure(search).await;
    assert!(
        shown.starts_with("the sequence `up 1; down 1` fails"),
        "{shown}"
    );
    assert!(shown.contains("down/schema-differs"), "{shown}");
}

#[tokio::test]
async fn a_write_that_the_system_refuses_is_a_sequence_that_broke_off() {
    let refuses = (
        "alter table orders add constraint only_gifts check (note <> 'new') not valid;",
        "alter table orders drop constraint only_gifts;",
    );
    let writes = writes_fn("an order is placed", async |cx: UpgradeContext| {
        let mut db = cx.connect().await?;
        let sql = "insert into orders (note) values ('new')";
        sqlx::query(sql).execute(&mut db).await?;
        Ok(())
    });
    let bad = folder(&[ORDERS, refuses]);
    let saved = tempfile::tempdir().unwrap();
    let file = saved.path().join("orders.json");
    let search = rehearsal(bad.path())
        .writes(writes)
        .sequences()
        .saved_in(&file);
    let (error, shown) = failure(search).await;
    assert_eq!(error.kind(), ErrorKind::Inconclusive, "{shown}");
    assert!(
        shown.starts_with("the sequence `up 1; write seed 1` could not be judged"),
        "{shown}"
    );
    assert!(shown.contains("only_gifts"), "{shown}");
    assert!(file.exists());
}

/// What a test finds saved from another time.
#[upgrade_test(scenarios = [upgrade], seed = 7, rows = 10)]
async fn skipped(cx: UpgradeContext) -> Result<()> {
    let good = folder(&[ORDERS, CHANNEL]);
    let saved = tempfile::tempdir()?;
    let file = saved.path().join("orders.json");
    std::fs::write(
        &file,
        r#"{"format": 1, "about": "", "sequences": [
            {"sequence": "up 2; down 2", "seed": 7, "rows": 10, "found": "x"},
            {"sequence": "up 1; down 1", "seed": 7, "rows": 10, "found": "x"}
        ]}"#,
    )?;
    let runs = Runs::default();
    let rehearsal = cx.upgrade().migrations(good.path()).without_template();
    let search = runs.listen(rehearsal).sequences().saved_in(&file);
    search.cases(0).rehearse().await?;
    assert_eq!(runs.all(), ["apply 0002, revert 0002"]);
    Ok(())
}

#[test]
fn a_saved_sequence_that_is_not_possible_any_more_is_skipped_with_a_warning() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "skipped::upgrade", "--nocapture"])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    assert!(
        printed.contains(
            "warning: the sequence `up 2; down 2` is not possible: \
             `up 2` where 1 migration can follow; it is skipped (delete it from `"
        ),
        "{printed}"
    );
}

/// Fails, and leaves its sequence beside the manifest; run by the test below.
#[upgrade_test(scenarios = [upgrade], seed = 7, rows = 10)]
#[ignore = "it fails on purpose"]
async fn saves(cx: UpgradeContext) -> Result<()> {
    let bad = folder(&[ORDERS, PUTS_BACK]);
    let rehearsal = cx.upgrade().migrations(bad.path()).without_template();
    rehearsal.sequences().rehearse().await
}

#[test]
fn a_failure_says_how_to_run_it_again_and_where_it_is_saved() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("upgrade-regressions");
    let file = folder.join("sequences__saves__upgrade.json");
    let reports = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "saves::upgrade", "--ignored"])
        .env("UPGRADE_REPORT_DIR", reports.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let text = std::fs::read_to_string(&file);
    // Nothing of it stays: it is no regression of this package.
    let removed = std::fs::remove_file(&file);
    let _ = std::fs::remove_dir(&folder);
    assert!(!output.status.success(), "{printed}");
    for said in [
        "the sequence `up 1; write seed 1; down 1` fails (it is saved in `",
        "sequences__saves__upgrade.json` and runs first next time)",
        "FAILED saves custom",
        "to run it again: UPGRADE_TEST_SEED=7 ",
    ] {
        assert!(printed.contains(said), "no `{said}` in {printed}");
    }
    assert!(
        text.unwrap()
            .contains("\"found\": \"down/new-rows-lost: table public.orders\"")
    );
    removed.unwrap();
    let report = reports.path().join("sequences/saves__upgrade.plan.json");
    assert!(report.exists(), "{printed}");
}
