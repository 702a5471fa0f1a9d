//! Views and materialized views.

pub(super) const SQL: &str = concat!(
    "
    SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END AS kind,
        n.nspname::text AS schema, NULL AS parent, c.relname::text AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'owner', pg_get_userbyid(c.relowner),
            'acl', ",
    acl!("c.relacl", "'r'", "c.relowner"),
    ",
            'comment', d.description,
            'definition', pg_get_viewdef(c.oid),
            'options', ",
    options!("c.reloptions || ARRAY(SELECT 'toast.' || o FROM unnest(t.reloptions) o)"),
    ",
            'populated', CASE WHEN c.relkind = 'm' THEN c.relispopulated::text END,
            'access method', nullif(am.amname, 'heap'),
            'tablespace', ts.spcname
        ))::text AS attributes
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
    LEFT JOIN pg_am am ON am.oid = c.relam
    LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace",
    comment!("pg_class", "c.oid"),
    "WHERE c.relkind IN ('v', 'm') AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)",
);
