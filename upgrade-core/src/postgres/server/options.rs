//! What a caller may choose about a server, and the configuration file that follows from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::directories::{Directories, PORT};
use super::error::ServerError;
use super::profile::{PROMISED, Profile};

/// Settings of the supervisor: a server that does not have them is not ours to manage.
const SUPERVISED: [&str; 18] = [
    "cluster_name",
    "config_file",
    "data_directory",
    "event_source",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "include",
    "include_dir",
    "include_if_exists",
    "listen_addresses",
    "log_destination",
    "logging_collector",
    "port",
    "syslog_ident",
    "unix_socket_directories",
    "unix_socket_group",
    "unix_socket_permissions",
];

/// How a local server is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerOptions {
    profile: Profile,
    settings: BTreeMap<String, String>,
    directories: Option<Directories>,
    start_deadline: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new(Profile::default())
    }
}

impl ServerOptions {
    /// A server with that profile, the directories of this machine, and a minute to start.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            settings: BTreeMap::new(),
            directories: None,
            start_deadline: Duration::from_secs(60),
        }
    }

    /// Gives the server one more setting, such as `wal_level`; it wins over the profile's.
    ///
    /// # Errors
    /// [`ServerError::RefusedSetting`] for a setting that belongs to the supervisor or that the
    /// profile promises, for a name that no setting can have, and for a value with a line break.
    pub fn with_setting(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, ServerError> {
        let (name, value) = (name.into().to_ascii_lowercase(), value.into());
        let refused = |name, reason| Err(ServerError::RefusedSetting { name, reason });
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            || !name.chars().all(plain)
        {
            return refused(name, "a name has letters, digits, `_` and `.` only");
        }
        if SUPERVISED.contains(&name.as_str()) {
            return refused(name, "the supervisor of the server decides it");
        }
        if PROMISED.contains(&name.as_str()) {
            return refused(
                name,
                "the profile decides it; choose `ThrowAway` or `Durable`",
            );
        }
        if value.chars().any(char::is_control) {
            return refused(name, "its value holds a control character");
        }
        self.settings.insert(name, value);
        Ok(self)
    }

    /// Keeps everything in these directories instead of those of the machine.
    #[must_use]
    pub fn with_directories(mut self, directories: Directories) -> Self {
        self.directories = Some(directories);
        self
    }

    /// How long the server may take from its start to its first answer; a minute if not said.
    #[must_use]
    pub fn with_start_deadline(mut self, deadline: Duration) -> Self {
        self.start_deadline = deadline;
        self
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    pub(super) fn start_deadline(&self) -> Duration {
        self.start_deadline
    }

    pub(super) fn directories(&self) -> Result<Directories, ServerError> {
        self.directories
            .clone()
            .map_or_else(Directories::from_env, Ok)
    }

    /// What the live server must say, setting by setting.
    pub(super) fn promised(&self, major: u16) -> Vec<(&'static str, &'static str)> {
        let mut promised = self.profile.settings(major);
        promised.retain(|(name, _)| !self.settings.contains_key(&name.to_ascii_lowercase()));
        promised
    }

    /// The lines to add to `postgresql.conf`. They stand in the file and not on the command line,
    /// so that a kept server started by hand is the same server.
    pub(super) fn configuration(&self, major: u16, socket_directory: &Path) -> String {
        let port = PORT.to_string();
        let socket_directory = list_element(&socket_directory.to_string_lossy());
        let mut lines = vec![
            ("listen_addresses", ""),
            ("log_line_prefix", "%m [%p] %q%a "),
            ("log_timezone", "UTC"),
            ("max_wal_size", "256MB"),
            ("port", &port),
            ("unix_socket_directories", &socket_directory),
            ("unix_socket_permissions", "0700"),
        ];
        lines.extend(self.promised(major));
        lines.extend(
            self.settings
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let mut text = String::from("\n# Added by the supervisor of this server.\n");
        for (name, value) in lines {
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            writeln!(text, "{name} = '{value}'").expect("a string takes every line");
        }
        text
    }
}

/// One element of a setting that is a list of paths: in double quotes, so that a comma in a path
/// does not make two of it.
fn list_element(path: &str) -> String {
    format!("\"{}\"", path.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_supervisor_and_the_profile_are_refused() {
        for name in [
            "port",
            "Listen_Addresses",
            "fsync",
            "no spaces",
            "",
            "1x",
            "a=b",
        ] {
            let error = ServerOptions::default()
                .with_setting(name, "1")
                .unwrap_err();
            assert!(
                matches!(error, ServerError::RefusedSetting { .. }),
                "{name}: {error}"
            );
        }
        let error = ServerOptions::default()
            .with_setting("x.y", "a\nfsync = on")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "setting `x.y` cannot be given (its value holds a control character)"
        );
    }

    #[test]
    fn a_setting_of_the_caller_replaces_the_profile_s() {
        let options = ServerOptions::default()
            .with_setting("WAL_level", "logical")
            .unwrap();
        let text = options.configuration(15, Path::new("/s"));
        assert!(
            text.contains("\nwal_level = 'logical'\n") && !text.contains("'replica'"),
            "{text}"
        );
        assert!(
            !options
                .promised(15)
                .iter()
                .any(|pair| pair.0 == "wal_level")
        );
    }

    #[test]
    fn values_are_quoted_for_the_file() {
        let options = ServerOptions::default()
            .with_setting("my.text", r"it's \n")
            .unwrap();
        let text = options.configuration(15, Path::new("/a,\"b"));
        assert!(text.contains(r"my.text = 'it''s \\n'"), "{text}");
        assert!(
            text.contains("unix_socket_directories = '\"/a,\"\"b\"'"),
            "{text}"
        );
    }
}
