//! The APIs of the two releases. The second has the first one's too, as long as its clients live.

mod receipt;
mod v1;
mod v2;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

pub use v1::{OrderV1, v1};
pub use v2::{OrderV2, v2};

/// The description of the API of release 1.
pub const DESCRIPTION_V1: &str = include_str!("v1.json");
/// The description of the API of release 2.
pub const DESCRIPTION_V2: &str = include_str!("v2.json");

/// How many orders a page has.
pub const PAGE: i64 = 1000;

/// Where a page of orders begins.
#[derive(Debug, Deserialize)]
struct After {
    /// The last order of the page before it.
    #[serde(default)]
    after: String,
}

/// Why a request is not answered with an order.
enum Refusal {
    /// Another order has this id.
    Taken,
    Unknown,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Taken => (StatusCode::CONFLICT, "another order has this id").into_response(),
            Self::Unknown => (StatusCode::NOT_FOUND, "no such order").into_response(),
            Self::Database(error) => {
                (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
            }
        }
    }
}

/// What a write is answered with: a second one of the same order is as good as the first.
fn written<T: PartialEq>(new: bool, sent: &T, found: &T) -> Result<StatusCode, Refusal> {
    match (new, sent == found) {
        (true, _) => Ok(StatusCode::CREATED),
        (false, true) => Ok(StatusCode::OK),
        (false, false) => Err(Refusal::Taken),
    }
}
