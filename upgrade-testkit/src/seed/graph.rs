//! In which order tables can be filled. Pure.
//!
//! Parents before children. Where foreign keys form a cycle, some are postponed: the column is NULL
//! (or, if the key can be deferred, holds a stand-in) until both tables are full.

use std::collections::{BTreeMap, BTreeSet};

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
    let mut graph = Graph::new(tables, edges);
    let mut steps = Vec::new();
    while !graph.open.is_empty() {
        let step = match graph.ready.pop_first() {
            Some((_, table)) => Step {
                table,
                postponed: Vec::new(),
            },
            None => graph.broken()?,
        };
        graph.close(step.table);
        steps.push(step);
    }
    Ok(steps)
}

/// The tables that are not ordered yet.
struct Graph<'a> {
    edges: &'a [Edge],
    /// Their places in the list that breaks ties.
    open: BTreeMap<usize, usize>,
    /// Of those, the tables that wait for none, by place.
    ready: BTreeSet<(usize, usize)>,
    /// Edges by child and by parent.
    of_child: BTreeMap<usize, Vec<usize>>,
    of_parent: BTreeMap<usize, Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(tables: &[usize], edges: &'a [Edge]) -> Self {
        let open: BTreeMap<usize, usize> = tables.iter().copied().zip(0..).collect();
        let mut of_child: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut of_parent: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, edge) in edges.iter().enumerate() {
            if edge.child != edge.parent {
                of_child.entry(edge.child).or_default().push(at);
                of_parent.entry(edge.parent).or_default().push(at);
            }
        }
        let mut graph = Self {
            edges,
            open,
            ready: BTreeSet::new(),
            of_child,
            of_parent,
        };
        for table in tables {
            graph.look_at(*table);
        }
        graph
    }

    /// The edges for which a table waits.
    fn waits(&self, table: usize) -> Vec<usize> {
        let edges = self.of_child.get(&table).into_iter().flatten().copied();
        edges
            .filter(|at| self.open.contains_key(&self.edges[*at].parent))
            .collect()
    }

    fn look_at(&mut self, table: usize) {
        if let Some(place) = self.open.get(&table).copied()
            && self.waits(table).is_empty()
        {
            self.ready.insert((place, table));
        }
    }

    fn close(&mut self, table: usize) {
        self.open.remove(&table);
        let children = self.of_parent.get(&table).cloned().unwrap_or_default();
        for at in children {
            self.look_at(self.edges[at].child);
        }
    }

    /// The table on a cycle that asks for the least: fewest deferred keys, then fewest keys.
    fn broken(&self) -> Result<Step, Vec<usize>> {
        let mut in_order: Vec<(usize, usize)> = self.open.iter().map(|(t, p)| (*p, *t)).collect();
        in_order.sort_unstable();
        let cost = |table: usize| {
            let waiting = self.waits(table);
            let all = waiting.iter().all(|at| {
                self.edges[*at].breakable != Breakable::No
                    && self.reaches(self.edges[*at].parent, table)
            });
            let deferred = waiting
                .iter()
                .filter(|at| self.edges[**at].breakable == Breakable::Defer)
                .count();
            all.then_some((deferred, waiting.len()))
        };
        let best = in_order
            .iter()
            .filter_map(|(_, table)| Some((cost(*table)?, *table)))
            .min_by_key(|(cost, _)| *cost);
        if let Some((_, table)) = best {
            return Ok(Step {
                table,
                postponed: self.waits(table),
            });
        }
        let on_cycle = |table: &usize| {
            let waiting = self.waits(*table);
            waiting
                .iter()
                .any(|at| self.reaches(self.edges[*at].parent, *table))
        };
        let tables = in_order.into_iter().map(|(_, table)| table);
        Err(tables.filter(on_cycle).collect())
    }

    /// Whether following foreign keys leads from one table to another, over open ones.
    fn reaches(&self, from: usize, to: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(table) = next.pop() {
            if table == to {
                return true;
            }
            if self.open.contains_key(&table) && seen.insert(table) {
                let edges = self.of_child.get(&table).into_iter().flatten();
                next.extend(edges.map(|at| self.edges[*at].parent));
            }
        }
        false
    }
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
