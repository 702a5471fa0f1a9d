use serde_json::{Value, json};

use super::*;

const APPLICATION: &str = "upgrade r1 0002_note";

/// What was seen in these observations, 25 ms apart: sessions, then waits.
fn seen(samples: &[(Value, Value)]) -> Vec<Finding> {
    let mut seen = Seen {
        prefix: "upgrade r1 ".to_owned(),
        ..Seen::new(&RunId::generate(), "shop")
    };
    for (number, (sessions, waits)) in samples.iter().enumerate() {
        let sample = json!({ "sessions": sessions, "waits": waits });
        let sample = serde_json::from_value(sample).unwrap();
        seen.add(&sample, 25 * number as u64);
    }
    seen.findings()
}

fn session(pid: i32, application: &str) -> Value {
    json!({
        "pid": pid, "application": application, "backend": "client backend", "state": "active",
        "query": "select 1", "transaction_ms": 3000,
    })
}

fn wait(pid: i32, mode: &str, waited_ms: Option<u64>, blockers: &[i32]) -> Value {
    json!({
        "pid": pid, "kind": "relation", "mode": mode, "relation": "table public.ride",
        "waited_ms": waited_ms, "blockers": blockers, "held": [],
    })
}

fn with(mut value: Value, key: &str, other: Value) -> Value {
    value[key] = other;
    value
}

#[test]
fn the_head_of_the_queue_is_named_and_those_behind_the_migration_are_counted() {
    let reporting = with(
        with(
            session(4711, "reporting"),
            "state",
            json!("idle in transaction"),
        ),
        "query",
        json!("select count(*) from ride where rider = 'bob'"),
    );
    let migration = with(
        session(1, APPLICATION),
        "query",
        json!("alter table ride add column note text"),
    );
    let sessions = json!([reporting, migration, session(2, ""), session(3, "")]);
    let waits = json!([
        wait(1, "AccessExclusiveLock", Some(1900), &[4711]),
        wait(2, "AccessShareLock", Some(1810), &[1]),
        // Behind another user, who is behind the migration.
        wait(3, "RowExclusiveLock", Some(700), &[2]),
    ]);
    let [finding] = &seen(&[(sessions, waits)])[..] else {
        panic!("one finding")
    };
    assert_eq!(
        finding.to_string(),
        "warning[up/lock-queue] table public.ride: migration 0002_note waited 1.90 s for ACCESS \
         EXCLUSIVE behind session 4711 (`reporting`, idle in transaction, in a transaction for \
         3.00 s, `select count(*) from ride where rider = ?`); 2 other sessions waited behind it, \
         the longest 1.81 s"
    );
    assert!(finding.help.as_ref().unwrap().contains("`lock_timeout`"));
    assert_eq!(
        finding.evidence.as_deref(),
        Some("the migration was running `alter table ride add column note text`")
    );
}

#[test]
fn a_migration_that_waits_alone_is_a_note() {
    let sessions = json!([session(9, ""), session(1, APPLICATION)]);
    let waits = json!([wait(1, "ShareUpdateExclusiveLock", Some(450), &[9])]);
    let [finding] = &seen(&[(sessions, waits)])[..] else {
        panic!("one finding")
    };
    assert_eq!(
        finding.to_string(),
        "note[up/lock-queue] table public.ride: migration 0002_note waited 450 ms for SHARE UPDATE \
         EXCLUSIVE behind session 9 (active, in a transaction for 3.00 s, `select ?`); no other \
         session waited behind it"
    );
    assert_eq!(
        finding.evidence.as_deref(),
        Some("the migration was running `select ?`")
    );
}

#[test]
fn a_migration_that_holds_the_lock_is_no_queue_behind_others() {
    let sessions = || json!([session(9, ""), session(1, APPLICATION), session(2, "")]);
    let held = |waited| {
        let wait = wait(2, "AccessShareLock", Some(waited), &[1]);
        let held = json!([[1, "RowShareLock"], [1, "AccessExclusiveLock"]]);
        json!([with(wait, "held", held)])
    };
    let [finding] = &seen(&[(sessions(), held(800))])[..] else {
        panic!("one finding")
    };
    assert_eq!(
        finding.to_string(),
        "warning[up/lock-queue] table public.ride: migration 0002_note held ACCESS EXCLUSIVE while it \
         worked; 1 other session waited for it, 800 ms"
    );
    assert!(finding.help.as_ref().unwrap().contains("`not valid`"));
    // It waited first, and the user behind it: what comes later is little.
    let first = json!([
        wait(1, "AccessExclusiveLock", Some(700), &[9]),
        wait(2, "AccessShareLock", Some(690), &[1]),
    ]);
    let [finding] = &seen(&[(sessions(), first), (sessions(), held(715))])[..] else {
        panic!("one finding")
    };
    assert!(finding.message.contains("waited 700 ms for"), "{finding}");
    // It held the lock first, and waits for another one now.
    let then = json!([
        wait(1, "AccessExclusiveLock", Some(10), &[9]),
        wait(2, "AccessShareLock", Some(825), &[1]),
    ]);
    let [finding] = &seen(&[(sessions(), held(800)), (sessions(), then)])[..] else {
        panic!("one finding")
    };
    assert!(
        finding.message.contains("held ACCESS EXCLUSIVE"),
        "{finding}"
    );
}

#[test]
fn rows_that_a_migration_changed_are_held_too() {
    let sessions = json!([session(1, APPLICATION), session(2, ""), session(3, "")]);
    let first = with(
        wait(2, "ShareLock", Some(400), &[1]),
        "kind",
        json!("transactionid"),
    );
    let second = with(
        wait(3, "ExclusiveLock", Some(300), &[2]),
        "kind",
        json!("tuple"),
    );
    let [finding] = &seen(&[(sessions, json!([first, second]))])[..] else {
        panic!("one finding")
    };
    assert_eq!(
        finding.to_string(),
        "warning[up/lock-queue] table public.ride: migration 0002_note held locks on rows while it \
         worked; 2 other sessions waited for it, the longest 400 ms"
    );
}

#[test]
fn what_is_no_stall_of_users_is_not_reported() {
    let sessions = || json!([session(9, "x"), session(1, APPLICATION), session(2, "")]);
    let share = |blocker| json!([wait(2, "AccessShareLock", Some(5000), &[blocker])]);
    // Users who wait for each other, even for a strong lock.
    let strong = with(
        share(9)[0].clone(),
        "held",
        json!([[9, "AccessExclusiveLock"]]),
    );
    let advisory = with(share(1)[0].clone(), "kind", json!("advisory"));
    let short = json!([wait(1, "AccessExclusiveLock", Some(199), &[9])]);
    let granted = json!([wait(1, "AccessExclusiveLock", Some(900), &[])]);
    let circle = json!([
        wait(2, "AccessShareLock", Some(900), &[9]),
        wait(9, "AccessShareLock", Some(900), &[2]),
    ]);
    for waits in [
        share(9),
        json!([strong]),
        json!([advisory]),
        short,
        granted,
        circle,
    ] {
        assert_eq!(seen(&[(sessions(), waits.clone())]), [], "{waits}");
    }
    // A worker of the server is no user.
    let worker = with(session(2, ""), "backend", json!("autovacuum worker"));
    let sessions = json!([session(1, APPLICATION), worker]);
    assert_eq!(seen(&[(sessions, share(1))]), []);
}

#[test]
fn a_server_that_keeps_no_time_of_waits_is_measured_from_outside() {
    let sessions = || json!([session(9, ""), session(1, APPLICATION)]);
    let waits = || json!([wait(1, "AccessExclusiveLock", None, &[9])]);
    let nothing = || (sessions(), json!([]));
    let waiting = || (sessions(), waits());
    let samples = |count: usize| vec![waiting(); count];
    let [finding] = &seen(&samples(11))[..] else {
        panic!("one finding")
    };
    assert!(finding.message.contains("waited 250 ms"), "{finding}");
    // Two waits are not one.
    let two = [samples(6), vec![nothing()], samples(6)].concat();
    assert_eq!(seen(&two), []);
}

#[test]
fn a_system_that_migrates_itself_is_known_by_its_lock() {
    let sessions = json!([session(9, ""), session(1, "atlas"), session(2, "")]);
    let waits = json!([
        wait(1, "AccessExclusiveLock", Some(900), &[9]),
        wait(2, "AccessShareLock", Some(880), &[1]),
    ]);
    let [finding] = &seen(&[(sessions, waits)])[..] else {
        panic!("one finding")
    };
    assert!(
        finding.message.starts_with(
            "session 1 (`atlas`, active, in a transaction for 3.00 s, `select ?`) waited 900 ms"
        ),
        "{finding}"
    );
}

#[test]
fn heads_that_cannot_be_seen_or_that_change_are_described_as_far_as_possible() {
    let hidden = json!({
        "pid": 9, "application": "", "backend": null, "state": null,
        "query": "<insufficient privilege>", "transaction_ms": null,
    });
    let vacuum = with(
        with(session(9, ""), "backend", json!("autovacuum worker")),
        "query",
        json!("autovacuum: VACUUM public.ride (to prevent wraparound)"),
    );
    for (head, says) in [
        (vec![hidden], "behind session 9 (of another role);"),
        (vec![], "behind session 9;"),
        (
            vec![vacuum],
            "behind session 9 (autovacuum worker, active, in a transaction for 3.00 s, \
             `autovacuum: VACUUM public.ride (to prevent wraparound)`);",
        ),
    ] {
        let sessions = Value::from([head, vec![session(1, APPLICATION)]].concat());
        let waits = json!([wait(1, "AccessExclusiveLock", Some(900), &[9])]);
        let found = seen(&[(sessions, waits)]);
        assert!(found[0].message.contains(says), "{}", found[0]);
    }
    let sessions = || json!([session(7, "a"), session(8, "b"), session(1, APPLICATION)]);
    let behind = |pid| {
        let waits = json!([wait(1, "AccessExclusiveLock", Some(900), &[pid])]);
        (sessions(), waits)
    };
    let found = seen(&[behind(7), behind(8), behind(8), behind(0)]);
    let says =
        "behind session 8 (`b`, active, in a transaction for 3.00 s, `select ?`) and 2 more;";
    assert!(found[0].message.contains(says), "{}", found[0]);
    let found = seen(&[behind(0)]);
    let says = "behind a prepared transaction;";
    assert!(found[0].message.contains(says), "{}", found[0]);
}

#[test]
fn the_longest_queues_are_reported_and_the_others_counted() {
    let sessions = || json!([session(9, ""), session(1, APPLICATION)]);
    let samples: Vec<(Value, Value)> = (0..8)
        .map(|number| {
            let wait = wait(1, "AccessExclusiveLock", Some(300 + number), &[9]);
            let relation = json!(format!("table public.t{number}"));
            (sessions(), json!([with(wait, "relation", relation)]))
        })
        .collect();
    let found = seen(&samples);
    assert_eq!(found.len(), FINDINGS);
    assert_eq!(found[0].subject, "table public.t7");
    let evidence = found[4].evidence.as_deref().unwrap();
    assert!(
        evidence.ends_with("3 more queues, with shorter waits"),
        "{evidence}"
    );
}
