//! Sequences that have failed, in a file that a team commits.
//!
//! ```json
//! {
//!   "format": 1,
//!   "about": "sequences that have failed; they run first, and one that is not possible any more can be deleted",
//!   "sequences": [
//!     {
//!       "sequence": "up 1; write seed 3; down 1",
//!       "seed": 7,
//!       "rows": 50,
//!       "found": "down/new-rows-lost: table public.orders"
//!     }
//!   ]
//! }
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use upgrade_core::plan::Sequence;
use upgrade_core::{Error, ErrorKind, Result};

use crate::report_file::write_whole;

/// The folder beside the test's manifest.
const FOLDER: &str = "upgrade-regressions";

const FORMAT: u32 = 1;

const ABOUT: &str = "sequences that have failed; they run first, and one that is not possible \
    any more can be deleted";

/// A sequence that has failed, and the previous release that it failed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    pub(super) sequence: Sequence,
    /// The seed of the previous release.
    pub(super) seed: u64,
    /// How many rows each of its tables had.
    pub(super) rows: u32,
    /// What was found, for who reads the file.
    pub(super) found: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    about: String,
    sequences: Vec<Saved>,
}

/// The file of a test: its path, `__` for `::`, beside its manifest.
pub(super) fn path(manifest_dir: &Path, test: &str) -> PathBuf {
    let name = test.replace("::", "__");
    manifest_dir.join(FOLDER).join(format!("{name}.json"))
}

/// The sequences of a file, none where there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<Saved>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            let message = format!("the sequences in `{}` cannot be read", path.display());
            return Err(Error::new(ErrorKind::Io, message).with_source(source));
        }
    };
    let unusable = || {
        let message = format!("`{}` holds no saved sequences", path.display());
        Error::new(ErrorKind::InvalidInput, message)
            .with_hint("mend the line that is named, or delete the file")
    };
    let content: Content =
        serde_json::from_str(&text).map_err(|source| unusable().with_source(source))?;
    if content.format != FORMAT {
        let found = content.format;
        return Err(unusable().with_source(format!("it has format {found}, not {FORMAT}")));
    }
    Ok(content.sequences)
}

/// Adds one, unless it is there.
pub(super) fn add(path: &Path, saved: &Saved) -> Result<()> {
    let mut sequences = read(path)?;
    let same = |other: &Saved| {
        (&other.sequence, other.seed, other.rows) == (&saved.sequence, saved.seed, saved.rows)
    };
    if sequences.iter().any(same) {
        return Ok(());
    }
    sequences.push(saved.clone());
    let content = Content {
        format: FORMAT,
        about: ABOUT.to_owned(),
        sequences,
    };
    let mut text = serde_json::to_string_pretty(&content)
        .map_err(|source| Error::new(ErrorKind::Internal, "no JSON").with_source(source))?;
    text.push('\n');
    write_whole(path, &text).map_err(|source| {
        Error::new(ErrorKind::Io, "the sequence that failed was not saved").with_source(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(sequence: &str) -> Saved {
        Saved {
            sequence: sequence.parse().unwrap(),
            seed: 7,
            rows: 50,
            found: "down/new-rows-lost: table public.orders".to_owned(),
        }
    }

    #[test]
    fn what_was_saved_is_read_in_its_order_and_stands_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "shop::orders::upgrade");
        assert!(path.ends_with("upgrade-regressions/shop__orders__upgrade.json"));
        assert_eq!(read(&path).unwrap(), []);
        let all = [saved("up 2; down 1"), saved("up 1; write seed 3; down 1")];
        for one in [&all[0], &all[1], &all[0]] {
            add(&path, one).unwrap();
        }
        assert_eq!(read(&path).unwrap(), all);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"sequence\": \"up 1; write seed 3; down 1\""),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let good = r#"{"format": 1, "about": "", "sequences": []}"#;
        for (text, said) in [
            ("nonsense", "line 1"),
            (&*good.replace('1', "9"), "format 9"),
            (
                &*good.replace(
                    "[]",
                    r#"[{"sequence": "up 0", "seed": 1, "rows": 1, "found": ""}]"#,
                ),
                "`up 0`",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:?}", read(&path).unwrap_err());
            assert!(error.contains("x.json") && error.contains(said), "{error}");
        }
    }
}
