//! Whether the database is where it was, for every strategy over Postgres.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::context::UpgradeContext;
use crate::error::{Error, Result};
use crate::observation::{Observation, Scope, TableState};
use crate::postgres::Observer;
use crate::postgres::database::close;
use crate::validator::Verdict;

/// The rows of a table, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rows {
    rows: u64,
    sum: String,
}

impl Rows {
    pub(super) fn of(table: &TableState) -> Self {
        Self {
            rows: table.rows,
            sum: table.sum.clone(),
        }
    }
}

/// Compares the database with what was measured before the upgrade. A table may have the rows that it had
/// when the rollback began (`begun`). One to which users wrote, and of which that is not known, may have
/// more rows, up to the number that is given here; what is in them is then not judged.
pub(super) async fn confirm(
    cx: &UpgradeContext,
    observer: &Observer,
    baseline: &Observation,
    written: &BTreeMap<String, u64>,
    begun: &BTreeMap<String, Rows>,
) -> Result<Verdict> {
    let observe = async {
        let mut connection = cx.connect().await?;
        let now = observer.observe(&mut connection, &Scope::All).await?;
        close(connection).await;
        Ok::<_, Error>(now)
    };
    let mut now = cx
        .bounded("prove that the old state is back", observe)
        .await??;
    for (name, most) in written {
        if let (Some(now), Some(then)) = (now.tables.get_mut(name), baseline.tables.get(name))
            && (then.rows + 1..=*most).contains(&now.rows)
        {
            (now.rows, now.sum) = (then.rows, then.sum.clone());
        }
    }
    for (name, begun) in begun {
        if let (Some(now), Some(then)) = (now.tables.get_mut(name), baseline.tables.get(name))
            && Rows::of(now) == *begun
        {
            (now.rows, now.sum) = (then.rows, then.sum.clone());
        }
    }
    let mut findings = baseline.schema_findings(&now, "rollback/schema-differs");
    findings.extend(baseline.row_findings(&now, "rollback/rows-lost", "rollback/rows-changed"));
    findings.extend(baseline.sequence_findings(&now));
    findings.extend(baseline.large_object_findings(&now));
    Ok(Verdict::from_findings(findings))
}
