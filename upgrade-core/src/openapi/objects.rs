//! The comparators of keywords that hold schemas, but for `anyOf` and `oneOf`.

use std::collections::BTreeMap;

use super::keywords::shown;
use super::pairs::{Child, Local, Pairs};
use super::relation::{Difference, Direction, Relation, Weight};
use super::schema::{Schema, SchemaId};
use crate::finding::Severity;

/// What a property is called behind a place: `.price`, or `["first name"]`.
pub(super) fn step(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    match name.chars().all(is_plain) && !name.is_empty() {
        true => format!(".{name}"),
        false => format!("[{name:?}]"),
    }
}

/// Whether nobody sends a property in this direction.
fn is_hidden(property: &Schema, direction: Direction) -> bool {
    match direction {
        Direction::Request => property.read_only,
        Direction::Response => property.write_only,
    }
}

pub(super) fn properties(
    pairs: &Pairs<'_>,
    was: &Schema,
    is: &Schema,
    direction: Direction,
    local: &mut Local,
) {
    let hides = |id: &SchemaId, of_old: bool| {
        let description = if of_old { pairs.old } else { pairs.new };
        is_hidden(description.schema(*id), direction)
    };
    for (name, old) in &was.properties {
        if hides(old, true) {
            continue;
        }
        match is.properties.get(name) {
            Some(new) if !hides(new, false) => {
                local.children.push(Child::new(*old, *new, step(name)))
            }
            Some(_) => local.differences.push(hidden(pairs, was, name, direction)),
            None => removed(pairs, (was, is), (name, *old), direction, local),
        }
    }
    for (name, new) in &is.properties {
        if hides(new, false)
            || was
                .properties
                .get(name)
                .is_some_and(|old| !hides(old, true))
        {
            continue;
        }
        local
            .differences
            .extend(added(pairs, was, is, name, direction));
    }
    required(pairs, was, is, direction, local);
    additional(pairs, was, is, local);
}

/// A property that is now read-only in a request, or write-only in a response.
fn hidden(pairs: &Pairs<'_>, was: &Schema, name: &str, direction: Direction) -> Difference {
    let (relation, text, weight) = match direction {
        Direction::Request => (
            Relation::Narrower,
            format!(
                "the property `{name}` is now read-only, so what clients send in it is ignored"
            ),
            Weight::Breaking(Severity::Warning),
        ),
        Direction::Response => (
            Relation::Wider,
            format!("the property `{name}` is now write-only, so clients no longer get it"),
            removal(pairs, was, name),
        ),
    };
    Difference::new("access", relation, text)
        .weighing(weight)
        .at(step(name))
}

/// How much it weighs that a response no longer has a property.
fn removal(pairs: &Pairs<'_>, was: &Schema, name: &str) -> Weight {
    Weight::Breaking(match was.required.contains(name) {
        true => Severity::Error,
        false => pairs.options.optional_response_property_removed,
    })
}

fn is_closed(id: Option<SchemaId>, schemas: &[Schema]) -> bool {
    id.is_some_and(|id| schemas[id].never)
}

fn removed(
    pairs: &Pairs<'_>,
    (was, is): (&Schema, &Schema),
    (name, old): (&str, SchemaId),
    direction: Direction,
    local: &mut Local,
) {
    let difference =
        |relation, text: String| Difference::new("property", relation, text).at(step(name));
    let found = if is_closed(is.additional, &pairs.new.schemas) {
        let text =
            format!("the property `{name}` was removed, and no other properties are allowed");
        let weight = match direction {
            Direction::Request => Weight::ByDirection,
            Direction::Response => {
                // Narrower by the letter; a client misses it all the same.
                match removal(pairs, was, name) {
                    Weight::Breaking(severity) => Weight::Always(severity),
                    weight => weight,
                }
            }
        };
        difference(Relation::Narrower, text).weighing(weight)
    } else if let Some(rest) = is.additional {
        local.children.push(Child::new(old, rest, step(name)));
        return;
    } else {
        let text = format!("the property `{name}` was removed");
        match direction {
            // The service may ignore it or refuse it: the description does not say.
            Direction::Request => {
                difference(Relation::Wider, text).weighing(Weight::Always(Severity::Warning))
            }
            Direction::Response => {
                difference(Relation::Wider, text).weighing(removal(pairs, was, name))
            }
        }
    };
    local.differences.push(found);
}

fn added(
    pairs: &Pairs<'_>,
    was: &Schema,
    is: &Schema,
    name: &str,
    direction: Direction,
) -> Option<Difference> {
    let is_required = is.required.contains(name);
    let was_closed = is_closed(was.additional, &pairs.old.schemas);
    if is_required && direction == Direction::Request {
        // The rule of `required` says it.
        return None;
    }
    if was.properties.contains_key(name) {
        let (relation, text) = match direction {
            Direction::Request => (
                Relation::Wider,
                "is no longer read-only, so clients can send it",
            ),
            Direction::Response => (
                Relation::Narrower,
                "is no longer write-only, so clients get it",
            ),
        };
        let text = format!("the property `{name}` {text}");
        return Some(Difference::new("access", relation, text).at(step(name)));
    }
    let text = format!("the property `{name}` was added");
    let difference = |relation| Difference::new("property", relation, text).at(step(name));
    Some(match (was_closed, direction) {
        (true, Direction::Response) => difference(Relation::Wider)
            .weighing(Weight::Breaking(pairs.options.closed_response_opened)),
        (true, Direction::Request) => difference(Relation::Wider),
        // By the letter it restricts what others could send in it; nobody did.
        (false, _) => difference(Relation::Narrower).weighing(Weight::Breaking(Severity::Note)),
    })
}

fn required(pairs: &Pairs<'_>, was: &Schema, is: &Schema, direction: Direction, local: &mut Local) {
    let property = |schema: &Schema, of_old: bool, name: &String| {
        let description = if of_old { pairs.old } else { pairs.new };
        schema
            .properties
            .get(name)
            .map(|id| description.schema(*id))
    };
    let hides = |property: Option<&Schema>| property.is_some_and(|one| is_hidden(one, direction));
    // What nobody sends cannot be missing.
    let (needed_was, needed_is) = (
        |name: &String| was.required.contains(name) && !hides(property(was, true, name)),
        |name: &String| is.required.contains(name) && !hides(property(is, false, name)),
    );
    for name in is
        .required
        .iter()
        .filter(|name| needed_is(name) && !needed_was(name))
    {
        let (old, new) = (property(was, true, name), property(is, false, name));
        let (text, weight) = match (old.is_some(), new.and_then(|new| new.default.as_ref())) {
            (true, None) => (format!("the property `{name}` is now required"), None),
            (false, None) => (format!("the new property `{name}` is required"), None),
            (_, Some(default)) => (
                format!(
                    "the property `{name}` is now required; its default is {}",
                    shown(default)
                ),
                Some(Weight::Breaking(pairs.options.required_with_default)),
            ),
        };
        let difference = Difference::new("required", Relation::Narrower, text).at(step(name));
        local.differences.push(match weight {
            Some(weight) => difference.weighing(weight),
            None => difference,
        });
    }
    for name in was
        .required
        .iter()
        .filter(|name| needed_was(name) && !needed_is(name))
    {
        let (old, new) = (property(was, true, name), property(is, false, name));
        // A property that was removed, or that nobody sends now, has a finding.
        let is_removed = old.is_some() && new.is_none() && direction == Direction::Response;
        if hides(new) || is_removed {
            continue;
        }
        let text = format!("the property `{name}` is no longer required");
        local
            .differences
            .push(Difference::new("required", Relation::Wider, text).at(step(name)));
    }
}

fn additional(pairs: &Pairs<'_>, was: &Schema, is: &Schema, local: &mut Local) {
    let free = |id: Option<SchemaId>, schemas: &[Schema]| id.is_none_or(|id| schemas[id].is_free());
    let (was_free, is_free) = (
        free(was.additional, &pairs.old.schemas),
        free(is.additional, &pairs.new.schemas),
    );
    let (was_closed, is_closed) = (
        is_closed(was.additional, &pairs.old.schemas),
        is_closed(is.additional, &pairs.new.schemas),
    );
    let named = |free, closed| match (free, closed) {
        (true, _) => "any",
        (_, true) => "none",
        _ => "those of one schema",
    };
    let relation = match (was.additional, is.additional) {
        _ if was_free && is_free || was_closed && is_closed => return,
        (Some(old), Some(new)) if !was_closed && !is_closed && !was_free && !is_free => {
            local.children.push(Child::new(old, new, ".*"));
            return;
        }
        _ if was_free || is_closed => Relation::Narrower,
        _ => Relation::Wider,
    };
    let text = format!(
        "other properties that were allowed: {}; that are allowed: {}",
        named(was_free, was_closed),
        named(is_free, is_closed),
    );
    let difference = Difference::new("additional-properties", relation, text);
    local.differences.push(match relation {
        Relation::Wider => {
            difference.weighing(Weight::Breaking(pairs.options.closed_response_opened))
        }
        _ => difference,
    });
}

pub(super) fn arrays(was: &Schema, is: &Schema, local: &mut Local) {
    let places = was.prefix.len().max(is.prefix.len());
    for at in 0..places {
        let old = was.prefix.get(at).copied().or(was.items);
        let new = is.prefix.get(at).copied().or(is.items);
        items("prefix-items", old, new, &format!("[{at}]"), local);
    }
    items("items", was.items, is.items, "[]", local);
}

fn items(
    rule: &'static str,
    old: Option<SchemaId>,
    new: Option<SchemaId>,
    step: &str,
    local: &mut Local,
) {
    let (relation, text) = match (old, new) {
        (None, None) => return,
        (Some(old), Some(new)) => {
            local.children.push(Child::new(old, new, step));
            return;
        }
        (None, Some(_)) => (
            Relation::Narrower,
            "items could be of any kind, and now have a schema",
        ),
        (Some(_), None) => (
            Relation::Wider,
            "items had a schema, and now can be of any kind",
        ),
    };
    local
        .differences
        .push(Difference::new(rule, relation, text).at(step));
}

/// `not`, keywords that hold schemas and have no rule, unknown keywords and extensions.
pub(super) fn others(
    pairs: &mut Pairs<'_>,
    was: &Schema,
    is: &Schema,
    direction: Direction,
    local: &mut Local,
) {
    local.differences.extend(not(pairs, was, is, direction));
    for (key, old) in &was.applied {
        let named = key
            .name
            .as_ref()
            .map_or(String::new(), |name| format!(" `{name}`"));
        match is.applied.get(key) {
            Some(new) => local.children.push(Child {
                unknown: Some(key.keyword.clone()),
                ..Child::new(*old, *new, format!("<{}{named}>", key.keyword))
            }),
            None => local
                .differences
                .push(unknown(&key.keyword, &format!("{named} was removed"))),
        }
    }
    for key in is
        .applied
        .keys()
        .filter(|key| !was.applied.contains_key(key))
    {
        let named = key
            .name
            .as_ref()
            .map_or(String::new(), |name| format!(" `{name}`"));
        local
            .differences
            .push(unknown(&key.keyword, &format!("{named} was added")));
    }
    let watched = |all: &BTreeMap<String, serde_json::Value>| {
        let mut all = all.clone();
        all.retain(|key, _| pairs.options.extensions.contains(key));
        all
    };
    for (old, new) in [
        (was.other.clone(), is.other.clone()),
        (watched(&was.extensions), watched(&is.extensions)),
    ] {
        for (key, text, fragments) in changed(&old, &new) {
            local
                .differences
                .push(unknown(&key, &text).between(&fragments.0, &fragments.1));
        }
    }
}

type Changed<'v> = (
    String,
    String,
    (Option<&'v serde_json::Value>, Option<&'v serde_json::Value>),
);

/// The keys whose values differ, each with what happened.
pub(super) fn changed<'v, M>(old: &'v M, new: &'v M) -> Vec<Changed<'v>>
where
    &'v M: IntoIterator<Item = (&'v String, &'v serde_json::Value)>,
{
    let old: BTreeMap<_, _> = old.into_iter().collect();
    let new: BTreeMap<_, _> = new.into_iter().collect();
    let mut found = Vec::new();
    for (key, was) in &old {
        match new.get(key) {
            Some(is) if is == was => {}
            Some(is) => found.push((
                (*key).clone(),
                format!(" was {} and is {}", shown(was), shown(is)),
                (Some(*was), Some(*is)),
            )),
            None => found.push((
                (*key).clone(),
                " was removed".to_owned(),
                (Some(*was), None),
            )),
        }
    }
    for (key, is) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        found.push(((*key).clone(), " was added".to_owned(), (None, Some(*is))));
    }
    found
}

/// A change of a keyword that no rule knows.
pub(super) fn unknown(keyword: &str, text: &str) -> Difference {
    let text = format!("the keyword `{keyword}`{text}, and no rule can judge it");
    Difference::new("unknown-keyword-changed", Relation::Other, text)
        .weighing(Weight::Always(Severity::Warning))
}

fn not(
    pairs: &mut Pairs<'_>,
    was: &Schema,
    is: &Schema,
    direction: Direction,
) -> Option<Difference> {
    let (relation, text) = match (&was.not[..], &is.not[..]) {
        ([], []) => return None,
        ([], _) => (
            Relation::Narrower,
            "values that match `not` are no longer valid",
        ),
        (_, []) => (Relation::Wider, "values that matched `not` are now valid"),
        ([old], [new]) => match pairs.relation(*old, *new, direction).inverted() {
            Relation::Same => return None,
            relation => (relation, "the values that `not` excludes are others"),
        },
        _ => (Relation::Other, "the values that `not` excludes are others"),
    };
    Some(Difference::new("not", relation, text))
}
