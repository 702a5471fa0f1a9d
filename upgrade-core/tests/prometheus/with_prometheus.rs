//! A real server.

use std::env;
use std::path::Path;

use tokio::process::Command;
use upgrade_core::validator::PrometheusQuery;
use upgrade_core::{ErrorKind, Validator as _, Verdict};

use crate::support::{Server, context, tls};

/// The address of a server, in a child process that trusts other certificates.
const CHILD: &str = "UPGRADE_PROMETHEUS_TEST_URL";

const METRICS: &str = "\
# TYPE requests_total counter
requests_total{status=\"200\"} {n}00
requests_total{status=\"500\"} {n}
# TYPE latency_seconds gauge
latency_seconds{route=\"/\"} 0.1
latency_seconds{route=\"/checkout\"} 2.5
latency_seconds{route=\"/search\"} 1.5
";
const FAILED: &str =
    r#"sum(rate(requests_total{status="500"}[10s])) / sum(rate(requests_total[10s]))"#;
const REQUESTS: &str = "sum(increase(requests_total[10s]))";

fn is_judged(verdict: &Verdict) -> bool {
    !matches!(verdict, Verdict::Inconclusive(_))
}

fn is_inconclusive(verdict: &Verdict) -> bool {
    !is_judged(verdict)
}

#[tokio::test]
#[ignore = "needs Prometheus"]
async fn a_query_holds_or_breaks() {
    let server = Server::start(METRICS).await;
    let few_fail = server
        .query(FAILED)
        .at_most(0.02)
        .over_samples(REQUESTS, 10.0);
    assert_eq!(server.verdict(&few_fail, is_judged).await, Verdict::Pass);
    let many = server.query(FAILED).at_least(0.02);
    let Verdict::Fail(findings) = server.verdict(&many, is_judged).await else {
        panic!("one in a hundred fails");
    };
    assert_eq!(findings[0].id, "validator/metric-out-of-bounds");
    let message = &findings[0].message;
    assert!(
        message.starts_with("it must be at least 0.02, and the value 0.0"),
        "{message}"
    );
    // A number instead of a vector.
    let two = server.query("1 + 1").at_least(2.0);
    assert_eq!(server.verdict(&two, is_judged).await, Verdict::Pass);
}

#[tokio::test]
#[ignore = "needs Prometheus"]
async fn the_worst_series_is_named() {
    let server = Server::start(METRICS).await;
    let fast = server.query("latency_seconds").at_most(1.0);
    let Verdict::Fail(findings) = server.verdict(&fast, is_judged).await else {
        panic!("two routes are slow");
    };
    let message = &findings[0].message;
    assert!(
        message.contains(r#"latency_seconds{instance="127.0.0.1:"#),
        "{message}"
    );
    assert!(
        message.contains(r#"route="/checkout"} = 2.5 is outside of that, as is 1 other series"#),
        "{message}"
    );
    let evidence = findings[0].evidence.as_deref().unwrap();
    assert!(
        evidence.lines().nth(1).unwrap().contains("/search"),
        "{evidence}"
    );
}

#[tokio::test]
#[ignore = "needs Prometheus"]
async fn no_data_is_inconclusive() {
    let server = Server::start(METRICS).await;
    let fast = server.query(r#"latency_seconds{route="/"}"#).at_most(1.0);
    assert_eq!(server.verdict(&fast, is_judged).await, Verdict::Pass);
    for (query, reason) in [
        (
            server.query("unknown").at_most(1.0),
            "the query has no data",
        ),
        (
            server.query("vector(0) / 0").at_most(1.0),
            "the value NaN is no finite number",
        ),
        (
            server.query("vector(-1) / 0").at_most(1.0),
            "the value -inf is no finite number",
        ),
        (
            server
                .query("vector(0)")
                .at_most(1.0)
                .over_samples("unknown", 1.0),
            "`unknown` has no data",
        ),
        (
            server
                .query("vector(0)")
                .at_most(1.0)
                .over_samples("vector(0) / 0", 1.0),
            "`vector(0) / 0` is NaN, and at least 1 is needed",
        ),
        (
            server
                .query("vector(0)")
                .at_most(1.0)
                .over_samples("vector(19)", 20.0),
            "`vector(19)` is 19, and at least 20 is needed",
        ),
    ] {
        let verdict = query.validate(&context()).await.unwrap();
        assert_eq!(verdict, Verdict::Inconclusive(reason.to_owned()));
    }
    // A series that the target no longer has is stale, although its last value was good.
    server.set("other 1\n");
    server.verdict(&fast, is_inconclusive).await;
}

#[tokio::test]
#[ignore = "needs Prometheus"]
async fn a_query_that_the_server_refuses_is_an_error() {
    let server = Server::start(METRICS).await;
    for (promql, cause) in [
        ("sum(", "the server reports bad_data: "),
        ("requests_total[5s]", "the query returns a range of values"),
        ("\"text\"", "the query returns a text"),
    ] {
        let query = server.query(promql).at_most(1.0);
        let error = query.validate(&context()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        let shown = format!("{error:?}");
        assert!(shown.contains(cause), "{shown}");
        assert!(shown.contains(&format!("query: {promql}")), "{shown}");
    }
}

#[tokio::test]
#[ignore = "needs Prometheus"]
async fn a_server_is_trusted_by_the_certificates_of_the_machine() {
    if let Ok(url) = env::var(CHILD) {
        let query = PrometheusQuery::new("x", url, "1").at_least(1.0);
        assert_eq!(query.validate(&context()).await.unwrap(), Verdict::Pass);
        return;
    }
    let server = Server::start_with_tls(METRICS).await;
    let trusting = ask_in_child(&server, &tls("certificate.pem")).await;
    assert!(trusting.contains("1 passed"), "{trusting}");
    let other = ask_in_child(&server, Path::new("/nowhere")).await;
    assert!(
        other.contains("this machine has no certificates"),
        "{other}"
    );
    // One that trusts others: where this machine trusts none, the error is the one from above.
    let error = server
        .query("1")
        .at_least(1.0)
        .validate(&context())
        .await
        .unwrap_err();
    let shown = format!("{error:?}");
    assert!(
        shown.contains("certificate"),
        "a certificate that nobody has signed is trusted: {shown}"
    );
}

/// What this test prints in a process that trusts the certificates of a file.
async fn ask_in_child(server: &Server, certificates: &Path) -> String {
    let name = "with_prometheus::a_server_is_trusted_by_the_certificates_of_the_machine";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", name])
        .env(CHILD, &server.url)
        .env("SSL_CERT_FILE", certificates)
        .env_remove("SSL_CERT_DIR")
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
