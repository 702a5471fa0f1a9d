//! What a program can reach that a migration starts on the server: each test shows the state
//! afterwards. Nothing here touches what the test has not made itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use upgrade_core::postgres::server::{LocalServer, Profile, sweep};

use crate::support::{Place, binaries, eventually, open_folder, text};

async fn start(place: &Place) -> LocalServer {
    LocalServer::start(&binaries(), place.options(Profile::ThrowAway))
        .await
        .unwrap()
}

/// Runs a shell command as a migration would, and answers with what it printed; whether it ended
/// well is in the text.
async fn program(server: &LocalServer, command: &str) -> String {
    let mut connection = PgConnection::connect_with(&server.connect_options())
        .await
        .unwrap();
    // The server complains about a program that ends with an error or does not take its rows.
    let script = format!("cat > /dev/null; ({command}) > out 2>&1; echo \"ended with $?\" >> out");
    let sql = format!(
        "copy (select 1) to program '{}'",
        script.replace('\'', "''")
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    fs::read_to_string(server.data_dir().join("out")).unwrap()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn runs(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

/// Starts a program that leaves its session, its directory and its variables behind; answers with
/// its number.
async fn runaway(server: &LocalServer) -> String {
    let printed = program(
        server,
        "cd /; env -i setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $!",
    )
    .await;
    let pid = printed.lines().next().unwrap().to_owned();
    eventually("the program runs", Duration::from_secs(10), || {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    });
    pid
}

#[tokio::test]
async fn a_program_gets_no_new_rights_and_no_variables_of_the_caller() {
    let place = Place::new();
    let server = start(&place).await;
    let printed = program(&server, "grep NoNewPrivs /proc/self/status; env").await;
    assert!(printed.contains("NoNewPrivs:\t1"), "{printed}");
    assert!(!printed.contains("CARGO"), "{printed}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn as_root_each_server_has_a_user_of_its_own_that_reaches_no_other_server() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let (one, two) = (start(&place).await, start(&place).await);
    let uid = |server: &LocalServer| fs::metadata(server.data_dir()).unwrap().uid();
    assert_ne!(uid(&one), uid(&two));
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    for server in [&one, &two] {
        let printed = program(server, "id -u; id -G").await;
        let own = uid(server).to_string();
        assert_eq!(printed, format!("{own}\n{own}\nended with 0\n"));
        assert!(!passwd.contains(&format!(":{own}:")), "{own} is somebody");
    }
    for attack in [
        format!("cat {}/PG_VERSION", two.data_dir().display()),
        format!("ls {}", two.socket_dir().display()),
        format!("ls {}", two.socket_dir().parent().unwrap().display()),
        // Signal 0 asks for the right to send one.
        format!("kill -0 {}", two.pid().unwrap()),
    ] {
        let printed = program(&one, &attack).await;
        assert!(
            printed.contains("denied") || printed.contains("permitted"),
            "{attack}: {printed}"
        );
    }
    assert_eq!(text(&two, "select 'untouched'").await, "untouched");
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test]
async fn a_program_that_left_its_session_ends_with_the_server() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let server = start(&place).await;
    let pid = runaway(&server).await;
    server.kill().await.unwrap();
    assert!(!runs(&pid), "it outlived a crash of its server");
    server.restart().await.unwrap();
    let pid = runaway(&server).await;
    server.stop().await.unwrap();
    assert!(!runs(&pid), "it outlived its server");
    let server = start(&place).await;
    let pid = runaway(&server).await;
    let kept = server.keep(Duration::ZERO).await.unwrap();
    assert!(!runs(&pid), "it outlived a server that was kept");
    assert_eq!(sweep(&place.directories).removed, [kept.directory]);
    assert_eq!(place.servers().len(), 0);
}

#[tokio::test]
async fn a_program_that_starts_itself_again_and_again_ends_with_the_server() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let server = start(&place).await;
    // Each one lives only until the next one runs: whoever looks and then kills comes too late.
    let script = server.data_dir().join("again");
    fs::write(
        &script,
        "#!/bin/sh\ncd /; setsid \"$0\" > /dev/null 2>&1 < /dev/null &\n",
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    program(&server, &format!("{}", script.display())).await;
    let uid = fs::metadata(server.data_dir()).unwrap().uid();
    server.stop().await.unwrap();
    assert_eq!(processes_of(uid), Vec::<String>::new());
}

fn processes_of(uid: u32) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let of_user = entries.filter(|entry| entry.metadata().is_ok_and(|facts| facts.uid() == uid));
    of_user
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.parse::<u32>().is_ok() && runs(name))
        .collect()
}

#[tokio::test]
async fn as_root_a_file_that_the_server_s_user_may_not_read_is_in_no_log_and_no_template() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let outside = open_folder(&std::env::temp_dir());
    let secret = outside.path().join("secret");
    fs::write(&secret, "canary").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let server = start(&place).await;
    let directory = server.data_dir().parent().unwrap().to_owned();

    let attack = format!(
        "rm -f {0}/log; ln -sf {1} {0}/log",
        directory.display(),
        secret.display()
    );
    let printed = program(&server, &attack).await;
    assert!(printed.contains("denied"), "{printed}");
    assert!(!server.log_tail(1000).contains("canary"));
    // Where the directory can be written (an older layout), a link is not followed all the same.
    fs::remove_file(directory.join("log")).unwrap();
    symlink(&secret, directory.join("log")).unwrap();
    assert_eq!(server.log_tail(1000), "");
    server.restart().await.unwrap_err();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "canary");
    fs::remove_file(directory.join("log")).unwrap();
    server.restart().await.unwrap();

    let plant = format!(
        "rm -f postgresql.auto.conf; ln -s {} postgresql.auto.conf",
        secret.display()
    );
    let printed = program(&server, &plant).await;
    assert!(printed.ends_with("ended with 0\n"), "{printed}");
    let target = outside.path().join("template");
    let error = server.hand_over(&target).await.unwrap_err();
    assert!(
        error.to_string().contains("postgresql.auto.conf"),
        "{error}"
    );
    assert!(!contains(&target, "canary"));
    assert_eq!(place.servers().len(), 0);
}

fn contains(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return contains(&path, text);
        }
        let bytes = fs::read(&path).unwrap_or_default();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    })
}

#[tokio::test]
async fn as_root_the_cache_cannot_be_changed_by_a_program() {
    if !is_root() {
        return;
    }
    let cache = open_folder(&std::env::temp_dir());
    let mut place = Place::new();
    place.directories.cache = cache.path().join("cache");
    let server = start(&place).await;
    let templates = place.directories.cache.join("initdb");
    let template = fs::read_dir(&templates)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_dir())
        .unwrap();
    for attack in [
        format!("echo bad >> {}/postgresql.conf", template.display()),
        format!("touch {}/planted", templates.display()),
        format!("mv {0} {0}.moved", template.display()),
    ] {
        let printed = program(&server, &attack).await;
        assert!(!printed.ends_with("ended with 0\n"), "{attack}: {printed}");
    }
    assert!(!contains(&template, "bad\n") && !templates.join("planted").exists());
    server.stop().await.unwrap();
}
