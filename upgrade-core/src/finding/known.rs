//! Findings that a team knows and accepts for now.

use serde::{Deserialize, Serialize};

use super::Finding;
use super::blame::place;
use crate::scenario::Scenario;

/// A finding that is known and accepted, with the reason. It fails no run; a run that does not find
/// it any more fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KnownFinding {
    /// The id of the finding.
    pub id: String,
    /// What it is about, as the finding has it; `None` for anything.
    pub subject: Option<String>,
    /// The file of the migration that is at fault; `None` for any, or none.
    pub file: Option<String>,
    /// The scenarios that find it. A run of one of them that does not is a failure; with none, it is
    /// accepted in every scenario and may be missing.
    pub scenarios: Vec<Scenario>,
    /// Why it is accepted.
    pub reason: String,
}

impl KnownFinding {
    /// Accepts every finding of an id, or of an area where the id ends with `/*`: `crash/*`.
    pub fn new(id: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            subject: None,
            file: None,
            scenarios: Vec::new(),
            reason: reason.into(),
        }
    }

    /// Accepts the one about this subject only.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Accepts the one that this file is at fault for only.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Accepts it in these scenarios only, and demands that each of them finds it.
    #[must_use]
    pub fn in_scenarios(mut self, scenarios: impl IntoIterator<Item = Scenario>) -> Self {
        self.scenarios.extend(scenarios);
        self
    }

    /// Whether a finding is this one. The line of a file does not matter, since it moves; neither do the
    /// scenarios, which [`is_of`](Self::is_of) checks.
    pub fn matches(&self, finding: &Finding) -> bool {
        let file = || Some(finding.blames.as_ref()?.place()?.0);
        let subject = self.subject.as_ref();
        is_meant(&self.id, &finding.id)
            && subject.is_none_or(|subject| finding.subject == subject.as_str())
            && self
                .file
                .as_ref()
                .is_none_or(|known| file() == Some(place(known).0))
    }

    /// Whether it names this file, whatever the line.
    pub(crate) fn is_in(&self, file: &str) -> bool {
        let known = self.file.as_deref().map(|known| place(known).0);
        known == Some(place(file).0)
    }

    /// Whether a run that it holds in has to find it: it names its scenarios.
    pub fn must_be_found(&self) -> bool {
        !self.scenarios.is_empty()
    }

    /// Whether it holds in a scenario.
    pub fn is_of(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.contains(&scenario)
    }
}

/// Whether an id is named, alone or with its area (`crash/*`).
pub(crate) fn is_meant(named: &str, id: &str) -> bool {
    match named.strip_suffix('*') {
        Some(area) => area.ends_with('/') && id.starts_with(area),
        None => named == id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_names_all_of_its_ids() {
        let failed = Finding::error("crash/not-rerunnable", "migration 4", "it failed");
        for (named, meant) in [
            ("crash/not-rerunnable", true),
            ("crash/*", true),
            ("crash/not", false),
            ("cras*", false),
            ("*", false),
            ("down/*", false),
        ] {
            assert_eq!(
                KnownFinding::new(named, "old").matches(&failed),
                meant,
                "{named}"
            );
        }
    }
    use crate::finding::Blame;
    use crate::ids::MigrationId;

    #[test]
    fn every_part_that_is_named_has_to_be_the_same() {
        let blame = Blame::new(MigrationId::new("4", "x")).with_file("4_x.down.sql:12");
        let finding = Finding::error("down/failed", "migration 4_x", "it failed").with_blame(blame);
        let known = KnownFinding::new("down/failed", "old");
        for (known, expected) in [
            (known.clone(), true),
            (KnownFinding::new("up/failed", "old"), false),
            (known.clone().about("migration 4_x"), true),
            (known.clone().about("migration 5_x"), false),
            (known.clone().in_file("4_x.down.sql"), true),
            (known.clone().in_file("4_x.down.sql:7"), true),
            (known.clone().in_file("4_x.up.sql"), false),
        ] {
            assert_eq!(known.matches(&finding), expected, "{known:?}");
        }
        assert!(known.is_of(Scenario::Upgrade));
        assert!(!known.must_be_found());
        let known = known.in_scenarios([Scenario::RoundTrip]);
        assert!(known.must_be_found());
        assert!(known.is_of(Scenario::RoundTrip) && !known.is_of(Scenario::Upgrade));
    }
}
