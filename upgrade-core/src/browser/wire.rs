//! How commands reach the driver.

use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use thirtyfour::error::{WebDriverError, WebDriverResult};
use thirtyfour::session::http::{Body, HttpClient};

/// Sends each command over a new connection: one that is kept belongs to the runtime that made it, and a
/// browser may serve several runtimes.
#[derive(Debug)]
pub(super) struct Wire(Client<HttpConnector, Full<Bytes>>);

impl Wire {
    pub(super) fn new() -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        Self(
            builder
                .pool_max_idle_per_host(0)
                .build(HttpConnector::new()),
        )
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn send(&self, request: Request<Body<'_>>) -> WebDriverResult<Response<Bytes>> {
        let (mut head, body) = request.into_parts();
        let bytes = match body {
            Body::Empty => Vec::new(),
            Body::Json(value) => serde_json::to_vec(value)?,
        };
        head.headers.remove("content-length");
        let failed =
            |error: &dyn std::error::Error| WebDriverError::RequestFailed(error.to_string());
        let request = Request::from_parts(head, Full::new(Bytes::from(bytes)));
        let response = self
            .0
            .request(request)
            .await
            .map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| failed(&error))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    async fn new(&self) -> Arc<dyn HttpClient> {
        Arc::new(Self::new())
    }
}
