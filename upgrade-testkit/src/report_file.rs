//! Reports as files: for machines, and for people who no longer have the output.
//!
//! `<folder>/<crate>/<path of the case, __ for ::>.json` holds the report of the last run, and
//! `<..>.plan.json` beside it the plan, if it failed. A file is whole or not there.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use upgrade_core::{Error, ErrorKind, Plan, Report, Result};

use crate::settings::Settings;
use crate::spec::TestSpec;

/// Where the files of one case are.
#[derive(Debug, Clone)]
pub struct ReportFiles {
    folder: PathBuf,
    stem: String,
}

/// A file that could not be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("`{}` could not be {act}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    act: &'static str,
    source: io::Error,
}

impl From<FileError> for Error {
    fn from(source: FileError) -> Self {
        Self::new(ErrorKind::Io, "the report of the test was not kept")
            .with_hint("`UPGRADE_REPORT_DIR` names another folder")
            .with_source(source)
    }
}

/// The folder of all reports: `UPGRADE_REPORT_DIR`, else `upgrade-reports` in cargo's target
/// folder, else in a folder `target` of the package.
pub fn folder(settings: &Settings, spec: &TestSpec) -> PathBuf {
    settings.report_dir.clone().unwrap_or_else(|| {
        let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let program = std::env::current_exe().ok();
        target_folder(named, program.as_deref())
            .unwrap_or_else(|| Path::new(spec.manifest_dir()).join("target"))
            .join("upgrade-reports")
    })
}

/// A relative name is of no use: it is relative to where `cargo` was started, which a test does
/// not know.
fn target_folder(named: Option<PathBuf>, program: Option<&Path>) -> Option<PathBuf> {
    named.filter(|path| path.is_absolute()).or_else(|| {
        program?
            .ancestors()
            .skip(1)
            .find(|path| path.ends_with("target") || path.join("CACHEDIR.TAG").is_file())
            .map(Path::to_owned)
    })
}

impl ReportFiles {
    /// The files of a case of a crate.
    pub fn new(folder: &Path, crate_name: &str, path: &str) -> Self {
        Self {
            folder: folder.join(crate_name),
            stem: path.replace("::", "__"),
        }
    }

    /// The report of a run of the case, counted from 1.
    pub fn report(&self, run: u32) -> PathBuf {
        self.file(run, "json")
    }

    /// The plan of a run of the case that failed.
    pub fn plan(&self, run: u32) -> PathBuf {
        self.file(run, "plan.json")
    }

    fn file(&self, run: u32, extension: &str) -> PathBuf {
        let stem = &self.stem;
        self.folder.join(match run {
            0 | 1 => format!("{stem}.{extension}"),
            run => format!("{stem}.{run}.{extension}"),
        })
    }

    pub(crate) fn write(&self, run: u32, report: &Report, plan: &Plan) -> Result<PathBuf> {
        let path = self.report(run);
        write_whole(&path, &report.to_json())?;
        if !report.passed {
            write_whole(&self.plan(run), &plan.to_json())?;
        }
        Ok(path)
    }

    /// Removes what earlier runs of the case have left, so that no one reads an old report as the
    /// one of a test that never came to its run.
    pub(crate) fn clear(&self) -> Result<()> {
        for run in 1.. {
            let plan = remove(&self.plan(run))?;
            let report = remove(&self.report(run))?;
            if !plan && !report {
                break;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FileError {
            path: path.to_owned(),
            act: "removed",
            source,
        }),
    }
}

/// Writes beside the file and renames: a reader sees the old content or the new one.
pub(crate) fn write_whole(path: &Path, content: &str) -> Result<(), FileError> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::File::create(&beside))
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // Nothing to be done about a rest that cannot be removed either.
        let _ = fs::remove_file(&beside);
        FileError {
            path: path.to_owned(),
            act: "written",
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_the_case() {
        let files = ReportFiles::new(Path::new("/r"), "shop", "db::orders::upgrade::pg15");
        let stem = "/r/shop/db__orders__upgrade__pg15";
        assert_eq!(files.report(1), Path::new(&format!("{stem}.json")));
        assert_eq!(files.report(2), Path::new(&format!("{stem}.2.json")));
        assert_eq!(files.plan(1), Path::new(&format!("{stem}.plan.json")));
    }

    #[test]
    fn a_file_is_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = ReportFiles::new(folder.path(), "shop", "orders::upgrade");
        for content in ["one", "two"] {
            write_whole(&files.report(1), content).unwrap();
            assert_eq!(fs::read_to_string(files.report(1)).unwrap(), content);
        }
        write_whole(&files.plan(1), "{}").unwrap();
        write_whole(&files.report(2), "{}").unwrap();
        let names = || fs::read_dir(folder.path().join("shop")).unwrap().count();
        assert_eq!(names(), 3);
        files.clear().unwrap();
        assert_eq!(names(), 0);
        files.clear().unwrap();
    }

    #[test]
    fn a_folder_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        fs::create_dir(&path).unwrap();
        let error = Error::from(write_whole(&path, "{}").unwrap_err());
        assert!(
            format!("{error:?}").contains("x.json` could not be written"),
            "{error:?}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_target_folder_is_found() {
        let find = |named: Option<&str>, program: &str| {
            target_folder(named.map(PathBuf::from), Some(Path::new(program)))
        };
        let program = "/w/target/debug/deps/shop-1";
        assert_eq!(find(None, program), Some("/w/target".into()));
        assert_eq!(find(Some("/t"), program), Some("/t".into()));
        assert_eq!(find(Some("t"), program), Some("/w/target".into()));
        assert_eq!(find(None, "/nowhere/shop-1"), None);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("CACHEDIR.TAG"), "").unwrap();
        assert_eq!(
            target_folder(None, Some(&folder.path().join("debug/deps/shop-1"))),
            Some(folder.path().to_owned())
        );
    }
}
