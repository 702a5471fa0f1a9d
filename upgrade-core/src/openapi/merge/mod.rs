//! Resolves references, merges `allOf`, and brings 3.0 and 3.1 to one form.

mod keyword;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::openapi::schema::{Branch, Group, Schema, SchemaId, Types};

/// How many different schemas a description may have, each combination that `allOf` makes counted.
const SCHEMAS: usize = 200_000;

/// Keywords that say nothing about which values are valid.
const ANNOTATIONS: [&str; 17] = [
    "title",
    "description",
    "summary",
    "example",
    "examples",
    "externalDocs",
    "xml",
    "$comment",
    "$id",
    "$schema",
    "$anchor",
    "$dynamicAnchor",
    "$defs",
    "definitions",
    "$vocabulary",
    "nullable",
    "$ref",
];

static NULL: LazyLock<Value> = LazyLock::new(|| json!({"type": "null"}));

/// A schema as it stands in the text.
struct Node<'a> {
    value: &'a Value,
    pointer: String,
}

/// What a schema is made of: nodes that all have to hold, and whether `null` is valid beside that.
type Source = (Vec<usize>, bool);

/// Collects the schemas of a description, each once.
pub(in crate::openapi) struct Schemas<'a> {
    name: &'a str,
    root: &'a Value,
    /// Whether the text is of version 3.0.
    old: bool,
    nodes: Vec<Node<'a>>,
    /// Nodes by the address of their value: the text stays where it is while it is read.
    by_address: BTreeMap<usize, usize>,
    ids: BTreeMap<Source, SchemaId>,
    sources: Vec<Source>,
}

impl<'a> Schemas<'a> {
    pub(in crate::openapi) fn new(name: &'a str, root: &'a Value, old: bool) -> Self {
        Self {
            name,
            root,
            old,
            nodes: Vec::new(),
            by_address: BTreeMap::new(),
            ids: BTreeMap::new(),
            sources: Vec::new(),
        }
    }

    /// The id of the schema that stands at a place of the text. It is resolved by [`finish`](Self::finish).
    pub(in crate::openapi) fn id(&mut self, value: &'a Value, pointer: String) -> Result<SchemaId> {
        let node = self.node(value, pointer);
        self.id_of(vec![node], false)
    }

    /// Resolves all schemas, those that they contain included.
    pub(in crate::openapi) fn finish(mut self) -> Result<Vec<Schema>> {
        let mut schemas = Vec::new();
        while schemas.len() < self.sources.len() {
            if self.sources.len() > SCHEMAS {
                let message = format!("`{}` has more than {SCHEMAS} schemas", self.name);
                return Err(Error::new(ErrorKind::InvalidInput, message)
                    .with_hint("split the description by its paths"));
            }
            let source = self.sources[schemas.len()].clone();
            schemas.push(self.resolved(&source)?);
        }
        Ok(schemas)
    }

    /// What a reference leads to, with its place.
    pub(in crate::openapi) fn target(
        &self,
        reference: &str,
        at: &str,
    ) -> Result<(&'a Value, String)> {
        target(self.name, self.root, reference, at)
    }

    fn node(&mut self, value: &'a Value, pointer: String) -> usize {
        let address = std::ptr::from_ref(value) as usize;
        let next = self.nodes.len();
        let node = *self.by_address.entry(address).or_insert(next);
        if node == next {
            self.nodes.push(Node { value, pointer });
        }
        node
    }

    fn id_of(&mut self, nodes: Vec<usize>, mut nullable: bool) -> Result<SchemaId> {
        let mut direct = BTreeSet::new();
        for node in nodes {
            let node = self.direct(node)?;
            let value = self.nodes[node].value;
            // Without a type it says nothing by the letter; beside `allOf` it is how a reference is made
            // nullable.
            nullable |= self.old
                && value["nullable"] == true
                && value.get("type").is_none()
                && ["allOf", "anyOf", "oneOf"]
                    .iter()
                    .any(|key| value.get(key).is_some());
            direct.insert(node);
        }
        let source = (direct.into_iter().collect(), nullable);
        if let Some(id) = self.ids.get(&source) {
            return Ok(*id);
        }
        let id = self.sources.len();
        self.sources.push(source.clone());
        self.ids.insert(source, id);
        Ok(id)
    }

    /// Follows references that nothing stands beside.
    fn direct(&mut self, mut node: usize) -> Result<usize> {
        let mut passed = BTreeSet::from([node]);
        while let Some(reference) = self.reference(node) {
            if !self.stands_alone(node) {
                break;
            }
            node = self.follow(node, reference)?;
            if !passed.insert(node) {
                let at = &self.nodes[node].pointer;
                return Err(invalid(self.name, at, "the reference leads to itself"));
            }
        }
        Ok(node)
    }

    fn reference(&self, node: usize) -> Option<&'a str> {
        self.nodes[node].value.get("$ref")?.as_str()
    }

    /// Whether nothing that counts stands beside a `$ref`. In 3.0 nothing does.
    fn stands_alone(&self, node: usize) -> bool {
        let counts = |key: &String| !ANNOTATIONS.contains(&key.as_str());
        let object = self.nodes[node].value.as_object();
        self.old || object.is_none_or(|object| !object.keys().any(counts))
    }

    fn follow(&mut self, node: usize, reference: &str) -> Result<usize> {
        let (value, pointer) = self.target(reference, &self.nodes[node].pointer)?;
        Ok(self.node(value, pointer))
    }

    fn inner(&mut self, node: usize, value: &'a Value, keys: &[&str]) -> Result<SchemaId> {
        let inner = self.inner_node(node, value, keys);
        self.id_of(vec![inner], false)
    }

    fn inner_node(&mut self, node: usize, value: &'a Value, keys: &[&str]) -> usize {
        let mut pointer = self.nodes[node].pointer.clone();
        for key in keys {
            pointer.push('/');
            pointer.push_str(&escaped(key));
        }
        self.node(value, pointer)
    }

    /// All nodes that have to hold: those of references, of `allOf`, and of a group of one branch.
    fn flat(&mut self, nodes: &[usize]) -> Result<(Vec<usize>, bool)> {
        let mut flat = Vec::new();
        let mut nullable = false;
        let mut open: Vec<usize> = nodes.iter().rev().copied().collect();
        while let Some(node) = open.pop() {
            if flat.contains(&node) {
                continue;
            }
            flat.push(node);
            let mut more = Vec::new();
            if let Some(reference) = self.reference(node) {
                more.push(self.follow(node, reference)?);
                if self.old {
                    open.append(&mut more);
                    continue;
                }
            }
            let value = self.nodes[node].value;
            for (at, part) in list(value, "allOf").iter().enumerate() {
                more.push(self.inner_node(node, part, &["allOf", &at.to_string()]));
            }
            for key in ["anyOf", "oneOf"] {
                let branches = list(value, key);
                let is_alone = nodes.len() == 1 && self.is_bare(node, key);
                if let Some(at) = only_branch(branches, is_alone) {
                    nullable |= branches.len() > 1;
                    more.push(self.inner_node(node, &branches[at], &[key, &at.to_string()]));
                }
            }
            more.reverse();
            open.append(&mut more);
        }
        Ok((flat, nullable))
    }

    /// Whether a node has no keyword that counts, but for this one.
    fn is_bare(&self, node: usize, key: &str) -> bool {
        let counts = |known: &String| {
            known != key
                && !ANNOTATIONS.contains(&known.as_str())
                && !known.starts_with("x-")
                && !matches!(
                    known.as_str(),
                    "default" | "deprecated" | "readOnly" | "writeOnly"
                )
        };
        let object = self.nodes[node].value.as_object();
        self.reference(node).is_none() && object.is_some_and(|object| !object.keys().any(counts))
    }

    fn resolved(&mut self, (nodes, nullable): &Source) -> Result<Schema> {
        let (flat, or_null) = self.flat(nodes)?;
        let pointer = flat.first().map_or("", |node| &self.nodes[*node].pointer);
        let mut schema = Schema::new(pointer);
        for node in &flat {
            self.add(&mut schema, *node, nodes.len() == 1)?;
        }
        self.add_properties(&mut schema, &flat)?;
        if *nullable || or_null {
            self.make_nullable(&mut schema, nodes, &flat)?;
        }
        Ok(schema)
    }

    fn make_nullable(
        &mut self,
        schema: &mut Schema,
        nodes: &[usize],
        flat: &[usize],
    ) -> Result<()> {
        if schema.groups.is_empty() && schema.not.is_empty() && schema.applied.is_empty() {
            schema.types = schema.types.or(Types::NULL);
            if let Some(constant) = schema.constant.take() {
                schema.values.get_or_insert_default().push(constant);
            }
            if let Some(values) = &mut schema.values
                && !values.contains(&Value::Null)
            {
                values.push(Value::Null);
            }
            return Ok(());
        }
        let null = self.node(&NULL, "#".to_owned());
        let null = Branch {
            schema: self.id_of(vec![null], false)?,
            reference: None,
        };
        if schema.is_only_groups() && schema.groups.len() == 1 {
            schema.types = schema.types.or(Types::NULL);
            schema.groups[0].branches.push(null);
            return Ok(());
        }
        // What else counts cannot take `null` in, so the whole becomes a branch beside it.
        let rest: Vec<usize> = flat
            .iter()
            .copied()
            .filter(|node| !nodes.contains(node))
            .collect();
        if rest.is_empty() {
            return Ok(());
        }
        let whole = Branch {
            schema: self.id_of(rest, false)?,
            reference: None,
        };
        *schema = Schema {
            groups: vec![Group {
                exclusive: false,
                branches: vec![whole, null],
            }],
            read_only: schema.read_only,
            write_only: schema.write_only,
            default: schema.default.take(),
            ..Schema::new(std::mem::take(&mut schema.pointer))
        };
        Ok(())
    }

    /// Adds the properties of all nodes. A name that one node does not list has to be valid by its
    /// `additionalProperties`.
    fn add_properties(&mut self, schema: &mut Schema, flat: &[usize]) -> Result<()> {
        let parts: Vec<usize> = flat
            .iter()
            .copied()
            .filter(|node| !(self.old && self.reference(*node).is_some()))
            .filter(|node| {
                let value = self.nodes[*node].value;
                value.get("properties").is_some() || value.get("additionalProperties").is_some()
            })
            .collect();
        let mut names = BTreeSet::new();
        for node in &parts {
            let value = self.nodes[*node].value;
            names.extend(
                value
                    .get("properties")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flat_map(|map| map.keys()),
            );
        }
        for name in names {
            let mut nodes = Vec::new();
            for node in &parts {
                let value = self.nodes[*node].value;
                let listed = value.get("properties").and_then(|map| map.get(name));
                let has_patterns = value.get("patternProperties").is_some();
                match (listed, value.get("additionalProperties")) {
                    (Some(listed), _) => {
                        nodes.push(self.inner_node(*node, listed, &["properties", name]))
                    }
                    (None, Some(rest)) if !has_patterns && *rest != Value::Bool(true) => {
                        nodes.push(self.inner_node(*node, rest, &["additionalProperties"]));
                    }
                    _ => {}
                }
            }
            let id = self.id_of(nodes, false)?;
            schema.properties.insert(name.clone(), id);
        }
        let mut rest = Vec::new();
        for node in &parts {
            let value = self.nodes[*node].value;
            if let Some(more) = value.get("additionalProperties")
                && schema_like(more).is_some()
                && *more != Value::Bool(true)
            {
                rest.push(self.inner_node(*node, more, &["additionalProperties"]));
            }
        }
        if !rest.is_empty() {
            schema.additional = Some(self.id_of(rest, false)?);
        }
        Ok(())
    }
}

/// What a local reference leads to, with its place.
pub(in crate::openapi) fn target<'a>(
    name: &str,
    root: &'a Value,
    reference: &str,
    at: &str,
) -> Result<(&'a Value, String)> {
    let Some(fragment) = reference.strip_prefix('#') else {
        let message = format!("the reference `{reference}` leads to another document");
        return Err(invalid(name, at, &message).with_hint(
            "put the description into one file before it is read: tools call that bundling",
        ));
    };
    let decoded = percent_decode_str(fragment).decode_utf8_lossy();
    let found = match decoded.is_empty() || decoded.starts_with('/') {
        true => root.pointer(&decoded),
        false => None,
    };
    match found {
        Some(value) => Ok((value, format!("#{decoded}"))),
        None => Err(invalid(
            name,
            at,
            &format!("the reference `{reference}` leads nowhere"),
        )
        .with_hint("references are JSON pointers, such as `#/components/schemas/Order`")),
    }
}

/// An error at a place of a description.
pub(in crate::openapi) fn invalid(name: &str, at: &str, message: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("`{name}` at `{at}`: {message}"),
    )
}

/// A key as it stands in a JSON pointer.
pub(in crate::openapi) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The branch that is the schema: the only one, or the only one beside `null` where nothing else counts.
fn only_branch(branches: &[Value], is_alone: bool) -> Option<usize> {
    match branches {
        [_] => Some(0),
        [one, two] if is_alone => match (is_null(one), is_null(two)) {
            (true, false) => Some(1),
            (false, true) => Some(0),
            _ => None,
        },
        _ => None,
    }
}

fn is_null(branch: &Value) -> bool {
    branch["type"] == "null" || branch["const"].is_null() && branch.get("const").is_some()
}

fn schema_like(value: &Value) -> Option<()> {
    (value.is_object() || value.is_boolean()).then_some(())
}
