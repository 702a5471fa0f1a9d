//! Work that is undone where it does not come to its end, also when nobody waits for it any more.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};

/// How long undoing may take.
const UNDO_WITHIN: Duration = Duration::from_secs(8);

/// Does the work within the deadline of the context. After an error, at the deadline, on
/// cancellation, or when the future that is returned is dropped, the work is stopped and `undo`
/// runs to its end, in a separate task.
///
/// What `undo` fails with comes first in the error: it is what a person has to mend.
pub(crate) async fn or_undone<T: Send + 'static>(
    cx: &UpgradeContext,
    what: &'static str,
    work: impl Future<Output = Result<T>> + Send + 'static,
    undo: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<T> {
    let cx = cx.clone();
    let dropped = CancellationToken::new();
    let guard = dropped.clone().drop_guard();
    let task = async move {
        let result = tokio::select! {
            biased;
            () = dropped.cancelled() => Err(Error::new(
                ErrorKind::Cancelled,
                format!("`{what}` was cancelled"),
            )),
            result = cx.bounded(what, work) => result.and_then(|result| result),
        };
        let error = match result {
            Ok(value) if !dropped.is_cancelled() => return Ok(value),
            Ok(_) => Error::new(ErrorKind::Cancelled, format!("`{what}` was cancelled")),
            Err(error) => error,
        };
        let undone = tokio::time::timeout(UNDO_WITHIN, undo).await;
        match undone {
            Ok(Ok(())) => Err(error),
            Ok(Err(undo)) => {
                tracing::warn!(error = ?undo, "what was begun could not be undone");
                Err(undo.with_context("before that", format!("{error}")))
            }
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("what `{what}` began could not be undone in {UNDO_WITHIN:?}"),
            )
            .with_source(error)),
        }
    };
    let result = joined(tokio::spawn(task.in_current_span())).await;
    guard.disarm();
    result
}

/// The result of a task.
pub(crate) async fn joined<T>(task: tokio::task::JoinHandle<Result<T>>) -> Result<T> {
    task.await
        .unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::new(
                ErrorKind::Cancelled,
                "the runtime ended before the work did",
            )
            .with_source(error)),
        })
}
