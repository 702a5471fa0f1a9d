//! `extends`: services that take over what another one says, of the same file or of another.

use std::path::{Path, PathBuf};

use super::field::{Field, nearest};
use super::merge::{alone, merge};
use super::reading::Reading;
use super::tree::{Map, Node, Value};
use crate::error::Result;

/// Reads another file, whose paths start from its own folder.
pub(super) type Load<'a> = &'a dyn Fn(&Path, &Field<'_>) -> Result<Node>;

/// The document with the `extends` of its services replaced by what they extend.
pub(super) fn extend(root: Node, reading: &Reading, load: Load<'_>) -> Result<Node> {
    let Value::Map(mut map) = root.value else {
        return Ok(root);
    };
    if let Some(Node {
        value: Value::Map(services),
        ..
    }) = map.get_mut("services")
    {
        let before = services.clone();
        for (name, node) in services.iter_mut() {
            let mut path = vec![place(node, name)];
            *node = service(name, node.clone(), &before, reading, load, &mut path)?;
        }
    }
    Ok(Node {
        value: Value::Map(map),
        ..root
    })
}

/// What a service is told apart by from one of its name in another file.
fn place(node: &Node, name: &str) -> (PathBuf, String) {
    let source = &node.at.source;
    let file = source.folder.join(&source.name);
    (file, name.to_owned())
}

fn service(
    name: &str,
    node: Node,
    services: &Map,
    reading: &Reading,
    load: Load<'_>,
    path: &mut Vec<(PathBuf, String)>,
) -> Result<Node> {
    let Value::Map(mut map) = node.value else {
        return Ok(node);
    };
    let Some(extends) = map.remove("extends") else {
        return Ok(Node {
            value: Value::Map(map),
            ..node
        });
    };
    let field = Field {
        node: &extends,
        of: format!("`extends` of service `{name}`"),
        reading,
    };
    let (wanted, file) = if field.is_map() {
        let fields = field.fields()?;
        let wanted = fields.required("service")?.text()?;
        let file = fields.get("file").map(|field| field.path()).transpose()?;
        fields.finish();
        (wanted, file)
    } else {
        (field.text()?, None)
    };
    let other;
    let services = match &file {
        None => services,
        Some(file) => {
            let Value::Map(mut root) = load(file, &field)?.value else {
                return Err(
                    field.error(format!("names `{}`, which has no services", file.display()))
                );
            };
            other = match root.remove("services").map(|node| node.value) {
                Some(Value::Map(services)) => services,
                _ => Map::new(),
            };
            &other
        }
    };
    let Some(base) = services.get(&wanted) else {
        let error = field.error(format!("names the service `{wanted}`, which is not there"));
        return Err(
            match nearest(&wanted, services.keys().map(String::as_str)) {
                Some(known) => error.with_hint(format!("did you mean `{known}`?")),
                None => error,
            },
        );
    };
    let next = place(base, &wanted);
    if path.contains(&next) {
        return Err(field.error("leads back to itself"));
    }
    path.push(next);
    let base = service(&wanted, base.clone(), services, reading, load, path)?;
    path.pop();
    let over = Node {
        value: Value::Map(map),
        at: node.at,
        order: node.order,
    };
    let at = over.at.clone();
    let mut merged = match alone(base) {
        Some(base) => merge(base, over, &["services", name])?,
        None => Some(over),
    }
    .unwrap_or_else(|| Node {
        at: at.clone(),
        value: Value::Null,
        order: node.order,
    });
    merged.at = at;
    Ok(merged)
}
