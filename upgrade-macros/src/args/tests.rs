//! Every option is read, and every mistake reported.

use quote::quote;

use super::values::RENAMED;
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
