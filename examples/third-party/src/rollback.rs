//! Rollback to a copy that was kept before the first change.

use std::path::PathBuf;

use async_trait::async_trait;
use upgrade_core::migration::Outcome;
use upgrade_core::rollback::{Loss, LossKind, Prepared, RollbackRequest, RollbackScope, Safety};
use upgrade_core::{
    Error, ErrorKind, Finding, Result, Rollback, TableRef, UpgradeContext, Verdict,
};

use crate::observe::collections;
use crate::store::{Image, Store, differences, parse, put, text, to_json};

/// A rollback by a copy beside the store.
///
/// The copy is one file, so it is there as a whole or not at all. What is kept is its path, so another
/// process can roll back when this one was killed.
#[derive(Debug, Default)]
pub struct RestoreCopy;

impl RestoreCopy {
    /// The copy; none if it was given up.
    fn kept(prepared: &Prepared) -> Result<Option<Image>> {
        let kept = text(&prepared.read::<PathBuf>()?)?;
        kept.map(|kept| parse("the kept copy", &kept)).transpose()
    }
}

#[async_trait]
impl Rollback for RestoreCopy {
    fn name(&self) -> &str {
        "restore copy"
    }

    fn requires_reversible(&self) -> bool {
        false
    }

    async fn prepare(&self, cx: &UpgradeContext, _: &RollbackScope) -> Result<Prepared> {
        let store = Store::of(cx)?;
        let image = store.read(cx).await?.complete()?;
        let path = store.directory().with_extension("kept");
        put(&path, Some(&to_json(&image)?))?;
        Prepared::new(&path)
    }

    async fn check(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        _: &RollbackRequest,
    ) -> Result<Safety> {
        let store = Store::of(cx)?;
        let Some(kept) = Self::kept(prepared)? else {
            return Ok(Safety::Unsafe {
                boundary: "the store".to_owned(),
                reason: "there is no copy of it to roll back to".to_owned(),
            });
        };
        let kept = collections(&kept)?;
        let mut losses = Vec::new();
        for (name, rows) in collections(&store.read(cx).await?.files)? {
            let is_new = |key: &String| kept.get(&name).is_none_or(|kept| !kept.contains_key(key));
            let new = rows.keys().filter(|key| is_new(key)).count();
            if new > 0 {
                let message = format!("{new} rows that came to {name} since the copy");
                let loss = Loss::new(LossKind::Writes, TableRef::new(&name), message);
                losses.push(loss.with_rows(new as u64));
            }
        }
        Ok(if losses.is_empty() {
            Safety::Safe
        } else {
            Safety::SafeWithLoss { losses }
        })
    }

    async fn execute(
        &self,
        cx: &UpgradeContext,
        prepared: &Prepared,
        _: &RollbackRequest,
    ) -> Result<Outcome> {
        let store = Store::of(cx)?;
        let Some(kept) = Self::kept(prepared)? else {
            let refused = Error::new(ErrorKind::Refused, "the copy to roll back to was given up");
            return Err(refused.with_hint("restore the store from a backup"));
        };
        // An interrupted migration is undone by the session, and so is an interrupted rollback.
        let mut session = store.begin(cx, self.name()).await?;
        session.replace(cx, &kept).await?;
        session.commit()?;
        Ok(Outcome::Done)
    }

    async fn confirm(&self, cx: &UpgradeContext, prepared: &Prepared) -> Result<Verdict> {
        let store = Store::of(cx)?;
        let Some(kept) = Self::kept(prepared)? else {
            return Ok(Verdict::Inconclusive(
                "there is no copy to compare with".to_owned(),
            ));
        };
        // Files, not sums over rows: the record of migrations has to be back as well.
        let live = store.read(cx).await?.complete()?;
        let differ = differences(&kept, &live).into_keys();
        let findings = differ.map(|name| {
            let subject = format!("file {name}");
            Finding::error("rollback-file-differs", subject, "is not what it was")
        });
        Ok(Verdict::from_findings(findings.collect()))
    }

    async fn finalize(&self, _: &UpgradeContext, prepared: &Prepared) -> Result<()> {
        put(&prepared.read::<PathBuf>()?, None)
    }
}
