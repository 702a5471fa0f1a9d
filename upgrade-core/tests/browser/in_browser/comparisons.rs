//! A page of two releases.

use std::time::Duration;

use upgrade_core::Verdict;
use upgrade_core::browser::Page;
use upgrade_core::side::Candidate::{self, Mixed, RolledBack, Upgraded};

use crate::support::{compared, ids, page};

const SHOP: &str = "<style>@keyframes turn { to { transform: rotate(1turn) } }
    #spinner { width: 30px; height: 30px; background: teal; animation: turn 1s infinite }</style>
    <h1>Orders</h1><p id=clock></p><p id=id></p><div id=spinner></div>
    <button id=save>Save</button><button id=more>More</button><p id=saved></p><input autofocus>
    <script>
    const tick = () => clock.innerText = new Date().toISOString();
    setInterval(tick, 100); tick();
    id.innerText = 'request ' + crypto.randomUUID();
    save.onclick = () => fetch('/api/orders/17', { method: 'PUT' }).then(() => saved.innerText = 'saved');
    more.onclick = () => setTimeout(() => document.body.append(document.createElement('hr'), 'more'), 500);
    </script>";

fn shop() -> Page {
    page("/").click("#save").expect_text("#saved", "saved")
}

/// A click that is not to succeed.
fn briefly(css: &str) -> Page {
    page("/").click(css).within(Duration::from_secs(5))
}

async fn judged(page: Page, new: &str, candidate: Candidate) -> Verdict {
    let api = ("/api/orders/17", 200, "");
    compared(
        page.compare(),
        &[("/", 200, SHOP), api],
        &[("/", 200, new), api],
        candidate,
    )
    .await
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn clocks_and_spinners_are_no_difference() {
    for _ in 0..10 {
        let verdict = judged(shop(), SHOP, RolledBack).await;
        assert_eq!(verdict, Verdict::Pass);
    }
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_button_that_does_nothing_is_found() {
    let dead = SHOP.replace("save.onclick", "save.ondblclick");
    let verdict = judged(briefly("#save"), &dead, Upgraded).await;
    assert!(
        ids(&verdict).contains(&"page/step-without-effect"),
        "{verdict:?}"
    );
    let Verdict::Fail(findings) = verdict else {
        panic!()
    };
    let found = findings
        .iter()
        .find(|one| one.id == "page/step-without-effect")
        .unwrap();
    assert_eq!(
        found.message,
        "the step `click `#save`` has no effect; in the previous release it sent `PUT /api/orders/0`"
    );
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_slow_effect_is_waited_for() {
    let slow = SHOP.replace(", 500)", ", 1500)");
    let verdict = judged(page("/").click("#more").wait_for("hr"), &slow, Upgraded).await;
    assert_eq!(verdict, Verdict::Pass);
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn new_errors_are_found_and_those_of_the_previous_release_are_not() {
    let old = "<p>x</p><script>console.error('old trouble 1'); fetch('/none/1')</script>";
    let new = "<p>x</p><script>console.error('old trouble 2'); fetch('/none/2');
        console.error('new trouble'); fetch('/other')</script>";
    let of = async |new| {
        let (old, new) = ([("/", 200, old)], [("/", 200, new)]);
        compared(page("/").compare(), &old, &new, Upgraded).await
    };
    assert_eq!(of(old).await, Verdict::Pass);
    let verdict = of(new).await;
    assert_eq!(ids(&verdict), ["page/script-error", "page/request-failed"]);
    let Verdict::Fail(findings) = verdict else {
        panic!()
    };
    let evidence: Vec<_> = findings
        .iter()
        .filter_map(|one| one.evidence.as_deref())
        .collect();
    assert!(
        evidence[0].contains("new trouble") && !evidence[0].contains("old trouble"),
        "{evidence:?}"
    );
    assert_eq!(evidence[1], "GET /other is answered with 404");
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_lost_control_fails_and_another_text_does_not() {
    let renamed = SHOP.replace(">More<", ">Others<");
    let verdict = judged(shop(), &renamed, Upgraded).await;
    assert_eq!(ids(&verdict), ["page/control-lost"]);
    let Verdict::Fail(findings) = verdict else {
        panic!()
    };
    assert_eq!(findings[0].evidence.as_deref(), Some("button `More`"));

    let reworded = SHOP.replace("<h1>Orders", "<h1>Your orders");
    assert_eq!(judged(shop(), &reworded, Upgraded).await, Verdict::Pass);
    assert_eq!(judged(shop(), &reworded, Mixed).await, Verdict::Pass);
    let verdict = judged(shop(), &reworded, RolledBack).await;
    assert_eq!(ids(&verdict), ["page/text-differs", "page/looks-different"]);
    let Verdict::Fail(findings) = verdict else {
        panic!()
    };
    assert_eq!(
        findings[0].evidence.as_deref(),
        Some("-Orders\n+Your orders")
    );
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn what_is_masked_is_not_compared() {
    let reworded = SHOP.replace("<h1>Orders", "<h1>Your orders");
    let verdict = judged(shop().mask("h1"), &reworded, RolledBack).await;
    assert_eq!(verdict, Verdict::Pass);
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn pixels_are_counted_where_they_must_be_equal() {
    let square = |left: u32| {
        format!(
            "<body style='margin:0'><div style='position:absolute;left:{left}px;top:40px;width:24px;height:10px;background:#000'>"
        )
    };
    let (old, new) = (square(16), square(24));
    let of = async |page: Page| {
        let page = page.compare().pixels_must_be_equal();
        let (old, new) = ([("/", 200, old.as_str())], [("/", 200, new.as_str())]);
        compared(page, &old, &new, Upgraded).await
    };
    let verdict = Box::pin(of(page("/"))).await;
    assert_eq!(ids(&verdict), ["page/looks-different"]);
    let Verdict::Fail(findings) = verdict else {
        panic!()
    };
    // 8 columns left and 8 columns right, of 10 pixels each.
    assert_eq!(findings[0].message, "160 pixels differ, in 2 regions");
    assert_eq!(
        findings[0].evidence.as_deref(),
        Some("8 x 16 at 16, 40\n8 x 16 at 40, 40")
    );
    assert_eq!(Box::pin(of(page("/").mask("div"))).await, Verdict::Pass);
}

#[tokio::test]
#[ignore = "needs a browser"]
async fn a_step_that_only_the_new_release_cannot_do_fails_and_another_is_inconclusive() {
    let without = SHOP.replace("id=save>", "id=store>");
    let verdict = judged(briefly("#save"), &without, Upgraded).await;
    // Its script does not find the button either.
    assert_eq!(ids(&verdict), ["page/script-error", "page/step-failed"]);
    let verdict = judged(briefly("#none"), SHOP, Upgraded).await;
    let Verdict::Inconclusive(reason) = verdict else {
        panic!("{verdict:?}")
    };
    assert!(
        reason.contains("(baseline) cannot do the step `click `#none``"),
        "{reason}"
    );
}

/// The interface of axe-core, with one rule.
const AXE: &str = "window.axe = { run: async document => ({ violations:
    document.querySelector('img:not([alt])') ? [{ id: 'image-alt', help: 'Images must have alternative text' }] : [] }) }";

#[tokio::test]
#[ignore = "needs a browser"]
async fn rules_of_accessibility_are_judged_by_the_previous_release() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        std::env::var_os("UPGRADE_AXE").map_or_else(|| folder.path().join("axe.js"), Into::into);
    if !script.exists() {
        std::fs::write(&script, AXE).unwrap();
    }
    let (good, bad) = (
        "<img alt=x src=data:,>",
        "<img src=data:,><button>new</button>",
    );
    for (old, new, found) in [(good, bad, true), (bad, bad, false)] {
        // A warning shows only beside an error.
        let new = format!("{new}<script>console.error('x')</script>");
        let page = page("/").axe(&script).compare();
        let verdict = compared(page, &[("/", 200, old)], &[("/", 200, &new)], Upgraded).await;
        let text = format!("{verdict:?}");
        assert_eq!(text.contains("image-alt"), found, "{text}");
    }
}
