//! `volumes` and `tmpfs` of a service.

use super::field::{Field, Fields};
use super::scalar;
use crate::docker::stack::Mount;
use crate::error::Result;

const TARGET: &str = "a path that starts with `/`";

/// All mounts of a service. One that is mounted where an earlier one was takes its place.
pub(super) fn mounts(service: &Fields<'_>) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::new();
    let mut add = |mount: Mount| match mounts.iter_mut().find(|m| target(m) == target(&mount)) {
        Some(earlier) => *earlier = mount,
        None => mounts.push(mount),
    };
    if let Some(field) = service.get("volumes") {
        let read = |item: &Field<'_>| match item.is_map() {
            true => long(item),
            false => short(item),
        };
        field.each(read)?.into_iter().for_each(&mut add);
    }
    if let Some(field) = service.get("tmpfs") {
        for item in field.one_or_more()? {
            if let Some(mount) = item.reading.keep(tmpfs(&item)) {
                add(mount);
            }
        }
    }
    Ok(mounts)
}

fn target(mount: &Mount) -> &str {
    match mount {
        Mount::Volume { target, .. } | Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } => {
            target
        }
    }
}

/// `[source:]target[:options]`.
fn short(item: &Field<'_>) -> Result<Mount> {
    let parts = item.parsed(
        "`[source:]target[:options]`, where the target starts with `/`",
        |text| {
            let parts: Vec<String> = text.split(':').map(str::to_owned).collect();
            let target = parts.get(1).unwrap_or(&parts[0]);
            (parts.len() <= 3 && target.starts_with('/') && !parts[0].is_empty()).then_some(parts)
        },
    )?;
    let mut read_only = false;
    for option in parts.get(2).iter().flat_map(|options| options.split(',')) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            _ => {
                return Err(item
                    .error("has an option that staging does not support")
                    .with_hint("the options are `ro`, `rw`, `z`, `Z`, `cached`, `delegated`"));
            }
        }
    }
    let Some(target) = parts.get(1).cloned() else {
        return Ok(Mount::Volume {
            name: None,
            target: parts[0].clone(),
            read_only,
        });
    };
    let source = &parts[0];
    if source.starts_with(['.', '/', '~']) {
        return Ok(Mount::Bind {
            source: item.host_path(item.resolve(source)?)?,
            target,
            read_only,
        });
    }
    Ok(Mount::Volume {
        name: Some(source.clone()),
        target,
        read_only,
    })
}

fn long(item: &Field<'_>) -> Result<Mount> {
    let fields = item.fields()?;
    let target = fields.required("target")?.parsed(TARGET, |text| {
        text.starts_with('/').then(|| text.to_owned())
    })?;
    let read_only = fields.or_default("read_only", Field::boolean);
    let kind = fields.required("type")?;
    let source = fields.get("source");
    let mount = match kind.text()?.as_str() {
        "volume" => Mount::Volume {
            name: source.map(|source| source.filled()).transpose()?,
            target,
            read_only,
        },
        "bind" => Mount::Bind {
            source: {
                let source = fields.required("source")?;
                source.host_path(source.path()?)?
            },
            target,
            read_only,
        },
        "tmpfs" => {
            let (bytes, mode) = fields.or_default("tmpfs", |field| {
                let tmpfs = field.fields()?;
                let bytes = tmpfs.read("size", Field::bytes);
                let mode = tmpfs.read("mode", |field| {
                    field.parsed("permissions such as `01777`", scalar::mode)
                });
                tmpfs.finish();
                Ok((bytes, mode))
            });
            Mount::Tmpfs {
                target,
                bytes,
                mode,
                exec: false,
            }
        }
        _ => {
            return Err(kind
                .error("is not supported in staging")
                .with_hint("the types are `volume`, `bind` and `tmpfs`"));
        }
    };
    fields.or_default("bind", |field| {
        let bind = field.fields()?;
        bind.accept(&["create_host_path", "selinux"]);
        bind.refuse(&[("propagation", ""), ("recursive", "")]);
        bind.finish();
        Ok(())
    });
    fields.or_default("volume", |field| {
        let volume = field.fields()?;
        volume.refuse(&[("nocopy", ""), ("subpath", "")]);
        volume.accept(&["labels"]);
        volume.finish();
        Ok(())
    });
    fields.accept(&["consistency", "tmpfs"]);
    fields.finish();
    Ok(mount)
}

/// `target[:options]`.
fn tmpfs(item: &Field<'_>) -> Result<Mount> {
    let text = item.parsed(TARGET, |text| {
        text.starts_with('/').then(|| text.to_owned())
    })?;
    let (target, options) = text.split_once(':').unwrap_or((&text, ""));
    let (mut bytes, mut mode, mut exec) = (None, None, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => {
                bytes = Some(scalar::bytes(size).ok_or_else(|| {
                    item.error("has a `size` that is no size")
                        .with_hint("write it as `size=64m`")
                })?);
            }
            Some(("mode", permissions)) => {
                mode = Some(u32::from_str_radix(permissions, 8).map_err(|_| {
                    item.error("has a `mode` that is no permissions")
                        .with_hint("write it as `mode=1777`")
                })?);
            }
            None if option == "exec" => exec = true,
            None if option == "noexec" => exec = false,
            None if matches!(option, "rw" | "nosuid" | "nodev") => {}
            _ => {
                return Err(item
                    .error("has an option that staging does not support")
                    .with_hint("the options are `size`, `mode`, `rw`, `exec`, `noexec`, `nosuid` and `nodev`"));
            }
        }
    }
    Ok(Mount::Tmpfs {
        target: target.to_owned(),
        bytes,
        mode,
        exec,
    })
}
