//! Against real services.

mod compare;
mod load;
mod service;

use tokio::sync::Mutex;

/// Tests that measure run one after the other.
static TURN: Mutex<()> = Mutex::const_new(());
