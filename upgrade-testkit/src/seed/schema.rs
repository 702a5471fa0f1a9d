//! What the seeder needs to know of a schema, and how it reads it from the catalog.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _};

use super::error::{Doing as _, SeedError};
use super::type_catalog::TypeCatalog;
use super::types::{Held, SqlType};

/// The tables that can be seeded, by position; foreign keys refer to positions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) tables: Vec<Table>,
    /// The database can hold text beyond ASCII.
    pub(crate) unicode: bool,
    /// The role of the connection.
    pub(crate) role: String,
    /// As `server_version_num` gives it.
    pub(crate) version: i32,
}

/// An ordinary table, or the root of a partition tree.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) oid: i64,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// The extension that owns it.
    pub(crate) extension: Option<String>,
    pub(crate) partitioned: bool,
    /// The constraint that each leaf puts on its rows, as an expression.
    pub(crate) leaves: Vec<Option<String>>,
    pub(crate) columns: Vec<Column>,
    pub(crate) foreign_keys: Vec<ForeignKey>,
    pub(crate) unique: Vec<Unique>,
    /// For each unique index with predicate or expression, the columns that it speaks of.
    pub(crate) unique_over: Vec<Vec<usize>>,
    /// Positions of the columns of unique indexes, also of those with predicate or expression.
    pub(crate) indexed_uniquely: BTreeSet<usize>,
    /// Positions of the columns of any index.
    pub(crate) indexed: BTreeSet<usize>,
    pub(crate) checks: Vec<Check>,
    pub(crate) triggers: Vec<Trigger>,
    /// What the role of the connection may not do and filling needs: `SELECT` or `INSERT`.
    pub(crate) forbidden: Option<String>,
    /// COPY can fill it: row-level security knows INSERT only.
    pub(crate) copyable: bool,
    /// What the columns that refer to a column can hold, by its position.
    pub(crate) held: BTreeMap<usize, Held>,
    /// Positions of the columns that exclusion constraints cover.
    pub(crate) excluding: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) number: i16,
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    pub(crate) not_null: bool,
    pub(crate) default: Option<String>,
    pub(crate) identity: bool,
    pub(crate) generated: bool,
}

impl Column {
    /// Whether a sequence gives the value: reproducible, and the application goes on from there.
    pub(crate) fn is_sequence(&self) -> bool {
        self.identity
            || self
                .default
                .as_ref()
                .is_some_and(|default| default.contains("nextval("))
    }

    /// The expression that Postgres computes the column from.
    pub(crate) fn generating(&self) -> Option<&str> {
        self.default.as_deref().filter(|_| self.generated)
    }

    /// Whether the column must have a value.
    pub(crate) fn required(&self) -> bool {
        self.not_null || self.ty.forbids_null()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ForeignKey {
    pub(crate) name: String,
    /// Positions in the child's columns.
    pub(crate) columns: Vec<usize>,
    /// The table it refers to, as SQL; a partition perhaps.
    pub(crate) target: String,
    /// The position of that table (of its root) in the schema.
    pub(crate) parent: Option<usize>,
    /// Names of the columns it refers to.
    pub(crate) referenced: Vec<String>,
    pub(crate) deferrable: bool,
    /// MATCH FULL: all NULL or none.
    pub(crate) full: bool,
    pub(crate) schema: String,
}

/// A unique index without predicate or expression.
#[derive(Clone, Debug)]
pub(crate) struct Unique {
    pub(crate) name: String,
    /// Positions in the table's columns.
    pub(crate) columns: Vec<usize>,
    pub(crate) primary: bool,
}

/// A trigger that is enabled.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    /// The name of its function.
    pub(crate) function: String,
    /// The configuration parameters that the function reads.
    pub(crate) settings: Vec<String>,
}

/// A CHECK constraint.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) expression: String,
}

impl Table {
    /// `schema.table`, as options and reports name it.
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The quoted name for statements.
    pub(crate) fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    fn position(&self, number: i16) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.number == number)
    }
}

pub(crate) fn quote(name: &str) -> String {
    upgrade_core::postgres::sql::quote_ident(name)
}

fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote(schema), quote(name))
}

const TABLES: &str = "
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'p' AS partitioned,
       NOT row_security_active(c.oid) AS copyable,
       CASE WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN 'USAGE of its schema'
            WHEN NOT has_any_column_privilege(c.oid, 'SELECT') THEN 'SELECT'
            WHEN NOT has_any_column_privilege(c.oid, 'INSERT') THEN 'INSERT' END AS forbidden,
       (SELECT e.extname::text FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
           AND d.refclassid = 'pg_extension'::regclass LIMIT 1) AS extension
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
 ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

const COLUMNS: &str = "
SELECT a.attrelid::int8 AS relation, a.attnum AS number, a.attname::text AS name, a.atttypid::int8 AS type,
       a.atttypmod AS typmod, a.attnotnull AS not_null, pg_get_expr(d.adbin, d.adrelid) AS default_value,
       a.attidentity::text <> '' AS identity, a.attgenerated::text <> '' AS generated
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid::int8 = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum";

const LEAVES: &str = "
SELECT r.oid::int8 AS root, pg_get_partition_constraintdef(t.relid) AS bound
  FROM pg_class r, pg_partition_tree(r.oid) t
 WHERE r.oid::int8 = ANY($1) AND r.relkind = 'p' AND t.isleaf AND t.relid <> r.oid
 ORDER BY r.oid, t.relid::regclass::text COLLATE \"C\"";

const CONSTRAINTS: &str = "
SELECT k.conrelid::int8 AS relation, k.conname::text AS name, k.contype::text AS kind,
       coalesce(k.conkey, '{}')::int2[] AS key, k.condeferrable AS deferrable, k.confmatchtype = 'f' AS match_full,
       pg_get_expr(k.conbin, k.conrelid) AS expression,
       n.nspname::text AS schema, pn.nspname::text AS parent_schema, p.relname::text AS parent,
       coalesce(pg_partition_root(k.confrelid), k.confrelid)::oid::int8 AS parent_root,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS f(number, at)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = f.number ORDER BY f.at) AS referenced
  FROM pg_constraint k
  JOIN pg_namespace n ON n.oid = k.connamespace
  LEFT JOIN pg_class p ON p.oid = k.confrelid
  LEFT JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE k.conrelid::int8 = ANY($1) AND k.contype IN ('c', 'f', 'x')
   -- A key to a partitioned table has one more row for each partition: children of the real one.
   AND (k.contype <> 'f' OR k.conparentid = 0
        OR NOT EXISTS (SELECT FROM pg_constraint up WHERE up.oid = k.conparentid AND up.conrelid = k.conrelid))
 ORDER BY k.conrelid, k.conname COLLATE \"C\"";

const INDEXES: &str = "
SELECT i.indrelid::int8 AS relation, c.relname::text AS name,
       (string_to_array(i.indkey::text, ' ')::int2[])[1:i.indnkeyatts] AS key,
       string_to_array(i.indkey::text, ' ')::int2[] AS columns, i.indisunique AS is_unique,
       i.indpred IS NULL AND i.indexprs IS NULL AS plain, i.indisprimary AS is_primary,
       ARRAY(SELECT DISTINCT d.refobjsubid::int2 FROM pg_depend d
              WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 ORDER BY 1) AS over
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid::int8 = ANY($1) 
 ORDER BY i.indrelid, c.relname COLLATE \"C\"";

const TRIGGERS: &str = "
SELECT t.tgrelid::int8 AS relation, t.tgname::text AS name, p.proname::text AS function,
       ARRAY(SELECT DISTINCT m[1]
               FROM regexp_matches(p.prosrc, 'current_setting\\s*\\(\\s*''([^'']+)''', 'gi') AS m ORDER BY 1) AS settings
  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
 WHERE t.tgrelid::int8 = ANY($1) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
 ORDER BY t.tgrelid, t.tgname COLLATE \"C\"";

/// Reads all tables outside the system schemas.
pub(crate) async fn read(conn: &mut PgConnection) -> Result<Schema, SeedError> {
    read_catalog(conn)
        .await
        .doing(|| "read the catalog".to_owned())
}

async fn read_catalog(conn: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let (encoding, version, role): (String, i32, String) = sqlx::query_as(
        "SELECT current_setting('server_encoding'), current_setting('server_version_num')::int4, current_user::text",
    )
    .fetch_one(&mut *conn)
    .await?;
    let types = TypeCatalog::read(conn).await?;
    let mut tables = Vec::new();
    for row in sqlx::query(TABLES).fetch_all(&mut *conn).await? {
        tables.push(Table {
            oid: row.try_get("oid")?,
            schema: row.try_get("schema")?,
            name: row.try_get("name")?,
            extension: row.try_get("extension")?,
            partitioned: row.try_get("partitioned")?,
            leaves: Vec::new(),
            columns: Vec::new(),
            foreign_keys: Vec::new(),
            unique: Vec::new(),
            unique_over: Vec::new(),
            indexed_uniquely: BTreeSet::new(),
            indexed: BTreeSet::new(),
            checks: Vec::new(),
            triggers: Vec::new(),
            forbidden: row.try_get("forbidden")?,
            copyable: row.try_get("copyable")?,
            held: BTreeMap::new(),
            excluding: BTreeSet::new(),
        });
    }
    let oids: Vec<i64> = tables.iter().map(|table| table.oid).collect();
    let at: BTreeMap<i64, usize> = oids.iter().enumerate().map(|(i, oid)| (*oid, i)).collect();

    for row in sqlx::query(COLUMNS)
        .bind(&oids)
        .fetch_all(&mut *conn)
        .await?
    {
        let ty = types.resolve(row.try_get("type")?, row.try_get("typmod")?);
        tables[at[&row.try_get::<i64, _>("relation")?]]
            .columns
            .push(Column {
                number: row.try_get("number")?,
                name: row.try_get("name")?,
                ty,
                not_null: row.try_get("not_null")?,
                default: row.try_get("default_value")?,
                identity: row.try_get("identity")?,
                generated: row.try_get("generated")?,
            });
    }
    for row in sqlx::query(LEAVES)
        .bind(&oids)
        .fetch_all(&mut *conn)
        .await?
    {
        tables[at[&row.try_get::<i64, _>("root")?]]
            .leaves
            .push(row.try_get("bound")?);
    }
    for row in sqlx::query(INDEXES)
        .bind(&oids)
        .fetch_all(&mut *conn)
        .await?
    {
        let table = &mut tables[at[&row.try_get::<i64, _>("relation")?]];
        // An expression in the index has the number 0.
        let columns: Vec<i16> = row.try_get("columns")?;
        let columns: Vec<usize> = columns.iter().filter_map(|n| table.position(*n)).collect();
        table.indexed.extend(columns);
        if !row.try_get::<bool, _>("is_unique")? {
            continue;
        }
        let key: Vec<i16> = row.try_get("key")?;
        let columns: Vec<usize> = key.iter().filter_map(|n| table.position(*n)).collect();
        table.indexed_uniquely.extend(&columns);
        if row.try_get("plain")? {
            table.unique.push(Unique {
                name: row.try_get("name")?,
                columns,
                primary: row.try_get("is_primary")?,
            });
        } else {
            let over: Vec<i16> = row.try_get("over")?;
            let over = over.iter().filter_map(|number| table.position(*number));
            table.unique_over.push(over.collect());
        }
    }
    for row in sqlx::query(CONSTRAINTS)
        .bind(&oids)
        .fetch_all(&mut *conn)
        .await?
    {
        let table = &mut tables[at[&row.try_get::<i64, _>("relation")?]];
        let kind: String = row.try_get("kind")?;
        if kind == "c" {
            if let Some(expression) = row.try_get("expression")? {
                let name = row.try_get("name")?;
                table.checks.push(Check { name, expression });
            }
        } else if kind == "x" {
            // An expression in the constraint has the number 0.
            let key: Vec<i16> = row.try_get("key")?;
            let columns: Vec<usize> = key
                .iter()
                .filter_map(|number| table.position(*number))
                .collect();
            table.excluding.extend(columns);
        } else if let Some(columns) = positions(table, &row.try_get::<Vec<i16>, _>("key")?) {
            let parent_schema: String = row.try_get("parent_schema")?;
            let parent: String = row.try_get("parent")?;
            table.foreign_keys.push(ForeignKey {
                name: row.try_get("name")?,
                columns,
                target: qualified(&parent_schema, &parent),
                parent: at.get(&row.try_get::<i64, _>("parent_root")?).copied(),
                referenced: row.try_get("referenced")?,
                deferrable: row.try_get("deferrable")?,
                full: row.try_get("match_full")?,
                schema: row.try_get("schema")?,
            });
        }
    }
    for row in sqlx::query(TRIGGERS)
        .bind(&oids)
        .fetch_all(&mut *conn)
        .await?
    {
        let table = &mut tables[at[&row.try_get::<i64, _>("relation")?]];
        table.triggers.push(Trigger {
            name: row.try_get("name")?,
            function: row.try_get("function")?,
            settings: row.try_get("settings")?,
        });
    }
    for (at, table) in tables.iter_mut().enumerate() {
        // A row always refers to itself by the columns that it is referred to by.
        let names: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
        table.foreign_keys.retain(|key| {
            let own = key.columns.iter().map(|column| &names[*column]);
            key.parent != Some(at) || !own.eq(&key.referenced)
        });
        // The widest first: a narrower key over some of the same columns then has to agree with it.
        table
            .foreign_keys
            .sort_by_key(|key| std::cmp::Reverse(key.columns.len()));
        drop_repeated(&mut table.foreign_keys);
    }
    limit_referenced(&mut tables);
    Ok(Schema {
        tables,
        unicode: encoding == "UTF8",
        version,
        role,
    })
}

/// How many foreign keys are followed from a column to what refers to it.
const DEEP: u8 = 8;

/// Notes for each column that is referred to what all that refer to it can hold: a `char(36)` may
/// refer to a longer text.
fn limit_referenced(tables: &mut [Table]) {
    for _ in 0..DEEP {
        let mut found: Vec<(usize, usize, Held)> = Vec::new();
        for table in &*tables {
            for key in &table.foreign_keys {
                let Some(parent) = key.parent else { continue };
                let referenced = &tables[parent];
                for (own, name) in key.columns.iter().zip(&key.referenced) {
                    let mut columns = referenced.columns.iter();
                    let Some(at) = columns.position(|column| column.name == *name) else {
                        continue;
                    };
                    let further = table.held.get(own).copied().unwrap_or_default();
                    let held = table.columns[*own].ty.holds().and(further);
                    let known = referenced.held.get(&at).copied().unwrap_or_default();
                    if known.and(held) != known {
                        found.push((parent, at, held));
                    }
                }
            }
        }
        if found.is_empty() {
            return;
        }
        for (parent, at, held) in found {
            let known = tables[parent].held.entry(at).or_default();
            *known = known.and(held);
        }
    }
}

fn positions(table: &Table, numbers: &[i16]) -> Option<Vec<usize>> {
    numbers
        .iter()
        .map(|number| table.position(*number))
        .collect()
}

/// The same key declared twice is one key.
fn drop_repeated(keys: &mut Vec<ForeignKey>) {
    let mut seen = BTreeSet::new();
    keys.retain(|key| {
        seen.insert((
            key.columns.clone(),
            key.target.clone(),
            key.referenced.clone(),
        ))
    });
}
