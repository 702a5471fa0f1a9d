//! Languages that no extension brought.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'language' AS kind, '' AS schema, NULL AS parent, l.lanname::text AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'trusted', CASE WHEN l.lanpltrusted THEN 'true' END,
            'handler', ",
    function!("l.lanplcallfoid"),
    ",
            'inline handler', ",
    function!("l.laninline"),
    ",
            'validator', ",
    function!("l.lanvalidator"),
    ",
            'owner', pg_get_userbyid(l.lanowner),
            'acl', ",
    acl!("l.lanacl", "'l'", "l.lanowner"),
    ",
            'comment', d.description
        ))::text AS attributes
    FROM pg_language l",
    comment!("pg_language", "l.oid"),
    "WHERE l.oid >= 16384 AND cardinality($1) >= 0 AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_language", "l.oid"),
);
