//! What flows of users find.

use super::FindingKind;
use super::kind::scenarios::EVERY;
use crate::finding::Severity::Error;

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "flow/step-failed",
        title: "a step of a flow did not come to what was expected",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "what users do every day does not work at this release, or in this phase of the upgrade",
        mend: "send the request that the finding shows; where the releases differ on purpose, say so with `only_at`",
    },
    FindingKind {
        id: "flow/no-answer",
        title: "a service took a request of a flow and did not answer it well",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users wait, or see a broken page, where the previous release answers",
        mend: "look at the log of the service at that time: it hung, crashed, or sent more than anybody reads",
    },
];
