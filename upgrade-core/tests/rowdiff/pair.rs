//! One table before and after a change, in two databases.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use upgrade_core::observation::{Columns, Reading, RowDiff, RowDiffRequest};
use upgrade_core::postgres::catalog::{CatalogScope, TableName};
use upgrade_core::postgres::fingerprint::Tables;
use upgrade_core::postgres::rowdiff::{RowDiffError, RowDiffOptions, diff, diff_all};

use crate::support::{run, servers};

pub(crate) fn t() -> TableName {
    TableName::new("public", "t")
}

pub(crate) struct Pair {
    pub(crate) before: PgConnection,
    pub(crate) after: PgConnection,
}

impl Pair {
    /// Both made by one script; the second then changed by another one.
    pub(crate) async fn new(made: &str, change: &str) -> Self {
        let server = &servers()[0];
        let (mut before, mut after) = (server.database().await, server.database().await);
        run(&mut before, made).await;
        run(&mut after, made).await;
        for statement in change.split(';') {
            run(&mut after, statement).await;
        }
        Self { before, after }
    }

    pub(crate) fn swap(&mut self) {
        std::mem::swap(&mut self.before, &mut self.after);
    }

    /// Table `t`, in the columns that both sides have.
    pub(crate) async fn diff(&mut self) -> RowDiff {
        self.diff_with(&RowDiffOptions::default()).await
    }

    pub(crate) async fn diff_with(&mut self, options: &RowDiffOptions) -> RowDiff {
        let scope = CatalogScope::new();
        let before = Tables::read(&mut self.before, &scope).await.unwrap();
        let after = Tables::read(&mut self.after, &scope).await.unwrap();
        let columns: Columns = before.tables[&t()]
            .columns
            .keys()
            .filter(|name| after.tables[&t()].columns.contains_key(*name))
            .map(|name| (name.clone(), Reading::Value))
            .collect();
        diff(&mut self.before, &mut self.after, &t(), &columns, options)
            .await
            .unwrap()
    }

    pub(crate) async fn try_diff(
        &mut self,
        table: &TableName,
        columns: &Columns,
    ) -> Result<RowDiff, RowDiffError> {
        let options = RowDiffOptions::default();
        diff(&mut self.before, &mut self.after, table, columns, &options).await
    }

    pub(crate) async fn diff_all(
        &mut self,
        requests: &[RowDiffRequest],
    ) -> BTreeMap<String, RowDiff> {
        let options = RowDiffOptions::default();
        diff_all(&mut self.before, &mut self.after, requests, &options)
            .await
            .unwrap()
    }
}
