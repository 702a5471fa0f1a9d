//! What a person does on a page and expects of it.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::WebElement;
use tokio::time::{Instant, sleep};

use super::tab::{Tab, Trouble};
use crate::secret::Secret;

const POLL_EVERY: Duration = Duration::from_millis(50);

/// A key that has no character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key {
    /// Sends a form.
    Enter,
    /// To the next control.
    Tab,
    /// Closes a dialog of the page.
    Escape,
    /// Toggles a checkbox, presses a button.
    Space,
    /// To the control above.
    ArrowUp,
    /// To the control below.
    ArrowDown,
}

impl Key {
    fn typed(self) -> String {
        let key = match self {
            Self::Enter => thirtyfour::Key::Enter,
            Self::Tab => thirtyfour::Key::Tab,
            Self::Escape => thirtyfour::Key::Escape,
            Self::Space => thirtyfour::Key::Space,
            Self::ArrowUp => thirtyfour::Key::Up,
            Self::ArrowDown => thirtyfour::Key::Down,
        };
        char::from(key).to_string()
    }
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Click(String),
    Fill(String, String),
    FillSecret(String, Secret),
    Press(Key),
    WaitFor(String),
    WaitForText(String, String),
    WaitUntilGone(String),
    ExpectUrl(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Click(css) => write!(f, "click `{css}`"),
            Self::Fill(css, text) => write!(f, "fill `{css}` with `{text}`"),
            Self::FillSecret(css, _) => write!(f, "fill `{css}` with a secret"),
            Self::Press(key) => write!(f, "press {key:?}"),
            Self::WaitFor(css) => write!(f, "wait for `{css}`"),
            Self::WaitForText(css, text) => write!(f, "wait for `{text}` in `{css}`"),
            Self::WaitUntilGone(css) => write!(f, "wait until `{css}` disappears"),
            Self::ExpectUrl(part) => write!(f, "expect `{part}` in the address"),
        }
    }
}

/// The first element of a selector that can be seen, or how many there are of which none can.
const VISIBLE: &str = "
    const all = [...document.querySelectorAll(arguments[0])];
    const seen = all.find(one => one.checkVisibility({ visibilityProperty: true }));
    return seen ? { seen, text: seen.innerText ?? '', select: seen.tagName == 'SELECT' } : { count: all.length };";

/// The texts of the elements of a selector that can be seen.
const TEXTS: &str = "
    return [...document.querySelectorAll(arguments[0])]
        .filter(one => one.checkVisibility({ visibilityProperty: true }))
        .map(one => one.innerText || one.value || '')";

impl Step {
    pub(super) fn selector(&self) -> Option<&str> {
        match self {
            Self::Click(css)
            | Self::Fill(css, _)
            | Self::FillSecret(css, _)
            | Self::WaitFor(css)
            | Self::WaitForText(css, _)
            | Self::WaitUntilGone(css) => Some(css),
            Self::Press(_) | Self::ExpectUrl(_) => None,
        }
    }

    /// Whether it does something, rather than wait.
    pub(super) fn acts(&self) -> bool {
        matches!(
            self,
            Self::Click(_) | Self::Fill(..) | Self::FillSecret(..) | Self::Press(_)
        )
    }

    /// Does the step as soon as the page allows it.
    ///
    /// # Errors
    /// [`Trouble::Failed`] with what was there instead at the deadline.
    pub(super) async fn perform(&self, tab: &Tab, deadline: Instant) -> Result<(), Trouble> {
        loop {
            let reason = match self.attempt(tab).await {
                Ok(None) => return Ok(()),
                Ok(Some(reason)) | Err(Trouble::Failed(reason)) => reason,
                Err(trouble) => return Err(trouble),
            };
            if Instant::now() >= deadline {
                return Err(Trouble::Failed(reason));
            }
            sleep(POLL_EVERY).await; // poll
        }
    }

    /// Why it cannot be done yet, if it cannot.
    async fn attempt(&self, tab: &Tab) -> Result<Option<String>, Trouble> {
        match self {
            Self::Click(css) => {
                let Ok((element, _)) = visible(tab, css).await? else {
                    return absent(tab, css).await;
                };
                tab.command(|| element.click()).await?;
                Ok(None)
            }
            Self::Fill(css, text) => fill(tab, css, text).await,
            Self::FillSecret(css, secret) => fill(tab, css, secret.expose()).await,
            Self::Press(key) => {
                let focused = tab.focused().await?;
                tab.command(|| focused.send_keys(key.typed())).await?;
                Ok(None)
            }
            Self::WaitFor(css) => match visible(tab, css).await? {
                Ok(_) => Ok(None),
                Err(_) => absent(tab, css).await,
            },
            Self::WaitForText(css, text) => {
                let texts = texts(tab, css).await?;
                if texts.iter().any(|one| one.contains(text.as_str())) {
                    return Ok(None);
                }
                if texts.is_empty() {
                    return absent(tab, css).await;
                }
                let there: Vec<String> = texts
                    .iter()
                    .take(3)
                    .map(|text| format!("`{}`", short(text)))
                    .collect();
                Ok(Some(format!("it contains {}", there.join(", "))))
            }
            Self::WaitUntilGone(css) => {
                let seen = visible(tab, css).await?.is_ok();
                Ok(seen.then(|| "it can still be seen".to_owned()))
            }
            Self::ExpectUrl(part) => {
                let url = tab.url().await?;
                Ok((!url.contains(part.as_str())).then(|| format!("it is `{url}`")))
            }
        }
    }
}

/// The first element that can be seen, with whether it is a list to choose from; else how many are hidden.
async fn visible(tab: &Tab, css: &str) -> Result<Result<(WebElement, bool), u64>, Trouble> {
    let mut found = tab.script(VISIBLE, vec![json!(css)]).await?;
    if found["seen"].is_null() {
        return Ok(Err(found["count"].as_u64().unwrap_or(0)));
    }
    let select = found["select"].as_bool() == Some(true);
    Ok(Ok((tab.element(found["seen"].take())?, select)))
}

async fn absent(tab: &Tab, css: &str) -> Result<Option<String>, Trouble> {
    let hidden = match visible(tab, css).await? {
        // It has appeared since.
        Ok(_) => return Ok(Some("it appeared too late".to_owned())),
        Err(hidden) => hidden,
    };
    Ok(Some(match hidden {
        0 => "no element matches".to_owned(),
        count => format!("{count} elements match, and none of them can be seen"),
    }))
}

async fn texts(tab: &Tab, css: &str) -> Result<Vec<String>, Trouble> {
    let texts = tab.script(TEXTS, vec![json!(css)]).await?;
    let texts = texts
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    Ok(texts.map(str::to_owned).collect())
}

async fn fill(tab: &Tab, css: &str, text: &str) -> Result<Option<String>, Trouble> {
    let Ok((element, select)) = visible(tab, css).await? else {
        return absent(tab, css).await;
    };
    if !select {
        tab.command(|| element.clear()).await?;
    }
    tab.command(|| element.send_keys(text.to_owned())).await?;
    Ok(None)
}

/// The begin of a text, on one line.
fn short(text: &str) -> String {
    const MOST: usize = 120;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}
