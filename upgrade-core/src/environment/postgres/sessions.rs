//! What a migration leaves in sessions and on the server, whom it made wait, and which statements of
//! a release it breaks.

use std::sync::Arc;

use async_trait::async_trait;

use super::PostgresEnvironment;
use crate::context::UpgradeContext;
use crate::environment::{At, Refusal, SessionMonitor, StatementTrial};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::postgres::cluster::{self, ClusterObject};
use crate::postgres::database::close;
use crate::postgres::{Database, LockQueue, Release, Watch};

#[async_trait]
impl SessionMonitor for PostgresEnvironment {
    async fn begin(&self, cx: &UpgradeContext) -> Result<()> {
        self.only_disposable()?;
        let live = self.database()?;
        let begin = async {
            let session = self.live_session(&live).await?;
            let mut admin = self.admin_session(&live).await?;
            let before = cluster::objects(&mut admin, live.name()).await?;
            self.keep_admin(admin).await;
            Ok::<_, Error>((Watch::begin(session, &self.observer).await?, before))
        };
        let (begun, before) = cx.bounded("watch sessions", begin).await??;
        let queue = LockQueue::begin(&live, cx.run_id());
        self.state(|state| {
            (state.watch, state.server_watched) = (Some(begun), before);
            state.lock_queue = Some(queue);
        });
        Ok(())
    }

    async fn end(&self, cx: &UpgradeContext) -> Result<Vec<Finding>> {
        let live = self.database()?;
        // Noticed at once: what follows may fail, and this says why.
        if let Some(queue) = self.state(|state| state.lock_queue.take()) {
            for finding in queue.end().await {
                cx.notice(finding);
            }
        }
        match self.state(|state| state.watch.take()) {
            Some(watch) => {
                let ended = cx.bounded("look at sessions", watch.end(&live));
                let (mut findings, session) = ended.await??;
                self.keep_live(session).await;
                findings.extend(
                    cx.bounded("look at the server", self.new_on_server(&live))
                        .await??,
                );
                Ok(findings)
            }
            None => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl StatementTrial for PostgresEnvironment {
    async fn try_statements(&self, cx: &UpgradeContext, of: &At) -> Result<Vec<Refusal>> {
        self.only_disposable()?;
        let label = match of {
            At::Live => None,
            At::Snapshot(label) => Some(label),
        };
        let is_live = label.is_none();
        let (database, live) = (self.at(of)?, self.database()?);
        let tried = async {
            let known = match label {
                Some(label) => self.state(|state| state.releases.get(label).cloned()),
                None => None,
            };
            let release = match known {
                Some(release) => release,
                None => {
                    let mut session = self.session_at(of, &database).await?;
                    let release = Release::read(&mut session, &self.observer, is_live).await?;
                    self.keep_at(of, session).await;
                    let release = Arc::new(release);
                    if let Some(label) = label {
                        // The copy that keeps a state does not change.
                        let known = Arc::clone(&release);
                        self.state(|state| state.releases.insert(label.clone(), known));
                    }
                    release
                }
            };
            // A separate session, as a service opens one after the upgrade: another one has cached
            // plans and settings from before.
            let mut session = live.connect().await?;
            let refused = release.tried(&mut session).await?;
            close(session).await;
            Ok(refused)
        };
        cx.bounded("try the statements of a release", tried).await?
    }
}

impl PostgresEnvironment {
    /// What appeared on the server since the watch began, as findings.
    async fn new_on_server(&self, live: &Database) -> Result<Vec<Finding>> {
        let before = self.state(|state| std::mem::take(&mut state.server_watched));
        let alone = self.source.may_clear_server();
        let mut admin = self.admin_session(live).await?;
        let new = cluster::new_objects(&mut admin, live.name(), &before, alone).await?;
        self.keep_admin(admin).await;
        let lasts = match self.source.may_clear_server() {
            true => {
                "no down of a database's schema and no copy of a database brings it back or takes it away"
            }
            false => "nothing removes it: the server may be somebody else's as well",
        };
        let finding = |object: &ClusterObject| {
            let said = format!("{object} appeared on the server while a migration ran; {lasts}");
            Finding::note("up/server-object", object.to_string(), said)
        };
        Ok(new.iter().map(finding).collect())
    }
}
