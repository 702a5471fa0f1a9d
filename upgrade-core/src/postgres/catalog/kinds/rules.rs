//! Rewrite rules, without the one that makes a view a view.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'rule' AS kind, n.nspname::text AS schema, c.relname::text AS parent, r.rulename::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'definition', pg_get_ruledef(r.oid),
            'enabled', CASE r.ev_enabled WHEN 'D' THEN 'false' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END,
            'comment', d.description
        ))::text AS attributes
    FROM pg_rewrite r
    JOIN pg_class c ON c.oid = r.ev_class
    JOIN pg_namespace n ON n.oid = c.relnamespace",
    comment!("pg_rewrite", "r.oid"),
    "WHERE NOT (c.relkind IN ('v', 'm') AND r.rulename = '_RETURN')
        AND c.relnamespace = ANY($1) AND c.oid <> ALL($2)",
);
