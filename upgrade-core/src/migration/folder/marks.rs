//! Comments by which tools mark the directions of a file that holds both.
//!
//! To any other tool such a mark is a comment, and the file one script: it would create what it
//! needs and drop it again, without an error.

use std::path::{Path, PathBuf};

use super::error::FolderError;
use super::layout::Layout;
use super::layouts::{direction_of_file, file_name};
use crate::postgres::sql::keywords;

/// A comment that marks a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    pub(super) tool: &'static str,
    /// The layout of the tool, if its folders can be read.
    pub(super) layout: Option<Layout>,
    /// Whether what undoes the migration begins here.
    pub(super) is_down: bool,
    /// The line, from 1.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// A tool, its layout if it is read here, and its marks of an up and of a down.
type Marks = (
    &'static str,
    Option<Layout>,
    &'static [&'static str],
    &'static [&'static str],
);

/// Tools by what stands behind the dashes of their marks, in lower case and with single blanks. A
/// `*` at the end stands for anything.
const MARKS: [Marks; 11] = [
    (
        "goose",
        Some(Layout::Goose),
        &[
            "+goose up",
            "+goose no transaction",
            "+goose statementbegin",
        ],
        &["+goose down"],
    ),
    (
        "sql-migrate",
        Some(Layout::SqlMigrate),
        &["+migrate up*"],
        &["+migrate down*"],
    ),
    (
        "node-pg-migrate",
        Some(Layout::NodePgMigrate),
        &["up migration"],
        &["down migration"],
    ),
    (
        "dbmate",
        Some(Layout::Dbmate),
        &["migrate:up*"],
        &["migrate:down*"],
    ),
    ("micrate", None, &["+micrate up"], &["+micrate down"]),
    ("rambler", None, &["rambler up*"], &["rambler down*"]),
    (
        "Liquibase",
        None,
        &["liquibase formatted sql*"],
        // Undoing is a comment to everybody else: only the record would be wrong.
        &[],
    ),
    (
        "tern",
        None,
        &[],
        &[
            "create above / drop below ----",
            "create above/drop below ----",
        ],
    ),
    ("Play evolutions", None, &["!ups*"], &["!downs*"]),
    ("MyBatis Migrations", None, &[], &["//@undo*", "// @undo*"]),
    ("graphile-migrate", None, &["! previous:*"], &[]),
];

/// What a tool that is not known may be called in messages.
const UNKNOWN: &str = "a tool that is not known here";

/// The marks of a text. The last two may be of a tool that is not known, where the text has one
/// for each direction.
pub(super) fn marks_of(text: &str) -> Vec<Mark<'_>> {
    let mut marks = Vec::new();
    let (mut up, mut down) = (None, None);
    for (index, line) in text.lines().enumerate() {
        let Some(said) = comment(line) else {
            continue;
        };
        let said = said.to_lowercase();
        let words: Vec<&str> = said.split_whitespace().collect();
        let said = words.join(" ");
        let known = MARKS.iter().find_map(|(tool, layout, ups, downs)| {
            let any = |patterns: &[&str]| patterns.iter().any(|pattern| fits(&said, pattern));
            let is_down = any(downs);
            (is_down || any(ups)).then_some((*tool, *layout, is_down))
        });
        let mark = |tool, layout, is_down| Mark {
            tool,
            layout,
            is_down,
            line: index + 1,
            text: line.trim(),
        };
        match known {
            Some((tool, layout, is_down)) => marks.push(mark(tool, layout, is_down)),
            None => match direction(&said) {
                Some(false) => up = up.or(Some(mark(UNKNOWN, None, false))),
                Some(true) => down = down.or(Some(mark(UNKNOWN, None, true))),
                None => {}
            },
        }
    }
    if let (Some(up), Some(down)) = (up, down) {
        marks.extend([up, down]);
    }
    marks
}

/// The text of a line that is a comment to Postgres, or, as Play writes it, to a shell.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim();
    let behind = line.strip_prefix('#').map_or(line, str::trim_start);
    let said = behind.strip_prefix("--")?;
    Some(said.trim_start_matches('-').trim())
}

fn fits(said: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => said.starts_with(start),
        None => said == pattern,
    }
}

/// Whether a comment is nothing but a mark: `up`, `==== DOWN ====`, `@undo`, `migrate down`, `+x Up`.
/// `true` for the down.
fn direction(said: &str) -> Option<bool> {
    let words: Vec<&str> = said
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let marked = said.starts_with(|c: char| !c.is_alphanumeric());
    let is_plain = |word: &str| {
        matches!(
            word,
            "migrate" | "migration" | "part" | "section" | "script"
        )
    };
    let word = match words.as_slice() {
        [word] => word,
        [first, word] if marked || is_plain(first) => word,
        [word, last] if is_plain(last) => word,
        _ => return None,
    };
    match *word {
        "up" | "ups" => Some(false),
        "down" | "downs" | "undo" => Some(true),
        _ => None,
    }
}

/// Refuses a folder in which a file is marked for a tool whose marks the layout does not read.
///
/// `asked` is whether the user named the layout: then only what would run both directions is
/// refused, because a mark that is left over from another tool is a comment.
pub(super) fn refuse_foreign(
    origin: &str,
    files: &[(PathBuf, Vec<u8>)],
    layout: Layout,
    asked: bool,
) -> Result<(), FolderError> {
    for (path, content) in files {
        let Some(mark) = foreign(path, content, layout, asked) else {
            continue;
        };
        let help = match (mark.layout, mark.tool) {
            (Some(_), _) => {
                "keep the files of one tool in one folder, or name the layout with `MigrationFolder::read_as`"
            }
            (None, UNKNOWN) => {
                "reword the comment if it is none, or name the layout with `MigrationFolder::read_as`"
            }
            _ => {
                "run that tool by a `CommandMigration`, or write the SQL of each direction to a separate file"
            }
        };
        return Err(FolderError::ForeignMark {
            origin: origin.to_owned(),
            path: path.clone(),
            line: mark.line,
            mark: mark.text.to_owned(),
            tool: mark.tool,
            layout,
            help,
        });
    }
    Ok(())
}

fn foreign<'a>(path: &Path, content: &'a [u8], layout: Layout, asked: bool) -> Option<Mark<'a>> {
    let name = file_name(path);
    let is_up_file = match direction_of_file(&name) {
        // A down has nothing to mark.
        Some(true) => return None,
        direction => direction.is_some(),
    };
    if !name.ends_with(".sql") {
        return None;
    }
    let marks = marks_of(std::str::from_utf8(content).ok()?);
    // What its own tool marks, no other does.
    if marks.iter().any(|mark| mark.layout == Some(layout)) {
        return None;
    }
    marks.into_iter().find(|mark| match (asked, is_up_file) {
        (false, false) => true,
        (false, true) => mark.is_down,
        (true, _) => mark.is_down && mark.tool != UNKNOWN,
    })
}

/// Whether `word` stands in a text as SQL, not in a string or a comment.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    text.contains(word)
        && keywords(text, usize::MAX)
            .iter()
            .any(|found| found.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, bool, usize)]) {
        let found: Vec<_> = marks_of(text)
            .iter()
            .map(|mark| (mark.tool, mark.is_down, mark.line))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn marks_are_known_by_their_tool() {
        check(
            "-- +goose Up\nx;\n--+goose  DOWN",
            &[("goose", false, 1), ("goose", true, 3)],
        );
        check(
            "-- +migrate Up notransaction\n-- +migrate Down",
            &[("sql-migrate", false, 1), ("sql-migrate", true, 2)],
        );
        check(
            "-- Up Migration\n--- down migration",
            &[("node-pg-migrate", false, 1), ("node-pg-migrate", true, 2)],
        );
        check("-- migrate:up transaction:false", &[("dbmate", false, 1)]);
        check(
            "--liquibase formatted sql\n--changeset a:1",
            &[("Liquibase", false, 1)],
        );
        check(
            "-- rambler up\n-- rambler down",
            &[("rambler", false, 1), ("rambler", true, 2)],
        );
        check(
            "create x;\n---- create above / drop below ----\ndrop x;",
            &[("tern", true, 2)],
        );
        check(
            "# --- !Ups\n# --- !Downs",
            &[("Play evolutions", false, 1), ("Play evolutions", true, 2)],
        );
        check("-- //@UNDO", &[("MyBatis Migrations", true, 1)]);
        check("--! Previous: sha1:abc", &[("graphile-migrate", false, 1)]);
        check("-- +micrate Up", &[("micrate", false, 1)]);
        for text in [
            "-- up\nx;\n-- down",
            "-- ==== UP ====\n-- ==== DOWN ====",
            "-- +bolt Up\n-- +bolt Down",
            "-- @up\n-- @undo",
        ] {
            let found = marks_of(text);
            assert_eq!(
                found.iter().map(|mark| mark.tool).collect::<Vec<_>>(),
                [UNKNOWN, UNKNOWN],
                "{text}"
            );
        }
    }

    #[test]
    fn comments_are_no_marks() {
        check("-- scale up\n-- scale down", &[]);
        check("-- up migration of orders\n-- why it is down", &[]);
        check("-- down\nselect '-- up';", &[]);
        check("select 1; -- +goose Up", &[]);
    }

    #[test]
    fn a_word_in_a_string_or_a_longer_word_does_not_count() {
        assert!(has_word(
            "drop table schema_migrations;",
            "schema_migrations"
        ));
        assert!(has_word(
            "drop table \"schema_migrations\", schema_migrations",
            "schema_migrations"
        ));
        assert!(!has_word(
            "drop table __diesel_schema_migrations;",
            "schema_migrations"
        ));
        assert!(!has_word(
            "-- schema_migrations\nselect 'schema_migrations';",
            "schema_migrations"
        ));
    }
}
