//! What is said about files that are wrong.

use upgrade_core::ErrorKind;
use upgrade_core::docker::Compose;

pub(super) fn said(files: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut compose = Compose::file(dir.path().join(files[0].0));
    for (name, _) in &files[1..] {
        if name.ends_with("over.yaml") {
            compose = compose.and(dir.path().join(name));
        }
    }
    let error = match compose.with_variable("PORT", "a-secret").read() {
        Ok(stack) => panic!("{} was read as {stack:?}", files[0].1),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let folder = format!("{}/", dir.path().display());
    error.to_string().replace(&folder, "")
}

/// What is said about a file with one service, whose lines start at line 3.
fn of_service(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    said(&[("c.yaml", &format!("services:\n  api:\n{indented}"))])
}

#[test]
fn services() {
    let change = "remove it, or take it away in a file for staging with `!reset null`";
    for (lines, expected) in [
        (
            "image: i\nenviroment: {A: a-secret}",
            "`c.yaml:4`: service `api` has the key `enviroment`, which is unknown (did you mean \
             `environment`?)".to_owned(),
        ),
        (
            "image: i\nzzz: 1",
            "`c.yaml:4`: service `api` has the key `zzz`, which is unknown (keys for other tools \
             start with `x-`)".to_owned(),
        ),
        (
            "image: i\nprivileged: true",
            format!("`c.yaml:4`: service `api` has the key `privileged`, which staging does not \
             support ({change})"),
        ),
        (
            "image: i\nnetwork_mode: host",
            format!("`c.yaml:4`: service `api` has the key `network_mode`, which staging does not \
             support (say `networks`; or {change})"),
        ),
        (
            "command: run",
            "`c.yaml:2`: service `api` has neither an image nor a build (give it `image` or \
             `build`)".to_owned(),
        ),
        (
            "image: i:$VERSION",
            "`c.yaml:3`: `image` of service `api` needs the variable `VERSION`, which is not set \
             (set it with `with_variable`, or in `.env`, or give it a default: `${VERSION:-}`)"
                .to_owned(),
        ),
        (
            "image: i:${VERSION:?which release}",
            "`c.yaml:3`: `image` of service `api` needs the variable `VERSION`: which release"
                .to_owned(),
        ),
        (
            "image: i\nenvironment:\n  A: pa$$word$",
            "`c.yaml:5`: `A` of `environment` of service `api` has a `$` that no variable follows: \
             one that is meant is written `$$`".to_owned(),
        ),
        (
            "image: i\nenvironment: a-secret",
            "`c.yaml:4`: `environment` of service `api` has to be a map".to_owned(),
        ),
        (
            "image: i\nenvironment:\n  VERSION: 1.10",
            "`c.yaml:5`: `VERSION` of `environment` of service `api` is a number or a boolean, \
             which compose may hand on in another spelling (put it in quotes)".to_owned(),
        ),
        (
            "image: i\nenvironment:\n  A: {b: c}",
            "`c.yaml:5`: `A` of `environment` of service `api` has to be a text, not a map"
                .to_owned(),
        ),
        (
            "image: i\nimage: j",
            "`c.yaml:4`: the key `image` stands here for the second time, the first was line 3"
                .to_owned(),
        ),
        (
            "image: i\ncommand: run && stop",
            "`c.yaml:4`: `command` of service `api` has a `|`, `&`, `;`, `<` or `>` outside of \
             quotes, but no shell runs it: write `[\"sh\", \"-c\", \"…\"]`".to_owned(),
        ),
        (
            "image: i\ncommand: 'a \"b'",
            "`c.yaml:4`: `command` of service `api` has a quote that does not close".to_owned(),
        ),
        (
            "image: i\nports:\n  - 80:80\n  - ${PORT}:80",
            "`c.yaml:6`: `ports` of service `api` has to be a port such as `80`, `8080:80` or \
             `127.0.0.1:8080:80/tcp`, not `${PORT}:80`".to_owned(),
        ),
        (
            "image: i\nports: 80",
            "`c.yaml:4`: `ports` of service `api` has to be a list, not `80`".to_owned(),
        ),
        (
            "image: i\nports: [{published: 80}]",
            "`c.yaml:4`: `ports` of service `api` needs the key `target`".to_owned(),
        ),
        (
            "image: i\nvolumes: [data:/data]",
            "`c.yaml:4`: `volumes` of service `api` names the volume `data`, which the file does \
             not declare (add it to `volumes`)".to_owned(),
        ),
        (
            "image: i\nvolumes: ['./a:/b:nocopy']",
            "`c.yaml:4`: `volumes` of service `api` has an option that staging does not support \
             (the options are `ro`, `rw`, `z`, `Z`, `cached`, `delegated`)".to_owned(),
        ),
        (
            "image: i\nvolumes: [data]",
            "`c.yaml:4`: `volumes` of service `api` has to be `[source:]target[:options]`, where \
             the target starts with `/`, not `data`".to_owned(),
        ),
        (
            "image: i\nvolumes: [{type: npipe, target: /a}]",
            "`c.yaml:4`: `type` of `volumes` of service `api` is not supported in staging (the \
             types are `volume`, `bind` and `tmpfs`)".to_owned(),
        ),
        (
            "image: i\nvolumes: ['~/a:/a']",
            "`c.yaml:4`: `volumes` of service `api` needs the variable `HOME`, which is not set \
             (set it with `with_variable`, or in `.env`, or give it a default: `${HOME:-}`)"
                .to_owned(),
        ),
        (
            "image: i\nnetworks: [front]",
            "`c.yaml:4`: `networks` of service `api` names the network `front`, which the file \
             does not declare (add it to `networks`)".to_owned(),
        ),
        (
            "image: i\ndepends_on:\n  bd:",
            "`c.yaml:5`: `depends_on` of service `api` names the service `bd`, which is not there \
             (is it in a profile that is not switched on?)".to_owned(),
        ),
        (
            "image: i\ndepends_on: {api: {condition: healthy}}",
            "`c.yaml:4`: `condition` of `api` of `depends_on` of service `api` has to be \
             `service_started`, `service_healthy` or `service_completed_successfully`, not \
             `healthy`".to_owned(),
        ),
        (
            "image: i\nhealthcheck: {test: [curl, localhost]}",
            "`c.yaml:4`: `test` of `healthcheck` of service `api` has to start with `CMD` and a \
             program, or be `CMD-SHELL` and one line (a text alone is a line for the shell)"
                .to_owned(),
        ),
        (
            "image: i\nhealthcheck:\n  interval: 10",
            "`c.yaml:5`: `interval` of `healthcheck` of service `api` has to be a time such as \
             `1m30s`, not `10`".to_owned(),
        ),
        (
            "image: i\nmem_limit: 1x",
            "`c.yaml:4`: `mem_limit` of service `api` has to be a size such as `512m`, not `1x`"
                .to_owned(),
        ),
        (
            "image: i\nscale: 2\ndeploy: {replicas: 3}",
            "`c.yaml:4`: `scale` of service `api` says something else than `deploy`".to_owned(),
        ),
        (
            "image: i\ndeploy:\n  update_config: {order: new-first}",
            "`c.yaml:5`: `order` of `update_config` of `deploy` of service `api` has to be \
             `start-first` or `stop-first`, not `new-first`".to_owned(),
        ),
        (
            "image: i\nscale: 2\ncontainer_name: one",
            "`c.yaml:5`: `container_name` of service `api` is one name for several replicas \
             (remove it: services reach each other by the service's name)".to_owned(),
        ),
        (
            "image: i\ninit: yes",
            "`c.yaml:4`: `init` of service `api` has to be `true` or `false`, not `yes`".to_owned(),
        ),
        (
            "image: i\nrestart: sometimes",
            "`c.yaml:4`: `restart` of service `api` has to be `no`, `always`, `on-failure`, \
             `on-failure:3` or `unless-stopped`, not `sometimes`".to_owned(),
        ),
        (
            "image: i\nextra_hosts: {a: host}",
            "`c.yaml:4`: `a` of `extra_hosts` of service `api` has to be an address such as \
             `10.0.0.1`, not `host`".to_owned(),
        ),
        (
            "image: i\nsecurity_opt: ['seccomp:profile.json']",
            "`c.yaml:4`: `security_opt` of service `api` has an option that staging does not \
             support (`no-new-privileges`, `label` and `unconfined` are known; take others away in \
             a file for staging with `!reset null`)".to_owned(),
        ),
        (
            "build: https://example.com/a.git",
            "`c.yaml:3`: `build` of service `api` is not a folder of this machine (clone it, or \
             name a built image with `image`)".to_owned(),
        ),
        (
            "build: {dockerfile: ../Dockerfile}",
            "`c.yaml:3`: `dockerfile` of `build` of service `api` is not below the build's \
             `context` (use a context that holds both)".to_owned(),
        ),
        (
            "build:\n  dockerfile_inline: FROM i",
            format!("`c.yaml:4`: `build` of service `api` has the key `dockerfile_inline`, which \
             staging does not support (write it to a file and name that with `dockerfile`; or \
             {change})"),
        ),
        (
            "image: i\nsecrets: [token]",
            "`c.yaml:4`: `secrets` of service `api` names the secret `token`, which the file does \
             not declare (add it to `secrets`)".to_owned(),
        ),
        (
            "image: i\nenv_file: absent.env",
            "`c.yaml:4`: `env_file` of service `api` names the file `absent.env`, which cannot be \
             read as text".to_owned(),
        ),
        (
            "extends: ap",
            "`c.yaml:3`: `extends` of service `api` names the service `ap`, which is not there \
             (did you mean `api`?)".to_owned(),
        ),
        (
            "extends: api",
            "`c.yaml:3`: `extends` of service `api` leads back to itself".to_owned(),
        ),
        (
            "extends: {file: c.yaml, service: api}",
            "`c.yaml:3`: `extends` of service `api` leads back to itself".to_owned(),
        ),
        (
            "image: i\ndepends_on: [api]",
            "services `api` wait for each other (`depends_on`) (one of them has to start without \
             the others)".to_owned(),
        ),
    ] {
        assert_eq!(of_service(lines), expected, "{lines}");
    }
}

#[test]
fn files() {
    for (text, expected) in [
        ("", "`c.yaml:1`: the file is empty"),
        (
            "a: b: c",
            "`c.yaml:1`: this is not YAML: mapping values are not allowed in this context",
        ),
        ("- a", "`c.yaml:1`: the file has to be a map, not a list"),
        ("x-a: b", "`c.yaml:1`: the file has no `services`"),
        (
            "serivces: {}",
            "`c.yaml:1`: the file has the key `serivces`, which is unknown (did you mean \
             `services`?)",
        ),
        (
            "services: {}\n---\nservices: {}",
            "`c.yaml:2`: a second document starts here (keep one, and name the others with `and`)",
        ),
        (
            "include: [a.yaml]",
            "`c.yaml:1`: the file has the key `include`, which staging does not support (name the \
             files one by one with `and`; or remove it, or take it away in a file for staging with \
             `!reset null`)",
        ),
        (
            "services: {a b: {image: i}}",
            "`c.yaml:1`: `a b` is no name for a service (names are made of letters, digits, `.`, \
             `_` and `-`)",
        ),
        (
            "services: {}\nnetworks:\n  front:\n    external: true",
            "`c.yaml:4`: network `front` is `external`, but a staging environment has only what it \
             made itself (override it in a file for staging, `networks: {front: !override {}}`, \
             and put into it what the services need)",
        ),
        (
            "services: {}\nvolumes: {data: {external: true}}",
            "`c.yaml:2`: volume `data` is `external`, but a staging environment has only what it \
             made itself (override it in a file for staging, `volumes: {data: !override {}}`, and \
             put into it what the services need)",
        ),
        (
            "services: {}\nnetworks: {front: {driver: overlay}}",
            "`c.yaml:2`: `driver` of network `front` is not supported in staging (the driver is \
             `bridge`: override it in a file for staging)",
        ),
        (
            "services: {}\nvolumes: {data: {driver_opts: {type: nfs}}}",
            "`c.yaml:2`: `type` of `driver_opts` of volume `data` is not supported in staging \
             (`tmpfs` is; a folder is mounted by the services themselves)",
        ),
        (
            "services: {}\nsecrets: {token: {external: true}}",
            "`c.yaml:2`: secret `token` is `external`, but staging has no store of secrets \
             (override it in a file for staging: `secrets: {token: !override {file: …}}`)",
        ),
        (
            "services: {}\nsecrets: {token: {}}",
            "`c.yaml:2`: secret `token` needs one of `file`, `environment` and `content`",
        ),
        (
            "services: {a: {image: i, secrets: [t]}}\nsecrets: {t: {environment: NO}}",
            "`c.yaml:2`: `environment` of secret `t` names the variable `NO`, which is not set \
             (set it with `with_variable`, or in `.env`)",
        ),
        (
            "services: {a: {image: i, secrets: [{source: t, mode: 440}]}}\nsecrets: {t: {content: a-secret}}",
            "`c.yaml:1`: `mode` of `secrets` of service `a` has to be octal with a `0` before it, \
             such as `0440`, not `440`",
        ),
        (
            "services: {a: *b}",
            "`c.yaml:1`: this is not YAML: while parsing node, found unknown anchor",
        ),
        (
            "x-a: &a [*a]\nservices: {}",
            "`c.yaml:1`: this alias stands inside of what it is an alias of",
        ),
        (
            "services: {a: !other {image: i}}",
            "`c.yaml:1`: the tag `!other` is unknown (compose has `!reset` and `!override`)",
        ),
        (
            "services: {a: {<<: i}}",
            "`c.yaml:1`: `<<` takes a map or a list of maps",
        ),
        (
            "services: {a: {image: i, profiles: [p]}, b: {image: i, depends_on: [a]}}",
            "`c.yaml:1`: `depends_on` of service `b` names the service `a`, which is not there \
             (is it in a profile that is not switched on?)",
        ),
    ] {
        assert_eq!(said(&[("c.yaml", text)]), expected, "{text}");
    }
}

#[test]
fn the_file_at_fault_is_named() {
    let base = ("c.yaml", "services:\n  a:\n    image: i\n    ports: [80]\n");
    for (files, expected) in [
        (
            vec![base, ("over.yaml", "services:\n  a:\n    prots: [81]")],
            "`over.yaml:3`: service `a` has the key `prots`, which is unknown (did you mean \
             `ports`?)",
        ),
        (
            vec![base, ("over.yaml", "services:\n  a:\n    ports: {a: b}")],
            "`over.yaml:3`: `services.a.ports` is of another kind than the one that it is merged \
             over, `c.yaml:4` (replace it as a whole with `!override`)",
        ),
        (
            vec![base, (".env", "\nA='x\n")],
            "`.env:2`: the value of `A` has a quote that does not close",
        ),
        (
            vec![
                ("c.yaml", "services: {a: {image: i, env_file: a.env}}"),
                ("a.env", "A=1\nB=$NO"),
            ],
            "`a.env:2`: the value of `B` needs the variable `NO`, which is not set (set it, or put \
             the value in single quotes if it is no variable)",
        ),
        (
            vec![
                (
                    "c.yaml",
                    "services: {a: {extends: {file: b.yaml, service: a}}}",
                ),
                (
                    "b.yaml",
                    "services:\n  a:\n    extends: {file: c.yaml, service: a}",
                ),
            ],
            "`b.yaml:3`: `extends` of service `a` leads back to itself",
        ),
        (
            vec![
                (
                    "c.yaml",
                    "services: {a: {extends: {file: b.yaml, service: a}}}",
                ),
                ("b.yaml", "services:\n  a:\n    image: ${TAG}"),
            ],
            "`b.yaml:3`: `image` of service `a` needs the variable `TAG`, which is not set (set it \
             with `with_variable`, or in `.env`, or give it a default: `${TAG:-}`)",
        ),
    ] {
        assert_eq!(said(&files), expected);
    }
    let absent = Compose::file("absent.yaml").read().unwrap_err();
    assert_eq!(
        absent.to_string(),
        "the file `absent.yaml` cannot be read as text"
    );
}

/// A few lines of aliases of aliases would come to a thousand million nodes.
#[test]
fn aliases_of_aliases_are_bounded() {
    let mut text = "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("x-{level}: &a{level} [{items}]\n"));
    }
    let said = said(&[("c.yaml", &text)]);
    assert!(
        said.contains("too large, its aliases written out"),
        "{said}"
    );
}
