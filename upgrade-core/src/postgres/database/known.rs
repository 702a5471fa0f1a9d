//! The databases that this process knows to be the library's, by what a migration cannot change.
//!
//! The marker is the comment on the database, and whoever owns the database may write another one.
//! So what was marked once is remembered by the server's identity and the database's number: these
//! stay when it is renamed, and no other database ever gets them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sqlx::postgres::PgConnection;
use sqlx::postgres::types::Oid;

use super::{Database, Marker, place};
use crate::error::Result;

/// Where the server is, its identity (servers that were copied from one another share it), and the
/// number of the database.
type Identity = (String, i64, u32);

static KNOWN: Mutex<BTreeMap<Identity, Marker>> = Mutex::new(BTreeMap::new());

/// The marker that was found, which is remembered from now on; else the one that is remembered.
pub(super) async fn same_or_remembered(
    database: &Database,
    admin: &mut PgConnection,
    found: Option<Marker>,
) -> Result<Option<Marker>> {
    let Some(identity) = identity(database, admin).await? else {
        return Ok(found);
    };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match found {
        Some(marker) => {
            known.insert(identity, marker.clone());
            Ok(Some(marker))
        }
        None => Ok(known.get(&identity).cloned()),
    }
}

/// Forgets a copy that has taken the place of a database: it belongs to whoever that belonged to.
pub(super) async fn forget(database: &Database, admin: &mut PgConnection) -> Result<()> {
    if let Some(identity) = identity(database, admin).await? {
        KNOWN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&identity);
    }
    Ok(())
}

async fn identity(database: &Database, admin: &mut PgConnection) -> Result<Option<Identity>> {
    let asked: Option<(Oid, Option<i64>)> = sqlx::query_as(
        "select oid, case when pg_catalog.has_function_privilege( \
             'pg_catalog.pg_control_system()', 'execute') \
             then (select system_identifier from pg_catalog.pg_control_system()) end \
         from pg_catalog.pg_database where datname = $1",
    )
    .bind(&database.name)
    .fetch_optional(admin)
    .await
    .map_err(|source| database.failed("look up", source))?;
    Ok(match asked {
        Some((oid, Some(server))) => Some((place(&database.server), server, oid.0)),
        _ => None,
    })
}
