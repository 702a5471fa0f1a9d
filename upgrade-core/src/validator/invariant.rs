//! SQL that must return no rows.

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::{Validator, Verdict};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::finding::Finding;
use crate::ids::Phase;
use crate::postgres::BOOKKEEPING;
use crate::postgres::database::close;

/// How many of the rows stand in the evidence of a finding.
const SHOWN: usize = 10;

/// What to do where the data of the previous release breaks an invariant.
const BASELINE_HELP: &str = "correct the query, or the data: generated rows hold what the schema says; what only the \
     application says, tell the seeder with `.column(..)` or `.table(..)` in `.seed_with(..)`";

/// A validator from a query that must return no rows.
///
/// It runs in a read-only transaction. The rows that it does return are the evidence. In a
/// database in which no table has a row there is nothing to judge, and the verdict is
/// inconclusive; [`over`](Self::over) names what there has to be instead.
///
/// ```
/// use upgrade_core::validator::Invariant;
///
/// let invariant = Invariant::new(
///     "every line has an order",
///     "select * from lines where order_id not in (select id from orders)",
/// );
/// ```
#[derive(Debug, Clone)]
pub struct Invariant {
    name: String,
    sql: String,
    over: Option<String>,
}

impl Invariant {
    /// What must hold, in words, and the query that finds what breaks it.
    pub fn new(name: impl Into<String>, sql: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sql: sql.into(),
            over: None,
        }
    }

    /// Names what it is about: where this query returns no rows, there is nothing to judge.
    #[must_use]
    pub fn over(mut self, sql: impl Into<String>) -> Self {
        self.over = Some(sql.into());
        self
    }

    async fn rows(&self, connection: &mut PgConnection) -> Result<Vec<String>> {
        let query = self.sql.trim().trim_end_matches(';');
        // One row more than is shown, to know that there are more. The line break ends a comment.
        let sql = format!(
            "select pg_catalog.to_jsonb(q)::text from (\n{query}\n) q limit {}",
            SHOWN + 1
        );
        let failed = |source: sqlx::Error| {
            Error::new(
                ErrorKind::Database,
                format!("invariant `{}` could not be asked", self.name),
            )
            .with_source(source)
            .with_context("sql", query)
            .with_hint("it must be one query, and hold at both releases")
        };
        let mut transaction = connection.begin().await.map_err(failed)?;
        transaction
            .execute("set transaction read only")
            .await
            .map_err(failed)?;
        let rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.rollback().await.map_err(failed)?;
        Ok(rows)
    }

    /// Why there is nothing to judge, if there is nothing.
    async fn nothing(&self, connection: &mut PgConnection) -> Result<Option<String>> {
        if let Some(over) = &self.over {
            let query = over.trim().trim_end_matches(';');
            let sql = format!("select exists (\n{query}\n)");
            let some: bool = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(connection)
                .await?;
            return Ok((!some).then(|| "what it is about has no rows".to_owned()));
        }
        let tables: Vec<String> = sqlx::query_scalar(
            "select pg_catalog.format('%I.%I', n.nspname, c.relname) \
             from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             where c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all($1) \
             and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 1",
        )
        .bind(&BOOKKEEPING[..])
        .fetch_all(&mut *connection)
        .await?;
        for table in tables {
            let sql = format!("select exists (select from {table})");
            let some = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(&mut *connection)
                .await;
            // A table that may not be read says nothing about the others.
            if some.unwrap_or(false) {
                return Ok(None);
            }
        }
        Ok(Some("no table of the database has a row".to_owned()))
    }

    async fn judge(&self, cx: &UpgradeContext) -> Result<(Vec<String>, Option<String>)> {
        let mut connection = cx.connect().await?;
        let rows = self.rows(&mut connection).await?;
        let nothing = if rows.is_empty() {
            self.nothing(&mut connection).await?
        } else {
            None
        };
        close(connection).await;
        Ok((rows, nothing))
    }
}

#[async_trait]
impl Validator for Invariant {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let (rows, nothing) = cx.bounded(&self.name, self.judge(cx)).await??;
        if let Some(reason) = nothing {
            return Ok(Verdict::Inconclusive(reason));
        }
        if rows.is_empty() {
            return Ok(Verdict::Pass);
        }
        let more = rows.len() > SHOWN;
        let count = if more {
            format!("more than {SHOWN}")
        } else {
            rows.len().to_string()
        };
        let mut evidence = rows[..rows.len().min(SHOWN)].join("\n");
        if more {
            evidence.push_str("\n...");
        }
        let finding = Finding::error(
            "validator/invariant-broken",
            &self.name,
            format!("the query must return no rows, and returned {count}"),
        );
        let finding = if cx.phase() == Phase::Baseline {
            let when = "before the upgrade began: the data breaks it, not a migration";
            let message = format!("{} {when}", finding.message);
            Finding { message, ..finding }.with_help(BASELINE_HELP)
        } else {
            finding
        };
        Ok(Verdict::Fail(vec![finding.with_evidence(evidence)]))
    }
}
