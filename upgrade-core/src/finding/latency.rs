//! What is found while two releases are sent the same requests.

use super::FindingKind;
use super::kind::scenarios::EVERY;
use crate::finding::Severity::Error;

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "latency/slower",
        title: "a release takes longer to answer than the previous one",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users wait longer for the new release, and the same machines serve fewer of them",
        mend: "compare the plans of the queries behind the requests: a missing index and a query for each row are the usual causes; or allow more, with `Latency::with_margin`",
    },
    FindingKind {
        id: "latency/errors",
        title: "a release answers errors where the previous one does not",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users of the new release get errors for requests that worked before",
        mend: "send the request that the finding names to the new release, and read its log",
    },
    FindingKind {
        id: "latency/sheds-load",
        title: "a release sheds requests at a rate that the previous one bears",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "the new release refuses users at a rate that is usual today",
        mend: "look for what became scarce: connections to the database, workers, a lower limit in the configuration",
    },
];
