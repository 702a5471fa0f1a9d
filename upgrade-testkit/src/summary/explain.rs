//! What an id of a finding means, for a terminal.

use upgrade_core::finding::{FindingKind, catalogue};
use upgrade_core::{Error, ErrorKind, Result};

use crate::known::nearest;

/// What the catalogue says of an id, or of each id of an area (`crash/*`).
///
/// # Errors
/// [`ErrorKind::NotFound`] for an id that the library does not raise, with the nearest one.
pub fn explain(id: &str) -> Result<String> {
    let area = id.strip_suffix("/*");
    let all = catalogue().iter();
    let meant = all.filter(|kind| kind.id == id || area == Some(kind.area()));
    let texts: Vec<String> = meant.map(explanation).collect();
    if !texts.is_empty() {
        return Ok(texts.join("\n"));
    }
    let hint = match nearest(id) {
        Some(near) => format!("is it `{near}`?"),
        None => "a validator of your team may have custom ids; it explains them".to_owned(),
    };
    let message = format!("there is no finding `{id}`");
    Err(Error::new(ErrorKind::NotFound, message).with_hint(hint))
}

fn explanation(kind: &FindingKind) -> String {
    let FindingKind {
        otherwise,
        breaks,
        mend,
        ..
    } = kind;
    let weighs = match otherwise.is_empty() {
        true => String::new(),
        false => format!("weighs: {}; {otherwise}\n", kind.severity),
    };
    let scenarios: Vec<&str> = kind.scenarios.iter().map(|one| one.as_str()).collect();
    let found = match &scenarios[..] {
        [] => String::new(),
        some => format!("found by: {}\n", some.join(", ")),
    };
    format!("{kind}\n{weighs}{found}breaks: {breaks}\nhelp: {mend}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_and_an_area_are_explained_and_a_typing_error_is_answered() {
        let one = explain("up/rows-lost").unwrap();
        let kind = FindingKind::of("up/rows-lost").unwrap();
        for part in [
            kind.title,
            kind.breaks,
            kind.mend,
            kind.otherwise,
            "round_trip",
        ] {
            assert!(one.contains(part), "{part}: {one}");
        }
        let area = explain("crash/*").unwrap();
        let kinds = catalogue().iter().filter(|kind| kind.area() == "crash");
        assert_eq!(area.matches("breaks: ").count(), kinds.count());
        for (wrong, hint) in [
            ("up/row-lost", "is it `up/rows-lost`?"),
            ("crahs/*", "is it `crash/*`?"),
            ("orders", "custom ids"),
        ] {
            let error = explain(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains(hint), "{error}");
        }
    }
}
