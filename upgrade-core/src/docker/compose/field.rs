//! Typed readers of a tree: each knows the file, the line and the path of what it reads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::secret::Secret;

use super::scalar;
use super::tree::{At, Map, Node, Value};
use super::variables::{Fault, Variables, interpolate};

const OVERRIDE: &str = "remove it, or take it away in a file for staging with `!reset null`";

/// A value that is about to be read.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    /// What it is, for errors: "`ports` of service `api`".
    pub(super) of: String,
    pub(super) variables: &'a Variables,
}

impl<'a> Field<'a> {
    /// An error about what this is, starting with what it is.
    pub(super) fn error(&self, message: impl std::fmt::Display) -> Error {
        self.node.at.error(format!("{} {message}", self.of))
    }

    /// It has to be one thing and is another. What is in the file is shown, not what is in its
    /// variables.
    fn wrong(&self, expected: &str) -> Error {
        let found = match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } => {
                let mut shown: String = text.chars().take(60).collect();
                if shown.len() < text.len() {
                    shown.push('…');
                }
                format!("`{}`", shown.escape_debug())
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        };
        self.error(format!("has to be {expected}, not {found}"))
    }

    /// As `wrong`, of a value that must not be shown.
    fn wrong_kind(&self, expected: &str) -> Error {
        match &self.node.value {
            Value::Scalar { .. } => self.error(format!("has to be {expected}")),
            _ => self.wrong(expected),
        }
    }

    /// The text with its variables put in.
    pub(super) fn text(&self) -> Result<String> {
        let Value::Scalar { text, .. } = &self.node.value else {
            return Err(self.wrong("a text"));
        };
        self.put_in(text)
    }

    fn put_in(&self, text: &str) -> Result<String> {
        interpolate(text, &|name| self.variables.get(name))
            .map_err(|fault| fault.of(&self.of, &self.node.at))
    }

    /// The text that a parser takes for a value, or what it should have been.
    pub(super) fn parsed<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T> {
        match &self.node.value {
            Value::Scalar { .. } => parse(&self.text()?).ok_or_else(|| self.wrong(expected)),
            _ => Err(self.wrong(expected)),
        }
    }

    /// As `text`, which must not be empty.
    pub(super) fn filled(&self) -> Result<String> {
        let text = self.text()?;
        if text.is_empty() {
            return Err(self.error("is empty"));
        }
        Ok(text)
    }

    pub(super) fn boolean(&self) -> Result<bool> {
        self.parsed("`true` or `false`", scalar::boolean)
    }

    pub(super) fn number<T: std::str::FromStr>(&self) -> Result<T> {
        self.parsed("a whole number", |text| text.parse().ok())
    }

    pub(super) fn bytes(&self) -> Result<u64> {
        self.parsed("a size such as `512m`", scalar::bytes)
    }

    pub(super) fn duration(&self) -> Result<std::time::Duration> {
        self.parsed("a time such as `1m30s`", scalar::duration)
    }

    /// A path, from the folder of the file.
    pub(super) fn path(&self) -> Result<PathBuf> {
        self.resolve(&self.text()?)
    }

    pub(super) fn resolve(&self, path: &str) -> Result<PathBuf> {
        let path = match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let home = self
                    .variables
                    .get("HOME")
                    .ok_or_else(|| Fault::Unset("HOME".into()).of(&self.of, &self.node.at))?;
                format!("{home}{rest}")
            }
            _ => path.to_owned(),
        };
        Ok(clean(&self.node.at.source.folder.join(path)))
    }

    /// A command: a line, split as a shell would split it, or a list.
    pub(super) fn command(&self) -> Result<Vec<String>> {
        match &self.node.value {
            Value::Scalar { .. } => {
                scalar::words(&self.text()?).map_err(|what| self.error(format!("has {what}")))
            }
            _ => self.texts(),
        }
    }

    pub(super) fn items(&self) -> Result<Vec<Self>> {
        match &self.node.value {
            Value::List(list) => Ok(list
                .iter()
                .map(|node| Self {
                    node,
                    of: self.of.clone(),
                    variables: self.variables,
                })
                .collect()),
            _ => Err(self.wrong("a list")),
        }
    }

    /// The items of a list, or the one value that stands where a list could.
    pub(super) fn one_or_more(&self) -> Result<Vec<Self>> {
        match self.node.value {
            Value::List(_) => self.items(),
            _ => Ok(vec![self.clone()]),
        }
    }

    pub(super) fn texts(&self) -> Result<Vec<String>> {
        self.items()?.iter().map(Self::text).collect()
    }

    /// The entries of a map.
    pub(super) fn entries(&self) -> Result<Vec<(&'a str, Self)>> {
        let Value::Map(map) = &self.node.value else {
            return Err(self.wrong_kind("a map"));
        };
        Ok(map
            .iter()
            .map(|(key, node)| {
                let field = Self {
                    node,
                    of: format!("`{key}` of {}", self.of),
                    variables: self.variables,
                };
                (key.as_str(), field)
            })
            .collect())
    }

    /// Names with values: a map, or a list of `NAME=value`. Names without a value have none here.
    fn pairs(&self) -> Result<BTreeMap<String, (At, Option<String>)>> {
        if let Value::List(_) = self.node.value {
            let mut pairs = BTreeMap::new();
            for item in self.items()? {
                let Value::Scalar { text, .. } = &item.node.value else {
                    return Err(item.wrong("a list of `NAME=value`"));
                };
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (text.as_str(), None),
                };
                if name.is_empty() || name.contains('$') {
                    return Err(
                        item.error("has an item whose name is empty or made from a variable")
                    );
                }
                let item = item.named(name);
                let value = value.map(|value| item.put_in(value)).transpose()?;
                pairs.insert(name.to_owned(), (item.node.at.clone(), value));
            }
            return Ok(pairs);
        }
        let mut pairs = BTreeMap::new();
        for (name, field) in self.entries()? {
            let value = match &field.node.value {
                Value::Null => None,
                Value::Scalar { text, plain } => {
                    if *plain && scalar::rewritten(text) {
                        return Err(field
                            .error(
                                "is a number or a boolean, which compose may hand on in another \
                                 spelling",
                            )
                            .with_hint("put it in quotes"));
                    }
                    Some(field.text()?)
                }
                _ => return Err(field.wrong("a text")),
            };
            pairs.insert(name.to_owned(), (field.node.at.clone(), value));
        }
        Ok(pairs)
    }

    fn named(&self, name: &str) -> Self {
        Self {
            of: format!("`{name}` of {}", self.of),
            ..self.clone()
        }
    }

    /// As `pairs`; a name without a value has an empty one.
    pub(super) fn labels(&self) -> Result<BTreeMap<String, String>> {
        let pairs = self.pairs()?.into_iter();
        Ok(pairs
            .map(|(name, (_, value))| (name, value.unwrap_or_default()))
            .collect())
    }

    /// As `pairs`; a name without a value takes that of the variable.
    pub(super) fn secrets(&self) -> Result<BTreeMap<String, Secret>> {
        let mut secrets = BTreeMap::new();
        for (name, (at, value)) in self.pairs()? {
            let value = match value.or_else(|| self.variables.get(&name)) {
                Some(value) => value,
                None => {
                    let fault = Fault::Unset(name.clone());
                    return Err(fault.of(&self.named(&name).of, &at));
                }
            };
            secrets.insert(name, Secret::new(value));
        }
        Ok(secrets)
    }

    /// The keys of a map, each of which has to be known.
    pub(super) fn fields(&self) -> Result<Fields<'a>> {
        static EMPTY: Map = Map::new();
        let map = match &self.node.value {
            Value::Map(map) => map,
            Value::Null => &EMPTY,
            _ => return Err(self.wrong("a map")),
        };
        Ok(Fields {
            map,
            whole: self.clone(),
            known: RefCell::default(),
        })
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// Whether it says what is so without it.
    fn says_nothing(&self) -> bool {
        match &self.node.value {
            Value::Null => true,
            Value::Scalar { text, plain } => *plain && scalar::boolean(text) == Some(false),
            Value::List(list) => list.is_empty(),
            Value::Map(map) => map.is_empty(),
        }
    }
}

/// A map whose keys are read one by one. `finish` refuses those that nobody asked for.
pub(super) struct Fields<'a> {
    map: &'a Map,
    pub(super) whole: Field<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The value of a key; `null` is as if it was not there.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        self.known.borrow_mut().push(key);
        let node = self.map.get(key)?;
        let field = Field {
            node,
            of: format!("`{key}` of {}", self.whole.of),
            variables: self.whole.variables,
        };
        (!field.is_null()).then_some(field)
    }

    pub(super) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.get(key).as_ref().map(read).transpose()
    }

    pub(super) fn or_default<T: Default>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Result<T> {
        self.read(key, read).map(Option::unwrap_or_default)
    }

    pub(super) fn required(&self, key: &'static str) -> Result<Field<'a>> {
        self.get(key)
            .ok_or_else(|| self.whole.error(format!("needs the key `{key}`")))
    }

    /// Keys without which staging loses nothing.
    pub(super) fn accept(&self, keys: &[&'static str]) {
        self.known.borrow_mut().extend(keys);
    }

    /// Keys that staging cannot honour, each with what to do instead.
    pub(super) fn refuse(&self, keys: &[(&'static str, &str)]) -> Result<()> {
        for (key, instead) in keys {
            if let Some(field) = self.get(key)
                && !field.says_nothing()
            {
                let error = field.node.at.error(format!(
                    "{} has the key `{key}`, which staging does not support",
                    self.whole.of
                ));
                return Err(error.with_hint(match *instead {
                    "" => OVERRIDE.to_owned(),
                    instead => format!("{instead}; or {OVERRIDE}"),
                }));
            }
        }
        Ok(())
    }

    /// Refuses the keys that nobody knows, but `x-` ones, which are for other tools.
    pub(super) fn finish(self) -> Result<()> {
        let known = self.known.into_inner();
        let unknown = self
            .map
            .iter()
            .filter(|(key, _)| !key.starts_with("x-") && !known.contains(&key.as_str()))
            .min_by_key(|(_, node)| node.at.line);
        let Some((key, node)) = unknown else {
            return Ok(());
        };
        let error = node.at.error(format!(
            "{} has the key `{key}`, which is unknown",
            self.whole.of
        ));
        Err(match nearest(key, known) {
            Some(known) => error.with_hint(format!("did you mean `{known}`?")),
            None => error.with_hint("keys for other tools start with `x-`"),
        })
    }
}

/// The known word that somebody may have meant.
pub(in crate::docker) fn nearest<'w>(
    word: &str,
    known: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5 && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}

/// Without `.` and `..`, as compose does it: by the names alone.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            component => clean.push(component),
        }
    }
    clean
}
