//! The function that the attribute stands on: checked, kept as it is, and given a module of the
//! same name with one libtest case for each scenario and server version.
//!
//! A case is one call of `upgrade_testkit::__private::run`; everything else is library code.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, ItemFn, Path, ReturnType, Signature};

use crate::args::{Args, Errors, ONLY_NAMED, SCENARIOS, case_of};

/// Renders the attribute. In the face of mistakes the function stays, beside the errors, so that
/// an editor still knows it and the compiler reports nothing that follows from its absence.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::read(args, &mut errors);
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            errors.push(Error::new(
                error.span(),
                format!("`#[upgrade_test]` goes on an `async fn`: {error}"),
            ));
            let errors = errors.into_error().map(Error::into_compile_error);
            return quote!(#item #errors);
        }
    };
    let attributes = CaseAttributes::split_off(&mut function, &mut errors);
    check(&function.sig, &mut errors);
    match errors.into_error() {
        Some(error) => {
            let error = error.into_compile_error();
            // It would have the compiler look for more that is wrong.
            function.sig.constness = None;
            quote!(#[allow(dead_code)] #function #error)
        }
        None => {
            let module = module(&args, &function.sig, &attributes);
            quote!(#function #module)
        }
    }
}

/// The attributes that mean something to a test case.
#[derive(Default)]
struct CaseAttributes {
    /// `#[ignore]` and `#[should_panic]`, which stand on the cases only.
    cases: Vec<Attribute>,
    /// `#[cfg]`, which stands on the function and on the module.
    module: Vec<Attribute>,
    ignored: bool,
}

impl CaseAttributes {
    fn split_off(function: &mut ItemFn, errors: &mut Errors) -> Self {
        let mut split = Self::default();
        function.attrs.retain(|attribute| {
            let path = attribute.path();
            let last = path
                .segments
                .last()
                .map(|segment| segment.ident.to_string());
            if path.is_ident("ignore") || path.is_ident("should_panic") {
                split.ignored |= path.is_ident("ignore");
                split.cases.push(attribute.clone());
                return false;
            }
            if path.is_ident("cfg") {
                split.module.push(attribute.clone());
            }
            if let Some("test" | "upgrade_test") = last.as_deref() {
                errors.push(Error::new_spanned(
                    path,
                    format!(
                        "second test attribute `#[{}]` (`#[upgrade_test]` already makes the tests)",
                        path.to_token_stream().to_string().replace(' ', ""),
                    ),
                ));
                return false;
            }
            true
        });
        split
    }
}

fn check(signature: &Signature, errors: &mut Errors) {
    let mut refuse = |tokens: &dyn ToTokens, message: &str| {
        errors.push(Error::new_spanned(tokens, message));
    };
    if signature.asyncness.is_none() {
        refuse(&signature.fn_token, "an upgrade test must be an `async fn`");
    }
    if let Some(token) = &signature.constness {
        refuse(token, "an upgrade test cannot be `const`");
    }
    if !matches!(signature.safety, syn::Safety::Default) {
        refuse(&signature.safety, "an upgrade test cannot be `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        refuse(abi, "an upgrade test cannot have an ABI");
    }
    if !signature.generics.params.is_empty() {
        refuse(
            &signature.generics.params,
            "an upgrade test cannot be generic",
        );
    } else if let Some(clause) = &signature.generics.where_clause {
        refuse(clause, "an upgrade test cannot have a `where` clause");
    }
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) => {
            refuse(
                receiver,
                "an upgrade test cannot be a method: its argument is an `UpgradeContext`",
            );
        }
        Some(FnArg::Typed(_)) => {}
        None => errors.push(Error::new(
            signature.paren_token.span.join(),
            "an upgrade test takes one argument (write `cx: UpgradeContext`)",
        )),
    }
    for input in inputs {
        errors.push(Error::new_spanned(
            input,
            "an upgrade test takes one argument, an `UpgradeContext`",
        ));
    }
}

fn module(args: &Args, signature: &Signature, attributes: &CaseAttributes) -> TokenStream {
    let krate = args
        .krate
        .as_ref()
        .map_or_else(|| quote!(::upgrade_testkit), ToTokens::to_token_stream);
    let private = quote!(#krate::__private);
    let name = &signature.ident;
    let module_attributes = &attributes.module;
    let body = body(signature, &private);
    let spec = spec(args, attributes, &private);
    let cases = cases(args, attributes, name, &private);
    quote! {
        #(#module_attributes)*
        mod #name {
            #body
            #spec
            #cases
        }
    }
}

/// The function as a value. It is bound once for all cases, and outside of `#[test]`: a wrong
/// argument or result is one error, under the type that the user wrote.
fn body(signature: &Signature, private: &TokenStream) -> TokenStream {
    let name = &signature.ident;
    let argument = match signature.inputs.first() {
        Some(FnArg::Typed(typed)) => typed.ty.span(),
        _ => name.span(),
    };
    let result = match &signature.output {
        ReturnType::Type(_, result) => result.span(),
        ReturnType::Default => name.span(),
    };
    let bind = quote_spanned!(argument=> let f: fn(_) -> _ = super::#name;);
    let takes = quote_spanned!(argument=> #private::takes_context(f));
    let returns = quote_spanned!(result=> #private::returns_outcome(f));
    quote! {
        #[allow(dead_code)]
        fn body() -> #private::Body {
            #bind
            let f = #takes;
            #returns
        }
    }
}

/// What all cases have in common.
fn spec(args: &Args, attributes: &CaseAttributes, private: &TokenStream) -> TokenStream {
    let mut options = TokenStream::new();
    if let Some(path) = &args.migrations {
        options.extend(quote!(.with_migrations(#path)));
    }
    if let [from] = &args.from[..] {
        options.extend(quote!(.with_from(#from)));
    }
    if let Some(path) = &args.upgrade {
        let (path, import) = from_within(path);
        let span = args.upgrade.span();
        let call = quote_spanned!(span=> #private::boxed(#path(cx)));
        options.extend(quote!(.with_upgrade(|cx| { #import #call })));
    }
    if let Some(ms) = args.rollback_within_ms {
        options.extend(quote!(.with_rollback_within_ms(#ms)));
    }
    if let Some(rows) = args.rows {
        options.extend(quote!(.with_rows(#rows)));
    }
    if let Some(seed) = args.seed {
        options.extend(quote!(.with_seed(#seed)));
    }
    if let Some(reversible) = args.reversible {
        options.extend(quote!(.with_reversible(#reversible)));
    }
    if args.scenarios.len() != 1 {
        options.extend(quote!(.with_several_scenarios()));
    }
    if attributes.ignored {
        options.extend(quote!(.with_ignored()));
    }
    quote! {
        #[allow(dead_code)]
        const fn spec() -> #private::TestSpec {
            #private::TestSpec::new(#private::origin!()) #options
        }
    }
}

/// One function for each scenario. Several releases, and versions of the server, are modules in it.
fn cases(
    args: &Args,
    attributes: &CaseAttributes,
    name: &Ident,
    private: &TokenStream,
) -> TokenStream {
    let located = |span: Span| Span::call_site().located_at(span);
    let attributes = &attributes.cases;
    let mut cases = TokenStream::new();
    for (text, variant) in SCENARIOS {
        let chosen = args.scenarios.iter().find(|chosen| *chosen == text);
        if chosen.is_none() && (!args.scenarios.is_empty() || ONLY_NAMED.contains(&text)) {
            continue;
        }
        let at = located(chosen.map_or_else(|| name.span(), Ident::span));
        let scenario = Ident::new(text, at);
        let variant = Ident::new(variant, Span::call_site());
        let case = |case: &Ident, above: &TokenStream, options: TokenStream| {
            quote_spanned! {case.span()=>
                #[::core::prelude::v1::test]
                #(#attributes)*
                fn #case() {
                    #private::run(
                        #above body(),
                        #above spec().with_scenario(#private::Scenario::#variant) #options,
                    );
                }
            }
        };
        // With a function for each version of the server, if there are any.
        let of_versions = |name: &Ident, above: &TokenStream, options: &TokenStream| {
            if args.postgres.is_empty() {
                return case(name, above, options.clone());
            }
            let versions = args.postgres.iter().map(|(major, span)| {
                let version = format_ident!("pg{}", major, span = located(*span));
                let options = quote!(#options.with_postgres(#major));
                case(&version, &quote!(super::#above), options)
            });
            quote!(mod #name { #(#versions)* })
        };
        if args.from.len() < 2 {
            cases.extend(of_versions(&scenario, &quote!(), &quote!()));
            continue;
        }
        let releases = args.from.iter().map(|release| {
            let case = case_of(release);
            let name = Ident::new(&case, located(release.span()));
            of_versions(
                &name,
                &quote!(super::),
                &quote!(.with_one_from(#release, #case)),
            )
        });
        cases.extend(quote!(mod #scenario { #(#releases)* }));
    }
    cases
}

/// A path that the user wrote, as it reads one module further down, and the import that a path
/// without an anchor needs there.
fn from_within(path: &Path) -> (TokenStream, TokenStream) {
    let first = path
        .segments
        .first()
        .map(|segment| segment.ident.to_string());
    match first.as_deref() {
        _ if path.leading_colon.is_some() => (quote!(#path), quote!()),
        Some("crate") => (quote!(#path), quote!()),
        Some("super") => (quote!(super::#path), quote!()),
        Some("self") => {
            let rest = path.segments.iter().skip(1);
            (quote!(super #(::#rest)*), quote!())
        }
        _ => (
            quote!(#path),
            quote!(
                #[allow(unused_imports, clippy::wildcard_imports)]
                use super::*;
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expansion as text, with single spaces.
    fn text(args: TokenStream, item: TokenStream) -> String {
        expand(args, item).to_string()
    }

    #[track_caller]
    fn has(text: &str, tokens: &TokenStream) {
        assert!(
            text.contains(&tokens.to_string()),
            "no `{tokens}` in\n{text}"
        );
    }

    #[track_caller]
    fn has_not(text: &str, part: &str) {
        assert!(!text.contains(part), "`{part}` in\n{text}");
    }

    fn function() -> TokenStream {
        quote!(
            async fn orders(cx: UpgradeContext) -> Result<()> {
                cx.go().await
            }
        )
    }

    #[test]
    fn the_function_stays_and_every_scenario_is_a_case() {
        let text = text(quote!(), function());
        assert!(text.starts_with(&function().to_string()), "{text}");
        let all = SCENARIOS
            .iter()
            .filter(|(name, _)| !ONLY_NAMED.contains(name));
        for (name, variant) in all {
            let (name, variant) = (format_ident!("{name}"), format_ident!("{variant}"));
            has(
                &text,
                &quote! {
                    #[::core::prelude::v1::test]
                    fn #name() {
                        ::upgrade_testkit::__private::run(
                            body(),
                            spec().with_scenario(::upgrade_testkit::__private::Scenario::#variant),
                        );
                    }
                },
            );
        }
    }

    #[test]
    fn what_takes_services_is_a_case_where_it_is_named() {
        has_not(&text(quote!(), function()), "rolling");
        let named = text(quote!(scenarios = [rolling]), function());
        has(&named, &quote!(fn rolling()));
    }

    #[test]
    fn versions_are_cases_below_their_scenario() {
        let text = text(
            quote!(postgres = [15, 17], scenarios = [upgrade]),
            function(),
        );
        has_not(&text, "control");
        let (_, below) = text.split_once("mod upgrade {").expect("a module");
        has(below, &quote!(#[::core::prelude::v1::test] fn pg15()));
        has(&text, &quote!(.with_postgres(17u16)));
        has(&text, &quote!(super::body(), super::spec()));
    }

    #[test]
    fn options_are_passed_on() {
        let text = text(
            quote! {
                migrations = "db", from = "v1", rollback_within = "5m", rows = 50, seed = 7,
                reversible = true, crate = "kit::inner",
            },
            function(),
        );
        has(
            &text,
            &quote! {
                kit::inner::__private::TestSpec::new(kit::inner::__private::origin!())
                    .with_migrations("db")
                    .with_from("v1")
                    .with_rollback_within_ms(300000u64)
                    .with_rows(50u32)
                    .with_seed(7u64)
                    .with_reversible(true)
            },
        );
        has_not(&text, "upgrade_testkit");
    }

    #[test]
    fn attributes_go_where_they_belong() {
        let function = function();
        let text = text(
            quote!(scenarios = [upgrade]),
            quote! {
                /// Text.
                #[ignore = "needs a server"]
                #[should_panic(expected = "no")]
                #[cfg(unix)]
                #function
            },
        );
        has(
            &text,
            &quote!(#[doc = r" Text."] #[cfg(unix)] #function #[cfg(unix)] mod orders),
        );
        has(
            &text,
            &quote! {
                #[::core::prelude::v1::test]
                #[ignore = "needs a server"]
                #[should_panic(expected = "no")]
                fn upgrade()
            },
        );
        has(&text, &quote!(.with_ignored()));
    }

    #[test]
    fn the_path_of_an_upgrade_is_read_where_it_was_written() {
        #[track_caller]
        fn check(path: TokenStream, expected: TokenStream) {
            has(
                &text(quote!(upgrade = #path), function()),
                &quote!(boxed(#expected(cx))),
            );
        }
        check(quote!(build), quote!(build));
        check(quote!(crate::a::build), quote!(crate::a::build));
        check(quote!(::a::build), quote!(::a::build));
        check(quote!(self::a::build), quote!(super::a::build));
        check(quote!(super::build), quote!(super::super::build));
    }

    #[test]
    fn a_mistake_leaves_the_function() {
        let text = text(quote!(colour = 1), function());
        has(&text, &function());
        assert_eq!(text.matches("compile_error").count(), 1);
        has_not(&text, "mod orders");
    }

    #[test]
    fn what_is_no_function_stays_as_well() {
        let text = text(
            quote!(),
            quote!(
                struct Orders;
            ),
        );
        has(
            &text,
            &quote!(
                struct Orders;
            ),
        );
        has(&text, &quote!(compile_error));
    }

    #[test]
    fn signatures() {
        #[track_caller]
        fn check(item: TokenStream, expected: &[&str]) {
            let text = text(quote!(), item);
            for message in expected {
                assert!(text.contains(message), "no `{message}` in\n{text}");
            }
            assert_eq!(
                text.matches("compile_error").count(),
                expected.len(),
                "{text}"
            );
        }
        check(
            quote!(
                fn f(cx: C) {}
            ),
            &["must be an `async fn`"],
        );
        check(
            quote!(
                async fn f() {}
            ),
            &["takes one argument (write"],
        );
        check(
            quote!(
                async fn f(a: C, b: C) {}
            ),
            &["one argument, an `UpgradeContext`"],
        );
        check(
            quote!(
                async fn f(&self) {}
            ),
            &["cannot be a method"],
        );
        check(
            quote!(
                async fn f<T>(cx: T) {}
            ),
            &["cannot be generic"],
        );
        check(
            quote!(
                async fn f(cx: C)
                where
                    C: Copy,
                {
                }
            ),
            &["cannot have a `where` clause"],
        );
        check(
            quote!(
                const unsafe extern "C" fn f(cx: C) {}
            ),
            &["`async fn`", "`const`", "`unsafe`", "an ABI"],
        );
        check(
            quote!(
                #[tokio::test]
                async fn f(cx: C) {}
            ),
            &["second test attribute `#[tokio::test]`"],
        );
    }
}
