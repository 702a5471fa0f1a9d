//! The rules about parameters.

use std::collections::BTreeSet;

use super::unknown;
use crate::finding::Severity::{Error, Note, Warning};
use crate::openapi::description::{Operation, Parameter, names};
use crate::openapi::relation::Direction::Request;
use crate::openapi::walk::{Place, Walk};

/// Headers that a description must not list as parameters; they have other rules.
fn counts(parameter: &Parameter) -> bool {
    let is_special = ["accept", "content-type", "authorization"];
    parameter.place != "header"
        || !is_special.contains(&parameter.name.to_ascii_lowercase().as_str())
}

pub(super) fn parameters(walk: &mut Walk<'_>, was: &Operation, is: &Operation, place: &Place) {
    let (names_was, names_is) = (names(&was.path), names(&is.path));
    // A parameter of a path is known by its position.
    let renamed = |name: &str| {
        let at = names_was.iter().position(|one| *one == name)?;
        names_is.get(at).copied()
    };
    let mut matched = BTreeSet::new();
    for old in was.parameters.iter().filter(|one| counts(one)) {
        let at = place.part(format!("{} parameter {}", old.place, old.name));
        let same = is
            .parameters
            .iter()
            .position(|new| match old.place.as_str() {
                "path" => {
                    new.place == "path"
                        && Some(new.name.as_str()) == renamed(&old.name).or(Some(&old.name))
                }
                _ => new.is_same(old),
            });
        if let Some(found) = same {
            matched.insert(found);
            parameter(walk, old, &is.parameters[found], &at);
            continue;
        }
        let moved = is.parameters.iter().position(|new| {
            new.name.eq_ignore_ascii_case(&old.name)
                && !was.parameters.iter().any(|one| one.is_same(new))
        });
        if let Some(found) = moved {
            matched.insert(found);
            let text = format!(
                "it was in the {} and is in the {}",
                old.place, is.parameters[found].place
            );
            walk.report("parameter-moved", Error, at, text);
            continue;
        }
        let (severity, why) = match old.deprecated {
            true => (Note, "; it was deprecated"),
            false => (
                Warning,
                ", so what clients send in it is ignored or refused",
            ),
        };
        walk.report(
            "parameter-removed",
            severity,
            at,
            format!("the parameter was removed{why}"),
        );
    }
    for (_, new) in is
        .parameters
        .iter()
        .enumerate()
        .filter(|(at, one)| !matched.contains(at) && counts(one))
    {
        let at = place.part(format!("{} parameter {}", new.place, new.name));
        match (
            new.required,
            new.schema.is_some_and(|id| walk.has_default(id)),
        ) {
            (true, true) => {
                let text = "the parameter was added, and is required; it has a default".to_owned();
                let severity = walk.options().required_with_default;
                walk.report("required-parameter-added", severity, at, text);
            }
            (true, false) => {
                let text = "the parameter was added, and is required".to_owned();
                walk.report("required-parameter-added", Error, at, text);
            }
            (false, _) => {
                let text = "the parameter was added".to_owned();
                walk.report("optional-parameter-added", Note, at, text);
            }
        }
    }
}

fn parameter(walk: &mut Walk<'_>, old: &Parameter, new: &Parameter, at: &Place) {
    if old.place == "path" && old.name != new.name {
        let text = format!("the parameter is now called `{}`", new.name);
        walk.report("path-parameter-renamed", Note, at.clone(), text);
    }
    match (old.required, new.required) {
        (false, true) => {
            let with_default = new.schema.is_some_and(|id| walk.has_default(id));
            let (severity, more) = match with_default {
                true => (walk.options().required_with_default, "; it has a default"),
                false => (Error, ""),
            };
            let text = format!("the parameter is now required{more}");
            walk.report("parameter-now-required", severity, at.clone(), text);
        }
        (true, false) => {
            let text = "the parameter is now optional".to_owned();
            walk.report("parameter-now-optional", Note, at.clone(), text);
        }
        _ => {}
    }
    // `explode` says nothing about a single value.
    let is_single = walk.are_single(old.schema, new.schema);
    let written = |one: &Parameter| match &one.media {
        Some(media) => format!("as {media}"),
        None if one.explode && !is_single => format!("in the style {}, exploded", one.style),
        None => format!("in the style {}", one.style),
    };
    if written(old) != written(new) {
        let text = format!(
            "the parameter was written {} and is {}",
            written(old),
            written(new)
        );
        walk.report("parameter-moved", Error, at.clone(), text);
    }
    if new.deprecated && !old.deprecated {
        let text = "the parameter is now deprecated".to_owned();
        walk.report("operation-deprecated", Note, at.clone(), text);
    }
    unknown(walk, &old.unknown, &new.unknown, at);
    walk.schemas(old.schema, new.schema, Request, at.clone());
}
