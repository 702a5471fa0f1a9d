//! Event triggers.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'event trigger' AS kind, '' AS schema, NULL AS parent, e.evtname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'event', e.evtevent,
            'tags', (SELECT string_agg(tag, ', ' ORDER BY tag COLLATE \"C\") FROM unnest(e.evttags) tag),
            'function', e.evtfoid::regprocedure::text,
            'enabled', CASE e.evtenabled WHEN 'D' THEN 'false' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END,
            'owner', pg_get_userbyid(e.evtowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_event_trigger e",
    comment!("pg_event_trigger", "e.oid"),
    "WHERE cardinality($1) >= 0 AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_event_trigger", "e.oid"),
);
