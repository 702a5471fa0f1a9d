//! What an up takes from a schema that none of its statements names: a table is made again without its
//! policies, a view falls with a cascade, a trigger stays disabled after a backfill.
//!
//! An object is named if its name stands in a `DROP`, `ALTER` or `REVOKE` statement of the migration; a
//! fact of an object that stays is named if the object's name stands in a statement together with the
//! words of that fact (`OWNER`, `ROW` and `SECURITY`, `COMMENT`, ...). What is in a quoted body counts as
//! words of its statement.

use std::collections::{BTreeMap, BTreeSet};

use super::Observation;
use super::schema::facts;
use crate::finding::Finding;

/// What protected data and protects it no more.
const PROTECTION: &str = "up/protection-lost";
/// What is missing, and was no protection.
const LOST: &str = "up/lost-as-side-effect";

/// The words of the statements that migrations have sent, in lower case unless they are quoted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    statements: Vec<BTreeSet<String>>,
    /// Whether there were migrations whose statements are not known.
    unknown: bool,
}

impl Named {
    /// Adds what one migration sends: its statements, each as its words, or that they are not known.
    pub(crate) fn add(&mut self, statements: Option<Vec<Vec<String>>>) {
        match statements {
            Some(all) => {
                let all = all.into_iter().map(|words| words.into_iter().collect());
                self.statements.extend(all);
            }
            None => self.unknown = true,
        }
    }

    /// Whether a statement has the name, all of these words, and one of those.
    fn with(&self, name: &str, all: &[&str], one: &[&str]) -> bool {
        self.statements.iter().any(|words| {
            words.contains(name)
                && all.iter().all(|word| words.contains(*word))
                && (one.is_empty() || one.iter().any(|word| words.contains(*word)))
        })
    }

    /// Whether a statement removes or changes what has this name.
    fn object(&self, name: &str) -> bool {
        self.with(name, &[], &["drop", "alter", "revoke"])
    }
}

/// The name of an object: `constraint public.t / c` is a `constraint` of `public`, `t`, `c`.
#[derive(Debug)]
struct Name {
    kind: String,
    path: Vec<String>,
}

impl Name {
    fn of(text: &str) -> Option<Self> {
        const LONG: [&str; 5] = [
            "materialized view",
            "published table",
            "published schema",
            "security label",
            "event trigger",
        ];
        let long = LONG.iter().find(|kind| text.starts_with(**kind));
        let kind = long.map_or_else(|| text.split(' ').next(), |kind| Some(kind))?;
        let path = text[kind.len()..].trim_start();
        // The arguments of a function are no part of its name.
        let path = path.split('(').next()?;
        Some(Self {
            kind: kind.to_owned(),
            path: parts(path),
        })
    }

    fn last(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// The parts of a path, without quotes; they are separated by `.` or ` / `.
fn parts(path: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut rest = path.chars().peekable();
    while let Some(c) = rest.next() {
        let part = all.last_mut().expect("there is one from the beginning");
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' | '/' if !quoted => all.push(String::new()),
            ' ' if !quoted => {}
            c => part.push(c),
        }
    }
    all
}

/// What the later of two schemas lacks without a statement that says so, and what it was left in.
pub(crate) fn findings(before: &Observation, after: &Observation, named: &Named) -> Vec<Finding> {
    let both = Both {
        before: &before.objects,
        after: &after.objects,
        named,
    };
    let mut found = Vec::new();
    for (name, then) in both.before {
        let Some(of) = Name::of(name) else { continue };
        match both.after.get(name) {
            Some(now) if now == then => {}
            Some(now) => both.changed(name, &of, then, now, &mut found),
            None => found.extend(both.missing(name, &of, then)),
        }
    }
    found
}

struct Both<'o> {
    before: &'o BTreeMap<String, String>,
    after: &'o BTreeMap<String, String>,
    named: &'o Named,
}

impl Both<'_> {
    /// A finding, as far as it is known that no statement names it.
    fn finding(&self, id: &str, name: &str, message: String) -> Finding {
        if id == LOST || self.named.unknown {
            Finding::warning(id, name, message)
        } else {
            Finding::error(id, name, message)
        }
    }

    /// Whether a table, a view or a domain is there now.
    fn is_there(&self, owner: &str) -> bool {
        ["table", "view", "materialized view", "type"]
            .iter()
            .any(|kind| self.after.contains_key(&format!("{kind} {owner}")))
    }

    /// The table or view that an object belongs to, as it stands in the name of one.
    fn owner<'n>(of: &Name, name: &'n str, facts: &'n str) -> Option<&'n str> {
        let path = name[of.kind.len()..].trim_start();
        match of.kind.as_str() {
            "constraint" | "trigger" | "rule" | "policy" | "published table" => {
                Some(path.rsplit_once(" / ")?.0)
            }
            "index" => {
                let on = facts.split_once(" ON ")?.1;
                let on = on.strip_prefix("ONLY ").unwrap_or(on);
                Some(on.split_once(" USING ")?.0)
            }
            "statistics" => Some(facts.lines().next()?.rsplit_once(" FROM ")?.1),
            _ => None,
        }
    }

    /// What says the same under another name.
    fn essence(of: &Name, facts: &str) -> String {
        let from = match of.kind.as_str() {
            "index" => " ON ",
            "statistics" => " ON ",
            "trigger" => " TRIGGER ",
            _ => return facts.to_owned(),
        };
        let rest = facts.split_once(from).map_or(facts, |(_, rest)| rest);
        if of.kind == "trigger" {
            return rest
                .split_once(' ')
                .map_or(rest, |(_, rest)| rest)
                .to_owned();
        }
        let unique = facts.contains("CREATE UNIQUE");
        format!("{unique} {rest}")
    }

    /// Whether all columns that an index or a constraint is over were dropped by their names.
    fn went_with_its_columns(&self, owner: &str, facts: &str) -> bool {
        let all = self.before.keys();
        let columns = all.filter_map(|name| {
            let column = name.strip_prefix("column ")?.strip_prefix(owner)?;
            Some((name, parts(column.strip_prefix('.')?).pop()?))
        });
        let definition = facts.split(" REFERENCES ").next().unwrap_or(facts);
        let words: Vec<String> = definition
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
            .map(str::to_owned)
            .collect();
        let mut any = false;
        for (name, column) in columns {
            if words.contains(&column) || definition.contains(&format!("\"{column}\"")) {
                any = true;
                if self.after.contains_key(name) || !self.named.object(&column) {
                    return false;
                }
            }
        }
        any
    }

    fn missing(&self, name: &str, of: &Name, then: &str) -> Option<Finding> {
        if of.kind == "column" || of.kind == "settings" || of.kind == "default" {
            return None;
        }
        let in_schema = of.path.first().map(|schema| format!("schema {schema}"));
        if let Some(schema) = in_schema.filter(|schema| name != schema)
            && self.before.contains_key(&schema)
            && !self.after.contains_key(&schema)
        {
            return None;
        }
        let owner = Self::owner(of, name, then);
        if let Some(owner) = owner {
            if !self.is_there(owner) {
                return None;
            }
            let essence = Self::essence(of, then);
            let mut new = self.after.iter();
            let is_renamed = new.any(|(other, now)| {
                !self.before.contains_key(other)
                    && Name::of(other).is_some_and(|new| {
                        new.kind == of.kind
                            && Self::owner(&new, other, now) == Some(owner)
                            && Self::essence(&new, now) == essence
                    })
            });
            let constraint = format!("constraint {owner} / ");
            let of_constraint = of.kind == "index"
                && self.before.keys().any(|other| {
                    other.strip_prefix(&constraint).map(parts) == Some(vec![of.last().to_owned()])
                });
            let over_columns = matches!(of.kind.as_str(), "index" | "constraint" | "statistics");
            if is_renamed
                || of_constraint
                || (over_columns && self.went_with_its_columns(owner, then))
            {
                return None;
            }
        }
        // One that a column owns goes with the column, or with its table.
        if of.kind == "sequence" && fact(then, "owned by").is_some() {
            return None;
        }
        if of.kind == "published table" {
            let table = of.path.iter().rev().nth(1).map_or("", String::as_str);
            let publication = format!("publication {}", of.last());
            if !self.after.contains_key(&publication)
                || self.named.with(table, &["publication"], &["drop", "alter"])
            {
                return None;
            }
        }
        if self.named.object(of.last()) {
            return None;
        }
        let is_foreign_key = then.contains("FOREIGN KEY");
        let id = match of.kind.as_str() {
            "policy" | "security label" => PROTECTION,
            "constraint" if is_foreign_key => PROTECTION,
            _ => LOST,
        };
        let message = "is missing, and no statement of the migration names it";
        Some(self.finding(id, name, message.to_owned()))
    }

    fn changed(&self, name: &str, of: &Name, then: &str, now: &str, found: &mut Vec<Finding>) {
        let (Some(then), Some(now)) = (facts(then), facts(now)) else {
            return;
        };
        let object = match of.kind.as_str() {
            // A statement about a column's rights names the table, too.
            "column" => of.path.iter().rev().nth(1).map_or("", String::as_str),
            _ => of.last(),
        };
        let lacks = |fact: &str| then.contains_key(fact) && !now.contains_key(fact);
        let (mut protection, mut lost) = (Vec::new(), Vec::new());
        for fact in ["row security", "force row security"] {
            if lacks(fact) && !self.named.with(object, &["row", "security"], &["alter"]) {
                protection.push(format!("its {fact}"));
            }
        }
        if let (Some(was), Some(is)) = (then.get("owner"), now.get("owner"))
            && was != is
            && !self.named.with(object, &["owner"], &[])
            && !self
                .named
                .statements
                .iter()
                .any(|words| words.contains("reassign"))
        {
            protection.push(format!("its owner `{was}` (it is `{is}` now)"));
        }
        if !self.named.with(object, &[], &["revoke", "grant"])
            && let Some(grants) = lost_grants(of, &then, &now)
        {
            protection.push(grants);
        }
        if lacks("comment") && !self.named.with(of.last(), &["comment"], &[]) {
            lost.push(format!("its comment `{}`", then["comment"]));
        }
        if !self.named.with(object, &["alter"], &["set", "reset"]) {
            for option in lost_lines(&then, &now, "options") {
                let list = if option.starts_with("security_") {
                    &mut protection
                } else {
                    &mut lost
                };
                list.push(format!("its option `{option}`"));
            }
        }
        if lacks("replica identity") && !self.named.with(object, &["replica", "identity"], &[]) {
            lost.push("its replica identity".to_owned());
        }
        for (id, lost) in [(PROTECTION, protection), (LOST, lost)] {
            if !lost.is_empty() {
                let message = format!(
                    "has lost {}, and no statement of the migration says so",
                    lost.join(", ")
                );
                found.push(self.finding(id, name, message));
            }
        }
        let became = |fact: &str, value: &str| {
            now.get(fact).is_some_and(|is| is == value) && then.get(fact) != now.get(fact)
        };
        if became("triggers", "disabled") {
            let message =
                "is not enforced any more: the triggers that enforce it are left disabled";
            found.push(Finding::error(PROTECTION, name, message));
        }
        if became("enabled", "false") && of.kind == "trigger" {
            let message = "is left disabled";
            found.push(Finding::warning("up/trigger-disabled", name, message));
        }
        if became("populated", "false") {
            let message = "is left without its rows: what reads it fails until it is refreshed";
            found.push(Finding::warning("up/view-not-populated", name, message));
        }
    }
}

/// The rights that others had and have no more, or that others have now because a type or function was
/// made again.
fn lost_grants(
    of: &Name,
    then: &BTreeMap<&str, String>,
    now: &BTreeMap<&str, String>,
) -> Option<String> {
    let was = then.get("acl")?;
    let owner = then.get("owner").map(|owner| format!("{owner}: "));
    let lost: Vec<String> = lost_lines(then, now, "acl")
        .into_iter()
        .filter(|line| !owner.as_ref().is_some_and(|owner| line.starts_with(owner)))
        .collect();
    if !lost.is_empty() {
        return Some(format!("its grants `{}`", lost.join("`, `")));
    }
    let of_public = ["function", "procedure", "aggregate", "type"].contains(&of.kind.as_str());
    let open = of_public && !now.contains_key("acl") && !was.contains("PUBLIC: ");
    open.then(|| "its closure to PUBLIC".to_owned())
}

/// The lines of a fact that the later side does not have.
fn lost_lines(
    then: &BTreeMap<&str, String>,
    now: &BTreeMap<&str, String>,
    fact: &str,
) -> Vec<String> {
    let kept: BTreeSet<&str> = now
        .get(fact)
        .map(|now| now.lines().collect())
        .unwrap_or_default();
    let then = then.get(fact).map(String::as_str).unwrap_or_default();
    let lost = then.lines().filter(|line| !kept.contains(line));
    lost.map(str::to_owned).collect()
}

/// One fact of an object.
fn fact<'f>(facts: &'f str, name: &str) -> Option<&'f str> {
    let mut lines = facts.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests;
