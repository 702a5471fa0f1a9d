//! Which requests are of one kind: the method and the path, without the ids in it.

use crate::http::Request;

/// The endpoint of a request: `GET /orders/{}/lines`. The first of the templates that fits the path is
/// taken; without one, segments that are ids are folded.
pub(super) fn endpoint(request: &Request, templates: &[String]) -> String {
    let path = request.path();
    let template = templates.iter().find(|template| fits(template, path));
    match template {
        Some(template) => format!("{} {template}", request.method),
        None => {
            let segments: Vec<&str> = path
                .split('/')
                .map(|segment| if is_id(segment) { "{}" } else { segment })
                .collect();
            format!("{} {}", request.method, segments.join("/"))
        }
    }
}

/// Whether a path has the segments of a template, in which one in braces stands for any.
fn fits(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fit = template.split('/').all(|wanted| {
        let any = wanted.starts_with('{') && wanted.ends_with('}');
        segments
            .next()
            .is_some_and(|segment| any && !segment.is_empty() || segment == wanted)
    });
    fit && segments.next().is_none()
}

/// Whether a segment of a path, or a key of an object, names one thing of many: a number, a UUID, a long
/// hexadecimal text, a long text with letters and digits.
pub(super) fn is_id(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let hex = |least: usize| {
        text.len() >= least
            && text
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'.');
    match text.len() {
        0 => false,
        length if digits == length => true,
        length => digits > 0 && (hex(16) || length >= 20 && text.bytes().all(word) && digits > 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_folded_and_names_are_not() {
        for (target, path) in [
            ("/orders/42?page=2", "/orders/{}"),
            (
                "/orders/0b5e6b0a-6d0e-4c3e-9d43-1f2f3c4d5e6f/lines/7",
                "/orders/{}/lines/{}",
            ),
            ("/files/d41d8cd98f00b204", "/files/{}"),
            ("/s/V1StGXR8_Z5jdHi6B-myT", "/s/{}"),
            ("/v2/facade/added", "/v2/facade/added"),
            ("/products/blue-shirt-2", "/products/blue-shirt-2"),
            ("/", "/"),
        ] {
            let request = Request::get(target);
            assert_eq!(endpoint(&request, &[]), format!("GET {path}"), "{target}");
        }
    }

    #[test]
    fn a_template_comes_first() {
        let templates = ["/products/{slug}".to_owned()];
        let of = |target| endpoint(&Request::get(target), &templates);
        assert_eq!(of("/products/blue"), "GET /products/{slug}");
        assert_eq!(of("/products/"), "GET /products/");
        assert_eq!(of("/products/blue/7"), "GET /products/blue/{}");
    }
}
