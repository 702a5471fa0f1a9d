//! Where a tool keeps its table, if not where it does by default.

use std::fmt;

use serde::Deserialize;
use sqlx::migrate::Migrator;

use super::RecordError;
use crate::postgres::sql::quote_ident;

/// The name of a table, unquoted, with its schema if one is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecordTable {
    /// The schema; without one the search path decides.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

impl RecordTable {
    /// A table that is found by the search path.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            schema: None,
            name: name.into(),
        }
    }

    /// The same table in a schema.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Reads a name as Postgres does: unquoted parts are folded to lower case.
    ///
    /// # Errors
    /// It is not one name, or two with a dot between them.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let invalid = || RecordError::RecordTable {
            name: text.to_owned(),
        };
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let part;
            (part, rest) = first_part(rest).ok_or_else(invalid)?;
            parts.push(part);
            match rest.strip_prefix('.') {
                Some(next) => rest = next,
                None => break,
            }
        }
        match (rest, parts.as_mut_slice()) {
            ("", [name]) => Ok(Self::new(std::mem::take(name))),
            ("", [schema, name]) => {
                Ok(Self::new(std::mem::take(name)).with_schema(std::mem::take(schema)))
            }
            _ => Err(invalid()),
        }
    }

    /// The name for use in a statement.
    pub fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote_ident(schema), quote_ident(&self.name)),
            None => quote_ident(&self.name),
        }
    }
}

impl fmt::Display for RecordTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

fn first_part(text: &str) -> Option<(String, &str)> {
    if let Some(body) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut rest = body;
        loop {
            let end = rest.find('"')?;
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None => return (!name.is_empty()).then_some((name, rest)),
            }
        }
    }
    let belongs = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_lowercase(), &text[end..]))
}

/// What a user may have set in the tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordOptions {
    /// Another table than the tool's default.
    pub table: Option<RecordTable>,
    /// Schemas to make before the table, as sqlx spells them: they are not quoted.
    pub create_schemas: Vec<String>,
    /// refinery's feature `int8-versions`.
    pub wide_versions: bool,
}

impl RecordOptions {
    /// The defaults of the tool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another table than the tool's default.
    #[must_use]
    pub fn with_table(mut self, table: RecordTable) -> Self {
        self.table = Some(table);
        self
    }

    /// What a sqlx migrator was built with.
    ///
    /// # Errors
    /// Its table name cannot be parsed.
    pub fn from_sqlx(migrator: &Migrator) -> Result<Self, RecordError> {
        Ok(Self {
            table: Some(RecordTable::parse(&migrator.table_name)?),
            create_schemas: migrator
                .create_schemas
                .iter()
                .map(|s| s.clone().into_owned())
                .collect(),
            wide_versions: false,
        })
    }

    /// The `[migrate]` part of a `sqlx.toml`.
    ///
    /// # Errors
    /// The text is not TOML or the table name cannot be parsed.
    pub fn from_sqlx_toml(text: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            migrate: Migrate,
        }
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "kebab-case")]
        struct Migrate {
            table_name: Option<String>,
            create_schemas: Vec<String>,
        }
        let file: File = toml::from_str(text).map_err(|source| RecordError::Config { source })?;
        Ok(Self {
            table: file
                .migrate
                .table_name
                .as_deref()
                .map(RecordTable::parse)
                .transpose()?,
            create_schemas: file.migrate.create_schemas,
            wide_versions: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_read_as_postgres_reads_them() {
        let cases = [
            ("_sqlx_migrations", Some("\"_sqlx_migrations\"")),
            (
                "Apalis._sqlx_migrations",
                Some("\"apalis\".\"_sqlx_migrations\""),
            ),
            (r#""My ""x""".t"#, Some(r#""My ""x"""."t""#)),
            ("a.b.c", None),
            ("a b", None),
            ("", None),
            ("\"a", None),
            ("t;drop table u", None),
        ];
        for (text, expected) in cases {
            let found = RecordTable::parse(text).ok().map(|table| table.quoted());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_sqlx_toml_names_table_and_schemas() {
        let text = "[migrate]\ncreate-schemas = ['apalis']\ntable-name = 'apalis._sqlx_migrations'\n[macros]\n";
        let options = RecordOptions::from_sqlx_toml(text).unwrap();
        assert_eq!(
            options.table.unwrap().to_string(),
            "apalis._sqlx_migrations"
        );
        assert_eq!(options.create_schemas, ["apalis"]);
        assert_eq!(
            RecordOptions::from_sqlx_toml("").unwrap(),
            RecordOptions::new()
        );
    }
}
