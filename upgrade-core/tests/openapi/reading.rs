//! What cannot be read says why and where.

use upgrade_core::ErrorKind;
use upgrade_core::openapi::{CompareOptions, Description, compare};

fn error(text: &str) -> (ErrorKind, String) {
    let error = Description::read("api.yaml", text).unwrap_err();
    (error.kind(), format!("{error:?}"))
}

const HEAD: &str = "openapi: 3.1.0\ninfo: {title: a, version: 1.0.0}\n";

#[test]
fn an_error_names_the_file_the_place_and_what_to_do() {
    let (kind, text) = error("swagger: '2.0'\npaths: {}");
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(
        text.contains("`api.yaml` is written in Swagger 2.0") && text.contains("convert it"),
        "{text}"
    );
    let (kind, text) = error("openapi: 3.2.0\npaths: {}");
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("OpenAPI 3.2.0"), "{text}");
    for (body, should) in [
        ("paths: {}", "`#/paths`: it describes no operation"),
        (
            "paths: {a: {get: {}}}",
            "`#/paths/a`: a path begins with `/`",
        ),
        (
            "paths: {/a: {get: {parameters: [{name: x, in: body}]}}}",
            "`#/paths/~1a/get/parameters/0`: a parameter cannot be in `body`",
        ),
        (
            "paths: {/a: {get: {requestBody: {$ref: 'other.yaml#/x'}}}}",
            "`other.yaml#/x` leads to another document",
        ),
        (
            "paths: {/a: {get: {requestBody: {content: {a/b: {schema: {$ref: '#/x'}}}}}}}",
            "`#/x` leads nowhere",
        ),
        (
            "paths: {/a: {get: {requestBody: {content: {a/b: {schema: {$ref: '#/s'}}}}}}}\ns: {$ref: '#/s'}",
            "leads to itself",
        ),
        ("paths: [1]", "`#/paths`: a map is expected here"),
        ("paths: {/a: {get: {", "`api.yaml:3:"),
    ] {
        let (kind, text) = error(&format!("{HEAD}{body}"));
        assert_eq!(kind, ErrorKind::InvalidInput, "{body}");
        assert!(
            text.contains("api.yaml") && text.contains(should),
            "{body}: {text}"
        );
    }
    assert!(error("a: 1").1.contains("`openapi` is missing"));
}

#[test]
fn a_long_chain_of_schemas_is_compared_without_overflow() {
    let chain = |last: &str| {
        let mut text = format!(
            "{HEAD}paths: {{/a: {{get: {{responses: {{'200': {{content: {{application/json: {{schema: {{$ref: '#/components/schemas/s0'}}}}}}}}}}}}}}}}\ncomponents:\n  schemas:\n"
        );
        for n in 0..10_000 {
            text.push_str(&format!(
                "    s{n}: {{anyOf: [{{properties: {{a: {{$ref: '#/components/schemas/s{}'}}}}}}, {{type: string}}]}}\n",
                n + 1
            ));
        }
        text.push_str(&format!("    s10000: {{type: {last}}}\n"));
        Description::read("chain.yaml", &text).unwrap()
    };
    let findings = compare(&chain("string"), &chain("integer"), &CompareOptions::new());
    assert_eq!(findings.len(), 1, "{findings:?}");
}
