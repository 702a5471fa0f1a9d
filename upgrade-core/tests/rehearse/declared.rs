//! What excuses a difference, and what does not: declarations, losses that a rollback announces,
//! rows that are a migration's own, names that moved.

use async_trait::async_trait;
use upgrade_core::migration::Outcome;
use upgrade_core::rollback::{
    Loss, LossKind, Prepared, RollbackRequest, RollbackScope, Safety, SnapshotSwap,
};
use upgrade_core::{
    Finding, Report, Result, Rollback, Scenario, Severity, TableRef, UpgradeContext, Verdict,
    writes_fn,
};

use crate::support::{Shop, findings};

/// Runs one migration after another that makes the tables; users run `writes` at the new release.
async fn run(
    shop: &Shop,
    base: &str,
    (up, down): (&str, &str),
    writes: &'static str,
    scenario: Scenario,
) -> Report {
    let files = [
        ("1_base.up.sql", base),
        ("1_base.down.sql", "select 1;"),
        ("2_next.up.sql", up),
        ("2_next.down.sql", down),
    ];
    shop.go(shop.folder(&files), scenario, |upgrade| {
        if writes.is_empty() {
            return upgrade;
        }
        upgrade.with_writes(writes_fn("users", move |cx: UpgradeContext| async move {
            if cx.is_upgraded() {
                let mut connection = cx.connect().await?;
                sqlx::raw_sql(writes).execute(&mut connection).await?;
            }
            Ok(())
        }))
    })
    .await
}

fn serious(report: &Report) -> Vec<(&str, &str)> {
    let all = report.findings.iter().map(|found| &found.finding);
    all.filter(|finding| finding.severity > Severity::Note && finding.id != "rollback/loses")
        .map(|finding| (finding.id.as_str(), finding.subject.as_str()))
        .collect()
}

fn found<'r>(report: &'r Report, id: &str) -> &'r Finding {
    let mut all = report.findings.iter().map(|found| &found.finding);
    all.find(|finding| finding.id == id)
        .unwrap_or_else(|| panic!("no {id}\n{report}"))
}

/// A rollback of a third party: that of a kept copy, which announces another loss than it causes.
#[derive(Debug)]
struct Announcing(SnapshotSwap, Loss);

#[async_trait]
impl Rollback for Announcing {
    fn name(&self) -> &str {
        "announcing"
    }

    fn requires_reversible(&self) -> bool {
        false
    }

    async fn prepare(&self, cx: &UpgradeContext, scope: &RollbackScope) -> Result<Prepared> {
        self.0.prepare(cx, scope).await
    }

    async fn check(&self, _: &UpgradeContext, _: &Prepared, _: &RollbackRequest) -> Result<Safety> {
        Ok(Safety::SafeWithLoss {
            losses: vec![self.1.clone()],
        })
    }

    async fn execute(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        request: &RollbackRequest,
    ) -> Result<Outcome> {
        self.0.execute(cx, prepared, request).await
    }

    async fn confirm(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<Verdict> {
        self.0.confirm(cx, prepared).await
    }

    async fn finalize(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<()> {
        self.0.finalize(cx, prepared).await
    }
}

#[tokio::test]
async fn a_loss_whose_text_names_a_table_excuses_nothing_of_it() {
    let shop = Shop::start().await;
    let orders = TableRef::new("public.orders");
    let text = "statistics of the view that reads public.orders";
    for (loss, excused) in [
        (Loss::new(LossKind::Other, text, text), false),
        (Loss::new(LossKind::Writes, text, text), false),
        (Loss::new(LossKind::Other, orders.clone(), text), false),
        (
            Loss::new(LossKind::Writes, TableRef::new("public.orders_old"), text),
            false,
        ),
        (
            Loss::new(
                LossKind::Writes,
                orders.clone().in_database("billing"),
                text,
            ),
            false,
        ),
        (Loss::new(LossKind::Writes, orders.clone(), "writes"), true),
    ] {
        let files = [
            (
                "1_base.up.sql",
                "create table orders (id int primary key); insert into orders values (1);",
            ),
            ("2_next.up.sql", "create table other (id int);"),
        ];
        let announced = loss.clone();
        let report = shop
            .go(shop.folder(&files), Scenario::Rollback, |upgrade| {
                upgrade
                    .with_rollback(Announcing(SnapshotSwap::new(), announced))
                    .with_writes(writes_fn("users", |cx: UpgradeContext| async move {
                        let mut connection = cx.connect().await?;
                        let sql = "insert into orders values (2), (3), (4)";
                        sqlx::raw_sql(sql).execute(&mut connection).await?;
                        Ok(())
                    }))
            })
            .await;
        let expected = [("down/new-rows-lost", "table public.orders")];
        let expected: &[_] = if excused { &[] } else { &expected };
        assert_eq!(findings(&report), expected, "{loss:?}\n{report}");
    }
}

#[tokio::test]
async fn c36_blanked_up_only() {
    let shop = Shop::start().await;
    let base =
        "create table customer (id bigint primary key, phone text, name varchar(9), paid numeric);
        insert into customer values (1, '123', 'Ada', 1.25), (2, null, 'Bob', 2);";
    for (up, severity) in [
        ("update customer set phone = null;", Severity::Error),
        ("update customer set name = left(name, 2);", Severity::Error),
        (
            "update customer set paid = round(paid, 1);",
            Severity::Error,
        ),
        (
            "alter table customer alter paid type numeric(9, 1);",
            Severity::Error,
        ),
        (
            "alter table customer alter name type varchar(2) using left(name, 2);",
            Severity::Error,
        ),
        (
            "update customer set phone = 'none' where phone is null;",
            Severity::Note,
        ),
        (
            "insert into customer (id, name) values (9, 'House');",
            Severity::Note,
        ),
        (
            "-- upgrade: changes public.customer.phone: they may not be kept\nupdate customer set phone = null;",
            Severity::Note,
        ),
        (
            "-- upgrade: changes public.customer.name: short\nupdate customer set name = left(name, 2), phone = coalesce(phone, '');",
            Severity::Note,
        ),
        (
            "-- upgrade: changes public.customer.name: short\nupdate customer set name = left(name, 2), phone = '';",
            Severity::Error,
        ),
        (
            "-- upgrade: changes public.customer: all of it\nupdate customer set name = '', phone = '';",
            Severity::Note,
        ),
    ] {
        let report = run(&shop, base, (up, "select 1;"), "", Scenario::Upgrade).await;
        let finding = found(&report, "up/rows-changed");
        assert_eq!(finding.severity, severity, "{up}\n{report}");
        assert_eq!(report.passed, severity == Severity::Note, "{up}\n{report}");
    }
    // Under another name as well.
    let renamed = "alter table customer rename phone to telephone;";
    for (blank, passed) in [("", true), ("update customer set telephone = null;", false)] {
        let up = format!("{renamed} {blank}");
        let report = run(&shop, base, (&up, "select 1;"), "", Scenario::Upgrade).await;
        let expected = [("up/rows-changed", "column public.customer.phone")];
        let expected: &[_] = if passed { &[] } else { &expected };
        assert_eq!(serious(&report), expected, "{report}");
    }
    // The same values, of another type.
    for up in [
        "alter table customer alter id type numeric;",
        "alter table customer alter paid type numeric(20, 6);",
        "alter table customer alter name type text;",
    ] {
        let report = run(&shop, base, (up, "select 1;"), "", Scenario::Upgrade).await;
        assert_eq!(serious(&report), [], "{up}\n{report}");
    }
}

#[tokio::test]
async fn c20b_insert_delete() {
    let shop = Shop::start().await;
    for key in ["primary key", ""] {
        let base = format!("create table setting (key text {key}, value text not null);");
        let next = (
            "insert into setting values ('installed', 'yes');",
            "delete from setting where key = 'installed';",
        );
        let writes = "insert into setting values ('mine', 'no')";
        for scenario in [Scenario::Upgrade, Scenario::RoundTrip, Scenario::Rollback] {
            let report = run(&shop, &base, next, writes, scenario).await;
            assert_eq!(serious(&report), [], "{scenario} {key}\n{report}");
            assert!(report.passed, "{scenario} {key}\n{report}");
        }
        // What users wrote is theirs all the same.
        let next = (next.0, "delete from setting;");
        let report = run(&shop, &base, next, writes, Scenario::RoundTrip).await;
        assert_eq!(
            findings(&report),
            [("down/new-rows-lost", "table public.setting")],
            "{report}"
        );
    }
}

#[tokio::test]
async fn rename() {
    let shop = Shop::start().await;
    let base = "create table keys (id bigint primary key, kind text not null);
        insert into keys values (1, 'a'), (2, 'b');";
    for (next, writes) in [
        (
            (
                "alter table keys rename column kind to format;
                 alter table keys add column kind text not null default '';",
                "alter table keys drop column kind; alter table keys rename column format to kind;",
            ),
            "insert into keys values (3, 'c', 'new')",
        ),
        (
            (
                "alter table keys rename to keys_old; create table keys (id bigint primary key);",
                "drop table keys; alter table keys_old rename to keys;",
            ),
            "insert into keys values (3); insert into keys_old values (4, 'd')",
        ),
    ] {
        for scenario in [Scenario::Upgrade, Scenario::RoundTrip, Scenario::Rollback] {
            let report = run(&shop, base, next, writes, scenario).await;
            assert_eq!(serious(&report), [], "{scenario}\n{report}");
            assert!(report.passed, "{scenario}\n{report}");
        }
    }
    // A rename alone is no loss of the values.
    let next = (
        "alter table keys rename column kind to format;",
        "alter table keys rename column format to kind;",
    );
    let writes = "insert into keys values (3, 'c')";
    let report = run(&shop, base, next, writes, Scenario::Rollback).await;
    let announced = report.rollbacks.iter().filter(|rollback| {
        rollback.strategy == "revert migrations" && rollback.safety != Safety::Safe
    });
    assert_eq!(announced.count(), 0, "{report}");
}
