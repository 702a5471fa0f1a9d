//! Services that commands replace: `systemctl`, `docker compose`, `kubectl`, a script.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};

use super::facets::Services;
use crate::command::{CommandLine, Ended};
use crate::context::UpgradeContext;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Version;
use crate::outcome::Outcome;

/// How long a service may take to come up where nothing else is said.
const WITHIN: Duration = Duration::from_secs(60);

/// How long one command that only asks may take.
const ASKING: Duration = Duration::from_secs(10);

/// How long it is waited between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Services that commands replace, each after those that it needs.
///
/// Every command gets the name of its service in the variable `UPGRADE_SERVICE`, and in
/// `UPGRADE_RELEASE` the release that it is about.
///
/// ```
/// use upgrade_core::CommandLine;
/// use upgrade_core::environment::{CommandServices, ServiceCommands};
///
/// let docker = |arguments: [&str; 3]| CommandLine::new("docker").with_args(arguments);
/// let script = |text: &str| CommandLine::new("sh").with_args(["-ec", text]);
/// let api = ServiceCommands::new(
///     "api",
///     script("TAG=$UPGRADE_RELEASE docker compose up --detach --no-deps api"),
///     script("docker inspect api --format '{{index .Config.Labels \"release\"}}'"),
/// )
/// .with_health(docker(["exec", "api", "/bin/healthy"]))
/// .with_artifact(script("docker image inspect orders-api:$UPGRADE_RELEASE --format '{{.Id}}'"))
/// .after("worker");
/// let worker = ServiceCommands::new(
///     "worker",
///     script("systemctl restart worker@$UPGRADE_RELEASE"),
///     script("cat /run/worker/release"),
/// );
/// let services = CommandServices::new([api, worker])?;
/// # Ok::<(), upgrade_core::Error>(())
/// ```
#[derive(Debug)]
pub struct CommandServices {
    /// Each after those that it needs.
    services: Vec<ServiceCommands>,
}

/// The commands of one service.
#[derive(Debug)]
pub struct ServiceCommands {
    name: String,
    start: CommandLine,
    version: CommandLine,
    health: Option<CommandLine>,
    artifact: Option<CommandLine>,
    after: Vec<String>,
    within: Duration,
}

impl ServiceCommands {
    /// A service with two commands: `start` replaces whatever runs by the release, and `version` prints
    /// the release that runs, or nothing where none runs. Where `version` ends with a status other than 0,
    /// it is not known what runs.
    ///
    /// `start` also runs where the release serves already and its configuration has changed. It may still
    /// be under way when the tool was killed that called it, and is then called again: let it take a lock.
    ///
    /// A program that `start` leaves in the background must not write to the output of `start`, which is
    /// read until a second after its end.
    pub fn new(name: impl Into<String>, start: CommandLine, version: CommandLine) -> Self {
        Self {
            name: name.into(),
            start,
            version,
            health: None,
            artifact: None,
            after: Vec::new(),
            within: WITHIN,
        }
    }

    /// A command that ends with status 0 when the service serves. Without it, a service serves as soon as
    /// `version` prints its release.
    #[must_use]
    pub fn with_health(mut self, health: CommandLine) -> Self {
        self.health = Some(health);
        self
    }

    /// A command that prints what identifies the artifact of the release, such as the digest of its image,
    /// and ends with a status other than 0 where that is not there. With it, an upgrade is refused before
    /// the first change when the artifact of either release is missing, and when it is not the one that
    /// was rehearsed or planned.
    #[must_use]
    pub fn with_artifact(mut self, artifact: CommandLine) -> Self {
        self.artifact = Some(artifact);
        self
    }

    /// Names a service that it needs: that one is replaced first by the newer release, and last by the
    /// older one.
    #[must_use]
    pub fn after(mut self, service: impl Into<String>) -> Self {
        self.after.push(service.into());
        self
    }

    /// Sets how long `start` may take, and how long the service may then take to come up. Default: 60 s.
    #[must_use]
    pub fn with_within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    async fn run(
        &self,
        cx: &UpgradeContext,
        command: &CommandLine,
        release: Option<&Version>,
    ) -> Result<Ended> {
        let mut variables = vec![("UPGRADE_SERVICE", self.name.clone())];
        variables.extend(release.map(|release| ("UPGRADE_RELEASE", release.to_string())));
        let ended = command.run(cx, variables).await;
        ended.map_err(|error| error.with_context("service", &self.name))
    }

    /// Runs a command that only asks, which has no right to hang.
    async fn ask(
        &self,
        cx: &UpgradeContext,
        command: &CommandLine,
        release: Option<&Version>,
    ) -> Result<Ended> {
        let limit = ASKING.min(self.within);
        match timeout(limit, self.run(cx, command, release)).await {
            Ok(ended) => ended,
            Err(_) => {
                let command = cx.redact(&command.to_string());
                let message = format!("`{command}` did not end within {limit:?}");
                Err(Error::new(ErrorKind::Timeout, message).with_context("service", &self.name))
            }
        }
    }

    /// The release that runs.
    async fn running(&self, cx: &UpgradeContext) -> Result<Option<Version>> {
        let ended = self.ask(cx, &self.version, None).await?;
        if !ended.succeeded() {
            let what = format!(
                "it is not known which release of service `{}` runs",
                self.name
            );
            return Err(ended.failed(ErrorKind::Environment, what));
        }
        let printed = cx.redact(&ended.printed());
        Ok((!printed.is_empty()).then(|| Version::new(printed)))
    }

    /// Whether it serves at a release; the reason why it does not.
    async fn serves(&self, cx: &UpgradeContext, release: &Version) -> Result<Result<()>> {
        let not_yet = |what: String| {
            let message = format!("service `{}`: {what}", self.name);
            Ok(Err(Error::new(ErrorKind::Environment, message)))
        };
        match self.asked(self.running(cx).await)? {
            Ok(Some(running)) if running == *release => {}
            Ok(Some(running)) => return not_yet(format!("release {running} runs")),
            Ok(None) => return not_yet("no release runs".to_owned()),
            Err(error) => return Ok(Err(error)),
        }
        let Some(health) = &self.health else {
            return Ok(Ok(()));
        };
        let asked = self.asked(self.ask(cx, health, Some(release)).await)?;
        Ok(asked.and_then(|ended| match ended.succeeded() {
            true => Ok(()),
            false => {
                let what = format!("service `{}` is not healthy", self.name);
                Err(ended.failed(ErrorKind::Environment, what))
            }
        }))
    }

    /// A command that hangs or fails is asked again; one that cannot be started is an error.
    fn asked<T>(&self, answer: Result<T>) -> Result<Result<T>> {
        match answer {
            Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Environment) => {
                Ok(Err(error))
            }
            Err(error) => Err(error),
            Ok(answer) => Ok(Ok(answer)),
        }
    }

    /// Starts it, and waits until it serves.
    async fn start(&self, cx: &UpgradeContext, release: &Version) -> Result<Outcome> {
        let name = &self.name;
        let starting = timeout(self.within, self.run(cx, &self.start, Some(release)));
        let Ok(ended) = starting.await else {
            let message = format!(
                "the start of release {release} of service `{name}` did not end within {:?}",
                self.within
            );
            return Ok(Outcome::failed(Error::new(ErrorKind::Environment, message)));
        };
        let ended = ended?;
        if !ended.succeeded() {
            let what = format!("service `{name}` was not replaced by release {release}");
            return Ok(Outcome::failed(ended.failed(ErrorKind::Environment, what)));
        }
        let until = Instant::now() + self.within;
        loop {
            let Err(reason) = self.serves(cx, release).await? else {
                return Ok(Outcome::Done);
            };
            if Instant::now() >= until {
                let seconds = self.within.as_secs();
                let message = format!(
                    "service `{name}` did not come up at release {release} within {seconds} s"
                );
                let failed = Error::new(ErrorKind::Environment, message).with_source(reason);
                return Ok(Outcome::failed(failed));
            }
            cx.bounded("wait for a service", sleep(PAUSE)).await?;
        }
    }
}

impl CommandServices {
    /// These services.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for two services of one name, for a service that needs one that is not
    /// there, and for services that need each other.
    pub fn new(services: impl IntoIterator<Item = ServiceCommands>) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        let mut waiting: Vec<ServiceCommands> = services.into_iter().collect();
        for (index, service) in waiting.iter().enumerate() {
            let name = &service.name;
            if waiting[..index].iter().any(|other| other.name == *name) {
                return wrong(format!("two services have the name `{name}`"));
            }
            let missing = |needed: &&String| !waiting.iter().any(|other| other.name == **needed);
            if let Some(needed) = service.after.iter().find(missing) {
                return wrong(format!(
                    "service `{name}` needs `{needed}`, which is not there"
                ));
            }
        }
        let mut ordered: Vec<ServiceCommands> = Vec::new();
        while !waiting.is_empty() {
            let ready = |service: &ServiceCommands| {
                let mut after = service.after.iter();
                after.all(|needed| ordered.iter().any(|other| other.name == *needed))
            };
            let Some(next) = waiting.iter().position(ready) else {
                let names: Vec<&str> = waiting.iter().map(|one| one.name.as_str()).collect();
                return wrong(format!("services need each other: {}", names.join(", ")));
            };
            ordered.push(waiting.remove(next));
        }
        Ok(Self { services: ordered })
    }
}

impl CommandServices {
    /// Each of them: those of the newer release after what they need, those of the older one before.
    async fn each(&self, cx: &UpgradeContext, to: &Version, restart: bool) -> Result<Outcome> {
        let mut order: Vec<&ServiceCommands> = self.services.iter().collect();
        if to == cx.from() && to != cx.to() {
            order.reverse();
        }
        let mut all = Outcome::NothingToDo;
        for service in order {
            if !restart && service.serves(cx, to).await?.is_ok() {
                continue;
            }
            match service.start(cx, to).await? {
                failed @ Outcome::Failed(_) => return Ok(failed),
                _ => all = Outcome::Done,
            }
        }
        Ok(all)
    }
}

#[async_trait]
impl Services for CommandServices {
    async fn replace(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome> {
        self.each(cx, to, false).await
    }

    async fn restart(&self, cx: &UpgradeContext, to: &Version) -> Result<Outcome> {
        self.each(cx, to, true).await
    }

    async fn running(&self, cx: &UpgradeContext) -> Result<BTreeMap<String, Option<Version>>> {
        let mut all = BTreeMap::new();
        for service in &self.services {
            all.insert(service.name.clone(), service.running(cx).await?);
        }
        Ok(all)
    }

    async fn artifacts(
        &self,
        cx: &UpgradeContext,
        release: &Version,
    ) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for service in &self.services {
            let Some(artifact) = &service.artifact else {
                continue;
            };
            let name = &service.name;
            let ended = service.ask(cx, artifact, Some(release)).await?;
            let printed = cx.redact(&ended.printed());
            if !ended.succeeded() || printed.is_empty() {
                let what =
                    format!("the artifact of release {release} of service `{name}` is not there");
                return Err(ended
                    .failed(ErrorKind::NotFound, what)
                    .with_hint("fetch or build it on this machine, then try again"));
            }
            all.insert(name.clone(), printed);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn shell(script: &str) -> CommandLine {
        CommandLine::new("sh").with_args(["-ec", script])
    }

    /// A service that is a file with the release; each start adds a line to a log.
    fn service(folder: &Path, name: &str) -> ServiceCommands {
        let path = folder.display();
        ServiceCommands::new(
            name,
            shell(&format!(
                "echo $UPGRADE_RELEASE > {path}/$UPGRADE_SERVICE; echo $UPGRADE_SERVICE $UPGRADE_RELEASE >> {path}/log"
            )),
            shell(&format!("cat {path}/$UPGRADE_SERVICE || true")),
        )
        .with_within(Duration::from_millis(500))
    }

    fn cx(within: Duration) -> UpgradeContext {
        UpgradeContext::new("1", "2").with_deadline(Instant::now() + within)
    }

    fn minute() -> UpgradeContext {
        cx(Duration::from_secs(60))
    }

    fn log(folder: &Path) -> String {
        fs::read_to_string(folder.join("log")).unwrap()
    }

    #[tokio::test]
    async fn each_comes_after_what_it_needs_and_the_other_way_round() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let services = CommandServices::new([
            service(path, "api").after("worker"),
            service(path, "worker"),
        ])
        .unwrap();
        let (old, new) = (Version::new("1"), Version::new("2"));
        let running = services.running(&minute()).await.unwrap();
        assert!(running.values().all(Option::is_none), "{running:?}");
        assert_eq!(
            services.replace(&minute(), &new).await.unwrap(),
            Outcome::Done
        );
        let again = services.replace(&minute(), &new).await.unwrap();
        assert_eq!(again, Outcome::NothingToDo);
        assert_eq!(
            services.replace(&minute(), &old).await.unwrap(),
            Outcome::Done
        );
        assert_eq!(log(path), "worker 2\napi 2\napi 1\nworker 1\n");
        let running = services.running(&minute()).await.unwrap();
        assert!(
            running
                .values()
                .all(|release| *release == Some(old.clone()))
        );
    }

    #[tokio::test]
    async fn one_that_does_not_come_up_is_named_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let sick = service(path, "api").with_health(shell("echo no database >&2; exit 3"));
        let services = CommandServices::new([sick]).unwrap();
        let Outcome::Failed(failure) = services
            .replace(&minute(), &Version::new("2"))
            .await
            .unwrap()
        else {
            panic!("it came up");
        };
        let text = format!("{failure:#}");
        for part in [
            "service `api` did not come up at release 2",
            "exit status: 3",
            "no database",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let broken = ServiceCommands::new("api", shell("exit 4"), shell("true"));
        let services = CommandServices::new([broken]).unwrap();
        let replaced = services.replace(&minute(), &Version::new("2")).await;
        assert!(matches!(replaced.unwrap(), Outcome::Failed(failure)
            if failure.to_string().contains("was not replaced by release 2")));
    }

    #[tokio::test]
    async fn what_cannot_tell_the_release_is_an_error_and_not_a_service_that_is_down() {
        let unreachable = shell("echo no daemon >&2; exit 1");
        let services =
            CommandServices::new([ServiceCommands::new("api", shell("true"), unreachable)])
                .unwrap();
        let error = services.running(&minute()).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(
            text.contains("not known which release") && text.contains("no daemon"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn services_that_serve_already_are_restarted_where_that_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let services = CommandServices::new([service(folder.path(), "api")]).unwrap();
        let new = Version::new("2");
        for expected in [Outcome::Done, Outcome::Done] {
            assert_eq!(services.restart(&minute(), &new).await.unwrap(), expected);
        }
        assert_eq!(log(folder.path()), "api 2\napi 2\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_hangs_is_given_up_in_time() {
        let hangs = ServiceCommands::new("api", shell("sleep 600"), shell("true"));
        let services = CommandServices::new([hangs]).unwrap();
        let cx = cx(Duration::from_secs(3600));
        let Outcome::Failed(failure) = services.replace(&cx, &Version::new("2")).await.unwrap()
        else {
            panic!("it came up");
        };
        assert!(
            failure.to_string().contains("did not end within 60s"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn the_deadline_ends_every_wait() {
        let folder = tempfile::tempdir().unwrap();
        let hangs = service(folder.path(), "api").with_health(shell("sleep 600"));
        let services = CommandServices::new([hangs]).unwrap();
        let error = services
            .replace(&cx(Duration::from_millis(400)), &Version::new("2"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    }

    #[tokio::test]
    async fn a_health_command_that_hangs_is_a_service_that_does_not_come_up() {
        let folder = tempfile::tempdir().unwrap();
        let hangs = service(folder.path(), "api").with_health(shell("sleep 600"));
        let services = CommandServices::new([hangs]).unwrap();
        let (cx, new) = (cx(Duration::from_secs(3600)), Version::new("2"));
        let Outcome::Failed(failure) = services.replace(&cx, &new).await.unwrap() else {
            panic!("it came up");
        };
        let text = format!("{failure:#}");
        assert!(text.contains("did not end within 500ms"), "{text}");
    }

    #[tokio::test]
    async fn what_a_start_leaves_in_the_background_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let start = shell(&format!(
            "sleep 30 & echo $! > {path}/pid; echo 2 > {path}/api"
        ));
        let version = shell(&format!("cat {path}/api || true"));
        let services = CommandServices::new([ServiceCommands::new("api", start, version)]).unwrap();
        let (cx, new) = (cx(Duration::from_secs(20)), Version::new("2"));
        assert_eq!(services.replace(&cx, &new).await.unwrap(), Outcome::Done);
        let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn an_artifact_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("digest-2"), "sha256:abc\n").unwrap();
        let artifact = shell(&format!("cat {}/digest-$UPGRADE_RELEASE", path.display()));
        let services =
            CommandServices::new([service(path, "api").with_artifact(artifact)]).unwrap();
        let there = services.artifacts(&minute(), &Version::new("2")).await;
        assert_eq!(there.unwrap()["api"], "sha256:abc");
        let error = services.artifacts(&minute(), &Version::new("1")).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error.to_string().contains("release 1 of service `api`"),
            "{error}"
        );
    }

    #[test]
    fn services_that_cannot_be_ordered_are_refused() {
        let path = Path::new("/none");
        for (services, message) in [
            (
                vec![service(path, "a"), service(path, "a")],
                "two services have the name `a`",
            ),
            (
                vec![service(path, "a").after("b")],
                "needs `b`, which is not there",
            ),
            (
                vec![service(path, "a").after("b"), service(path, "b").after("a")],
                "need each other: a, b",
            ),
        ] {
            let error = CommandServices::new(services).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
