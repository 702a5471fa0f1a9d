//! What a script leaves in its session, where its tool goes on: settings, advisory locks, an open
//! transaction.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, FromRow as _};

use super::MigrationId;
use super::folder::Script;
use crate::context::UpgradeContext;
use crate::finding::Blame;
use crate::finding::Finding;
use crate::postgres::sql::keywords;

/// What is set in this session.
const SETTINGS: &str = "
    select name, coalesce(setting, '') from pg_catalog.pg_settings
    where source = 'session' and name not like 'transaction%'
    union all";

/// What a `reset` would bring back, and the role, which is no setting on the list.
///
/// And the advisory locks that it holds when no transaction is open, which have no value; and
/// whether a transaction was open before this was asked: as one simple query it begins its own, if
/// none is, at the moment at which it arrives.
const BESIDE: &str = "
    select 'role', pg_catalog.current_setting('role')
    union all
    select 'search_path', pg_catalog.current_setting('search_path')
    union all
    select classid || ' ' || objid || ' ' || objsubid, null from pg_catalog.pg_locks
    where locktype = 'advisory' and granted and pid = pg_catalog.pg_backend_pid()
    union all
    select 'in transaction',
        (pg_catalog.transaction_timestamp() <> pg_catalog.statement_timestamp())::text";

/// The row of [`BESIDE`] about the transaction; no setting has a blank in its name.
const IN_TRANSACTION: &str = "in transaction";

/// The state of a session, as far as the next one to use it would feel it.
#[derive(Debug, Default)]
pub(super) struct Traces {
    settings: BTreeMap<String, String>,
    locks: BTreeSet<String>,
    in_transaction: bool,
}

impl Traces {
    /// Observes the session. The result is `None` for a session that cannot be queried, because its
    /// transaction has failed or its connection is lost.
    pub(super) async fn of(session: &mut PgConnection) -> Option<Self> {
        Self::asked(session, format!("{SETTINGS}{BESIDE}")).await
    }

    /// Observes a session in which nothing was set since it was opened: the server takes longer for its
    /// list of settings than for most migrations.
    pub(super) async fn of_new(session: &mut PgConnection) -> Option<Self> {
        Self::asked(session, BESIDE.to_owned()).await
    }

    async fn asked(session: &mut PgConnection, sql: String) -> Option<Self> {
        let mut traces = Self::default();
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(session);
        for row in rows.await.ok()? {
            let (name, value) = <(String, Option<String>)>::from_row(&row).ok()?;
            match value {
                Some(value) if name == IN_TRANSACTION => traces.in_transaction = value == "true",
                Some(value) => drop(traces.settings.insert(name, value)),
                None => drop(traces.locks.insert(name)),
            }
        }
        Some(traces)
    }

    /// Whether a transaction was open when it was looked at.
    pub(super) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Tells what a script has changed since, once its transaction is over.
    pub(super) fn compare(
        &self,
        now: &Self,
        cx: &UpgradeContext,
        id: &MigrationId,
        script: &Script,
    ) {
        self.compare_settings(now, cx, id, script);
        if now.locks.difference(&self.locks).next().is_some() {
            let message = format!(
                "leaves an advisory lock to the session, which a pool keeps open{}",
                place(script, |_, text| text.contains("pg_advisory_lock")
                    || text.contains("pg_try_advisory_lock"))
            );
            notice(cx, "session/lock-leaked", id, script, message);
        }
    }

    /// Tells which settings a script has changed since.
    pub(super) fn compare_settings(
        &self,
        now: &Self,
        cx: &UpgradeContext,
        id: &MigrationId,
        script: &Script,
    ) {
        let names: BTreeSet<&String> = self.settings.keys().chain(now.settings.keys()).collect();
        for name in names {
            let (then, now) = (self.settings.get(name), now.settings.get(name));
            if then == now {
                continue;
            }
            let value = |value: Option<&String>| match value {
                Some(value) => format!("`{value}`"),
                None => "not set".to_owned(),
            };
            let message = format!(
                "leaves the setting `{name}` changed for whoever uses the session next: was {}, is {}{}",
                value(then),
                value(now),
                place(script, |words, text| {
                    matches!(
                        words.first().map(String::as_str),
                        Some("SET" | "RESET" | "SELECT")
                    ) && text.contains(name.as_str())
                })
            );
            notice(cx, "session/setting-leaked", id, script, message);
        }
    }
}

/// Whether a statement of the script may change a setting.
pub(super) fn names_setting(script: &Script) -> bool {
    script.sql.to_ascii_lowercase().contains("set")
}

/// Tells that a script has left a transaction open.
pub(super) fn left_open(cx: &UpgradeContext, id: &MigrationId, script: &Script) {
    let message = format!(
        "leaves a transaction open; what it did goes with the session, and so does its record{}",
        place(script, |words, _| matches!(
            words.first().map(String::as_str),
            Some("BEGIN" | "START")
        ))
    );
    notice(cx, "session/transaction-open", id, script, message);
}

fn notice(cx: &UpgradeContext, finding: &str, id: &MigrationId, script: &Script, message: String) {
    let blame = Blame {
        migration: id.clone(),
        file: Some(script.path.display().to_string()),
    };
    cx.notice(Finding::error(finding, format!("migration {id}"), message).with_blame(blame));
}

/// Where a script changes the `search_path` before the line of a statement that has failed because
/// a name was not found.
pub(super) fn search_path_of(script: &Script, line: usize, error: &sqlx::Error) -> Option<String> {
    // Unknown tables, schemas, functions, types.
    const NOT_FOUND: [&str; 4] = ["42P01", "3F000", "42883", "42704"];
    let code = error.as_database_error()?.code()?;
    if !NOT_FOUND.contains(&code.as_ref()) {
        return None;
    }
    let statements = script.statements();
    let (at, _) = statements.iter().find(|(at, statement)| {
        let first = keywords(statement.text, 1);
        let sets = matches!(first.first().map(String::as_str), Some("SET" | "SELECT"));
        sets && *at <= line && statement.text.to_ascii_lowercase().contains("search_path")
    })?;
    Some(format!("{}:{at}", script.path.display()))
}

/// Where the first statement stands that does it, if one can be told.
fn place(script: &Script, does: impl Fn(&[String], &str) -> bool) -> String {
    let statements = script.statements();
    let mut lines = statements.iter().filter(|(_, statement)| {
        does(
            &keywords(statement.text, 1),
            &statement.text.to_ascii_lowercase(),
        )
    });
    match lines.next() {
        Some((line, _)) => format!(" ({}:{line})", script.path.display()),
        None => String::new(),
    }
}
