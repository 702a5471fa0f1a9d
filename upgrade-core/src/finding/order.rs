//! What is found when the same migrations come to a system on another way.

use super::FindingKind;
use super::kind::scenarios::{FRESH_INSTALL, OUT_OF_ORDER, SKIP_RELEASE};
use crate::finding::Severity::Error;

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "order/late-differs",
        title: "a migration that is applied out of order gives another schema",
        severity: Error,
        otherwise: "note if an object differs in form only",
        scenarios: OUT_OF_ORDER,
        breaks: "a branch that is merged below the head makes one schema where it comes in order and another where the head was deployed before",
        mend: "give it a version above the head, or make the two independent of each other",
    },
    FindingKind {
        id: "order/fresh-install-differs",
        title: "a fresh install differs from an upgraded one",
        severity: Error,
        otherwise: "note if an object differs in form only",
        scenarios: FRESH_INSTALL,
        breaks: "what developers and tests run on, built from nothing, is not what customers have: tests pass and production fails",
        mend: "write a migration that brings upgraded systems to the schema of new ones, and no longer edit old files",
    },
    FindingKind {
        id: "order/release-path-differs",
        title: "an upgrade from an earlier release ends with another schema",
        severity: Error,
        otherwise: "note if an object differs in form only",
        scenarios: SKIP_RELEASE,
        breaks: "customers who skip releases have another schema or other rows than those who took each one",
        mend: "make each migration depend on the schema alone, not on what a service did between two releases",
    },
];
