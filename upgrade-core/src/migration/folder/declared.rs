//! Losses and changes of values that a migration file declares itself, in comments:
//!
//! ```sql
//! -- upgrade: loses public.orders.note: moved to the archive
//! -- upgrade: changes public.orders.status: `sent` is called `shipped`
//! ```

use super::file::{MigrationFile, Script};
use super::problem::{FolderProblem, ProblemKind};
use crate::expected::{ExpectedChange, MadeBy};

/// What such a comment begins with, behind the dashes.
const MARK: &str = "upgrade:";

impl MigrationFile {
    /// The losses and changes that the file declares: those in the up are made by applying, those in the down
    /// by reverting.
    ///
    /// Each is a comment on a separate line, `-- upgrade: loses <table or column>: <reason>` or
    /// `-- upgrade: changes <table or column>: <reason>`. The two mean the same; a reader
    /// expects the first where values are removed and the second where others take their place.
    pub fn expected_changes(&self) -> Vec<ExpectedChange> {
        let of = |script: &Script, made_by| -> Vec<ExpectedChange> {
            lines(script)
                .filter_map(|(_, text)| Some(parse(text).ok()?.made_by(made_by)))
                .collect()
        };
        let mut all = of(&self.up, MadeBy::Up);
        if let Some(down) = &self.down {
            all.extend(of(down, MadeBy::Down));
        }
        all
    }
}

/// The comments that cannot be read as a declaration.
pub(super) fn problems(file: &MigrationFile) -> Vec<FolderProblem> {
    std::iter::once(&file.up)
        .chain(&file.down)
        .flat_map(|script| {
            lines(script).filter_map(|(line, text)| {
                let reason = parse(text).err()?;
                let problem = FolderProblem::new(
                    ProblemKind::InvalidDeclaration,
                    Some(&file.version_text),
                    &script.path,
                    format!("`-- upgrade:{text}` {reason}"),
                    "write `-- upgrade: loses public.orders.note: moved to the archive`",
                );
                Some(problem.at(line))
            })
        })
        .collect()
}

/// The comments of this kind, each with its line and what stands behind the mark.
fn lines(script: &Script) -> impl Iterator<Item = (usize, &str)> {
    let comments = script.sql.lines().enumerate().filter_map(|(index, line)| {
        let comment = line.trim_start().strip_prefix("--")?.trim_start();
        Some((script.first_line + index, comment.strip_prefix(MARK)?))
    });
    comments.map(|(line, text)| (line, text.trim_end()))
}

fn parse(text: &str) -> Result<ExpectedChange, &'static str> {
    let text = text.trim_start();
    let said = text
        .strip_prefix("loses ")
        .or_else(|| text.strip_prefix("changes "))
        .ok_or("does not say what is lost or changed")?;
    let mut quoted = false;
    let end = said.find(|c| {
        quoted ^= c == '"';
        c == ':' && !quoted
    });
    let (object, reason) = end
        .map(|end| (said[..end].trim(), said[end + 1..].trim()))
        .ok_or("has no reason behind a colon")?;
    if object.is_empty() || reason.is_empty() {
        return Err("has no reason behind a colon");
    }
    let change = ExpectedChange::new(object, reason);
    if change.table.schema.is_none() {
        return Err("names a table without its schema");
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::MigrationFolder;
    use super::*;

    fn folder(up: &str, down: &str) -> MigrationFolder {
        let file = |name: &str, sql: &str| (PathBuf::from(name), sql.as_bytes().to_vec());
        MigrationFolder::from_files(
            "test",
            vec![file("1_a.up.sql", up), file("1_a.down.sql", down)],
        )
        .unwrap()
    }

    #[test]
    fn a_file_declares_what_each_direction_loses() {
        let folder = folder(
            "-- upgrade: changes public.orders.note: moved: to the archive\nupdate orders set note = '';",
            "alter table orders add note text;\n  --upgrade: loses public.\"a: b\": cannot come back  ",
        );
        let changes = folder.migrations()[0].expected_changes();
        let said: Vec<_> = changes
            .iter()
            .map(|change| (change.object(), change.made_by, change.reason.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                (
                    "public.orders.note".to_owned(),
                    MadeBy::Up,
                    "moved: to the archive"
                ),
                (
                    "public.\"a: b\"".to_owned(),
                    MadeBy::Down,
                    "cannot come back"
                ),
            ]
        );
        assert!(folder.problems().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_a_problem_with_its_line() {
        for (line, message) in [
            ("-- upgrade: loses public.t.a", "has no reason"),
            ("-- upgrade: loses public.t.a: ", "has no reason"),
            ("-- upgrade: loses t: gone", "without its schema"),
            (
                "-- upgrade: drops public.t: gone",
                "does not say what is lost or changed",
            ),
        ] {
            let folder = folder(&format!("create table t ();\n{line}\n"), "drop table t;");
            let problems = folder.problems();
            assert_eq!(problems.len(), 1, "{line}");
            assert_eq!(problems[0].kind.id(), "file/invalid-declaration");
            assert_eq!(problems[0].line, Some(2));
            assert!(
                problems[0].message.contains(message),
                "{}",
                problems[0].message
            );
            assert!(folder.migrations()[0].expected_changes().is_empty());
        }
        assert!(
            folder("-- upgrade the table\ncreate table t ();", "drop table t;")
                .problems()
                .is_empty()
        );
    }
}
