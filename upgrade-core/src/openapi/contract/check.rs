//! The check of one exchange by its operation.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{About, Contract, Violation};
use crate::http::{Headers, Request, Response};
use crate::openapi::description::{Answered, Content, Operation, Parameter};
use crate::openapi::objects::step;
use crate::openapi::reader::essence;
use crate::openapi::relation::Direction;
use crate::openapi::schema::{SchemaId, Types};
use crate::openapi::structure::covering;
use crate::openapi::values::{query, separator, values};

/// How long the message of a violation may be, in characters.
const SHOWN: usize = 200;

/// How many violations of one body are reported.
const MANY: usize = 50;

pub(super) struct Check<'c> {
    pub(super) contract: &'c Contract,
    pub(super) operation: &'c Operation,
    pub(super) found: Vec<Violation>,
}

impl Check<'_> {
    fn add(&mut self, about: About, place: &str, rule: &str, message: impl Into<String>) {
        let message = message.into();
        self.found.push(Violation {
            about,
            operation: self.operation.to_string(),
            place: place.to_owned(),
            rule: rule.to_owned(),
            message: match message.char_indices().nth(SHOWN) {
                Some((end, _)) => format!("{}...", &message[..end]),
                None => message,
            },
        });
    }

    pub(super) fn request(&mut self, request: &Request, of_path: &BTreeMap<&str, String>) {
        let operation = self.operation;
        let pairs = query(&request.target);
        for parameter in &operation.parameters {
            let place = format!("{} parameter {}", parameter.place, parameter.name);
            let texts: Vec<String> = match parameter.place.as_str() {
                "path" => of_path
                    .get(parameter.name.as_str())
                    .cloned()
                    .into_iter()
                    .collect(),
                "query" => {
                    let named = pairs.iter().filter(|(name, _)| *name == parameter.name);
                    named.map(|(_, value)| value.clone()).collect()
                }
                "header" if is_special(&parameter.name) => continue,
                "header" => request
                    .headers
                    .all(&parameter.name)
                    .map(str::to_owned)
                    .collect(),
                _ => cookies(&request.headers, &parameter.name),
            };
            // The properties of an exploded object stand there each by its name, so nothing has that of the object.
            if texts.is_empty() && parameter.required && !self.is_object(parameter) {
                self.add(
                    About::Request,
                    &place,
                    "parameter",
                    "a required parameter is missing",
                );
            }
            let Some(id) = parameter.schema.filter(|_| !texts.is_empty()) else {
                continue;
            };
            let meanings = match &parameter.media {
                None => values(&self.contract.description, &texts, id, separator(parameter)),
                Some(_) => serde_json::from_str(&texts[0]).into_iter().collect(),
            };
            self.any_of(About::Request, &place, id, Direction::Request, &meanings);
        }
        let place = "request";
        match &operation.body {
            None if request.body.is_empty() => {}
            None => self.add(About::Request, place, "body", "the operation takes no body"),
            Some(body) if request.body.is_empty() => {
                if body.required {
                    self.add(About::Request, place, "body", "a required body is missing");
                }
            }
            Some(body) => {
                self.body(
                    About::Request,
                    place,
                    &body.content,
                    &request.headers,
                    &request.body,
                );
            }
        }
    }

    fn is_object(&self, parameter: &Parameter) -> bool {
        let types = parameter
            .schema
            .map(|id| self.contract.description.schema(id).types);
        types.is_some_and(|types| types.has(Types::OBJECT) && types != Types::ANY)
    }

    pub(super) fn response(&mut self, request: &Request, response: &Response) {
        let status = response.status;
        let range = format!("{}XX", status / 100);
        let responses = &self.operation.responses;
        let candidates = [status.to_string(), range, "default".to_owned()];
        let Some(answered) = candidates.iter().find_map(|key| responses.get(key)) else {
            let place = format!("response {status}");
            return self.add(
                About::Response,
                &place,
                "status",
                format!("the status {status} is not described"),
            );
        };
        let place = format!("response {status}");
        self.headers(&place, answered, response);
        let has_no_body = request.method == "HEAD" || matches!(status, 204 | 304);
        if has_no_body || answered.content.is_empty() {
            return;
        }
        if response.body.is_empty() {
            return self.add(
                About::Response,
                &place,
                "body",
                "a body is described, and there is none",
            );
        }
        self.body(
            About::Response,
            &place,
            &answered.content,
            &response.headers,
            &response.body,
        );
    }

    fn headers(&mut self, place: &str, answered: &Answered, response: &Response) {
        for (name, header) in &answered.headers {
            let place = format!("{place} header {name}");
            let texts: Vec<String> = response.headers.all(name).map(str::to_owned).collect();
            if texts.is_empty() {
                if header.required {
                    self.add(
                        About::Response,
                        &place,
                        "header",
                        "a required header is missing",
                    );
                }
                continue;
            }
            if let Some(id) = header.schema {
                let meanings = values(&self.contract.description, &texts, id, Some(','));
                self.any_of(About::Response, &place, id, Direction::Response, &meanings);
            }
        }
    }

    fn body(
        &mut self,
        about: About,
        place: &str,
        content: &Content,
        headers: &Headers,
        body: &[u8],
    ) {
        let declared = headers.get("content-type").map(essence);
        // Without a declaration there is no doubt if only one is described.
        let media = match (declared, content.len()) {
            (Some(media), _) => media,
            (None, 1) => content.keys().next().cloned().unwrap_or_default(),
            (None, _) => {
                return self.add(
                    about,
                    place,
                    "media-type",
                    "the media type of the body is not declared",
                );
            }
        };
        let Some((_, described)) = covering(content, &media) else {
            let message = format!("the media type `{media}` is not described");
            return self.add(about, place, "media-type", message);
        };
        let Some(id) = described.schema else { return };
        let place = format!("{place} {media}");
        let direction = match about {
            About::Request => Direction::Request,
            _ => Direction::Response,
        };
        let is_json = media == "application/json" || media.ends_with("+json");
        let value = match is_json {
            true => match serde_json::from_slice(body) {
                Ok(value) => value,
                Err(_) => {
                    return self.add(about, &format!("{place} $"), "body", "the body is not JSON");
                }
            },
            false if media.starts_with("text/") => match std::str::from_utf8(body) {
                Ok(text) => Value::String(text.to_owned()),
                Err(_) => return,
            },
            false => return,
        };
        // Text by a schema that is none, such as one of CSV as a list, cannot be checked.
        let types = self.contract.description.schema(id).types;
        if is_json || types.has(Types::STRING) {
            self.value(about, &place, id, direction, &value);
        }
    }

    /// A value that is valid by one of its meanings is valid.
    fn any_of(
        &mut self,
        about: About,
        place: &str,
        id: SchemaId,
        direction: Direction,
        meanings: &[Value],
    ) {
        let before = self.found.len();
        let mut first = Vec::new();
        for (at, meaning) in meanings.iter().enumerate() {
            self.value(about, place, id, direction, meaning);
            let found = self.found.split_off(before);
            if found.is_empty() {
                return;
            }
            if at == 0 {
                first = found;
            }
        }
        self.found.append(&mut first);
    }

    fn value(
        &mut self,
        about: About,
        place: &str,
        id: SchemaId,
        direction: Direction,
        value: &Value,
    ) {
        let built = self.contract.validator(id, direction);
        let validator = match &*built {
            Ok(validator) => validator,
            Err(why) => {
                let message = format!("nothing was checked by the schema: {why}");
                return self.add(About::NotChecked, place, "schema", message);
            }
        };
        let is_parameter = place.contains(" parameter ") || place.contains(" header ");
        for error in validator.iter_errors(value).take(MANY) {
            let path = path(value, error.instance_path().as_str());
            let place = match is_parameter && path.is_empty() {
                true => place.to_owned(),
                false => format!("{place} ${path}"),
            };
            let rule = error.kind().keyword().to_owned();
            let message = error.masked_with("the value").to_string();
            self.add(about, &place, &rule, message);
        }
    }
}

/// Headers that have their own rules.
fn is_special(name: &str) -> bool {
    ["accept", "content-type", "authorization"].contains(&name.to_ascii_lowercase().as_str())
}

fn cookies(headers: &Headers, name: &str) -> Vec<String> {
    let pairs = headers.all("cookie").flat_map(|text| text.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value.to_owned())
        .collect()
}

/// A JSON pointer as a place, the items of a list as one: `.items[].price`.
fn path(value: &Value, pointer: &str) -> String {
    let mut path = String::new();
    let mut at = Some(value);
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        match at {
            Some(Value::Array(list)) => {
                path.push_str("[]");
                at = key.parse::<usize>().ok().and_then(|index| list.get(index));
            }
            _ => {
                path.push_str(&step(&key));
                at = at.and_then(|value| value.get(&key));
            }
        }
    }
    path
}
