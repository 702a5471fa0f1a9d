//! The options of the attribute: read, checked, and every mistake reported at its own token.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, LitInt, LitStr, Path, Token, UnOp};

/// Every scenario, as `upgrade_core::Scenario` names it, and the variant it stands for.
pub(crate) const SCENARIOS: [(&str, &str); 10] = [
    ("control", "Control"),
    ("upgrade", "Upgrade"),
    ("round_trip", "RoundTrip"),
    ("rollback", "Rollback"),
    ("rerun", "Rerun"),
    ("out_of_order", "OutOfOrder"),
    ("fresh_install", "FreshInstall"),
    ("skip_release", "SkipRelease"),
    ("crash", "Crash"),
    ("rolling", "Rolling"),
];

/// The names of earlier releases, and those of today.
const RENAMED: [(&str, &str); 6] = [
    ("straight", "upgrade"),
    ("rollback_at", "rollback"),
    ("repeat", "rerun"),
    ("late_branch", "out_of_order"),
    ("every_release", "skip_release"),
    ("crash_at", "crash"),
];

/// Those that take more than a database: they are there only where they are named.
pub(crate) const ONLY_NAMED: [&str; 1] = ["rolling"];

const OPTIONS: [&str; 10] = [
    "migrations",
    "from",
    "upgrade",
    "scenarios",
    "postgres",
    "rollback_within",
    "rows",
    "seed",
    "reversible",
    "crate",
];

/// The first major version with ten as its number, and one that nobody will outlive.
const MAJORS: std::ops::RangeInclusive<u16> = 10..=99;

/// What the user wrote, checked. An option that is absent has its default in the testkit.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) migrations: Option<LitStr>,
    /// Empty for the latest release; several are separate cases.
    pub(crate) from: Vec<LitStr>,
    pub(crate) upgrade: Option<Path>,
    /// Empty for all of them.
    pub(crate) scenarios: Vec<Ident>,
    /// Empty for whatever server is found.
    pub(crate) postgres: Vec<(u16, Span)>,
    pub(crate) rollback_within_ms: Option<u64>,
    pub(crate) rows: Option<u32>,
    pub(crate) seed: Option<u64>,
    pub(crate) reversible: Option<bool>,
    pub(crate) krate: Option<Path>,
}

/// Collects errors, so that all of them are shown at once.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Takes the value of a result, or its error.
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) fn into_error(self) -> Option<Error> {
        self.0
    }
}

/// `name = value`, with any name and any expression.
struct Pair {
    name: Ident,
    value: Option<Expr>,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.call(Ident::parse_any).map_err(|error| {
            Error::new(
                error.span(),
                format!("expected an option ({})", OPTIONS.join(", ")),
            )
        })?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Some(input.parse()?)
        } else {
            None
        };
        Ok(Self { name, value })
    }
}

impl Args {
    /// Reads the options. The errors go to `errors`; what is sound is kept.
    pub(crate) fn read(tokens: proc_macro2::TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let pairs =
            syn::parse::Parser::parse2(Punctuated::<Pair, Token![,]>::parse_terminated, tokens);
        let mut seen: Vec<String> = Vec::new();
        for pair in errors.take(pairs).into_iter().flatten() {
            let name = pair.name.to_string();
            if !OPTIONS.contains(&name.as_str()) {
                errors.push(Error::new(
                    pair.name.span(),
                    format!(
                        "unknown option `{name}` (the options are: {})",
                        OPTIONS.join(", ")
                    ),
                ));
            } else if seen.contains(&name) {
                errors.push(Error::new(
                    pair.name.span(),
                    format!("`{name}` specified more than once"),
                ));
            } else {
                let set = args.set(&name, &pair, errors);
                errors.take(set);
                seen.push(name);
            }
        }
        if args.upgrade.is_some() {
            for (name, value) in [
                ("migrations", args.migrations.as_ref()),
                ("from", args.from.first()),
            ] {
                if let Some(value) = value {
                    errors.push(Error::new(
                        value.span(),
                        format!("`{name}` conflicts with `upgrade`, which builds the whole upgrade (remove one of the two)"),
                    ));
                }
            }
        }
        args
    }

    fn set(&mut self, name: &str, pair: &Pair, errors: &mut Errors) -> syn::Result<()> {
        let value = pair.value.as_ref().ok_or_else(|| {
            Error::new(
                pair.name.span(),
                format!(
                    "`{name}` needs a value (write `{name} = {}`)",
                    example(name)
                ),
            )
        })?;
        match name {
            "migrations" => self.migrations = Some(text(name, value)?),
            "from" => self.from = releases(value, errors)?,
            "upgrade" => self.upgrade = Some(path(name, value)?),
            "scenarios" => self.scenarios = scenarios(value, errors)?,
            "postgres" => self.postgres = majors(value, errors)?,
            "rollback_within" => {
                let text = text(name, value)?;
                self.rollback_within_ms = Some(
                    milliseconds(&text.value())
                        .map_err(|message| Error::new(text.span(), message))?,
                );
            }
            "rows" => {
                let rows = number::<u32>(name, value)?;
                if rows == 0 {
                    return Err(Error::new(value.span(), "`rows` must be at least 1"));
                }
                self.rows = Some(rows);
            }
            "seed" => self.seed = Some(number(name, value)?),
            "reversible" => match value {
                Expr::Lit(ExprLit {
                    lit: Lit::Bool(bool),
                    ..
                }) => {
                    self.reversible = Some(bool.value);
                }
                _ => return Err(expected(name, value)),
            },
            _ => self.krate = Some(crate_path(&text(name, value)?)?),
        }
        Ok(())
    }
}

/// A value to show where there is none or a wrong one.
fn example(name: &str) -> &'static str {
    match name {
        "migrations" => "\"migrations\"",
        "from" => "\"v1.8.0\"",
        "upgrade" => "my_function",
        "scenarios" => "[upgrade, round_trip]",
        "postgres" => "[15, 17]",
        "rollback_within" => "\"5m\"",
        "rows" => "50",
        "seed" => "7",
        "reversible" => "true",
        _ => "\"path::to::upgrade_testkit\"",
    }
}

fn expected(name: &str, value: &Expr) -> Error {
    let what = match name {
        "upgrade" => "the path of an `async fn(UpgradeContext) -> Result<Upgrade>`",
        "from" => "a string, or a list of them",
        "scenarios" => "a list of scenarios",
        "postgres" => "a list of major versions",
        "rows" | "seed" => "a whole number",
        "reversible" => "`true` or `false`",
        _ => "a string",
    };
    Error::new(
        value.span(),
        format!(
            "`{name}` expects {what} (such as `{name} = {}`)",
            example(name)
        ),
    )
}

fn text(name: &str, value: &Expr) -> syn::Result<LitStr> {
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

fn path(name: &str, value: &Expr) -> syn::Result<Path> {
    match value {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path.clone()),
        _ => Err(expected(name, value)),
    }
}

/// The generated code stands in separate modules, where a relative path means something else.
fn crate_path(text: &LitStr) -> syn::Result<Path> {
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

fn number<T>(name: &str, value: &Expr) -> syn::Result<T>
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
fn releases(value: &Expr, errors: &mut Errors) -> syn::Result<Vec<LitStr>> {
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

fn scenarios(value: &Expr, errors: &mut Errors) -> syn::Result<Vec<Ident>> {
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

fn majors(value: &Expr, errors: &mut Errors) -> syn::Result<Vec<(u16, Span)>> {
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
fn milliseconds(text: &str) -> Result<u64, String> {
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

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn messages(tokens: proc_macro2::TokenStream) -> Vec<String> {
        let mut errors = Errors::default();
        Args::read(tokens, &mut errors);
        errors
            .into_error()
            .map(|error| error.into_iter().map(|error| error.to_string()).collect())
            .unwrap_or_default()
    }

    #[test]
    fn every_option_is_read() {
        let mut errors = Errors::default();
        let args = Args::read(
            quote! {
                migrations = "db", from = "v1", scenarios = [upgrade, crash],
                postgres = [15, 17], rollback_within = "1m30s", rows = 50, seed = 7,
                reversible = true, crate = "a::b",
            },
            &mut errors,
        );
        assert!(errors.into_error().is_none());
        assert_eq!(args.migrations.unwrap().value(), "db");
        assert_eq!(args.from[0].value(), "v1");
        assert_eq!(args.scenarios, ["upgrade", "crash"]);
        assert_eq!(
            args.postgres
                .iter()
                .map(|(major, _)| *major)
                .collect::<Vec<_>>(),
            [15, 17]
        );
        assert_eq!(args.rollback_within_ms, Some(90_000));
        assert_eq!(
            (args.rows, args.seed, args.reversible),
            (Some(50), Some(7), Some(true))
        );
        assert_eq!(args.krate.unwrap().segments.len(), 2);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let told = messages(quote! { rows = -1, colour = 3, seed = 1, seed = 2, from = 8 });
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[0], "`rows` must not be negative");
        assert!(told[1].starts_with("unknown option `colour` (the options are: migrations, "));
        assert_eq!(told[2], "`seed` specified more than once");
        assert_eq!(
            told[3],
            "`from` expects a string, or a list of them (such as `from = \"v1.8.0\"`)"
        );
    }

    #[test]
    fn mistakes_name_the_value() {
        #[track_caller]
        fn check(tokens: proc_macro2::TokenStream, expected: &str) {
            let told = messages(tokens);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(expected), "{told:?}");
        }
        check(
            quote! { scenarios = [sideways] },
            "unknown scenario `sideways` (the scenarios are: control, ",
        );
        check(
            quote! { scenarios = [upgrade, upgrade] },
            "scenario `upgrade` specified more than once",
        );
        for (old, new) in RENAMED {
            let old = Ident::new(old, Span::call_site());
            let says = format!("the scenario `{old}` is called `{new}` now");
            check(quote! { scenarios = [#old] }, &says);
        }
        check(quote! { scenarios = [] }, "at least one");
        check(
            quote! { scenarios = upgrade },
            "expects a list of scenarios",
        );
        check(
            quote! { scenarios = ["upgrade"] },
            "expected a scenario (control, ",
        );
        check(quote! { from = [] }, "at least one release");
        check(quote! { from = ["v1", 2] }, "expects a string");
        check(
            quote! { from = ["v1.0", "v1-0"] },
            "two releases have the case `from_v1_0`",
        );
        check(quote! { postgres = [9] }, "from 10 to 99");
        check(quote! { postgres = [-15] }, "from 10 to 99");
        check(
            quote! { postgres = [15, 15] },
            "version 15 specified more than once",
        );
        check(quote! { postgres = 15 }, "expects a list of major versions");
        check(quote! { postgres = [] }, "at least one major version");
        check(quote! { rows = 0 }, "at least 1");
        check(
            quote! { rows = 5_000_000_000 },
            "`rows` cannot be 5_000_000_000",
        );
        check(quote! { rows = many }, "expects a whole number");
        check(quote! { reversible }, "write `reversible = true`");
        check(quote! { reversible = 1 }, "`true` or `false`");
        check(
            quote! { migrations = " " },
            "`migrations` must not be empty",
        );
        check(quote! { upgrade = "f" }, "expects the path of an `async fn");
        check(
            quote! { upgrade = f, from = "v1" },
            "`from` conflicts with `upgrade`",
        );
        check(
            quote! { upgrade = f, migrations = "m" },
            "`migrations` conflicts with `upgrade`",
        );
        check(
            quote! { crate = "super::kit" },
            "a path that begins with a crate",
        );
        check(quote! { crate = "a b" }, "expects the path of a crate: ");
        check(quote! { 7 }, "expected an option (migrations, ");
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "5min",
            "0s",
            "1.5s",
            "99999999999999999999h",
            "9999999999999999h",
        ] {
            let message = milliseconds(text).unwrap_err();
            assert!(message.contains(&format!("`{text}`")), "{message}");
        }
    }
}
