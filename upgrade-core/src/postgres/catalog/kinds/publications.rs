//! Publications, and what they publish: tables and, since 15, schemas.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'publication' AS kind, '' AS schema, NULL AS parent, p.pubname::text AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'all tables', CASE WHEN p.puballtables THEN 'true' END,
            'operations', concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END,
                CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END,
                CASE WHEN p.pubtruncate THEN 'truncate' END),
            'via root', CASE WHEN p.pubviaroot THEN 'true' END,
            'generated columns', CASE x.j ->> 'pubgencols' WHEN 's' THEN 'stored' END,
            'owner', pg_get_userbyid(p.pubowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_publication p
    CROSS JOIN LATERAL (SELECT to_jsonb(p) AS j) x",
    comment!("pg_publication", "p.oid"),
    "WHERE cardinality($1) >= 0 AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_publication", "p.oid"),
);

/// Before 15 a table has neither a list of columns nor a filter: the names in the innermost query
/// then mean the nulls outside of it.
pub(super) const TABLES: &str = "
    SELECT 'published table' AS kind, n.nspname::text AS schema, c.relname::text AS parent,
        p.pubname::text AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'columns', (
                SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE \"C\")
                FROM unnest(x.prattrs::int2[]) k
                JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = k),
            'row filter', pg_get_expr(x.prqual, r.prrelid)
        ))::text AS attributes
    FROM pg_publication_rel r
    JOIN pg_publication p ON p.oid = r.prpubid
    JOIN pg_class c ON c.oid = r.prrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN (SELECT NULL::int2vector AS prattrs, NULL::pg_node_tree AS prqual) before_15
    CROSS JOIN LATERAL (SELECT prattrs, prqual FROM pg_publication_rel same WHERE same.oid = r.oid) x
    WHERE c.relnamespace = ANY($1) AND c.oid <> ALL($2)";

pub(super) const SCHEMAS: &str = "
    SELECT 'published schema' AS kind, n.nspname::text AS schema, NULL AS parent, p.pubname::text AS name,
        NULL::int4 AS position, '{}' AS attributes
    FROM pg_publication_namespace r
    JOIN pg_publication p ON p.oid = r.pnpubid
    JOIN pg_namespace n ON n.oid = r.pnnspid
    WHERE n.oid = ANY($1) AND cardinality($2) >= 0";
