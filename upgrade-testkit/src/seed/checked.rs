//! Which of the rows drawn would violate a CHECK or find no partition, by asking the server.
//!
//! An expression that calls functions cannot be solved; it can be evaluated for many rows at once, which
//! is far cheaper than having them refused one by one.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _};

use super::error::{Doing as _, SeedError};
use super::insert::{ask, literal};
use super::resolve::Cells;
use super::schema::{Column, Table, quote};
use super::types::{Kind, SqlType};
use super::value::SqlValue;

/// The number of the row; no column is called so.
const NUMBER: &str = "upgrade seed row";
/// Bounds of more partitions than this are not asked for.
const MOST_LEAVES: usize = 64;

/// Something that rows must satisfy.
struct Condition {
    /// As an error names it.
    part: String,
    /// As the catalog prints it.
    expression: String,
    /// What to select when it is violated.
    violated: String,
    /// Positions of the columns that it speaks of.
    columns: BTreeSet<usize>,
}

/// What a row violates.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) part: String,
    pub(crate) expression: String,
    pub(crate) columns: BTreeSet<usize>,
}

/// The rows that violate something, by position. Says nothing where the server cannot evaluate the
/// expressions for these values; such rows are refused one by one.
pub(crate) async fn violating(
    conn: &mut PgConnection,
    table: &Table,
    rows: &[&Cells],
) -> Result<BTreeMap<usize, Violation>, SeedError> {
    let conditions = conditions(table);
    let mut violating = BTreeMap::new();
    if conditions.is_empty() || rows.is_empty() {
        return Ok(violating);
    }
    let doing = || format!("evaluate the checks of `{}`", table.label());
    let query = query(table, &conditions, rows);
    for row in ask(conn, query).await.doing(doing)?.unwrap_or_default() {
        let number = |at| -> Result<usize, SeedError> {
            let number: i32 = row.try_get(at).doing(doing)?;
            Ok(usize::try_from(number).expect("positions are not negative"))
        };
        let condition = &conditions[number(1)?];
        let violation = Violation {
            part: condition.part.clone(),
            expression: condition.expression.clone(),
            columns: condition.columns.clone(),
        };
        violating.insert(number(0)?, violation);
    }
    Ok(violating)
}

fn conditions(table: &Table) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = table
        .checks
        .iter()
        .map(|check| Condition {
            part: format!("constraint `{}`", check.name),
            expression: check.expression.clone(),
            violated: format!("({}) IS FALSE", check.expression),
            columns: mentioned(table, &check.expression),
        })
        .collect();
    let bounds: Vec<&str> = table.leaves.iter().flatten().map(String::as_str).collect();
    if bounds.len() == table.leaves.len() && (1..=MOST_LEAVES).contains(&bounds.len()) {
        let expression = format!("({})", bounds.join(") OR ("));
        conditions.push(Condition {
            part: "the partitioning".to_owned(),
            violated: format!("({expression}) IS NOT TRUE"),
            columns: mentioned(table, &expression),
            expression,
        });
    }
    for (at, column) in table.columns.iter().enumerate() {
        let name = quote(&column.name);
        let (mut ty, values) = match &column.ty.kind {
            Kind::Array { element, .. } => (&**element, format!("unnest({name})")),
            _ => (&column.ty, format!("(SELECT {name})")),
        };
        while let Kind::Domain { base, checks, .. } = &ty.kind {
            // In the check of a domain, the value is called `VALUE`: a column's name here.
            conditions.extend(checks.iter().map(|expression| Condition {
                part: format!("domain `{}` of column `{}`", ty.name, column.name),
                expression: expression.clone(),
                violated: format!(
                    "(SELECT bool_or(({expression}) IS FALSE) FROM {values} AS d (value))"
                ),
                columns: BTreeSet::from([at]),
            }));
            ty = base;
        }
    }
    conditions
}

/// The columns that an expression names, and those that generate them; all if it seems to name none.
fn mentioned(table: &Table, expression: &str) -> BTreeSet<usize> {
    let of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let names = |column: &Column| {
        expression.match_indices(&column.name).any(|(at, name)| {
            let before = expression[..at].chars().next_back();
            let after = expression[at + name.len()..].chars().next();
            !before.is_some_and(of_name) && !after.is_some_and(of_name)
        })
    };
    let mut named: BTreeSet<usize> = (0..table.columns.len())
        .filter(|at| names(&table.columns[*at]))
        .collect();
    for at in named.clone() {
        if let Some(generating) = table.columns[at].generating() {
            named.extend(mentioned(table, generating));
        }
    }
    if named.is_empty() {
        (0..table.columns.len()).collect()
    } else {
        named
    }
}

fn query(table: &Table, conditions: &[Condition], rows: &[&Cells]) -> String {
    let values: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let cells = row.iter().map(|cell| match cell {
                Some(value @ SqlValue::Text(_)) => literal(Some(value)),
                // What a default gives is not known: a CHECK accepts NULL.
                _ => "NULL".to_owned(),
            });
            let cells: String = cells.map(|cell| format!(", {cell}::text")).collect();
            format!("({at}{cells})")
        })
        .collect();
    let names: String = (0..table.columns.len())
        .map(|at| format!(", c{at}"))
        .collect();
    let columns: String = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let value = match unchecked(&column.ty) {
                Some(ty) => format!("v.c{at}::{ty}"),
                // Reading it would check it, and one bad value would end the query.
                None => format!("NULL::{}", column.ty.name),
            };
            format!(", {value} AS {}", quote(&column.name))
        })
        .collect();
    // One level up, where the columns that they are made of have their names.
    let generated: String = table
        .columns
        .iter()
        .map(|column| match column.generating() {
            Some(expression) => format!(", ({expression}) AS {}", quote(&column.name)),
            None => format!(", {}", quote(&column.name)),
        })
        .collect();
    let cases: String = conditions
        .iter()
        .enumerate()
        .map(|(at, condition)| format!(" WHEN {} THEN {at}", condition.violated))
        .collect();
    let number = quote(NUMBER);
    format!(
        "SELECT * FROM (SELECT {number}, CASE{cases} END AS violated FROM (SELECT {number}{generated} \
         FROM (SELECT v.{number}{columns} FROM (VALUES {}) AS v ({number}{names})) AS {table}) AS {table}) \
         AS asked WHERE violated IS NOT NULL",
        values.join(", "),
        table = quote(&table.name),
    )
}

/// A type that reads the same values without checking them, if there is one.
fn unchecked(ty: &SqlType) -> Option<String> {
    match &ty.kind {
        Kind::Domain { base, .. } => unchecked(base),
        Kind::Array { element, .. } => match &element.kind {
            Kind::Domain { .. } if element.base_name().is_some() => {
                Some(format!("{}[]", unchecked(element)?))
            }
            _ => unchecked(element).map(|_| ty.name.clone()),
        },
        Kind::Range(inner) | Kind::Multirange(inner) => {
            (unchecked(inner)? == inner.name).then(|| ty.name.clone())
        }
        Kind::Composite(fields) => fields
            .iter()
            .all(|(_, field)| unchecked(field).is_some_and(|name| name == field.name))
            .then(|| ty.name.clone()),
        Kind::Base(_) | Kind::Enum(_) | Kind::Unknown => Some(ty.name.clone()),
    }
}
