//! What the requests wrote to the databases of the sides.

use std::collections::BTreeMap;

use super::mask::is_secret;
use super::reach::{self, Reach};
use crate::context::UpgradeContext;
use crate::endpoint::DATABASE;
use crate::error::Result;
use crate::finding::Finding;
use crate::postgres::catalog::TableName;
use crate::postgres::database::close;
use crate::postgres::written::{Point, Written};
use crate::redact::GONE;
use crate::side::Side;
use crate::subject::{Subject, TableRef};

/// How many values of a column stand in a finding.
const SHOWN: usize = 5;
/// How much of a value stands in a finding, in characters.
const LENGTH: usize = 60;

type Tables = BTreeMap<TableName, Written>;

/// The databases of all sides before the requests.
pub(super) struct Before {
    points: [Point; 3],
    reach: Option<[Reach; 3]>,
}

impl Before {
    /// `None` where a side has no database.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub(super) async fn read(cx: &UpgradeContext) -> Result<Option<Self>> {
        let has = |side: &Side| cx.side(*side).is_ok_and(|all| all.get(DATABASE).is_some());
        if !Side::ALL.iter().all(has) {
            return Ok(None);
        }
        let [baseline, secondary, candidate] = Side::ALL;
        let (baseline, of_baseline) = point(cx, baseline).await?;
        let (secondary, of_secondary) = point(cx, secondary).await?;
        let (candidate, of_candidate) = point(cx, candidate).await?;
        let reach = of_baseline.zip(of_secondary).zip(of_candidate);
        Ok(Some(Self {
            points: [baseline, secondary, candidate],
            reach: reach.map(|((baseline, secondary), candidate)| [baseline, secondary, candidate]),
        }))
    }

    /// Judges what was written since.
    ///
    /// # Errors
    /// Where a database cannot be read.
    pub(super) async fn judge(&self, cx: &UpgradeContext) -> Result<Vec<Finding>> {
        let [baseline, secondary, candidate] = Side::ALL;
        let written = [
            self.written(cx, baseline, &self.points[0]).await?,
            self.written(cx, secondary, &self.points[1]).await?,
            self.written(cx, candidate, &self.points[2]).await?,
        ];
        let mut findings = compare(&written);
        if let Some(before) = &self.reach {
            findings.extend(reach::judge(cx, before, &self.points[2]).await?);
        }
        Ok(findings)
    }

    async fn written(&self, cx: &UpgradeContext, side: Side, since: &Point) -> Result<Tables> {
        let cx = cx.at_side(side)?;
        let mut conn = cx.connect().await?;
        let reading = async {
            if self.reach.is_some() {
                reach::not_counted(&mut conn).await?;
            }
            since.written(&mut conn).await
        };
        let written = cx.bounded("read what was written", reading).await?;
        close(conn).await;
        written
    }
}

async fn point(cx: &UpgradeContext, side: Side) -> Result<(Point, Option<Reach>)> {
    let cx = cx.at_side(side)?;
    let mut conn = cx.connect().await?;
    let read = async {
        let reach = Reach::begin(&mut conn).await?;
        Ok((Point::now(&mut conn).await?, reach))
    };
    let read = cx.bounded("count rows", read).await?;
    close(conn).await;
    read
}

/// Compares what the sides wrote, in the tables and columns that all have.
fn compare(sides: &[Tables; 3]) -> Vec<Finding> {
    let renamed = [
        Renamed::of(&sides[0], &sides[1]),
        Renamed::of(&sides[0], &sides[2]),
    ];
    let mut findings = Vec::new();
    for (table, baseline) in &sides[0] {
        let (Some(secondary), Some(candidate)) = (sides[1].get(table), sides[2].get(table)) else {
            continue;
        };
        let mut of_table = Vec::new();
        for line in differences(table, [baseline, secondary, candidate], &renamed) {
            let of = TableRef::new(table.to_string());
            match line.column {
                Some(column) => {
                    findings.push(differ(of.column(column), &[line.message], line.evidence))
                }
                None => of_table.push(line),
            }
        }
        if !of_table.is_empty() {
            let messages: Vec<String> = of_table.iter().map(|line| line.message.clone()).collect();
            let evidence = of_table
                .into_iter()
                .flat_map(|line| line.evidence)
                .collect();
            findings.push(differ(
                TableRef::new(table.to_string()),
                &messages,
                evidence,
            ));
        }
    }
    findings
}

/// One finding: the first message, and the evidence of all.
fn differ(subject: impl Into<Subject>, messages: &[String], evidence: Vec<String>) -> Finding {
    Finding::error("api/rows-differ", subject, &messages[0]).with_evidence(evidence.join("\n"))
}

struct Line {
    /// The column, if one column differs.
    column: Option<String>,
    message: String,
    evidence: Vec<String>,
}

fn differences(table: &TableName, sides: [&Written; 3], renamed: &[Renamed; 2]) -> Vec<Line> {
    let [baseline, secondary, candidate] = sides;
    let names = ["baseline", "secondary", "candidate"];
    let numbers = |what: &str, numbers: [u64; 3]| {
        let evidence = names.iter().zip(numbers);
        Line {
            column: None,
            message: format!("{what}: there were {} and are {}", numbers[0], numbers[2]),
            evidence: evidence
                .map(|(name, number)| format!("{what}, {name}: {number}"))
                .collect(),
        }
    };
    let mut lines = Vec::new();
    let mut stable = true;
    let counts = [
        ("rows that were added or changed", sides.map(|of| of.rows)),
        (
            "earlier rows that were changed or removed",
            sides.map(|of| of.touched),
        ),
    ];
    for (what, [old, again, new]) in counts {
        stable &= old == again && old == new;
        if old == again && old != new {
            lines.push(numbers(what, [old, again, new]));
        }
    }
    // With other rows, their values differ anyway.
    if !stable {
        return lines;
    }
    if baseline.key == candidate.key
        && baseline.touched_keys == secondary.touched_keys
        && baseline.touched_keys != candidate.touched_keys
    {
        lines.push(Line {
            column: None,
            message: "other rows than before were changed or removed".to_owned(),
            evidence: vec![format!("{} rows, with other keys", candidate.touched)],
        });
    }
    for (name, column) in &baseline.columns {
        let others = [secondary.columns.get(name), candidate.columns.get(name)];
        let [Some(again), Some(new)] = others else {
            continue;
        };
        // Rows that were changed hold what the migration made of them, too.
        let migrated = column.before != new.before && baseline.touched > 0;
        if column.type_name != new.type_name || migrated {
            continue;
        }
        let values = (
            column.values.as_ref(),
            again.values.as_ref(),
            new.values.as_ref(),
        );
        let (Some(old_values), Some(again_values), Some(new_values)) = values else {
            continue;
        };
        let of = match &column.refers_to {
            Some((table, name)) => (table, name),
            None => (table, name),
        };
        let own = |values: &[Option<String>], renamed: &Renamed| {
            let mut values: Vec<Option<String>> = values
                .iter()
                .map(|value| renamed.back(of, value.as_ref()))
                .collect();
            values.sort_unstable();
            values
        };
        let old = own(old_values, &Renamed::default());
        let (again, new) = (own(again_values, &renamed[0]), own(new_values, &renamed[1]));
        let nulls =
            |values: &[Option<String>]| values.iter().filter(|value| value.is_none()).count();
        let differs = match old == again {
            true => new != old,
            // Noise, but for what has no value at all.
            false => nulls(&old) == nulls(&again) && nulls(&new) != nulls(&old),
        };
        if differs {
            lines.push(of_column(name, [&old, &again, &new]));
        }
    }
    lines
}

fn of_column(name: &str, values: [&[Option<String>]; 3]) -> Line {
    let shown = |value: &Option<String>| match value {
        None => "NULL".to_owned(),
        Some(_) if is_secret(name) => GONE.to_owned(),
        Some(text) => match text.char_indices().nth(LENGTH) {
            Some((end, _)) => format!("'{}...'", &text[..end]),
            None => format!("'{text}'"),
        },
    };
    let [old, _, new] = values;
    // What only one of two sorted lists has.
    let only = |one: &[Option<String>], other: &[Option<String>]| {
        let mut other = other.to_vec();
        let mut one = one.iter().filter(|value| {
            let at = other.iter().position(|of_other| of_other == *value);
            at.map(|at| other.swap_remove(at)).is_none()
        });
        one.next().map_or_else(|| "nothing".to_owned(), shown)
    };
    let message = format!(
        "in the rows that were written, {} became {}",
        only(old, new),
        only(new, old)
    );
    let names = ["baseline", "secondary", "candidate"];
    let evidence = names.iter().zip(values).map(|(side, values)| {
        let texts: Vec<String> = values.iter().take(SHOWN).map(shown).collect();
        let more = if values.len() > SHOWN { ", ..." } else { "" };
        format!("column {name}, {side}: {}{more}", texts.join(", "))
    });
    Line {
        column: Some(name.to_owned()),
        message,
        evidence: evidence.collect(),
    }
}

/// Generated numbers of one side as the baseline has them: a sequence may stand elsewhere after a migration.
#[derive(Debug, Default)]
struct Renamed<'t>(BTreeMap<(&'t TableName, &'t str), BTreeMap<i64, i64>>);

impl<'t> Renamed<'t> {
    /// By rank: the keys of written rows, where both sides have the same number of them.
    fn of(baseline: &'t Tables, side: &'t Tables) -> Self {
        let mut all = BTreeMap::new();
        for (table, written) in baseline {
            let ([key], Some(own)) = (&written.key[..], side.get(table)) else {
                continue;
            };
            let numbers = |of: &Written| -> Option<Vec<i64>> {
                let values = of.columns.get(key)?.values.as_ref()?.iter();
                let numbers = values.map(|value| value.as_ref()?.parse().ok());
                let mut numbers: Vec<i64> = numbers.collect::<Option<_>>()?;
                numbers.sort_unstable();
                Some(numbers)
            };
            if let (Some(old), Some(own)) = (numbers(written), numbers(own))
                && old.len() == own.len()
            {
                let pairs = own.into_iter().zip(old).filter(|(own, old)| own != old);
                all.insert((table, key.as_str()), pairs.collect());
            }
        }
        Self(all)
    }

    fn back(&self, of: (&TableName, &String), value: Option<&String>) -> Option<String> {
        let value = value?;
        let renamed = self.0.get(&(of.0, of.1.as_str()));
        let number = renamed.and_then(|all| all.get(&value.parse().ok()?));
        Some(number.map_or_else(|| value.clone(), ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::written::WrittenColumn;

    /// Orders with the columns `id`, `note`, `at`.
    fn orders(rows: &[(i64, &str, &str)]) -> Tables {
        let column = |type_name: &str, values: Vec<&str>| WrittenColumn {
            type_name: type_name.to_owned(),
            refers_to: None,
            before: Some(0),
            values: Some(
                values
                    .into_iter()
                    .map(|value| (!value.is_empty()).then(|| value.to_owned()))
                    .collect(),
            ),
        };
        let ids: Vec<String> = rows.iter().map(|row| row.0.to_string()).collect();
        let columns = [
            (
                "id",
                column("bigint", ids.iter().map(String::as_str).collect()),
            ),
            (
                "note",
                column("text", rows.iter().map(|row| row.1).collect()),
            ),
            (
                "at",
                column("timestamp", rows.iter().map(|row| row.2).collect()),
            ),
        ];
        let written = Written {
            rows: rows.len() as u64,
            key: vec!["id".to_owned()],
            touched_keys: Some(0),
            columns: columns
                .map(|(name, column)| (name.to_owned(), column))
                .into(),
            ..Written::default()
        };
        BTreeMap::from([(TableName::new("public", "orders"), written)])
    }

    fn found(candidate: &[(i64, &str, &str)]) -> Vec<String> {
        let sides = [
            orders(&[(7, "a", "10:00"), (8, "b", "10:01")]),
            orders(&[(7, "b", "11:00"), (8, "a", "11:01")]),
            orders(candidate),
        ];
        let findings = compare(&sides);
        findings.iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn rows_are_compared_in_what_is_no_noise() {
        let none: [String; 0] = [];
        assert_eq!(found(&[(7, "a", "12:00"), (8, "b", "12:01")]), none);
        // A sequence that stands elsewhere.
        assert_eq!(found(&[(9, "a", "12:00"), (11, "b", "12:01")]), none);
        let error = "error[api/rows-differ] ";
        for (rows, message) in [
            (
                &[(7, "a", "12:00")][..],
                "table public.orders: rows that were added or changed: there were 2 and are 1",
            ),
            (
                &[(7, "a", "1"), (8, "", "2")],
                "column public.orders.note: in the rows that were written, 'b' became NULL",
            ),
            (
                &[(7, "a", "1"), (8, "b", "")],
                "column public.orders.at: in the rows that were written, '10:00' became NULL",
            ),
        ] {
            assert_eq!(found(rows), [format!("{error}{message}")]);
        }
    }
}
