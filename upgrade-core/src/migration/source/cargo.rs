//! Folders of packages, through `cargo metadata`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::SourceError;

/// A package that cargo knows: of the workspace, or one that its lock file names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Package {
    /// Its version.
    pub version: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

impl Package {
    /// Finds a package among those of the workspace around a folder, or around the current one.
    /// Blocks: it runs `cargo metadata`, which fetches what is locked and not there yet.
    ///
    /// # Errors
    /// [`SourceError::Package`] when there is none, or several and no version;
    /// [`SourceError::Spawn`], [`SourceError::Command`] or [`SourceError::Metadata`] when cargo
    /// gives no answer.
    pub fn find(
        name: &str,
        version: Option<&str>,
        near: Option<&Path>,
    ) -> Result<Self, SourceError> {
        // What is on the machine already is enough in most cases; only then is the network asked.
        let answer = metadata(near, &["--offline"]).or_else(|_| metadata(near, &[]))?;
        choose(&answer, name, version)
    }
}

fn metadata(near: Option<&Path>, more: &[&str]) -> Result<Vec<u8>, SourceError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--format-version", "1"])
        .args(more)
        .stdin(Stdio::null());
    if let Some(near) = near {
        command.current_dir(near);
    }
    let shown = "cargo metadata --format-version 1".to_owned();
    let output = command.output().map_err(|source| SourceError::Spawn {
        command: shown.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = said
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no reason given");
    Err(SourceError::Command {
        command: shown,
        message: message.trim_start_matches("error: ").to_owned(),
    })
}

fn choose(answer: &[u8], name: &str, version: Option<&str>) -> Result<Package, SourceError> {
    let metadata: Metadata =
        serde_json::from_slice(answer).map_err(|source| SourceError::Metadata { source })?;
    let named: Vec<Listed> = metadata
        .packages
        .into_iter()
        .filter(|p| p.name == name)
        .collect();
    let mut versions: Vec<String> = named.iter().map(|p| p.version.clone()).collect();
    versions.sort();
    let mut matching: Vec<Listed> = named
        .into_iter()
        .filter(|p| version.is_none_or(|version| p.version == version))
        .collect();
    match (matching.pop(), matching.is_empty()) {
        (Some(package), true) => Ok(Package {
            version: package.version,
            folder: package
                .manifest_path
                .parent()
                .unwrap_or(Path::new(""))
                .to_owned(),
        }),
        _ => Err(SourceError::Package {
            wanted: match version {
                Some(version) => format!("{name}@{version}"),
                None => name.to_owned(),
            },
            found: match versions.as_slice() {
                [] => "none of this name".to_owned(),
                versions => format!("there is {}", versions.join(" and ")),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"packages": [
        {"name": "a", "version": "1.0.0", "manifest_path": "/x/a-1/Cargo.toml", "license": null},
        {"name": "a", "version": "2.0.0", "manifest_path": "/x/a-2/Cargo.toml"},
        {"name": "b", "version": "0.1.0", "manifest_path": "/x/b/Cargo.toml"}
    ], "version": 1}"#;

    #[track_caller]
    fn check(name: &str, version: Option<&str>, expected: Result<&str, &str>) {
        let found = choose(ANSWER.as_bytes(), name, version);
        let found = found
            .map(|p| p.folder.display().to_string())
            .map_err(|e| e.to_string());
        match expected {
            Ok(folder) => assert_eq!(found.as_deref(), Ok(folder)),
            Err(part) => assert!(found.unwrap_err().contains(part)),
        }
    }

    #[test]
    fn a_package_is_found_by_name_and_version() {
        check("b", None, Ok("/x/b"));
        check("a", Some("1.0.0"), Ok("/x/a-1"));
        check("a", None, Err("`a` here: there is 1.0.0 and 2.0.0"));
        check("a", Some("3.0.0"), Err("`a@3.0.0` here: there is"));
        check("c", None, Err("none of this name"));
    }

    #[test]
    fn cargo_knows_this_very_package() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Package::find(env!("CARGO_PKG_NAME"), None, Some(here)).unwrap();
        assert_eq!(package.folder, here);
    }
}
