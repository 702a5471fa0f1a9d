//! The values of the options.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, LitInt, LitStr, Path, UnOp};

use super::{Errors, SCENARIOS, expected};

/// The names of earlier releases, and those of today.
pub(super) const RENAMED: [(&str, &str); 6] = [
    ("straight", "upgrade"),
    ("rollback_at", "rollback"),
    ("repeat", "rerun"),
    ("late_branch", "out_of_order"),
    ("every_release", "skip_release"),
    ("crash_at", "crash"),
];

/// The first major version with ten as its number, and one that nobody will outlive.
const MAJORS: std::ops::RangeInclusive<u16> = 10..=99;

pub(super) fn text(name: &str, value: &Expr) -> syn::Result<LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) if text.value().trim().is_empty() => Err(Error::new(
            text.span(),
            format!("`{name}` must not be empty"),
        )),
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(text.clone()),
        _ => Err(expected(name, value)),
    }
}

pub(super) fn path(name: &str, value: &Expr) -> syn::Result<Path> {
    match value {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path.clone()),
        _ => Err(expected(name, value)),
    }
}

/// The generated code stands in separate modules, where a relative path means something else.
pub(super) fn crate_path(text: &LitStr) -> syn::Result<Path> {
    let path: Path = text.parse().map_err(|error| {
        Error::new(
            text.span(),
            format!("`crate` expects the path of a crate: {error}"),
        )
    })?;
    match path.segments.first() {
        Some(first) if first.ident == "self" || first.ident == "super" => Err(Error::new(
            text.span(),
            "`crate` expects a path that begins with a crate (write `crate::...` for your own)",
        )),
        _ => Ok(path),
    }
}

pub(super) fn number<T>(name: &str, value: &Expr) -> syn::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => whole(name, number),
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_), ..
        }) => Err(Error::new(
            value.span(),
            format!("`{name}` must not be negative"),
        )),
        _ => Err(expected(name, value)),
    }
}

fn whole<T>(name: &str, number: &LitInt) -> syn::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    number.base10_parse().map_err(|error| {
        Error::new(
            number.span(),
            format!("`{name}` cannot be {number}: {error}"),
        )
    })
}

/// One release, or several.
pub(super) fn releases(value: &Expr, errors: &mut Errors) -> syn::Result<Vec<LitStr>> {
    let Expr::Array(list) = value else {
        return Ok(vec![text("from", value)?]);
    };
    if list.elems.is_empty() {
        return Err(Error::new(
            value.span(),
            "`from` must name at least one release (leave the option out for the latest one)",
        ));
    }
    let mut found: Vec<LitStr> = Vec::new();
    for element in &list.elems {
        match text("from", element) {
            Ok(release)
                if found
                    .iter()
                    .any(|known| case_of(known) == case_of(&release)) =>
            {
                let message = format!("two releases have the case `{}`", case_of(&release));
                errors.push(Error::new(release.span(), message));
            }
            Ok(release) => found.push(release),
            Err(error) => errors.push(error),
        }
    }
    Ok(found)
}

/// What the cases of one of several releases are called: `from_v1_8_0`.
pub(crate) fn case_of(release: &LitStr) -> String {
    let release = release.value();
    let plain = release.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
        _ => '_',
    });
    format!("from_{}", plain.collect::<String>())
}

pub(super) fn scenarios(value: &Expr, errors: &mut Errors) -> syn::Result<Vec<Ident>> {
    let Expr::Array(list) = value else {
        return Err(expected("scenarios", value));
    };
    let known = SCENARIOS.map(|(name, _)| name);
    let mut found: Vec<Ident> = Vec::new();
    for element in &list.elems {
        let ident = match element {
            Expr::Path(path) if path.qself.is_none() => path.path.get_ident(),
            _ => None,
        };
        match ident {
            Some(ident) if found.contains(ident) => errors.push(Error::new(
                ident.span(),
                format!("scenario `{ident}` specified more than once"),
            )),
            Some(ident) if known.iter().any(|name| ident == name) => found.push(ident.clone()),
            Some(ident) => {
                let message = match RENAMED.iter().find(|(old, _)| ident == old) {
                    Some((_, new)) => format!("the scenario `{ident}` is called `{new}` now"),
                    None => format!(
                        "unknown scenario `{ident}` (the scenarios are: {})",
                        known.join(", ")
                    ),
                };
                errors.push(Error::new(ident.span(), message));
            }
            None => errors.push(Error::new(
                element.span(),
                format!("expected a scenario ({})", known.join(", ")),
            )),
        }
    }
    if list.elems.is_empty() {
        return Err(Error::new(
            value.span(),
            "`scenarios` must name at least one (leave the option out for all of them)",
        ));
    }
    Ok(found)
}

pub(super) fn majors(value: &Expr, errors: &mut Errors) -> syn::Result<Vec<(u16, Span)>> {
    let Expr::Array(list) = value else {
        return Err(expected("postgres", value));
    };
    if list.elems.is_empty() {
        return Err(Error::new(
            value.span(),
            "`postgres` must name at least one major version (leave the option out to run on whatever server is found)",
        ));
    }
    let mut found: Vec<(u16, Span)> = Vec::new();
    for element in &list.elems {
        let major = match element {
            Expr::Lit(ExprLit {
                lit: Lit::Int(number),
                ..
            }) => number.base10_parse::<u16>().ok(),
            _ => None,
        };
        match major.filter(|major| MAJORS.contains(major)) {
            Some(major) if found.iter().any(|(known, _)| *known == major) => {
                errors.push(Error::new(
                    element.span(),
                    format!("version {major} specified more than once"),
                ));
            }
            Some(major) => found.push((major, element.span())),
            None => errors.push(Error::new(
                element.span(),
                format!(
                    "expected a major version of Postgres from {} to {} (such as 17)",
                    MAJORS.start(),
                    MAJORS.end(),
                ),
            )),
        }
    }
    Ok(found)
}

/// A duration such as `250ms`, `90s`, `5m`, `1h` or `1m30s`.
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    const HELP: &str = "write numbers with a unit: `250ms`, `90s`, `5m`, `1h`, `1m30s`";
    let unreadable = || format!("`{text}` is not a duration ({HELP})");
    let mut rest = text.trim();
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(unreadable)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(unreadable()),
        };
        let number: u64 = number.parse().map_err(|_| unreadable())?;
        sum = number
            .checked_mul(unit)
            .and_then(|part| sum.checked_add(part))
            .ok_or_else(|| format!("`{text}` is too long"))?;
        rest = tail;
    }
    match sum {
        0 => Err(format!("`{text}` leaves no time at all ({HELP})")),
        sum => Ok(sum),
    }
}
