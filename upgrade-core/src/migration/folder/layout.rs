//! The tools whose folders can be read, and how each orders its versions.

use std::fmt;

use super::file::VersionKey;

/// The layout of a migration folder, named after its tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Layout {
    /// `20200101_name.sql`, or `.up.sql` with `.down.sql`; both may stand in one folder.
    Sqlx,
    /// `VERSION_name/up.sql` with `down.sql` and `metadata.toml`.
    Diesel,
    /// `1_name.up.sql` with `.down.sql`; also `V0001.Name.up.sql`.
    GolangMigrate,
    /// `V1__name.sql`; `U2__name.sql` is a migration that may come late.
    Refinery,
    /// `V1_2__name.sql`, with `U1_2__name.sql` to undo and `R__name.sql` to repeat.
    Flyway,
    /// `20200101_name.sql` with a `-- migrate:up` and a `-- migrate:down` part.
    Dbmate,
    /// `20200101000000000000_name.postgres.up.sql`, one file for each dialect.
    Popx,
    /// Numbered SQL files that no known tool keeps a table for: `001-name.sql`, `1.sql`.
    Plain,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 8] = [
        Self::Sqlx,
        Self::Diesel,
        Self::GolangMigrate,
        Self::Refinery,
        Self::Flyway,
        Self::Dbmate,
        Self::Popx,
        Self::Plain,
    ];

    /// The name of the tool.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlx => "sqlx",
            Self::Diesel => "diesel",
            Self::GolangMigrate => "golang-migrate",
            Self::Refinery => "refinery",
            Self::Flyway => "flyway",
            Self::Dbmate => "dbmate",
            Self::Popx => "popx",
            Self::Plain => "plain",
        }
    }

    /// What the names look like, for messages.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Sqlx => "20240101120000_name.sql or 20240101120000_name.up.sql + .down.sql",
            Self::Diesel => "2024-01-01-120000_name/up.sql + down.sql",
            Self::GolangMigrate => "000001_name.up.sql + .down.sql",
            Self::Refinery => "V1__name.sql",
            Self::Flyway => "V1_2__name.sql, U1_2__name.sql, R__name.sql",
            Self::Dbmate => "20240101120000_name.sql with `-- migrate:up`",
            Self::Popx => "20240101120000000000_name.postgres.up.sql",
            Self::Plain => "001-name.sql",
        }
    }

    /// The key by which the tool orders a version, from the version's text as it stands in a file
    /// name or in the tool's own table. `None` if the tool could not read it.
    pub fn version_key(self, text: &str) -> Option<VersionKey> {
        match self {
            Self::Sqlx | Self::Refinery => text
                .parse::<i64>()
                .ok()
                .map(|n| VersionKey::Number(n.into())),
            Self::GolangMigrate => text
                .parse::<u64>()
                .ok()
                .map(|n| VersionKey::Number(n.into())),
            Self::Plain => {
                let digits = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                digits.parse().ok().map(VersionKey::Number)
            }
            Self::Flyway => match text.strip_prefix("R__") {
                Some(name) => Some(VersionKey::Repeatable(name.replace('_', " "))),
                None => dotted(text),
            },
            Self::Diesel => Some(VersionKey::Text(text.replace('-', ""))),
            Self::Dbmate | Self::Popx => Some(VersionKey::Text(text.to_owned())),
        }
    }
}

/// `1.2`, `1_2` and `1.2.0` are one version to Flyway.
fn dotted(text: &str) -> Option<VersionKey> {
    let mut parts = text
        .split(['.', '_'])
        .map(|part| part.parse::<u128>().ok())
        .collect::<Option<Vec<_>>>()?;
    while parts.len() > 1 && parts.last() == Some(&0) {
        parts.pop();
    }
    Some(VersionKey::Dotted(parts))
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
