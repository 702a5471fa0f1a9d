//! Many statements in few messages.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Either};

/// Runs `count` statements, as many as the server takes in one message. Returns the errors of those
/// that failed, by their numbers.
pub(super) async fn each(
    session: &mut PgConnection,
    count: usize,
    statement: impl Fn(usize) -> String,
) -> Result<BTreeMap<usize, Box<dyn DatabaseError>>, sqlx::Error> {
    let mut failed = BTreeMap::new();
    let mut next = 0;
    while next < count {
        let statements: Vec<String> = (next..count).map(&statement).collect();
        let mut answers =
            sqlx::raw_sql(AssertSqlSafe(statements.join(";\n"))).fetch_many(&mut *session);
        loop {
            match answers.try_next().await {
                Ok(Some(Either::Left(_))) => next += 1,
                Ok(Some(Either::Right(_))) => {}
                Ok(None) => {
                    next = count;
                    break;
                }
                // The server leaves out what comes behind it.
                Err(sqlx::Error::Database(error)) => {
                    failed.insert(next, error);
                    next += 1;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(failed)
}
