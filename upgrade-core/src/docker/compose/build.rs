//! Where the image of a service comes from.

use std::path::{Component, PathBuf};

use super::field::{Field, Fields};
use crate::docker::host;
use crate::docker::stack::{Build, Image};
use crate::error::Result;

pub(super) fn image(service: &Fields<'_>) -> Result<Image> {
    let name = service.read("image", Field::filled);
    match service.get("build") {
        Some(field) => build(&field, name).map(Image::Build),
        // That it is wrong is a problem which is known already.
        None if service.has("image") => Ok(Image::Named(name.unwrap_or_default())),
        None => name.map(Image::Named).ok_or_else(|| {
            service
                .whole
                .error("has neither an image nor a build")
                .with_hint("give it `image` or `build`")
        }),
    }
}

fn build(field: &Field<'_>, tag: Option<String>) -> Result<Build> {
    if !field.is_map() {
        return Ok(Build {
            tag,
            ..Build::new(folder(field)?)
        });
    }
    let fields = field.fields()?;
    let context = match fields.get("context") {
        Some(context) => folder(&context)?,
        None => field.resolve(".")?,
    };
    let mut build = Build::new(context);
    if let Some(field) = fields.get("dockerfile") {
        build.dockerfile = dockerfile(&field, &build.context)?;
    }
    build.target = fields.read("target", Field::filled);
    build.args = fields.or_default("args", Field::secrets);
    build.tag = tag;
    fields.accept(&[
        "cache_from",
        "cache_to",
        "isolation",
        "labels",
        "no_cache",
        "platforms",
        "provenance",
        "pull",
        "sbom",
        "tags",
    ]);
    fields.refuse(&[
        ("additional_contexts", "copy what it needs into the context"),
        (
            "dockerfile_inline",
            "write it to a file and name that with `dockerfile`",
        ),
        ("entitlements", ""),
        ("extra_hosts", ""),
        ("network", ""),
        ("privileged", ""),
        (
            "secrets",
            "build the image before, and name it with `image`",
        ),
        ("shm_size", ""),
        ("ssh", "build the image before, and name it with `image`"),
        ("ulimits", ""),
    ]);
    fields.finish();
    Ok(build)
}

fn folder(field: &Field<'_>) -> Result<PathBuf> {
    let text = field.filled()?;
    if text.contains("://") || text.starts_with("git@") || text.starts_with("github.com/") {
        return Err(field
            .error("is not a folder of this machine")
            .with_hint("clone it, or name a built image with `image`"));
    }
    let path = field.resolve(&text)?;
    match field.reading.host.refuses_copy(&path) {
        None => Ok(path),
        Some(why) => Err(field
            .refused(format!("is built from {why}"))
            .with_hint(host::path_hint(&path))),
    }
}

/// A Dockerfile, which the engine gets with the context.
fn dockerfile(field: &Field<'_>, context: &std::path::Path) -> Result<PathBuf> {
    let path = PathBuf::from(field.filled()?);
    let path = path
        .strip_prefix(context)
        .map(PathBuf::from)
        .unwrap_or(path);
    let leaves = |part: Component<'_>| !matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().any(leaves) {
        return Err(field
            .error("is not below the build's `context`")
            .with_hint("use a context that holds both"));
    }
    Ok(path)
}
