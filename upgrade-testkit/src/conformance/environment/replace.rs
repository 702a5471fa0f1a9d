//! Clauses on replacing the services.

use upgrade_core::environment::{Instances, Services};
use upgrade_core::{Environment, ErrorKind, UpgradeContext, Version};

use super::{EnvironmentFixture, prepared};
use crate::conformance::check::{Clause, facet, given};
use crate::conformance::{Case, ClauseFailed, ClauseResult};

const NONE: &str = "it has no services";
const AT_ONCE: &str = "it replaces all instances at once";

/// When `replace` returns, the services of that release answer, and `running` names it, where it names any. So it
/// is after a `restart`.
///
/// # Errors
/// When the clause does not hold.
pub async fn replace_brings_the_release(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("replace_brings_the_release");
    prepared(clause, fixture, async |environment, cx| {
        let services = facet!(clause, environment.services(), NONE);
        let before = given!(clause.fixture("releases", fixture.releases(cx).await)?);
        let old = vec![cx.from().clone(); before.len().max(1)];
        clause.equal("the releases after `prepare`", &old, &before)?;
        let cx = replace(clause, environment, services, cx).await?;
        let after = given!(clause.fixture("releases", fixture.releases(&cx).await)?);
        let new = vec![cx.to().clone(); after.len().max(1)];
        clause.equal("the releases after `replace`", &new, &after)?;
        runs(clause, services, &cx).await?;
        let artifacts = clause.ok("`artifacts`", services.artifacts(&cx, cx.to()).await)?;
        clause.done("`restart`", services.restart(&cx, cx.to()).await)?;
        let cx = cx.with_endpoints(environment.endpoints());
        let after = given!(clause.fixture("releases", fixture.releases(&cx).await)?);
        clause.equal("the releases after `restart`", &new, &after)?;
        runs(clause, services, &cx).await?;
        let again = clause.ok("`artifacts`", services.artifacts(&cx, cx.to()).await)?;
        clause.that(
            again == artifacts,
            "the same artifacts",
            format!("{again:?}"),
        )?;
        clause.holds()
    })
    .await
}

/// After `replace_first` the given number of instances are of the later release, and the others of
/// the earlier one.
///
/// # Errors
/// When the clause does not hold.
pub async fn replace_first_brings_so_many(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("replace_first_brings_so_many");
    prepared(clause, fixture, async |environment, cx| {
        let services = facet!(clause, environment.services(), NONE);
        let all = facet!(clause, services.instances(), AT_ONCE);
        let instances = all.count();
        clause.that(instances > 0, "`count` is 1 at least", "it is 0")?;
        for count in 1..=instances {
            let new =
                given!(so_many_are_new(clause, fixture, (environment, all), cx, count).await?);
            clause.equal("the instances of the later release", &count, &new)?;
        }
        clause.holds()
    })
    .await
}

/// `replace_first` with a smaller number brings the earlier release back, with 0 everywhere; more
/// than there are is all of them.
///
/// # Errors
/// When the clause does not hold.
pub async fn replace_first_goes_both_ways(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("replace_first_goes_both_ways");
    prepared(clause, fixture, async |environment, cx| {
        let services = facet!(clause, environment.services(), NONE);
        let all = facet!(clause, services.instances(), AT_ONCE);
        let instances = all.count();
        clause.that(instances > 0, "`count` is 1 at least", "it is 0")?;
        for count in [instances + 1, instances - 1, 0] {
            let new =
                given!(so_many_are_new(clause, fixture, (environment, all), cx, count).await?);
            let expected = count.min(instances);
            clause.equal("the instances of the later release", &expected, &new)?;
        }
        clause.holds()
    })
    .await
}

/// How many instances are those of the later release, after it has been said how many should be.
async fn so_many_are_new(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    (environment, all): (&dyn Environment, &dyn Instances),
    cx: &UpgradeContext,
    count: u32,
) -> Result<Case<u32>, ClauseFailed> {
    clause.done("`replace_first`", all.replace_first(cx, count).await)?;
    let cx = cx.clone().with_endpoints(environment.endpoints());
    Ok(
        match clause.fixture("releases", fixture.releases(&cx).await)? {
            Case::Given(found) => {
                let new = found.iter().filter(|release| *release == cx.to()).count();
                Case::Given(u32::try_from(new).unwrap_or(u32::MAX))
            }
            Case::NotApplicable(reason) => Case::NotApplicable(reason),
        },
    )
}

/// `running` names the later release for each service that it names.
async fn runs(
    clause: Clause,
    services: &dyn Services,
    cx: &UpgradeContext,
) -> Result<(), ClauseFailed> {
    let running = clause.ok("`running`", services.running(cx).await)?;
    let of_it = |release: &Option<Version>| release.as_ref() == Some(cx.to());
    clause.that(
        running.values().all(of_it),
        format!("each service to run {}", cx.to()),
        format!("{running:?}"),
    )
}

/// `replace`, called again with the same release, changes nothing.
///
/// # Errors
/// When the clause does not hold.
pub async fn replace_again_changes_nothing(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("replace_again_changes_nothing");
    prepared(clause, fixture, async |environment, cx| {
        let services = facet!(clause, environment.services(), NONE);
        let cx = replace(clause, environment, services, cx).await?;
        let before = clause.fixture("state", fixture.state(&cx).await)?;
        let again = replace(clause, environment, services, &cx).await?;
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
        let services = facet!(clause, environment.services(), NONE);
        let unknown = Version::new("no-such-release");
        let replaced = services.replace(cx, &unknown).await;
        clause.kind("`replace`", replaced, &[ErrorKind::NotFound])?;
        clause.holds()
    })
    .await
}

/// Replaces by the later release; the context that follows has the endpoints of then.
async fn replace(
    clause: Clause,
    environment: &dyn Environment,
    services: &dyn Services,
    cx: &UpgradeContext,
) -> Result<UpgradeContext, ClauseFailed> {
    clause.done("`replace`", services.replace(cx, cx.to()).await)?;
    Ok(cx.clone().with_endpoints(environment.endpoints()))
}
