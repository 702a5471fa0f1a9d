//! One exchange checked by a description.

mod check;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use jsonschema::Validator;

use self::check::Check;
use crate::http::{Exchange, Request};
use crate::openapi::description::{Description, Operation};
use crate::openapi::json_schema;
use crate::openapi::relation::Direction;
use crate::openapi::schema::SchemaId;
use crate::openapi::template::Template;

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
    pub(in crate::openapi) fn operation_of(&self, request: &Request) -> Option<&Operation> {
        self.operation(request).map(|(operation, _)| operation)
    }

    /// The operation by its name; for a request that none describes, its path without what looks like an id.
    pub(in crate::openapi) fn name_of(&self, request: &Request) -> String {
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
