//! One query for each kind of object.
//!
//! A query has two parameters, `$1` the schemas in scope and `$2` the relations in them that are
//! not (both `oid[]`), and answers with six columns:
//!
//! | column | is |
//! |---|---|
//! | `kind` | the name of an [`ObjectKind`](super::ObjectKind) |
//! | `schema` | the schema, empty for what is in none |
//! | `parent` | the table, view or domain that it belongs to, or null |
//! | `name` | the name within those |
//! | `position` | of a column, its rank among its table's columns; else null |
//! | `attributes` | a JSON object whose values are all text: the facts |
//!
//! A fact is null, and so left out, if it has its default value. Anything that differs between
//! servers of different majors, or that says the same as another fact, is normalised in the query.
//! A new kind is a new file here, a line in [`ALL`] and a variant of `ObjectKind`.

/// What an access control list says, one line for each grantee: `app: SELECT, UPDATE*`, where the
/// star is the grant option. All that the owner of such an object would have reads `ALL`, because
/// servers from 17 on have one privilege more. Null if it is the default.
macro_rules! acl {
    ($acl:expr, $class:literal, $owner:literal) => {
        concat!(
            "CASE WHEN ", $acl, " IS NULL THEN NULL
                WHEN ", $acl, " @> acldefault(", $class, ", ", $owner, ")
                    AND ", $acl, " <@ acldefault(", $class, ", ", $owner, ") THEN NULL
                ELSE coalesce((
                    SELECT string_agg(held.line, E'\\n' ORDER BY held.line COLLATE \"C\")
                    FROM (
                        SELECT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END
                            || ': '
                            || CASE WHEN NOT bool_or(g.is_grantable) AND
                                    array_agg(g.privilege_type ORDER BY g.privilege_type COLLATE \"C\") = (
                                        SELECT array_agg(e.privilege_type ORDER BY e.privilege_type COLLATE \"C\")
                                        FROM aclexplode(acldefault(", $class, ", ", $owner, ")) e
                                        WHERE e.grantee = ", $owner, ")
                                THEN 'ALL'
                                ELSE string_agg(
                                    g.privilege_type || CASE WHEN g.is_grantable THEN '*' ELSE '' END,
                                    ', ' ORDER BY g.privilege_type COLLATE \"C\")
                                END
                            || CASE WHEN g.grantor <> ", $owner, "
                                THEN ' (by ' || pg_get_userbyid(g.grantor) || ')' ELSE '' END AS line
                        FROM aclexplode(", $acl, ") g
                        GROUP BY g.grantee, g.grantor
                    ) held), 'none')
                END"
        )
    };
}

/// Options of the form `name=value`, sorted, one a line; null if there are none.
macro_rules! options {
    ($options:literal) => {
        concat!(
            "(SELECT string_agg(o, E'\\n' ORDER BY o COLLATE \"C\") FROM unnest(",
            $options,
            ") o)"
        )
    };
}

/// The comment on an object: a join that gives `d.description`.
macro_rules! comment {
    ($class:literal, $oid:literal) => {
        comment!($class, $oid, "0")
    };
    ($class:literal, $oid:literal, $column:literal) => {
        concat!(
            " LEFT JOIN pg_description d ON d.classoid = '",
            $class,
            "'::regclass AND d.objoid = ",
            $oid,
            " AND d.objsubid = ",
            $column,
            " "
        )
    };
}

/// Options whose values may be secrets: of those that are called so, the value is not told.
macro_rules! secret_options {
    ($options:literal) => {
        concat!(
            "(SELECT string_agg(CASE WHEN o ~* '^[^=]*(pass|secret|token|key)' THEN split_part(o, '=', 1) || '=(not told)'
                ELSE o END, E'\\n' ORDER BY o COLLATE \"C\") FROM unnest(",
            $options,
            ") o)"
        )
    };
}

/// The name of a function, null if there is none.
macro_rules! function {
    ($oid:literal) => {
        concat!("nullif(", $oid, "::oid, 0)::regproc::text")
    };
}

/// Whether an object is not a member of an extension.
macro_rules! not_of_extension {
    ($class:literal, $oid:literal) => {
        concat!(
            "NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = '",
            $class,
            "'::regclass AND x.objid = ",
            $oid,
            " AND x.deptype = 'e')"
        )
    };
}

mod access_methods;
mod casts;
mod collations;
mod columns;
mod constraints;
mod conversions;
mod default_privileges;
mod event_triggers;
mod extensions;
mod foreign;
mod indexes;
mod languages;
mod operators;
mod policies;
mod publications;
mod routines;
mod rules;
mod schemas;
mod security_labels;
mod sequences;
mod settings;
mod statistics;
mod subscriptions;
mod tables;
mod text_search;
mod transforms;
mod triggers;
mod types;
mod views;

/// A query for objects.
#[derive(Debug)]
pub(super) struct Query {
    /// What it reads, in the plural, for errors.
    pub(super) what: &'static str,
    /// The statement.
    pub(super) sql: &'static str,
    /// The oldest major version that has such objects.
    since: u32,
    /// A catalog in which the server's own rows have numbers below 16384; without others there is
    /// nothing to read.
    catalog: Option<&'static str>,
}

impl Query {
    const fn new(what: &'static str, sql: &'static str) -> Self {
        Self {
            what,
            sql,
            since: 14,
            catalog: None,
        }
    }

    /// A query for what few databases have: it is left out where this catalog has no rows but the
    /// server's. Planning it would take longer than that look.
    const fn rare(what: &'static str, sql: &'static str, catalog: &'static str) -> Self {
        let mut query = Self::new(what, sql);
        query.catalog = Some(catalog);
        query
    }

    const fn since(mut self, major: u32) -> Self {
        self.since = major;
        self
    }
}

/// A statement that answers, for each of [`ALL`] in order, whether there can be such objects on a
/// server of this major version: one `boolean[]`.
pub(super) fn presence(major: u32) -> String {
    let conditions: Vec<String> = ALL
        .iter()
        .map(|query| match query.catalog {
            _ if major < query.since => "false".to_owned(),
            None => "true".to_owned(),
            Some(catalog) => format!("EXISTS (SELECT FROM {catalog} WHERE oid >= 16384)"),
        })
        .collect();
    format!("SELECT ARRAY[{}]", conditions.join(", "))
}

/// Every query. The order does not matter.
pub(super) const ALL: &[Query] = &[
    Query::new("extensions", extensions::SQL),
    Query::new("schemas", schemas::SQL),
    Query::rare("languages", languages::SQL, "pg_language"),
    Query::rare("access methods", access_methods::SQL, "pg_am"),
    Query::rare(
        "foreign data wrappers",
        foreign::WRAPPERS,
        "pg_foreign_data_wrapper",
    ),
    Query::rare("foreign servers", foreign::SERVERS, "pg_foreign_server"),
    Query::rare("user mappings", foreign::USER_MAPPINGS, "pg_foreign_server"),
    Query::rare("collations", collations::SQL, "pg_collation"),
    Query::rare("conversions", conversions::SQL, "pg_conversion"),
    Query::new("types", types::SQL),
    Query::new("sequences", sequences::SQL),
    Query::new("tables", tables::SQL),
    Query::new("views", views::SQL),
    Query::new("columns", columns::SQL),
    Query::new("constraints", constraints::SQL),
    Query::new("indexes", indexes::SQL),
    Query::rare("statistics", statistics::SQL, "pg_statistic_ext"),
    Query::new("functions", routines::SQL),
    Query::rare("operators", operators::SQL, "pg_operator"),
    Query::rare("operator families", operators::FAMILIES, "pg_opfamily"),
    Query::rare("operator classes", operators::CLASSES, "pg_opclass"),
    Query::rare("casts", casts::SQL, "pg_cast"),
    Query::rare("transforms", transforms::SQL, "pg_transform"),
    Query::rare("text search parsers", text_search::PARSERS, "pg_ts_parser"),
    Query::rare(
        "text search templates",
        text_search::TEMPLATES,
        "pg_ts_template",
    ),
    Query::rare(
        "text search dictionaries",
        text_search::DICTIONARIES,
        "pg_ts_dict",
    ),
    Query::rare(
        "text search configurations",
        text_search::CONFIGURATIONS,
        "pg_ts_config",
    ),
    Query::rare("triggers", triggers::SQL, "pg_trigger"),
    Query::new("rules", rules::SQL),
    Query::rare("policies", policies::SQL, "pg_policy"),
    Query::rare("event triggers", event_triggers::SQL, "pg_event_trigger"),
    Query::rare("publications", publications::SQL, "pg_publication"),
    Query::rare(
        "published tables",
        publications::TABLES,
        "pg_publication_rel",
    ),
    Query::rare(
        "published schemas",
        publications::SCHEMAS,
        "pg_publication_namespace",
    )
    .since(15),
    Query::rare("subscriptions", subscriptions::SQL, "pg_subscription"),
    Query::rare(
        "default privileges",
        default_privileges::SQL,
        "pg_default_acl",
    ),
    Query::new("settings of the database", settings::SQL),
    Query::new("security labels", security_labels::SQL),
];
