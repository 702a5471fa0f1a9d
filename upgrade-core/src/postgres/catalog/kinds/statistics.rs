//! Extended statistics objects.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'statistics' AS kind, n.nspname::text AS schema, c.relname::text AS parent, s.stxname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'definition', pg_get_statisticsobjdef(s.oid),
            'statistics target', nullif(s.stxstattarget, -1)::text,
            'owner', pg_get_userbyid(s.stxowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_statistic_ext s
    JOIN pg_class c ON c.oid = s.stxrelid
    JOIN pg_namespace n ON n.oid = s.stxnamespace",
    comment!("pg_statistic_ext", "s.oid"),
    "WHERE s.stxnamespace = ANY($1) AND c.oid <> ALL($2)",
);
