//! What validators find.

use super::FindingKind;
use super::kind::scenarios::{EVERY, NONE};
use crate::finding::Severity::Error;

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "major/differs",
        title: "on the newer major version, an object or the rows of a table differ",
        severity: Error,
        otherwise: "",
        scenarios: NONE,
        breaks: "the copy is not the database that it was made from",
        mend: "let nobody write to the old server while it is copied, and copy again; look at what the object needs that the newer major no longer has",
    },
    FindingKind {
        id: "validator/invariant-broken",
        title: "a query that must return no rows returned some",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "what the team said must always hold does not hold for the rows that are shown",
        mend: "look at the rows: either a migration broke them, or the query asks for what only one of the two releases has",
    },
    FindingKind {
        id: "validator/metric-out-of-bounds",
        title: "a metric is outside of its bound",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users of the new release get more errors, or wait longer, than the team allows",
        mend: "look at the series that the finding names: which instance, which route; roll back before you search for long",
    },
    FindingKind {
        id: "validator/failed",
        title: "a validator failed without a finding",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "the upgrade is stopped, and nobody can tell from the report what is wrong",
        mend: "have the validator raise a finding: `Finding::error(id, subject, message)`",
    },
    FindingKind {
        id: "validator/panicked",
        title: "an assertion in a validator failed",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "what the assertion asks for does not hold at this release",
        mend: "read the assertion's message; where a release is asked for what it does not have, ask `cx.is_upgraded()` first",
    },
];
