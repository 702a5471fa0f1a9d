//! To whom a real system belongs: looked at before the first change, written, and given up at the end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::deadline::within_reach;
use super::run::StepResult;
use super::state::Run;
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Phase;
use crate::journal::{Standing, State};
use crate::operation::World;
use crate::validator::Verdict;

/// Takes the system: refuses one that belongs to another operation, or that is not what it has to be, and
/// writes to whom it belongs from now on.
pub(super) async fn attach(run: &mut Run<'_>, cx: &UpgradeContext) -> StepResult {
    run.environment.prepare(cx).await?;
    let cx = cx.clone().with_endpoints(run.environment.endpoints());
    let ours = refuse_others(run, &cx).await?;
    if let Some(world) = &run.world {
        world.refuse_unless(&World::read(run.upgrade, run.environment, &cx).await?)?;
    }
    if !ours {
        write(run, &cx).await?;
    }
    run.attached = true;
    Ok(Verdict::Pass)
}

/// Whether the claim of this journal is there already.
async fn refuse_others(run: &mut Run<'_>, cx: &UpgradeContext) -> Result<bool> {
    let Some(claims) = run.environment.claims() else {
        return Ok(false);
    };
    let Some(claim) = claims.claimed(cx).await? else {
        return match run.goes_on && run.claims {
            true => Err(not_claimed(run.environment.name())),
            false => Ok(false),
        };
    };
    let id = match &run.journal {
        Some(journal) => Some(journal.id().await),
        None => None,
    };
    run.claimed = id.is_some_and(|id| id == claim.journal);
    match run.claimed {
        true => Ok(true),
        false => Err(claim.refusal(run.environment.name())),
    }
}

async fn write(run: &mut Run<'_>, cx: &UpgradeContext) -> Result<()> {
    let (Some(claims), Some(journal), true) = (run.environment.claims(), &run.journal, run.claims)
    else {
        return Ok(());
    };
    let claim = journal.claim().await;
    // Before the call: one that was cut off may have written it.
    run.claimed = true;
    claims.claim(cx, &claim).await
}

/// The error of a system that an operation has not begun with.
fn not_claimed(system: &str) -> Error {
    let message =
        format!("`{system}` does not bear the claim of this operation, and nothing was done to it");
    Error::new(ErrorKind::Refused, message).with_hint(
        "is it the system that was upgraded, and not restored from a backup since? Look first; if it is the \
         right one, go on without a claim (`without_claim`)",
    )
}

/// Gives the claim up where the upgrade is over, or nothing of it is there.
///
/// # Errors
/// Those of [`Claims::release`](crate::environment::Claims::release): the system is still claimed then.
pub(super) async fn release_if_over(run: &Run<'_>, cx: &UpgradeContext) -> Result<()> {
    let Some(journal) = run.journal.as_ref().filter(|_| run.attached || run.claimed) else {
        return Ok(());
    };
    let standing = Standing::of(&journal.records().await);
    let untouched = standing.state == State::Nothing && standing.kept.is_empty();
    if !(standing.state.is_over() || untouched) || standing.interrupted.is_some() {
        return Ok(());
    }
    let cx = run
        .context(cx, Phase::Teardown, Duration::from_secs(60))
        .with_cancellation(CancellationToken::new());
    // Whoever gives an upgrade up as it is may need the previous files.
    let given_up = standing.state == State::Aborted && standing.configured.is_some();
    if let Some(configuration) = run.environment.configuration().filter(|_| !given_up) {
        let forgetting = configuration.forget(&cx);
        let what = "give up what was kept of the configuration";
        within_reach(&cx, what, forgetting)
            .await
            .map_err(|error| error.with_hint("the upgrade is over: `resume` tries it again"))?;
    }
    let Some(claims) = run.environment.claims().filter(|_| run.claimed) else {
        return Ok(());
    };
    let released = within_reach(&cx, "release the claim", claims.release(&cx)).await;
    released.map_err(|error| {
        error
            .with_hint("the upgrade is over, and the system is still claimed: `resume` releases it")
    })
}
