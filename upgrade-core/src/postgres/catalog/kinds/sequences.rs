//! Sequences: their parameters. Their values are data.
//!
//! Since 15 a sequence that a column owns is as persistent as its table, before it was always
//! permanent; so only that of a free sequence is a fact.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'sequence' AS kind, n.nspname::text AS schema, NULL AS parent, c.relname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'type', format_type(s.seqtypid, NULL),
            'start', s.seqstart::text,
            'increment', s.seqincrement::text,
            'minimum', s.seqmin::text,
            'maximum', s.seqmax::text,
            'cache', s.seqcache::text,
            'cycle', CASE WHEN s.seqcycle THEN 'true' END,
            'owned by', own.refobjid::regclass::text || '.' || quote_ident(a.attname),
            'persistence', CASE WHEN c.relpersistence = 'u' AND own.refobjid IS NULL THEN 'unlogged' END,
            'owner', pg_get_userbyid(c.relowner),
            'acl', ",
    acl!("c.relacl", "'s'", "c.relowner"),
    ",
            'comment', d.description
        ))::text AS attributes
    FROM pg_sequence s
    JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_depend own ON own.classid = 'pg_class'::regclass AND own.objid = c.oid
        AND own.refclassid = 'pg_class'::regclass AND own.refobjsubid > 0 AND own.deptype IN ('a', 'i')
    LEFT JOIN pg_attribute a ON a.attrelid = own.refobjid AND a.attnum = own.refobjsubid",
    comment!("pg_class", "c.oid"),
    "WHERE c.relnamespace = ANY($1) AND c.oid <> ALL($2)",
);
