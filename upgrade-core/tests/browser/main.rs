//! Pages in a real browser, served by servers that are written by hand.
#![cfg(feature = "browser")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod in_browser;
mod support;
