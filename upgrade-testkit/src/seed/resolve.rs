//! From drawn cells to a row: keys of parents, and relations between columns. Pure.

use super::check::Op;
use super::keys::{Pool, decided};
use super::plan::{Cell, TablePlan};
use super::types::compare;
use super::value::SqlValue;

/// A row on its way: nothing where the column is left to its default.
pub(crate) type Cells = Vec<Option<SqlValue>>;

/// Why drawn cells make no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// Other cells may do.
    Again { part: String, reason: String },
    /// No cells will do any more: each key is used, or there is none.
    Exhausted {
        part: String,
        reason: String,
        none_ever: bool,
    },
}

/// A row, and the places of the keys that it took from each pool.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) cells: Cells,
    pub(crate) places: Vec<Option<usize>>,
    pub(crate) way: usize,
}

/// Completes a row: `picks` and `pools` go with the plan's keys, one each; `even` gives every parent
/// the same chance.
pub(crate) fn resolve(
    plan: &TablePlan,
    way: usize,
    mut cells: Cells,
    picks: &[u64],
    even: bool,
    pools: &[Pool],
) -> Result<Resolved, Reject> {
    let mut places = vec![None; plan.keys.len()];
    for (at, pool) in pools.iter().enumerate() {
        places[at] = copy_key(plan, way, at, &mut cells, (picks[at], even), pool)?;
    }
    relate(plan, way, &mut cells)?;
    Ok(Resolved { cells, places, way })
}

fn copy_key(
    plan: &TablePlan,
    way: usize,
    at: usize,
    cells: &mut Cells,
    (pick, even): (u64, bool),
    pool: &Pool,
) -> Result<Option<usize>, Reject> {
    let key_plan = &plan.keys[at];
    let key = &plan.table.foreign_keys[key_plan.at];
    let null_of_way = |column: usize| plan.ways[way].null[column];
    let open: Vec<usize> = key
        .columns
        .iter()
        .copied()
        .filter(|column| cells[*column].is_none())
        .collect();
    if open.is_empty() {
        return Ok(None);
    }
    let nullable: Vec<usize> = open
        .iter()
        .copied()
        .filter(|column| {
            !plan.table.columns[*column].required() && null_of_way(*column) != Some(false)
        })
        .collect();
    let nullable = if key.full && nullable.len() < key.columns.len() {
        Vec::new()
    } else {
        nullable
    };
    let must = nullable
        .iter()
        .any(|column| null_of_way(*column) == Some(true));
    let given = decided(key, |column| cells[column].as_ref());
    let (given, null_given) = match given {
        Ok(given) => (given, false),
        Err(()) => (vec![None; key.columns.len()], true),
    };
    let own = || own_key(plan, at, cells);
    // The low bits choose NULL, the rest a key.
    let wants_null = must || null_given || plan.distribution.is_null(pick) && !nullable.is_empty();
    let pick = plan.distribution.key(pick);
    let itself = if key_plan.to_self && (pool.is_empty() || pick.is_multiple_of(4)) {
        own()
    } else {
        None
    };
    let chosen = match itself {
        Some(_) => None,
        None => pool.choose(&given, pick, even),
    };
    let values: Option<Vec<String>> =
        itself.or_else(|| chosen.map(|place| pool.key(place).to_vec()));
    let set_null = wants_null && (!nullable.is_empty() || null_given)
        || values.is_none() && !nullable.is_empty();
    for (column, position) in key.columns.iter().zip(0..) {
        if cells[*column].is_some() {
            continue;
        }
        cells[*column] = Some(match &values {
            _ if set_null && nullable.contains(column) => SqlValue::Null,
            Some(values) => SqlValue::Text(values[position].clone()),
            None => return Err(no_key(key, pool, &given)),
        });
    }
    Ok(if set_null { None } else { chosen })
}

/// The row's own key, as far as it is known before the insert.
fn own_key(plan: &TablePlan, at: usize, cells: &Cells) -> Option<Vec<String>> {
    referenced(plan, at, cells)
}

/// The columns that a key to the same table refers to, of this row.
pub(crate) fn referenced(plan: &TablePlan, at: usize, cells: &Cells) -> Option<Vec<String>> {
    let names = &plan.table.foreign_keys[plan.keys[at].at].referenced;
    let place = |name: &String| {
        plan.table
            .columns
            .iter()
            .position(|column| column.name == *name)
    };
    names
        .iter()
        .map(|name| Some(cells[place(name)?].as_ref()?.as_text()?.to_owned()))
        .collect()
}

fn no_key(key: &super::schema::ForeignKey, pool: &Pool, given: &[Option<String>]) -> Reject {
    let part = format!("foreign key `{}`", key.name);
    if !pool.had_keys() {
        let reason = format!("{} has no row to refer to", key.target);
        return Reject::Exhausted {
            part,
            reason,
            none_ever: true,
        };
    }
    if pool.is_empty() {
        let reason = format!("every row of {} is referred to already", key.target);
        return Reject::Exhausted {
            part,
            reason,
            none_ever: false,
        };
    }
    let given: Vec<&str> = given.iter().flatten().map(String::as_str).collect();
    Reject::Again {
        part,
        reason: format!("no row of {} goes with {}", key.target, given.join(", ")),
    }
}

/// Makes `a < b` and the like true: by swapping two drawn cells, or by copying one for equality.
fn relate(plan: &TablePlan, way: usize, cells: &mut Cells) -> Result<(), Reject> {
    for (left, op, right) in &plan.ways[way].relations {
        let (left, right) = (*left, *right);
        let columns = &plan.table.columns;
        let ty = &columns[left].ty;
        if *ty != columns[right].ty {
            continue;
        }
        let order = |cells: &Cells| {
            let a = cells[left].as_ref()?.as_text()?;
            let b = cells[right].as_ref()?.as_text()?;
            let by_type = compare(ty, a, b);
            if matches!(op, Op::Eq | Op::Ne) {
                Some(by_type.unwrap_or_else(|| a.cmp(b)))
            } else {
                by_type
            }
        };
        let holds = |cells: &Cells| order(cells).is_none_or(|order| op.holds(order));
        if holds(cells) {
            continue;
        }
        let drawn = |column: usize| plan.cells[column] == Cell::Drawn;
        if *op == Op::Eq && drawn(right) {
            cells[right] = cells[left].clone();
        } else if drawn(left) && drawn(right) {
            cells.swap(left, right);
        }
        if !holds(cells) {
            let part = format!("`{}` and `{}`", columns[left].name, columns[right].name);
            return Err(Reject::Again {
                part,
                reason: "they must be related otherwise".to_owned(),
            });
        }
    }
    Ok(())
}
