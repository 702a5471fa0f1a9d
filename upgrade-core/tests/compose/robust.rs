//! No input panics, whatever it is.

use proptest::prelude::*;
use upgrade_core::docker::Compose;
use upgrade_core::{Error, ErrorKind};

use crate::data;

/// Pieces of syntax, to be put where they do not belong.
const PIECES: &[&str] = &[
    "~",
    "[]",
    "{}",
    "[[]]",
    "{a: b}",
    "'",
    "\"",
    "&a",
    "*a",
    "<<: *a",
    "<<: [",
    "!reset null",
    "!override []",
    "!x y",
    "$",
    "${",
    "${A:-${B:-",
    "}",
    ":",
    "- ",
    "-1",
    "0x",
    "1e400",
    "\u{0}",
    "\t",
    "é",
    "---",
    "...",
    "99999999999999999999",
    "1.",
    ":::",
    "/:/:/",
    "a=b=c",
    "\\",
    "  ",
    "extends: all",
    "extends: {file: compose.yaml, service: all}",
    "null",
    "|",
    ">",
    "%YAML 9",
];

/// Places for a value, as what stands before and after it.
const KEYS: &[(&str, &str)] = &[
    ("services: {a: {image: ", "}}"),
    ("services: {a: {build: ", "}}"),
    ("services: {a: {build: {args: ", "}}}"),
    ("services: {a: {build: {dockerfile: ", "}}}"),
    ("services: {a: {image: i, command: ", "}}"),
    ("services: {a: {image: i, environment: ", "}}"),
    (
        "services: {a: {image: i, env_file: base.env, labels: ",
        "}}",
    ),
    ("services: {a: {image: i, ports: ", "}}"),
    ("services: {a: {image: i, volumes: ", "}}"),
    ("services: {a: {image: i, tmpfs: ", "}}"),
    ("services: {a: {image: i, depends_on: ", "}}"),
    ("services: {a: {image: i, networks: ", "}}"),
    ("services: {a: {image: i, extra_hosts: ", "}}"),
    (
        "services: {a: {image: i, secrets: ",
        "}}, secrets: {A: {content: c}}",
    ),
    ("services: {a: {image: i, healthcheck: {test: ", "}}}"),
    ("services: {a: {image: i, healthcheck: {interval: ", "}}}"),
    ("services: {a: {image: i, mem_limit: ", "}}"),
    ("services: {a: {image: i, cpus: ", "}}"),
    ("services: {a: {image: i, restart: ", "}}"),
    ("services: {a: {image: i, extends: ", "}}"),
    ("services: {a: {image: i, profiles: ", "}}"),
    ("services: {}, volumes: ", ""),
    (
        "services: {}, volumes: {a: {driver_opts: {type: tmpfs, o: ",
        "}}}",
    ),
    ("services: {}, networks: ", ""),
    ("services: {}, configs: {a: {content: ", "}}"),
    ("services: ", ""),
];

/// Forms of a value.
const FORMS: &[&str] = &[
    "'VALUE'",
    "['VALUE']",
    "{A: 'VALUE'}",
    "{'VALUE': ~}",
    "{source: A, type: volume, target: 'VALUE'}",
    "{target: 'VALUE', mode: 'VALUE', source: 'VALUE'}",
    "[{target: 'VALUE', published: 'VALUE'}]",
    "[{source: A, mode: 'VALUE'}]",
    "[[VALUE]]",
];

fn read(text: &str, dotenv: &str) -> Result<(), Error> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("app")).unwrap();
    std::fs::write(dir.path().join("app/server.key"), "key").unwrap();
    std::fs::write(dir.path().join("base.env"), dotenv).unwrap();
    std::fs::write(dir.path().join("raw.env"), dotenv).unwrap();
    std::fs::write(dir.path().join(".env"), "A=a\n").unwrap();
    let file = dir.path().join("compose.yaml");
    std::fs::write(&file, text).unwrap();
    let compose = Compose::file(&file)
        .with_variable("PASSED", "passed")
        .with_variable("TOKEN", "token")
        .with_capability("NET_ADMIN");
    compose.read().map(drop)?;
    compose.and(file).read().map(drop)
}

fn check(result: Result<(), Error>) {
    if let Err(error) = result {
        let expected = [ErrorKind::InvalidInput, ErrorKind::Refused];
        assert!(expected.contains(&error.kind()), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        check(read(&text, &text));
    }

    #[test]
    fn any_text_of_pieces(
        pieces in prop::collection::vec((0..PIECES.len(), prop::bool::ANY), 0..30)
    ) {
        let text: String = pieces
            .iter()
            .flat_map(|(piece, new_line)| [PIECES[*piece], if *new_line { "\n" } else { " " }])
            .collect();
        check(read(&text, &text));
    }

    #[test]
    fn any_value_of_any_key(
        key in 0..KEYS.len(),
        form in 0..FORMS.len(),
        value in "([$]{0,2}[{]?[A-C]?(:?[-?+])?}?|[-:=/.,a-z0-9'\"\\\\ ]{1,3}|[0-9]{1,20}[a-z]?){0,5}",
    ) {
        let value = FORMS[form].replace("VALUE", &value.replace('\'', "''"));
        let (before, after) = KEYS[key];
        check(read(&format!("{{{before}{value}{after}}}"), &value));
    }

    /// A good file of every key with the values of some lines replaced.
    #[test]
    fn a_good_file_with_bad_lines(
        edits in prop::collection::vec((0usize..200, 0..PIECES.len(), 0u8..3), 1..4),
        dotenv in "[A-Z]{1,2}[=: ]['\"]?[$a-z\\\\{}#]{0,6}['\"]?\n?",
    ) {
        let text = std::fs::read_to_string(data("every/compose.yaml")).unwrap();
        let text = text.replace("{file: common/services.yaml, service: postgres}", "replica2");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (line, piece, how) in edits {
            let at = line % lines.len();
            let line = &mut lines[at];
            let piece = PIECES[piece];
            match how {
                0 => line.push_str(piece),
                1 => *line = match line.split_once(':') {
                    Some((key, _)) => format!("{key}: {piece}"),
                    None => piece.to_owned(),
                },
                _ => line.clear(),
            }
        }
        lines.push("  replica2: {image: i}".to_owned());
        check(read(&lines.join("\n"), &dotenv));
    }
}
