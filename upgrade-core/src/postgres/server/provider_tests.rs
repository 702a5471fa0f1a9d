//! The chain over folders that look like installations: scripts that print a version.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A machine in a folder, which every user can enter.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn program(&self, bin: &str, name: &str, content: &[u8]) -> PathBuf {
        let folder = self.path(bin);
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join(name);
        fs::write(&program, content).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// A folder whose `postgres` says that it has that version.
    fn server(&self, bin: &str, version: &str) -> PathBuf {
        let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version} (made up)'\n");
        self.program(bin, "initdb", b"#!/bin/sh\n");
        self.program(bin, "postgres", script.as_bytes())
    }

    fn options(&self) -> ProviderOptions {
        ProviderOptions::new(Directories::below(self.path("dirs")))
    }
}

fn binaries(requirement: ServerRequirement, options: &ProviderOptions) -> ServerBinaries {
    match discover(&requirement, options).unwrap() {
        Found::Binaries(binaries) => binaries,
        other => panic!("binaries were expected, not {other:?}"),
    }
}

fn failure(requirement: ServerRequirement, options: &ProviderOptions) -> (String, Vec<Attempt>) {
    match discover(&requirement, options).unwrap_err() {
        ServerError::NotFound {
            wanted, attempts, ..
        } => (wanted, attempts),
        other => panic!("{other}"),
    }
}

#[test]
fn the_order_is_url_then_named_then_installed_then_cached() {
    let machine = Machine::new();
    let mut options = machine.options();
    let cached = machine.server("dirs/cache/servers/some-17/tree/bin", "17.4");
    let installed = machine.server("usr/lib/15/bin", "15.18");
    let on_path = machine.server("usr/bin", "14.3");
    let named = machine.server("opt/16", "16.1");

    assert_eq!(
        binaries(ServerRequirement::any(), &options).bin_dir(),
        cached
    );
    options.installed = vec![machine.path("usr/lib/*/bin")];
    assert_eq!(
        binaries(ServerRequirement::any(), &options).bin_dir(),
        installed
    );
    options.path = vec![machine.path("usr/bin")];
    assert_eq!(
        binaries(ServerRequirement::any(), &options).bin_dir(),
        installed,
        "the newest of one element"
    );
    assert_eq!(
        binaries(ServerRequirement::major(14), &options).bin_dir(),
        on_path
    );
    assert_eq!(
        binaries(ServerRequirement::major(17), &options).bin_dir(),
        cached
    );
    options.named = vec![named.clone()];
    assert_eq!(
        binaries(ServerRequirement::any(), &options).bin_dir(),
        named
    );
    assert_eq!(
        binaries(ServerRequirement::major(15), &options).bin_dir(),
        installed
    );
    options.url = Some(Secret::new("postgres://u:hunter2@h/d"));
    let found = discover(&ServerRequirement::any(), &options).unwrap();
    assert!(matches!(&found, Found::Url(url) if url.expose().contains("hunter2")));
    assert!(!format!("{found:?} {options:?}").contains("hunter2"));
}

#[test]
fn several_majors_side_by_side_are_listed_with_the_best_of_each() {
    let machine = Machine::new();
    let mut options = machine.options();
    machine.server("lib/15/bin", "15.2");
    let newer = machine.server("lib/15b/bin", "15.18");
    let eighteen = machine.server("lib/18/bin", "18.0");
    machine.server("dirs/cache/servers/x/bin", "18.6");
    let cached = machine.server("dirs/cache/servers/y/pginstall/bin", "17.4");
    options.installed = vec![machine.path("lib/*/bin")];
    let majors: Vec<(u16, PathBuf)> = available_majors(&options)
        .unwrap()
        .into_iter()
        .map(|(major, binaries)| (major, binaries.bin_dir().to_owned()))
        .collect();
    assert_eq!(majors, [(15, newer), (17, cached), (18, eighteen)]);
}

#[test]
fn nothing_found_lists_everything_that_was_tried() {
    let machine = Machine::new();
    let mut options = machine.options();
    options.path = vec![machine.path("usr/bin")];
    machine.server("usr/bin", "15.18");
    let (wanted, attempts) = failure(ServerRequirement::major(17), &options);
    assert_eq!(wanted, "Postgres 17 server");
    let tried: Vec<&str> = attempts.iter().map(|attempt| attempt.provider).collect();
    assert_eq!(
        tried,
        [
            "UPGRADE_PG_URL",
            "UPGRADE_PG_BIN",
            "installed",
            "cache",
            "fetch",
            "docker"
        ]
    );
    assert_eq!(
        attempts[2].reason,
        format!("`{}` is 15.18", machine.path("usr/bin").display())
    );
    let error = discover(&ServerRequirement::major(17), &options)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("to a server that may be used)") && error.contains("PostgreSQL 17 server"),
        "{error}"
    );
}

#[test]
fn binaries_that_cannot_be_used_leave_the_reason() {
    let foreign = if cfg!(target_arch = "x86_64") {
        183_u16
    } else {
        62
    };
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(18, 0);
    header.extend(foreign.to_le_bytes());
    header.resize(64, 0);
    let script = |text: &str| format!("#!/bin/sh\n{text}\n").into_bytes();
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("foreign", header, "is built for"),
        (
            "garbage",
            b"\x00\x01touch /tmp/x".to_vec(),
            "is neither a program of this system nor a script",
        ),
        (
            "old",
            script("echo 'postgres (PostgreSQL) 13.9'"),
            "is 13.9, and 14 is the oldest",
        ),
        (
            "broken",
            script("echo no library >&2; exit 127"),
            "ended with exit status: 127: no library",
        ),
        (
            "odd",
            script("echo hello"),
            "printed `hello`, which is no version",
        ),
        (
            "no-interpreter",
            b"#!/nowhere/sh\n".to_vec(),
            "No such file or directory (os error 2)",
        ),
    ];
    for (name, content, expected) in cases {
        let machine = Machine::new();
        machine.program(name, "initdb", b"#!/bin/sh\n");
        let folder = machine.program(name, "postgres", &content);
        let mut options = machine.options();
        options.path = vec![folder];
        let (_, attempts) = failure(ServerRequirement::any(), &options);
        assert!(
            attempts.iter().any(|attempt| attempt.provider == "installed" && attempt.reason.contains(expected)),
            "{name}: {attempts:#?}"
        );
    }
}

#[test]
fn a_server_without_initdb_is_refused() {
    let machine = Machine::new();
    let folder = machine.server("bin", "15.1");
    fs::remove_file(folder.join("initdb")).unwrap();
    let mut options = machine.options();
    options.path = vec![folder];
    let (_, attempts) = failure(ServerRequirement::any(), &options);
    assert!(
        attempts
            .iter()
            .any(|attempt| attempt.reason.contains("no `initdb` lies beside it")),
        "{attempts:#?}"
    );
}

#[test]
fn a_named_folder_that_cannot_be_used_ends_the_chain() {
    let machine = Machine::new();
    let mut options = machine.options();
    options.path = vec![machine.server("usr/bin", "15.18")];
    options.named = vec![machine.path("nothing/here")];
    let (wanted, attempts) = failure(ServerRequirement::any(), &options);
    assert_eq!(wanted, "usable server in a folder of `UPGRADE_PG_BIN`");
    assert!(
        attempts
            .last()
            .unwrap()
            .reason
            .starts_with("no `postgres` can be seen in"),
        "{attempts:#?}"
    );
}

#[test]
fn a_link_leads_to_the_real_folder_and_counts_once() {
    let machine = Machine::new();
    let real = machine.server("lib/15/bin", "15.18");
    fs::create_dir_all(machine.path("usr/bin")).unwrap();
    symlink(real.join("postgres"), machine.path("usr/bin/postgres")).unwrap();
    let mut options = machine.options();
    options.path = vec![machine.path("usr/bin")];
    assert_eq!(binaries(ServerRequirement::any(), &options).bin_dir(), real);
}

#[test]
fn pg_config_tells_one_more_folder() {
    let machine = Machine::new();
    let real = machine.server("elsewhere/bin", "16.2");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --bindir ] && echo '{}'\n",
        real.display()
    );
    let mut options = machine.options();
    options.path = vec![machine.program("usr/bin", "pg_config", script.as_bytes())];
    assert_eq!(binaries(ServerRequirement::any(), &options).bin_dir(), real);
}

#[test]
fn unfinished_trees_of_the_cache_are_not_seen() {
    let machine = Machine::new();
    machine.server("dirs/cache/servers/.some.new/tree/bin", "17.4");
    failure(ServerRequirement::any(), &machine.options());
}

#[test]
fn variables_are_read_in_one_place_and_bad_ones_are_errors() {
    let read = |pairs: &'static [(&'static str, &'static str)]| {
        ProviderOptions::from_vars(&move |name| {
            pairs
                .iter()
                .find(|pair| pair.0 == name)
                .map(|pair| OsString::from(pair.1))
        })
    };
    let options = read(&[
        ("UPGRADE_PG_URL", "postgres://u:hunter2@h/d"),
        ("UPGRADE_PG_BIN", "/a:/b"),
        ("PATH", "/c"),
        ("UPGRADE_OFFLINE", "1"),
        ("HOME", "/opt"),
    ])
    .unwrap();
    assert_eq!(options.named, [Path::new("/a"), Path::new("/b")]);
    assert_eq!(
        (options.path, options.fetch),
        (vec![PathBuf::from("/c")], Fetch::Off)
    );
    assert_eq!(options.url.unwrap().expose(), "postgres://u:hunter2@h/d");
    let empty = read(&[("UPGRADE_PG_URL", ""), ("UPGRADE_PG_BIN", "")]).unwrap();
    assert_eq!(
        (empty.url, empty.named.len(), empty.fetch),
        (None, 0, Fetch::Allowed)
    );
    assert_eq!(
        read(&[("UPGRADE_OFFLINE", "maybe")])
            .unwrap_err()
            .to_string(),
        "environment variable `UPGRADE_OFFLINE` is `maybe` (it has to be `1` or `0`)"
    );
    for pairs in [
        &[("UPGRADE_PG_BIN", "bin")],
        &[("UPGRADE_PG_BIN", "/a:bin")],
        &[("UPGRADE_PG_BIN", ":")],
    ] {
        let error = read(pairs).unwrap_err().to_string();
        let begin = format!("environment variable `UPGRADE_PG_BIN` is `{}`", pairs[0].1);
        assert!(error.starts_with(&begin), "{error}");
    }
    let error = read(&[("UPGRADE_PG_URL", "mysql://me:hunter2@host")]).unwrap_err();
    assert!(error.to_string().contains("`UPGRADE_PG_URL`"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn a_container_goes_before_all_where_only_that_is_wanted() {
    let machine = Machine::new();
    let mut options = machine.options();
    options.path = vec![machine.path("usr/bin")];
    machine.server("usr/bin", "17.10");
    options.url = Some(Secret::new("postgres://u@h/x"));
    options.containers = Containers::Only;
    match discover(&ServerRequirement::major(17), &options) {
        Ok(found) => assert_eq!(found, Found::Container { major: Some(17) }),
        // No engine, or not built in: then nothing else is taken in its place.
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("`UPGRADE_PG_PROVIDER`"), "{text}");
            assert!(!text.contains("install the PostgreSQL"), "{text}");
        }
    }
}
