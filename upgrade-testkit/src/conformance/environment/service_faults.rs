//! Clauses on faults of single containers.

use upgrade_core::environment::ServiceFaults;
use upgrade_core::fault::{FaultKind, ServiceFault, Site};
use upgrade_core::{ErrorKind, UpgradeContext, Version};

use super::{EnvironmentFixture, prepared};
use crate::conformance::check::{Clause, facet, given};
use crate::conformance::{Case, ClauseFailed, ClauseResult};

const NONE: &str = "it has no faults of services";
const NOBODY: &str = "no service can be killed";
const LABEL: &str = "before a fault";

/// Where faults can be injected is known before `prepare`, and no other release is known.
///
/// # Errors
/// When the clause does not hold.
pub async fn fault_sites_are_known_beforehand(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("fault_sites_are_known_beforehand");
    let new = clause.fixture("make", fixture.make().await)?;
    let release = fixture.context().from().clone();
    let sites = |release| {
        let faults = new.service_faults();
        faults.map_or(Ok(Vec::new()), |faults| faults.sites(release))
    };
    let before = clause.ok("`sites` before `prepare`", sites(&release));
    let unknown = sites(&Version::new("no such release"));
    // Whether that can be done without `prepare` is another clause's matter.
    let _ = new.teardown(&fixture.context()).await;
    let before = before?;
    prepared(clause, fixture, async |environment, cx| {
        let faults = facet!(clause, environment.service_faults(), NONE);
        clause.kind(
            "`sites` of an unknown release",
            unknown,
            &[ErrorKind::NotFound],
        )?;
        let after = clause.ok("`sites`", faults.sites(cx.from()))?;
        clause.equal("the sites before `prepare`", &after, &before)?;
        clause.holds()
    })
    .await
}

/// A service that is killed does not answer until it recovers, and then it answers as before.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_fault_lasts_until_it_is_recovered_from(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_fault_lasts_until_it_is_recovered_from");
    prepared(clause, fixture, async |environment, cx| {
        let faults = facet!(clause, environment.service_faults(), NONE);
        let kills = given!(kills(clause, faults, cx)?);
        let before = given!(clause.fixture("releases", fixture.releases(cx).await)?);
        let state = clause.fixture("state", fixture.state(cx).await)?;
        let mut seen = false;
        for fault in &kills {
            inject(clause, faults, cx, fault).await?;
            seen |= match fixture.releases(cx).await {
                Ok(Case::Given(found)) => found.len() < before.len(),
                // It is so much there that nobody can be asked.
                _ => true,
            };
            clause.done(
                &format!("`recover` of `{fault}`"),
                faults.recover(cx, fault).await,
            )?;
            answers(clause, fixture, cx, &before, "recovered").await?;
        }
        clause.that(
            seen,
            "an instance that is killed does not answer",
            format!("all {} answer", before.len()),
        )?;
        let after = clause.fixture("state", fixture.state(cx).await)?;
        clause.same_text("the state before the faults", &state, &after)?;
        clause.holds()
    })
    .await
}

/// A fault of a container that is not there is not found, one where it cannot be injected is
/// unsupported, and a second one of the same container is refused.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_fault_that_cannot_be_injected_is_refused(
    fixture: &dyn EnvironmentFixture,
) -> ClauseResult {
    let clause = Clause("a_fault_that_cannot_be_injected_is_refused");
    prepared(clause, fixture, async |environment, cx| {
        let faults = facet!(clause, environment.service_faults(), NONE);
        let kills = given!(kills(clause, faults, cx)?);
        let sites = clause.ok("`sites`", faults.sites(cx.from()))?;
        let replicas = |service: &str| sites.iter().find(|site| site.service == service);
        for fault in &kills {
            let most = replicas(&fault.service).map_or(0, |site| site.replicas);
            let nobody = fault.clone().of_replica(most + 1);
            let injected = faults.inject(cx, &nobody).await;
            clause.kind(
                &format!("`inject` of `{nobody}`"),
                injected,
                &[ErrorKind::NotFound],
            )?;
        }
        for site in sites.iter().filter(|site| site.closed.is_some()) {
            let fault = ServiceFault::new(site.kind, &site.service);
            let injected = faults.inject(cx, &fault).await;
            let call = format!("`inject` of `{fault}`, which is closed");
            clause.kind(&call, injected, &[ErrorKind::Unsupported])?;
        }
        let Some(fault) = kills.first() else {
            return clause.not_applicable(NOBODY);
        };
        inject(clause, faults, cx, fault).await?;
        let again = faults.inject(cx, fault).await;
        let recovered = faults.recover(cx, fault).await;
        clause.kind("a second `inject`", again, &[ErrorKind::Refused])?;
        clause.done("`recover`", recovered)?;
        clause.holds()
    })
    .await
}

/// A restore recovers from what is still injected.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_restore_recovers(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_restore_recovers");
    prepared(clause, fixture, async |environment, cx| {
        let snapshots = facet!(clause, environment.snapshots(), "it has no snapshots");
        let faults = facet!(clause, environment.service_faults(), NONE);
        let kills = given!(kills(clause, faults, cx)?);
        let before = given!(clause.fixture("releases", fixture.releases(cx).await)?);
        clause.ok("`take`", snapshots.take(cx, LABEL).await)?;
        for fault in &kills {
            inject(clause, faults, cx, fault).await?;
        }
        clause.ok("`restore`", snapshots.restore(cx, LABEL).await)?;
        let cx = cx.clone().with_endpoints(environment.endpoints());
        answers(clause, fixture, &cx, &before, "restored").await?;
        clause.holds()
    })
    .await
}

/// A fault for each service of the earlier release whose first container can be killed.
fn kills(
    clause: Clause,
    faults: &dyn ServiceFaults,
    cx: &UpgradeContext,
) -> Result<Case<Vec<ServiceFault>>, ClauseFailed> {
    let sites = clause.ok("`sites`", faults.sites(cx.from()))?;
    let can =
        |site: &&Site| site.kind == FaultKind::Kill && site.closed.is_none() && site.replicas > 0;
    let kills = sites.iter().filter(can);
    let kills: Vec<ServiceFault> = kills
        .map(|site| ServiceFault::new(site.kind, &site.service))
        .collect();
    Ok(match kills.is_empty() {
        true => Case::not_applicable(NOBODY),
        false => Case::Given(kills),
    })
}

async fn inject(
    clause: Clause,
    faults: &dyn ServiceFaults,
    cx: &UpgradeContext,
    fault: &ServiceFault,
) -> Result<(), ClauseFailed> {
    let injected = faults.inject(cx, fault).await;
    clause.ok(&format!("`inject` of `{fault}`"), injected)
}

/// Whether as many instances answer as before.
async fn answers(
    clause: Clause,
    fixture: &dyn EnvironmentFixture,
    cx: &UpgradeContext,
    before: &[Version],
    once: &str,
) -> Result<(), ClauseFailed> {
    match clause.fixture("releases", fixture.releases(cx).await)? {
        Case::Given(after) => clause.equal(
            &format!("the instances that answer once it is {once}"),
            &before.len(),
            &after.len(),
        ),
        Case::NotApplicable(_) => Ok(()),
    }
}
