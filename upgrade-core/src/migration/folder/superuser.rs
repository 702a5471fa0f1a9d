//! Statements that the server lets only a superuser run, as far as their words tell.

use crate::postgres::sql::words;

/// Extensions of Postgres itself that any role with the right to create in a database may install,
/// from their control files; and those of others that are marked so.
const TRUSTED: [&str; 28] = [
    "bool_plperl",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "fuzzystrmatch",
    "hstore",
    "hstore_plperl",
    "intarray",
    "isn",
    "jsonb_plperl",
    "lo",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "plperl",
    "plpgsql",
    "pltcl",
    "seg",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    "vector",
    "pg_uuidv7",
];

/// Why a statement needs a superuser, if its words tell that it does.
pub(super) fn needs(statement: &str) -> Option<String> {
    let words = words(statement);
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let has = |word: &str| texts.contains(&word);
    let found = |what: &str| Some(what.to_owned());
    match texts.as_slice() {
        ["CREATE", "EXTENSION", rest @ ..] => {
            let name = match rest {
                ["IF", "NOT", "EXISTS", name, ..] | [name, ..] => *name,
                [] => return None,
            };
            let name = name.trim_matches('"').to_lowercase();
            (!TRUSTED.contains(&name.as_str()))
                .then(|| format!("extension `{name}` is not known to be a trusted one"))
        }
        ["COPY", ..] if has("PROGRAM") => found("`COPY .. PROGRAM` runs a program on the server"),
        ["COPY", rest @ ..] => {
            let reads_file = rest.windows(2).any(|pair| {
                matches!(pair[0], "FROM" | "TO")
                    && pair[1].starts_with(['\'', 'E'])
                    && pair[1].ends_with('\'')
            });
            reads_file.then(|| {
                "`COPY` with the name of a file reads or writes it on the server".to_owned()
            })
        }
        ["ALTER", "SYSTEM", ..] => found("`ALTER SYSTEM` changes the server's settings"),
        ["LOAD", ..] => found("`LOAD` loads a library into the server"),
        ["CREATE", "EVENT", "TRIGGER", ..] => found("an event trigger is for the whole database"),
        ["CREATE", "TABLESPACE", ..] => found("a tablespace is a folder of the server"),
        ["CREATE", "FOREIGN", "DATA", "WRAPPER", ..] => {
            found("a foreign data wrapper runs code of the server")
        }
        ["CREATE", "ACCESS", "METHOD", ..] => found("an access method runs code of the server"),
        ["CREATE", "OPERATOR", "CLASS" | "FAMILY", ..] => {
            found("a wrong operator class can crash the server")
        }
        ["CREATE", "PUBLICATION", ..] if has("ALL") && has("TABLES") => {
            found("a publication of all tables publishes other owners' too")
        }
        ["CREATE" | "ALTER", "ROLE" | "USER", ..] if has("SUPERUSER") || has("REPLICATION") => {
            found("only a superuser may make one, or a role for replication")
        }
        ["CREATE", ..] if has("FUNCTION") || has("PROCEDURE") => {
            let language = texts.windows(2).find(|pair| pair[0] == "LANGUAGE")?[1];
            let language = language.trim_matches(['"', '\'']).to_lowercase();
            (matches!(language.as_str(), "c" | "internal") || language.ends_with('u'))
                .then(|| format!("language `{language}` may do all that the server may"))
        }
        ["SET", ..] if has("SESSION_REPLICATION_ROLE") => {
            found("`session_replication_role` turns triggers and foreign keys off")
        }
        ["SET", "SESSION", "AUTHORIZATION", ..] => found("it acts as another user"),
        ["ALTER", "TABLE", ..]
            if texts
                .windows(3)
                .any(|part| matches!(part, ["DISABLE" | "ENABLE", "TRIGGER", "ALL"])) =>
        {
            found("the triggers of foreign keys are the system's")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_superuser_is_told_by_its_words() {
        for sql in [
            "create extension if not exists \"pg_cron\"",
            "CREATE EXTENSION postgis WITH SCHEMA gis",
            "copy t to program 'cat'",
            "copy t from '/tmp/x' with csv",
            "alter system set work_mem = '1MB'",
            "load 'auto_explain'",
            "create event trigger e on ddl_command_end execute function f()",
            "create tablespace s location '/x'",
            "create publication p for all tables",
            "create role a superuser",
            "create function f() returns int as 'x', 'y' language c strict",
            "create function f() returns int as $$1$$ language plpython3u",
            "set session_replication_role = replica",
            "alter table t disable trigger all",
        ] {
            assert!(needs(sql).is_some(), "{sql}");
        }
        for sql in [
            "create extension if not exists \"uuid-ossp\"",
            "create extension pgcrypto",
            "copy t to stdout",
            "copy t from stdin",
            "alter table t disable trigger user",
            "create role a login",
            "create publication p for table t",
            "create function f() returns int language sql as $$select 1 -- language c$$",
            "insert into t values ('alter system')",
            "set search_path to a",
        ] {
            assert_eq!(needs(sql), None, "{sql}");
        }
    }
}
