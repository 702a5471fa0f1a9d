//! The rules of the comparison, as data.

use std::sync::LazyLock;

use super::relation::{Direction, Relation};
use crate::finding::Severity;

/// A rule of [`compare`](super::compare).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// The name, such as `path-removed` or `request-enum`. Behind that of a schema rule, a finding has what
    /// happened: `request-enum-narrowed`, `-widened` or `-changed`.
    pub name: String,
    /// What it looks at: a keyword, or a part of the description.
    pub about: &'static str,
    /// The direction that it judges; `None` where the rule is not about a schema.
    pub direction: Option<Direction>,
    /// How much the worst of it weighs by default.
    pub level: Severity,
    /// When it reports something.
    pub fires: &'static str,
    /// How oasdiff documents the same changes: its levels are ERR, WARN and INFO.
    pub oasdiff: &'static str,
    /// The id of its findings.
    pub finding: &'static str,
}

/// Every rule: those about the structure, then those about schemas, one list for each direction.
pub fn rules() -> &'static [Rule] {
    &RULES
}

type Structural = (
    &'static str,
    &'static str,
    Severity,
    &'static str,
    &'static str,
    &'static str,
);

const REMOVED: &str = "api/operation-removed";
const PARAMETER: &str = "api/parameter-changed";
const REQUEST: &str = "api/request-narrowed";
const RESPONSE: &str = "api/response-widened";
const SECURITY: &str = "api/security-changed";
const MEDIA: &str = "api/media-type-removed";
const DEPRECATED: &str = "api/deprecated";
const DOUBT: &str = "api/may-break";
const UNKNOWN: &str = "api/description-unknown";
/// The id of changes that break nobody.
pub(super) const COMPATIBLE: &str = "api/compatible-change";

use Severity::{Error, Note, Warning};

#[rustfmt::skip]
const STRUCTURAL: [Structural; 37] = [
    ("path-removed", "paths", Error, REMOVED, "a path was removed; a warning if all its operations were deprecated, a note if their sunset has passed", "ERR; INFO after deprecation"),
    ("operation-removed", "paths", Error, REMOVED, "an operation of a path was removed; a warning if it was deprecated, a note if its sunset has passed", "ERR; INFO after deprecation"),
    ("operation-added", "paths", Note, COMPATIBLE, "an operation was added", "INFO"),
    ("success-status-removed", "responses", Error, RESPONSE, "a status from 200 to 299 is no longer described", "ERR"),
    ("error-status-removed", "responses", Note, COMPATIBLE, "another status is no longer described", "INFO"),
    ("response-status-added", "responses", Note, RESPONSE, "a status is described that was not", "INFO"),
    ("media-type-removed-request", "requestBody", Error, MEDIA, "a media type of a request is no longer accepted", "ERR"),
    ("media-type-removed-response", "responses", Error, MEDIA, "a media type of a response is no longer sent", "ERR"),
    ("media-type-added", "content", Note, COMPATIBLE, "a media type was added", "INFO"),
    ("request-body-removed", "requestBody", Error, REQUEST, "an operation no longer takes a body", "ERR"),
    ("request-body-now-required", "requestBody", Error, REQUEST, "a body is now required; a note if an optional one was added, or one became optional", "ERR; INFO if optional"),
    ("required-parameter-added", "parameters", Error, PARAMETER, "a required parameter was added", "ERR"),
    ("optional-parameter-added", "parameters", Note, COMPATIBLE, "an optional parameter was added", "INFO"),
    ("parameter-now-required", "parameters", Error, PARAMETER, "an optional parameter is now required", "ERR"),
    ("parameter-now-optional", "parameters", Note, COMPATIBLE, "a required parameter is now optional", "INFO"),
    ("parameter-removed", "parameters", Warning, PARAMETER, "a parameter was removed; a note if it was deprecated", "WARN; INFO after deprecation"),
    ("parameter-moved", "parameters", Error, PARAMETER, "a parameter is in another place, or is written in another style", "not known"),
    ("path-parameter-renamed", "parameters", Note, COMPATIBLE, "a parameter of a path has another name", "not breaking"),
    ("header-removed", "headers", Error, RESPONSE, "a header of a response was removed; a warning if it was optional", "ERR; WARN if optional"),
    ("header-now-optional", "headers", Error, RESPONSE, "a header of a response is no longer always sent", "ERR"),
    ("header-added", "headers", Note, COMPATIBLE, "a header was added to a response, or is now always sent", "INFO"),
    ("security-added", "security", Error, SECURITY, "a way to authenticate, or to do without, is no longer accepted", "ERR"),
    ("security-scope-added", "security", Error, SECURITY, "a way to authenticate needs one more scope", "ERR"),
    ("security-relaxed", "security", Note, COMPATIBLE, "a way to authenticate was added, or needs less", "INFO"),
    ("security-scheme-changed", "securitySchemes", Error, SECURITY, "a scheme that is used has another type, name or place; a warning if anything else of it changed", "INFO"),
    ("operation-deprecated", "deprecated", Note, DEPRECATED, "an operation or a parameter is now deprecated", "INFO"),
    ("sunset-moved-earlier", "x-sunset", Error, DEPRECATED, "the sunset of a deprecated operation is earlier; a warning if it was removed or cannot be read", "ERR"),
    ("server-removed", "servers", Warning, DOUBT, "a server was removed", "not breaking"),
    ("callback-removed", "callbacks", Error, REMOVED, "a callback was removed", "no check"),
    ("webhook-removed", "webhooks", Error, REMOVED, "a webhook was removed", "ERR"),
    ("webhook-added", "webhooks", Note, COMPATIBLE, "a webhook or a callback was added", "INFO"),
    ("discriminator-mapping-removed", "discriminator", Error, DOUBT, "a discriminator has another property, or its values mean something else; in a request also if it lost a value; a warning if it was removed", "INFO"),
    ("operation-id-changed", "operationId", Note, DOUBT, "an operation has another id, which names functions of generated clients", "INFO"),
    ("default-changed", "default", Warning, DOUBT, "a request has another default; a note for a response", "INFO"),
    ("deprecated", "deprecated", Note, COMPATIBLE, "a property or another value is now deprecated", "INFO"),
    ("description-of-body-removed", "content", Error, RESPONSE, "a body of a response no longer has a schema; a note for a request", "ERR; INFO for a request"),
    ("unknown-keyword-changed", "any other keyword", Warning, UNKNOWN, "a keyword changed that no rule can judge", "has rules for some"),
];

/// Name, keyword, when it is narrower, oasdiff for requests and for responses.
type OfSchema = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const OF_SCHEMAS: [OfSchema; 23] = [
    ("type", "type", "fewer types are valid; `integer` is a part of `number`", "ERR; INFO if wider", "ERR; INFO if narrower"),
    ("nullable", "nullable, type, anyOf", "null is no longer valid", "ERR; INFO if wider", "ERR; INFO if narrower"),
    ("format", "format", "a format was added; `int32` is a part of `int64`, `float` of `double`", "ERR; INFO if wider", "ERR; INFO if narrower"),
    ("enum", "enum", "values were removed", "ERR; INFO if wider", "WARN; INFO if narrower"),
    ("extensible-enum", "x-extensible-enum", "values were removed", "ERR if narrower", "not breaking"),
    ("const", "const", "only one value is valid", "ERR; INFO if removed", "ERR; INFO if added"),
    ("required", "required", "a property is now required", "ERR; INFO if wider", "ERR; INFO if narrower"),
    ("property", "properties", "a property was removed where no others are allowed; by the letter, also one that was added where others are allowed, which breaks nobody", "removed: WARN; added: INFO", "removed: ERR if required, else INFO; added: INFO"),
    ("access", "readOnly, writeOnly", "what clients send in a property is now ignored; wider: clients no longer get it", "INFO", "INFO; WARN if a required one is no longer write-only"),
    ("additional-properties", "additionalProperties", "fewer other properties are allowed", "not known", "not known"),
    ("minimum", "minimum, exclusiveMinimum", "the least number is larger", "ERR; INFO if wider", "ERR if wider"),
    ("maximum", "maximum, exclusiveMaximum", "the largest number is smaller", "ERR; INFO if wider", "ERR if wider"),
    ("multiple-of", "multipleOf", "numbers have to be multiples of more", "ERR; INFO if wider", "ERR; INFO if narrower"),
    ("min-length", "minLength", "texts have to be longer", "ERR; INFO if wider", "ERR if wider"),
    ("max-length", "maxLength", "texts have to be shorter", "ERR; INFO if wider", "ERR if wider"),
    ("pattern", "pattern", "a pattern was added; another pattern is a warning, because nobody can tell", "added: ERR; changed: WARN; removed: INFO", "removed: ERR; changed: WARN; added: INFO"),
    ("min-items", "minItems", "lists have to be longer", "ERR", "ERR if wider"),
    ("max-items", "maxItems", "lists have to be shorter", "ERR; INFO if wider", "ERR if wider"),
    ("unique-items", "uniqueItems", "items have to be different from each other", "ERR; INFO if wider", "ERR if wider"),
    ("items", "items", "items have a schema now", "not known", "not known"),
    ("prefix-items", "prefixItems", "an item at a place has a schema now", "removed: ERR; added: INFO", "added: ERR; removed: INFO"),
    ("branches", "anyOf, oneOf", "a branch was removed, after branches were matched by reference and by likeness; a single branch is the schema itself", "ERR; INFO if wider", "ERR; INFO if narrower"),
    ("not", "not", "`not` excludes more", "not known", "not known"),
];

#[rustfmt::skip]
const OF_SIZE: [OfSchema; 2] = [
    ("min-properties", "minProperties", "objects need more properties", "ERR", "ERR if wider"),
    ("max-properties", "maxProperties", "objects may have fewer properties", "ERR; INFO if wider", "ERR if wider"),
];

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let structural = STRUCTURAL.map(|(name, about, level, finding, fires, oasdiff)| Rule {
        name: name.to_owned(),
        about,
        direction: None,
        level,
        fires,
        oasdiff,
        finding,
    });
    let mut rules = Vec::from(structural);
    for direction in [Direction::Request, Direction::Response] {
        for (name, about, fires, request, response) in OF_SCHEMAS.into_iter().chain(OF_SIZE) {
            let (oasdiff, finding) = match direction {
                Direction::Request => (request, REQUEST),
                Direction::Response => (response, RESPONSE),
            };
            rules.push(Rule {
                name: format!("{direction}-{name}"),
                about,
                direction: Some(direction),
                level: level(name, direction),
                fires,
                oasdiff,
                finding,
            });
        }
    }
    rules
});

/// How much the worst that a rule of schemas reports weighs by default.
fn level(name: &str, direction: Direction) -> Severity {
    match (name, direction) {
        ("extensible-enum", Direction::Response) => Note,
        ("access", Direction::Request) | ("additional-properties", Direction::Response) => Warning,
        _ => Error,
    }
}

/// The name of what a rule has found, and the id of the finding.
pub(super) fn named(
    rule: &str,
    direction: Direction,
    relation: Relation,
) -> (String, &'static str) {
    if let Some((name, _, _, finding, _, _)) = STRUCTURAL.iter().find(|known| known.0 == rule) {
        return ((*name).to_owned(), finding);
    }
    let finding = match direction {
        Direction::Request => REQUEST,
        Direction::Response => RESPONSE,
    };
    (format!("{direction}-{rule}-{}", relation.suffix()), finding)
}
