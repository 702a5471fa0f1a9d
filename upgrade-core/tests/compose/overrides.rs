//! What staging does otherwise than the compose file of production, and how that is shown.

use upgrade_core::ErrorKind;
use upgrade_core::docker::{Compose, Limits, Mount, Override, Overrides, Stack, Volume};

use super::data;

fn production() -> Stack {
    Compose::file(data("shop/compose.yaml")).read().unwrap()
}

fn less_memory() -> Override {
    Override::new("less memory", "CI machines have 4 GB").on("api", |api| {
        api.limits.memory = Some(64 << 20);
        api.replicas = 1;
    })
}

fn fake_secrets() -> Override {
    Override::new("fake secrets", "staging has no customers")
        .on("db", |db| db.files[0].content = "fake".into())
        .on("api", |api| {
            let url = "postgres://shop:fake@db:5432/shop";
            api.environment.insert("DATABASE_URL".into(), url.into());
            api.environment.insert("TRACE".into(), "everything".into());
        })
}

#[test]
fn each_override_is_shown_with_its_reason_and_without_secrets() {
    let overrides = Overrides::new().with(less_memory()).with(fake_secrets());
    let diff = overrides.diff(&production()).unwrap();
    let beginning = "less memory: CI machines have 4 GB\n--- production\n+++ staging\n@@ ";
    assert!(diff.starts_with(beginning), "{diff}");
    for line in [
        "-services.api.limits.memory: 536870912",
        "+services.api.limits.memory: 67108864",
        "-services.api.replicas: 2",
        "+services.api.replicas: 1",
        "fake secrets: staging has no customers",
        "-services.api.environment.DATABASE_URL: ***",
        "+services.api.environment.DATABASE_URL: *** (another)",
        "+services.api.environment.TRACE: ***",
        "-services.db.files.db_password.content: ***",
        "+services.db.files.db_password.content: *** (another)",
    ] {
        assert!(diff.lines().any(|shown| shown == line), "{line}:\n{diff}");
    }
    let changed = diff.lines().filter(|line| {
        let changed = line.starts_with('-') || line.starts_with('+');
        changed && !line.starts_with("---") && !line.starts_with("+++")
    });
    assert_eq!(changed.count(), 9, "{diff}");
    for secret in ["fake@", "pa$$word", "everything"] {
        assert!(!diff.contains(secret), "{diff}");
    }
    let staging = overrides.apply(&production()).unwrap();
    assert_eq!(staging.services["api"].replicas, 1);
    assert_eq!(staging.services["db"].files[0].content.expose(), "fake");
    let whole = staging.diff(&production());
    assert!(whole.contains("+services.api.replicas: 1\n"), "{whole}");
    assert_eq!(production().diff(&production()), "");
}

#[test]
fn every_thing_that_can_be_changed_is_seen() {
    let seen = |change: fn(&mut Stack)| {
        let all = Overrides::new().with(Override::new("a", "b").on_stack(change));
        let staging = all.apply(&production()).unwrap();
        let diff = staging.diff(&production());
        assert!(diff.contains("@@"), "{staging:?}");
        diff
    };
    let api = |stack: &mut Stack| stack.services.remove("api").unwrap();
    seen(|stack| {
        let mut volume = Volume::default();
        volume.bytes = Some(1 << 20);
        stack.volumes.insert("data".into(), volume);
    });
    let gone = seen(|stack| {
        stack.services.remove("worker");
        stack.services.remove("proxy");
    });
    assert!(gone.contains("-services.proxy.image: nginx:1.29"), "{gone}");
    // One change of each kind of field.
    let mut changed = Vec::new();
    let mut change = |with: fn(&mut upgrade_core::docker::Service)| {
        let mut staging = production();
        let mut service = api(&mut staging);
        with(&mut service);
        staging.services.insert("api".into(), service);
        let diff = staging.diff(&production());
        assert!(diff.contains("@@"), "change {}: {diff}", changed.len());
        changed.push(diff);
    };
    change(|api| api.image = upgrade_core::docker::Image::named("other"));
    change(|api| api.entrypoint = Some(vec!["other".into()]));
    change(|api| api.command = None);
    change(|api| api.user = Some("other".into()));
    change(|api| api.working_dir = Some("/other".into()));
    change(|api| api.hostname = Some("other".into()));
    change(|api| drop(api.labels.insert("a".into(), "b".into())));
    change(|api| api.ports.clear());
    change(|api| {
        api.mounts.push(Mount::Tmpfs {
            target: "/t".into(),
            bytes: Some(1),
            mode: None,
            exec: false,
        });
    });
    change(|api| drop(api.networks.insert("other".into(), Vec::new())));
    change(|api| api.depends_on.clear());
    change(|api| api.healthcheck = None);
    change(|api| api.limits = Limits::default());
    change(|api| drop(api.extra_hosts.insert("a".into(), "10.0.0.1".into())));
    change(|api| api.stop_signal = Some("SIGINT".into()));
    change(|api| api.stop_grace_period = Some(std::time::Duration::from_secs(1)));
    change(|api| api.restart = upgrade_core::docker::Restart::Always);
    change(|api| api.init = false);
    change(|api| api.read_only = true);
    change(|api| api.tty = true);
    change(|api| api.cap_add.push("NET_ADMIN".into()));
    change(|api| api.cap_drop.push("CHOWN".into()));
    change(|api| drop(api.sysctls.insert("net.core.somaxconn".into(), "9".into())));
}

#[test]
fn an_override_that_does_nothing_is_refused() {
    for (one, expected) in [
        (
            Override::new("typo", "x").on("apy", |_| ()),
            "override `typo` names service `apy`, which the stack does not have (did you mean `api`?)",
        ),
        (
            Override::new("elsewhere", "x").on("mailer", |_| ()),
            "override `elsewhere` names service `mailer`, which the stack does not have (it has api, db, migrate, proxy)",
        ),
        (
            Override::new("old", "x").on("api", |api| api.replicas = 2),
            "override `old` changes nothing of service `api` (production is so already: remove the override)",
        ),
        (
            Override::new("old", "x").on_stack(|_| ()),
            "override `old` changes nothing of the stack (production is so already: remove the override)",
        ),
        (
            Override::new("empty", "x"),
            "override `empty` changes nothing (name what it changes by `on` or `on_stack`)",
        ),
        (
            Override::new("why", " ").on("api", |api| api.replicas = 1),
            "override `why` has no reason (say why staging differs)",
        ),
    ] {
        let overrides = Overrides::new().with(one);
        for error in [
            overrides.apply(&production()).unwrap_err(),
            overrides.diff(&production()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), expected);
        }
    }
    let twice = Overrides::new().with(less_memory()).with(less_memory());
    let error = twice.apply(&production()).unwrap_err();
    assert!(error.to_string().contains("is there twice"), "{error}");
}
