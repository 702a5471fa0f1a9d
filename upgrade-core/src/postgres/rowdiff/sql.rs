//! The statements of a comparison. Both sides read each column in the same way, so that they agree.

use super::key::Key;
use super::{RowDiffError, RowDiffOptions, TableName};
use crate::observation::{Reading, RowDiffRequest};
use crate::postgres::fingerprint::{ColumnShape, Form, TableShape, exact_hash, row_text};
use crate::postgres::sql::quote_ident;

/// A column that is compared.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    reading: Reading,
    /// How each of the two sides reads it. They differ where its type does.
    forms: [Form; 2],
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
        let of = |shape: &'_ TableShape| shape.columns.get(name).cloned();
        match (before.map(of), after.map(of)) {
            (Some(Some(_)), Some(None)) => dropped.push(name.clone()),
            (Some(Some(then)), Some(Some(now))) => {
                compared.push(Column::new(name, *reading, then, now));
            }
            // The other side has no rows.
            (Some(Some(one)), None) | (None, Some(Some(one))) => {
                compared.push(Column::new(name, *reading, one.clone(), one));
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
    fn new(name: &str, reading: Reading, then: ColumnShape, now: ColumnShape) -> Self {
        let retyped = then.type_name != now.type_name;
        let forms = [then.form, now.form];
        let numbers = retyped && forms.iter().all(Form::is_number);
        Self {
            name: name.to_owned(),
            reading: match reading {
                Reading::Value if numbers => Reading::Number,
                reading => reading,
            },
            forms,
        }
    }
}

/// One of the two sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// The table in a `FROM`: with its partitions, without what inherits from it.
pub(super) fn from(table: &TableName, shape: &TableShape) -> String {
    let only = if shape.partitioned { "" } else { "ONLY " };
    format!("{only}{} t", table.to_sql())
}

/// What one side is asked.
#[derive(Debug)]
pub(super) struct Statements {
    /// The names of the columns that are compared.
    pub(super) columns: Vec<String>,
    pub(super) key: Vec<String>,
    /// The text of the key; `None` where whole rows are compared.
    key_text: Option<String>,
    /// What is hashed of each column.
    values: Vec<String>,
    /// The text of each column, as it is shown.
    texts: Vec<String>,
    mask: u32,
}

impl Statements {
    pub(super) fn new(columns: &[Column], side: Side, key: &Key, options: &RowDiffOptions) -> Self {
        let form = |column: &Column| column.forms[usize::from(side == Side::After)].clone();
        let value = |column: &Column| format!("t.{}", quote_ident(&column.name));
        let of = |name: &String| {
            let column = columns.iter().find(|column| column.name == *name);
            column.map_or("NULL".to_owned(), |column| match column.reading {
                Reading::Text => form(column).text(&value(column)),
                _ => form(column).key(&value(column)),
            })
        };
        // A null can be in a column of the key where only the other side has it as a key; what it
        // then shares a text with is counted like rows of one key.
        let key_text = match key.columns.as_slice() {
            [] => None,
            [one] => Some(format!("coalesce({}, '') COLLATE \"C\"", of(one))),
            many => {
                let parts: Vec<String> = many.iter().map(of).collect();
                Some(format!("{} COLLATE \"C\"", row_text(&parts)))
            }
        };
        let one_more = options.value_chars + 1;
        let all = |each: &dyn Fn(&Column) -> String| columns.iter().map(each).collect();
        Self {
            columns: all(&|column| column.name.clone()),
            key: key.columns.clone(),
            key_text,
            values: all(&|column| form(column).read(&value(column), column.reading)),
            texts: all(&|column| {
                format!("left({}, {one_more})", form(column).text(&value(column)))
            }),
            mask: options.buckets.clamp(1, 1 << 24).next_power_of_two() - 1,
        }
    }

    /// What a row is sorted and divided into buckets by.
    fn place_hash(&self) -> String {
        match &self.key_text {
            Some(text) => format!("hashtextextended({text}, 0)"),
            None => exact_hash(&self.values, 0),
        }
    }

    /// Bucket, number of rows, sum of their hashes.
    pub(super) fn buckets(&self, from: &str) -> String {
        let (mask, place) = (self.mask, self.place_hash());
        if self.key_text.is_some() {
            let hash = exact_hash(&self.values, 0);
            return format!(
                "SELECT ({place} & {mask})::int4, count(*), concat(sum({hash})) FROM {from} GROUP BY 1"
            );
        }
        // `OFFSET 0` keeps the server from hashing each row twice.
        format!(
            "SELECT (h & {mask})::int4, count(*), concat(sum(h))
             FROM (SELECT {place} AS h FROM {from} OFFSET 0) rows GROUP BY 1"
        )
    }

    /// The rows of the buckets `$1`: hash and text of the key, hash of the row, where it is.
    pub(super) fn entries(&self, from: &str) -> String {
        let (mask, place) = (self.mask, self.place_hash());
        let (key, hash) = match &self.key_text {
            Some(text) => (text.as_str(), exact_hash(&self.values, 0)),
            // A second hash with another seed tells rows apart that share the first one.
            None => ("''::text", exact_hash(&self.values, 1)),
        };
        // Rows without a key are not held against each other.
        let values: Vec<String> = match &self.key_text {
            Some(_) => {
                let hashes = self.columns.iter().zip(self.hashes());
                // Not `IS NULL`, which is true of a row of nulls.
                let unless_null = hashes.map(|(name, hash)| {
                    format!(
                        "CASE WHEN num_nulls(t.{}) = 0 THEN {hash} END",
                        quote_ident(name)
                    )
                });
                unless_null.collect()
            }
            None => Vec::new(),
        };
        let values = values.join(", ");
        format!(
            "SELECT {place}, {key}, {hash}, t.tableoid, t.ctid::text, ARRAY[{values}]::int8[]
             FROM {from} WHERE ({place} & {mask})::int4 = ANY($1) ORDER BY 1, 2, 3"
        )
    }

    /// The hash of each column.
    fn hashes(&self) -> Vec<String> {
        let values = self.values.iter();
        let hashes = values.map(|value| exact_hash(std::slice::from_ref(value), 0));
        hashes.collect()
    }

    /// The rows at the places `$1`: table and place, each column's text and its hash.
    pub(super) fn rows(&self, from: &str) -> String {
        let texts = self.texts.join(", ");
        let hashes = self.hashes().join(", ");
        format!(
            "SELECT t.tableoid, t.ctid::text, ARRAY[{texts}]::text[], ARRAY[{hashes}]::int8[]
             FROM {from} WHERE t.ctid = ANY($1::text[]::tid[])"
        )
    }
}
