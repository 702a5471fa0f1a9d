//! One test case while it runs. The context of its body carries it; whoever makes something on
//! behalf of the test finds here what the test wants and where to leave what must be removed.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use upgrade_core::{Error, ErrorKind, Plan, Report, Result, UpgradeContext};

use crate::report_file::{self, ReportFiles};
use crate::reproduce;
use crate::settings::Settings;
use crate::spec::TestSpec;

/// How many rows each table gets where nothing is said.
pub const DEFAULT_ROWS: u32 = 50;

/// One test case: what its author said, what the environment says, what it has made.
pub struct TestCase {
    spec: TestSpec,
    settings: Settings,
    seed: u64,
    runs: AtomicU32,
    rehearsed: AtomicBool,
    deferred: Mutex<Vec<Deferred>>,
}

/// What to do with something that a test has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    /// Remove it.
    Remove,
    /// The test failed and its user asked to keep what it leaves: release it, and say where it is.
    Keep,
}

pub(crate) struct Deferred {
    pub(crate) what: String,
    pub(crate) act: Box<dyn FnOnce(Disposal) -> LocalBoxFuture<'static, Result<()>> + Send>,
}

impl TestCase {
    /// A case that has not begun.
    pub fn new(spec: TestSpec, settings: Settings) -> Self {
        let seed = spec
            .seed()
            .or(settings.seed)
            .unwrap_or_else(|| derived_seed(&spec));
        Self {
            spec,
            settings,
            seed,
            runs: AtomicU32::new(0),
            rehearsed: AtomicBool::new(false),
            deferred: Mutex::default(),
        }
    }

    /// The case that a context belongs to.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the context was not made for a test.
    pub fn of(cx: &UpgradeContext) -> Result<&Self> {
        cx.extension().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "this context does not belong to a test",
            )
            .with_hint("take the one that `#[upgrade_test]` hands to the function")
        })
    }

    /// The context that the body of the test gets.
    pub fn context(self: &Arc<Self>) -> UpgradeContext {
        let from = self.spec.from().unwrap_or("previous");
        UpgradeContext::new(from, "next")
            .with_seed(self.seed)
            .with_extension(Arc::clone(self) as _)
    }

    /// What the test says about itself.
    pub fn spec(&self) -> &TestSpec {
        &self.spec
    }

    /// What the environment says.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The seed: the option `seed`, else `UPGRADE_TEST_SEED`, else one that follows from the
    /// package and the path of the test, so that it is the same in every run, on every machine, and
    /// in every case of the test: all of them judge the same rows, which are made once.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many rows each table gets: the option `rows`, else `UPGRADE_TEST_ROWS`, else
    /// [`DEFAULT_ROWS`].
    pub fn rows(&self) -> u32 {
        self.spec
            .rows()
            .or(self.settings.rows)
            .unwrap_or(DEFAULT_ROWS)
    }

    /// The line that runs this case again, as it runs now.
    pub fn reproduce(&self) -> String {
        reproduce::command(
            &self.spec,
            self.seed,
            self.settings.rows.filter(|_| self.spec.rows().is_none()),
            &reproduce::test_targets(self.spec.manifest_dir()),
        )
    }

    /// Registers a cleanup that runs on the test's runtime when the test ends, even after a panic, in
    /// reverse order. `what` names it in errors, such as "database `x`". It must finish within
    /// [`DISPOSAL_WITHIN`].
    pub fn defer<F, Fut>(&self, what: impl Into<String>, act: F)
    where
        F: FnOnce(Disposal) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + 'static,
    {
        self.deferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Deferred {
                what: what.into(),
                act: Box::new(move |disposal| act(disposal).boxed_local()),
            });
    }

    /// Remembers that there was a run, or that none is wanted.
    pub(crate) fn has_rehearsed(&self) {
        self.rehearsed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn rehearsed_nothing(&self) -> bool {
        !self.rehearsed.load(Ordering::Relaxed)
    }

    pub(crate) fn next_deferred(&self) -> Option<Deferred> {
        self.deferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    /// Where the reports of this case are written.
    pub fn report_files(&self) -> ReportFiles {
        ReportFiles::new(
            &report_file::folder(&self.settings, &self.spec),
            self.spec.crate_name(),
            &self.spec.path(),
        )
    }

    /// Writes the report of a run, and its plan beside it when it failed. A test that runs several
    /// plans has one report for each, the second with `.2` in its name.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the file that could not be written.
    pub fn record(&self, report: &Report, plan: &Plan) -> Result<PathBuf> {
        self.has_rehearsed();
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        self.report_files().write(run, report, plan)
    }
}

/// How long one thing that was deferred may take.
pub const DISPOSAL_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

fn derived_seed(spec: &TestSpec) -> u64 {
    let hash = blake3::hash(format!("{}::{}", spec.package(), spec.test_path()).as_bytes());
    let (first, _) = hash
        .as_bytes()
        .split_first_chunk()
        .expect("a hash has 32 bytes");
    // 32 bits are plenty, and a seed has to be read and typed.
    u64::from_le_bytes(*first) >> 32
}

impl fmt::Debug for TestCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCase")
            .field("path", &self.spec.path())
            .field("seed", &self.seed)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use upgrade_core::Scenario;

    use super::*;
    use crate::spec::Origin;
    use crate::spec::tests::ORIGIN;

    #[test]
    fn the_test_goes_before_the_environment_and_that_before_the_path() {
        let spec = TestSpec::new(ORIGIN);
        let mut settings = Settings::default();
        let derived = TestCase::new(spec, settings.clone());
        assert_eq!(
            derived.seed(),
            TestCase::new(spec, settings.clone()).seed(),
            "the same in every run"
        );
        for other in [
            spec.with_postgres(15),
            spec.with_scenario(Scenario::RoundTrip),
        ] {
            let other = TestCase::new(other, settings.clone());
            assert_eq!(derived.seed(), other.seed(), "the same rows in every case");
        }
        let module = "shop::db::lines";
        let other = TestSpec::new(Origin { module, ..ORIGIN });
        assert_ne!(
            derived.seed(),
            TestCase::new(other, settings.clone()).seed()
        );
        assert_eq!(derived.rows(), DEFAULT_ROWS);
        settings.seed = Some(3);
        settings.rows = Some(4);
        let case = TestCase::new(spec, settings.clone());
        assert_eq!((case.seed(), case.rows()), (3, 4));
        let case = TestCase::new(spec.with_seed(5).with_rows(6), settings);
        assert_eq!((case.seed(), case.rows()), (5, 6));
    }

    #[test]
    fn a_context_knows_its_case() {
        let case = Arc::new(TestCase::new(
            TestSpec::new(ORIGIN).with_from("v1").with_seed(7),
            Settings::default(),
        ));
        let cx = case.context();
        assert_eq!((cx.seed(), cx.from().as_str()), (7, "v1"));
        assert_eq!(TestCase::of(&cx).unwrap().spec().name(), "orders");
        let error = TestCase::of(&UpgradeContext::new("1", "2")).unwrap_err();
        assert!(error.to_string().contains("#[upgrade_test]"), "{error}");
    }
}
