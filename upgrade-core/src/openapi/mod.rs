//! Descriptions of HTTP interfaces: two of them compared, and real traffic judged by both.
//!
//! A [`Description`] is read from OpenAPI 3.0 or 3.1, in JSON or YAML. [`compare`] finds what breaks for
//! clients of the old one. Its [rules](rules()) know two directions: a request must not accept less, a response must
//! not send more. A comparator for each keyword tells whether a schema got narrower or wider, and the
//! direction decides what that means.
//!
//! A description says what was written down, and not what the service does. A [`Contract`] checks exchanges by
//! a description, and [`judge_wire`] judges what two releases answered by the descriptions of both. Where no
//! traffic was recorded, [`requests_of`] generates requests.
//!
//! ```
//! use upgrade_core::openapi::{CompareOptions, Description, compare};
//!
//! # fn main() -> upgrade_core::Result<()> {
//! let old = "
//! openapi: 3.0.3
//! info: {title: orders, version: 1.2.0}
//! paths:
//!   /orders:
//!     get:
//!       parameters:
//!       - {name: state, in: query, schema: {type: string, enum: [open, paid]}}
//!       responses: {'200': {description: the orders}}
//! ";
//! let new = old.replace("[open, paid]", "[paid]").replace("1.2.0", "1.3.0");
//! let old = Description::read("old.yaml", old)?;
//! let new = Description::read("new.yaml", &new)?;
//! let findings = compare(&old, &new, &CompareOptions::new());
//! assert_eq!(
//!     findings[0].to_string(),
//!     "error[api/request-narrowed] GET /orders query parameter state: the values lost `\"open\"` \
//!      (rule request-enum-narrowed, version 1.2.0 -> 1.3.0)"
//! );
//! # Ok(())
//! # }
//! ```

mod branches;
mod contract;
mod description;
mod generate;
mod json_schema;
mod keywords;
mod merge;
mod objects;
mod options;
mod pairs;
mod reader;
mod relation;
mod rules;
mod schema;
mod security;
mod structure;
mod template;
mod text;
mod validator;
mod values;
mod walk;
mod wire;

pub use self::contract::{About, Contract, Violation};
pub use self::description::Description;
pub use self::generate::requests_of;
pub use self::options::CompareOptions;
pub use self::relation::Direction;
pub use self::rules::{Rule, rules};
pub use self::structure::compare;
pub use self::validator::OpenApi;
pub use self::wire::judge_wire;
