//! Browsers and pages that do not do what they should.

use std::fs;
use std::time::Duration;

use tokio::time::timeout;
use upgrade_core::browser::Browser;
use upgrade_core::{ErrorKind, Validator as _, Verdict};

use crate::support::{Site, context, ids, only, options, page, site};

/// The number of the browser below this process that was started last.
fn browser_of_this_process(browser: &str) -> Option<u32> {
    let mut found = None;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let main = line.contains("--user-data-dir=")
            && !line.contains("--type=")
            && line.contains(browser);
        if main && let Ok(pid) = entry.file_name().to_str().unwrap().parse() {
            found = found.max(Some(pid));
        }
    }
    found
}

/// It may have ended since it was seen.
fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[tokio::test]
async fn a_browser_that_is_not_installed_is_unavailable() {
    let browser = Browser::with_options(options().with_driver("/no/such/chromedriver"));
    let cx = context();
    let endpoints = upgrade_core::environment::Endpoints::default().with(
        "web",
        upgrade_core::environment::Endpoint::new("http://127.0.0.1:1"),
    );
    let error = browser
        .page("x", "web", "/")
        .validate(&cx.with_endpoints(endpoints))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("apt-get install"), "{error}");
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_driver_that_ends_at_once_shows_what_it_prints() {
    let browser = Browser::with_options(options().with_driver("/bin/ls"));
    let site = site("<p>x").await;
    let error = browser
        .page("x", "web", "/")
        .validate(&site.context())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = format!("{error:?}");
    assert!(text.contains("unrecognized option '--port=0'"), "{text}");
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_browser_that_is_no_browser_is_unavailable() {
    let browser = Browser::with_options(options().with_program("/bin/true"));
    let site = site("<p>x").await;
    let error = browser
        .page("x", "web", "/")
        .validate(&site.context())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_browser_that_crashes_is_replaced_once() {
    let mark = "--lang=xa-once";
    let mut options = options();
    options.language = "xa-once".to_owned();
    let browser = Browser::with_options(options);
    let site =
        site("<p id=p></p><script>setTimeout(() => p.innerText = 'done', 1500)</script>").await;
    let page = browser.page("x", "web", "/").expect_text("#p", "done");
    let requests = site.requests.clone();
    let killer = tokio::spawn(async move {
        let pid = loop {
            // The page is open.
            let is_open = !requests.lock().unwrap().is_empty();
            if let Some(pid) = browser_of_this_process(mark).filter(|_| is_open) {
                break pid;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        };
        kill(pid);
    });
    assert_eq!(page.validate(&site.context()).await.unwrap(), Verdict::Pass);
    killer.await.unwrap();
    // Between two pages as well.
    kill(browser_of_this_process(mark).unwrap());
    assert_eq!(page.validate(&site.context()).await.unwrap(), Verdict::Pass);
    browser.close().await;
    assert_eq!(browser_of_this_process(mark), None);
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_browser_that_always_crashes_is_unavailable() {
    let mark = "--lang=xa-always";
    let mut options = options();
    options.language = "xa-always".to_owned();
    let browser = Browser::with_options(options);
    let site = site("<p>x").await;
    let page = browser
        .page("x", "web", "/")
        .wait_for("#never")
        .within(Duration::from_secs(60));
    let killer = tokio::spawn(async move {
        loop {
            if let Some(pid) = browser_of_this_process(mark) {
                kill(pid);
            }
            tokio::time::sleep(Duration::from_millis(500)).await; // the point of the kill
        }
    });
    let error = page.validate(&site.context()).await.unwrap_err();
    killer.abort();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_cancelled_page_is_followed_by_a_fresh_one() {
    let site = site("<p>x").await;
    let (page, cx) = (
        page("/").wait_for("#never").within(Duration::from_secs(60)),
        site.context(),
    );
    let cancelled = timeout(Duration::from_secs(8), page.validate(&cx)).await;
    assert!(cancelled.is_err(), "{cancelled:?}");
    let page = crate::support::page("/").wait_for("p");
    assert_eq!(page.validate(&cx).await.unwrap(), Verdict::Pass);
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_page_that_never_ends_loading_fails_at_its_deadline() {
    let site = Site::start(&[("/", 200, "hang"), ("/part", 200, "<p>x<img src=/>")]).await;
    for path in ["/", "/part"] {
        let finding = only(
            page(path)
                .within(Duration::from_secs(3))
                .validate(&site.context())
                .await
                .unwrap(),
        );
        assert_eq!(finding.id, "page/step-failed");
        assert!(
            finding.message.contains("it is not loaded after 10s"),
            "{finding}"
        );
    }
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn redirects_without_an_end_fail() {
    let site = Site::start(&[("/", 302, "->/")]).await;
    let verdict = page("/").validate(&site.context()).await.unwrap();
    let text = format!("{verdict:?}");
    assert!(
        !ids(&verdict).is_empty() && text.contains("ERR_TOO_MANY_REDIRECTS"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn dialogs_are_dismissed_and_reported() {
    let site = site("<p id=p>x</p><button id=b>b</button><script>
        b.onclick = () => { p.innerText = confirm('Really?') ? 'yes' : 'no'; console.error('x') }</script>").await;
    let page = page("/").click("#b").expect_text("#p", "no");
    let Verdict::Fail(findings) = page.validate(&site.context()).await.unwrap() else {
        panic!()
    };
    let dialog = findings.iter().find(|one| one.id == "page/dialog").unwrap();
    assert_eq!(dialog.evidence.as_deref(), Some("confirm: Really?"));
    assert!(!dialog.fails());
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn dialogs_without_an_end_end() {
    let site = site(
        "<p id=p>x</p><script>
        setInterval(() => { if (prompt('again') === null) p.innerText = 'dismissed' }, 1);
        console.error('x')</script>",
    )
    .await;
    let page = page("/").expect_text("#p", "dismissed");
    let verdict = page.validate(&site.context()).await.unwrap();
    assert_eq!(ids(&verdict), ["page/script-error"]);
    assert!(
        format!("{verdict:?}").contains("prompt: again"),
        "{verdict:?}"
    );
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_page_of_50_megabytes_and_one_of_100_000_elements_end() {
    let heavy = format!("<p>x</p><!--{}-->", "y".repeat(50 << 20));
    let long = format!("<p>{}</p>", "word ".repeat(10 << 20));
    let many = format!("<p>x</p>{}", "<i>y</i>".repeat(100_000));
    let site = Site::start(&[
        ("/heavy", 200, &heavy),
        ("/long", 200, &long),
        ("/many", 200, &many),
    ])
    .await;
    for (path, fails) in [("/heavy", false), ("/many", true)] {
        let page = page(path).wait_for("p").within(Duration::from_secs(30));
        let verdict = page.validate(&site.context()).await.unwrap();
        let text = format!("{verdict:?}");
        assert_eq!(
            text.contains("100003 elements") || text.contains("at most 50000"),
            fails,
            "{text:.300}"
        );
    }
    let page = page("/long").wait_for("p").within(Duration::from_secs(30));
    // It may be too large to be judged, but it ends.
    let text = format!("{:?}", page.validate(&site.context()).await);
    assert!(text.len() < 100_000, "{}", text.len());
}
