//! The comparators of keywords that hold no schemas.

use std::fmt::Display;

use serde_json::Value;

use super::options::CompareOptions;
use super::relation::{Difference, Direction, Relation, Weight};
use super::schema::{Bound, Extensible, Range, Schema, Types};
use crate::finding::Severity;

/// All differences of two schemas in these keywords.
pub(super) fn differences(
    old: &Schema,
    new: &Schema,
    direction: Direction,
    options: &CompareOptions,
) -> Vec<Difference> {
    let mut found = Vec::new();
    found.extend(types(old, new, options));
    found.extend(format(old, new));
    found.extend(values(old, new, direction, options));
    found.extend(extensible(old, new, direction));
    found.extend(bound("minimum", old.lower, new.lower, 1.0));
    found.extend(bound("maximum", old.upper, new.upper, -1.0));
    found.extend(multiple(&old.multiples, &new.multiples));
    found.extend(range(
        ["min-length", "max-length"],
        "characters",
        old.length,
        new.length,
    ));
    found.extend(range(
        ["min-items", "max-items"],
        "items",
        old.count,
        new.count,
    ));
    found.extend(range(
        ["min-properties", "max-properties"],
        "properties",
        old.size,
        new.size,
    ));
    found.extend(pattern(old, new));
    if old.unique != new.unique {
        let text = match new.unique {
            true => "the items now have to be different from each other",
            false => "the items no longer have to be different from each other",
        };
        found.push(Difference::new(
            "unique-items",
            Relation::of(new.unique, old.unique),
            text,
        ));
    }
    found.extend(default(old, new, direction));
    if new.deprecated && !old.deprecated {
        let text = "the value is now deprecated";
        found.push(Difference::new("deprecated", Relation::Same, text));
    }
    found
}

/// A value of JSON as it stands in a message.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}

fn list(values: &[&Value]) -> String {
    let mut texts: Vec<String> = values.iter().take(5).map(|value| shown(value)).collect();
    if values.len() > 5 {
        texts.push(format!("{} more", values.len() - 5));
    }
    texts.join(", ")
}

fn types(old: &Schema, new: &Schema, options: &CompareOptions) -> Vec<Difference> {
    if old.never || new.never {
        let text = match new.never {
            true => "no value is valid any more",
            false => "values are valid now, and none was",
        };
        let relation = Relation::of(new.never, old.never);
        let differs = old.never != new.never;
        return differs
            .then(|| Difference::new("type", relation, text))
            .into_iter()
            .collect();
    }
    let (was, is) = (old.types, new.types);
    if was == is {
        return Vec::new();
    }
    let mut found = Vec::new();
    let (bare_was, bare_is) = (was.without(Types::NULL), is.without(Types::NULL));
    let relation = Relation::of(bare_was.has(bare_is), bare_is.has(bare_was));
    if relation != Relation::Same {
        let text = format!("the type was {was} and is {is}");
        found.push(Difference::new("type", relation, text));
    }
    // `any type` includes null: the rule above has said it.
    let was_null = was.has(Types::NULL);
    if was_null != is.has(Types::NULL) && was != Types::ANY && is != Types::ANY {
        let (relation, text) = match was_null {
            true => (
                Relation::Narrower,
                "the value could be null and no longer can",
            ),
            false => (Relation::Wider, "the value can now be null"),
        };
        let weight = Weight::Breaking(options.response_now_nullable);
        let difference = Difference::new("nullable", relation, text);
        found.push(match was_null {
            true => difference,
            false => difference.weighing(weight),
        });
    }
    found
}

/// Formats of which the first is a part of the second.
const PARTS: [(&str, &str); 2] = [("int32", "int64"), ("float", "double")];

fn format(old: &Schema, new: &Schema) -> Option<Difference> {
    let bare = |schema: &Schema| schema.types.without(Types::NULL);
    let (was, is) = (bare(old), bare(new));
    if old.formats == new.formats || !(was.has(is) || is.has(was)) {
        return None;
    }
    let one = |schema: &Schema| match schema.formats.len() {
        1 => schema.formats.first().cloned(),
        _ => None,
    };
    let is_part = |a: &Option<String>, b: &Option<String>| {
        let (Some(a), Some(b)) = (a, b) else {
            return false;
        };
        PARTS.contains(&(a.as_str(), b.as_str()))
    };
    let (was, is) = (one(old), one(new));
    let relation = Relation::of(
        new.formats.is_superset(&old.formats) || is_part(&is, &was),
        old.formats.is_superset(&new.formats) || is_part(&was, &is),
    );
    let named = |schema: &Schema| match schema.formats.is_empty() {
        true => "none".to_owned(),
        false => schema
            .formats
            .iter()
            .map(|one| format!("`{one}`"))
            .collect::<Vec<_>>()
            .join(" and "),
    };
    let text = format!("the format was {} and is {}", named(old), named(new));
    Some(Difference::new("format", relation, text))
}

fn values(
    old: &Schema,
    new: &Schema,
    direction: Direction,
    options: &CompareOptions,
) -> Option<Difference> {
    if old.values.is_none() && new.values.is_none() {
        return constant(old.constant.as_ref(), new.constant.as_ref());
    }
    // A constant is an enum of one value.
    let listed = |schema: &Schema| {
        let constant = schema.constant.clone().map(|value| vec![value]);
        schema.values.clone().or(constant)
    };
    let (was, is) = match (listed(old), listed(new)) {
        (Some(was), Some(is)) => (was, is),
        (None, Some(is)) => {
            let text = format!(
                "every value was valid, and now only {}",
                list(&is.iter().collect::<Vec<_>>())
            );
            return Some(Difference::new("enum", Relation::Narrower, text));
        }
        (Some(was), None) => {
            let text = format!(
                "only {} was valid, and now every value is",
                list(&was.iter().collect::<Vec<_>>())
            );
            return Some(Difference::new("enum", Relation::Wider, text));
        }
        (None, None) => return None,
    };
    let removed: Vec<&Value> = was.iter().filter(|value| !is.contains(value)).collect();
    let added: Vec<&Value> = is.iter().filter(|value| !was.contains(value)).collect();
    let text = match (removed.is_empty(), added.is_empty()) {
        (true, true) => return None,
        (false, true) => format!("the values lost {}", list(&removed)),
        (true, false) => format!("the values got {}", list(&added)),
        (false, false) => format!(
            "the values lost {} and got {}",
            list(&removed),
            list(&added)
        ),
    };
    let relation = Relation::of(added.is_empty(), removed.is_empty());
    let difference = Difference::new("enum", relation, text).between(&was, &is);
    if direction == Direction::Request {
        return Some(difference);
    }
    // Whether values were removed does not count for a client: it has to know those that are new.
    let weight = match old.extensible == Some(Extensible::Enum) {
        true => Severity::Note,
        false => options.response_enum_value_added,
    };
    Some(difference.weighing(Weight::Breaking(weight)))
}

fn constant(was: Option<&Value>, is: Option<&Value>) -> Option<Difference> {
    let (relation, text) = match (was, is) {
        (None, None) => return None,
        (Some(was), Some(is)) if was == is => return None,
        (Some(was), Some(is)) => (
            Relation::Other,
            format!("the only value was {} and is {}", shown(was), shown(is)),
        ),
        (None, Some(is)) => (
            Relation::Narrower,
            format!("every value was valid, and now only {} is", shown(is)),
        ),
        (Some(was), None) => (
            Relation::Wider,
            format!("only {} was valid, and now every value is", shown(was)),
        ),
    };
    Some(Difference::new("const", relation, text))
}

fn extensible(old: &Schema, new: &Schema, direction: Direction) -> Option<Difference> {
    let (Some(Extensible::Values(was)), Some(Extensible::Values(is))) =
        (&old.extensible, &new.extensible)
    else {
        return None;
    };
    let removed: Vec<&Value> = was.iter().filter(|value| !is.contains(value)).collect();
    let added: Vec<&Value> = is.iter().filter(|value| !was.contains(value)).collect();
    if removed.is_empty() && added.is_empty() {
        return None;
    }
    let relation = Relation::of(added.is_empty(), removed.is_empty());
    let mut parts = Vec::new();
    if !removed.is_empty() {
        parts.push(format!("lost {}", list(&removed)));
    }
    if !added.is_empty() {
        parts.push(format!("got {}", list(&added)));
    }
    let text = format!("the extensible values {}", parts.join(" and "));
    let difference = Difference::new("extensible-enum", relation, text).between(was, is);
    Some(match direction {
        Direction::Request => difference,
        // Clients were told that values will be added.
        Direction::Response => difference.weighing(Weight::Breaking(Severity::Note)),
    })
}

/// A lower bound; an upper one has the sign changed.
fn bound(
    rule: &'static str,
    old: Option<Bound>,
    new: Option<Bound>,
    sign: f64,
) -> Option<Difference> {
    let named = |bound: Option<Bound>| match bound {
        None => "none".to_owned(),
        Some(Bound {
            value,
            exclusive: false,
        }) => value.to_string(),
        Some(Bound {
            value,
            exclusive: true,
        }) => format!("{value}, itself excluded"),
    };
    // The larger, the stricter.
    let strict = |bound: Option<Bound>| {
        bound.map_or((f64::NEG_INFINITY, false), |bound| {
            (bound.value * sign, bound.exclusive)
        })
    };
    let (was, is) = (strict(old), strict(new));
    let relation = Relation::of(is >= was, was >= is);
    let text = format!("the {rule} was {} and is {}", named(old), named(new));
    (relation != Relation::Same).then(|| Difference::new(rule, relation, text))
}

fn multiple(old: &[f64], new: &[f64]) -> Option<Difference> {
    // Each new restriction follows from one of the old, and the reverse.
    let follows = |from: &[f64], to: &[f64]| {
        let is_multiple = |a: f64, b: f64| {
            let ratio = a / b;
            (ratio - ratio.round()).abs() < 1e-9
        };
        to.iter().all(|b| from.iter().any(|a| is_multiple(*a, *b)))
    };
    let relation = Relation::of(follows(new, old), follows(old, new));
    let named = |all: &[f64]| match all {
        [] => "any number".to_owned(),
        all => all
            .iter()
            .map(f64::to_string)
            .collect::<Vec<_>>()
            .join(" and "),
    };
    let text = format!(
        "a value was a multiple of {} and is one of {}",
        named(old),
        named(new)
    );
    (relation != Relation::Same).then(|| Difference::new("multiple-of", relation, text))
}

fn range(rules: [&'static str; 2], what: &str, old: Range, new: Range) -> Vec<Difference> {
    let mut found = Vec::new();
    if old.least != new.least {
        let relation = Relation::of(new.least >= old.least, new.least <= old.least);
        let text = format!(
            "the least number of {what} was {} and is {}",
            old.least, new.least
        );
        found.push(Difference::new(rules[0], relation, text));
    }
    if old.most != new.most {
        let most = |range: Range| range.most.unwrap_or(u64::MAX);
        let relation = Relation::of(most(new) <= most(old), most(new) >= most(old));
        let named = |range: Range| {
            range
                .most
                .map_or("none".to_owned(), |most| most.to_string())
        };
        let text = format!(
            "the limit of {what} was {} and is {}",
            named(old),
            named(new)
        );
        found.push(Difference::new(rules[1], relation, text));
    }
    found
}

fn pattern(old: &Schema, new: &Schema) -> Option<Difference> {
    // Patterns that every text matches.
    let counts =
        |pattern: &&String| !matches!(pattern.as_str(), "" | ".*" | "^.*" | "^.*$" | ".*$");
    let was: Vec<&String> = old.patterns.iter().filter(counts).collect();
    let is: Vec<&String> = new.patterns.iter().filter(counts).collect();
    let relation = Relation::of(
        was.iter().all(|pattern| is.contains(pattern)),
        is.iter().all(|pattern| was.contains(pattern)),
    );
    let text = format!("the pattern was {} and is {}", quoted(&was), quoted(&is));
    let difference = Difference::new("pattern", relation, text);
    match relation {
        Relation::Same => None,
        // Nobody can tell which texts two patterns have in common.
        Relation::Other => Some(difference.weighing(Weight::Always(Severity::Warning))),
        _ => Some(difference),
    }
}

fn quoted<T: Display>(all: &[T]) -> String {
    match all {
        [] => "none".to_owned(),
        all => all
            .iter()
            .map(|one| format!("`{one}`"))
            .collect::<Vec<_>>()
            .join(" and "),
    }
}

fn default(old: &Schema, new: &Schema, direction: Direction) -> Option<Difference> {
    if old.default == new.default {
        return None;
    }
    let named = |value: &Option<Value>| value.as_ref().map_or("none".to_owned(), shown);
    let text = format!(
        "the default was {} and is {}",
        named(&old.default),
        named(&new.default)
    );
    // What a client leaves out means something else now. A default of a response is a comment.
    let difference = Difference::new("default-changed", Relation::Same, text);
    Some(match direction {
        Direction::Request => difference.weighing(Weight::Always(Severity::Warning)),
        Direction::Response => difference,
    })
}
