//! Webhooks against servers of this machine.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::notify::outbox::Patience;
use crate::secret::Secret;

/// A part of each URL that nobody may see.
const TOKEN: &str = "T0KEN-of-the-url";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SOON: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Debug, Clone)]
struct Got {
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A server that answers with these statuses, then with 200; 0 is no answer.
struct Server {
    url: Secret,
    got: watch::Receiver<Vec<Got>>,
}

impl Server {
    async fn start(statuses: impl IntoIterator<Item = u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut statuses = statuses.into_iter().collect::<VecDeque<_>>();
        let (sender, got) = watch::channel(Vec::new());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let status = statuses.pop_front().unwrap_or(200);
                tokio::spawn(serve(stream, status, sender.clone()));
            }
        });
        Self {
            url: Secret::new(format!("http://127.0.0.1:{port}/hooks/{TOKEN}?key={TOKEN}")),
            got,
        }
    }

    /// The first requests, once that number has come.
    async fn got(&self, count: usize) -> Vec<Got> {
        let mut got = self.got.clone();
        let waiting = got.wait_for(|all| all.len() >= count);
        let all = tokio::time::timeout(SOON, waiting).await;
        all.expect("requests").unwrap().clone()
    }

    fn webhook(&self, name: &str, format: Format) -> Webhook {
        Webhook::new(name, self.url.clone(), format).unwrap()
    }
}

async fn serve(mut stream: TcpStream, status: u16, got: watch::Sender<Vec<Got>>) {
    let mut bytes = Vec::new();
    let request = loop {
        stream.read_buf(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let request = Got {
            head: head.to_owned(),
            body: body.to_owned(),
        };
        let length = request.header("content-length").unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            break request;
        }
    };
    got.send_modify(|all| all.push(request));
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let answer = format!(
        "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn start(journal: &Journal, channels: impl IntoIterator<Item = Webhook>) -> OutboxHandle {
    let mut outbox = Outbox::new(journal.clone());
    outbox.patience = Patience {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
        tries: 3,
    };
    for channel in channels {
        outbox = outbox.with_channel(channel);
    }
    outbox.start().await.unwrap()
}

fn seqs(got: &[Got]) -> Vec<u64> {
    let bodies = got.iter().map(Got::json);
    bodies.map(|body| body["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn requests_come_in_order_and_are_tried_again_until_they_are_taken() {
    let server = Server::start([200, 500, 429, 204]).await;
    let store = MemoryStore::new();
    let journal = open(&store).await;
    let outbox = start(&journal, [server.webhook("ops", Format::Json)]).await;
    let first = note(&journal, "first").await;
    let second = note(&journal, "second").await;
    let third = note(&journal, "third").await;
    let got = server.got(5).await;
    assert_eq!(seqs(&got), [first, second, second, second, third]);
    assert_eq!(outbox.close(SOON).await["ops"], 0);
    for one in &got {
        assert!(
            one.head
                .starts_with(&format!("POST /hooks/{TOKEN}?key={TOKEN} HTTP/1.1\r\n"))
        );
        assert_eq!(one.header("content-type"), Some("application/json"));
        assert!(
            one.header("user-agent")
                .unwrap()
                .starts_with("upgrade-core/")
        );
        assert_eq!(one.header("webhook-signature"), None);
    }
    let sent: Vec<Notification> = [&got[0], &got[1], &got[4]]
        .map(|one| serde_json::from_str(&one.body).unwrap())
        .into();
    assert_eq!(sent, all(&store));
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_and_is_in_the_journal_without_the_url() {
    for (status, why) in [
        (400, "webhook `ops` at `127.0.0.1` has answered 400"),
        (404, "webhook `ops` at `127.0.0.1` has answered 404"),
        (
            307,
            "webhook `ops` at `127.0.0.1` has answered 307 \
             (redirects are not followed: use the URL that the receiver names)",
        ),
    ] {
        let server = Server::start([status]).await;
        let store = MemoryStore::new();
        let journal = open(&store).await;
        let outbox = start(&journal, [server.webhook("ops", Format::Json)]).await;
        let first = note(&journal, "first").await;
        let second = note(&journal, "second").await;
        assert_eq!(outbox.close(SOON).await["ops"], 0);
        assert_eq!(seqs(&server.got(2).await), [first, second]);
        let records = notified(&store, "ops");
        assert_eq!(records[1], (first, Some(why.to_owned())), "{status}");
        let text = String::from_utf8(store.bytes()).unwrap();
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_delays_neither_another_channel_nor_the_end() {
    let (hangs, good) = (Server::start([0; 9]).await, Server::start([]).await);
    let store = MemoryStore::new();
    let journal = open(&store).await;
    let channels = [
        hangs.webhook("hangs", Format::Json),
        good.webhook("good", Format::Json),
    ];
    let outbox = start(&journal, channels).await;
    let first = note(&journal, "first").await;
    let second = note(&journal, "second").await;
    assert_eq!(seqs(&good.got(2).await), [first, second]);
    assert_eq!(seqs(&hangs.got(1).await), [first]);
    let mut appended = journal.appended();
    while notified(&store, "good").last() != Some(&(second, None)) {
        let waiting = tokio::time::timeout(SOON, appended.changed());
        waiting.await.expect("that it is written").unwrap();
    }
    let began = Instant::now();
    let remaining = outbox.close(Duration::from_millis(50)).await;
    // A request would take ten seconds.
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(
        remaining,
        [("good".to_owned(), 0), ("hangs".to_owned(), 2)].into()
    );
}

#[tokio::test]
async fn what_a_process_did_not_send_is_sent_by_the_next_one_with_the_same_ids() {
    let (hangs, new) = (Server::start([200, 0]).await, Server::start([]).await);
    let store = MemoryStore::new();
    let journal = open(&store).await;
    let outbox = start(&journal, [hangs.webhook("ops", Format::CloudEvents)]).await;
    for number in 0..3 {
        note(&journal, number).await;
    }
    let before = hangs.got(2).await;
    drop((outbox, journal));
    let journal = open(&store).await;
    let channels = [
        hangs.webhook("ops", Format::CloudEvents),
        new.webhook("new", Format::Json),
    ];
    let outbox = start(&journal, channels).await;
    let last = note(&journal, "last").await;
    let remaining = outbox.close(SOON).await;
    assert_eq!((remaining["ops"], remaining["new"]), (0, 0));
    let got = hangs.got(5).await;
    let ids = |got: &[Got]| -> Vec<String> {
        let ids = got
            .iter()
            .map(|one| one.json()["id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    let all: Vec<String> = all(&store).into_iter().map(|one| one.id).collect();
    let (before, after) = (ids(&before), ids(&got[2..]));
    assert_eq!(before, all[..2]);
    // The second one was not answered; the first one may come again.
    assert!(after == all[1..] || after == all, "{after:?} of {all:?}");
    assert_eq!(seqs(&new.got(1).await), [last]);
}

#[tokio::test]
async fn a_request_is_signed_over_what_is_sent() {
    let server = Server::start([]).await;
    let journal = open(&MemoryStore::new()).await;
    let signed = server.webhook("ops", Format::CloudEvents);
    let signed = signed.signed(Secret::new(SECRET)).unwrap();
    let outbox = start(&journal, [signed]).await;
    note(&journal, "<signed> & sealed, ü").await;
    outbox.close(SOON).await;
    let got = server.got(1).await.remove(0);
    let id = got.header("webhook-id").unwrap();
    assert_eq!(got.json()["id"], id);
    let at: i64 = got.header("webhook-timestamp").unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().as_second() - at;
    assert!((0..600).contains(&age), "{age} s");
    let key = signature::Key::new(&Secret::new(SECRET)).unwrap();
    let signature = key.sign(id, at, &got.body);
    assert_eq!(got.header("webhook-signature"), Some(signature.as_str()));
    let kind = got.header("content-type").unwrap();
    assert!(kind.starts_with("application/cloudevents+json"), "{kind}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again_and_its_url_is_not_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = Secret::new(format!("http://127.0.0.1:{port}/{TOKEN}?{TOKEN}"));
    let webhook = Webhook::new("ops", url, Format::Slack).unwrap();
    let webhook = webhook.signed(Secret::new(SECRET)).unwrap();
    let store = MemoryStore::new();
    let journal = open(&store).await;
    note(&journal, "first").await;
    let error = webhook.deliver(&all(&store)[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        "webhook `ops` at `127.0.0.1` cannot be reached"
    );
    let shown = format!("{error:?} {error:#?} {webhook:?} {webhook:#?}");
    assert!(
        !shown.contains(TOKEN) && !shown.contains(&SECRET[6..]),
        "{shown}"
    );
    let outbox = start(&journal, [webhook]).await;
    note(&journal, "second").await;
    assert_eq!(outbox.close(SOON).await["ops"], 0);
    let (_, why) = notified(&store, "ops").pop().unwrap();
    assert!(why.unwrap().contains("refused"));
    assert!(!String::from_utf8(store.bytes()).unwrap().contains(TOKEN));
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_of_a_secure_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = Secret::new(format!("https://127.0.0.1:{port}/{TOKEN}"));
    let webhook = Webhook::new("ops", url, Format::Json).unwrap();
    let store = MemoryStore::new();
    note(&open(&store).await, "first").await;
    let notification = all(&store).remove(0);
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 1_000];
        let length = stream.read(&mut bytes).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        bytes.truncate(length);
        bytes
    };
    let (delivered, bytes) = tokio::join!(webhook.deliver(&notification), server);
    assert_eq!(delivered.unwrap_err().kind(), ErrorKind::Unavailable);
    // The first byte of a TLS handshake.
    assert_eq!(bytes.first(), Some(&0x16));
}

#[test]
fn a_url_that_cannot_be_used_is_refused_and_not_shown() {
    for (url, why) in [
        ("", "is not a URL"),
        ("not a url T0KEN", "is not a URL"),
        ("/hooks/T0KEN", "does not begin with"),
        ("hooks.example.org", "does not begin with"),
        ("ftp://hooks.example.org/T0KEN", "does not begin with"),
        ("https://", "is not a URL"),
        ("http://ann:T0KEN@hooks.example.org/", "has a user name"),
        ("http://T0KEN@hooks.example.org/", "has a user name"),
    ] {
        let error = Webhook::new("ops", Secret::new(url), Format::Json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        assert!(error.to_string().contains(why), "{url}: {error}");
        assert!(!format!("{error:#?}").contains("T0KEN"), "{error:#?}");
    }
    let url = Secret::new("http://hooks.example.org/");
    let webhook = Webhook::new("ops", url, Format::Json).unwrap();
    let error = webhook.signed(Secret::new("whsec_T0KEN")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!format!("{error:#?}").contains("T0KEN"), "{error:#?}");
}
