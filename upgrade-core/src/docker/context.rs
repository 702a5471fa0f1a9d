//! The folder that an image is built from: its files, packed as the engine takes them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use tokio_tar as tar;

use super::stack::Build;
use crate::error::{Error, ErrorKind, Result};

const IGNORE_FILE: &str = ".dockerignore";

/// A packed folder.
pub(super) struct Context {
    /// The archive, in a file without a name, read from its beginning.
    pub(super) archive: File,
    /// A name for what is in it, in hexadecimal digits.
    pub(super) hash: blake3::Hash,
}

/// Packs the folder of a build without what its `.dockerignore` leaves out.
pub(super) async fn pack(build: &Build) -> Result<Context> {
    let root = &build.context;
    let ignored = Ignored::read(root)?;
    let mut paths = Vec::new();
    collect(root, Path::new(""), &mut paths).map_err(failed(root))?;
    paths.sort();
    // The Dockerfile is needed to build, even where it is ignored.
    paths.retain(|path| *path == build.dockerfile || !ignored.matches(path));
    if !paths.contains(&build.dockerfile) {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "`{}` has no file `{}`",
                root.display(),
                build.dockerfile.display()
            ),
        )
        .with_hint("is the build's context right, and its `dockerfile`?"));
    }
    let mut hash = blake3::Hasher::new();
    let archive = tempfile::tempfile().map_err(failed(root))?;
    let writer = tokio::fs::File::from_std(archive.try_clone().map_err(failed(root))?);
    let mut builder = tar::Builder::new(writer);
    for path in paths {
        let file = root.join(&path);
        add(&mut builder, &mut hash, &file, &path)
            .await
            .map_err(failed(&file))?;
    }
    let mut writer = builder.into_inner().await.map_err(failed(root))?;
    tokio::io::AsyncWriteExt::flush(&mut writer)
        .await
        .map_err(failed(root))?;
    Ok(Context {
        archive,
        hash: hash.finalize(),
    })
}

/// Adds a file or a link. Times and owners do not count: they differ from one checkout to the next.
async fn add(
    builder: &mut tar::Builder<tokio::fs::File>,
    hash: &mut blake3::Hasher,
    file: &Path,
    path: &Path,
) -> io::Result<()> {
    let found = fs::symlink_metadata(file)?;
    let mut header = tar::Header::new_gnu();
    let mode = found.permissions().mode() & 0o777;
    header.set_mode(mode);
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.update(&[0]);
    hash.update(&mode.to_le_bytes());
    if found.is_symlink() {
        let target = fs::read_link(file)?;
        hash.update(target.as_os_str().as_encoded_bytes());
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_link_name(&target)?;
        return builder.append_data(&mut header, path, &[][..]).await;
    }
    let mut content = Vec::new();
    File::open(file)?.read_to_end(&mut content)?;
    hash.update(&(content.len() as u64).to_le_bytes());
    hash.update(&content);
    header.set_size(content.len() as u64);
    builder
        .append_data(&mut header, path, content.as_slice())
        .await
}

/// All files and links below a folder, by their paths in it.
fn collect(root: &Path, below: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for item in fs::read_dir(root.join(below))? {
        let item = item?;
        let path = below.join(item.file_name());
        if item.file_type()?.is_dir() {
            collect(root, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// The patterns of a `.dockerignore`, in their order: the last one that matches decides.
///
/// Patterns begin at the context. One that matches a folder matches all that is in it; one that
/// begins with `!` takes back what was left out before.
struct Ignored(Vec<(GlobMatcher, bool)>);

impl Ignored {
    fn read(root: &Path) -> Result<Self> {
        let file = root.join(IGNORE_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(&file)(error)),
        };
        Self::parse(&text).map_err(|(line, source)| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("`{}:{line}`: the pattern cannot be read", file.display()),
            )
            .with_source(source)
        })
    }

    fn parse(text: &str) -> std::result::Result<Self, (usize, globset::Error)> {
        let mut patterns = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (pattern, leaves_out) = match line.strip_prefix('!') {
                Some(rest) => (rest, false),
                None => (line, true),
            };
            let pattern = pattern.trim_matches('/').trim_start_matches("./");
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            let glob = glob.map_err(|error| (index + 1, error))?;
            patterns.push((glob.compile_matcher(), leaves_out));
        }
        Ok(Self(patterns))
    }

    fn matches(&self, path: &Path) -> bool {
        let decides = |pattern: &GlobMatcher| {
            let mut places = path
                .ancestors()
                .filter(|place| !place.as_os_str().is_empty());
            places.any(|place| pattern.is_match(place))
        };
        let last = self.0.iter().rev().find(|(pattern, _)| decides(pattern));
        last.is_some_and(|(_, leaves_out)| *leaves_out)
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| {
        Error::new(
            ErrorKind::Io,
            format!("`{}` could not be packed for a build", path.display()),
        )
        .with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignores(text: &str, path: &str) -> bool {
        let patterns = Ignored::parse(text).map_err(|(line, _)| line).unwrap();
        patterns.matches(Path::new(path))
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        for (text, path, expected) in [
            ("", "a", false),
            ("target", "target/debug/x", true),
            ("target", "sub/target/x", false),
            ("**/target", "sub/target/x", true),
            ("**/target", "target/x", true),
            ("/target/", "target/x", true),
            ("*.md", "README.md", true),
            ("*.md", "docs/a.md", false),
            ("*.md\n!README.md", "README.md", false),
            ("!README.md\n*.md", "README.md", true),
            ("*\n!bin/api", "bin/api", false),
            ("*\n!bin/api", "bin/other", true),
            ("# notes\n\nnotes", "notes", true),
        ] {
            assert_eq!(ignores(text, path), expected, "{text:?} {path}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_named_by_its_line() {
        let (line, _) = Ignored::parse("a\n[b").err().unwrap();
        assert_eq!(line, 2);
    }

    #[tokio::test]
    async fn the_name_of_a_folder_is_told_from_what_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("Dockerfile", "FROM scratch");
        write("a", "1");
        write(".dockerignore", "ignored");
        let build = Build::new(folder.path());
        let first = pack(&build).await.unwrap().hash;
        write("ignored", "x");
        write("a", "1");
        assert_eq!(pack(&build).await.unwrap().hash, first);
        write("a", "2");
        assert_ne!(pack(&build).await.unwrap().hash, first);
        fs::remove_file(folder.path().join("Dockerfile")).unwrap();
        let Err(error) = pack(&build).await else {
            panic!("there is no Dockerfile")
        };
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}
