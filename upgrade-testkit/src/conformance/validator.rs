//! The clauses of [`Validator`].

use std::sync::Arc;

use async_trait::async_trait;
use upgrade_core::environment::Endpoints;
use upgrade_core::{Result, UpgradeContext, Validator, Verdict};

use super::check::Clause;
use super::macros::{list_clauses, run_clauses};
use super::outcome::{ClauseFailed, ClauseInfo, ClauseResult, Hold};

/// What the suite needs from the author of a [`Validator`]: one validator, and systems on which
/// its verdict is known. A context carries the endpoints of its system, which lives as long as the
/// fixture.
#[async_trait]
pub trait ValidatorFixture: Send + Sync {
    /// A new instance of the validator.
    fn validator(&self) -> Arc<dyn Validator>;

    /// A system that does what the validator asks for.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn holding(&self) -> Result<UpgradeContext>;

    /// A system that does not.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn broken(&self) -> Result<UpgradeContext>;

    /// A system that shows nothing to judge: no rows, no traffic, no samples.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn empty(&self) -> Result<UpgradeContext>;

    /// The context of a system that is not there: nothing answers at its endpoints.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn unreachable(&self) -> Result<UpgradeContext>;

    /// Makes the validator wait for the system of `cx` until the hold is dropped.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold>;

    /// Everything that another validator or a comparison of data could see, as text that is equal
    /// when it is.
    ///
    /// # Errors
    /// Any; the clause fails with it.
    async fn state(&self, cx: &UpgradeContext) -> Result<String>;
}

/// The one list of the clauses of `Validator`, handed to the macro that is named first.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_validator_clause {
    ([$($callback:tt)+] $($arguments:tt)*) => {
        $($callback)+! {
            $($arguments)*
            the_name_can_be_read: "required",
            a_system_that_holds_passes_twice: "required",
            a_broken_system_fails_with_an_error: "required",
            no_data_is_never_a_pass: "required",
            an_unreachable_system_is_an_error: "required",
            each_call_judges_anew: "required",
            judging_changes_nothing: "required",
            the_system_is_reached_only_through_the_endpoints: "required",
            a_wait_ends_at_the_deadline: "required",
            cancellation_ends_a_call: "required",
        }
    };
}

/// All clauses, in the order in which they are examined.
pub const CLAUSES: &[ClauseInfo] = for_each_validator_clause!([list_clauses]);

/// Examines every clause, each on a new fixture, and answers with all results by name.
pub async fn all<F, M>(make: M) -> Vec<(&'static str, ClauseResult)>
where
    F: ValidatorFixture,
    M: AsyncFn() -> F,
{
    for_each_validator_clause!([run_clauses][make])
}

/// The name that a person reads is not empty.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_name_can_be_read(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("the_name_can_be_read");
    let validator = fixture.validator();
    clause.that(
        !validator.name().trim().is_empty(),
        "a name to read",
        "an empty one",
    )?;
    clause.holds()
}

/// A system that holds is `Pass`; called again on the same system, so is the second verdict.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_system_that_holds_passes_twice(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("a_system_that_holds_passes_twice");
    let validator = fixture.validator();
    let cx = clause.fixture("holding", fixture.holding().await)?;
    for call in ["the first verdict", "the second verdict"] {
        let verdict = judge(clause, &*validator, &cx).await?;
        clause.equal(call, &Verdict::Pass, &verdict)?;
    }
    clause.holds()
}

/// A system that does not hold is `Fail`, with at least one finding of severity error.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_broken_system_fails_with_an_error(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("a_broken_system_fails_with_an_error");
    let cx = clause.fixture("broken", fixture.broken().await)?;
    let verdict = judge(clause, &*fixture.validator(), &cx).await?;
    clause.that(
        matches!(&verdict, Verdict::Fail(findings) if findings.iter().any(|f| f.fails())),
        "`Fail` with a finding of severity error",
        format!("{verdict:?}"),
    )?;
    clause.holds()
}

/// A system that shows nothing to judge is `Inconclusive`, never a pass.
///
/// # Errors
/// When the clause does not hold.
pub async fn no_data_is_never_a_pass(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("no_data_is_never_a_pass");
    let cx = clause.fixture("empty", fixture.empty().await)?;
    let verdict = judge(clause, &*fixture.validator(), &cx).await?;
    clause.that(
        matches!(verdict, Verdict::Inconclusive(_)),
        "`Inconclusive` on a system that shows nothing to judge",
        format!("{verdict:?}"),
    )?;
    clause.holds()
}

/// A system that cannot be reached is an error, not a verdict.
///
/// # Errors
/// When the clause does not hold.
pub async fn an_unreachable_system_is_an_error(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("an_unreachable_system_is_an_error");
    let cx = clause.fixture("unreachable", fixture.unreachable().await)?;
    let verdict = fixture.validator().validate(&cx).await;
    clause.error("`validate` of a system that is not there", verdict)?;
    clause.holds()
}

/// One instance may be called any number of times, at every release: each call judges the system
/// as it is then.
///
/// # Errors
/// When the clause does not hold.
pub async fn each_call_judges_anew(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("each_call_judges_anew");
    let validator = fixture.validator();
    let holding = clause.fixture("holding", fixture.holding().await)?;
    let broken = clause.fixture("broken", fixture.broken().await)?;
    let systems = [(&holding, true), (&broken, false), (&holding, true)];
    for (call, (cx, passes)) in systems.into_iter().enumerate() {
        let verdict = judge(clause, &*validator, cx).await?;
        clause.that(
            verdict.is_pass() == passes,
            format!(
                "call {} judges a system that {}",
                call + 1,
                if passes { "holds" } else { "is broken" }
            ),
            format!("{verdict:?}"),
        )?;
    }
    clause.holds()
}

/// Judging changes nothing that another validator or the comparison of data would see.
///
/// # Errors
/// When the clause does not hold.
pub async fn judging_changes_nothing(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("judging_changes_nothing");
    let holding = clause.fixture("holding", fixture.holding().await)?;
    let broken = clause.fixture("broken", fixture.broken().await)?;
    for cx in [&holding, &broken] {
        let before = clause.fixture("state", fixture.state(cx).await)?;
        judge(clause, &*fixture.validator(), cx).await?;
        let after = clause.fixture("state", fixture.state(cx).await)?;
        clause.same_text("the state before `validate`", &before, &after)?;
    }
    clause.holds()
}

/// A validator reaches the system only through the endpoints of the context: without them it
/// cannot judge.
///
/// # Errors
/// When the clause does not hold.
pub async fn the_system_is_reached_only_through_the_endpoints(
    fixture: &dyn ValidatorFixture,
) -> ClauseResult {
    let clause = Clause("the_system_is_reached_only_through_the_endpoints");
    let validator = fixture.validator();
    let cx = clause.fixture("holding", fixture.holding().await)?;
    let nowhere = cx.with_endpoints(Endpoints::default());
    let verdict = validator.validate(&nowhere).await;
    clause.error("`validate` without endpoints", verdict)?;
    clause.holds()
}

/// A wait ends at the deadline of the context, as `Timeout`.
///
/// # Errors
/// When the clause does not hold.
pub async fn a_wait_ends_at_the_deadline(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("a_wait_ends_at_the_deadline");
    let validator = fixture.validator();
    let cx = clause.fixture("holding", fixture.holding().await)?;
    let hold = clause.fixture("hold", fixture.hold(&cx).await)?;
    let ended = clause
        .ends_at_the_deadline("`validate` of a held system", &cx, async |cx| {
            validator.validate(cx).await
        })
        .await;
    drop(hold);
    ended?;
    clause.holds()
}

/// A cancellation of the context ends a call that waits, as `Cancelled`.
///
/// # Errors
/// When the clause does not hold.
pub async fn cancellation_ends_a_call(fixture: &dyn ValidatorFixture) -> ClauseResult {
    let clause = Clause("cancellation_ends_a_call");
    let validator = fixture.validator();
    let cx = clause.fixture("holding", fixture.holding().await)?;
    let hold = clause.fixture("hold", fixture.hold(&cx).await)?;
    let ended = clause
        .ends_on_cancellation("`validate` of a held system", &cx, async |cx| {
            validator.validate(cx).await
        })
        .await;
    drop(hold);
    ended?;
    clause.holds()
}

async fn judge(
    clause: Clause,
    validator: &dyn Validator,
    cx: &UpgradeContext,
) -> Result<Verdict, ClauseFailed> {
    clause.ok("`validate`", validator.validate(cx).await)
}
