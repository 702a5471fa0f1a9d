//! One page of all reports of a test run.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use upgrade_core::{Error, ErrorKind, Result};
use upgrade_testkit::summary::{Summary, explain};

/// Reads the reports that upgrade tests leave, and prints them as one page. Its exit code is 1 when one
/// of the runs failed, so that a build ends with it.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The folder of the reports. Default: `UPGRADE_REPORT_DIR`, else `target/upgrade-reports`.
    folder: Option<PathBuf>,
    /// In which form.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The file to write, instead of the standard output.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Explains a finding instead: `down/schema-differs`, or an area such as `crash/*`.
    #[arg(long, value_name = "ID", conflicts_with_all = ["format", "output"])]
    explain: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a terminal.
    Text,
    /// For a review, or `$GITHUB_STEP_SUMMARY`.
    Markdown,
    /// Workflow commands of GitHub: findings at the lines of a review.
    Annotations,
    /// For CI systems.
    Junit,
    /// For code scanning.
    Sarif,
    /// For a browser.
    Html,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:?}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    if let Some(id) = &options.explain {
        print(&explain(id)?, None)?;
        return Ok(true);
    }
    let set = std::env::var_os("UPGRADE_REPORT_DIR").filter(|value| !value.is_empty());
    let folder = options.folder.clone().or(set.map(PathBuf::from));
    let folder = folder.unwrap_or_else(|| PathBuf::from("target/upgrade-reports"));
    let summary = Summary::read(&folder)?;
    let page = match options.format {
        Format::Text => summary.to_string(),
        Format::Markdown => summary.to_markdown(),
        Format::Annotations => summary.to_annotations(),
        Format::Junit => summary.to_junit()?,
        Format::Sarif => summary.to_sarif(),
        Format::Html => summary.to_html()?,
    };
    print(&page, options.output.as_ref())?;
    Ok(summary.passed())
}

fn print(page: &str, output: Option<&PathBuf>) -> Result<()> {
    let written = match output {
        Some(path) => std::fs::write(path, page),
        // A reader that has seen enough closes the pipe.
        None => match std::io::stdout().write_all(page.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        },
    };
    written.map_err(|source| {
        let to = output.map_or("the standard output".to_owned(), |path| {
            path.display().to_string()
        });
        Error::new(ErrorKind::Io, format!("`{to}` could not be written")).with_source(source)
    })
}
