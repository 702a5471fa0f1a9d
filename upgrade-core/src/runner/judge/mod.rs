//! From differences, through what excuses each of them, to findings. Nothing here reads a system,
//! and nothing here reads a sentence: what a difference is about is a table or a column.

pub(in crate::runner) mod blame;
mod counts;
#[cfg(test)]
mod tests;
pub(in crate::runner) mod unjudged;

use std::collections::BTreeSet;

use crate::expected::ExpectedChange;
use crate::finding::{Finding, Severity};
use crate::rollback::{Loss, LossKind};
use crate::subject::{LARGE_OBJECTS, Object, TableRef};

pub(in crate::runner) use self::counts::Counts;

/// One difference between two states.
#[derive(Debug, Clone)]
pub(in crate::runner) struct Difference {
    /// What is reported if nothing excuses it.
    pub(in crate::runner) finding: Finding,
    /// What is known of it; `None` if it is not about rows, so that nothing can excuse it.
    pub(in crate::runner) facts: Option<Facts>,
}

/// What is known of a difference in the rows of a table.
#[derive(Debug, Clone)]
pub(in crate::runner) struct Facts {
    /// The table, by each name that it has in the states that are compared: in the earlier state
    /// first, in the later one last.
    pub(in crate::runner) names: Vec<TableRef>,
    /// The column, if the difference is that this column is missing.
    pub(in crate::runner) column: Option<String>,
    /// How many rows differ in which way; `None` where rows cannot be told apart.
    pub(in crate::runner) counts: Option<Counts>,
    /// Columns without which nothing differs; none where that is not known.
    pub(in crate::runner) only_in: BTreeSet<String>,
    /// Columns that differ as well, in a way that needs no excuse.
    pub(in crate::runner) also_in: BTreeSet<String>,
    /// The columns in which rows of both states have other values, beside rows that are missing or
    /// new; `None` where that is not known.
    pub(in crate::runner) values_in: Option<BTreeSet<String>>,
}

/// What may excuse a difference.
#[derive(Debug, Clone)]
pub(in crate::runner) enum Ground<'a> {
    /// A change that is declared, with its place among those of the upgrade.
    Declared(usize, &'a ExpectedChange),
    /// A loss that a rollback announced before it ran.
    Announced(Loss),
    /// Users change rows of a table all the time, for this reason.
    Changed(TableRef, &'a str),
    /// Users add rows all the time.
    Gains,
    /// As [`Gains`](Self::Gains), in a comparison that a rollback made itself.
    Meanwhile,
    /// A comparison that follows judges the rows.
    Later,
}

/// The findings, and the places of the declarations that did happen.
#[derive(Debug, Default)]
pub(in crate::runner) struct Judged {
    pub(in crate::runner) findings: Vec<Finding>,
    pub(in crate::runner) used: BTreeSet<usize>,
}

/// What a ground makes of a difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Excuse {
    /// It is reported elsewhere, or is no difference.
    Dropped,
    Note(String),
    Warning(String),
}

/// What becomes of differences on these grounds. Each difference gets the best of its excuses.
pub(in crate::runner) fn judge(differences: Vec<Difference>, grounds: &[Ground<'_>]) -> Judged {
    let mut judged = Judged::default();
    for Difference { mut finding, facts } in differences {
        let excuse = facts.and_then(|facts| {
            let (named, used) = facts.named(grounds);
            judged.used.extend(used);
            let others = grounds.iter().filter_map(|ground| facts.excused_by(ground));
            // The first of equal weight: what is declared says why.
            named.into_iter().chain(others).min_by_key(Excuse::weight)
        });
        match excuse {
            Some(Excuse::Dropped) => continue,
            Some(Excuse::Note(why)) => finding.weaken(Severity::Note, why),
            Some(Excuse::Warning(why)) => finding.weaken(Severity::Warning, why),
            None => {}
        }
        judged.findings.push(finding);
    }
    judged
}

impl Difference {
    /// A difference that is reported so. Nothing but a subject that is a table or a column makes it
    /// one of rows.
    pub(in crate::runner) fn of(finding: Finding) -> Self {
        let facts = finding.subject.object().map(|object| match object {
            Object::Table(table) => Facts::of(table.clone()),
            Object::Column(column) => Facts {
                column: Some(column.name.clone()),
                ..Facts::of(column.table.clone())
            },
            Object::LargeObjects => Facts::of(TableRef::new(LARGE_OBJECTS)),
        });
        Self { finding, facts }
    }

    /// All of these.
    pub(in crate::runner) fn all(findings: impl IntoIterator<Item = Finding>) -> Vec<Self> {
        findings.into_iter().map(Self::of).collect()
    }

    /// The same difference, of this number of rows.
    pub(in crate::runner) fn with_counts(mut self, counts: Counts) -> Self {
        if let Some(facts) = &mut self.facts {
            facts.counts = Some(counts);
        }
        self
    }

    /// The same difference, of a table that has this name as well.
    pub(in crate::runner) fn also_named(mut self, name: &str) -> Self {
        if let Some(facts) = &mut self.facts {
            facts.names.push(TableRef::new(name));
        }
        self
    }

    /// The table, by its name in observations of the earlier state, if the difference is in rows
    /// that both states could have.
    pub(in crate::runner) fn table(&self) -> Option<String> {
        let facts = self.facts.as_ref()?;
        facts.column.is_none().then(|| facts.names[0].key())
    }
}

impl Finding {
    fn weaken(&mut self, severity: Severity, why: String) {
        self.severity = self.severity.min(severity);
        self.help = Some(why);
    }
}

impl Excuse {
    fn declared(changes: &[&ExpectedChange]) -> Self {
        let reasons: Vec<&str> = changes.iter().map(|it| it.reason.as_str()).collect();
        Self::Note(format!("declared: {}", reasons.join("; ")))
    }

    fn weight(&self) -> u8 {
        match self {
            Self::Dropped => 0,
            Self::Note(_) => 1,
            Self::Warning(_) => 2,
        }
    }
}

impl Facts {
    fn of(table: TableRef) -> Self {
        Self {
            names: vec![table],
            column: None,
            counts: None,
            only_in: BTreeSet::new(),
            also_in: BTreeSet::new(),
            values_in: None,
        }
    }

    /// Whether a table is the one of the difference.
    pub(in crate::runner) fn concern(&self, table: &TableRef) -> bool {
        self.names.contains(table)
    }

    /// Whether it is a difference in this column.
    fn is_in(&self, column: &String) -> bool {
        self.column.as_ref() == Some(column)
            || self.only_in.contains(column)
            || self.also_in.contains(column)
    }

    /// Whether values of this column may differ in a difference that a declaration of the whole
    /// table excuses.
    fn may_be_in(&self, column: &String) -> bool {
        if self.column.is_some() {
            return false;
        }
        match &self.values_in {
            Some(known) => known.contains(column),
            // Where any columns are known, all are.
            None => self.only_in.is_empty() && self.also_in.is_empty(),
        }
    }

    /// Whether no row is lost, as far as that is known.
    fn lose_no_row(&self) -> bool {
        self.counts.is_some_and(|counts| counts.lost == 0)
    }

    /// What the declarations and announcements among the grounds make of it, and the places of the
    /// declarations that did happen, as far as this difference tells.
    ///
    /// Declarations of columns come first: one of the whole table did happen only if they do not
    /// excuse the difference, or if rows were added. All declarations of the same object did happen,
    /// or none.
    fn named(&self, grounds: &[Ground<'_>]) -> (Option<Excuse>, Vec<usize>) {
        let (mut of_table, mut of_columns) = (Vec::new(), Vec::new());
        // They excuse nothing here, and may have happened beside what the table is declared for.
        let mut beside = Vec::new();
        let mut covered = BTreeSet::new();
        for ground in grounds {
            match ground {
                Ground::Declared(place, change) if self.concern(&change.table) => {
                    match &change.column {
                        None => of_table.push((*place, *change)),
                        Some(column) if self.is_in(column) => {
                            covered.insert(column);
                            of_columns.push((*place, *change));
                        }
                        Some(column) if self.may_be_in(column) => beside.push(*place),
                        Some(_) => {}
                    }
                }
                Ground::Announced(loss) => match loss.subject.object() {
                    Some(Object::Column(column))
                        if loss.kind != LossKind::Other
                            && self.concern(&column.table)
                            && self.is_in(&column.name) =>
                    {
                        covered.insert(&column.name);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        let is_covered = match &self.column {
            Some(missing) => covered.contains(missing),
            None => {
                let known = !self.only_in.is_empty() || !self.also_in.is_empty();
                known && self.only_in.iter().all(|it| covered.contains(it))
            }
        };
        let excused = |declared: Vec<(usize, &ExpectedChange)>| {
            let (places, changes): (Vec<usize>, Vec<&ExpectedChange>) =
                declared.into_iter().unzip();
            (Some(Excuse::declared(&changes)), places)
        };
        if is_covered && !of_columns.is_empty() {
            let (excuse, mut places) = excused(of_columns);
            // A row that was not there before is no change of a column.
            if self.counts.is_some_and(|counts| counts.added > 0) {
                places.extend(of_table.iter().map(|(place, _)| *place));
            }
            return (excuse, places);
        }
        if !of_table.is_empty() {
            let (excuse, mut places) = excused(of_table);
            places.extend(of_columns.iter().map(|(place, _)| *place));
            places.extend(beside);
            return (excuse, places);
        }
        let is_announced = is_covered && !covered.is_empty();
        (is_announced.then_some(Excuse::Dropped), Vec::new())
    }

    /// What any other ground makes of it.
    fn excused_by(&self, ground: &Ground<'_>) -> Option<Excuse> {
        match ground {
            Ground::Declared(..) => None,
            Ground::Announced(loss) => self.is_announced(loss).then_some(Excuse::Dropped),
            Ground::Changed(table, reason) => (self.concern(table) && self.lose_no_row())
                .then(|| Excuse::Note(format!("users change it: {reason}"))),
            Ground::Gains => self
                .counts
                .is_some_and(|counts| (counts.lost, counts.changed) == (0, 0))
                .then_some(Excuse::Dropped),
            Ground::Meanwhile => match self.counts {
                Some(counts) => ((counts.lost, counts.changed) == (0, 0))
                    .then(|| Excuse::Note("concurrent traffic added rows".to_owned())),
                None => Some(Excuse::Warning(
                    "concurrent traffic wrote rows; check that nothing else differs".to_owned(),
                )),
            },
            Ground::Later => Some(Excuse::Note(
                "users wrote in between; see what they left".to_owned(),
            )),
        }
    }

    /// Whether a rollback announced that the table loses this.
    fn is_announced(&self, loss: &Loss) -> bool {
        match (loss.subject.object(), loss.kind) {
            (_, LossKind::Other) | (None, _) => false,
            (Some(Object::Table(table)), LossKind::Rows | LossKind::Writes) => self.concern(table),
            (Some(Object::Table(table)), LossKind::Values) => {
                self.concern(table) && (self.lose_no_row() || self.column.is_some())
            }
            (Some(Object::Column(_) | Object::LargeObjects), _) => false,
        }
    }
}
