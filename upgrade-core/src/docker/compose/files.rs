//! Secrets and configs: files that are laid into containers.

use std::path::Path;

use super::field::{Field, nearest};
use super::scalar;
use crate::docker::stack::ServiceFile;
use crate::error::Result;
use crate::secret::Secret;

/// Secrets or configs, which differ in where they appear.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Secret,
    Config,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }

    fn is_secret(self) -> bool {
        matches!(self, Self::Secret)
    }

    fn target(self, target: &str) -> String {
        match self {
            _ if target.starts_with('/') => target.to_owned(),
            Self::Secret => format!("/run/secrets/{target}"),
            Self::Config => format!("/{target}"),
        }
    }
}

/// The secrets or configs of a file.
pub(super) struct Definitions<'a> {
    kind: Kind,
    /// One that has a problem has no origin.
    entries: Vec<(&'a str, Option<Origin<'a>>)>,
}

/// Where the content comes from; it is read when a service uses it.
enum Origin<'a> {
    File(Field<'a>),
    Variable(Field<'a>),
    Content(Field<'a>),
}

impl<'a> Definitions<'a> {
    pub(super) fn new(kind: Kind, field: Option<Field<'a>>) -> Result<Self> {
        let mut entries = Vec::new();
        for (name, field) in field.map_or(Ok(Vec::new()), |field| field.entries())? {
            let whole = Field {
                of: format!("{} `{name}`", kind.name()),
                ..field
            };
            entries.push((name, whole.reading.keep(origin(kind, name, &whole))));
        }
        Ok(Self { kind, entries })
    }

    fn content(&self, name: &str, used: &Field<'_>) -> Result<Secret> {
        let Some((_, origin)) = self.entries.iter().find(|(known, _)| *known == name) else {
            let kind = self.kind.name();
            let error = used.error(format!(
                "names the {kind} `{name}`, which the file does not declare"
            ));
            return Err(match nearest(name, self.entries.iter().map(|e| e.0)) {
                Some(known) => error.with_hint(format!("did you mean `{known}`?")),
                None => error.with_hint(format!("add it to `{kind}s`")),
            });
        };
        // Its problem is known already.
        let Some(origin) = origin else {
            return Ok(Secret::new(""));
        };
        match origin {
            Origin::Content(field) => field.text().map(Secret::new),
            Origin::Variable(field) => {
                let variable = field.text()?;
                field
                    .reading
                    .get(&variable)
                    .map(Secret::new)
                    .ok_or_else(|| {
                        field
                            .error(format!("names the variable `{variable}`, which is not set"))
                            .with_hint("set it with `with_variable`, or in `.env`")
                    })
            }
            Origin::File(field) => read(field, &field.path()?).map(Secret::new),
        }
    }
}

fn origin<'a>(kind: Kind, name: &str, whole: &Field<'a>) -> Result<Origin<'a>> {
    let fields = whole.fields()?;
    let origins = [
        fields.get("file").map(Origin::File),
        fields.get("environment").map(Origin::Variable),
        fields.get("content").map(Origin::Content),
    ];
    if let Some(external) = fields.get("external")
        && (external.is_map() || external.boolean()?)
    {
        let kind = kind.name();
        return Err(external
            .node
            .at
            .error(format!(
                "{kind} `{name}` is `external`, but staging has no store of {kind}s"
            ))
            .with_hint(format!(
                "override it in a file for staging: `{kind}s: {{{name}: !override {{file: …}}}}`"
            )));
    }
    fields.accept(&["labels", "name"]);
    fields.refuse(&[
        ("driver", ""),
        ("driver_opts", ""),
        ("template_driver", "write the file as it comes out"),
    ]);
    fields.finish();
    let mut origins = origins.into_iter().flatten();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => Ok(origin),
        _ => Err(whole.error("needs one of `file`, `environment` and `content`")),
    }
}

/// The text of a file that a value names.
pub(super) fn read(field: &Field<'_>, path: &Path) -> Result<String> {
    let path = &field.host_path(path.to_owned())?;
    std::fs::read_to_string(path).map_err(|source| {
        field
            .error(format!(
                "names the file `{}`, which cannot be read as text",
                path.display()
            ))
            .with_source(source)
    })
}

/// The files of a service. One that appears where an earlier one did takes its place.
pub(super) fn of_service(
    field: &Field<'_>,
    definitions: &Definitions<'_>,
    files: &mut Vec<ServiceFile>,
) -> Result<()> {
    let read = |item: &Field<'_>| match item.is_map() {
        true => long(item, definitions),
        false => {
            let name = item.text()?;
            let content = definitions.content(&name, item)?;
            let target = definitions.kind.target(&name);
            let mut file = ServiceFile::new(name, target, content);
            file.secret = definitions.kind.is_secret();
            Ok(file)
        }
    };
    for file in field.each(read)? {
        match files.iter_mut().find(|known| known.target == file.target) {
            Some(earlier) => *earlier = file,
            None => files.push(file),
        }
    }
    Ok(())
}

fn long(item: &Field<'_>, definitions: &Definitions<'_>) -> Result<ServiceFile> {
    let fields = item.fields()?;
    let name = fields.required("source")?.text()?;
    let target = fields.read("target", Field::filled);
    let target = definitions.kind.target(target.as_deref().unwrap_or(&name));
    let mut file = ServiceFile::new(name.clone(), target, definitions.content(&name, item)?);
    file.secret = definitions.kind.is_secret();
    let number = |field: &Field<'_>| field.number::<u32>();
    file.owner = (
        fields.or_default("uid", number),
        fields.or_default("gid", number),
    );
    let mode = fields.read("mode", |field| {
        field.parsed("octal with a `0` before it, such as `0440`", scalar::mode)
    });
    file.mode = mode.unwrap_or(file.mode);
    fields.finish();
    Ok(file)
}
