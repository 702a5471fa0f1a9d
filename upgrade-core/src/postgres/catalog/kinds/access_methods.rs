//! Access methods, without those of the server.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'access method' AS kind, '' AS schema, NULL AS parent, am.amname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'type', CASE am.amtype WHEN 't' THEN 'table' ELSE 'index' END,
            'handler', am.amhandler::text,
            'comment', d.description
        ))::text AS attributes
    FROM pg_am am",
    comment!("pg_am", "am.oid"),
    "WHERE am.oid >= 16384 AND cardinality($1) >= 0 AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_am", "am.oid"),
);
