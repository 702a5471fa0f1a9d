//! What a person does on one page of the system.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::compare::PageComparison;
use super::session::Browser;
use super::step::{Key, Step};
use super::visit::{Expected, Visit, visit};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::measurement::Attachment;
use crate::secret::Secret;
use crate::validator::{Validator, Verdict};

/// How long one step may take, unless said otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// What a person does on one page, as a [`Validator`] of the system: it fails if a step cannot be done, if a
/// script of the page raises an error, or if a request of the page fails.
///
/// Each step waits until the page allows it, for at most [`within`](Self::within). Selectors are those of
/// CSS; the first element that can be seen counts. A page that writes must also undo that: other validators
/// and the comparison of data see what it changes.
///
/// # Examples
///
/// ```
/// use upgrade_core::browser::Browser;
///
/// let browser = Browser::new();
/// let page = browser
///     .page("a customer can be searched", "web", "/customers")
///     .fill("#search", "Anna")
///     .click("#go")
///     .wait_for_text("#result", "1 customer")
///     // It shows the time, which is no difference between releases.
///     .mask(".clock");
/// // The same page on both releases.
/// let comparison = page.compare();
/// ```
#[derive(Debug, Clone)]
pub struct Page {
    pub(super) name: String,
    pub(super) browser: Browser,
    pub(super) endpoint: String,
    pub(super) path: String,
    pub(super) steps: Vec<Step>,
    pub(super) masks: Vec<String>,
    pub(super) within: Duration,
    pub(super) axe: Option<PathBuf>,
}

impl Page {
    pub(super) fn new(browser: Browser, name: String, endpoint: String, path: String) -> Self {
        Self {
            name,
            browser,
            endpoint,
            path,
            steps: Vec::new(),
            masks: Vec::new(),
            within: WITHIN,
            axe: None,
        }
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Clicks an element as soon as it can be seen and nothing covers it.
    #[must_use]
    pub fn click(self, css: impl Into<String>) -> Self {
        self.then(Step::Click(css.into()))
    }

    /// Types a text into a field, which is emptied before. In a list to choose from, chooses what begins with
    /// the text.
    #[must_use]
    pub fn fill(self, css: impl Into<String>, text: impl Into<String>) -> Self {
        self.then(Step::Fill(css.into(), text.into()))
    }

    /// As [`fill`](Self::fill). The text stands in no finding, and the field is dotted in pictures. If the page
    /// shows the text elsewhere, no picture is taken.
    #[must_use]
    pub fn fill_secret(self, css: impl Into<String>, secret: Secret) -> Self {
        self.then(Step::FillSecret(css.into(), secret))
    }

    /// Presses a key where the focus is.
    #[must_use]
    pub fn press(self, key: Key) -> Self {
        self.then(Step::Press(key))
    }

    /// Waits until an element can be seen.
    #[must_use]
    pub fn wait_for(self, css: impl Into<String>) -> Self {
        self.then(Step::WaitFor(css.into()))
    }

    /// Waits until an element that can be seen contains a text.
    #[must_use]
    pub fn wait_for_text(self, css: impl Into<String>, text: impl Into<String>) -> Self {
        self.then(Step::WaitForText(css.into(), text.into()))
    }

    /// Waits until no element of a selector can be seen.
    #[must_use]
    pub fn wait_until_gone(self, css: impl Into<String>) -> Self {
        self.then(Step::WaitUntilGone(css.into()))
    }

    /// Expects a text in an element; the same as [`wait_for_text`](Self::wait_for_text).
    #[must_use]
    pub fn expect_text(self, css: impl Into<String>, contains: impl Into<String>) -> Self {
        self.wait_for_text(css, contains)
    }

    /// Expects a text in the address of the page, which begins at its path. Waits until it is there.
    #[must_use]
    pub fn expect_url(self, contains: impl Into<String>) -> Self {
        self.then(Step::ExpectUrl(contains.into()))
    }

    /// Leaves what a selector names out of the comparison of texts and pictures, such as a clock.
    #[must_use]
    pub fn mask(mut self, css: impl Into<String>) -> Self {
        self.masks.push(css.into());
        self
    }

    /// How long each step may wait. The page may load as long, and at least 10 s. Default: 10 s.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Checks the accessibility of the page with axe-core, from the path of its script. Only a comparison
    /// uses it: rules that the previous release breaks, too, are no finding.
    #[must_use]
    pub fn axe(mut self, script: impl Into<PathBuf>) -> Self {
        self.axe = Some(script.into());
        self
    }

    /// Runs the page on the previous release, twice, and on what is judged, side by side.
    pub fn compare(self) -> PageComparison {
        PageComparison::new(self)
    }

    /// The style that hides the masks.
    pub(super) fn hidden(&self) -> String {
        let hide = |css: &String| {
            format!(
                ":is({css}), :is({css}) * {{ visibility: hidden !important; transition: none !important }}\n"
            )
        };
        self.masks.iter().map(hide).collect()
    }

    /// The style that dots the fields with secrets.
    pub(super) fn dotted(&self) -> String {
        let dot = |step: &Step| match step {
            Step::FillSecret(css, _) => {
                format!(":is({css}) {{ -webkit-text-security: disc !important }}\n")
            }
            _ => String::new(),
        };
        self.steps.iter().map(dot).collect()
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.steps.iter().filter_map(|step| match step {
            Step::FillSecret(_, secret) => Some(secret),
            _ => None,
        })
    }

    /// Runs it at the endpoint of the context.
    pub(super) async fn run(
        &self,
        cx: &UpgradeContext,
        expected: Option<&Expected>,
    ) -> Result<Visit> {
        for secret in self.secrets() {
            cx.conceal(secret);
        }
        let invalid = |problem: &str| {
            let message = format!("page `{}` {problem}", self.name);
            Error::new(ErrorKind::InvalidInput, message)
        };
        if !self.path.starts_with('/') {
            return Err(invalid("has a path that does not begin with `/`"));
        }
        let base = cx.endpoint(&self.endpoint)?.url().expose();
        if !(base.starts_with("http://") || base.starts_with("https://")) {
            return Err(invalid(&format!(
                "needs endpoint `{}` to be one of HTTP",
                self.endpoint
            )));
        }
        let visiting = self
            .browser
            .with_session(|web| Box::pin(visit(web, self, base, expected)));
        let mut visit = cx.bounded(&self.name, visiting).await??;
        if let Some(failure) = &mut visit.failure {
            for text in [&mut failure.reason, &mut failure.url, &mut failure.excerpt] {
                *text = cx.redact(text);
            }
        }
        Ok(visit)
    }

    /// A finding about a step that could not be done.
    pub(super) fn step_failed(&self, visit: &Visit) -> Option<Finding> {
        let failure = visit.failure.as_ref()?;
        let message = format!("the step `{}` failed: {}", failure.step, failure.reason);
        let evidence = format!("address: {}\n{}", failure.url, failure.excerpt);
        Some(Finding::error("page/step-failed", &self.name, message).with_evidence(evidence))
    }

    pub(super) fn attach(&self, cx: &UpgradeContext, name: &str, png: &[u8]) {
        match Attachment::new(format!("{}: {name}", self.name), "image/png", png) {
            Some(attachment) => cx.attach(attachment),
            None => tracing::warn!(page = self.name, "a picture is too large for a report"),
        }
    }
}

/// One line for each message, at most ten.
pub(super) fn listed<'a>(messages: impl ExactSizeIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 10;
    let more = messages.len() > SHOWN;
    let mut lines: Vec<&str> = messages.take(SHOWN).map(String::as_str).collect();
    if more {
        lines.push("...");
    }
    lines.join("\n")
}

#[async_trait]
impl Validator for Page {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let visit = self.run(cx, None).await?;
        let mut findings: Vec<Finding> = self.step_failed(&visit).into_iter().collect();
        let log = &visit.log;
        if !log.script_errors.is_empty() {
            let message = format!(
                "the scripts of the page raised {} errors",
                log.script_errors.len()
            );
            let finding = Finding::error("page/script-error", &self.name, message);
            findings.push(finding.with_evidence(cx.redact(&listed(log.script_errors.values()))));
        }
        if !log.failed_requests.is_empty() {
            let message = format!("{} requests of the page failed", log.failed_requests.len());
            let finding = Finding::error("page/request-failed", &self.name, message);
            findings.push(finding.with_evidence(cx.redact(&listed(log.failed_requests.values()))));
        }
        if let Some(finding) = self.dialogs(cx, log.dialogs.iter()) {
            if findings.is_empty() {
                cx.notice(finding);
            } else {
                findings.push(finding);
            }
        }
        if !findings.is_empty()
            && let Some(png) = visit.picture.and_then(|picture| picture.png().ok())
        {
            self.attach(cx, "the page", &png);
        }
        Ok(Verdict::from_findings(findings))
    }
}

impl Page {
    pub(super) fn dialogs<'a>(
        &self,
        cx: &UpgradeContext,
        dialogs: impl ExactSizeIterator<Item = &'a String>,
    ) -> Option<Finding> {
        let message = match dialogs.len() {
            0 => return None,
            count => format!("the page opened {count} dialogs, which were dismissed"),
        };
        let finding = Finding::warning("page/dialog", &self.name, message);
        Some(finding.with_evidence(cx.redact(&listed(dialogs))))
    }
}
