//! Triggers, without those by which the server enforces constraints.
//!
//! A partition's copy of its parent's trigger counts as internal before 15 and as its own after;
//! it is listed by what it is a copy of.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'trigger' AS kind, n.nspname::text AS schema, c.relname::text AS parent, t.tgname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'definition', pg_get_triggerdef(t.oid),
            'enabled', CASE t.tgenabled WHEN 'D' THEN 'false' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END,
            'inherited', CASE WHEN t.tgparentid <> 0 THEN 'true' END,
            'comment', d.description
        ))::text AS attributes
    FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace",
    comment!("pg_trigger", "t.oid"),
    "WHERE c.relnamespace = ANY($1) AND c.oid <> ALL($2) AND (
        (NOT t.tgisinternal AND t.tgparentid = 0)
        OR EXISTS (
            WITH RECURSIVE up AS (
                SELECT p.tgparentid, p.tgisinternal FROM pg_trigger p WHERE p.oid = t.tgparentid
                UNION ALL
                SELECT p.tgparentid, p.tgisinternal FROM up JOIN pg_trigger p ON p.oid = up.tgparentid
            )
            SELECT FROM up WHERE up.tgparentid = 0 AND NOT up.tgisinternal))",
);
