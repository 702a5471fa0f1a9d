//! From a resolved schema to one in JSON Schema 2020-12, by which values are checked.

use std::collections::BTreeMap;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::description::Description;
use super::relation::Direction;
use super::schema::{Schema, SchemaId, Types};

/// How many schemas may hang on one that is checked, and how deep. A validator is built by recursion.
const MANY: usize = 20_000;
const DEEP: usize = 2_000;

/// What a thread has that builds a validator of many schemas, in bytes of stack.
const STACK: usize = 512 << 20;

/// How many schemas are built in the thread at hand; more need one with a larger stack.
const FEW: usize = 50;

/// Builds what checks the values of a schema. Errors say why that is not possible.
pub(super) fn validator(
    description: &Description,
    id: SchemaId,
    direction: Direction,
) -> Result<Validator, String> {
    let ids = reachable(description, id)?;
    let mut definitions = Map::new();
    for one in &ids {
        let schema = written(description, description.schema(*one), direction);
        definitions.insert(one.to_string(), schema);
    }
    let schema = json!({"$ref": reference(id), "$defs": definitions});
    let build = || {
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| error.to_string())
    };
    if ids.len() <= FEW {
        return build();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let built = thread
            .spawn_scoped(scope, build)
            .map_err(|error| error.to_string())?;
        built
            .join()
            .unwrap_or_else(|_| Err("the validator could not be built".to_owned()))
    })
}

/// All schemas that hang on one, itself included.
fn reachable(description: &Description, id: SchemaId) -> Result<Vec<SchemaId>, String> {
    let mut depths = BTreeMap::from([(id, 0)]);
    let mut open = vec![id];
    let mut ids = Vec::new();
    while let Some(id) = open.pop() {
        ids.push(id);
        let depth = depths[&id] + 1;
        if ids.len() > MANY || depth > DEEP {
            return Err("too many schemas hang on each other".to_owned());
        }
        for inner in description.schema(id).inner() {
            if let std::collections::btree_map::Entry::Vacant(entry) = depths.entry(inner) {
                entry.insert(depth);
                open.push(inner);
            }
        }
    }
    Ok(ids)
}

fn reference(id: SchemaId) -> String {
    format!("#/$defs/{id}")
}

fn to(id: SchemaId) -> Value {
    json!({"$ref": reference(id)})
}

/// A whole number without a fraction: `5`, not `5.0`.
fn number(value: f64) -> Value {
    match value.fract() == 0.0 && value.abs() < 9e15 {
        true => json!(value as i64),
        false => json!(value),
    }
}

fn written(description: &Description, schema: &Schema, direction: Direction) -> Value {
    if schema.never {
        return json!(false);
    }
    let mut map = Map::new();
    let mut all = Vec::new();
    let mut set = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
    if schema.types != Types::ANY {
        set("type", json!(schema.types.names()));
    }
    if let Some(values) = &schema.values {
        set("enum", json!(values));
    }
    if let Some(constant) = &schema.constant {
        set("const", constant.clone());
    }
    for (inclusive, exclusive, bound) in [
        ("minimum", "exclusiveMinimum", schema.lower),
        ("maximum", "exclusiveMaximum", schema.upper),
    ] {
        if let Some(bound) = bound {
            let key = if bound.exclusive {
                exclusive
            } else {
                inclusive
            };
            set(key, number(bound.value));
        }
    }
    for (least, most, range) in [
        ("minLength", "maxLength", schema.length),
        ("minItems", "maxItems", schema.count),
        ("minProperties", "maxProperties", schema.size),
    ] {
        if range.least > 0 {
            set(least, json!(range.least));
        }
        if let Some(limit) = range.most {
            set(most, json!(limit));
        }
    }
    if schema.unique {
        set("uniqueItems", json!(true));
    }
    if let Some(items) = schema.items {
        set("items", to(items));
    }
    if !schema.prefix.is_empty() {
        set(
            "prefixItems",
            schema.prefix.iter().copied().map(to).collect(),
        );
    }
    if !schema.properties.is_empty() {
        let properties = schema
            .properties
            .iter()
            .map(|(name, id)| (name.clone(), to(*id)));
        set("properties", Value::Object(properties.collect()));
    }
    let hidden = |name: &String| {
        let property = schema
            .properties
            .get(name)
            .map(|id| description.schema(*id));
        property.is_some_and(|property| match direction {
            Direction::Request => property.read_only,
            Direction::Response => property.write_only,
        })
    };
    let required: Vec<&String> = schema
        .required
        .iter()
        .filter(|name| !hidden(name))
        .collect();
    if !required.is_empty() {
        set("required", json!(required));
    }
    if let Some(additional) = schema.additional {
        set("additionalProperties", to(additional));
    }
    for key in ["dependentRequired", "minContains", "maxContains"] {
        if let Some(value) = schema.other.get(key) {
            set(key, value.clone());
        }
    }
    let mut parts: BTreeMap<usize, Map<String, Value>> = BTreeMap::new();
    for (applied, id) in &schema.applied {
        let part = parts.entry(applied.part).or_default();
        match &applied.name {
            None => drop(part.insert(applied.keyword.clone(), to(*id))),
            Some(name) => {
                let inner = part
                    .entry(applied.keyword.clone())
                    .or_insert_with(|| json!({}));
                inner[name] = to(*id);
            }
        }
    }
    // The first part stays beside the properties, which some of its keywords need.
    map.extend(parts.remove(&0).unwrap_or_default());
    all.extend(parts.into_values().map(Value::Object));
    all.extend(
        schema
            .formats
            .iter()
            .map(|format| json!({"format": format})),
    );
    all.extend(
        schema
            .patterns
            .iter()
            .map(|pattern| json!({"pattern": pattern})),
    );
    all.extend(
        schema
            .multiples
            .iter()
            .map(|of| json!({"multipleOf": number(*of)})),
    );
    all.extend(schema.not.iter().map(|id| json!({"not": to(*id)})));
    for group in &schema.groups {
        let branches: Vec<Value> = group
            .branches
            .iter()
            .map(|branch| to(branch.schema))
            .collect();
        let key = if group.exclusive { "oneOf" } else { "anyOf" };
        all.push(json!({key: branches}));
    }
    if !all.is_empty() {
        map.insert("allOf".to_owned(), Value::Array(all));
    }
    Value::Object(map)
}
