//! Casts, without those of the server, those of types that are out of scope, and the one that comes
//! with a range.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'cast' AS kind, '' AS schema, NULL AS parent,
        '(' || format_type(k.castsource, NULL) || ' AS ' || format_type(k.casttarget, NULL) || ')' AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'method', CASE k.castmethod WHEN 'f' THEN 'function' WHEN 'i' THEN 'text' ELSE 'binary' END,
            'function', CASE WHEN k.castfunc <> 0 THEN k.castfunc::regprocedure::text END,
            'context', CASE k.castcontext WHEN 'i' THEN 'implicit' WHEN 'a' THEN 'assignment' ELSE 'explicit' END,
            'comment', d.description
        ))::text AS attributes
    FROM pg_cast k",
    comment!("pg_cast", "k.oid"),
    "WHERE k.oid >= 16384 AND cardinality($2) >= 0
        AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid IN (k.castsource, k.casttarget)
            AND t.typnamespace <> 'pg_catalog'::regnamespace AND t.typnamespace <> ALL($1))
        AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_cast'::regclass AND i.objid = k.oid
            AND i.deptype = 'i')
        AND ",
    not_of_extension!("pg_cast", "k.oid"),
);
