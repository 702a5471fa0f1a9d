//! Networks and volumes: those of the file, and the networks of a service.

use std::collections::BTreeMap;

use super::field::{Field, Fields};
use super::merge::named;
use super::scalar;
use crate::docker::stack::{Network, Volume};
use crate::error::Result;

/// Why fixed addresses have no effect.
const ADDRESS: &str = "several environments of one machine would collide on fixed addresses, so the \
                       engine chooses them; services reach each other by name";

/// The networks of a service with its names there.
pub(super) fn of_service(field: &Field<'_>) -> Result<BTreeMap<String, Vec<String>>> {
    let node = named(field.node.clone(), &[])?;
    let whole = Field {
        node: &node,
        of: field.of.clone(),
        reading: field.reading,
    };
    let mut networks = BTreeMap::new();
    for (name, field) in whole.entries()? {
        let Some(fields) = field.reading.keep(field.fields()) else {
            continue;
        };
        let aliases = fields.or_default("aliases", Field::texts);
        fields.accept(&["gw_priority", "priority"]);
        fields.pass_over(&[
            ("ipv4_address", ADDRESS),
            ("ipv6_address", ADDRESS),
            ("link_local_ips", ADDRESS),
        ]);
        fields.refuse(&[
            ("driver_opts", ""),
            ("interface_name", ""),
            ("mac_address", ""),
        ]);
        fields.finish();
        networks.insert(name.to_owned(), aliases);
    }
    Ok(networks)
}

/// The networks of the file.
pub(super) fn networks(field: &Field<'_>) -> Result<BTreeMap<String, Network>> {
    let mut networks = BTreeMap::new();
    for (name, field) in field.entries()? {
        // One with a problem is declared all the same.
        let network = field.reading.keep(network(name, &field));
        networks.insert(name.to_owned(), network.unwrap_or_default());
    }
    Ok(networks)
}

fn network(name: &str, field: &Field<'_>) -> Result<Network> {
    let fields = entry(field, "network", name)?;
    let network = Network {
        internal: fields.or_default("internal", Field::boolean),
        labels: fields.or_default("labels", Field::labels),
    };
    fields.read("driver", |driver| match driver.text()?.as_str() {
        "bridge" | "default" => Ok(()),
        _ => Err(driver
            .error("is not supported in staging")
            .with_hint("the driver is `bridge`: override it in a file for staging")),
    });
    fields.accept(&["attachable", "enable_ipv4", "name"]);
    fields.pass_over(&[("ipam", ADDRESS)]);
    fields.refuse(&[("driver_opts", ""), ("enable_ipv6", "")]);
    fields.finish();
    Ok(network)
}

/// The volumes of the file.
pub(super) fn volumes(field: &Field<'_>) -> Result<BTreeMap<String, Volume>> {
    let mut volumes = BTreeMap::new();
    for (name, field) in field.entries()? {
        // One with a problem is declared all the same.
        let volume = field.reading.keep(volume(name, &field));
        volumes.insert(name.to_owned(), volume.unwrap_or_default());
    }
    Ok(volumes)
}

fn volume(name: &str, field: &Field<'_>) -> Result<Volume> {
    let fields = entry(field, "volume", name)?;
    fields.read("driver", |driver| match driver.text()?.as_str() {
        "local" => Ok(()),
        _ => Err(driver
            .error("is not supported in staging")
            .with_hint("the driver is `local`: override it in a file for staging")),
    });
    let volume = Volume {
        bytes: fields.or_default("driver_opts", in_memory),
        labels: fields.or_default("labels", Field::labels),
    };
    fields.accept(&["name"]);
    fields.finish();
    Ok(volume)
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
    fields.finish();
    Ok(bytes)
}
