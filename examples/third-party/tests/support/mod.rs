//! A small shop in a store, and its migrations.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use kv_upgrade::{Change, KvMigration};
use serde_json::json;
use upgrade_core::migration::MigrationId;

pub(crate) const ORDERS: &str =
    r#"{ "o1": { "customer": "c1", "total": 12.5 }, "o2": { "customer": "c2", "total": 3 } }"#;
pub(crate) const CUSTOMERS: &str =
    r#"{ "c1": { "name": "Ada" }, "c2": { "name": "Grace", "vip": true } }"#;

/// Writes the files of a store.
pub(crate) fn store(directory: &Path, orders: &str, customers: &str) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("orders.json"), orders).unwrap();
    fs::write(directory.join("customers.json"), customers).unwrap();
}

/// `0002_currency`, with what it does.
pub(crate) fn currency(up: impl Into<Vec<Change>>) -> KvMigration {
    KvMigration::new(MigrationId::new("0002", "currency"), up)
}

pub(crate) fn add(collection: &str, field: &str) -> Change {
    Change::AddField(collection.to_owned(), field.to_owned(), json!("EUR"))
}

pub(crate) fn remove(collection: &str, field: &str) -> Change {
    Change::RemoveField(collection.to_owned(), field.to_owned())
}

pub(crate) fn rename(collection: &str, field: &str, to: &str) -> Change {
    Change::RenameField(collection.to_owned(), field.to_owned(), to.to_owned())
}

pub(crate) fn pause(seconds: u64) -> Change {
    Change::Pause(Duration::from_secs(seconds))
}

/// Adds a field to two collections, and takes it away again.
pub(crate) fn reversible() -> KvMigration {
    currency([add("orders", "currency"), add("customers", "currency")]).with_down([
        remove("customers", "currency"),
        remove("orders", "currency"),
    ])
}

/// Renames a field, and back.
pub(crate) fn total_to_amount() -> KvMigration {
    KvMigration::new(
        MigrationId::new("0003", "amount"),
        [rename("orders", "total", "amount")],
    )
    .with_down([rename("orders", "amount", "total")])
}
