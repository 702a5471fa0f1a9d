//! Servers that answer as none should, and queries that cannot be asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use upgrade_core::validator::PrometheusQuery;
use upgrade_core::{Error, ErrorKind, Secret, UpgradeContext, Validator as _, Verdict};

use crate::support::{answer, context, request};

const TOKEN: &str = "canary-token-0001";

/// How a server goes on after a request.
enum Then {
    Answer(String),
    /// It sends a begin, and then the same part again and again.
    Endless(&'static str, Vec<u8>),
    /// It sends a part of an answer, and nothing more.
    Hang(&'static str),
    Close,
}

struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = request(&mut stream).await;
                seen.lock().unwrap().push(head);
                serve(&then, stream).await;
            }
        });
        Self {
            address,
            requests,
            serving,
        }
    }

    fn query(&self) -> PrometheusQuery {
        PrometheusQuery::new(
            "the metric",
            format!("http://{}/base/", self.address),
            "up{a=\"&\"}",
        )
        .at_most(1.0)
        .with_bearer(Secret::new(TOKEN))
    }

    async fn error(&self) -> Error {
        let error = self.query().validate(&context()).await.unwrap_err();
        for shown in [
            format!("{error:?}"),
            format!("{error:#?}"),
            format!("{:?}", self.query()),
        ] {
            assert!(!shown.contains(TOKEN), "{shown}");
        }
        let shown = format!("{error:?}");
        assert!(shown.contains("`the metric`"), "{shown}");
        assert!(
            shown.contains(&format!("host: {}", self.address)),
            "{shown}"
        );
        assert!(shown.contains("query: up{a=\"&\"}"), "{shown}");
        error
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(then: &Then, mut stream: TcpStream) {
    match then {
        Then::Answer(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Then::Endless(begin, part) => {
            let _ = stream.write_all(begin.as_bytes()).await;
            while stream.write_all(part).await.is_ok() {}
        }
        Then::Hang(part) => {
            let _ = stream.write_all(part.as_bytes()).await;
            std::future::pending().await
        }
        Then::Close => {}
    }
}

fn ok(body: &str) -> Then {
    Then::Answer(answer("200 OK", body))
}

#[tokio::test]
async fn what_is_no_answer_of_prometheus_is_an_error() {
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":["#;
    for (then, cause) in [
        (ok(vector), "the answer is not that of a Prometheus server"),
        (
            ok("<html>sign in</html>"),
            "the answer is not that of a Prometheus server",
        ),
        (ok(""), "the answer is not that of a Prometheus server"),
        (
            Then::Answer(answer("500 Oh", "no")),
            "the server answered with status 500",
        ),
        (
            Then::Answer(answer("401 Who", "")),
            "the server answered with status 401",
        ),
        (
            Then::Answer(answer("204 Empty", "")),
            "the server answered with status 204",
        ),
        (
            Then::Answer(answer(
                "503 Busy",
                r#"{"status":"error","errorType":"timeout","error":"slow"}"#,
            )),
            "the server reports timeout: slow",
        ),
        (
            Then::Answer("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned()),
            "the answer broke off",
        ),
        (
            Then::Answer("nonsense\r\n\r\n".to_owned()),
            "the server cannot be reached",
        ),
        (Then::Close, "the server cannot be reached"),
    ] {
        let error = Server::start(then).await.error().await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(format!("{error:?}").contains(cause), "{error:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let part = vec![b' '; 1 << 16];
    let chunk = [b"10000\r\n", &part[..], b"\r\n"].concat();
    for (begin, part) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n",
            part.clone(),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            chunk.clone(),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", part),
    ] {
        let error = Server::start(Then::Endless(begin, part))
            .await
            .error()
            .await;
        assert!(
            format!("{error:?}").contains("the answer is larger than 1 MiB"),
            "{error:?}"
        );
    }
    let begin = "HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n";
    let error = Server::start(Then::Endless(begin, chunk))
        .await
        .error()
        .await;
    assert!(
        format!("{error:?}").contains("answered with status 500"),
        "{error:?}"
    );
    let headers = Then::Endless("HTTP/1.1 200 OK\r\n", b"x-y: zzzzzzzz\r\n".to_vec());
    let error = Server::start(headers).await.error().await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(ok("{}")).await;
    let text = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    );
    let error = Server::start(Then::Answer(text)).await.error().await;
    assert!(
        format!("{error:?}").contains("status 302, a redirect"),
        "{error:?}"
    );
    assert!(elsewhere.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_hang_ends_at_the_deadline_and_on_cancellation() {
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"] {
        let server = Server::start(Then::Hang(part)).await;
        let cx = UpgradeContext::new("1", "2")
            .with_deadline(Instant::now() + Duration::from_millis(300));
        let error = server.query().validate(&cx).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        let shown = format!("{error:?}");
        assert!(
            shown.contains(&format!("host: {}", server.address)),
            "{shown}"
        );
        assert!(shown.contains("query: up{"), "{shown}");
    }
    let server = Server::start(Then::Hang("")).await;
    let cx = UpgradeContext::new("1", "2");
    cx.cancellation().cancel();
    let error = server.query().validate(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_hang_ends_without_a_deadline() {
    let server = Server::start(Then::Hang("")).await;
    let cx = UpgradeContext::new("1", "2");
    let error = server.query().validate(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(
        format!("{error:?}").contains("no answer within 30s"),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_the_server_repeats_of_a_token_is_not_shown() {
    let body = format!(r#"{{"status":"error","errorType":"{TOKEN}","error":"no {TOKEN} here"}}"#);
    let error = Server::start(Then::Answer(answer("403 No", &body)))
        .await
        .error()
        .await;
    assert!(
        format!("{error:?}").contains("the server reports ***: no *** here"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_query_is_sent_as_it_was_written() {
    let body = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#;
    let server = Server::start(ok(body)).await;
    assert_eq!(
        server.query().validate(&context()).await.unwrap(),
        Verdict::Pass
    );
    let requests = server.requests.lock().unwrap().clone();
    let [request] = &requests[..] else {
        panic!("one request: {requests:?}");
    };
    let line = "GET /base/api/v1/query?query=up%7Ba%3D%22%26%22%7D HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    assert!(
        request.contains(&format!("authorization: Bearer {TOKEN}\r\n")),
        "{request}"
    );
}

#[tokio::test]
async fn an_incomplete_answer_does_not_pass() {
    let body = r#"{"status":"success","warnings":["a store is down"],
        "data":{"resultType":"scalar","result":[1,"1"]}}"#;
    let server = Server::start(ok(body)).await;
    let holds = server.query().validate(&context()).await.unwrap();
    let reason = "the answer may be incomplete: a store is down";
    assert_eq!(holds, Verdict::Inconclusive(reason.to_owned()));
    let broken =
        PrometheusQuery::new("x", format!("http://{}", server.address), "up").at_least(2.0);
    let broken = broken.validate(&context()).await.unwrap();
    assert!(matches!(broken, Verdict::Fail(_)), "{broken:?}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_an_error() {
    let server = Server::start(Then::Close).await;
    let query = PrometheusQuery::new("x", format!("https://{}", server.address), "up").at_most(1.0);
    let cx = UpgradeContext::new("1", "2").with_deadline(Instant::now() + Duration::from_secs(2));
    assert!(query.validate(&cx).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_asked_is_invalid_input() {
    let url = "http://127.0.0.1:9";
    let query = |url: &str| PrometheusQuery::new("x", url, "up");
    let token = |token: &str| query(url).at_most(1.0).with_bearer(Secret::new(token));
    for (query, problem) in [
        (query(url), "metric `x` has no bound"),
        (query(url).at_most(1.0).at_least(0.0), "has two bounds"),
        (
            query(url).at_most(f64::NAN),
            "has a bound that is no finite number",
        ),
        (
            query(url).at_least(f64::INFINITY),
            "has a bound that is no finite number",
        ),
        (
            query(url).at_most(1.0).over_samples("x", 0.0),
            "is not above 0",
        ),
        (
            query(url).at_most(1.0).over_samples("x", f64::NAN),
            "is not above 0",
        ),
        (query("").at_most(1.0), "has an address that is no URL"),
        (
            query("prometheus:9090").at_most(1.0),
            "has an address that is",
        ),
        (
            query("ftp://x").at_most(1.0),
            "neither `http://..` nor `https://..`",
        ),
        (
            query("http://ann:hunter2@x").at_most(1.0),
            "has an address with a user",
        ),
        (
            query("http://hunter2@x").at_most(1.0),
            "has an address with a user",
        ),
        (
            query("http://x/?token=hunter2").at_most(1.0),
            "has an address with a query",
        ),
        (
            query("http://x/#hunter2").at_most(1.0),
            "has an address with a query",
        ),
        (token("hunter2\n"), "does it end with a line break?"),
    ] {
        let error = query.validate(&context()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.to_string().contains(problem), "{error}");
        for shown in [
            format!("{error:?}"),
            format!("{query:?}"),
            format!("{query:#?}"),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
    let long = PrometheusQuery::new("x", url, "x".repeat(100_000)).at_most(1.0);
    let error = long.validate(&context()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}
