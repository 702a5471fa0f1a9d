//! Merging one tree over another, by the rules of compose.
//!
//! Maps are merged key by key, lists are appended, everything else is replaced. Commands are
//! replaced as a whole; keys that may be a map or a list are made maps first. Lists in which an
//! item takes the place of an earlier one (mounts, ports, secrets) are told so where they are read.

use super::tree::{Map, Node, Order, Value};
use crate::error::{Error, Result};

/// What a key of a compose file is merged as.
enum Kind {
    /// A map whose other form is a list of `name<separator>value` or of names.
    Pairs(&'static [char]),
    /// A list whose other form is one text.
    Texts,
    /// A value that the later file replaces as a whole.
    Whole,
    /// A build, whose other form is its context.
    Build,
    /// An extended service, whose other form is its name.
    AsItIs,
}

fn kind(path: &[&str]) -> Kind {
    match path {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => {
            Kind::Whole
        }
        [
            "services",
            _,
            "environment" | "sysctls" | "depends_on" | "networks",
        ]
        | ["services", _, "labels" | "annotations"]
        | ["services", _, "build", "args" | "labels"]
        | ["services", _, "deploy", "labels"]
        | ["networks" | "volumes" | "secrets" | "configs", _, "labels"] => Kind::Pairs(&['=']),
        ["services", _, "extra_hosts"] => Kind::Pairs(&['=', ':']),
        ["services", _, "env_file" | "tmpfs" | "dns" | "dns_search"] => Kind::Texts,
        ["services", _, "build"] => Kind::Build,
        _ => Kind::AsItIs,
    }
}

/// The document with what its tags `!reset` and `!override` ask for, on its own.
pub(super) fn alone(node: Node) -> Option<Node> {
    match node.order {
        Order::Reset => None,
        Order::Override | Order::Merge => Some(Node {
            at: node.at,
            order: Order::Merge,
            value: match node.value {
                Value::List(list) => Value::List(list.into_iter().filter_map(alone).collect()),
                Value::Map(map) => Value::Map(
                    map.into_iter()
                        .filter_map(|(key, node)| Some((key, alone(node)?)))
                        .collect(),
                ),
                value => value,
            },
        }),
    }
}

/// `over` merged over `base`, both of which stand at a path.
pub(super) fn merge(base: Node, over: Node, path: &[&str]) -> Result<Option<Node>> {
    if over.order != Order::Merge {
        return Ok(alone(over));
    }
    let (base, over) = match kind(path) {
        Kind::Whole => return Ok(alone(over)),
        Kind::Pairs(separators) => (named(base, separators)?, named(over, separators)?),
        Kind::Texts => (listed(base), listed(over)),
        Kind::Build => (with_context(base), with_context(over)),
        Kind::AsItIs => (base, over),
    };
    let at = over.at.clone();
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(merge_maps(base, over, path)?),
        (Value::List(mut base), Value::List(over)) => {
            base.extend(over.into_iter().filter_map(alone));
            Value::List(base)
        }
        (base @ (Value::Map(_) | Value::List(_)), Value::Null) => base,
        (Value::Null, over)
        | (Value::Scalar { .. }, over @ (Value::Scalar { .. } | Value::Null)) => {
            return Ok(alone(Node {
                at,
                value: over,
                order: Order::Merge,
            }));
        }
        (_, _) => return Err(mismatch(&at, &base.at, path)),
    };
    Ok(Some(Node {
        at,
        value,
        order: Order::Merge,
    }))
}

fn merge_maps(mut base: Map, over: Map, path: &[&str]) -> Result<Map> {
    for (key, over) in over {
        let merged = match base.remove(&key) {
            None => alone(over),
            Some(base) => {
                let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                merge(base, over, &path)?
            }
        };
        if let Some(merged) = merged {
            base.insert(key, merged);
        }
    }
    Ok(base)
}

fn mismatch(over: &super::tree::At, base: &super::tree::At, path: &[&str]) -> Error {
    over.error(format!(
        "`{}` is of another kind than the one that it is merged over, `{}:{}`",
        path.join("."),
        base.source.name,
        base.line
    ))
    .with_hint("replace it as a whole with `!override`")
}

/// A list of names or pairs as a map.
pub(super) fn named(node: Node, separators: &[char]) -> Result<Node> {
    let Value::List(list) = node.value else {
        return Ok(node);
    };
    let mut map = Map::new();
    for item in list {
        let Value::Scalar { text, .. } = item.value else {
            return Err(item.at.error("an item of this list has to be a text"));
        };
        let (name, value) = match text.split_once(separators) {
            Some((name, value)) => {
                let text = value.to_owned();
                (name, Value::Scalar { text, plain: false })
            }
            None => (text.as_str(), Value::Null),
        };
        let (at, order) = (item.at, item.order);
        map.insert(name.to_owned(), Node { at, value, order });
    }
    Ok(Node {
        value: Value::Map(map),
        ..node
    })
}

fn listed(node: Node) -> Node {
    match node.value {
        Value::List(_) | Value::Null => node,
        _ => Node {
            at: node.at.clone(),
            order: node.order,
            value: Value::List(vec![node]),
        },
    }
}

fn with_context(node: Node) -> Node {
    match node.value {
        Value::Scalar { .. } => Node {
            at: node.at.clone(),
            order: node.order,
            value: Value::Map(Map::from([("context".to_owned(), node)])),
        },
        _ => node,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tree::{Source, parse};
    use super::*;

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "~".to_owned(),
            Value::Scalar { text, .. } => text.clone(),
            Value::List(list) => {
                format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            Value::Map(map) => {
                let entries: Vec<String> = map
                    .iter()
                    .map(|(key, node)| format!("{key}:{}", show(node)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    fn merged(base: &str, over: &str) -> Result<String> {
        let node = |name: &str, text: &str| {
            let source = Arc::new(Source {
                name: name.into(),
                folder: "/".into(),
            });
            parse(&format!("services: {{a: {{{text}}}}}"), &source).unwrap()
        };
        let merged = merge(node("base", base), node("over", over), &[])?.unwrap();
        let shown = show(&merged);
        Ok(shown["{services:{a:{".len()..shown.len() - 3].to_owned())
    }

    #[test]
    fn the_rules_of_compose() {
        for (base, over, expected) in [
            ("image: a, user: u", "image: b", "image:b user:u"),
            ("ports: [1]", "ports: [2]", "ports:[1 2]"),
            ("command: [a, b]", "command: c", "command:c"),
            ("command: [a, b]", "command: [c]", "command:[c]"),
            (
                "healthcheck: {test: [a], retries: 1}",
                "healthcheck: {test: [b]}",
                "healthcheck:{retries:1 test:[b]}",
            ),
            (
                "environment: {A: 1, B: 2}",
                "environment: [B=3, C]",
                "environment:{A:1 B:3 C:~}",
            ),
            ("labels: [a=1]", "labels: {a: 2, b: 3}", "labels:{a:2 b:3}"),
            (
                "extra_hosts: ['a:1.1.1.1']",
                "extra_hosts: ['a=2.2.2.2']",
                "extra_hosts:{a:2.2.2.2}",
            ),
            (
                "depends_on: [db]",
                "depends_on: {db: {condition: service_healthy}}",
                "depends_on:{db:{condition:service_healthy}}",
            ),
            ("env_file: a", "env_file: [b]", "env_file:[a b]"),
            (
                "build: ./a",
                "build: {target: t}",
                "build:{context:./a target:t}",
            ),
            ("ports: [1]", "ports: ~", "ports:[1]"),
            ("image: a", "image: ~", "image:~"),
            ("ports: [1]", "ports: !reset []", ""),
            ("user: u", "user: !reset null", ""),
            ("user: u", "init: !reset null", "user:u"),
            ("ports: [1]", "ports: !override [2]", "ports:[2]"),
            (
                "environment: {A: 1, B: 2}",
                "environment: {A: !reset null}",
                "environment:{B:2}",
            ),
            (
                "environment: {A: 1}",
                "environment: !override {B: 1}",
                "environment:{B:1}",
            ),
        ] {
            assert_eq!(merged(base, over).unwrap(), expected, "{base} | {over}");
        }
    }

    #[test]
    fn kinds_that_do_not_fit_are_named() {
        assert_eq!(
            merged("ports: [1]", "\nports: {a: 1}")
                .unwrap_err()
                .to_string(),
            "`over:2`: `services.a.ports` is of another kind than the one that it is merged over, \
             `base:1` (replace it as a whole with `!override`)"
        );
    }
}
