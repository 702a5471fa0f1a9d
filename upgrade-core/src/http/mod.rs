//! Requests to the services of a system, and what they answer.
//!
//! A [`Request`] names a path and not a server: the same one is sent to each release. A [`Client`] sends
//! it to one endpoint. An [`Answer`] is a complete [`Response`], or what the service did wrong: too slow, too
//! large, cut off. Validators judge both. Only a service that cannot be reached is an error.

#[cfg(feature = "http")]
mod client;
mod connector;
#[cfg(feature = "http")]
mod message;

#[cfg(feature = "http")]
pub use self::client::{Client, ClientOptions};
pub(crate) use self::connector::connector;
#[cfg(feature = "http")]
pub use self::message::{Answer, Broken, Exchange, Headers, Request, Response};
