//! What the files show before any of them runs.

use super::FindingKind;
use crate::validator::Severity::{Error, Note, Warning};

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "duplicate-version",
        title: "two files have one version",
        severity: Error,
        breaks: "whoever deploys gets one of the two changes and not the other, without a word or with a failed start",
        mend: "give one of the two a version of its own, above all that are released",
    },
    FindingKind {
        id: "unreadable-step",
        title: "a step is code or a template, not SQL",
        severity: Error,
        breaks: "the step is not tested at all, and every migration above it is tested on a schema that nobody has",
        mend: "give its SQL with `MigrationFolder::supply`, or fill its placeholders with `MigrationFolder::fill`",
    },
    FindingKind {
        id: "invalid-file",
        title: "the tool would refuse the file",
        severity: Error,
        breaks: "the deploy fails before it begins, or skips the file without a word",
        mend: "name and write the file as its tool asks for",
    },
    FindingKind {
        id: "up-missing",
        title: "there is a way back without a way forward",
        severity: Error,
        breaks: "the change that the down undoes is never made; whoever reverts drops what something else made",
        mend: "add the up with the same version, or remove the down",
    },
    FindingKind {
        id: "unsupported-statement",
        title: "only psql can run a statement",
        severity: Error,
        breaks: "the migration works by hand in psql and fails in the deploy, where a server gets it",
        mend: "write it as SQL: `\\copy` and `\\i` are commands of psql, not of the server",
    },
    FindingKind {
        id: "up-empty",
        title: "the way forward does nothing",
        severity: Warning,
        breaks: "the version is recorded as applied, so the change that was meant never comes to systems that have run it",
        mend: "write its SQL, or remove the file before it is released",
    },
    FindingKind {
        id: "down-missing",
        title: "a migration has no way back",
        severity: Note,
        breaks: "who has to go back cannot do so by the downs; the undo of sqlx says that all is well and undoes nothing",
        mend: "write its down, or do not ask for `reversible`",
    },
    FindingKind {
        id: "down-empty",
        title: "the way back does nothing",
        severity: Note,
        breaks: "the tool records the migration as reverted while all of it is still there; the next up fails on it",
        mend: "write what undoes the up, or remove the down so that tools know there is none",
    },
    FindingKind {
        id: "irreversible-in-range",
        title: "a one-way migration lies between reversible ones",
        severity: Warning,
        breaks: "whoever reverts past it is told that all is well: sqlx passes over it and leaves its tables and its record, on which the old release fails",
        mend: "write its down, or go back across it by a kept copy only",
    },
    FindingKind {
        id: "edited-applied-migration",
        title: "a released migration was changed",
        severity: Error,
        breaks: "systems that ran the old text refuse to start or keep another schema than new ones; undo checks no checksum and reverts what was never made",
        mend: "put the file back as it was released and write a new migration",
    },
    FindingKind {
        id: "edited-applied-down",
        title: "the way back of a released migration was changed",
        severity: Error,
        breaks: "no tool keeps a checksum of downs: the new text runs against what the old up made",
        mend: "put the down back as it was released, or make sure that it fits what the old up made",
    },
    FindingKind {
        id: "removed-migration",
        title: "a released migration is gone",
        severity: Error,
        breaks: "tools refuse to start on systems that have applied it, and new systems never get it",
        mend: "put the file back; to take its effect away, write a new migration",
    },
    FindingKind {
        id: "late-version",
        title: "a pending version sorts below an applied one",
        severity: Warning,
        breaks: "systems that are ahead apply it out of order, skip it or refuse it, each tool in its way; new systems run another order",
        mend: "give it a version above all others before it is released",
    },
    FindingKind {
        id: "no-transaction-several-statements",
        title: "a file without a transaction has several statements",
        severity: Error,
        breaks: "the statements are sent as one text, which Postgres makes one transaction: `create index concurrently` among them fails in the deploy",
        mend: "put each statement that must run outside of a transaction into a file of its own",
    },
    FindingKind {
        id: "checksum-line-endings",
        title: "the checksum of a file depends on its line endings",
        severity: Warning,
        breaks: "a checkout with other line endings has other checksums: its binary refuses a database that another one migrated",
        mend: "write the file with LF and say so in `.gitattributes`: `*.sql text eol=lf`",
    },
    FindingKind {
        id: "transaction-control-in-file",
        title: "a file that runs in a transaction begins or ends one itself",
        severity: Warning,
        breaks: "its own commit ends the transaction of the tool: what comes after it, and the record, are no longer one with the change, and a failure leaves half of it",
        mend: "remove `begin` and `commit`; where the file must not be in a transaction, say so in the tool's way",
    },
];
