//! Transforms between types and procedural languages.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'transform' AS kind, '' AS schema, NULL AS parent,
        'for ' || format_type(k.trftype, NULL) || ' language ' || quote_ident(l.lanname) AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'from sql', ",
    function!("k.trffromsql"),
    ",
            'to sql', ",
    function!("k.trftosql"),
    ",
            'comment', d.description
        ))::text AS attributes
    FROM pg_transform k
    JOIN pg_language l ON l.oid = k.trflang
    JOIN pg_type t ON t.oid = k.trftype",
    comment!("pg_transform", "k.oid"),
    "WHERE (t.typnamespace = 'pg_catalog'::regnamespace OR t.typnamespace = ANY($1))
        AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_transform", "k.oid"),
);
