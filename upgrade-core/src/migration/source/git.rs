//! Older releases of a folder, through the `git` command.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::SourceError;
use crate::migration::folder::is_content;

/// The commit that a revision names.
pub(super) fn commit(folder: &Path, revision: &str) -> Result<String, SourceError> {
    let revision = format!("{revision}^{{commit}}");
    text(
        folder,
        &[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &revision,
        ],
    )
}

/// The newest tag that is reachable from a revision.
pub(super) fn latest_tag(folder: &Path, from: &str) -> Result<Option<String>, SourceError> {
    // Without a commit there is no tag either: `from` may be the parent of the first commit.
    if commit(folder, from).is_err() {
        // But outside of a repository nothing can be said at all.
        text(folder, &["rev-parse", "--git-dir"])?;
        return Ok(None);
    }
    let output = run(folder, &["describe", "--tags", "--abbrev=0", from])?;
    Ok(output.status.success().then(|| trimmed(&output.stdout)))
}

/// What a clone lacks, and the command that fetches it.
pub(super) fn missing_in_clone(folder: &Path) -> Option<&'static str> {
    if text(folder, &["rev-parse", "--is-shallow-repository"]).ok()? == "true" {
        return Some("this clone is shallow: `git fetch --unshallow --tags` fetches the rest");
    }
    let tags = text(folder, &["tag", "--list"]).ok()?;
    tags.is_empty()
        .then_some("this clone has no tags: `git fetch --tags` fetches them")
}

/// The files of a folder in a revision, by paths relative to the folder.
pub(super) fn files_at(
    folder: &Path,
    revision: &str,
) -> Result<Vec<(PathBuf, Vec<u8>)>, SourceError> {
    let commit = commit(folder, revision)?;
    let prefix = text(folder, &["rev-parse", "--show-prefix"])?;
    // A path that ends with a slash lists what is below it; an empty one lists the whole tree.
    let mut arguments = vec!["ls-tree", "-r", "-z", "--full-tree", &commit];
    if !prefix.is_empty() {
        arguments.extend(["--", &prefix]);
    }
    let listing = checked(folder, &arguments)?;
    let mut entries = Vec::new();
    for entry in String::from_utf8_lossy(&listing)
        .split('\0')
        .filter(|entry| !entry.is_empty())
    {
        let Some((meta, path)) = entry.split_once('\t') else {
            continue;
        };
        let mut meta = meta.split(' ');
        let (Some(_), Some("blob"), Some(object)) = (meta.next(), meta.next(), meta.next()) else {
            continue;
        };
        let path = path.strip_prefix(&prefix).unwrap_or(path);
        let hidden = path.split('/').any(|part| part.starts_with('.'));
        if !hidden {
            entries.push((PathBuf::from(path), object.to_owned()));
        }
    }
    contents(folder, entries)
}

/// Reads all blobs through one process.
fn contents(
    folder: &Path,
    entries: Vec<(PathBuf, String)>,
) -> Result<Vec<(PathBuf, Vec<u8>)>, SourceError> {
    let arguments = ["cat-file", "--batch"];
    let spawn = |source| SourceError::Spawn {
        command: shown(&arguments),
        source,
    };
    let mut child = command(folder, &arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(spawn)?;
    let mut input = child.stdin.take().expect("stdin is a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let mut read = |object: &str| -> std::io::Result<Vec<u8>> {
        // One question at a time, so that neither pipe can fill up.
        writeln!(input, "{object}")?;
        input.flush()?;
        let mut header = String::new();
        output.read_line(&mut header)?;
        let size = header
            .split_whitespace()
            .nth(2)
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| std::io::Error::other(format!("no object {object}")))?;
        let mut content = vec![0; size];
        output.read_exact(&mut content)?;
        output.read_exact(&mut [0])?;
        Ok(content)
    };
    let mut files = Vec::new();
    let mut failure = None;
    for (path, object) in entries {
        if !is_content(&path) {
            files.push((path, Vec::new()));
            continue;
        }
        match read(&object) {
            Ok(content) => files.push((path, content)),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    drop(input);
    let ended = child.wait();
    match failure {
        Some(source) => Err(spawn(source)),
        None => ended.map(|_| files).map_err(spawn),
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Result<Output, SourceError> {
    command(folder, arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| SourceError::Spawn {
            command: shown(arguments),
            source,
        })
}

fn checked(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, SourceError> {
    let output = run(folder, arguments)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = trimmed(&output.stderr);
    let message = match said.lines().last() {
        Some(line) => line.to_owned(),
        None => format!("it knows no such revision ({})", output.status),
    };
    Err(SourceError::Command {
        command: shown(arguments),
        message,
    })
}

fn text(folder: &Path, arguments: &[&str]) -> Result<String, SourceError> {
    checked(folder, arguments).map(|output| trimmed(&output))
}

fn trimmed(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim_end().to_owned()
}

fn shown(arguments: &[&str]) -> String {
    format!("git {}", arguments.join(" "))
}
