//! What plans look like, and the laws that all of them keep.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::environment::Capabilities;
use crate::ids::Version;
use crate::migration::{MigrationId, Reversibility};
use crate::plan::{Moment, past};
use crate::side::Candidate;

fn outline(reversible: &[bool]) -> Outline {
    Outline {
        name: "orders".to_owned(),
        from: Version::new("1"),
        to: Version::new("2"),
        migrations: reversible
            .iter()
            .enumerate()
            .map(|(index, reversible)| MigrationOutline {
                id: MigrationId::new(format!("{index:04}"), "m"),
                reversibility: if *reversible {
                    Reversibility::Reversible
                } else {
                    Reversibility::Irreversible {
                        reason: "no down".to_owned(),
                    }
                },
                statements: 2,
                waits_for_snapshots: false,
                tested: false,
                unit: None,
            })
            .collect(),
        strategies: vec![
            StrategyOutline {
                name: "snapshot swap".to_owned(),
                requires_reversible: false,
            },
            StrategyOutline {
                name: "revert migrations".to_owned(),
                requires_reversible: true,
            },
        ],
        writes: false,
        writes_anywhere: false,
        traffic: false,
        comparisons: false,
        released: Vec::new(),
        releases: Vec::new(),
        install_order: Vec::new(),
        capabilities: Capabilities::none()
            .with_disposable()
            .with_snapshots()
            .with_faults()
            .with_held_snapshots()
            .with_server_faults()
            .with_empty(),
        rollback_within: Duration::from_secs(300),
        step_within: Duration::from_secs(600),
        reversible: false,
        every_crash: false,
        configuration: None,
        faults: None,
    }
}

fn count(plan: &Plan, matches: impl Fn(&Action) -> bool) -> usize {
    plan.steps
        .iter()
        .filter(|step| matches(&step.action))
        .count()
}

#[test]
fn a_plan_reads_like_an_upgrade() {
    let plan = plan(&outline(&[true, true]), Scenario::Upgrade, 7).unwrap();
    let text = plan.to_string();
    assert_eq!(
        text.lines().map(str::trim).collect::<Vec<_>>(),
        [
            "plan orders upgrade (1 -> 2), 14 steps, seed 7, rollback within 300s",
            "1  provision  provision the previous release",
            "2  baseline   keep the state as `baseline`",
            "3  baseline   observe schema and rows as `baseline`",
            "4  baseline   validate",
            "attempt 1",
            "5  preflight  inspect the migrations as they are written",
            "6  preflight  prepare the rollback by snapshot swap",
            "7  preflight  check the rollback by snapshot swap of 0000_m to 0001_m",
            "8  expand     apply 0000_m",
            "9  expand     apply 0001_m",
            "10  soak       validate",
            "11  soak       compare rows with `baseline`, in the columns of both",
            "12  finalize   give up what snapshot swap keeps: nothing can be rolled back any more",
            "13  verify     validate",
            "14  teardown   remove everything",
        ]
    );
}

/// The first two of three migrations are one change.
fn in_units() -> Outline {
    let mut outline = outline(&[true, true, true]);
    for part in &mut outline.migrations[..2] {
        part.unit = Some("20240101000000".to_owned());
    }
    outline
}

#[test]
fn a_change_of_several_migrations_is_undone_as_one() {
    let outline = in_units();
    let all: Vec<_> = outline.migrations.iter().map(|one| &one.id).collect();
    let back = |plan: &Plan| {
        let reverted = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Revert { migration } => Some(migration.clone()),
            _ => None,
        });
        reverted.collect::<Vec<_>>()
    };
    let round_trip = plan(&outline, Scenario::RoundTrip, 0).unwrap();
    let expected = [all[1], all[0], all[2], all[2], all[1], all[0]];
    assert!(back(&round_trip).iter().eq(expected));
    // Nothing is compared, and nothing begins, between the two.
    let between = |action: &Action| match action {
        Action::Compare { with, .. } | Action::Restore { label: with } => with == "after 0000",
        _ => false,
    };
    assert_eq!(count(&round_trip, between), 0);

    let rollback = plan(&outline, Scenario::Rollback, 0).unwrap();
    let half =
        |action: &Action| matches!(action, Action::RollBack { applied, .. } if applied.len() == 1);
    assert_eq!(count(&rollback, half), 0);

    // A crash within the change leaves it unfinished, and its downs undo all of it.
    let crash = plan(&outline, Scenario::Crash, 0).unwrap();
    let by_downs = |action: &Action| {
        matches!(action, Action::RollBack { applied, strategy }
            if applied.len() < 3 && strategy == "revert migrations")
    };
    assert_eq!(count(&crash, by_downs), 0);
    let again = plan(&outline, Scenario::Rerun, 0).unwrap();
    assert!(back(&again).iter().eq([all[1], all[0], all[2]]));
}

#[test]
fn a_snapshot_is_held_only_where_that_is_supported() {
    let mut outline = outline(&[true]);
    outline.migrations[0].waits_for_snapshots = true;
    let waiting = |action: &Action| matches!(action, Action::Crash { moment, .. } if *moment == Moment::WhileWaiting);
    let able = plan(&outline, Scenario::Crash, 0).unwrap();
    assert!(count(&able, waiting) > 0);
    outline.capabilities.held_snapshots = false;
    let unable = plan(&outline, Scenario::Crash, 0).unwrap();
    assert_eq!(count(&unable, waiting), 0);
    let refused = able.check(&outline).unwrap_err();
    assert!(refused.to_string().contains("hold a snapshot"), "{refused}");
}

#[test]
fn control_touches_no_migration() {
    let plan = plan(&outline(&[true]), Scenario::Control, 0).unwrap();
    assert!(plan.migrations().is_empty());
}

#[test]
fn every_boundary_is_rolled_back_by_every_way_that_can_cross_it() {
    let plan = plan(&outline(&[true, false, true]), Scenario::Rollback, 0).unwrap();
    let rollbacks: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::RollBack { strategy, applied } => Some((strategy.as_str(), applied.len())),
            _ => None,
        })
        .collect();
    assert_eq!(
        rollbacks,
        [
            ("snapshot swap", 1),
            ("revert migrations", 1),
            ("snapshot swap", 2),
            ("snapshot swap", 3)
        ]
    );
}

#[test]
fn what_users_wrote_goes_through_every_down_and_every_way_back() {
    let mut outline = outline(&[true, false, true]);
    outline.writes = true;
    let wrote = |plan: &Plan| count(plan, |action| matches!(action, Action::Write { .. }));
    let asked = |plan: &Plan| {
        let written = |action: &Action| {
            matches!(
                action,
                Action::Compare {
                    equal: Equal::Written,
                    ..
                }
            )
        };
        count(plan, written)
    };
    // The two that can be reverted, after the down and after the up; the whole set cannot.
    let round_trip = plan(&outline, Scenario::RoundTrip, 0).unwrap();
    assert_eq!((wrote(&round_trip), asked(&round_trip)), (2, 4));
    let rollback = plan(&outline, Scenario::Rollback, 0).unwrap();
    assert_eq!((wrote(&rollback), asked(&rollback)), (1, 1));
    outline.migrations.remove(1);
    let round_trip = plan(&outline, Scenario::RoundTrip, 0).unwrap();
    assert_eq!((wrote(&round_trip), asked(&round_trip)), (3, 6));
    let rollback = plan(&outline, Scenario::Rollback, 0).unwrap();
    assert_eq!((wrote(&rollback), asked(&rollback)), (2, 2));
}

#[test]
fn release_by_release_is_gone_where_users_write_in_between_and_every_path_is_validated() {
    let mut outline = outline(&[true]);
    outline.released = vec![outline.migrations[0].clone(); 3];
    outline.releases = vec![1, 2, 3];
    let paths = |writes: bool, anywhere: bool| {
        let outline = Outline {
            writes,
            writes_anywhere: anywhere,
            traffic: false,
            ..outline.clone()
        };
        let plan = plan(&outline, Scenario::SkipRelease, 0).unwrap();
        let paths = plan.steps.iter().map(|step| step.attempt).max().unwrap() - 1;
        // One more before anything moves.
        let asked = count(&plan, |action| matches!(action, Action::Validate)) - 1;
        (paths, asked)
    };
    assert_eq!(paths(false, false), (3, 0));
    // Only at the latest release: the other two are empty until they are there.
    assert_eq!(paths(true, false), (5, 3));
    assert_eq!(paths(true, true), (5, 5));
}

/// Of three migrations the one in the middle is new.
fn late() -> Outline {
    let mut outline = outline(&[true, true, true]);
    let all = std::mem::take(&mut outline.migrations);
    outline.install_order = all.iter().map(|migration| migration.id.clone()).collect();
    outline.released = vec![all[0].clone(), all[2].clone()];
    outline.migrations = vec![all[1].clone()];
    outline.releases = vec![2];
    outline
}

/// The versions that an attempt applies.
fn applies(plan: &Plan, attempt: u32) -> Vec<String> {
    let of_attempt = plan.steps.iter().filter(|step| step.attempt == attempt);
    of_attempt
        .filter_map(|step| match &step.action {
            Action::Apply { migration } => Some(migration.version().to_owned()),
            Action::MergeLate { migration, .. } => Some(format!("late {}", migration.version())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_new_system_applies_in_its_own_order() {
    let fresh = plan(&late(), Scenario::FreshInstall, 0).unwrap();
    assert_eq!(applies(&fresh, 1), ["0001"]);
    assert_eq!(applies(&fresh, 2), ["0000", "0001", "0002"]);
    // The only pending one comes late, compared with a new system.
    let branch = plan(&late(), Scenario::OutOfOrder, 0).unwrap();
    assert_eq!(applies(&branch, 1), ["0000", "0001", "0002"]);
    assert_eq!(applies(&branch, 2), ["late 0001"]);
    let mut in_order = late();
    in_order.install_order.clear();
    let branch = plan(&in_order, Scenario::OutOfOrder, 0).unwrap();
    assert_eq!(applies(&branch, 2), Vec::<String>::new());
}

#[test]
fn a_one_way_migration_goes_back_by_snapshot() {
    let plan = plan(&outline(&[false]), Scenario::RoundTrip, 0).unwrap();
    assert_eq!(
        count(&plan, |action| matches!(action, Action::Revert { .. })),
        0
    );
}

#[test]
fn what_cannot_be_planned_says_why() {
    let check = |outline: &Outline, scenario, expected: &str| {
        let error = plan(outline, scenario, 0).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(
        &outline(&[]),
        Scenario::Upgrade,
        "nothing is pending between `1` and `2`",
    );
    let mut real = outline(&[true]);
    real.capabilities = Capabilities::none();
    check(&real, Scenario::RoundTrip, "snapshots");
    let mut poor = outline(&[true]);
    poor.strategies.clear();
    check(&poor, Scenario::Rollback, "a rollback");
    poor.capabilities.faults = false;
    check(&poor, Scenario::Crash, "faults");
    check(&outline(&[true]), Scenario::Rolling, "instance by instance");
}

#[test]
fn a_plan_over_a_real_system_provisions_and_removes_nothing() {
    let staging = outline(&[true]);
    let mut real = staging.clone();
    real.capabilities = Capabilities::none();
    let planned = plan(&real, Scenario::Upgrade, 0).unwrap();
    let text = planned.to_string();
    for (part, is_there) in [
        (
            "1  provision  lock the system against other operations",
            true,
        ),
        ("give the lock of the system up", true),
        ("provision the previous release", false),
        ("remove everything", false),
    ] {
        assert_eq!(text.contains(part), is_there, "{text}");
    }
    // Neither is taken for the other.
    let rehearsed = plan(&staging, Scenario::Upgrade, 0).unwrap();
    for (plan, outline, said) in [
        (&planned, &staging, "this one may be thrown away"),
        (&rehearsed, &real, "this one is real"),
    ] {
        let error = plan.check(outline).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_plan_of_another_format_is_refused() {
    let mut saved = plan(&outline(&[true]), Scenario::Upgrade, 0).unwrap();
    saved.format = 99;
    let error = Plan::from_json(&saved.to_json()).unwrap_err();
    assert!(error.to_string().contains("format 99"), "{error}");
    assert!(Plan::from_json("{").is_err());
}

proptest! {
    #[test]
    fn laws(
        reversible in prop::collection::vec(any::<bool>(), 1..12),
        scenario in prop::sample::select(Scenario::ALL.to_vec()),
        seed in any::<u64>(),
        writes in any::<bool>(),
    ) {
        let mut outline = outline(&reversible);
        outline.writes = writes;
        outline.capabilities.instances = 3;
        let plan = plan(&outline, scenario, seed).unwrap();
        // The same input gives the same plan, and the saved plan is the plan.
        prop_assert_eq!(&plan, &super::plan(&outline, scenario, seed).unwrap());
        prop_assert_eq!(&plan, &Plan::from_json(&plan.to_json()).unwrap());
        // Ids count from 1; attempt numbers never decrease; one provision first, one teardown last.
        for (index, step) in plan.steps.iter().enumerate() {
            prop_assert_eq!(step.id.0 as usize, index + 1);
            prop_assert!(index == 0 || plan.steps[index - 1].attempt <= step.attempt);
        }
        prop_assert_eq!(&plan.steps[0].action, &Action::Provision);
        prop_assert_eq!(&plan.steps[plan.steps.len() - 1].action, &Action::Teardown);
        prop_assert_eq!(count(&plan, |action| matches!(action, Action::Teardown)), 1);
        // Nothing one-way is ever reverted, and nothing is compared with what was not observed.
        let mut observed = Vec::new();
        for step in &plan.steps {
            match &step.action {
                Action::Observe { label } => observed.push(label.clone()),
                Action::Compare { with, .. } => prop_assert!(observed.contains(with)),
                Action::Revert { migration } | Action::RevertAgain { migration } => {
                    let index: usize = migration.version().parse().unwrap();
                    prop_assert!(reversible[index]);
                }
                _ => {}
            }
        }
        // Users write only where it is known what, and never twice the same.
        let mut seeds: Vec<u64> = plan
            .steps
            .iter()
            .filter_map(|step| match step.action {
                Action::Write { seed } => Some(seed),
                _ => None,
            })
            .collect();
        prop_assert!(writes || seeds.is_empty());
        let all = seeds.len();
        seeds.sort_unstable();
        seeds.dedup();
        prop_assert_eq!(seeds.len(), all);
        // Every scenario but the control meets every migration.
        if scenario != Scenario::Control {
            prop_assert_eq!(plan.migrations().len(), reversible.len());
        }
    }
}

fn sequence(reversible: &[bool], text: &str) -> Result<Plan> {
    let mut outline = outline(reversible);
    outline.writes = true;
    Plan::from_sequence(&outline, &text.parse()?, 7)
}

#[test]
fn a_sequence_is_one_attempt_that_keeps_before_each_move_and_compares_after_it() {
    let text = "write seed 3; up 2; write seed 9; down 1";
    let plan = sequence(&[true, true], text).unwrap();
    assert_eq!(
        plan.to_string()
            .lines()
            .map(str::trim)
            .skip(5)
            .collect::<Vec<_>>(),
        [
            "attempt 1",
            "5  baseline   users write (seed 3)",
            "6  baseline   validate",
            "7  preflight  keep the state as `before step 2`",
            "8  preflight  observe schema and rows as `before step 2`",
            "9  expand     apply 0000_m",
            "10  expand     apply 0001_m",
            "11  expand     compare rows with `before step 2`, in the columns of both",
            "12  expand     validate",
            "13  soak       users write (seed 9)",
            "14  soak       validate",
            "15  preflight  keep the state as `before step 4`",
            "16  preflight  observe schema and rows as `before step 4`",
            "17  rollback   revert 0001_m",
            "18  rollback   compare rows with `before step 4`, in the columns of both",
            "19  teardown   remove everything",
        ]
    );
    let back = sequence(&[true, true], "up 2; down 2; up 1; up 1").unwrap();
    let of_schemas = count(&back, |action| {
        let Action::Compare { equal, .. } = action else {
            return false;
        };
        *equal == Equal::Schema
    });
    // The previous release, and the newer one again; the boundary between was never seen.
    assert_eq!(of_schemas, 2, "{back}");
}

#[test]
fn a_sequence_that_is_not_possible_says_which_step_and_why() {
    let error =
        |reversible: &[bool], text: &str| sequence(reversible, text).unwrap_err().to_string();
    assert_eq!(
        error(&[true], "up 2"),
        "the sequence `up 2` is not possible: `up 2` where 1 migration can follow"
    );
    assert!(error(&[true], "up 1; down 2").ends_with("`down 2` where 1 migration is applied"));
    assert!(
        error(&[true, false], "up 2; down 2")
            .ends_with("meets `0001_m`, which has no down migration")
    );
    assert!(error(&[], "nothing").starts_with("nothing is pending"));
    let mut silent = outline(&[true]);
    silent.writes = false;
    let write: Sequence = "write seed 1".parse().unwrap();
    assert!(Plan::from_sequence(&silent, &write, 7).is_err());
}

#[test]
fn a_sequence_is_read_as_it_is_written() {
    for text in ["nothing", "up 1; write seed 18446744073709551615; down 1"] {
        assert_eq!(text.parse::<Sequence>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "up",
        "up 0",
        "sideways 1",
        "up 1;",
        "write 3",
        "down -1",
    ] {
        let error = text.parse::<Sequence>().unwrap_err().to_string();
        assert!(error.contains("of a sequence"), "{error}");
    }
    let saved = serde_json::to_string(&"up 1; down 1".parse::<Sequence>().unwrap()).unwrap();
    assert_eq!(saved, "\"up 1; down 1\"");
    assert!(serde_json::from_str::<Sequence>("\"up x\"").is_err());
}

#[test]
fn the_test_of_a_migration_begins_at_the_state_before_it_in_an_attempt_of_its_own() {
    let mut outline = outline(&[true, true, false]);
    let of = |outline: &Outline, scenario| {
        let plan = plan(outline, scenario, 0).unwrap();
        let given = |step: &&crate::plan::Step| matches!(step.action, Action::Given { .. });
        let attempts = plan.steps.iter().filter(given).map(|step| step.attempt);
        let attempts: Vec<u32> = attempts.collect();
        let judged = |after_down| {
            count(
                &plan,
                |action| matches!(action, Action::Judge { reverted, .. } if *reverted == after_down),
            )
        };
        (attempts.len(), judged(false), judged(true))
    };
    let scenarios = [
        Scenario::Upgrade,
        Scenario::RoundTrip,
        Scenario::Rollback,
        Scenario::Rerun,
    ];
    assert!(scenarios.iter().all(|one| of(&outline, *one) == (0, 0, 0)));
    outline.migrations[1].tested = true;
    assert_eq!(
        scenarios.map(|one| of(&outline, one)),
        [(1, 1, 0), (1, 2, 1), (2, 2, 2), (1, 1, 1)]
    );
    // A one-way migration has no down to judge after, and one rollback crosses it.
    (outline.migrations[1].tested, outline.migrations[2].tested) = (false, true);
    assert_eq!(
        scenarios.map(|one| of(&outline, one)),
        [(1, 1, 0), (1, 1, 0), (1, 1, 1), (1, 1, 0)]
    );
    // Rows of one attempt are in no other.
    let plan = plan(&outline, Scenario::Upgrade, 0).unwrap();
    let given = plan
        .steps
        .iter()
        .position(|step| matches!(step.action, Action::Given { .. }));
    let attempt = plan.steps[given.unwrap()].attempt;
    let mut first = plan.steps.iter().filter(|step| step.attempt == attempt);
    assert!(
        matches!(&first.next().unwrap().action, Action::Restore { label } if label == BASELINE)
    );
}

/// How many states are kept at most at the same time.
fn kept_at_once(plan: &Plan) -> usize {
    let mut needed = past::last_needed(plan);
    let mut kept = BTreeSet::new();
    let mut most = 0;
    for step in &plan.steps {
        if let Action::Snapshot { label } = &step.action {
            kept.insert(label.clone());
        }
        most = most.max(kept.len());
        for label in needed.remove(&step.id).into_iter().flatten() {
            kept.remove(&label);
        }
    }
    most
}

#[test]
fn the_states_that_are_kept_at_once_do_not_grow_with_the_migrations() {
    for scenario in [
        Scenario::Upgrade,
        Scenario::RoundTrip,
        Scenario::Rollback,
        Scenario::Rerun,
        Scenario::OutOfOrder,
        Scenario::FreshInstall,
    ] {
        let [few, many] = [3, 30].map(|count| {
            let mut outline = outline(&vec![true; count]);
            outline.writes = true;
            kept_at_once(&plan(&outline, scenario, 0).unwrap())
        });
        assert_eq!(few, many, "{scenario}");
        assert!(few <= 4, "{scenario}: {few}");
    }
}

#[test]
fn releases_are_compared_where_a_test_has_comparisons_and_a_system_that_is_thrown_away() {
    let compared = |outline: &Outline, scenario: Scenario| -> Vec<Candidate> {
        let plan = plan(outline, scenario, 0).unwrap();
        let candidates = plan.steps.iter().filter_map(|step| match &step.action {
            Action::SideBySide { candidate } => Some(*candidate),
            _ => None,
        });
        candidates.collect()
    };
    let mut reversible = outline(&[true, true]);
    reversible.capabilities = reversible.capabilities.with_instances(2);
    for scenario in [Scenario::Control, Scenario::Upgrade, Scenario::Rollback] {
        assert_eq!(compared(&reversible, scenario), []);
    }
    reversible.comparisons = true;
    for (scenario, candidate) in [
        (Scenario::Control, Candidate::Unchanged),
        (Scenario::Upgrade, Candidate::Upgraded),
        (Scenario::Rolling, Candidate::Mixed),
        (Scenario::Rollback, Candidate::RolledBack),
    ] {
        assert_eq!(compared(&reversible, scenario), [candidate], "{scenario}");
    }
    let mut one_way = outline(&[true, false]);
    one_way.comparisons = true;
    assert_eq!(compared(&one_way, Scenario::Rollback), []);
    reversible.capabilities.disposable = false;
    assert_eq!(compared(&reversible, Scenario::Upgrade), []);
}
