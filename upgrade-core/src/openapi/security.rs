//! The rules about how clients authenticate.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::description::{Description, Security};
use super::objects::changed;
use super::walk::{Place, Walk};
use crate::finding::Severity::{Error, Note, Warning};

type Alternative = BTreeMap<String, BTreeSet<String>>;

/// Without a list, and with an empty alternative in it, nobody has to authenticate.
fn alternatives(security: &Security) -> Security {
    match security.is_empty() {
        true => vec![Alternative::new()],
        false => security.clone(),
    }
}

fn named(alternative: &Alternative) -> String {
    let one = |(scheme, scopes): (&String, &BTreeSet<String>)| match scopes.is_empty() {
        true => format!("`{scheme}`"),
        false => {
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            format!("`{scheme}` with {}", scopes.join(", "))
        }
    };
    match alternative.is_empty() {
        true => "no authentication".to_owned(),
        false => alternative
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join(" and "),
    }
}

/// A scheme without what only people read.
fn definition(description: &Description, scheme: &str) -> Option<Value> {
    let mut scheme = description.schemes.get(scheme)?.clone();
    if let Some(map) = scheme.as_object_mut() {
        map.retain(|key, _| key != "description" && !key.starts_with("x-"));
    }
    Some(scheme)
}

/// What of a new alternative clients of an old one do not have: schemes, scopes.
fn lacks(old: (&Description, &Alternative), new: (&Description, &Alternative)) -> (usize, usize) {
    let (mut schemes, mut scopes) = (0, 0);
    for (name, needed) in new.1 {
        let by_definition = || {
            let is_new = !old.0.schemes.contains_key(name);
            let wanted = definition(new.0, name).filter(|_| is_new)?;
            let same =
                |(known, _): &(&String, _)| definition(old.0, known).as_ref() == Some(&wanted);
            old.1.iter().find(same).map(|(_, scopes)| scopes)
        };
        match old.1.get(name).or_else(by_definition) {
            Some(known) => scopes += needed.difference(known).count(),
            None => schemes += 1,
        }
    }
    (schemes, scopes)
}

pub(super) fn operation(
    walk: &mut Walk<'_>,
    old: (&Description, &Security),
    new: (&Description, &Security),
    place: &Place,
) {
    let (was, is) = (alternatives(old.1), alternatives(new.1));
    for one in &was {
        let best = is
            .iter()
            .map(|other| lacks((old.0, one), (new.0, other)))
            .min();
        let accepted: Vec<String> = is.iter().map(named).collect();
        let (rule, what) = match best {
            None | Some((0, 0)) => continue,
            Some((0, _)) => ("security-scope-added", "is no longer enough"),
            Some(_) => ("security-added", "is no longer accepted"),
        };
        let text = format!("{} {what}; now it is {}", named(one), accepted.join(" or "));
        walk.report(rule, Error, place.part("security"), text);
    }
    for one in &is {
        let is_known = |other: &Alternative| {
            let lacks = (
                lacks((new.0, one), (old.0, other)),
                lacks((old.0, other), (new.0, one)),
            );
            lacks == ((0, 0), (0, 0))
        };
        let breaks = was
            .iter()
            .all(|other| lacks((old.0, other), (new.0, one)) != (0, 0));
        // An alternative that replaces another one has been judged.
        if !was.iter().any(is_known) && (!breaks || is.len() > was.len()) {
            let text = format!("{} is now accepted", named(one));
            walk.report("security-relaxed", Note, place.part("security"), text);
        }
    }
}

/// The schemes that operations of both use.
pub(super) fn schemes(walk: &mut Walk<'_>, old: &Description, new: &Description) {
    let used = |description: &Description| -> BTreeSet<String> {
        let operations = description.operations.iter();
        operations
            .flat_map(|one| one.security.iter().flat_map(|all| all.keys().cloned()))
            .collect()
    };
    let empty = Value::Null;
    for name in used(old).intersection(&used(new)) {
        let (was, is) = (
            old.schemes.get(name).unwrap_or(&empty),
            new.schemes.get(name).unwrap_or(&empty),
        );
        let map = |value: &Value| value.as_object().cloned().unwrap_or_default();
        for (key, text, _) in changed(&map(was), &map(is)) {
            if key == "description" || key == "bearerFormat" || key.starts_with("x-") {
                continue;
            }
            let decides = matches!(key.as_str(), "type" | "in" | "name" | "scheme");
            let severity = if decides { Error } else { Warning };
            let place = Place::whole().part(format!("security scheme {name}"));
            walk.report(
                "security-scheme-changed",
                severity,
                place,
                format!("`{key}`{text}"),
            );
        }
    }
}
