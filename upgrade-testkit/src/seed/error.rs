//! Why seeding failed.

/// Why a schema could not be seeded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// An option names a table that the database does not have.
    #[error("no table `{name}` to seed (tables: {known}; {hint})")]
    UnknownTable {
        /// As the option gave it.
        name: String,
        /// Some of the tables there are.
        known: String,
        /// What to do.
        hint: &'static str,
    },
    /// An option names a column that its table does not have.
    #[error("no column `{name}` to seed (write `table.column` or `schema.table.column`)")]
    UnknownColumn {
        /// As the option gave it.
        name: String,
    },
    /// An option's name fits several tables.
    #[error("`{name}` names several tables: {matches} (put the schema in front)")]
    Ambiguous {
        /// As the option gave it.
        name: String,
        /// What it could mean.
        matches: String,
    },
    /// A column that must have a value has a type that no strategy covers.
    #[error(
        "cannot make values for `{table}.{column}` of type `{type_name}`: {reason} \
         (supply them with `.column(\"{table}.{column}\", strategy)`, or leave the table out with `.skip(\"{table}\")`)"
    )]
    CannotFillColumn {
        /// Schema-qualified table.
        table: String,
        /// The column.
        column: String,
        /// Its type as Postgres prints it.
        type_name: String,
        /// What is missing.
        reason: String,
    },
    /// Postgres refused every row drawn for a table.
    #[error(
        "cannot fill `{table}`: {part} refused the last of {tries} tries for one row: {message} [{sqlstate}] ({hint})"
    )]
    CannotFill {
        /// Schema-qualified table.
        table: String,
        /// The constraint, column or trigger that refused, as far as Postgres named it.
        part: String,
        /// How many rows were tried in a row.
        tries: u32,
        /// SQLSTATE of the last refusal, `-` when the row was given up before it was sent.
        sqlstate: String,
        /// What Postgres said last.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The role of the connection lacks a privilege.
    #[error(
        "the role `{role}` cannot fill `{table}`: it lacks {privilege} \
         (grant it, connect as the owner, or leave the table out with `.skip(\"{table}\")`)"
    )]
    Forbidden {
        /// Schema-qualified table.
        table: String,
        /// The role.
        role: String,
        /// `SELECT`, `INSERT` or `USAGE of its schema`.
        privilege: String,
    },
    /// Tables that need each other's rows first.
    #[error(
        "cannot order `{tables}`: their foreign keys form a cycle of NOT NULL columns and none is deferrable \
         (make one DEFERRABLE or nullable, or leave the tables out with `.skip(..)`)"
    )]
    Cycle {
        /// Schema-qualified, separated by commas.
        tables: String,
    },
    /// A strategy gave no value, as a filter that rejects everything does.
    #[error("the strategy for `{column}` gave no value: {reason}")]
    Draw {
        /// Schema-qualified column.
        column: String,
        /// What the strategy said.
        reason: String,
    },
    /// The server has no room for the locks of one transaction over all tables.
    #[error(
        "cannot {doing}: one transaction over all tables needs more locks than the server has room for \
         (raise its `max_locks_per_transaction`, or leave tables out with `.skip(..)`)"
    )]
    OutOfLocks {
        /// What the statement was for.
        doing: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// A statement of the seeder's own failed.
    #[error("cannot {doing}")]
    Query {
        /// What the statement was for.
        doing: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
}

impl SeedError {
    /// Why a table has no rows, and what to do about it.
    pub(crate) fn reason_and_help(&self) -> (String, String) {
        match self {
            Self::CannotFill {
                part,
                sqlstate,
                message,
                hint,
                ..
            } => (
                format!("{part} refused its rows: {message} [{sqlstate}]"),
                hint.clone(),
            ),
            Self::CannotFillColumn {
                table,
                column,
                type_name,
                reason,
            } => (
                format!("column `{column}` of type `{type_name}`: {reason}"),
                format!("supply values with `.column(\"{table}.{column}\", strategy)`"),
            ),
            Self::Forbidden {
                role, privilege, ..
            } => (
                format!("the role `{role}` lacks {privilege}"),
                "grant it, or connect as the owner".to_owned(),
            ),
            other => (
                other.to_string(),
                "supply its rows with `.table(..)`".to_owned(),
            ),
        }
    }
}

/// Whether the lock table is full; Postgres says that its shared memory is.
pub(crate) fn out_of_locks(error: &sqlx::Error) -> bool {
    let database = error.as_database_error();
    database.is_some_and(|error| error.code().as_deref() == Some("53200"))
}

/// Names what was being done when the driver failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, SeedError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, SeedError> {
        self.map_err(|source| {
            let doing = what();
            if out_of_locks(&source) {
                SeedError::OutOfLocks { doing, source }
            } else {
                SeedError::Query { doing, source }
            }
        })
    }
}
