//! The whole of a merged file.

use std::collections::BTreeSet;

use super::field::{Field, nearest};
use super::files::{Definitions, Kind};
use super::networks::{networks, volumes};
use super::service::{Declared, service};
use super::tree::Node;
use super::variables::Variables;
use crate::docker::stack::{DEFAULT_NETWORK, Network, Stack};
use crate::error::{Error, ErrorKind, Result};

pub(super) fn stack(
    root: &Node,
    variables: &Variables,
    profiles: &BTreeSet<String>,
) -> Result<Stack> {
    let whole = Field {
        node: root,
        of: "the file".to_owned(),
        variables,
    };
    let top = whole.fields()?;
    let mut stack = Stack::new();
    stack.networks = top.or_default("networks", networks)?;
    // The stack has it in any case: it is named only where the file says something about it.
    stack
        .networks
        .retain(|name, network| name != DEFAULT_NETWORK || *network != Network::default());
    stack.volumes = top.or_default("volumes", volumes)?;
    let secrets = Definitions::new(Kind::Secret, top.get("secrets"))?;
    let configs = Definitions::new(Kind::Config, top.get("configs"))?;
    let services = top.get("services");
    top.accept(&["name", "version"]);
    top.refuse(&[
        ("include", "name the files one by one with `and`"),
        ("models", ""),
    ])?;
    top.finish()?;
    let Some(services) = services else {
        return Err(whole.error("has no `services`"));
    };

    let mut switched_on = Vec::new();
    let mut known = BTreeSet::new();
    for (name, field) in services.entries()? {
        check_name(name, &field)?;
        let field = Field {
            of: format!("service `{name}`"),
            ..field
        };
        let fields = field.fields()?;
        let own = fields.or_default("profiles", Field::texts)?;
        if own.is_empty() || own.iter().any(|profile| profiles.contains(profile)) {
            switched_on.push((name, fields));
        }
        known.extend(own);
    }
    if let Some(unknown) = profiles.iter().find(|profile| !known.contains(*profile)) {
        return Err(no_such_profile(unknown, &known));
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
        read.push((name.to_owned(), service(fields, &declared)?));
    }
    stack.services.extend(read);
    stack
        .start_order()
        .map_err(|error| error.with_context("file", &root.at.source.name))?;
    Ok(stack)
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
