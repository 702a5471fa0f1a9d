//! The rules about the structure: operations, parameters, bodies, responses and headers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::Value;

use super::description::{Answered, Body, Content, Description, Operation, Parameter, names};
use super::objects::changed;
use super::options::CompareOptions;
use super::relation::Direction;
use super::security;
use super::walk::{Place, Walk};
use crate::finding::{Finding, Severity};

use Direction::{Request, Response};
use Severity::{Error, Note, Warning};

/// Compares two descriptions of one interface: what breaks for clients of the old one when they meet the
/// new one.
///
/// Each finding names its rule, in the message, and the place: the operation, the part of it, and where in
/// the value (`GET /orders/{id} response 200 application/json $.items[].price`). A change of a schema that
/// several operations share is reported once; the message names the others.
///
/// An error breaks a client that keeps to the old description. A warning may break one. Notes break nobody;
/// most of them are reported on request only ([`CompareOptions::with_compatible_changes`]).
///
/// An operation that was deprecated may be removed. With a sunset (`x-sunset`) that has passed by
/// [`CompareOptions::with_today`] its removal is a note, with a later one it is an error. Without a sunset it
/// is a warning: clients were told that it would happen, and not when.
pub fn compare(old: &Description, new: &Description, options: &CompareOptions) -> Vec<Finding> {
    let mut walk = Walk::new(old, new, options);
    whole(&mut walk, old, new);
    operations(&mut walk, old, new, options);
    webhooks(&mut walk, old, new);
    security::schemes(&mut walk, old, new);
    walk.finish()
}

fn whole(walk: &mut Walk<'_>, old: &Description, new: &Description) {
    for server in old
        .servers
        .iter()
        .filter(|server| !new.servers.contains(server))
    {
        let server = if server.is_empty() { "/" } else { server };
        let text = format!("the server `{server}` was removed");
        walk.report("server-removed", Warning, Place::whole(), text);
    }
    unknown(walk, &old.unknown, &new.unknown, &Place::whole());
}

fn unknown(
    walk: &mut Walk<'_>,
    old: &serde_json::Map<String, Value>,
    new: &serde_json::Map<String, Value>,
    place: &Place,
) {
    for (key, text, _) in changed(old, new) {
        let text = format!("the keyword `{key}`{text}, and no rule can judge it");
        walk.report("unknown-keyword-changed", Warning, place.clone(), text);
    }
}

fn operations(walk: &mut Walk<'_>, old: &Description, new: &Description, options: &CompareOptions) {
    let by_key = |all: &'_ Description| -> BTreeMap<_, _> {
        all.operations
            .iter()
            .enumerate()
            .map(|(at, one)| (one.key(), at))
            .collect()
    };
    let (was, is) = (by_key(old), by_key(new));
    let paths: BTreeSet<&String> = is.keys().map(|(path, _)| path).collect();
    for (key, at) in &was {
        let operation = &old.operations[*at];
        match is.get(key) {
            Some(other) => pair(walk, old, operation, new, &new.operations[*other]),
            None => {
                let whole = !paths.contains(&key.0);
                removed(walk, operation, whole, options);
            }
        }
    }
    for (_, at) in is.iter().filter(|(key, _)| !was.contains_key(*key)) {
        let operation = &new.operations[*at];
        walk.report(
            "operation-added",
            Note,
            Place::of(operation),
            "the operation was added".to_owned(),
        );
    }
}

fn date(text: &str) -> Option<Date> {
    // A moment counts by its day.
    text.get(..10).unwrap_or(text).parse().ok()
}

fn removed(walk: &mut Walk<'_>, operation: &Operation, path: bool, options: &CompareOptions) {
    let (rule, what) = match path {
        true => ("path-removed", "the path was removed"),
        false => ("operation-removed", "the operation was removed"),
    };
    let sunset = operation.sunset.as_deref();
    let (severity, why) = match (
        operation.deprecated,
        sunset,
        sunset.and_then(date),
        options.today,
    ) {
        (false, ..) => (Error, " without being deprecated before".to_owned()),
        (true, None, ..) => (Warning, "; it was deprecated, without a sunset".to_owned()),
        (true, Some(text), None, _) => (Error, format!("; its sunset `{text}` is not a date")),
        (true, _, Some(sunset), Some(today)) if sunset <= today => {
            (Note, format!(" after its sunset on {sunset}"))
        }
        (true, _, Some(sunset), _) => (Error, format!(" before its sunset on {sunset}")),
    };
    walk.report(rule, severity, Place::of(operation), format!("{what}{why}"));
}

fn pair(
    walk: &mut Walk<'_>,
    old: &Description,
    was: &Operation,
    new: &Description,
    is: &Operation,
) {
    let place = Place::of(was);
    if was.id.is_some() && was.id != is.id {
        let named = |id: &Option<String>| {
            id.as_ref()
                .map_or("none".to_owned(), |id| format!("`{id}`"))
        };
        let text = format!(
            "the id of the operation was {} and is {}",
            named(&was.id),
            named(&is.id)
        );
        walk.report("operation-id-changed", Note, place.clone(), text);
    }
    deprecation(walk, was, is, &place);
    parameters(walk, was, is, &place);
    body(walk, was.body.as_ref(), is.body.as_ref(), &place);
    responses(walk, &was.responses, &is.responses, Response, &place);
    security::operation(walk, (old, &was.security), (new, &is.security), &place);
    callbacks(walk, &was.callbacks, &is.callbacks, &place);
    unknown(walk, &was.unknown, &is.unknown, &place);
}

fn deprecation(walk: &mut Walk<'_>, was: &Operation, is: &Operation, place: &Place) {
    if is.deprecated && !was.deprecated {
        let when = is.sunset.as_ref().map_or(String::new(), |sunset| {
            format!(", with the sunset {sunset}")
        });
        let text = format!("the operation is now deprecated{when}");
        walk.report("operation-deprecated", Note, place.clone(), text);
    }
    let rule = "sunset-moved-earlier";
    let (Some(old), true) = (&was.sunset, is.deprecated && was.sunset != is.sunset) else {
        return;
    };
    match (date(old), &is.sunset, is.sunset.as_deref().and_then(date)) {
        (_, None, _) => {
            let text =
                format!("the sunset {old} was removed, and the operation is still deprecated");
            walk.report(rule, Warning, place.clone(), text);
        }
        (_, Some(new), None) => {
            let text = format!("the sunset is now `{new}`, which is not a date");
            walk.report(rule, Warning, place.clone(), text);
        }
        (Some(was), Some(_), Some(is)) if is < was => {
            let text = format!("the sunset was {was} and is {is}, which is earlier");
            walk.report(rule, Error, place.clone(), text);
        }
        _ => {}
    }
}

/// Headers that a description must not list as parameters; they have other rules.
fn counts(parameter: &Parameter) -> bool {
    let is_special = ["accept", "content-type", "authorization"];
    parameter.place != "header"
        || !is_special.contains(&parameter.name.to_ascii_lowercase().as_str())
}

fn parameters(walk: &mut Walk<'_>, was: &Operation, is: &Operation, place: &Place) {
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

fn body(walk: &mut Walk<'_>, old: Option<&Body>, new: Option<&Body>, place: &Place) {
    let at = place.part("request body");
    let rule = "request-body-now-required";
    match (old, new) {
        (None, None) => {}
        (Some(_), None) => {
            let text = "the operation no longer takes a body".to_owned();
            walk.report("request-body-removed", Error, at, text);
        }
        (None, Some(new)) if new.required => {
            walk.report(rule, Error, at, "the operation now needs a body".to_owned());
        }
        (None, Some(_)) => {
            walk.report_compatible(rule, at, "the operation now takes a body".to_owned())
        }
        (Some(old), Some(new)) => {
            match (old.required, new.required) {
                (false, true) => {
                    walk.report(rule, Error, at, "the body is now required".to_owned())
                }
                (true, false) => {
                    walk.report_compatible(rule, at, "the body is now optional".to_owned())
                }
                _ => {}
            }
            content(walk, &old.content, &new.content, Request, "request", place);
        }
    }
}

/// The media type that takes another one in: the same, or one with a wildcard.
pub(super) fn covering<'c>(
    content: &'c Content,
    media: &str,
) -> Option<(&'c String, &'c super::description::Media)> {
    let range = media.split_once('/').map(|(kind, _)| format!("{kind}/*"));
    [Some(media.to_owned()), range, Some("*/*".to_owned())]
        .into_iter()
        .flatten()
        .find_map(|media| content.get_key_value(&media))
}

fn content(
    walk: &mut Walk<'_>,
    old: &Content,
    new: &Content,
    direction: Direction,
    part: &str,
    place: &Place,
) {
    for (media, was) in old {
        let at = place.body(format!("{part} {media}"));
        // A response that could be anything of a kind may become one of that kind.
        let narrowed = new.iter().find(|(other, _)| {
            direction == Response
                && media.contains('*')
                && covering(&Content::from([(media.clone(), was.clone())]), other).is_some()
        });
        let found = match direction {
            Request => covering(new, media),
            Response => new.get_key_value(media).or(narrowed),
        };
        match found {
            Some((_, is)) => {
                unknown(walk, &was.unknown, &is.unknown, &at);
                walk.schemas(was.schema, is.schema, direction, at);
            }
            None => {
                let (rule, text) = match direction {
                    Request => (
                        "media-type-removed-request",
                        format!("`{media}` is no longer accepted"),
                    ),
                    Response => (
                        "media-type-removed-response",
                        format!("`{media}` is no longer sent"),
                    ),
                };
                walk.report(rule, Error, place.part(part), text);
            }
        }
    }
    for media in new.keys().filter(|media| covering(old, media).is_none()) {
        let text = format!("`{media}` was added");
        walk.report("media-type-added", Note, place.part(part), text);
    }
}

/// The range that takes a status in: `2XX` for 204.
fn range(status: &str) -> String {
    format!("{}XX", status.chars().next().unwrap_or_default())
}

fn responses(
    walk: &mut Walk<'_>,
    old: &BTreeMap<String, Answered>,
    new: &BTreeMap<String, Answered>,
    direction: Direction,
    place: &Place,
) {
    for (status, was) in old {
        let part = format!("response {status}");
        let range = range(status);
        let Some(is) = new.get(status).or_else(|| new.get(&range)) else {
            match status.starts_with('2') {
                true => {
                    let text = format!("the status {status} is no longer described");
                    walk.report("success-status-removed", Error, place.part(part), text);
                }
                false => {
                    let text = format!("the status {status} is no longer described");
                    walk.report("error-status-removed", Note, place.part(part), text);
                }
            }
            continue;
        };
        content(walk, &was.content, &is.content, direction, &part, place);
        headers(walk, was, is, direction, &part, place);
        unknown(walk, &was.unknown, &is.unknown, &place.part(part));
    }
    for status in new.keys().filter(|status| !old.contains_key(*status)) {
        let range = range(status);
        if !old.contains_key(&range) {
            let text = format!("the status {status} is now described");
            walk.report(
                "response-status-added",
                Note,
                place.part(format!("response {status}")),
                text,
            );
        }
    }
}

fn headers(
    walk: &mut Walk<'_>,
    was: &Answered,
    is: &Answered,
    direction: Direction,
    part: &str,
    place: &Place,
) {
    for (name, old) in &was.headers {
        let at = place.part(format!("{part} header {name}"));
        let Some(new) = is.headers.get(name) else {
            let (severity, kind) = match old.required {
                true => (Error, "required"),
                false => (Warning, "optional"),
            };
            let text = format!("the {kind} header was removed");
            walk.report("header-removed", severity, at, text);
            continue;
        };
        match (old.required, new.required) {
            (true, false) => {
                let text = "the header is no longer always sent".to_owned();
                walk.report("header-now-optional", Error, at.clone(), text);
            }
            (false, true) => {
                walk.report(
                    "header-added",
                    Note,
                    at.clone(),
                    "the header is now always sent".to_owned(),
                );
            }
            _ => {}
        }
        unknown(walk, &old.unknown, &new.unknown, &at);
        walk.schemas(old.schema, new.schema, direction, at);
    }
    for name in is
        .headers
        .keys()
        .filter(|name| !was.headers.contains_key(*name))
    {
        let at = place.part(format!("{part} header {name}"));
        walk.report("header-added", Note, at, "the header was added".to_owned());
    }
}

/// What the service sends to its clients, and they answer: the directions are reversed.
fn sent(walk: &mut Walk<'_>, was: &Operation, is: &Operation, place: &Place, part: &str) {
    if let (Some(old), Some(new)) = (&was.body, &is.body) {
        content(
            walk,
            &old.content,
            &new.content,
            Request.reversed(),
            &format!("{part} body"),
            place,
        );
    }
    for (status, old) in &was.responses {
        if let Some(new) = is.responses.get(status) {
            let part = format!("{part} answer {status}");
            content(
                walk,
                &old.content,
                &new.content,
                Response.reversed(),
                &part,
                place,
            );
        }
    }
}

fn callbacks(walk: &mut Walk<'_>, old: &[Operation], new: &[Operation], place: &Place) {
    for was in old {
        let part = format!("callback {} {}", was.method, was.path);
        match new
            .iter()
            .find(|is| is.path == was.path && is.method == was.method)
        {
            Some(is) => sent(walk, was, is, place, &part),
            None => {
                let text = "the callback was removed".to_owned();
                walk.report("callback-removed", Error, place.part(part), text);
            }
        }
    }
    for is in new {
        if !old
            .iter()
            .any(|was| is.path == was.path && is.method == was.method)
        {
            let part = format!("callback {} {}", is.method, is.path);
            walk.report(
                "webhook-added",
                Note,
                place.part(part),
                "the callback was added".to_owned(),
            );
        }
    }
}

fn webhooks(walk: &mut Walk<'_>, old: &Description, new: &Description) {
    let place = |one: &Operation| Place {
        operation: format!("webhook {} {}", one.method, one.path),
        part: String::new(),
        is_body: false,
    };
    let is_same = |a: &Operation, b: &Operation| a.path == b.path && a.method == b.method;
    for was in &old.webhooks {
        match new.webhooks.iter().find(|is| is_same(was, is)) {
            Some(is) => sent(walk, was, is, &place(was), "webhook"),
            None => {
                walk.report(
                    "webhook-removed",
                    Error,
                    place(was),
                    "the webhook was removed".to_owned(),
                );
            }
        }
    }
    for is in new
        .webhooks
        .iter()
        .filter(|is| !old.webhooks.iter().any(|was| is_same(was, is)))
    {
        walk.report(
            "webhook-added",
            Note,
            place(is),
            "the webhook was added".to_owned(),
        );
    }
}
