//! What one node of a schema demands, keyword by keyword.

use serde_json::{Value, json};

use super::{ANNOTATIONS, Schemas, only_branch, schema_like};
use crate::error::Result;
use crate::openapi::schema::{
    Applied, Bound, Branch, Discriminator, Extensible, Group, Schema, SchemaId, Types,
};

impl<'a> Schemas<'a> {
    /// Adds what one node demands, but for its properties.
    pub(super) fn add(&mut self, schema: &mut Schema, node: usize, alone: bool) -> Result<()> {
        let value = self.nodes[node].value;
        if *value == Value::Bool(false) {
            schema.never = true;
        }
        let Some(object) = value.as_object() else {
            return Ok(());
        };
        if self.old && self.reference(node).is_some() {
            return Ok(());
        }
        let part = schema
            .applied
            .keys()
            .map(|key| key.part + 1)
            .max()
            .unwrap_or(0);
        for (key, value) in object {
            if self
                .keyword(schema, node, part, key, value, alone)?
                .is_none()
            {
                match schema.other.get_mut(key) {
                    Some(known) if known == value => {}
                    Some(known) => *known = json!([known, value]),
                    None => drop(schema.other.insert(key.clone(), value.clone())),
                }
            }
        }
        if schema.types.and(Types::NUMBER) == Types::INTEGER {
            schema.lower = schema.lower.map(|bound| bound.of_integers(1.0));
            schema.upper = schema.upper.map(|bound| bound.of_integers(-1.0));
        }
        Ok(())
    }

    /// Adds one keyword; `None` if it is unknown or its value is not what it must be.
    fn keyword(
        &mut self,
        schema: &mut Schema,
        node: usize,
        part: usize,
        key: &str,
        value: &'a Value,
        alone: bool,
    ) -> Result<Option<()>> {
        let old = self.old;
        let all = self.nodes[node].value;
        let inner = |all: &mut Self| all.inner(node, value, &[key]);
        let done = match key {
            "type" => types(value).map(|mut types| {
                if old && all["nullable"] == true {
                    types = types.or(Types::NULL);
                }
                schema.types = schema.types.and(types);
            }),
            "enum" => value.as_array().map(|values| {
                schema.values = Some(match schema.values.take() {
                    Some(known) => known
                        .into_iter()
                        .filter(|one| values.contains(one))
                        .collect(),
                    None => values.clone(),
                });
            }),
            "const" if !old => {
                schema.never |= schema.constant.as_ref().is_some_and(|known| known != value);
                schema.constant = Some(value.clone());
                Some(())
            }
            "format" => value
                .as_str()
                .map(|format| schema.formats.extend([format.to_owned()])),
            "pattern" => value
                .as_str()
                .map(|text| schema.patterns.extend([text.to_owned()])),
            "minimum" => value.as_f64().map(|value| {
                let exclusive = old && all["exclusiveMinimum"] == true;
                schema.lower = Some(Bound { value, exclusive }.higher(schema.lower));
            }),
            "maximum" => value.as_f64().map(|value| {
                let exclusive = old && all["exclusiveMaximum"] == true;
                schema.upper = Some(Bound { value, exclusive }.lower(schema.upper));
            }),
            "exclusiveMinimum" | "exclusiveMaximum" if old && value.is_boolean() => Some(()),
            "exclusiveMinimum" => value.as_f64().map(|value| {
                schema.lower = Some(
                    Bound {
                        value,
                        exclusive: true,
                    }
                    .higher(schema.lower),
                );
            }),
            "exclusiveMaximum" => value.as_f64().map(|value| {
                schema.upper = Some(
                    Bound {
                        value,
                        exclusive: true,
                    }
                    .lower(schema.upper),
                );
            }),
            "multipleOf" => value.as_f64().filter(|of| *of > 0.0).map(|of| {
                if !schema.multiples.contains(&of) {
                    schema.multiples.push(of);
                    schema.multiples.sort_by(f64::total_cmp);
                }
            }),
            "minLength" => whole(value).map(|least| schema.length.at_least(least)),
            "maxLength" => whole(value).map(|most| schema.length.at_most(most)),
            "minItems" => whole(value).map(|least| schema.count.at_least(least)),
            "maxItems" => whole(value).map(|most| schema.count.at_most(most)),
            "minProperties" => whole(value).map(|least| schema.size.at_least(least)),
            "maxProperties" => whole(value).map(|most| schema.size.at_most(most)),
            "uniqueItems" => value.as_bool().map(|unique| schema.unique |= unique),
            "required" => value.as_array().map(|names| {
                let names = names.iter().filter_map(Value::as_str).map(str::to_owned);
                schema.required.extend(names);
            }),
            // These are merged over all nodes.
            "properties" => value.as_object().map(|_| ()),
            "additionalProperties" => schema_like(value),
            "items" => match schema_like(value) {
                Some(()) => {
                    schema.items = Some(match schema.items {
                        Some(known) => self.both(known, node, value, key)?,
                        None => inner(self)?,
                    });
                    Some(())
                }
                None => None,
            },
            "prefixItems" => match value.as_array() {
                Some(parts) => {
                    for (at, part) in parts.iter().enumerate() {
                        let id = self.inner(node, part, &[key, &at.to_string()])?;
                        if at == schema.prefix.len() {
                            schema.prefix.push(id);
                        }
                    }
                    Some(())
                }
                None => None,
            },
            "allOf" => value.as_array().map(|_| ()),
            "anyOf" | "oneOf" => match value.as_array() {
                Some(branches)
                    if only_branch(branches, alone && self.is_bare(node, key)).is_some() =>
                {
                    Some(())
                }
                Some(branches) => {
                    let mut group = Vec::new();
                    for (at, branch) in branches.iter().enumerate() {
                        let reference = branch.get("$ref").and_then(Value::as_str);
                        group.push(Branch {
                            schema: self.inner(node, branch, &[key, &at.to_string()])?,
                            reference: reference.map(str::to_owned),
                        });
                    }
                    schema.groups.push(Group {
                        exclusive: key == "oneOf",
                        branches: group,
                    });
                    Some(())
                }
                None => None,
            },
            "not" => match schema_like(value) {
                Some(()) => {
                    schema.not.push(inner(self)?);
                    Some(())
                }
                None => None,
            },
            "if"
            | "then"
            | "else"
            | "contains"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties"
            | "contentSchema" => match schema_like(value) {
                Some(()) => {
                    let applied = Applied {
                        part,
                        keyword: key.to_owned(),
                        name: None,
                    };
                    schema.applied.insert(applied, inner(self)?);
                    Some(())
                }
                None => None,
            },
            "patternProperties" | "dependentSchemas" => match value.as_object() {
                Some(map) => {
                    for (name, one) in map {
                        let applied = Applied {
                            part,
                            keyword: key.to_owned(),
                            name: Some(name.clone()),
                        };
                        schema
                            .applied
                            .insert(applied, self.inner(node, one, &[key, name])?);
                    }
                    Some(())
                }
                None => None,
            },
            "discriminator" => discriminator(value).map(|found| {
                schema.discriminator.get_or_insert(found);
            }),
            "readOnly" => value.as_bool().map(|is| schema.read_only |= is),
            "writeOnly" => value.as_bool().map(|is| schema.write_only |= is),
            "deprecated" => value.as_bool().map(|is| schema.deprecated |= is),
            "default" => {
                schema.default.get_or_insert_with(|| value.clone());
                Some(())
            }
            "x-extensible-enum" => match value {
                Value::Array(values) => {
                    schema.extensible = Some(Extensible::Values(values.clone()));
                    Some(())
                }
                Value::Bool(true) => {
                    schema.extensible = Some(Extensible::Enum);
                    Some(())
                }
                _ => None,
            },
            _ if ANNOTATIONS.contains(&key) => Some(()),
            _ if key.starts_with("x-") => {
                schema
                    .extensions
                    .entry(key.to_owned())
                    .or_insert_with(|| value.clone());
                Some(())
            }
            _ => None,
        };
        Ok(done)
    }

    /// A schema that is known, and one more node.
    fn both(
        &mut self,
        known: SchemaId,
        node: usize,
        value: &'a Value,
        key: &str,
    ) -> Result<SchemaId> {
        let (mut nodes, nullable) = self.sources[known].clone();
        nodes.push(self.inner_node(node, value, &[key]));
        self.id_of(nodes, nullable)
    }
}

fn types(value: &Value) -> Option<Types> {
    match value {
        Value::String(name) => Types::named(name),
        Value::Array(names) => names
            .iter()
            .try_fold(Types::ANY.without(Types::ANY), |types, name| {
                Some(types.or(Types::named(name.as_str()?)?))
            }),
        _ => None,
    }
}

/// A number that counts something; `3.0` is one.
fn whole(value: &Value) -> Option<u64> {
    let exact = value
        .as_f64()
        .filter(|value| value.fract() == 0.0 && *value >= 0.0);
    value.as_u64().or(exact.map(|value| value as u64))
}

fn discriminator(value: &Value) -> Option<Discriminator> {
    let mapping = value.get("mapping").and_then(Value::as_object);
    let pairs = mapping.into_iter().flatten();
    Some(Discriminator {
        property: value.get("propertyName")?.as_str()?.to_owned(),
        mapping: pairs
            .filter_map(|(key, to)| Some((key.clone(), to.as_str()?.to_owned())))
            .collect(),
    })
}
