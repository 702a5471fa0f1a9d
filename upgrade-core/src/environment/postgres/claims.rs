//! The claim of an operation, as the comment of a schema in the database that is upgraded.
//!
//! A comment is no row: logical replication does not carry it to subscribers that lack the schema. It is
//! copied with the database, so it outlasts a rollback by copy.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::PostgresEnvironment;
use crate::context::UpgradeContext;
use crate::environment::claim::{Claim, Claims};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;
use crate::postgres::database::close;
use crate::postgres::sql::quote_literal;

const READ: &str = "select coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), '') \
    from pg_catalog.pg_namespace where nspname = '_upgrade_operation'";

/// Without `cascade`: what somebody else has put there stays, and is reported.
const RELEASE: &str = "drop schema if exists _upgrade_operation";

#[async_trait]
impl Claims for PostgresEnvironment {
    async fn claimed(&self, cx: &UpgradeContext) -> Result<Option<Claim>> {
        let database = self.database()?;
        let reading = async {
            let mut session = self.live_session(&database).await?;
            let failed = |source| database.failed("read the claim of", source);
            let text: Option<String> = sqlx::query_scalar(READ)
                .fetch_optional(&mut session)
                .await
                .map_err(failed)?;
            self.keep_live(session).await;
            text.map(|text| read(&database, &text)).transpose()
        };
        cx.bounded("read the claim", reading).await?
    }

    async fn claim(&self, cx: &UpgradeContext, claim: &Claim) -> Result<()> {
        let database = self.database()?;
        let text = serde_json::to_string(claim).map_err(|source| {
            Error::new(ErrorKind::Internal, "a claim is no JSON").with_source(source)
        })?;
        let claiming = async {
            let mut session = self.live_session(&database).await?;
            // One message, so one transaction.
            let text = quote_literal(&text);
            let sql = format!(
                "create schema if not exists _upgrade_operation; \
                 comment on schema _upgrade_operation is {text}"
            );
            let written = sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut session)
                .await;
            self.keep_live(session).await;
            written.map(drop).map_err(|source| {
                database.failed("claim", source).with_hint(
                    "give the role the right to create a schema in the database, or go on without a claim \
                     (`without_claim`): a second tool is then refused only while a process works on it",
                )
            })
        };
        cx.bounded("claim the database", claiming).await?
    }

    async fn release(&self, cx: &UpgradeContext) -> Result<()> {
        let database = self.database()?;
        let releasing = async {
            let mut session = database.connect().await?;
            let released = sqlx::raw_sql(RELEASE).execute(&mut session).await;
            close(session).await;
            released
                .map(drop)
                .map_err(|source| database.failed("release the claim of", source))
        };
        cx.bounded("release the claim", releasing).await?
    }
}

fn read(database: &Database, text: &str) -> Result<Claim> {
    serde_json::from_str(text).map_err(|source| {
        let message = format!(
            "the comment of schema `_upgrade_operation` in database `{}` is no claim of this library",
            database.name()
        );
        Error::new(ErrorKind::Refused, message)
            .with_source(source)
            .with_hint("look at the schema; if nobody needs it, drop the schema `_upgrade_operation`")
    })
}
