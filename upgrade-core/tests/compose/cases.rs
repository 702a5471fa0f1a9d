//! What docker compose has otherwise than a reader expects: profiles, where the files are, what is
//! passed over; and all problems of a file at once.

use std::path::Path;

use upgrade_core::ErrorKind;
use upgrade_core::docker::{Compose, Mount, Stack};

use super::broken::said;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn services(stack: &Stack) -> Vec<&str> {
    stack.services.keys().map(String::as_str).collect()
}

fn notes(stack: &Stack, dir: &Path) -> Vec<String> {
    let folder = format!("{}/", dir.display());
    let notes = stack.notes.iter();
    notes.map(|note| note.replace(&folder, "")).collect()
}

const PROFILES: &str = "services:
  a: {image: x, profiles: ['', vec]}
  b: {image: y}
  c: {image: z, profiles: [full]}
";

#[test]
fn prof_an_empty_profile_is_on_where_no_profile_is_named() {
    let dir = folder(&[("c.yaml", PROFILES)]);
    let compose = || Compose::file(dir.path().join("c.yaml"));
    let on = |compose: Compose| {
        let stack = compose.read().unwrap();
        services(&stack).join(" ")
    };
    assert_eq!(on(compose()), "a b");
    assert_eq!(on(compose().with_profile("full")), "b c");
    assert_eq!(on(compose().with_profile("vec")), "a b");
    assert_eq!(on(compose().with_profile("*")), "a b c");
    // The variable counts where no profile is named, and names of other projects do no harm.
    let by_variable = |value: &str| compose().with_variable("COMPOSE_PROFILES", value);
    assert_eq!(on(by_variable("full, vec")), "a b c");
    assert_eq!(on(by_variable("other")), "b");
    assert_eq!(on(by_variable("full").with_profile("vec")), "a b");
    std::fs::write(dir.path().join(".env"), "COMPOSE_PROFILES=full\n").unwrap();
    assert_eq!(on(compose()), "b c");
}

#[test]
fn empty_profile_a_stack_of_no_service_says_why() {
    let text = "services:\n  a:\n    image: x\n    profiles: [full]";
    assert_eq!(
        said(&[("c.yaml", text)]),
        "`c.yaml:1`: no service is switched on: all 1 are in profiles that are off (`full`) \
         (switch them on by `with_profile`, or by the variable `COMPOSE_PROFILES`)"
    );
    assert_eq!(
        said(&[("c.yaml", "services: {}")]),
        "`c.yaml:1`: the file has no service"
    );
}

#[test]
fn sec_options_without_effect_are_noted() {
    let dir = folder(&[(
        "c.yaml",
        "services:
  a:
    image: x
    security_opt: ['label:disable', 'label=type:t', 'seccomp:unconfined', 'no-new-privileges']
    networks: {front: {ipv4_address: 172.28.0.5}}
networks:
  front:
    ipam: {config: [{subnet: 172.28.0.0/16}]}
",
    )]);
    let stack = Compose::file(dir.path().join("c.yaml")).read().unwrap();
    assert_eq!(services(&stack), ["a"]);
    let notes = notes(&stack, dir.path());
    assert_eq!(notes.len(), 5, "{notes:?}");
    for expected in [
        "`c.yaml:8`: `ipam` of network `front` has no effect: several environments",
        "`c.yaml:5`: `ipv4_address` of `front` of `networks` of service `a` has no effect",
        "`c.yaml:4`: `security_opt` of service `a` has no effect: `label:disable`",
        "`label=type:t`",
        "`seccomp:unconfined`",
    ] {
        assert!(
            notes.iter().any(|note| note.contains(expected)),
            "{expected}: {notes:?}"
        );
    }
}

#[test]
fn memory_has_permissions_and_may_hold_programs() {
    let dir = folder(&[(
        "c.yaml",
        "services:
  a:
    image: x
    tmpfs: ['/run:size=1m,mode=700,exec', '/tmp:noexec,mode=1777']
    volumes: [{type: tmpfs, target: /mem, tmpfs: {size: 2m, mode: 0755}}]
",
    )]);
    let stack = Compose::file(dir.path().join("c.yaml")).read().unwrap();
    let memory = |target: &str, bytes, mode, exec| Mount::Tmpfs {
        target: target.into(),
        bytes,
        mode: Some(mode),
        exec,
    };
    assert_eq!(
        stack.services["a"].mounts,
        [
            memory("/mem", Some(2 << 20), 0o755, false),
            memory("/run", Some(1 << 20), 0o700, true),
            memory("/tmp", None, 0o1777, false),
        ]
    );
}

#[test]
fn a_variable_that_is_passed_through_and_not_set_is_left_out() {
    let dir = folder(&[
        (
            "c.yaml",
            "services:
  a: {build: {context: ., args: [NO, YES]}, environment: [NO, YES], env_file: a.env}
  b: {image: x, environment: {NO: , YES: , EMPTY: ''}}
",
        ),
        ("a.env", "ALSO_NO\nSET=1\nYES\n"),
    ]);
    let compose = Compose::file(dir.path().join("c.yaml")).with_variable("YES", "yes");
    let stack = compose.read().unwrap();
    let names = |service: &str| {
        let names = stack.services[service].environment.keys();
        names.cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("a"), "SET YES");
    assert_eq!(names("b"), "EMPTY YES");
    let upgrade_core::docker::Image::Build(build) = &stack.services["a"].image else {
        panic!("no build");
    };
    assert_eq!(build.args.keys().collect::<Vec<_>>(), ["YES"]);
}

#[test]
fn files_are_found_as_docker_compose_finds_them() {
    let one = |name: &str| format!("services: {{{name}: {{image: x}}}}");
    let (a, b, c) = (one("a"), one("b"), one("c"));
    let read = |files: &[(&str, &str)], variables: &[(&str, &str)]| {
        let dir = folder(files);
        let mut compose = Compose::folder(dir.path());
        for (name, value) in variables {
            compose = compose.with_variable(*name, *value);
        }
        match compose.read() {
            Ok(stack) => services(&stack).join(" "),
            Err(error) => error
                .to_string()
                .replace(&dir.path().display().to_string(), "DIR"),
        }
    };
    assert_eq!(
        read(&[("compose.yaml", &a), ("docker-compose.yml", &b)], &[]),
        "a"
    );
    assert_eq!(
        read(
            &[
                ("docker-compose.yml", &a),
                ("docker-compose.override.yml", &b)
            ],
            &[]
        ),
        "a b"
    );
    let all = [("compose.yaml", &*a), ("x/b.yaml", &*b), ("c.yaml", &*c)];
    assert_eq!(read(&all, &[("COMPOSE_FILE", "c.yaml")]), "c");
    assert_eq!(
        read(&all, &[("COMPOSE_FILE", "compose.yaml:x/b.yaml")]),
        "a b"
    );
    assert_eq!(
        read(
            &all,
            &[
                ("COMPOSE_FILE", "c.yaml;x/b.yaml"),
                ("COMPOSE_PATH_SEPARATOR", ";")
            ]
        ),
        "b c"
    );
    let env = [
        ("compose.yaml", &*a),
        ("c.yaml", &*c),
        (".env", "COMPOSE_FILE=c.yaml:compose.yaml"),
    ];
    assert_eq!(read(&env, &[]), "a c");
    let absent = read(&[], &[]);
    assert!(
        absent.contains("the folder `DIR` has no compose file"),
        "{absent}"
    );
    let outside = read(&all, &[("COMPOSE_FILE", "/etc/hosts")]);
    assert!(
        outside.contains("`/etc/hosts` is outside of the project"),
        "{outside}"
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "services:
  api:
    image: i:$VERSION
    enviroment: {A: a-secret}
    privileged: true
    ports: [x, 80, y]
    environment: {A: 1.10, B: $NO, C: fine}
    volumes: ['data:/data', './a:/b:nocopy', '/etc:/c:ro']
    depends_on: [bd]
    cap_add: [SYS_ADMIN, CHOWN]
  b d: {image: x}
  c:
    init: yes
networks: {n: {external: true}}
";
    let said = said_of(text);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "the compose files have 16 problems:", "{said}");
    for expected in [
        "`c.yaml:3`: `image` of service `api` needs the variable `VERSION`",
        "`c.yaml:4`: service `api` has the key `enviroment`",
        "`c.yaml:5`: service `api` has the key `privileged`",
        "`c.yaml:6`: `ports` of service `api` has to be a port such as `80`, `8080:80` or `127.0.0.1:8080:80/tcp`, not `x`",
        "not `y`",
        "`c.yaml:7`: `A` of `environment` of service `api` is a number",
        "`c.yaml:7`: `B` of `environment` of service `api` needs the variable `NO`",
        "`c.yaml:8`: `volumes` of service `api` names the volume `data`",
        "`c.yaml:8`: `volumes` of service `api` has an option",
        "`c.yaml:8`: `volumes` of service `api` names `/etc`",
        "`c.yaml:9`: `depends_on` of service `api` names the service `bd`",
        "`c.yaml:10`: `cap_add` of service `api` asks for `SYS_ADMIN`",
        "`c.yaml:11`: `b d` is no name for a service",
        "`c.yaml:12`: service `c` has neither an image nor a build",
        "`c.yaml:13`: `init` of service `c` has to be `true` or `false`",
        "`c.yaml:14`: network `n` is `external`",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{expected}:\n{said}"
        );
    }
    assert!(
        !said.contains("a-secret") && !said.contains("fine"),
        "{said}"
    );
}

fn said_of(text: &str) -> String {
    let dir = folder(&[("c.yaml", text)]);
    let error = Compose::file(dir.path().join("c.yaml")).read().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let folder = format!("{}/", dir.path().display());
    error.to_string().replace(&folder, "")
}
