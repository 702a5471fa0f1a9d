//! One run of a page on one system: what was done, what it caused, how the page was at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use thirtyfour::WebDriver;
use tokio::time::{Instant, sleep};

use super::log::Log;
use super::page::Page;
use super::picture::{Picture, Region, Tiles};
use super::state::{Noise, State, text_differences};
use super::step::Step;
use super::tab::{Tab, Trouble};
use crate::error::{Error, ErrorKind};

const POLL_EVERY: Duration = Duration::from_millis(50);

/// How long a page may take to come to rest; one that never does is judged as it is then.
const SETTLE: Duration = Duration::from_secs(4);

/// How long a page may load at least.
const LOAD: Duration = Duration::from_secs(10);

/// Where the page of a previous release was, so that a slower one has time to get there.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// Which steps have an effect.
    pub(super) effects: BTreeSet<usize>,
    pub(super) state: State,
    pub(super) picture: Option<Picture>,
    /// What the comparison of pictures leaves out.
    pub(super) without: Tiles,
    pub(super) noise: Noise,
}

#[derive(Debug)]
pub(super) struct Visit {
    /// What each step that acts did, by its number.
    pub(super) traces: BTreeMap<usize, Trace>,
    pub(super) failure: Option<Failure>,
    pub(super) log: Log,
    /// How the page was at the end.
    pub(super) state: State,
    pub(super) picture: Option<Picture>,
    /// Where which text is in the picture.
    boxes: Vec<(String, Region)>,
    /// Rules of accessibility that the page breaks, with what they mean.
    pub(super) rules: BTreeMap<String, String>,
}

impl Visit {
    /// The squares of its picture in which texts stand that differ in each run.
    pub(super) fn noisy_tiles(&self, noise: &Noise) -> Tiles {
        let noisy = self.boxes.iter().filter(|(text, _)| noise.is_shape(text));
        noisy.flat_map(|(_, region)| region.tiles()).collect()
    }
}

/// What a step did.
#[derive(Debug)]
pub(super) struct Trace {
    before: State,
    after: State,
    pub(super) requests: BTreeSet<String>,
}

impl Trace {
    pub(super) fn has_effect(&self, noise: &Noise) -> bool {
        !self.requests.is_empty() || noise.changed(&self.before, &self.after)
    }
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: String,
    pub(super) reason: String,
    pub(super) url: String,
    /// The begin of what could be read.
    pub(super) excerpt: String,
}

/// Fails for a selector that the browser cannot read.
const SELECTORS: &str = "
    for (const css of arguments) {
        try { document.createDocumentFragment().querySelector(css) } catch { return css }
    }
    return null";

/// What the browser reports where nothing can be judged, because no server answers.
const UNREACHABLE: [&str; 3] = [
    "ERR_CONNECTION_REFUSED",
    "ERR_NAME_NOT_RESOLVED",
    "ERR_ADDRESS_UNREACHABLE",
];

/// Ends when the fonts are there.
const FONTS: &str = "document.fonts.ready.then(arguments[0], arguments[0])";

const CALM: &str = "*, *::before, *::after { animation: none !important; transition: none !important; \
                    caret-color: transparent !important; scroll-behavior: auto !important; }";

const AXE: &str = "
    const done = arguments[0];
    axe.run(document, { resultTypes: ['violations'] }).then(
        found => done(found.violations.map(one => [one.id, one.help])),
        error => done('' + error))";

/// Runs a page at the base URL of a system.
pub(super) async fn visit(
    web: WebDriver,
    page: &Page,
    base: &str,
    expected: Option<&Expected>,
) -> Result<Visit, Trouble> {
    let origin = origin(base);
    let window = page.browser.options().window;
    let mut tab = Tab::take(web, &origin, page.within, window).await?;
    check_selectors(&tab, page).await?;
    let mut run = Run {
        page,
        tab: &mut tab,
        expected,
        opened: false,
        traces: BTreeMap::new(),
    };
    let url = format!("{}{}", base.trim_end_matches('/'), page.path);
    let failure = run.all(&url).await?;
    let (opened, traces) = (run.opened, run.traces);
    let mut visit = Visit {
        traces,
        failure,
        log: Log::default(),
        state: State::default(),
        picture: None,
        boxes: Vec::new(),
        rules: BTreeMap::new(),
    };
    if opened && let Err(trouble) = look(&mut visit, &mut tab, page, expected).await {
        // A page that cannot be looked at is one that has failed; an earlier failure says more.
        match (trouble, &visit.failure) {
            (Trouble::Failed(reason), None) => {
                visit.failure = Some(failed(&tab, "look at the page".to_owned(), reason).await);
            }
            (Trouble::Failed(_), Some(_)) => {}
            (trouble, _) => return Err(trouble),
        }
    }
    tab.read_log().await?;
    visit.log = std::mem::take(&mut tab.log);
    let mut failed = visit.log.failed_requests.values();
    if let Some(disturbed) = failed.find(|message| message.contains("ERR_NETWORK_CHANGED")) {
        return Err(Trouble::Disturbed(disturbed.clone()));
    }
    Ok(visit)
}

async fn check_selectors(tab: &Tab, page: &Page) -> Result<(), Trouble> {
    let selectors = page.steps.iter().filter_map(Step::selector);
    let selectors = selectors.chain(page.masks.iter().map(String::as_str));
    let bad = tab
        .script(SELECTORS, selectors.map(|css| json!(css)).collect())
        .await?;
    match bad.as_str() {
        None => Ok(()),
        Some(css) => {
            let message = format!(
                "page `{}` has a selector that no browser can read: `{css}`",
                page.name
            );
            Err(Trouble::Error(Error::new(ErrorKind::InvalidInput, message)))
        }
    }
}

struct Run<'a> {
    page: &'a Page,
    tab: &'a mut Tab,
    expected: Option<&'a Expected>,
    /// Whether the page was loaded.
    opened: bool,
    traces: BTreeMap<usize, Trace>,
}

impl Run<'_> {
    /// Opens the page and does all steps, up to the first that fails.
    async fn all(&mut self, url: &str) -> Result<Option<Failure>, Trouble> {
        let reason = match self.tab.open(url, self.page.within.max(LOAD)).await {
            Ok(()) => None,
            Err(Trouble::Failed(reason)) => Some(reason),
            Err(trouble) => return Err(trouble),
        };
        self.tab.read_log().await?;
        // Instead of what cannot be loaded the browser shows a page that it makes.
        let shown = self.tab.script("return location.href", Vec::new()).await?;
        let shows_error = shown
            .as_str()
            .is_some_and(|url| url.starts_with("chrome-error:"));
        let logged = self
            .tab
            .log
            .failed_requests
            .values()
            .next()
            .filter(|_| shows_error);
        if let Some(reason) = logged.cloned().or(reason) {
            if UNREACHABLE.iter().any(|sign| reason.contains(sign)) {
                let message = format!("endpoint `{}` cannot be reached", self.page.endpoint);
                let error =
                    Error::new(ErrorKind::Unavailable, message).with_context("message", reason);
                return Err(Trouble::Error(error));
            }
            let step = format!("open `{}`", self.page.path);
            return Ok(Some(failed(self.tab, step, reason).await));
        }
        self.opened = true;
        for (number, step) in self.page.steps.iter().enumerate() {
            let done = match step.acts() {
                true => self.act(number, step).await,
                false => step.perform(self.tab, self.deadline()).await,
            };
            match done {
                Ok(()) => {}
                Err(Trouble::Failed(reason)) => {
                    return Ok(Some(failed(self.tab, step.to_string(), reason).await));
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(None)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.page.within
    }

    /// Does a step, and sees what it does.
    async fn act(&mut self, number: usize, step: &Step) -> Result<(), Trouble> {
        let hidden = self.page.hidden();
        let before = settled(self.tab, &hidden).await?;
        self.tab.log.requests.clear();
        let deadline = self.deadline();
        step.perform(self.tab, deadline).await?;
        let noise = self.expected.map(|expected| &expected.noise);
        let mut trace = Trace {
            before,
            after: settled(self.tab, &hidden).await?,
            requests: self.tab.log.requests.clone(),
        };
        // What had an effect in the previous release gets the time to have one.
        if let Some(noise) = noise
            && self
                .expected
                .is_some_and(|expected| expected.effects.contains(&number))
        {
            while !trace.has_effect(noise) && Instant::now() < deadline {
                sleep(POLL_EVERY).await; // poll
                trace.after = settled(self.tab, &hidden).await?;
                trace.requests.clone_from(&self.tab.log.requests);
            }
        }
        self.traces.insert(number, trace);
        Ok(())
    }
}

/// Waits until the page is at rest: no request is open, and two looks in a row are the same.
async fn settled(tab: &mut Tab, hidden: &str) -> Result<State, Trouble> {
    let deadline = Instant::now() + SETTLE;
    let mut last = None;
    loop {
        tab.read_log().await?;
        // In the middle of a navigation there is no document to look at.
        let now = match tab.state(hidden).await {
            Ok(state) => Some(state),
            Err(Trouble::Failed(_)) if Instant::now() < deadline => None,
            Err(trouble) => return Err(trouble),
        };
        let shape = now.as_ref().map(State::shape);
        let at_rest = tab.log.is_quiet() && shape.is_some() && shape == last;
        match now {
            Some(now) if at_rest || Instant::now() >= deadline => return Ok(now),
            _ => last = shape,
        }
        sleep(POLL_EVERY).await; // poll
    }
}

/// Looks at the page at its end. A candidate that differs gets a moment to become as expected.
async fn look(
    visit: &mut Visit,
    tab: &mut Tab,
    page: &Page,
    expected: Option<&Expected>,
) -> Result<(), Trouble> {
    let hidden = page.hidden();
    let deadline = Instant::now() + SETTLE;
    visit.state = settled(tab, &hidden).await?;
    if let Some(expected) = expected {
        let differs =
            |state: &State| !text_differences(&expected.state, state, &expected.noise).is_empty();
        while differs(&visit.state) && Instant::now() < deadline {
            sleep(POLL_EVERY).await; // poll
            visit.state = settled(tab, &hidden).await?;
        }
    }
    if let Some(axe) = &page.axe {
        visit.rules = rules(tab, axe).await?;
    }
    visit.boxes = tab.boxes().await?;
    let without = expected.map(|expected| {
        let mut without = expected.without.clone();
        without.extend(visit.noisy_tiles(&expected.noise));
        without
    });
    let old = expected.and_then(|expected| expected.picture.as_ref());
    visit.picture = picture(tab, page, old.zip(without.as_ref())).await?;
    Ok(())
}

/// The page without anything that moves; none if it shows a secret.
async fn picture(
    tab: &Tab,
    page: &Page,
    expected: Option<(&Picture, &Tiles)>,
) -> Result<Option<Picture>, Trouble> {
    let text = "return document.documentElement.innerText";
    let text = tab.script(text, Vec::new()).await?;
    let shown = |secret: &str| text.as_str().is_some_and(|text| text.contains(secret));
    if page.secrets().any(|secret| shown(secret.expose())) {
        return Ok(None);
    }
    tab.style(&format!("{CALM}\n{}\n{}", page.hidden(), page.dotted()))
        .await?;
    tab.script_async(FONTS).await?;
    let read = |png: &[u8]| {
        Picture::read(png)
            .map_err(|error| Trouble::Failed(format!("the picture cannot be read: {error}")))
    };
    let deadline = Instant::now() + SETTLE;
    let mut last = tab.screenshot().await?;
    loop {
        let now = tab.screenshot().await?;
        let late = Instant::now() >= deadline;
        // The encoder is deterministic.
        if now == last || late {
            let picture = read(&now)?;
            let equal =
                |(old, without): (&Picture, &Tiles)| old.difference(&picture, without).pixels == 0;
            if late || expected.is_none_or(equal) {
                return Ok(Some(picture));
            }
        }
        last = now;
    }
}

async fn rules(tab: &Tab, axe: &std::path::Path) -> Result<BTreeMap<String, String>, Trouble> {
    let bad = |what: String| {
        let message = format!("the script of axe `{}` {what}", axe.display());
        Trouble::Error(Error::new(ErrorKind::InvalidInput, message))
    };
    let script =
        std::fs::read_to_string(axe).map_err(|error| bad(format!("cannot be read: {error}")))?;
    tab.script(&script, Vec::new()).await?;
    if tab
        .script("return !!window.axe", Vec::new())
        .await?
        .as_bool()
        != Some(true)
    {
        return Err(bad("defines no `axe`".to_owned()));
    }
    let found = tab.script_async(AXE).await?;
    let Some(found) = found.as_array() else {
        return Err(bad(format!("failed: {found}")));
    };
    let rules = found
        .iter()
        .filter_map(|rule| Some((rule[0].as_str()?.to_owned(), rule[1].as_str()?.to_owned())));
    Ok(rules.collect())
}

async fn failed(tab: &Tab, step: String, reason: String) -> Failure {
    // A page that does not load has neither.
    let url = tab.url().await.unwrap_or_default();
    let state = tab.state("").await.unwrap_or_default();
    Failure {
        step,
        reason,
        url,
        excerpt: state.excerpt(),
    }
}

/// Scheme, host and port.
fn origin(base: &str) -> String {
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}")
}
