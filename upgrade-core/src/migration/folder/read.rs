//! Lists the files of a folder, with the contents of those that could be migrations.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::FolderError;

/// Layouts with sub-folders keep them shallow; deeper ones belong to something else.
const DEPTH: usize = 4;

pub(super) fn files_of(path: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, FolderError> {
    let meta = fs::metadata(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => FolderError::Missing {
            path: path.to_owned(),
        },
        _ => FolderError::Io {
            path: path.to_owned(),
            source,
        },
    })?;
    if !meta.is_dir() {
        return Err(FolderError::NotAFolder {
            path: path.to_owned(),
        });
    }
    let mut files = Vec::new();
    walk(path, Path::new(""), DEPTH, &mut files)?;
    Ok(files)
}

fn walk(
    root: &Path,
    below: &Path,
    depth: usize,
    files: &mut Vec<(PathBuf, Vec<u8>)>,
) -> Result<(), FolderError> {
    let folder = root.join(below);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| FolderError::Io { path, source }
    };
    for entry in fs::read_dir(&folder).map_err(io(&folder))? {
        let entry = entry.map_err(io(&folder))?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let path = folder.join(&name);
        let relative = below.join(&name);
        // Follows links, as the tools do.
        let meta = fs::metadata(&path).map_err(io(&path))?;
        if meta.is_dir() {
            if depth > 0 {
                walk(root, &relative, depth - 1, files)?;
            }
        } else {
            let content = if is_content(&relative) {
                fs::read(&path).map_err(io(&path))?
            } else {
                Vec::new()
            };
            files.push((relative, content));
        }
    }
    Ok(())
}

/// Whether a layout may look into the file; of all others the name is enough.
pub(crate) fn is_content(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["sql", "toml", "conf", "tmpl"]
            .iter()
            .any(|known| extension == *known)
    })
}
