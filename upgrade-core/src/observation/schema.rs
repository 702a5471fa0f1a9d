//! What differs between two schemas, in words: which object, which of its facts, from what to
//! what.

use std::collections::{BTreeMap, BTreeSet};

use super::cosmetic::is_form_only;
use super::{Observation, unified};
use crate::finding::Finding;

/// The longest value that stands in a message; a longer one is in the evidence only.
const SHOWN: usize = 60;

/// How many of the objects that a table takes along stand in a message; the rest is in the
/// evidence.
const FEW: usize = 4;

/// One finding for each object that differs, but what goes or comes with its table or view is
/// named in the finding of that. An object that differs in form only is a note.
pub(super) fn findings(expected: &Observation, actual: &Observation, id: &str) -> Vec<Finding> {
    let (before, after) = (&expected.objects, &actual.objects);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut gone: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut new: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut differing: Vec<(&str, Option<&str>, Option<&str>)> = Vec::new();
    for name in names {
        let (then, now) = (before.get(name), after.get(name));
        let (one, other, folded) = match (then, now) {
            (Some(then), Some(now)) if then == now => continue,
            (Some(then), None) => (before, after, Some((then, &mut gone))),
            (None, Some(now)) => (after, before, Some((now, &mut new))),
            _ => (before, after, None),
        };
        // The owner is on the same side only: it takes the object along.
        if let Some((facts, members)) = folded
            && let Some(owner) = owner(name, facts, one)
            && !other.contains_key(owner)
        {
            members.entry(owner).or_default().push(name);
            continue;
        }
        differing.push((name, then.map(String::as_str), now.map(String::as_str)));
    }
    differing
        .into_iter()
        .map(|(name, then, now)| {
            let (message, members) = match (then, now) {
                (Some(then), Some(now)) => (changes(then, now), None),
                (Some(_), None) => ("is missing".to_owned(), gone.get(name)),
                _ => ("was not there before".to_owned(), new.get(name)),
            };
            let members = members.map_or(&[][..], Vec::as_slice);
            let form_only = then.zip(now).is_some_and(|(then, now)| {
                let facts = facts(then).zip(facts(now));
                facts.is_some_and(|(then, now)| is_form_only(&then, &now))
            });
            let mut evidence = unified(then.unwrap_or_default(), now.unwrap_or_default());
            for member in members.iter().skip(FEW) {
                evidence.push_str(&format!("with {member}\n"));
            }
            let finding = match form_only {
                true => Finding::note(id, name, format!("differs in form only: {message}")),
                false => Finding::error(id, name, message + with(members).as_str()),
            };
            finding.with_evidence(evidence)
        })
        .collect()
}

/// What the later of two schemas has begun and not finished: indexes that are not valid,
/// constraints that were never validated.
pub(super) fn unfinished(before: &Observation, after: &Observation) -> Vec<Finding> {
    let says = |facts: &str, fact: &str| facts.lines().any(|line| line == fact);
    let mut findings = Vec::new();
    for (name, facts) in &after.objects {
        let new = |fact: &str| {
            let then = before.objects.get(name);
            says(facts, fact) && !then.is_some_and(|then| says(then, fact))
        };
        if name.starts_with("index ") && (new("valid: false") || new("ready: false")) {
            let message = "is not valid: no query uses it, and every write pays for it";
            findings.push(Finding::error("up/index-invalid", name, message));
        }
        if name.starts_with("constraint ") && new("validated: false") {
            let message = "was never validated: rows that were there may break it";
            findings.push(Finding::warning(
                "up/constraint-not-validated",
                name,
                message,
            ));
        }
    }
    findings
}

/// The table or view that an object goes and comes with: `table public.t` for `column public.t.a`,
/// for `constraint public.t / c`, and for an index on it.
fn owner<'a>(name: &str, facts: &str, objects: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let (kind, path) = name.split_once(' ')?;
    let table = match kind {
        "column" => path.rsplit_once('.')?.0,
        "constraint" | "trigger" | "rule" | "policy" => path.split_once(" / ")?.0,
        "index" => facts
            .split_once(" ON ")
            .map(|(_, on)| on.strip_prefix("ONLY ").unwrap_or(on))
            .and_then(|on| Some(on.split_once(" USING ")?.0))?,
        _ => return None,
    };
    ["table", "view", "materialized view"]
        .into_iter()
        .find_map(|kind| objects.get_key_value(&format!("{kind} {table}")))
        .map(|(owner, _)| owner.as_str())
}

/// A table and all that goes with it, with the facts of each.
pub(super) fn of_table<'a>(
    objects: &'a BTreeMap<String, String>,
    table: &str,
) -> BTreeMap<&'a str, &'a str> {
    let path = format!("table {table}");
    objects
        .iter()
        .filter(|(name, facts)| **name == path || owner(name, facts, objects) == Some(&path))
        .map(|(name, facts)| (name.as_str(), facts.as_str()))
        .collect()
}

/// The first few of what a table takes along.
fn with(members: &[&str]) -> String {
    let few = members[..members.len().min(FEW)].join(", ");
    match members.len().saturating_sub(FEW) {
        _ if members.is_empty() => few,
        0 => format!(", with {few}"),
        more => format!(", with {few} and {more} more"),
    }
}

/// What differs between the facts of an object on both sides.
fn changes(then: &str, now: &str) -> String {
    let (Some(then), Some(now)) = (facts(then), facts(now)) else {
        return "is not what it was".to_owned();
    };
    let names: BTreeSet<&str> = then.keys().chain(now.keys()).copied().collect();
    let mut said: Vec<String> = names
        .into_iter()
        .filter_map(|name| match (then.get(name), now.get(name)) {
            (was, is) if was == is => None,
            (Some(was), Some(is)) if fits(was) && fits(is) => {
                Some(format!("{name}: was `{was}`, is `{is}`"))
            }
            (Some(was), None) if fits(was) => Some(format!("has lost its {name}, `{was}`")),
            (None, Some(is)) if fits(is) => Some(format!("{name}: was not set, is `{is}`")),
            (Some(_), Some(_)) => Some(format!("has another {name}")),
            (Some(_), None) => Some(format!("has lost its {name}")),
            (None, _) => Some(format!("has a {name} that was not set before")),
        })
        .collect();
    if said.is_empty() {
        said.push("is not what it was".to_owned());
    }
    said.join("; ")
}

fn fits(value: &str) -> bool {
    value.chars().count() <= SHOWN && !value.contains('\n')
}

/// Facts as text: `name: value`, one a line, further lines of a value indented. None for text of
/// another form, which an environment of another kind may have.
pub(super) fn facts(text: &str) -> Option<BTreeMap<&str, String>> {
    let mut facts: BTreeMap<&str, String> = BTreeMap::new();
    let mut last = None;
    for line in text.lines() {
        if let (Some(further), Some(name)) = (line.strip_prefix("    "), last)
            && let Some(value) = facts.get_mut(name)
        {
            value.push('\n');
            value.push_str(further);
            continue;
        }
        let (name, value) = line.split_once(": ").or_else(|| line.split_once(':'))?;
        facts.insert(name, value.to_owned());
        last = Some(name);
    }
    Some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(then: &str, now: &str, expected: &str) {
        assert_eq!(changes(then, now), expected);
    }

    #[test]
    fn a_change_names_the_fact() {
        check(
            "comment: net\ntype: integer\n",
            "type: integer\n",
            "has lost its comment, `net`",
        );
        check(
            "default: 0\ntype: integer\n",
            "default: 1\ntype: bigint\n",
            "default: was `0`, is `1`; type: was `integer`, is `bigint`",
        );
        check(
            "a: 1\n",
            "a: 1\nvalid: false\n",
            "valid: was not set, is `false`",
        );
        check(
            "definition: SELECT a\n      FROM t\n",
            "definition: SELECT b\n      FROM t\n",
            "has another definition",
        );
        check("comment: \n", "comment: x\n", "comment: was ``, is `x`");
        check("seven", "eight", "is not what it was");
    }

    #[test]
    fn a_table_takes_along_what_belongs_to_it() {
        let facts = [
            ("table public.t", "owner: me\n"),
            ("column public.t.a", "type: text\n"),
            (
                "constraint public.t / t_check",
                "definition: CHECK (true)\n",
            ),
            (
                "index public.t_a",
                "definition: CREATE INDEX t_a ON public.t USING btree (a)\n",
            ),
            ("column public.other.a", "type: text\n"),
        ];
        let mut before = Observation::default();
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        before.objects.extend(facts.iter().map(owned));
        let all = findings(&before, &Observation::default(), "differs");
        let said: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "error[differs] column public.other.a: is missing",
                "error[differs] table public.t: is missing, with column public.t.a, \
                 constraint public.t / t_check, index public.t_a",
            ]
        );
        let back = findings(&Observation::default(), &before, "differs");
        assert!(
            back[1]
                .message
                .starts_with("was not there before, with column"),
            "{}",
            back[1]
        );

        let mut kept = before.clone();
        kept.objects.remove("index public.t_a");
        let index = &findings(&before, &kept, "differs")[0];
        assert_eq!(
            index.subject, "index public.t_a",
            "its table is still there"
        );
    }
}
