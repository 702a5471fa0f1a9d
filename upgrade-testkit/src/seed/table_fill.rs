//! Fills one table: draws rows, sends them in batches, finds and replaces the refused ones.

use std::collections::{BTreeMap, VecDeque};

use sqlx::{AssertSqlSafe, PgConnection};

use super::change::choose;
use super::choices::Choices;
use super::drawer::{Drawer, DrawnRow, Given, Stop};
use super::error::{Doing as _, SeedError};
use super::insert::{Refusal, Sending, or_refusal, release, setting_help};
use super::keys::Pool;
use super::plan::{Cell, TablePlan};
use super::postponed::{read_keys, used_keys};
use super::report::{SeedReport, TableReport};
use super::resolve::{Cells, Reject};
use super::schema::quote;
use super::seeder::{Seeder, TableRows};
use super::special::{self, Special};
use super::value::Row;
use super::write::count;

/// Rows in a batch, as long as none is refused.
const BATCH: usize = 5_000;
/// Cells in a batch: of a wide table, it has fewer rows.
const CELLS: usize = 60_000;
/// Rows drawn between two parts of a batch.
const AHEAD: usize = 500;
/// Rows whose CHECKs are asked for at once.
const CHECKED: usize = 500;
/// Copies of rows in a table.
const COPIES: u64 = 4;
/// For each copy, the rows of which one is chosen that can be copied with a small difference.
const SOURCES: u64 = 4;
/// Rows in a table that are NULL or at a limit, as long as not all of those are wanted.
const SPECIALS: u64 = 24;
/// How fast a batch grows again after refusals.
const GROWTH: usize = 4;

pub(crate) struct TableFill<'a> {
    pub(crate) seeder: &'a Seeder,
    pub(crate) plan: TablePlan,
    pub(crate) wanted: u64,
    pub(crate) rows: Option<&'a TableRows>,
}

/// A row that waits to be sent.
pub(super) struct Waiting {
    pub(super) row: DrawnRow,
    pub(super) tries: u32,
    /// Nothing that the server can be asked for is against it.
    pub(super) fresh: bool,
    /// What the row before it in this place violated, as an error names it.
    pub(super) violated: Option<String>,
}

/// What has happened so far.
pub(super) struct Progress {
    pub(super) left: u64,
    pub(super) inserted: u64,
    pub(super) refused: u64,
    pub(super) existing: u64,
    /// Rows that the server took and did not keep.
    pub(super) dropped: u64,
    /// A CHECK has refused a row: they are asked for from now on.
    pub(super) checking: bool,
    pub(super) short: Option<String>,
}

impl Progress {
    /// Whether a row just drawn can be sent without asking the server first.
    fn needs_no_question(&self, drawer: &Drawer) -> bool {
        drawer.is_fixed() || self.existing == 0 && !self.checking
    }
}

impl TableFill<'_> {
    /// Fills the table and adds it to the report, also when fewer rows than wanted found room.
    pub(crate) async fn fill(
        self,
        conn: &mut PgConnection,
        report: &mut SeedReport,
    ) -> Result<(), SeedError> {
        let label = self.plan.table.label();
        let existing = count(conn, &self.plan.table).await?;
        let (given, wanted) = match self.rows {
            None => (Given::Nothing, self.wanted),
            Some(TableRows::Fixed(rows)) => (
                Given::Fixed(rows.iter().cloned().collect()),
                rows.len() as u64,
            ),
            Some(TableRows::Drawn(strategy)) => (Given::Drawn(strategy.clone()), self.wanted),
        };
        let mut progress = Progress {
            left: wanted,
            inserted: 0,
            refused: 0,
            existing,
            dropped: 0,
            checking: false,
            short: None,
        };
        let mut wanted = wanted;
        if wanted > 0 {
            let all = matches!(given, Given::Nothing) && self.seeder.every_limit;
            let (specials, copies) = match &given {
                Given::Nothing if all => (special::every(&self.plan), COPIES),
                Given::Nothing => {
                    let copies = COPIES.min((wanted + 1) / 4);
                    let most = ((wanted - copies) / 2).min(SPECIALS);
                    (special::some(&self.plan, most as usize), copies)
                }
                Given::Fixed(_) | Given::Drawn(_) => (VecDeque::new(), 0),
            };
            if all {
                wanted += specials.len() as u64 + copies;
            }
            let pools = pools(conn, &self.plan, self.seeder.seed).await?;
            let sequences = self.sequences(conn, wanted).await?;
            let mut drawer = Drawer::new(
                self.seeder.seed,
                existing,
                self.plan.clone(),
                pools,
                given,
                sequences,
            );
            drawer.make_special(specials, !all);
            progress.left = wanted - copies;
            self.send(conn, &mut drawer, &mut progress).await?;
            if progress.short.is_none() && copies > 0 {
                self.copy(conn, &mut drawer, &mut progress, copies).await?;
                progress.left = wanted.saturating_sub(progress.inserted);
                self.send(conn, &mut drawer, &mut progress).await?;
            }
            self.look_for_dropped(conn, &mut progress).await?;
        }
        tracing::debug!(
            table = label,
            inserted = progress.inserted,
            refused = progress.refused,
            "seeded"
        );
        report.tables.push(TableReport {
            table: label,
            existing,
            wanted,
            inserted: progress.inserted,
            total: existing + progress.inserted,
            refused: progress.refused,
            short: progress.short,
            updated: 0,
            deleted: 0,
        });
        Ok(())
    }

    /// Adds copies of rows that the table has, as far as it takes them.
    async fn copy(
        &self,
        conn: &mut PgConnection,
        drawer: &mut Drawer,
        progress: &mut Progress,
        copies: u64,
    ) -> Result<(), SeedError> {
        let table = &self.plan.table;
        let columns: Vec<usize> = (0..table.columns.len())
            .filter(|at| matches!(self.plan.cells[*at], Cell::Drawn | Cell::Key | Cell::Null))
            .collect();
        if columns.is_empty() {
            return Ok(());
        }
        // Without a key, what identifies a row is all of it: a new column would choose other rows.
        let has_key = table.unique.iter().any(|unique| unique.primary);
        let salt = has_key.then(|| self.seeder.salt(table, "copy"));
        let chosen = choose(conn, table, &columns, "true", salt, copies * SOURCES).await?;
        let rows: Vec<Row> = chosen
            .into_iter()
            .map(|(_, cells)| {
                let names = columns.iter().map(|at| table.columns[*at].name.clone());
                names.zip(cells).collect()
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let specials = (0..copies as usize).map(|number| {
            let mut from = rows
                .iter()
                .cycle()
                .skip(number % rows.len())
                .take(rows.len());
            let first = &rows[number % rows.len()];
            let near = from.find(|row| special::copies_nearly(&self.plan, row, number));
            Special::Copy(near.unwrap_or(first).clone(), number)
        });
        drawer.make_special(specials.collect(), false);
        progress.left = copies;
        self.send(conn, drawer, progress).await?;
        // That there is no room for copies says nothing about other rows.
        progress.short = None;
        Ok(())
    }

    async fn send(
        &self,
        conn: &mut PgConnection,
        drawer: &mut Drawer,
        progress: &mut Progress,
    ) -> Result<(), SeedError> {
        let mut queue: VecDeque<Waiting> = VecDeque::new();
        let mut full = (CELLS / self.plan.table.columns.len().max(1)).clamp(1, BATCH);
        let mut batch = full;
        loop {
            self.draw(drawer, &mut queue, progress, batch)?;
            self.freshen(conn, drawer, &mut queue, progress).await?;
            let size = batch.min(queue.len());
            if size == 0 {
                return Ok(());
            }
            let cells: Vec<&Cells> = queue
                .iter()
                .take(size)
                .map(|waiting| &waiting.row.cells)
                .collect();
            let mut sending = Sending::begin(conn, &self.plan.table, &cells).await?;
            let mut more = true;
            while more {
                more = sending.step().await;
                // While the server works on what it has, the next rows are drawn.
                if batch == full {
                    let ahead = queue.len() + AHEAD;
                    self.draw(drawer, &mut queue, progress, ahead.min(size + full))?;
                }
            }
            let sent = match sending.finish().await {
                Ok((inserted, true)) => release(conn).await.map(|()| inserted),
                sent => sent.map(|(inserted, _)| inserted),
            };
            let doing = || format!("insert into `{}`", self.plan.table.label());
            match or_refusal(conn, sent, doing).await? {
                Ok(inserted) => {
                    queue.drain(..size);
                    progress.inserted += size as u64;
                    progress.dropped += (size as u64).saturating_sub(inserted);
                    batch = (batch * GROWTH).min(full);
                }
                Err(refusal)
                    if refusal.sqlstate == "23514" && !progress.checking && !drawer.is_fixed() =>
                {
                    progress.checking = true;
                    full = full.min(CHECKED);
                    batch = full;
                    for waiting in &mut queue {
                        waiting.fresh = false;
                    }
                }
                Err(refusal) if size == 1 => {
                    progress.refused += 1;
                    self.replace(drawer, &mut queue, progress, &refusal)?;
                }
                // The rows before the one at fault are sent first, so that it is alone the next time.
                Err(refusal) => {
                    batch = match refusal.line {
                        Some(line) if line <= size => (line - 1).max(1),
                        _ => size / 2,
                    };
                }
            }
        }
    }

    /// Draws rows until the queue has `len` of them, or there is no room for more.
    fn draw(
        &self,
        drawer: &mut Drawer,
        queue: &mut VecDeque<Waiting>,
        progress: &mut Progress,
        len: usize,
    ) -> Result<(), SeedError> {
        while queue.len() < len && progress.left > 0 {
            let base = drawer.next_base();
            match drawer.draw(base) {
                Ok(row) => {
                    let fresh = progress.needs_no_question(drawer);
                    queue.push_back(Waiting {
                        row,
                        tries: 0,
                        fresh,
                        violated: None,
                    });
                    progress.left -= 1;
                }
                // What is drawn already may be all there is room for.
                Err(Stop::Reject(reject)) => {
                    self.stop_short(drawer, progress, queue.len(), reject)?;
                }
                Err(Stop::Error(error)) => return Err(*error),
            }
        }
        Ok(())
    }

    /// Counts again where the server did not say of all rows that it inserted them: a trigger may have
    /// put them into another table that counts as this one, or have dropped them.
    async fn look_for_dropped(
        &self,
        conn: &mut PgConnection,
        progress: &mut Progress,
    ) -> Result<(), SeedError> {
        if progress.dropped == 0 {
            return Ok(());
        }
        let table = &self.plan.table;
        let there = count(conn, table).await?.saturating_sub(progress.existing);
        if there >= progress.inserted {
            return Ok(());
        }
        let names: Vec<String> = table
            .triggers
            .iter()
            .map(|trigger| format!("`{}`", trigger.name))
            .collect();
        let part = match &names[..] {
            [] => "a rule".to_owned(),
            names => format!("trigger {}", names.join(" or ")),
        };
        let dropped = progress.inserted - there;
        progress.inserted = there;
        let message = format!("{dropped} rows were taken and not kept");
        if there > 0 {
            progress.short = Some(format!("{part}: {message}"));
            return Ok(());
        }
        Err(SeedError::CannotFill {
            table: table.label(),
            part,
            tries: 1,
            sqlstate: "-".to_owned(),
            message,
            hint: self.hint(),
        })
    }

    /// Draws the refused row at the head of the queue again, or gives up.
    fn replace(
        &self,
        drawer: &mut Drawer,
        queue: &mut VecDeque<Waiting>,
        progress: &mut Progress,
        refusal: &Refusal,
    ) -> Result<(), SeedError> {
        let Some(Waiting { row, tries, .. }) = queue.pop_front() else {
            return Ok(());
        };
        // Until the row is an ordinary one, that it is refused says nothing about the table.
        let special = row.is_special();
        let tries = if special { tries } else { tries + 1 };
        drawer.release(&row);
        if !special && (tries >= self.seeder.tries || !refusal.depends_on_values()) {
            let has_rows = progress.existing + progress.inserted > 0;
            let behind = self.sequence_behind(refusal);
            if refusal.means_full() && has_rows && behind.is_none() && !drawer.is_fixed() {
                progress.short = Some(format!(
                    "{} refused {tries} rows drawn in a row: {}",
                    refusal.part_of(&self.plan.table),
                    refusal.message
                ));
                progress.left = 0;
                queue.clear();
                return Ok(());
            }
            return Err(SeedError::CannotFill {
                table: self.plan.table.label(),
                part: refusal.part_of(&self.plan.table),
                tries,
                sqlstate: refusal.sqlstate.clone(),
                message: refusal.message.clone(),
                hint: behind.unwrap_or_else(|| match refusal.sqlstate.as_str() {
                    "54000" => self.too_large(),
                    _ => match &refusal.settings(&self.plan.table)[..] {
                        [] => self.hint(),
                        settings => format!("{}; or {}", setting_help(settings), self.hint()),
                    },
                }),
            });
        }
        match drawer.draw(row.again(refusal.sqlstate == "23505")) {
            Ok(row) => {
                let fresh = progress.needs_no_question(drawer);
                queue.push_front(Waiting {
                    row,
                    tries,
                    fresh,
                    violated: None,
                });
                Ok(())
            }
            Err(Stop::Reject(reject)) => self.stop_short(drawer, progress, queue.len(), reject),
            Err(Stop::Error(error)) => Err(*error),
        }
    }

    /// Goes on with fewer rows if there is at least one, else fails.
    pub(super) fn stop_short(
        &self,
        drawer: &Drawer,
        progress: &mut Progress,
        queued: usize,
        reject: Reject,
    ) -> Result<(), SeedError> {
        let (part, reason, none_ever) = match reject {
            Reject::Again { part, reason } => (part, reason, false),
            Reject::Exhausted {
                part,
                reason,
                none_ever,
            } => (part, reason, none_ever),
        };
        let has_rows = progress.existing + progress.inserted > 0 || queued > 0;
        if has_rows && !none_ever && !drawer.is_fixed() {
            progress.short = Some(format!("{part}: {reason}"));
            progress.left = 0;
            return Ok(());
        }
        Err(SeedError::CannotFill {
            table: self.plan.table.label(),
            part,
            tries: 1,
            sqlstate: "-".to_owned(),
            message: reason,
            hint: self.hint(),
        })
    }

    /// What to do when a sequence gives values that rows have already.
    fn sequence_behind(&self, refusal: &Refusal) -> Option<String> {
        let table = &self.plan.table;
        let of_sequence = |at: &usize| {
            table.columns[*at].is_sequence()
                && matches!(self.plan.cells[*at], Cell::Omitted | Cell::Sequence)
        };
        let unique = table
            .unique
            .iter()
            .filter(|_| refusal.sqlstate == "23505")
            .find(|unique| refusal.part == format!("constraint `{}`", unique.name))?;
        let at = unique.columns.iter().find(|at| of_sequence(at))?;
        Some(format!(
            "the sequence of `{}.{}` is behind the rows that are there: move it on with `setval`",
            table.label(),
            table.columns[*at].name
        ))
    }

    /// What to do when a row does not fit its page, or a key its index.
    fn too_large(&self) -> String {
        let label = self.plan.table.label();
        format!(
            "draw more NULLs with `.table_distribution(\"{label}\", Distribution::default().null_in(2))`, \
             or shorter values with `.column(\"{label}.<column>\", strategy)`"
        )
    }

    pub(super) fn hint(&self) -> String {
        let label = self.plan.table.label();
        format!(
            "supply values with `.column(\"{label}.<column>\", strategy)` or rows with `.table(\"{label}\", rows)`, \
             or leave it out with `.skip(\"{label}\")`"
        )
    }

    /// Values of sequences, read ahead for the columns that need it.
    async fn sequences(
        &self,
        conn: &mut PgConnection,
        rows: u64,
    ) -> Result<BTreeMap<usize, VecDeque<String>>, SeedError> {
        let table = &self.plan.table;
        let mut sequences = BTreeMap::new();
        for (at, column) in table.columns.iter().enumerate() {
            if self.plan.cells[at] != Cell::Sequence {
                continue;
            }
            let next = match &column.default {
                Some(default) => default.clone(),
                None => {
                    let quoted = upgrade_core::postgres::sql::quote_literal;
                    format!(
                        "nextval(pg_get_serial_sequence({}, {}))",
                        quoted(&table.sql()),
                        quoted(&column.name)
                    )
                }
            };
            let query = format!("SELECT ({next})::text FROM generate_series(1, {rows})");
            let values = sqlx::query_scalar::<_, String>(AssertSqlSafe(query)).persistent(false);
            let values = values.fetch_all(&mut *conn).await;
            let values = values.doing(|| {
                format!(
                    "read the sequence of `{}.{}`",
                    table.label(),
                    quote(&column.name)
                )
            })?;
            sequences.insert(at, values.into());
        }
        Ok(sequences)
    }
}

/// The keys that each foreign key of a plan can refer to.
pub(crate) async fn pools(
    conn: &mut PgConnection,
    plan: &TablePlan,
    seed: u64,
) -> Result<Vec<Pool>, SeedError> {
    let mut pools = Vec::new();
    for key_plan in &plan.keys {
        let key = &plan.table.foreign_keys[key_plan.at];
        let keys = read_keys(conn, key).await?;
        pools.push(if key_plan.exclusive {
            Pool::exclusive(keys, &used_keys(conn, &plan.table, key, false).await?)
        } else if plan.distribution.skewed {
            // Not the least key of each parent: other keys to it would choose the same.
            let names = [plan.table.label(), key.name.clone()];
            let first = if key_plan.to_self {
                0
            } else {
                Choices::named(seed, &names).bits()
            };
            Pool::new(keys).skewed(first)
        } else {
            Pool::new(keys)
        });
    }
    Ok(pools)
}
