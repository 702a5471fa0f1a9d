use std::fs;
use std::process::Command;

use super::*;
use crate::migration::folder::{Layout, Severity};

#[track_caller]
fn check(text: &str, expected: Source) {
    assert_eq!(Source::parse(text).unwrap(), expected);
    assert_eq!(Source::parse(&expected.to_string()).unwrap(), expected);
}

#[test]
fn releases_are_named_by_text() {
    let text = str::to_owned;
    check("git:v1.8.0", Source::Git(text("v1.8.0")));
    check("version: 0007", Source::Version(text("0007")));
    check(
        "folder:../old migrations",
        Source::Folder("../old migrations".into()),
    );
    check("latest tag", Source::LatestTag);
    check("v1.8.0", Source::Bare(text("v1.8.0")));
    check("origin/main:x", Source::Bare(text("origin/main:x")));
    let of = |version: Option<&str>, path: &str| Source::Crate {
        name: text("atuin-server-postgres"),
        version: version.map(text),
        path: path.into(),
    };
    check("crate:atuin-server-postgres", of(None, "migrations"));
    check(
        "crate:atuin-server-postgres@18.20.1",
        of(Some("18.20.1"), "migrations"),
    );
    check(
        "crate:atuin-server-postgres@18.20.1/db/sql",
        of(Some("18.20.1"), "db/sql"),
    );
    for bad in [
        "",
        "git:",
        "crate:@1",
        "crate:a@/x",
        "crate:a/",
        "--output=x",
        "git:-x",
    ] {
        assert!(
            matches!(Source::parse(bad), Err(SourceError::Syntax { .. })),
            "{bad}"
        );
    }
}

fn files(names: &[(&str, &str)]) -> MigrationFolder {
    let files = names
        .iter()
        .map(|(n, c)| (PathBuf::from(n), c.as_bytes().to_vec()))
        .collect();
    MigrationFolder::from_files("head", files).unwrap()
}

fn release(names: &[(&str, &str)], upto: Option<&str>) -> Release {
    let upto = upto.map(str::to_owned);
    Release {
        name: "v1".to_owned(),
        folder: files(names),
        upto,
        reason: String::new(),
    }
}

#[track_caller]
fn check_pending(previous: &Release, head: &MigrationFolder, expected: &[&str], ids: &[&str]) {
    let found = pending(previous, head);
    let titles: Vec<_> = found.pending.iter().map(MigrationFile::title).collect();
    assert_eq!(titles, expected);
    let found: Vec<_> = found
        .problems
        .iter()
        .map(|p| format!("{} {}", p.kind.id(), p.version))
        .collect();
    assert_eq!(found, ids);
}

#[test]
fn pending_is_what_the_new_release_adds() {
    let one = ("1_a.up.sql", "select f();");
    let down = ("1_a.down.sql", "select g();");
    let two = ("2_b.up.sql", "select h();");
    let head = files(&[one, down, two]);
    check_pending(&release(&[one, down], None), &head, &["2_b"], &[]);
    check_pending(&release(&[one, down, two], Some("1")), &head, &["2_b"], &[]);
    check_pending(&release(&[one, down, two], None), &head, &[], &[]);
    check_pending(
        &release(&[("1_a.up.sql", "x"), down], None),
        &head,
        &["2_b"],
        &["history/edited-up 1"],
    );
    check_pending(
        &release(&[one, ("1_a.down.sql", "x")], None),
        &head,
        &["2_b"],
        &["history/edited-down 1"],
    );
    check_pending(
        &release(&[two], None),
        &head,
        &["1_a"],
        &["history/late-version 1"],
    );
    check_pending(
        &release(&[one, down, ("3_c.up.sql", "x")], None),
        &head,
        &["2_b"],
        &["history/late-version 2", "history/removed 3"],
    );
}

fn files_as(layout: Layout, names: &[(&str, &str)]) -> MigrationFolder {
    let files = names
        .iter()
        .map(|(n, c)| (PathBuf::from(n), c.as_bytes().to_vec()))
        .collect();
    MigrationFolder::from_files_as("head", files, layout).unwrap()
}

/// What is said of a version below an applied one.
#[track_caller]
fn check_late(layout: Layout, names: [&str; 3], severity: Severity, expected: &str) {
    let texts = |name: &str| match layout {
        Layout::Goose => format!("-- +goose Up\ncreate table t{} ();", &name[..1]),
        _ => format!("create table {} ();", name.replace(['.', '/', '-'], "_")),
    };
    let [one, two, three] = names.map(|name| (name, texts(name)));
    let of = |all: &[&(&str, String)]| {
        let all: Vec<_> = all.iter().map(|(n, t)| (*n, t.as_str())).collect();
        files_as(layout, &all)
    };
    let previous = Release {
        name: "v1".to_owned(),
        folder: of(&[&one, &three]),
        upto: None,
        reason: String::new(),
    };
    let found = pending(&previous, &of(&[&one, &two, &three]));
    assert_eq!(found.pending.len(), 1);
    let [problem] = found.problems.as_slice() else {
        panic!("{:?}", found.problems)
    };
    assert_eq!(problem.kind, PendingProblemKind::LateVersion);
    assert_eq!(problem.severity, severity, "{layout}");
    assert!(problem.message.ends_with(expected), "{}", problem.message);
}

#[test]
fn c24_watermark_golang() {
    let names = ["000001_a.up.sql", "000002_b.up.sql", "000003_c.up.sql"];
    check_late(
        Layout::GolangMigrate,
        names,
        Severity::Error,
        "golang-migrate never applies it, and reports success",
    );
}

#[test]
fn the_rule_of_the_tool_decides_about_a_late_version() {
    let numbered = ["1_a.sql", "2_b.sql", "3_c.sql"];
    let versioned = ["V1__a.sql", "V2__b.sql", "V3__c.sql"];
    let refuses = "refuses to migrate until an option allows it";
    for layout in [Layout::Refinery, Layout::Flyway] {
        check_late(layout, versioned, Severity::Error, refuses);
    }
    for layout in [Layout::Goose, Layout::NodePgMigrate] {
        check_late(layout, numbered, Severity::Error, refuses);
    }
    let applies = "and a new system in the order of the versions";
    check_late(Layout::Sqlx, numbered, Severity::Warning, applies);
    let folders = ["1_a/up.sql", "2_b/up.sql", "3_c/up.sql"];
    check_late(Layout::Diesel, folders, Severity::Warning, applies);
}

/// What is found where a released file of a layout was edited.
fn edited(layout: Layout, names: [&str; 2], old: [&str; 2], new: [&str; 2]) -> Vec<&'static str> {
    let folder = |texts: [&str; 2]| files_as(layout, &[(names[0], texts[0]), (names[1], texts[1])]);
    let previous = Release {
        name: "v1".to_owned(),
        folder: folder(old),
        upto: None,
        reason: String::new(),
    };
    let found = pending(&previous, &folder(new));
    found
        .problems
        .iter()
        .map(|problem| problem.kind.id())
        .collect()
}

#[test]
fn c14_diesel_comment() {
    let names = [
        "2024-01-01-000000_base/up.sql",
        "2024-01-01-000000_base/down.sql",
    ];
    let up = "create table member (id bigint primary key);\n";
    let down = "drop table member;\n";
    let with_comment = format!("{up}-- more\n");
    let old = [up, down];
    let edited_as = |new| edited(Layout::Diesel, names, old, new);
    assert!(edited_as([&with_comment, "drop table\n  member; -- why"]).is_empty());
    assert_eq!(
        edited_as(["create table member (id bigint);", down]),
        ["history/edited-up"]
    );
    assert_eq!(
        edited_as([up, "drop table members;"]),
        ["history/edited-down"]
    );
    // sqlx has a checksum of every byte of an up, and none of a down.
    let names = ["1_base.up.sql", "1_base.down.sql"];
    assert_eq!(
        edited(Layout::Sqlx, names, old, [&with_comment, down]),
        ["history/edited-up"]
    );
    assert!(edited(Layout::Sqlx, names, old, [up, "drop table member; -- why"]).is_empty());
}

#[test]
fn releases_of_files_with_both_directions_are_found_too() {
    let text = |name: &str, up: &str, down: &str| {
        format!("-- {up}\ncreate table {name} ();\n-- {down}\ndrop table {name};\n")
    };
    for (layout, up, down, version) in [
        (Layout::Goose, "+goose Up", "+goose Down", "1"),
        (Layout::SqlMigrate, "+migrate Up", "+migrate Down", "00001"),
        (
            Layout::NodePgMigrate,
            "Up Migration",
            "Down Migration",
            "00001",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let path = dir.path().join(format!(
                "0000{}_{name}.sql",
                if name == "a" { 1 } else { 2 }
            ));
            fs::write(path, text(name, up, down)).unwrap();
        }
        let head = MigrationFolder::read(dir.path()).unwrap();
        assert_eq!(head.layout(), layout);
        let previous = Source::parse(&format!("version:{version}"))
            .unwrap()
            .resolve(&head)
            .unwrap();
        let found = pending(&previous, &head);
        assert_eq!(
            (found.applied.len(), found.pending.len()),
            (1, 1),
            "{layout}"
        );
        assert!(found.problems.is_empty());
        // A folder of the older release is read as the newer one is.
        let older = tempfile::tempdir().unwrap();
        fs::write(older.path().join("00001_a.sql"), text("a", up, down)).unwrap();
        let previous = Source::Folder(older.path().to_owned())
            .resolve(&head)
            .unwrap();
        assert_eq!(pending(&previous, &head).pending.len(), 1, "{layout}");
    }
}

#[test]
fn repeatable_and_unversioned_migrations_are_never_late_or_edited() {
    let head = files(&[("V1__a.sql", "x"), ("R__v.sql", "new")]);
    check_pending(
        &release(&[("V1__a.sql", "x"), ("R__v.sql", "old")], None),
        &head,
        &["R__v"],
        &[],
    );
    check_pending(
        &release(&[("V1__a.sql", "x"), ("R__v.sql", "new")], None),
        &head,
        &[],
        &[],
    );
    let head = files(&[("V2__b.sql", "x"), ("U1__a.sql", "y")]);
    check_pending(&release(&[("V2__b.sql", "x")], None), &head, &["1_a"], &[]);
}

/// A repository with three releases of a folder.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    fn git(&self, arguments: &[&str]) {
        let status = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(["-c", "core.autocrlf=false", "-c", "tag.gpgsign=false"])
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("GIT_DIR")
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn commit(&self, file: &str, content: &str, tag: Option<&str>) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", file]);
        if let Some(tag) = tag {
            self.git(&["tag", tag]);
        }
    }

    fn head(&self) -> MigrationFolder {
        MigrationFolder::read(self.0.path().join("db/migrations")).unwrap()
    }
}

fn titles(release: &Release) -> Vec<String> {
    release.applied().iter().map(MigrationFile::title).collect()
}

#[test]
fn releases_are_read_from_git() {
    let repository = Repository::new();
    repository.commit("README.md", "", Some("v0.1.0"));
    repository.commit(
        "db/migrations/1_a.sql",
        "select 'ß', f();\n",
        Some("v1.0.0"),
    );
    repository.commit("db/migrations/2_b.sql", "", None);
    repository.commit("src/main.rs", "", Some("v2.0.0"));
    repository.commit("db/migrations/3_c.sql", "select f();", None);
    let head = repository.head();

    let previous = Release::previous_of(&head).unwrap();
    assert_eq!(
        previous.reason,
        "`v2.0.0` is the newest tag with a migration"
    );
    assert_eq!(titles(&previous), ["1_a", "2_b"]);
    assert_eq!(previous.applied()[0], head.migrations()[0]);

    let bare = |text: &str| Source::parse(text).unwrap().resolve(&head);
    assert_eq!(titles(&bare("v1.0.0").unwrap()), ["1_a"]);
    assert_eq!(titles(&bare("git:HEAD~1").unwrap()), ["1_a", "2_b"]);
    assert_eq!(titles(&bare("2").unwrap()), ["1_a", "2_b"]);
    assert_eq!(bare("02").unwrap().upto.as_deref(), Some("2"));
    let nothing = bare("v9").unwrap_err();
    assert!(
        nothing
            .to_string()
            .starts_with("`v9` is neither a migration of"),
        "{nothing}"
    );
    assert!(matches!(
        bare("git:v0.1.0"),
        Err(SourceError::NotInRevision { .. })
    ));
    assert!(matches!(
        bare("version:9"),
        Err(SourceError::NoVersion { .. })
    ));

    // The tag of this very commit is this release.
    repository.git(&["tag", "v3.0.0"]);
    assert_eq!(Source::LatestTag.resolve(&head).unwrap().name, "v2.0.0");
}

#[test]
fn without_a_fitting_tag_the_first_migration_is_the_previous_release() {
    let repository = Repository::new();
    repository.commit("README.md", "", Some("v0.1.0"));
    repository.commit("db/migrations/1_a.sql", "select f();", None);
    repository.commit("db/migrations/2_b.sql", "select f();", None);
    let head = repository.head();
    let previous = Release::previous_of(&head).unwrap();
    assert_eq!(titles(&previous), ["1_a"]);
    assert_eq!(
        previous.reason,
        "the first migration alone is taken: no git tag before this commit has a migration"
    );
    assert!(matches!(
        Source::LatestTag.resolve(&head),
        Err(SourceError::NoTag { .. })
    ));

    // In memory, and outside of any repository.
    let memory = files(&[("1_a.sql", "x"), ("2_b.sql", "x")]);
    assert_eq!(titles(&Release::previous_of(&memory).unwrap()), ["1_a"]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("1_a.sql"), "x").unwrap();
    let outside = MigrationFolder::read(outside.path()).unwrap();
    assert_eq!(titles(&Release::previous_of(&outside).unwrap()), ["1_a"]);
}

#[test]
fn what_to_write_or_to_fetch_instead_is_said() {
    let repository = Repository::new();
    repository.commit("db/migrations/20240131_a.sql", "select f();", Some("v1"));
    repository.commit("db/migrations/20240201_b.sql", "select f();", None);
    let said = |text: &str, head: &MigrationFolder| {
        let source = Source::parse(text).unwrap();
        source.resolve(head).unwrap_err().to_string()
    };
    let error = said("0001", &repository.head());
    assert!(
        error.ends_with("migration number 0001 is `20240131`: write `from = \"20240131\"`"),
        "{error}"
    );
    assert!(said("v9", &repository.head()).ends_with("nor a git revision"));

    // A clone as CI makes it.
    let clone = tempfile::tempdir().unwrap();
    let url = format!("file://{}", repository.0.path().display());
    repository.git(&[
        "clone",
        "-q",
        "--depth",
        "1",
        "--no-tags",
        &url,
        clone.path().to_str().unwrap(),
    ]);
    let head = MigrationFolder::read(clone.path().join("db/migrations")).unwrap();
    for text in ["v1", "latest tag"] {
        let error = said(text, &head);
        assert!(error.contains("`git fetch --unshallow --tags`"), "{error}");
    }
    let previous = Release::previous_of(&head).unwrap();
    assert!(
        previous.reason.contains("this clone is shallow"),
        "{}",
        previous.reason
    );
    let whole = Repository(clone);
    whole.git(&["fetch", "-q", "--unshallow", "--no-tags"]);
    let error = said("v1", &whole.head());
    assert!(error.contains("`git fetch --tags`"), "{error}");
}
