//! Subscriptions of this database.
//!
//! The connection is left out: only a superuser may read it, and it may hold a password. Columns
//! that older servers do not have are named in the innermost query and then mean the values
//! outside of it.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'subscription' AS kind, '' AS schema, NULL AS parent, s.subname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'enabled', s.subenabled::text,
            'publications', (
                SELECT string_agg(p, E'\\n' ORDER BY p COLLATE \"C\") FROM unnest(s.subpublications) p),
            'slot', s.subslotname,
            'synchronous commit', s.subsynccommit,
            'binary', CASE WHEN s.subbinary THEN 'true' END,
            'streaming', CASE WHEN x.substream IN ('t', 'true') THEN 'on' WHEN x.substream = 'p' THEN 'parallel'
                ELSE 'off' END,
            'two phase', CASE WHEN x.subtwophasestate <> 'd' THEN 'true' END,
            'disable on error', CASE WHEN x.subdisableonerr THEN 'true' END,
            'origin', nullif(x.suborigin, 'any'),
            'password required', CASE WHEN NOT x.subpasswordrequired THEN 'false' END,
            'run as owner', CASE WHEN x.subrunasowner THEN 'true' END,
            'failover', CASE WHEN x.subfailover THEN 'true' END,
            'owner', pg_get_userbyid(s.subowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_subscription s
    CROSS JOIN (SELECT 'd'::\"char\" AS subtwophasestate, false AS subdisableonerr, 'any' AS suborigin,
        true AS subpasswordrequired, false AS subrunasowner, false AS subfailover) older
    CROSS JOIN LATERAL (
        SELECT substream::text AS substream, subtwophasestate, subdisableonerr, suborigin, subpasswordrequired,
            subrunasowner, subfailover
        FROM pg_subscription same WHERE same.oid = s.oid) x",
    comment!("pg_subscription", "s.oid"),
    "WHERE s.subdbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
        AND cardinality($1) >= 0 AND cardinality($2) >= 0",
);
