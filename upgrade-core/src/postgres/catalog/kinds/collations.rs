//! Collations.
//!
//! The columns that hold the locale were renamed in 15 and 17, so the row is read as JSON.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'collation' AS kind, n.nspname::text AS schema, NULL AS parent, co.collname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'provider', CASE co.collprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin'
                ELSE 'default' END,
            'locale', coalesce(x.j ->> 'colllocale', x.j ->> 'colliculocale', co.collcollate::text),
            'ctype', nullif(co.collctype::text, co.collcollate::text),
            'rules', x.j ->> 'collicurules',
            'deterministic', CASE WHEN NOT co.collisdeterministic THEN 'false' END,
            'owner', pg_get_userbyid(co.collowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_collation co
    CROSS JOIN LATERAL (SELECT to_jsonb(co) AS j) x
    JOIN pg_namespace n ON n.oid = co.collnamespace",
    comment!("pg_collation", "co.oid"),
    "WHERE co.collnamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_collation", "co.oid"),
);
