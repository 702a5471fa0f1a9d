//! Text search: parsers, templates, dictionaries, configurations.

pub(super) const PARSERS: &str = concat!(
    "
    SELECT 'text search parser' AS kind, n.nspname::text AS schema, NULL AS parent, p.prsname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'start', p.prsstart::text,
            'token', p.prstoken::text,
            'end', p.prsend::text,
            'headline', ",
    function!("p.prsheadline"),
    ",
            'token types', p.prslextype::text,
            'comment', d.description
        ))::text AS attributes
    FROM pg_ts_parser p
    JOIN pg_namespace n ON n.oid = p.prsnamespace",
    comment!("pg_ts_parser", "p.oid"),
    "WHERE p.prsnamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_ts_parser", "p.oid"),
);

pub(super) const TEMPLATES: &str = concat!(
    "
    SELECT 'text search template' AS kind, n.nspname::text AS schema, NULL AS parent, t.tmplname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'init', ",
    function!("t.tmplinit"),
    ",
            'lexize', t.tmpllexize::text,
            'comment', d.description
        ))::text AS attributes
    FROM pg_ts_template t
    JOIN pg_namespace n ON n.oid = t.tmplnamespace",
    comment!("pg_ts_template", "t.oid"),
    "WHERE t.tmplnamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_ts_template", "t.oid"),
);

pub(super) const DICTIONARIES: &str = concat!(
    "
    SELECT 'text search dictionary' AS kind, n.nspname::text AS schema, NULL AS parent, k.dictname::text AS name,
        NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'template', quote_ident(tn.nspname) || '.' || quote_ident(t.tmplname),
            'options', k.dictinitoption,
            'owner', pg_get_userbyid(k.dictowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_ts_dict k
    JOIN pg_ts_template t ON t.oid = k.dicttemplate
    JOIN pg_namespace tn ON tn.oid = t.tmplnamespace
    JOIN pg_namespace n ON n.oid = k.dictnamespace",
    comment!("pg_ts_dict", "k.oid"),
    "WHERE k.dictnamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_ts_dict", "k.oid"),
);

pub(super) const CONFIGURATIONS: &str = concat!(
    "
    SELECT 'text search configuration' AS kind, n.nspname::text AS schema, NULL AS parent,
        k.cfgname::text AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'parser', quote_ident(pn.nspname) || '.' || quote_ident(p.prsname),
            'mappings', (
                SELECT string_agg(m.line, E'\\n' ORDER BY m.line COLLATE \"C\") FROM (
                    SELECT tt.alias || ': '
                        || string_agg(map.mapdict::regdictionary::text, ', ' ORDER BY map.mapseqno) AS line
                    FROM pg_ts_config_map map
                    JOIN ts_token_type(k.cfgparser) tt ON tt.tokid = map.maptokentype
                    WHERE map.mapcfg = k.oid
                    GROUP BY tt.alias) m),
            'owner', pg_get_userbyid(k.cfgowner),
            'comment', d.description
        ))::text AS attributes
    FROM pg_ts_config k
    JOIN pg_ts_parser p ON p.oid = k.cfgparser
    JOIN pg_namespace pn ON pn.oid = p.prsnamespace
    JOIN pg_namespace n ON n.oid = k.cfgnamespace",
    comment!("pg_ts_config", "k.oid"),
    "WHERE k.cfgnamespace = ANY($1) AND cardinality($2) >= 0 AND ",
    not_of_extension!("pg_ts_config", "k.oid"),
);
