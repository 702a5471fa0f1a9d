//! Reading a catalog from a database.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::kinds::{self, Query};
use super::session::{Pinned, server_version_num};
use super::{
    Catalog, CatalogError, CatalogScope, Object, ObjectId, ObjectKind, ScopeOids, TableName,
    viewdef,
};

impl Catalog {
    /// Reads the schema of the database that `conn` is connected to.
    ///
    /// All of it is read in one `REPEATABLE READ READ ONLY` transaction, which is then rolled
    /// back; no setting of the session is left changed. If `conn` is in a transaction already
    /// (begun through sqlx, not by a `BEGIN` statement), that one is used, under a savepoint, so
    /// that a migration's uncommitted work can be seen; its isolation level then decides whether
    /// a concurrent change can fall between two queries.
    ///
    /// Takes no lock stronger than `ACCESS SHARE`; any role that may connect can read it.
    ///
    /// # Errors
    /// [`CatalogError::OldServer`] below PostgreSQL 14, [`CatalogError::Query`] when a query fails.
    pub async fn read(conn: &mut PgConnection, scope: &CatalogScope) -> Result<Self, CatalogError> {
        let (mut session, oids) = Pinned::begin_listing(conn, scope).await?;
        let catalog = Self::list(session.conn(), &oids).await?;
        session.end().await.map_err(settings)?;
        Ok(catalog)
    }

    /// Reads the schema, inside a transaction with pinned settings.
    pub(in crate::postgres) async fn list(
        conn: &mut PgConnection,
        oids: &ScopeOids,
    ) -> Result<Self, CatalogError> {
        let version = server_version_num(conn).await.map_err(settings)?;
        if version < 140_000 {
            return Err(CatalogError::OldServer { found: version });
        }
        let mut reader = Reader::default();
        let present: Vec<bool> =
            sqlx::query_scalar(AssertSqlSafe(kinds::presence(version / 10_000)))
                .fetch_one(&mut *conn)
                .await
                .map_err(settings)?;
        let queries = kinds::ALL.iter().zip(present);
        for (query, _) in queries.filter(|(_, present)| *present) {
            let what = query.what;
            let rows = sqlx::query(query.sql)
                .bind(&oids.schemas)
                .bind(&oids.hidden)
                .fetch_all(&mut *conn)
                .await
                .map_err(|source| CatalogError::Query { what, source })?;
            for row in rows {
                reader.add(query, &row)?;
            }
        }
        Ok(reader.finish(version))
    }
}

fn settings(source: sqlx::Error) -> CatalogError {
    CatalogError::Query {
        what: "settings",
        source,
    }
}

/// Collects rows into objects.
#[derive(Default)]
struct Reader {
    objects: BTreeMap<ObjectId, Object>,
    positions: BTreeMap<TableName, BTreeMap<i32, String>>,
}

impl Reader {
    fn add(&mut self, query: &Query, row: &PgRow) -> Result<(), CatalogError> {
        let failed = |source| CatalogError::Query {
            what: query.what,
            source,
        };
        let kind: &str = row.try_get("kind").map_err(failed)?;
        let kind = ObjectKind::from_name(kind).expect("the queries name kinds that exist");
        let id = ObjectId {
            kind,
            schema: row.try_get("schema").map_err(failed)?,
            parent: row.try_get("parent").map_err(failed)?,
            name: row.try_get("name").map_err(failed)?,
        };
        let position: Option<i32> = row.try_get("position").map_err(failed)?;
        if let (Some(position), Some(parent)) = (position, &id.parent) {
            let table = TableName::new(&*id.schema, &**parent);
            self.positions
                .entry(table)
                .or_default()
                .insert(position, id.name.clone());
        }
        let facts: &str = row.try_get("attributes").map_err(failed)?;
        let attributes = serde_json::from_str(facts).map_err(|source| CatalogError::Row {
            what: query.what,
            source,
        })?;
        self.objects.insert(id, Object { attributes });
        Ok(())
    }

    fn finish(mut self, version: u32) -> Catalog {
        if version < 160_000 {
            for (id, object) in &mut self.objects {
                if matches!(id.kind, ObjectKind::View | ObjectKind::MaterializedView)
                    && let Some(definition) = object.attributes.get_mut("definition")
                {
                    *definition = viewdef::without_needless_qualifiers(definition);
                }
            }
        }
        let columns = self.positions.into_iter();
        let columns = columns
            .map(|(table, columns)| (table, columns.into_values().collect()))
            .collect();
        Catalog::new(self.objects, columns)
    }
}
