//! Migrations as people really write them, each with a defect, and the finding that it must raise.
//!
//! `bad_migrations/<area>/<fact>/<case>/` holds what a branch would add to the migrations of examples/quickstart, or change in it. Each
//! case is rehearsed on the populated release before it, in the scenario that shows the defect, and
//! has to raise the findings listed here and no other: each with its object and its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use upgrade_testkit::prelude::*;
use upgrade_testkit::upgrade_core::Report;
use upgrade_testkit::upgrade_core::finding::FindingKind;
use upgrade_testkit::upgrade_core::migration::folder::MigrationFolder;

/// What has to be found: id, what it is about, and the file that is to blame.
type Expected = (&'static str, &'static str, &'static str);

/// One test for each case, and the list of all of them.
macro_rules! bad {
    ($($finding:literal / $case:ident in $scenario:ident => [$($expected:expr),+ $(,)?];)+) => {
        $(
            #[tokio::test]
            async fn $case() -> Result<()> {
                check($finding, stringify!($case), Scenario::$scenario, &[$($expected),+]).await
            }
        )+

        const CASES: &[(&str, &str)] = &[$(($finding, stringify!($case))),+];
    };
}

bad! {
    "down/schema-differs" / check_forgotten in RoundTrip => [
        ("down/schema-differs", "constraint public.lines / lines_quantity_check", "0013_larger_quantities.down.sql"),
        ("up/failed", "migration 0013_larger_quantities", "0013_larger_quantities.up.sql"),
    ];
    "down/schema-differs" / comment_lost in RoundTrip => [
        ("down/schema-differs", "column public.customers.phone", "0013_phone_as_text.down.sql"),
        ("down/new-rows-lost", "table public.customers", "0013_phone_as_text.down.sql"),
        ("up/lost-as-side-effect", "column public.customers.phone", "0013_phone_as_text.up.sql"),
    ];
    "down/schema-differs" / default_lost in RoundTrip => [
        ("down/schema-differs", "column public.orders.status", "0013_orders_start_paid.down.sql"),
    ];
    "down/schema-differs" / enum_value_left in RoundTrip => [
        ("down/schema-differs", "type public.order_status", "0013_returned_orders.down.sql"),
        ("down/new-rows-lost", "table public.orders", "0013_returned_orders.down.sql"),
        ("up/failed", "migration 0013_returned_orders", "0013_returned_orders.up.sql:1"),
    ];
    "down/schema-differs" / foreign_key_changed in RoundTrip => [
        ("down/schema-differs", "constraint public.lines / lines_order_id_fkey", "0013_keep_lines.down.sql"),
    ];
    "down/schema-differs" / function_left in RoundTrip => [
        ("down/schema-differs", "function public.slug(text)", "0013_slugs.down.sql"),
        ("up/failed", "migration 0013_slugs", "0013_slugs.up.sql"),
    ];
    "down/schema-differs" / grant_lost in RoundTrip => [
        ("down/schema-differs", "view public.customer_totals", "0014_totals_by_currency.down.sql"),
    ];
    "down/schema-differs" / index_forgotten in RoundTrip => [
        ("down/schema-differs", "index public.orders_customer_id_idx", "0013_orders_by_day.down.sql"),
        ("up/failed", "migration 0013_orders_by_day", "0013_orders_by_day.up.sql:1"),
    ];
    "down/schema-differs" / not_null_lost in RoundTrip => [
        ("down/schema-differs", "column public.customers.email", "0013_guests.down.sql"),
        ("down/new-rows-lost", "table public.customers", "0013_guests.down.sql"),
    ];
    "down/schema-differs" / row_security_left_on in RoundTrip => [
        ("down/schema-differs", "table public.orders", "0013_tenants.down.sql"),
    ];
    "down/schema-differs" / statistics_target_lost in RoundTrip => [
        ("down/schema-differs", "column public.lines.sku", "0014_sku_as_text.down.sql"),
        ("down/fails-on-new-rows", "migration 0014_sku_as_text", "0014_sku_as_text.down.sql:2"),
    ];
    "down/schema-differs" / trigger_left_disabled in RoundTrip => [
        ("down/schema-differs", "trigger public.orders / orders_touch_updated_at", "0013_round_totals.down.sql"),
        ("up/trigger-disabled", "trigger public.orders / orders_touch_updated_at", "0013_round_totals.up.sql"),
    ];
    "down/schema-differs" / trigger_lost in RoundTrip => [
        ("down/schema-differs", "trigger public.orders / orders_touch_updated_at", "0013_audit.down.sql"),
        ("up/failed", "migration 0013_audit", "0013_audit.up.sql:1"),
    ];
    "down/schema-differs" / view_gone_by_cascade in RoundTrip => [
        ("down/schema-differs", "view public.customer_totals", "0013_address_in_its_own_table.down.sql"),
        ("up/failed", "migration 0013_address_in_its_own_table", "0013_address_in_its_own_table.up.sql:3"),
    ];
    "session/lock-leaked" / lock_kept in Upgrade => [
        ("session/lock-leaked", "migration 0013_backfill", "0013_backfill.up.sql"),
    ];
    "file/line-endings" / saved_elsewhere in Upgrade => [
        ("file/line-endings", "0013_channel.up.sql:1", "0013_channel.up.sql:1"),
    ];
    "up/column-lost" / phone_numbers in Upgrade => [
        ("up/column-lost", "column public.customers.phone", "0013_no_phones.up.sql"),
    ];
    "up/constraint-not-validated" / foreign_key in Upgrade => [
        ("up/constraint-not-validated", "constraint public.lines / lines_price_sane", "0013_events_of_orders.up.sql"),
    ];
    "crash/result-differs" / shifted_twice in Crash => [
        ("crash/record-wrong", "migration 0013_times_in_utc", "0013_times_in_utc.up.sql"),
        ("crash/result-differs", "table public.customers", "0013_times_in_utc.up.sql"),
        ("rollback/rows-changed", "table public.customers", ""),
    ];
    "down/rows-changed" / column_back_without_values in RoundTrip => [
        ("down/rows-changed", "table public.customers", "0013_no_phones.down.sql"),
    ];
    "down/rows-changed" / prices_rounded in RoundTrip => [
        ("down/rows-changed", "table public.lines", "0013_whole_prices.down.sql"),
        ("down/new-rows-lost", "table public.lines", "0013_whole_prices"),
    ];
    "down/rows-lost" / archive_dropped in RoundTrip => [
        ("down/rows-lost", "table public.lines", "0013_archive.down.sql"),
        ("down/new-rows-lost", "table public.lines", "0013_archive"),
    ];
    "file/down-empty" / one_way_in_disguise in Upgrade => [
        ("file/down-empty", "0013_channel.down.sql:1", "0013_channel.down.sql:1"),
    ];
    "down/failed" / wrong_name in RoundTrip => [
        ("down/failed", "migration 0013_by_sku", "0013_by_sku.down.sql:2"),
    ];
    "down/fails-on-new-rows" / check_again in RoundTrip => [
        ("down/fails-on-new-rows", "migration 0013_any_quantity", "0013_any_quantity.down.sql:1"),
    ];
    "file/down-missing" / one_way in Upgrade => [
        ("file/down-missing", "migration 0013_channel", "0013_channel.up.sql"),
    ];
    "down/not-idempotent" / record_kept in Rerun => [
        ("down/not-idempotent", "migration 0014_deletes_delete", "0014_deletes_delete.down.sql"),
    ];
    "file/duplicate-version" / two_branches in Upgrade => [
        ("file/duplicate-version", "0013_gift.down.sql", "0013_gift.down.sql"),
        ("file/duplicate-version", "0013_gift.up.sql", "0013_gift.up.sql"),
    ];
    "history/edited-down" / currency_kept in Upgrade => [
        ("history/edited-down", "0006_currency.down.sql", "0006_currency.down.sql"),
    ];
    "history/edited-up" / currency_default in Upgrade => [
        ("history/edited-up", "0006_currency.up.sql", "0006_currency.up.sql"),
    ];
    "order/fresh-install-differs" / only_where_rows_are in FreshInstall => [
        ("order/fresh-install-differs", "index public.lines_by_sku", ""),
    ];
    "up/index-invalid" / partition_forgotten in Upgrade => [
        ("up/index-invalid", "index public.order_events_by_order", "0013_events_by_order.up.sql"),
    ];
    "validator/invariant-broken" / orphans in Upgrade => [
        ("validator/invariant-broken", "every line belongs to an order", ""),
    ];
    "file/one-way-between" / hole in Upgrade => [
        ("file/one-way-between", "0013_channel.up.sql", "0013_channel.up.sql"),
    ];
    "history/late-version" / forgotten_branch in Upgrade => [
        ("history/late-version", "0000_extensions.up.sql", "0000_extensions.up.sql"),
    ];
    "declared/loss-not-found" / stale_declaration in Upgrade => [
        ("declared/loss-not-found", "public.lines", "0013_nothing_lost.up.sql"),
    ];
    "file/several-statements" / two_indexes in Upgrade => [
        ("file/several-statements", "0013_two_indexes.up.sql:2", "0013_two_indexes.up.sql:2"),
        ("up/failed", "migration 0013_two_indexes", "0013_two_indexes.up.sql:2"),
    ];
    "crash/not-rerunnable" / index_by_hand in Crash => [
        ("crash/record-wrong", "migration 0013_by_sku", "0013_by_sku.up.sql"),
        ("rollback/schema-differs", "index public.lines_by_sku", ""),
        ("crash/not-rerunnable", "migration 0013_by_sku", "0013_by_sku.up.sql:2"),
        ("crash/half-applied", "migration 0013_by_sku", "0013_by_sku.up.sql"),
    ];
    "order/late-differs" / two_types in OutOfOrder => [
        ("order/late-differs", "column public.lines.price", "0013_finer_prices.up.sql"),
    ];
    "up/rows-changed" / skus_lowered in Upgrade => [
        ("up/rows-changed", "table public.lines", "0013_lower_skus.up.sql"),
    ];
    "up/rows-lost" / tidy_up in Upgrade => [
        ("up/rows-lost", "table public.lines", "0013_tidy_up.up.sql"),
    ];
    "down/new-rows-lost" / down_makes_room in RoundTrip => [
        ("down/new-rows-lost", "table public.lines", "0013_any_quantity.down.sql"),
    ];
    "down/sequence-reused" / identity_made_again in RoundTrip => [
        ("down/sequence-reused", "sequence public.orders_id_seq", "0013_numbers_by_the_service.down.sql"),
    ];
    "session/setting-leaked" / search_path in Upgrade => [
        ("session/setting-leaked", "migration 0013_reporting", "0013_reporting.up.sql:2"),
    ];
    "file/transaction-control" / commit_inside in Upgrade => [
        ("file/transaction-control", "0013_channel.up.sql:1", "0013_channel.up.sql:1"),
    ];
    "session/transaction-open" / commit_forgotten in Upgrade => [
        ("file/several-statements", "0013_channel.up.sql:4", "0013_channel.up.sql:4"),
        ("session/transaction-open", "migration 0013_channel", "0013_channel.up.sql:3"),
    ];
    "file/unsupported-statement" / psql_only in Upgrade => [
        ("file/unsupported-statement", "0013_prices.up.sql:1", "0013_prices.up.sql:1"),
        ("up/failed", "migration 0013_prices", "0013_prices.up.sql:1"),
    ];
    "file/up-empty" / comment_only in Upgrade => [
        ("file/up-empty", "0013_to_be_done.up.sql", "0013_to_be_done.up.sql"),
    ];
    "up/not-idempotent" / record_out_of_sight in Rerun => [
        ("up/not-idempotent", "migration 0013_schema_of_its_own", "0013_schema_of_its_own.up.sql"),
        ("up/not-idempotent", "table shop._sqlx_migrations", "0013_schema_of_its_own.up.sql"),
    ];
    "up/failed" / cast_of_values in Upgrade => [
        ("up/failed", "migration 0013_numeric_skus", "0013_numeric_skus.up.sql:2"),
    ];
    "up/failed" / duplicates in Upgrade => [
        ("up/failed", "migration 0013_one_order_each", "0013_one_order_each.up.sql:1"),
    ];
    "up/failed" / not_null_without_default in Upgrade => [
        ("up/failed", "migration 0013_channel", "0013_channel.up.sql:2"),
    ];
}

/// The folder of the defective migrations.
fn bad() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_migrations")
}

/// The migrations that they come on top of.
fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/migrations")
}

/// The files of a folder, by name.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().expect("it has a name").into();
            (name, std::fs::read(&path).expect("it can be read"))
        })
        .collect()
}

fn rehearsal(
    name: &str,
    head: BTreeMap<PathBuf, Vec<u8>>,
    scenario: Scenario,
) -> Result<Rehearsal> {
    let good = shop();
    let head = MigrationFolder::from_files(name, head.into_iter().collect())?;
    Ok(Rehearsal::new(name)?
        .folder(head)
        .from(format!("folder:{}", good.display()))
        .scenario(scenario)
        .rows(40)
        .invariant(
            "every line belongs to an order",
            "select * from lines where order_id not in (select id from orders)",
        ))
}

async fn check(finding: &str, case: &str, scenario: Scenario, expected: &[Expected]) -> Result<()> {
    let mut head = files(&shop());
    head.extend(files(&bad().join(finding).join(case)));
    let mut rehearsal = rehearsal(case, head, scenario)?;
    if matches!(finding, "file/down-missing" | "file/down-empty") {
        rehearsal = rehearsal.reversible();
    }
    let report = match rehearsal.report().await {
        Ok(report) => report,
        Err(error) => error.report().cloned().ok_or(error)?,
    };
    let ids = report.findings.iter().map(|found| &found.finding.id);
    let mut kinds = ids.filter_map(|id| FindingKind::of(id));
    assert!(kinds.all(|kind| kind.is_raised_in(scenario)), "{report}");
    let seen: BTreeSet<(String, String)> = serious(&report)
        .map(|finding| (finding.id.clone(), finding.subject.to_string()))
        .collect();
    let wanted: BTreeSet<(String, String)> = expected
        .iter()
        .map(|(id, subject, _)| ((*id).to_owned(), (*subject).to_owned()))
        .collect();
    assert!(
        seen == wanted,
        "{case}: found {seen:#?}\nwanted {wanted:#?}\n{report}"
    );
    for (id, subject, place) in expected {
        let of_it = |finding: &&Finding| finding.id == *id && finding.subject == *subject;
        let placed = serious(&report).filter(of_it).any(|finding| {
            let file = finding
                .blames
                .as_ref()
                .and_then(|blame| blame.file.as_deref());
            let said = [
                file,
                Some(finding.subject.as_str()),
                Some(finding.message.as_str()),
            ];
            said.into_iter().flatten().any(|text| text.contains(place))
        });
        assert!(
            placed,
            "{case}: `{id}` of {subject} is not placed at {place}\n{report}"
        );
    }
    Ok(())
}

/// What makes a person look.
fn serious(report: &Report) -> impl Iterator<Item = &Finding> {
    let all = report.findings.iter().map(|found| &found.finding);
    all.filter(|finding| finding.severity > Severity::Note)
}

#[test]
fn every_case_is_listed() {
    let mut on_disk = BTreeSet::new();
    let root = bad();
    for finding in folders(&root).iter().flat_map(|area| folders(area)) {
        for case in folders(&finding) {
            let case = case.strip_prefix(&root).expect("it is below");
            on_disk.insert(case.to_owned());
        }
    }
    let listed = CASES
        .iter()
        .map(|(finding, case)| Path::new(finding).join(case));
    assert_eq!(on_disk, listed.collect::<BTreeSet<_>>());
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).expect("it is a folder").flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}
