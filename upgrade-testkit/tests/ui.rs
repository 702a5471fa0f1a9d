//! What the compiler says about a mistake in `#[upgrade_test]`, and what it accepts.
//!
//! After a change of a message: `TRYBUILD=overwrite cargo test -p upgrade-testkit --test ui`.

#[test]
fn messages() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
