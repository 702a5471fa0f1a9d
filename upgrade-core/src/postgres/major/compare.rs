//! The same database on two majors, side by side.

use crate::error::Result;
use crate::finding::Finding;
use crate::observation::{Observation, Scope};
use crate::postgres::database::close;
use crate::postgres::{Database, Observer};

const DIFFERS: &str = "major/differs";

/// The setting that closes a database for writes: see [`LogicalCopy`](super::LogicalCopy).
pub(super) const CLOSED: &str = "default_transaction_read_only";

/// What differs between a database and its successor on a server of another major: every object
/// of the schema, the rows of every table, the sequences, the large objects.
///
/// Rows are compared by their text, hashed on both servers, so no row travels. What an observer
/// leaves out is left out on both sides, and so is whether sessions may write.
///
/// # Errors
/// [`Database`](crate::ErrorKind::Database) when one of them cannot be read.
pub async fn compare(old: &Database, new: &Database, observer: &Observer) -> Result<Vec<Finding>> {
    let observer = observer.clone().with_portable_rows();
    let observe = async |database: &Database| {
        let mut session = database.connect().await?;
        let seen = observer.observe(&mut session, &Scope::All).await;
        close(session).await;
        seen.map(without_closure)
    };
    let (then, now) = tokio::try_join!(observe(old), observe(new))?;
    let mut findings = then.schema_findings(&now, DIFFERS);
    findings.extend(then.row_findings(&now, DIFFERS, DIFFERS));
    findings.extend(then.sequence_findings(&now));
    findings.extend(then.large_object_findings(&now));
    Ok(findings)
}

/// Without the setting that closes one of the two: it says which of them is in use.
fn without_closure(mut observation: Observation) -> Observation {
    const SETTINGS: &str = "settings of the database";
    if let Some(text) = observation.objects.get_mut(SETTINGS)
        && let Some(values) = text.strip_prefix("values: ")
    {
        // One to a line, further lines indented.
        let others: Vec<&str> = values
            .trim_end()
            .split("\n    ")
            .filter(|value| !value.starts_with(CLOSED))
            .collect();
        if others.is_empty() {
            observation.objects.remove(SETTINGS);
        } else {
            *text = format!("values: {}\n", others.join("\n    "));
        }
    }
    observation
}
