//! One exchange checked by a description.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use jsonschema::Validator;
use serde_json::Value;

use super::description::{Answered, Content, Description, Operation, Parameter};
use super::json_schema;
use super::reader::essence;
use super::relation::Direction;
use super::schema::{SchemaId, Types};
use super::structure::covering;
use super::template::Template;
use super::values::{query, separator, values};
use crate::http::{Exchange, Headers, Request, Response};

/// How long the message of a violation may be, in characters.
const SHOWN: usize = 200;

/// How many violations of one body are reported.
const MANY: usize = 50;

/// Something in an exchange that a description does not allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Violation {
    /// What it is about.
    pub about: About,
    /// The operation: `GET /orders/{id}`; if none describes the request, its path, with `{}` for each part that
    /// has a digit.
    pub operation: String,
    /// Where: `response 200 application/json $.items[].price`.
    pub place: String,
    /// What is broken: a keyword such as `required`, or `status`, `media-type`, `header`, `parameter`, `body`.
    pub rule: String,
    /// What is wrong, without the values of the exchange.
    pub message: String,
}

/// What a [`Violation`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum About {
    /// The request.
    Request,
    /// The response.
    Response,
    /// No operation is described for the request.
    NotDescribed,
    /// A schema could not be used, so nothing was checked by it.
    NotChecked,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {} (rule {})",
            self.operation, self.place, self.message, self.rule
        )
    }
}

/// Checks exchanges by a [`Description`].
///
/// An exchange is checked by the operation of its method and path, with and without the path of a server
/// that the description names. Checked are parameters, bodies in JSON and text, the status, the media type
/// and the headers. Not checked are parameters that are objects, bodies of other media types, and whether
/// the client was authenticated. A header or a query parameter that nobody describes is allowed, and so is
/// the body of a response for which no content is described.
pub struct Contract {
    description: Description,
    templates: Vec<Template>,
    validators: Mutex<Validators>,
}

type Built = Arc<Result<Validator, String>>;
type Validators = BTreeMap<(SchemaId, Direction), Built>;

impl Contract {
    /// A contract by a description. Schemas are prepared when the first value is checked by them.
    pub fn new(description: &Description) -> Self {
        let templates = description
            .operations
            .iter()
            .map(|one| Template::new(&one.path));
        Self {
            templates: templates.collect(),
            description: description.clone(),
            validators: Mutex::new(Validators::new()),
        }
    }

    /// The description.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What the description does not allow in an exchange, sorted. A response that is not complete is not
    /// checked.
    pub fn check(&self, exchange: &Exchange) -> Vec<Violation> {
        let request = &exchange.request;
        let Some((operation, values)) = self.operation(request) else {
            return vec![Violation {
                about: About::NotDescribed,
                operation: self.name_of(request),
                place: "request".to_owned(),
                rule: "operation".to_owned(),
                message: "the description has no such operation".to_owned(),
            }];
        };
        let mut check = Check {
            contract: self,
            operation,
            found: Vec::new(),
        };
        check.request(request, &values);
        if let Some(response) = exchange.answer.complete() {
            check.response(request, response);
        }
        let mut found = check.found;
        found.sort();
        found.dedup();
        found
    }

    /// The operation that describes a request.
    pub(super) fn operation_of(&self, request: &Request) -> Option<&Operation> {
        self.operation(request).map(|(operation, _)| operation)
    }

    /// The operation by its name; for a request that none describes, its path without what looks like an id.
    pub(super) fn name_of(&self, request: &Request) -> String {
        if let Some(operation) = self.operation_of(request) {
            return operation.to_string();
        }
        let folded = |segment: &str| match segment.contains(|c: char| c.is_ascii_digit()) {
            true => "{}".to_owned(),
            false => segment.to_owned(),
        };
        let segments: Vec<String> = request.path().split('/').map(folded).collect();
        format!("{} {}", request.method, segments.join("/"))
    }

    fn operation(&self, request: &Request) -> Option<(&Operation, BTreeMap<&str, String>)> {
        let path = request.path();
        let prefixes = self.description.servers.iter().map(|server| {
            let host = server
                .split_once("://")
                .map_or(server.as_str(), |(_, rest)| rest);
            match server.contains("://") {
                true => host.find('/').map_or("", |at| &host[at..]),
                false => host,
            }
        });
        std::iter::once("").chain(prefixes).find_map(|prefix| {
            let path = path.strip_prefix(prefix)?;
            let all = self.templates.iter().zip(&self.description.operations);
            all.filter(|(_, operation)| operation.method == request.method)
                .filter_map(|(template, operation)| {
                    let (fit, values) = template.matched(path)?;
                    Some((fit, operation, values))
                })
                .max_by(|a, b| a.0.cmp(&b.0))
                .map(|(_, operation, values)| (operation, values.into_iter().collect()))
        })
    }

    fn validator(&self, id: SchemaId, direction: Direction) -> Built {
        // Nothing in here panics while it holds the lock, and a map is whole at any time.
        let mut validators = self
            .validators
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let built = validators
            .entry((id, direction))
            .or_insert_with(|| Arc::new(json_schema::validator(&self.description, id, direction)));
        Arc::clone(built)
    }
}

impl fmt::Debug for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

struct Check<'c> {
    contract: &'c Contract,
    operation: &'c Operation,
    found: Vec<Violation>,
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

    fn request(&mut self, request: &Request, of_path: &BTreeMap<&str, String>) {
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
            // The properties of an exploded object are parameters of their own, so nothing has its name.
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

    fn response(&mut self, request: &Request, response: &Response) {
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
                path.push_str(&super::objects::step(&key));
                at = at.and_then(|value| value.get(&key));
            }
        }
    }
    path
}
