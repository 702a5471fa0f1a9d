//! The catalogue: the kinds of findings that this library raises, what each breaks and for whom,
//! how to mend it.

use std::fmt;
use std::sync::LazyLock;

use super::{Severity, before, crash, down, judge, order, services, up};

/// One kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FindingKind {
    /// The stable name, such as `round-trip-schema-differs`.
    pub id: &'static str,
    /// What it says, in a few words without a period.
    pub title: &'static str,
    /// How much it weighs where nothing else is said; what is declared or asked for changes it.
    pub severity: Severity,
    /// What breaks and for whom, in a sentence.
    pub breaks: &'static str,
    /// How to mend it; reads after "help:".
    pub mend: &'static str,
}

impl FindingKind {
    /// The kind of an id; `None` for one that a team's own validator made up.
    pub fn of(id: &str) -> Option<&'static Self> {
        let all = catalogue();
        all.binary_search_by(|kind| kind.id.cmp(id))
            .ok()
            .map(|at| &all[at])
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {}", self.severity, self.id, self.title)
    }
}

/// What a kind is about: the moment of an upgrade at which it is found, as a heading.
const TOPICS: [(&str, &[FindingKind]); 7] = [
    ("Before anything runs", before::KINDS),
    ("While going up", up::KINDS),
    ("In another order", order::KINDS),
    ("After a crash", crash::KINDS),
    ("While rolling back", down::KINDS),
    ("While services are replaced", services::KINDS),
    ("From validators", judge::KINDS),
];

static CATALOGUE: LazyLock<Vec<FindingKind>> = LazyLock::new(|| {
    let mut all: Vec<FindingKind> = TOPICS
        .iter()
        .flat_map(|(_, kinds)| kinds.iter().copied())
        .collect();
    all.sort_unstable_by_key(|kind| kind.id);
    all
});

/// Every kind, in the order of the ids.
pub fn catalogue() -> &'static [FindingKind] {
    &CATALOGUE
}

/// The same kinds by what they are about: each heading with its kinds, in the order in which an
/// upgrade meets them.
pub fn by_topic() -> impl Iterator<Item = (&'static str, &'static [FindingKind])> {
    TOPICS.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_and_a_made_up_one_is_not() {
        let kind = FindingKind::of("down-failed").unwrap();
        assert_eq!(
            kind.to_string(),
            "error[down-failed] a down migration failed"
        );
        assert!(FindingKind::of("orders-have-no-lines").is_none());
    }

    #[test]
    fn ids_are_unique_and_every_text_can_stand_in_a_report() {
        let all = catalogue();
        assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
        for kind in all {
            for text in [kind.title, kind.breaks, kind.mend] {
                assert!(!text.is_empty() && !text.contains('\n'), "{kind}");
                assert!(!text.ends_with('.'), "{kind}: `{text}` ends with a period");
            }
        }
    }
}
