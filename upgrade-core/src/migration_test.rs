//! A test of one migration with chosen rows.

use std::fmt;
use std::sync::Arc;

use crate::validator::{Validator, ValidatorFn};
use crate::writes::Writes;

/// A test of one migration with chosen rows: which rows there are before it, and what must hold
/// after it and after its down migration.
///
/// Generated rows meet every rule of the schema, and seldom the one case that a backfill gets wrong.
/// This is for that case.
///
/// In `upgrade`, `round_trip`, `rollback` and `rerun`, an additional attempt begins at the state
/// before the migration, puts the rows in, and continues as the scenario does. The other attempts do
/// not contain the rows. The attempt needs an environment that takes snapshots, and is left out
/// elsewhere.
///
#[cfg_attr(
    feature = "postgres",
    doc = r#"
```
use upgrade_core::MigrationTest;

let test = MigrationTest::of("0004")
    .given("insert into customers (id, name) values (1, 'Ada King Lovelace')")
    .then("select * from customers where last_name <> 'Lovelace'")
    .after_revert("select * from customers where name <> 'Ada King Lovelace'");
```"#
)]
#[derive(Debug, Clone)]
pub struct MigrationTest {
    version: String,
    given: Vec<Given>,
    then: Vec<Check>,
    after_revert: Vec<Check>,
}

impl MigrationTest {
    /// A test of the pending migration that has this version.
    pub fn of(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            given: Vec::new(),
            then: Vec::new(),
            after_revert: Vec::new(),
        }
    }

    /// Adds rows: an SQL script, or [`writes_fn`](crate::writes_fn). They are put in before the
    /// migration, in the order in which they are added. A script that fails ends the run with an
    /// error that names the migration.
    #[must_use]
    pub fn given(mut self, rows: impl Into<Given>) -> Self {
        self.given.push(rows.into());
        self
    }

    /// Adds what must hold after the migration: a query that returns no rows, or
    /// [`validator_fn`](crate::validator_fn).
    #[must_use]
    pub fn then(mut self, check: impl Into<Check>) -> Self {
        self.then.push(check.into());
        self
    }

    /// Adds what must hold after the down migration, and after a rollback: a query that returns no
    /// rows, or [`validator_fn`](crate::validator_fn).
    #[must_use]
    pub fn after_revert(mut self, check: impl Into<Check>) -> Self {
        self.after_revert.push(check.into());
        self
    }

    /// The version of the migration.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn rows(&self) -> &[Given] {
        &self.given
    }

    /// The checks after the migration, or after its down.
    pub(crate) fn checks(&self, reverted: bool) -> &[Check] {
        match reverted {
            true => &self.after_revert,
            false => &self.then,
        }
    }
}

/// Rows that a [`MigrationTest`] puts in: from SQL or from [`Writes`].
#[derive(Debug, Clone)]
pub struct Given(pub(crate) Writes);

impl From<Writes> for Given {
    fn from(writes: Writes) -> Self {
        Self(writes)
    }
}

/// A check of a [`MigrationTest`]: from a query that must return no rows, or from a validator.
#[derive(Clone)]
pub struct Check(pub(crate) Arc<dyn Validator>);

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.0.name()).finish()
    }
}

impl From<ValidatorFn> for Check {
    fn from(validator: ValidatorFn) -> Self {
        Self(Arc::new(validator))
    }
}

#[cfg(feature = "postgres")]
mod sql {
    use super::{Arc, Check, Given};
    use crate::context::UpgradeContext;
    use crate::error::Error;
    use crate::postgres::database::close;
    use crate::validator::Invariant;
    use crate::writes::writes_fn;

    /// How much of a query is its name.
    const NAME: usize = 60;

    impl From<String> for Given {
        fn from(sql: String) -> Self {
            let sql: Arc<str> = sql.into();
            Self(writes_fn("given rows", move |cx: UpgradeContext| {
                let sql = Arc::clone(&sql);
                async move {
                    let mut connection = cx.connect().await?;
                    let script = sqlx::raw_sql(sqlx::AssertSqlSafe(&*sql));
                    script.execute(&mut connection).await.map_err(Error::from)?;
                    close(connection).await;
                    Ok(())
                }
            }))
        }
    }

    impl From<&str> for Given {
        fn from(sql: &str) -> Self {
            sql.to_owned().into()
        }
    }

    impl From<Invariant> for Check {
        fn from(invariant: Invariant) -> Self {
            Self(Arc::new(invariant))
        }
    }

    impl From<&str> for Check {
        fn from(sql: &str) -> Self {
            let words: Vec<&str> = sql.split_whitespace().collect();
            let mut name = words.join(" ");
            if let Some((cut, _)) = name.char_indices().nth(NAME) {
                name.truncate(cut);
                name.push_str("...");
            }
            // Rows may all be removed by the migration, on purpose.
            Invariant::new(name, sql).over("select 1").into()
        }
    }

    impl From<String> for Check {
        fn from(sql: String) -> Self {
            sql.as_str().into()
        }
    }
}
