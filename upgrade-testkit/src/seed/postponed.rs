//! Sets the foreign keys that had to wait until the tables of their cycle were full.

use std::collections::{BTreeMap, BTreeSet};

use proptest::test_runner::TestRunner;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::change::{BATCH, Place, set};
use super::error::{Doing as _, SeedError};
use super::insert::Refusal;
use super::keys::{Pool, decided};
use super::random::{draw, runner};
use super::schema::{ForeignKey, Table, quote};
use super::seeder::Distribution;
use super::value::SqlValue;

/// Other keys tried for a row that Postgres refuses to set.
const TRIES: u32 = 10;

/// A key to set, and how.
pub(crate) struct Postponed<'a> {
    pub(crate) seed: u64,
    pub(crate) distribution: Distribution,
    pub(crate) table: &'a Table,
    pub(crate) key: &'a ForeignKey,
    /// The columns that are set; the others of the key keep their values and must go with it.
    pub(crate) free: Vec<usize>,
    /// The rows hold stand-ins, which must not stay.
    pub(crate) deferred: bool,
    pub(crate) to_self: bool,
    pub(crate) exclusive: bool,
}

/// A row of this run that may get a key.
struct Target {
    place: Place,
    current: BTreeMap<usize, SqlValue>,
    /// The key that others refer to, for a key to the same table.
    own: Vec<String>,
}

impl Postponed<'_> {
    /// Sets the key in the rows of this run; gives how many had to stay without, and why.
    pub(crate) async fn set(
        &self,
        conn: &mut PgConnection,
    ) -> Result<Option<(u64, Refusal)>, SeedError> {
        let label = self.table.label();
        let mut source = runner(self.seed, &[&label, "key", &self.key.name]);
        let targets = self.targets(conn).await?;
        let ours: BTreeSet<&Vec<String>> = targets.iter().map(|target| &target.own).collect();
        let mut keys = read_keys(conn, self.key).await?;
        if self.to_self {
            // Rows refer to earlier rows only: those from before this run first, then in order.
            keys.retain(|key| !ours.contains(key));
        }
        let before = keys.len();
        if self.to_self {
            keys.extend(targets.iter().map(|target| target.own.clone()));
        }
        let mut pool = if self.exclusive {
            Pool::exclusive(
                keys,
                &used_keys(conn, self.table, self.key, self.deferred).await?,
            )
        } else if self.distribution.skewed {
            Pool::new(keys).skewed(0)
        } else {
            Pool::new(keys)
        };
        let mut chosen = Vec::new();
        for (at, target) in targets.iter().enumerate() {
            let end = if self.to_self && !self.exclusive {
                before + at
            } else {
                usize::MAX
            };
            if let Some(values) = self.choose(&mut pool, &mut source, target, end) {
                chosen.push((at, end, values));
            }
        }
        let mut refused: Option<(u64, Refusal)> = None;
        for batch in chosen.chunks(BATCH) {
            let rows: Vec<_> = batch
                .iter()
                .map(|(at, _, values)| (&targets[*at], values))
                .collect();
            if self.update(conn, &rows).await?.is_ok() {
                continue;
            }
            for (at, end, values) in batch {
                let target = &targets[*at];
                let mut last = self.update(conn, &[(target, values)]).await?;
                for _ in 0..TRIES {
                    if last.is_ok() {
                        break;
                    }
                    if let Some(other) = self.choose(&mut pool, &mut source, target, *end) {
                        last = self.update(conn, &[(target, &other)]).await?;
                    }
                }
                if let Err(refusal) = last {
                    let so_far = refused.as_ref().map_or(0, |(count, _)| *count);
                    refused = Some((so_far + 1, refusal));
                }
            }
        }
        Ok(refused)
    }

    /// The values for the free columns of one row; nothing if it is to stay NULL.
    fn choose(
        &self,
        pool: &mut Pool,
        source: &mut TestRunner,
        target: &Target,
        end: usize,
    ) -> Option<Vec<SqlValue>> {
        let pick = draw(source, &proptest::num::u64::ANY).expect("an integer is never rejected");
        if !self.deferred && self.distribution.is_null(pick) {
            return None;
        }
        let fixed = |column: usize| {
            if self.free.contains(&column) {
                None
            } else {
                target.current.get(&column)
            }
        };
        let given = decided(self.key, fixed).ok()?;
        let place = pool.choose_before(&given, self.distribution.key(pick), false, end)?;
        let key = pool.key(place).to_vec();
        pool.take(place);
        let at = |column: &usize| self.key.columns.iter().position(|c| c == column);
        self.free
            .iter()
            .map(|column| Some(SqlValue::from(key[at(column)?].as_str())))
            .collect()
    }

    /// The rows of this run, in the order of their text: one that does not depend on where they lie.
    async fn targets(&self, conn: &mut PgConnection) -> Result<Vec<Target>, SeedError> {
        let mut columns: Vec<String> = self
            .key
            .columns
            .iter()
            .map(|at| text_of(&self.table.columns[*at].name))
            .collect();
        if self.to_self {
            columns.extend(self.key.referenced.iter().map(|name| text_of(name)));
        }
        let query = format!(
            "SELECT {}, {} FROM {} AS r WHERE age(r.xmin) <= 0 ORDER BY (r.*)::text COLLATE \"C\"",
            Place::COLUMNS,
            columns.join(", "),
            self.table.sql(),
        );
        let doing = || format!("read the rows of `{}`", self.table.label());
        let rows = sqlx::query(AssertSqlSafe(query))
            .persistent(false)
            .fetch_all(conn)
            .await
            .doing(doing)?;
        let width = self.key.columns.len();
        rows.iter()
            .map(|row| {
                let mut current = BTreeMap::new();
                for (at, column) in self.key.columns.iter().enumerate() {
                    current.insert(
                        *column,
                        SqlValue::from(row.try_get::<Option<String>, _>(at + 2)?),
                    );
                }
                let mut own = Vec::new();
                for at in 0..if self.to_self { width } else { 0 } {
                    own.push(
                        row.try_get::<Option<String>, _>(at + 2 + width)?
                            .unwrap_or_default(),
                    );
                }
                Ok(Target {
                    place: Place::read(row)?,
                    current,
                    own,
                })
            })
            .collect::<Result<_, sqlx::Error>>()
            .doing(doing)
    }

    async fn update(
        &self,
        conn: &mut PgConnection,
        rows: &[(&Target, &Vec<SqlValue>)],
    ) -> Result<Result<(), Refusal>, SeedError> {
        let rows: Vec<_> = rows
            .iter()
            .map(|(target, values)| (&target.place, values.iter().collect()))
            .collect();
        Ok(set(conn, self.table, &self.free, &rows).await?.map(drop))
    }
}

fn text_of(column: &str) -> String {
    format!("r.{}::text", quote(column))
}

/// All keys that a foreign key can refer to, in the order of their text.
pub(crate) async fn read_keys(
    conn: &mut PgConnection,
    key: &ForeignKey,
) -> Result<Vec<Vec<String>>, SeedError> {
    let columns: Vec<String> = key.referenced.iter().map(|name| text_of(name)).collect();
    read_texts(conn, &key.target, &columns).await
}

/// The keys that rows of the child use already; none where all hold stand-ins.
pub(crate) async fn used_keys(
    conn: &mut PgConnection,
    child: &Table,
    key: &ForeignKey,
    stand_ins: bool,
) -> Result<BTreeSet<Vec<String>>, SeedError> {
    if stand_ins {
        return Ok(BTreeSet::new());
    }
    let columns: Vec<String> = key
        .columns
        .iter()
        .map(|at| text_of(&child.columns[*at].name))
        .collect();
    Ok(read_texts(conn, &child.sql(), &columns)
        .await?
        .into_iter()
        .collect())
}

/// Rows of texts without NULL.
async fn read_texts(
    conn: &mut PgConnection,
    table: &str,
    columns: &[String],
) -> Result<Vec<Vec<String>>, SeedError> {
    let not_null: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} IS NOT NULL"))
        .collect();
    let order: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} COLLATE \"C\""))
        .collect();
    let query = format!(
        "SELECT {} FROM {table} AS r WHERE {} ORDER BY {}",
        columns.join(", "),
        not_null.join(" AND "),
        order.join(", "),
    );
    let doing = || format!("read the keys of {table}");
    let rows = sqlx::query(AssertSqlSafe(query))
        .persistent(false)
        .fetch_all(conn)
        .await
        .doing(doing)?;
    rows.iter()
        .map(|row| {
            (0..columns.len())
                .map(|at| row.try_get::<String, _>(at))
                .collect()
        })
        .collect::<Result<_, _>>()
        .doing(doing)
}
