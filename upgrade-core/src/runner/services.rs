//! From the services of one release to those of another, and back.

use super::run::{Run, StepResult};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::validator::{Finding, Verdict};
use crate::version::Version;

/// What services are replaced by.
pub(super) enum To<'a> {
    /// Those of a release, which has so many instances of the new one.
    Release(&'a Version, u32),
    /// So many instances of the new release, and else those of the old one.
    First(u32),
}

/// Services that do not come up are a defect of the upgrade, not of the run.
pub(super) async fn replace(run: &mut Run<'_>, cx: &UpgradeContext, to: To<'_>) -> StepResult {
    let before = run.replaced;
    let (subject, count) = match &to {
        To::Release(version, count) => (format!("release {version}"), *count),
        To::First(count) if *count < before => (format!("release {}", run.plan.from), *count),
        To::First(count) => (format!("release {}", run.plan.to), *count),
    };
    // Should it stop on the way, some of them are of the new release.
    run.replaced = before.max(count);
    let replaced = match to {
        To::Release(version, _) => run.environment.replace(cx, version).await,
        To::First(count) => run.environment.replace_first(cx, count).await,
    };
    match replaced {
        Ok(()) => {
            run.replaced = count;
            Ok(Verdict::Pass)
        }
        Err(error) if is_judgement(&error) => Ok(Verdict::Fail(vec![
            Finding::error("services-not-up", subject, why(&error))
                .with_evidence(format!("{error:?}")),
        ])),
        Err(error) => Err(error),
    }
}

/// Back to the services of the old release, if any instance is of the new one, and by `data` to
/// the old schema and rows.
///
/// The services go first: those of the old release have run on the new schema before, so that
/// users are served all the time. Where they do not start there, they go last.
pub(super) async fn go_back<F>(run: &mut Run<'_>, cx: &UpgradeContext, data: F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    if run.replaced == 0 {
        return data.await;
    }
    let old = run.plan.from.clone();
    let first = run.environment.replace(cx, &old).await;
    match &first {
        Err(error) if !is_judgement(error) => return first,
        _ => {}
    }
    data.await?;
    if let Err(refused) = first {
        run.environment.replace(cx, &old).await?;
        let refused_by = why(&refused);
        let message = format!("start only after the schema has gone back: {refused_by}");
        cx.notice(
            Finding::error("services-not-up", format!("release {old}"), message)
                .with_evidence(format!("{refused:?}"))
                .with_help("users are without an answer until then; the old release must start on the new schema, too"),
        );
    }
    run.replaced = 0;
    Ok(())
}

/// The first line of what it came from. The evidence has the others.
pub(super) fn why(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let cause = cause.unwrap_or_else(|| error.to_string());
    let first = cause.lines().next().unwrap_or_default();
    first
        .strip_suffix("; its last lines:")
        .unwrap_or(first)
        .to_owned()
}

/// Whether an error says that the services are bad, not that we could not tell.
pub(super) fn is_judgement(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Environment | ErrorKind::Timeout)
}
