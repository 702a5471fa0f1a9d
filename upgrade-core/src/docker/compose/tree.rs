//! A YAML file as a tree whose nodes know where they stand.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::error::{Error, ErrorKind, Result};

/// What a file may come to in bytes once its aliases are written out: a few lines of aliases of
/// aliases would fill the memory otherwise.
const LIMIT: usize = 4 << 20;

/// What a value counts for beside its text.
const NODE: usize = 32;

/// A file, and the folder that its relative paths start from.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

/// A line of a file.
#[derive(Clone)]
pub(super) struct At {
    pub(super) source: Arc<Source>,
    pub(super) line: usize,
}

impl At {
    pub(super) fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::InvalidInput, self.message(message))
    }

    /// A message about this line.
    pub(super) fn message(&self, message: impl std::fmt::Display) -> String {
        format!("`{}:{}`: {message}", self.source.name, self.line)
    }
}

pub(super) type Map = BTreeMap<String, Node>;

/// A value. One that has a key stands where its key stands.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
    pub(super) order: Order,
}

#[derive(Clone)]
pub(super) enum Value {
    Null,
    Scalar {
        text: String,
        /// Without quotes: YAML may take it for a number or a boolean.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Map),
}

/// What a value does to the one that it is merged over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Merge,
    /// `!reset`: takes it away.
    Reset,
    /// `!override`: replaces it as a whole.
    Override,
}

/// Reads the one document of a file.
pub(super) fn parse(text: &str, source: &Arc<Source>) -> Result<Node> {
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        source,
        anchors: BTreeMap::new(),
        weight: 0,
    };
    let mut root = None;
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(..) if root.is_some() => {
                return Err(builder
                    .at(&span)
                    .error("a second document starts here")
                    .with_hint("keep one, and name the others with `and`"));
            }
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => root = Some(builder.node(event, &span)?),
        }
    }
    let end = At {
        source: Arc::clone(source),
        line: 1,
    };
    root.ok_or_else(|| end.error("the file is empty"))
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    source: &'a Arc<Source>,
    anchors: BTreeMap<usize, Node>,
    weight: usize,
}

impl<'a> Builder<'a> {
    fn at(&self, span: &Span) -> At {
        At {
            source: Arc::clone(self.source),
            line: span.start.line(),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = At {
                    source: Arc::clone(self.source),
                    line: error.marker().line(),
                };
                Err(at.error(format!("this is not YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node> {
        let at = self.at(span);
        let (anchor, tag, value) = match event {
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    at.error("this alias stands inside of what it is an alias of")
                })?;
                self.weigh(weight(&node), &at)?;
                return Ok(Node { at, ..node });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.weigh(NODE + text.len(), &at)?;
                (anchor, tag.clone(), scalar(&text, style, tag.as_deref()))
            }
            Event::SequenceStart(_, anchor, tag) => (anchor, tag, Value::List(self.list()?)),
            Event::MappingStart(_, anchor, tag) => (anchor, tag, Value::Map(self.map()?)),
            _ => return Err(at.error("this is not YAML: a value is missing")),
        };
        let order = order(tag.as_deref(), &at)?;
        let node = Node { at, value, order };
        if anchor != 0 {
            self.weigh(weight(&node), &node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn weigh(&mut self, more: usize, at: &At) -> Result<()> {
        self.weight = self.weight.saturating_add(more);
        if self.weight > LIMIT {
            return Err(at
                .error("the file is too large, its aliases written out")
                .with_hint(format!("the limit is {} MiB", LIMIT >> 20)));
        }
        Ok(())
    }

    fn list(&mut self) -> Result<Vec<Node>> {
        let mut list = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(list);
            }
            list.push(self.node(event, &span)?);
        }
    }

    fn map(&mut self) -> Result<Map> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let at = self.at(&span);
            let key = match self.node(event, &span)?.value {
                Value::Scalar { text, .. } => text,
                Value::Null => "null".to_owned(),
                _ => return Err(at.error("a key has to be a scalar, such as `image`")),
            };
            let (event, span) = self.next()?;
            let value = Node {
                at: at.clone(),
                ..self.node(event, &span)?
            };
            if key == "<<" {
                merged.push(value);
                continue;
            }
            match map.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(entry) => {
                    return Err(at.error(format!(
                        "the key `{}` stands here for the second time, the first was line {}",
                        entry.key(),
                        entry.get().at.line
                    )));
                }
            }
        }
        for node in merged {
            let sources = match node.value {
                Value::List(list) => list,
                _ => vec![node],
            };
            for source in sources {
                let Value::Map(entries) = source.value else {
                    return Err(source.at.error("`<<` takes a map or a list of maps"));
                };
                for (key, value) in entries {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(map)
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let quoted_by_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
    let plain = style == ScalarStyle::Plain && !quoted_by_tag;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar {
        text: text.to_owned(),
        plain,
    }
}

fn order(tag: Option<&Tag>, at: &At) -> Result<Order> {
    match tag {
        None => Ok(Order::Merge),
        Some(tag) if tag.is_yaml_core_schema() => Ok(Order::Merge),
        Some(tag) => match (tag.handle(), tag.suffix()) {
            ("!", "reset") => Ok(Order::Reset),
            ("!", "override") => Ok(Order::Override),
            (handle, suffix) => Err(at
                .error(format!("the tag `{handle}{suffix}` is unknown"))
                .with_hint("compose has `!reset` and `!override`")),
        },
    }
}

fn weight(node: &Node) -> usize {
    NODE + match &node.value {
        Value::Null => 0,
        Value::Scalar { text, .. } => text.len(),
        Value::List(list) => list.iter().map(weight).sum(),
        Value::Map(map) => map.iter().map(|(key, node)| key.len() + weight(node)).sum(),
    }
}
