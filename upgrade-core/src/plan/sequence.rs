//! A sequence: what may happen to a system while it is upgraded, rolled back and upgraded again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Outline, Plan, planner};
use crate::error::{Error, ErrorKind, Result};

/// One step of a [`Sequence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SequenceStep {
    /// The users of the release that is live write.
    Write {
        /// What they write is drawn from it.
        seed: u64,
    },
    /// This number of migrations are applied, those that come next.
    Up(usize),
    /// This number of migrations are reverted, the last one first.
    Down(usize),
}

impl fmt::Display for SequenceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { seed } => write!(f, "write seed {seed}"),
            Self::Up(count) => write!(f, "up {count}"),
            Self::Down(count) => write!(f, "down {count}"),
        }
    }
}

/// Steps between two releases, in order, from the previous release on.
///
/// It is written as a list, `write seed 3; up 2; write seed 9; down 1; up 1`; one without steps is
/// `nothing`. That is also how it is saved. It knows no migration by name, so it stays possible
/// when a migration is added, and [`Plan::from_sequence`] says when it is not.
///
/// ```
/// use upgrade_core::plan::{Sequence, SequenceStep};
///
/// let sequence: Sequence = "up 1; write seed 3; down 1".parse()?;
/// assert_eq!(sequence.steps()[1], SequenceStep::Write { seed: 3 });
/// assert_eq!(sequence.to_string(), "up 1; write seed 3; down 1");
/// # Ok::<(), upgrade_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sequence(Vec<SequenceStep>);

/// How a sequence without steps is written.
const NOTHING: &str = "nothing";

impl Sequence {
    /// A sequence of these steps.
    pub fn new(steps: impl IntoIterator<Item = SequenceStep>) -> Self {
        Self(steps.into_iter().collect())
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[SequenceStep] {
        &self.0
    }
}

impl Plan {
    /// Plans a sequence: one attempt, with the steps as they are. Pure: the same input gives the
    /// same plan.
    ///
    /// The rows are compared across every move, in the columns that both sides have; the schema of
    /// every boundary that is reached again, with what it was there before; the validators are
    /// asked wherever the system stands at one of the two releases.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when there are fewer migrations than the sequence applies, when it
    /// reverts more than it has applied or one that cannot be reverted, and when it writes where
    /// nobody knows what users write; those of [`Plan::new`].
    pub fn from_sequence(outline: &Outline, sequence: &Sequence, seed: u64) -> Result<Self> {
        sequence.possible(outline)?;
        planner::plan_sequence(outline, sequence, seed)
    }
}

impl Sequence {
    /// Whether every step can be taken.
    fn possible(&self, outline: &Outline) -> Result<()> {
        let refused = |step: &SequenceStep, why: String| {
            Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the sequence `{self}` is not possible: `{step}` {why}"),
            ))
        };
        let many = |count: usize| match count {
            1 => "1 migration".to_owned(),
            count => format!("{count} migrations"),
        };
        let all = outline.migrations.len();
        let mut applied = 0;
        for step in &self.0 {
            match *step {
                SequenceStep::Up(count) if count > all - applied => {
                    return refused(step, format!("where {} can follow", many(all - applied)));
                }
                SequenceStep::Up(count) => applied += count,
                SequenceStep::Down(count) if count > applied => {
                    return refused(
                        step,
                        format!("where {} applied", is(many(applied), applied)),
                    );
                }
                SequenceStep::Down(count) => {
                    let reverted = &outline.migrations[applied - count..applied];
                    let one_way =
                        |one: &&super::MigrationOutline| !one.reversibility.is_reversible();
                    if let Some(one_way) = reverted.iter().rfind(one_way) {
                        return refused(
                            step,
                            format!("meets `{}`, which has no down migration", one_way.id),
                        );
                    }
                    applied -= count;
                }
                SequenceStep::Write { .. } if !outline.writes => {
                    return refused(step, "where it is not known what users write".to_owned());
                }
                SequenceStep::Write { .. } => {}
            }
        }
        Ok(())
    }
}

fn is(what: String, count: usize) -> String {
    format!("{what} {}", if count == 1 { "is" } else { "are" })
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NOTHING);
        }
        for (index, step) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{step}")?;
        }
        Ok(())
    }
}

impl FromStr for Sequence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.trim() == NOTHING {
            return Ok(Self::default());
        }
        text.split(';').map(step).collect::<Result<_>>().map(Self)
    }
}

fn step(text: &str) -> Result<SequenceStep> {
    let text = text.trim();
    let count = |number: &str| number.parse().ok().filter(|count| *count > 0);
    let words: Vec<&str> = text.split_whitespace().collect();
    let read = match words[..] {
        ["write", "seed", seed] => seed.parse().ok().map(|seed| SequenceStep::Write { seed }),
        ["up", number] => count(number).map(SequenceStep::Up),
        ["down", number] => count(number).map(SequenceStep::Down),
        _ => None,
    };
    read.ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("invalid step `{text}` of a sequence"),
        )
        .with_hint("there are: `write seed 3`, `up 2`, `down 1`")
    })
}

impl From<Sequence> for String {
    fn from(sequence: Sequence) -> Self {
        sequence.to_string()
    }
}

impl TryFrom<String> for Sequence {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}
