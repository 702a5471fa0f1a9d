//! Columns of tables and views.
//!
//! `NOT NULL` is a fact of the column on every server, though since 18 it is stored as a
//! constraint; that it is not validated yet, or not inherited, can be said only there. The position is the rank among
//! the live columns, because a dropped column leaves a gap that nobody sees.
//!
//! Some servers (17.12) keep an internal stamp among the options of a column, `pg_attver`. It is
//! another one each time that a column is made, and cannot be set. It is no fact of the schema.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'column' AS kind, n.nspname::text AS schema, c.relname::text AS parent, a.attname::text AS name,
        (row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum))::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'type', format_type(a.atttypid, a.atttypmod),
            'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
            'not null', CASE WHEN c.relkind NOT IN ('v', 'm') THEN a.attnotnull::text END,
            'not null validated', CASE WHEN NOT nn.convalidated THEN 'false' END,
            'not null no inherit', CASE WHEN nn.connoinherit THEN 'true' END,
            'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(ad.adbin, ad.adrelid) END,
            'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
            'generated', CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
            'expression', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(ad.adbin, ad.adrelid) END,
            'storage', CASE WHEN a.attstorage <> t.typstorage THEN
                CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external'
                    WHEN 'm' THEN 'main' ELSE 'extended' END END,
            'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
            'statistics target', nullif(a.attstattarget, -1)::text,
            'options', ",
    options!("ARRAY(SELECT o FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg\\_attver=%')"),
    ",
            'server options', ",
    options!("a.attfdwoptions"),
    ",
            'inherited', CASE WHEN a.attinhcount > 0 THEN
                CASE WHEN a.attislocal THEN 'and declared' ELSE 'true' END END,
            'acl', ",
    acl!("a.attacl", "'c'", "c.relowner"),
    ",
            'comment', d.description
        ))::text AS attributes
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
    LEFT JOIN pg_constraint nn ON nn.conrelid = a.attrelid AND nn.contype = 'n'
        AND nn.conkey = ARRAY[a.attnum]",
    comment!("pg_class", "a.attrelid", "a.attnum"),
    "WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
        AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)",
);
