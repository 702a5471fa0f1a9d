//! Every call into one of the traits ends, and a panic in it ends nothing else.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::Outcome;

/// How long a call into one of the traits may take to end after its time is over.
const GRACE: Duration = Duration::from_secs(10);

/// Waits for a call into one of the traits. The call has to end at its deadline and on
/// cancellation, because only the implementation can end it in order. A call that does not end is
/// given up a little later, so that no implementation can hold the run for ever. A panic becomes an
/// error, so that the run still cleans up.
pub(super) async fn within_reach<T>(
    cx: &UpgradeContext,
    what: &str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let over = async {
        let deadline = async {
            match cx.deadline() {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cx.cancellation().cancelled() => {}
            () = deadline => {}
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        result = AssertUnwindSafe(call).catch_unwind() => result.unwrap_or_else(|panic| {
            let message = format!("`{what}` panicked: {}", said(&*panic));
            Err(Error::new(ErrorKind::Internal, message))
        }),
        () = over => {
            let (kind, when) = if cx.cancellation().is_cancelled() {
                (ErrorKind::Cancelled, "the cancellation")
            } else {
                (ErrorKind::Timeout, "its deadline")
            };
            let message = format!("`{what}` still ran {GRACE:?} after {when} and was given up");
            Err(Error::new(kind, message)
                .with_hint("every wait in it has to end with `UpgradeContext::bounded`"))
        }
    }
}

/// What an act came to that had the time of its step: one that ended because that was over has
/// failed. The time is the runner's, and so is this judgement.
pub(super) fn in_time(result: Result<Outcome>) -> Result<Outcome> {
    Outcome::judged(result, &[ErrorKind::Timeout])
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "nothing that could be read".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_ends_is_given_up_and_one_that_ends_late_is_heard() {
        let limit = Duration::from_secs(3);
        let cx = || UpgradeContext::new("1", "2").with_deadline(Instant::now() + limit);
        let never = std::future::pending::<Result<()>>();
        let error = within_reach(&cx(), "validate", never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(
            error.to_string().contains("`validate` still ran"),
            "{error}"
        );
        let late = async {
            tokio::time::sleep(limit + GRACE / 2).await;
            Ok(7)
        };
        assert_eq!(within_reach(&cx(), "clean up", late).await.unwrap(), 7);
        let cancelled = cx();
        cancelled.cancellation().cancel();
        let never = std::future::pending::<Result<()>>();
        let error = within_reach(&cancelled, "apply", never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
