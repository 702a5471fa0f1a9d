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
    ($acl:literal, $class:literal, $owner:literal) => {
        concat!(
            "CASE WHEN ", $acl, " IS NULL THEN NULL
                WHEN ", $acl, " @> acldefault('", $class, "', ", $owner, ")
                    AND ", $acl, " <@ acldefault('", $class, "', ", $owner, ") THEN NULL
                ELSE coalesce((
                    SELECT string_agg(held.line, E'\\n' ORDER BY held.line COLLATE \"C\")
                    FROM (
                        SELECT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END
                            || ': '
                            || CASE WHEN NOT bool_or(g.is_grantable) AND
                                    array_agg(g.privilege_type ORDER BY g.privilege_type COLLATE \"C\") = (
                                        SELECT array_agg(e.privilege_type ORDER BY e.privilege_type COLLATE \"C\")
                                        FROM aclexplode(acldefault('", $class, "', ", $owner, ")) e
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

mod collations;
mod columns;
mod constraints;
mod extensions;
mod indexes;
mod policies;
mod routines;
mod rules;
mod schemas;
mod sequences;
mod statistics;
mod tables;
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
}

/// Every query. The order does not matter.
pub(super) const ALL: &[Query] = &[
    Query {
        what: "extensions",
        sql: extensions::SQL,
    },
    Query {
        what: "schemas",
        sql: schemas::SQL,
    },
    Query {
        what: "collations",
        sql: collations::SQL,
    },
    Query {
        what: "types",
        sql: types::SQL,
    },
    Query {
        what: "sequences",
        sql: sequences::SQL,
    },
    Query {
        what: "tables",
        sql: tables::SQL,
    },
    Query {
        what: "views",
        sql: views::SQL,
    },
    Query {
        what: "columns",
        sql: columns::SQL,
    },
    Query {
        what: "constraints",
        sql: constraints::SQL,
    },
    Query {
        what: "indexes",
        sql: indexes::SQL,
    },
    Query {
        what: "statistics",
        sql: statistics::SQL,
    },
    Query {
        what: "functions",
        sql: routines::SQL,
    },
    Query {
        what: "triggers",
        sql: triggers::SQL,
    },
    Query {
        what: "rules",
        sql: rules::SQL,
    },
    Query {
        what: "policies",
        sql: policies::SQL,
    },
];
