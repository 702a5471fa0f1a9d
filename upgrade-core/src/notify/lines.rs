//! Notifications as lines of JSON.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Channel, Notification};
use crate::error::{Error, ErrorKind, Result};

const NAME: &str = "json-lines";

/// How long one line may take.
const WITHIN: Duration = Duration::from_secs(10);

/// A channel that writes each [`Notification`] as one JSON object in a line: into a file, a pipe, the
/// standard output. Its name is `json-lines`.
///
/// A line may take 10 s. A line that was cut off, because a write failed or the outbox was stopped, is
/// ended before the next one; its notification follows again as a whole. Readers skip such a line.
pub struct JsonLines(Mutex<Lines>);

struct Lines {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Whether the last line may lack its end.
    cut_off: bool,
}

impl JsonLines {
    /// Writes to a writer. One that blocks its thread, such as a
    /// [`std::fs::File`], has to be wrapped first, for instance as a `tokio::fs::File`.
    pub fn new(writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Mutex::new(Lines {
            writer: Box::new(writer),
            cut_off: false,
        }))
    }
}

#[async_trait]
impl Channel for JsonLines {
    fn name(&self) -> &str {
        NAME
    }

    async fn deliver(&self, notification: &Notification) -> Result<()> {
        let mut line = serde_json::to_string(notification).map_err(|source| {
            Error::new(ErrorKind::Internal, "a notification is no JSON").with_source(source)
        })?;
        line.push('\n');
        let writing = async {
            let Lines { writer, cut_off } = &mut *self.0.lock().await;
            if *cut_off {
                writer.write_all(b"\n").await?;
            }
            *cut_off = true;
            writer.write_all(line.as_bytes()).await?;
            writer.flush().await?;
            *cut_off = false;
            Ok(())
        };
        match timeout(WITHIN, writing).await {
            Ok(written) => written.map_err(|source: std::io::Error| {
                let message = format!("notification `{}` was not written", notification.id);
                Error::new(ErrorKind::Io, message).with_source(source)
            }),
            Err(_) => {
                let message = format!(
                    "notification `{}` was not written within {WITHIN:?}",
                    notification.id
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").finish_non_exhaustive()
    }
}
