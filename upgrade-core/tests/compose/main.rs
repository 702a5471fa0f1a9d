//! Compose files: what is read from realistic ones, and what is said about broken ones.
#![cfg(feature = "docker")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod broken;
mod cases;
mod host;
mod overrides;
mod robust;

use std::path::{Path, PathBuf};
use std::time::Duration;

use upgrade_core::Secret;
use upgrade_core::docker::{
    Compose, Condition, DEFAULT_NETWORK, Healthcheck, Image, Mount, Port, Protocol, Restart,
    Service, ServiceFile,
};

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/compose")
        .join(path)
}

fn variable<'s>(service: &'s Service, name: &str) -> &'s str {
    service.environment[name].expose()
}

fn named(name: &str) -> Image {
    Image::named(name)
}

fn port(container: u16, published: Option<u16>, protocol: Protocol) -> Port {
    let mut port = Port::tcp(container);
    port.published = published;
    port.protocol = protocol;
    port
}

fn volume(name: Option<&str>, target: &str, read_only: bool) -> Mount {
    Mount::Volume {
        name: name.map(str::to_owned),
        target: target.into(),
        read_only,
    }
}

fn bind(source: &str, target: &str, read_only: bool) -> Mount {
    Mount::Bind {
        source: data(source),
        target: target.into(),
        read_only,
    }
}

fn tmpfs(target: &str, bytes: Option<u64>) -> Mount {
    Mount::Tmpfs {
        target: target.into(),
        bytes,
        mode: None,
        exec: false,
    }
}

#[test]
fn a_shop_is_read() {
    let stack = Compose::file(data("shop/compose.yaml")).read().unwrap();
    assert_eq!(
        stack.start_order().unwrap(),
        [vec!["db"], vec!["migrate"], vec!["api"], vec!["proxy"]]
    );
    let api = &stack.services["api"];
    assert_eq!(api.image, named("registry.example.com/shop-api:1.7"));
    assert_eq!(
        api.command.as_deref().unwrap(),
        ["shop-api", "--listen", "0.0.0.0:8080"]
    );
    assert_eq!(
        variable(api, "DATABASE_URL"),
        "postgres://shop:pa$$word@db:5432/shop"
    );
    assert_eq!(variable(api, "LOG_LEVEL"), "info");
    assert_eq!(variable(api, "FEATURES"), "cart,search");
    assert_eq!(api.replicas, 2);
    assert!(api.start_first);
    assert_eq!(api.restart, Restart::UnlessStopped);
    assert!(api.init);
    assert_eq!(api.limits.milli_cpus, Some(500));
    assert_eq!(api.limits.memory, Some(512 << 20));
    assert_eq!(api.depends_on["migrate"].condition, Condition::Completed);
    let Some(Healthcheck::Command(check)) = &api.healthcheck else {
        panic!("no check");
    };
    assert_eq!(check.start_period, Some(Duration::from_secs(90)));
    assert_eq!(check.retries, Some(10));
    assert_eq!(stack.services["migrate"].restart, Restart::No);

    let db = &stack.services["db"];
    let password = ServiceFile::new("db_password", "/run/secrets/db_password", "pa$$word");
    assert_eq!(db.files, [password]);
    assert_eq!(db.limits.shm, Some(256 << 20));
    assert_eq!(
        db.healthcheck,
        Some(Healthcheck::shell("pg_isready -U shop"))
    );
    let proxy = &stack.services["proxy"];
    assert_eq!(
        proxy.mounts,
        [
            bind("shop/nginx.conf", "/etc/nginx/nginx.conf", true),
            volume(Some("assets"), "/usr/share/nginx/html", true)
        ]
    );
    assert_eq!(
        proxy.ports,
        [
            port(80, Some(80), Protocol::Tcp),
            port(443, Some(443), Protocol::Tcp)
        ]
    );
}

#[test]
fn profiles_and_variables_are_asked_for() {
    let compose = Compose::file(data("shop/compose.yaml"))
        .with_variable("VERSION", "1.8")
        .with_profile("workers");
    let stack = compose.read().unwrap();
    let worker = &stack.services["worker"];
    assert_eq!(worker.image, named("registry.example.com/shop-api:1.8"));
    assert_eq!(variable(worker, "QUEUES"), "mail,invoices");
    assert_eq!(variable(worker, "LOG_LEVEL"), "info");
    let error = compose.with_profile("worker").read().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no service has the profile `worker` (did you mean `workers`?)"
    );
}

#[test]
fn a_second_file_is_merged_over_the_first() {
    let stack = Compose::file(data("shop/compose.yaml"))
        .and(data("shop/compose.staging.yaml"))
        .read()
        .unwrap();
    let proxy = &stack.services["proxy"];
    assert_eq!(proxy.ports, [port(443, Some(8443), Protocol::Tcp)]);
    let api = &stack.services["api"];
    assert_eq!(variable(api, "LOG_LEVEL"), "debug");
    assert_eq!(variable(api, "MAIL"), "off");
    assert!(variable(api, "DATABASE_URL").starts_with("postgres://"));
    assert_eq!((api.replicas, api.limits.memory), (1, None));
    assert_eq!(
        stack.services["db"].mounts,
        [volume(Some("fast"), "/var/lib/postgresql/data", false)]
    );
    assert_eq!(stack.volumes["fast"].bytes, Some(512 << 20));
}

/// The process environment is asked only on request, and goes before `.env`.
#[test]
fn the_process_environment_is_taken_only_on_request() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "PATH=file\nHERE=here\n").unwrap();
    let file = dir.path().join("compose.yaml");
    std::fs::write(
        &file,
        "services: {a: {image: i, environment: [PATH, HERE, 'B=${PATH}']}}",
    )
    .unwrap();
    let read = |compose: Compose| {
        let stack = compose.read().unwrap();
        let a = &stack.services["a"];
        assert_eq!(variable(a, "HERE"), "here");
        assert_eq!(variable(a, "B"), variable(a, "PATH"));
        variable(a, "PATH").to_owned()
    };
    let process = std::env::var("PATH").unwrap();
    let compose = Compose::file(&file);
    assert_eq!(read(compose.clone()), "file");
    assert_eq!(read(compose.clone().with_process_environment()), process);
    let explicit = compose.with_process_environment();
    assert_eq!(read(explicit.with_variable("PATH", "explicit")), "explicit");
}

fn every() -> Compose {
    Compose::file(data("every/compose.yaml"))
        .with_variable("PASSED", "passed")
        .with_variable("TOKEN", "hunter2")
        .with_capability("NET_ADMIN")
}

#[test]
fn every_key_is_read() {
    let stack = every().read().unwrap();
    let all = &stack.services["all"];
    let Image::Build(build) = &all.image else {
        panic!("no build");
    };
    assert_eq!(build.context, data("every/app"));
    assert_eq!(build.dockerfile, Path::new("docker/Dockerfile"));
    assert_eq!(build.target.as_deref(), Some("release"));
    assert_eq!(build.args["COMMIT"], Secret::new("0755"));
    assert_eq!(build.args["TOKEN"], Secret::new("hunter2"));
    assert_eq!(build.tag.as_deref(), Some("example/all:1.0"));
    assert_eq!(
        all.entrypoint.as_deref().unwrap(),
        ["/entry", "--flag", "two words"]
    );
    assert_eq!(all.command.as_deref().unwrap(), ["run", "fast"]);
    let environment: Vec<(&str, &str)> = all
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(
        environment,
        [
            ("EMPTY", ""),
            ("FLAG", "true"),
            ("FROM_FILE", "passed-1"),
            ("NUMBER", "5"),
            ("PASSED", "passed"),
            ("PLAIN", "text"),
            ("PRICE", "5$"),
            ("RAW", "$x \"y\""),
        ]
    );
    assert_eq!(all.user.as_deref(), Some("1000:1000"));
    assert_eq!(all.working_dir.as_deref(), Some("/srv"));
    assert_eq!(all.hostname.as_deref(), Some("all-host"));
    assert_eq!(all.labels["com.example.a"], "1");
    assert_eq!(all.labels["com.example.b"], "");
    assert_eq!(
        all.ports,
        [
            port(9090, None, Protocol::Tcp),
            port(80, Some(8081), Protocol::Tcp),
            port(81, Some(8082), Protocol::Udp),
            port(4000, Some(3000), Protocol::Tcp),
            port(4001, Some(3001), Protocol::Tcp),
            port(443, Some(8443), Protocol::Tcp),
        ]
    );
    assert_eq!(
        all.mounts,
        [
            volume(Some("data"), "/data", false),
            bind("every/app/config", "/config", true),
            bind("every/app", "/app", true),
            volume(None, "/anonymous", false),
            volume(Some("data"), "/more", true),
            bind("every/app", "/bound", false),
            tmpfs("/mem", Some(64 << 20)),
            tmpfs("/run", Some(1 << 20)),
            tmpfs("/tmp", None),
        ]
    );
    let settings = "mode = \"fast\"\n";
    let mut key = ServiceFile::new("key", "/run/secrets/server.key", "a test key\n");
    (key.mode, key.owner) = (0o440, (1000, 1001));
    let mut first = ServiceFile::new("settings", "/settings", settings);
    let mut second = ServiceFile::new("settings", "/etc/all.toml", settings);
    (first.secret, second.secret, second.mode) = (false, false, 0o400);
    assert_eq!(
        all.files,
        [
            ServiceFile::new("token", "/run/secrets/token", "hunter2"),
            key,
            first,
            second,
        ]
    );
    assert_eq!(all.networks["front"], ["www", "shop", "everything"]);
    assert_eq!(all.networks["back"], ["everything"]);
    assert_eq!(all.depends_on["db"].condition, Condition::Healthy);
    assert!(!all.depends_on["nothing"].required);
    let Some(Healthcheck::Command(check)) = &all.healthcheck else {
        panic!("no check");
    };
    assert_eq!(check.test, ["CMD-SHELL", "curl localhost || exit 1"]);
    assert_eq!(check.interval, Some(Duration::from_secs(90)));
    assert_eq!(check.timeout, Some(Duration::from_millis(500)));
    assert_eq!(check.retries, Some(3));
    assert_eq!(check.start_period, Some(Duration::from_secs(3600)));
    assert_eq!(all.limits.memory, Some(3 << 29));
    assert_eq!(all.limits.milli_cpus, Some(500));
    assert_eq!(all.limits.pids, Some(100));
    assert_eq!(all.limits.shm, Some(64 << 10));
    assert_eq!(all.extra_hosts["a.example"], "10.0.0.1");
    assert_eq!(all.extra_hosts["b.example"], "::1");
    assert_eq!(all.extra_hosts["host"], "host-gateway");
    assert_eq!(all.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(all.stop_grace_period, Some(Duration::from_secs(45)));
    assert_eq!(all.restart, Restart::OnFailure(Some(4)));
    assert!(all.init && all.read_only && all.tty);
    assert_eq!(
        (&all.cap_add[..], &all.cap_drop[..]),
        (&["NET_ADMIN".to_owned()][..], &["ALL".to_owned()][..])
    );
    assert_eq!(all.sysctls["net.core.somaxconn"], "1024");
    assert!(stack.networks["back"].internal && !stack.networks["front"].internal);
    assert_eq!(stack.networks["front"].labels["a"], "b");
    assert!(!stack.networks.contains_key(DEFAULT_NETWORK));
    assert_eq!(stack.volumes["data"].labels["a"], "b");
    assert_eq!(stack.volumes["ram"].bytes, Some(16 << 20));
}

#[test]
fn services_extend_others_from_their_own_folder() {
    let stack = every().read().unwrap();
    let db = &stack.services["db"];
    assert_eq!(db.image, named("postgres:17"));
    assert_eq!(variable(db, "POSTGRES_PASSWORD"), "from-common");
    assert_eq!(variable(db, "POSTGRES_DB"), "every");
    assert_eq!(db.labels["team"], "storage");
    assert_eq!(
        db.mounts,
        [bind(
            "every/common/init",
            "/docker-entrypoint-initdb.d",
            true
        )]
    );
    let replica = &stack.services["replica"];
    assert_eq!(replica.healthcheck, Some(Healthcheck::Disabled));
    assert_eq!(replica.command.as_deref(), Some(&[][..]));
    assert_eq!(replica.image, db.image);
}

#[test]
fn a_container_name_alone_is_an_alias_on_the_default_network() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("compose.yaml");
    std::fs::write(&file, "services: {a: {image: i, container_name: one}}").unwrap();
    let stack = Compose::file(file).read().unwrap();
    assert_eq!(stack.services["a"].networks[DEFAULT_NETWORK], ["one"]);
}

#[test]
fn no_secret_is_printed() {
    let stack = every().read().unwrap();
    let printed = format!("{stack:?} {stack:#?} {:?}", every());
    for secret in ["hunter2", "from-common", "a test key"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}
