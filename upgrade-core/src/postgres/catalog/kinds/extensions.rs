//! Extensions. Their members are not listed: a version says what they are.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'extension' AS kind, '' AS schema, NULL AS parent, e.extname::text AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'version', e.extversion,
            'schema', n.nspname,
            'owner', CASE WHEN e.oid >= 16384 THEN pg_get_userbyid(e.extowner) END,
            'comment', d.description
        ))::text AS attributes
    FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace",
    comment!("pg_extension", "e.oid"),
    "WHERE cardinality($1) >= 0 AND cardinality($2) >= 0",
);
