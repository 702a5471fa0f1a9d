//! Finds the operation of a request by its path.

use percent_encoding::percent_decode_str;

/// A template of a path, such as `/orders/{id}/lines.{format}`.
#[derive(Debug, Clone)]
pub(super) struct Template {
    segments: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
}

/// How well a template fits: for each segment whether it is text alone. The best is the largest.
pub(super) type Fit = Vec<bool>;

impl Template {
    pub(super) fn new(path: &str) -> Self {
        Self {
            segments: path.split('/').map(pieces).collect(),
        }
    }

    /// The values of the parameters, if the path is of this template.
    pub(super) fn matched(&self, path: &str) -> Option<(Fit, Vec<(&str, String)>)> {
        let segments: Vec<&str> = path.split('/').collect();
        if segments.len() != self.segments.len() {
            return None;
        }
        let mut values = Vec::new();
        for (pieces, segment) in self.segments.iter().zip(segments) {
            let decoded = percent_decode_str(segment).decode_utf8_lossy();
            fill(pieces, &decoded, &mut values)?;
        }
        let is_text = |pieces: &Vec<Piece>| {
            !pieces
                .iter()
                .any(|piece| matches!(piece, Piece::Parameter(_)))
        };
        Some((self.segments.iter().map(is_text).collect(), values))
    }
}

fn pieces(segment: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = segment;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((name, more)) = after.split_once('}') else {
            break;
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        pieces.push(Piece::Parameter(name.to_owned()));
        rest = more;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    pieces
}

/// Takes a segment apart. A parameter reaches to the next text, and is never empty.
fn fill<'p>(pieces: &'p [Piece], segment: &str, values: &mut Vec<(&'p str, String)>) -> Option<()> {
    let mut rest = segment;
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => rest = rest.strip_prefix(text.as_str())?,
            Piece::Parameter(name) => {
                let end = match pieces.get(at + 1) {
                    Some(Piece::Text(text)) if at + 2 == pieces.len() => {
                        rest.strip_suffix(text.as_str())?.len()
                    }
                    Some(Piece::Text(text)) => rest.find(text.as_str())?,
                    _ => rest.len(),
                };
                let (value, after) = rest.split_at(end);
                if value.is_empty() {
                    return None;
                }
                values.push((name, value.to_owned()));
                rest = after;
            }
        }
    }
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(template: &str, path: &str) -> Option<String> {
        let template = Template::new(template);
        let (_, values) = template.matched(path)?;
        let values: Vec<String> = values
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Some(values.join(" "))
    }

    #[test]
    fn a_path_is_taken_apart_by_its_template() {
        for (template, path, should) in [
            ("/orders", "/orders", Some("")),
            ("/orders", "/orders/", None),
            ("/orders/{id}", "/orders/7", Some("id=7")),
            ("/orders/{id}", "/orders/a%20b%2Fc", Some("id=a b/c")),
            ("/orders/{id}", "/orders/", None),
            ("/a/{b}.{c}", "/a/x.y.json", Some("b=x c=y.json")),
            ("/a/{b}.json", "/a/x.y.json", Some("b=x.y")),
            ("/a/{b}:run", "/a/x:run", Some("b=x")),
            ("/a/{b}:run", "/a/x", None),
        ] {
            assert_eq!(
                values(template, path).as_deref(),
                should,
                "{template} {path}"
            );
        }
    }
}
