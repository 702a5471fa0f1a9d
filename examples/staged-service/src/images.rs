//! The images of the two releases: their binaries, built here, and what is packed around them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use upgrade_core::{Error, ErrorKind, Result};

/// The images that others are made from, and what makes them.
const NEEDED: [(&str, &str); 2] = [
    ("upgrade-base:1", "scripts/build-image base"),
    ("upgrade-postgres:17", "scripts/build-image postgres-17"),
];

/// The folder of this example.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lays out what the image of each release is built from, as soon as the binaries are there; the
/// folders by release. A release is its name and how many of the migrations it knows.
pub(crate) fn provide(built: bool, releases: &[(&str, usize)]) -> Result<Vec<PathBuf>> {
    check_needed()?;
    let here = std::env::current_exe().map_err(|error| failed("this program", error))?;
    let target = here.parent().unwrap_or(Path::new("."));
    if !built {
        build(target)?;
    }
    let provide = |(release, migrations): &(&str, usize)| {
        let context = target.join(format!("staged-service-{release}"));
        let binary = target.join(format!("orders-v{release}"));
        lay_out(&context, &binary, *migrations)
            .map_err(|error| failed(context.display(), error))?;
        Ok(context)
    };
    releases.iter().map(provide).collect()
}

/// Says which command makes an image that is missing.
fn check_needed() -> Result<()> {
    for (image, command) in NEEDED {
        let found = Command::new("docker")
            .args(["image", "inspect", image])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // Without the command, or without an engine, the library says what is missing.
        let engine = || Command::new("docker").arg("version").output();
        if found.is_ok_and(|status| !status.success())
            && engine().is_ok_and(|asked| asked.status.success())
        {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the engine has no image `{image}`"),
            )
            .with_hint(format!("`{command}` makes it, in a minute or two")));
        }
    }
    Ok(())
}

/// Builds the binaries of both releases beside this one.
fn build(target: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--bin", "orders-v1", "--bin", "orders-v2"])
        .current_dir(folder())
        .stdout(Stdio::null());
    if let Some(all) = target.parent() {
        build.arg("--target-dir").arg(all);
    }
    // What `cargo run` says of this program is not true of others: crates would be built anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
    if target.ends_with("release") {
        build.arg("--release");
    }
    let status = build.status().map_err(|error| failed("`cargo`", error))?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Environment,
            "the binaries of the releases could not be built",
        )
        .with_hint("cargo has said why, above")),
    }
}

/// Dockerfile, binary and the first migrations, and nothing else.
fn lay_out(context: &Path, binary: &Path, migrations: usize) -> io::Result<()> {
    let folder = folder();
    if context.exists() {
        fs::remove_dir_all(context)?;
    }
    fs::create_dir_all(context.join("migrations"))?;
    fs::copy(folder.join("Dockerfile"), context.join("Dockerfile"))?;
    fs::copy(binary, context.join("orders"))?;
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("migrations"))?
        .map(|file| file.map(|file| file.path()))
        .collect::<io::Result<_>>()?;
    files.sort();
    // Each has an up and a down.
    for file in files.iter().take(2 * migrations) {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, context.join("migrations").join(name))?;
    }
    Ok(())
}

fn failed(what: impl std::fmt::Display, source: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{what} cannot be used")).with_source(source)
}
