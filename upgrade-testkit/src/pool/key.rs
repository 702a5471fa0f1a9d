//! What a template is named by: everything that went into it.

use std::fmt;

/// The version of the layout of templates; another one is another template.
const FORMAT: &str = "upgrade template 1";

/// Collects what decides the content of a template, and hashes it.
///
/// Name everything that the building closure reads: the checksum of each migration, the seed, the
/// numbers of rows, fixtures. Version and collation of the server are added by the pool. Two keys
/// are equal if the same parts were added in the same order.
///
/// ```
/// use upgrade_testkit::pool::TemplateKey;
///
/// let key = |rows| {
///     TemplateKey::new()
///         .with_migration("0001_orders", b"create table orders ()")
///         .with("seed", "7")
///         .with("rows of orders", format!("{rows}"))
/// };
/// assert_eq!(key(100).hash(), key(100).hash());
/// assert_ne!(key(100).hash(), key(200).hash());
/// ```
#[derive(Clone)]
pub struct TemplateKey {
    hasher: blake3::Hasher,
    /// The labels in their order, so that a log line can tell what a hash stands for.
    labels: Vec<String>,
}

impl Default for TemplateKey {
    fn default() -> Self {
        Self::new()
    }
}

impl TemplateKey {
    /// A key with nothing in it.
    pub fn new() -> Self {
        let key = Self {
            hasher: blake3::Hasher::new(),
            labels: Vec::new(),
        };
        key.mixed(FORMAT.as_bytes())
    }

    /// Adds any bytes under a label.
    #[must_use]
    pub fn with(mut self, label: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        let label = label.into();
        self = self.mixed(label.as_bytes()).mixed(bytes.as_ref());
        self.labels.push(label);
        self
    }

    /// Adds a migration: its id, and its checksum or its text.
    #[must_use]
    pub fn with_migration(self, id: impl fmt::Display, checksum: impl AsRef<[u8]>) -> Self {
        self.with(format!("migration {id}"), checksum)
    }

    /// The hash, as 64 lower-case hexadecimal digits.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// With its length before it, so that no two lists of parts read the same.
    fn mixed(mut self, bytes: &[u8]) -> Self {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
        self
    }
}

impl fmt::Debug for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateKey")
            .field("hash", &self.hash())
            .field("labels", &self.labels)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let hash = |parts: &[(&str, &str)]| {
            parts
                .iter()
                .fold(TemplateKey::new(), |key, (label, bytes)| {
                    key.with(*label, bytes)
                })
                .hash()
        };
        let all = [
            hash(&[]),
            hash(&[("a", "bc")]),
            hash(&[("ab", "c")]),
            hash(&[("a", "b"), ("c", "")]),
            hash(&[("c", ""), ("a", "b")]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(!all[..i].contains(one), "{i}");
        }
    }
}
