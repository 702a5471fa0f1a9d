//! Whether the statements that a release makes on its tables still work: tried with rows that are
//! there, in a transaction that is rolled back.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::Observer;
use super::batch::each;
use super::fingerprint::Tables;
use super::sql::{quote_ident, quote_literal};
use crate::environment::{Refusal, StatementKind};
use crate::error::{Error, ErrorKind, Result};
use crate::subject::TableRef;

/// How many rows of each table are written.
const ROWS: usize = 3;

/// What the server answers when a row is in the way, or another session: that says nothing of the
/// statement. Unique and exclusion constraints come last, so all else was accepted; a row that
/// others refer to stays.
const NO_REFUSAL: [&str; 8] = [
    "23505", "23P01", "23503", "23001", "55P03", "57014", "40001", "40P01",
];

/// The columns of every table: its path, the column, whether it is computed, whether it is part of
/// the primary key.
const COLUMNS: &str = "
    select n.nspname::text || '.' || c.relname::text, a.attname::text,
        a.attgenerated <> '' or a.attidentity = 'a',
        exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary
            and a.attnum = any(i.indkey::int2[]))
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
    order by c.oid, a.attnum";

/// Whatever takes statements by its name, and whether it is a table: a view may stand in for one.
const RELATIONS: &str = "
    select n.nspname::text || '.' || c.relname::text, c.relkind in ('r', 'p')
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'f')";

/// What the server answers when a value of a row breaks a constraint, or cannot be read as what a
/// trigger makes of it: the class of integrity violations, that of data exceptions, and what types
/// of extensions answer to a text that they cannot read. The newer release writes other values.
const OF_VALUES: [&str; 3] = ["23", "22", "42601"];

/// A table as a release knows it.
#[derive(Debug)]
struct Known {
    /// Schema and name, as the catalog has them.
    path: String,
    /// Its name in observations.
    name: String,
    /// Its name in SQL.
    sql: String,
    /// All of its columns, and those that are written.
    columns: Vec<String>,
    written: Vec<String>,
    key: Vec<String>,
    /// Some of its rows, as texts in the order of the columns.
    rows: Vec<Vec<Option<String>>>,
}

/// The tables of a release, as the database of a session has them.
#[derive(Debug)]
pub(crate) struct Release {
    tables: Vec<Known>,
    /// Whether the rows are those of the database on which the statements are tried: a constraint
    /// that is broken there is one that was never validated, and says nothing of the statement.
    is_live: bool,
}

impl Release {
    /// Reads the tables of a database, with some rows of each.
    pub(crate) async fn read(
        session: &mut PgConnection,
        observer: &Observer,
        is_live: bool,
    ) -> Result<Self> {
        let names = Tables::readable(session, observer.scope())
            .await
            .map_err(|source| {
                Error::new(ErrorKind::Database, "the tables could not be read").with_source(source)
            })?;
        let mut columns: BTreeMap<String, Vec<(String, bool, bool)>> = BTreeMap::new();
        let all: Vec<(String, String, bool, bool)> = sqlx::query_as(COLUMNS)
            .fetch_all(&mut *session)
            .await
            .map_err(|source| failed("the columns of tables", source))?;
        for (path, name, is_computed, in_key) in all {
            let of_table = columns.entry(path).or_default();
            of_table.push((name, is_computed, in_key));
        }
        let mut tables = Vec::new();
        for name in names {
            let path = format!("{}.{}", name.schema, name.name);
            let Some(columns) = columns.remove(&path) else {
                continue;
            };
            let texts: Vec<String> = columns
                .iter()
                .map(|(column, ..)| format!("t.{}::text", quote_ident(column)))
                .collect();
            let sql = name.to_sql();
            let read = format!(
                "select array[{}]::text[] from {sql} t limit {ROWS}",
                texts.join(", ")
            );
            let rows = sqlx::query_scalar(AssertSqlSafe(read))
                .persistent(false)
                .fetch_all(&mut *session)
                .await
                .map_err(|source| failed(&format!("rows of {name}"), source))?;
            let of = |wanted: &dyn Fn(bool, bool) -> bool| -> Vec<String> {
                let all = columns.iter();
                let all = all.filter(|(_, is_computed, in_key)| wanted(*is_computed, *in_key));
                all.map(|(column, ..)| column.clone()).collect()
            };
            tables.push(Known {
                path,
                name: name.to_string(),
                sql,
                columns: of(&|_, _| true),
                written: of(&|is_computed, _| !is_computed),
                key: of(&|_, in_key| in_key),
                rows,
            });
        }
        Ok(Self { tables, is_live })
    }

    /// Tries the statements of the release on a database, in a transaction that is rolled back.
    /// What the database does not have is left out.
    pub(crate) async fn tried(&self, session: &mut PgConnection) -> Result<Vec<Refusal>> {
        // What fails here on purpose is not for the log; only a superuser may say so.
        let _ = session.execute("set log_min_messages = 'fatal'").await;
        let begin = "begin; set local lock_timeout = '1s'; set local statement_timeout = '5s'; savepoint tried";
        let relations: Vec<(String, bool)> = sqlx::query_as(RELATIONS)
            .fetch_all(&mut *session)
            .await
            .map_err(|source| failed("the tables", source))?;
        let relations: BTreeMap<String, bool> = relations.into_iter().collect();
        let sql = |what: &'static str| move |source| failed(what, source);
        session.execute(begin).await.map_err(sql("a transaction"))?;
        let mut refused = Vec::new();
        for table in &self.tables {
            let Some(is_table) = relations.get(&table.path) else {
                continue;
            };
            let mut kinds = Vec::new();
            let mut sent = Vec::new();
            for kind in StatementKind::ALL {
                for statement in table.statements(kind, *is_table) {
                    kinds.push(kind);
                    sent.extend([statement, "rollback to savepoint tried".to_owned()]);
                }
            }
            let answers = each(session, sent.len(), |number| sent[number].clone());
            let answers = answers.await.map_err(sql("an answer"))?;
            let mut seen = BTreeSet::new();
            for (number, error) in answers {
                let kind = kinds[number / 2];
                if let Some(answer) = self.refusal(&*error)
                    && seen.insert(kind)
                {
                    let table_ref = TableRef::new(&table.name);
                    refused.push(Refusal::new(table_ref, kind, table.shown(kind), answer));
                }
            }
        }
        session
            .execute("rollback")
            .await
            .map_err(sql("a transaction"))?;
        Ok(refused)
    }

    /// What the server answers to a statement that it does not accept.
    fn refusal(&self, error: &dyn DatabaseError) -> Option<String> {
        let is_of_row = |code: &str| {
            let of_values = OF_VALUES.iter().any(|class| code.starts_with(class));
            NO_REFUSAL.contains(&code) || (self.is_live && of_values)
        };
        let counts = !error.code().is_some_and(|code| is_of_row(&code));
        counts.then(|| answer(error))
    }
}

fn failed(what: &str, source: sqlx::Error) -> Error {
    let message = format!("{what} could not be read to try the statements of a release");
    Error::new(ErrorKind::Database, message).with_source(source)
}

/// The server's words: the message, its detail, and where in a function it happened.
fn answer(error: &dyn DatabaseError) -> String {
    let mut answer = error.message().to_owned();
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        for (what, text) in [
            ("DETAIL", error.detail()),
            ("HINT", error.hint()),
            ("CONTEXT", error.r#where()),
        ] {
            if let Some(text) = text {
                answer.push_str(&format!("\n{what}: {text}"));
            }
        }
    }
    answer
}

impl Known {
    /// The statements of a kind: one, or one for each row that is written.
    fn statements(&self, kind: StatementKind, of_table: bool) -> Vec<String> {
        let table = &self.sql;
        if self.written.is_empty() {
            return Vec::new();
        }
        let written = quoted(&self.written).join(", ");
        let rows = self.rows.iter();
        match kind {
            StatementKind::Select => {
                let columns = quoted(&self.columns).join(", ");
                vec![format!("select {columns} from {table} limit 1")]
            }
            StatementKind::Insert if self.rows.is_empty() => {
                // Nothing is inserted: the names are checked all the same.
                let values = vec!["null"; self.written.len()].join(", ");
                vec![format!(
                    "insert into {table} ({written}) select {values} where false"
                )]
            }
            StatementKind::Insert => rows
                .map(|row| {
                    let values: Vec<String> =
                        self.written.iter().map(|it| self.value(row, it)).collect();
                    let values = values.join(", ");
                    // The row makes room for itself.
                    match self.same(row, false) {
                        Some(same) => format!(
                            "with gone as (delete from {table} where {same} returning 1) \
                             insert into {table} ({written}) \
                             select {values} where (select count(*) from gone) >= 0"
                        ),
                        None => format!("insert into {table} ({written}) values ({values})"),
                    }
                })
                .collect(),
            StatementKind::Update => rows
                .filter_map(|row| {
                    let set: Vec<String> = self
                        .written
                        .iter()
                        .map(|it| format!("{} = {}", quote_ident(it), self.value(row, it)))
                        .collect();
                    let same = self.same(row, of_table)?;
                    Some(format!(
                        "update {table} set {} where {same}",
                        set.join(", ")
                    ))
                })
                .collect(),
            StatementKind::Delete => rows
                .filter_map(|row| {
                    let same = self.same(row, of_table)?;
                    Some(format!("delete from {table} where {same}"))
                })
                .collect(),
        }
    }

    /// The value of a column in a row, as a client sends it.
    fn value(&self, row: &[Option<String>], column: &String) -> String {
        let place = self.columns.iter().position(|name| name == column);
        let value = place.and_then(|place| row.get(place)?.as_deref());
        value.map_or_else(|| "null".to_owned(), quote_literal)
    }

    /// The condition that names the row of the same key; any row of a table without a key, if
    /// that will do.
    fn same(&self, row: &[Option<String>], or_any: bool) -> Option<String> {
        if self.key.is_empty() {
            let any = format!("ctid = (select ctid from {} limit 1)", self.sql);
            return or_any.then_some(any);
        }
        let parts = self.key.iter();
        let parts = parts.map(|it| format!("{} = {}", quote_ident(it), self.value(row, it)));
        Some(parts.collect::<Vec<_>>().join(" and "))
    }

    /// A statement as a release would write it.
    fn shown(&self, kind: StatementKind) -> String {
        let table = &self.name;
        match kind {
            StatementKind::Select => format!("select {} from {table}", readable(&self.columns)),
            StatementKind::Insert => {
                format!(
                    "insert into {table} ({}) values (..)",
                    readable(&self.written)
                )
            }
            StatementKind::Update => {
                let set: Vec<String> = self
                    .written
                    .iter()
                    .map(|name| format!("{} = ..", readable(std::slice::from_ref(name))))
                    .collect();
                format!("update {table} set {}", set.join(", "))
            }
            StatementKind::Delete => format!("delete from {table}"),
        }
    }
}

fn quoted(columns: &[String]) -> Vec<String> {
    columns.iter().map(|name| quote_ident(name)).collect()
}

/// Columns as a person writes them: in quotes only where a name is no plain word.
fn readable(columns: &[String]) -> String {
    let plain = |name: &str| {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        name.bytes().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let names = columns.iter().map(|name| match plain(name) {
        true => name.clone(),
        false => quote_ident(name),
    });
    names.collect::<Vec<_>>().join(", ")
}
