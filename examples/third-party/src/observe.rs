//! What a store looks like, as data that can be compared.

use std::collections::BTreeMap;

use serde_json::Value;
use upgrade_core::observation::{Observation, Reading, Scope, TableState};
use upgrade_core::{Error, ErrorKind, Result};

use crate::store::{Image, Rows, parse};

/// The collections of an image, by name.
pub(crate) fn collections(image: &Image) -> Result<BTreeMap<String, Rows>> {
    let files = image.iter().filter(|(name, _)| !name.starts_with('_'));
    files
        .map(|(file, text)| {
            let name = file.strip_suffix(".json").unwrap_or(file);
            Ok((name.to_owned(), parse(file, text)?))
        })
        .collect()
}

/// Measures an image. The schema of a store that has none is what its rows have: their fields, and
/// the types of those.
pub(crate) fn observe(image: &Image, scope: &Scope) -> Result<Observation> {
    let mut seen = Observation::default();
    for (name, rows) in collections(image)? {
        let columns = columns(&rows);
        if matches!(scope, Scope::All | Scope::Schema) {
            let facts = columns
                .iter()
                .map(|(name, kind)| format!("{name}: {kind}\n"));
            seen.objects
                .insert(format!("collection {name}"), facts.collect());
        }
        let wanted: BTreeMap<&str, Reading> = match scope {
            Scope::All | Scope::Rows => columns
                .keys()
                .map(|c| (c.as_str(), Reading::Value))
                .collect(),
            Scope::Schema => continue,
            Scope::Columns(tables) => match tables.get(&name) {
                Some(wanted) => wanted.iter().map(|(c, how)| (c.as_str(), *how)).collect(),
                None => continue,
            },
            // Never less than what was asked for, and never something else instead.
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "it does not know this scope",
                ));
            }
        };
        let read = columns
            .iter()
            .filter(|(c, _)| wanted.contains_key(c.as_str()));
        let read: BTreeMap<String, String> = read.map(|(c, k)| (c.clone(), k.clone())).collect();
        let mut sum = blake3::Hasher::new();
        for (key, row) in &rows {
            for column in read.keys() {
                let value = if column == "key" {
                    Some(key.clone())
                } else {
                    row.get(column)
                        .map(|value| as_text(value, wanted[column.as_str()]))
                };
                // With its length, so that no two rows run into one another.
                let value = value.map_or("-".to_owned(), |v| format!("{}:{v}", v.len()));
                sum.update(value.as_bytes());
            }
        }
        let rows = rows.len() as u64;
        let state = TableState::new(read, rows, sum.finalize().to_hex().as_str());
        seen.tables.insert(name, state);
    }
    Ok(seen)
}

/// The key, and every field that a row has, with the types that it has there.
fn columns(rows: &Rows) -> BTreeMap<String, String> {
    let mut columns = BTreeMap::from([("key".to_owned(), "text".to_owned())]);
    for (field, value) in rows.values().flatten() {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds: &mut String = columns.entry(field.clone()).or_default();
        if !kinds.split_whitespace().any(|known| known == kind) {
            kinds.push_str(&format!(" {kind}"));
        }
    }
    columns
}

fn as_text(value: &Value, how: Reading) -> String {
    match (value, how) {
        (Value::String(text), Reading::Text) => text.clone(),
        _ => value.to_string(),
    }
}
