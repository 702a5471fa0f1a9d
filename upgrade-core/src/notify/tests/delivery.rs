//! Each notification arrives, whatever fails.

use proptest::prelude::*;

use super::*;
use crate::journal::{Standing, State};

const SOON: Duration = Duration::from_secs(3_600);

async fn start(journal: &Journal, channels: impl IntoIterator<Item = Fake>) -> OutboxHandle {
    let mut outbox = Outbox::new(journal.clone());
    for channel in channels {
        outbox = outbox.with_channel(channel);
    }
    outbox.start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn notifications_are_delivered_in_order_and_what_is_written_about_them_causes_none() {
    let store = MemoryStore::new();
    let journal = open(&store).await;
    let (one, two) = (Fake::new("one", []), Fake::new("two", []));
    let outbox = start(&journal, [one.clone(), two.clone()]).await;
    for number in 0..5 {
        note(&journal, number).await;
    }
    one.has_got(5).await;
    two.has_got(5).await;
    // Nothing more comes of it, however long that goes on.
    tokio::time::sleep(SOON).await;
    let head = journal.head().await;
    tokio::time::sleep(SOON).await;
    assert_eq!(journal.head().await, head);
    let all = all(&store);
    assert_eq!(all.len(), 5);
    assert_eq!((one.got(), two.got()), (all.clone(), all));
    let remaining = outbox.close(SOON).await;
    assert_eq!(
        remaining,
        [("one".to_owned(), 0), ("two".to_owned(), 0)].into()
    );
    let standing = Standing::of(&journal.records().await);
    assert_eq!(standing.state, State::Nothing);
}

#[tokio::test(start_paused = true)]
async fn several_that_are_pending_at_once_are_one_record() {
    let store = MemoryStore::new();
    let journal = open(&store).await;
    let channel = Fake::new("one", []);
    let outbox = start(&journal, [channel.clone()]).await;
    assert_eq!(outbox.close(SOON).await["one"], 0);
    let mut last = 0;
    for number in 0..7 {
        last = note(&journal, number).await;
    }
    let outbox = start(&journal, [channel.clone()]).await;
    assert_eq!(outbox.close(SOON).await["one"], 0);
    assert_eq!(channel.seqs().len(), 7);
    // The first is where the channel begins: after the opening.
    assert_eq!(notified(&store, "one"), [(1, None), (last, None)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_channel_is_tried_ten_times_with_longer_and_longer_waits() {
    let store = MemoryStore::new();
    let journal = open(&store).await;
    let dead = Fake::new("dead", [Answer::Fails(ErrorKind::Unavailable); 10]);
    let alive = Fake::new("alive", []);
    let outbox = start(&journal, [dead.clone(), alive.clone()]).await;
    let began = Instant::now();
    let first = note(&journal, "first").await;
    let second = note(&journal, "second").await;
    alive.has_got(2).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "nobody is delayed"
    );
    dead.has_got(1).await;
    let tries = dead.tries().into_iter();
    let after: Vec<u64> = tries.map(|at| (at - began).as_secs()).collect();
    assert_eq!(after, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 243]);
    assert_eq!(dead.seqs(), [second]);
    assert_eq!(outbox.close(SOON).await["dead"], 0);
    let why = Some("the receiver is down".to_owned());
    assert_eq!(
        notified(&store, "dead"),
        [(1, None), (first, why), (second, None)]
    );
    let text = journal.records().await.into_iter();
    let text: Vec<String> = text.map(|one| one.entry.to_string()).collect();
    let refused = format!("did not notify dead of {first}: the receiver is down");
    assert!(text.contains(&refused), "{text:?}");
    assert!(text.contains(&format!("notified dead up to {second}")));
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_refuses_is_not_tried_again() {
    for (kind, tries) in [
        (ErrorKind::Unavailable, 2),
        (ErrorKind::Timeout, 2),
        (ErrorKind::Io, 2),
        (ErrorKind::Refused, 1),
        (ErrorKind::InvalidInput, 1),
        (ErrorKind::Internal, 1),
    ] {
        let store = MemoryStore::new();
        let journal = open(&store).await;
        let channel = Fake::new("one", [Answer::Takes, Answer::Fails(kind)]);
        let outbox = start(&journal, [channel.clone()]).await;
        let first = note(&journal, "taken").await;
        let second = note(&journal, "not taken at first").await;
        assert_eq!(outbox.close(SOON).await["one"], 0);
        assert_eq!(channel.tries().len(), 1 + tries, "{kind:?}");
        let given_up = tries == 1;
        let expected = if given_up {
            vec![first]
        } else {
            vec![first, second]
        };
        assert_eq!(channel.seqs(), expected, "{kind:?}");
        let records = notified(&store, "one");
        // What was delivered before is in the journal before a wait, and before what was given up.
        let why = given_up.then(|| "the receiver is down".to_owned());
        assert_eq!(
            records,
            [(1, None), (first, None), (second, why)],
            "{kind:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_is_closed_or_dropped_leaves_the_rest_to_the_next_process() {
    for closes in [true, false] {
        let store = MemoryStore::new();
        let journal = open(&store).await;
        note(&journal, "before any channel").await;
        let hangs = Fake::new("hangs", [Answer::Takes, Answer::Hangs]);
        let good = Fake::new("good", []);
        let outbox = start(&journal, [hangs.clone(), good.clone()]).await;
        let taken = note(&journal, "taken").await;
        let rest = [note(&journal, "hangs").await, note(&journal, "waits").await];
        hangs.has_got(1).await;
        good.has_got(3).await;
        if closes {
            let began = Instant::now();
            let remaining = outbox.close(Duration::from_secs(5)).await;
            assert_eq!(began.elapsed().as_secs(), 5);
            assert_eq!((remaining["hangs"], remaining["good"]), (2, 0));
        } else {
            drop(outbox);
        }
        // Nobody delivers it now.
        let late = note(&journal, "late").await;
        tokio::time::sleep(SOON).await;
        assert_eq!(hangs.seqs(), [taken]);
        drop(journal);
        let journal = open(&store).await;
        let (again, new) = (Fake::new("hangs", []), Fake::new("new", []));
        let outbox = start(&journal, [again.clone(), new.clone()]).await;
        let last = note(&journal, "after the start").await;
        let remaining = outbox.close(SOON).await;
        assert_eq!((remaining["hangs"], remaining["new"]), (0, 0));
        let mut expected = vec![rest[0], rest[1], late, last];
        if !closes && again.seqs().first() == Some(&taken) {
            // Killed before that was written: at least once.
            expected.insert(0, taken);
        }
        assert_eq!(again.seqs(), expected);
        assert_eq!(new.seqs(), [last], "nothing of the past");
        let all = all(&store);
        assert!(again.got().iter().all(|one| all.contains(one)));
    }
}

#[tokio::test]
async fn two_channels_of_one_name_are_refused() {
    let store = MemoryStore::new();
    let journal = open(&store).await;
    let outbox = Outbox::new(journal.clone())
        .with_channel(Fake::new("one", []))
        .with_channel(Fake::new("one", []));
    let error = outbox.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("name `one`"), "{error}");
    assert_eq!(journal.head().await.seq, 1, "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_takes_nothing_ends_the_delivery_and_the_next_process_repeats_it() {
    let store = MemoryStore::new();
    let journal = open(&store).await;
    let channel = Fake::new("one", []);
    let outbox = start(&journal, [channel.clone()]).await;
    // The note is written; that it was delivered is not.
    store.fail_after(1);
    let seq = note(&journal, "first").await;
    assert_eq!(outbox.close(SOON).await["one"], 1);
    drop(journal);
    let store = MemoryStore::with(store.bytes());
    let journal = open(&store).await;
    let outbox = start(&journal, [channel.clone()]).await;
    assert_eq!(outbox.close(SOON).await["one"], 0);
    let got = channel.got();
    assert_eq!((got[0].seq, &got[0]), (seq, &got[1]));
    assert_eq!(got[2].kind, Kind::JournalRepaired);
}

#[tokio::test(start_paused = true)]
async fn a_secret_in_the_error_of_a_channel_is_not_written() {
    #[derive(Debug)]
    struct Talks;

    #[async_trait]
    impl Channel for Talks {
        fn name(&self) -> &str {
            "talks"
        }

        async fn deliver(&self, _: &Notification) -> Result<()> {
            let cause = std::io::Error::other("https://ann:hunter2-of-ann@chat/x was refused");
            Err(Error::new(ErrorKind::Refused, "not delivered").with_source(cause))
        }
    }

    let store = MemoryStore::new();
    let journal = open(&store).await;
    let outbox = Outbox::new(journal.clone()).with_channel(Talks);
    let outbox = outbox.start().await.unwrap();
    note(&journal, "first").await;
    outbox.close(SOON).await;
    let why = notified(&store, "talks").pop().unwrap().1.unwrap();
    assert_eq!(why, "not delivered: https://ann:***@chat/x was refused");
}

/// One process: what it writes, and how it ends.
#[derive(Debug, Clone)]
struct Process {
    notes: u32,
    /// How often others run before it ends.
    yields: u32,
    ends: Ends,
    answers: Vec<Answer>,
}

#[derive(Debug, Clone, Copy)]
enum Ends {
    Closed(u64),
    Killed,
    /// In the middle of an append.
    Torn(u32),
}

fn processes() -> impl Strategy<Value = Vec<Process>> {
    let ends = prop_oneof![
        (0..100u64).prop_map(Ends::Closed),
        Just(Ends::Killed),
        (0..8u32).prop_map(Ends::Torn),
    ];
    let answer = prop_oneof![
        4 => Just(Answer::Takes),
        1 => Just(Answer::TakesAnd(ErrorKind::Timeout)),
        1 => Just(Answer::Fails(ErrorKind::Unavailable)),
        1 => Just(Answer::Hangs),
    ];
    let answers = prop::collection::vec(answer, 0..8);
    let process =
        (0..5u32, 0..40u32, ends, answers).prop_map(|(notes, yields, ends, answers)| Process {
            notes,
            yields,
            ends,
            answers,
        });
    prop::collection::vec(process, 0..6)
}

/// Runs a process; the store that the next one opens.
async fn run(store: MemoryStore, channel: &Fake, process: &Process) -> MemoryStore {
    *channel.answers.lock().unwrap() = process.answers.iter().copied().collect();
    if let Ends::Torn(after) = process.ends {
        // Not in the opening.
        let journal = open(&store).await;
        store.fail_after(after);
        live(&journal, channel, process).await;
    } else {
        live(&open(&store).await, channel, process).await;
    }
    // The tasks have ended by now, as those of a process that was killed.
    tokio::time::sleep(SOON).await;
    MemoryStore::with(store.bytes())
}

async fn live(journal: &Journal, channel: &Fake, process: &Process) {
    let outbox = Outbox::new(journal.clone()).with_channel(channel.clone());
    let Ok(outbox) = outbox.start().await else {
        return;
    };
    for number in 0..process.notes {
        let message = number.to_string();
        drop(journal.append(None, Entry::Note { message }).await);
    }
    for _ in 0..process.yields {
        tokio::task::yield_now().await;
    }
    match process.ends {
        Ends::Closed(within) => drop(outbox.close(Duration::from_secs(within)).await),
        Ends::Killed | Ends::Torn(_) => drop(outbox),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn wherever_processes_are_killed_each_notification_arrives_and_is_the_same(processes in processes()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let channel = Fake::new("one", []);
            let mut store = MemoryStore::new();
            for process in &processes {
                store = run(store, &channel, process).await;
            }
            let last = Process { notes: 1, yields: 0, ends: Ends::Closed(3_600), answers: Vec::new() };
            store = run(store, &channel, &last).await;
            let (start, _) = notified(&store, "one")[0];
            let due: Vec<Notification> = all(&store).into_iter().filter(|one| one.seq > start).collect();
            let mut got = channel.got();
            // Nothing is ever given up here, so all that is due has arrived, and nothing else.
            assert!(got.iter().all(|one| due.contains(one)), "{got:#?} of {due:#?}");
            // In order, apart from those that came again.
            let mut newest = 0;
            got.retain(|one| {
                let first = one.seq > newest;
                newest = newest.max(one.seq);
                first
            });
            assert_eq!(got, due);
            assert!(notified(&store, "one").iter().all(|(_, failed)| failed.is_none()));
        });
    }
}
