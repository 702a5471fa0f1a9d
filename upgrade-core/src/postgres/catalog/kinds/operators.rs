//! Operators, and the families and classes that make indexes of them.
//!
//! A member of a family is listed with the class that it was made for and else with the family.

/// The operators and functions that depend on a class or a family.
macro_rules! members {
    ($class:literal, $oid:literal) => {
        concat!(
            "(SELECT string_agg(m.line, E'\\n' ORDER BY m.line COLLATE \"C\") FROM (
                SELECT 'operator ' || o.amopstrategy || ' ' || o.amopopr::regoperator
                    || coalesce(' for order by ' || quote_ident(sn.nspname) || '.' || quote_ident(sf.opfname), '')
                FROM pg_amop o
                LEFT JOIN pg_opfamily sf ON sf.oid = o.amopsortfamily
                LEFT JOIN pg_namespace sn ON sn.oid = sf.opfnamespace
                WHERE EXISTS (SELECT FROM pg_depend md WHERE md.classid = 'pg_amop'::regclass
                    AND md.objid = o.oid AND md.refclassid = '", $class, "'::regclass AND md.refobjid = ", $oid, ")
                UNION ALL
                SELECT 'function ' || p.amprocnum || ' (' || format_type(p.amproclefttype, NULL) || ', '
                    || format_type(p.amprocrighttype, NULL) || ') ' || p.amproc::oid::regprocedure
                FROM pg_amproc p
                WHERE EXISTS (SELECT FROM pg_depend md WHERE md.classid = 'pg_amproc'::regclass
                    AND md.objid = p.oid AND md.refclassid = '", $class, "'::regclass AND md.refobjid = ", $oid, ")
            ) m (line))"
        )
    };
}

pub(super) const SQL: &str = concat!(
    "
    SELECT 'operator' AS kind, n.nspname::text AS schema, NULL AS parent,
        o.oprname || '(' || CASE o.oprleft WHEN 0 THEN 'NONE' ELSE format_type(o.oprleft, NULL) END || ', '
            || CASE o.oprright WHEN 0 THEN 'NONE' ELSE format_type(o.oprright, NULL) END || ')' AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'function', ",
    function!("o.oprcode"),
    ",
            'result', CASE WHEN o.oprresult <> 0 THEN format_type(o.oprresult, NULL) END,
            'commutator', nullif(o.oprcom, 0)::regoperator::text,
            'negator', nullif(o.oprnegate, 0)::regoperator::text,
            'restrict', ",
    function!("o.oprrest"),
    ",
            'join', ",
    function!("o.oprjoin"),
    ",
            'hashes', CASE WHEN o.oprcanhash THEN 'true' END,
            'merges', CASE WHEN o.oprcanmerge THEN 'true' END,
            'owner', pg_get_userbyid(o.oprowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_operator o
    JOIN pg_namespace n ON n.oid = o.oprnamespace",
    comment!("pg_operator", "o.oid"),
    "WHERE o.oprnamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_operator", "o.oid"),
);

pub(super) const FAMILIES: &str = concat!(
    "
    SELECT 'operator family' AS kind, n.nspname::text AS schema, NULL AS parent,
        quote_ident(f.opfname) || ' using ' || quote_ident(am.amname) AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'members', ",
    members!("pg_opfamily", "f.oid"),
    ",
            'owner', pg_get_userbyid(f.opfowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_opfamily f
    JOIN pg_am am ON am.oid = f.opfmethod
    JOIN pg_namespace n ON n.oid = f.opfnamespace",
    comment!("pg_opfamily", "f.oid"),
    "WHERE f.opfnamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_opfamily", "f.oid"),
);

pub(super) const CLASSES: &str = concat!(
    "
    SELECT 'operator class' AS kind, n.nspname::text AS schema, NULL AS parent,
        quote_ident(k.opcname) || ' using ' || quote_ident(am.amname) AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'type', format_type(k.opcintype, NULL),
            'default', CASE WHEN k.opcdefault THEN 'true' END,
            'stored type', CASE WHEN k.opckeytype <> 0 THEN format_type(k.opckeytype, NULL) END,
            'family', quote_ident(fn.nspname) || '.' || quote_ident(f.opfname),
            'members', ",
    members!("pg_opclass", "k.oid"),
    ",
            'owner', pg_get_userbyid(k.opcowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_opclass k
    JOIN pg_am am ON am.oid = k.opcmethod
    JOIN pg_opfamily f ON f.oid = k.opcfamily
    JOIN pg_namespace fn ON fn.oid = f.opfnamespace
    JOIN pg_namespace n ON n.oid = k.opcnamespace",
    comment!("pg_opclass", "k.oid"),
    "WHERE k.opcnamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_opclass", "k.oid"),
);
