//! The tab in which a page is open: commands, with what can go wrong with them, and what they log.

use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::error::{WebDriverError, WebDriverErrorInner, WebDriverResult};
use thirtyfour::{TimeoutConfiguration, WebDriver, WebElement};
use tokio::time::{Instant, sleep};

use super::log::Log;
use super::picture::Region;
use super::state::State;
use crate::error::Error;

/// How long the driver may need beyond the time that a page has.
const SLACK: Duration = Duration::from_secs(60);

/// Why a command came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The page is not as the command needs it.
    Failed(String),
    /// The browser does not work.
    Crashed(String),
    /// Something else on the machine interrupted the page.
    Disturbed(String),
    /// The question could not be asked.
    Error(Error),
}

/// Hides what is not compared and what must not be seen while it is there. A style sheet of this kind is no
/// part of the document, so the scripts of the page do not notice it.
const STYLE: &str = "
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter(sheet => !sheet.upgrade);
    if (arguments[0]) {
        const sheet = new CSSStyleSheet();
        sheet.upgrade = true;
        sheet.replaceSync(arguments[0]);
        document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    }";

/// Each text in the visible part of a page, with its place.
const BOXES: &str = "
    const found = [], range = document.createRange();
    const walker = document.createTreeWalker(document.body ?? document, NodeFilter.SHOW_TEXT);
    while (walker.nextNode() && found.length < 2000) {
        const text = walker.currentNode.textContent.trim().replace(/\\s+/g, ' ');
        range.selectNodeContents(walker.currentNode);
        const at = range.getBoundingClientRect();
        if (text && at.width && at.top < innerHeight && at.bottom > 0)
            found.push([text, at.left, at.top, Math.min(at.width, innerWidth) + 1, Math.min(at.height, innerHeight) + 1]);
    }
    return found";

const BLANK: &str = "about:blank";

const POLL_EVERY: Duration = Duration::from_millis(50);

/// Elements in a document, counted.
const COUNT: &str = "return document.getElementsByTagName('*').length";

/// How many elements a page may have: the description of a larger one would not fit into memory.
const MOST_ELEMENTS: u64 = 50_000;

#[derive(Debug)]
pub(super) struct Tab {
    web: WebDriver,
    pub(super) log: Log,
    /// Scheme, host and port of the page's server, which differ between systems.
    origin: String,
    /// How long one command may take.
    within: Duration,
}

impl Tab {
    /// Takes the only tab of a session, without what other pages left in the browser.
    pub(super) async fn take(
        web: WebDriver,
        origin: &str,
        within: Duration,
        (width, height): (u32, u32),
    ) -> Result<Self, Trouble> {
        let mut tab = Self {
            web,
            log: Log::default(),
            origin: origin.to_owned(),
            within,
        };
        tab.open(BLANK, SLACK).await?;
        let all = json!({ "origin": origin, "storageTypes": "all" });
        tab.devtools("Storage.clearDataForOrigin", all).await?;
        tab.devtools("Network.clearBrowserCookies", json!({}))
            .await?;
        tab.devtools("Network.clearBrowserCache", json!({})).await?;
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        tab.devtools("Emulation.setDeviceMetricsOverride", size)
            .await?;
        let times = TimeoutConfiguration::new(Some(within), None, None);
        tab.command(|| tab.web.update_timeouts(times.clone()))
            .await?;
        // What earlier pages logged.
        tab.read_log().await?;
        tab.log = Log::default();
        Ok(tab)
    }

    pub(super) async fn command<T, F>(&self, run: impl Fn() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = WebDriverResult<T>>,
    {
        match tokio::time::timeout(self.within + SLACK, run()).await {
            Ok(result) => result.map_err(|error| trouble(&error)),
            Err(_) => Err(Trouble::Crashed("the browser does not answer".to_owned())),
        }
    }

    /// Opens an address and waits until it is loaded. The driver does not wait: it loses track when several
    /// things happen at once.
    pub(super) async fn open(&self, url: &str, within: Duration) -> Result<(), Trouble> {
        let deadline = Instant::now() + within;
        self.command(|| self.web.goto(url.to_owned())).await?;
        loop {
            let now = "return [location.href == 'about:blank', document.readyState]";
            // Between two documents there is none.
            match self.script(now, Vec::new()).await {
                Ok(now) if now == json!([url == BLANK, "complete"]) => return Ok(()),
                Ok(_) | Err(Trouble::Failed(_)) => {}
                Err(trouble) => return Err(trouble),
            }
            if Instant::now() >= deadline {
                self.stop().await?;
                return Err(Trouble::Failed(format!(
                    "it is not loaded after {within:?}"
                )));
            }
            sleep(POLL_EVERY).await; // poll
        }
    }

    /// Ends loading.
    async fn stop(&self) -> Result<(), Trouble> {
        match self.devtools("Page.stopLoading", json!({})).await {
            Ok(_) | Err(Trouble::Failed(_)) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    pub(super) async fn script(&self, code: &str, arguments: Vec<Value>) -> Result<Value, Trouble> {
        self.command(|| async {
            let result = self.web.execute(code.to_owned(), arguments.clone()).await?;
            Ok(result.json().clone())
        })
        .await
    }

    /// A script that calls its last argument when it is done.
    pub(super) async fn script_async(&self, code: &str) -> Result<Value, Trouble> {
        self.command(|| async {
            let result = self.web.execute_async(code.to_owned(), Vec::new()).await?;
            Ok(result.json().clone())
        })
        .await
    }

    async fn devtools(&self, method: &str, parameters: Value) -> Result<Value, Trouble> {
        self.command(|| async { self.web.cdp().send_raw(method, &parameters).await })
            .await
    }

    /// The element that a script returned.
    pub(super) fn element(&self, value: Value) -> Result<WebElement, Trouble> {
        WebElement::from_json(value, self.web.handle().clone())
            .map_err(|error| Trouble::Failed(first_line(&error)))
    }

    pub(super) async fn focused(&self) -> Result<WebElement, Trouble> {
        self.command(|| self.web.active_element()).await
    }

    pub(super) async fn url(&self) -> Result<String, Trouble> {
        let url = self.command(|| self.web.current_url()).await?;
        Ok(self.without_origin(url.as_str()))
    }

    /// A text in which the server of the page has no name.
    pub(super) fn without_origin(&self, text: &str) -> String {
        let host = self.origin.split_once("://").map_or("", |(_, host)| host);
        let text = text.replace(&self.origin, "");
        if host.is_empty() {
            text
        } else {
            text.replace(host, "HOST")
        }
    }

    /// Takes what the browser has logged since the last time into [`log`](Self::log).
    pub(super) async fn read_log(&mut self) -> Result<(), Trouble> {
        let console = self.command(|| self.web.get_log("browser")).await?;
        let events = self.command(|| self.web.get_log("performance")).await?;
        let origin = self.origin.clone();
        for entry in console {
            self.log.console(
                &entry.level,
                entry.source.as_deref(),
                &entry.message,
                &origin,
            );
        }
        for entry in events {
            self.log.event(&entry.message, &origin);
        }
        Ok(())
    }

    /// What a person perceives now, without what the selectors name.
    pub(super) async fn state(&self, hidden: &str) -> Result<State, Trouble> {
        let count = self.script(COUNT, Vec::new()).await?.as_u64().unwrap_or(0);
        if count > MOST_ELEMENTS {
            return Err(Trouble::Failed(format!(
                "the page has {count} elements, and at most {MOST_ELEMENTS} can be judged"
            )));
        }
        if !hidden.is_empty() {
            self.style(hidden).await?;
        }
        let tree = self
            .devtools("Accessibility.getFullAXTree", json!({}))
            .await?;
        if !hidden.is_empty() {
            self.style("").await?;
        }
        let url = self.url().await?;
        Ok(State::read(&tree, url, &|text| self.without_origin(text)))
    }

    /// The texts that can be seen, with where they are.
    pub(super) async fn boxes(&self) -> Result<Vec<(String, Region)>, Trouble> {
        let found = self.script(BOXES, Vec::new()).await?;
        let found = found.as_array().into_iter().flatten().filter_map(|one| {
            let at = |index: usize| Some(one[index].as_f64()?.max(0.0) as u32);
            let region = Region {
                x: at(1)?,
                y: at(2)?,
                width: at(3)?,
                height: at(4)?,
            };
            Some((self.without_origin(one[0].as_str()?), region))
        });
        Ok(found.collect())
    }

    /// Applies a style beside those of the page; an empty one removes it.
    pub(super) async fn style(&self, css: &str) -> Result<(), Trouble> {
        self.script(STYLE, vec![json!(css)]).await.map(drop)
    }

    pub(super) async fn screenshot(&self) -> Result<Vec<u8>, Trouble> {
        self.command(|| self.web.screenshot_as_png()).await
    }
}

fn trouble(error: &WebDriverError) -> Trouble {
    use WebDriverErrorInner as Inner;

    let text = first_line(error);
    let crashed = match error.as_inner() {
        Inner::InvalidSessionId(_)
        | Inner::NoSuchWindow(_)
        | Inner::RequestFailed(_)
        | Inner::HttpError(_) => true,
        _ => [
            "crashed",
            "disconnected",
            "not connected to DevTools",
            "chrome not reachable",
        ]
        .iter()
        .any(|sign| text.contains(sign)),
    };
    if crashed {
        Trouble::Crashed(text)
    } else {
        Trouble::Failed(text)
    }
}

/// What the driver reports, without the version of the browser and the stack of the driver.
fn first_line(error: &WebDriverError) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let lines = lines
        .take_while(|line| !line.starts_with("(Session info") && !line.starts_with("Stacktrace"));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}
