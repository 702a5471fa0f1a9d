//! `pg_dump` and `psql` of the newer major, from wherever they are.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::command::Group;
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Database;
use crate::postgres::server::ServerBinaries;

/// How much of a failed script's output an error shows, in lines.
const SHOWN: usize = 20;

/// Where the client programs of the newer major are.
#[derive(Debug, Clone)]
pub struct Tools(Place);

#[derive(Debug, Clone)]
enum Place {
    Local(PathBuf),
    #[cfg(feature = "docker")]
    Image(String),
}

impl Tools {
    /// Those of this machine, beside the server binaries.
    pub fn local(binaries: &ServerBinaries) -> Self {
        Self(Place::Local(binaries.bin_dir().to_owned()))
    }

    /// Those of an image, such as `postgres:17`; they run in a container on this machine's own
    /// network, so that they reach what this process reaches.
    #[cfg(feature = "docker")]
    pub fn image(image: impl Into<String>) -> Self {
        Self(Place::Image(image.into()))
    }

    /// Runs a script of bash, in which `$OLD` and `$NEW` are the URLs of two databases.
    pub(super) async fn run(
        &self,
        cx: &UpgradeContext,
        what: &str,
        script: &str,
        old: &Database,
        new: &Database,
    ) -> Result<()> {
        let (old_url, new_url) = (old.endpoint(), new.endpoint());
        let variables = [
            ("OLD", old_url.url().expose()),
            ("NEW", new_url.url().expose()),
        ];
        let (succeeded, output) = match &self.0 {
            Place::Local(folder) => {
                let run = local(folder, script, &variables);
                cx.bounded(what, run).await??
            }
            #[cfg(feature = "docker")]
            Place::Image(image) => {
                let job = super::pg_upgrade::Job::new(image, script)
                    .on_this_network()
                    .with_variables(&variables)
                    .with_sockets([old, new]);
                job.run(cx, what).await?
            }
        };
        if succeeded {
            return Ok(());
        }
        let lines: Vec<&str> = output.lines().collect();
        let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        Err(
            Error::new(ErrorKind::Database, format!("failed to {what} with {self}"))
                .with_source(Said(last)),
        )
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Local(folder) => write!(f, "the programs in `{}`", folder.display()),
            #[cfg(feature = "docker")]
            Place::Image(image) => write!(f, "the programs of image `{image}`"),
        }
    }
}

/// What a script said, as the cause of an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Said(pub(super) String);

async fn local(
    folder: &std::path::Path,
    script: &str,
    variables: &[(&str, &str)],
) -> Result<(bool, String)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).map_err(|source| {
        Error::new(ErrorKind::InvalidInput, "PATH cannot be read").with_source(source)
    })?;
    let child = Command::new("bash")
        .args(["-c", script])
        .env("PATH", path)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = Group::new(child.id());
    let ended = child.wait_with_output().await?;
    group.ended();
    let output = [ended.stdout, ended.stderr].concat();
    Ok((
        ended.status.success(),
        String::from_utf8_lossy(&output).into_owned(),
    ))
}
