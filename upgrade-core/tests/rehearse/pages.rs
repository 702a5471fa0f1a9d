//! Pages of findings, tried: the example raises the finding, and what mends it passes.

use std::path::Path;

use upgrade_core::{Report, Scenario, UpgradeContext, writes_fn};

use crate::support::{Shop, findings};

/// The SQL of a page: the up and the down of its example, and the down that mends it.
fn sql(id: &str) -> [String; 3] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/findings/{id}.md"));
    let page = std::fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = page
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let [example, mended] = blocks[..] else {
        panic!("{id} has {} blocks of SQL", blocks.len())
    };
    let (up, down) = example.split_once("-- down\n").unwrap();
    [up, down, mended].map(str::to_owned)
}

async fn round_trip(tables: &str, up: &str, down: &str, writes: &'static str) -> Report {
    let shop = Shop::start().await;
    let files = [
        ("1_t.up.sql", tables),
        ("1_t.down.sql", "select 1;"),
        ("2_u.up.sql", up),
        ("2_u.down.sql", down),
    ];
    let users = writes_fn("users", move |cx: UpgradeContext| async move {
        let mut connection = cx.connect().await?;
        sqlx::raw_sql(writes).execute(&mut connection).await?;
        Ok(())
    });
    shop.go(shop.folder(&files), Scenario::RoundTrip, |upgrade| {
        upgrade.with_writes(users)
    })
    .await
}

async fn check(id: &str, subject: &str, tables: &str, writes: &'static str) {
    let [up, down, mended] = sql(id);
    let report = round_trip(tables, &up, &down, writes).await;
    assert_eq!(findings(&report), [(id, subject)], "{report}");
    let report = round_trip(tables, &up, &mended, writes).await;
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn rows_written_late_lost() {
    check(
        "down/new-rows-lost",
        "table public.lines",
        "create table lines (id int primary key, quantity int,
            constraint lines_quantity_check check (quantity <= 1000));
         insert into lines values (1, 1), (2, 1000);",
        "insert into lines values (3, 1001)",
    )
    .await;
}

#[tokio::test]
async fn down_fails_on_new_rows() {
    check(
        "down/fails-on-new-rows",
        "migration 2_u",
        "create table customers (id int primary key, email text not null);
         insert into customers values (1, 'a@example.org');",
        "insert into customers values (2, null)",
    )
    .await;
}
