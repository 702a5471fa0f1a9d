//! Settings of this database, for everyone or for one role in it.
//!
//! Settings of a role in all databases belong to the server.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'settings' AS kind, '' AS schema, NULL AS parent,
        CASE s.setrole WHEN 0 THEN 'of the database' ELSE 'of role ' || quote_ident(pg_get_userbyid(s.setrole)) END
            AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'values', ",
    secret_options!("s.setconfig"),
    "
        ))::text AS attributes
    FROM pg_db_role_setting s
    WHERE s.setdatabase = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
        AND cardinality($1) >= 0 AND cardinality($2) >= 0",
);
