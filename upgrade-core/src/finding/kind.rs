//! The catalogue: the kinds of findings that this library raises, what each breaks and for whom,
//! how to mend it.

use std::fmt;
use std::sync::LazyLock;

use crate::scenario::Scenario;

use super::{
    Severity, api, before, crash, down, flow, judge, latency, order, page, replay, services, up,
};

/// One kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FindingKind {
    /// The stable name, an area and a fact: `down/schema-differs`.
    pub id: &'static str,
    /// A short description of what it means, without a period.
    pub title: &'static str,
    /// How much it weighs where nothing else is said; what is declared or asked for changes it.
    pub severity: Severity,
    /// When it weighs more or less, such as "note if the loss is declared"; empty where it never does.
    pub otherwise: &'static str,
    /// The scenarios that can raise it. A custom plan ([`Scenario::Custom`]) can raise all.
    pub scenarios: &'static [Scenario],
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

    /// Whether a scenario can raise it. An operation raises what an upgrade and a rollback do, beside its
    /// own.
    pub fn is_raised_in(&self, scenario: Scenario) -> bool {
        let of = |scenario| self.scenarios.contains(&scenario);
        match scenario {
            Scenario::Custom => true,
            Scenario::Operation => of(scenario) || of(Scenario::Upgrade) || of(Scenario::Rollback),
            _ => of(scenario),
        }
    }

    /// The area, which is the first part of its id.
    pub fn area(&self) -> &'static str {
        self.id.split_once('/').map_or(self.id, |(area, _)| area)
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {}", self.severity, self.id, self.title)
    }
}

/// The areas, which ids begin with, in the order in which an upgrade meets them, each with a heading.
const AREAS: &[(&str, &str)] = &[
    ("file", "In the files"),
    ("history", "In the released files"),
    ("data", "In the data"),
    ("declared", "In what is declared"),
    ("up", "While going up"),
    ("session", "What a migration leaves in its session"),
    ("statement", "In the statements of both releases"),
    ("order", "In another order"),
    ("down", "While going down"),
    ("crash", "After a crash"),
    ("rollback", "In a rollback"),
    ("restore", "After a restored state"),
    ("operation", "In the life of an operation"),
    ("service", "While services are replaced"),
    ("watch", "While a new release is watched"),
    ("traffic", "For users during the upgrade"),
    ("flow", "In what users do"),
    ("validator", "From validators"),
    ("latency", "Between the times of two releases"),
    ("api", "In the interfaces of two releases"),
    ("page", "On pages, in a browser"),
    ("major", "Between major versions of Postgres"),
];

static CATALOGUE: LazyLock<Vec<FindingKind>> = LazyLock::new(|| {
    let parts = [
        before::KINDS,
        up::KINDS,
        order::KINDS,
        crash::KINDS,
        down::KINDS,
        services::KINDS,
        flow::KINDS,
        judge::KINDS,
        latency::KINDS,
        api::KINDS,
        replay::KINDS,
        page::KINDS,
    ];
    let mut all = parts.concat();
    all.sort_unstable_by_key(|kind| kind.id);
    all
});

/// Every kind, in the order of the ids.
pub fn catalogue() -> &'static [FindingKind] {
    &CATALOGUE
}

/// The same kinds by area: each heading with its kinds, in the order in which an upgrade meets the
/// areas.
pub fn by_area() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static FindingKind>)>
{
    AREAS.iter().map(|(area, heading)| {
        let of_area = catalogue().iter().filter(move |kind| kind.area() == *area);
        (*heading, of_area)
    })
}

/// Which scenarios raise a kind.
pub(super) mod scenarios {
    use crate::scenario::Scenario::{
        self, Control, Crash, FreshInstall, Operation, OutOfOrder, Rerun, Rollback, Rolling,
        RoundTrip, SkipRelease, Upgrade,
    };

    pub(crate) const NONE: &[Scenario] = &[];
    pub(crate) const EVERY: &[Scenario] = &Scenario::ALL;
    /// Those that inspect the files.
    pub(crate) const INSPECT: &[Scenario] = &[Upgrade, RoundTrip, Rolling];
    /// Those that apply migrations.
    pub(crate) const UP: &[Scenario] = {
        let [Control, rest @ ..] = &Scenario::ALL else {
            panic!("the first scenario applies none");
        };
        rest
    };
    /// Those that compare rows after the ups.
    pub(crate) const AFTER: &[Scenario] = &[Upgrade, RoundTrip, Rollback, SkipRelease, Rolling];
    /// Those that apply migrations, but for the one that crashes them.
    pub(crate) const NOT_CRASHED: &[Scenario] = &[
        Upgrade,
        RoundTrip,
        Rollback,
        Rerun,
        OutOfOrder,
        FreshInstall,
        SkipRelease,
        Rolling,
    ];
    /// Those that look at the system when the upgrade is complete.
    pub(crate) const COMPLETE: &[Scenario] = &[Upgrade, Crash, Rolling];
    /// Those that compare sequences.
    pub(crate) const SEQUENCES: &[Scenario] = &[
        Control,
        Upgrade,
        RoundTrip,
        Rollback,
        SkipRelease,
        Crash,
        Rolling,
    ];
    /// Those that compare large objects.
    pub(crate) const LARGE_OBJECTS: &[Scenario] =
        &[Control, Upgrade, RoundTrip, Rollback, Crash, Rolling];
    /// Those that compare all of a state.
    pub(crate) const WHOLE: &[Scenario] = &[Control, RoundTrip, Rollback, Rolling];
    /// Those that monitor the sessions of a migration.
    pub(crate) const MONITORED: &[Scenario] = &[Upgrade, RoundTrip];
    pub(crate) const RERUN: &[Scenario] = &[Rerun];
    /// Those in which each migration begins at the state that the one before it left.
    pub(crate) const REBUILT: &[Scenario] = &[RoundTrip, Rerun];
    /// Those that run downs one by one.
    pub(crate) const DOWN: &[Scenario] = &[RoundTrip, Rerun];
    pub(crate) const ROUND_TRIP: &[Scenario] = &[RoundTrip];
    /// Those in which users write between an up migration and its rollback.
    pub(crate) const WRITTEN: &[Scenario] = &[RoundTrip, Rollback, Rolling];
    /// Those that look again at a state that was kept.
    pub(crate) const RESTORED: &[Scenario] = &[Control, Rollback, Crash, Rolling];
    pub(crate) const ROLLED_BACK: &[Scenario] = &[Upgrade, Rollback, Crash, Rolling];
    pub(crate) const CRASH: &[Scenario] = &[Crash];
    /// Those that replace services while users make requests.
    pub(crate) const SERVED: &[Scenario] = &[Upgrade, Rolling];
    pub(crate) const OPERATION: &[Scenario] = &[Operation];
    pub(crate) const OUT_OF_ORDER: &[Scenario] = &[OutOfOrder];
    pub(crate) const FRESH_INSTALL: &[Scenario] = &[FreshInstall];
    pub(crate) const SKIP_RELEASE: &[Scenario] = &[SkipRelease];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_and_a_made_up_one_is_not() {
        let kind = FindingKind::of("down/failed").unwrap();
        assert_eq!(
            kind.to_string(),
            "error[down/failed] a down migration failed"
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
