//! In which files a set differs from another one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::faults::shown;
use super::tree::{Content, Entry};

/// How many paths of a kind are named.
const NAMED: usize = 10;

/// The paths that differ.
#[derive(Debug, Default)]
pub(super) struct Difference {
    edited: Vec<PathBuf>,
    permissions: Vec<PathBuf>,
    added: Vec<PathBuf>,
    removed: Vec<PathBuf>,
}

impl Difference {
    /// From a set that was kept to the live one at `path`.
    pub(super) fn between(kept: &Entry, live: &Entry, path: &Path) -> Self {
        let mut difference = Self::default();
        difference.compare(kept, live, path);
        difference
    }

    /// How many paths differ.
    pub(super) fn len(&self) -> usize {
        self.all().iter().map(|(_, paths)| paths.len()).sum()
    }

    fn all(&self) -> [(&'static str, &Vec<PathBuf>); 4] {
        [
            ("edited", &self.edited),
            ("added", &self.added),
            ("removed", &self.removed),
            ("owner, mode or attributes changed", &self.permissions),
        ]
    }

    fn compare(&mut self, kept: &Entry, live: &Entry, path: &Path) {
        match (&kept.content, &live.content) {
            (Content::Folder(kept), Content::Folder(live)) => self.entries(kept, live, path),
            (kept, live) if kept != live => return self.edited.push(path.to_owned()),
            _ => {}
        }
        if kept.attributes != live.attributes {
            self.permissions.push(path.to_owned());
        }
    }

    fn entries(
        &mut self,
        kept: &BTreeMap<OsString, Entry>,
        live: &BTreeMap<OsString, Entry>,
        path: &Path,
    ) {
        for (name, entry) in kept {
            match live.get(name) {
                Some(live) => self.compare(entry, live, &path.join(name)),
                None => self.removed.push(path.join(name)),
            }
        }
        let added = live.keys().filter(|name| !kept.contains_key(*name));
        self.added.extend(added.map(|name| path.join(name)));
    }
}

/// Such as ``edited `/etc/a`; added `/etc/b`, `/etc/c` ``.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds = self
            .all()
            .into_iter()
            .filter(|(_, paths)| !paths.is_empty());
        let mut separator = "";
        kinds.try_for_each(|(kind, paths)| {
            write!(f, "{separator}{kind}")?;
            separator = "; ";
            for (index, path) in paths.iter().take(NAMED).enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(f, "{comma} `{}`", shown(path))?;
            }
            match paths.len().saturating_sub(NAMED) {
                0 => Ok(()),
                more => write!(f, " and {more} more"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::attributes::Attributes;

    fn entry(mode: u32, content: Content) -> Entry {
        let attributes = Attributes {
            uid: 0,
            gid: 0,
            mode,
            extended: BTreeMap::new(),
        };
        Entry {
            attributes,
            content,
        }
    }

    fn file(mode: u32, text: &str) -> Entry {
        entry(mode, Content::File(blake3::hash(text.as_bytes())))
    }

    fn folder(entries: impl IntoIterator<Item = (String, Entry)>) -> Entry {
        let entries = entries
            .into_iter()
            .map(|(name, entry)| (name.into(), entry));
        entry(0o755, Content::Folder(entries.collect()))
    }

    #[test]
    fn each_path_is_named_once_and_at_most_ten_of_a_kind() {
        let name = |name: &str, entry: Entry| (name.to_owned(), entry);
        let kept = folder([
            name("chmod", file(0o644, "same")),
            name("edit", file(0o644, "before")),
            name("kind", file(0o644, "a file")),
            name("rm", folder([name("below", file(0o644, ""))])),
            name("same", file(0o644, "same")),
        ]);
        let many = (10..22).map(|number| name(&format!("new{number}"), file(0o644, "")));
        let live = folder(many.chain([
            name("chmod", file(0o600, "same")),
            name("edit", file(0o600, "after")),
            name("kind", folder([])),
            name("same", file(0o644, "same")),
        ]));
        let difference = Difference::between(&kept, &live, Path::new("/c"));
        let added: Vec<String> = (10..20).map(|number| format!("`/c/new{number}`")).collect();
        let expected = format!(
            "edited `/c/edit`, `/c/kind`; added {} and 2 more; removed `/c/rm`; \
             owner, mode or attributes changed `/c/chmod`",
            added.join(", ")
        );
        assert_eq!(difference.to_string(), expected);
        assert_eq!(difference.len(), 16);
        assert_eq!(Difference::between(&live, &live, Path::new("/c")).len(), 0);
    }
}
