//! How many tests a shared server takes at once.

use std::fmt;

use sqlx::postgres::PgConnection;

use super::super::error::PoolError;
use super::super::worker::SESSIONS_SHARED;

/// The fewest connections that are left beside those of tests: to people, to services, to the pool
/// itself.
const LEAST_LEFT: u32 = 4;

/// What a process holds beside its tests: the session of its leases, and those for making and
/// dropping databases.
const PER_PROCESS: u32 = 1 + SESSIONS_SHARED;

/// The arithmetic of the slots on a shared server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetFacts {
    /// `max_connections` of the server.
    pub max_connections: u32,
    /// What the server reserves for superusers and certain roles.
    pub reserved: u32,
    /// What the tests do not use, for others and for the pool itself: a fifth of the rest, but at
    /// least four.
    pub left: u32,
    /// How many processes may use the server at once: what these hold beside their tests takes two
    /// thirds of `left` at most, but two are let in in any case.
    pub processes: u32,
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
            processes: (left * 2 / 3 / PER_PROCESS).max(2),
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
            ..
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

    #[test]
    fn all_sessions_together_leave_some_to_others() {
        for (max_connections, processes) in [(20, 2), (100, 6), (500, 33)] {
            for per_test in [1, 5, 10] {
                let facts = BudgetFacts::new(max_connections, 3, per_test);
                assert_eq!(facts.processes, processes);
                let ours = facts.processes * PER_PROCESS + facts.slots * per_test;
                assert!(ours + 3 <= max_connections, "{facts:?}");
                if max_connections >= 100 {
                    assert!(ours + facts.left / 3 <= max_connections - 3, "{facts:?}");
                }
            }
        }
    }
}
