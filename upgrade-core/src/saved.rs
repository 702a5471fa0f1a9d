//! What is saved as JSON with the version of its format, read again.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// Reads a saved value. `what` names it, such as `plan`; `again` is what to do about one that cannot be
/// read.
pub(crate) fn read<T: DeserializeOwned>(
    json: &str,
    what: &str,
    format: u32,
    again: &str,
) -> Result<T> {
    /// What says how the rest is to be read.
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let wrong = |message: String| Error::new(ErrorKind::InvalidInput, message).with_hint(again);
    let unreadable = |source: serde_json::Error| {
        wrong(format!("the saved {what} cannot be read")).with_source(source)
    };
    let head: Head = serde_json::from_str(json).map_err(unreadable)?;
    if head.format != format {
        let found = head.format;
        return Err(wrong(format!(
            "the saved {what} has format {found}, this version reads {format}"
        )));
    }
    serde_json::from_str(json).map_err(unreadable)
}
