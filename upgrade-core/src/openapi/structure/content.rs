//! The rules about bodies, responses, media types and headers.

use std::collections::BTreeMap;

use super::unknown;
use crate::finding::Severity::{Error, Note, Warning};
use crate::openapi::description::{Answered, Body, Content, Media};
use crate::openapi::relation::Direction::{self, Request, Response};
use crate::openapi::walk::{Place, Walk};

pub(super) fn body(walk: &mut Walk<'_>, old: Option<&Body>, new: Option<&Body>, place: &Place) {
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
pub(in crate::openapi) fn covering<'c>(
    content: &'c Content,
    media: &str,
) -> Option<(&'c String, &'c Media)> {
    let range = media.split_once('/').map(|(kind, _)| format!("{kind}/*"));
    [Some(media.to_owned()), range, Some("*/*".to_owned())]
        .into_iter()
        .flatten()
        .find_map(|media| content.get_key_value(&media))
}

pub(super) fn content(
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

pub(super) fn responses(
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
