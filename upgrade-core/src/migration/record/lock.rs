//! The advisory lock that a tool takes while it migrates, so that a second run of the tool waits.

use sqlx::postgres::PgConnection;

use super::super::folder::Layout;
use super::{RecordError, ToolRecord};
use crate::postgres::sql::quote_ident;

/// What golang-migrate multiplies the checksum with.
const GOLANG_MIGRATE_SALT: u32 = 1_486_364_155;

/// What node-pg-migrate locks in every database.
const NODE_PG_MIGRATE: i64 = 7_241_865_325_823_964;

/// The letters of `Flyway`.
const FLYWAY: i64 = 0x466c_7977_6179;

impl ToolRecord {
    /// The key of the session's advisory lock under which the tool migrates this database; `None`
    /// for a tool that takes none.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub(crate) async fn lock_key(
        &self,
        conn: &mut PgConnection,
    ) -> Result<Option<i64>, RecordError> {
        match self.layout {
            Layout::Sqlx | Layout::GolangMigrate | Layout::Flyway => {}
            Layout::NodePgMigrate => return Ok(Some(NODE_PG_MIGRATE)),
            // goose takes one only where a program asks for it.
            _ => return Ok(None),
        }
        let (database, current): (String, Option<String>) =
            sqlx::query_as("select current_database()::text, current_schema()::text")
                .fetch_one(conn)
                .await
                .map_err(self.failed("read"))?;
        let schema = self.table.schema.clone().or(current).unwrap_or_default();
        Ok(key(self.layout, &database, &schema, &self.table.name))
    }
}

fn key(layout: Layout, database: &str, schema: &str, table: &str) -> Option<i64> {
    match layout {
        Layout::Sqlx => Some(0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes()))),
        Layout::GolangMigrate => {
            let names = [schema, table, database].join("\0");
            let sum = crc32fast::hash(names.as_bytes());
            Some(i64::from(sum.wrapping_mul(GOLANG_MIGRATE_SALT)))
        }
        Layout::Flyway => {
            let name = format!("{}.{}", quote_ident(schema), quote_ident(table));
            // What Java calls the hash code of a text.
            let hash = name.encode_utf16().fold(0_i32, |hash, unit| {
                hash.wrapping_mul(31).wrapping_add(i32::from(unit))
            });
            Some(FLYWAY + i64::from(hash))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_tools() {
        // golang-migrate's own tests have this one.
        let sum = crc32fast::hash(b"schema_name_1\0schema_name_2\0database_name");
        assert_eq!(sum.wrapping_mul(GOLANG_MIGRATE_SALT), 3_743_845_847);
        assert_eq!(
            key(
                Layout::GolangMigrate,
                "database_name",
                "schema_name_1",
                "schema_name_2"
            ),
            Some(3_743_845_847)
        );
        assert_eq!(FLYWAY, 77_431_708_279_161);
        // `"\"a\".\"b\"".hashCode()` in Java.
        let by_hand = [34, 97, 34, 46, 34, 98, 34]
            .iter()
            .fold(0_i64, |hash, unit| (hash * 31 + unit) & 0xffff_ffff);
        let signed = i64::from(by_hand as u32 as i32);
        assert_eq!(key(Layout::Flyway, "x", "a", "b"), Some(FLYWAY + signed));
        assert_eq!(key(Layout::Diesel, "x", "a", "b"), None);
    }
}
