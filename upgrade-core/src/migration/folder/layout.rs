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
    /// `00001_name.sql` with a `-- +goose Up` and a `-- +goose Down` part.
    Goose,
    /// `name.sql` with a `-- +migrate Up` and a `-- +migrate Down` part.
    SqlMigrate,
    /// `1391877300255_name.sql` with a `-- Up Migration` and a `-- Down Migration` part.
    NodePgMigrate,
    /// Numbered SQL files that no known tool keeps a table for: `001-name.sql`, `1.sql`.
    Plain,
}

/// What a tool does with a new migration whose version is below one that is applied already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LateRule {
    /// Applies it behind those that are above it.
    Applies,
    /// Passes over it for ever, and reports success.
    Skips,
    /// Refuses to migrate, unless an option of the tool allows it.
    Refuses,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 11] = [
        Self::Sqlx,
        Self::Diesel,
        Self::GolangMigrate,
        Self::Refinery,
        Self::Flyway,
        Self::Dbmate,
        Self::Popx,
        Self::Goose,
        Self::SqlMigrate,
        Self::NodePgMigrate,
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
            Self::Goose => "goose",
            Self::SqlMigrate => "sql-migrate",
            Self::NodePgMigrate => "node-pg-migrate",
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
            Self::Goose => "00001_name.sql with `-- +goose Up`",
            Self::SqlMigrate => "name.sql with `-- +migrate Up`",
            Self::NodePgMigrate => "1391877300255_name.sql with `-- Down Migration`",
            Self::Plain => "001-name.sql",
        }
    }

    /// The key by which the tool orders a version, from the version's text as it stands in a file
    /// name or in the tool's own table. `None` if the tool could not read it.
    pub fn version_key(self, text: &str) -> Option<VersionKey> {
        match self {
            Self::Sqlx | Self::Refinery | Self::Goose => text
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
            Self::SqlMigrate => {
                // Names without a number come last.
                let number = leading_number(text).unwrap_or(i128::MAX);
                Some(VersionKey::Named(number, text.to_owned()))
            }
            Self::NodePgMigrate => Some(VersionKey::Named(milliseconds(text), text.to_owned())),
        }
    }

    /// What the tool does with a new migration whose version is below one that is applied.
    pub fn late_rule(self) -> LateRule {
        match self {
            Self::GolangMigrate => LateRule::Skips,
            Self::Refinery | Self::Flyway | Self::Goose | Self::NodePgMigrate => LateRule::Refuses,
            Self::Sqlx
            | Self::Diesel
            | Self::Dbmate
            | Self::Popx
            | Self::SqlMigrate
            | Self::Plain => LateRule::Applies,
        }
    }

    /// Whether the tool records a checksum of what it has applied, and so notices an edited file.
    pub fn keeps_checksum(self) -> bool {
        matches!(
            self,
            Self::Sqlx | Self::Refinery | Self::Flyway | Self::Plain
        )
    }
}

fn leading_number(text: &str) -> Option<i128> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

/// The moment that a name of node-pg-migrate begins with: 13 digits are milliseconds since 1970, 17
/// a date and a time of day, any other number itself; without a number it is 0.
fn milliseconds(name: &str) -> i128 {
    let prefix = name.split('_').next().unwrap_or_default();
    let number: i128 = prefix.parse().unwrap_or(0);
    if prefix.len() != 17 || number <= 0 {
        return number;
    }
    let part = |from: usize, to: usize| prefix[from..to].parse::<i128>().unwrap_or(0);
    let days = days_since_1970(part(0, 4), part(4, 6), part(6, 8));
    let seconds = ((days * 24 + part(8, 10)) * 60 + part(10, 12)) * 60 + part(12, 14);
    seconds * 1000 + part(14, 17)
}

/// Days of the Gregorian calendar, with years that begin in March so that a leap day comes last.
fn days_since_1970(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_node_pg_migrate_are_moments() {
        // Date.UTC(2020, 4, 13, 7, 7, 24, 505)
        assert_eq!(milliseconds("20200513070724505_a"), 1_589_353_644_505);
        assert_eq!(milliseconds("19700101000000000_a"), 0);
        assert_eq!(milliseconds("20240229235959999_a"), 1_709_251_199_999);
        assert_eq!(milliseconds("1391877300255_b"), 1_391_877_300_255);
        assert_eq!(milliseconds("0002_c"), 2);
        assert_eq!(milliseconds("c"), 0);
    }
}
