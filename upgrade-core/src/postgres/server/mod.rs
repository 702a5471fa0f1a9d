//! Local Postgres servers: finding server binaries and running them.
//!
//! [`discover`] walks one chain of providers (a URL or folder that was named, the binaries on this
//! machine, those in the cache, pinned ones fetched once, containers) and fails with one error that
//! lists everything it tried. [`LocalServer`] runs what was found: `initdb` once, a copy of its
//! result for each server, a Unix socket in the server's directory, no TCP port.
//!
//! A server belongs to the process that started it. Its directory carries a file lock that the
//! process holds, the kernel asks the server to stop when the process dies, and the next start on
//! the machine ([`sweep`]) removes every directory whose lock nobody holds.
//!
//! A migration is a program, and may start others as the user of its server. As root each server
//! therefore runs under its own number, which owns nothing else on the machine, without new
//! rights, and everything that runs under that number ends with the server. When this process does
//! not run as root there is no other user to take: **the server, and with it a migration, can do
//! what the user who runs the process can do**, except by `sudo` and the like.
//! `docs/design/0012-what-a-migration-can-reach.md` says it case by case.
//!
//! ```no_run
//! # async fn example() -> Result<(), upgrade_core::postgres::server::ServerError> {
//! use upgrade_core::postgres::server::{
//!     Found, LocalServer, Profile, ProviderOptions, ServerOptions, ServerRequirement, discover,
//! };
//!
//! let found = discover(&ServerRequirement::major(15), &ProviderOptions::from_env()?)?;
//! if let Found::Binaries(binaries) = found {
//!     let server = LocalServer::start(&binaries, ServerOptions::new(Profile::ThrowAway)).await?;
//!     let _options = server.connect_options();
//!     server.stop().await?;
//! }
//! # Ok(())
//! # }
//! ```

mod account;
mod binaries;
mod command;
mod directories;
mod directory;
mod error;
#[cfg(feature = "fetch")]
mod fetch;
mod files;
mod local;
mod options;
mod process;
mod processes;
mod profile;
mod provider;
mod template;
mod user;

pub(crate) use command::die_with_parent;
pub(crate) use process::Process;

pub use binaries::{OLDEST_MAJOR, ServerBinaries, ServerVersion};
pub use directories::Directories;
pub use directory::{Swept, clean, sweep};
pub use error::{Attempt, ServerError};
pub use local::{KeptServer, LocalServer};
pub use options::ServerOptions;
pub use profile::Profile;
pub use provider::{
    Containers, Fetch, Found, ProviderOptions, ServerRequirement, available_majors, discover,
};
