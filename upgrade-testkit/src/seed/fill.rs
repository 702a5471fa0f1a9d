//! Fills all tables, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::error::{Doing as _, SeedError};
use super::graph::{Breakable, Edge, Step, order};
use super::plan::{Making, TablePlan, breakable, free_columns};
use super::postponed::Postponed;
use super::report::{EmptyTable, LeftOut, SeedReport};
use super::schema::{self, Schema};
use super::seeder::{Lenient, Resolved, Seeder};
use super::table_fill::TableFill;
use super::types::Options;
use super::write::count;

/// The text form of values must not depend on the database's settings, for keys are read back as text.
/// Compiling the queries of the catalog takes up to a second, and running them some milliseconds.
const SETTINGS: &str = "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; \
    SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; \
    SET LOCAL lc_monetary = 'C'; SET LOCAL jit = off; SET CONSTRAINTS ALL IMMEDIATE; SELECT txid_current()";

/// The longest text of an indexed column: a key has to fit, also one of some columns.
const INDEXED: usize = 600;

/// A key that waits: table and position among its keys.
type Waiting = (usize, usize);

impl Seeder {
    /// Fills every table of the database, except those left out.
    ///
    /// # Errors
    /// [`SeedError`] names the option, table, column or constraint at fault and what to do; the
    /// database is then as it was before.
    pub async fn fill(&self, conn: &mut PgConnection) -> Result<SeedReport, SeedError> {
        let mut transaction = conn
            .begin()
            .await
            .doing(|| "begin a transaction".to_owned())?;
        let report = Box::pin(self.fill_all(&mut transaction)).await?;
        transaction
            .commit()
            .await
            .doing(|| "commit the seeded rows".to_owned())?;
        Ok(report)
    }

    async fn fill_all(&self, conn: &mut PgConnection) -> Result<SeedReport, SeedError> {
        self.prepare(conn).await?;
        let schema = schema::read(conn).await?;
        let options = self.resolve(&schema)?;
        self.insert_all(conn, &schema, &options).await
    }

    pub(crate) async fn prepare(&self, conn: &mut PgConnection) -> Result<(), SeedError> {
        sqlx::raw_sql(SETTINGS)
            .execute(&mut *conn)
            .await
            .map(drop)
            .doing(|| "prepare the transaction".to_owned())?;
        for (name, value) in &self.settings {
            sqlx::query("SELECT set_config($1, $2, true)")
                .bind(name)
                .bind(value)
                .execute(&mut *conn)
                .await
                .doing(|| format!("set `{name}` for the seeder's session"))?;
        }
        Ok(())
    }

    /// Adds rows to all tables, parents first.
    pub(crate) async fn insert_all(
        &self,
        conn: &mut PgConnection,
        schema: &Schema,
        options: &Resolved,
    ) -> Result<SeedReport, SeedError> {
        let mut report = SeedReport::default();
        // Why a table that has no rows in the end has none, and what to do about it.
        let mut causes: BTreeMap<usize, (String, String, bool)> = BTreeMap::new();
        for (at, skipped) in &options.skipped {
            report.left_out.push(LeftOut {
                object: schema.tables[*at].label(),
                reason: skipped.reason.clone(),
            });
            if let Some(help) = &skipped.help {
                causes.insert(*at, (skipped.reason.clone(), help.clone(), false));
            }
        }
        let (steps, waiting) = self.order(schema, options, &mut report)?;
        for (table, key) in &waiting {
            let key = &schema.tables[*table].foreign_keys[*key];
            if self.breakable(schema, options, *table, key) == Breakable::Defer {
                let name = format!(
                    "{}.{}",
                    schema::quote(&key.schema),
                    schema::quote(&key.name)
                );
                let statement = format!("SET CONSTRAINTS {name} DEFERRED");
                let deferred = conn.execute(AssertSqlSafe(statement)).await;
                deferred.doing(|| format!("defer the constraint `{}`", key.name))?;
            }
        }
        let mut filled = BTreeSet::new();
        for step in &steps {
            let postponed: Vec<usize> = waiting
                .iter()
                .filter(|(t, _)| *t == step.table)
                .map(|(_, key)| *key)
                .collect();
            let plan = self.plan(schema, options, step.table, &postponed);
            for (column, reason) in &plan.left_out {
                let object = format!("{}.{column}", plan.table.label());
                report.left_out.push(LeftOut {
                    object,
                    reason: reason.clone(),
                });
            }
            let label = plan.table.label();
            let wanted = options.rows.get(&step.table).copied().unwrap_or(self.rows);
            let table = TableFill {
                seeder: self,
                plan,
                wanted,
                rows: options.tables.get(&step.table),
            };
            let filling = match &schema.tables[step.table].forbidden {
                Some(privilege) if wanted > 0 => Err(SeedError::Forbidden {
                    table: label.clone(),
                    role: schema.role.clone(),
                    privilege: privilege.clone(),
                }),
                _ => table.fill(conn, &mut report).await,
            };
            match filling {
                Ok(()) => drop(filled.insert(step.table)),
                Err(error) => {
                    let table = &schema.tables[step.table];
                    if !self.tolerates(conn, table, &error).await? {
                        return Err(error);
                    }
                    report.left_out.push(LeftOut {
                        object: label,
                        reason: error.to_string(),
                    });
                    let (reason, help) = error.reason_and_help();
                    causes.insert(step.table, (reason, help, true));
                }
            }
        }
        for (table, key) in &waiting {
            if filled.contains(table) {
                self.set_waiting(conn, schema, options, (*table, *key), &mut report)
                    .await?;
            }
        }
        let checked = conn.execute("SET CONSTRAINTS ALL IMMEDIATE").await;
        checked.doing(|| "satisfy the constraints that were deferred".to_owned())?;
        let tables: BTreeMap<String, &schema::Table> =
            schema.tables.iter().map(|t| (t.label(), t)).collect();
        let mut filled = BTreeSet::new();
        for report in &mut report.tables {
            if let Some(table) = tables.get(&report.table) {
                report.total = count(conn, table).await?;
                if report.total > 0 {
                    filled.insert(report.table.clone());
                }
            }
        }
        for (at, table) in schema.tables.iter().enumerate() {
            let books = options.skipped.get(&at).is_some_and(|s| s.help.is_none());
            if books || filled.contains(&table.label()) {
                continue;
            }
            let known = report.table(&table.label()).is_some();
            if !known && (table.forbidden.is_some() || count(conn, table).await? > 0) {
                continue;
            }
            let (reason, help, refused) = causes.remove(&at).unwrap_or_else(|| {
                let left_out = report.left_out.iter();
                let mut of_table = left_out.filter(|item| item.object == table.label());
                if let Some(LeftOut { reason, .. }) = of_table.next() {
                    let help = "make one of the foreign keys DEFERRABLE or nullable".to_owned();
                    return (reason.clone(), help, true);
                }
                let short = report.table(&table.label()).and_then(|t| t.short.clone());
                let reason = short.unwrap_or_else(|| "no rows were asked for".to_owned());
                let label = table.label();
                let help = format!(
                    "ask for rows with `.table_rows(\"{label}\", n)`, or supply them with `.table(\"{label}\", rows)`"
                );
                (reason, help, false)
            });
            report.empty.push(EmptyTable {
                schema: table.schema.clone(),
                name: table.name.clone(),
                reason,
                help,
                refused,
            });
        }
        report.left_out.sort();
        Ok(report)
    }

    /// Whether a table may go without rows for a reason.
    async fn tolerates(
        &self,
        conn: &mut PgConnection,
        table: &schema::Table,
        error: &SeedError,
    ) -> Result<bool, SeedError> {
        let of_table = matches!(
            error,
            SeedError::CannotFill { .. }
                | SeedError::CannotFillColumn { .. }
                | SeedError::Forbidden { .. }
                | SeedError::Draw { .. }
        );
        Ok(of_table
            && match self.lenient {
                Lenient::Never => false,
                Lenient::Always => true,
                Lenient::WhereEmpty => table.forbidden.is_none() && count(conn, table).await? == 0,
            })
    }

    pub(crate) fn plan(
        &self,
        schema: &Schema,
        options: &Resolved,
        at: usize,
        postponed: &[usize],
    ) -> TablePlan {
        let none = BTreeMap::new();
        let distribution = options.distributions.get(&at).copied();
        TablePlan::make(&Making {
            own: at,
            table: &schema.tables[at],
            columns: options.columns.get(&at).unwrap_or(&none),
            postponed,
            options: Options {
                unicode: schema.unicode,
                extremes: self.extremes,
                long_in: 0,
                room: INDEXED,
                version: schema.version,
            },
            distribution: distribution.unwrap_or(self.distribution),
        })
    }

    fn breakable(
        &self,
        schema: &Schema,
        options: &Resolved,
        table: usize,
        key: &schema::ForeignKey,
    ) -> Breakable {
        let table_columns = &schema.tables[table];
        let at = table_columns
            .foreign_keys
            .iter()
            .position(|other| other.name == key.name);
        let none = BTreeMap::new();
        let columns = options.columns.get(&table).unwrap_or(&none);
        at.map_or(Breakable::No, |at| breakable(table_columns, at, columns))
    }

    /// The tables in order, and the keys that wait: those that break cycles, and nullable ones
    /// of a table to itself.
    pub(crate) fn order(
        &self,
        schema: &Schema,
        options: &Resolved,
        report: &mut SeedReport,
    ) -> Result<(Vec<Step>, Vec<Waiting>), SeedError> {
        let mut edges = Vec::new();
        let mut origin: Vec<Waiting> = Vec::new();
        let mut waiting = Vec::new();
        let none = BTreeMap::new();
        for (child, table) in schema.tables.iter().enumerate() {
            let columns = options.columns.get(&child).unwrap_or(&none);
            for (at, key) in table.foreign_keys.iter().enumerate() {
                let Some(parent) = key.parent else { continue };
                if key
                    .columns
                    .iter()
                    .all(|column| columns.contains_key(column))
                {
                    continue;
                }
                let breakable = breakable(table, at, columns);
                if parent == child
                    && breakable == Breakable::Null
                    && !options.skipped.contains_key(&child)
                {
                    waiting.push((child, at));
                }
                edges.push(Edge {
                    child,
                    parent,
                    breakable,
                });
                origin.push((child, at));
            }
        }
        let mut tables: Vec<usize> = (0..schema.tables.len())
            .filter(|at| !options.skipped.contains_key(at))
            .collect();
        loop {
            match order(&tables, &edges) {
                Ok(steps) => {
                    waiting.extend(
                        steps
                            .iter()
                            .flat_map(|step| &step.postponed)
                            .map(|edge| origin[*edge]),
                    );
                    return Ok((steps, waiting));
                }
                Err(cycle) => {
                    let names: Vec<String> =
                        cycle.iter().map(|at| schema.tables[*at].label()).collect();
                    let error = SeedError::Cycle {
                        tables: names.join(", "),
                    };
                    if self.lenient == Lenient::Never {
                        return Err(error);
                    }
                    let left_out = names.into_iter().map(|object| LeftOut {
                        object,
                        reason: error.to_string(),
                    });
                    report.left_out.extend(left_out);
                    tables.retain(|at| !cycle.contains(at));
                    waiting.retain(|(at, _)| !cycle.contains(at));
                }
            }
        }
    }

    async fn set_waiting(
        &self,
        conn: &mut PgConnection,
        schema: &Schema,
        options: &Resolved,
        (at, key_at): Waiting,
        report: &mut SeedReport,
    ) -> Result<(), SeedError> {
        let table = &schema.tables[at];
        let key = &table.foreign_keys[key_at];
        let none = BTreeMap::new();
        let columns = options.columns.get(&at).unwrap_or(&none);
        let deferred = breakable(table, key_at, columns) == Breakable::Defer;
        let mut free = free_columns(table, key_at, columns);
        if !deferred {
            free.retain(|column| !table.columns[*column].required());
        }
        let distribution = options.distributions.get(&at).copied();
        let postponed = Postponed {
            seed: self.seed,
            distribution: distribution.unwrap_or(self.distribution),
            table,
            key,
            free,
            deferred,
            to_self: key.parent == Some(at),
            exclusive: table
                .unique
                .iter()
                .any(|u| u.columns.iter().all(|column| key.columns.contains(column))),
        };
        let Some((count, refusal)) = postponed.set(conn).await? else {
            return Ok(());
        };
        if deferred {
            return Err(SeedError::CannotFill {
                table: table.label(),
                part: refusal.part,
                tries: 1,
                sqlstate: refusal.sqlstate,
                message: refusal.message,
                hint: format!(
                    "the deferred foreign key `{}` of {count} rows could not be set",
                    key.name
                ),
            });
        }
        let column = &table.columns[key.columns[0]].name;
        let reason = format!(
            "{count} rows kept NULL: {} refused: {}",
            refusal.part, refusal.message
        );
        report.left_out.push(LeftOut {
            object: format!("{}.{column}", table.label()),
            reason,
        });
        Ok(())
    }
}
