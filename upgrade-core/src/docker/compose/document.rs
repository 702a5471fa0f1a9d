//! The whole of a merged file.

use std::collections::BTreeSet;

use super::field::{Field, nearest};
use super::files::{Definitions, Kind};
use super::networks::{networks, volumes};
use super::reading::Reading;
use super::service::{Declared, service};
use super::tree::Node;
use crate::docker::stack::{DEFAULT_NETWORK, Network, Stack};
use crate::error::{Error, ErrorKind, Result};

/// The profile that stands for all of them.
const ALL: &str = "*";

pub(super) fn stack(root: &Node, reading: &Reading, profiles: &BTreeSet<String>) -> Result<Stack> {
    let whole = Field {
        node: root,
        of: "the file".to_owned(),
        reading,
    };
    let top = whole.fields()?;
    let mut stack = Stack::new();
    stack.networks = top.or_default("networks", networks);
    // The stack has it in any case: it is named only where the file says something about it.
    stack
        .networks
        .retain(|name, network| name != DEFAULT_NETWORK || *network != Network::default());
    stack.volumes = top.or_default("volumes", volumes);
    let secrets = Definitions::new(Kind::Secret, top.get("secrets"))?;
    let configs = Definitions::new(Kind::Config, top.get("configs"))?;
    let services = top.get("services");
    top.accept(&["name", "version"]);
    top.refuse(&[
        ("include", "name the files one by one with `and`"),
        ("models", ""),
    ]);
    top.finish();
    let Some(services) = services else {
        // A key that is unknown may be its misspelling.
        return match reading.has_problems() {
            true => Ok(stack),
            false => Err(whole.error("has no `services`")),
        };
    };

    let active = active(profiles, reading);
    let mut switched_on = Vec::new();
    let mut known = BTreeSet::new();
    let entries = services.entries()?;
    let all = entries.len();
    for (name, field) in entries {
        let field = Field {
            of: format!("service `{name}`"),
            ..field
        };
        let fields = reading.keep(check_name(name, &field).and_then(|()| field.fields()));
        let Some(fields) = fields else { continue };
        let own = fields.or_default("profiles", Field::texts);
        let is_on = |profile: &String| active.contains(profile) || active.contains(ALL);
        if own.is_empty() || own.iter().any(is_on) {
            switched_on.push((name, fields));
        }
        known.extend(own);
    }
    for profile in profiles {
        if profile != ALL && !known.contains(profile) {
            reading.keep(Err::<(), _>(no_such_profile(profile, &known)));
        }
    }
    if switched_on.is_empty() && !reading.has_problems() {
        return Err(no_service(&services, all, &known));
    }
    let declared = Declared {
        services: switched_on.iter().map(|(name, _)| *name).collect(),
        networks: &stack.networks,
        volumes: &stack.volumes,
        secrets,
        configs,
    };
    let mut read = Vec::new();
    for (name, fields) in switched_on {
        read.push((name.to_owned(), service(fields, &declared)));
    }
    stack.services.extend(read);
    if !reading.has_problems() {
        stack
            .start_order()
            .map_err(|error| error.with_context("file", &root.at.source.name))?;
    }
    Ok(stack)
}

/// The profiles that are switched on: those that were named, else those of the variable
/// `COMPOSE_PROFILES`. Without it that is one empty name, which `profiles: [""]` has.
fn active(profiles: &BTreeSet<String>, reading: &Reading) -> BTreeSet<String> {
    if !profiles.is_empty() {
        return profiles.clone();
    }
    let named = reading.get("COMPOSE_PROFILES").unwrap_or_default();
    named
        .split(',')
        .map(|profile| profile.trim().to_owned())
        .collect()
}

/// A stack of no service would pass every test.
fn no_service(services: &Field<'_>, all: usize, profiles: &BTreeSet<String>) -> Error {
    if all == 0 {
        return services.node.at.error("the file has no service");
    }
    let names: Vec<String> = profiles.iter().map(|name| format!("`{name}`")).collect();
    let names = names.join(", ");
    services
        .node
        .at
        .error(format!(
            "no service is switched on: all {all} are in profiles that are off ({names})"
        ))
        .with_hint("switch them on by `with_profile`, or by the variable `COMPOSE_PROFILES`")
}

/// A service's name is also a host name.
fn check_name(name: &str, field: &Field<'_>) -> Result<()> {
    let good = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    if name.is_empty() || !name.chars().all(good) {
        let error = field.node.at.error(format!(
            "`{}` is no name for a service",
            name.escape_debug()
        ));
        return Err(error.with_hint("names are made of letters, digits, `.`, `_` and `-`"));
    }
    Ok(())
}

fn no_such_profile(profile: &str, known: &BTreeSet<String>) -> Error {
    let error = Error::new(
        ErrorKind::InvalidInput,
        format!("no service has the profile `{profile}`"),
    );
    let known = known.iter().map(String::as_str);
    match nearest(profile, known.clone()) {
        Some(known) => error.with_hint(format!("did you mean `{known}`?")),
        None if known.len() == 0 => error.with_hint("no service has a profile"),
        None => {
            let known: Vec<String> = known.map(|known| format!("`{known}`")).collect();
            error.with_hint(format!("the profiles are {}", known.join(", ")))
        }
    }
}
