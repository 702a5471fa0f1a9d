//! x
pub mod pool;
