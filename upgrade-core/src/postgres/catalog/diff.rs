//! What differs between two catalogs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Catalog, Object, ObjectId, TableName};

impl Catalog {
    /// Compares the schema as it should be, `self`, with what there is.
    pub fn diff(&self, actual: &Self) -> CatalogDiff {
        let ids: BTreeSet<&ObjectId> = self.objects.keys().chain(actual.objects.keys()).collect();
        let changes = ids
            .into_iter()
            .filter_map(|id| {
                let kind = match (self.objects.get(id), actual.objects.get(id)) {
                    (Some(expected), Some(actual)) if expected == actual => return None,
                    (Some(expected), Some(actual)) => ChangeKind::Changed {
                        expected: expected.clone(),
                        actual: actual.clone(),
                    },
                    (Some(expected), None) => ChangeKind::Removed(expected.clone()),
                    (None, Some(actual)) => ChangeKind::Added(actual.clone()),
                    (None, None) => return None,
                };
                Some(Change {
                    id: id.clone(),
                    kind,
                })
            })
            .collect();
        CatalogDiff {
            changes,
            position_changes: moved(&self.column_order, &actual.column_order),
        }
    }
}

/// The tables whose common columns stand in another order.
fn moved(
    expected: &BTreeMap<TableName, Vec<String>>,
    actual: &BTreeMap<TableName, Vec<String>>,
) -> Vec<PositionChange> {
    let common = |columns: &[String], others: &[String]| -> Vec<String> {
        columns
            .iter()
            .filter(|column| others.contains(column))
            .cloned()
            .collect()
    };
    expected
        .iter()
        .filter_map(|(table, before)| {
            let after = actual.get(table)?;
            let change = PositionChange {
                table: table.clone(),
                expected: common(before, after),
                actual: common(after, before),
            };
            (change.expected != change.actual).then_some(change)
        })
        .collect()
}

/// Every object that two catalogs do not have in common.
///
/// `Display` shows it to a person, see [`CatalogDiff::render`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogDiff {
    pub(super) changes: Vec<Change>,
    position_changes: Vec<PositionChange>,
}

impl CatalogDiff {
    /// Whether the two schemas are the same. The order of columns may differ all the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What differs, in the order of [`ObjectId`].
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Tables whose columns stand in another order. That is worth knowing, because `select *` and
    /// `insert` without names show it, and it is no difference: a column that is dropped and made
    /// again stands last, and nothing but rewriting the table can move it back.
    pub fn position_changes(&self) -> &[PositionChange] {
        &self.position_changes
    }

    /// The difference without the changes for which `waived` says true. `waived` sees each object
    /// with, if it exists on both sides, one fact that differs; of such an object the other facts
    /// stay.
    #[must_use]
    pub fn without(mut self, waived: impl Fn(&ObjectId, Option<&str>) -> bool) -> Self {
        self.changes.retain_mut(|change| match &mut change.kind {
            ChangeKind::Changed { expected, actual } => {
                let names: BTreeSet<String> = expected
                    .attributes
                    .keys()
                    .chain(actual.attributes.keys())
                    .cloned()
                    .collect();
                for name in names {
                    if expected.attributes.get(&name) != actual.attributes.get(&name)
                        && waived(&change.id, Some(&name))
                    {
                        expected.attributes.remove(&name);
                        actual.attributes.remove(&name);
                    }
                }
                expected != actual
            }
            ChangeKind::Added(_) | ChangeKind::Removed(_) => !waived(&change.id, None),
        });
        self
    }
}

/// One object that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which object.
    pub id: ObjectId,
    /// How it differs.
    pub kind: ChangeKind,
}

impl Change {
    /// The facts that differ, if the object exists on both sides; else none.
    pub fn attributes(&self) -> Vec<AttributeChange<'_>> {
        let ChangeKind::Changed { expected, actual } = &self.kind else {
            return Vec::new();
        };
        let names: BTreeSet<&String> = expected
            .attributes
            .keys()
            .chain(actual.attributes.keys())
            .collect();
        names
            .into_iter()
            .map(|name| AttributeChange {
                name,
                expected: expected.attributes.get(name).map(String::as_str),
                actual: actual.attributes.get(name).map(String::as_str),
            })
            .filter(|change| change.expected != change.actual)
            .collect()
    }
}

/// How an object differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is there and should not be.
    Added(Object),
    /// It should be there and is not.
    Removed(Object),
    /// It is on both sides with other facts.
    Changed {
        /// As it should be.
        expected: Object,
        /// As it is.
        actual: Object,
    },
}

/// One fact that differs. A side that does not have the fact has the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeChange<'a> {
    /// The fact's name.
    pub name: &'a str,
    /// As it should be.
    pub expected: Option<&'a str>,
    /// As it is.
    pub actual: Option<&'a str>,
}

/// A table whose columns stand in another order; only columns that are on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionChange {
    /// The table.
    pub table: TableName,
    /// The columns as they should stand.
    pub expected: Vec<String>,
    /// The columns as they stand.
    pub actual: Vec<String>,
}
