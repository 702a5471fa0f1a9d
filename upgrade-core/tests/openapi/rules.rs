//! The table of the rules in the design note is the one of the code.

use std::fs;
use std::path::Path;

use upgrade_core::openapi::rules;

const WRITE: &str = "UPGRADE_UPDATE_CASES";

#[test]
fn the_design_note_lists_every_rule() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/design/0016-openapi-rules.md");
    let note = fs::read_to_string(&path).unwrap();
    let head = "| rule | looks at | direction | worst level | reports that | oasdiff |\n|---|---|---|---|---|---|\n";
    let begins = note.find(head).expect("the head of the table");
    let rows = rules().iter().map(|rule| {
        let direction = rule.direction.map_or("", |direction| direction.as_str());
        format!(
            "| `{}` | {} | {direction} | {} | {} | {} |\n",
            rule.name, rule.about, rule.level, rule.fires, rule.oasdiff
        )
    });
    let should = format!("{}{head}{}", &note[..begins], rows.collect::<String>());
    if note == should {
        return;
    }
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, should).unwrap();
        return;
    }
    panic!("the table is not that of the code; `{WRITE}=1 cargo test --test openapi` writes it");
}
