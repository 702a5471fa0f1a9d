//! What the SQL of a folder shows without being run.

use std::collections::BTreeMap;

use super::MigrationKind;
use super::file::{Delivery, MigrationFile, Script, TransactionMode};
use super::layout::Layout;
use super::layouts::default_transaction;
use super::problem::{FolderProblem, ProblemKind, Severity};
use super::superuser;
use crate::postgres::sql::{is_empty_script, keywords};

/// The problems that the SQL itself shows.
pub(super) fn of_scripts(layout: Layout, migrations: &[MigrationFile]) -> Vec<FolderProblem> {
    let some_have_downs = migrations.iter().any(|file| file.down.is_some());
    let units = Units::of(layout, migrations);
    let mut problems = irreversible_in_range(migrations, &units);
    for file in migrations {
        let unit = units.of_file(file);
        let title = file.title();
        let problem = |kind, script: &Script, message: String, help: &str| {
            FolderProblem::new(kind, Some(&file.version_text), &script.path, message, help)
        };
        if !unit.up_does {
            problems.push(problem(
                ProblemKind::UpEmpty,
                &file.up,
                format!("migration `{title}` does nothing"),
                "write its SQL or remove it",
            ));
        }
        match &file.down {
            Some(down) if unit.up_changes_schema && !unit.down_does => {
                problems.push(
                    problem(
                        ProblemKind::DownEmpty,
                        down,
                        format!("the down migration of `{title}` does nothing"),
                        "write what undoes the migration, or remove the down migration so that tools know there is none",
                    )
                    .at(down.first_line),
                );
            }
            None if some_have_downs && !unit.has_down && file.kind == MigrationKind::Versioned => {
                problems.push(problem(
                    ProblemKind::DownMissing,
                    &file.up,
                    format!("`{title}` has no down migration, others in the folder have"),
                    // sqlx, for one, answers `Ok` when it is asked to.
                    "add one: some tools report success when they are to undo what has none",
                ));
            }
            _ => {}
        }
        for script in std::iter::once(&file.up).chain(&file.down) {
            problems.extend(of_transaction(layout, file, script));
            problems.extend(of_line_endings(layout, file, script));
            for (line, statement) in script.statements() {
                if let Some(what) = superuser::needs(statement.text) {
                    let message = format!("`{title}` needs a superuser: {what}");
                    let help =
                        "have the role that deploys it do without, or run it once by hand before";
                    problems
                        .push(problem(ProblemKind::NeedsSuperuser, script, message, help).at(line));
                }
                if let Some(reason) = statement.unsupported() {
                    let message = format!("`{title}` cannot run: {reason}");
                    let help = "a server runs SQL only";
                    problems.push(
                        problem(ProblemKind::UnsupportedStatement, script, message, help).at(line),
                    );
                }
            }
        }
    }
    problems
}

/// What the files of one change do together.
#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    up_does: bool,
    up_changes_schema: bool,
    has_down: bool,
    down_does: bool,
}

/// The migrations by the change that they belong to. popx takes a change for each statement, numbers
/// them behind one time, and often writes the whole rollback into one of them; with any other tool
/// each migration is a change.
struct Units<'a> {
    layout: Layout,
    units: BTreeMap<&'a str, Unit>,
}

impl<'a> Units<'a> {
    fn of(layout: Layout, migrations: &'a [MigrationFile]) -> Self {
        let mut units: BTreeMap<&str, Unit> = BTreeMap::new();
        for file in migrations {
            let unit = units.entry(key(layout, file)).or_default();
            let up_does = !is_empty_script(&file.up.sql);
            unit.up_does |= up_does;
            unit.up_changes_schema |= up_does && !changes_rows_only(&file.up);
            if let Some(down) = &file.down {
                unit.has_down = true;
                unit.down_does |= !is_empty_script(&down.sql);
            }
        }
        Self { layout, units }
    }

    fn of_file(&self, file: &MigrationFile) -> Unit {
        let unit = self.units.get(key(self.layout, file));
        unit.copied().unwrap_or_default()
    }
}

/// How many digits of a popx version are a time; the rest counts the parts of a change.
const POPX_TIME: usize = 14;

fn key(layout: Layout, file: &MigrationFile) -> &str {
    unit(layout, &file.version_text).unwrap_or(&file.version_text)
}

/// The change that a migration is a part of, by its version.
pub(in crate::migration) fn unit(layout: Layout, version: &str) -> Option<&str> {
    match layout {
        Layout::Popx => version.get(..POPX_TIME),
        _ => None,
    }
}

/// Whether a script only adds, changes and removes rows: a rollback across it does not need a copy
/// of what was there before.
fn changes_rows_only(script: &Script) -> bool {
    script.statements().iter().all(|(_, statement)| {
        let words = keywords(statement.text, usize::MAX);
        match words.first().map(String::as_str) {
            Some("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH" | "SET" | "ANALYZE") => true,
            // One into a table makes the table.
            Some("SELECT") => !words.iter().any(|word| word == "INTO"),
            _ => false,
        }
    })
}

/// Statements that Postgres refuses inside a transaction block, by their first words, from the
/// reference page of each; and whether `CONCURRENTLY` is what makes them so.
const ALONE: [(&[&str], bool); 13] = [
    (&["CREATE", "INDEX"], true),
    (&["CREATE", "UNIQUE"], true),
    (&["DROP", "INDEX"], true),
    (&["REINDEX"], true),
    (&["ALTER", "TABLE"], true),
    (&["VACUUM"], false),
    (&["CREATE", "DATABASE"], false),
    (&["DROP", "DATABASE"], false),
    (&["CREATE", "TABLESPACE"], false),
    (&["DROP", "TABLESPACE"], false),
    (&["ALTER", "SYSTEM"], false),
    (&["CREATE", "SUBSCRIPTION"], false),
    (&["DROP", "SUBSCRIPTION"], false),
];

/// Whether a statement has to be alone, outside of any transaction.
fn stands_alone(sql: &str) -> bool {
    let words = keywords(sql, usize::MAX);
    ALONE.iter().any(|(first, concurrently)| {
        words.len() >= first.len()
            && words.iter().zip(*first).all(|(word, first)| word == first)
            && (!concurrently || words.iter().any(|word| word == "CONCURRENTLY"))
    })
}

/// Transactions where they do not do what the file says.
fn of_transaction(layout: Layout, file: &MigrationFile, script: &Script) -> Option<FolderProblem> {
    let title = file.title();
    let problem = |kind, message: String, help: &str, line| {
        FolderProblem::new(kind, Some(&file.version_text), &script.path, message, help).at(line)
    };
    let statements = script.statements();
    if script.transaction != TransactionMode::None {
        let (line, statement) = statements.iter().find(|(_, statement)| {
            let words = keywords(statement.text, 2);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            // Back to a savepoint is still inside.
            !matches!(words.as_slice(), ["ROLLBACK", "TO"])
                && matches!(
                    words.first(),
                    Some(&("BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT"))
                )
        })?;
        let word = keywords(statement.text, 1).concat();
        return Some(problem(
            ProblemKind::TransactionControl,
            format!(
                "`{title}` says `{word}`, and {layout} puts the file into a transaction already"
            ),
            "remove it: the transaction ends there, and the record of the tool is not part of it",
            *line,
        ));
    }
    if script.delivery == Delivery::PerStatement || statements.len() < 2 {
        return None;
    }
    let alone = statements
        .iter()
        .find(|(_, statement)| stands_alone(statement.text));
    let help = "put each statement that must not be in a transaction into its own file";
    match alone {
        Some((line, _)) => Some(problem(
            ProblemKind::NoTransactionSeveralStatements,
            format!(
                "`{title}` has {} statements, and {layout} sends them as one text, which is one \
                 transaction: this one is refused in it",
                statements.len()
            ),
            help,
            *line,
        )),
        // Where no transaction is what the tool does everywhere, nobody has asked for it.
        None if default_transaction(layout) != TransactionMode::None => {
            let (line, _) = statements[1];
            let mut problem = problem(
                ProblemKind::NoTransactionSeveralStatements,
                format!(
                    "`{title}` asks for no transaction and has {} statements: {layout} sends them \
                     as one text, which is one transaction all the same",
                    statements.len()
                ),
                help,
                line,
            );
            problem.severity = Severity::Warning;
            Some(problem)
        }
        None => None,
    }
}

/// Line endings that git or an editor may change, under a checksum over the raw bytes.
fn of_line_endings(layout: Layout, file: &MigrationFile, script: &Script) -> Option<FolderProblem> {
    // sqlx records no checksum of a down.
    let is_up = script.path == file.up.path;
    if !matches!(layout, Layout::Sqlx | Layout::Refinery) || !is_up {
        return None;
    }
    let line = script
        .sql
        .split('\n')
        .position(|line| line.ends_with('\r'))?;
    let problem = FolderProblem::new(
        ProblemKind::ChecksumLineEndings,
        Some(&file.version_text),
        &script.path,
        format!(
            "`{}` has lines that end in CRLF, and {layout} takes its checksum over them",
            file.title()
        ),
        "save it with LF, and have git leave it so: `*.sql text eol=lf` in .gitattributes",
    );
    Some(problem.at(script.first_line + line))
}

/// One-way migrations between reversible ones.
fn irreversible_in_range(migrations: &[MigrationFile], units: &Units<'_>) -> Vec<FolderProblem> {
    let reversible = |file: &MigrationFile| units.of_file(file).has_down;
    let first = migrations.iter().position(reversible);
    let last = migrations.iter().rposition(reversible);
    let (Some(first), Some(last)) = (first, last) else {
        return Vec::new();
    };
    migrations[first..=last]
        .iter()
        .filter(|file| !reversible(file) && file.kind == MigrationKind::Versioned)
        .map(|file| {
            FolderProblem::new(
                ProblemKind::IrreversibleInRange,
                Some(&file.version_text),
                &file.up.path,
                format!(
                    "`{}` has no down migration, between migrations that have one: whoever undoes all of \
                     them leaves what it made",
                    file.title()
                ),
                "add its down migration, or roll back by a kept copy",
            )
        })
        .collect()
}
