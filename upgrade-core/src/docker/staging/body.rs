//! A service as the request that makes one of its containers.

use std::collections::HashMap;
use std::time::Duration;

use testcontainers::bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, Mount as EngineMount,
    MountBindOptions, MountTmpfsOptions, MountType, NetworkingConfig, RestartPolicy,
    RestartPolicyNameEnum,
};

use crate::docker::stack::{Healthcheck, Mount, Restart, Service};

/// Where a container asks for the names that its networks do not know. Nobody is there: what is
/// not part of the environment has no address.
const NOWHERE: &str = "127.0.0.1";

/// What a container needs to know of the environment that it becomes part of.
pub(super) struct Place<'a> {
    /// The image that was found, pulled or built for the service.
    pub(super) image: &'a str,
    /// The labels of the environment.
    pub(super) labels: &'a HashMap<String, String>,
    /// The engine's name of the first network, and the names by which the container is known there.
    pub(super) network: (&'a str, Vec<String>),
    /// The engine's name of a volume of the stack.
    pub(super) volume: &'a dyn Fn(&str) -> String,
    /// Names outside that are let through, and where.
    pub(super) allowed: &'a [(String, String)],
}

/// The request for a container of a service.
pub(super) fn body(service: &Service, place: &Place<'_>) -> ContainerCreateBody {
    let mut labels: HashMap<_, _> = service.labels.clone().into_iter().collect();
    labels.extend(place.labels.clone());
    let variables = service.environment.iter();
    let (network, aliases) = &place.network;
    let endpoint = EndpointSettings {
        aliases: Some(aliases.clone()),
        ..EndpointSettings::default()
    };
    ContainerCreateBody {
        image: Some(place.image.to_owned()),
        entrypoint: service.entrypoint.clone(),
        cmd: service.command.clone(),
        env: Some(
            variables
                .map(|(name, value)| format!("{name}={}", value.expose()))
                .collect(),
        ),
        user: service.user.clone(),
        working_dir: service.working_dir.clone(),
        hostname: service.hostname.clone(),
        labels: Some(labels),
        healthcheck: service.healthcheck.as_ref().map(health),
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service
            .stop_grace_period
            .map(|period| i64::try_from(period.as_secs()).unwrap_or(i64::MAX)),
        tty: Some(service.tty),
        host_config: Some(host_config(service, place)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([((*network).to_owned(), endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(service: &Service, place: &Place<'_>) -> HostConfig {
    let own = service.extra_hosts.iter();
    let allowed = place.allowed.iter().map(|(name, address)| (name, address));
    let limits = &service.limits;
    HostConfig {
        network_mode: Some(place.network.0.to_owned()),
        dns: Some(vec![NOWHERE.to_owned()]),
        // The engine lets a question to nobody time out; names that it knows, it answers at once.
        dns_options: Some(vec!["timeout:1".to_owned(), "attempts:1".to_owned()]),
        extra_hosts: Some(
            own.chain(allowed)
                .map(|(name, address)| format!("{name}:{address}"))
                .collect(),
        ),
        mounts: Some(
            service
                .mounts
                .iter()
                .filter(|mount| !is_executable(mount))
                .map(|mount| engine_mount(mount, place.volume))
                .collect(),
        ),
        tmpfs: Some(
            service
                .mounts
                .iter()
                .filter_map(executable_memory)
                .collect(),
        ),
        nano_cpus: limits.milli_cpus.map(|milli| signed(milli) * 1_000_000),
        memory: limits.memory.map(signed),
        // Swap would let it use more, and slowly.
        memory_swap: limits.memory.map(signed),
        pids_limit: limits.pids,
        shm_size: limits.shm.map(signed),
        init: Some(service.init),
        readonly_rootfs: Some(service.read_only),
        cap_add: Some(service.cap_add.clone()),
        cap_drop: Some(service.cap_drop.clone()),
        sysctls: Some(service.sysctls.clone().into_iter().collect()),
        restart_policy: Some(restart(service.restart)),
        ..HostConfig::default()
    }
}

fn engine_mount(mount: &Mount, volume: &dyn Fn(&str) -> String) -> EngineMount {
    match mount {
        Mount::Volume {
            name,
            target,
            read_only,
        } => EngineMount {
            typ: Some(MountType::VOLUME),
            source: name.as_deref().map(volume),
            target: Some(target.clone()),
            read_only: Some(*read_only),
            ..EngineMount::default()
        },
        Mount::Bind {
            source,
            target,
            read_only,
        } => EngineMount {
            typ: Some(MountType::BIND),
            source: Some(source.display().to_string()),
            target: Some(target.clone()),
            read_only: Some(*read_only),
            bind_options: Some(MountBindOptions::default()),
            ..EngineMount::default()
        },
        Mount::Tmpfs {
            target,
            bytes,
            mode,
            ..
        } => EngineMount {
            typ: Some(MountType::TMPFS),
            target: Some(target.clone()),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: bytes.map(signed),
                mode: mode.map(i64::from),
                ..MountTmpfsOptions::default()
            }),
            ..EngineMount::default()
        },
    }
}

fn is_executable(mount: &Mount) -> bool {
    matches!(mount, Mount::Tmpfs { exec: true, .. })
}

/// Memory in which programs may be run, which the engine's mounts do not offer; as its older form
/// of an option.
fn executable_memory(mount: &Mount) -> Option<(String, String)> {
    let Mount::Tmpfs {
        target,
        bytes,
        mode,
        exec: true,
    } = mount
    else {
        return None;
    };
    let mut options = "rw,exec,nosuid,nodev".to_owned();
    if let Some(bytes) = bytes {
        options.push_str(&format!(",size={bytes}"));
    }
    options.push_str(&format!(",mode={:o}", mode.unwrap_or(0o1777)));
    Some((target.clone(), options))
}

fn health(check: &Healthcheck) -> HealthConfig {
    let nanos = |time: Option<Duration>| {
        time.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    };
    match check {
        Healthcheck::Disabled => HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        },
        Healthcheck::Command(check) => HealthConfig {
            test: Some(check.test.clone()),
            interval: nanos(check.interval),
            timeout: nanos(check.timeout),
            retries: check.retries.map(i64::from),
            start_period: nanos(check.start_period),
            start_interval: None,
        },
    }
}

fn restart(policy: Restart) -> RestartPolicy {
    let (name, count) = match policy {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::OnFailure(times) => (RestartPolicyNameEnum::ON_FAILURE, times),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: count.map(i64::from),
    }
}

/// The engine counts with signs.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
