//! What a compose file may use of the machine: what lies in its project, and what is named.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use upgrade_core::docker::{Compose, Stack};
use upgrade_core::{ErrorKind, Result};

fn read(project: &Path, text: &str, with: impl FnOnce(Compose) -> Compose) -> Result<Stack> {
    let file = project.join("c.yaml");
    std::fs::write(&file, text).unwrap();
    with(Compose::file(file)).read()
}

fn mounting(source: &str) -> String {
    format!("services:\n  a:\n    image: x\n    volumes: ['{source}:/x:ro']")
}

#[test]
fn the_machine_is_refused_also_read_only_unless_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for source in [
        "/",
        "/etc",
        "/etc/passwd",
        "/proc",
        "/sys",
        "/dev",
        "/root",
        "/root/.ssh",
        "/var/run",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/srv",
        "..",
        "../other",
    ] {
        let source = if source.starts_with('.') {
            format!("./{source}")
        } else {
            source.to_owned()
        };
        let text = mounting(&source);
        let error = read(dir.path(), &text, |compose| compose).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{source}");
        let said = error.to_string();
        assert!(
            said.contains("c.yaml:4`: `volumes` of service `a` names `"),
            "{said}"
        );
        assert!(said.contains("with_host_path(\""), "{said}");
        let stack = read(dir.path(), &text, |compose| compose.with_host_path(&source)).unwrap();
        assert_eq!(stack.services["a"].mounts.len(), 1);
    }
    for source in ["/etc/localtime", "/dev/null", "./conf", "."] {
        read(dir.path(), &mounting(source), |compose| compose).unwrap();
    }
}

#[test]
fn a_link_out_of_the_project_and_a_socket_in_it_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    std::fs::create_dir_all(project.join("run")).unwrap();
    std::fs::write(dir.path().join("other.env"), "A=canary").unwrap();
    symlink("../other.env", project.join("link.env")).unwrap();
    symlink("/", project.join("root")).unwrap();
    let _listener = UnixListener::bind(project.join("run/db.sock")).unwrap();
    for (text, expected) in [
        (mounting("./link.env"), "is outside of the project"),
        (mounting("./root"), "of the machine itself"),
        (mounting("./root/etc/hosts"), "is outside of the project"),
        (mounting("./run/db.sock"), "is no file but a socket"),
        (mounting("./run"), "run/db.sock`"),
        (mounting("."), "run/db.sock`"),
        (
            "services: {a: {image: x, env_file: link.env}}".to_owned(),
            "is outside of the project",
        ),
        (
            "services: {a: {image: x, env_file: ../other.env}}".to_owned(),
            "is outside of the project",
        ),
        (
            "services: {a: {image: x, env_file: [{path: /proc/self/environ, format: raw}]}}"
                .to_owned(),
            "is outside of the project",
        ),
        (
            "services: {a: {image: x, secrets: [s]}}\nsecrets: {s: {file: ../other.env}}"
                .to_owned(),
            "is outside of the project",
        ),
        (
            "services: {a: {image: x, configs: [s]}}\nconfigs: {s: {file: link.env}}".to_owned(),
            "is outside of the project",
        ),
        (
            "services: {a: {extends: {file: ../other.env, service: b}}}".to_owned(),
            "is outside of the project",
        ),
        (
            "services: {a: {build: /etc}}".to_owned(),
            "`build` of service `a` is built from `/etc`",
        ),
    ] {
        let error = read(&project, &text, |compose| compose).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(expected), "{text}: {said}");
        assert_eq!(error.kind(), ErrorKind::Refused, "{text}: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
    // Named by a path from the project, or by its folder.
    for name in ["../other.env", ".."] {
        let text = "services: {a: {image: x, env_file: link.env}}";
        let stack = read(&project, text, |compose| compose.with_host_path(name)).unwrap();
        assert_eq!(stack.services["a"].environment["A"].expose(), "canary");
    }
    symlink("../other.env", project.join(".env")).unwrap();
    let error = read(&project, &mounting("./c.yaml"), |compose| compose).unwrap_err();
    assert!(error.to_string().contains(".env` is `"), "{error}");
}

#[test]
fn what_makes_a_container_less_isolated_is_refused_or_named() {
    let dir = tempfile::tempdir().unwrap();
    for key in [
        "privileged: true",
        "pid: host",
        "ipc: host",
        "uts: host",
        "userns_mode: host",
        "network_mode: host",
        "devices: ['/dev/sda:/dev/sda']",
        "device_cgroup_rules: ['c 1:3 mr']",
        "cgroup: host",
        "cgroup_parent: x",
        "runtime: x",
        "volumes_from: ['container:x']",
        "group_add: [docker]",
        "use_api_socket: true",
    ] {
        let text = format!("services:\n  a:\n    image: x\n    {key}");
        let error = read(dir.path(), &text, |compose| compose)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("which staging does not support"),
            "{key}: {error}"
        );
    }
    let text = "services:\n  a:\n    image: x\n    cap_add: [CAP_SYS_PTRACE, NET_BIND_SERVICE]";
    let error = read(dir.path(), text, |compose| compose).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error
            .to_string()
            .contains("with_capability(\"CAP_SYS_PTRACE\")"),
        "{error}"
    );
    let stack = read(dir.path(), text, |compose| {
        compose.with_capability("SYS_PTRACE")
    })
    .unwrap();
    assert_eq!(stack.services["a"].cap_add.len(), 2);
}
