//! In which order tables can be filled. Pure.
//!
//! Parents before children. Where foreign keys form a cycle, some are postponed: the column is NULL
//! (or, if the key can be deferred, holds a stand-in) until both tables are full.

use std::collections::BTreeSet;

/// A foreign key as an edge; both ends are positions of tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) child: usize,
    pub(crate) parent: usize,
    pub(crate) breakable: Breakable,
}

/// Whether the child can be filled before its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breakable {
    /// It can be NULL at first.
    Null,
    /// It can be deferred.
    Defer,
    No,
}

/// A table to fill, and which of its edges wait until all are filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) table: usize,
    /// Positions in the list of edges.
    pub(crate) postponed: Vec<usize>,
}

/// Orders `tables`, which also breaks ties; the error holds the tables of a cycle that cannot be
/// broken. Edges to tables that are not listed, and of a table to itself, order nothing.
pub(crate) fn order(tables: &[usize], edges: &[Edge]) -> Result<Vec<Step>, Vec<usize>> {
    let mut open: BTreeSet<usize> = tables.iter().copied().collect();
    let mut steps = Vec::new();
    while !open.is_empty() {
        let waits = |table: usize| -> Vec<usize> {
            let blocks = |edge: &Edge| {
                edge.child == table && edge.parent != table && open.contains(&edge.parent)
            };
            (0..edges.len()).filter(|at| blocks(&edges[*at])).collect()
        };
        let in_order = || tables.iter().copied().filter(|table| open.contains(table));
        let step = match in_order().find(|table| waits(*table).is_empty()) {
            Some(table) => Step {
                table,
                postponed: Vec::new(),
            },
            None => {
                // The table on a cycle that asks for the least: fewest deferred keys, then fewest keys.
                let breakable = |table: &usize| {
                    let waiting = waits(*table);
                    let all = waiting.iter().all(|at| {
                        edges[*at].breakable != Breakable::No
                            && reaches(edges[*at].parent, *table, edges, &open)
                    });
                    let deferred = waiting
                        .iter()
                        .filter(|at| edges[**at].breakable == Breakable::Defer)
                        .count();
                    all.then_some((deferred, waiting.len()))
                };
                let best = in_order()
                    .filter_map(|table| Some((breakable(&table)?, table)))
                    .min_by_key(|(cost, _)| *cost);
                let Some((_, table)) = best else {
                    let on_cycle = |table: &usize| {
                        waits(*table)
                            .iter()
                            .any(|at| reaches(edges[*at].parent, *table, edges, &open))
                    };
                    return Err(in_order().filter(on_cycle).collect());
                };
                Step {
                    table,
                    postponed: waits(table),
                }
            }
        };
        open.remove(&step.table);
        steps.push(step);
    }
    Ok(steps)
}

/// Whether following foreign keys leads from one table to another, within `open`.
fn reaches(from: usize, to: usize, edges: &[Edge], open: &BTreeSet<usize>) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(table) = next.pop() {
        if table == to {
            return true;
        }
        if open.contains(&table) && seen.insert(table) {
            next.extend(
                edges
                    .iter()
                    .filter(|edge| edge.child == table)
                    .map(|edge| edge.parent),
            );
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::Breakable::{Defer, No, Null};
    use super::*;

    fn edges(list: &[(usize, usize, Breakable)]) -> Vec<Edge> {
        list.iter()
            .map(|&(child, parent, breakable)| Edge {
                child,
                parent,
                breakable,
            })
            .collect()
    }

    #[test]
    fn orders() {
        type Expected = Result<Vec<(usize, Vec<usize>)>, Vec<usize>>;
        let cases: [(&str, usize, Vec<Edge>, Expected); 8] = [
            (
                "nothing refers",
                2,
                edges(&[]),
                Ok(vec![(0, vec![]), (1, vec![])]),
            ),
            (
                "parents first",
                3,
                edges(&[(0, 2, No), (2, 1, No)]),
                Ok(vec![(1, vec![]), (2, vec![]), (0, vec![])]),
            ),
            ("itself", 1, edges(&[(0, 0, No)]), Ok(vec![(0, vec![])])),
            ("elsewhere", 1, edges(&[(0, 7, No)]), Ok(vec![(0, vec![])])),
            (
                "cycle by NULL",
                2,
                edges(&[(0, 1, No), (1, 0, Null)]),
                Ok(vec![(1, vec![1]), (0, vec![])]),
            ),
            (
                "NULL before deferred",
                2,
                edges(&[(0, 1, Defer), (1, 0, Null)]),
                Ok(vec![(1, vec![1]), (0, vec![])]),
            ),
            (
                "only a key on the cycle waits",
                3,
                edges(&[(0, 1, Null), (1, 2, No), (2, 1, Null)]),
                Ok(vec![(2, vec![2]), (1, vec![]), (0, vec![])]),
            ),
            (
                "hopeless",
                3,
                edges(&[(0, 1, No), (1, 0, No), (2, 0, No)]),
                Err(vec![0, 1]),
            ),
        ];
        for (name, tables, edges, expected) in cases {
            let tables: Vec<usize> = (0..tables).collect();
            let steps = order(&tables, &edges).map(|steps| {
                steps
                    .into_iter()
                    .map(|step| (step.table, step.postponed))
                    .collect()
            });
            assert_eq!(steps, expected, "{name}");
        }
    }
}
