//! The options of the attribute: read, checked, and every mistake reported at its own token.

mod values;

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Lit, LitStr, Path, Token};

pub(crate) use values::case_of;
use values::{crate_path, majors, milliseconds, number, path, releases, scenarios, text};

/// Every scenario, as `upgrade_core::Scenario` names it, and the variant it stands for.
pub(crate) const SCENARIOS: [(&str, &str); 11] = [
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
    ("operation", "Operation"),
];

/// Those that take more than a database, or much more time: they are there only where they are named.
pub(crate) const ONLY_NAMED: [&str; 2] = ["rolling", "operation"];

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

#[cfg(test)]
mod tests;
