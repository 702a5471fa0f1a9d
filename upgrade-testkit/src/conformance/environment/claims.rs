//! Clauses on the claim of an operation on a real system.

use upgrade_core::environment::{Claim, Claims};
use upgrade_core::journal::{Actor, Journal, MemoryStore};

use super::{EnvironmentFixture, live, prepared};
use crate::conformance::check::{Clause, facet};
use crate::conformance::{ClauseFailed, ClauseResult};

const NONE: &str = "it says nothing about operations";

/// A system belongs to nobody, then to who has claimed it last, and after a release to nobody again.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_claim_is_read_as_it_was_written(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_claim_is_read_as_it_was_written");
    prepared(clause, fixture, async |environment, cx| {
        let claims = facet!(clause, environment.claims(), NONE);
        let is = async |expected: Option<&Claim>, when: &str| -> Result<(), ClauseFailed> {
            let found = clause.ok("`claimed`", claims.claimed(cx).await)?;
            clause.equal(&format!("the claim {when}"), &expected, &found.as_ref())
        };
        is(None, "of a new system").await?;
        clause.ok("`release` without a claim", claims.release(cx).await)?;
        for who in ["ann", "bob 'the \"operator\"'"] {
            let claim = of(clause, who).await?;
            clause.ok("`claim`", claims.claim(cx, &claim).await)?;
            is(Some(&claim), &format!("of {who}")).await?;
        }
        clause.ok("`release`", claims.release(cx).await)?;
        is(None, "after its release").await?;
        clause.holds()
    })
    .await
}

/// An observation sees no claim: neither when it comes, nor when it is released.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_claim_is_not_observed(fixture: &dyn EnvironmentFixture) -> ClauseResult {
    let clause = Clause("a_claim_is_not_observed");
    prepared(clause, fixture, async |environment, cx| {
        let claims: &dyn Claims = facet!(clause, environment.claims(), NONE);
        let before = live(clause, environment, cx).await?;
        let claim = of(clause, "ann").await?;
        clause.ok("`claim`", claims.claim(cx, &claim).await)?;
        let claimed = live(clause, environment, cx).await?;
        clause.equal("the observation with a claim", &before, &claimed)?;
        clause.ok("`release`", claims.release(cx).await)?;
        let released = live(clause, environment, cx).await?;
        clause.equal("the observation after its release", &before, &released)?;
        clause.holds()
    })
    .await
}

/// The claim of an operation of somebody.
async fn of(clause: Clause, who: &str) -> Result<Claim, ClauseFailed> {
    let journal = Journal::open(MemoryStore::new(), "conformance", Actor::new(who)).await;
    let journal = clause.ok("a journal", journal)?;
    Ok(journal.claim().await)
}
