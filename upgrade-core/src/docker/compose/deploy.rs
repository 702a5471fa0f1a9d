//! `deploy`, and what may stand there or at the service itself.

use super::field::{Field, Fields};
use super::scalar;
use crate::docker::stack::{Limits, Restart};
use crate::error::Result;

/// What `deploy` says, as far as it concerns staging.
#[derive(Default)]
pub(super) struct Deploy {
    pub(super) replicas: Option<u32>,
    pub(super) restart: Option<Restart>,
    pub(super) start_first: bool,
    limits: Limits,
}

pub(super) fn deploy(field: &Field<'_>) -> Result<Deploy> {
    let fields = field.fields()?;
    let mut deploy = Deploy {
        replicas: fields.read("replicas", Field::number),
        ..Deploy::default()
    };
    if let Some(mode) = fields.get("mode") {
        match mode.text()?.as_str() {
            "replicated" => {}
            // One for each machine, and staging is one machine.
            "global" => deploy.replicas = deploy.replicas.or(Some(1)),
            _ => {
                return Err(mode
                    .error("is not supported in staging")
                    .with_hint("the modes are `replicated` and `global`"));
            }
        }
    }
    deploy.restart = fields.read("restart_policy", restart_policy);
    if let Some(config) = fields.get("update_config") {
        let config = config.fields()?;
        deploy.start_first = config.read("order", start_first).unwrap_or_default();
        config.accept(&[
            "delay",
            "failure_action",
            "max_failure_ratio",
            "monitor",
            "parallelism",
        ]);
        config.finish();
    }
    if let Some(resources) = fields.get("resources") {
        let resources = resources.fields()?;
        if let Some(limits) = resources.get("limits") {
            let limits = limits.fields()?;
            deploy.limits = read_limits(&limits, "cpus", "memory", "pids")?;
            limits.finish();
        }
        if let Some(reservations) = resources.get("reservations") {
            let reservations = reservations.fields()?;
            reservations.accept(&["cpus", "generic_resources", "memory", "pids"]);
            reservations.refuse(&[("devices", "")]);
            reservations.finish();
        }
        resources.finish();
    }
    fields.accept(&["endpoint_mode", "labels", "placement", "rollback_config"]);
    fields.finish();
    Ok(deploy)
}

fn start_first(field: &Field<'_>) -> Result<bool> {
    field.parsed("`start-first` or `stop-first`", |order| match order {
        "start-first" => Some(true),
        "stop-first" => Some(false),
        _ => None,
    })
}

fn restart_policy(field: &Field<'_>) -> Result<Restart> {
    let fields = field.fields()?;
    let attempts = fields.read("max_attempts", Field::number);
    let restart = match fields.get("condition") {
        None => Restart::Always,
        Some(field) => field.parsed(
            "`none`, `on-failure` or `any`",
            |condition| match condition {
                "none" => Some(Restart::No),
                "on-failure" => Some(Restart::OnFailure(attempts)),
                "any" => Some(Restart::Always),
                _ => None,
            },
        )?,
    };
    fields.accept(&["delay", "window"]);
    fields.finish();
    Ok(restart)
}

/// `restart` of a service.
pub(super) fn restart(field: &Field<'_>) -> Result<Restart> {
    field.parsed(
        "`no`, `always`, `on-failure`, `on-failure:3` or `unless-stopped`",
        |text| match text {
            "no" => Some(Restart::No),
            "always" => Some(Restart::Always),
            "unless-stopped" => Some(Restart::UnlessStopped),
            "on-failure" => Some(Restart::OnFailure(None)),
            _ => {
                let attempts = text.strip_prefix("on-failure:")?.parse().ok()?;
                Some(Restart::OnFailure(Some(attempts)))
            }
        },
    )
}

/// The limits that a service and its `deploy` set, which have to agree.
pub(super) fn limits(service: &Fields<'_>, deploy: &Deploy) -> Result<Limits> {
    let own = read_limits(service, "cpus", "mem_limit", "pids_limit")?;
    let there = &deploy.limits;
    Ok(Limits {
        milli_cpus: agreed(service, "cpus", own.milli_cpus, there.milli_cpus)?,
        memory: agreed(service, "mem_limit", own.memory, there.memory)?,
        pids: agreed(service, "pids_limit", own.pids, there.pids)?,
        shm: service.read("shm_size", Field::bytes),
    })
}

/// What a key of the service says, or the one of `deploy` that means the same.
pub(super) fn agreed<T: PartialEq>(
    service: &Fields<'_>,
    key: &'static str,
    own: Option<T>,
    deploy: Option<T>,
) -> Result<Option<T>> {
    if own.is_some() && deploy.is_some() && own != deploy {
        let field = service.required(key)?;
        return Err(field.error("says something else than `deploy`"));
    }
    Ok(own.or(deploy))
}

/// Limits by the names of their keys; 0 is no limit.
fn read_limits(
    fields: &Fields<'_>,
    cpus: &'static str,
    memory: &'static str,
    pids: &'static str,
) -> Result<Limits> {
    let milli_cpus = fields.read(cpus, |field| {
        field.parsed("a number of processors such as `0.5`", scalar::milli_cpus)
    });
    Ok(Limits {
        milli_cpus: milli_cpus.filter(|milli| *milli > 0),
        memory: fields.read(memory, Field::bytes).filter(|bytes| *bytes > 0),
        pids: fields
            .read(pids, Field::number::<i64>)
            .filter(|pids| *pids != 0),
        shm: None,
    })
}
