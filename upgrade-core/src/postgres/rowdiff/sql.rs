//! The statements of a comparison. Both sides get the same expressions, so that they agree.

use super::key::Key;
use super::{RowDiffError, RowDiffOptions, TableName};
use crate::observation::{Reading, RowDiffRequest};
use crate::postgres::fingerprint::{ColumnShape, TableShape, hashed_value, native_hash};
use crate::postgres::sql::quote_ident;

/// A column that is compared.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// Whether its text is compared, because a hash of its type would not do on one of the sides.
    as_text: bool,
    /// How its text is made where it belongs to a key: equal values have equal texts.
    in_key: String,
}

/// The columns of a request that are compared, and those that only the earlier side has.
pub(super) fn columns(
    request: &RowDiffRequest,
    before: Option<&TableShape>,
    after: Option<&TableShape>,
) -> Result<(Vec<Column>, Vec<String>), RowDiffError> {
    let mut dropped = Vec::new();
    let mut compared = Vec::new();
    for (name, reading) in &request.columns {
        let of = |shape: &TableShape| shape.columns.get(name).cloned();
        let found: Vec<_> = [before, after].into_iter().flatten().map(of).collect();
        match found.as_slice() {
            [Some(_), None] => dropped.push(name.clone()),
            all if all.iter().all(Option::is_some) => {
                let found: Vec<&ColumnShape> = all.iter().flatten().collect();
                compared.push(Column::new(name, *reading, &found));
            }
            _ => {
                return Err(RowDiffError::UnknownColumn {
                    table: request.table.clone(),
                    column: name.clone(),
                });
            }
        }
    }
    Ok((compared, dropped))
}

impl Column {
    /// A column as the sides have it.
    fn new(name: &str, reading: Reading, found: &[&ColumnShape]) -> Self {
        let value = format!("t.{}", quote_ident(name));
        let is = |types: &[&str]| {
            let of = |type_name: &str| types.iter().any(|of| type_name.starts_with(of));
            found.iter().all(|column| of(&column.type_name))
        };
        let text = reading == Reading::Text;
        let in_key = if !text && is(&["numeric"]) {
            format!("trim_scale({value})::text")
        } else if !text && is(&["real", "double precision"]) {
            // Minus zero equals zero.
            format!("({value} + 0)::text")
        } else {
            format!("{value}::text")
        };
        Self {
            name: name.to_owned(),
            as_text: text || found.iter().any(|column| !column.hashable),
            in_key,
        }
    }

    fn value(&self) -> String {
        hashed_value(&self.name, self.as_text)
    }
}

/// What both sides are asked.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) columns: Vec<Column>,
    pub(super) key: Vec<String>,
    /// The text of the key; `None` where whole rows are compared.
    key_text: Option<String>,
    row: String,
    mask: u32,
    value_chars: usize,
}

impl Statements {
    pub(super) fn new(columns: Vec<Column>, key: &Key, options: &RowDiffOptions) -> Self {
        let of = |name: &String| {
            let column = columns.iter().find(|column| column.name == *name);
            column.map_or("NULL", |column| column.in_key.as_str())
        };
        // A null can be in a column of the key where only the other side has it as a key; what it
        // then shares a text with is counted like rows of one key.
        let key_text = match key.columns.as_slice() {
            [] => None,
            [one] => Some(format!("coalesce({}, '') COLLATE \"C\"", of(one))),
            many => {
                let parts: Vec<&str> = many.iter().map(of).collect();
                Some(format!("row({})::text COLLATE \"C\"", parts.join(", ")))
            }
        };
        let values: Vec<String> = columns.iter().map(Column::value).collect();
        Self {
            row: format!("row({})", values.join(", ")),
            key: key.columns.clone(),
            key_text,
            mask: options.buckets.clamp(1, 1 << 24).next_power_of_two() - 1,
            value_chars: options.value_chars,
            columns,
        }
    }

    /// The table in a `FROM`: with its partitions, without what inherits from it.
    pub(super) fn from(&self, table: &TableName, shape: &TableShape) -> String {
        let only = if shape.partitioned { "" } else { "ONLY " };
        format!("{only}{} t", table.to_sql())
    }

    /// What a row is sorted and divided into buckets by.
    fn place_hash(&self) -> String {
        match &self.key_text {
            Some(text) => format!("hashtextextended({text}, 0)"),
            None => format!("hash_record_extended({}, 0)", self.row),
        }
    }

    /// Bucket, number of rows, sum of their hashes.
    pub(super) fn buckets(&self, from: &str) -> String {
        let (mask, place) = (self.mask, self.place_hash());
        if self.key_text.is_some() {
            let hash = native_hash(&self.row);
            return format!(
                "SELECT ({place} & {mask})::int4, count(*), sum({hash})::text FROM {from} GROUP BY 1"
            );
        }
        // `OFFSET 0` keeps the server from hashing each row twice.
        format!(
            "SELECT (h & {mask})::int4, count(*), sum(hashfloat8extended(h::float8, 0))::text
             FROM (SELECT {place} AS h FROM {from} OFFSET 0) rows GROUP BY 1"
        )
    }

    /// The rows of the buckets `$1`: hash and text of the key, hash of the row, where it is.
    pub(super) fn entries(&self, from: &str) -> String {
        let (mask, place, row) = (self.mask, self.place_hash(), &self.row);
        let (key, hash) = match &self.key_text {
            Some(text) => (text.as_str(), format!("hash_record_extended({row}, 0)")),
            // A second hash with another seed tells rows apart that share the first one.
            None => ("''::text", format!("hash_record_extended({row}, 1)")),
        };
        format!(
            "SELECT {place}, {key}, {hash}, t.tableoid, t.ctid::text FROM {from}
             WHERE ({place} & {mask})::int4 = ANY($1) ORDER BY 1, 2, 3"
        )
    }

    /// The rows at the places `$1`: table and place, each column's text and its hash.
    pub(super) fn rows(&self, from: &str) -> String {
        let one_more = self.value_chars + 1;
        let all = |each: &dyn Fn(&Column) -> String| {
            self.columns.iter().map(each).collect::<Vec<_>>().join(", ")
        };
        let texts =
            all(&|column| format!("left(t.{}::text, {one_more})", quote_ident(&column.name)));
        let hashes = all(&|column| format!("hash_record_extended(row({}), 0)", column.value()));
        format!(
            "SELECT t.tableoid, t.ctid::text, ARRAY[{texts}]::text[], ARRAY[{hashes}]::int8[]
             FROM {from} WHERE t.ctid = ANY($1::text[]::tid[])"
        )
    }
}
