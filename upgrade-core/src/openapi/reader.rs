//! The structure of a description: paths, operations, parameters, bodies and responses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::description::{
    Answered, Body, Content, Description, Header, Media, Operation, Parameter, Security,
};
use super::merge::{Schemas, escaped, invalid};
use super::schema::SchemaId;
use crate::error::{Error, ErrorKind, Result};

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// A value with its place.
#[derive(Clone)]
struct At<'a> {
    value: &'a Value,
    pointer: String,
}

impl<'a> At<'a> {
    fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key)?;
        Some(self.at(value, key))
    }

    fn at(&self, value: &'a Value, key: &str) -> Self {
        let pointer = format!("{}/{}", self.pointer, escaped(key));
        Self { value, pointer }
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.value.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn is(&self, key: &str) -> bool {
        self.value.get(key) == Some(&Value::Bool(true))
    }

    /// What is in it that no rule knows: neither a known key nor an extension.
    fn unknown(&self, known: &[&str]) -> Map<String, Value> {
        let object = self.value.as_object().into_iter().flatten();
        object
            .filter(|(key, _)| !known.contains(&key.as_str()) && !key.starts_with("x-"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

pub(super) struct Reader<'a> {
    name: &'a str,
    root: At<'a>,
    schemas: Schemas<'a>,
    security: Security,
    in_callback: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn read(name: &'a str, value: &'a Value) -> Result<Description> {
        let root = At {
            value,
            pointer: "#".to_owned(),
        };
        let openapi = version(name, &root)?;
        let mut reader = Self {
            name,
            schemas: Schemas::new(name, value, openapi.starts_with("3.0")),
            security: Security::new(),
            in_callback: false,
            root,
        };
        if let Some(security) = reader.root.get("security") {
            reader.security = reader.security(&security)?;
        }
        let mut operations = reader.operations("paths")?;
        operations.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
        let webhooks = reader.operations("webhooks")?;
        if operations.is_empty() && webhooks.is_empty() {
            let message = "it describes no operation";
            return Err(invalid(name, "#/paths", message).with_hint(
                "a part without paths, such as shared schemas, cannot be compared alone",
            ));
        }
        let known = [
            "openapi",
            "info",
            "paths",
            "webhooks",
            "components",
            "security",
            "servers",
            "tags",
            "externalDocs",
            "jsonSchemaDialect",
        ];
        let components = reader.root.get("components");
        let schemes = components.and_then(|all| all.get("securitySchemes"));
        let mut resolved = BTreeMap::new();
        for (key, scheme) in reader.entries(schemes)? {
            resolved.insert(key, reader.followed(scheme)?.value.clone());
        }
        let info = reader.root.get("info");
        Ok(Description {
            name: name.to_owned(),
            openapi,
            version: info
                .and_then(|info| info.text("version"))
                .unwrap_or_default(),
            operations,
            webhooks,
            schemes: resolved,
            servers: servers(&reader.root),
            unknown: reader.root.unknown(&known),
            schemas: reader.schemas.finish()?,
        })
    }

    fn entries(&self, map: Option<At<'a>>) -> Result<Vec<(String, At<'a>)>> {
        let Some(map) = map else {
            return Ok(Vec::new());
        };
        let Some(object) = map.value.as_object() else {
            return Err(invalid(self.name, &map.pointer, "a map is expected here"));
        };
        Ok(object
            .iter()
            .map(|(key, value)| (key.clone(), map.at(value, key)))
            .collect())
    }

    fn items(&self, list: Option<At<'a>>) -> Result<Vec<At<'a>>> {
        let Some(list) = list else {
            return Ok(Vec::new());
        };
        let Some(array) = list.value.as_array() else {
            return Err(invalid(self.name, &list.pointer, "a list is expected here"));
        };
        let at = |(at, value)| list.at(value, &format!("{at}"));
        Ok(array.iter().enumerate().map(at).collect())
    }

    /// What a value is after its references.
    fn followed(&self, mut at: At<'a>) -> Result<At<'a>> {
        let mut passed = BTreeSet::new();
        while let Some(reference) = at.value.get("$ref").and_then(Value::as_str) {
            if !passed.insert(reference) {
                return Err(invalid(
                    self.name,
                    &at.pointer,
                    "the reference leads to itself",
                ));
            }
            let (value, pointer) = self.schemas.target(reference, &at.pointer)?;
            at = At { value, pointer };
        }
        match at.value.is_object() {
            true => Ok(at),
            false => Err(invalid(self.name, &at.pointer, "a map is expected here")),
        }
    }

    fn operations(&mut self, key: &str) -> Result<Vec<Operation>> {
        let mut operations = Vec::new();
        for (path, item) in self.entries(self.root.get(key))? {
            if path.starts_with("x-") {
                continue;
            }
            if key == "paths" && !path.starts_with('/') {
                return Err(invalid(self.name, &item.pointer, "a path begins with `/`"));
            }
            operations.append(&mut self.item(&path, item)?);
        }
        Ok(operations)
    }

    /// The operations of a path.
    fn item(&mut self, path: &str, item: At<'a>) -> Result<Vec<Operation>> {
        let item = self.followed(item)?;
        let mut operations = Vec::new();
        for method in METHODS {
            if let Some(at) = item.get(method) {
                operations.push(self.operation(method, path, &item, &at)?);
            }
        }
        Ok(operations)
    }

    fn operation(
        &mut self,
        method: &str,
        path: &str,
        item: &At<'a>,
        at: &At<'a>,
    ) -> Result<Operation> {
        if !at.value.is_object() {
            return Err(invalid(self.name, &at.pointer, "an operation is a map"));
        }
        let mut parameters: Vec<Parameter> = Vec::new();
        let of_path = self.items(item.get("parameters"))?;
        for one in of_path.into_iter().chain(self.items(at.get("parameters"))?) {
            let parameter = self.parameter(one)?;
            parameters.retain(|known| !parameter.is_same(known));
            parameters.push(parameter);
        }
        let body = match at.get("requestBody") {
            Some(body) => {
                let body = self.followed(body)?;
                Some(Body {
                    required: body.is("required"),
                    content: self.content(body.get("content"))?,
                })
            }
            None => None,
        };
        let mut responses = BTreeMap::new();
        for (status, response) in self.entries(at.get("responses"))? {
            if !status.starts_with("x-") {
                responses.insert(
                    status.to_uppercase().replace("DEFAULT", "default"),
                    self.response(response)?,
                );
            }
        }
        let security = match at.get("security") {
            Some(security) => self.security(&security)?,
            None => self.security.clone(),
        };
        let callbacks = self.callbacks(at)?;
        let known = [
            "tags",
            "summary",
            "description",
            "externalDocs",
            "operationId",
            "parameters",
            "requestBody",
            "responses",
            "callbacks",
            "deprecated",
            "security",
        ];
        let mut unknown = at.unknown(&known);
        let mut known_of_item = vec!["$ref", "summary", "description", "parameters"];
        known_of_item.extend(METHODS);
        for (key, value) in item.unknown(&known_of_item) {
            unknown.entry(key).or_insert(value);
        }
        Ok(Operation {
            method: method.to_uppercase(),
            path: path.to_owned(),
            id: at.text("operationId"),
            deprecated: at.is("deprecated"),
            sunset: at.text("x-sunset"),
            parameters,
            body,
            responses,
            security,
            callbacks,
            unknown,
        })
    }

    /// The operations of the callbacks. One within another is not read: a callback can lead to the path that
    /// it stands in.
    fn callbacks(&mut self, at: &At<'a>) -> Result<Vec<Operation>> {
        let mut operations = Vec::new();
        if std::mem::replace(&mut self.in_callback, true) {
            return Ok(operations);
        }
        for (name, callback) in self.entries(at.get("callbacks"))? {
            let callback = self.followed(callback)?;
            for (address, item) in self.entries(Some(callback))? {
                if !address.starts_with("x-") {
                    operations.append(&mut self.item(&format!("{name} {address}"), item)?);
                }
            }
        }
        self.in_callback = false;
        Ok(operations)
    }

    fn parameter(&mut self, at: At<'a>) -> Result<Parameter> {
        let at = self.followed(at)?;
        let missing = |key: &str| {
            let message = format!("a parameter needs `{key}`");
            invalid(self.name, &at.pointer, &message)
        };
        let name = at.text("name").ok_or_else(|| missing("name"))?;
        let place = at.text("in").ok_or_else(|| missing("in"))?;
        if !["path", "query", "header", "cookie"].contains(&place.as_str()) {
            let message = format!("a parameter cannot be in `{place}`");
            return Err(invalid(self.name, &at.pointer, &message)
                .with_hint("it is in `path`, `query`, `header` or `cookie`"));
        }
        let style = at.text("style").unwrap_or_else(|| {
            let of_query = matches!(place.as_str(), "query" | "cookie");
            if of_query { "form" } else { "simple" }.to_owned()
        });
        let explode = at.value.get("explode").and_then(Value::as_bool);
        let content = self.entries(at.get("content"))?.into_iter().next();
        let (media, schema) = match content {
            Some((media, content)) => (Some(media), content.get("schema")),
            None => (None, at.get("schema")),
        };
        let known = [
            "name",
            "in",
            "description",
            "required",
            "deprecated",
            "schema",
            "content",
            "style",
            "explode",
            "example",
            "examples",
        ];
        Ok(Parameter {
            required: at.is("required") || place == "path",
            explode: explode.unwrap_or(style == "form"),
            deprecated: at.is("deprecated"),
            schema: self.schema(schema)?,
            unknown: at.unknown(&known),
            name,
            place,
            style,
            media,
        })
    }

    fn response(&mut self, at: At<'a>) -> Result<Answered> {
        let at = self.followed(at)?;
        let mut headers = BTreeMap::new();
        for (name, header) in self.entries(at.get("headers"))? {
            let header = self.followed(header)?;
            let content = self.entries(header.get("content"))?.into_iter().next();
            let schema = match content {
                Some((_, content)) => content.get("schema"),
                None => header.get("schema"),
            };
            let known = [
                "description",
                "required",
                "deprecated",
                "schema",
                "content",
                "style",
                "explode",
                "example",
                "examples",
            ];
            let header = Header {
                required: header.is("required"),
                schema: self.schema(schema)?,
                unknown: header.unknown(&known),
            };
            headers.insert(name.to_ascii_lowercase(), header);
        }
        // The media type has its own rules.
        headers.remove("content-type");
        Ok(Answered {
            content: self.content(at.get("content"))?,
            headers,
            unknown: at.unknown(&["description", "summary", "headers", "content"]),
        })
    }

    fn content(&mut self, at: Option<At<'a>>) -> Result<Content> {
        let mut content = Content::new();
        for (media, one) in self.entries(at)? {
            let known = ["schema", "example", "examples"];
            let of_media = Media {
                schema: self.schema(one.get("schema"))?,
                unknown: one.unknown(&known),
            };
            content.insert(essence(&media), of_media);
        }
        Ok(content)
    }

    fn schema(&mut self, at: Option<At<'a>>) -> Result<Option<SchemaId>> {
        at.map(|at| self.schemas.id(at.value, at.pointer))
            .transpose()
    }

    fn security(&self, at: &At<'a>) -> Result<Security> {
        let mut security = Security::new();
        for one in self.items(Some(at.clone()))? {
            let mut needed = BTreeMap::new();
            for (scheme, scopes) in self.entries(Some(one))? {
                let scopes = scopes.value.as_array().into_iter().flatten();
                let scopes = scopes
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                needed.insert(scheme, scopes);
            }
            security.push(needed);
        }
        Ok(security)
    }
}

impl Parameter {
    /// Whether it is the same parameter. Names of headers have no case.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_name = match self.place == "header" {
            true => self.name.eq_ignore_ascii_case(&other.name),
            false => self.name == other.name,
        };
        self.place == other.place && is_name
    }
}

/// A media type without its parameters, in lower case.
pub(super) fn essence(media: &str) -> String {
    media
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

fn version(name: &str, root: &At<'_>) -> Result<String> {
    if let Some(version) = root.text("swagger") {
        let message = format!("`{name}` is written in Swagger {version}, which is not read");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("convert it to OpenAPI 3, and give the converted file"));
    }
    let Some(version) = root.text("openapi") else {
        return Err(invalid(
            name,
            "#",
            "this is no OpenAPI description: `openapi` is missing",
        )
        .with_hint("it begins with `openapi: 3.0.3` or `openapi: 3.1.0`"));
    };
    match version.starts_with("3.0") || version.starts_with("3.1") {
        true => Ok(version),
        false => {
            let message = format!("`{name}` is written in OpenAPI {version}, which is not read");
            Err(Error::new(ErrorKind::Unsupported, message).with_hint("3.0 and 3.1 are read"))
        }
    }
}

/// The URLs of the servers. Where none is named, it is `/`.
fn servers(root: &At<'_>) -> Vec<String> {
    let list = root.value.get("servers").and_then(Value::as_array);
    let urls = list
        .into_iter()
        .flatten()
        .filter_map(|server| server.get("url")?.as_str());
    let urls: Vec<String> = urls
        .map(|url| url.trim_end_matches('/').to_owned())
        .collect();
    match urls.is_empty() {
        true => vec![String::new()],
        false => urls,
    }
}
