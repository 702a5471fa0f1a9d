//! A stack as lines of text that can be compared: one for each thing that it says, with its path.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use similar::TextDiff;

use super::service::{
    CommandCheck, Dependency, Healthcheck, Image, Limits, Mount, Port, Protocol, Service,
    ServiceFile,
};
use super::{Network, Stack, Volume};
use crate::redact::{Secrets, is_name_of_secret};
use crate::secret::Secret;

/// How many lines around a change are shown.
const CONTEXT: usize = 3;

impl Stack {
    /// In what this stack differs from that of production, as a unified diff; empty where it does
    /// not. Values that may be secrets are not shown, only whether they are the same.
    ///
    /// ```
    /// use upgrade_core::docker::{Image, Service, Stack};
    ///
    /// let stack = |level| {
    ///     let api = Service::new(Image::named("shop-api:1.4")).with_env("LOG", level);
    ///     Stack::new().with_service("api", api)
    /// };
    /// let diff = stack("debug").diff(&stack("info"));
    /// assert!(diff.contains("-services.api.environment.LOG: ***\n"));
    /// assert!(diff.contains("+services.api.environment.LOG: *** (another)\n"));
    /// ```
    pub fn diff(&self, production: &Self) -> String {
        let (old, new) = (Lines::of(production), Lines::of(self));
        let secrets = old.secrets();
        let (old, new) = (old.text(&BTreeMap::new()), new.text(&secrets));
        let diff = TextDiff::from_lines(&old, &new);
        let mut unified = diff.unified_diff();
        unified
            .context_radius(CONTEXT)
            .header("production", "staging");
        unified.to_string()
    }

    /// Adds what is secret in this stack: the content of secret files, and variables by their names
    /// and as URLs. A password that is the name of something as well is none.
    pub(crate) fn add_secrets(&self, secrets: &Secrets) {
        let services = || self.services.values();
        let variables = || {
            let arguments = services().filter_map(|service| match &service.image {
                Image::Build(build) => Some(&build.args),
                Image::Named(_) => None,
            });
            let all = services().map(|service| &service.environment);
            all.chain(arguments).flatten()
        };
        let open = variables().filter(|(name, _)| !is_name_of_secret(name));
        let mut names: BTreeSet<&str> = open.map(|(_, value)| value.expose()).collect();
        names.extend(self.services.keys().map(String::as_str));
        for (name, value) in variables() {
            if !names.contains(value.expose()) || value.expose().contains("://") {
                secrets.add_variable(name, value);
            }
        }
        let files = services().flat_map(|service| &service.files);
        for file in files.filter(|file| file.secret) {
            if !names.contains(file.content.expose().trim_end()) {
                secrets.add(&file.content);
            }
        }
    }

    /// What tells this stack from others, secrets included.
    pub(crate) fn identity(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (at, said) in Lines::of(self).0 {
            let what = match &said {
                Said::Open(what) => what,
                Said::Secret(secret) => secret.expose(),
            };
            for part in [&at, what] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        hasher.finalize()
    }
}

/// What one line says.
enum Said<'a> {
    Open(String),
    Secret(&'a Secret),
}

struct Lines<'a>(Vec<(String, Said<'a>)>);

impl<'a> Lines<'a> {
    fn of(stack: &'a Stack) -> Self {
        let Stack {
            services,
            networks,
            volumes,
            host_paths,
            capabilities,
            notes: _,
        } = stack;
        let mut lines = Self(Vec::new());
        for (name, service) in services {
            lines.service(&format!("services.{name}"), service);
        }
        for (name, Network { internal, labels }) in networks {
            let at = format!("networks.{name}");
            lines.say(format!("{at}.internal"), internal);
            lines.map(&format!("{at}.labels"), labels);
        }
        for (name, Volume { bytes, labels }) in volumes {
            let at = format!("volumes.{name}");
            let size = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
            lines.say(format!("{at}.bytes"), size);
            lines.map(&format!("{at}.labels"), labels);
        }
        for path in host_paths {
            lines.say("host_paths".to_owned(), path.display());
        }
        for capability in capabilities {
            lines.say("capabilities".to_owned(), capability);
        }
        lines
    }

    fn service(&mut self, at: &str, service: &'a Service) {
        // Without `..`, so that no field is forgotten.
        let Service {
            image,
            entrypoint,
            command,
            environment,
            user,
            working_dir,
            hostname,
            labels,
            ports,
            mounts,
            files,
            networks,
            depends_on,
            healthcheck,
            limits,
            replicas,
            start_first,
            extra_hosts,
            stop_signal,
            stop_grace_period,
            restart,
            init,
            read_only,
            tty,
            cap_add,
            cap_drop,
            sysctls,
        } = service;
        self.image(&format!("{at}.image"), image);
        self.words(&format!("{at}.entrypoint"), entrypoint.as_deref());
        self.words(&format!("{at}.command"), command.as_deref());
        for (name, value) in environment {
            self.hide(format!("{at}.environment.{name}"), value);
        }
        self.maybe(&format!("{at}.user"), user.as_ref());
        self.maybe(&format!("{at}.working_dir"), working_dir.as_ref());
        self.maybe(&format!("{at}.hostname"), hostname.as_ref());
        self.map(&format!("{at}.labels"), labels);
        for Port {
            container,
            published,
            protocol,
        } in ports
        {
            let published = published.map_or(String::new(), |port| format!("{port}:"));
            let protocol = match protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            self.say(
                format!("{at}.ports"),
                format!("{published}{container}/{protocol}"),
            );
        }
        for mount in mounts {
            self.mount(&format!("{at}.mounts"), mount);
        }
        for ServiceFile {
            name,
            target,
            content,
            mode,
            owner: (user, group),
            secret,
        } in files
        {
            let at = format!("{at}.files.{name}");
            self.say(
                format!("{at}.target"),
                format!(
                    "{target}, mode {mode:o}, owner {user}:{group}{}",
                    if *secret { "" } else { ", no secret" }
                ),
            );
            self.hide(format!("{at}.content"), content);
        }
        for (network, aliases) in networks {
            self.say(format!("{at}.networks.{network}"), aliases.join(", "));
        }
        for (
            other,
            Dependency {
                condition,
                required,
            },
        ) in depends_on
        {
            let optional = if *required { "" } else { ", if it is there" };
            self.say(
                format!("{at}.depends_on.{other}"),
                format!("{condition:?}{optional}"),
            );
        }
        self.health(&format!("{at}.healthcheck"), healthcheck.as_ref());
        let Limits {
            milli_cpus,
            memory,
            pids,
            shm,
        } = limits;
        self.maybe(&format!("{at}.limits.milli_cpus"), milli_cpus.as_ref());
        self.maybe(&format!("{at}.limits.memory"), memory.as_ref());
        self.maybe(&format!("{at}.limits.pids"), pids.as_ref());
        self.maybe(&format!("{at}.limits.shm"), shm.as_ref());
        self.say(format!("{at}.replicas"), replicas);
        self.say(format!("{at}.start_first"), start_first);
        self.map(&format!("{at}.extra_hosts"), extra_hosts);
        self.maybe(&format!("{at}.stop_signal"), stop_signal.as_ref());
        self.time(&format!("{at}.stop_grace_period"), *stop_grace_period);
        self.say(format!("{at}.restart"), format!("{restart:?}"));
        self.say(format!("{at}.init"), init);
        self.say(format!("{at}.read_only"), read_only);
        self.say(format!("{at}.tty"), tty);
        self.words(&format!("{at}.cap_add"), Some(cap_add));
        self.words(&format!("{at}.cap_drop"), Some(cap_drop));
        self.map(&format!("{at}.sysctls"), sysctls);
    }

    fn image(&mut self, at: &str, image: &'a Image) {
        match image {
            Image::Named(name) => self.say(at.to_owned(), name),
            Image::Build(build) => {
                self.say(format!("{at}.build"), build.context.display());
                self.say(format!("{at}.dockerfile"), build.dockerfile.display());
                self.maybe(&format!("{at}.target"), build.target.as_ref());
                self.maybe(&format!("{at}.tag"), build.tag.as_ref());
                for (name, value) in &build.args {
                    self.hide(format!("{at}.args.{name}"), value);
                }
            }
        }
    }

    fn mount(&mut self, at: &str, mount: &Mount) {
        let only = |read_only: bool| if read_only { ", read-only" } else { "" };
        let said = match mount {
            Mount::Volume {
                name,
                target,
                read_only,
            } => {
                let name = name.as_deref().unwrap_or("(anonymous)");
                format!("volume {name} at {target}{}", only(*read_only))
            }
            Mount::Bind {
                source,
                target,
                read_only,
            } => format!("{} at {target}{}", source.display(), only(*read_only)),
            Mount::Tmpfs {
                target,
                bytes,
                mode,
                exec,
            } => {
                let size = bytes.map_or(String::new(), |bytes| format!(", {bytes} bytes"));
                let mode = mode.map_or(String::new(), |mode| format!(", mode {mode:o}"));
                let exec = if *exec { ", programs run" } else { "" };
                format!("memory at {target}{size}{mode}{exec}")
            }
        };
        self.say(at.to_owned(), said);
    }

    fn health(&mut self, at: &str, check: Option<&Healthcheck>) {
        match check {
            None => {}
            Some(Healthcheck::Disabled) => self.say(at.to_owned(), "disabled"),
            Some(Healthcheck::Command(check)) => {
                let CommandCheck {
                    test,
                    interval,
                    timeout,
                    retries,
                    start_period,
                } = check;
                self.words(&format!("{at}.test"), Some(test));
                self.time(&format!("{at}.interval"), *interval);
                self.time(&format!("{at}.timeout"), *timeout);
                self.maybe(&format!("{at}.retries"), retries.as_ref());
                self.time(&format!("{at}.start_period"), *start_period);
            }
        }
    }

    fn say(&mut self, at: String, what: impl Display) {
        // A value of several lines stays one.
        let what = what.to_string().replace('\n', "\\n");
        self.0.push((at, Said::Open(what)));
    }

    fn hide(&mut self, at: String, secret: &'a Secret) {
        self.0.push((at, Said::Secret(secret)));
    }

    fn maybe(&mut self, at: &str, what: Option<&impl Display>) {
        if let Some(what) = what {
            self.say(at.to_owned(), what);
        }
    }

    fn time(&mut self, at: &str, time: Option<Duration>) {
        if let Some(time) = time {
            self.say(at.to_owned(), format!("{time:?}"));
        }
    }

    fn words(&mut self, at: &str, words: Option<&[String]>) {
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            self.say(at.to_owned(), format!("{words:?}"));
        }
    }

    fn map(&mut self, at: &str, map: &BTreeMap<String, String>) {
        for (name, value) in map {
            self.say(format!("{at}.{name}"), value);
        }
    }

    /// The secrets by their paths.
    fn secrets(&self) -> BTreeMap<String, Secret> {
        let secrets = self.0.iter().filter_map(|(at, said)| match said {
            Said::Secret(secret) => Some((at.clone(), (*secret).clone())),
            Said::Open(_) => None,
        });
        secrets.collect()
    }

    /// The lines; secrets that differ from those of `others` are marked.
    fn text(&self, others: &BTreeMap<String, Secret>) -> String {
        let line = |(at, said): &(String, Said<'_>)| match said {
            Said::Open(what) if what.is_empty() => format!("{at}:\n"),
            Said::Open(what) => format!("{at}: {what}\n"),
            Said::Secret(secret) => match others.get(at) {
                Some(other) if other != *secret => format!("{at}: {secret} (another)\n"),
                _ => format!("{at}: {secret}\n"),
            },
        };
        self.0.iter().map(line).collect()
    }
}
