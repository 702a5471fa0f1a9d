//! Every fact of every kind of object, changed once: the difference must name that fact of that
//! object and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sqlx::Connection as _;
use upgrade_core::postgres::catalog::{Catalog, CatalogDiff, ChangeKind, ObjectKind};

use crate::support::{Server, run, servers};
use crate::{changes, read, shop};

/// What is done to the shop, and all that must be seen of it: `+` and `-` an object, `~` a fact.
const ALTERATIONS: &str = include_str!("alterations.txt");

/// A fact of a kind of object.
type Fact = (ObjectKind, String);

/// One entry of the alterations.
struct Case {
    since: u16,
    until: u16,
    sql: String,
    expected: Vec<String>,
}

impl Case {
    fn all() -> Vec<Self> {
        let texts = ALTERATIONS.split("\n\n").map(str::trim);
        texts
            .filter(|text| !text.is_empty())
            .map(Self::parse)
            .collect()
    }

    fn parse(text: &str) -> Self {
        let (mut since, mut until, mut sql) = (0, u16::MAX, Vec::new());
        let mut expected = Vec::new();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("#since", major)) => since = major.parse().unwrap(),
                Some(("#until", major)) => until = major.parse().unwrap(),
                Some(("#", _)) => {}
                Some(("+" | "-" | "~", _)) => expected.push(line.to_owned()),
                _ => sql.push(line),
            }
        }
        expected.sort();
        assert!(
            !sql.is_empty() && !expected.is_empty(),
            "half a case: {text}"
        );
        Self {
            since,
            until,
            sql: sql.join("\n"),
            expected,
        }
    }
}

/// What came of all cases on one server.
struct Outcome {
    seen: BTreeSet<Fact>,
    problems: Vec<String>,
}

#[test]
fn a_change_of_one_fact_is_named_and_nothing_else() {
    let cases = Case::all();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let runs: Vec<_> = servers()
            .iter()
            .map(|server| scope.spawn(|| try_all(server, &cases)))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for outcome in outcomes {
        problems.extend(outcome.problems);
        seen.extend(outcome.seen);
    }
    for (kinds, fact) in written() {
        if !kinds
            .iter()
            .any(|kind| seen.contains(&(*kind, fact.clone())))
        {
            problems.push(format!("no alteration changes `{fact}` of {kinds:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[tokio::main(flavor = "current_thread")]
async fn try_all(server: &Server, cases: &[Case]) -> Outcome {
    let mut conn = shop(server).await;
    let base = read(&mut conn).await;
    let mut emitted = facts(&base);
    let (mut seen, mut problems, mut count) = (BTreeSet::new(), Vec::new(), 0);
    for case in cases {
        if !(case.since..=case.until).contains(&server.major) {
            continue;
        }
        let mut transaction = conn.begin().await.unwrap();
        run(&mut transaction, &case.sql).await;
        let altered = read(&mut transaction).await;
        transaction.rollback().await.unwrap();
        let diff = base.diff(&altered);
        emitted.extend(facts(&altered));
        seen.extend(changed_facts(&diff));
        count += 1;
        let (expected, actual) = (&case.expected, changes(&diff));
        if actual != *expected {
            let (sql, major) = (&case.sql, server.major);
            problems.push(format!(
                "{sql} on {major}\nexpected {expected:#?}\nactual   {actual:#?}"
            ));
        }
    }
    let diff = base.diff(&read(&mut conn).await);
    assert!(diff.is_empty(), "reading changed something\n{diff}");
    let kinds: BTreeSet<ObjectKind> = emitted.iter().map(|(kind, _)| *kind).collect();
    let blind: Vec<String> = emitted
        .difference(&seen)
        .map(|(kind, fact)| format!("{kind}: {fact}"))
        .collect();
    let verdict = if blind.is_empty() {
        "all seen".to_owned()
    } else {
        format!("never changed: {}", blind.join(", "))
    };
    let summary = format!(
        "{} attributes of {} kinds: {verdict} ({count} alterations on {})",
        emitted.len(),
        kinds.len(),
        server.major
    );
    println!("{summary}");
    if !blind.is_empty() {
        problems.push(summary);
    }
    Outcome { seen, problems }
}

fn facts(catalog: &Catalog) -> BTreeSet<Fact> {
    let objects = catalog.objects().iter();
    objects
        .flat_map(|(id, object)| object.attributes.keys().map(|name| (id.kind, name.clone())))
        .collect()
}

fn changed_facts(diff: &CatalogDiff) -> BTreeSet<Fact> {
    let changes = diff.changes().iter();
    changes
        .filter(|change| matches!(change.kind, ChangeKind::Changed { .. }))
        .flat_map(|change| {
            let facts = change.attributes();
            facts
                .into_iter()
                .map(|fact| (change.id.kind, fact.name.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Every fact that the queries can name, whether or not a server ever did, with the kinds of its
/// file: from their source, where each stands at the beginning of a line.
fn written() -> Vec<(Vec<ObjectKind>, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/postgres/catalog/kinds");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for query in text.split("pub(super) const").skip(1) {
            let named = |kind: &&ObjectKind| query.contains(&format!("'{kind}'"));
            let kinds: Vec<ObjectKind> = ObjectKind::ALL.iter().filter(named).copied().collect();
            let facts = query.lines().filter_map(|line| {
                let (name, rest) = line.trim_start().strip_prefix('\'')?.split_once('\'')?;
                let plain = |c: char| c.is_ascii_lowercase() || c == ' ';
                let fact = rest.starts_with(", ") && name.chars().all(plain);
                fact.then(|| (kinds.clone(), name.to_owned()))
            });
            all.extend(facts);
        }
    }
    all
}
