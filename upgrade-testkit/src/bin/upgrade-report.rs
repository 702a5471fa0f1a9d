//! One page of all reports of a test run.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use upgrade_core::{Error, ErrorKind, Result};
use upgrade_testkit::summary::Summary;

/// Reads the reports that upgrade tests leave, and prints them as one page. It fails when a test did,
/// so that a build ends with it.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The folder of the reports.
    #[arg(default_value = "target/upgrade-reports")]
    folder: PathBuf,
    /// In which form.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The file to write, instead of the standard output.
    #[arg(long)]
    output: Option<PathBuf>,
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
    let summary = Summary::read(&options.folder)?;
    let page = match options.format {
        Format::Text => summary.to_string(),
        Format::Markdown => summary.to_markdown(),
        Format::Annotations => summary.to_annotations(),
        Format::Junit => summary.to_junit()?,
        Format::Sarif => summary.to_sarif(),
        Format::Html => summary.to_html()?,
    };
    let written = match &options.output {
        Some(path) => std::fs::write(path, page),
        // A reader that has seen enough closes the pipe.
        None => match std::io::stdout().write_all(page.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        },
    };
    written.map_err(|source| {
        let to = options.output.as_ref();
        let to = to.map_or("the standard output".to_owned(), |path| {
            path.display().to_string()
        });
        Error::new(ErrorKind::Io, format!("`{to}` could not be written")).with_source(source)
    })?;
    Ok(summary.passed())
}
