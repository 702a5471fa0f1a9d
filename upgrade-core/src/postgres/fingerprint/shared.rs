//! What two lists of tables have in common.

use std::collections::BTreeMap;

use super::{ColumnPick, TableName, Tables};
use crate::observation::Reading;

/// The columns of one table that exist before and after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedColumns {
    /// Columns of one type on both sides, by name.
    pub same: Vec<String>,
    /// Columns of one name and two types.
    pub retyped: Vec<RetypedColumn>,
    /// Columns that were removed.
    pub removed: Vec<String>,
    /// Columns that are new.
    pub added: Vec<String>,
}

/// A column whose type changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetypedColumn {
    /// The column.
    pub name: String,
    /// Its type before.
    pub before: String,
    /// Its type after.
    pub after: String,
}

impl SharedColumns {
    /// The columns to take a fingerprint of, on both sides, so that equal values of two types are
    /// equal.
    pub fn picks(&self) -> Vec<ColumnPick> {
        let same = self.same.iter().map(ColumnPick::new);
        let retyped = self.retyped.iter().map(|column| {
            ColumnPick::read(
                &column.name,
                Reading::between(&column.before, &column.after),
            )
        });
        let mut picks: Vec<ColumnPick> = same.chain(retyped).collect();
        picks.sort();
        picks
    }
}

/// What the tables that are on both sides have in common, by table.
pub fn shared_columns(before: &Tables, after: &Tables) -> BTreeMap<TableName, SharedColumns> {
    let mut all = BTreeMap::new();
    for (table, before) in &before.tables {
        let Some(after) = after.tables.get(table) else {
            continue;
        };
        let mut shared = SharedColumns::default();
        for (name, column) in &before.columns {
            match after.columns.get(name) {
                None => shared.removed.push(name.clone()),
                Some(other) if other.type_name == column.type_name => {
                    shared.same.push(name.clone())
                }
                Some(other) => shared.retyped.push(RetypedColumn {
                    name: name.clone(),
                    before: column.type_name.clone(),
                    after: other.type_name.clone(),
                }),
            }
        }
        shared.added = after
            .columns
            .keys()
            .filter(|name| !before.columns.contains_key(*name))
            .cloned()
            .collect();
        all.insert(table.clone(), shared);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::{ColumnShape, Form, TableShape};
    use super::*;

    fn tables(columns: &[(&str, &str)]) -> Tables {
        let columns = columns.iter().map(|(name, type_name)| {
            let shape = ColumnShape {
                type_name: (*type_name).to_owned(),
                generated: false,
                number: 1,
                form: Form::of_server(type_name, true),
            };
            ((*name).to_owned(), shape)
        });
        let shape = TableShape {
            columns: columns.collect(),
            oid: 0,
            partitioned: false,
        };
        Tables {
            tables: [(TableName::new("public", "t"), shape)].into(),
        }
    }

    #[test]
    fn columns_meet_by_name() {
        let before = tables(&[("id", "integer"), ("gone", "text"), ("kept", "text")]);
        let after = tables(&[("id", "bigint"), ("new", "text"), ("kept", "text")]);
        let shared = &shared_columns(&before, &after)[&TableName::new("public", "t")];
        assert_eq!(shared.same, ["kept"]);
        assert_eq!(shared.removed, ["gone"]);
        assert_eq!(shared.added, ["new"]);
        assert_eq!(shared.retyped[0].before, "integer");
        assert_eq!(shared.picks(), ["id", "kept"].map(ColumnPick::new));
        assert!(shared_columns(&before, &Tables::default()).is_empty());
    }
}
