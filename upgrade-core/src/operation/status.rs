//! Where an operation stands, and what may come next. Pure.

use std::fmt;

use crate::journal::{Record, Standing, State};
use crate::plan::Action;

/// What can be done with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Act {
    /// [`Operation::plan`](super::Operation::plan) and [`apply`](super::Operation::apply).
    Apply,
    /// [`Operation::resume`](super::Operation::resume).
    Resume,
    /// [`Operation::rollback`](super::Operation::rollback).
    RollBack,
    /// [`Operation::finalize`](super::Operation::finalize).
    Finalize,
    /// [`Operation::abort`](super::Operation::abort).
    Abort,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::Resume => "resume",
            Self::RollBack => "rollback",
            Self::Finalize => "finalize",
            Self::Abort => "abort",
        })
    }
}

/// What a process was at when it was killed, and has to be gone on with.
pub(super) fn interrupted(standing: &Standing) -> Option<Act> {
    match &standing.interrupted {
        Some(Action::RollBack { .. }) => Some(Act::RollBack),
        Some(Action::Finalize { .. }) => Some(Act::Finalize),
        // After a rollback what was kept for it is given up; so it is where an upgrade becomes final.
        _ if standing.state.is_over() => {
            let over = matches!(standing.state, State::RolledBack | State::Finalized);
            (over && !standing.kept.is_empty()).then_some(Act::Finalize)
        }
        _ => (!standing.remaining_steps().is_empty()).then_some(Act::Apply),
    }
}

/// What is possible now; never empty.
pub(super) fn acts(standing: &Standing) -> Vec<Act> {
    let interrupted = interrupted(standing);
    let mut acts = Vec::new();
    if standing.state.is_over() || standing.state == State::Nothing {
        acts.push(Act::Apply);
    }
    if interrupted.is_some() {
        acts.push(Act::Resume);
    }
    if standing.rollback_step().is_some() && standing.state != State::Nothing {
        acts.push(Act::RollBack);
    }
    // Half a rollback is not final, and neither is half an upgrade.
    let final_next = match standing.state {
        State::Soaking => interrupted.is_none(),
        State::Finalized => interrupted == Some(Act::Finalize),
        _ => false,
    };
    if final_next {
        acts.push(Act::Finalize);
    }
    let begun = interrupted.is_some() || !standing.kept.is_empty();
    if standing.state == State::Paused || (standing.state == State::Nothing && begun) {
        acts.push(Act::Abort);
    }
    acts
}

/// Where an operation stands, for a person.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The sum of the journal's records.
    pub standing: Standing,
    /// Who had the journal open before and was killed.
    pub died: Option<Record>,
    /// What is possible now.
    pub acts: Vec<Act>,
}

impl Status {
    pub(super) fn new(standing: Standing, died: Option<Record>) -> Self {
        let acts = acts(&standing);
        Self {
            standing,
            died,
            acts,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing {
            state,
            applied,
            migrations,
            prepared,
            interrupted,
            ..
        } = &self.standing;
        writeln!(f, "state        {state}")?;
        if !migrations.is_empty() && !state.is_over() {
            writeln!(
                f,
                "migrations   {} of {} applied or begun",
                applied.len(),
                migrations.len()
            )?;
        }
        if let (Some((strategy, _)), false) = (prepared, state.is_over()) {
            writeln!(f, "rollback     by {strategy}")?;
        }
        if let Some(action) = interrupted {
            writeln!(f, "interrupted  {action}")?;
        }
        if let Some(Record {
            actor,
            host,
            pid,
            at,
            ..
        }) = &self.died
        {
            writeln!(
                f,
                "died         process {pid} of {actor} on {host}, began at {at}"
            )?;
        }
        let acts: Vec<String> = self.acts.iter().map(ToString::to_string).collect();
        write!(f, "possible     {}", acts.join(", "))
    }
}
