//! A page as a validator of one system.

use upgrade_core::browser::Key;
use upgrade_core::{ErrorKind, Secret, Validator as _, Verdict};

use crate::support::{Site, ids, only, page, site};

const SEARCH: &str = "<h1>Customers</h1>
    <form><label>Search <input id=search></label>
    <label>Kind <select id=kind><option>All<option>Business</select></label>
    <button id=go>Go</button></form><p id=result hidden></p><p id=wait>waiting</p>
    <script>
    document.querySelector('form').onsubmit = event => {
        event.preventDefault();
        setTimeout(() => {
            fetch('/api/customers?q=' + search.value).then(answer => answer.text()).then(text => {
                result.hidden = false; wait.remove();
                result.innerText = text + ' ' + search.value + ' ' + kind.value;
                history.pushState({}, '', '/found?q=1');
            });
        }, 300);
    };
    </script>";

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_page_that_works_passes() {
    let site = Site::start(&[("/", 200, SEARCH), ("/api/customers", 200, "1 customer")]).await;
    let page = page("/")
        .wait_for("h1")
        .fill("#search", "Anna")
        .fill("#kind", "Business")
        .click("#go")
        .expect_text("#result", "1 customer Anna Business")
        .wait_until_gone("#wait")
        .expect_url("/found");
    let verdict = page.validate(&site.context()).await.unwrap();
    assert_eq!(verdict, Verdict::Pass);
    assert!(
        site.requests()
            .contains(&"GET /api/customers?q=Anna".to_owned())
    );
    // Again, in a browser that has seen it.
    assert_eq!(page.validate(&site.context()).await.unwrap(), Verdict::Pass);
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_key_goes_where_the_focus_is() {
    let site = Site::start(&[("/", 200, SEARCH), ("/api/customers", 200, "1 customer")]).await;
    let page = page("/")
        .fill("#search", "Bo")
        .press(Key::Enter)
        .expect_text("#result", "Bo All");
    assert_eq!(page.validate(&site.context()).await.unwrap(), Verdict::Pass);
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_step_that_cannot_be_done_says_what_was_there_instead() {
    let site = site(
        "<p>Only this</p><button id=hidden style='display:none'>x</button>
        <button id=covered>Pay</button><div style='position:fixed;inset:0'></div>",
    )
    .await;
    for (page, message) in [
        (
            page("/").click("#missing"),
            "the step `click `#missing`` failed: no element matches",
        ),
        (
            page("/").click("#hidden"),
            "1 elements match, and none of them can be seen",
        ),
        (page("/").click("#covered"), "intercepted"),
        (
            page("/").expect_text("p", "That"),
            "it contains `Only this`",
        ),
        (page("/").expect_url("/other"), "it is `/`"),
        (page("/").wait_until_gone("p"), "it can still be seen"),
    ] {
        let page = page.within(std::time::Duration::from_millis(500));
        let finding = only(page.validate(&site.context()).await.unwrap());
        assert_eq!(finding.id, "page/step-failed");
        assert!(finding.message.contains(message), "{finding}");
        let evidence = finding.evidence.unwrap();
        assert!(evidence.starts_with("address: /\nOnly this"), "{evidence}");
    }
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn errors_of_scripts_and_failed_requests_are_found() {
    let site = Site::start(&[
        (
            "/",
            200,
            "<link rel=stylesheet href=/gone.css><script>
            console.warn('only a warning'); console.error('the cart is broken');
            setTimeout(() => { throw new Error('boom') });
            fetch('/api').catch(() => {}); fetch('http://127.0.0.1:1/x').catch(() => {});
            Promise.reject(new Error('promised'));</script>",
        ),
        ("/api", 500, ""),
    ])
    .await;
    let verdict = page("/").validate(&site.context()).await.unwrap();
    assert_eq!(ids(&verdict), ["page/script-error", "page/request-failed"]);
    let Verdict::Fail(findings) = verdict else {
        panic!()
    };
    let errors = findings[0].evidence.clone().unwrap();
    for part in ["the cart is broken", "Error: boom", "Error: promised"] {
        assert!(errors.contains(part), "{errors}");
    }
    assert!(!errors.contains("only a warning"), "{errors}");
    let requests = findings[1].evidence.clone().unwrap();
    for part in [
        "GET /gone.css is answered with 404",
        "GET /api is answered with 500",
        "127.0.0.1:1/x failed: net::",
    ] {
        assert!(requests.contains(part), "{requests}");
    }
    assert!(!requests.contains("favicon"), "{requests}");
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_document_that_is_answered_with_an_error_fails() {
    let site = Site::start(&[("/", 503, "<p>Later</p>")]).await;
    let finding = only(page("/").validate(&site.context()).await.unwrap());
    assert_eq!(finding.id, "page/request-failed");
    assert_eq!(
        finding.evidence.as_deref(),
        Some("GET / is answered with 503")
    );
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_secret_stands_in_no_finding() {
    let site = site(
        "<input id=a type=password><input id=b><p id=echo></p>
        <script>b.oninput = () => echo.innerText = 'you typed ' + b.value</script>",
    )
    .await;
    let secret = Secret::new("canary-secret-0001");
    let page = page("/")
        .fill_secret("#a", secret.clone())
        .fill_secret("#b", secret)
        .expect_text("#echo", "something else")
        .within(std::time::Duration::from_millis(500));
    let verdict = page.validate(&site.context()).await.unwrap();
    let text = format!("{verdict:?} {page:?}");
    assert!(text.contains("you typed ***"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn what_cannot_be_asked_is_an_error() {
    let site = site("<p>x</p>").await;
    let cx = site.context();
    for (page, kind) in [
        (page("/").click("p["), ErrorKind::InvalidInput),
        (page("/").mask("::::"), ErrorKind::InvalidInput),
        (page("no-slash"), ErrorKind::InvalidInput),
    ] {
        assert_eq!(page.validate(&cx).await.unwrap_err().kind(), kind);
    }
    let url = site.url.clone();
    drop(site);
    // Nobody listens there any more.
    while tokio::net::TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        page("/").validate(&cx).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn what_one_page_stored_the_next_does_not_see() {
    let site = site(
        "<p id=p></p><script>
        p.innerText = 'seen ' + (localStorage.n ?? 0) + document.cookie;
        localStorage.n = 1; document.cookie = 'a=b'</script>",
    )
    .await;
    for _ in 0..2 {
        let page = page("/").expect_text("#p", "seen 0");
        let page = page.expect_text("p", "seen 0");
        assert_eq!(page.validate(&site.context()).await.unwrap(), Verdict::Pass);
    }
}
