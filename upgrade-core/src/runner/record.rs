//! What the report says of each step.

use crate::plan::Step;
use crate::report::{StepOutcome, StepReport};

pub(super) fn recorded(step: &Step, outcome: StepOutcome, elapsed_ms: u64) -> StepReport {
    StepReport {
        id: step.id,
        attempt: step.attempt,
        phase: step.phase,
        title: step.action.to_string(),
        outcome,
        elapsed_ms,
        within_ms: step.within_ms,
    }
}
