//! From the services of one release to those of another, and back.

use tokio::time::Instant;

use crate::configuration::Digest;
use crate::context::UpgradeContext;
use crate::error::{Failure, Result};
use crate::finding::Finding;
use crate::ids::Version;
use crate::operation::CONFIGURATION;
use crate::outcome::Outcome;
use crate::runner::deadline::in_time;
use crate::runner::run::StepResult;
use crate::runner::state::Run;
use crate::validator::Verdict;

/// What services are replaced by.
pub(in crate::runner) enum To<'a> {
    /// Those of a release, with the number of instances of the new release that run then.
    Release(&'a Version, u32),
    /// This number of instances of the new release, and otherwise those of the old one.
    First(u32),
}

/// What is found where somebody has edited the files that are to be switched.
const EDITED: &str = "service/configuration-edited";

/// Services that do not come up are a defect of the upgrade, not of the run.
pub(in crate::runner) async fn replace(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    to: To<'_>,
) -> StepResult {
    let before = run.replaced;
    let (subject, count) = match &to {
        To::Release(version, count) => (format!("release {version}"), *count),
        To::First(count) if *count < before => (format!("release {}", run.plan.from), *count),
        To::First(count) => (format!("release {}", run.plan.to), *count),
    };
    let to_new = matches!(&to, To::Release(version, _) if **version == run.plan.to);
    // Should it stop on the way, some of them are of the new release.
    run.replaced = before.max(count);
    let services = run.has(run.environment.services(), "services")?;
    let replaced = match to {
        // Those that serve it already have read the files of before.
        To::Release(version, _) if run.configured.is_some() => services.restart(cx, version).await,
        To::Release(version, _) => services.replace(cx, version).await,
        To::First(count) => {
            let instances = run.has(services.instances(), "instances")?;
            instances.replace_first(cx, count).await
        }
    };
    match in_time(replaced)? {
        Outcome::Done | Outcome::NothingToDo => {
            run.replaced = count;
            if to_new {
                // It is for the record: a good upgrade does not end because of it.
                match services.artifacts(cx, &run.plan.to).await {
                    Ok(artifacts) => run.report.artifacts = artifacts,
                    Err(error) => tracing::warn!(?error, "the artifacts are not known"),
                }
            }
            Ok(Verdict::Pass)
        }
        Outcome::Failed(failure) => Ok(Verdict::Fail(vec![
            Finding::error("service/not-up", subject, why(&failure))
                .with_evidence(format!("{failure:#}")),
        ])),
    }
}

/// Switches the configuration. Files that somebody has edited are a reason to stop, not a defect of the run.
pub(in crate::runner) async fn configure(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    from: &Digest,
    to: &Digest,
) -> StepResult {
    let configuration = run.has(run.environment.configuration(), "configuration")?;
    // Should it stop on the way, either may be live.
    let before = run.configured.replace((from.clone(), to.clone()));
    Ok(match configuration.switch(cx, from, to).await? {
        Outcome::Done | Outcome::NothingToDo => Verdict::Pass,
        Outcome::Failed(failure) => {
            run.configured = before;
            let finding = Finding::error(EDITED, configuration.name(), failure.to_string());
            Verdict::Fail(vec![finding.with_evidence(format!("{failure:#}"))])
        }
    })
}

/// Back to the configuration and the services of the old release, if any instance is of the new one, and by
/// `data` to the old schema and rows.
///
/// The services go first: those of the old release have run on the new schema before, so that
/// users are served all the time. Where they do not start there, they go last.
pub(in crate::runner) async fn go_back<F>(
    run: &mut Run<'_>,
    cx: &UpgradeContext,
    data: F,
) -> Result<Outcome>
where
    F: Future<Output = Result<Outcome>>,
{
    // Both are there before the first of them moves.
    let configuration = match run.configured.clone() {
        Some(digests) => {
            let facet = run.environment.configuration();
            Some((run.has(facet, "configuration")?, digests))
        }
        None => None,
    };
    let switched = configuration.is_some();
    let services = match run.replaced {
        0 if switched => run.environment.services(),
        0 => None,
        _ => Some(run.has(run.environment.services(), "services")?),
    };
    // Where the files cannot be restored, services and data are worth more than to wait for them.
    let mut not_restored = None;
    if let Some((configuration, (old, new))) = configuration {
        match in_time(configuration.switch(cx, &new, &old).await) {
            Ok(Outcome::Failed(failure)) if agrees_to_edits(run) => cx.notice(
                Finding::warning(EDITED, configuration.name(), failure.to_string())
                    .with_evidence(format!("{failure:#}")),
            ),
            failed @ (Ok(Outcome::Failed(_)) | Err(_)) => not_restored = Some(failed),
            Ok(_) => {}
        }
    }
    let Some(services) = services else {
        return match (in_time(data.await), not_restored) {
            (Ok(Outcome::Done | Outcome::NothingToDo), Some(not_restored)) => not_restored,
            (gone_back, _) => gone_back,
        };
    };
    let old = run.plan.from.clone();
    let back = async |cx: &UpgradeContext| match switched {
        true => in_time(services.restart(cx, &old).await),
        false => in_time(services.replace(cx, &old).await),
    };
    // A release that hangs on the new schema leaves time for the data.
    let first = match cx.deadline() {
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            cx.clone().with_deadline(Instant::now() + left / 2)
        }
        None => cx.clone(),
    };
    let refused = match back(&first).await {
        Ok(Outcome::Failed(refused)) => Some(refused),
        Ok(_) => None,
        // Whatever it is, it is tried again after the data.
        Err(error) => Some(Box::new(Failure::from(&error))),
    };
    let notice = |when: &str| {
        let Some(refused) = &refused else { return };
        let message = format!("{when}: {}", why(refused));
        cx.notice(
            Finding::error("service/not-up", format!("release {old}"), message)
                .with_evidence(format!("{refused:#}"))
                .with_help("users are without an answer until then; the old release must start on the new schema, too"),
        );
    };
    // Services that do not start are told also where the rest fails.
    let mut gone_back = in_time(data.await);
    if let (Ok(Outcome::Done | Outcome::NothingToDo), Some(_)) = (&gone_back, &refused) {
        gone_back = back(cx).await;
    }
    match gone_back {
        Ok(Outcome::Done | Outcome::NothingToDo) => {
            notice("start only after the schema was rolled back");
            run.replaced = 0;
            not_restored.unwrap_or(Ok(Outcome::Done))
        }
        failed => {
            notice("do not start on the new schema");
            failed
        }
    }
}

/// Whether somebody has agreed that edited files stay.
fn agrees_to_edits(run: &Run<'_>) -> bool {
    let consent = run.consent.as_ref();
    consent.is_some_and(|to| to.names(CONFIGURATION))
}

/// The first line of what it came from. The evidence has the others.
pub(in crate::runner) fn why(failure: &Failure) -> String {
    let cause = failure.causes.first().cloned();
    let cause = cause.unwrap_or_else(|| failure.to_string());
    let first = cause.lines().next().unwrap_or_default();
    first
        .strip_suffix("; its last lines:")
        .unwrap_or(first)
        .to_owned()
}
