//! To the newer release, and the control in which nothing changes.

use super::draft::{Draft, ids};
use super::{Action, BASELINE, Equal, StrategyOutline};
use crate::ids::Phase;
use crate::migration::contract::Reversibility;
use crate::side::Candidate;

impl<'a> Draft<'a> {
    pub(super) fn control(&mut self) {
        self.attempt = 1;
        self.validate(Phase::Verify);
        self.compare(Phase::Verify, BASELINE, Equal::Everything);
        self.side_by_side(Phase::Verify, Candidate::Unchanged);
    }

    pub(super) fn upgrade(&mut self) {
        if let Some(strategy) = self.until_soak() {
            let strategy = strategy.name.clone();
            self.push(Phase::Finalize, Action::Finalize { strategy });
            self.validate(Phase::Verify);
        }
        self.tests_up();
    }

    /// Everything that can still be rolled back; the strategy that does so.
    pub(super) fn until_soak(&mut self) -> Option<&'a StrategyOutline> {
        self.attempt = 1;
        self.inspect();
        let outline = self.outline;
        let strategy = self.applicable(outline.migrations.len()).next();
        if let Some(strategy) = strategy {
            self.prepare_rollback(strategy);
            let action = Action::CheckRollback {
                strategy: strategy.name.clone(),
                applied: ids(&outline.migrations),
            };
            self.push(Phase::Preflight, action);
        }
        self.apply_all();
        if let Some((from, to)) = outline.configuration.clone() {
            self.push(Phase::Switch, Action::Configure { from, to });
        }
        if outline.capabilities.services {
            let version = outline.to.clone();
            self.push(Phase::Switch, Action::Replace { version });
        }
        self.validate(Phase::Soak);
        self.compare(Phase::Soak, BASELINE, Equal::SharedRows);
        self.side_by_side(Phase::Soak, Candidate::Upgraded);
        strategy
    }

    /// The migrations as they are written, with those that cannot be reverted where that is asked
    /// of all.
    pub(super) fn inspect(&mut self) {
        let asked = self.outline.reversible;
        let all = self.outline.migrations.iter().filter(|_| asked);
        let irreversible = all
            .filter_map(|migration| match &migration.reversibility {
                Reversibility::Reversible => None,
                Reversibility::Irreversible { reason } => {
                    Some((migration.id.clone(), reason.clone()))
                }
            })
            .collect();
        self.push(Phase::Preflight, Action::Inspect { irreversible });
    }
}
