//! Foreign data wrappers, foreign servers and user mappings. Foreign tables are tables.
//!
//! The options of a user mapping are seen only by those who may use it; a role that may not sees
//! the mapping without them.

pub(super) const WRAPPERS: &str = concat!(
    "
    SELECT 'foreign data wrapper' AS kind, '' AS schema, NULL AS parent, w.fdwname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'handler', ",
    function!("w.fdwhandler"),
    ",
            'validator', ",
    function!("w.fdwvalidator"),
    ",
            'options', ",
    secret_options!("w.fdwoptions"),
    ",
            'owner', pg_get_userbyid(w.fdwowner),
            'acl', ",
    acl!("w.fdwacl", "'F'", "w.fdwowner"),
    ",
            'comment', d.description
        ))::text AS attributes
    FROM pg_foreign_data_wrapper w",
    comment!("pg_foreign_data_wrapper", "w.oid"),
    "WHERE cardinality($1) >= 0 AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_foreign_data_wrapper", "w.oid"),
);

pub(super) const SERVERS: &str = concat!(
    "
    SELECT 'foreign server' AS kind, '' AS schema, NULL AS parent, s.srvname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'wrapper', w.fdwname,
            'type', s.srvtype,
            'version', s.srvversion,
            'options', ",
    secret_options!("s.srvoptions"),
    ",
            'owner', pg_get_userbyid(s.srvowner),
            'acl', ",
    acl!("s.srvacl", "'S'", "s.srvowner"),
    ",
            'comment', d.description
        ))::text AS attributes
    FROM pg_foreign_server s
    JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw",
    comment!("pg_foreign_server", "s.oid"),
    "WHERE cardinality($1) >= 0 AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_foreign_server", "s.oid"),
);

pub(super) const USER_MAPPINGS: &str = concat!(
    "
    SELECT 'user mapping' AS kind, '' AS schema, NULL AS parent,
        'for ' || CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(m.usename) END
            || ' server ' || quote_ident(m.srvname) AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'options', ",
    secret_options!("m.umoptions"),
    "
        ))::text AS attributes
    FROM pg_user_mappings m
    WHERE cardinality($1) >= 0 AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_foreign_server", "m.srvid"),
);
