//! The schema as a file that a team commits, so that a review shows what a migration does to it.
//!
//! A test reads the schema of the newer release and compares it with the file:
//!
//! ```no_run
//! use upgrade_testkit::prelude::*;
//! use upgrade_testkit::schema_file;
//!
//! #[tokio::test]
//! async fn the_schema_is_the_committed_one() -> Result<()> {
//!     let schema = Rehearsal::new("orders")?.schema().await?;
//!     schema_file::check("schema.json", &schema)
//! }
//! # fn main() {}
//! ```
//!
//! `UPGRADE_UPDATE_SCHEMA=1 cargo test` writes the file. Where `CI` is set nothing is ever written,
//! so that a build fails and does not repair itself. Facts that need not be the same everywhere are
//! left out by the [`Observer`](upgrade_core::postgres::Observer) of the rehearsal.

use std::fs;
use std::io;
use std::path::Path;

use upgrade_core::postgres::catalog::Catalog;
use upgrade_core::{Error, ErrorKind, Result};

use crate::display;
use crate::report_file::write_whole;
use crate::settings::Settings;

/// What writes the file.
const HINT: &str = "`UPGRADE_UPDATE_SCHEMA=1 cargo test` writes it, but not where `CI` is set";

/// Compares a schema with the file at `path`, which is relative to the folder of the package. The
/// order of columns is no difference, unless it is a fact of both (see
/// [`Catalog::with_column_order`]).
///
/// # Errors
/// [`ErrorKind::Failed`] when they differ, with the difference as its cause: `-` is the file, `+` the
/// schema; [`ErrorKind::NotFound`] when there is no file; [`ErrorKind::InvalidInput`] when it is no
/// catalog; [`ErrorKind::Io`] when it cannot be read or written.
pub fn check(path: impl AsRef<Path>, schema: &Catalog) -> Result<()> {
    check_with(path, schema, &Settings::from_env()?)
}

/// As [`check`], with settings that do not come from the environment.
///
/// # Errors
/// Those of [`check`].
pub fn check_with(path: impl AsRef<Path>, schema: &Catalog, settings: &Settings) -> Result<()> {
    let path = path.as_ref();
    let name = path.display();
    let text = schema.to_json_pretty();
    let committed = match fs::read_to_string(path) {
        Ok(committed) => Some(committed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            let message = format!("the schema in `{name}` cannot be read");
            return Err(Error::new(ErrorKind::Io, message).with_source(source));
        }
    };
    if settings.update_schema && !settings.ci {
        if committed.as_deref() != Some(text.as_str()) {
            write_whole(path, &text).map_err(|source| {
                Error::new(ErrorKind::Io, "the schema was not kept").with_source(source)
            })?;
            display::print(&format!("schema written: {name}"));
        }
        return Ok(());
    }
    let Some(committed) = committed else {
        let message = format!("there is no `{name}` to compare the schema with");
        return Err(Error::new(ErrorKind::NotFound, message).with_hint(HINT));
    };
    let committed = Catalog::from_json(&committed).map_err(|source| {
        Error::new(ErrorKind::InvalidInput, format!("`{name}` is no schema"))
            .with_hint(HINT)
            .with_source(source)
    })?;
    let diff = committed.diff(schema);
    if diff.is_empty() {
        return Ok(());
    }
    let message = format!("the schema is not the one in `{name}`");
    Err(Error::new(ErrorKind::Failed, message)
        .with_hint(HINT)
        .with_source(format!("- {name}, + the migrations\n{diff}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use upgrade_core::postgres::catalog::{Object, ObjectId, ObjectKind};

    use super::*;

    fn schema(type_name: &str) -> Catalog {
        let id = ObjectId::new(ObjectKind::Column, "public", "a").of("t");
        let attributes = BTreeMap::from([("type".to_owned(), type_name.to_owned())]);
        Catalog::new(
            BTreeMap::from([(id, Object { attributes })]),
            BTreeMap::new(),
        )
    }

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(|name| {
            let pair = pairs.iter().find(|(known, _)| *known == name);
            pair.map(|(_, value)| value.into())
        })
        .unwrap()
    }

    #[test]
    fn a_file_is_written_on_demand_and_then_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db/schema.json");
        let (read, write) = (settings(&[]), settings(&[("UPGRADE_UPDATE_SCHEMA", "1")]));
        let missing = check_with(&path, &schema("integer"), &read).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("UPGRADE_UPDATE_SCHEMA=1"));
        check_with(&path, &schema("integer"), &write).unwrap();
        check_with(&path, &schema("integer"), &read).unwrap();
        let other = check_with(&path, &schema("bigint"), &read).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Failed);
        let shown = format!("{other:?}");
        assert!(
            shown.contains("changed column public.t.a")
                && shown.contains("\n-type: integer\n+type: bigint\n"),
            "{shown}"
        );
        check_with(&path, &schema("bigint"), &write).unwrap();
        check_with(&path, &schema("bigint"), &read).unwrap();
    }

    #[test]
    fn nothing_is_written_in_ci() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schema.json");
        let ci = settings(&[("UPGRADE_UPDATE_SCHEMA", "1"), ("CI", "true")]);
        assert!(check_with(&path, &schema("integer"), &ci).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_schema_is_said_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schema.json");
        fs::write(&path, "{}").unwrap();
        let error = check_with(&path, &schema("integer"), &settings(&[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
    }
}
