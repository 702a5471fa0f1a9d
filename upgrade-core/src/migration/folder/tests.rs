use super::*;

fn folder(files: &[(&str, &str)]) -> Result<MigrationFolder, FolderError> {
    let files = files
        .iter()
        .map(|(p, c)| (PathBuf::from(p), c.as_bytes().to_vec()))
        .collect();
    MigrationFolder::from_files("migrations", files)
}

/// Files by name; each holds its own statement.
#[track_caller]
fn check(names: &[&str], layout: Layout, expected: &[&str]) -> MigrationFolder {
    let files: Vec<_> = names
        .iter()
        .map(|name| {
            let sql = match *name {
                n if n.ends_with("metadata.toml") => "run_in_transaction = false".to_owned(),
                n => format!("select f('{n}');"),
            };
            (PathBuf::from(name), sql.into_bytes())
        })
        .collect();
    let folder = MigrationFolder::from_files("migrations", files).unwrap();
    assert_eq!(folder.layout(), layout, "{}", folder.reason());
    assert_eq!(titles(&folder), expected);
    folder
}

/// Titles, with a mark for a down migration.
fn titles(folder: &MigrationFolder) -> Vec<String> {
    let mark = |file: &MigrationFile| if file.down.is_some() { " <" } else { "" };
    folder
        .migrations()
        .iter()
        .map(|file| format!("{}{}", file.title(), mark(file)))
        .collect()
}

fn problems(folder: &MigrationFolder) -> Vec<(&'static str, String, Option<usize>)> {
    let row = |p: FolderProblem| (p.kind.id(), p.path.display().to_string(), p.line);
    folder.problems().into_iter().map(row).collect()
}

#[test]
fn sqlx_folders() {
    check(
        &[
            "20210425153745_create_history.sql",
            "20230315220537_drop-events.sql",
            "README.md",
        ],
        Layout::Sqlx,
        &[
            "20210425153745_create_history",
            "20230315220537_drop-events",
        ],
    );
    // Sorted as integers; simple and reversible files may be mixed; sub-folders do not count.
    let mixed = check(
        &[
            "10_c.sql",
            "2_b.up.sql",
            "2_b.down.sql",
            "1_a.sql",
            "old/3_x.sql",
            "notes.sql",
        ],
        Layout::Sqlx,
        &["1_a", "2_b <", "10_c"],
    );
    assert_eq!(mixed.skipped().len(), 2);
    assert_eq!(mixed.get("02").unwrap().name, "b");
    check(
        &["0001_a.up.sql", "0001_a.down.sql"],
        Layout::Sqlx,
        &["0001_a <"],
    );
}

#[test]
fn sqlx_transactions_are_seen_at_the_first_byte_only() {
    let folder = folder(&[
        (
            "1_a.up.sql",
            "-- no-transaction\ncreate index concurrently i on t (a);",
        ),
        ("1_a.down.sql", "drop index i;"),
        ("2_b.up.sql", "\n-- no-transaction\nselect f();"),
    ])
    .unwrap();
    let modes: Vec<_> = folder
        .migrations()
        .iter()
        .flat_map(|file| std::iter::once(&file.up).chain(&file.down))
        .map(|script| (script.transaction, script.delivery))
        .collect();
    let whole = Delivery::WholeScript;
    assert_eq!(
        modes,
        [
            (TransactionMode::None, whole),
            (TransactionMode::Wrapped, whole),
            (TransactionMode::Wrapped, whole),
        ]
    );
}

#[test]
fn diesel_folders() {
    let found = check(
        &[
            "00000000000000_diesel_initial_setup/up.sql",
            "00000000000000_diesel_initial_setup/down.sql",
            "2016-01-07-082941_create_posts/up.sql",
            "2016-01-07-082941_create_posts/metadata.toml",
            "20151219180527_create_users/up.sql",
            ".gitkeep",
        ],
        Layout::Diesel,
        &[
            "00000000000000_diesel_initial_setup <",
            "20151219180527_create_users",
            "20160107082941_create_posts",
        ],
    );
    assert_eq!(found.migrations()[2].up.transaction, TransactionMode::None);
    assert_eq!(
        found.migrations()[0].up.transaction,
        TransactionMode::Wrapped
    );
    // diesel compares text.
    check(
        &["9_b/up.sql", "10_a/up.sql"],
        Layout::Diesel,
        &["10_a", "9_b"],
    );
    // A file without the key turns the transaction off; one that is no TOML leaves it on.
    for (metadata, mode, problems) in [
        ("", TransactionMode::None, 0),
        ("run_in_transaction = true", TransactionMode::Wrapped, 0),
        ("run_in_transaction: no", TransactionMode::Wrapped, 1),
    ] {
        let folder = folder(&[
            ("1_a/up.sql", "select f()"),
            ("1_a/metadata.toml", metadata),
        ])
        .unwrap();
        assert_eq!(folder.migrations()[0].up.transaction, mode, "{metadata}");
        assert_eq!(folder.problems().len(), problems);
    }
}

#[test]
fn golang_migrate_folders() {
    let names = [
        "000001_init.up.sql",
        "000001_init.down.sql",
        "000002_x.up.sql",
        "000010_y.up.sql",
    ];
    let found = check(
        &names,
        Layout::GolangMigrate,
        &["000001_init <", "000002_x", "000010_y"],
    );
    assert_eq!(found.migrations()[0].up.transaction, TransactionMode::None);
    let epoch = ["1481574547_users.up.sql", "1481574547_users.down.sql"];
    check(&epoch, Layout::GolangMigrate, &["1481574547_users <"]);
    let dotted = [
        "V0002.Add.Index.up.sql",
        "V0001.Init.up.sql",
        "V0001.Init.down.sql",
    ];
    check(
        &dotted,
        Layout::GolangMigrate,
        &["0001_Init <", "0002_Add.Index"],
    );
    check(
        &["1_a.up.sql", "migrations.go"],
        Layout::GolangMigrate,
        &["1_a"],
    );
    let named = folder(&[("1_a.up.sql", "drop table schema_migrations;")]).unwrap();
    assert_eq!(named.layout(), Layout::GolangMigrate);
    let files = vec![(PathBuf::from("1_a.up.sql"), b"select f()".to_vec())];
    let forced = MigrationFolder::from_files_as("x", files, Layout::GolangMigrate).unwrap();
    assert_eq!(forced.reason(), "golang-migrate was asked for");
}

#[test]
fn refinery_and_flyway_folders() {
    let refinery = check(
        &[
            "V10__b.sql",
            "V2__a.sql",
            "nested/V3__c.sql",
            "U1__late.sql",
            "V4__bad-name.sql",
        ],
        Layout::Refinery,
        &["1_late", "2_a", "3_c", "10_b"],
    );
    assert_eq!(refinery.migrations()[0].kind, MigrationKind::Unversioned);
    assert_eq!(
        problems(&refinery),
        [("file/invalid", "V4__bad-name.sql".to_owned(), None)]
    );

    let flyway = check(
        &[
            "V1_10__c.sql",
            "V1.9__b.sql",
            "R__view_b.sql",
            "R__view_a.sql",
            "V1__a.sql",
            "U1_9__b.sql",
            "B1__base.sql",
        ],
        Layout::Flyway,
        &["1_a", "1.9_b <", "1.10_c", "R__view_a", "R__view_b"],
    );
    assert_eq!(flyway.get("1.9.0").unwrap().name, "b");
    assert_eq!(flyway.migrations()[0].up.delivery, Delivery::PerStatement);
    check(&["V1__a.sql", "U1__a.sql"], Layout::Flyway, &["1_a <"]);
    check(&["V1__a.sql", "V1__a.sql.conf"], Layout::Flyway, &["1_a"]);
}

#[test]
fn flyway_leaves_the_transaction_out_where_a_statement_needs_it() {
    let folder = folder(&[
        ("R__a.sql", "create unique index concurrently i on t (a);"),
        ("V1__b.sql", "select f();\nvacuum t;"),
        ("V2__c.sql", "select f();"),
        ("V2__c.sql.conf", "executeInTransaction = false"),
        ("V3__d.sql", "select f();"),
    ])
    .unwrap();
    let modes: Vec<_> = folder
        .migrations()
        .iter()
        .map(|file| file.up.transaction)
        .collect();
    use TransactionMode::{None, Wrapped};
    assert_eq!(modes, [None, None, Wrapped, None]);
    assert_eq!(
        problems(&folder),
        [("file/invalid", "V1__b.sql".to_owned(), Some(2))]
    );
}

#[test]
fn dbmate_folders() {
    let text = "-- first\n-- migrate:up transaction:false\ncreate table t ();\n\n-- migrate:down\ndrop table t;\n";
    let folder = folder(&[
        ("20240102_b.sql", text),
        ("20240101_a.sql", "-- migrate:up\nselect f();\n"),
        ("3_c.sql", "-- migrate:down\n-- migrate:up\n"),
        ("4_d.sql", "select 2, 3;\n-- migrate:up\n"),
        ("5_e.sql", "select f();"),
    ])
    .unwrap();
    assert_eq!(folder.layout(), Layout::Dbmate);
    assert_eq!(titles(&folder), ["20240101_a", "20240102_b <"]);
    let file = &folder.migrations()[1];
    let down = file.down.as_ref().unwrap();
    assert_eq!(
        (file.up.first_line, file.up.transaction),
        (2, TransactionMode::None)
    );
    assert_eq!(
        (down.first_line, down.transaction),
        (5, TransactionMode::Wrapped)
    );
    let paths: Vec<_> = problems(&folder)
        .into_iter()
        .map(|(id, path, _)| (id, path))
        .collect();
    assert_eq!(
        paths,
        [
            ("file/down-missing", "20240101_a.sql".to_owned()),
            ("file/invalid", "3_c.sql".to_owned()),
            ("file/invalid", "4_d.sql".to_owned()),
            ("file/invalid", "5_e.sql".to_owned()),
        ]
    );
}

#[test]
fn popx_folders() {
    let found = check(
        &[
            "20200101000000000000_a.up.sql",
            "20200101000000000000_a.postgres.up.sql",
            "20200101000000000000_a.mysql.up.sql",
            "20200101000000000000_a.down.sql",
            "20200101000000000001_b.cockroach.up.sql",
            "20200101000000000001_b.down.sql",
            "20200101000000000002_c.autocommit.up.sql",
            "20200101000000000003_d.postgres.autocommit.up.sql",
            "20200101000000000004_e.up.fizz",
        ],
        Layout::Popx,
        &[
            "20200101000000000000_a <",
            "20200101000000000002_c",
            "20200101000000000003_d",
        ],
    );
    let first = &found.migrations()[0];
    assert_eq!(
        first.up.path,
        Path::new("20200101000000000000_a.postgres.up.sql")
    );
    assert_eq!(first.up.transaction, TransactionMode::WrappedSerializable);
    assert_eq!(found.migrations()[1].up.transaction, TransactionMode::None);
    assert_eq!(found.migrations()[2].up.transaction, TransactionMode::None);
    let reasons: Vec<_> = found
        .skipped()
        .iter()
        .map(|file| file.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "it is for mysql",
            "a file for postgres replaces it",
            "it is for cockroach",
            "its version has no up migration for postgres",
        ]
    );
    assert!(
        problems(&found)
            .iter()
            .any(|(id, path, _)| *id == "file/unreadable" && path.ends_with(".fizz"))
    );
}

#[test]
fn plain_folders() {
    check(
        &["002-b.sql", "10-c.sql", "1.sql"],
        Layout::Plain,
        &["1", "002_b", "10_c"],
    );
    check(
        &["m000002.sql", "m000001.sql", "mod.rs"],
        Layout::Plain,
        &["m000001", "m000002"],
    );
    let seeds = check(
        &["001_init.sql", "seed_data.sql"],
        Layout::Plain,
        &["001_init"],
    );
    assert_eq!(
        seeds.reason(),
        "`001_init.sql` is numbered, but `seed_data.sql` fits no tool's rules"
    );
}

#[test]
fn every_recognised_folder_gives_a_reason() {
    let reason = |names: &[&str]| {
        let files = names
            .iter()
            .map(|n| (PathBuf::from(n), Vec::new()))
            .collect();
        MigrationFolder::from_files("m", files)
            .unwrap()
            .reason()
            .to_owned()
    };
    assert_eq!(
        reason(&["0001_a.up.sql"]),
        "pairs of `.up.sql` and `.down.sql` fit sqlx and golang-migrate, and nothing in the folder needs golang-migrate"
    );
    assert_eq!(
        reason(&["V1__a.sql"]),
        "`V1__a.sql` fits refinery and flyway, and nothing in the folder needs flyway"
    );
}

#[test]
fn problems_have_ids_paths_and_lines() {
    let folder = folder(&[
        ("1_a.up.sql", "create table t ();"),
        ("1_a.down.sql", "-- nothing\n"),
        ("01_b.up.sql", "create table u ();"),
        ("2_c.up.sql", "select f();\n\n\\connect app\n"),
        ("3_d.up.sql", ";"),
        ("4_e.down.sql", "drop table e;"),
        ("5_f.go", ""),
        ("6_g.up.sql", "\ncreate table :schema.g ();"),
        ("x_h.sql", ""),
    ]);
    let folder = match folder {
        Ok(folder) if folder.layout() == Layout::Plain => {
            MigrationFolder::from_files_as("m", folder.input.files, Layout::Sqlx).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let row = |id, path: &str, line| (id, path.to_owned(), line);
    assert_eq!(
        problems(&folder),
        [
            row("file/down-empty", "1_a.down.sql", Some(1)),
            row("file/duplicate-version", "1_a.up.sql", None),
            row("file/down-missing", "2_c.up.sql", None),
            row("file/unsupported-statement", "2_c.up.sql", Some(3)),
            row("file/down-missing", "3_d.up.sql", None),
            row("file/up-empty", "3_d.up.sql", None),
            row("file/up-missing", "4_e.down.sql", None),
            row("file/unreadable", "5_f.go", None),
            row("file/unreadable", "6_g.up.sql", Some(2)),
            row("file/invalid", "x_h.sql", None),
        ]
    );
    let duplicate = &folder.problems()[1];
    assert_eq!(duplicate.other.as_deref(), Some(Path::new("01_b.up.sql")));
    assert_eq!(duplicate.kind.severity(), Severity::Error);
}

#[test]
fn unreadable_steps_can_be_supplied_or_filled() {
    let mut steps = folder(&[
        ("1_a.sql", "select f();"),
        ("2_b.sql", "create schema :schema;"),
        ("3_c.go", ""),
    ])
    .unwrap();
    assert_eq!(titles(&steps), ["1_a"]);
    let before = steps.clone().supply("9", "", None).unwrap_err();
    assert_eq!(
        before.to_string(),
        "`migrations` has no unreadable step `9` (unreadable are 2, 3)"
    );
    steps
        .supply("3", "select go();", Some("select back();".to_owned()))
        .unwrap();
    assert_eq!(steps.fill(":schema", "app").unwrap(), 1);
    assert_eq!(titles(&steps), ["1_a", "2_b", "3_c <"]);
    assert_eq!(steps.get("2").unwrap().up.sql, "create schema app;");
    // The tool knows the file, not what it was filled with.
    assert_eq!(
        steps.get("2").unwrap().checksum,
        FileChecksum::sha384(b"create schema :schema;")
    );
    assert!(
        problems(&steps)
            .iter()
            .all(|(id, ..)| *id == "file/down-missing")
    );
}

#[test]
fn checksums_are_those_of_the_tools() {
    // zlib.crc32(b"create table t ();select 1;")
    let crc = |text| FileChecksum::crc32_lines(text).to_hex();
    assert_eq!(
        crc("create table t ();\r\nselect 1;\n"),
        crc("\u{feff}create table t ();select 1;")
    );
    assert_eq!(crc("create table t ();\nselect 1;"), "26da4b38");
    // refinery_core::Migration::unapplied("V1__initial", "create table t ();").checksum()
    assert_eq!(
        FileChecksum::siphash("initial", 1, "create table t ();").to_hex(),
        "41c8646480f50292"
    );
    assert_eq!(FileChecksum::sha384(b"").to_hex().len(), 96);
}

#[track_caller]
fn check_error(result: Result<MigrationFolder, FolderError>, expected: &str) {
    let message = result.unwrap_err().to_string();
    let message = message.split(" (").next().unwrap();
    assert_eq!(message, expected);
}

#[test]
fn errors_name_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let text = |path: &Path| path.display().to_string();
    std::fs::create_dir(at("empty")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    let read = |name: &str| MigrationFolder::read(at(name));
    check_error(
        read("none"),
        &format!("migration folder `{}` does not exist", text(&at("none"))),
    );
    check_error(
        read("file"),
        &format!(
            "`{}` is a file, not a folder of migrations",
            text(&at("file"))
        ),
    );
    check_error(
        read("empty"),
        &format!("migration folder `{}` is empty", text(&at("empty"))),
    );
    check_error(
        folder(&[("Cargo.toml", ""), ("src/main.rs", "")]),
        "no migrations in `migrations`: found `Cargo.toml`, `src/main.rs`",
    );
    let binary = vec![(PathBuf::from("1_a.sql"), b"select \xff".to_vec())];
    check_error(
        MigrationFolder::from_files("m", binary),
        "`1_a.sql` in `m` is not UTF-8 at byte 7",
    );
}

#[tokio::test]
async fn a_sqlx_migrator_gives_the_same_as_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("10_second_step.sql", "-- no-transaction\nselect 1, 2;"),
        ("2_first.up.sql", "create table t ();"),
        ("2_first.down.sql", "drop table t;"),
    ] {
        std::fs::write(dir.path().join(name), sql).unwrap();
    }
    let read = MigrationFolder::read(dir.path()).unwrap();
    let migrator = sqlx::migrate::Migrator::new(dir.path()).await.unwrap();
    assert_eq!(
        MigrationFolder::from_sqlx(&migrator).migrations(),
        read.migrations()
    );
}

mod annotated;
