//! How this library makes HTTP requests: with the certificates of the machine.

use std::sync::Arc;

use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, ErrorKind, Result};

/// Connects to servers. A machine without certificates can still ask over `http`.
///
/// # Errors
/// [`ErrorKind::Io`] where the connections are `encrypted` and the machine has no certificates.
pub(crate) fn connector(encrypted: bool) -> Result<HttpsConnector<HttpConnector>> {
    // The provider is named here: one of the whole process is for the program to choose.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them");
    let config = match encrypted {
        true => config.with_native_roots().map_err(|source| {
            let message = "this machine has no certificates to check those of servers";
            Error::new(ErrorKind::Io, message)
                .with_source(source)
                .with_hint("install them, in most distributions the package `ca-certificates`")
        })?,
        false => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config.with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .build())
}
