//! What is found after a migration was interrupted.

use super::FindingKind;
use super::kind::scenarios::CRASH;
use crate::finding::Severity::{Error, Note, Warning};

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "crash/not-rerunnable",
        title: "after an interruption the migration cannot be run again",
        severity: Error,
        otherwise: "warning if a rollback by the downs and a second upgrade succeed",
        scenarios: CRASH,
        breaks: "one lost connection in the deploy leaves a system that can be neither upgraded nor left alone, until a person mends it by hand",
        mend: "make each statement repeatable, or run them in one transaction",
    },
    FindingKind {
        id: "crash/not-revertible",
        title: "after an interruption the migration cannot be reverted",
        severity: Error,
        otherwise: "",
        scenarios: CRASH,
        breaks: "whoever rolls back because the deploy was interrupted is stopped half-way: a down fails on what the interruption left or never made, or the tool refuses to revert what was begun and has not ended",
        mend: "run the up in one transaction; where that cannot be, let the down of the migration before it remove the leftovers, with `if exists`",
    },
    FindingKind {
        id: "crash/half-applied",
        title: "an interruption leaves a migration partly applied",
        severity: Warning,
        otherwise: "",
        scenarios: CRASH,
        breaks: "the record says pending or applied, and the schema is neither: both releases meet a schema that nobody has written for",
        mend: "run the statements in one transaction, or one statement to a file",
    },
    FindingKind {
        id: "crash/record-wrong",
        title: "after an interruption the record and the schema disagree",
        severity: Error,
        otherwise: "warning unless the record reports the migration as applied",
        scenarios: CRASH,
        breaks: "the tool skips a migration that is not there, or runs again one that is; each later deploy builds on it",
        mend: "record in the transaction of the migration; where that cannot be, let the statement be repeatable",
    },
    FindingKind {
        id: "crash/result-differs",
        title: "after an interruption, a second run ends with another schema or other rows",
        severity: Error,
        otherwise: "note if an object differs in form only or traffic is declared to change the rows",
        scenarios: CRASH,
        breaks: "the deploy says that all is well, and this one system has another schema than all others",
        mend: "replace `if not exists` by a check of what is there, and drop what an interruption may have left first",
    },
    FindingKind {
        id: "crash/not-felt",
        title: "a migration finished before it was interrupted",
        severity: Note,
        otherwise: "",
        scenarios: CRASH,
        breaks: "nothing was tested: it works over a connection that the test cannot reach, or had ended before",
        mend: "let it reach the database through the endpoints of the context only",
    },
    FindingKind {
        id: "crash/unlogged-emptied",
        title: "a crash of the server has emptied an unlogged table",
        severity: Note,
        otherwise: "",
        scenarios: CRASH,
        breaks: "whoever takes the table for lasting: each crash of the server, and each copy of its files, begins with an empty one",
        mend: "keep in it only what can be made again; else `alter table .. set logged`",
    },
];
