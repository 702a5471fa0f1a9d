//! How a browser is started.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Under which names Chromium is installed.
const PROGRAMS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];

/// How a browser is started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrowserOptions {
    /// The browser: a path, or a name that is searched on `PATH`. Default: the first of `chromium`,
    /// `chromium-browser`, `google-chrome-stable` and `google-chrome` that exists.
    pub program: Option<PathBuf>,
    /// Its driver, likewise. Default: `chromedriver`.
    pub driver: PathBuf,
    /// Width and height of the visible part of a page, in CSS pixels. Default: 1280 x 800.
    pub window: (u32, u32),
    /// The language that pages see. Default: `en-US`.
    pub language: String,
    /// Whether the browser isolates its processes. Default: unless it runs as root, where it cannot.
    pub sandbox: bool,
    /// How long a start may take. Default: 120 s.
    pub start_within: Duration,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            program: None,
            driver: PathBuf::from("chromedriver"),
            window: (1280, 800),
            language: "en-US".to_owned(),
            sandbox: !rustix::process::geteuid().is_root(),
            start_within: Duration::from_secs(120),
        }
    }
}

impl BrowserOptions {
    /// Another browser than the one that is installed: a path, or a name on `PATH`.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Another driver: a path, or a name on `PATH`. Its version must be that of the browser.
    #[must_use]
    pub fn with_driver(mut self, driver: impl Into<PathBuf>) -> Self {
        self.driver = driver.into();
        self
    }

    /// Another size of the visible part of a page, in CSS pixels.
    #[must_use]
    pub fn with_window(mut self, width: u32, height: u32) -> Self {
        self.window = (width, height);
        self
    }

    /// Without isolation of the browser's processes: for a container in which the kernel refuses it.
    #[must_use]
    pub fn without_sandbox(mut self) -> Self {
        self.sandbox = false;
        self
    }

    /// The driver and the browser as paths.
    pub(super) fn programs(&self) -> Result<(PathBuf, PathBuf)> {
        let path = env::var_os("PATH").unwrap_or_default();
        let driver = found(&path, &self.driver);
        let browser = match &self.program {
            Some(program) => found(&path, program),
            None => PROGRAMS
                .iter()
                .find_map(|name| found(&path, Path::new(name))),
        };
        let missing = |what: &str, named: String| {
            let message = format!("{what} is not installed: {named} was not found");
            Error::new(ErrorKind::Unavailable, message).with_hint(
                "on Debian: apt-get install --no-install-recommends chromium chromium-driver; or name the \
                 programs in `BrowserOptions`",
            )
        };
        let driver = driver.ok_or_else(|| {
            let named = format!("`{}`", self.driver.display());
            missing("the driver of the browser", named)
        })?;
        let browser = browser.ok_or_else(|| {
            let named = match &self.program {
                Some(program) => format!("`{}`", program.display()),
                None => format!("none of `{}`", PROGRAMS.join("`, `")),
            };
            missing("the browser", named)
        })?;
        Ok((driver, browser))
    }

    /// What the browser is started with.
    pub(super) fn arguments(&self, profile: &Path) -> Vec<String> {
        let (width, height) = self.window;
        let mut arguments: Vec<String> = [
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
            "--hide-scrollbars",
            "--no-first-run",
            "--no-default-browser-check",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-breakpad",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--window-size={width},{height}"));
        arguments.push(format!("--lang={}", self.language));
        arguments.push(format!("--user-data-dir={}", profile.display()));
        if !self.sandbox {
            arguments.push("--no-sandbox".to_owned());
        }
        arguments
    }
}

/// A program by its path, or by its name on `PATH`.
fn found(path: &OsStr, program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let options = BrowserOptions::default().with_driver("/no/such/driver");
        let error = options.programs().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(
            text.contains("`/no/such/driver`") && text.contains("chromium-driver"),
            "{text}"
        );
    }

    #[test]
    fn a_name_is_searched_and_a_path_is_not() {
        let path = OsStr::new("/nowhere:/bin:/usr/bin");
        assert_eq!(found(path, Path::new("sh")), Some(PathBuf::from("/bin/sh")));
        assert_eq!(found(path, Path::new("/nowhere/sh")), None);
        assert_eq!(found(path, Path::new("no-such-program")), None);
    }
}
