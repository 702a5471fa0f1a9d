//! Clauses on replacing the services.

use upgrade_core::{Environment, ErrorKind, UpgradeContext, Version};

use super::{EnvironmentFixture, prepared};
use crate::conformance::check::{Clause, given};
use crate::conformance::{ClauseFailed, ClauseResult};

const NONE: &str = "it does not declare services";

/// An environment without services has none to replace, and agrees.
///
/// # Errors
/// When the clause does not hold.
pub async fn replace_without_services_agrees(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("replace_without_services_agrees");
    prepared(clause, fixture, async |environment, cx| {
        if environment.capabilities().services {
            return clause.not_applicable("it declares services");
        }
        replace(clause, environment, cx).await?;
        clause.holds()
    })
    .await
}

/// When `replace` returns, the services of that release answer.
///
/// # Errors
/// When the clause does not hold.
pub async fn replace_brings_the_release(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("replace_brings_the_release");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().services {
            return clause.not_applicable(NONE);
        }
        let before = given!(clause.fixture("release", fixture.release(cx).await)?);
        clause.equal("the release after `prepare`", cx.from(), &before)?;
        let cx = replace(clause, environment, cx).await?;
        let after = given!(clause.fixture("release", fixture.release(&cx).await)?);
        clause.equal("the release after `replace`", cx.to(), &after)?;
        clause.holds()
    })
    .await
}

/// `replace`, called again with the same release, changes nothing.
///
/// # Errors
/// When the clause does not hold.
pub async fn replace_again_changes_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("replace_again_changes_nothing");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().services {
            return clause.not_applicable(NONE);
        }
        let cx = replace(clause, environment, cx).await?;
        let before = clause.fixture("state", fixture.state(&cx).await)?;
        let again = replace(clause, environment, &cx).await?;
        clause.that(
            again.endpoints() == cx.endpoints(),
            "the endpoints stay",
            "they changed",
        )?;
        let after = clause.fixture("state", fixture.state(&again).await)?;
        clause.same_text("the state after the first `replace`", &before, &after)?;
        clause.holds()
    })
    .await
}

/// `replace` by a release that the environment does not know is `NotFound`.
///
/// # Errors
/// When the clause does not hold.
pub async fn replace_by_an_unknown_release_is_not_found(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("replace_by_an_unknown_release_is_not_found");
    prepared(clause, fixture, async |environment, cx| {
        if !environment.capabilities().services {
            return clause.not_applicable(NONE);
        }
        let unknown = Version::new("no-such-release");
        let replaced = environment.replace(cx, &unknown).await;
        clause.kind("`replace`", replaced, &[ErrorKind::NotFound])?;
        clause.holds()
    })
    .await
}

/// Replaces by the later release; the context that follows has the endpoints of then.
async fn replace(
    clause: Clause,
    environment: &dyn Environment,
    cx: &UpgradeContext,
) -> Result<UpgradeContext, ClauseFailed> {
    clause.ok("`replace`", environment.replace(cx, cx.to()).await)?;
    Ok(cx.clone().with_endpoints(environment.endpoints()))
}
