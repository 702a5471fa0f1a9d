//! JSON or YAML text as one JSON value.

use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};

use crate::error::{Error, ErrorKind, Result};

/// What a text may have in bytes. The largest descriptions that are published have about 40 MB.
const TEXT: usize = 64 << 20;

/// What the aliases of a YAML text may add, each value counted with [`NODE`] beside its text: a short text
/// of aliases of aliases would fill the memory otherwise.
const ALIASES: usize = 16 << 20;
const NODE: usize = 32;

/// How deep values may be nested, in JSON and in YAML.
const DEEP: usize = 127;

/// Reads a text, as JSON if it begins as JSON does.
pub(super) fn parse(name: &str, text: &str) -> Result<Value> {
    if text.len() > TEXT {
        let message = format!(
            "`{name}` has {} MB, and at most {} MB are read",
            text.len() >> 20,
            TEXT >> 20
        );
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("remove large examples, or split the description by its paths"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) {
        match serde_json::from_str(text) {
            Ok(value) => return Ok(value),
            Err(error) if is_json(name, text) => {
                return Err(at(name, error.line(), error.column(), &what(&error)));
            }
            // A YAML text can begin with `{`, too.
            Err(_) => {}
        }
    }
    yaml(name, text)
}

/// Whether an error of the text is one of JSON: a YAML text in braces has keys without quotes.
fn is_json(name: &str, text: &str) -> bool {
    let first = text
        .trim_start()
        .trim_start_matches(['{', '['])
        .trim_start();
    name.ends_with(".json") || first.starts_with(['"', '{', '[', '}', ']'])
}

/// The message of an error of JSON, without its place.
fn what(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(text, _)| text);
    match text.contains("recursion limit") {
        true => format!("values are nested more than {DEEP} levels deep"),
        false => format!("this is not JSON: {text}"),
    }
}

fn at(name: &str, line: usize, column: usize, message: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("`{name}:{line}:{column}`: {message}"),
    )
}

fn yaml(name: &str, text: &str) -> Result<Value> {
    let mut options = Options::default();
    options.flow_nesting_limit = DEEP;
    options.block_nesting_limit = DEEP;
    let mut builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        name,
        anchors: BTreeMap::new(),
        weight: 0,
        depth: 0,
    };
    let mut root = None;
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(..) if root.is_some() => {
                return Err(builder
                    .error(&span, "a second document starts here")
                    .with_hint("a description is one document"));
            }
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => root = Some(builder.node(event, &span)?),
        }
    }
    root.ok_or_else(|| at(name, 1, 1, "the file is empty"))
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    name: &'a str,
    anchors: BTreeMap<usize, Value>,
    weight: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn error(&self, span: &Span, message: &str) -> Error {
        at(self.name, span.start.line(), span.start.col() + 1, message)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let marker = error.marker();
                let message = format!("this is not YAML: {}", error.info());
                Err(at(self.name, marker.line(), marker.col() + 1, &message))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Value> {
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    self.error(span, "this alias stands inside of what it is an alias of")
                })?;
                self.weight = self.weight.saturating_add(weight(&value));
                if self.weight > ALIASES {
                    return Err(
                        self.error(span, "the aliases up to here write out to more than 16 MB")
                    );
                }
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                (anchor, scalar(&text, plain, tag.as_deref()))
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.nested(span, Self::list)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.nested(span, Self::map)?),
            _ => return Err(self.error(span, "this is not YAML: a value is missing")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    /// Reads what is inside of a value. An alias can be deep within another one, so the limits of the
    /// parser do not suffice.
    fn nested(&mut self, span: &Span, read: fn(&mut Self) -> Result<Value>) -> Result<Value> {
        if self.depth == DEEP {
            let message = format!("values are nested more than {DEEP} levels deep");
            return Err(self.error(span, &message));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Value> {
        let mut list = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(list));
            }
            list.push(self.node(event, &span)?);
        }
    }

    fn map(&mut self) -> Result<Value> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                // `200:` and `on:` are keys as they stand.
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.error(&span, "a key has to be a scalar, such as `paths`")),
            };
            let (event, value_span) = self.next()?;
            let value = self.node(event, &value_span)?;
            if key == "<<" {
                merged.push((span, value));
            } else if map.contains_key(&key) {
                let message = format!("the key `{key}` stands here for the second time");
                return Err(self.error(&span, &message));
            } else {
                map.insert(key, value);
            }
        }
        for (span, value) in merged {
            let sources = match value {
                Value::Array(list) => list,
                value => vec![value],
            };
            for source in sources {
                let Value::Object(entries) = source else {
                    return Err(self.error(&span, "`<<` takes a map or a list of maps"));
                };
                for (key, value) in entries {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// A scalar by the core schema of YAML 1.2: dates and `yes` are text.
fn scalar(text: &str, plain: bool, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
    if !plain || is_text {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(Number::from);
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let starts = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.');
    let rest = |c: char| starts(c) || matches!(c, 'e' | 'E');
    if !text.starts_with(starts) || !text.chars().all(rest) {
        return None;
    }
    let signless = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = signless.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = signless.parse::<u64>() {
        return Some(number.into());
    }
    signless.parse::<f64>().ok().and_then(Number::from_f64)
}

fn weight(value: &Value) -> usize {
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| key.len() + weight(value))
            .sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(name: &str, text: &str) -> String {
        parse(name, text).unwrap_err().to_string()
    }

    #[test]
    fn yaml_is_read_as_the_json_that_it_means() {
        let text = "a: &x {b: 1, c: [1.5, 0x10, -3, .5]}\nd: *x\ne: {<<: *x, b: yes}\n\
                    200: '1'\nf: 2020-01-01\ng: ~\nh: 1.2.3\ni: !!str 5\nj: true";
        let is = parse("a.yaml", text).unwrap();
        let x = json!({"b": 1, "c": [1.5, 16, -3, 0.5]});
        let should = json!({
            "a": x, "d": x, "e": {"b": "yes", "c": [1.5, 16, -3, 0.5]}, "200": "1",
            "f": "2020-01-01", "g": null, "h": "1.2.3", "i": "5", "j": true,
        });
        assert_eq!(is, should);
        assert_eq!(parse("a.yaml", "{a: 1}").unwrap(), json!({"a": 1}));
        assert_eq!(parse("a", " {\"a\": 1}").unwrap(), json!({"a": 1}));
    }

    #[test]
    fn an_error_names_the_place() {
        assert_eq!(
            message("a.json", "{\"a\":\n 1,}"),
            "`a.json:2:4`: this is not JSON: trailing comma"
        );
        assert!(message("a.yaml", "a: 1\nb: [").starts_with("`a.yaml:2:"));
        assert_eq!(
            message("a.yaml", "a: 1\nb: 2\na: 3"),
            "`a.yaml:3:1`: the key `a` stands here for the second time"
        );
        assert!(message("a.yaml", "a: 1\n---\nb: 2").contains("a second document"));
        assert_eq!(message("a.yaml", ""), "`a.yaml:1:1`: the file is empty");
    }

    #[test]
    fn deep_and_large_texts_are_refused_at_once() {
        let deep =
            |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        for text in [deep("{\"a\":", "}"), deep("[", "]"), deep("{a: ", "}")] {
            let message = message("a", &text);
            assert!(
                message.contains("nest") || message.contains("limit"),
                "{message}"
            );
        }
        let block: String = (0..10_000)
            .map(|n| format!("{}a:\n", " ".repeat(n)))
            .collect();
        assert!(parse("a.yaml", &block).is_err());
        let large = format!("{{\"a\": \"{}\"}}", "x".repeat(100_000_000));
        assert!(message("a", &large).contains("at most 64 MB"));
        let bomb: String = (1..30)
            .map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1))
            .collect();
        let bomb = format!("a0: &a0 [{}]\n{bomb}", "lol, ".repeat(100));
        assert!(message("a.yaml", &bomb).contains("aliases"));
    }
}
