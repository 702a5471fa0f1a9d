//! Faults of containers, and how a service recovers from them.

use std::process::{Command, Stdio};

use super::helper::{Helper, PLACE};
use super::{Instance, Staging, State, aliases, may_end, networks_of};
use crate::docker::stack::{Mount, Service, Stack};
use crate::error::{Error, ErrorKind, Result};
use crate::fault::{FaultKind, ServiceFault, Site};

/// What fills a volume.
const BALLAST: &str = ".upgrade-ballast";
/// What the kernel does to the packets that a container sends, the better way first: each is
/// delayed, or they pass at a rate at which what is large takes long.
const SLOW: [&str; 2] = ["netem delay 200ms", "tbf rate 256kbit burst 4kb latency 2s"];

/// A fault that was not recovered from yet.
#[derive(Debug, Clone)]
pub(super) struct Injected {
    fault: ServiceFault,
    container: String,
}

impl Staging {
    /// Injects a fault.
    pub(crate) async fn disturb(&self, fault: &ServiceFault) -> Result<()> {
        let mut state = self.state.lock().await;
        let (service, instance) = target(&state, fault)?;
        let container = instance.container;
        let before = state.faults.iter().find(|one| one.container == container);
        if let Some(before) = before {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "`{fault}` cannot be injected: `{}` is not recovered from",
                    before.fault
                ),
            )
            .with_hint("recover from it first"));
        }
        if let Some(reason) = closed(&state.stack, &service, fault.kind) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("`{fault}` cannot be injected: {reason}"),
            ));
        }
        // Remembered first: what fails halfway is to be recovered from, too.
        state.faults.push(Injected {
            fault: fault.clone(),
            container: container.clone(),
        });
        match fault.kind {
            FaultKind::Kill => self.engine.kill(&container).await?,
            FaultKind::Stop => self.engine.stop(&container, None).await?,
            FaultKind::Pause => self.engine.pause(&container).await?,
            FaultKind::Partition => {
                for network in self.all_networks(&service) {
                    self.engine.leave(&container, &network).await?;
                }
            }
            FaultKind::SlowNetwork => {
                let [delay, rate] = SLOW.map(|how| format!("tc qdisc add dev $i root {how}"));
                let line = on_each_interface(&format!("{delay} 2>/dev/null || {rate}"));
                let of = Some(container.as_str());
                self.help_to(&mut state, fault, of, None, line).await?;
            }
            FaultKind::FullDisk => {
                let (volume, bytes) = limited(&state.stack, &service)
                    .expect("the plan has checked that the fault can be injected");
                // The count is a second bound, should the volume have none.
                let line = format!(
                    "dd if=/dev/zero of={PLACE}/{BALLAST} bs=64k count={} 2>&1 | grep -q 'No space left'",
                    bytes / (64 << 10) + 1
                );
                self.help_to(&mut state, fault, None, Some(&volume), line)
                    .await?;
            }
        }
        // What cannot be reached is led to no more: its address may become another one's.
        if matches!(
            fault.kind,
            FaultKind::Kill | FaultKind::Stop | FaultKind::Partition
        ) {
            set_address(&mut state, fault, None);
        }
        Ok(())
    }

    /// Undoes a fault, and waits until its container is ready again. Does nothing if the fault was
    /// undone already or its container no longer exists.
    pub(crate) async fn recover(&self, fault: &ServiceFault) -> Result<()> {
        let mut state = self.state.lock().await;
        let Some(place) = state.faults.iter().position(|one| one.fault == *fault) else {
            return Ok(());
        };
        let container = state.faults[place].container.clone();
        let found = target(&state, fault).ok();
        if let Some((service, instance)) = found
            && instance.container == container
        {
            // On the heap: these futures are large.
            Box::pin(self.undo(&mut state, fault, &service, &container)).await?;
        }
        state.faults.remove(place);
        Ok(())
    }

    /// Undoes all faults, the last one first, also after one that could not be undone; the first
    /// error.
    pub(crate) async fn recover_all(&self) -> Result<()> {
        let faults = self.state.lock().await.faults.clone();
        let mut result = Ok(());
        for injected in faults.iter().rev() {
            result = result.and(self.recover(&injected.fault).await);
        }
        result
    }

    /// Undoes all faults, before all services but one start anew. Those need not get ready again.
    pub(crate) async fn recover_before_anew(&self, but: &str) -> Result<()> {
        let faults = self.state.lock().await.faults.clone();
        for injected in faults.iter().rev() {
            let service = &injected.fault.service;
            let Err(error) = self.recover(&injected.fault).await else {
                continue;
            };
            if service == but {
                return Err(error);
            }
            // Should it be one that runs on, it is replaced.
            let mut state = self.state.lock().await;
            for instance in state.instances.get_mut(service).into_iter().flatten() {
                instance.was_ready = false;
            }
        }
        self.state.lock().await.faults.clear();
        Ok(())
    }

    async fn undo(
        &self,
        state: &mut State,
        fault: &ServiceFault,
        service: &Service,
        container: &str,
    ) -> Result<()> {
        let name = &fault.service;
        match fault.kind {
            FaultKind::Kill | FaultKind::Stop => self.engine.start(container).await?,
            FaultKind::Pause => self.engine.unpause(container).await?,
            FaultKind::Partition => {
                for network in networks_of(service) {
                    let aliases = aliases(name, service, &network);
                    let own = self.network(&network);
                    self.engine.join(container, &own, &aliases).await?;
                }
                for network in self.outside.networks() {
                    self.engine.join(container, network, &[]).await?;
                }
            }
            FaultKind::SlowNetwork => {
                let line = on_each_interface("tc qdisc del dev $i root");
                self.help_to(state, fault, Some(container), None, line)
                    .await?;
            }
            FaultKind::FullDisk => {
                let volume = limited(&state.stack, service).map(|(volume, _)| volume);
                let line = format!("rm -f {PLACE}/{BALLAST}");
                self.help_to(state, fault, None, volume.as_deref(), line)
                    .await?;
            }
        }
        let address = self
            .ready(name, service, container, self.deadline())
            .await?;
        set_address(state, fault, address);
        Ok(())
    }

    /// Runs a helper that must end well.
    async fn help_to(
        &self,
        state: &mut State,
        fault: &ServiceFault,
        network_of: Option<&str>,
        volume: Option<&str>,
        line: String,
    ) -> Result<()> {
        let image = state.images.get(&fault.service).expect("provided before");
        let image = image.clone();
        let helper = Helper {
            image: &image,
            network_of,
            volume: volume.map(|volume| self.volume(volume)),
            line,
        };
        match self.help(state, helper, self.deadline()).await? {
            (0, _) => Ok(()),
            (code, output) => Err(Error::new(
                ErrorKind::Environment,
                format!("`{fault}`: the helper ended with {code}: {output}"),
            )),
        }
    }

    /// The engine's names of all networks that the containers of a service are on.
    fn all_networks(&self, service: &Service) -> Vec<String> {
        let own = networks_of(service)
            .into_iter()
            .map(|name| self.network(&name));
        own.chain(self.outside.networks().iter().cloned()).collect()
    }
}

/// The service and the container that are meant.
fn target(state: &State, fault: &ServiceFault) -> Result<(Service, Instance)> {
    let at = usize::try_from(fault.replica).unwrap_or(usize::MAX);
    let instance = state.instances(&fault.service).get(at.wrapping_sub(1));
    let service = state.stack.services.get(&fault.service);
    match (service, instance) {
        (Some(service), Some(instance)) => Ok((service.clone(), instance.clone())),
        _ => Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no container `{}`", fault.target()),
        )
        .with_hint(format!("there are: {}", names(state).join(", ")))),
    }
}

fn names(state: &State) -> Vec<String> {
    let all = state.instances.iter();
    all.flat_map(|(name, instances)| (1..=instances.len()).map(move |at| format!("{name}.{at}")))
        .collect()
}

/// Notes the address of the container of a fault, and leads the ports anew.
fn set_address(state: &mut State, fault: &ServiceFault, address: Option<std::net::IpAddr>) {
    let at = usize::try_from(fault.replica).unwrap_or(usize::MAX);
    let all = state.instances.get_mut(&fault.service);
    if let Some(instance) = all.and_then(|all| all.get_mut(at.wrapping_sub(1))) {
        instance.address = address;
    }
    state.lead(&fault.service);
}

/// A line of the shell for every interface of a container but its loopback.
fn on_each_interface(line: &str) -> String {
    format!("for i in /sys/class/net/eth*; do i=${{i##*/}}; {line} || exit 1; done")
}

/// Where each kind of fault can be injected in a stack.
pub(crate) fn sites(stack: &Stack) -> Vec<Site> {
    let mut sites = Vec::new();
    for kind in FaultKind::ALL {
        for (name, service) in &stack.services {
            let site = Site::open(kind, name, service.replicas);
            sites.push(match closed(stack, service, kind) {
                Some(reason) => site.closed(reason),
                None => site,
            });
        }
    }
    sites
}

/// Why a fault cannot be injected a service.
fn closed(stack: &Stack, service: &Service, kind: FaultKind) -> Option<String> {
    if may_end(service) {
        return Some("it is a job, which ends when it is done".to_owned());
    }
    match kind {
        FaultKind::Kill | FaultKind::Stop => limited(stack, service).map(|(volume, _)| {
            format!("its volume `{volume}` of limited size lives in memory, and would go with it")
        }),
        FaultKind::SlowNetwork => shaping().err(),
        FaultKind::FullDisk => match limited(stack, service) {
            Some(_) => None,
            None => Some("it writes into no volume of limited size".to_owned()),
        },
        FaultKind::Pause | FaultKind::Partition => None,
    }
}

/// The first volume of limited size that a service may write into, and its size.
fn limited(stack: &Stack, service: &Service) -> Option<(String, u64)> {
    service.mounts.iter().find_map(|mount| match mount {
        Mount::Volume {
            name: Some(name),
            read_only: false,
            ..
        } => Some((name.clone(), stack.volumes.get(name)?.bytes?)),
        _ => None,
    })
}

/// Whether the kernel of this machine, which is the engine's, can slow packets down: tried in a
/// separate network.
fn shaping() -> std::result::Result<(), String> {
    let tries = SLOW.map(|how| format!("tc qdisc add dev lo root {how}"));
    let line = format!("command -v tc >/dev/null || exit 9; {}", tries.join(" || "));
    let tried = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", &line])
        .stdin(Stdio::null())
        .output();
    match tried {
        Err(_) => Err("there is no `unshare` on this machine".to_owned()),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) if output.status.code() == Some(9) => {
            Err("there is no `tc` on this machine (Debian has it in `iproute2`)".to_owned())
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or_default().trim().to_owned();
            Err(format!(
                "the kernel knows neither netem nor tbf, or this user may not use them: {said}"
            ))
        }
    }
}
