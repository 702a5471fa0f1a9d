//! One browser that runs, shared by the pages that use it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use thirtyfour::{Capabilities, WebDriver};
use tokio::sync::Mutex;

use super::driver::Driver;
use super::options::BrowserOptions;
use super::page::Page;
use super::tab::Trouble;
use super::wire::Wire;
use crate::error::{Error, ErrorKind, Result};

/// Dismisses the dialogs of every page and writes them to the console: while one is open, a browser answers
/// no command.
const DIALOGS: &str = "
    for (const [kind, answer] of [['alert'], ['confirm', false], ['prompt', null]])
        window[kind] = text => { console.debug('upgrade-dialog ' + kind + ': ' + text); return answer };";

/// After how many crashes a page is given up.
const CRASHES: usize = 2;

/// After how many changes of the machine's networks a page is given up. Chromium aborts requests when one
/// appears or disappears, as those of containers do.
const DISTURBANCES: usize = 10;

/// A browser, which starts when the first page is opened and serves one page at a time.
///
/// Cheap to clone; all clones are the same browser. It ends when the last of them is dropped, and the last
/// [`Page`] with it, or with [`close`](Self::close). If the process is killed, its browser ends with it and the
/// files are removed.
#[derive(Clone)]
pub struct Browser(Arc<Shared>);

struct Shared {
    options: BrowserOptions,
    /// `None` if none runs. Whoever uses a session takes it out: one that a cancelled call leaves in an
    /// unknown state is not used again.
    session: Mutex<Option<Session>>,
}

struct Session {
    web: WebDriver,
    /// Ends the browser.
    _driver: Driver,
}

impl Drop for Session {
    fn drop(&mut self) {
        // The browser is killed: nobody has to say goodbye to it, which would block.
        let _ = self.web.clone().leak();
    }
}

impl Browser {
    /// The browser that is installed. Nothing is started yet.
    pub fn new() -> Self {
        Self::with_options(BrowserOptions::default())
    }

    /// A browser with options. Nothing is started yet.
    pub fn with_options(options: BrowserOptions) -> Self {
        Self(Arc::new(Shared {
            options,
            session: Mutex::new(None),
        }))
    }

    /// What a person does on one page, with a name for reports, the endpoint of the context that serves the
    /// page, and its path: `browser.page("orders", "web", "/orders")`.
    pub fn page(
        &self,
        name: impl Into<String>,
        endpoint: impl Into<String>,
        path: impl Into<String>,
    ) -> Page {
        Page::new(self.clone(), name.into(), endpoint.into(), path.into())
    }

    /// Ends the browser now. The next page starts another one.
    pub async fn close(&self) {
        let session = self.0.session.lock().await.take();
        // The end of its processes is waited for on a thread that may block.
        let _ = tokio::task::spawn_blocking(move || drop(session)).await;
    }

    pub(super) fn options(&self) -> &BrowserOptions {
        &self.0.options
    }

    /// Does something with the session. If the browser crashes, once more with a new one; if something else
    /// interrupts it, again.
    pub(super) async fn with_session<T, F>(&self, act: impl Fn(WebDriver) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, Trouble>>,
    {
        let mut slot = self.0.session.lock().await;
        let (mut crashes, mut disturbances) = (0, 0);
        loop {
            let session = match slot.take() {
                Some(session) => session,
                None => Box::pin(Session::start(&self.0.options)).await?,
            };
            match act(session.web.clone()).await {
                Ok(done) => {
                    *slot = Some(session);
                    return Ok(done);
                }
                Err(Trouble::Error(error)) => {
                    *slot = Some(session);
                    return Err(error);
                }
                Err(Trouble::Disturbed(reason)) => {
                    *slot = Some(session);
                    disturbances += 1;
                    if disturbances == DISTURBANCES {
                        let message = "the networks of this machine change too often for a browser";
                        return Err(Error::new(ErrorKind::Unavailable, message)
                            .with_context("message", reason)
                            .with_hint("start and stop no containers while pages are judged"));
                    }
                }
                Err(Trouble::Failed(reason) | Trouble::Crashed(reason)) => {
                    tracing::warn!(reason, "the browser is replaced");
                    crashes += 1;
                    if crashes == CRASHES {
                        return Err(Error::new(ErrorKind::Unavailable, "the browser crashed twice")
                            .with_context("message", reason)
                            .with_hint(
                                "a browser needs about 1 GiB of memory; the log of the kernel shows whether it was killed",
                            ));
                    }
                }
            }
        }
    }
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Browser").field(&self.0.options).finish()
    }
}

impl Session {
    async fn start(options: &BrowserOptions) -> Result<Self> {
        let (driver, program) = options.programs()?;
        let driver = Driver::start(&driver, options.start_within).await?;
        let capabilities = capabilities(options, &program, &driver);
        let connecting = WebDriver::builder(driver.url(), capabilities)
            .client(Wire::new())
            .connect();
        let failed = |what: String| {
            Error::new(ErrorKind::Unavailable, format!("the browser `{}` {what}", program.display()))
                .with_hint("its version must be that of the driver; in a container it may need `BrowserOptions::without_sandbox`")
        };
        let web = match tokio::time::timeout(options.start_within, Box::pin(connecting)).await {
            Ok(Ok(web)) => web,
            Ok(Err(error)) => {
                return Err(failed("did not start".to_owned())
                    .with_source(error)
                    .with_context("output", driver.log().trim().to_owned()));
            }
            Err(_) => {
                return Err(failed(format!(
                    "did not start within {:?}",
                    options.start_within
                )));
            }
        };
        let session = Self {
            web,
            _driver: driver,
        };
        let method = "Page.addScriptToEvaluateOnNewDocument";
        let dialogs = session.web.cdp();
        let dialogs = dialogs.send_raw(method, json!({ "source": DIALOGS }));
        match tokio::time::timeout(options.start_within, dialogs).await {
            Ok(Ok(_)) => Ok(session),
            _ => Err(failed("ended at once".to_owned())),
        }
    }
}

fn capabilities(
    options: &BrowserOptions,
    program: &std::path::Path,
    driver: &Driver,
) -> Capabilities {
    let wanted = json!({
        "browserName": "chrome",
        // The question of a page that is left.
        "unhandledPromptBehavior": "accept",
        "pageLoadStrategy": "none",
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        "goog:chromeOptions": {
            "binary": program,
            "args": options.arguments(&driver.profile()),
        },
    });
    match wanted {
        Value::Object(wanted) => Capabilities::from(wanted),
        _ => Capabilities::new(),
    }
}
