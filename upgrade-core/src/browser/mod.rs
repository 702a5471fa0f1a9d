//! Pages of the system as a person sees them, in a real browser.
//!
//! A [`Page`] says what a person does. As a validator it runs on the system that is upgraded;
//! [`Page::compare`] runs it on two releases side by side. Both use a [`Browser`], which is Chromium through
//! its driver: on Debian the packages `chromium` and `chromium-driver`.

mod compare;
mod driver;
mod log;
mod options;
mod page;
mod picture;
mod session;
mod state;
mod step;
mod tab;
mod visit;
mod wire;

pub use self::compare::PageComparison;
pub use self::options::BrowserOptions;
pub use self::page::Page;
pub use self::session::Browser;
pub use self::step::Key;
