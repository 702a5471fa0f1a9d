use proptest::prelude::*;

use super::*;
use crate::expected::MadeBy;
use crate::subject::Subject;

/// Names of which some begin, end or are contained in others.
const TABLES: [&str; 5] = [
    "public.orders",
    "public.orders_old",
    "old.orders",
    "orders",
    "public.a",
];

const COLUMNS: [&str; 3] = ["a", "b", "a.b"];

fn tables() -> impl Strategy<Value = TableRef> {
    let database = prop_oneof![4 => Just(None), 1 => Just(Some("billing"))];
    (prop::sample::select(&TABLES[..]), database).prop_map(|(name, database)| {
        let table = TableRef::new(name);
        match database {
            Some(database) => table.in_database(database),
            None => table,
        }
    })
}

fn columns() -> impl Strategy<Value = String> {
    prop::sample::select(&COLUMNS[..]).prop_map(str::to_owned)
}

fn counts() -> impl Strategy<Value = Option<Counts>> {
    let counts = (0..3u64, 0..3u64, 0..3u64).prop_map(|(lost, changed, added)| Counts {
        lost,
        changed,
        added,
    });
    prop::option::of(counts)
}

/// Differences in rows, in one column, and in no rows at all: an error or a warning.
fn differences() -> impl Strategy<Value = Difference> {
    let subject = prop_oneof![
        4 => tables().prop_map(Subject::from),
        2 => (tables(), columns()).prop_map(|(table, column)| table.column(column).into()),
        1 => tables().prop_map(|table| Subject::from(format!("table {table}"))),
    ];
    let only_in = prop::collection::btree_set(columns(), 0..3);
    let severity = prop_oneof![Just(Severity::Error), Just(Severity::Warning)];
    (
        subject,
        severity,
        counts(),
        only_in,
        prop::collection::btree_set(columns(), 0..2),
        prop::option::of(tables()),
    )
        .prop_map(|(subject, severity, counts, only_in, also_in, now)| {
            // The message names every table: no sentence may excuse anything.
            let mut finding = Finding::error("differs", subject, TABLES.join(" "));
            finding.severity = severity;
            let mut difference = Difference::of(finding);
            if let Some(facts) = &mut difference.facts {
                facts.counts = counts;
                if facts.column.is_none() {
                    (facts.only_in, facts.also_in) = (only_in, also_in);
                }
                facts.names.extend(now);
            }
            difference
        })
}

fn declarations() -> impl Strategy<Value = Vec<ExpectedChange>> {
    let one = (tables(), prop::option::of(columns())).prop_map(|(table, column)| {
        let mut change = ExpectedChange::new("public.any", TABLES.join(" ")).made_by(MadeBy::Up);
        (change.table, change.column) = (table, column);
        change
    });
    prop::collection::vec(one, 0..4)
}

fn losses() -> impl Strategy<Value = Vec<Loss>> {
    let kind = prop_oneof![
        Just(LossKind::Rows),
        Just(LossKind::Values),
        Just(LossKind::Writes),
        Just(LossKind::Other),
    ];
    let subject = prop_oneof![
        tables().prop_map(Subject::from),
        (tables(), columns()).prop_map(|(table, column)| table.column(column).into()),
        tables().prop_map(|table| Subject::from(format!("statistics of {table}"))),
    ];
    let one =
        (kind, subject).prop_map(|(kind, subject)| Loss::new(kind, subject, TABLES.join(" ")));
    prop::collection::vec(one, 0..4)
}

fn grounds<'a>(declared: &'a [ExpectedChange], losses: &[Loss]) -> Vec<Ground<'a>> {
    let declared = declared.iter().enumerate();
    let declared = declared.map(|(place, change)| Ground::Declared(place, change));
    let announced = losses.iter().cloned().map(Ground::Announced);
    declared.chain(announced).collect()
}

/// What one difference came to: `None` if it is not reported.
fn outcome(difference: &Difference, grounds: &[Ground<'_>]) -> Option<Severity> {
    let judged = judge(vec![difference.clone()], grounds);
    judged.findings.first().map(|finding| finding.severity)
}

/// Whether a ground names just the table or the column of a difference.
fn names_it(ground: &Ground<'_>, facts: &Facts) -> bool {
    let of_column = |column: &str| {
        facts.column.as_deref() == Some(column)
            || facts.only_in.contains(column)
            || facts.also_in.contains(column)
    };
    match ground {
        Ground::Declared(_, change) => {
            let column = change.column.as_deref();
            facts.names.contains(&change.table) && column.is_none_or(of_column)
        }
        Ground::Announced(loss) if loss.kind == LossKind::Other => false,
        Ground::Announced(loss) => match loss.subject.object() {
            Some(Object::Table(table)) => facts.names.contains(table),
            Some(Object::Column(column)) => {
                facts.names.contains(&column.table) && of_column(&column.name)
            }
            Some(Object::LargeObjects) | None => false,
        },
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn without_grounds_every_difference_stays_what_it_is(
        all in prop::collection::vec(differences(), 0..5),
    ) {
        let expected: Vec<Finding> = all.iter().map(|one| one.finding.clone()).collect();
        let judged = judge(all, &[]);
        prop_assert_eq!(judged.findings, expected);
        prop_assert!(judged.used.is_empty());
    }

    #[test]
    fn only_what_names_the_table_or_column_excuses_a_difference(
        difference in differences(), declared in declarations(), losses in losses(),
    ) {
        let all = grounds(&declared, &losses);
        let excused = outcome(&difference, &all) != Some(difference.finding.severity);
        let named = difference.facts.as_ref().is_some_and(|facts| {
            all.iter().any(|ground| names_it(ground, facts))
        });
        prop_assert!(named || !excused);
        // What names something else is without effect.
        let related: Vec<Ground<'_>> = all
            .iter()
            .filter(|ground| difference.facts.as_ref().is_some_and(|it| names_it(ground, it)))
            .cloned()
            .collect();
        prop_assert_eq!(outcome(&difference, &related), outcome(&difference, &all));
    }

    #[test]
    fn a_declaration_of_the_table_excuses_what_differs_in_it(
        difference in differences(), declared in declarations(), losses in losses(),
    ) {
        let Some(facts) = &difference.facts else { return Ok(()) };
        let mut whole = ExpectedChange::new("public.any", "so it is");
        whole.table = facts.names[0].clone();
        let declared: Vec<_> = declared.into_iter().chain([whole]).collect();
        let severity = outcome(&difference, &grounds(&declared, &losses));
        prop_assert!(severity.is_none_or(|severity| severity == Severity::Note));
    }

    #[test]
    fn one_more_ground_never_makes_anything_worse(
        difference in differences(),
        declared in declarations(),
        losses in losses(),
        table in tables(),
        which in 0..4,
    ) {
        let mut all = grounds(&declared, &losses);
        let before = outcome(&difference, &all);
        match which {
            0 => all.push(Ground::Changed(table, "users do")),
            1 => all.push(Ground::Gains),
            2 => all.push(Ground::Meanwhile),
            _ => all.push(Ground::Later),
        }
        for count in 0..=all.len() {
            let fewer = outcome(&difference, &all[..count]);
            prop_assert!(outcome(&difference, &all) <= fewer);
        }
        prop_assert!(outcome(&difference, &all) <= before);
    }

    #[test]
    fn what_users_do_excuses_no_row_that_is_lost(
        difference in differences(), table in tables(),
    ) {
        let Some(facts) = &difference.facts else { return Ok(()) };
        if facts.counts.is_none_or(|counts| counts.lost == 0) {
            return Ok(());
        }
        for ground in [Ground::Changed(table, "users do"), Ground::Gains, Ground::Meanwhile] {
            let severity = outcome(&difference, &[ground]);
            prop_assert_eq!(severity, Some(difference.finding.severity));
        }
    }

    #[test]
    fn a_declaration_counts_as_used_only_where_it_excuses(
        difference in differences(), declared in declarations(),
    ) {
        let all = grounds(&declared, &[]);
        let judged = judge(vec![difference.clone()], &all);
        let without: Vec<Ground<'_>> = all
            .iter()
            .filter(|ground| !matches!(ground, Ground::Declared(at, _) if judged.used.contains(at)))
            .cloned()
            .collect();
        let excused = judged.findings[0].severity < difference.finding.severity;
        prop_assert_eq!(excused, !judged.used.is_empty());
        if excused && without.is_empty() {
            prop_assert_eq!(outcome(&difference, &without), Some(difference.finding.severity));
        }
    }
}

#[test]
fn a_loss_of_values_excuses_no_row_and_one_of_statistics_nothing() {
    let table = TableRef::new("public.orders");
    let counts = |lost, changed| Counts {
        lost,
        changed,
        added: 0,
    };
    for (kind, counts, dropped) in [
        (LossKind::Values, counts(0, 3), true),
        (LossKind::Values, counts(1, 2), false),
        (LossKind::Rows, counts(1, 2), true),
        (LossKind::Writes, counts(3, 0), true),
        (LossKind::Other, counts(0, 1), false),
    ] {
        let finding = Finding::error("lost", table.clone(), "has other rows");
        let difference = Difference::of(finding).with_counts(counts);
        let loss = Loss::new(kind, table.clone(), "of public.orders");
        let is_dropped = outcome(&difference, &[Ground::Announced(loss)]).is_none();
        assert_eq!(is_dropped, dropped, "{kind:?} {counts:?}");
    }
}

#[test]
fn columns_excuse_together_what_none_of_them_does_alone() {
    let table = TableRef::new("public.t");
    let mut difference = Difference::of(Finding::error("lost", table.clone(), "differs"));
    let facts = difference.facts.as_mut().unwrap();
    facts.only_in = ["a".to_owned(), "b".to_owned()].into();
    let a = ExpectedChange::new("public.t.a", "one");
    let b = ExpectedChange::new("public.t.b", "two");
    let announced = Loss::new(LossKind::Values, table.column("b"), "b");
    let severity = |grounds: &[Ground<'_>]| outcome(&difference, grounds);
    assert_eq!(severity(&[Ground::Declared(0, &a)]), Some(Severity::Error));
    let both = [Ground::Declared(0, &a), Ground::Declared(1, &b)];
    assert_eq!(severity(&both), Some(Severity::Note));
    let mixed = [Ground::Declared(0, &a), Ground::Announced(announced)];
    assert_eq!(severity(&mixed), Some(Severity::Note));
    let judged = judge(vec![difference.clone()], &both);
    assert_eq!(
        judged.findings[0].help.as_deref(),
        Some("declared: one; two")
    );
    assert_eq!(judged.used, [0, 1].into());
}

/// The places of the declarations that a difference in `public.t` shows to have happened.
#[track_caller]
fn check_used(declared: &[&str], change: impl FnOnce(&mut Facts), used: &[usize]) {
    let all: Vec<ExpectedChange> = declared
        .iter()
        .map(|object| ExpectedChange::new(object, "why"))
        .collect();
    let finding = Finding::error("lost", TableRef::new("public.t"), "differs");
    let mut difference = Difference::of(finding);
    change(difference.facts.as_mut().unwrap());
    let judged = judge(vec![difference], &grounds(&all, &[]));
    assert_eq!(judged.findings[0].severity, Severity::Note);
    assert_eq!(judged.used.into_iter().collect::<Vec<_>>(), used);
}

fn names(columns: &[&str]) -> BTreeSet<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

#[test]
fn of_several_declarations_of_one_table_those_count_that_did_happen() {
    let all = ["public.t", "public.t.a", "public.t.b"];
    let counts = Counts {
        lost: 1,
        changed: 1,
        added: 0,
    };
    // The column excuses all of it, so that nothing is seen of the rest.
    check_used(&all, |facts| facts.only_in = names(&["a"]), &[1]);
    check_used(&all, |facts| facts.only_in = names(&["a", "c"]), &[0, 1]);
    check_used(
        &all,
        |facts| {
            facts.counts = Some(counts);
            facts.values_in = Some(names(&["a", "c"]));
        },
        &[0, 1],
    );
    check_used(
        &all,
        |facts| {
            facts.counts = Some(Counts { added: 1, ..counts });
            facts.only_in = names(&["a"]);
        },
        &[0, 1],
    );
    // Which values changed cannot be told.
    check_used(&all, |facts| facts.counts = Some(counts), &[0, 1, 2]);
}

#[test]
fn two_declarations_of_one_object_happen_together() {
    let twice = ["public.t", "public.t", "public.t.a", "public.t.a"];
    check_used(&twice, |facts| facts.values_in = Some(names(&[])), &[0, 1]);
    check_used(&twice, |facts| facts.only_in = names(&["a"]), &[2, 3]);
    check_used(&twice, |facts| facts.column = Some("a".to_owned()), &[2, 3]);
}
