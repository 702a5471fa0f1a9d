//! A migration: changes of collections, one after the other, all or nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use upgrade_core::migration::{
    Checksum, MigrationFiles, MigrationId, Outcome, Reversibility, Status,
};
use upgrade_core::{Error, ErrorKind, Migration, Result, UpgradeContext};

use crate::store::{RECORD, Rows, Session, Store, parse, to_json};

/// One change of every row of a collection, which is named first.
#[derive(Debug, Clone, Serialize)]
pub enum Change {
    /// Gives the rows that have no field of that name one with this value.
    AddField(String, String, Value),
    /// Renames a field from the first name to the second.
    RenameField(String, String, String),
    /// Removes a field with its values.
    RemoveField(String, String),
    /// Waits so long, so that the disk has time for others.
    Pause(Duration),
}

/// A migration of a store.
#[derive(Debug, Clone)]
pub struct KvMigration {
    id: MigrationId,
    up: Vec<Change>,
    down: Option<Vec<Change>>,
}

/// The checksums of what is applied, by version.
type Record = BTreeMap<String, Checksum>;

impl KvMigration {
    /// A one-way migration.
    pub fn new(id: MigrationId, up: impl Into<Vec<Change>>) -> Self {
        Self {
            id,
            up: up.into(),
            down: None,
        }
    }

    /// A reversible migration.
    #[must_use]
    pub fn with_down(mut self, down: impl Into<Vec<Change>>) -> Self {
        self.down = Some(down.into());
        self
    }

    /// A migration that names what is not there is bad. Any other error says nothing about it: the
    /// disk is full, or the run was cancelled.
    fn failed(&self, what: &str, source: Error) -> Result<Outcome> {
        if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) {
            return Err(source);
        }
        let message = format!("migration `{}` failed at {what}", self.id);
        let failed = Error::new(ErrorKind::Migration, message).with_source(source);
        Ok(Outcome::failed(failed))
    }

    /// Makes the changes and keeps the record. Whatever ends it early undoes it, as far as the
    /// session may still write; beyond that the journal stays, and it is dirty.
    async fn carry_out(
        &self,
        cx: &UpgradeContext,
        mut session: Session,
        changes: &[Change],
        record: &Record,
    ) -> Result<Outcome> {
        let carried_out = self.steps(cx, &mut session, changes, record).await;
        if let Ok(Outcome::Done) = carried_out {
            return match session.commit() {
                Ok(()) => Ok(Outcome::Done),
                Err(source) => self.failed("its commit", source),
            };
        }
        // The first error is the one to tell.
        let _ = session.undo();
        carried_out
    }

    async fn steps(
        &self,
        cx: &UpgradeContext,
        session: &mut Session,
        changes: &[Change],
        record: &Record,
    ) -> Result<Outcome> {
        cx.reach(0, changes.len()).await?;
        for (done, change) in (1..).zip(changes) {
            if let Err(source) = change.make(cx, session).await {
                return self.failed(&format!("change {done}"), source);
            }
            cx.reach(done, changes.len()).await?;
        }
        match session.write(RECORD, Some(&to_json(record)?)) {
            Ok(()) => Ok(Outcome::Done),
            Err(source) => self.failed("its record", source),
        }
    }
}

#[async_trait]
impl Migration for KvMigration {
    fn id(&self) -> &MigrationId {
        &self.id
    }

    fn checksum(&self) -> Checksum {
        let content = serde_json::json!([self.up, self.down]).to_string();
        Checksum::from_bytes(blake3::hash(content.as_bytes()).as_bytes())
    }

    fn reversibility(&self) -> Reversibility {
        match self.down {
            Some(_) => Reversibility::Reversible,
            None => Reversibility::Irreversible {
                reason: format!("migration `{}` has no way down", self.id),
            },
        }
    }

    fn files(&self) -> MigrationFiles {
        MigrationFiles::default() // They are written in the program.
    }

    fn statements(&self) -> usize {
        self.up.len()
    }

    async fn status(&self, cx: &UpgradeContext) -> Result<Status> {
        let view = Store::of(cx)?.read(cx).await?;
        if view.unfinished.is_some_and(|by| by == self.id.to_string()) {
            return Ok(Status::Dirty);
        }
        let recorded = record(view.files.get(RECORD))?.remove(self.id.version());
        Ok(match recorded {
            None => Status::Pending,
            Some(recorded) if recorded == self.checksum() => Status::Applied,
            Some(recorded) => Status::Divergent { recorded },
        })
    }

    async fn apply(&self, cx: &UpgradeContext) -> Result<Outcome> {
        let session = Store::of(cx)?.begin(cx, self.id.to_string()).await?;
        // Asked for inside the session: nobody can apply it in between.
        let mut record = record(session.files()?.get(RECORD))?;
        match record.insert(self.id.version().to_owned(), self.checksum()) {
            None => self.carry_out(cx, session, &self.up, &record).await,
            Some(recorded) if recorded == self.checksum() => Ok(Outcome::NothingToDo),
            Some(_) => {
                let message = format!("migration `{}` was applied with other content", self.id);
                let error = Error::new(ErrorKind::Divergent, message)
                    .with_hint("write a new migration, and leave this one as it was");
                Ok(Outcome::failed(error))
            }
        }
    }

    async fn revert(&self, cx: &UpgradeContext) -> Result<Outcome> {
        let Some(down) = &self.down else {
            let message = format!("migration `{}` has no way down", self.id);
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let session = Store::of(cx)?.begin(cx, self.id.to_string()).await?;
        let mut record = record(session.files()?.get(RECORD))?;
        match record.remove(self.id.version()) {
            None => Ok(Outcome::NothingToDo),
            Some(_) => self.carry_out(cx, session, down, &record).await,
        }
    }
}

fn record(text: Option<&String>) -> Result<Record> {
    text.map_or_else(|| Ok(Record::new()), |text| parse(RECORD, text))
}

impl Change {
    async fn make(&self, cx: &UpgradeContext, session: &mut Session) -> Result<()> {
        let collection = match self {
            Self::Pause(pause) => {
                return cx.bounded("a pause", tokio::time::sleep(*pause)).await;
            }
            Self::AddField(name, ..) | Self::RenameField(name, ..) | Self::RemoveField(name, _) => {
                name
            }
        };
        let name = format!("{collection}.json");
        let files = session.files()?;
        let text = files.get(&name).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("there is no collection `{collection}`"),
            )
        })?;
        let mut rows: Rows = parse(&name, text)?;
        for row in rows.values_mut() {
            match self {
                Self::AddField(_, field, value) => {
                    row.entry(field.clone()).or_insert_with(|| value.clone());
                }
                Self::RenameField(_, field, to) => {
                    row.remove(field).map(|value| row.insert(to.clone(), value));
                }
                Self::RemoveField(_, field) => drop(row.remove(field)),
                Self::Pause(_) => {}
            }
        }
        session.write(&name, Some(&to_json(&rows)?))
    }
}
