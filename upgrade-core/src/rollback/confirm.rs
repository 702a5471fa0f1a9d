//! Whether the database is where it was, for every strategy over Postgres.

use std::collections::BTreeMap;

use crate::context::UpgradeContext;
use crate::error::{Error, Result};
use crate::observation::{Observation, Scope};
use crate::postgres::Observer;
use crate::postgres::database::close;
use crate::validator::Verdict;

/// Compares the database with what was measured before the upgrade. Tables that users wrote to may
/// have more rows, up to the number that is given here; what is in them is then not judged.
pub(super) async fn confirm(
    cx: &UpgradeContext,
    observer: &Observer,
    baseline: &Observation,
    written: &BTreeMap<String, u64>,
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
    let mut findings = baseline.schema_findings(&now, "rollback/schema-differs");
    findings.extend(baseline.row_findings(&now, "rollback/rows-lost", "rollback/rows-changed"));
    findings.extend(baseline.sequence_findings(&now));
    findings.extend(baseline.large_object_findings(&now));
    Ok(Verdict::from_findings(findings))
}
