//! Conversions between encodings.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'conversion' AS kind, n.nspname::text AS schema, NULL AS parent, k.conname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'source', pg_encoding_to_char(k.conforencoding),
            'destination', pg_encoding_to_char(k.contoencoding),
            'function', k.conproc::text,
            'default', CASE WHEN k.condefault THEN 'true' END,
            'owner', pg_get_userbyid(k.conowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_conversion k
    JOIN pg_namespace n ON n.oid = k.connamespace",
    comment!("pg_conversion", "k.oid"),
    "WHERE k.connamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_conversion", "k.oid"),
);
