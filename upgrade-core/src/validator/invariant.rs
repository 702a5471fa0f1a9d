//! SQL that must return no rows.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::{Finding, Validator, Verdict};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::database::close;

/// How many of the rows stand in the evidence of a finding.
const SHOWN: usize = 10;

/// A validator from a query that must return no rows.
///
/// It runs in a read-only transaction. The rows that it does return are the evidence.
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
}

impl Invariant {
    /// What must hold, in words, and the query that finds what breaks it.
    pub fn new(name: impl Into<String>, sql: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sql: sql.into(),
        }
    }

    async fn rows(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        let mut connection = cx.connect().await?;
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
        close(connection).await;
        Ok(rows)
    }
}

#[async_trait]
impl Validator for Invariant {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let rows = cx.bounded(&self.name, self.rows(cx)).await??;
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
        Ok(Verdict::Fail(vec![
            Finding::error(
                "invariant-broken",
                &self.name,
                format!("the query must return no rows, and returned {count}"),
            )
            .with_evidence(evidence),
        ]))
    }
}
