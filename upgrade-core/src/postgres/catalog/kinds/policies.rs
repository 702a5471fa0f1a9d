//! Row security policies.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'policy' AS kind, n.nspname::text AS schema, c.relname::text AS parent, p.polname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'command', CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update'
                WHEN 'd' THEN 'delete' ELSE 'all' END,
            'restrictive', CASE WHEN NOT p.polpermissive THEN 'true' END,
            'roles', (
                SELECT string_agg(r.name, ', ' ORDER BY r.name COLLATE \"C\")
                FROM (
                    SELECT CASE role WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(role)::text END AS name
                    FROM unnest(p.polroles) role
                ) r),
            'using', pg_get_expr(p.polqual, p.polrelid),
            'with check', pg_get_expr(p.polwithcheck, p.polrelid),
            'comment', d.description
        ))::text AS attributes
    FROM pg_policy p
    JOIN pg_class c ON c.oid = p.polrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace",
    comment!("pg_policy", "p.oid"),
    "WHERE c.relnamespace = ANY($1) AND c.oid <> ALL($2)",
);
