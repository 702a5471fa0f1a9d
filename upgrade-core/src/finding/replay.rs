//! What is found when recorded requests are replayed against two releases.

use super::FindingKind;
use super::kind::scenarios::EVERY;
use crate::finding::Severity::{Error, Note, Warning};

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "api/answer-differs",
        title: "the new release answers a recorded request otherwise",
        severity: Error,
        otherwise: "warning if only some repeats of one request differ, or in the order of so few values that two runs agree in it by chance, note if an error of the previous release is mended",
        scenarios: EVERY,
        breaks: "clients get another value, order or number of elements for the same request over the same data",
        mend: "send the request of the evidence to both releases and look for what computes the value; a migration may have changed the data it is computed from",
    },
    FindingKind {
        id: "api/answer-type-changed",
        title: "a value in the answers of the new release has another JSON type",
        severity: Error,
        otherwise: "warning if only some repeats of one request differ",
        scenarios: EVERY,
        breaks: "clients with typed models cannot read the answer at all",
        mend: "keep the type, and add a field for the new one; remove the old field when no client reads it",
    },
    FindingKind {
        id: "api/answer-lacks",
        title: "the answers of the new release lack something that was always there",
        severity: Error,
        otherwise: "warning if only some repeats of one request differ",
        scenarios: EVERY,
        breaks: "clients that read the field fail, or show nothing",
        mend: "keep the field for as long as released clients read it",
    },
    FindingKind {
        id: "api/answer-new",
        title: "the answers of the new release have something more",
        severity: Note,
        otherwise: "",
        scenarios: EVERY,
        breaks: "nothing for most clients; one that refuses unknown fields cannot read the answer",
        mend: "nothing, if clients ignore what they do not know",
    },
    FindingKind {
        id: "api/endpoint-gone",
        title: "the new release does not have an endpoint that works in the previous one",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "each client that was not updated together with the service fails",
        mend: "keep the endpoint, or redirect it, until no released client uses it",
    },
    FindingKind {
        id: "api/endpoint-fails",
        title: "the new release fails on a request that the previous one answers",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "users see an error where they saw none",
        mend: "send the request of the evidence to the new release and read its log; on migrated data look for values that it does not expect",
    },
    FindingKind {
        id: "api/rows-differ",
        title: "the same requests make the new release write other rows",
        severity: Error,
        otherwise: "",
        scenarios: EVERY,
        breaks: "what users do is stored wrongly, or not at all, although the answers may look right",
        mend: "look at the columns of the evidence, and at which request writes them",
    },
    FindingKind {
        id: "api/rows-unreached",
        title: "no request reaches the rows of a table any more",
        severity: Warning,
        otherwise: "",
        scenarios: EVERY,
        breaks: "if nothing else holds a copy of those rows, their users no longer see what they have stored",
        mend: "look for the endpoint that read the table; move its rows in a migration, or keep the endpoint",
    },
];
