//! What is found while migrations are applied, and in what they leave.

use super::FindingKind;
use crate::validator::Severity::{Error, Note, Warning};

pub(super) const KINDS: &[FindingKind] = &[
    FindingKind {
        id: "up-failed",
        title: "a migration could not be applied",
        severity: Error,
        breaks: "the deploy stops here, on a database with rows; on an empty one it may well have passed",
        mend: "mend the statement that the server names, for the rows that are there",
    },
    FindingKind {
        id: "applied-before",
        title: "the system says that the migration is applied already",
        severity: Warning,
        breaks: "nothing was tested: the migration did not run, because the previous release has it or another step ran it",
        mend: "name the previous release that lacks it with `from`, or look who applied it",
    },
    FindingKind {
        id: "rows-lost-by-up",
        title: "a table has fewer rows after the upgrade",
        severity: Error,
        breaks: "users miss what they had stored, and no down brings it back",
        mend: "keep the rows, or say that it is meant: `.expect_change(table, reason)`",
    },
    FindingKind {
        id: "rows-changed-by-up",
        title: "rows have other values after the upgrade, or there are more of them",
        severity: Warning,
        breaks: "users read other values than they wrote, and the old ones are not kept",
        mend: "look whether each value is what the new release wants, and say so: `.expect_change(table, reason)`",
    },
    FindingKind {
        id: "loss-did-not-happen",
        title: "a declared loss did not happen",
        severity: Error,
        breaks: "the declaration is stale: it would excuse a real loss in the same place, and nobody would see it",
        mend: "remove the declaration, or correct what it names",
    },
    FindingKind {
        id: "table-renamed",
        title: "a table has another name, with its rows",
        severity: Note,
        breaks: "instances of the previous release that still run ask for the old name",
        mend: "leave a view with the old name while instances of the previous release run",
    },
    FindingKind {
        id: "large-objects-differ",
        title: "large objects are missing or changed",
        severity: Error,
        breaks: "rows keep the number of a large object that is gone or holds something else; reading it fails",
        mend: "unlink a large object only when no row names it any more, and bring it back in the down",
    },
    FindingKind {
        id: "second-up-schema-differs",
        title: "after a down, the same up gives another schema",
        severity: Error,
        breaks: "a release that was rolled back and deployed again runs on another schema than one that was deployed once",
        mend: "let the up depend on nothing but the schema: no time, no random value, nothing that the down leaves",
    },
    FindingKind {
        id: "up-twice-differs",
        title: "applying again is not without effect",
        severity: Error,
        breaks: "an instance that starts while another migrates, or a job that is tried again, changes the database a second time",
        mend: "have the record tell that it is applied, in the transaction of the migration",
    },
    FindingKind {
        id: "session-setting-leaked",
        title: "a migration leaves a setting of the session changed",
        severity: Error,
        breaks: "the tool runs later migrations in the same session: after `set search_path` they and the tool's own record meet other tables or none",
        mend: "use `set local`, which ends with the transaction, or write qualified names",
    },
    FindingKind {
        id: "advisory-lock-leaked",
        title: "an advisory lock is still held after the migration",
        severity: Error,
        breaks: "a pooled connection keeps the lock of the migrator: the next deploy waits for it for ever",
        mend: "close the connection that migrated, also on failure, or take locks of the transaction: `pg_advisory_xact_lock`",
    },
    FindingKind {
        id: "transaction-left-open",
        title: "a transaction is still open after the migration",
        severity: Error,
        breaks: "its locks stop every user of the tables, and what it did goes when the connection goes",
        mend: "take `begin` without `commit` out of the file; the tool puts the transaction around it",
    },
    FindingKind {
        id: "invalid-index-accepted",
        title: "an index that is not valid counts as made",
        severity: Error,
        breaks: "no query uses the index and a unique one checks nothing, while every write pays for it and the record says that all is well",
        mend: "drop the index first: `drop index concurrently if exists`, then create it without `if not exists`",
    },
    FindingKind {
        id: "constraint-not-validated",
        title: "a constraint is left that was never validated",
        severity: Warning,
        breaks: "old rows may break what everybody takes for granted, and fail one by one when they are next updated",
        mend: "follow `not valid` by `alter table .. validate constraint ..` in a migration of its own",
    },
    FindingKind {
        id: "prepared-statement-broken",
        title: "a statement that was prepared before the upgrade fails after it",
        severity: Note,
        breaks: "instances of the previous release fail with `cached plan must not change result type` on each pooled connection until it is closed",
        mend: "name the columns instead of `select *`, and renew pooled connections after the migration",
    },
    FindingKind {
        id: "column-dropped-with-data",
        title: "a column is gone, and its values with it",
        severity: Error,
        breaks: "what users stored there cannot be read any more, by either release",
        mend: "move the values in the same migration; if the loss is meant, declare it with its reason",
    },
];
