//! What a team sets once, in `upgrade.toml`.

use std::fs;
use std::io;
use std::path::{self, Path};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;
use upgrade_core::fault::FaultKind;
use upgrade_core::postgres::server::Containers;

use super::{Settings, SettingsError};

/// The name of the file.
pub const FILE: &str = "upgrade.toml";

/// The message for a URL in the file. It does not repeat the URL.
const URL_REFUSED: &str = "the URL of a server is not read from this file, because the file is \
                           committed and a URL can contain a password (set the environment \
                           variable `UPGRADE_PG_URL` instead)";

/// The file as it is written. Every key is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rows: Option<Spanned<u32>>,
    seed: Option<u64>,
    sequences: Option<u32>,
    rollback_within: Option<Spanned<String>>,
    step_within: Option<Spanned<String>>,
    reversible: Option<bool>,
    #[serde(default)]
    faults_off: Vec<Spanned<String>>,
    postgres_provider: Option<Spanned<String>>,
}

impl Settings {
    /// The settings of a package: the environment, then `upgrade.toml` of the package, then that of
    /// each folder above, up to the root of the workspace or of the repository.
    ///
    /// # Errors
    /// The first variable or line that cannot be used, with its file.
    pub fn of_package(folder: &Path) -> Result<Self, SettingsError> {
        let mut settings = Self::from_env()?;
        let folder = path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        for folder in folder.ancestors() {
            let file = folder.join(FILE);
            match fs::read_to_string(&file) {
                Ok(text) => settings.complete(&file, &text)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(SettingsError::Unreadable {
                        path: file,
                        message: error.to_string(),
                    });
                }
            }
            if is_root(folder) {
                break;
            }
        }
        Ok(settings)
    }

    /// Adds what is not set yet.
    fn complete(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        let document: Document = toml::from_str(text).map_err(|error| SettingsError::File {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            // Not a key of `Document`: the message about an unknown key lists those.
            message: match error.message() {
                message if message.starts_with("unknown field `postgres_url`") => URL_REFUSED,
                message => message,
            }
            .to_owned(),
        })?;
        let file = File { path, text };
        if let Some(rows) = document.rows {
            if *rows.get_ref() == 0 {
                return Err(file.wrong(&rows, "`rows` is at least 1"));
            }
            self.rows.get_or_insert(rows.into_inner());
        }
        if let Some(seed) = document.seed {
            self.seed.get_or_insert(seed);
        }
        if let Some(sequences) = document.sequences {
            self.sequences.get_or_insert(sequences);
        }
        if let Some(budget) = document.rollback_within {
            self.rollback_within.get_or_insert(file.duration(&budget)?);
        }
        if let Some(budget) = document.step_within {
            self.step_within.get_or_insert(file.duration(&budget)?);
        }
        if let Some(reversible) = document.reversible {
            self.reversible.get_or_insert(reversible);
        }
        for kind in &document.faults_off {
            let named = kind.get_ref().parse::<FaultKind>();
            let named = named.map_err(|error| file.wrong(kind, error.to_string()))?;
            self.faults_off.insert(named);
        }
        if let Some(provider) = document.postgres_provider {
            let named = file.postgres_provider(&provider)?;
            self.postgres_provider.get_or_insert(named);
        }
        Ok(())
    }
}

/// A file that is being read, for messages.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn wrong<T>(&self, at: &Spanned<T>, message: impl Into<String>) -> SettingsError {
        SettingsError::File {
            path: self.path.to_owned(),
            line: line_of(self.text, at.span().start),
            message: message.into(),
        }
    }

    fn duration(&self, written: &Spanned<String>) -> Result<Duration, SettingsError> {
        let parsed: Option<SignedDuration> = written.get_ref().parse().ok();
        let positive = parsed.and_then(|parsed| Duration::try_from(parsed).ok());
        positive.filter(|budget| !budget.is_zero()).ok_or_else(|| {
            let message = format!(
                "`{}` is no duration, such as `3m` or `1m 30s`",
                written.get_ref()
            );
            self.wrong(written, message)
        })
    }

    /// Accepts what the variable `UPGRADE_PG_PROVIDER` accepts.
    fn postgres_provider(&self, written: &Spanned<String>) -> Result<Containers, SettingsError> {
        match written.get_ref().as_str() {
            "docker" => Ok(Containers::Only),
            url if url.contains("://") => Err(self.wrong(written, URL_REFUSED)),
            other => {
                let message = format!("`postgres_provider` is `{other}`; it has to be `docker`");
                Err(self.wrong(written, message))
            }
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.get(..at).unwrap_or(text).matches('\n').count()
}

/// Whether nothing above a folder belongs to the same project.
fn is_root(folder: &Path) -> bool {
    let is_workspace = || {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        let mut lines = manifest.lines();
        lines.any(|line| line.trim_start().starts_with("[workspace"))
    };
    folder.join(".git").exists() || is_workspace()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        settings.complete(Path::new("/shop/upgrade.toml"), text)?;
        Ok(settings)
    }

    #[test]
    fn every_key_is_read() {
        let settings = read(
            "rows = 200\nseed = 7\nsequences = 5\nrollback_within = '3m'\n\
             step_within = '1h 30m'\nreversible = true\nfaults_off = ['full_disk']\n\
             postgres_provider = 'docker'\n",
        )
        .unwrap();
        assert_eq!((settings.rows, settings.seed), (Some(200), Some(7)));
        assert_eq!(settings.sequences, Some(5));
        assert_eq!(settings.rollback_within, Some(Duration::from_secs(180)));
        assert_eq!(settings.step_within, Some(Duration::from_secs(5400)));
        assert_eq!(settings.reversible, Some(true));
        assert!(settings.faults_off.contains(&FaultKind::FullDisk));
        assert_eq!(settings.postgres_provider, Some(Containers::Only));
        assert_eq!(read("").unwrap(), Settings::default());
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, says) in [
            ("seed = 1\nrwos = 3\n", vec![":2", "rwos", "`rows`"]),
            ("\nrows = 0\n", vec![":2", "at least 1"]),
            ("rows = 'many'", vec![":1", "u32"]),
            (
                "seed = 1\nstep_within = 'soon'",
                vec![":2", "`soon`", "`3m`"],
            ),
            ("step_within = '-3m'", vec![":1", "`-3m`"]),
            ("faults_off = ['fire']", vec![":1", "`fire`", "full_disk"]),
            (
                "rows = 1\npostgres_provider = 'podman'",
                vec![":2", "`podman`", "`docker`"],
            ),
            ("postgres_provider = true", vec![":1", "string"]),
            ("rows = ", vec![":1"]),
        ] {
            let error = read(text).unwrap_err().to_string();
            for part in says {
                assert!(error.contains(part), "{text}: {error}");
            }
            assert!(error.contains("/shop/upgrade.toml"), "{error}");
        }
    }

    #[test]
    fn a_url_is_refused_and_not_repeated() {
        for key in ["postgres_url", "'postgres_url'", "postgres_provider"] {
            let text = format!("seed = 1\n{key} = 'postgres://app:hunter2@db/shop'\n");
            let error = read(&text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("/shop/upgrade.toml:2: "), "{shown}");
            assert!(shown.contains("`UPGRADE_PG_URL`"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let unknown = read("postgres_urn = ''").unwrap_err().to_string();
        assert!(!unknown.contains("postgres_url"), "{unknown}");
    }

    #[test]
    fn the_nearest_file_goes_first_and_none_above_the_workspace_counts() {
        let outside = tempfile::tempdir().unwrap();
        let workspace = outside.path().join("shop");
        let package = workspace.join("crates/orders");
        fs::create_dir_all(&package).unwrap();
        fs::write(outside.path().join(FILE), "step_within = '1s'").unwrap();
        fs::write(workspace.join("Cargo.toml"), "[workspace]\n").unwrap();
        let of_workspace = "rows = 10\nreversible = true\npostgres_provider = 'docker'";
        fs::write(workspace.join(FILE), of_workspace).unwrap();
        fs::write(package.join("Cargo.toml"), "[package]\nname = 'orders'\n").unwrap();
        fs::write(package.join(FILE), "rows = 20").unwrap();
        let settings = Settings::of_package(&package).unwrap();
        assert_eq!(settings.reversible, Some(true));
        assert_eq!(settings.step_within, None);
        assert_eq!(settings.postgres_provider, Some(Containers::Only));
        if std::env::var_os("UPGRADE_TEST_ROWS").is_none() {
            assert_eq!(settings.rows, Some(20));
        }
    }
}
