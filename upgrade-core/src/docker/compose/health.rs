//! `healthcheck`.

use super::field::Field;
use super::tree::Value;
use crate::docker::stack::{CommandCheck, Healthcheck};
use crate::error::Result;

/// The health check, or nothing where the image's stays.
pub(super) fn healthcheck(field: &Field<'_>) -> Result<Option<Healthcheck>> {
    let fields = field.fields()?;
    let disabled = fields.or_default("disable", Field::boolean);
    let test = fields.or_default("test", test);
    let mut check = CommandCheck::new(test);
    check.interval = fields.read("interval", Field::duration);
    check.timeout = fields.read("timeout", Field::duration);
    check.retries = fields.read("retries", Field::number);
    check.start_period = fields.read("start_period", Field::duration);
    fields.accept(&["start_interval"]);
    fields.finish();
    if disabled || check.test == ["NONE"] {
        return Ok(Some(Healthcheck::Disabled));
    }
    let said = check != CommandCheck::new(Vec::new());
    Ok(said.then_some(Healthcheck::Command(check)))
}

fn test(field: &Field<'_>) -> Result<Vec<String>> {
    if let Value::Scalar { .. } = field.node.value {
        return Ok(vec!["CMD-SHELL".to_owned(), field.text()?]);
    }
    let test = field.texts()?;
    let words: Vec<&str> = test.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["NONE"] | ["CMD", _, ..] | ["CMD-SHELL", _] => Ok(test),
        _ => Err(field
            .error("has to start with `CMD` and a program, or be `CMD-SHELL` and one line")
            .with_hint("a text alone is a line for the shell")),
    }
}
