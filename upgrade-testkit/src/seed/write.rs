//! Writes as users make them: some rows deleted, some changed, some added.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::change::{BATCH, Place, choose, delete, set};
use super::choices::Choices;
use super::drawer::{Drawer, Given, Stop};
use super::error::{Doing as _, SeedError};
use super::plan::{Cell, TablePlan};
use super::report::SeedReport;
use super::schema::{self, Schema, Table, quote};
use super::seeder::{Resolved, Seeder, TableRows};
use super::value::{Row, SqlValue};

/// At most one row in this many is deleted.
const DELETE_IN: u64 = 4;

/// What happened to the rows that a table had.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changed {
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
    pub(crate) refused: u64,
}

impl Seeder {
    /// Writes to every table as users would: deletes some rows, changes some, and adds
    /// [`rows`](Self::rows).
    ///
    /// - Deleted are rows that no other refers to, [`deletes`](Self::deletes) of each table, but at
    ///   most a quarter of its rows. Children go before parents.
    /// - Changed are [`updates`](Self::updates) rows of each table: every column that neither a
    ///   unique index nor a foreign key nor an exclusion constraint covers gets another value. Tables
    ///   that have no such column, or whose rows the database refuses to change, keep their rows;
    ///   the report counts what was refused.
    /// - Added are rows as [`fill`](Self::fill) adds them.
    ///
    /// The same data, seed and options give the same writes. Tables whose rows are
    /// [supplied](Self::table) as a fixed list are left as they are.
    ///
    /// # Errors
    /// As [`fill`](Self::fill); the database is then as it was before.
    pub async fn write(&self, conn: &mut PgConnection) -> Result<SeedReport, SeedError> {
        let mut transaction = conn
            .begin()
            .await
            .doing(|| "begin a transaction".to_owned())?;
        let report = Box::pin(self.write_all(&mut transaction)).await?;
        transaction
            .commit()
            .await
            .doing(|| "commit the written rows".to_owned())?;
        Ok(report)
    }

    async fn write_all(&self, conn: &mut PgConnection) -> Result<SeedReport, SeedError> {
        self.prepare(conn).await?;
        let schema = schema::read(conn).await?;
        let mut options = self.resolve(&schema)?;
        let fixed: BTreeSet<usize> = options
            .tables
            .iter()
            .filter(|(_, rows)| matches!(rows, TableRows::Fixed(_)))
            .map(|(at, _)| *at)
            .collect();
        for at in &fixed {
            options.tables.remove(at);
            options.rows.insert(*at, 0);
        }
        let mut report = SeedReport::default();
        let (steps, _) = self.order(&schema, &options, &mut report)?;
        let tables = || {
            steps
                .iter()
                .map(|step| step.table)
                .filter(|at| !fixed.contains(at))
        };
        let mut changes: BTreeMap<usize, Changed> = BTreeMap::new();
        for at in tables().collect::<Vec<_>>().into_iter().rev() {
            let changed = changes.entry(at).or_default();
            self.delete_some(conn, &schema, at, changed).await?;
        }
        for at in tables() {
            let changed = changes.entry(at).or_default();
            self.update_some(conn, &schema, &options, at, changed)
                .await?;
        }
        let mut report = self.insert_all(conn, &schema, &options).await?;
        for (at, changed) in changes {
            report.add(&schema.tables[at].label(), changed);
        }
        Ok(report)
    }

    /// A number that only this seed, table and purpose have.
    pub(crate) fn salt(&self, table: &Table, purpose: &str) -> u64 {
        Choices::named(self.seed, &[&table.label(), purpose]).bits()
    }

    async fn delete_some(
        &self,
        conn: &mut PgConnection,
        schema: &Schema,
        at: usize,
        changed: &mut Changed,
    ) -> Result<(), SeedError> {
        let table = &schema.tables[at];
        let wanted = self.deletes.unwrap_or(self.rows);
        if wanted == 0 {
            return Ok(());
        }
        let most = wanted.min(count(conn, table).await? / DELETE_IN);
        if most == 0 {
            return Ok(());
        }
        let condition = unreferenced(schema, at);
        let salt = self.salt(table, "delete");
        let chosen = choose(conn, table, &[], &condition, Some(salt), most).await?;
        let places: Vec<Place> = chosen.into_iter().map(|(place, _)| place).collect();
        for batch in places.chunks(BATCH) {
            if let Ok(deleted) = delete(conn, table, batch).await? {
                changed.deleted += deleted;
                continue;
            }
            for place in batch {
                match delete(conn, table, std::slice::from_ref(place)).await? {
                    Ok(deleted) => changed.deleted += deleted,
                    Err(refusal) => {
                        refusal.must_depend_on_values(table)?;
                        changed.refused += 1;
                    }
                }
            }
        }
        Ok(())
    }

    async fn update_some(
        &self,
        conn: &mut PgConnection,
        schema: &Schema,
        options: &Resolved,
        at: usize,
        changed: &mut Changed,
    ) -> Result<(), SeedError> {
        let table = &schema.tables[at];
        let mut plan = self.plan(
            schema,
            options,
            at,
            &(0..table.foreign_keys.len()).collect::<Vec<_>>(),
        );
        let columns = keep_keys(&mut plan);
        let wanted = self.updates.unwrap_or(self.rows);
        if columns.is_empty() || wanted == 0 {
            return Ok(());
        }
        let kept: Vec<usize> = (0..table.columns.len())
            .filter(|at| !columns.contains(at))
            .collect();
        let salt = self.salt(table, "update");
        let chosen = choose(conn, table, &kept, "true", Some(salt), wanted).await?;
        let rows: VecDeque<Row> = chosen
            .iter()
            .map(|(_, cells)| {
                let names = kept.iter().map(|at| table.columns[*at].name.clone());
                names.zip(cells.iter().cloned()).collect()
            })
            .collect();
        let mut drawer = Drawer::new(
            salt,
            0,
            plan,
            Vec::new(),
            Given::Fixed(rows),
            BTreeMap::new(),
        );
        let mut update = Update {
            table,
            columns,
            tries: self.tries,
        };
        let places: Vec<Place> = chosen.into_iter().map(|(place, _)| place).collect();
        for batch in places.chunks(BATCH) {
            update.send(conn, &mut drawer, batch, changed).await?;
        }
        Ok(())
    }
}

/// Changes some rows of one table.
struct Update<'a> {
    table: &'a Table,
    columns: Vec<usize>,
    tries: u32,
}

impl Update<'_> {
    async fn send(
        &mut self,
        conn: &mut PgConnection,
        drawer: &mut Drawer,
        places: &[Place],
        changed: &mut Changed,
    ) -> Result<(), SeedError> {
        let mut rows = Vec::new();
        for place in places {
            let base = drawer.next_base();
            match drawer.draw(base) {
                Ok(row) => rows.push((place, row)),
                Err(Stop::Reject(_)) => changed.refused += 1,
                Err(Stop::Error(error)) => return Err(*error),
            }
        }
        let all: Vec<(&Place, Vec<&SqlValue>)> = rows
            .iter()
            .filter_map(|(place, row)| Some((*place, self.cells(&row.cells)?)))
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        if let Ok(updated) = set(conn, self.table, &self.columns, &all).await? {
            changed.updated += updated;
            return Ok(());
        }
        for (place, mut row) in rows {
            for tries in 1..=self.tries {
                let Some(cells) = self.cells(&row.cells) else {
                    break;
                };
                match set(conn, self.table, &self.columns, &[(place, cells)]).await? {
                    Ok(updated) => {
                        changed.updated += updated;
                        break;
                    }
                    Err(refusal) => {
                        refusal.must_depend_on_values(self.table)?;
                        if tries == self.tries {
                            changed.refused += 1;
                        }
                    }
                }
                match drawer.draw(row.again(false)) {
                    Ok(other) => row = other,
                    Err(Stop::Reject(_)) => {
                        changed.refused += 1;
                        break;
                    }
                    Err(Stop::Error(error)) => return Err(*error),
                }
            }
        }
        Ok(())
    }

    /// The cells to set; nothing if one of them is a default, which an update from values cannot name.
    fn cells<'b>(&self, cells: &'b [Option<SqlValue>]) -> Option<Vec<&'b SqlValue>> {
        self.columns.iter().map(|at| cells[*at].as_ref()).collect()
    }
}

/// Leaves to the plan only the columns that no key covers, and gives them.
fn keep_keys(plan: &mut TablePlan) -> Vec<usize> {
    let table = &plan.table;
    let covered: BTreeSet<usize> = table
        .foreign_keys
        .iter()
        .flat_map(|key| &key.columns)
        .chain(&table.indexed_uniquely)
        .chain(&table.excluding)
        .copied()
        .collect();
    let free: Vec<usize> = (0..table.columns.len())
        .filter(|at| plan.cells[*at] == Cell::Drawn && !covered.contains(at))
        .collect();
    for at in 0..plan.cells.len() {
        if !free.contains(&at) {
            plan.cells[at] = Cell::Omitted;
        }
    }
    plan.table.unique.clear();
    free
}

/// That no row refers to `r`.
fn unreferenced(schema: &Schema, at: usize) -> String {
    let mut conditions = vec!["true".to_owned()];
    for child in &schema.tables {
        for key in child
            .foreign_keys
            .iter()
            .filter(|key| key.parent == Some(at))
        {
            let same: Vec<String> = key
                .columns
                .iter()
                .zip(&key.referenced)
                .map(|(column, referenced)| {
                    let column = quote(&child.columns[*column].name);
                    format!("c.{column} = r.{}", quote(referenced))
                })
                .collect();
            conditions.push(format!(
                "NOT EXISTS (SELECT FROM {} AS c WHERE {})",
                child.sql(),
                same.join(" AND ")
            ));
        }
    }
    conditions.join(" AND ")
}

pub(crate) async fn count(conn: &mut PgConnection, table: &Table) -> Result<u64, SeedError> {
    let query = format!("SELECT count(*) FROM {}", table.sql());
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(query))
        .persistent(false)
        .fetch_one(conn)
        .await
        .doing(|| format!("count the rows of `{}`", table.label()))?;
    Ok(count.unsigned_abs())
}
