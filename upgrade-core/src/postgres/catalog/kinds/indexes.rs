//! Indexes, those of constraints included.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'index' AS kind, n.nspname::text AS schema, c.relname::text AS parent, ic.relname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'definition', pg_get_indexdef(i.indexrelid),
            'valid', CASE WHEN NOT i.indisvalid THEN 'false' END,
            'ready', CASE WHEN NOT i.indisready THEN 'false' END,
            'clustered', CASE WHEN i.indisclustered THEN 'true' END,
            'replica identity', CASE WHEN i.indisreplident THEN 'true' END,
            'part of', h.inhparent::regclass::text,
            'statistics targets', (
                SELECT string_agg(a.attnum || ': ' || a.attstattarget, E'\\n' ORDER BY a.attnum)
                FROM pg_attribute a
                WHERE a.attrelid = i.indexrelid AND a.attnum > 0 AND a.attstattarget >= 0),
            'tablespace', ts.spcname,
            'comment', d.description
        ))::text AS attributes
    FROM pg_index i
    JOIN pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = ic.relnamespace
    LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
    LEFT JOIN pg_tablespace ts ON ts.oid = ic.reltablespace",
    comment!("pg_class", "i.indexrelid"),
    "WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace = ANY($1)
        AND i.indexrelid <> ALL($2) AND i.indrelid <> ALL($2)",
);
