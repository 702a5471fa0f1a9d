//! What a role grants on every object that it makes.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'default privileges' AS kind, coalesce(n.nspname, '')::text AS schema, NULL AS parent,
        k.objects || ' of ' || quote_ident(pg_get_userbyid(da.defaclrole)) AS name, NULL::int4 AS position,
        jsonb_build_object('acl', coalesce(",
    acl!(
        "da.defaclacl",
        "(CASE da.defaclobjtype WHEN 'S' THEN 's' ELSE da.defaclobjtype END)",
        "da.defaclrole"
    ),
    ", 'as without'))::text AS attributes
    FROM pg_default_acl da
    CROSS JOIN LATERAL (SELECT CASE da.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences'
        WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas'
        WHEN 'L' THEN 'large objects' ELSE da.defaclobjtype::text END AS objects) k
    LEFT JOIN pg_namespace n ON n.oid = da.defaclnamespace
    WHERE (da.defaclnamespace = 0 OR da.defaclnamespace = ANY($1)) AND cardinality($2) >= 0",
);
