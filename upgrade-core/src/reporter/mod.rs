//! What people see of a run while it is under way, made from its [events](crate::event).

pub mod lines;
#[cfg(feature = "otel")]
pub mod metrics;
#[cfg(feature = "progress")]
pub mod progress;
