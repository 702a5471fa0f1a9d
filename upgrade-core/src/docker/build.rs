//! Images that are built from a folder.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use testcontainers::bollard::body_try_stream;
use testcontainers::bollard::query_parameters::BuildImageOptionsBuilder;

use super::context;
use super::engine::{Engine, quiet};
use super::error::DockerError;
use super::stack::Build;
use crate::error::Result;

/// The label by which an image says what it was built from.
const LABEL: &str = "upgrade.build";
/// How many lines of a build an error shows.
const LINES: usize = 20;
/// How much is sent at once.
const CHUNK: usize = 1 << 20;

/// Makes sure that the engine has the image of a build; its name. One that was built from the same
/// files in the same way is taken as it is: like a layer, it is a cache and stays.
pub(super) async fn provide(engine: &Engine, build: &Build) -> Result<String> {
    let context = context::pack(build).await?;
    let hash = name(build, &context.hash);
    let tag = match &build.tag {
        Some(tag) => tag.clone(),
        None => format!("upgrade-build:{}", &hash[..16]),
    };
    if engine.image_label(&tag, LABEL).await.as_deref() == Some(hash.as_str()) {
        return Ok(tag);
    }
    let arguments: HashMap<&str, &str> = build
        .args
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    let mut options = BuildImageOptionsBuilder::new()
        .dockerfile(&build.dockerfile.to_string_lossy())
        .t(&tag)
        .labels(&HashMap::from([(LABEL, hash.as_str())]))
        .buildargs(&arguments)
        .rm(true)
        .forcerm(true);
    if let Some(target) = &build.target {
        options = options.target(target);
    }
    let archive = body_try_stream(chunks(Arc::new(context.archive)));
    let docker = engine.docker();
    let mut messages = docker.build_image(options.build(), None, Some(archive));
    let mut log = Vec::new();
    while let Some(message) = quiet(messages.next()).await {
        match message {
            Ok(message) => {
                let text = message.stream.unwrap_or_default();
                log.extend(
                    text.lines()
                        .filter(|line| !line.is_empty())
                        .map(str::to_owned),
                );
            }
            Err(source) => {
                let last = log.len().saturating_sub(LINES);
                return Err(DockerError::Build {
                    context: build.context.clone(),
                    log: engine
                        .secrets()
                        .redact(&log[last..].join("\n"))
                        .into_owned(),
                    source: source.into(),
                }
                .into());
            }
        }
    }
    Ok(tag)
}

/// All that decides what comes out, as one name.
fn name(build: &Build, files: &blake3::Hash) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(files.as_bytes());
    hash.update(build.dockerfile.as_os_str().as_encoded_bytes());
    hash.update(&[0]);
    hash.update(build.target.as_deref().unwrap_or_default().as_bytes());
    for (name, value) in &build.args {
        for part in [name.as_str(), value.expose()] {
            hash.update(&[0]);
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().to_hex().to_string()
}

/// A file from its beginning, piece by piece. Several may read the same file at once.
pub(super) fn chunks(
    file: Arc<File>,
) -> impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static {
    stream::unfold((file, 0), |(file, at)| async move {
        let mut chunk = vec![0; CHUNK];
        match file.read_at(&mut chunk, at) {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok(chunk.into()), (file, at + count as u64)))
            }
            Err(error) => Some((Err(error), (file, at))),
        }
    })
}
