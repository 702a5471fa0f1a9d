//! What goes wrong on purpose: sessions that end, a server that is killed.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::{PATIENCE, PostgresEnvironment};
use crate::context::UpgradeContext;
use crate::environment::{DatabaseFaults, Fault};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;

#[async_trait]
impl DatabaseFaults for PostgresEnvironment {
    fn supports(&self, fault: Fault) -> bool {
        let killed = fault == Fault::KillServer;
        self.source.is_disposable() && (!killed || self.source.may_kill_server())
    }

    async fn inject(&self, cx: &UpgradeContext, fault: Fault) -> Result<()> {
        self.only_disposable()?;
        if !self.supports(fault) {
            let message = format!(
                "the server of environment `{}` may not be killed",
                self.name
            );
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("only a server that nobody else uses may be killed"));
        }
        // Its session is none of those that the fault ends.
        drop(self.state(|state| state.lock_queue.take()));
        let live = self.database()?;
        // The fault comes first for what it makes wait.
        let holds = self.state(|state| state.holds.take());
        match fault {
            Fault::HoldSnapshot => {
                let hold = async {
                    let mut session = live.connect().await?;
                    let begin = "begin isolation level repeatable read; select 1";
                    sqlx::raw_sql(begin).execute(&mut session).await?;
                    Ok::<_, Error>(session)
                };
                let session = cx.bounded("hold a snapshot", hold).await??;
                self.state(|state| state.holds = Some(session));
                Ok(())
            }
            Fault::TerminateSessions => {
                let mut admin = self.admin_session(&live).await?;
                let within = cx.remaining().unwrap_or(PATIENCE);
                live.terminate_sessions(&mut admin, within).await?;
                self.keep_admin(admin).await;
                Ok(())
            }
            Fault::KillServer => {
                cx.bounded("kill the server", self.source.kill_server(cx))
                    .await?
            }
            Fault::KillProcess => {
                drop(holds);
                let mut admin = self.admin_session(&live).await?;
                let gone = until_nothing_runs(&mut admin, &live);
                cx.bounded("wait for the sessions of a killed process", gone)
                    .await??;
                self.keep_admin(admin).await;
                Ok(())
            }
        }
    }
}

/// Waits until no session of the database runs a statement or has a transaction open.
async fn until_nothing_runs(admin: &mut PgConnection, live: &Database) -> Result<()> {
    let sql = "select exists (select from pg_catalog.pg_stat_activity \
         where datname = $1 and backend_type = 'client backend' and state <> 'idle')";
    while sqlx::query_scalar::<_, bool>(sql)
        .bind(live.name())
        .fetch_one(&mut *admin)
        .await?
    {
        tokio::time::sleep(Duration::from_millis(2)).await; // poll, within the deadline
    }
    Ok(())
}
