//! Functions, procedures and aggregates.
//!
//! Named with the types of their input arguments, which is what makes one differ from another.
//! The server has no `pg_get_functiondef` for aggregates; their parts are listed instead.

pub(super) const SQL: &str = concat!(
    "
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
        n.nspname::text AS schema, NULL AS parent,
        quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')' AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'definition', CASE WHEN p.prokind <> 'a' THEN rtrim(pg_get_functiondef(p.oid), E'\\n')
                ELSE concat_ws(E'\\n',
                    'arguments ' || pg_get_function_arguments(p.oid),
                    'returns ' || pg_get_function_result(p.oid),
                    'kind ' || ag.aggkind::text,
                    'state function ' || ag.aggtransfn,
                    'state type ' || format_type(ag.aggtranstype, NULL),
                    'state space ' || nullif(ag.aggtransspace, 0),
                    'initial state ' || quote_literal(ag.agginitval),
                    'final function ' || nullif(ag.aggfinalfn::oid, 0)::regproc,
                    'final function may ' || ag.aggfinalmodify::text
                        || CASE WHEN ag.aggfinalextra THEN ', with arguments' ELSE '' END,
                    'combine function ' || nullif(ag.aggcombinefn::oid, 0)::regproc,
                    'serial function ' || nullif(ag.aggserialfn::oid, 0)::regproc,
                    'deserial function ' || nullif(ag.aggdeserialfn::oid, 0)::regproc,
                    'moving state function ' || nullif(ag.aggmtransfn::oid, 0)::regproc,
                    'moving inverse function ' || nullif(ag.aggminvtransfn::oid, 0)::regproc,
                    'moving final function ' || nullif(ag.aggmfinalfn::oid, 0)::regproc,
                    'moving final function may ' || ag.aggmfinalmodify::text
                        || CASE WHEN ag.aggmfinalextra THEN ', with arguments' ELSE '' END,
                    'moving state space ' || nullif(ag.aggmtransspace, 0),
                    'moving state type ' || format_type(nullif(ag.aggmtranstype, 0), NULL),
                    'moving initial state ' || quote_literal(ag.aggminitval),
                    'sort operator ' || nullif(ag.aggsortop, 0)::regoperator,
                    'parallel ' || p.proparallel::text)
                END,
            'owner', pg_get_userbyid(p.proowner),
            'acl', ",
    acl!("p.proacl", "'f'", "p.proowner"),
    ",
            'comment', d.description
        ))::text AS attributes
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    LEFT JOIN pg_aggregate ag ON ag.aggfnoid = p.oid",
    comment!("pg_proc", "p.oid"),
    "WHERE p.pronamespace = ANY($1) AND cardinality($2) >= 0
        AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid
            AND i.deptype = 'i')
        AND ",
    not_of_extension!("pg_proc", "p.oid"),
);
