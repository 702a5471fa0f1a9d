//! One service.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::image;
use super::deploy::{agreed, deploy, limits, restart};
use super::env_file;
use super::field::{Field, Fields, nearest};
use super::files::{self, Definitions};
use super::health::healthcheck;
use super::merge::named;
use super::mounts::mounts;
use super::networks;
use super::ports::ports;
use super::tree::Source;
use crate::docker::host;
use crate::docker::stack::{
    Condition, DEFAULT_NETWORK, Dependency, Image, Mount, Network, Service, Volume,
};
use crate::error::Result;
use crate::secret::Secret;

/// What the rest of the file declares.
pub(super) struct Declared<'a> {
    /// The services whose profiles are switched on.
    pub(super) services: Vec<&'a str>,
    pub(super) networks: &'a BTreeMap<String, Network>,
    pub(super) volumes: &'a BTreeMap<String, Volume>,
    pub(super) secrets: Definitions<'a>,
    pub(super) configs: Definitions<'a>,
}

/// Reads a service. What has a problem is left out of it.
pub(super) fn service(fields: Fields<'_>, declared: &Declared<'_>) -> Service {
    let reading = fields.whole.reading;
    let image = reading.keep(image(&fields));
    let mut service = Service::new(image.unwrap_or_else(|| Image::named("")));
    service.entrypoint = fields.read("entrypoint", Field::command);
    service.command = fields.read("command", Field::command);
    service.environment = environment(&fields);
    service.user = fields.read("user", Field::filled);
    service.working_dir = fields.read("working_dir", Field::filled);
    service.hostname = fields.read("hostname", Field::filled);
    service.labels = fields.or_default("labels", Field::labels);
    service.ports = fields.or_default("ports", ports);
    service.mounts = fields
        .whole
        .reading
        .keep(mounts(&fields))
        .unwrap_or_default();
    for mount in &service.mounts {
        if let Mount::Volume {
            name: Some(name), ..
        } = mount
            && let Some(field) = fields.get("volumes")
        {
            let known = declared.volumes.keys().map(String::as_str);
            declares(&field, "volume", name, known);
        }
    }
    for (key, definitions) in [
        ("secrets", &declared.secrets),
        ("configs", &declared.configs),
    ] {
        fields.read(key, |field| {
            files::of_service(field, definitions, &mut service.files)
        });
    }
    if let Some(field) = fields.get("networks") {
        service.networks = fields.or_default("networks", networks::of_service);
        for name in service.networks.keys() {
            let known = declared.networks.keys().map(String::as_str);
            let known = known.chain([DEFAULT_NETWORK]);
            declares(&field, "network", name, known);
        }
    }
    service.depends_on = fields.or_default("depends_on", |field| dependencies(field, declared));
    service.healthcheck = fields.read("healthcheck", healthcheck).flatten();
    let deploy = fields.or_default("deploy", deploy);
    service.limits = reading.keep(limits(&fields, &deploy)).unwrap_or_default();
    let scale = fields.read("scale", Field::number);
    let replicas = reading.keep(agreed(&fields, "scale", scale, deploy.replicas));
    service.replicas = replicas.flatten().unwrap_or(1);
    service.start_first = deploy.start_first;
    let restart = fields.or_default("restart", |field| restart(field).map(Some));
    service.restart = deploy.restart.or(restart).unwrap_or(service.restart);
    service.extra_hosts = fields.or_default("extra_hosts", extra_hosts);
    service.stop_signal = fields.read("stop_signal", Field::filled);
    service.stop_grace_period = fields.read("stop_grace_period", Field::duration);
    service.init = fields.or_default("init", Field::boolean);
    service.read_only = fields.or_default("read_only", Field::boolean);
    service.tty = fields.or_default("tty", Field::boolean);
    service.cap_add = fields.or_default("cap_add", capabilities);
    service.cap_drop = fields.or_default("cap_drop", Field::texts);
    service.sysctls = fields.or_default("sysctls", Field::labels);
    fields.read("security_opt", security);
    fields.read("container_name", |field| {
        container_name(field, &mut service)
    });
    fields.accept(ACCEPTED);
    fields.refuse(REFUSED);
    fields.finish();
    service
}

/// Staging loses nothing by these: they are about how a machine is shared with others, how people
/// look at it, or what its own environment decides.
const ACCEPTED: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "cpu_shares",
    "cpuset",
    "develop",
    "dns",
    "dns_opt",
    "expose",
    "logging",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "oom_score_adj",
    "platform",
    "profiles",
    "pull_policy",
    "stdin_open",
    "ulimits",
];

const REFUSED: &[(&str, &str)] = &[
    ("cgroup", ""),
    ("cgroup_parent", ""),
    ("cpu_count", "say `cpus`"),
    ("cpu_percent", "say `cpus`"),
    ("cpu_period", "say `cpus`"),
    ("cpu_quota", "say `cpus`"),
    ("cpu_rt_period", ""),
    ("cpu_rt_runtime", ""),
    ("credential_spec", ""),
    ("device_cgroup_rules", ""),
    ("devices", ""),
    ("dns_search", ""),
    ("domainname", ""),
    (
        "external_links",
        "staging reaches nothing outside of itself",
    ),
    ("gpus", ""),
    ("group_add", ""),
    ("ipc", ""),
    ("isolation", ""),
    ("label_file", "say `labels`"),
    (
        "links",
        "services reach each other by name; say `depends_on`, and `aliases` of `networks`",
    ),
    ("mac_address", ""),
    ("models", ""),
    ("network_mode", "say `networks`"),
    ("oom_kill_disable", ""),
    ("pid", ""),
    ("post_start", ""),
    ("pre_stop", ""),
    ("privileged", ""),
    ("provider", ""),
    ("runtime", ""),
    ("storage_opt", ""),
    ("use_api_socket", ""),
    ("userns_mode", ""),
    ("uts", ""),
    ("volumes_from", "name the volumes with `volumes`"),
];

fn declares<'k>(
    field: &Field<'_>,
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = &'k str>,
) {
    let known: Vec<&str> = known.into_iter().collect();
    if known.contains(&name) {
        return;
    }
    let error = field.error(format!(
        "names the {kind} `{name}`, which the file does not declare"
    ));
    let error = match nearest(name, known) {
        Some(known) => error.with_hint(format!("did you mean `{known}`?")),
        None => error.with_hint(format!("add it to `{kind}s`")),
    };
    field.reading.keep(Err::<(), _>(error));
}

/// The variables: those of the files in their order, then those of the service.
fn environment(fields: &Fields<'_>) -> BTreeMap<String, Secret> {
    let mut environment = BTreeMap::new();
    fields.read("env_file", |field| {
        for item in field.one_or_more()? {
            let values = item.reading.keep(env_file(&item)).into_iter().flatten();
            environment.extend(values.map(|(name, value)| (name, Secret::new(value))));
        }
        Ok(())
    });
    environment.extend(fields.or_default("environment", Field::secrets));
    environment
}

fn env_file(item: &Field<'_>) -> Result<BTreeMap<String, String>> {
    let (path, required, raw) = if item.is_map() {
        let fields = item.fields()?;
        let path = fields.required("path")?.path()?;
        let required = fields.read("required", Field::boolean).unwrap_or(true);
        let raw = fields.or_default("format", |field| {
            field.parsed("`raw`", |text| (text == "raw").then_some(true))
        });
        fields.finish();
        (path, required, raw)
    } else {
        (item.path()?, true, false)
    };
    if !required && !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = files::read(item, &path)?;
    let source = Arc::new(Source {
        name: path.display().to_string(),
        folder: path,
    });
    if raw {
        return env_file::parse_raw(&text, &source);
    }
    env_file::parse(&text, &source, &|name| item.reading.get(name))
}

fn dependencies(
    field: &Field<'_>,
    declared: &Declared<'_>,
) -> Result<BTreeMap<String, Dependency>> {
    let node = named(field.node.clone(), &[])?;
    let whole = Field {
        node: &node,
        of: field.of.clone(),
        reading: field.reading,
    };
    let mut dependencies = BTreeMap::new();
    for (name, field) in whole.entries()? {
        let Some(fields) = field.reading.keep(field.fields()) else {
            continue;
        };
        let condition = fields.read("condition", |field| {
            field.parsed(
                "`service_started`, `service_healthy` or `service_completed_successfully`",
                |text| match text {
                    "service_started" => Some(Condition::Started),
                    "service_healthy" => Some(Condition::Healthy),
                    "service_completed_successfully" => Some(Condition::Completed),
                    _ => None,
                },
            )
        });
        let mut dependency = Dependency::new(condition.unwrap_or(Condition::Started));
        if let Some(required) = fields.read("required", Field::boolean) {
            dependency.required = required;
        }
        fields.accept(&["restart"]);
        fields.finish();
        if dependency.required && !declared.services.contains(&name) {
            let of = &whole.of;
            let error = field.node.at.error(format!(
                "{of} names the service `{name}`, which is not there"
            ));
            let error = match nearest(name, declared.services.iter().copied()) {
                Some(known) => error.with_hint(format!("did you mean `{known}`?")),
                None => error.with_hint("is it in a profile that is not switched on?"),
            };
            field.reading.keep(Err::<(), _>(error));
        }
        dependencies.insert(name.to_owned(), dependency);
    }
    Ok(dependencies)
}

fn extra_hosts(field: &Field<'_>) -> Result<BTreeMap<String, String>> {
    let node = named(field.node.clone(), &['=', ':'])?;
    let whole = Field {
        node: &node,
        of: field.of.clone(),
        reading: field.reading,
    };
    let mut hosts = BTreeMap::new();
    for (name, field) in whole.entries()? {
        let address = field.parsed("an address such as `10.0.0.1`", |text| {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            let is_address = bare.parse::<std::net::IpAddr>().is_ok();
            (is_address || text == "host-gateway").then(|| bare.to_owned())
        })?;
        hosts.insert(name.to_owned(), address);
    }
    Ok(hosts)
}

/// Capabilities beyond the engine's default are allowed by name.
fn capabilities(field: &Field<'_>) -> Result<Vec<String>> {
    field.each(|item| {
        let capability = item.filled()?;
        match host::is_more(&capability, &item.reading.capabilities) {
            false => Ok(capability),
            true => Err(item
                .refused(format!("asks for `{capability}`, {}", host::MORE))
                .with_hint(host::capability_hint(&capability))),
        }
    })
}

/// What hardens a container is accepted or refused, never dropped. What weakens it has no effect: a
/// service that needs it fails in staging, where it can be seen.
fn security(field: &Field<'_>) -> Result<()> {
    let read = |option: &Field<'_>| {
        let text = option.text()?;
        let (name, value) = text.split_once([':', '=']).unwrap_or((&text, "true"));
        match (name, value) {
            ("no-new-privileges", "true" | "false") => {}
            ("label", _) => option.note(format!(
                "has no effect: `{text}` is about SELinux, of which staging keeps the engine's \
                 defaults"
            )),
            ("seccomp" | "apparmor" | "systempaths", "unconfined") => option.note(format!(
                "has no effect: in spite of `{text}` staging confines the service as the engine \
                 does by default"
            )),
            _ => {
                return Err(option
                    .error("has an option that staging does not support")
                    .with_hint("`no-new-privileges`, `label` and `unconfined` are known; take others away in a file for staging with `!reset null`"));
            }
        }
        Ok(())
    };
    field.each(read).map(drop)
}

/// A container's name becomes an alias of the service, as several environments run at once.
fn container_name(field: &Field<'_>, service: &mut Service) -> Result<()> {
    let name = field.filled()?;
    if service.replicas > 1 {
        return Err(field
            .error("is one name for several replicas")
            .with_hint("remove it: services reach each other by the service's name"));
    }
    if service.networks.is_empty() {
        let default = DEFAULT_NETWORK.to_owned();
        service.networks.insert(default, Vec::new());
    }
    for aliases in service.networks.values_mut() {
        if !aliases.contains(&name) {
            aliases.push(name.clone());
        }
    }
    Ok(())
}
