//! Extensions. Their members are not listed: a version says what they are.

pub(super) const SQL: &str = "
    SELECT 'extension' AS kind, '' AS schema, NULL AS parent, e.extname::text AS name, NULL::int4 AS position,
        jsonb_build_object('version', e.extversion, 'schema', n.nspname)::text AS attributes
    FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE cardinality($1) >= 0 AND cardinality($2) >= 0";
