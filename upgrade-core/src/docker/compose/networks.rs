//! Networks and volumes: those of the file, and the networks of a service.

use std::collections::BTreeMap;

use super::field::{Field, Fields};
use super::merge::named;
use super::scalar;
use crate::docker::stack::{Network, Volume};
use crate::error::Result;

/// The networks of a service with its names there.
pub(super) fn of_service(field: &Field<'_>) -> Result<BTreeMap<String, Vec<String>>> {
    let node = named(field.node.clone(), &[])?;
    let whole = Field {
        node: &node,
        of: field.of.clone(),
        variables: field.variables,
    };
    let mut networks = BTreeMap::new();
    for (name, field) in whole.entries()? {
        let fields = field.fields()?;
        let aliases = fields.or_default("aliases", Field::texts)?;
        fields.accept(&["gw_priority", "priority"]);
        let address = "use the service's name instead of a fixed address";
        fields.refuse(&[
            ("driver_opts", ""),
            ("interface_name", ""),
            ("ipv4_address", address),
            ("ipv6_address", address),
            ("link_local_ips", address),
            ("mac_address", ""),
        ])?;
        fields.finish()?;
        networks.insert(name.to_owned(), aliases);
    }
    Ok(networks)
}

/// The networks of the file.
pub(super) fn networks(field: &Field<'_>) -> Result<BTreeMap<String, Network>> {
    let mut networks = BTreeMap::new();
    for (name, field) in field.entries()? {
        let fields = entry(&field, "network", name)?;
        let network = Network {
            internal: fields.or_default("internal", Field::boolean)?,
            labels: fields.or_default("labels", Field::labels)?,
        };
        if let Some(driver) = fields.get("driver")
            && !matches!(driver.text()?.as_str(), "bridge" | "default")
        {
            return Err(driver
                .error("is not supported in staging")
                .with_hint("the driver is `bridge`: override it in a file for staging"));
        }
        fields.accept(&["attachable", "enable_ipv4", "name"]);
        fields.refuse(&[
            ("driver_opts", ""),
            ("enable_ipv6", ""),
            (
                "ipam",
                "several environments of one machine would collide on fixed addresses",
            ),
        ])?;
        fields.finish()?;
        networks.insert(name.to_owned(), network);
    }
    Ok(networks)
}

/// The volumes of the file.
pub(super) fn volumes(field: &Field<'_>) -> Result<BTreeMap<String, Volume>> {
    let mut volumes = BTreeMap::new();
    for (name, field) in field.entries()? {
        let fields = entry(&field, "volume", name)?;
        let mut volume = Volume {
            bytes: None,
            labels: fields.or_default("labels", Field::labels)?,
        };
        if let Some(driver) = fields.get("driver")
            && driver.text()? != "local"
        {
            return Err(driver
                .error("is not supported in staging")
                .with_hint("the driver is `local`: override it in a file for staging"));
        }
        if let Some(options) = fields.get("driver_opts") {
            volume.bytes = in_memory(&options)?;
        }
        fields.accept(&["name"]);
        fields.finish()?;
        volumes.insert(name.to_owned(), volume);
    }
    Ok(volumes)
}

/// The keys of a network or volume, which must not be one that exists outside of the file.
fn entry<'a>(field: &Field<'a>, kind: &str, name: &str) -> Result<Fields<'a>> {
    let whole = Field {
        of: format!("{kind} `{name}`"),
        ..field.clone()
    };
    let fields = whole.fields()?;
    if let Some(external) = fields.get("external")
        && (external.is_map() || external.boolean()?)
    {
        return Err(external.node.at.error(format!(
            "{kind} `{name}` is `external`, but a staging environment has only what it made itself"
        ))
        .with_hint(format!(
            "override it in a file for staging, `{kind}s: {{{name}: !override {{}}}}`, and put into it what the services need"
        )));
    }
    Ok(fields)
}

/// The size of a volume in memory, which is the one thing that driver options may say.
fn in_memory(options: &Field<'_>) -> Result<Option<u64>> {
    let fields = options.fields()?;
    let kind = fields.required("type")?;
    if kind.text()? != "tmpfs" {
        return Err(kind
            .error("is not supported in staging")
            .with_hint("`tmpfs` is; a folder is mounted by the services themselves"));
    }
    fields.accept(&["device"]);
    let mut bytes = None;
    if let Some(field) = fields.get("o") {
        for option in field.text()?.split(',') {
            match option.split_once('=') {
                Some(("size", size)) if scalar::bytes(size).is_some() => {
                    bytes = scalar::bytes(size);
                }
                _ => {
                    return Err(field
                        .error("has an option that staging does not support")
                        .with_hint("`size=64m` is supported"));
                }
            }
        }
    }
    fields.finish()?;
    Ok(bytes)
}
