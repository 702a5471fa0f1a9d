use std::fs;
use std::process::Command;

use super::*;

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
        &["edited-applied-migration 1"],
    );
    check_pending(
        &release(&[one, ("1_a.down.sql", "x")], None),
        &head,
        &["2_b"],
        &["edited-applied-down 1"],
    );
    check_pending(&release(&[two], None), &head, &["1_a"], &["late-version 1"]);
    check_pending(
        &release(&[one, down, ("3_c.up.sql", "x")], None),
        &head,
        &["2_b"],
        &["late-version 2", "removed-migration 3"],
    );
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
