//! A rule that a store cannot enforce, asked of it.

use async_trait::async_trait;
use serde_json::Value;
use upgrade_core::{Finding, Result, UpgradeContext, Validator, Verdict};

use crate::observe::collections;
use crate::store::Store;

/// Every row of a collection has, in a field, the key of a row of another collection.
#[derive(Debug)]
pub struct References {
    name: String,
    collection: String,
    field: String,
    target: String,
}

impl References {
    /// The rows of `collection` refer to those of `target` by `field`.
    pub fn new(collection: &str, field: &str, target: &str) -> Self {
        Self {
            name: format!("every row of {collection} has its {target}"),
            collection: collection.to_owned(),
            field: field.to_owned(),
            target: target.to_owned(),
        }
    }
}

#[async_trait]
impl Validator for References {
    fn name(&self) -> &str {
        &self.name
    }

    async fn validate(&self, cx: &UpgradeContext) -> Result<Verdict> {
        let all = collections(&Store::of(cx)?.read(cx).await?.files)?;
        let rows = all.get(&self.collection).filter(|rows| !rows.is_empty());
        let Some(rows) = rows else {
            let reason = format!("there are no rows in `{}`", self.collection);
            return Ok(Verdict::Inconclusive(reason));
        };
        let is_there = |value: &Value| {
            let target = all.get(&self.target).zip(value.as_str());
            target.is_some_and(|(target, key)| target.contains_key(key))
        };
        let findings = rows.iter().filter_map(|(key, row)| {
            let value = row.get(&self.field).unwrap_or(&Value::Null);
            let message = format!("{} {value} is not in `{}`", self.field, self.target);
            let subject = format!("{} {key}", self.collection);
            (!is_there(value)).then(|| Finding::error("reference-broken", subject, message))
        });
        Ok(Verdict::from_findings(findings.collect()))
    }
}
