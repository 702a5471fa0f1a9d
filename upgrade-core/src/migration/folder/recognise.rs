//! Tells a layout from file names, and from contents where names do not decide.
//!
//! The rules, first match wins; each gives the reason that [`super::MigrationFolder::reason`]
//! returns.

use std::path::{Path, PathBuf};

use super::layout::Layout;
use super::layouts::{
    Prefix, digits, direction_of_file, file_name, is_dotted_name, is_popx_name, is_top,
    is_up_directive, parse_versioned_name,
};
use super::marks::{Mark, has_word, marks_of};

type Files = [(PathBuf, Vec<u8>)];

pub(super) fn recognise(files: &Files) -> Option<(Layout, String)> {
    let names: Vec<String> = files.iter().map(|(path, _)| file_name(path)).collect();
    let top: Vec<&str> = files
        .iter()
        .zip(&names)
        .filter(|((path, _), name)| is_top(path) && name.ends_with(".sql"))
        .map(|(_, name)| name.as_str())
        .collect();
    if let Some(found) = versioned(&names) {
        return Some(found);
    }
    if let Some(name) = names.iter().find(|name| is_popx_name(name)) {
        return because(
            Layout::Popx,
            format!("`{name}` names a dialect or a version as popx does"),
        );
    }
    if let Some(found) = diesel(files, &top) {
        return Some(found);
    }
    if let Some(found) = marked(files) {
        return Some(found);
    }
    if let Some((path, _)) = files
        .iter()
        .find(|(path, content)| is_top(path) && is_dbmate(path, content))
    {
        return because(
            Layout::Dbmate,
            format!("`{}` has a `-- migrate:up` part", path.display()),
        );
    }
    if let Some(name) = top.iter().find(|name| is_dotted_name(name)) {
        return because(
            Layout::GolangMigrate,
            format!("`{name}` is `V`, a number, a dot and a name"),
        );
    }
    numbered(files, &names, &top)
}

fn because(layout: Layout, reason: String) -> Option<(Layout, String)> {
    Some((layout, reason))
}

/// Folders of migrations, beside which no more loose files with a number lie than there are folders.
fn diesel(files: &Files, top: &[&str]) -> Option<(Layout, String)> {
    let loose = top.iter().filter(|name| digits(name).is_some()).count();
    let mut folders = files
        .iter()
        .map(|(path, _)| path)
        .filter(|path| is_diesel(path));
    let first = folders.next()?;
    if 1 + folders.count() < loose {
        return None;
    }
    because(
        Layout::Diesel,
        format!("migrations are folders, such as `{}`", first.display()),
    )
}

/// goose, sql-migrate or node-pg-migrate, by the marks in a file that holds both directions.
fn marked(files: &Files) -> Option<(Layout, String)> {
    files
        .iter()
        .filter(|(path, _)| is_top(path))
        .find_map(|(path, content)| {
            let name = file_name(path);
            if !name.ends_with(".sql") || direction_of_file(&name).is_some() {
                return None;
            }
            let text = std::str::from_utf8(content).ok()?;
            let decides = |mark: &Mark<'_>| match mark.layout {
                Some(Layout::Goose | Layout::SqlMigrate) => true,
                // The mark of an up alone may be anybody's comment.
                Some(Layout::NodePgMigrate) => mark.is_down || is_moment(&name),
                _ => false,
            };
            let mark = marks_of(text).into_iter().find(decides)?;
            let reason = format!("`{}` has `{}`", path.display(), mark.text);
            because(mark.layout?, reason)
        })
}

/// Whether a name begins with a time as `node-pg-migrate create` writes it.
fn is_moment(name: &str) -> bool {
    digits(name)
        .is_some_and(|(number, rest)| matches!(number.len(), 13 | 17) && rest.starts_with('_'))
}

fn is_diesel(path: &Path) -> bool {
    let folder = path.parent().map(file_name).unwrap_or_default();
    path.components().count() == 2 && path.ends_with("up.sql") && digits(&folder).is_some()
}

fn is_dbmate(path: &Path, content: &[u8]) -> bool {
    let name = file_name(path);
    name.ends_with(".sql")
        && digits(&name).is_some()
        && std::str::from_utf8(content).is_ok_and(|text| text.lines().any(is_up_directive))
}

/// refinery or Flyway.
fn versioned(names: &[String]) -> Option<(Layout, String)> {
    let parsed: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let stem = name
                .strip_suffix(".sql")
                .or_else(|| name.strip_suffix(".rs"))?;
            let (prefix, version, _) = parse_versioned_name(stem)?;
            Some((name, prefix, version))
        })
        .collect();
    parsed.first()?;
    let forward = |version: &str| {
        parsed
            .iter()
            .any(|(_, p, v)| *p == Prefix::V && *v == version)
    };
    for (name, prefix, version) in &parsed {
        let flyway = match prefix {
            Prefix::R => "is a repeatable migration",
            Prefix::B => "is a baseline",
            Prefix::U if forward(version) => "undoes the `V` file of its version",
            _ if version.contains(['.', '_']) => "has a version of several parts",
            _ => continue,
        };
        return because(
            Layout::Flyway,
            format!("`{name}` {flyway}, which flyway alone has"),
        );
    }
    if let Some(name) = names.iter().find(|name| name.ends_with(".sql.conf")) {
        return because(
            Layout::Flyway,
            format!("`{name}` is a script configuration of flyway"),
        );
    }
    let name = parsed[0].0;
    because(
        Layout::Refinery,
        format!("`{name}` fits refinery and flyway, and nothing in the folder needs flyway"),
    )
}

/// sqlx, golang-migrate or none of them.
fn numbered(files: &Files, names: &[String], top: &[&str]) -> Option<(Layout, String)> {
    let (numbered, odd): (Vec<&str>, Vec<&str>) = top
        .iter()
        .partition(|name| digits(name).is_some_and(|(_, rest)| rest.starts_with('_')));
    // sqlx refuses a folder with such a file, so this is not sqlx's.
    let refused = odd.iter().find(|name| {
        name.split_once('_')
            .is_some_and(|(version, _)| version.parse::<i64>().is_err())
    });
    if numbered.is_empty() || refused.is_some() {
        let name = top.iter().find(|name| is_plain(name))?;
        let reason = match refused {
            Some(odd) if !numbered.is_empty() => {
                format!("`{name}` is numbered, but `{odd}` fits no tool's rules")
            }
            _ => format!("`{name}` is numbered, but not as any known tool does"),
        };
        return because(Layout::Plain, reason);
    }
    let is_paired = |name: &str| name.ends_with(".up.sql") || name.ends_with(".down.sql");
    if let Some(name) = numbered.iter().find(|name| !is_paired(name)) {
        return because(
            Layout::Sqlx,
            format!("`{name}` is a version, `_` and a name"),
        );
    }
    // From here on both sqlx and golang-migrate would read the folder.
    let names_table = |(path, content): &&(PathBuf, Vec<u8>)| {
        is_top(path)
            && std::str::from_utf8(content).is_ok_and(|text| has_word(text, "schema_migrations"))
    };
    if let Some((path, _)) = files
        .iter()
        .find(|(_, content)| content.starts_with(b"-- no-transaction"))
    {
        return because(
            Layout::Sqlx,
            format!("`{}` begins with `-- no-transaction`", path.display()),
        );
    }
    if let Some(name) = names.iter().find(|name| name.ends_with(".go")) {
        return because(
            Layout::GolangMigrate,
            format!("pairs of `.up.sql` and `.down.sql` beside `{name}`"),
        );
    }
    if let Some((path, _)) = files.iter().find(names_table) {
        let path = path.display();
        return because(
            Layout::GolangMigrate,
            format!("`{path}` names golang-migrate's table"),
        );
    }
    let version = |name: &&str| {
        digits(name)
            .map(|(version, _)| version.to_owned())
            .unwrap_or_default()
    };
    let versions: Vec<String> = numbered.iter().map(version).collect();
    if versions.iter().all(|v| v.len() == 6 && v.starts_with('0')) {
        return because(
            Layout::GolangMigrate,
            "pairs of `.up.sql` and `.down.sql`, counted with six digits as `migrate create -seq` does".to_owned(),
        );
    }
    if versions.iter().all(|v| v.len() == 10 && v.starts_with('1')) {
        return because(
            Layout::GolangMigrate,
            "pairs of `.up.sql` and `.down.sql`, numbered by seconds since 1970".to_owned(),
        );
    }
    because(
        Layout::Sqlx,
        "pairs of `.up.sql` and `.down.sql` fit sqlx and golang-migrate, and nothing in the folder needs golang-migrate"
            .to_owned(),
    )
}

fn is_plain(name: &str) -> bool {
    let stem = name
        .strip_prefix(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(name);
    digits(stem).is_some_and(|(_, rest)| rest.starts_with(['-', '_', '.', ' ']))
}
