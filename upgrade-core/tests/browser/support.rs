//! The browser of these tests, and sites that are written by hand.

use std::collections::BTreeMap;
use std::env;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use upgrade_core::browser::{Browser, BrowserOptions, Page};
use upgrade_core::context::UpgradeContext;
use upgrade_core::environment::{Endpoint, Endpoints};
use upgrade_core::side::{Candidate, Side};
use upgrade_core::{Finding, Validator, Verdict};

/// How long anything that has to happen may take. Tests wait for each other, since they share a browser.
const PATIENCE: Duration = Duration::from_secs(1800);

pub(crate) fn options() -> BrowserOptions {
    let mut options = BrowserOptions::default();
    if let Some(program) = env::var_os("UPGRADE_BROWSER") {
        options = options.with_program(program);
    }
    if let Some(driver) = env::var_os("UPGRADE_BROWSER_DRIVER") {
        options = options.with_driver(driver);
    }
    options
}

/// One for all tests of this process. It is never dropped, and ends with the process.
pub(crate) fn browser() -> &'static Browser {
    static BROWSER: LazyLock<Browser> = LazyLock::new(|| Browser::with_options(options()));
    &BROWSER
}

/// A page that may take long on a machine that is busy.
pub(crate) fn page(path: &str) -> Page {
    let page = browser().page("the page", "web", path);
    page.within(Duration::from_secs(30))
}

/// A server of pages: what it answers to each path, with a status, or with a redirect if it begins with `->`.
pub(crate) struct Site {
    pub(crate) url: String,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Site {
    pub(crate) async fn start(pages: &[(&str, u16, &str)]) -> Self {
        let pages: BTreeMap<String, (u16, String)> = pages
            .iter()
            .map(|(path, status, body)| ((*path).to_owned(), (*status, (*body).to_owned())))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (pages, seen) = (Arc::new(pages), Arc::clone(&requests));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&pages), Arc::clone(&seen)));
            }
        });
        Self {
            url,
            requests,
            serving,
        }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints::default().with("web", Endpoint::new(self.url.as_str()))
    }

    pub(crate) fn context(&self) -> UpgradeContext {
        context().with_endpoints(self.endpoints())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Pages = Arc<BTreeMap<String, (u16, String)>>;

async fn serve(mut stream: TcpStream, pages: Pages, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        // A browser opens connections in advance and closes them unused.
        if !matches!(stream.read(&mut byte).await, Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    seen.lock().unwrap().push(format!("{method} {target}"));
    let path = target.split('?').next().unwrap();
    let (status, body) = pages.get(path).cloned().unwrap_or((404, String::new()));
    if body == "hang" {
        std::future::pending::<()>().await;
    }
    let location = body
        .strip_prefix("->")
        .map_or(String::new(), |to| format!("location: {to}\r\n"));
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n{location}connection: close\r\n\r\n",
        body.len()
    );
    // The browser may have gone.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
}

pub(crate) fn context() -> UpgradeContext {
    UpgradeContext::new("1.0.0", "1.1.0").with_deadline(Instant::now() + PATIENCE)
}

/// A site with one page.
pub(crate) async fn site(html: &str) -> Site {
    Site::start(&[("/", 200, html)]).await
}

/// Judges a page of two releases, of which the old one runs twice.
pub(crate) async fn compared(
    validator: impl Validator,
    old: &[(&str, u16, &str)],
    new: &[(&str, u16, &str)],
    candidate: Candidate,
) -> Verdict {
    let sites = [
        Site::start(old).await,
        Site::start(old).await,
        Site::start(new).await,
    ];
    let sides = Side::ALL.into_iter().zip(sites.iter().map(Site::endpoints));
    let cx = context().with_sides(sides.collect(), candidate);
    validator.validate(&cx).await.unwrap()
}

/// The ids of what failed; empty for a pass.
pub(crate) fn ids(verdict: &Verdict) -> Vec<&str> {
    match verdict {
        Verdict::Pass => Vec::new(),
        Verdict::Fail(findings) => findings
            .iter()
            .filter(|finding| finding.fails())
            .map(|finding| finding.id.as_str())
            .collect(),
        Verdict::Inconclusive(reason) => panic!("{reason}"),
    }
}

pub(crate) fn only(verdict: Verdict) -> Finding {
    match verdict {
        Verdict::Fail(mut findings) if findings.len() == 1 => findings.remove(0),
        other => panic!("{other:?}"),
    }
}
