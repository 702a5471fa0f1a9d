//! Requests that a description allows.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Number, Value, json};

use super::contract::Contract;
use super::description::{Description, Operation, Parameter};
use super::schema::{Bound, Range, Schema, SchemaId, Types};
use super::values::separator;
use crate::http::{Answer, Broken, Exchange, Request};

/// How deep a value is at most. A schema that contains itself ends there where it can.
const DEEP: usize = 6;

/// How often a request is made anew because it is not valid, as by a pattern.
const TRIES: u64 = 20;

/// How long a list, and how many more characters than needed a text has at most.
const MORE: u64 = 3;

/// What stands in a path or a query as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Generates requests that a description allows, to replay the interface of an old release on a new one. The
/// same description, seed and count give the same requests. Operations take turns, those that only read
/// first; within an operation the requests differ.
///
/// Each request is valid by the description ([`Contract::check`]). An operation for which none was found in 20
/// tries, such as one with a pattern, is left out, and so is one whose body has no JSON. Ids of existing
/// things are not known, so most requests for one thing are answered with 404; a recording of real requests
/// reaches further.
pub fn requests_of(description: &Description, seed: u64, count: usize) -> Vec<Request> {
    let contract = Contract::new(description);
    let mut operations: Vec<&Operation> = description.operations.iter().collect();
    operations
        .sort_by_key(|operation| !matches!(operation.method.as_str(), "GET" | "HEAD" | "OPTIONS"));
    let mut requests = Vec::new();
    let mut round = 0;
    while requests.len() < count && !operations.is_empty() {
        let before = requests.len();
        operations.retain(|operation| {
            if requests.len() == count {
                return true;
            }
            let made = (0..TRIES).find_map(|attempt| {
                let name = format!("{operation} {round} {attempt}");
                let mut generator = Generator::new(description, seed, &name);
                let request = generator.request(operation)?;
                let exchange = Exchange {
                    request,
                    answer: Answer::Broken(Broken::Cut(String::new())),
                };
                contract
                    .check(&exchange)
                    .is_empty()
                    .then_some(exchange.request)
            });
            let is_possible = made.is_some();
            requests.extend(made);
            is_possible
        });
        round += 1;
        if requests.len() == before {
            break;
        }
    }
    requests.sort_by_key(|request| !request.is_safe());
    requests
}

struct Generator<'d> {
    description: &'d Description,
    state: u64,
}

impl<'d> Generator<'d> {
    fn new(description: &'d Description, seed: u64, name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let bytes = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
        Self {
            description,
            state: seed ^ u64::from_le_bytes(*bytes),
        }
    }

    /// The next number of splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit that is not 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'v, T>(&mut self, all: &'v [T]) -> Option<&'v T> {
        let at = self.below(all.len().max(1) as u64);
        all.get(usize::try_from(at).ok()?)
    }

    fn request(&mut self, operation: &Operation) -> Option<Request> {
        let mut path = operation.path.clone();
        let mut query = Vec::new();
        let mut headers = Vec::new();
        let mut cookies = Vec::new();
        for parameter in &operation.parameters {
            if !parameter.required && self.below(2) == 0 {
                continue;
            }
            let texts = self.texts(parameter)?;
            match parameter.place.as_str() {
                "path" => {
                    let text = utf8_percent_encode(texts.first()?, PLAIN).to_string();
                    path = path.replace(&format!("{{{}}}", parameter.name), &text);
                }
                "query" => query.extend(texts.iter().map(|text| {
                    let name = utf8_percent_encode(&parameter.name, PLAIN);
                    format!("{name}={}", utf8_percent_encode(text, PLAIN))
                })),
                "header" => headers.push((parameter.name.clone(), texts.join(","))),
                _ => cookies.push(format!("{}={}", parameter.name, texts.join(","))),
            }
        }
        let target = match query.is_empty() {
            true => path,
            false => format!("{path}?{}", query.join("&")),
        };
        let mut request = Request::new(&operation.method, target);
        for (name, text) in headers {
            request = request.with_header(name, text);
        }
        if !cookies.is_empty() {
            request = request.with_header("cookie", cookies.join("; "));
        }
        let Some(body) = &operation.body else {
            return Some(request);
        };
        if !body.required && self.below(4) == 0 {
            return Some(request);
        }
        let is_json = |media: &String| {
            media == "application/json" || media.ends_with("+json") || media == "*/*"
        };
        let json = body.content.iter().find(|(media, _)| is_json(media));
        match json {
            Some((media, described)) => {
                let value = described
                    .schema
                    .map_or(Some(json!({})), |id| self.value(id, 0))?;
                request = request.with_json(&value);
                if media.ends_with("+json") {
                    request.headers = request.headers.replaced("content-type", media.as_str());
                }
                Some(request)
            }
            None => (!body.required).then_some(request),
        }
    }

    fn texts(&mut self, parameter: &Parameter) -> Option<Vec<String>> {
        let value = match parameter.schema {
            Some(id) => self.value(id, 0)?,
            None => json!("a"),
        };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Object(_) | Value::Array(_) => None,
            value => Some(value.to_string()),
        };
        if parameter.media.is_some() {
            return Some(vec![value.to_string()]);
        }
        match &value {
            Value::Array(items) => {
                let texts: Vec<String> = items.iter().map(text).collect::<Option<_>>()?;
                Some(match separator(parameter) {
                    None => texts,
                    Some(separator) => vec![texts.join(&separator.to_string())],
                })
            }
            value => Some(vec![text(value)?]),
        }
    }

    fn value(&mut self, id: SchemaId, depth: usize) -> Option<Value> {
        let schema = self.description.schema(id);
        if schema.never || depth > DEEP * 2 {
            return None;
        }
        if let Some(constant) = &schema.constant {
            return Some(constant.clone());
        }
        if let Some(values) = &schema.values {
            return self.pick(values).cloned();
        }
        if let Some(group) = schema.groups.first() {
            let at = self.pick(&group.branches)?.schema;
            let value = self.value(at, depth + 1)?;
            // What stands beside the group counts as well.
            return match (value, schema.properties.is_empty()) {
                (Value::Object(mut inner), false) => {
                    for (key, value) in self.object(schema, depth)? {
                        inner.entry(key).or_insert(value);
                    }
                    Some(Value::Object(inner))
                }
                (value, _) => Some(value),
            };
        }
        let bare = schema.types.without(Types::NULL);
        let has_properties = !schema.properties.is_empty() || !schema.required.is_empty();
        let types = match bare == Types::ANY.without(Types::NULL) {
            true if has_properties => Types::OBJECT,
            true if schema.items.is_some() => Types::ARRAY,
            true => Types::STRING,
            false => bare,
        };
        let names = types.names();
        Some(match *self.pick(&names).unwrap_or(&"null") {
            "object" => Value::Object(self.object(schema, depth)?),
            "array" => self.array(schema, depth)?,
            "string" => Value::String(self.text(schema)),
            "number" => self.number(schema, false)?,
            "integer" => self.number(schema, true)?,
            "boolean" => json!(self.below(2) == 0),
            _ => Value::Null,
        })
    }

    fn object(&mut self, schema: &Schema, depth: usize) -> Option<Map<String, Value>> {
        let mut map = Map::new();
        for (name, id) in &schema.properties {
            let is_required = schema.required.contains(name);
            let wanted = is_required || (depth < DEEP && self.below(3) > 0);
            if !wanted || self.description.schema(*id).read_only {
                continue;
            }
            match self.value(*id, depth + 1) {
                Some(value) => drop(map.insert(name.clone(), value)),
                None if is_required => return None,
                None => {}
            }
        }
        let additional = |generator: &mut Self| match schema.additional {
            Some(id) => generator.value(id, depth + 1),
            None => Some(json!("a")),
        };
        for name in &schema.required {
            if !schema.properties.contains_key(name) {
                map.insert(name.clone(), additional(self)?);
            }
        }
        let mut more = 0;
        while (map.len() as u64) < schema.size.least {
            map.insert(format!("more{more}"), additional(self)?);
            more += 1;
        }
        Some(map)
    }

    fn count(&mut self, range: Range) -> u64 {
        let most = range
            .most
            .unwrap_or(range.least + MORE)
            .min(range.least + MORE);
        range.least + self.below(most.saturating_sub(range.least) + 1)
    }

    fn array(&mut self, schema: &Schema, depth: usize) -> Option<Value> {
        let count = match depth < DEEP {
            true => self.count(schema.count),
            false => schema.count.least,
        };
        let mut items = Vec::new();
        for at in 0..count {
            let place = usize::try_from(at)
                .ok()
                .and_then(|at| schema.prefix.get(at))
                .copied();
            let item = match place.or(schema.items) {
                Some(id) => self.value(id, depth + 1)?,
                None => json!(at),
            };
            if !schema.unique || !items.contains(&item) {
                items.push(item);
            }
        }
        Some(Value::Array(items))
    }

    fn text(&mut self, schema: &Schema) -> String {
        let number = self.next();
        match schema.formats.first().map(String::as_str) {
            Some("date-time") => format!(
                "2026-{:02}-{:02}T12:00:00Z",
                number % 12 + 1,
                number % 28 + 1
            ),
            Some("date") => format!("2026-{:02}-{:02}", number % 12 + 1, number % 28 + 1),
            Some("time") => format!("{:02}:00:00Z", number % 24),
            Some("duration") => format!("PT{}M", number % 60),
            Some("uuid") => {
                let hex = format!("{number:016x}{:016x}", self.next());
                format!(
                    "{}-{}-4{}-8{}-{}",
                    &hex[..8],
                    &hex[8..12],
                    &hex[13..16],
                    &hex[17..20],
                    &hex[20..]
                )
            }
            Some("email" | "idn-email") => format!("user{}@example.org", number % 1_000),
            Some("uri" | "url" | "iri" | "uri-reference") => {
                format!("https://example.org/{}", number % 1_000)
            }
            Some("hostname") => format!("host{}.example.org", number % 1_000),
            Some("ipv4") => format!("192.0.2.{}", number % 255),
            Some("ipv6") => format!("2001:db8::{:x}", number % 65_536),
            _ => {
                let letters = b"abcdefghijklmnopqrstuvwxyz";
                let count = self
                    .count(schema.length)
                    .max(u64::from(schema.length.most != Some(0)));
                let letter = |_| char::from(letters[usize::try_from(self.below(26)).unwrap_or(0)]);
                (0..count).map(letter).collect()
            }
        }
    }

    fn number(&mut self, schema: &Schema, whole: bool) -> Option<Value> {
        let step = schema.multiples.iter().copied().reduce(f64::max);
        let step = step.unwrap_or(if whole { 1.0 } else { 0.5 });
        let step = if whole && step.fract() != 0.0 {
            1.0
        } else {
            step
        };
        let is_beyond = |value: f64, bound: Option<Bound>, sign: f64| {
            bound.is_some_and(|bound| {
                let over = (value - bound.value) * sign;
                over < 0.0 || (bound.exclusive && over == 0.0)
            })
        };
        let lower = schema.lower.map(|bound| (bound.value / step).ceil() * step);
        let upper = schema
            .upper
            .map(|bound| (bound.value / step).floor() * step);
        let start = lower
            .or(upper.map(|upper| upper - 100.0 * step))
            .unwrap_or(0.0);
        let steps = upper.map_or(100.0, |upper| ((upper - start) / step).clamp(0.0, 1e6));
        let at = self.below(steps as u64 + 1) as f64;
        // A bound that is excluded is the one value that can be wrong.
        let values = [start + at * step, start + step, start];
        let value = values.into_iter().find(|value| {
            !is_beyond(*value, schema.lower, 1.0) && !is_beyond(*value, schema.upper, -1.0)
        })?;
        match value.fract() == 0.0 && value.abs() < 9e15 {
            true => Some(json!(value as i64)),
            false => Number::from_f64(value).map(Value::Number),
        }
    }
}
