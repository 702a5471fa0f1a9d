//! What stands in the way of a newer major version, looked for before anything is changed.

use std::collections::BTreeSet;
use std::fmt;

use sqlx::PgConnection;

use crate::error::{Error, ErrorKind, Result};

/// What a server of the older major may hold that does not come along. Run in each database.
pub(super) const INVENTORY: &str = "\
select 'invalid index', format('%I.%I', n.nspname, c.relname) from pg_index i \
    join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace \
    where not i.indisvalid \
union all \
select 'prepared transaction', gid from pg_prepared_xacts where database = current_database() \
union all \
select 'replication slot', slot_name from pg_replication_slots \
    where not temporary and (database is null or database = current_database()) \
union all \
select 'subscription', subname from pg_subscription s join pg_database d on d.oid = s.subdbid \
    where d.datname = current_database() \
union all \
select 'extension', extname from pg_extension \
union all \
select 'tablespace', spcname from pg_tablespace where spcname not in ('pg_default', 'pg_global') \
union all \
(select 'stamped column', format('%s.%I', attrelid::regclass, attname) from pg_attribute \
    where attrelid >= 16384 and attoptions::text like '%pg_attver=%' order by 2 limit 1) \
order by 1, 2";

/// Something that has to be dealt with before the move to a newer major version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Obstacle {
    /// What it is, by name.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Obstacle {
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.hint)
    }
}

/// What the newer server has.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) extensions: BTreeSet<String>,
    pub(super) tablespaces: BTreeSet<String>,
}

/// Those of the inventory that are in the way.
pub(super) fn judge(inventory: &[(String, String)], offer: &Offer) -> Vec<Obstacle> {
    let mut obstacles: Vec<Obstacle> = inventory
        .iter()
        .filter_map(|(kind, name)| {
            let hint = match kind.as_str() {
                "invalid index" => "`reindex` it, or drop it",
                "prepared transaction" => "commit it or roll it back",
                "replication slot" => {
                    "it does not come along: have its reader catch up and leave, then drop it"
                }
                "subscription" => "it does not come along: disable and drop it, and make it anew",
                "extension" if !offer.extensions.contains(name) => {
                    "install its package beside the newer server, or drop it"
                }
                "tablespace" if !offer.tablespaces.contains(name) => {
                    "make it on the newer server, or move what is in it to `pg_default`"
                }
                _ => return None,
            };
            let missing = matches!(kind.as_str(), "extension" | "tablespace");
            let there = if missing { " is not there" } else { "" };
            Some(Obstacle::new(format!("{kind} `{name}`{there}"), hint))
        })
        .collect();
    // A slot without a database is seen from each of them.
    let mut seen = BTreeSet::new();
    obstacles.retain(|obstacle| seen.insert(obstacle.what.clone()));
    obstacles
}

/// Whether the way leads up.
pub(super) fn judge_majors(old: u32, new: u32) -> Option<Obstacle> {
    let what = match new.cmp(&old) {
        std::cmp::Ordering::Greater => return None,
        std::cmp::Ordering::Equal => format!("both servers are of major {old}"),
        std::cmp::Ordering::Less => format!("the target is of major {new}, older than {old}"),
    };
    Some(Obstacle::new(what, "name a server of a newer major"))
}

/// What is in one database.
pub(super) async fn inventory(session: &mut PgConnection) -> Result<Vec<(String, String)>> {
    Ok(sqlx::query_as(INVENTORY).fetch_all(session).await?)
}

/// What a running server offers.
pub(super) async fn offer(session: &mut PgConnection) -> Result<Offer> {
    let extensions = sqlx::query_scalar("select name::text from pg_available_extensions")
        .fetch_all(&mut *session)
        .await?;
    let tablespaces = sqlx::query_scalar("select spcname::text from pg_tablespace")
        .fetch_all(session)
        .await?;
    Ok(Offer {
        extensions: extensions.into_iter().collect(),
        tablespaces: tablespaces.into_iter().collect(),
    })
}

/// The error that lists all of them.
pub(super) fn refuse(obstacles: &[Obstacle]) -> Result<()> {
    if obstacles.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    Err(Error::new(
        ErrorKind::Refused,
        format!(
            "the way to a newer major is not free, nothing was changed: {}",
            list.join("; ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_along_is_named_once() {
        let row = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        let inventory = [
            row("extension", "plpgsql"),
            row("extension", "postgis"),
            row("replication slot", "standby"),
            row("replication slot", "standby"),
            row("tablespace", "fast"),
        ];
        let offer = Offer {
            extensions: ["plpgsql".to_owned()].into(),
            tablespaces: ["pg_default".to_owned()].into(),
        };
        let said: Vec<String> = judge(&inventory, &offer)
            .iter()
            .map(|obstacle| obstacle.what.clone())
            .collect();
        assert_eq!(
            said,
            [
                "extension `postgis` is not there",
                "replication slot `standby`",
                "tablespace `fast` is not there"
            ]
        );
    }

    #[test]
    fn only_upwards() {
        assert_eq!(judge_majors(15, 17), None);
        assert!(judge_majors(17, 17).is_some());
        let down = judge_majors(17, 15).unwrap();
        assert_eq!(down.what, "the target is of major 15, older than 17");
    }
}
