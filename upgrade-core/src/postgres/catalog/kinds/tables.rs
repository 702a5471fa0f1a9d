//! Tables: ordinary, partitioned, foreign, and partitions.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'table' AS kind, n.nspname::text AS schema, NULL AS parent, c.relname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'kind', CASE c.relkind
                WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' ELSE 'foreign table' END,
            'owner', pg_get_userbyid(c.relowner),
            'acl', ",
    acl!("c.relacl", "'r'", "c.relowner"),
    ",
            'comment', d.description,
            'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
            'access method', nullif(am.amname, 'heap'),
            'tablespace', ts.spcname,
            'options', ",
    options!("c.reloptions || ARRAY(SELECT 'toast.' || o FROM unnest(t.reloptions) o)"),
    ",
            'row security', CASE WHEN c.relrowsecurity THEN 'enabled' END,
            'force row security', CASE WHEN c.relforcerowsecurity THEN 'true' END,
            'replica identity', CASE c.relreplident
                WHEN 'f' THEN 'full' WHEN 'n' THEN 'nothing' WHEN 'i' THEN 'index' END,
            'partition key', pg_get_partkeydef(c.oid),
            'partition bound', pg_get_expr(c.relpartbound, c.oid),
            'inherits', h.parents,
            'detach pending', h.detaching,
            'of type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
            'server', fs.srvname,
            'server options', ",
    options!("ft.ftoptions"),
    "
        ))::text AS attributes
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
    LEFT JOIN pg_am am ON am.oid = c.relam
    LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
    LEFT JOIN pg_foreign_table ft ON ft.ftrelid = c.oid
    LEFT JOIN pg_foreign_server fs ON fs.oid = ft.ftserver
    LEFT JOIN (
        SELECT i.inhrelid, string_agg(i.inhparent::regclass::text, E'\\n' ORDER BY i.inhseqno) AS parents,
            max(CASE WHEN i.inhdetachpending THEN 'true' END) AS detaching
        FROM pg_inherits i GROUP BY i.inhrelid
    ) h ON h.inhrelid = c.oid",
    comment!("pg_class", "c.oid"),
    "WHERE c.relkind IN ('r', 'p', 'f') AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)",
);
