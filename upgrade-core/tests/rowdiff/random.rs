//! Random edits of a table: what is reported is what was done.

use std::collections::BTreeMap;

use proptest::prelude::*;
use upgrade_core::postgres::rowdiff::RowDiffOptions;

use crate::pair::Pair;
use crate::support::run;

/// What is done to one row: nothing, deleted, its columns `n` and `s` set anew.
#[derive(Debug, Clone)]
enum Edit {
    Delete,
    Set(i64, Option<String>),
}

const ROWS: i64 = 60;

fn edits() -> impl Strategy<Value = BTreeMap<i64, Edit>> {
    let edit = prop_oneof![
        Just(Edit::Delete),
        (0..4i64, proptest::option::of("[ab'\\\\]{0,3}")).prop_map(|(n, s)| Edit::Set(n, s)),
    ];
    // Keys above the rows that there are become rows that are added.
    proptest::collection::btree_map(1..ROWS + 20, edit, 0..40)
}

/// The content of a row at first.
fn first(id: i64) -> (i64, Option<String>) {
    (
        id % 3,
        (id % 4 != 0).then(|| "ab".repeat((id % 2) as usize)),
    )
}

fn literal(text: &Option<String>) -> String {
    match text {
        None => "NULL".to_owned(),
        Some(text) => format!("'{}'", text.replace('\'', "''")),
    }
}

fn script(edits: &BTreeMap<i64, Edit>) -> Vec<String> {
    edits
        .iter()
        .map(|(id, edit)| match edit {
            Edit::Delete => format!("DELETE FROM t WHERE id = {id}"),
            Edit::Set(n, s) if *id <= ROWS => {
                format!("UPDATE t SET n = {n}, s = {} WHERE id = {id}", literal(s))
            }
            Edit::Set(n, s) => format!("INSERT INTO t VALUES ({id}, {n}, {})", literal(s)),
        })
        .collect()
}

/// The rows as a list, one for each id.
fn edited(edits: &BTreeMap<i64, Edit>) -> BTreeMap<i64, (i64, Option<String>)> {
    let mut rows: BTreeMap<i64, _> = (1..=ROWS).map(|id| (id, first(id))).collect();
    for (id, edit) in edits {
        match edit {
            Edit::Delete => drop(rows.remove(id)),
            Edit::Set(n, s) => drop(rows.insert(*id, (*n, s.clone()))),
        }
    }
    rows
}

fn made() -> String {
    let rows: Vec<String> = (1..=ROWS)
        .map(|id| {
            let (n, s) = first(id);
            format!("({id}, {n}, {})", literal(&s))
        })
        .collect();
    format!(
        "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, n bigint, s text); INSERT INTO t VALUES {}",
        rows.join(", ")
    )
}

#[test]
fn what_is_reported_is_what_was_done() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let pair = tokio::sync::Mutex::new(runtime.block_on(Pair::new("", "")));
    proptest!(config, |(edits in edits(), buckets in 1u32..64)| {
        let options = RowDiffOptions::default().with_named(200).with_buckets(buckets);
        runtime.block_on(async {
            let mut pair = pair.lock().await;
            let (before, after) = (made(), format!("{}; {}", made(), script(&edits).join(";")));
            run(&mut pair.before, &before).await;
            run(&mut pair.after, &after).await;
            by_key(&mut pair, &edits, &options).await;
            by_whole_row(&mut pair, &edits, &options).await;
        });
    });
}

async fn by_key(pair: &mut Pair, edits: &BTreeMap<i64, Edit>, options: &RowDiffOptions) {
    let found = pair.diff_with(options).await;
    let after = edited(edits);
    let mut expected = Vec::new();
    for id in 1..ROWS + 20 {
        let before = (id <= ROWS).then(|| first(id));
        let sign = match (before, after.get(&id)) {
            (Some(before), Some(after)) if before != *after => '~',
            (Some(_), None) => '-',
            (None, Some(_)) => '+',
            _ => continue,
        };
        expected.push(format!("{sign} id = {id}"));
    }
    expected.sort();
    let mut seen: Vec<String> = found
        .to_string()
        .lines()
        .map(|line| line.split(':').next().unwrap_or_default().to_owned())
        .collect();
    seen.sort();
    assert_eq!(seen, expected);
    assert_eq!(found.before + found.added, found.after + found.lost);
}

/// The same without the key: what counts is how often each content is there.
async fn by_whole_row(pair: &mut Pair, edits: &BTreeMap<i64, Edit>, options: &RowDiffOptions) {
    run(&mut pair.before, "ALTER TABLE t DROP id").await;
    run(&mut pair.after, "ALTER TABLE t DROP id").await;
    let found = pair.diff_with(options).await;
    let mut counts: BTreeMap<(i64, Option<String>), i64> = BTreeMap::new();
    for id in 1..=ROWS {
        *counts.entry(first(id)).or_default() -= 1;
    }
    for row in edited(edits).into_values() {
        *counts.entry(row).or_default() += 1;
    }
    let sum = |sign: i64| -> u64 {
        counts
            .values()
            .map(|count| (count * sign).max(0).unsigned_abs())
            .sum()
    };
    assert_eq!(
        (found.lost, found.changed, found.added),
        (sum(-1), 0, sum(1)),
        "{found}"
    );
}
