//! The types of a database, resolved down to scalars.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row as _};

use super::types::{Kind, SqlType};

/// Composites and arrays nested deeper than this count as unknown.
const DEEPEST: usize = 12;

/// Every type that a table of a database uses, by oid.
pub(crate) struct TypeCatalog {
    types: BTreeMap<i64, Entry>,
}

struct Entry {
    name: String,
    printed: String,
    kind: String,
    is_array: bool,
    element: i64,
    delimiter: String,
    base: i64,
    typmod: i32,
    not_null: bool,
    labels: Vec<String>,
    checks: Vec<String>,
    subtype: Option<i64>,
    range: Option<i64>,
    field_names: Vec<String>,
    field_types: Vec<i64>,
    field_typmods: Vec<i32>,
}

// Those of the columns of tables, and what they are made of. `to_jsonb` reaches the multirange's column
// where the server has one.
const TYPES: &str = "
WITH RECURSIVE used(oid) AS (
    SELECT a.atttypid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     WHERE c.relkind IN ('r', 'p', 'f') AND c.relnamespace <> 'pg_catalog'::regnamespace
       AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT part.oid FROM used JOIN pg_type t ON t.oid = used.oid, LATERAL (
        SELECT t.typelem UNION ALL SELECT t.typbasetype
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
        UNION ALL SELECT r.rngtypid FROM pg_range r WHERE (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
        UNION ALL SELECT a.atttypid FROM pg_attribute a
         WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) part(oid)
     WHERE part.oid <> 0)
SELECT t.oid::int8 AS oid, t.typname::text AS name, format_type(t.oid, -1) AS printed, t.typtype::text AS kind,
       t.typcategory = 'A' AND t.typelem <> 0 AS is_array, t.typelem::int8 AS element,
       coalesce((SELECT e.typdelim::text FROM pg_type e WHERE e.oid = t.typelem), ',') AS delimiter,
       t.typbasetype::int8 AS base, t.typtypmod AS typmod, t.typnotnull AS not_null,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels,
       ARRAY(SELECT pg_get_expr(k.conbin, 0) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'
              ORDER BY k.conname COLLATE \"C\") AS checks,
       (SELECT r.rngsubtype::int8 FROM pg_range r WHERE r.rngtypid = t.oid) AS subtype,
       (SELECT r.rngtypid::int8 FROM pg_range r WHERE (to_jsonb(r) ->> 'rngmultitypid')::int8 = t.oid::int8) AS range,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
              AND NOT a.attisdropped AND t.typtype = 'c' ORDER BY a.attnum) AS field_names,
       ARRAY(SELECT a.atttypid::int8 FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
              AND NOT a.attisdropped AND t.typtype = 'c' ORDER BY a.attnum) AS field_types,
       ARRAY(SELECT a.atttypmod FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
              AND NOT a.attisdropped AND t.typtype = 'c' ORDER BY a.attnum) AS field_typmods
  FROM pg_type t JOIN used ON used.oid = t.oid
 WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relnamespace = 'pg_catalog'::regnamespace)";

impl TypeCatalog {
    pub(crate) async fn read(conn: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let mut types = BTreeMap::new();
        for row in sqlx::query(TYPES).fetch_all(conn).await? {
            let entry = Entry {
                name: row.try_get("name")?,
                printed: row.try_get("printed")?,
                kind: row.try_get("kind")?,
                is_array: row.try_get("is_array")?,
                element: row.try_get("element")?,
                delimiter: row.try_get("delimiter")?,
                base: row.try_get("base")?,
                typmod: row.try_get("typmod")?,
                not_null: row.try_get("not_null")?,
                labels: row.try_get("labels")?,
                checks: row.try_get("checks")?,
                subtype: row.try_get("subtype")?,
                range: row.try_get("range")?,
                field_names: row.try_get("field_names")?,
                field_types: row.try_get("field_types")?,
                field_typmods: row.try_get("field_typmods")?,
            };
            types.insert(row.try_get("oid")?, entry);
        }
        Ok(Self { types })
    }

    /// The type with all that it is made of.
    pub(crate) fn resolve(&self, oid: i64, typmod: i32) -> SqlType {
        self.resolve_at(oid, typmod, 0)
    }

    fn resolve_at(&self, oid: i64, typmod: i32, depth: usize) -> SqlType {
        let unknown = |name: &str| SqlType {
            name: name.to_owned(),
            typmod,
            kind: Kind::Unknown,
        };
        let Some(entry) = self.types.get(&oid) else {
            return unknown("?");
        };
        if depth > DEEPEST {
            return unknown(&entry.printed);
        }
        let inner = |oid, typmod| Box::new(self.resolve_at(oid, typmod, depth + 1));
        let kind = match entry.kind.as_str() {
            "b" if entry.is_array && !matches!(entry.name.as_str(), "int2vector" | "oidvector") => {
                Kind::Array {
                    element: inner(entry.element, typmod),
                    delimiter: entry.delimiter.chars().next().unwrap_or(','),
                }
            }
            "b" => Kind::Base(entry.name.clone()),
            "e" => Kind::Enum(entry.labels.clone()),
            "d" => Kind::Domain {
                base: inner(entry.base, entry.typmod),
                not_null: entry.not_null,
                checks: entry.checks.clone(),
            },
            "r" => entry
                .subtype
                .map_or(Kind::Unknown, |subtype| Kind::Range(inner(subtype, -1))),
            "m" => entry
                .range
                .map_or(Kind::Unknown, |range| Kind::Multirange(inner(range, -1))),
            "c" => {
                let types = entry.field_types.iter().zip(&entry.field_typmods);
                let types = types.map(|(oid, typmod)| *inner(*oid, *typmod));
                Kind::Composite(entry.field_names.iter().cloned().zip(types).collect())
            }
            _ => Kind::Unknown,
        };
        SqlType {
            name: entry.printed.clone(),
            typmod,
            kind,
        }
    }
}
