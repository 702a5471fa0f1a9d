//! A small service for orders, of which there are two releases: `orders-v1` and `orders-v2`. The
//! program beside them upgrades it under load.

pub mod api;
pub mod service;
