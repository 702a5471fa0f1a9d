//! Errors about files: paths, and never content.

use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// A path for a person: on one line, whatever is in it.
pub(super) fn shown(path: &Path) -> String {
    let quoted = format!("{path:?}");
    quoted[1..quoted.len() - 1].to_owned()
}

/// The error of something that cannot be done with a path, such as `read`.
pub(super) fn io<E: Into<io::Error>>(done: &str, path: &Path) -> impl FnOnce(E) -> Error {
    let message = format!("`{}` cannot be {done}", shown(path));
    move |source| {
        let source = source.into();
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Error::new(kind, message).with_source(source)
    }
}

/// The error of files that somebody writes while they are copied.
pub(super) fn changing(path: &Path) -> Error {
    let message = format!("`{}` was changed while it was read", shown(path));
    Error::new(ErrorKind::Io, message).with_hint("run this again when nobody writes there")
}

/// Ends work that nobody waits for any more.
pub(super) fn still_wanted(stop: &CancellationToken) -> Result<()> {
    match stop.is_cancelled() {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::Cancelled,
            "nobody waits for this work any more",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_path_is_shown_on_one_line() {
        let path = Path::new(OsStr::from_bytes(b"/etc/\xc3\xbc a\nb\xff"));
        assert_eq!(shown(path), r"/etc/ü a\nb\xFF");
    }
}
