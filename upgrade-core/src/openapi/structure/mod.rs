//! The rules about the structure: operations, parameters, bodies, responses and headers.

mod content;
mod parameters;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::Value;

pub(super) use self::content::covering;
use self::content::{body, content, responses};
use self::parameters::parameters;

use crate::finding::{Finding, Severity};
use crate::openapi::description::{Description, Operation};
use crate::openapi::objects::changed;
use crate::openapi::options::CompareOptions;
use crate::openapi::relation::Direction;
use crate::openapi::security;
use crate::openapi::walk::{Place, Walk};

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
