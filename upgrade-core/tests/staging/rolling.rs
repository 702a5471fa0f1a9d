//! Both releases live: instance by instance, under the requests of users, there and back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use upgrade_core::docker::{Condition, Image, Ready, Service, Stack};
use upgrade_core::environment::Capabilities;
use upgrade_core::environment::DockerEnvironment;
use upgrade_core::finding::Finding;
use upgrade_core::migration::SqlMigration;
use upgrade_core::migration::folder::MigrationFolder;
use upgrade_core::plan::Plan;
use upgrade_core::report::{Report, StepOutcome};
use upgrade_core::rollback::{RevertMigrations, SnapshotSwap};
use upgrade_core::{
    Error, ErrorKind, Result, Runner, Scenario, Traffic, Upgrade, UpgradeContext, Verdict,
    validator_fn,
};

use crate::support::*;

/// Places an order for each request for `/place/ID` by the statement in `PLACE`, after it has run
/// the one in `START`; asked to stop, it first answers those who wait.
pub(crate) const SHOP: &str = r#"
use IO::Socket::INET; use POSIX; $| = 1;
$ENV{PGHOST} = "db"; $ENV{PGUSER} = "postgres"; $ENV{PGPASSWORD} = "staging"; $ENV{PGDATABASE} = "shop";
system("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", $ENV{START}) == 0 or die "the schema is not mine\n";
my $server = IO::Socket::INET->new(Listen => 99, LocalPort => 8080, ReuseAddr => 1) or die $!;
my $stop = 0;
sigaction(SIGTERM, POSIX::SigAction->new(sub { $stop = 1 }));
$server->timeout(0.1);
while (1) {
    my $client = $server->accept;
    if (!$client) { last if $stop; next }
    my $line = <$client>; while (my $header = <$client>) { last if $header =~ /^\r?$/ }
    my $status = "200 OK";
    if ($line =~ m{^GET /place/(\d+)}) {
        my $id = $1; my $sql = $ENV{PLACE}; $sql =~ s/ID/$id/;
        $status = "500 No" if system("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", $sql) != 0;
    }
    print $client "HTTP/1.1 $status\r\nConnection: close\r\n\r\n$status $ENV{RELEASE}"; close $client;
}"#;

pub(crate) fn shop(release: &str, start: &str, place: &str) -> Stack {
    let mut shop = Service::new(Image::named(IMAGE))
        .with_env("RELEASE", release)
        .with_env("START", start)
        .with_env("PLACE", place)
        .with_port(8080)
        .with_replicas(2)
        .after("db", Condition::Healthy);
    shop.entrypoint = Some(vec!["perl".into(), "-e".into(), SHOP.into()]);
    // The image stops its servers by another one.
    shop.stop_signal = Some("SIGTERM".into());
    shop.command = Some(Vec::new());
    Stack::new()
        .with_service("db", database())
        .with_service("shop", shop)
}

const ORDERS: &str =
    "create table orders (id bigint primary key, placed_at timestamptz not null default now());
    insert into orders (id) select -generate_series(1, 20)";

pub(crate) fn system(fixture: &Fixture, old: Stack, new: Stack) -> DockerEnvironment {
    fixture
        .environment()
        .with_release("1", old)
        .with_release("2", new)
        .with_database("db")
        .with_ready("shop", Ready::http(8080, "/"))
        .with_data(|cx: UpgradeContext| async move {
            let mut connection = cx.connect().await?;
            sqlx::raw_sql(ORDERS).execute(&mut connection).await?;
            Ok(())
        })
}

/// The numbers of the orders that users place, and of those that were acknowledged.
#[derive(Default)]
struct Orders {
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<(u32, u64)>>,
}

impl Orders {
    async fn place(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let url = cx.endpoint("shop")?.url().expose().to_owned();
        let failed = |source: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "no answer").with_source(source)
        };
        let answer = get(url.trim_start_matches("http://"), &format!("/place/{id}"))
            .await
            .map_err(failed)?;
        if !answer.starts_with("200") {
            return Err(Error::new(ErrorKind::Unavailable, answer));
        }
        self.acknowledged.lock().unwrap().insert((cx.attempt(), id));
        Ok(Verdict::Pass)
    }

    /// Whether each that was acknowledged is there.
    async fn are_there(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let mut connection = cx.connect().await?;
        let found: Vec<i64> = sqlx::query_scalar("select id from orders where id > 0")
            .fetch_all(&mut connection)
            .await?;
        let found: BTreeSet<u64> = found.into_iter().map(i64::cast_unsigned).collect();
        let acknowledged = self.acknowledged.lock().unwrap();
        let mine = acknowledged
            .iter()
            .filter(|(attempt, _)| *attempt == cx.attempt());
        let lost: Vec<u64> = mine
            .map(|(_, id)| *id)
            .filter(|id| !found.contains(id))
            .collect();
        Ok(match lost.as_slice() {
            [] => Verdict::Pass,
            lost => Verdict::Fail(vec![Finding::error(
                "orders-lost",
                "orders",
                format!("{lost:?} were acknowledged and are missing"),
            )]),
        })
    }
}

pub(crate) enum Back {
    ByDowns,
    ByCopy,
}

async fn rehearse(
    environment: DockerEnvironment,
    migrations: &[(&str, &str)],
    back: Back,
    scenario: Scenario,
) -> Report {
    rehearse_as(environment, migrations, back, |upgrade, environment| {
        let outline = upgrade.outline(Capabilities::of(environment));
        (upgrade, Plan::new(&outline, scenario, 1).unwrap())
    })
    .await
}

/// As `planned` says.
pub(crate) async fn rehearse_as(
    environment: DockerEnvironment,
    migrations: &[(&str, &str)],
    back: Back,
    planned: impl FnOnce(Upgrade, &DockerEnvironment) -> (Upgrade, Plan),
) -> Report {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in migrations {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let migrations = match migrations {
        [] => Vec::new(),
        _ => SqlMigration::all(&MigrationFolder::read(folder.path()).unwrap()).unwrap(),
    };
    let orders = Arc::new(Orders::default());
    let (placed, checked) = (Arc::clone(&orders), orders);
    let requests = validator_fn("orders are placed", move |cx| {
        let orders = Arc::clone(&placed);
        async move { orders.place(&cx).await }
    });
    let there = validator_fn("acknowledged orders are there", move |cx| {
        let orders = Arc::clone(&checked);
        async move { orders.are_there(&cx).await }
    });
    let upgrade = Upgrade::new("shop", "1", "2")
        .with_migrations(migrations.clone())
        .with_validator(there)
        .with_traffic(
            Traffic::new(requests)
                .with_users(2)
                .with_lost_after(Duration::from_secs(3)),
        );
    let upgrade = match back {
        Back::ByDowns => upgrade.with_rollback(RevertMigrations::new(migrations)),
        Back::ByCopy => upgrade.with_rollback(SnapshotSwap::new()),
    };
    let (upgrade, plan) = planned(upgrade, &environment);
    Runner::new(upgrade, environment).run(&plan).await.unwrap()
}

pub(crate) fn failures(report: &Report) -> BTreeSet<&str> {
    let errors = report.findings_of(upgrade_core::Severity::Error);
    errors.map(|found| found.finding.id.as_str()).collect()
}

const OLD_WITH_TIME: &str = "insert into orders (id, placed_at) values (ID, now())";
pub(crate) const OLD: &str = "insert into orders (id) values (ID)";
pub(crate) const NEW: &str = "insert into orders (id, note) values (ID, 'new')";
pub(crate) const EXPAND: &[(&str, &str)] = &[
    ("1_note.up.sql", "alter table orders add column note text;"),
    ("1_note.down.sql", "alter table orders drop column note;"),
];

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_good_upgrade_loses_no_request_and_no_order_from_any_mixture() {
    let fixture = Fixture::new();
    let (old, new) = (
        shop("1", "select 1", OLD),
        shop("2", "select note from orders limit 1", NEW),
    );
    let environment = system(&fixture, old, new);
    assert_eq!(Capabilities::of(&environment).instances, 2);
    let declared = [
        EXPAND[0],
        (
            "1_note.down.sql",
            "-- upgrade: loses public.orders.note: it is new\nalter table orders drop column note;",
        ),
    ];
    let report = rehearse(environment, &declared, Back::ByDowns, Scenario::Rolling).await;
    assert!(report.passed, "{report}");
    assert_eq!(report.rollbacks_verified(), 2);
    let replaced = |seen: &&upgrade_core::report::TrafficReport| {
        let step = report.steps.iter().find(|step| step.id == seen.step);
        step.is_some_and(|step| step.title.contains("of 2 instances"))
    };
    let windows: Vec<_> = report.traffic.iter().filter(replaced).collect();
    assert_eq!(windows.len(), 6, "{windows:#?}");
    assert!(windows.iter().all(|seen| seen.requests > 2), "{windows:#?}");
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn requests_to_the_old_release_that_the_new_schema_breaks_are_lost() {
    let fixture = Fixture::new();
    let environment = system(
        &fixture,
        shop("1", "select 1", OLD_WITH_TIME),
        shop(
            "2",
            "select 1",
            "insert into orders (id, ordered_at) values (ID, now())",
        ),
    );
    let renamed = [
        (
            "1_ordered.up.sql",
            "alter table orders rename column placed_at to ordered_at;",
        ),
        (
            "1_ordered.down.sql",
            "alter table orders rename column ordered_at to placed_at;",
        ),
    ];
    let report = rehearse(environment, &renamed, Back::ByDowns, Scenario::Rolling).await;
    let found = failures(&report);
    let wanted = BTreeSet::from(["statement/old-fails", "traffic/lost"]);
    assert_eq!(found, wanted, "{report}");
    let (steps, skipped) = (report.steps.iter(), StepOutcome::Skipped);
    assert_eq!(
        steps.filter(|step| step.outcome == skipped).count(),
        0,
        "{report}"
    );
    assert_eq!(report.rollbacks_verified(), 2);
    fixture.assert_nothing_is_left().await;
}

/// The schema moves when the new release starts, as where a service migrates automatically.
#[tokio::test]
#[ignore = "needs Docker"]
async fn a_service_that_migrates_at_its_start_is_followed_to_the_end() {
    let fixture = Fixture::new();
    let strict = "do $$ begin if exists (select from information_schema.columns where column_name = 'at') \
                  then raise 'newer than I am'; end if; end $$";
    let moves = "alter table orders add column if not exists at timestamptz; \
                 alter table orders drop column if exists placed_at";
    let environment = system(
        &fixture,
        shop("1", strict, OLD_WITH_TIME),
        shop("2", moves, "insert into orders (id, at) values (ID, now())"),
    )
    .with_ready_within(Duration::from_secs(30));
    let report = rehearse(environment, &[], Back::ByCopy, Scenario::Rolling).await;
    let found = failures(&report);
    // While one instance is new, after all are, and during the rollback.
    for id in ["traffic/lost", "up/column-lost", "service/not-up"] {
        assert!(found.contains(id), "{id}: {report}");
    }
    let refused = report.findings.iter().find(|found| {
        let finding = &found.finding;
        finding.id == "service/not-up" && finding.subject == "release 1"
    });
    assert!(
        refused.is_some_and(|found| found.phase == upgrade_core::Phase::Rollback),
        "{report}"
    );
    assert_eq!(report.rollbacks.len(), 2, "{report}");
    assert!(
        report.rollbacks.iter().all(|back| back.confirmed),
        "{report}"
    );
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_old_release_that_refuses_the_new_schema_goes_back_after_the_data() {
    let fixture = Fixture::new();
    let strict = "do $$ begin if exists (select from information_schema.columns where column_name = 'note') \
                  then raise 'newer than I am'; end if; end $$";
    let environment = system(
        &fixture,
        shop("1", strict, OLD),
        // It comes up, and then cannot serve: the runner rolls back automatically.
        shop(
            "2",
            "select note from orders",
            "insert into nowhere values (ID)",
        ),
    )
    .with_ready_within(Duration::from_secs(30));
    let report = rehearse(environment, EXPAND, Back::ByCopy, Scenario::Upgrade).await;
    assert!(!report.passed);
    let found = failures(&report);
    assert!(found.contains("traffic/lost"), "{found:?}");
    assert!(found.contains("service/not-up"), "{found:?}");
    let [rollback] = report.rollbacks.as_slice() else {
        panic!("{:#?}", report.rollbacks)
    };
    assert!(rollback.automatic && rollback.confirmed, "{rollback:#?}");
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_new_release_that_does_not_start_is_a_finding() {
    let fixture = Fixture::new();
    let environment = system(
        &fixture,
        shop("1", "select 1", OLD),
        shop("2", "select no_such_column from orders", NEW),
    )
    .with_ready_within(Duration::from_secs(30));
    let report = rehearse(environment, EXPAND, Back::ByDowns, Scenario::Upgrade).await;
    let found = failures(&report);
    assert!(found.contains("service/not-up"), "{found:?}");
    let evidence = report.findings.iter().find_map(|found| {
        let finding = &found.finding;
        (finding.id == "service/not-up").then(|| finding.evidence.clone().unwrap_or_default())
    });
    assert!(evidence.unwrap().contains("no_such_column"), "{report}");
    assert_eq!(report.rollbacks_verified(), 1);
    fixture.assert_nothing_is_left().await;
}
