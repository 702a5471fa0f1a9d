//! Sends rows: by COPY when there are many, by INSERT when there are few or a cell is the default.
//!
//! Each batch runs in a savepoint, so that a refused one leaves the transaction usable.

use std::collections::BTreeSet;

use sqlx::postgres::{PgCopyIn, PgDatabaseError, PgRow};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::error::{Doing as _, SeedError, out_of_locks};
use super::resolve::Cells;
use super::schema::{Table, Trigger, quote};
use super::value::SqlValue;

/// From this many rows on, COPY is faster than its two more round trips.
const COPY_FROM: usize = 16;

/// Bytes sent at once. Rows are drawn between two of them, while the server reads.
const CHUNK: usize = 32 << 10;

const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT upgrade_seed; RELEASE SAVEPOINT upgrade_seed";

/// Why Postgres refused a batch.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) sqlstate: String,
    /// The constraint, column or trigger, as far as it is named.
    pub(crate) part: String,
    pub(crate) message: String,
    /// The offending row of the batch, from one, if it is known.
    pub(crate) line: Option<usize>,
    /// The functions in which it happened, the innermost first.
    functions: Vec<String>,
}

impl Refusal {
    /// Whether other values may be accepted: data exceptions, violated constraints, an exception
    /// that a trigger raised, and keys too long for an index.
    pub(crate) fn depends_on_values(&self) -> bool {
        // 42601, 42602 and 42622: a type of an extension, such as `ltree`, could not read a text.
        ["22", "23", "P0", "54", "42601", "42602", "42622"]
            .iter()
            .any(|class| self.sqlstate.starts_with(class))
    }

    /// The configuration parameters that were missing, or that a trigger of the table reads which
    /// refused the row.
    pub(crate) fn settings(&self, table: &Table) -> Vec<String> {
        let mut settings: Vec<String> = table
            .triggers
            .iter()
            .filter(|trigger| self.functions.contains(&trigger.function))
            .flat_map(|trigger| trigger.settings.iter().cloned())
            .collect();
        // `unrecognized configuration parameter "app.tenant"`, in whatever language.
        if self.sqlstate == "42704"
            && let Some(name) = self.message.split('"').nth(1)
            && name.contains('.')
            && !settings.iter().any(|setting| setting == name)
        {
            settings.insert(0, name.to_owned());
        }
        settings
    }

    /// Fails with what was said unless other values may be accepted.
    pub(crate) fn must_depend_on_values(&self, table: &Table) -> Result<(), SeedError> {
        if self.depends_on_values() {
            return Ok(());
        }
        Err(SeedError::CannotFill {
            table: table.label(),
            part: self.part_of(table),
            tries: 1,
            sqlstate: self.sqlstate.clone(),
            message: self.message.clone(),
            hint: match &self.settings(table)[..] {
                [] => format!("leave it out with `.skip(\"{}\")`", table.label()),
                settings => setting_help(settings),
            },
        })
    }

    /// Whether it means that there is no room for more rows.
    pub(crate) fn means_full(&self) -> bool {
        matches!(self.sqlstate.as_str(), "23505" | "23P01" | "P0001")
    }

    /// What refused: as [`part`](Self::part), and the trigger of this table that it was called by.
    pub(crate) fn part_of(&self, table: &Table) -> String {
        let called = |trigger: &&Trigger| self.functions.contains(&trigger.function);
        match table.triggers.iter().find(called) {
            Some(trigger) => format!("trigger `{}` ({})", trigger.name, self.part),
            None => self.part.clone(),
        }
    }

    fn new(error: &PgDatabaseError) -> Self {
        let functions: Vec<String> = error.r#where().map(functions).unwrap_or_default();
        let part = match (error.constraint(), error.column()) {
            (Some(constraint), _) => format!("constraint `{constraint}`"),
            (None, Some(column)) => format!("column `{column}`"),
            (None, None) => match (functions.first(), error.r#where().and_then(copy_column)) {
                (Some(function), _) => format!("function `{function}`"),
                (None, Some(column)) => format!("column `{column}`"),
                (None, None) => "the table".to_owned(),
            },
        };
        let detail = error
            .detail()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        Self {
            sqlstate: error.code().to_owned(),
            part,
            message: format!("{}{detail}", error.message()),
            line: error.r#where().and_then(copy_line),
            functions,
        }
    }
}

/// How to give the seeder's session what a trigger reads.
pub(crate) fn setting_help(settings: &[String]) -> String {
    let calls: Vec<String> = settings
        .iter()
        .map(|name| format!("`.setting(\"{name}\", VALUE)`"))
        .collect();
    format!(
        "give the seeder's session what the application sets in its own: {}",
        calls.join(" and ")
    )
}

/// The names in `PL/pgSQL function app.refuse() line 3 at RAISE`, the innermost first.
fn functions(context: &str) -> Vec<String> {
    let name = |line: &str| {
        let called = line.strip_prefix("PL/pgSQL function ")?;
        let (name, _) = called.split_once('(')?;
        let name = name.rsplit('.').next()?;
        Some(name.trim_matches('"').replace("\"\"", "\""))
    };
    context.lines().filter_map(name).collect()
}

/// The number in `COPY orders, line 17, column ..`.
fn copy_line(context: &str) -> Option<usize> {
    let line = context
        .lines()
        .rev()
        .find(|line| line.starts_with("COPY "))?;
    let (_, rest) = line.split_once(", line ")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn copy_column(context: &str) -> Option<&str> {
    let line = context.lines().find(|line| line.starts_with("COPY "))?;
    let (_, rest) = line.split_once(", column ")?;
    rest.split(':').next()
}

/// A batch on its way: the server works on the part of it that it has.
pub(crate) enum Sending<'c> {
    Copy {
        copy: PgCopyIn<&'c mut PgConnection>,
        data: Vec<u8>,
        sent: usize,
    },
    Done(Result<u64, sqlx::Error>),
}

impl<'c> Sending<'c> {
    /// Begins to insert rows, all or none.
    pub(crate) async fn begin(
        conn: &'c mut PgConnection,
        table: &Table,
        rows: &[&Cells],
    ) -> Result<Self, SeedError> {
        let named: BTreeSet<usize> = rows
            .iter()
            .flat_map(|row| (0..row.len()).filter(|at| row[*at].is_some()))
            .collect();
        let complete = rows
            .iter()
            .all(|row| named.iter().all(|at| row[*at].is_some()));
        if !complete || named.is_empty() || rows.len() < COPY_FROM || !table.copyable {
            return Ok(Self::Done(by_insert(conn, table, &named, rows).await));
        }
        let doing = || format!("insert into `{}`", table.label());
        conn.execute("SAVEPOINT upgrade_seed").await.doing(doing)?;
        let columns = column_list(table, &named);
        let statement = format!("COPY {} ({columns}) FROM STDIN", table.sql());
        Ok(match conn.copy_in_raw(&statement).await {
            Ok(copy) => Self::Copy {
                copy,
                data: copy_data(&named, rows),
                sent: 0,
            },
            Err(error) => Self::Done(Err(error)),
        })
    }

    /// Sends the next part; false when nothing is left to send.
    pub(crate) async fn step(&mut self) -> bool {
        let Self::Copy { copy, data, sent } = self else {
            return false;
        };
        let end = data.len().min(*sent + CHUNK);
        let part = copy.send(&data[*sent..end]).await.map(drop);
        *sent = end;
        let more = part.is_ok() && end < data.len();
        if let Err(error) = part {
            *self = Self::Done(Err(error));
        }
        more
    }

    /// Waits for the server to have inserted the rows; gives how many it inserted, and whether the
    /// savepoint is still there.
    pub(crate) async fn finish(self) -> Result<(u64, bool), sqlx::Error> {
        match self {
            Self::Copy { copy, .. } => Ok((copy.finish().await?, true)),
            Self::Done(done) => Ok((done?, false)),
        }
    }
}

/// Keeps what a batch inserted.
pub(crate) async fn release(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    conn.execute("RELEASE SAVEPOINT upgrade_seed")
        .await
        .map(drop)
}

/// Turns a refusal by the server into a value, with the savepoint rolled back.
pub(crate) async fn or_refusal<T>(
    conn: &mut PgConnection,
    sent: Result<T, sqlx::Error>,
    doing: impl FnOnce() -> String,
) -> Result<Result<T, Refusal>, SeedError> {
    let error = match sent {
        Ok(done) => return Ok(Ok(done)),
        Err(error) => error,
    };
    let refusal = match &error {
        _ if out_of_locks(&error) => None,
        sqlx::Error::Database(database) => database
            .try_downcast_ref::<PgDatabaseError>()
            .map(Refusal::new),
        _ => None,
    };
    match refusal {
        Some(refusal) => {
            roll_back(conn).await?;
            Ok(Err(refusal))
        }
        None => Err(error).doing(doing),
    }
}

async fn roll_back(conn: &mut PgConnection) -> Result<(), SeedError> {
    let rolled_back = conn.execute(ROLL_BACK).await;
    rolled_back
        .map(drop)
        .doing(|| "roll back to the savepoint before a refused row".to_owned())
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()?
        .code()
        .map(|code| code.into_owned())
}

/// Runs statements in the savepoint, in one round trip; gives how many rows they changed.
pub(crate) async fn run(conn: &mut PgConnection, statements: &str) -> Result<u64, sqlx::Error> {
    let script = format!("SAVEPOINT upgrade_seed; {statements}; RELEASE SAVEPOINT upgrade_seed");
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
}

/// The rows of a query in the savepoint; nothing where the server cannot evaluate it for its values.
pub(crate) async fn ask(
    conn: &mut PgConnection,
    query: String,
) -> Result<Option<Vec<PgRow>>, sqlx::Error> {
    conn.execute("SAVEPOINT upgrade_seed").await?;
    let query = sqlx::query(AssertSqlSafe(query)).persistent(false);
    match query.fetch_all(&mut *conn).await {
        Ok(rows) => {
            conn.execute("RELEASE SAVEPOINT upgrade_seed").await?;
            Ok(Some(rows))
        }
        // Data exceptions, violated domains, exceptions of functions, and operators and columns that
        // cannot be named here.
        Err(error)
            if sqlstate(&error).is_some_and(|code| {
                ["22", "23", "42", "P0"]
                    .iter()
                    .any(|class| code.starts_with(class) && code != "42501")
            }) =>
        {
            conn.execute(ROLL_BACK).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn copy_data(named: &BTreeSet<usize>, rows: &[&Cells]) -> Vec<u8> {
    let mut data = String::new();
    for row in rows {
        for (place, at) in named.iter().enumerate() {
            if place > 0 {
                data.push('\t');
            }
            copy_cell(&mut data, row[*at].as_ref());
        }
        data.push('\n');
    }
    data.into_bytes()
}

fn copy_cell(data: &mut String, cell: Option<&SqlValue>) {
    let Some(text) = cell.and_then(SqlValue::as_text) else {
        data.push_str("\\N");
        return;
    };
    // Nearly all texts have nothing to escape.
    if !text
        .bytes()
        .any(|b| matches!(b, b'\\' | b'\t' | b'\n' | b'\r'))
    {
        data.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '\\' => data.push_str("\\\\"),
            '\t' => data.push_str("\\t"),
            '\n' => data.push_str("\\n"),
            '\r' => data.push_str("\\r"),
            _ => data.push(c),
        }
    }
}

async fn by_insert(
    conn: &mut PgConnection,
    table: &Table,
    named: &BTreeSet<usize>,
    rows: &[&Cells],
) -> Result<u64, sqlx::Error> {
    let target = table.sql();
    if named.is_empty() {
        let statements = vec![format!("INSERT INTO {target} DEFAULT VALUES"); rows.len()];
        return run(conn, &statements.join("; ")).await;
    }
    let values: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = named.iter().map(|at| literal(row[*at].as_ref())).collect();
            format!("({})", cells.join(", "))
        })
        .collect();
    let identity = named.iter().any(|at| table.columns[*at].identity);
    let overriding = if identity {
        " OVERRIDING SYSTEM VALUE"
    } else {
        ""
    };
    let columns = column_list(table, named);
    run(
        conn,
        &format!(
            "INSERT INTO {target} ({columns}){overriding} VALUES {}",
            values.join(", ")
        ),
    )
    .await
}

fn column_list(table: &Table, named: &BTreeSet<usize>) -> String {
    named
        .iter()
        .map(|at| quote(&table.columns[*at].name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A cell as an SQL literal without type: Postgres reads it as the column's.
pub(crate) fn literal(cell: Option<&SqlValue>) -> String {
    match cell {
        Some(SqlValue::Text(text)) => upgrade_core::postgres::sql::quote_literal(text),
        Some(SqlValue::Null) => "NULL".to_owned(),
        Some(SqlValue::Default) | None => "DEFAULT".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_of_copy() {
        let context = "SQL statement \"..\"\nCOPY orders, line 17, column note: \"a, line 3\"";
        assert_eq!(copy_line(context), Some(17));
        assert_eq!(copy_column(context), Some("note"));
        assert_eq!(copy_line("COPY orders, line 4: \"1\t2\""), Some(4));
        assert_eq!(copy_line("PL/pgSQL function f() line 3 at RAISE"), None);
    }

    #[test]
    fn contexts_of_functions() {
        let context = "PL/pgSQL function app.\"My \"\"check\"(integer) line 3 at RAISE\nSQL statement \"..\"\n\
            PL/pgSQL function refuse() line 1 at PERFORM\nCOPY t, line 4";
        assert_eq!(functions(context), ["My \"check", "refuse"]);
    }

    #[test]
    fn cells_of_copy_are_escaped() {
        let mut data = String::new();
        copy_cell(&mut data, Some(&SqlValue::from("a\tb\\N\n")));
        copy_cell(&mut data, Some(&SqlValue::Null));
        assert_eq!(data, "a\\tb\\\\N\\n\\N");
    }
}
