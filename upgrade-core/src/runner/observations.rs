//! Looks at the system that are not taken twice: between two steps that only look, nothing that
//! the runner does can have changed what there is to see, and a kept state never changes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::context::UpgradeContext;
use crate::environment::At;
use crate::error::Result;
use crate::observation::{Columns, Observation, Scope};
use crate::plan::Action;
use crate::runner::state::Run;

/// What was seen, and whether it still is what there is to see.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How many steps have begun that may change the live state.
    changes: u64,
    /// Whether the step that is under way only looks.
    only_looks: bool,
    /// The live state as it was seen last, as a whole, and after which change.
    live: Mutex<Option<(u64, Observation)>>,
    /// After which change each state was kept, and after which it was observed under its label.
    kept: BTreeMap<String, u64>,
    observed: BTreeMap<String, u64>,
    /// What else was read of states that are kept.
    past: Mutex<Vec<(String, Tables, Observation)>>,
}

/// Which columns of which tables.
type Tables = BTreeMap<String, Columns>;

impl Looks {
    /// A step begins, or an action that the runner takes automatically.
    pub(super) fn begin(&mut self, action: &Action) {
        self.only_looks = matches!(
            action,
            Action::Observe { .. } | Action::Compare { .. } | Action::Snapshot { .. }
        );
        if !self.only_looks {
            self.changes += 1;
        }
    }

    /// The live state is kept under a label.
    pub(super) fn keep(&mut self, label: &str) {
        self.kept.insert(label.to_owned(), self.changes);
        lock(&self.past).retain(|(of, ..)| of != label);
    }

    /// The live state was observed under a label.
    pub(super) fn observe(&mut self, label: &str) {
        self.observed.insert(label.to_owned(), self.changes);
    }

    /// Whether what was observed under a label is what is kept under it.
    fn is_of_kept(&self, label: &str) -> bool {
        let kept = self.kept.get(label);
        kept.is_some() && kept == self.observed.get(label)
    }
}

impl Run<'_> {
    /// What the environment shows, of which it is asked only what is not known.
    pub(super) async fn look(
        &self,
        cx: &UpgradeContext,
        at: &At,
        scope: &Scope,
    ) -> Result<Observation> {
        let Some((known, missing)) = self.known(at, scope) else {
            let seen = self.environment.observe(cx, at, scope).await?;
            if self.looks.only_looks && (at, scope) == (&At::Live, &Scope::All) {
                *lock(&self.looks.live) = Some((self.looks.changes, seen.clone()));
            }
            return Ok(seen);
        };
        if missing.is_empty() {
            return Ok(known);
        }
        let read = match at {
            At::Live => None,
            At::Snapshot(label) => lock(&self.looks.past)
                .iter()
                .find(|(of, tables, _)| of == label && *tables == missing)
                .map(|(_, _, seen)| seen.clone()),
        };
        let read = match read {
            Some(read) => read,
            None => {
                let scope = Scope::Columns(missing.clone());
                let read = self.environment.observe(cx, at, &scope).await?;
                if let At::Snapshot(label) = at {
                    lock(&self.looks.past).push((label.clone(), missing, read.clone()));
                }
                read
            }
        };
        let mut seen = known;
        seen.tables.extend(read.tables);
        Ok(seen)
    }

    /// What is known of a state without asking, and the columns that are to be asked for.
    fn known(&self, at: &At, scope: &Scope) -> Option<(Observation, Tables)> {
        match at {
            At::Live => {
                let live = lock(&self.looks.live);
                let (after, seen) = live.as_ref()?;
                let same = self.looks.only_looks && *after == self.looks.changes;
                same.then(|| seen.part(scope))
            }
            At::Snapshot(label) => {
                let seen = self.observations.get(label)?;
                let needs_schema = matches!(scope, Scope::All | Scope::Schema);
                let has_it = !seen.objects.is_empty() || !needs_schema;
                (has_it && self.looks.is_of_kept(label)).then(|| seen.part(scope))
            }
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
