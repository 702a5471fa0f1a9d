//! Types: enums, domains, composites, ranges and base types.
//!
//! Not listed: the row type of a table, array types, and the multirange that comes with a range,
//! because each says nothing that its table, element or range does not say.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'type' AS kind, n.nspname::text AS schema, NULL AS parent, t.typname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'kind', CASE WHEN NOT t.typisdefined THEN 'shell' ELSE CASE t.typtype WHEN 'e' THEN 'enum'
                WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite' WHEN 'r' THEN 'range' ELSE 'base' END END,
            'owner', pg_get_userbyid(t.typowner),
            'acl', ",
    acl!("t.typacl", "'T'", "t.typowner"),
    ",
            'comment', d.description,
            'labels', (
                SELECT string_agg(quote_literal(e.enumlabel), E'\\n' ORDER BY e.enumsortorder)
                FROM pg_enum e WHERE e.enumtypid = t.oid),
            'attributes', (
                SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
                    || CASE WHEN a.attcollation <> at.typcollation
                        THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END
                    || coalesce(' -- ' || ad.description, ''), E'\\n' ORDER BY a.attnum)
                FROM pg_attribute a
                JOIN pg_type at ON at.oid = a.atttypid
                LEFT JOIN pg_description ad ON ad.classoid = 'pg_class'::regclass
                    AND ad.objoid = a.attrelid AND ad.objsubid = a.attnum
                WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
            'base type', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
            'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation
                THEN t.typcollation::regcollation::text END,
            'not null', CASE WHEN t.typtype = 'd' THEN t.typnotnull::text END,
            'default', CASE WHEN t.typtype IN ('d', 'b') THEN t.typdefault END,
            'subtype', format_type(r.rngsubtype, NULL),
            'subtype operator class', quote_ident(ocn.nspname) || '.' || quote_ident(oc.opcname),
            'subtype collation', CASE WHEN r.rngcollation <> 0 THEN r.rngcollation::regcollation::text END,
            'canonical function', CASE WHEN r.rngcanonical <> 0 THEN r.rngcanonical::text END,
            'difference function', CASE WHEN r.rngsubdiff <> 0 THEN r.rngsubdiff::text END,
            'multirange', CASE WHEN r.rngmultitypid <> 0 THEN format_type(r.rngmultitypid, NULL) END,
            'representation', CASE WHEN t.typtype = 'b' AND t.typisdefined THEN concat_ws(E'\\n',
                'input ' || t.typinput,
                'output ' || t.typoutput,
                'receive ' || nullif(t.typreceive::oid, 0)::regproc,
                'send ' || nullif(t.typsend::oid, 0)::regproc,
                'modifier input ' || nullif(t.typmodin::oid, 0)::regproc,
                'modifier output ' || nullif(t.typmodout::oid, 0)::regproc,
                'analyze ' || nullif(t.typanalyze::oid, 0)::regproc,
                'subscript ' || nullif(t.typsubscript::oid, 0)::regproc,
                'element ' || format_type(nullif(t.typelem, 0), NULL),
                'length ' || t.typlen || CASE WHEN t.typbyval THEN ' by value' ELSE '' END,
                'alignment ' || t.typalign::text || ', storage ' || t.typstorage::text,
                'category ' || t.typcategory::text || CASE WHEN t.typispreferred THEN ' preferred' ELSE '' END,
                'delimiter ' || t.typdelim::text,
                CASE WHEN t.typcollation <> 0 THEN 'collatable' END) END
        ))::text AS attributes
    FROM pg_type t
    JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    LEFT JOIN pg_type b ON b.oid = t.typbasetype
    LEFT JOIN pg_range r ON r.rngtypid = t.oid
    LEFT JOIN pg_opclass oc ON oc.oid = r.rngsubopc
    LEFT JOIN pg_namespace ocn ON ocn.oid = oc.opcnamespace",
    // A comment on a composite type is on the type, those on its attributes are on its relation.
    comment!("pg_type", "t.oid"),
    "WHERE t.typtype IN ('e', 'd', 'c', 'r', 'b', 'p') AND (t.typtype <> 'p' OR NOT t.typisdefined)
        AND (t.typrelid = 0 OR c.relkind = 'c')
        AND NOT EXISTS (SELECT FROM pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid)
        AND t.typnamespace = ANY($1) AND t.typrelid <> ALL($2) AND ",
    not_of_extension!("pg_type", "t.oid"),
);
