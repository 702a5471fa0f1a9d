//! Runs one case: a runtime, the body, what was deferred, and a panic that can be read.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use upgrade_core::Error;

use crate::case::{DISPOSAL_WITHIN, Deferred, Disposal, TestCase};
use crate::display::print;
use crate::function::Body;
use crate::settings::Settings;
use crate::spec::TestSpec;

/// How long work on other threads may hold up the end of a test.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(10);

/// A test that proves nothing must not read like one that has.
const NOTHING: &str = "nothing was rehearsed: the test passed without a run of the upgrade \
    (await `cx.upgrade().rehearse()`, or say `cx.rehearses_nothing()` where that is meant)";

/// Runs one case to its end.
///
/// # Panics
/// When the test fails: with its own panic, or with the error that it gave.
#[track_caller]
pub fn run(body: Body, spec: TestSpec) {
    let failure = match prepare(spec) {
        Ok((case, runtime)) => {
            let failure = attempt(&case, &runtime, body);
            runtime.shutdown_timeout(SHUTDOWN_WITHIN);
            failure
        }
        Err(error) => Some(Failure::Said(format!("{error:?}"))),
    };
    match failure {
        None => {}
        // The hook has printed it already; `#[should_panic]` sees the original.
        Some(Failure::Panicked(payload)) => panic::resume_unwind(payload),
        Some(Failure::Said(message)) => panic!("{message}"),
    }
}

enum Failure {
    Panicked(Box<dyn Any + Send>),
    Said(String),
}

fn prepare(spec: TestSpec) -> Result<(Arc<TestCase>, Runtime), Error> {
    let case = Arc::new({
        let settings = Settings::of_package(Path::new(spec.manifest_dir()))?;
        TestCase::new(spec, settings)
    });
    case.report_files().clear()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok((case, runtime))
}

fn attempt(case: &Arc<TestCase>, runtime: &Runtime, body: Body) -> Option<Failure> {
    let cx = case.context();
    let result = guarded(|| runtime.block_on(async { (body.0)(cx).await }));
    let mut failure = match result {
        Ok(Ok(())) => case
            .rehearsed_nothing()
            .then(|| Failure::Said(NOTHING.to_owned())),
        Ok(Err(message)) => Some(Failure::Said(message)),
        Err(payload) => Some(Failure::Panicked(payload)),
    };
    let disposal = match failure {
        Some(_) if case.settings().keep => Disposal::Keep,
        _ => Disposal::Remove,
    };
    while let Some(deferred) = case.next_deferred() {
        if let Err(message) = dispose(runtime, deferred, disposal) {
            print(&message);
            failure.get_or_insert(Failure::Said(message));
        }
    }
    if let Some(failure) = &failure {
        let line = case.reproduce();
        // The report of a run ends with the line.
        if !matches!(failure, Failure::Said(message) if message.contains(&line)) {
            print(&format!("to run it again: {line}"));
        }
    }
    failure
}

fn dispose(runtime: &Runtime, deferred: Deferred, disposal: Disposal) -> Result<(), String> {
    let Deferred { what, act } = deferred;
    let ended = guarded(|| {
        runtime.block_on(async { tokio::time::timeout(DISPOSAL_WITHIN, act(disposal)).await })
    });
    match ended {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(format!("the test did not remove {what}: {error:?}")),
        Ok(Err(_)) => Err(format!(
            "the test did not remove {what}: the cleanup timed out after {DISPOSAL_WITHIN:?}"
        )),
        Err(_) => Err(format!(
            "the test did not remove {what}: its cleanup panicked"
        )),
    }
}

/// Nothing that a panic may have left half done is looked at again, but the list of what is
/// deferred, and that is behind a lock.
fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    panic::catch_unwind(AssertUnwindSafe(act))
}
