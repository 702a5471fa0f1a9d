//! Which migrations of a plan were not judged, and why: nothing may be left out in silence.

use std::collections::BTreeSet;

use crate::migration::MigrationId;
use crate::plan::{Action, Plan, Step, StepId};
use crate::report::Unjudged;

/// What became of the steps, as far as it decides what was judged.
#[derive(Debug, Default)]
pub(in crate::runner) struct Judged {
    done: BTreeSet<StepId>,
    /// The first step that failed so that others were skipped.
    ended_by: Option<String>,
}

impl Judged {
    /// A step was carried out, whatever it found.
    pub(in crate::runner) fn carried_out(&mut self, step: &Step) {
        self.done.insert(step.id);
    }

    /// A step failed so that the rest of its attempt is skipped.
    pub(in crate::runner) fn ended(&mut self, step: &Step) {
        self.ended_by.get_or_insert_with(|| step.action.to_string());
    }

    /// The migrations that no step has moved although one would have.
    pub(in crate::runner) fn unjudged(&self, plan: &Plan) -> Vec<Unjudged> {
        let Some(because) = &self.ended_by else {
            return Vec::new();
        };
        let never = |moves: fn(&Action, &MigrationId) -> bool| -> Vec<MigrationId> {
            let all = plan.migrations().into_iter().filter(|id| {
                let mut steps = plan.steps.iter().filter(|step| moves(&step.action, id));
                let planned = steps.clone().next().is_some();
                planned && !steps.any(|step| self.done.contains(&step.id))
            });
            all.cloned().collect()
        };
        let ups = never(up);
        let mut downs = never(down);
        downs.retain(|id| !ups.contains(id));
        let all = [(ups, false), (downs, true)].into_iter();
        all.filter(|(migrations, _)| !migrations.is_empty())
            .map(|(migrations, rollback_only)| Unjudged {
                migrations,
                rollback_only,
                because: because.clone(),
            })
            .collect()
    }
}

fn up(action: &Action, id: &MigrationId) -> bool {
    matches!(
        action,
        Action::Apply { migration }
        | Action::Crash { migration, .. }
        | Action::MergeLate { migration, .. } if migration == id
    )
}

fn down(action: &Action, id: &MigrationId) -> bool {
    match action {
        Action::Revert { migration } => migration == id,
        Action::RollBack { applied, .. } => applied.contains(id),
        _ => false,
    }
}
