//! The claim of an operation, as a table of the database that is upgraded.

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::PostgresEnvironment;
use crate::context::UpgradeContext;
use crate::environment::claim::{Claim, Claims};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;
use crate::postgres::database::close;

const READ: &str = "select claim from _upgrade_operation.claim";

const EXISTS: &str = "select to_regclass('_upgrade_operation.claim') is not null";

/// One message, so one transaction.
const MAKE: &str = "create schema if not exists _upgrade_operation; \
    comment on schema _upgrade_operation is 'an upgrade of this database is under way: see table claim'; \
    create table if not exists _upgrade_operation.claim (claim text not null); \
    truncate _upgrade_operation.claim";

/// Without `cascade`: what somebody else has put there stays, and is reported.
const RELEASE: &str = "drop table if exists _upgrade_operation.claim; \
    drop schema if exists _upgrade_operation";

#[async_trait]
impl Claims for PostgresEnvironment {
    async fn claimed(&self, cx: &UpgradeContext) -> Result<Option<Claim>> {
        let database = self.database()?;
        let reading = async {
            let mut session = self.live_session(&database).await?;
            let failed = |source| database.failed("read the claim of", source);
            let exists: bool = sqlx::query_scalar(EXISTS)
                .fetch_one(&mut session)
                .await
                .map_err(failed)?;
            let text: Option<String> = match exists {
                true => sqlx::query_scalar(READ)
                    .fetch_optional(&mut session)
                    .await
                    .map_err(failed)?,
                false => None,
            };
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
            let written = write(&mut session, &text).await;
            self.keep_live(session).await;
            written.map_err(|source| {
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

async fn write(session: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    let mut transaction = session.begin().await?;
    sqlx::raw_sql(MAKE).execute(&mut *transaction).await?;
    sqlx::query("insert into _upgrade_operation.claim (claim) values ($1)")
        .bind(text)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

fn read(database: &Database, text: &str) -> Result<Claim> {
    serde_json::from_str(text).map_err(|source| {
        let message = format!(
            "the claim in `_upgrade_operation.claim` of database `{}` was not written by this library",
            database.name()
        );
        Error::new(ErrorKind::Refused, message)
            .with_source(source)
            .with_hint("look at the table; if nobody needs it, drop the schema `_upgrade_operation`")
    })
}
