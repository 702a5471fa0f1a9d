//! What observations of a lock queue come to: who waited for whom, and for how long. No IO.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use crate::finding::Finding;
use crate::ids::RunId;
use crate::postgres::sql::without_values;
use crate::report::seconds;

/// A wait that is shorter is not reported: most users do not notice it.
const STALL_MS: u64 = 200;

/// The number of findings of one migration, the longest waits first.
const FINDINGS: usize = 5;

/// The number of characters of a statement in a message.
const STATEMENT: usize = 200;

/// The modes of a lock on a relation, from the weakest to the strongest.
const MODES: [&str; 8] = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

/// From this mode on a lock on a relation stops writers. Statements that only read or write rows
/// never take one.
const STOPS_WRITERS: usize = 4;

/// One observation.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sample {
    waits: Vec<Wait>,
    sessions: Vec<Session>,
}

/// A session that waits for a lock.
#[derive(Debug, Clone, Deserialize)]
struct Wait {
    pid: i32,
    /// What kind of thing is locked, as `pg_locks` names it.
    kind: String,
    mode: String,
    /// The relation with its kind, where the lock is on one or on a row of one.
    relation: Option<String>,
    waited_ms: Option<u64>,
    blockers: Vec<i32>,
    /// The locks on the relation that those have whom it waits for.
    held: Vec<(i32, String)>,
}

/// A session that waits, or that is waited for.
#[derive(Debug, Clone, Deserialize)]
struct Session {
    pid: i32,
    application: String,
    /// `None` where the role may not see it, as are the following.
    backend: Option<String>,
    state: Option<String>,
    query: Option<String>,
    transaction_ms: Option<u64>,
}

/// Why sessions had to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// The migration waits for others, and its place in the queue stops those who come later.
    Waits,
    /// The migration has the lock while it works.
    Holds,
}

/// A queue at one lock, as far as it was observed.
#[derive(Debug)]
struct Queue {
    /// The session of the migration, when it was last observed in this queue.
    migration: Session,
    /// What the migration ran while this queue existed, each statement with the number of
    /// observations.
    statements: BTreeMap<String, u32>,
    /// The longest wait of the migration itself.
    waited_ms: u64,
    /// The sessions that were at the head of the queue, each with the number of observations.
    heads: BTreeMap<i32, (Option<Session>, u32)>,
    /// The largest number of sessions that waited behind the migration at one time, and the longest
    /// wait of one.
    behind: usize,
    behind_ms: u64,
}

/// What identifies a queue: why sessions waited, for whom, in which mode, and at what.
type At = (Cause, i32, String, String);

/// What was observed so far.
#[derive(Debug)]
pub(super) struct Seen {
    /// What the names of the migration's sessions begin with.
    pub(super) prefix: String,
    /// What a lock that is on no relation is attributed to.
    database: String,
    queues: BTreeMap<At, Queue>,
    /// When each wait was first observed, for servers that do not report it.
    first: BTreeMap<(i32, String, String), u64>,
    /// When each session of the migration was last observed waiting.
    waited: BTreeMap<i32, u64>,
}

impl Seen {
    pub(super) fn new(run: &RunId, database: &str) -> Self {
        Self {
            prefix: run.session_prefix(),
            database: format!("database {database}"),
            queues: BTreeMap::new(),
            first: BTreeMap::new(),
            waited: BTreeMap::new(),
        }
    }

    /// Adds an observation that was made `now` milliseconds after the beginning.
    pub(super) fn add(&mut self, sample: &Sample, now: u64) {
        // A lock that was granted just now has no blockers any more.
        let waits: BTreeMap<i32, &Wait> = sample
            .waits
            .iter()
            .filter(|wait| !wait.blockers.is_empty())
            .map(|wait| (wait.pid, wait))
            .collect();
        let sessions: BTreeMap<i32, &Session> =
            sample.sessions.iter().map(|s| (s.pid, s)).collect();
        let key = |wait: &Wait| (wait.pid, wait.kind.clone(), wait.mode.clone());
        let keys: BTreeSet<_> = waits.values().map(|wait| key(wait)).collect();
        self.first.retain(|key, _| keys.contains(key));
        for key in keys {
            self.first.entry(key).or_insert(now);
        }
        let age = |first: &BTreeMap<_, u64>, wait: &Wait| {
            wait.waited_ms
                .unwrap_or_else(|| now - first.get(&key(wait)).unwrap_or(&now))
        };
        let migrating = self.migrating(&waits, &sessions);
        // How many sessions are in each queue now, behind the migration.
        let mut behind: BTreeMap<At, usize> = BTreeMap::new();
        for pid in &migrating {
            let (Some(wait), Some(session)) = (waits.get(pid), sessions.get(pid)) else {
                continue;
            };
            let waited = age(&self.first, wait);
            let at = (Cause::Waits, *pid, spelled(wait, &wait.mode), self.of(wait));
            behind.insert(at.clone(), 0);
            let queue = self.queue(at, session);
            queue.waited_ms = queue.waited_ms.max(waited);
            for head in heads(*pid, &waits) {
                let (known, times) = queue.heads.entry(head).or_default();
                *times += 1;
                if let Some(session) = sessions.get(&head) {
                    *known = Some((*session).clone());
                }
            }
            self.waited.insert(*pid, now);
        }
        for (pid, wait) in &waits {
            let is_user = sessions.get(pid).is_none_or(|session| session.is_client());
            if migrating.contains(pid) || !is_user {
                continue;
            }
            let Some((migration, gate)) = blocked_by(*pid, &migrating, &waits) else {
                continue;
            };
            let Some(session) = sessions.get(&migration) else {
                continue;
            };
            let mut waited = age(&self.first, wait);
            let at = match waits.get(&migration) {
                Some(own) => {
                    // What it waited before, while the migration worked, has another cause.
                    waited = waited.min(age(&self.first, own));
                    let lock = spelled(own, &own.mode);
                    (Cause::Waits, migration, lock, self.of(own))
                }
                // Tools and services wait their turn to migrate behind such a lock.
                None if gate.kind == "advisory" => continue,
                None => {
                    // What it waited while the migration waited too has another cause.
                    if let Some(before) = self.waited.get(&migration) {
                        waited = waited.min(now - before);
                    }
                    let of_migration = gate.held.iter().filter(|(pid, _)| *pid == migration);
                    let strongest = of_migration.max_by_key(|(_, mode)| strength(mode));
                    let mode = strongest.map_or("", |(_, mode)| mode);
                    (Cause::Holds, migration, spelled(gate, mode), self.of(gate))
                }
            };
            *behind.entry(at.clone()).or_default() += 1;
            let queue = self.queue(at, session);
            queue.behind_ms = queue.behind_ms.max(waited);
        }
        for (at, count) in behind {
            if let Some(queue) = self.queues.get_mut(&at) {
                queue.behind = queue.behind.max(count);
                if let Some(statement) = queue.migration.statement() {
                    *queue.statements.entry(statement).or_default() += 1;
                }
            }
        }
    }

    /// The sessions that migrate: those that bear its name. A system that migrates itself gives its
    /// sessions other names: then whoever waits for a lock that stops writers, or lets others wait
    /// behind one.
    fn migrating(
        &self,
        waits: &BTreeMap<i32, &Wait>,
        sessions: &BTreeMap<i32, &Session>,
    ) -> BTreeSet<i32> {
        let is_named = |session: &&&Session| session.application.starts_with(&self.prefix);
        if sessions.values().any(|session| is_named(&session)) {
            // One that is idle between two statements makes nobody wait.
            let named = sessions.values().filter(is_named);
            return named
                .filter(|session| session.state.as_deref() != Some("idle"))
                .map(|session| session.pid)
                .collect();
        }
        let strong = |mode: &str| strength(mode) >= Some(STOPS_WRITERS);
        let of_wait = |wait: &Wait| {
            let waits = (wait.kind == "relation" && strong(&wait.mode)).then_some(wait.pid);
            let held = wait.held.iter().filter(|(_, mode)| strong(mode));
            let held = held.map(|(pid, _)| *pid);
            waits.into_iter().chain(held).collect::<Vec<_>>()
        };
        waits
            .values()
            .flat_map(|wait| of_wait(wait))
            .filter(|pid| sessions.get(pid).is_none_or(|it| it.is_client()))
            .collect()
    }

    /// What a wait is for: a relation, or the database.
    fn of(&self, wait: &Wait) -> String {
        let database = || self.database.clone();
        wait.relation.clone().unwrap_or_else(database)
    }

    fn queue(&mut self, at: At, session: &Session) -> &mut Queue {
        let queue = self.queues.entry(at).or_insert_with(|| Queue {
            migration: session.clone(),
            statements: BTreeMap::new(),
            waited_ms: 0,
            heads: BTreeMap::new(),
            behind: 0,
            behind_ms: 0,
        });
        queue.migration = session.clone();
        queue
    }

    /// The waits that are long enough to be reported, the longest first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let long = |(at, queue): &(&At, &Queue)| match at.0 {
            Cause::Waits => queue.waited_ms.max(queue.behind_ms) >= STALL_MS,
            Cause::Holds => queue.behind_ms >= STALL_MS,
        };
        let mut all: Vec<(&At, &Queue)> = self.queues.iter().filter(long).collect();
        all.sort_by_key(|(_, queue)| std::cmp::Reverse((queue.behind_ms, queue.waited_ms)));
        let others = all.len().saturating_sub(FINDINGS);
        all.truncate(FINDINGS);
        let mut findings: Vec<Finding> = all
            .into_iter()
            .map(|(at, queue)| self.finding(at, queue))
            .collect();
        if let Some(last) = findings.last_mut()
            && others > 0
        {
            let evidence = last.evidence.get_or_insert_default();
            evidence.push_str(&format!("\n{others} more queues, with shorter waits"));
        }
        findings
    }

    fn finding(&self, (cause, _, lock, of): &At, queue: &Queue) -> Finding {
        let migration = match queue.migration.application.strip_prefix(&self.prefix) {
            Some(id) => format!("migration {id}"),
            None => queue.migration.to_string(),
        };
        let longest = seconds(queue.behind_ms);
        let (message, help) = match cause {
            Cause::Waits => {
                let behind = match queue.behind {
                    0 => "no other session waited behind it".to_owned(),
                    1 => format!("1 other session waited behind it, {longest}"),
                    n => format!("{n} other sessions waited behind it, the longest {longest}"),
                };
                let waited = seconds(queue.waited_ms);
                let head = queue.head();
                (
                    format!("{migration} waited {waited} for {lock} behind {head}; {behind}"),
                    "set a short `lock_timeout` in the migration and try again when it fails; \
                     keep long transactions away while it runs",
                )
            }
            Cause::Holds => {
                let behind = match queue.behind {
                    1 => format!("1 other session waited for it, {longest}"),
                    n => format!("{n} other sessions waited for it, the longest {longest}"),
                };
                (
                    format!("{migration} held {lock} while it worked; {behind}"),
                    "do what takes long without this lock: build indexes with `concurrently`, add \
                     constraints with `not valid` and validate them later, change rows in batches, \
                     fill a new column instead of changing the type of the old one",
                )
            }
        };
        let finding = match queue.behind_ms >= STALL_MS {
            true => Finding::warning("up/lock-queue", of.as_str(), message),
            false => Finding::note("up/lock-queue", of.as_str(), message),
        };
        let finding = finding.with_help(help);
        match queue.statements.iter().max_by_key(|(_, times)| *times) {
            Some((statement, _)) => {
                finding.with_evidence(format!("the migration was running `{statement}`"))
            }
            None => finding,
        }
    }
}

impl Queue {
    /// The session that was at the head most of the time, and how many others were.
    fn head(&self) -> String {
        let most = self.heads.iter().max_by_key(|(_, (_, times))| *times);
        let Some((pid, (session, _))) = most else {
            return "another session".to_owned();
        };
        let head = match session {
            Some(session) => session.to_string(),
            None if *pid == 0 => "a prepared transaction".to_owned(),
            None => format!("session {pid}"),
        };
        match self.heads.len() - 1 {
            0 => head,
            others => format!("{head} and {others} more"),
        }
    }
}

impl Session {
    /// Whether it may be a user's: workers of the server are not.
    fn is_client(&self) -> bool {
        self.backend
            .as_deref()
            .is_none_or(|it| it == "client backend")
    }

    /// Its statement without the values in it; none where it has made none, or hides it.
    fn statement(&self) -> Option<String> {
        let query = self.query.as_deref()?;
        let shown = without_values(query, STATEMENT);
        let is_shown = !shown.is_empty() && query != "<insufficient privilege>";
        is_shown.then_some(shown)
    }
}

/// The session by what identifies it on the server: number, application, state, statement.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match self.backend.as_deref() {
            Some(backend) if !self.is_client() => parts.push(backend.to_owned()),
            _ if self.application.is_empty() => {}
            _ => parts.push(format!("`{}`", self.application)),
        }
        match self.state.as_deref() {
            Some(state) => parts.push(state.to_owned()),
            None if self.backend.is_none() => parts.push("of another role".to_owned()),
            None => {}
        }
        if let Some(since) = self.transaction_ms {
            parts.push(format!("in a transaction for {}", seconds(since)));
        }
        if let Some(statement) = self.statement() {
            parts.push(format!("`{statement}`"));
        }
        write!(f, "session {}", self.pid)?;
        match parts.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", parts.join(", ")),
        }
    }
}

/// How strong a mode of a lock on a relation is; `None` for other names.
fn strength(mode: &str) -> Option<usize> {
    MODES.iter().position(|known| *known == mode)
}

/// A lock as a person calls it: `ACCESS EXCLUSIVE` on a relation, or what else is waited for.
fn spelled(wait: &Wait, mode: &str) -> String {
    match wait.kind.as_str() {
        "relation" if mode.is_empty() => "a lock".to_owned(),
        "relation" => {
            let mut words = String::new();
            for c in mode.strip_suffix("Lock").unwrap_or(mode).chars() {
                if c.is_ascii_uppercase() && !words.is_empty() {
                    words.push(' ');
                }
                words.push(c.to_ascii_uppercase());
            }
            words
        }
        "transactionid" | "tuple" => "locks on rows".to_owned(),
        "virtualxid" => "the end of older transactions".to_owned(),
        "advisory" => "an advisory lock".to_owned(),
        other => format!("a lock of type `{other}`"),
    }
}

/// Those at the head of the queue in which a session waits: nothing makes them wait themselves.
fn heads(pid: i32, waits: &BTreeMap<i32, &Wait>) -> BTreeSet<i32> {
    let (mut heads, mut known, mut next) = (BTreeSet::new(), BTreeSet::from([pid]), vec![pid]);
    while let Some(pid) = next.pop() {
        match waits.get(&pid) {
            Some(wait) => next.extend(wait.blockers.iter().filter(|other| known.insert(**other))),
            None => drop(heads.insert(pid)),
        }
    }
    heads
}

/// The migration that a session waits for, directly or behind others, and the wait that is directly
/// behind the migration.
fn blocked_by<'w>(
    pid: i32,
    migrating: &BTreeSet<i32>,
    waits: &BTreeMap<i32, &'w Wait>,
) -> Option<(i32, &'w Wait)> {
    let (mut known, mut next) = (BTreeSet::from([pid]), vec![pid]);
    while let Some(pid) = next.pop() {
        let Some(wait) = waits.get(&pid) else {
            continue;
        };
        if let Some(migration) = wait.blockers.iter().find(|pid| migrating.contains(pid)) {
            return Some((*migration, wait));
        }
        next.extend(wait.blockers.iter().filter(|other| known.insert(**other)));
    }
    None
}

#[cfg(test)]
mod tests;
