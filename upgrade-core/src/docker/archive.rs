//! Files for a container, packed as the engine takes them.

use std::io;

use tokio_tar as tar;

use super::stack::ServiceFile;
use crate::error::{Error, ErrorKind, Result};

/// Packs files at their places below the root.
pub(crate) async fn pack(files: &[ServiceFile]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let content = file.content.expose().as_bytes();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(file.mode);
        header.set_uid(u64::from(file.owner.0));
        header.set_gid(u64::from(file.owner.1));
        let place = file.target.trim_start_matches('/');
        archive
            .append_data(&mut header, place, content)
            .await
            .map_err(|source| failed(file, source))?;
    }
    archive.into_inner().await.map_err(|source| {
        Error::new(ErrorKind::Io, "the files of a service could not be packed").with_source(source)
    })
}

/// Packs an empty folder, which only its owner may enter, at its place below the root.
pub(crate) async fn folder(place: &str, (uid, gid): (u64, u64)) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o700);
    header.set_uid(uid);
    header.set_gid(gid);
    let packed = async {
        let place = place.trim_start_matches('/');
        archive.append_data(&mut header, place, &[][..]).await?;
        archive.into_inner().await
    };
    packed.await.map_err(|source| {
        let message = format!("folder `{place}` of a container cannot be packed");
        Error::new(ErrorKind::InvalidInput, message).with_source(source)
    })
}

fn failed(file: &ServiceFile, source: io::Error) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("file `{}` cannot be laid at `{}`", file.name, file.target),
    )
    .with_source(source)
}
