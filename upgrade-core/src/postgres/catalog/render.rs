//! A difference as text for a person.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use similar::TextDiff;

use super::name::readable;
use super::{CatalogDiff, Change, ChangeKind, Object, ObjectId, ObjectKind, TableName};

impl CatalogDiff {
    /// The difference as text: for each object a unified diff of its facts, `-` for what should be
    /// and `+` for what is, with three lines of context. What goes or comes with its table is
    /// named in one line under it. Columns that moved come last, as a note.
    ///
    /// ```text
    /// changed column public.orders.total
    /// @@ -1,2 +1,2 @@
    ///  not null: true
    /// -type: numeric(10,2)
    /// +type: numeric(12,2)
    /// ```
    pub fn render(&self) -> String {
        let mut text = String::new();
        // `String` takes all that is written.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let owners = self.owners();
        let owner_of = |change: &Change| owners.get(&(change.id.owner()?, side(change)?)).copied();
        let mut members: BTreeMap<&ObjectId, Vec<&ObjectId>> = BTreeMap::new();
        for change in &self.changes {
            if let Some(owner) = owner_of(change) {
                members.entry(owner).or_default().push(&change.id);
            }
        }
        let mut separator = "";
        for change in self
            .changes
            .iter()
            .filter(|change| owner_of(change).is_none())
        {
            f.write_str(separator)?;
            separator = "\n";
            write_change(
                f,
                change,
                members.get(&change.id).map_or(&[], Vec::as_slice),
            )?;
        }
        for moved in self.position_changes() {
            f.write_str(separator)?;
            separator = "\n";
            let list = |columns: &[String]| {
                columns
                    .iter()
                    .map(|name| readable(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            writeln!(
                f,
                "note: the columns of {} stand in another order",
                moved.table
            )?;
            writeln!(f, "-{}", list(&moved.expected))?;
            writeln!(f, "+{}", list(&moved.actual))?;
        }
        Ok(())
    }

    /// What went or came and may have taken others along, by its name and the side it is on.
    fn owners(&self) -> BTreeMap<(TableName, char), &ObjectId> {
        let owners = self.changes.iter().filter(|change| {
            matches!(
                change.id.kind,
                ObjectKind::Table
                    | ObjectKind::View
                    | ObjectKind::MaterializedView
                    | ObjectKind::Type
            )
        });
        owners
            .filter_map(|change| {
                let name = TableName::new(&*change.id.schema, &*change.id.name);
                Some(((name, side(change)?), &change.id))
            })
            .collect()
    }
}

/// The sign of the one side that the object is on; none if it is on both.
fn side(change: &Change) -> Option<char> {
    match change.kind {
        ChangeKind::Added(_) => Some('+'),
        ChangeKind::Removed(_) => Some('-'),
        ChangeKind::Changed { .. } => None,
    }
}

impl fmt::Display for CatalogDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

fn write_change(f: &mut impl fmt::Write, change: &Change, members: &[&ObjectId]) -> fmt::Result {
    match &change.kind {
        ChangeKind::Added(object) => write_one_side(f, "added", '+', &change.id, object)?,
        ChangeKind::Removed(object) => write_one_side(f, "removed", '-', &change.id, object)?,
        ChangeKind::Changed { expected, actual } => {
            writeln!(f, "changed {}", change.id)?;
            let (expected, actual) = (expected.to_text(), actual.to_text());
            let diff = TextDiff::from_lines(&expected, &actual);
            write!(f, "{}", diff.unified_diff().context_radius(3))?;
        }
    }
    if !members.is_empty() {
        let names: Vec<String> = members
            .iter()
            .map(|id| format!("{} {}", id.kind, readable(&id.name)))
            .collect();
        writeln!(f, "  with {}", names.join(", "))?;
    }
    Ok(())
}

fn write_one_side(
    f: &mut impl fmt::Write,
    verb: &str,
    sign: char,
    id: &ObjectId,
    object: &Object,
) -> fmt::Result {
    writeln!(f, "{verb} {id}")?;
    for line in object.to_text().lines() {
        writeln!(f, "{sign}{line}")?;
    }
    Ok(())
}

impl Object {
    /// The facts, one a line in the order of their names; a value of several lines follows its
    /// name, indented.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.attributes {
            if value.contains('\n') {
                text.push_str(name);
                text.push_str(":\n");
                for line in value.lines() {
                    text.push_str("  ");
                    text.push_str(line);
                    text.push('\n');
                }
            } else {
                let _ = writeln!(text, "{name}: {value}");
            }
        }
        text
    }
}
