//! How values compare, as far as their text tells.

use std::cmp::Ordering;

use super::SqlType;

/// The order of two values of a type, if it can be told without asking Postgres.
pub(crate) fn compare(ty: &SqlType, a: &str, b: &str) -> Option<Ordering> {
    match ty.base_name()? {
        "int2" | "int4" | "int8" | "oid" => Some(a.parse::<i128>().ok()?.cmp(&b.parse().ok()?)),
        "numeric" | "float4" | "float8" => a.parse::<f64>().ok()?.partial_cmp(&b.parse().ok()?),
        "date" | "timestamp" | "timestamptz" | "time" => {
            // Year first and of one width: text order is time order.
            let plain = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
            (plain(a) && plain(b)).then(|| a.cmp(b))
        }
        _ => None,
    }
}
