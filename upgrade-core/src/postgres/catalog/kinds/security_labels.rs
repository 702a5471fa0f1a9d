//! Security labels of objects in this database, whatever their kind.

pub(super) const SQL: &str = "
    SELECT 'security label' AS kind, '' AS schema, NULL AS parent,
        quote_ident(l.provider) || ' on ' || o.type || ' ' || o.identity AS name, NULL::int4 AS position,
        jsonb_build_object('label', l.label)::text AS attributes
    FROM pg_seclabel l
    CROSS JOIN LATERAL pg_identify_object(l.classoid, l.objoid, l.objsubid) o
    WHERE o.identity IS NOT NULL
        AND (o.schema IS NULL
            OR o.schema IN (SELECT quote_ident(n.nspname) FROM pg_namespace n WHERE n.oid = ANY($1)))
        AND NOT (l.classoid = 'pg_class'::regclass AND l.objoid = ANY($2))";
