//! What is found while services are replaced, and by their users.

use super::FindingKind;
use super::kind::scenarios::{NONE, OPERATION, SERVED};
use crate::finding::Severity::{Error, Warning};

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "service/not-up",
        title: "the services of a release do not come up",
        severity: Error,
        otherwise: "",
        scenarios: SERVED,
        breaks: "the deploy hangs with a part of the instances replaced; if it is the old release, a rollback brings nothing back",
        mend: "read the last lines of the container; a release has to start on the schema of the other one, too",
    },
    FindingKind {
        id: "operation/stuck",
        title: "an operation does not come to its end after its tool died",
        severity: Error,
        otherwise: "",
        scenarios: OPERATION,
        breaks: "the next tool is refused, or fails, and a person has to repair the system by hand",
        mend: "read what was refused: an up or a down that cannot be run again after a crash is the usual cause; `crash` shows it alone",
    },
    FindingKind {
        id: "operation/end-differs",
        title: "an operation whose tool died ends in another state",
        severity: Error,
        otherwise: "",
        scenarios: OPERATION,
        breaks: "after a crash of the deploy tool the system is not the one that was tested",
        mend: "look for a migration that is not in one transaction with its record: a part of it is there twice, or not at all",
    },
    FindingKind {
        id: "watch/failed",
        title: "the policy of a watch decided to roll back",
        severity: Error,
        otherwise: "",
        scenarios: NONE,
        breaks: "a check of the new release fails, while users work with it, as often as the policy permits at most",
        mend: "read the message of the check; rehearse what users did when it failed, then plan the upgrade again",
    },
    FindingKind {
        id: "service/configuration-edited",
        title: "somebody has edited the configuration that is to be switched",
        severity: Error,
        otherwise: "",
        scenarios: NONE,
        breaks: "the edit would be lost with the switch, and a rollback would not restore it",
        mend: "take the edit into the configuration of the release, or undo it, and plan again",
    },
    FindingKind {
        id: "traffic/lost",
        title: "requests of users were not answered",
        severity: Error,
        otherwise: "note up to the number that `Traffic::with_most_lost` allows, and during an injected fault",
        scenarios: SERVED,
        breaks: "users see errors while the upgrade is under way, and cannot know whether what they sent was done",
        mend: "stop leading requests to an instance before it stops, let it end those that it has, start its successor first; or say how many may be lost: `Traffic::with_most_lost`",
    },
    FindingKind {
        id: "traffic/wrong",
        title: "requests of users were answered wrongly",
        severity: Error,
        otherwise: "",
        scenarios: SERVED,
        breaks: "users work with wrong data, and nobody notices",
        mend: "start with the mixed versions at which it began: each release has to understand what the other one writes",
    },
    FindingKind {
        id: "traffic/slow",
        title: "requests of users took too long",
        severity: Warning,
        otherwise: "",
        scenarios: SERVED,
        breaks: "users wait, and their own time limits turn slow answers into lost ones",
        mend: "look at the step: a migration that holds a lock, or too few instances that are ready at once",
    },
    FindingKind {
        id: "service/not-recovered",
        title: "a service does not recover from a fault",
        severity: Error,
        otherwise: "",
        scenarios: SERVED,
        breaks: "after a crash, a pause or a cut connection users are served wrongly, or not at all, until somebody steps in",
        mend: "let the service wait for what it needs when it starts, connect again when a connection is lost, and keep nothing in memory that was acknowledged",
    },
];
