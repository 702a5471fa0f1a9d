//! How many tests a shared server takes at once.

use std::fmt;

use sqlx::postgres::PgConnection;

use super::super::error::PoolError;

/// The fewest connections that are left to others: people, services, the pool itself.
const LEAST_LEFT: u32 = 4;

/// The arithmetic of the slots on a shared server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetFacts {
    /// `max_connections` of the server.
    pub max_connections: u32,
    /// What the server reserves for superusers and certain roles.
    pub reserved: u32,
    /// What is left to others: a fifth of the rest, but no fewer than four.
    pub left: u32,
    /// What each test opens at once.
    pub per_test: u32,
    /// How many tests fit.
    pub slots: u32,
}

impl BudgetFacts {
    pub(super) async fn read(admin: &mut PgConnection, per_test: u32) -> Result<Self, PoolError> {
        let (max_connections, reserved): (i32, i32) = sqlx::query_as(
            "select current_setting('max_connections')::int, \
             current_setting('superuser_reserved_connections')::int \
             + coalesce(current_setting('reserved_connections', true)::int, 0)",
        )
        .fetch_one(admin)
        .await
        .map_err(PoolError::database("read the limits of the server"))?;
        Ok(Self::new(
            max_connections.unsigned_abs(),
            reserved.unsigned_abs(),
            per_test,
        ))
    }

    fn new(max_connections: u32, reserved: u32, per_test: u32) -> Self {
        let rest = max_connections.saturating_sub(reserved);
        let left = (rest / 5).max(LEAST_LEFT);
        Self {
            max_connections,
            reserved,
            left,
            per_test,
            slots: rest.saturating_sub(left) / per_test.max(1),
        }
    }
}

impl fmt::Display for BudgetFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max_connections,
            reserved,
            left,
            per_test,
            slots,
        } = self;
        let usable = max_connections.saturating_sub(reserved + left);
        write!(
            f,
            "max_connections {max_connections} - {reserved} reserved - {left} left to others = {usable}, \
             {usable} / {per_test} for each test = {slots} slots"
        )?;
        if *slots > 0 {
            write!(f, ", all of them taken")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_in_the_text() {
        let check = |facts: BudgetFacts, expected: &str| assert_eq!(facts.to_string(), expected);
        check(
            BudgetFacts::new(100, 3, 10),
            "max_connections 100 - 3 reserved - 19 left to others = 78, \
             78 / 10 for each test = 7 slots, all of them taken",
        );
        check(
            BudgetFacts::new(10, 3, 5),
            "max_connections 10 - 3 reserved - 4 left to others = 3, \
             3 / 5 for each test = 0 slots",
        );
        assert_eq!(BudgetFacts::new(2, 3, 1).slots, 0);
    }
}
