//! Schemas.
//!
//! `public` is made by the server: since 15 it belongs to `pg_database_owner` and not everyone may
//! create in it. Its owner and its grants are facts only if someone changed them.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'schema' AS kind, '' AS schema, NULL AS parent, n.nspname::text AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'owner', CASE WHEN n.nspname <> 'public'
                    OR n.nspowner NOT IN (10, (SELECT r.oid FROM pg_roles r WHERE r.rolname = 'pg_database_owner'))
                THEN pg_get_userbyid(n.nspowner) END,
            'acl', CASE WHEN i.initprivs @> n.nspacl AND i.initprivs <@ n.nspacl THEN NULL ELSE coalesce(",
    acl!("n.nspacl", "'n'", "n.nspowner"),
    ", CASE WHEN i.initprivs IS NOT NULL THEN 'owner only' END) END,
            'comment', d.description
        ))::text AS attributes
    FROM pg_namespace n
    LEFT JOIN pg_init_privs i ON i.classoid = 'pg_namespace'::regclass AND i.objoid = n.oid",
    comment!("pg_namespace", "n.oid"),
    "WHERE n.oid = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_namespace", "n.oid"),
);
