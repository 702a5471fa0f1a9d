//! The rows that are named, with their values as a person reads them.

use std::collections::BTreeMap;

use sqlx::postgres::types::Oid;
use sqlx::{AssertSqlSafe, Row as _};

use super::RowDiffOptions;
use super::merge::{Merged, Place};
use super::sql::Statements;
use crate::observation::{ColumnChange, ColumnValue, RowChange};
use crate::postgres::catalog::Pinned;

/// The values of one row, in the order of the columns.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// One character longer than what is shown, so that it is known what was cut.
    texts: Vec<Option<String>>,
    hashes: Vec<i64>,
}

/// Reads the rows at some places.
pub(super) async fn read(
    session: &mut Pinned<'_>,
    statements: &Statements,
    from: Option<&str>,
    places: Vec<&Place>,
) -> Result<BTreeMap<Place, Values>, sqlx::Error> {
    let Some(from) = from.filter(|_| !places.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let ctids: Vec<&str> = places.iter().map(|place| place.ctid.as_str()).collect();
    sqlx::query(AssertSqlSafe(statements.rows(from)))
        .persistent(false)
        .bind(ctids)
        .fetch_all(session.conn())
        .await?
        .iter()
        .map(|row| {
            let place = Place {
                table: row.try_get::<Oid, _>(0)?.0,
                ctid: row.try_get(1)?,
            };
            let values = Values {
                texts: row.try_get(2)?,
                hashes: row.try_get(3)?,
            };
            Ok((place, values))
        })
        .collect()
}

/// What happened to each row that is named.
pub(super) fn changes(
    merged: &Merged,
    statements: &Statements,
    before: &BTreeMap<Place, Values>,
    after: &BTreeMap<Place, Values>,
    options: &RowDiffOptions,
) -> Vec<RowChange> {
    let limit = options.value_chars;
    merged
        .named()
        .map(|(kind, row)| {
            let old = row.before.as_ref().and_then(|place| before.get(place));
            let new = row.after.as_ref().and_then(|place| after.get(place));
            let mut key = Vec::new();
            let mut columns = Vec::new();
            for (index, name) in statements.columns.iter().enumerate() {
                let text = |side: Option<&Values>| {
                    side.and_then(|values| values.texts.get(index))
                        .map(|text| shown(text.as_deref(), limit))
                };
                let name = name.clone();
                let (old_text, new_text) = (text(old), text(new));
                let hash = |side: Option<&Values>| {
                    side.and_then(|values| values.hashes.get(index).copied())
                };
                let differs = old.is_some() && new.is_some() && hash(old) != hash(new);
                if statements.key.contains(&name) && !differs {
                    key.push(ColumnValue::new(
                        name,
                        old_text.or(new_text).unwrap_or_default(),
                    ));
                } else if differs || old.is_none() || new.is_none() {
                    columns.push(ColumnChange::new(name, old_text, new_text));
                }
            }
            key.sort_by_key(|value| {
                let place = |name: &String| *name == value.column;
                statements.key.iter().position(place)
            });
            RowChange {
                kind,
                count: row.count,
                key,
                columns,
            }
        })
        .collect()
}

/// A value on one line: numbers and truth values as they are, other text in quotes, cut with `…`.
pub(super) fn shown(text: Option<&str>, limit: usize) -> String {
    let Some(text) = text else {
        return "NULL".to_owned();
    };
    let cut = text.chars().count() > limit;
    let plain = matches!(text, "true" | "false")
        || (!text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.')));
    let mut value: String = text
        .chars()
        .take(limit)
        .flat_map(|c| {
            // Control characters would tear the line.
            let escaped = c.is_control().then(|| c.escape_default());
            let as_is = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(as_is)
        })
        .collect();
    if cut {
        value.push('…');
    }
    if plain { value } else { format!("'{value}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_on_one_line_and_cut() {
        assert_eq!(shown(None, 5), "NULL");
        assert_eq!(shown(Some(""), 5), "''");
        assert_eq!(shown(Some("NULL"), 5), "'NULL'");
        assert_eq!(shown(Some("-1.5"), 5), "-1.5");
        assert_eq!(shown(Some("a\nb"), 5), r"'a\nb'");
        assert_eq!(shown(Some("äöüß€x"), 5), "'äöüß€…'");
        assert_eq!(shown(Some("123456"), 5), "12345…");
    }
}
