//! Images: found in the engine, or pulled.

use std::time::Duration;

use testcontainers::GenericImage;
use testcontainers::core::client::ClientError;
use testcontainers::core::error::TestcontainersError;
use testcontainers::runners::AsyncRunner as _;

use super::engine::Engine;
use super::error::{DockerError, Result};
use crate::error::BoxError;

/// How long pulling an image may take.
const PULL_WITHIN: Duration = Duration::from_secs(600);

/// Makes sure that the engine has an image; the hint says how to get it where there is no registry.
pub(crate) async fn provide(engine: &Engine, image: &str, hint: &str) -> Result<()> {
    if engine.has_image(image).await {
        return Ok(());
    }
    let missing = |source: BoxError| DockerError::ImageMissing {
        image: image.to_owned(),
        hint: hint.to_owned(),
        source,
    };
    let (name, tag) = name_and_tag(image);
    match tokio::time::timeout(PULL_WITHIN, GenericImage::new(name, tag).pull_image()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(TestcontainersError::Client(ClientError::PullImage { err, .. }))) => {
            Err(missing(err.into()))
        }
        Ok(Err(error)) => Err(missing(error.into())),
        Err(elapsed) => Err(missing(elapsed.into())),
    }
}

/// Cuts `name:tag` at the tag; a name without one means `latest`, as for the engine. A colon before
/// the last slash belongs to the host's port.
pub(crate) fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_cut_at_its_tag() {
        for (image, expected) in [
            ("postgres:17", ("postgres", "17")),
            ("postgres", ("postgres", "latest")),
            (
                "host:5000/team/postgres",
                ("host:5000/team/postgres", "latest"),
            ),
            ("host:5000/postgres:17.2", ("host:5000/postgres", "17.2")),
            ("postgres@sha256:abc", ("postgres@sha256", "abc")),
        ] {
            assert_eq!(name_and_tag(image), expected, "{image}");
        }
    }
}
