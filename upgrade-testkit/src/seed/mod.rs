//! Fills any Postgres schema with rows that satisfy it, from its own catalog.
//!
//! An upgrade that passes on empty tables proves little. [`Seeder`] reads types, keys, CHECKs and
//! partitions from the catalog and draws rows from [proptest] strategies until Postgres has accepted
//! as many as were asked for: parents before children, cycles of foreign keys included.
//!
//! ```no_run
//! # use upgrade_testkit::seed::{Row, Seeder};
//! # async fn seed(conn: &mut sqlx::PgConnection) -> Result<(), upgrade_testkit::seed::SeedError> {
//! let report = Seeder::new(7)
//!     .rows(50)
//!     .table_rows("public.orders", 500)
//!     .column("customers.email", "[a-z]{3,9}@example[.]org")
//!     .table("public.settings", vec![Row::from([("key", "currency"), ("value", "EUR")])])
//!     .skip("public.spatial_ref_sys")
//!     .fill(conn)
//!     .await?;
//! println!("{report}");
//! # Ok(()) }
//! ```
//!
//! # What is filled, and with what
//! - Every column is drawn explicitly, also one with a default: `now()` and `gen_random_uuid()` would
//!   differ from run to run. Only sequences (identity, serial) give their own values, so that the
//!   application goes on where they stopped. Generated columns are left to Postgres.
//! - Where the type, a CHECK or a partition bound tells what is allowed, values are drawn within it.
//!   CHECKs that cannot be solved, as those that call functions, are evaluated by the server for many
//!   rows at once; everything else is learned by trial: a row that Postgres refuses is drawn again.
//! - Values include the edges of their types on purpose; NaN, infinities and the like, which many
//!   drivers cannot read, only after [`Seeder::extremes`]. Few parents have many children, and some
//!   texts are too long for their page: see [`Distribution`].
//! - Up to half of the rows of a table have a purpose, so that what a migration cannot cope with is met
//!   with every seed: NULL wherever that may be, each column at a limit of its type and its CHECKs (the
//!   longest text, the greatest and the least number, every label), and copies of rows that differ only
//!   where a unique index asks for it, by case, a space or an accent. A table that refuses such a row
//!   gets one with fewer of them, and an ordinary one in the end.
//! - Triggers run: they are part of the application, and may add rows or refuse some. What they read
//!   with `current_setting`, [`Seeder::setting`] sets.
//! - Existing rows stay and can be referred to; new ones do not repeat their unique values. Tables of
//!   migration tools are left alone.
//!
//! # Reproducible
//! The same schema, seed and options give the same data, and each column has its own source: a new
//! column or table leaves the values of the others as they were.
//!
//! # Writes
//! [`Seeder::write`] makes the writes of users on a database that has rows: it deletes some rows,
//! changes some and adds some, whatever state of a migration the schema is in.
//!
//! # How fast, and in how much memory
//! Rows are sent by COPY in batches of at most 5,000, and drawn while the server copies. Two batches are
//! kept, eight bytes for each row and unique index that is drawn for, and the keys of the parents of
//! the table that is being filled.
//!
//! # Tables without rows
//! [`SeedReport::empty`] lists them, each with what refused its rows and what helps. A rehearsal fills
//! as many tables as it can ([`Seeder::lenient`]), reports the others as `data/table-empty`, and never passes
//! where a pending migration touches one of those.
//!
//! # All or nothing
//! [`Seeder::fill`] and [`Seeder::write`] run in one transaction (a savepoint inside a transaction
//! that sqlx knows of) and change nothing when they fail.

mod change;
mod check;
mod checked;
mod choices;
mod drawer;
mod error;
mod existing;
mod fill;
mod freshen;
mod graph;
mod insert;
mod keys;
mod plan;
mod postponed;
pub(crate) mod random;
mod report;
mod resolve;
mod schema;
mod seeder;
mod special;
mod table_fill;
mod type_catalog;
mod types;
mod value;
mod write;

pub use error::SeedError;
pub use report::{EmptyTable, LeftOut, SeedReport, TableReport};
pub use seeder::{Distribution, Seeder, TableRows};
pub use value::{Row, SqlValue};
