//! Records of a real sequence, and what people learn from each.

use super::*;
use crate::environment::Capabilities;
use crate::ids::{MigrationId, Phase, Version};
use crate::journal::Ended;
use crate::migration::Reversibility;
use crate::plan::{Action, MigrationOutline, Plan, StepId, StrategyOutline};
use crate::rollback::Prepared;
use crate::upgrade::Upgrade;

const SWAP: &str = "snapshot swap";

fn migration(number: u32) -> MigrationId {
    MigrationId::new(format!("{number}"), "note")
}

fn apply(number: u32) -> Action {
    let migration = migration(number);
    Action::Apply { migration }
}

fn roll_back() -> Action {
    Action::RollBack {
        strategy: SWAP.to_owned(),
        applied: vec![migration(1), migration(2)],
    }
}

fn give_up() -> Action {
    let strategy = SWAP.to_owned();
    Action::Finalize { strategy }
}

fn planned(actions: Vec<Action>) -> Entry {
    let mut outline = Upgrade::new("shop", "1", "2").outline(Capabilities::none());
    outline.strategies = vec![StrategyOutline {
        name: SWAP.to_owned(),
        requires_reversible: false,
    }];
    outline.migrations = (1..=2)
        .map(|number| MigrationOutline {
            id: migration(number),
            reversibility: Reversibility::Reversible,
            statements: 1,
            waits_for_snapshots: false,
            unit: None,
            tested: false,
        })
        .collect();
    let steps = actions.into_iter().map(|action| match &action {
        Action::PrepareRollback { .. } => (Phase::Preflight, action),
        Action::RollBack { .. } => (Phase::Rollback, action),
        Action::Finalize { .. } => (Phase::Finalize, action),
        _ => (Phase::Expand, action),
    });
    let plan = Plan::from_steps(&outline, steps.collect::<Vec<_>>(), 0).unwrap();
    Entry::Planned {
        plan: Box::new(plan),
        contents: Vec::new(),
    }
}

fn intent(action: Action) -> Entry {
    Entry::Intent {
        step: StepId(7),
        phase: Phase::Expand,
        action,
        checksum: None,
    }
}

fn done(intent: u64) -> Entry {
    let ended = Ended::Done;
    Entry::Done { intent, ended }
}

fn failed(intent: u64, why: &str) -> Entry {
    let ended = Ended::Failed(why.to_owned());
    Entry::Done { intent, ended }
}

/// A record, and what it means: the kind, the title without the target, and the text.
type Told = Option<(Kind, &'static str, &'static str)>;

/// Writes entries, and compares what each of them means.
async fn check(store: &MemoryStore, sequence: Vec<(Entry, Told)>) {
    let journal = open(store).await;
    let mut expected = Vec::new();
    for (entry, told) in sequence {
        expected.push((journal.append(None, entry).await.unwrap(), told));
    }
    let chain = verify(&store.bytes()).unwrap();
    for (record, told) in expected {
        let notification = Notification::of(&chain, record.seq);
        let told = told.map(|(kind, title, text)| (kind, format!("{TARGET}: {title}"), text));
        let got = notification.as_ref();
        let got = got.map(|one| (one.kind, one.title.clone(), one.text.as_str()));
        assert_eq!(got, told, "{record}");
        let Some(one) = notification else { continue };
        assert_eq!(one.id, format!("{}-{}", chain.id(), record.seq));
        assert_eq!((&*one.actor, &*one.host), ("ann", "host1"));
        assert_eq!((&*one.target, &one.at), (TARGET, &record.at));
        assert_eq!(one.severity, one.kind.severity());
        assert!(chain.contains(&one.head()), "{record}");
        let name = format!("\"{}\"", one.kind);
        assert_eq!(serde_json::to_string(&one.kind).unwrap(), name);
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Notification>(&json).unwrap(), one);
    }
}

#[tokio::test]
async fn an_upgrade_that_is_rolled_back() {
    let prepare = Action::PrepareRollback {
        strategy: SWAP.to_owned(),
    };
    let kept = Entry::Kept {
        strategy: SWAP.to_owned(),
        prepared: Prepared::new(&"copy").unwrap(),
    };
    let plan = vec![prepare.clone(), apply(1), apply(2)];
    let again = vec![roll_back(), give_up()];
    let began = "step 7, phase expand";
    let both = "2 migrations: 1_note, 2_note";
    let sequence = vec![
        // 2
        (
            planned(plan),
            Some((
                Kind::RunBegan,
                "a run of shop began",
                "release 1 to 2, 2 migrations: 1_note, 2_note",
            )),
        ),
        (intent(Action::Attach), None),
        (done(3), None),
        (intent(prepare), None),
        // 6
        (kept, None),
        (done(5), None),
        (
            intent(apply(1)),
            Some((Kind::MigrationBegan, "began to apply 1_note", began)),
        ),
        (done(8), None),
        // 10
        (
            intent(apply(2)),
            Some((Kind::MigrationBegan, "began to apply 2_note", began)),
        ),
        (
            done(10),
            Some((
                Kind::SoakingBegan,
                "all changes are made: users work with the new release, and a rollback is possible",
                both,
            )),
        ),
        (intent(Action::Validate), None),
        (
            failed(12, "orders/lost: 3 rows"),
            Some((
                Kind::StepFailed,
                "failed to validate",
                "orders/lost: 3 rows",
            )),
        ),
        // 14
        (
            Entry::Note {
                message: "a first line\nand a second".to_owned(),
            },
            Some((Kind::Note, "a note by ann", "a first line\nand a second")),
        ),
        (
            Entry::Notified {
                channel: "chat".to_owned(),
                record: 14,
                failed: Some("refused".to_owned()),
            },
            None,
        ),
        // 16
        (
            planned(again),
            Some((
                Kind::RunBegan,
                "a run of shop began",
                "roll back by snapshot swap: 1_note to 2_note\n\
                 give up what snapshot swap keeps: nothing can be rolled back any more",
            )),
        ),
        (
            intent(roll_back()),
            Some((
                Kind::RollbackBegan,
                "began to roll back by snapshot swap: 1_note to 2_note",
                began,
            )),
        ),
        (
            failed(17, "the copy is missing"),
            Some((
                Kind::RollbackFailed,
                "failed to roll back by snapshot swap: 1_note to 2_note",
                "the copy is missing",
            )),
        ),
        // 19
        (
            intent(roll_back()),
            Some((
                Kind::RollbackBegan,
                "began to roll back by snapshot swap: 1_note to 2_note",
                began,
            )),
        ),
        (
            done(19),
            Some((
                Kind::RollbackDone,
                "the system was rolled back by snapshot swap",
                both,
            )),
        ),
        // 21: what was kept is given up; nothing is final.
        (intent(give_up()), None),
        (done(21), None),
        (Entry::Closed, None),
    ];
    check(&MemoryStore::new(), sequence).await;
}

#[tokio::test]
async fn an_upgrade_with_steps_that_fail_until_it_is_final() {
    let store = MemoryStore::new();
    let began = "step 7, phase expand";
    let services = Action::Replace {
        version: Version::new("1"),
    };
    let revert = Action::Revert {
        migration: migration(2),
    };
    let sequence = vec![
        // 2
        (
            planned(vec![apply(1)]),
            Some((
                Kind::RunBegan,
                "a run of shop began",
                "release 1 to 2, 1 migration: 1_note",
            )),
        ),
        (
            intent(apply(1)),
            Some((Kind::MigrationBegan, "began to apply 1_note", began)),
        ),
        (
            failed(3, "line 4: no table\n`orders`"),
            Some((
                Kind::MigrationFailed,
                "failed to apply 1_note",
                "line 4: no table\n`orders`",
            )),
        ),
        // 5
        (
            intent(apply(1)),
            Some((Kind::MigrationBegan, "began to apply 1_note", began)),
        ),
        (
            done(5),
            Some((
                Kind::SoakingBegan,
                "all changes are made: users work with the new release, and a rollback is possible",
                "1 migration: 1_note",
            )),
        ),
        // 7
        (
            intent(services.clone()),
            Some((
                Kind::ServicesBegan,
                "began to replace the services by 1",
                began,
            )),
        ),
        (
            failed(7, ""),
            Some((
                Kind::ServicesFailed,
                "failed to replace the services by 1",
                "",
            )),
        ),
        // 9
        (
            intent(give_up()),
            Some((
                Kind::Finalized,
                "the upgrade is final: no rollback is possible any more",
                began,
            )),
        ),
        (
            failed(9, "the disk is full"),
            Some((
                Kind::StepFailed,
                "failed to give up what snapshot swap keeps: nothing can be rolled back any more",
                "the disk is full",
            )),
        ),
        // Once is enough.
        (intent(give_up()), None),
        (done(11), None),
        // 13
        (
            intent(revert),
            Some((Kind::MigrationBegan, "began to revert 2_note", began)),
        ),
        (done(13), None),
        (
            Entry::Aborted {
                reason: "by hand".to_owned(),
            },
            Some((
                Kind::Aborted,
                "the upgrade was given up as it was",
                "by hand",
            )),
        ),
        // No such intent.
        (failed(99, "nothing"), None),
        (failed(2, "a plan is no intent"), None),
        (failed(0, "nothing"), None),
    ];
    check(&store, sequence).await;
    // A process that was killed while it wrote.
    let mut bytes = store.bytes();
    bytes.extend(b"{\"format\":1,\"seq\":1");
    let store = MemoryStore::with(bytes);
    check(&store, Vec::new()).await;
    let last = all(&store).pop().unwrap();
    assert_eq!(
        (last.kind, last.severity),
        (Kind::JournalRepaired, Severity::Warning)
    );
    assert_eq!(
        last.title,
        format!("{TARGET}: the journal was repaired after a crash")
    );
}

#[tokio::test]
async fn a_title_is_one_line_and_a_record_that_is_not_there_means_nothing() {
    let store = MemoryStore::new();
    let journal = Journal::open(store.clone(), "orders\non  db1", Actor::new("ann"))
        .await
        .unwrap();
    note(&journal, "one\ntwo").await;
    let chain = verify(&store.bytes()).unwrap();
    let told = Notification::of(&chain, 2).unwrap();
    assert_eq!(told.title, "orders on db1: a note by ann");
    assert_eq!(told.target, "orders\non  db1");
    for seq in [0, 1, 3, u64::MAX] {
        assert_eq!(Notification::of(&chain, seq), None, "{seq}");
    }
}
