//! The comparator of `anyOf` and `oneOf`, and of discriminators.

use super::pairs::{Child, Local, Pairs};
use super::relation::{Difference, Direction, Relation, Weight};
use super::schema::{Branch, Group, Schema, SchemaId};
use crate::finding::Severity;

/// Compares one schema with a group of which it is now a branch, or was. Returns false where that is not
/// the case.
pub(super) fn wrapped(
    pairs: &mut Pairs<'_>,
    old: SchemaId,
    new: SchemaId,
    direction: Direction,
    local: &mut Local,
) -> bool {
    let (was, is) = pairs.both(old, new);
    let alone = |schema| {
        [Branch {
            schema,
            reference: None,
        }]
    };
    match (&was.groups[..], &is.groups[..]) {
        ([], [group]) if is.is_only_groups() && !was.is_free() => {
            let before = local.differences.len();
            matched(pairs, &alone(old), &group.branches, direction, local);
            for difference in &mut local.differences[before..] {
                if difference.relation == Relation::Wider {
                    difference.weight = Weight::Breaking(pairs.options.response_now_one_of);
                }
            }
            true
        }
        ([group], []) if was.is_only_groups() && !is.is_free() => {
            matched(pairs, &group.branches, &alone(new), direction, local);
            true
        }
        _ => false,
    }
}

pub(super) fn groups(
    pairs: &mut Pairs<'_>,
    was: &Schema,
    is: &Schema,
    direction: Direction,
    local: &mut Local,
) {
    let named = |group: &Group| if group.exclusive { "oneOf" } else { "anyOf" };
    for at in 0..was.groups.len().max(is.groups.len()) {
        match (was.groups.get(at), is.groups.get(at)) {
            (Some(old), Some(new)) => {
                if old.exclusive != new.exclusive {
                    let text = format!("`{}` is now `{}`", named(old), named(new));
                    local.differences.push(match new.exclusive {
                        true => Difference::new("branches", Relation::Narrower, text),
                        false => Difference::new("branches", Relation::Wider, text),
                    });
                }
                matched(pairs, &old.branches, &new.branches, direction, local);
            }
            (Some(group), None) => {
                let text = format!("`{}` was removed", named(group));
                local
                    .differences
                    .push(Difference::new("branches", Relation::Wider, text));
            }
            (None, Some(group)) => {
                let text = format!("`{}` was added", named(group));
                local
                    .differences
                    .push(Difference::new("branches", Relation::Narrower, text));
            }
            (None, None) => {}
        }
    }
    discriminators(was, is, direction, local);
}

/// Finds the branches that belong together, and compares them: by their reference, then by the best score.
fn matched(
    pairs: &mut Pairs<'_>,
    old: &[Branch],
    new: &[Branch],
    direction: Direction,
    local: &mut Local,
) {
    let mut rest_old: Vec<&Branch> = old.iter().collect();
    let mut rest_new: Vec<&Branch> = new.iter().collect();
    let mut found = Vec::new();
    rest_old.retain(|branch| {
        let same =
            |other: &&Branch| other.reference.is_some() && other.reference == branch.reference;
        let Some(at) = rest_new.iter().position(same) else {
            return true;
        };
        found.push((*branch, rest_new.remove(at)));
        false
    });
    // The best pair first, whichever branches it is of.
    let mut scores = Vec::new();
    for (a, old) in rest_old.iter().enumerate() {
        for (b, new) in rest_new.iter().enumerate() {
            if let Some(score) = score(pairs, old, new, direction) {
                scores.push((score, a, b));
            }
        }
    }
    scores.sort_unstable_by(|one, other| {
        other
            .0
            .cmp(&one.0)
            .then((one.1, one.2).cmp(&(other.1, other.2)))
    });
    let (mut taken_old, mut taken_new) = (Vec::new(), Vec::new());
    for (_, a, b) in scores {
        if !taken_old.contains(&a) && !taken_new.contains(&b) {
            taken_old.push(a);
            taken_new.push(b);
            found.push((rest_old[a], rest_new[b]));
        }
    }
    for (old_branch, new_branch) in found {
        let step = match old.len() == 1 && new.len() == 1 {
            true => String::new(),
            false => format!(
                "<{}>",
                name(pairs.new.schema(new_branch.schema), new_branch)
            ),
        };
        let child = Child::new(old_branch.schema, new_branch.schema, step);
        local.children.push(child);
    }
    for (at, branch) in rest_old.iter().enumerate() {
        if !taken_old.contains(&at) {
            let name = name(pairs.old.schema(branch.schema), branch);
            let text = format!("the branch `{name}` was removed");
            local
                .differences
                .push(Difference::new("branches", Relation::Narrower, text));
        }
    }
    for (at, branch) in rest_new.iter().enumerate() {
        if !taken_new.contains(&at) {
            let name = name(pairs.new.schema(branch.schema), branch);
            let text = format!("the branch `{name}` was added");
            local
                .differences
                .push(Difference::new("branches", Relation::Wider, text));
        }
    }
}

/// What a branch is called in a place: the last part of its reference, or its type.
fn name(schema: &Schema, branch: &Branch) -> String {
    match &branch.reference {
        Some(reference) => reference.rsplit('/').next().unwrap_or(reference).to_owned(),
        None => match schema.pointer.strip_prefix("#/components/schemas/") {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => schema.types.to_string(),
        },
    }
}

/// How well two branches fit; `None` where they have nothing in common.
fn score(pairs: &mut Pairs<'_>, old: &Branch, new: &Branch, direction: Direction) -> Option<u32> {
    match pairs.relation(old.schema, new.schema, direction) {
        Relation::Same => return Some(3_000),
        Relation::Narrower | Relation::Wider => return Some(2_000),
        Relation::Other => {}
    }
    let (was, is) = pairs.both(old.schema, new.schema);
    let has_common_type = !was.types.and(is.types).names().is_empty();
    let constants = (&was.constant, &is.constant);
    if !has_common_type || matches!(constants, (Some(a), Some(b)) if a != b) {
        return None;
    }
    let all = was.properties.len().max(is.properties.len());
    let common = was
        .properties
        .keys()
        .filter(|name| is.properties.contains_key(*name))
        .count();
    if tag(pairs, was, is) == Some(false) || all == 0 && was.types != is.types {
        return None;
    }
    let share = (common * 1_000).checked_div(all).unwrap_or(500);
    // Half of the properties: less is another kind of object.
    (share >= 500).then_some(u32::try_from(share).unwrap_or_default())
}

/// Whether two objects have the same constant in a property; `None` where none is a constant in both.
fn tag(pairs: &Pairs<'_>, was: &Schema, is: &Schema) -> Option<bool> {
    let value = |schema: &Schema| {
        let listed = schema.values.clone().filter(|values| values.len() == 1);
        schema
            .constant
            .clone()
            .or(listed.and_then(|mut values| values.pop()))
    };
    was.properties.iter().find_map(|(name, old)| {
        let new = is.properties.get(name)?;
        let (old, new) = (
            value(pairs.old.schema(*old))?,
            value(pairs.new.schema(*new))?,
        );
        Some(old == new)
    })
}

fn discriminators(was: &Schema, is: &Schema, direction: Direction, local: &mut Local) {
    let (Some(old), Some(new)) = (&was.discriminator, &is.discriminator) else {
        if was.discriminator.is_some() != is.discriminator.is_some() {
            let text = match is.discriminator.is_some() {
                true => "a discriminator was added",
                false => "the discriminator was removed",
            };
            let difference = Difference::new("discriminator-mapping-removed", Relation::Same, text);
            local.differences.push(match is.discriminator.is_some() {
                true => difference,
                false => difference.weighing(Weight::Always(Severity::Warning)),
            });
        }
        return;
    };
    let rule = "discriminator-mapping-removed";
    if old.property != new.property {
        let text = format!(
            "the discriminator was `{}` and is `{}`",
            old.property, new.property
        );
        local
            .differences
            .push(Difference::new(rule, Relation::Other, text));
        return;
    }
    for (key, was) in &old.mapping {
        match new.mapping.get(key) {
            Some(is) if is == was => {}
            Some(is) => {
                let text = format!("the discriminator `{key}` meant `{was}` and means `{is}`");
                local
                    .differences
                    .push(Difference::new(rule, Relation::Other, text));
            }
            None => {
                let text = format!(
                    "the discriminator no longer has the value `{key}`, which meant `{was}`"
                );
                let difference = Difference::new(rule, Relation::Narrower, text);
                local.differences.push(match direction {
                    Direction::Request => difference,
                    // What the service no longer sends does not harm, unless it sends another value for it.
                    Direction::Response if new.mapping.values().any(|to| to == was) => Difference {
                        relation: Relation::Other,
                        ..difference
                    },
                    Direction::Response => difference,
                });
            }
        }
    }
}
