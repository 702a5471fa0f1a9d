//! Typed readers of a tree: each knows the file, the line and the path of what it reads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::docker::host;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

use super::reading::Reading;
use super::scalar;
use super::tree::{Map, Node, Value};
use super::variables::{Fault, interpolate};

const OVERRIDE: &str = "remove it, or take it away in a file for staging with `!reset null`";

/// A value that is about to be read.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    /// What it is, for errors: "`ports` of service `api`".
    pub(super) of: String,
    pub(super) reading: &'a Reading,
}

impl<'a> Field<'a> {
    /// An error about what this is, starting with what it is.
    pub(super) fn error(&self, message: impl std::fmt::Display) -> Error {
        self.node.at.error(format!("{} {message}", self.of))
    }

    /// A value of another type than expected. The text of the file is shown, not the values of its
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
        interpolate(text, &|name| self.reading.get(name))
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

    /// The same of a file or folder that may be used: one of the project, or one that is allowed.
    pub(super) fn host_path(&self, path: PathBuf) -> Result<PathBuf> {
        match self.reading.host.refuses(&path) {
            None => Ok(path),
            Some(why) => Err(self
                .refused(format!("names {why}"))
                .with_hint(host::path_hint(&path))),
        }
    }

    /// As `error`, about what staging must not have.
    pub(super) fn refused(&self, message: impl std::fmt::Display) -> Error {
        let message = self.node.at.message(format!("{} {message}", self.of));
        Error::new(ErrorKind::Refused, message)
    }

    /// Notes that what is said here has no effect, and why.
    pub(super) fn note(&self, what: impl std::fmt::Display) {
        let note = self.node.at.message(format!("{} {what}", self.of));
        self.reading.note(note);
    }

    pub(super) fn resolve(&self, path: &str) -> Result<PathBuf> {
        let path = match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let home = self
                    .reading
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
                    reading: self.reading,
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

    /// The items of a list, each read; those with a problem are left out, the problems kept.
    pub(super) fn each<T>(&self, read: impl Fn(&Self) -> Result<T>) -> Result<Vec<T>> {
        let items = self.items()?;
        let read = items.iter().map(|item| self.reading.keep(read(item)));
        Ok(read.flatten().collect())
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
                    reading: self.reading,
                };
                (key.as_str(), field)
            })
            .collect())
    }

    /// Names with values: a map, or a list of `NAME=value`. Names without a value have none here.
    fn pairs(&self) -> Result<BTreeMap<String, Option<String>>> {
        let mut pairs = BTreeMap::new();
        if let Value::List(_) = self.node.value {
            pairs.extend(self.each(Self::pair)?);
            return Ok(pairs);
        }
        for (name, field) in self.entries()? {
            if let Some(value) = self.reading.keep(field.paired()) {
                pairs.insert(name.to_owned(), value);
            }
        }
        Ok(pairs)
    }

    /// An item `NAME=value` or `NAME`.
    fn pair(&self) -> Result<(String, Option<String>)> {
        let Value::Scalar { text, .. } = &self.node.value else {
            return Err(self.wrong("a list of `NAME=value`"));
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text.as_str(), None),
        };
        if name.is_empty() || name.contains('$') {
            return Err(self.error("has an item whose name is empty or made from a variable"));
        }
        let item = self.named(name);
        let value = value.map(|value| item.put_in(value)).transpose()?;
        Ok((name.to_owned(), value))
    }

    /// The value of a `NAME: value`.
    fn paired(&self) -> Result<Option<String>> {
        match &self.node.value {
            Value::Null => Ok(None),
            Value::Scalar { text, plain } if *plain && scalar::rewritten(text) => Err(self
                .error("is a number or a boolean, which compose may hand on in another spelling")
                .with_hint("put it in quotes")),
            Value::Scalar { .. } => self.text().map(Some),
            _ => Err(self.wrong("a text")),
        }
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
            .map(|(name, value)| (name, value.unwrap_or_default()))
            .collect())
    }

    /// As `pairs`; a name without a value takes that of the variable, and is left out where there
    /// is none.
    pub(super) fn secrets(&self) -> Result<BTreeMap<String, Secret>> {
        let pairs = self.pairs()?.into_iter();
        let passed = pairs.filter_map(|(name, value)| {
            let value = value.or_else(|| self.reading.get(&name))?;
            Some((name, Secret::new(value)))
        });
        Ok(passed.collect())
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
            reading: self.whole.reading,
        };
        (!field.is_null()).then_some(field)
    }

    /// The value of a key; nothing where it is wrong, too: the problem is kept for the end.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Option<T> {
        let field = self.get(key)?;
        self.whole.reading.keep(read(&field))
    }

    pub(super) fn or_default<T: Default>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> T {
        self.read(key, read).unwrap_or_default()
    }

    /// Whether there is a value for a key, right or wrong.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
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
    pub(super) fn refuse(&self, keys: &[(&'static str, &str)]) {
        for (key, instead) in keys {
            if let Some(field) = self.get(key)
                && !field.says_nothing()
            {
                let error = field.node.at.error(format!(
                    "{} has the key `{key}`, which staging does not support",
                    self.whole.of
                ));
                let error = error.with_hint(match *instead {
                    "" => OVERRIDE.to_owned(),
                    instead => format!("{instead}; or {OVERRIDE}"),
                });
                self.whole.reading.keep(Err::<(), _>(error));
            }
        }
    }

    /// Keys that have no effect in staging, each with why: what they say is noted.
    pub(super) fn pass_over(&self, keys: &[(&'static str, &str)]) {
        for (key, why) in keys {
            if let Some(field) = self.get(key)
                && !field.says_nothing()
            {
                field.note(format!("has no effect: {why}"));
            }
        }
    }

    /// Refuses the keys that nobody knows, but `x-` ones, which are for other tools.
    pub(super) fn finish(self) {
        let known = self.known.into_inner();
        let unknown = self
            .map
            .iter()
            .filter(|(key, _)| !key.starts_with("x-") && !known.contains(&key.as_str()));
        for (key, node) in unknown {
            let error = node.at.error(format!(
                "{} has the key `{key}`, which is unknown",
                self.whole.of
            ));
            let error = match nearest(key, known.iter().copied()) {
                Some(known) => error.with_hint(format!("did you mean `{known}`?")),
                None => error.with_hint("keys for other tools start with `x-`"),
            };
            self.whole.reading.keep(Err::<(), _>(error));
        }
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
