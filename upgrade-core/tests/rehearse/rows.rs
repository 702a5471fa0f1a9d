//! Every row accounted for: what is lost is counted and named, what is meant is declared and has
//! to happen.

use upgrade_core::upgrade::{ExpectedChange, MadeBy};
use upgrade_core::{Finding, Report, Scenario, Severity};

use crate::support::{Shop, findings};

const T: &str = "create table t (id int primary key, a text, b int);
    insert into t values (1, 'x', 1), (2, 'y', 2), (3, 'z', null);";

/// The first finding of an id.
fn found<'r>(report: &'r Report, id: &str) -> &'r Finding {
    let mut all = report.findings.iter().map(|found| &found.finding);
    all.find(|finding| finding.id == id)
        .unwrap_or_else(|| panic!("no {id}\n{report}"))
}

fn has(report: &Report, id: &str) -> bool {
    report.findings.iter().any(|found| found.finding.id == id)
}

/// A run of one migration over table `t`.
async fn run(shop: &Shop, up: &str, down: &str, scenario: Scenario) -> Report {
    run_declaring(shop, up, down, scenario, &[]).await
}

async fn run_declaring(
    shop: &Shop,
    up: &str,
    down: &str,
    scenario: Scenario,
    declared: &[ExpectedChange],
) -> Report {
    let files = [
        ("1_t.up.sql", T),
        ("1_t.down.sql", "drop table t;"),
        ("2_u.up.sql", up),
        ("2_u.down.sql", down),
    ];
    shop.go(shop.folder(&files), scenario, |upgrade| {
        upgrade.with_expected_changes(declared.iter().cloned())
    })
    .await
}

#[tokio::test]
async fn rows_that_an_up_loses_are_counted_and_named() {
    let shop = Shop::start().await;
    let up = "delete from t where id = 2; update t set a = 'w' where id = 3; insert into t values (4, 'n', 0);";
    let report = run(&shop, up, "select now();", Scenario::Upgrade).await;
    let finding = found(&report, "up/rows-lost");
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(
        finding.message,
        "1 row lost, 1 changed in `a`, 1 added, of 3"
    );
    assert_eq!(
        finding.evidence.as_deref(),
        Some("- id = 2: a = 'y', b = 2\n~ id = 3: a 'z' -> 'w'\n+ id = 4: a = 'n', b = 0\n")
    );
    let up = "update t set b = 7 where id < 3;";
    let report = run(&shop, up, "select now();", Scenario::Upgrade).await;
    let finding = found(&report, "up/rows-changed");
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(finding.message, "2 rows changed in `b`, of 3");
}

#[tokio::test]
async fn a_table_that_is_gone_names_its_rows() {
    let shop = Shop::start().await;
    let report = run(&shop, "drop table t;", "select now();", Scenario::Upgrade).await;
    let finding = found(&report, "up/rows-lost");
    assert_eq!(finding.message, "3 rows lost, of 3");
    let evidence = finding.evidence.as_deref().unwrap();
    assert!(
        evidence.starts_with("- id = 1: a = 'x', b = 1\n"),
        "{evidence}"
    );
}

#[tokio::test]
async fn what_a_down_does_not_bring_back_is_named() {
    let shop = Shop::start().await;
    for (up, down, id, message, evidence) in [
        (
            "-- upgrade: loses public.t.a: not wanted\nalter table t drop a;",
            "alter table t add a text;",
            "down/rows-changed",
            "3 rows changed in `a`, of 3",
            "~ id = 1: a 'x' -> NULL\n~ id = 2: a 'y' -> NULL\n~ id = 3: a 'z' -> NULL\n",
        ),
        (
            "create table kept as select * from t where id > 1; drop table t;",
            "create table t (id int primary key, a text, b int); insert into t select * from kept; drop table kept;",
            "down/rows-lost",
            "1 row lost, of 3",
            "- id = 1: a = 'x', b = 1\n",
        ),
        (
            "alter table t add c int;",
            "alter table t drop c; insert into t values (9, 'extra', null);",
            "down/rows-changed",
            "1 row added, of 3",
            "+ id = 9: a = 'extra', b = NULL\n",
        ),
    ] {
        let declared = [ExpectedChange::new("public.t", "it is moved")];
        let report = run_declaring(&shop, up, down, Scenario::RoundTrip, &declared).await;
        let finding = found(&report, id);
        assert_eq!(finding.subject, "table public.t");
        assert_eq!(finding.message, message, "{up}");
        assert_eq!(finding.evidence.as_deref(), Some(evidence), "{up}");
        assert!(!report.passed);
    }
}

#[tokio::test]
async fn a_column_that_goes_with_its_values_is_an_error_and_one_without_is_not() {
    let shop = Shop::start().await;
    let report = run(
        &shop,
        "alter table t drop b;",
        "select now();",
        Scenario::Upgrade,
    )
    .await;
    assert_eq!(
        findings(&report),
        [("up/column-lost", "column public.t.b")],
        "{report}"
    );
    let finding = found(&report, "up/column-lost");
    assert_eq!(finding.message, "is missing; it had 2 values");
    assert_eq!(
        finding.evidence.as_deref(),
        Some("~ id = 1: b = 1\n~ id = 2: b = 2\n")
    );
    for harmless in [
        "update t set b = null; alter table t drop b;",
        "alter table t rename b to c;",
        "alter table t rename to u; alter table u rename b to c;",
    ] {
        let report = run(&shop, harmless, "select now();", Scenario::Upgrade).await;
        // Values that were removed before the column was are missing all the same.
        let emptied = harmless.starts_with("update");
        assert_eq!(
            has(&report, "up/column-lost"),
            emptied,
            "{harmless}\n{report}"
        );
    }
}

#[tokio::test]
async fn a_file_that_declares_a_loss_excuses_its_own_direction() {
    let shop = Shop::start().await;
    let up = "-- upgrade: loses public.t.b: nobody reads it\nalter table t drop b;";
    let report = run(&shop, up, "alter table t add b int;", Scenario::Upgrade).await;
    assert!(report.passed, "{report}");
    let finding = found(&report, "up/column-lost");
    assert_eq!(finding.severity, Severity::Note);
    assert_eq!(finding.help.as_deref(), Some("declared: nobody reads it"));

    let report = run(&shop, up, "alter table t add b int;", Scenario::RoundTrip).await;
    assert_eq!(
        findings(&report),
        [("down/rows-changed", "table public.t")],
        "{report}"
    );
    let down = "-- upgrade: loses public.t.b: it was nobody's\nalter table t add b int;";
    for scenario in Scenario::ALL.into_iter().filter(|it| !it.needs_services()) {
        let report = run(&shop, up, down, scenario).await;
        assert!(report.passed, "{scenario}\n{report}");
    }
    // It excuses nothing else.
    let down = format!("{down} update t set a = 'lost';");
    let report = run(&shop, up, &down, Scenario::RoundTrip).await;
    assert_eq!(
        findings(&report),
        [("down/rows-changed", "table public.t")],
        "{report}"
    );
}

#[tokio::test]
async fn a_column_that_the_test_declares_is_lost_in_both_directions() {
    let shop = Shop::start().await;
    let (up, down) = ("alter table t drop b;", "alter table t add b int;");
    let declared = [ExpectedChange::new("public.t.b", "it was a mistake")];
    for scenario in Scenario::ALL.into_iter().filter(|it| !it.needs_services()) {
        let report = run_declaring(&shop, up, down, scenario, &declared).await;
        assert!(report.passed, "{scenario}\n{report}");
    }
}

#[tokio::test]
async fn a_loss_that_is_declared_has_to_happen() {
    let shop = Shop::start().await;
    let (up, down) = ("alter table t add c int;", "alter table t drop c;");
    let either = |object| ExpectedChange::new(object, "so it was");
    for (declared, scenario, fails) in [
        (either("public.t"), Scenario::Upgrade, true),
        (either("public.t"), Scenario::RoundTrip, true),
        (either("public.t.b"), Scenario::RoundTrip, true),
        // Whether the rollback loses it is not tried there.
        (either("public.t.b"), Scenario::Upgrade, false),
        (
            either("public.t").made_by(MadeBy::Down),
            Scenario::RoundTrip,
            true,
        ),
        (
            either("public.t").made_by(MadeBy::Down),
            Scenario::Upgrade,
            false,
        ),
        (either("public.no"), Scenario::RoundTrip, true),
        (either("public.empty"), Scenario::Upgrade, false),
        (either("public.empty"), Scenario::RoundTrip, false),
    ] {
        let up = format!("{up} create table empty (id int);");
        let down = format!("{down} drop table empty;");
        let declared = [declared];
        let report = run_declaring(&shop, &up, &down, scenario, &declared).await;
        assert_eq!(
            has(&report, "declared/loss-not-found"),
            fails,
            "{declared:?} {scenario}\n{report}"
        );
    }
}

#[tokio::test]
async fn of_two_declarations_of_one_table_the_one_that_did_not_happen_is_reported() {
    let shop = Shop::start().await;
    let up = "alter table t add c int;";
    let down = "alter table t drop c; update t set a = 'lost';";
    let declared = ["public.t.a", "public.t.b"].map(|column| ExpectedChange::new(column, "why"));
    let report = run_declaring(&shop, up, down, Scenario::RoundTrip, &declared).await;
    assert_eq!(
        findings(&report),
        [("declared/loss-not-found", "public.t.b")],
        "{report}"
    );
}

#[tokio::test]
async fn two_declarations_of_one_table_that_did_happen_are_not_reported() {
    let shop = Shop::start().await;
    let (both, down) = (
        "delete from t where id = 2; update t set a = 'w';",
        "select 1;",
    );
    for (up, declared) in [
        (both, ["public.t", "public.t"]),
        (both, ["public.t", "public.t.a"]),
        (both, ["public.t.a", "public.t"]),
        ("alter table t drop a;", ["public.t.a", "public.t.a"]),
    ] {
        let declared = declared.map(|object| ExpectedChange::new(object, "why"));
        let report = run_declaring(&shop, up, down, Scenario::Upgrade, &declared).await;
        assert!(report.passed, "{declared:?}\n{report}");
    }
}

#[tokio::test]
async fn a_sequence_that_begins_again_is_seen_after_the_up_and_after_the_down() {
    let shop = Shop::start().await;
    let made =
        "create table t (id serial primary key); insert into t select from generate_series(1, 11);";
    fn files<'f>(made: &'f str, up: &'f str, down: &'f str) -> [(&'static str, &'f str); 4] {
        [
            ("1_t.up.sql", made),
            ("1_t.down.sql", "drop table t;"),
            ("2_u.up.sql", up),
            ("2_u.down.sql", down),
        ]
    }
    let up = "alter table t alter id drop default; drop sequence t_id_seq; alter table t alter id add generated by default as identity;";
    let report = shop
        .run(
            shop.folder(&files(made, up, "select now();")),
            Scenario::Upgrade,
        )
        .await;
    let finding = found(&report, "down/sequence-reused");
    assert_eq!(finding.subject, "sequence public.t_id_seq");
    assert_eq!(finding.message, "stood at 11, and would hand out 1 next");

    let up = "create table kept as table t; drop table t;";
    let down = "create table t (id serial primary key); insert into t select * from kept; drop table kept;";
    let declared = [ExpectedChange::new("public.t", "it is kept")];
    for (down, fails) in [
        (down.to_owned(), true),
        (format!("{down} select setval('t_id_seq', 40);"), false),
    ] {
        let report = shop
            .go(
                shop.folder(&files(made, up, &down)),
                Scenario::RoundTrip,
                |upgrade| upgrade.with_expected_changes(declared.iter().cloned()),
            )
            .await;
        assert_eq!(has(&report, "down/sequence-reused"), fails, "{report}");
        assert_eq!(report.passed, !fails, "{report}");
    }
}

#[tokio::test]
async fn large_objects_that_a_down_does_not_bring_back_are_seen() {
    let shop = Shop::start().await;
    let files = |down| {
        [
            (
                "1_t.up.sql",
                "create table t (id int primary key, scan oid); insert into t values (1, lo_from_bytea(4711, 'abc'));",
            ),
            (
                "1_t.down.sql",
                "select lo_unlink(scan) from t; drop table t;",
            ),
            (
                "2_u.up.sql",
                "alter table t add body bytea; update t set body = lo_get(scan); select lo_unlink(scan) from t;",
            ),
            ("2_u.down.sql", down),
        ]
    };
    for (down, message) in [
        (
            "alter table t drop body;",
            Some("there were 1, there are 0"),
        ),
        (
            "select lo_from_bytea(scan, 'other') from t; alter table t drop body;",
            Some("there are 1 as before, with other content"),
        ),
        (
            "select lo_from_bytea(scan, body) from t; alter table t drop body;",
            None,
        ),
    ] {
        let report = shop
            .run(shop.folder(&files(down)), Scenario::RoundTrip)
            .await;
        match message {
            Some(message) => {
                assert_eq!(found(&report, "data/large-objects-differ").message, message);
            }
            None => assert!(report.passed, "{report}"),
        }
    }
}

#[tokio::test]
async fn rows_that_move_between_partitions_and_those_of_unlogged_tables_are_not_lost() {
    let shop = Shop::start().await;
    let files = [
        (
            "1_t.up.sql",
            "create table t (id int primary key, v text) partition by range (id);
             create table low partition of t for values from (0) to (100) partition by range (id);
             create table lowest partition of low for values from (0) to (50) partition by list (id);
             create table rest_lowest partition of lowest default; create table rest_low partition of low default;
             create table rest partition of t default;
             insert into t select i, 'v' || i from generate_series(1, 150) i;
             create unlogged table cache (id int primary key); insert into cache values (1), (2);",
        ),
        ("1_t.down.sql", "drop table t; drop table cache;"),
        (
            "2_u.up.sql",
            "alter table t detach partition low;
             create table low2 partition of t for values from (0) to (100);
             insert into t select * from low; drop table low; alter table cache set logged;",
        ),
        (
            "2_u.down.sql",
            "alter table t detach partition low2;
             create table low partition of t for values from (0) to (100) partition by range (id);
             create table lowest partition of low for values from (0) to (50) partition by list (id);
             create table rest_lowest partition of lowest default; create table rest_low partition of low default;
             insert into t select * from low2 where id <> 7; drop table low2; alter table cache set unlogged;",
        ),
    ];
    let report = shop.run(shop.folder(&files), Scenario::RoundTrip).await;
    let finding = found(&report, "down/rows-lost");
    assert_eq!(finding.message, "1 row lost, of 150");
    assert_eq!(finding.evidence.as_deref(), Some("- id = 7: v = 'v7'\n"));
    assert!(!has(&report, "up/rows-lost"), "{report}");
}
