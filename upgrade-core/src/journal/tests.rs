//! What is written is read back, and what is not as it was written is refused by its line.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::ids::{MigrationId, Phase};
use crate::migration::Checksum;
use crate::plan::{Action, StepId};
use crate::redact::credentials;
use crate::rollback::Prepared;

const TARGET: &str = "orders on db1";

fn ann() -> Actor {
    Actor::new("ann").on("host1")
}

fn intent(step: u32) -> Entry {
    let migration = MigrationId::new(format!("000{step}"), "note");
    Entry::Intent {
        step: StepId(step),
        phase: Phase::Expand,
        action: Action::Apply { migration },
        checksum: Some(Checksum::from_bytes(&[7; 32])),
    }
}

fn done(intent: u64) -> Entry {
    Entry::Done {
        intent,
        ended: Ended::Done,
    }
}

fn kept(state: impl serde::Serialize) -> Entry {
    Entry::Kept {
        strategy: "snapshot swap".to_owned(),
        prepared: Prepared::new(&state).unwrap(),
    }
}

/// A journal of a process that was killed: two steps, the second one not done.
async fn killed() -> MemoryStore {
    let store = MemoryStore::new();
    let journal = Journal::open(store.clone(), TARGET, ann()).await.unwrap();
    let run = RunId::generate();
    let first = journal.append(Some(&run), intent(1)).await.unwrap();
    journal.append(Some(&run), done(first.seq)).await.unwrap();
    journal.append(Some(&run), intent(2)).await.unwrap();
    store
}

#[tokio::test]
async fn what_was_written_is_there_for_the_next_process_and_who_died_is_known() {
    let store = killed().await;
    let chain = verify(&store.bytes()).unwrap();
    assert_eq!(chain.records().len(), 4);
    let journal = Journal::open(store.clone(), TARGET, Actor::new("bob").on("host2"))
        .await
        .unwrap();
    assert_eq!(journal.died().unwrap().actor, "ann");
    let records = journal.records().await;
    assert_eq!(records[..4], *chain.records());
    assert_eq!(records[3].entry, intent(2));
    let (last, head) = (&records[4], journal.head().await);
    assert_eq!((last.seq, head.seq, &*last.host), (5, 5, "host2"));
    assert!(journal.close().await.unwrap().seq == 6);
    // Nobody died.
    let journal = Journal::open(store, TARGET, ann()).await.unwrap();
    assert!(journal.died().is_none());
}

#[tokio::test]
async fn every_changed_byte_is_refused_with_its_line() {
    let bytes = killed().await.bytes();
    for at in 0..bytes.len() {
        let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        for other in [bytes[at] ^ 1, b' ', b'\n', 0xff] {
            if other == bytes[at] {
                continue;
            }
            let mut changed = bytes.clone();
            changed[at] = other;
            let error = verify(&changed).unwrap_err();
            // Where the end of a line is changed, it is that line and the next one that are one.
            let said = error.to_string();
            assert!(said.contains(&format!("line {line},")), "byte {at}: {said}");
            if at + 1 == bytes.len() {
                // A last line without its end was never acknowledged: it is put right.
                continue;
            }
            let opened = Journal::open(MemoryStore::with(changed), TARGET, ann()).await;
            let error = opened.map(|journal| journal.place()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "byte {at}");
        }
    }
}

#[tokio::test]
async fn lines_that_are_missing_moved_or_doubled_are_refused() {
    let text = String::from_utf8(killed().await.bytes()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let cases: [(&[usize], usize); 5] = [
        (&[1, 2, 3], 1),
        (&[0, 2, 3], 2),
        (&[0, 1, 3], 3),
        (&[0, 2, 1, 3], 2),
        (&[0, 1, 1, 2, 3], 3),
    ];
    for (order, line) in cases {
        let other: String = order.iter().map(|at| lines[*at]).collect();
        let error = verify(other.as_bytes()).unwrap_err().to_string();
        assert!(
            error.contains(&format!(
                "line {line}, is not as it was written: it does not follow"
            )),
            "{error}"
        );
    }
}

#[tokio::test]
async fn lines_that_are_missing_at_the_end_are_known_to_who_has_seen_the_head() {
    let store = killed().await;
    let whole = verify(&store.bytes()).unwrap();
    let text = String::from_utf8(store.bytes()).unwrap();
    let fewer: String = text.split_inclusive('\n').take(3).collect();
    let fewer = verify(fewer.as_bytes()).unwrap();
    assert!(whole.contains(fewer.head()) && whole.contains(whole.head()));
    assert!(!fewer.contains(whole.head()));
    let other = verify(&killed().await.bytes()).unwrap();
    assert!(!other.contains(whole.head()), "it is another journal");
}

#[tokio::test]
async fn a_journal_cut_at_any_byte_goes_on_with_what_was_acknowledged() {
    let bytes = killed().await.bytes();
    for length in 0..=bytes.len() {
        let cut = &bytes[..length];
        let whole = cut.iter().filter(|byte| **byte == b'\n').count();
        let store = MemoryStore::with(cut);
        let journal = Journal::open(store.clone(), TARGET, ann()).await.unwrap();
        journal.append(None, done(1)).await.unwrap();
        drop(journal);
        let chain = verify(&store.bytes()).unwrap();
        let records = chain.records();
        let torn = cut.rsplit(|byte| *byte == b'\n').next().unwrap();
        // Only its end may be missing.
        let is_record = bytes.get(length) == Some(&b'\n') && !torn.is_empty();
        let kept = whole + usize::from(is_record);
        let opened = Entry::Opened {
            target: TARGET.to_owned(),
        };
        assert_eq!(records[kept].entry, opened, "cut at {length}");
        if torn.is_empty() || is_record {
            assert_eq!(records.len(), kept + 2, "cut at {length}");
        } else {
            let cut_off = String::from_utf8_lossy(torn).into_owned();
            assert_eq!(records[kept + 1].entry, Entry::Repaired { cut_off });
        }
    }
}

#[tokio::test]
async fn the_journal_of_another_target_and_one_of_a_newer_format_are_refused() {
    let store = killed().await;
    let other = Journal::open(store.clone(), "billing on db2", ann()).await;
    let error = other.map(|journal| journal.place()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(
        error.to_string(),
        "`memory` is the journal of `orders on db1`, not of `billing on db2` \
         (each target needs its own journal: name another file)"
    );
    // A newer release writes more fields and other kinds.
    let prev = verify(&store.bytes()).unwrap().head().hash.clone();
    let body = format!("{{\"format\":2,\"seq\":5,\"prev\":\"{prev}\",\"kind\":\"moved\"");
    let hash = blake3::hash(body.as_bytes()).to_hex();
    let mut bytes = store.bytes();
    bytes.extend(format!("{body},\"hash\":\"{hash}\"}}\n").into_bytes());
    for bytes in [bytes.clone(), bytes[..bytes.len() - 1].to_vec()] {
        let store = MemoryStore::with(bytes.clone());
        let opened = Journal::open(store.clone(), TARGET, ann()).await;
        let error = opened.map(|journal| journal.place()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(
            error.to_string().contains("line 5: format 2 is newer"),
            "{error}"
        );
        assert_eq!(store.bytes(), bytes, "nothing was written");
    }
}

#[tokio::test]
async fn an_entry_that_was_not_written_is_not_in_the_journal() {
    let store = MemoryStore::new();
    let journal = Journal::open(store.clone(), TARGET, ann()).await.unwrap();
    store.fail_after(1);
    journal.append(None, intent(1)).await.unwrap();
    let head = journal.head().await;
    journal.append(None, intent(2)).await.unwrap_err();
    assert_eq!(journal.head().await, head);
    assert_eq!(journal.records().await.len(), 2);
    drop(journal);
    // The half that is there was never acknowledged.
    let journal = Journal::open(MemoryStore::with(store.bytes()), TARGET, ann())
        .await
        .unwrap();
    let records = journal.records().await;
    assert!(matches!(records[3].entry, Entry::Repaired { .. }));
}

#[tokio::test]
async fn no_secret_is_written_in_whatever_text() {
    let store = MemoryStore::new();
    let journal = Journal::open(store.clone(), TARGET, ann()).await.unwrap();
    journal.hide(&Secret::new("s3cr3t-of-the-run"));
    let message =
        "connects to postgres://deploy:hunter2-of-the-url@db1/orders with s3cr3t-of-the-run";
    journal
        .append(
            None,
            Entry::Note {
                message: message.to_owned(),
            },
        )
        .await
        .unwrap();
    let ended = Ended::Failed(message.to_owned());
    journal
        .append(None, Entry::Done { intent: 1, ended })
        .await
        .unwrap();
    // Changed, it would be of no use to a rollback.
    for state in [
        serde_json::json!({ "url": message }),
        serde_json::json!({ "s3cr3t-of-the-run": [1] }),
    ] {
        let error = journal.append(None, kept(state)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("holds a secret"), "{error}");
    }
    let text = String::from_utf8(store.bytes()).unwrap();
    assert!(
        text.contains("connects to postgres://deploy:***@db1/orders"),
        "{text}"
    );
    for secret in ["s3cr3t-of-the-run", "hunter2-of-the-url"] {
        assert!(!text.contains(secret), "{text}");
    }
    verify(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_a_whole_record_or_none() {
    let store = MemoryStore::new();
    let journal = Journal::open(store.clone(), TARGET, ann()).await.unwrap();
    for polls in 0..6 {
        {
            let mut call = pin!(journal.append(None, intent(polls)));
            let mut nobody = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if let Poll::Ready(result) = call.as_mut().poll(&mut nobody) {
                    result.unwrap();
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        journal.append(None, intent(100)).await.unwrap();
    }
    let chain = verify(&store.bytes()).unwrap();
    assert_eq!(chain.records(), journal.records().await);
    let whole = chain
        .records()
        .iter()
        .filter(|record| record.entry == intent(100));
    assert_eq!(whole.count(), 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_comes_back_as_it_was(message in any::<String>(), names in any::<Vec<String>>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = MemoryStore::new();
            let journal = Journal::open(store.clone(), TARGET, ann()).await.unwrap();
            // What looks like a password is left out, so that is what comes back.
            let shown = credentials(&message).into_owned();
            let record = journal.append(None, Entry::Note { message }).await.unwrap();
            assert_eq!(record.entry, Entry::Note { message: shown });
            let names: Vec<String> = names.iter().map(|name| credentials(name).into_owned()).collect();
            let entry = kept(&names);
            assert_eq!(journal.append(None, entry.clone()).await.unwrap().entry, entry);
            assert_eq!(verify(&store.bytes()).unwrap().records(), journal.records().await);
        });
    }
}
